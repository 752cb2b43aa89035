//! `intramuros eval`

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use intramuros_ingest::access::{Acl, Caller, Principal};
use intramuros_ingest::document::ContentHash;

use super::output::{self, Progress};
use super::{Session, ingest};
use crate::answer::relevance::Evidence;
use crate::answer::{Answer, AnswerMode, Ask};
use crate::app::App;
use crate::eval::{self, Changed, Comparison, Difference, Outcome, Question, Record, compare, figures, marks_hold};
use crate::index;
use crate::retrieve::milliseconds;

/// Hits that the ranks are counted in.
const DEPTH: usize = 10;
/// Warnings about questions that are shown one by one.
const MOST_WARNINGS: usize = 10;
/// Files that say who may read a folder.
const RIGHTS: &str = ".access.toml";

#[derive(clap::Args)]
pub struct Args {
    /// Holds `docs/` and `questions.jsonl`, a line a question:
    /// {"id","lang","question","doc","also":[…],"evidence","answers":[…],"answerable"}
    #[arg(required_unless_present = "compare")]
    dir: Option<PathBuf>,
    /// How to answer [default: `answer.mode` of the configuration, generate]
    #[arg(long)]
    mode: Option<AnswerMode>,
    /// Ask only the first N questions
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Index only half of the documents, drawn by SEED, and ask what has an answer: what the other half answers must be
    /// refused
    #[arg(long, value_name = "SEED")]
    absent_half: Option<u64>,
    /// Write what came of each question to FILE, a line of JSON each
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write a page with the figures and their plots to FILE
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Compare two files that `--out` wrote: differences with their 95 % intervals, and the questions that changed
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["dir", "mode", "limit", "absent_half", "out", "html"])]
    compare: Option<Vec<PathBuf>>,
}

pub fn run(mut session: Session, args: &Args) -> anyhow::Result<()> {
    if let Some([a, b]) = args.compare.as_deref() {
        return print_comparison(&session, &compare(&read_records(a)?, &read_records(b)?));
    }
    let dir = args.dir.as_deref().context("name an evaluation folder")?;
    let mut questions = read_questions(dir, args.limit)?;
    let mode = args.mode.unwrap_or(session.config.answer.mode);
    let app = match args.absent_half {
        None => open(&mut session, dir)?,
        Some(seed) => {
            let half = half_of(&session, dir, seed)?;
            questions.retain(|question| question.answerable);
            for question in &mut questions {
                let is_kept = |document: &String| half.kept.contains(document);
                question.answerable = is_kept(&question.doc) || question.also.iter().any(is_kept);
            }
            open(&mut session, &half.directory)?
        }
    };
    // Opened first, so that a long run does not end in a path that cannot be written.
    if args.out.is_some() && args.out == args.html {
        bail!("`--out` and `--html` name the same file");
    }
    let mut writable = [args.html.as_deref(), args.out.as_deref()].into_iter().flatten();
    writable.try_for_each(|path| opened(path).map(|_| ()))?;
    let mut out = args.out.as_deref().map(created).transpose()?;
    let html = args.html.as_deref().map(created).transpose()?;
    let mut records = Vec::with_capacity(questions.len());
    let mut progress = Progress::counting(questions.len() as u64, "questions");
    for question in &questions {
        let record = outcome(&app, question, mode)?.record();
        if let Some(out) = &mut out {
            writeln!(out, "{}", serde_json::to_string(&record)?).context("cannot write `--out`")?;
        }
        records.push(record);
        progress.advance(1);
    }
    progress.finish();
    let figures = figures(&records);
    if let Some(mut page) = html {
        page.write_all(eval::html(&title(dir, mode, args), &figures, &records).as_bytes())
            .context("cannot write `--html`")?;
    }
    if session.json {
        return output::json(&figures);
    }
    let value = serde_json::to_value(&figures)?;
    let numbers = value.as_object().into_iter().flatten().filter(|(_, value)| value.is_number() || value.is_null());
    let mut rows: Vec<Vec<String>> = numbers.map(|(name, value)| vec![name.clone(), rounded(value)]).collect();
    for stage in &figures.stages {
        rows.push(vec![format!("{} p50 / p95, ms", stage.stage), format!("{:.0} / {:.0}", stage.p50_ms, stage.p95_ms)]);
    }
    output::table(&["figure", "value"], &rows);
    Ok(())
}

