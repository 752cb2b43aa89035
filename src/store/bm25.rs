//! BM25 as sparse vectors: text analysis in Spanish and English, term weights of documents and queries.
//!
//! A document's vector carries the saturated term frequency of BM25 (Robertson and Zaragoza, *The Probabilistic
//! Relevance Framework: BM25 and Beyond*, 2009); the store multiplies by the inverse document frequency of its own
//! collection, so that it stays right as documents come and go. The average length of a document in that formula is a
//! constant, because a stored vector cannot follow a moving average.
//!
//! Analysis: compatibility composition (NFKC, which undoes the ligatures of PDF files), lower case, Unicode words, stop
//! words, Snowball stemming in the language of the text, then accents off. Stemming needs the accents, so they go
//! last; `ñ` goes with them: *niño* and *nino* meet, which a person at a foreign keyboard needs more than anybody
//! needs *año* and *ano* kept apart. Numbers and identifiers such as `SF-86`, `12.3` or `ES-2024/001` are kept whole and
//! as their parts, never stemmed.
//!
//! Spanish words go in by their English [`gloss`] too: what one text calls *coche* and another *automóvil* is a *car* in
//! both, and in a document in English.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use intramuros_ingest::document::Language;
use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

use crate::gloss;

mod stop_words;

/// Names the way from text to terms. A change of it means that all documents are indexed again.
pub const ANALYSIS: &str = "bm25 3";

/// How fast a repeated term stops counting more.
const K1: f32 = 1.2;
/// How much long passages are held back.
const B: f32 = 0.75;
/// Terms of an average passage, stop words not counted: a passage of 256 model tokens has about 170 words.
const AVERAGE_TERMS: f32 = 100.0;
/// Longer runs of letters and digits are data, not words anybody searches for.
const LONGEST_TERM: usize = 64;
/// Letters of a root: what the stems of one family share (`econom` and `economist`).
const ROOT_LETTERS: usize = 5;

/// What a term is, which says how much it counts. The weights are those at which
/// retrieval gains in both languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A stem, a number or an identifier.
    Word,
    /// The first letters of a stem, because stemmers leave noun and verb of one family apart.
    Root,
    /// Two words that follow each other, stop words aside: order and nearness, as in the sequential dependence model of
    /// Metzler and Croft, "A Markov Random Field Model for Term Dependencies" (2005).
    Pair,
    /// What a Spanish word is in English.
    Gloss,
}

impl Kind {
    /// How often one occurrence counts in a document.
    fn frequency(self) -> f32 {
        match self {
            Self::Word | Self::Pair | Self::Gloss => 1.0,
            Self::Root => 0.3,
        }
    }

    /// How much it counts in a question.
    fn weight(self) -> f32 {
        match self {
            Self::Word => 1.0,
            Self::Root => 0.3,
            Self::Pair => 0.5,
            Self::Gloss => 0.2,
        }
    }
}

/// Term weights: `indices` sorted and unique, `values` in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseVector {
    /// Hashes of terms.
    pub indices: Vec<u32>,
    /// Their weights.
    pub values: Vec<f32>,
}

impl SparseVector {
    /// Whether no term is left, as of a question of stop words only.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    fn from_weights(weights: BTreeMap<u32, f32>) -> Self {
        let (indices, values) = weights.into_iter().unzip();
        Self { indices, values }
    }
}

/// Weighs the terms of a passage. Where its language is unknown, the terms of both analyses go in.
pub fn document(text: &str, language: Option<Language>) -> SparseVector {
    let mut frequencies: BTreeMap<u32, f32> = BTreeMap::new();
    let mut length = 0.0;
    for_each_word(text, language, true, |terms| {
        length += 1.0;
        for (kind, term) in terms {
            *frequencies.entry(hash(term)).or_default() += kind.frequency();
        }
    });
    for (term, occurrences) in glossed(text, language) {
        // Names are the same in both.
        if let Entry::Vacant(entry) = frequencies.entry(term) {
            entry.insert(Kind::Gloss.frequency() * occurrences);
        }
    }
    let norm = K1 * (1.0 - B + B * length / AVERAGE_TERMS);
    for weight in frequencies.values_mut() {
        *weight = *weight * (K1 + 1.0) / (*weight + norm);
    }
    SparseVector::from_weights(frequencies)
}

