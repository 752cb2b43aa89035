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
/// Words, folded, that say for whom or when something does not hold.
const CONDITIONS: &[&str] =
    &["except", "excepto", "excluding", "only", "salvo", "solamente", "solo", "unicamente", "unless"];

/// The quotes as passages of their own, neighbours as one; none where one is the row of a table or an item below what
/// opens its list, which are best shown as they stand.
pub fn passages(quotes: &[Quote<'_>]) -> Option<Vec<StoredChunk>> {
    let mut sorted: Vec<&Quote<'_>> = quotes.iter().collect();
    sorted.sort_by_key(|quote| quote.at);
    let mut passages: Vec<StoredChunk> = Vec::new();
    let mut before = None;
    for quote in sorted {
        if quote.span.row.is_some() || quote.lead.is_some() {
            return None;
        }
        let chunk = quote.chunk;
        let offset = |byte: usize| chunk.start + chunk.text[..byte].chars().count();
        let (start, end) = (offset(quote.span.range.start), offset(quote.span.range.end));
        let follows = before == Some((quote.at.0, quote.at.1.wrapping_sub(1)));
        before = Some(quote.at);
        match passages.last_mut().filter(|_| follows) {
            Some(last) => {
                last.end = end;
                let inside = |at: usize| chunk.text.chars().skip(at - chunk.start);
                last.text = inside(last.start).take(last.end - last.start).collect();
            }
            None => {
                let text = chunk.text[quote.span.range.clone()].to_owned();
                passages.push(StoredChunk { text, start, end, ..chunk.clone() });
            }
        }
    }
    Some(passages)
}

/// Whether a text tells what the evidence has of the kind of thing asked for, with its exceptions; where that is not clear
/// or the evidence has none, most of what it says.
pub fn tells(text: &str, evidence: &str, asked: &Asked) -> bool {
    let words: HashSet<String> = folded_words(text).collect();
    if folded_words(evidence).any(|word| CONDITIONS.contains(&word.as_str()) && !words.contains(&word)) {
        return false;
    }
    let told: HashSet<String> = asked.things(text).collect();
    let mut things = asked.things(evidence).peekable();
    if things.peek().is_some() {
        return things.all(|thing| told.contains(&thing) || words.contains(&thing));
    }
    let new: BTreeSet<u32> = bm25::words(evidence, None).difference(asked.words()).copied().collect();
    let held = bm25::words(text, None).intersection(&new).count();
    held as f32 >= MIN_TOLD * new.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieve::spans::Span;

    #[test]
    fn all_that_was_asked_for_must_be_told() {
        let tells = |question: &str, evidence: &str, text: &str| super::tells(text, evidence, &Asked::read(question));
        let evidence = "Employees have 23 days of leave, or 25 after ten years.";
        assert!(tells("How many days of leave do I have?", evidence, "You have 23 days, 25 after ten years."));
        assert!(!tells("How many days of leave do I have?", evidence, "You have 23 days of leave."));
        for figure in ["1,850 euros", "2.5 %", "08:30", "31/03/2026", "24-hour service"] {
            assert!(
                tells("How much is it?", &format!("The fee is {figure}."), &format!("It is {figure}.")),
                "{figure}"
            );
        }
        assert!(!tells("How much is it?", "The fee is 1,850 euros.", "It is 1,580 euros."));
        assert!(!tells("How many days?", "It is 23 days, except for interns.", "It is 23 days."));
        let evidence = "Contracts are signed by the head of Legal, Ana Ruiz.";
        assert!(tells("Who signs contracts?", evidence, "Ana Ruiz, head of Legal, signs them."));
        assert!(!tells("Who signs contracts?", evidence, "The head of Legal signs them."));
        let evidence = "Change the bottle of waste toner and close the front cover.";
        assert!(tells("How do I mend E-52?", evidence, "Change the waste toner bottle, close the front cover."));
        assert!(!tells("How do I mend E-52?", evidence, "Close the cover."));
    }

    #[test]
    fn neighbouring_quotes_are_one_passage_of_the_document() {
        let chunk = StoredChunk { start: 100, ..StoredChunk::of_text("a", "Año uno. Año dos. Y tres. Y más.") };
        let quote = |at: usize, text: &str| {
            let start = chunk.text.find(text).unwrap();
            Quote::of(&chunk, Span { range: start..start + text.len(), row: None }, (0, at))
        };
        let passages = passages(&[quote(1, "Año dos."), quote(3, "Y más."), quote(0, "Año uno.")]).unwrap();
        let seen: Vec<_> = passages.iter().map(|passage| (passage.start, passage.end, passage.text.as_str())).collect();
        assert_eq!(seen, [(100, 117, "Año uno. Año dos."), (126, 132, "Y más.")]);
    }
}