/// Opens a file to write to and leaves what is in it.
fn opened(path: &Path) -> anyhow::Result<File> {
    let file = File::options().create(true).append(true).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

fn created(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

fn title(dir: &Path, mode: AnswerMode, args: &Args) -> String {
    let name = dir.file_name().map_or_else(|| dir.display().to_string(), |name| name.to_string_lossy().into_owned());
    let half = args.absent_half.map_or(String::new(), |seed| format!(", half of the documents (seed {seed})"));
    let mode = match mode {
        AnswerMode::Generate => "written answers",
        AnswerMode::Extract => "quotes",
    };
    format!("{name}: {mode}{half}")
}

fn read_records(path: &Path) -> anyhow::Result<Vec<Record>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let at = || format!("{}, line {}: not a line that `eval --out` writes", path.display(), number + 1);
            serde_json::from_str(line).with_context(at)
        })
        .collect()
}

fn print_comparison(session: &Session, comparison: &Comparison) -> anyhow::Result<()> {
    if comparison.questions == 0 {
        bail!("the two files have no question in common");
    }
    if session.json {
        return output::json(comparison);
    }
    let row = |of: &Difference| {
        let [low, high] = of.interval;
        let interval = format!("{low:+.3} to {high:+.3}");
        vec![
            of.figure.to_owned(),
            format!("{:.3}", of.a),
            format!("{:.3}", of.b),
            format!("{:+.3}", of.difference),
            interval,
        ]
    };
    let rows: Vec<Vec<String>> = comparison.figures.iter().map(row).collect();
    output::table(&["figure", "A", "B", "difference", "95 %"], &rows);
    outln!("\n{} of {} questions came out differently", comparison.changed.len(), comparison.questions);
    let rank = |rank: Option<usize>| rank.map_or("-".to_owned(), |rank| rank.to_string());
    let told = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let row = |of: &Changed| {
        let mut row = vec![of.id.clone()];
        row.push(format!("{} > {}", rank(of.rank[0]), rank(of.rank[1])));
        row.push(format!("{} > {}", told(of.contains_gold[0] > 0.0), told(of.contains_gold[1] > 0.0)));
        row.push(format!("{} > {}", told(of.abstained[0]), told(of.abstained[1])));
        row.push(output::printable(&of.question).to_string());
        row
    };
    let rows: Vec<Vec<String>> = comparison.changed.iter().map(row).collect();
    if !rows.is_empty() {
        output::table(&["id", "rank", "right", "abstained", "question"], &rows);
    }
    Ok(())
}

/// A copy of half of an evaluation folder's documents.
struct Half {
    directory: PathBuf,
    /// Their paths below `docs`.
    kept: HashSet<String>,
}

/// Copies the half of the documents that a seed draws, and all files that say who may read them.
fn half_of(session: &Session, dir: &Path, seed: u64) -> anyhow::Result<Half> {
    let docs = dir.join("docs").canonicalize().context("an evaluation folder holds `docs/`, with the documents")?;
    let mut paths = Vec::new();
    list(&docs, &docs, &mut paths)?;
    let (rules, mut documents): (Vec<String>, Vec<String>) = paths.into_iter().partition(|path| path.ends_with(RIGHTS));
    documents.sort_by_key(|path| ContentHash::of(format!("{seed} {path}").as_bytes()).0);
    documents.truncate(documents.len() / 2);
    let name = ContentHash::of(docs.as_os_str().as_encoded_bytes()).0;
    let directory = session.config.data_dir()?.join("eval").join(format!("{}-half-{seed}", &name[..16]));
    let copies = directory.join("docs");
    match fs::remove_dir_all(&copies) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", copies.display()));
        }
        _ => {}
    }
    for path in documents.iter().chain(&rules) {
        let copy = copies.join(path);
        fs::create_dir_all(copy.parent().unwrap_or(&copies))
            .and_then(|()| fs::copy(docs.join(path), &copy).map(|_| ()))
            .with_context(|| format!("cannot copy {path} to {}", copies.display()))?;
    }
    Ok(Half { directory, kept: documents.into_iter().collect() })
}

