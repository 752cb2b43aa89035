//! `intramuros eval`

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use intramuros_ingest::access::{Acl, Caller, Principal};
use intramuros_ingest::document::ContentHash;

use super::output::{self, Progress};
use super::{Session, ingest};
use crate::answer::{Answer, AnswerMode, Ask};
use crate::app::App;
use crate::eval::{Outcome, Question, figures, marks_hold};
use crate::index;
use crate::retrieve::milliseconds;

/// Hits that the ranks are counted in.
const DEPTH: usize = 10;

#[derive(clap::Args)]
pub struct Args {
    /// Holds `docs/` and `questions.jsonl`, a line a question:
    /// {"id","lang","question","doc","also":[…],"evidence","answers":[…],"answerable"}
    dir: PathBuf,
    /// How to answer [default: `answer.mode` of the configuration, generate]
    #[arg(long)]
    mode: Option<AnswerMode>,
    /// Ask only the first N questions
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub fn run(mut session: Session, args: &Args) -> anyhow::Result<()> {
    let questions = read_questions(&args.dir, args.limit)?;
    let mode = args.mode.unwrap_or(session.config.answer.mode);
    let app = open(&mut session, &args.dir)?;
    let mut outcomes = Vec::with_capacity(questions.len());
    let mut progress = Progress::counting(questions.len() as u64, "questions");
    for question in &questions {
        outcomes.push(outcome(&app, question, mode)?);
        progress.advance(1);
    }
    progress.finish();
    let figures = figures(&outcomes);
    if session.json {
        return output::json(&figures);
    }
    let figures = serde_json::to_value(figures)?;
    let rows: Vec<Vec<String>> =
        figures.as_object().into_iter().flatten().map(|(name, value)| vec![name.clone(), rounded(value)]).collect();
    output::table(&["figure", "value"], &rows);
    Ok(())
}

/// Brings a folder's `docs` into an index of its own, which is kept for the next time: the documents of an evaluation
/// must never answer anybody's question. The machine's speed, and what else it does, have no say in the figures.
pub fn open(session: &mut Session, dir: &Path) -> anyhow::Result<App> {
    let docs = dir.join("docs").canonicalize().context("an evaluation folder holds `docs/`, with the documents")?;
    let name = ContentHash::of(docs.as_os_str().as_encoded_bytes()).0;
    let directory = session.config.data_dir()?.join("eval").join(&name[..16]);
    session.config.use_alone(directory);
    session.config.answer.first_token_ms = 0;

    let app = session.app("eval")?;
    let everyone: Acl = [Principal::Everyone].into_iter().collect();
    let planned = index::source_of(&app, &docs, Some(&everyone))?;
    let report = ingest::run_one(&app, &planned, false, &ingest::cancel_on_ctrl_c(session))?;
    if report.interrupted {
        bail!("interrupted before all documents were in the index");
    }
    Ok(app)
}

fn rounded(value: &serde_json::Value) -> String {
    match value.as_f64() {
        Some(number) if !value.is_u64() => format!("{number:.3}"),
        _ => value.to_string(),
    }
}

/// The questions of an evaluation folder, the first ones only where there is a limit.
pub fn read_questions(dir: &Path, limit: Option<usize>) -> anyhow::Result<Vec<Question>> {
    let path = dir.join("questions.jsonl");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut questions = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = || format!("{}, line {}", path.display(), number + 1);
        let question: Question = serde_json::from_str(line).with_context(at)?;
        question.caller().with_context(at)?;
        questions.push(question);
    }
    if questions.is_empty() {
        bail!("{} holds no question", path.display());
    }
    questions.truncate(limit.unwrap_or(usize::MAX));
    Ok(questions)
}

fn outcome<'a>(app: &App, question: &'a Question, mode: AnswerMode) -> anyhow::Result<Outcome<'a>> {
    let caller = question.caller()?;
    let found = app.retriever()?.search(&caller, &question.question, DEPTH)?.found;
    let started = Instant::now();
    let ask = Ask::new(question.question.clone(), mode);
    let answer = app.ask(&caller, &ask, &mut |_| true)?;
    let ms = milliseconds(started);
    let citations_hold = citations_hold(app, &caller, &answer)?;
    Ok(Outcome { question, found, answer, citations_hold, ms })
}

fn citations_hold(app: &App, caller: &Caller, answer: &Answer) -> anyhow::Result<bool> {
    for citation in &answer.citations {
        let Some(text) = app.wait(app.state().document_text(caller, citation.document_id))? else { return Ok(false) };
        let stored: String = text.chars().skip(citation.start).take(citation.end - citation.start).collect();
        if stored != citation.quote {
            return Ok(false);
        }
    }
    Ok(marks_hold(answer))
}
