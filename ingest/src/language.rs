//! Which language a text is written in, where that is clear.
//!
//! The frequent words that only one of the two languages uses decide, since they do so even in a question. Where there
//! are too few, trigrams do (whatlang, restricted to these two), if the text is long enough for them to be reliable.

use std::sync::LazyLock;

use whatlang::{Detector, Lang};

use crate::document::Language;

/// Fewer letters than this say nothing by their trigrams.
const TRIGRAM_LETTERS: usize = 60;
/// Fewer letters than this leave a chunk to its document's language.
const CHUNK_LETTERS: usize = 60;
/// Bytes of a document that are looked at.
const SAMPLE_BYTES: usize = 8 << 10;
/// Pieces, spread over the document, that the sample is made of.
const SAMPLE_PIECES: usize = 8;

/// Frequent words of Spanish that English does not have.
const SPANISH: &[&str] = &[
    "al", "ante", "como", "con", "cuál", "cuáles", "cuándo", "cuánto", "cuántos", "cómo", "de", "debe", "del", "desde",
    "donde", "dónde", "el", "ella", "en", "entre", "es", "esta", "este", "está", "están", "hasta", "hay", "la", "las",
    "los", "mi", "muy", "más", "ni", "para", "pero", "por", "puede", "puedo", "que", "quien", "quién", "qué", "se",
    "según", "ser", "si", "sin", "sobre", "son", "su", "sus", "también", "tiene", "tienen", "todos", "un", "una", "y",
];

/// Frequent words of English that Spanish does not have.
const ENGLISH: &[&str] = &[
    "and", "any", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "has", "have", "how", "i", "if",
    "in", "is", "it", "may", "must", "my", "of", "on", "or", "our", "shall", "should", "that", "the", "their", "there",
    "these", "they", "this", "to", "was", "we", "were", "what", "when", "where", "which", "who", "will", "with",
    "would", "you", "your",
];

static DETECTOR: LazyLock<Detector> = LazyLock::new(|| Detector::with_allowlist(vec![Lang::Eng, Lang::Spa]));

/// Tells the language of a text; `None` where it is too short or too mixed to be sure.
pub fn detect(text: &str) -> Option<Language> {
    let (spanish, english) = frequent_words(text);
    // Names, titles and quotes bring some words of the other language along.
    if spanish >= 2 && spanish > 2 * english {
        return Some(Language::Spanish);
    }
    if english >= 2 && english > 2 * spanish {
        return Some(Language::English);
    }
    let info = DETECTOR.detect(text)?;
    let long_enough = text.chars().filter(|c| c.is_alphabetic()).nth(TRIGRAM_LETTERS).is_some();
    let sure = long_enough && info.is_reliable();
    match info.lang() {
        Lang::Spa if sure || spanish > english => Some(Language::Spanish),
        Lang::Eng if sure || english > spanish => Some(Language::English),
        _ => None,
    }
}

/// Tells the language of most of a document from pieces taken all over it.
pub fn of_document(text: &str) -> Option<Language> {
    detect(&sample(text))
}

/// The language of a chunk: its own where it is long enough to tell, else its document's.
pub fn of_chunk(text: &str, document: Option<Language>) -> Option<Language> {
    let long_enough = text.chars().filter(|c| c.is_alphabetic()).nth(CHUNK_LETTERS).is_some();
    if long_enough || document.is_none() { detect(text).or(document) } else { document }
}

/// How many words of a text are frequent in Spanish only and in English only.
fn frequent_words(text: &str) -> (usize, usize) {
    let (mut spanish, mut english) = (0, 0);
    for word in text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
        let word = word.to_lowercase();
        spanish += usize::from(SPANISH.binary_search(&word.as_str()).is_ok());
        english += usize::from(ENGLISH.binary_search(&word.as_str()).is_ok());
    }
    (spanish, english)
}

/// The text itself where it is short, else pieces of it at equal distances.
fn sample(text: &str) -> String {
    if text.len() <= SAMPLE_BYTES {
        return text.to_owned();
    }
    let piece = SAMPLE_BYTES / SAMPLE_PIECES;
    let mut sample = String::with_capacity(SAMPLE_BYTES + SAMPLE_PIECES);
    for i in 0..SAMPLE_PIECES {
        let start = text.floor_char_boundary((text.len() - piece) / (SAMPLE_PIECES - 1) * i);
        let end = text.floor_char_boundary((start + piece).min(text.len()));
        sample.push_str(&text[start..end]);
        sample.push('\n');
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_lists_are_sorted_and_disjoint() {
        assert!(SPANISH.is_sorted() && ENGLISH.is_sorted());
        assert!(SPANISH.iter().all(|word| !ENGLISH.contains(word)));
    }

    #[test]
    fn texts_and_questions_are_told_apart() {
        for (text, language) in [
            ("¿Cuántos días de vacaciones tengo?", Some(Language::Spanish)),
            ("¿Cuántos días de vacaciones me corresponden por convenio?", Some(Language::Spanish)),
            ("How many days of leave do I have?", Some(Language::English)),
            ("La empresa abonará los gastos de viaje a los treinta días.", Some(Language::Spanish)),
            ("The company refunds travel costs within thirty days.", Some(Language::English)),
            ("12,50 € | 14,00 €", None),
            ("OK", None),
            ("", None),
        ] {
            assert_eq!(detect(text), language, "{text}");
        }
    }

    #[test]
    fn a_short_chunk_is_in_its_documents_language_and_a_long_one_in_its_own() {
        let spanish = Some(Language::Spanish);
        assert_eq!(of_chunk("Total: 12", spanish), spanish);
        let english =
            "This paragraph was left in English by its author, who meant to translate it when there was time.";
        assert_eq!(of_chunk(english, spanish), Some(Language::English));
    }

    #[test]
    fn a_document_is_judged_by_its_whole_text() {
        let preface = "This preface is in English and it is the only part of the book that is. ".repeat(20);
        let body = "El contrato se firma en dos ejemplares y cada parte recibe uno de ellos. ".repeat(2000);
        assert_eq!(of_document(&(preface + &body)), Some(Language::Spanish));
        assert_eq!(of_document(&"ñ".repeat(20_000)), of_document(&"ñ".repeat(20_000)));
    }
}
