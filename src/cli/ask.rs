//! `intramuros ask`

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde_json::Value;

use super::output::{self, printable, printable_lines};
use super::{As, Session};
use crate::answer::{Answer, AnswerEvent, AnswerMode};
use crate::local::{Event, Question};

#[derive(clap::Args)]
pub struct Args {
    /// The question in your own words, Spanish or English; `-` reads it from standard input
    #[arg(required_unless_present = "batch")]
    question: Vec<OsString>,
    /// Answer every line of this file; prints a line of JSON for each, in their order
    #[arg(long, value_name = "FILE", conflicts_with = "question")]
    batch: Option<PathBuf>,
    #[command(flatten)]
    who: As,
    /// `generate`: the model writes and each sentence is checked. `extract`: exact quotes only, no generator needed
    /// [default: `answer.mode` of the configuration, generate]
    #[arg(long)]
    mode: Option<AnswerMode>,
    /// Draw the words at random with this seed instead of taking the likeliest; the same seed gives the same answer
    #[arg(long)]
    seed: Option<u64>,
    /// Answer with JSON that is valid against the JSON Schema in this file; values that no passage supports become `null` or
    /// go away where it allows that
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let questions = super::questions(&args.question, args.batch.as_deref(), &session.config.answer)?;
    let schema = args.schema.as_deref().map(read_schema).transpose()?;
    let engine = session.engine("ask")?;
    for question in questions {
        let (mode, seed, principals) = (args.mode, args.seed, args.who.principals.clone());
        let call = Question { question, mode, seed, schema: schema.clone(), principals };
        if session.json || args.batch.is_some() {
            output::json(&engine.get(call)?)?;
        } else {
            let answer = engine.call(call, &Arc::default(), &mut |event| match event {
                Event::Text(text) => print_text(&text),
                _ => true,
            })?;
            outln!("");
            print_rest(&answer);
        }
    }
    Ok(())
}

fn read_schema(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

/// Prints checked text as it comes; a closed pipe ends the work.
pub fn print_event(event: AnswerEvent<'_>) -> bool {
    match event {
        AnswerEvent::Citation(_) | AnswerEvent::Waiting => true,
        AnswerEvent::Text(text) | AnswerEvent::Refusal(text) => print_text(text),
    }
}

fn print_text(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    write!(out, "{}", printable_lines(text)).and_then(|()| out.flush()).is_ok()
}

/// Prints what belongs under the text: sources, what was removed or left out.
pub fn print_rest(answer: &Answer) {
    if !answer.citations.is_empty() {
        outln!("");
    }
    for citation in &answer.citations {
        let page = citation.page.map_or(String::new(), |page| format!(", page {page}"));
        outln!("[{}] {}{page}", citation.n, printable(&citation.title));
        outln!("    «{}»", printable_lines(&citation.quote).replace('\n', "\n    "));
        outln!("    {}", citation.uri);
    }
    if !answer.nearest.is_empty() {
        outln!("\nNearest to the question, without answering it:");
    }
    for document in &answer.nearest {
        outln!("    {}  {}", printable(&document.title), document.uri);
    }
    if answer.fell_back {
        outln!("\nNo text of the model holds against the documents; these are exact quotes instead.");
    } else if answer.is_formed() {
        for value in &answer.unsupported {
            let path = value.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("the top");
            let kept = if value.kept { ", which is still in the answer" } else { "" };
            outln!("\nno passage supports `{}` at `{}`{kept}", printable(&value.sentence), printable(path));
        }
    } else if !answer.unsupported.is_empty() {
        let them = if answer.unsupported.len() == 1 { "it" } else { "them" };
        outln!("\n{} taken out because no passage supports {them}.", count(answer.unsupported.len(), "sentence"));
    }
    if !answer.left_out.is_empty() {
        outln!(
            "\n{} found that the model has no room for (`answer.passage_tokens`, `models.kv_mib`) or would read too long (`answer.first_token_ms`).",
            count(answer.left_out.len(), "more passage")
        );
    }
}

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