/// Weighs the terms of a question: each once, however often it is said. Where the language is unsure, the terms of both
/// analyses go in.
pub fn query(text: &str, language: Option<Language>) -> SparseVector {
    let mut weights: BTreeMap<u32, f32> = BTreeMap::new();
    for_each_word(text, language, true, |terms| {
        for (kind, term) in terms {
            let weight = weights.entry(hash(term)).or_default();
            *weight = weight.max(kind.weight());
        }
    });
    for term in glossed(text, language).into_keys() {
        weights.entry(term).or_insert(Kind::Gloss.weight());
    }
    SparseVector::from_weights(weights)
}

/// The terms of the gloss of a text, where it is Spanish, and how often each occurs.
fn glossed(text: &str, language: Option<Language>) -> BTreeMap<u32, f32> {
    let mut terms = BTreeMap::new();
    if language == Some(Language::Spanish) {
        for_each_word(&gloss::english(text), Some(Language::English), false, |words| {
            words.iter().for_each(|(_, term)| *terms.entry(hash(term)).or_default() += 1.0);
        });
    }
    terms
}

/// The words of a text that matter, as hashes of their stems: what two texts share of these, they share in words.
pub fn words(text: &str, language: Option<Language>) -> BTreeSet<u32> {
    let mut words = BTreeSet::new();
    for_each_word(text, language, false, |terms| words.extend(terms.iter().map(|(_, term)| hash(term))));
    words
}

/// Calls back with the distinct terms of each word or identifier that matters: its stem, or two where two languages stem it
/// differently; `with_families`, their roots too, and the pairs with the word before it.
fn for_each_word(text: &str, language: Option<Language>, with_families: bool, mut each: impl FnMut(&[(Kind, String)])) {
    let normal: String = text.nfkc().flat_map(char::to_lowercase).collect();
    let analyzers: Vec<Analyzer> = match language {
        Some(language) => vec![Analyzer::new(language)],
        None => vec![Analyzer::new(Language::Spanish), Analyzer::new(Language::English)],
    };
    // The last stem of each analysis.
    let mut before: Vec<Option<String>> = vec![None; analyzers.len()];
    for run in runs(&normal) {
        if is_identifier(run) && run.len() <= LONGEST_TERM {
            each(&[(Kind::Word, fold(run))]);
        }
        for part in run.split(is_connector) {
            for word in part.unicode_words().filter(|word| word.len() <= LONGEST_TERM) {
                let mut terms: Vec<(Kind, String)> = Vec::new();
                let mut add = |kind, term: String| {
                    if !terms.iter().any(|(_, other)| *other == term) {
                        terms.push((kind, term));
                    }
                };
                let stems: Vec<Option<String>> = analyzers.iter().map(|analyzer| analyzer.term(word)).collect();
                for stem in stems.iter().flatten() {
                    add(Kind::Word, stem.clone());
                }
                for (stem, before) in stems.into_iter().zip(&mut before).filter(|_| with_families) {
                    let Some(stem) = stem else { continue };
                    if let Some(root) = root(&stem) {
                        add(Kind::Root, root.to_owned());
                    }
                    if let Some(before) = before.as_ref() {
                        add(Kind::Pair, format!("{before} {stem}"));
                    }
                    *before = Some(stem);
                }
                if !terms.is_empty() {
                    each(&terms);
                }
            }
        }
    }
}

/// The first letters of a longer stem; numbers have none.
fn root(stem: &str) -> Option<&str> {
    let (end, _) = stem.char_indices().nth(ROOT_LETTERS)?;
    (!stem.contains(char::is_numeric)).then_some(&stem[..end])
}

/// Stop words and stemming of one language.
struct Analyzer {
    language: Language,
    stemmer: Stemmer,
    stop_words: &'static [&'static str],
}

