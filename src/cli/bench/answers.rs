//! Whole answers over an evaluation folder: how long the generator takes from the prompt to the last sentence.
//!
//! With `--prompts` the prompts are written to a file, so that another engine can be given the same work: to read each
//! and to write as many tokens after it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, bail};
use intramuros_models::{GenerateRequest, Generator, Message, ModelError, TokenStream};
use serde_json::{Value, json};

use super::Measured;
use super::generator::listen;
use super::spread::{Spread, rate};
use crate::answer::{AnswerMode, Ask};
use crate::cli::output::Progress;
use crate::cli::{Session, eval};
use crate::eval::Question;

#[derive(clap::Args)]
pub struct Args {
    /// Measure whole answers in place of all else: DIR holds `docs/` and `questions.jsonl`, as for `eval`
    #[arg(long, value_name = "DIR")]
    pub answers: Option<PathBuf>,
    /// Answerable questions to ask, spread over all there are
    #[arg(long, value_name = "N", default_value_t = 200, requires = "answers")]
    questions: usize,
    /// Ask only the Kth of M parts of them
    #[arg(long, value_name = "K/M", value_parser = part, requires = "answers")]
    part: Option<(usize, usize)>,
    /// Write each prompt, its answer and what it took to this file, one a line
    #[arg(long, value_name = "FILE", requires = "answers")]
    prompts: Option<PathBuf>,
    /// Write each answer twice more, with and without guessing tokens ahead, and compare the texts
    #[arg(long, requires = "answers")]
    check_guesses: bool,
}

/// Asks the questions one after the other.
pub fn measure(session: &mut Session, folder: &Path, args: &Args) -> anyhow::Result<Measured> {
    let questions = eval::read_questions(folder, None)?;
    let chosen = choose(&questions, args.questions, args.part.unwrap_or((1, 1)));
    if chosen.is_empty() {
        bail!("{} holds no answerable question", folder.display());
    }
    let app = eval::open(session, folder)?;
    let generator = Overheard { generator: app.generator()?, request: Mutex::default() };

    let mut lines = String::new();
    let mut times = Vec::new();
    let (mut written, mut read, mut cached, mut whole_ms) = (0, 0, 0, 0.0);
    let mut guesses = args.check_guesses.then(Guesses::default);
    let mut progress = Progress::counting(chosen.len() as u64, "questions");
    for question in chosen {
        let ask = Ask::new(question.question.clone(), AnswerMode::Generate);
        let answer = app.ask_with(Some(&generator), &question.caller()?, &ask, &mut |_| true)?;
        progress.advance(1);
        whole_ms += answer.timings_ms.total;
        // Where nothing is near enough or fits, nothing is written.
        let Some(request) = generator.take() else { continue };
        let ms = answer.timings_ms.total - answer.timings_ms.retrieve;
        times.push(ms);
        written += answer.usage.completion_tokens;
        read += answer.usage.prompt_tokens;
        cached += answer.usage.cached_tokens;
        let line = json!({
            "id": question.id, "prompt": request.prompt, "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens, "answer": answer.answer, "ms": ms,
        });
        writeln!(lines, "{line}")?;
        if let Some(guesses) = &mut guesses {
            guesses.compare(generator.generator, &request)?;
        }
    }
    progress.finish();
    if let Some(path) = &args.prompts {
        std::fs::write(path, lines).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let (answers, generator_ms) = (times.len(), times.iter().sum::<f64>());
    let times = Spread::of(times);
    let mut figures = json!({
        "answers": answers, "prompt_tokens": read, "cached_tokens": cached, "completion_tokens": written,
        "generator_s": generator_ms / 1000.0, "whole_s": whole_ms / 1000.0, "answer_ms": times,
    });
    let once = |value: f64, what: &str, unit: &str| Spread::of(vec![value]).row(what, unit);
    let mut rows = vec![
        times.row(&format!("{answers} answers, from prompt to last sentence"), "ms"),
        once(rate(read, generator_ms), "  tokens of their prompts in that time", "tokens/s"),
        once(rate(written, generator_ms), "  tokens written in that time", "tokens/s"),
        once(whole_ms / 1000.0, "  all of it, search included", "s"),
    ];
    if let Some(guesses) = guesses {
        figures["guesses"] = guesses.figures();
        rows.extend(guesses.rows());
    }
    Ok(Measured { name: "answers", figures, rows })
}

/// A part of `wanted` answerable questions, which are taken evenly from all.
fn choose(questions: &[Question], wanted: usize, (part, parts): (usize, usize)) -> Vec<&Question> {
    let answerable: Vec<&Question> = questions.iter().filter(|question| question.answerable).collect();
    let wanted = wanted.min(answerable.len());
    let range = (part - 1) * wanted / parts..part * wanted / parts;
    range.map(|i| answerable[i * answerable.len() / wanted]).collect()
}

/// `2/4`.
fn part(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    match numbers {
        Some((part, parts)) if (1..=parts).contains(&part) => Ok((part, parts)),
        _ => Err("must be a part of several, `1/4` to `4/4` say".to_owned()),
    }
}

/// Answers written with and without guessing tokens ahead.
#[derive(Default)]
struct Guesses {
    answers: usize,
    same: usize,
    tokens: usize,
    passes: usize,
    drafted: usize,
    accepted: usize,
    with_ms: f64,
    without_ms: f64,
}

impl Guesses {
    fn compare(&mut self, generator: &dyn Generator, request: &GenerateRequest) -> Result<(), ModelError> {
        // Whatever is kept of earlier prompts is kept for both; only the writing is compared.
        let write = |speculate| listen(generator, GenerateRequest { speculate, ..request.clone() });
        let (with, without) = (write(true)?, write(false)?);
        self.answers += 1;
        self.same += usize::from(with.text == without.text);
        self.tokens += with.summary.completion_tokens;
        self.passes += with.summary.passes;
        self.drafted += with.summary.drafted_tokens;
        self.accepted += with.summary.accepted_tokens;
        self.with_ms += with.summary.decode_ms;
        self.without_ms += without.summary.decode_ms;
        Ok(())
    }

    fn figures(&self) -> Value {
        json!({
            "answers": self.answers, "same_text": self.same, "completion_tokens": self.tokens, "passes": self.passes,
            "drafted_tokens": self.drafted, "accepted_tokens": self.accepted,
            "decode_s": self.with_ms / 1000.0, "plain_decode_s": self.without_ms / 1000.0,
        })
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        let row = |value: f64, what: &str, unit: &str| Spread::of(vec![value]).row(what, unit);
        vec![
            row(self.same as f64, "  answers of the same text without guessing ahead", "answers"),
            row(share(self.tokens, self.passes), "  tokens written in a pass of the network", "tokens"),
            row(100.0 * share(self.accepted, self.drafted), "  guesses that were right", "%"),
            row(self.without_ms / self.with_ms.max(f64::MIN_POSITIVE), "  writing is faster with them", "times"),
        ]
    }
}

/// A generator that keeps the request it was given last.
struct Overheard<'a> {
    generator: &'a dyn Generator,
    request: Mutex<Option<GenerateRequest>>,
}

