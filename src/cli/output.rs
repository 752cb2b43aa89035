//! What the commands share on the way out: JSON, progress, warnings and errors.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Keep what steers a terminal out of it: for one line, and for several.
pub use intramuros_ingest::escape::{printable, printable_lines};

/// What a shell reports of a program that a closed pipe ended: 128 and the number of SIGPIPE.
const CLOSED_PIPE: i32 = 141;

/// What `out!` and `outln!` stand for.
pub fn print(text: std::fmt::Arguments<'_>) {
    if let Err(error) = std::io::stdout().lock().write_fmt(text) {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            writeln!(std::io::stderr(), "error: cannot write to standard output: {error}").ok();
        }
        std::process::exit(CLOSED_PIPE);
    }
}

/// Prints one JSON document.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    print(format_args!("{}\n", serde_json::to_string(value)?));
    Ok(())
}

/// Prints an error with its causes, each once.
pub fn error(error: &anyhow::Error) {
    // Nobody may be there to read it; the exit status says it too.
    writeln!(std::io::stderr(), "error: {}", crate::local::error_text(error)).ok();
}

/// Says that something else changes the index now.
pub fn queued() {
    eprintln!("the index is being changed; this waits for its turn");
}

/// Shows how far a long task is: a bar on a terminal, a plain line now and then otherwise.
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
    last_line: Instant,
}

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

impl Progress {
    /// Counts things, `documents` say.
    pub fn counting(total: u64, things: &str) -> Self {
        Self::new(total, &format!("{{bar:30}} {{pos}}/{{len}} {things}, {{per_sec}}, {{eta}} left {{msg}}"))
    }

    /// Counts bytes.
    pub fn bytes(total: u64) -> Self {
        Self::new(total, "{bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left {msg}")
    }

    fn new(total: u64, template: &str) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let target = if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(8) };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style);
        Self { bar, plain, last_line: Instant::now() }
    }

    /// Corrects the total.
    pub fn set_total(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// Sets how far it is.
    pub fn set(&mut self, position: u64) {
        self.bar.set_position(position);
        self.line();
    }

    /// Goes on by some.
    pub fn advance(&mut self, by: u64) {
        self.bar.inc(by);
        self.line();
    }

    /// Says what is happening.
    pub fn message(&self, message: String) {
        self.bar.set_message(message);
    }

    fn line(&mut self) {
        if self.plain && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let left = self.bar.eta().as_secs();
            eprintln!("{done} of {total}, {:.1} a second, {left} s left", self.bar.per_sec());
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A moment given in milliseconds since 1970, in this machine's time.
pub fn date(ms: i64) -> String {
    let moment = chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default();
    moment.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M").to_string()
}

/// Prints rows under a heading, columns aligned by their widest cell.
pub fn table(heading: &[&str], rows: &[Vec<String>]) {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = heading.iter().map(|cell| width(cell)).collect();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(width(cell));
        }
    }
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, &column) in cells.zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', column - width(cell) + 2));
        }
        outln!("{}", line.trim_end());
    };
    print(&mut heading.iter().copied());
    for row in rows {
        print(&mut row.iter().map(String::as_str));
    }
}
