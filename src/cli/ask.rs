//! `intramuros ask`

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use intramuros_ingest::document::Language;
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

/// Prints what belongs under the text, in the language of the answer: sources, what was removed or left out.
pub fn print_rest(answer: &Answer) {
    let said = Said(answer.language);
    if !answer.citations.is_empty() {
        outln!("");
    }
    for citation in &answer.citations {
        let page = citation.page.map_or(String::new(), |page| format!(", {} {page}", said.either("page", "página")));
        outln!("[{}] {}{page}", citation.n, printable(&citation.title));
        outln!("    «{}»", printable_lines(&citation.quote).replace('\n', "\n    "));
        outln!("    {}", citation.uri);
    }
    if !answer.nearest.is_empty() {
        outln!("\n{}", said.nearest());
    }
    for document in &answer.nearest {
        outln!("    {}  {}", printable(&document.title), document.uri);
    }
    if answer.fell_back {
        outln!("\n{}", said.fell_back());
    } else if answer.is_formed() {
        for value in &answer.unsupported {
            let path = value.path.as_deref().filter(|path| !path.is_empty());
            let path = path.unwrap_or(said.either("the top", "lo más alto"));
            outln!("\n{}", said.unsupported_value(&printable(&value.sentence), &printable(path), value.kept));
        }
    } else if !answer.unsupported.is_empty() {
        outln!("\n{}", said.taken_out(answer.unsupported.len()));
    }
    if !answer.left_out.is_empty() {
        outln!("\n{}", said.left_out(answer.left_out.len()));
    }
}

/// What is said around an answer, in its language; in English where that is not clear.
struct Said(Option<Language>);

impl Said {
    fn either<'a>(&self, english: &'a str, spanish: &'a str) -> &'a str {
        if self.0 == Some(Language::Spanish) { spanish } else { english }
    }

    fn nearest(&self) -> &'static str {
        self.either("Nearest to the question, without answering it:", "Lo más cercano a la pregunta, sin responderla:")
    }

    fn fell_back(&self) -> &'static str {
        self.either(
            "No written answer says all that the documents say; these are exact quotes instead.",
            "Ninguna respuesta redactada dice todo lo que dicen los documentos; en su lugar hay citas textuales.",
        )
    }

    fn unsupported_value(&self, value: &str, path: &str, kept: bool) -> String {
        let english = if kept { ", which is still in the answer" } else { "" };
        let spanish = if kept { ", que sigue en la respuesta" } else { "" };
        self.either(
            &format!("no passage supports `{value}` at `{path}`{english}"),
            &format!("ningún pasaje respalda `{value}` en `{path}`{spanish}"),
        )
        .to_owned()
    }

    fn taken_out(&self, sentences: usize) -> String {
        match (self.0, sentences) {
            (Some(Language::Spanish), 1) => "1 frase quitada porque ningún pasaje la respalda.".to_owned(),
            (Some(Language::Spanish), n) => format!("{n} frases quitadas porque ningún pasaje las respalda."),
            (_, 1) => "1 sentence taken out because no passage supports it.".to_owned(),
            (_, n) => format!("{n} sentences taken out because no passage supports them."),
        }
    }

    fn left_out(&self, passages: usize) -> String {
        match (self.0, passages) {
            (Some(Language::Spanish), n) => {
                let found = if n == 1 { "1 pasaje encontrado más" } else { &format!("{n} pasajes encontrados más") };
                format!(
                    "{found}, para los que el modelo no tiene sitio (`answer.passage_tokens`, `models.kv_mib`) o que tardaría demasiado en leer (`answer.first_token_ms`)."
                )
            }
            (_, n) => {
                let found = if n == 1 { "1 more passage found" } else { &format!("{n} more passages found") };
                format!(
                    "{found} that the model has no room for (`answer.passage_tokens`, `models.kv_mib`) or would read too long (`answer.first_token_ms`)."
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_around_an_answer_is_in_its_language() {
        let (english, spanish) = (Said(None), Said(Some(Language::Spanish)));
        assert!(english.nearest().starts_with("Nearest") && spanish.nearest().starts_with("Lo más cercano"));
        assert_eq!(english.taken_out(1), "1 sentence taken out because no passage supports it.");
        assert_eq!(spanish.taken_out(2), "2 frases quitadas porque ningún pasaje las respalda.");
        assert_eq!(
            english.unsupported_value("9", "/days", true),
            "no passage supports `9` at `/days`, which is still in the answer"
        );
        assert_eq!(spanish.unsupported_value("9", "/days", false), "ningún pasaje respalda `9` en `/days`");
        assert!(english.left_out(1).starts_with("1 more passage found that"));
        assert!(spanish.left_out(3).starts_with("3 pasajes encontrados más, para los que"));
    }
}