impl Analyzer {
    fn new(language: Language) -> Self {
        let (algorithm, stop_words) = match language {
            Language::Spanish => (Algorithm::Spanish, stop_words::SPANISH),
            Language::English => (Algorithm::English, stop_words::ENGLISH),
        };
        Self { language, stemmer: Stemmer::create(algorithm), stop_words }
    }

    /// The term of a lower-case word; `None` for a stop word.
    fn term(&self, word: &str) -> Option<String> {
        let folded = fold(word);
        if self.stop_words.binary_search(&folded.as_str()).is_ok() {
            return None;
        }
        if word.chars().any(|c| c.is_numeric()) {
            return Some(folded);
        }
        Some(match self.language {
            Language::English => self.stemmer.stem(&folded.replace('’', "'")).into_owned(),
            Language::Spanish => fold(&self.stemmer.stem(&with_suffix_accent(word))),
        })
    }
}

/// Puts back the accent that the Spanish stemmer needs to see a suffix and that people leave out: `contratacion`.
fn with_suffix_accent(word: &str) -> String {
    for (plain, accented) in [("ion", "ión"), ("logia", "logía"), ("logias", "logías")] {
        if let Some(stem) = word.strip_suffix(plain) {
            return format!("{stem}{accented}");
        }
    }
    word.to_owned()
}

/// Takes accents and other marks off, the tilde of `ñ` among them.
pub fn fold(word: &str) -> String {
    if word.is_ascii() {
        return word.to_owned();
    }
    word.nfd().filter(|c| !is_combining_mark(*c)).collect()
}

/// Stretches of letters and digits with single connectors between them: `es-2024/001`, `ana@example.com`, `pagó`.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || is_combining_mark(c) || is_apostrophe(c) || is_connector(c)))
        .flat_map(split_at_doubled_connectors)
        .map(|run| run.trim_matches(|c| is_connector(c) || is_apostrophe(c)))
        .filter(|run| !run.is_empty())
}

fn split_at_doubled_connectors(run: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut previous_is_connector = false;
    for (at, c) in run.char_indices() {
        if is_connector(c) && previous_is_connector {
            pieces.push(&run[start..at]);
            start = at;
        }
        previous_is_connector = is_connector(c);
    }
    pieces.push(&run[start..]);
    pieces
}

fn is_connector(c: char) -> bool {
    matches!(c, '-' | '/' | '.' | ',' | '_' | ':' | '@')
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’')
}

/// Whether a run is worth keeping whole: joined parts with a digit, an at sign or an underscore among them.
fn is_identifier(run: &str) -> bool {
    run.contains(is_connector) && run.contains(|c: char| c.is_numeric() || c == '@' || c == '_')
}

