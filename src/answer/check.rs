//! Holds each sentence of an answer against the passages: what does not stand there does not stay.
//!
//! A sentence is supported by a window of at most three neighbouring sentences of one chunk when its numbers and dates
//! stand in the window beside their words, its names stand in the chunk, its title or its headings, it denies something exactly when the
//! window does, and enough of its words are the window's. The thresholds are fixed; nothing is lowered until something fits.

use std::collections::HashSet;
use std::ops::Range;

use intramuros_ingest::document::Language;
use intramuros_ingest::sentence;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::facts::{Facts, facts, fold};
use crate::store::{StoredChunk, bm25};

/// Share of a sentence's words that its window must hold.
const MIN_OVERLAP: f32 = 0.7;
/// Share of a sentence's words that must stand in the same sentence as a number of it.
const MIN_SHARE_BESIDE_A_NUMBER: f32 = 0.4;
/// Words with which a model speaks of its task instead of the matter.
const TASK_WORDS: &str = "passage passages answer answers question pasaje pasajes respuesta respuestas pregunta";
/// Sentences of the longest window.
const MAX_WINDOW: usize = 3;

/// Where a sentence stands in a chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Support {
    /// Byte range of the supporting window in the chunk's text.
    pub range: Range<usize>,
    /// Share of the sentence's words found there.
    pub overlap: f32,
}

/// Why a sentence was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unsupported {
    /// Too few of its words stand together in a passage.
    Words,
    /// The words fit, and the passage says it with or without a negation.
    Negation,
    /// A name or code does not stand in the passage.
    Name,
    /// A number or date does not stand in the passage.
    Number,
}

/// A sentence of a passage.
struct Read {
    facts: Facts,
    terms: HashSet<u32>,
}

/// A sentence of an answer, read once for all passages.
pub struct Claim {
    sentence: String,
    facts: Facts,
    /// Words that matter, numbers and talk of the task aside.
    stating_words: usize,
}

impl Claim {
    /// Reads a sentence, citation marks taken out.
    pub fn new(sentence: &str) -> Self {
        let without_digits: String = sentence.chars().map(|c| if c.is_numeric() { ' ' } else { c }).collect();
        // In the sentence's own language its stop words are gone, in the other one they count as words.
        let stating = |language| {
            let stated = terms(&without_digits, Some(language));
            stated.difference(&terms(TASK_WORDS, Some(language))).count()
        };
        let stating_words = stating(Language::English).min(stating(Language::Spanish));
        Self { sentence: sentence.to_owned(), facts: facts(sentence), stating_words }
    }

    /// Whether it states anything: «The answer is:» and single words do not.
    pub fn is_empty(&self) -> bool {
        match self.stating_words {
            0 => true,
            1 => self.facts.numbers.is_empty(),
            _ => false,
        }
    }

    /// Whether it says the same as another one.
    pub fn repeats(&self, other: &Self) -> bool {
        fold(&self.sentence) == fold(&other.sentence)
    }

    /// The best supporting window of a chunk, else the reason that came closest.
    pub fn support(&self, chunk: &StoredChunk) -> Result<Support, Unsupported> {
        let context = format!("{}\n{}\n{}", chunk.title, chunk.section.join("\n"), table_header(&chunk.text));
        let own = terms(&self.sentence, chunk.language);
        let context_terms = terms(&context, chunk.language);
        let passage_words = words(&format!("{context}\n{}", chunk.text));
        let sentences = sentence::sentences(&chunk.text);
        let read: Vec<Read> = sentences
            .iter()
            .map(|range| {
                let text = &chunk.text[range.clone()];
                Read { facts: facts(text), terms: terms(text, chunk.language) }
            })
            .collect();

        let mut best: Result<Support, Unsupported> = Err(Unsupported::Words);
        for size in 1..=MAX_WINDOW.min(sentences.len()) {
            for first in 0..=sentences.len() - size {
                let window = &read[first..first + size];
                let range = sentences[first].start..sentences[first + size - 1].end;
                let outcome = self.fits(&own, window, &context_terms, &passage_words);
                let outcome = outcome.map(|overlap| Support { range, overlap });
                best = better(best, outcome);
            }
            // The shortest window that supports it is the quote to show.
            if best.is_ok() {
                break;
            }
        }
        best
    }

