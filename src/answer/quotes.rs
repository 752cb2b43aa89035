//! Exact quotes: the sentences of the found passages that come closest to the question, as they stand.
//!
//! A sentence is weighed by its passage, by the question's words that it has, alone and together with the sentence before it
//! and the headings above it («It is due on the 5th» answers below «Rent»), by whether it holds the kind of thing asked for,
//! and, in a language that the embedder covers, by its meaning.

use intramuros_models::{Embedder, ModelError};

use super::passage::{self, Span};
use crate::retrieve::asked::Asked;
use crate::retrieve::{Found, Retrieved};
use crate::store::StoredChunk;

/// Sentences of one answer. A question asks for one thing, and the second place to find it is worth its reading.
const MAX_SENTENCES: usize = 2;
/// Rows of tables of one answer, which may be a list.
const MAX_ROWS: usize = 5;
/// Words of all quotes together, where the best alone has fewer.
const MAX_WORDS: usize = 60;
/// Passages that quotes are taken from.
const MAX_PASSAGES: usize = 5;
/// Sentences weighed, so that one huge passage cannot take long.
const MAX_WEIGHED: usize = 60;
/// A quote weaker than this share of the best is not shown.
const MIN_SHARE_OF_BEST: f32 = 0.68;
/// The same of rows, which are all alike.
const MIN_SHARE_OF_BEST_ROW: f32 = 0.9;
/// Words of the shortest quote.
const MIN_WORDS: usize = 4;

/// What speaks for a sentence and how much it counts.
struct Weights {
    passage: f32,
    words: f32,
    around: f32,
    kind: f32,
    meaning: f32,
}

/// In a language that the embedder covers.
const COVERED: Weights = Weights { passage: 0.7, words: 0.3, around: 0.1, kind: 0.1, meaning: 0.6 };
/// In another one, where vectors say nothing about single sentences.
const UNCOVERED: Weights = Weights { passage: 0.7, words: 0.4, around: 0.2, kind: 0.2, meaning: 0.0 };

/// A sentence, or a table row, of a passage.
pub struct Quote<'a> {
    /// The passage.
    pub chunk: &'a StoredChunk,
    /// Where it stands in its text.
    pub span: Span,
    /// The words it is weighed by: a row with the header that names its cells.
    text: String,
    words: usize,
    score: f32,
}

/// The sentences and rows of a passage that say something alone: no headers of tables.
fn candidates<'a>(found: &'a Found, asked: &Asked, weights: &Weights) -> Vec<Quote<'a>> {
    let chunk = &found.chunk;
    let text = &chunk.text;
    let headings = format!("{} {}", chunk.title, chunk.section.join(" "));
    let mut candidates = Vec::new();
    let mut before = "";
    for span in passage::spans(text) {
        let own = &text[span.range.clone()];
        let around = format!("{headings}\n{before}\n{own}");
        before = own;
        if span.row.as_ref().is_some_and(|row| row.is_header) {
            continue;
        }
        let header = span.row.as_ref().and_then(|row| row.header.clone());
        let header = header.map(|range| format!("{}\n", &text[range])).unwrap_or_default();
        let weighed = format!("{header}{own}");
        let words = weighed.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count();
        if words < MIN_WORDS {
            continue;
        }
        let kind = match (asked.is_specific(), asked.fits(own)) {
            (false, _) => 0.5,
            (true, true) => 1.0,
            (true, false) => 0.0,
        };
        let score = weights.passage * found.score
            + weights.words * asked.share(&weighed)
            + weights.around * asked.share(&around)
            + weights.kind * kind;
        candidates.push(Quote { chunk, span, text: weighed, words, score });
    }
    candidates
}

/// The best quotes for a question, best first; at least one when there is any sentence at all.
pub fn best<'a>(
    embedder: &dyn Embedder,
    question: &str,
    retrieved: &'a Retrieved,
) -> Result<Vec<Quote<'a>>, ModelError> {
    let weights = if retrieved.is_covered { &COVERED } else { &UNCOVERED };
    let mut candidates: Vec<Quote<'a>> = Vec::new();
    for found in retrieved.found.iter().take(MAX_PASSAGES) {
        candidates.extend(self::candidates(found, &retrieved.asked, weights));
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MAX_WEIGHED);
    if weights.meaning > 0.0 && !candidates.is_empty() {
        let texts: Vec<&str> = candidates.iter().map(|quote| quote.text.as_str()).collect();
        let vector = embedder.embed_query(question)?;
        let vectors = embedder.embed_passages(&texts)?;
        for (quote, own) in candidates.iter_mut().zip(&vectors) {
            quote.score += weights.meaning * vector.iter().zip(own).map(|(a, b)| a * b).sum::<f32>();
        }
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(chosen(candidates))
}

/// The best of sorted quotes, as many as an answer may have.
fn chosen(sorted: Vec<Quote<'_>>) -> Vec<Quote<'_>> {
    let greatest = sorted.first().map_or(0.0, |best| best.score);
    let (mut words, mut sentences, mut rows) = (0, 0, 0);
    let mut chosen = Vec::new();
    for quote in sorted {
        let (count, most, share) = match quote.span.row {
            None => (&mut sentences, MAX_SENTENCES, MIN_SHARE_OF_BEST),
            Some(_) => (&mut rows, MAX_ROWS, MIN_SHARE_OF_BEST_ROW),
        };
        let has_room = words + quote.words <= MAX_WORDS;
        if chosen.is_empty() || (has_room && *count < most && quote.score >= share * greatest) {
            *count += 1;
            words += quote.words;
            chosen.push(quote);
        }
    }
    chosen
}