/// A term's place in the vectors: FNV-1a of 64 bits, folded to 32. Stored, so it may never change; two terms that
/// share a place only add a little noise.
fn hash(term: &str) -> u32 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for byte in term.bytes() {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    (state ^ (state >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const ES: Option<Language> = Some(Language::Spanish);
    const EN: Option<Language> = Some(Language::English);

    fn terms(text: &str, language: Option<Language>) -> Vec<String> {
        of_kind(Kind::Word, text, language)
    }

    fn of_kind(wanted: Kind, text: &str, language: Option<Language>) -> Vec<String> {
        let mut all = Vec::new();
        for_each_word(text, language, true, |terms| {
            all.extend(terms.iter().filter(|(kind, _)| *kind == wanted).map(|(_, term)| term.clone()));
        });
        all
    }

    #[test]
    fn families_share_a_root_and_neighbours_make_pairs() {
        assert_eq!(of_kind(Kind::Root, "economistas, economía, plan 123456", ES), ["econo", "econo"]);
        assert_eq!(of_kind(Kind::Pair, "the notice period of the lease", EN), ["notic period", "period leas"]);
        assert_eq!(of_kind(Kind::Pair, "plazo de preaviso", ES), ["plaz preavis"]);
        assert_eq!(of_kind(Kind::Pair, "SF-86 form", EN), ["sf 86", "86 form"]);
        let asked = query("notice period", EN);
        let weight = |term: &str| asked.values[asked.indices.binary_search(&hash(term)).unwrap()];
        assert_eq!((weight("notic"), weight("perio"), weight("notic period")), (1.0, 0.3, 0.5));
        assert_eq!(words("notice period", EN).len(), 2);
    }

    #[test]
    fn stop_words_are_sorted_and_folded() {
        for list in [stop_words::SPANISH, stop_words::ENGLISH] {
            assert!(list.is_sorted());
            assert!(list.iter().all(|word| fold(word) == *word));
        }
    }

    #[test]
    fn spanish_forms_of_a_word_meet() {
        for (one, other) in [
            ("niño", "nino"),
            ("niños", "NIÑO"),
            ("pagó", "pagar"),
            ("contratación", "contratar"),
            ("contratacion", "contratación"),
            ("vacaciones", "vacación"),
            ("metodología", "metodologia"),
        ] {
            assert_eq!(terms(one, ES), terms(other, ES), "{one} {other}");
        }
        assert_eq!(terms("¿Qué es lo que hay?", ES), Vec::<String>::new());
    }

    #[test]
    fn english_forms_of_a_word_meet() {
        for (one, other) in [("policies", "policy"), ("résumé", "resume"), ("employee's", "employees")] {
            assert_eq!(terms(one, EN), terms(other, EN), "{one} {other}");
        }
        assert_eq!(terms("What is the", EN), Vec::<String>::new());
    }

    #[test]
    fn identifiers_stay_whole_and_in_parts() {
        assert_eq!(terms("SF-86", EN), ["sf-86", "sf", "86"]);
        assert_eq!(terms("ES-2024/001.", ES), ["es-2024/001", "2024", "001"]);
        assert_eq!(terms("12.3", EN), ["12.3", "12", "3"]);
        assert_eq!(terms("art. 45", ES), ["art", "45"]);
        assert_eq!(terms("pagó.Luego", ES), ["pag", "lueg"]);
        assert_eq!(terms("1--2", EN), ["1", "2"]);
    }

    #[test]
    fn what_means_the_same_meets_by_its_gloss() {
        let score = |question: &str, language, text: &str, other| -> f32 {
            let (query, document) = (query(question, Some(language)), document(text, Some(other)));
            let weight = |at: usize| document.indices.iter().position(|index| *index == query.indices[at]);
            (0..query.indices.len()).filter_map(|at| Some(query.values[at] * document.values[weight(at)?])).sum()
        };
        let (spanish, english) = (Language::Spanish, Language::English);
        assert!(score("coche", spanish, "Cada automóvil tiene seguro.", spanish) > 0.0);
        assert!(score("coches", spanish, "Every car is insured.", english) > 0.0);
        assert!(score("cars", english, "Cada coche tiene seguro.", spanish) > 0.0);
        assert_eq!(score("coche", spanish, "Cada bicicleta tiene seguro.", spanish), 0.0);
        let own = score("coche", spanish, "Cada coche tiene seguro.", spanish);
        assert!(
            own > 3.0 * score("coche", spanish, "Cada automóvil tiene seguro.", spanish),
            "the word itself says more"
        );
    }

    #[test]
    fn an_unsure_text_has_the_terms_of_both_languages_once() {
        let both = terms("policies contratación sf-86", None);
        for language in [ES, EN] {
            for term in terms("policies contratación sf-86", language) {
                assert_eq!(both.iter().filter(|other| **other == term).count(), 1, "{term}");
            }
        }
        assert!(words("la the", None).len() <= 2);
    }

    #[test]
    fn vectors_are_sorted_and_saturate() {
        let once = document("contrato", ES);
        let often = document("contrato contrato contrato contrato", ES);
        let weight = |vector: &SparseVector| vector.values[vector.indices.binary_search(&hash("contrat")).unwrap()];
        assert!(weight(&often) > weight(&once) && weight(&often) < K1 + 1.0);
        let long = document("El contrato de servicios firmado en Madrid vence el 31 de diciembre de 2026", ES);
        assert!(long.indices.is_sorted_by(|a, b| a < b));
        assert_eq!(query("contrato, contrato", ES).values.iter().filter(|weight| **weight == 1.0).count(), 1);
        assert!(document("", None).is_empty());
    }
}
