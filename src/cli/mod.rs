//! The command line: one file a command, and what they share in [`output`].

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use intramuros_ingest::access::Acl;

use crate::accounts::{AccountCommand, AccountReply};
use crate::app::App;
use crate::config::Config;
use crate::index::READER_COMMAND;
use crate::local::Engine;

/// Prints to standard output. Where nobody reads any more (`| head`), the program ends quietly.
macro_rules! out {
    ($($arg:tt)*) => { $crate::cli::output::print(format_args!($($arg)*)) };
}

/// The same with a line end.
macro_rules! outln {
    ($($arg:tt)*) => { $crate::cli::output::print(format_args!("{}\n", format_args!($($arg)*))) };
}

mod ask;
mod bench;
mod demo;
mod doctor;
mod documents;
mod eval;
mod feedback;
mod group;
mod ingest;
mod jobs;
mod key;
mod models;
mod output;
mod search;
mod serve;
mod store;
mod user;

/// Ask your company's documents, on your company's hardware.
#[derive(Parser)]
#[command(
    name = "intramuros",
    version,
    max_term_width = 100,
    after_help = "\
Begin with `intramuros demo`. Or with your own documents:
  intramuros models pull starter
  intramuros ingest ./handbook --acl everyone
  intramuros ask \"How many days of leave do I have?\"

Every setting with its default: intramuros doctor --print-config"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args)]
struct Global {
    /// Configuration file (TOML); what it does not say has its default
    #[arg(long, global = true, value_name = "FILE", env = "INTRAMUROS_CONFIG")]
    config: Option<PathBuf>,
    /// Where the index and the state live, in place of the configuration's `data_dir`
    #[arg(long, global = true, value_name = "DIR", env = "INTRAMUROS_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Print one JSON document on standard output instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Pull the starter models, index the sample intranet, answer three questions about it and serve the chat page
    Demo(demo::Args),
    /// Serve the API and the chat page
    Serve(serve::Args),
    /// Bring folders into the index, or all known sources; what is unchanged is only compared
    Ingest(ingest::Args),
    /// Find passages, best first
    Search(search::Args),
    /// Answer a question from the documents, with citations
    Ask(ask::Args),
    /// Get, list, import and verify models
    Models(models::Args),
    /// List and show documents, forget a source
    Documents(documents::Args),
    /// Show ingest runs
    Jobs(jobs::Args),
    /// Show what people thought of their answers
    Feedback(feedback::Args),
    /// Create, list and delete the people who sign in, with their passwords and roles
    User(user::Args),
    /// Say who is in which group; groups are what documents' readers name
    Group(group::Args),
    /// Create, list and revoke the keys that programs use
    Key(key::Args),
    /// Describe, check and move the vector store
    Store(store::Args),
    /// Measure retrieval and answers over DIR/docs and DIR/questions.jsonl
    Eval(eval::Args),
    /// Measure tokens, vectors and queries per second on this machine
    Bench(bench::Args),
    /// Show what is configured, reachable, loaded and permitted
    Doctor(doctor::Args),
    /// Reads documents from a parent process; what `ingest` starts
    #[command(name = READER_COMMAND, hide = true)]
    ReadDocuments,
}

/// On whose behalf a question is asked.
#[derive(clap::Args)]
struct As {
    /// Ask as these principals, `user:ana,group:legal`; `everyone` is implied. Without it: the local administrator, who reads all
    #[arg(long = "as", global = true, value_name = "PRINCIPALS")]
    principals: Option<Acl>,
}

/// What every command gets.
struct Session {
    config: Config,
    json: bool,
    runtime: tokio::runtime::Runtime,
}

impl Session {
    /// For what a running server can do in place of this process.
    fn engine(&self, command: &str) -> anyhow::Result<Engine> {
        Ok(Engine::open(self.config.clone(), command, self.runtime.handle().clone())?)
    }

    /// For what needs the data directory for itself.
    fn app(&self, command: &str) -> anyhow::Result<App> {
        Ok(App::open(self.config.clone(), command, self.runtime.handle().clone())?)
    }

    /// Does something with users, groups or keys.
    fn accounts(&self, command: &AccountCommand) -> anyhow::Result<AccountReply> {
        self.engine("accounts")?.get(command.clone())
    }
}

/// Runs the command line and tells how it went: 0 done, 1 failed, 2 not understood.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("INTRAMUROS_LOG").unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    if matches!(cli.command, Command::ReadDocuments) {
        // A reader knows no configuration and no data directory: it sees one document at a time and nothing else.
        return intramuros_ingest::worker::serve_stdio().context("the reader process lost its parent");
    }
    let mut config = Config::load(cli.global.config.as_deref())?;
    if let Some(directory) = cli.global.data_dir {
        config.set_data_dir(directory);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let context = Session { config, json: cli.global.json, runtime };
    match cli.command {
        Command::Demo(args) => demo::run(context, &args),
        Command::Serve(args) => serve::run(&context, &args),
        Command::Ingest(args) => ingest::run(&context, &args),
        Command::Search(args) => search::run(&context, &args),
        Command::Ask(args) => ask::run(&context, &args),
        Command::Models(args) => models::run(&context, &args),
        Command::Documents(args) => documents::run(&context, &args),
        Command::Jobs(args) => jobs::run(&context, &args),
        Command::Feedback(args) => feedback::run(&context, &args),
        Command::User(args) => user::run(&context, &args),
        Command::Group(args) => group::run(&context, &args),
        Command::Key(args) => key::run(&context, &args),
        Command::Store(args) => store::run(&context, &args),
        Command::Eval(args) => eval::run(context, &args),
        Command::Bench(args) => bench::run(context, &args),
        Command::Doctor(args) => doctor::run(&context, &args),
        Command::ReadDocuments => Ok(()),
    }
}

/// The questions to go through: one from the words of the command line or standard input (`-`), or the lines of a file.
/// Each is checked before anything is opened.
fn questions(
    words: &[OsString],
    batch: Option<&Path>,
    settings: &crate::config::Answer,
) -> anyhow::Result<Vec<String>> {
    if let Some(path) = batch {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        return questions_of(&utf8(bytes)?, settings);
    }
    let question = match words {
        [word] if word == "-" => {
            let mut bytes = Vec::new();
            // A question is short; whatever else comes through the pipe is not read to its end.
            std::io::stdin().lock().take(1 << 20).read_to_end(&mut bytes).context("cannot read standard input")?;
            utf8(bytes)?
        }
        words => utf8(words.join(OsStr::new(" ")).into_encoded_bytes())?,
    };
    crate::answer::validate(&question, settings).context("cannot ask this")?;
    Ok(vec![question])
}

/// The lines of a file that are not empty, numbered as an editor does where one cannot be asked.
fn questions_of(text: &str, settings: &crate::config::Answer) -> anyhow::Result<Vec<String>> {
    let mut questions = Vec::new();
    for (at, question) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        crate::answer::validate(question, settings).with_context(|| format!("line {}", at + 1))?;
        questions.push(question.to_owned());
    }
    Ok(questions)
}

fn utf8(bytes: Vec<u8>) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow::anyhow!("the question is not valid UTF-8 (byte {at}): set the terminal or the calling program to UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_of_a_batch_is_told_by_its_line_in_the_file() {
        let settings = Config::load(None).unwrap().answer;
        assert_eq!(questions_of("\nWho?\n\nWhen?\n", &settings).unwrap(), ["Who?", "When?"]);
        let long = format!("Who?\n\n\n{}\n", "very ".repeat(10_000));
        assert_eq!(questions_of(&long, &settings).unwrap_err().to_string(), "line 4");
    }
}
