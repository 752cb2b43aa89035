//! Documents that contradict each other: both are quoted, and named.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::super::passage::Said;
use super::Quote;
use crate::retrieve::{Retrieved, edition};

/// How much less likely a sentence may be that disputes the best one, in log-odds.
const DISPUTE_REACH: f32 = 2.5;
/// The share of words that both must have, and how many; the share where they are of two editions of one document.
const DISPUTE_OVERLAP: f32 = 0.8;
const DISPUTE_WORDS: usize = 4;
const EDITION_OVERLAP: f32 = 0.6;

/// A sentence of another document that speaks of the same as the best one and gives another figure or date. Of the same
/// speaks another edition of a document, in other words too; of other documents only what is nearly the same sentence: two
/// leases have two rents and contradict nothing.
pub fn disputing<'a>(best: &Quote<'a>, quotes: &[Quote<'a>], retrieved: &Retrieved) -> Option<Quote<'a>> {
    if !retrieved.asked.wants_figures() || best.span.row.is_some() {
        return None;
    }
    let read = |quote: &Quote<'a>| Said::read(&quote.chunk.text[quote.span.range.clone()], quote.chunk.language);
    let own = read(best);
    let disputes = |quote: &&Quote<'a>| {
        let other = read(quote);
        let common = own.terms.intersection(&other.terms).count();
        let share = common as f32 / own.terms.len().min(other.terms.len()).max(1) as f32;
        let speaks_of_same = if edition::is_same_work(&best.chunk.title, &quote.chunk.title) {
            share >= EDITION_OVERLAP
        } else {
            share >= DISPUTE_OVERLAP && common >= DISPUTE_WORDS && own.facts.names == other.facts.names
        };
        let differ = |a: &BTreeSet<String>, b: &BTreeSet<String>| !a.is_empty() && !b.is_empty() && a.is_disjoint(b);
        let dates_differ = !own.facts.dates.is_empty()
            && !other.facts.dates.is_empty()
            && own.facts.dates.is_disjoint(&other.facts.dates);
        // Who names the year of one, or reads that it was replaced, is not in doubt.
        let is_plain = [best, *quote].iter().any(|one| edition::is_replaced(&one.chunk.title))
            || edition::year(best.chunk).is_some_and(|year| retrieved.asked.says(&year.to_string()));
        quote.chunk.document_id != best.chunk.document_id
            && !is_plain
            && quote.span.row.is_none()
            && best.log_odds - quote.log_odds <= DISPUTE_REACH
            && speaks_of_same
            && (differ(&own.facts.amounts, &other.facts.amounts) || dates_differ)
    };
    quotes.iter().find(disputes).cloned()
}

/// Marks two of some quotes, by their places, as disputing each other, and puts them first, the later edition before the
/// other where both tell theirs. Nothing where only one of them was chosen.
pub fn put_side_by_side(chosen: &mut [Quote<'_>], places: [(usize, usize); 2]) {
    let is_one = |quote: &Quote<'_>| places.contains(&quote.at);
    if chosen.iter().filter(|quote| is_one(quote)).count() < 2 {
        return;
    }
    chosen.iter_mut().for_each(|quote| quote.is_disputed = is_one(quote));
    let is_dated = chosen.iter().filter(|quote| quote.is_disputed).all(|quote| edition::year(quote.chunk).is_some());
    // Stable.
    chosen.sort_by_key(|quote| {
        let year = edition::year(quote.chunk).filter(|_| quote.is_disputed && is_dated);
        (!quote.is_disputed, Reverse(year))
    });
}

#[cfg(test)]
mod tests {
    use super::super::{Certainty, best};
    use super::*;
    use crate::gloss::Fluency;
    use crate::retrieve::Found;
    use crate::retrieve::asked::Asked;
    use crate::retrieve::reading::Reading;
    use crate::store::StoredChunk;

    /// What is disputed when two documents are found for a question.
    fn disputed(question: &str, documents: [(&str, &str); 2]) -> Vec<String> {
        let asked = Asked::read(question);
        let found = documents.map(|(title, text)| {
            let chunk = StoredChunk { language: asked.language, ..StoredChunk::of_text(title, text) };
            let sentences = Reading::of(&chunk, &asked).sentences;
            Found { sentences, ..Found::new(0.8, None, chunk) }
        });
        let retrieved = Retrieved {
            found: found.to_vec(),
            asked,
            fluency: Fluency::None,
            unknown: 0.0,
            has_unknown_code: false,
            information: 0.5,
            is_reranked: false,
            embed_ms: 0.0,
            took_ms: 0.0,
        };
        let quotes = best(&retrieved, Certainty(0.1));
        quotes.iter().filter(|quote| quote.is_disputed).map(|quote| quote.chunk.title.clone()).collect()
    }

    #[test]
    fn documents_that_contradict_each_other_are_shown_side_by_side() {
        let question = "How many days of annual leave do employees have?";
        let old = ("Leave policy 2024", "Employees have 23 days of annual leave a year.");
        let new = ("Leave policy 2026", "All employees have 25 days of annual leave.");
        assert_eq!(disputed(question, [old, new]), ["Leave policy 2026", "Leave policy 2024"]);
        let other = ("Welcome pack", "Employees have 22 days of annual leave a year.");
        assert_eq!(disputed(question, [old, other]).len(), 2);
        let replaced = ("Leave policy 2024 (replaced)", old.1);
        assert!(disputed(question, [replaced, new]).is_empty(), "nobody is in doubt");
        assert!(disputed("How many days of annual leave did employees have in 2024?", [old, new]).is_empty());
        let same = ("Welcome pack", "Employees have twenty-three days of annual leave a year.");
        assert!(disputed(question, [old, same]).is_empty());
        let leases =
            [("Lease Madrid", "The monthly rent is 1,200 euros."), ("Lease Sevilla", "The monthly rent is 950 euros.")];
        assert!(disputed("How much is the monthly rent?", leases).is_empty());
        let countries = [
            ("Leave in Spain", "Employees in Spain have 23 days of annual leave a year."),
            ("Leave in Portugal", "Employees in Portugal have 22 days of annual leave a year."),
        ];
        assert!(disputed(question, countries).is_empty());
    }
}
