//! Evidence first: a small model is given the sentences that answer and says them in its own words. What it leaves out of
//! them is an answer that nobody gets, so that its words are kept only where they tell all of what was asked for.

use std::collections::{BTreeSet, HashSet};

use super::facts::folded_words;
use super::quotes::Quote;
use crate::retrieve::asked::Asked;
use crate::store::{StoredChunk, bm25};

/// Share of the words of the evidence, those of the question aside, that must be told where it is not clear what kind of
/// thing is asked for.
const MIN_TOLD: f32 = 0.6;

/// The quotes as passages of their own; none where one is the row of a table, which is best shown as it stands.
pub fn passages(quotes: &[Quote<'_>]) -> Option<Vec<StoredChunk>> {
    quotes.iter().map(|quote| quote.span.row.is_none().then(|| excerpt(quote))).collect()
}

fn excerpt(quote: &Quote<'_>) -> StoredChunk {
    let chunk = quote.chunk;
    let text = &chunk.text[quote.span.range.clone()];
    let start = chunk.start + chunk.text[..quote.span.range.start].chars().count();
    StoredChunk { text: text.to_owned(), start, end: start + text.chars().count(), ..chunk.clone() }
}

/// Whether a text tells what the evidence has of the kind of thing asked for; where that is not clear or the evidence has
/// none, most of what it says.
pub fn tells(text: &str, evidence: &str, asked: &Asked) -> bool {
    let told: HashSet<String> = folded_words(text).collect();
    let mut things = asked.things(evidence).peekable();
    if things.peek().is_some() {
        return things.all(|thing| told.contains(&thing));
    }
    let new: BTreeSet<u32> = bm25::words(evidence, None).difference(asked.words()).copied().collect();
    let held = bm25::words(text, None).intersection(&new).count();
    held as f32 >= MIN_TOLD * new.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_asked_for_must_be_told() {
        let tells = |question: &str, evidence: &str, text: &str| super::tells(text, evidence, &Asked::read(question));
        let evidence = "Employees have 23 days of leave, or 25 after ten years.";
        assert!(tells("How many days of leave do I have?", evidence, "You have 23 days, 25 after ten years."));
        assert!(!tells("How many days of leave do I have?", evidence, "You have 23 days of leave."));
        let evidence = "Contracts are signed by the head of Legal, Ana Ruiz.";
        assert!(tells("Who signs contracts?", evidence, "Ana Ruiz, head of Legal, signs them."));
        assert!(!tells("Who signs contracts?", evidence, "The head of Legal signs them."));
        let evidence = "Change the bottle of waste toner and close the front cover.";
        assert!(tells("How do I mend E-52?", evidence, "Change the waste toner bottle, close the front cover."));
        assert!(!tells("How do I mend E-52?", evidence, "Close the cover."));
    }
}
