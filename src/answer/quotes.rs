//! Exact quotes: the sentences of the found passages that come closest to the question, as they stand.

use intramuros_models::{Embedder, ModelError};

use super::passage::{self, Span};
use crate::retrieve::Found;
use crate::store::{StoredChunk, bm25};

/// Quotes of one answer.
const MAX_QUOTES: usize = 3;
/// Passages that quotes are taken from.
const MAX_PASSAGES: usize = 5;
/// Sentences weighed, so that one huge passage cannot take long.
const MAX_SENTENCES: usize = 60;
/// A quote weaker than this share of the best is not shown.
const MIN_SHARE_OF_BEST: f32 = 0.85;
/// Words of the shortest quote.
const MIN_WORDS: usize = 4;

/// A sentence, or a table row, of a passage.
pub struct Quote<'a> {
    /// The passage.
    pub chunk: &'a StoredChunk,
    /// Where it stands in its text.
    pub span: Span,
    /// The words it is weighed by: a row with the header that names its cells.
    text: String,
    score: f32,
}

/// The sentences and rows of a passage that say something alone: no headers of tables.
fn candidates(found: &Found) -> Vec<Quote<'_>> {
    let text = &found.chunk.text;
    let mut candidates = Vec::new();
    for span in passage::spans(text) {
        if span.row.as_ref().is_some_and(|row| row.is_header) {
            continue;
        }
        let header = span.row.as_ref().and_then(|row| row.header.clone());
        let header = header.map(|range| format!("{}\n", &text[range])).unwrap_or_default();
        let weighed = format!("{header}{}", &text[span.range.clone()]);
        let words = weighed.split_whitespace().filter(|word| word.contains(char::is_alphanumeric));
        if words.count() >= MIN_WORDS {
            // A passage that fits as a whole lends its sentences some of its weight.
            candidates.push(Quote { chunk: &found.chunk, span, text: weighed, score: 0.3 * found.score });
        }
    }
    candidates
}

/// The best quotes for a question, best first; at least one when there is any sentence at all.
pub fn best<'a>(embedder: &dyn Embedder, question: &str, found: &'a [Found]) -> Result<Vec<Quote<'a>>, ModelError> {
    let mut candidates: Vec<Quote<'a>> = Vec::new();
    for found in found.iter().take(MAX_PASSAGES) {
        candidates.extend(self::candidates(found));
    }
    candidates.truncate(MAX_SENTENCES);
    let texts: Vec<&str> = candidates.iter().map(|quote| quote.text.as_str()).collect();
    if texts.is_empty() {
        return Ok(candidates);
    }
    let asked = embedder.embed_query(question)?;
    let vectors = embedder.embed_passages(&texts)?;
    let terms = bm25::query(question, None).indices;
    for (quote, vector) in candidates.iter_mut().zip(&vectors) {
        let cosine: f32 = asked.iter().zip(vector).map(|(a, b)| a * b).sum();
        let own = bm25::query(&quote.text, None).indices;
        let common = terms.iter().filter(|term| own.contains(term)).count();
        quote.score += cosine + 0.5 * common as f32 / terms.len().max(1) as f32;
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let least = candidates[0].score * MIN_SHARE_OF_BEST;
    candidates.retain(|quote| quote.score >= least);
    candidates.truncate(MAX_QUOTES);
    Ok(candidates)
}
