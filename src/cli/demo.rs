//! `intramuros demo`

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use intramuros_ingest::access::{Acl, Caller};
use intramuros_models::catalog::Catalog;
use serde_json::json;

use super::{Session, ask, ingest, models, output};
use crate::answer::{AnswerMode, Ask, validate};
use crate::app::App;
use crate::index;

#[derive(clap::Args)]
pub struct Args {
    /// End after the three answers instead of taking further questions
    #[arg(long)]
    no_serve: bool,
    /// The sample intranet, where the command does not run in the source tree
    #[arg(long, value_name = "DIR")]
    samples: Option<PathBuf>,
}

/// The models that the demo runs on, whatever the configuration names.
const STARTER: &str = "starter";

/// Who asks what: a public question in each language, and one that only a group may see answered.
const QUESTIONS: &[(&str, &str)] = &[
    ("user:rosa", "What was the reason for the Miravela outage in August?"),
    ("user:rosa", "¿Cuántos días de vacaciones me corresponden este año con contrato español?"),
    ("user:ana,group:legal", "When is the last date to give notice for the break of the Quayside Row lease?"),
];

pub fn run(mut session: Session, args: &Args) -> anyhow::Result<()> {
    let docs = samples(args)?.join("docs");
    // An index of its own: the sample documents must never answer a real question.
    let directory = session.config.data_dir()?.join("demo");
    session.config.use_alone(directory);
    session.config.models.profile = STARTER.to_owned();
    session.config.models.embedder.clear();
    session.config.models.generator.clear();

    say(&session, "1. The starter models");
    let catalog = Catalog::load(session.config.models.catalog.as_deref())?;
    for pulled in models::pull_all(&session.config, &catalog, STARTER)? {
        say(&session, &format!("   {}", models::describe(&pulled)));
    }
    say(&session, &format!("\n2. The sample intranet, {}", docs.display()));
    let app = session.app("demo")?;
    let planned = index::source_of(&app, &docs, None)?;
    let report = ingest::run_one(&app, &planned, false, &ingest::cancel_on_ctrl_c(&session))?;
    if report.interrupted {
        bail!("interrupted; run the same command again to go on");
    }
    say(&session, report.to_string().trim_end());

    say(&session, "\n3. Three questions");
    let mut answers = Vec::new();
    for (principals, question) in QUESTIONS {
        let answer = ask_as(&session, &app, principals, question)?;
        answers.push(json!({ "as": principals, "question": question, "answer": answer }));
    }
    if session.json {
        return output::json(&json!({ "index": report, "answers": answers }));
    }
    if !args.no_serve && std::io::stdin().is_terminal() {
        converse(&session, &app)?;
    }
    Ok(())
}

fn samples(args: &Args) -> anyhow::Result<PathBuf> {
    let in_tree =
        std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default().join("samples/intranet");
    let samples = args.samples.clone().unwrap_or(in_tree);
    samples.canonicalize().with_context(|| {
        format!(
            "the sample intranet is not at {}: run the command in the source tree, or name it with --samples DIR",
            samples.display()
        )
    })
}

fn say(session: &Session, text: &str) {
    if !session.json {
        println!("{text}");
    }
}

fn ask_as(session: &Session, app: &App, principals: &str, question: &str) -> anyhow::Result<crate::answer::Answer> {
    let acl: Acl = principals.parse()?;
    let caller = Caller::new(acl.readers().cloned());
    say(session, &format!("\n{question}   (asked as {principals})"));
    let ask = Ask { question: question.to_owned(), mode: AnswerMode::Generate, seed: None, max_tokens: None };
    let silent = session.json;
    let answer = app.ask(&caller, &ask, &mut |event| silent || ask::print_event(event))?;
    if !silent {
        println!();
        ask::print_rest(&answer);
    }
    Ok(answer)
}

/// Takes questions until an empty line, asked as somebody who may read what everyone may.
fn converse(session: &Session, app: &App) -> anyhow::Result<()> {
    println!("\nYour own questions, asked as user:rosa; an empty line ends.");
    loop {
        print!("> ");
        std::io::stdout().flush()?;
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(());
        }
        let question = line.trim();
        match validate(question, &session.config.answer) {
            Ok(()) => {
                ask_as(session, app, "user:rosa", question)?;
            }
            Err(error) => println!("{error}"),
        }
    }
}