/// All files below a directory, by their paths from `base`.
fn list(base: &Path, directory: &Path, paths: &mut Vec<String>) -> anyhow::Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        // Links are not followed: they may lead back.
        if entry.file_type()?.is_dir() {
            list(base, &path, paths)?;
        } else if let Ok(relative) = path.strip_prefix(base) {
            paths.push(relative.to_string_lossy().into_owned());
        }
    }
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
        None => "-".to_owned(),
        Some(number) if !value.is_u64() => format!("{number:.3}"),
        _ => value.to_string(),
    }
}

/// The questions of an evaluation folder, the first ones only where there is a limit.
pub fn read_questions(dir: &Path, limit: Option<usize>) -> anyhow::Result<Vec<Question>> {
    let path = dir.join("questions.jsonl");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut questions = Vec::new();
    let mut warnings = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = || format!("{}, line {}", path.display(), number + 1);
        let question: Question = serde_json::from_str(line).with_context(at)?;
        question.caller().with_context(at)?;
        if question.question.trim().is_empty() {
            bail!("{}: the question is empty", at());
        }
        if limit.is_none_or(|limit| questions.len() < limit) {
            let faults = missing_documents(&question, &dir.join("docs"));
            warnings.extend(faults.into_iter().map(|fault| format!("{}: {fault}", at())));
        }
        questions.push(question);
    }
    if questions.is_empty() {
        bail!("{} holds no question", path.display());
    }
    for warning in warnings.iter().take(MOST_WARNINGS) {
        eprintln!("warning: {warning}");
    }
    if warnings.len() > MOST_WARNINGS {
        eprintln!("warning: and so in {} more cases", warnings.len() - MOST_WARNINGS);
    }
    questions.truncate(limit.unwrap_or(usize::MAX));
    Ok(questions)
}

/// What a question names that is not among the documents: its place cannot be found, which no figure would tell.
fn missing_documents(question: &Question, docs: &Path) -> Vec<String> {
    let named = [&question.doc].into_iter().filter(|doc| !doc.is_empty()).chain(&question.also);
    let missing = named.filter(|document| !docs.join(document).is_file());
    missing
        .map(|document| format!("`{}` is not among the documents in {}", output::printable(document), docs.display()))
        .collect()
}

fn outcome<'a>(app: &App, question: &'a Question, mode: AnswerMode) -> anyhow::Result<Outcome<'a>> {
    let caller = question.caller()?;
    let retrieved = app.retriever()?.search(&caller, &question.question, DEPTH)?;
    let (evidence, found) = (Evidence::of(&retrieved), retrieved.found);
    let started = Instant::now();
    let ask = Ask::new(question.question.clone(), mode);
    let answer = app.ask(&caller, &ask, &mut |_| true)?;
    let ms = milliseconds(started);
    let citations_hold = citations_hold(app, &caller, &answer)?;
    Ok(Outcome { question, found, evidence, answer, citations_hold, ms })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_that_cannot_be_judged_are_told_by_their_line() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("docs")).unwrap();
        fs::write(folder.path().join("docs/a.md"), "# A").unwrap();
        let line = |question: &str, doc: &str| {
            serde_json::json!({"id": "1", "lang": "en", "question": question, "doc": doc, "answerable": true})
                .to_string()
        };
        let read = |lines: &[String]| {
            fs::write(folder.path().join("questions.jsonl"), lines.join("\n")).unwrap();
            read_questions(folder.path(), None)
        };
        let questions = read(&[line("Who?", "a.md"), String::new(), line("When?", "b.md")]).unwrap();
        let docs = folder.path().join("docs");
        assert!(missing_documents(&questions[0], &docs).is_empty());
        let missing = missing_documents(&questions[1], &docs);
        assert!(missing.len() == 1 && missing[0].contains("`b.md`"), "{missing:?}");
        let refused = read(&[line("Who?", "a.md"), String::new(), line(" ", "a.md")]).unwrap_err().to_string();
        assert!(refused.contains("line 3") && refused.contains("empty"), "{refused}");
    }
}
