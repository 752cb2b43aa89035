//! Shows what the readers make of files: `extract FILE…` prints title, warnings and blocks of each.
//!
//! `extract --summary FILE…` prints one line a file; `extract --text FILE…` the text alone. Every file is read in a
//! worker process, as an ingest does.

use std::io::Write;
use std::time::Instant;

use intramuros_ingest::document::RawDocument;
use intramuros_ingest::worker::{Worker, WorkerOptions, serve_stdio};

fn main() -> std::io::Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "--worker") {
        return serve_stdio();
    }
    let mode = if args.first().is_some_and(|arg| arg.starts_with("--")) { args.remove(0) } else { String::new() };
    let mut worker = Worker::new(WorkerOptions::new(std::env::current_exe()?, ["--worker"]));
    let mut out = std::io::stdout().lock();
    for path in args {
        let raw = RawDocument { bytes: std::fs::read(&path)?, path };
        let begun = Instant::now();
        let result = worker.extract(&raw);
        let milliseconds = begun.elapsed().as_millis();
        match (result, mode.as_str()) {
            (Err(error), _) => writeln!(out, "FAILED\t{milliseconds}\t{}\t{error}", raw.path)?,
            (Ok(document), "--text") => writeln!(out, "{}", document.text)?,
            (Ok(document), "--summary") => {
                let words = document.text.split_whitespace().count();
                let (blocks, pages) = (document.blocks.len(), document.page_starts.len());
                let warnings = document.warnings.join("; ");
                writeln!(
                    out,
                    "ok\t{milliseconds}\t{}\t{words} words, {blocks} blocks, {pages} pages\t{warnings}",
                    raw.path
                )?;
            }
            (Ok(document), _) => {
                writeln!(out, "title: {:?}\nwarnings: {:?}", document.title, document.warnings)?;
                for block in &document.blocks {
                    writeln!(out, "{:?} page {:?}\n{}\n", block.kind, block.page, &document.text[block.range.clone()])?;
                }
            }
        }
    }
    Ok(())
}