impl Overheard<'_> {
    fn take(&self) -> Option<GenerateRequest> {
        self.request.lock().ok()?.take()
    }
}

impl Generator for Overheard<'_> {
    fn identity(&self) -> &str {
        self.generator.identity()
    }

    fn context_length(&self) -> usize {
        self.generator.context_length()
    }

    fn prefill_rate(&self) -> Option<f32> {
        self.generator.prefill_rate()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.generator.count_tokens(text)
    }

    fn render(&self, messages: &[Message]) -> Result<String, ModelError> {
        self.generator.render(messages)
    }

    fn generate(&self, request: GenerateRequest) -> Result<TokenStream, ModelError> {
        if let Ok(mut last) = self.request.lock() {
            *last = Some(request.clone());
        }
        self.generator.generate(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_every_chosen_question_once() {
        let line =
            |n: usize| json!({ "id": n.to_string(), "lang": "en", "question": "", "answerable": !n.is_multiple_of(3) });
        let questions: Vec<Question> = (0..900).map(|n| serde_json::from_value(line(n)).unwrap()).collect();
        let ids = |part| choose(&questions, 200, part).iter().map(|q| q.id.clone()).collect::<Vec<_>>();
        let all = ids((1, 1));
        assert_eq!((all.len(), all[1].as_str()), (200, "5"));
        assert_eq!([ids((1, 3)), ids((2, 3)), ids((3, 3))].concat(), all);
        assert_eq!(choose(&questions[..4], 200, (1, 1)).len(), 2);
        assert!(choose(&questions[..1], 200, (1, 1)).is_empty());
    }

    #[test]
    fn a_part_lies_within_its_parts() {
        assert_eq!(part("2/4"), Ok((2, 4)));
        for wrong in ["", "2", "0/4", "5/4", "a/b", "1/0"] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }
}
