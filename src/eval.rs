//! Figures over a set of questions with known answers: how often retrieval finds the place and answers hold.
//!
//! F1 and exact match are those of SQuAD (Rajpurkar et al. 2016): lower case, without punctuation and articles.

use intramuros_ingest::access::{Acl, Caller};
use intramuros_ingest::{escape, sentence};
use serde::Deserialize;

mod compare;
mod figures;
mod report;

pub use compare::{Changed, Comparison, Difference, compare};
pub use figures::{Figures, Record, StageTimes, figures, percentile};
pub use report::html;

use crate::answer::relevance::Evidence;
use crate::answer::{Answer, AnswerMode, differ, lead_in, unanswered};
use crate::retrieve::Found;

/// A line of `questions.jsonl`.
#[derive(Clone, Debug, Deserialize)]
pub struct Question {
    /// Unique in its file.
    pub id: String,
    /// `en` or `es`.
    pub lang: String,
    /// As a person asks it.
    pub question: String,
    /// Path of the document that answers it, below `docs`.
    #[serde(default)]
    pub doc: String,
    /// Other documents that answer it as well, in words of their own.
    #[serde(default)]
    pub also: Vec<String>,
    /// The words of that document that answer it.
    #[serde(default)]
    pub evidence: String,
    /// Accepted answers.
    #[serde(default)]
    pub answers: Vec<String>,
    /// Whether any document answers it.
    pub answerable: bool,
    /// Who asks; everyone unless said.
    #[serde(default, rename = "as")]
    pub principals: Option<String>,
}

impl Question {
    /// On whose behalf it is asked.
    pub fn caller(&self) -> Result<Caller, intramuros_ingest::access::InvalidPrincipal> {
        let principals: Acl = self.principals.as_deref().map_or(Ok(Acl::nobody()), str::parse)?;
        Ok(Caller::new(principals.readers().cloned()))
    }
}

/// What came of one question.
pub struct Outcome<'a> {
    /// The question.
    pub question: &'a Question,
    /// Passages, best first, ten at least if there are as many.
    pub found: Vec<Found>,
    /// What speaks for them.
    pub evidence: Evidence,
    /// The answer.
    pub answer: Answer,
    /// Whether every quote is the stored text, byte for byte, and every sentence of the answer has the mark of one.
    pub citations_hold: bool,
    /// Whole time.
    pub ms: f64,
}

impl Outcome<'_> {
    /// What is kept of it.
    pub fn record(&self) -> Record {
        let (question, answer) = (self.question, &self.answer);
        Record {
            id: question.id.clone(),
            lang: question.lang.clone(),
            question: question.question.clone(),
            answerable: question.answerable,
            rank: rank_of(self),
            evidence_at_5: evidence_in(self, 5),
            evidence_at_10: evidence_in(self, 10),
            relevance: f64::from(answer.relevance),
            evidence: self.evidence,
            abstained: answer.abstained,
            fell_back: answer.fell_back,
            contains_gold: best_over(self, contains),
            f1: best_over(self, f1),
            exact: best_over(self, exact),
            cited: self.citations_hold,
            words: plain(&answer.answer).split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count(),
            ms: self.ms,
            retrieve_ms: answer.timings_ms.retrieve,
            prefill_ms: answer.timings_ms.prefill,
            decode_ms: answer.timings_ms.decode,
            answer: answer.answer.clone(),
        }
    }
}

/// Whether every sentence or quote of an answer ends in the mark of a citation of it, and quotes are those of their marks.
pub fn marks_hold(answer: &Answer) -> bool {
    match answer.mode {
        AnswerMode::Generate => sentences_are_marked(answer),
        AnswerMode::Extract => quotes_are_marked(answer),
    }
}

fn sentences_are_marked(answer: &Answer) -> bool {
    let mut rest = answer.answer.as_str();
    if !answer.unanswered.is_empty() {
        rest = rest.split(unanswered(answer.language)).next().unwrap_or_default();
    }
    let mut marked = false;
    while let Some((before, n, after)) = next_mark(rest) {
        let text = before.trim();
        // Marks may follow each other; where two sentences stand before one, the first has none.
        let follows = marked && text.is_empty();
        if !(1..=answer.citations.len()).contains(&n) || !(follows || sentence::sentences(text).len() == 1) {
            return false;
        }
        marked = true;
        rest = after;
    }
    marked && rest.trim().is_empty()
}

fn quotes_are_marked(answer: &Answer) -> bool {
    let quotes: Vec<String> = answer.citations.iter().map(|c| format!("«{}» [{}]", c.quote, c.n)).collect();
    let mut rest = answer.answer.as_str();
    if answer.fell_back {
        rest = rest.strip_prefix(lead_in(answer.language)).unwrap_or(rest).trim_start();
    }
    while !rest.is_empty() {
        if rest.starts_with(unanswered(answer.language)) || rest.starts_with(differ(answer.language)) {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
            continue;
        }
        let Some(after) = quotes.iter().find_map(|quote| rest.strip_prefix(quote.as_str())) else { return false };
        rest = after.trim_start();
    }
    !quotes.is_empty()
}