    fn fits(
        &self,
        own: &HashSet<u32>,
        window: &[Read],
        context_terms: &HashSet<u32>,
        passage_words: &HashSet<String>,
    ) -> Result<f32, Unsupported> {
        let holds = |term: &&u32| window.iter().any(|read| read.terms.contains(*term));
        let held = own.iter().filter(holds).count();
        let lent = own.iter().filter(|term| !holds(term) && context_terms.contains(*term)).count();
        // A heading may lend words, but not carry a sentence alone.
        let overlap = (held + lent.min(held)) as f32 / own.len().max(1) as f32;
        if overlap < MIN_OVERLAP {
            return Err(Unsupported::Words);
        }
        if self.facts.negated != window.iter().any(|read| read.facts.negated) {
            return Err(Unsupported::Negation);
        }
        for name in &self.facts.names {
            if !passage_words.contains(name) {
                return Err(Unsupported::Name);
            }
        }
        // A number counts only beside the words it belongs to: the «30 days» of the next sentence are those of something else.
        let near = |terms: &HashSet<u32>| {
            let common = own.intersection(terms).count();
            common as f32 >= MIN_SHARE_BESIDE_A_NUMBER * own.len() as f32
        };
        for number in &self.facts.numbers {
            if !window.iter().any(|read| read.facts.numbers.contains(number) && near(&read.terms)) {
                return Err(Unsupported::Number);
            }
        }
        Ok(overlap)
    }
}

fn better(best: Result<Support, Unsupported>, new: Result<Support, Unsupported>) -> Result<Support, Unsupported> {
    match (&best, &new) {
        (Ok(old), Ok(support)) if support.overlap > old.overlap => new,
        (Err(_), Ok(_)) => new,
        // A later check reached is a nearer miss, and the more telling reason.
        (Err(old), Err(reason)) if reason > old => new,
        _ => best,
    }
}

/// Stems of the words that matter, by the analysis of a language, or of both where it is not known.
fn terms(text: &str, language: Option<Language>) -> HashSet<u32> {
    bm25::query(text, language).indices.into_iter().collect()
}

fn words(text: &str) -> HashSet<String> {
    text.split_whitespace()
        .map(|word| fold(word.trim_matches(|c: char| !c.is_alphanumeric())))
        .filter(|word| !word.is_empty())
        .collect()
}

/// The first row of a table names what the cells of the others are.
fn table_header(text: &str) -> &str {
    text.lines().find(|line| line.contains(" | ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use intramuros_ingest::access::Acl;
    use intramuros_ingest::document::{ContentHash, DocumentId};

    use super::*;

    fn chunk(section: &str, text: &str) -> StoredChunk {
        StoredChunk {
            document_id: DocumentId::new("test", "a"),
            position: 0,
            source: "test".into(),
            title: "Employee handbook".into(),
            uri: String::new(),
            section: vec![section.into()],
            page: None,
            start: 0,
            end: text.chars().count(),
            language: Some(Language::English),
            acl: Acl::nobody(),
            embedding_hash: ContentHash::of(b""),
            text: text.into(),
        }
    }

    const LEAVE: &str = "Full-time staff have 23 working days of annual leave. Notice of 30 days is given to Marta Ruiz. \
                         Leave may not be carried over after 31 March.";

    fn verdict(sentence: &str) -> Result<String, Unsupported> {
        let chunk = chunk("Annual leave", LEAVE);
        Claim::new(sentence).support(&chunk).map(|support| chunk.text[support.range].to_owned())
    }

    #[test]
    fn a_faithful_sentence_is_supported_by_the_sentence_it_comes_from() {
        let quote = verdict("Full-time staff have 23 days of annual leave.").unwrap();
        assert_eq!(quote.trim(), "Full-time staff have 23 working days of annual leave.");
    }

    #[test]
    fn a_wrong_number_name_or_negation_is_not() {
        assert_eq!(verdict("Full-time staff have 30 working days of annual leave."), Err(Unsupported::Number));
        assert_eq!(verdict("Notice of 30 days is given to Marta Lopez."), Err(Unsupported::Name));
        assert_eq!(verdict("Leave may be carried over after 31 March."), Err(Unsupported::Negation));
        assert_eq!(verdict("Leave may not be carried over after 31 May."), Err(Unsupported::Number));
        assert_eq!(verdict("The canteen opens in the morning."), Err(Unsupported::Words));
    }

    #[test]
    fn talk_of_the_task_and_bare_numbers_state_nothing() {
        for text in ["The answer is: 2.", "The passage is: 1.", "1.2.", "Respuesta:"] {
            assert!(Claim::new(text).is_empty(), "{text}");
        }
        for text in ["26 days.", "24 June 2028.", "Leave is unpaid."] {
            assert!(!Claim::new(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn spanish_is_checked_the_same_way() {
        let mut chunk =
            chunk("Vacaciones", "La plantilla tiene 23 días laborables de vacaciones. El año pasado se pagó el 5 %.");
        chunk.language = Some(Language::Spanish);
        let check = |text: &str| Claim::new(text).support(&chunk).map(|_| ());
        assert_eq!(check("La plantilla tiene 23 días de vacaciones."), Ok(()));
        assert_eq!(check("La plantilla tiene 25 días de vacaciones."), Err(Unsupported::Number));
        assert_eq!(check("La plantilla no tiene 23 días de vacaciones."), Err(Unsupported::Negation));
    }
}
