//! Follow-ups rewritten to stand alone: «And in the United Kingdom?» asks nothing by itself.
//!
//! A question that leaves out what it speaks of is put before the last one that did not, so that its own interrogative comes
//! first. What it names takes the place of what that one named: after «How many days of leave are there in Spain?», «And in
//! Harrowmouth?» becomes «And in Harrowmouth? How many days of leave are there in», so that nothing is looked for in Spain any
//! more. Rules only: the same conversation always asks the same, and no model is waited for.

use intramuros_ingest::document::Language;
use intramuros_ingest::language;

use crate::retrieve::asked::{is_interrogative, stands_for_something};
use crate::store::bm25;

/// Words that matter which a question needs to stand alone.
pub const WORDS_ALONE: usize = 2;
/// How follow-ups begin, folded.
const BEGINNINGS: &[&str] = &["and", "but", "also", "then", "y", "pero", "tambien", "entonces"];
/// The same in several words.
const PHRASES: &[&str] = &["what about", "how about", "que hay de", "que pasa con"];
/// Words that stand for something said before, folded; none that joins clauses or is an article too.
const PRONOUNS: &[&str] = &[
    "ella", "ellas", "ello", "ellos", "eso", "he", "her", "him", "his", "it", "its", "le", "les", "she", "su", "sus",
    "their", "them", "they",
];
/// A question with more words that matter stands alone for all its pronouns: «How long does it take to get a badge?»
const MOST_BESIDE_A_PRONOUN: usize = 2;

/// The last of some questions, in the order in which they were asked, in words that stand alone.
pub fn standalone(earlier: &[String], question: &str) -> String {
    let base = earlier.iter().rfind(|question| !hangs(question));
    match base {
        Some(base) if hangs(question) => {
            let base = if has_name(question) { without_names(base) } else { base.clone() };
            format!("{} {}", question.trim(), base.trim())
        }
        _ => question.to_owned(),
    }
}

/// Whether a question leaves out what it speaks of.
fn hangs(question: &str) -> bool {
    let words: Vec<String> = words(question).map(|word| bm25::fold(&word.to_lowercase())).collect();
    let text = words.join(" ");
    let begins = words.first().is_some_and(|word| BEGINNINGS.contains(&word.as_str()));
    let matter = bm25::words(question, language::detect(question).or(Some(spoken(&words)))).len();
    begins
        || PHRASES.iter().any(|phrase| text.starts_with(phrase))
        || (matter <= MOST_BESIDE_A_PRONOUN && refers_back(&words))
        || (matter < WORDS_ALONE && words.iter().any(|word| is_interrogative(word, true)))
        || matter == 0
}

/// Whether folded words hold one that stands for something said before.
pub fn refers_back(words: &[String]) -> bool {
    words.iter().any(|word| PRONOUNS.contains(&word.as_str()))
        || words.windows(2).any(|pair| stands_for_something(&pair[1], &pair[0]))
}

/// The language of a question too short to tell by its words: that of its interrogative.
fn spoken(words: &[String]) -> Language {
    const ENGLISH: &[&str] = &["how", "until", "what", "when", "where", "which", "who", "why"];
    if words.iter().any(|word| ENGLISH.contains(&word.as_str())) { Language::English } else { Language::Spanish }
}

/// Whether a question names something: a word with a capital that does not begin it.
fn has_name(question: &str) -> bool {
    words(question).enumerate().any(|(at, word)| is_name(at, word))
}

/// A question without the words that name something.
fn without_names(question: &str) -> String {
    let tokens = question.split_whitespace().enumerate();
    let kept = tokens.filter(|(at, token)| !is_name(*at, bare(token)));
    kept.map(|(_, token)| token).collect::<Vec<_>>().join(" ")
}

fn is_name(at: usize, word: &str) -> bool {
    at > 0
        && word.chars().nth(1).is_some()
        && word.starts_with(char::is_uppercase)
        && !is_interrogative(&word.to_lowercase(), true)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().map(bare).filter(|word| !word.is_empty())
}

fn bare(token: &str) -> &str {
    token.trim_matches(|c: char| !c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(earlier: &[&str], question: &str) -> String {
        standalone(&earlier.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), question)
    }

    #[test]
    fn what_leaves_out_its_matter_is_put_before_the_question_that_says_it() {
        let leave = "How many days of annual leave are there in Spain?";
        assert_eq!(
            after(&[leave], "And in Harrowmouth?"),
            "And in Harrowmouth? How many days of annual leave are there in"
        );
        for question in [
            "¿Por qué?",
            "Until when?",
            "¿Quién lo aprueba?",
            "¿Quién las aprueba en la empresa?",
            "¿Cuál es su límite?",
        ] {
            assert_eq!(after(&[leave], question), format!("{question} {leave}"));
        }
        let carried = "And can I carry it over?";
        assert_eq!(after(&[leave], carried), format!("{carried} {leave}"), "«I» is no name");
        assert_eq!(after(&[leave], "Who approves it?"), format!("Who approves it? {leave}"));
        assert_eq!(after(&[leave, "And in Harrowmouth?"], "Who approves it?"), format!("Who approves it? {leave}"));
        assert_eq!(
            after(&["¿Cuál es el límite de hotel en Madrid?"], "¿Y en Sevilla?"),
            "¿Y en Sevilla? ¿Cuál es el límite de hotel en"
        );
        assert_eq!(
            after(&["¿Qué dietas hay?", "¿Cuándo cobro la nómina?"], "¿y por qué?"),
            "¿y por qué? ¿Cuándo cobro la nómina?"
        );
    }

    #[test]
    fn what_stands_alone_stays() {
        let leave = "How many days of annual leave are there in Spain?";
        for question in [
            "What is the hotel limit in Madrid?",
            "¿Cuánto dura el periodo de prueba?",
            "How long does it take to get a badge?",
            "Who approves the form that HR sends?",
            "nómina",
        ] {
            assert_eq!(after(&[leave], question), question);
        }
        assert_eq!(after(&[], "And in Harrowmouth?"), "And in Harrowmouth?");
    }
}