/// The text before the first mark `[n]`, its number, and what follows.
fn next_mark(text: &str) -> Option<(&str, usize, &str)> {
    let mut from = 0;
    while let Some(open) = text[from..].find('[') {
        let inside = from + open + 1;
        let digits = text[inside..].bytes().take_while(u8::is_ascii_digit).count();
        if text[inside + digits..].starts_with(']') && digits > 0 {
            let n = text[inside..inside + digits].parse().ok()?;
            return Some((&text[..inside - 1], n, &text[inside + digits + 1..]));
        }
        from = inside;
    }
    None
}

/// 1-based rank of the first chunk that answers: of the right document, where it overlaps the evidence and holds an
/// answer, or of one that answers as well, where it holds an answer.
fn rank_of(outcome: &Outcome<'_>) -> Option<usize> {
    let question = outcome.question;
    let evidence = tokens(&question.evidence);
    let answers: Vec<Vec<String>> = question.answers.iter().map(|a| tokens(a)).filter(|a| !a.is_empty()).collect();
    let hit = |found: &&Found| {
        let text = tokens(&found.chunk.text);
        let is_of = |document: &String| found.chunk.uri.ends_with(&uri_tail(document));
        let answers_it = answers.iter().any(|answer| holds(&text, answer));
        let right = is_of(&question.doc) && overlaps(&text, &evidence) && (answers.is_empty() || answers_it);
        right || (answers_it && question.also.iter().any(is_of))
    };
    outcome.found.iter().position(|found| hit(&found)).map(|at| at + 1)
}

/// A document's path as it stands at the end of its `file://` address.
fn uri_tail(path: &str) -> String {
    format!("/{}", escape::percent(path.as_bytes(), escape::PATH))
}

/// Share of the evidence's words that stand in the first `most` passages of its document.
fn evidence_in(outcome: &Outcome<'_>, most: usize) -> f64 {
    let evidence = tokens(&outcome.question.evidence);
    let document = uri_tail(&outcome.question.doc);
    let mut held = 0;
    for found in outcome.found.iter().take(most).filter(|found| found.chunk.uri.ends_with(&document)) {
        held += common(&tokens(&found.chunk.text), &evidence);
    }
    figures::share(held.min(evidence.len()) as f64, evidence.len())
}

/// Words of the evidence in a passage: all where one holds the other, else those at which one ends and the other begins.
fn common(text: &[String], evidence: &[String]) -> usize {
    if evidence.is_empty() || holds(text, evidence) {
        return evidence.len();
    }
    if holds(evidence, text) {
        return text.len();
    }
    let most = text.len().min(evidence.len());
    let meets = |n: &usize| text[text.len() - n..] == evidence[..*n] || evidence[evidence.len() - n..] == text[..*n];
    (1..=most).rev().find(meets).unwrap_or(0)
}

/// Whether one holds the other, or the end of one is the beginning of the other by at least eight words.
fn overlaps(text: &[String], evidence: &[String]) -> bool {
    const LEAST: usize = 8;
    if evidence.is_empty() || holds(text, evidence) || holds(evidence, text) {
        return true;
    }
    let most = text.len().min(evidence.len());
    (LEAST..=most).any(|n| text[text.len() - n..] == evidence[..n] || evidence[evidence.len() - n..] == text[..n])
}

fn holds(text: &[String], part: &[String]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

fn best_over(outcome: &Outcome<'_>, measure: fn(&[String], &[String]) -> f64) -> f64 {
    if outcome.answer.abstained {
        return 0.0;
    }
    // A part of the question that is told as unanswered is no answer.
    let text = plain(&outcome.answer.answer);
    let told = unanswered(outcome.answer.language);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with(told)).collect();
    let given = tokens(&lines.join("\n"));
    outcome.question.answers.iter().map(|gold| measure(&given, &tokens(gold))).fold(0.0, f64::max)
}

fn contains(given: &[String], gold: &[String]) -> f64 {
    f64::from(u8::from(holds(given, gold)))
}

fn exact(given: &[String], gold: &[String]) -> f64 {
    f64::from(u8::from(!gold.is_empty() && given == gold))
}

fn f1(given: &[String], gold: &[String]) -> f64 {
    let mut left = gold.to_vec();
    let mut common = 0.0;
    for token in given {
        if let Some(at) = left.iter().position(|other| other == token) {
            left.swap_remove(at);
            common += 1.0;
        }
    }
    if common == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (common / given.len() as f64, common / gold.len() as f64);
    2.0 * precision * recall / (precision + recall)
}

/// An answer without its citation marks.
fn plain(answer: &str) -> String {
    let mut text = String::new();
    for (i, part) in answer.split('[').enumerate() {
        match part.split_once(']') {
            Some((mark, rest)) if i > 0 && mark.chars().all(|c| c.is_ascii_digit()) => text.push_str(rest),
            _ => text.push_str(part),
        }
    }
    text
}

const ARTICLES: &[&str] = &["a", "an", "the", "el", "la", "los", "las", "un", "una", "unos", "unas"];

fn tokens(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty() && !ARTICLES.contains(word));
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        tokens(text)
    }

    #[test]
    fn evidence_is_counted_as_far_as_a_passage_holds_it() {
        let evidence = words("one two three four five six");
        assert_eq!(common(&words("zero one two three four five six seven"), &evidence), 6);
        assert_eq!(common(&words("zero one two"), &evidence), 2);
        assert_eq!(common(&words("five six seven"), &evidence), 2);
        assert_eq!(common(&words("three four"), &evidence), 2);
        assert_eq!(common(&words("nothing"), &evidence), 0);
    }

    #[test]
    fn f1_and_exact_match_follow_squad() {
        assert_eq!(exact(&words("The 23 days."), &words("23 days")), 1.0);
        assert_eq!(f1(&words("23 working days"), &words("23 days")), 0.8);
        assert_eq!(contains(&words("It is 23 days a year"), &words("23 days")), 1.0);
        assert_eq!(f1(&words("nothing"), &words("23 days")), 0.0);
    }

    #[test]
    fn overlap_needs_more_than_a_few_shared_words() {
        let evidence = words("one two three four five six seven eight nine ten");
        assert!(overlaps(&words("zero one two three four five six seven eight"), &evidence));
        assert!(!overlaps(&words("zero one two three"), &evidence));
        assert!(overlaps(&words("three four five"), &evidence));
    }

    #[test]
    fn marks_do_not_count_as_words() {
        assert_eq!(plain("Yes [1]. No [12] [x]"), "Yes . No  x]");
    }

    /// Answers as they are printed; only the text, the mode and the quotes matter here.
    fn answer(mode: &str, text: &str, quotes: &[&str]) -> Answer {
        let cite = |(at, quote): (usize, &&str)| {
            serde_json::json!({"n": at + 1, "document_id": uuid::Uuid::nil(), "title": "", "uri": "", "page": null,
                "start": 0, "end": quote.chars().count(), "quote": quote})
        };
        let citations: Vec<serde_json::Value> = quotes.iter().enumerate().map(cite).collect();
        serde_json::from_value(serde_json::json!({
            "answer": text, "abstained": false, "citations": citations, "unsupported": [], "left_out": [], "model": null,
            "usage": {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0},
            "timings_ms": {"retrieve": 0.0, "prefill": 0.0, "decode": 0.0, "total": 0.0}, "mode": mode,
            "fell_back": false, "language": null,
            "provenance": {"embedder": "", "prompt_sha256": null, "passages": [], "seed": null},
        }))
        .unwrap()
    }

    #[test]
    fn every_sentence_needs_the_mark_of_a_citation() {
        let holds = |text: &str| marks_hold(&answer("generate", text, &["Pay is due.", "Leave ends."]));
        for text in ["Pay is due. [1] Leave ends. [2]", "Pay is due. [1] [2]", "La paga vence. [1] Array a[i] is. [2]"]
        {
            assert!(holds(text), "{text}");
        }
        for text in [
            "",
            "Pay is due.",
            "Pay is due. Leave ends. [2]",
            "Pay is due. [1] Leave ends.",
            "Pay is due. [3]",
            "[1] Pay.",
        ] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn quotes_are_those_of_their_marks() {
        let holds = |text: &str| marks_hold(&answer("extract", text, &["Véase [2].", "Leave ends."]));
        assert!(holds("«Véase [2].» [1]\n«Leave ends.» [2]"));
        for text in ["«Leave ends.» [1]", "«Véase [2].» [1]\nLeave ends. [2]", "«Leave ends.»", "«Leave ends.» [2] So."]
        {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn another_document_that_answers_as_well_is_a_hit() {
        let question: Question = serde_json::from_value(serde_json::json!({
            "id": "1", "lang": "es", "question": "", "doc": "a/uno.md", "also": ["b/dos nuevo.md"],
            "evidence": "Las vacaciones son 23 días", "answers": ["23 días"], "answerable": true,
        }))
        .unwrap();
        let found = |uri: &str, text: &str| {
            Found::new(
                1.0,
                None,
                crate::store::StoredChunk { uri: uri.into(), ..crate::store::StoredChunk::of_text(uri, text) },
            )
        };
        let rank = |found: Vec<Found>| {
            let answer = answer("extract", "", &[]);
            rank_of(&Outcome {
                question: &question,
                found,
                evidence: Evidence::default(),
                answer,
                citations_hold: true,
                ms: 0.0,
            })
        };
        let other = "Cada año hay 23 días libres.";
        assert_eq!(rank(vec![found("file:///b/dos%20nuevo.md", other)]), Some(1));
        assert_eq!(rank(vec![found("file:///b/dos%20nuevo.md", "Cada año hay fiesta.")]), None);
        assert_eq!(
            rank(vec![found("file:///c.md", other), found("file:///a/uno.md", "Las vacaciones son 23 días.")]),
            Some(2)
        );
    }
}
