//! The questions that a question is made of. «How long is the notice period, and who gives it?» has its answers in two
//! places, and a search for all of its words finds neither for sure.

use intramuros_ingest::document::Language;
use intramuros_ingest::{language, sentence};

use super::follow_up::{WORDS_ALONE, refers_back};
use crate::retrieve::asked::{is_interrogative, may_precede_interrogative};
use crate::store::bm25;

/// Questions that one may be made of; one of more is asked as a whole.
const MOST: usize = 4;
/// Words that join questions.
const JOINTS: &[&str] = &["and", "y", "e", "o", "or", "u"];
/// Words that ask or join a clause to the question behind it.
const JOINING: &[&str] = &["como", "cuando", "donde", "que", "when", "where"];
/// Words that ask and begin no clause: behind a comma only these begin another question.
const ASKING: &[&str] = &["cual", "cuales", "cuanta", "cuantas", "cuanto", "cuantos", "how", "what", "why"];

/// A question that stands in another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// As it is asked.
    pub text: String,
    /// What to look for: itself where it stands alone, else after what was asked before it.
    pub search: String,
}

/// The parts of a question, in order; one, as it is, where it asks one thing.
pub fn parts(question: &str) -> Vec<Part> {
    let mut texts: Vec<String> = Vec::new();
    let mut preface = String::new();
    let language = language::detect(question);
    for range in sentence::sentences(question) {
        let sentence = &question[range];
        let mut pieces = cut(sentence);
        if !is_question(sentence) {
            // «A supplier gives me wine. May I keep it?» asks one thing.
            preface = format!("{preface}{} ", sentence.trim());
            continue;
        }
        if let Some(first) = pieces.first_mut() {
            *first = format!("{}{first}", std::mem::take(&mut preface));
        }
        texts.append(&mut pieces);
    }
    if texts.len() < 2 || texts.len() > MOST || !preface.is_empty() {
        return vec![Part { text: question.trim().to_owned(), search: question.to_owned() }];
    }
    let mut parts: Vec<Part> = Vec::new();
    for text in texts {
        let search = match parts.first() {
            Some(first) if !stands_alone(&text, language) => format!("{} {text}", first.text),
            _ => text.clone(),
        };
        parts.push(Part { text, search });
    }
    parts
}

fn is_question(sentence: &str) -> bool {
    sentence.contains('?') || words(sentence).enumerate().any(|(at, word)| is_interrogative(&word, at == 0))
}

/// Cuts where a joint or a comma stands before an interrogative.
fn cut(sentence: &str) -> Vec<String> {
    let tokens: Vec<&str> = sentence.split_whitespace().collect();
    let word = |at: usize| tokens.get(at).map(|token| bare(token)).unwrap_or_default();
    let opens = |at: usize| tokens.get(at).is_some_and(|token| token.starts_with('¿'));
    let asks = |at: usize| {
        let behind = may_precede_interrogative(&word(at)) && is_interrogative(&word(at + 1), false);
        is_interrogative(&word(at), opens(at)) || behind || opens(at)
    };
    let accented = |at: usize| !word(at).is_ascii() && is_interrogative(&word(at), false);
    let asks_behind_comma = |at: usize| opens(at) || accented(at) || ASKING.contains(&bm25::fold(&word(at)).as_str());
    let mut pieces: Vec<Vec<&str>> = vec![Vec::new()];
    let mut commas = false;
    for (at, token) in tokens.iter().enumerate() {
        let begun = pieces.last().is_some_and(|piece| piece.len() > 1);
        let joint = JOINTS.contains(&bm25::fold(&word(at)).as_str()) && asks(at + 1);
        let comma = at > 0 && tokens[at - 1].ends_with([',', ';']) && asks_behind_comma(at);
        if begun && (joint || comma) {
            commas |= !joint;
            pieces.push(Vec::new());
            if joint {
                continue;
            }
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(token);
        }
    }
    // «When a flight is late, what may I claim?» asks one thing: the first word joins.
    let joins = JOINING.contains(&word(0).as_str());
    let whole =
        !(joins && commas) && pieces.iter().all(|piece| piece.iter().any(|token| is_interrogative(&bare(token), true)));
    if !whole {
        // «Where in the handbook, and how often, …» hangs together.
        return vec![sentence.trim().to_owned()];
    }
    pieces.into_iter().map(|piece| piece.join(" ").trim_matches([',', ';', ' ']).to_owned()).collect()
}

fn stands_alone(text: &str, language: Option<Language>) -> bool {
    let words: Vec<String> = words(text).map(|word| bm25::fold(&word)).collect();
    bm25::words(text, language).len() >= WORDS_ALONE && !refers_back(&words)
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split_whitespace().map(bare).filter(|word| !word.is_empty())
}

fn bare(token: &str) -> String {
    token.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(question: &str) -> Vec<String> {
        parts(question).into_iter().map(|part| part.text).collect()
    }

    #[test]
    fn questions_that_are_joined_come_apart() {
        for (question, expected) in [
            (
                "How long is the notice period, and who approves a shorter one?",
                vec!["How long is the notice period", "who approves a shorter one?"],
            ),
            (
                "¿Cuántos días de vacaciones tengo y hasta cuándo puedo disfrutarlos?",
                vec!["¿Cuántos días de vacaciones tengo", "hasta cuándo puedo disfrutarlos?"],
            ),
            (
                "What is the hotel limit in Madrid? And what is the dinner limit?",
                vec!["What is the hotel limit in Madrid?", "And what is the dinner limit?"],
            ),
        ] {
            assert_eq!(texts(question), expected, "{question}");
        }
    }

    #[test]
    fn one_question_stays_whole() {
        for question in [
            "A supplier wants to give me a bottle of wine. Up to what value can I keep presents?",
            "Who signs contracts and orders?",
            "¿Qué hago si se rompe el portátil y no puedo trabajar?",
            "notice period",
            "What is the limit for hotels and dinners in Madrid, Sevilla and Bilbao?",
            "¿Quién aprueba un viaje cuando mi responsable no está?",
            "Cuando el vuelo se retrasa, ¿qué puedo reclamar?",
            "When a flight is late, what may I claim?",
            "What may I claim, when a flight is late?",
            "What is the fee for the plan, which includes heating?",
            "¿Qué plazo hay, desde que se firma el contrato?",
            "¿Qué dice el art. 45 del convenio?",
            "What does Acme Inc. pay for rent?",
            "",
        ] {
            assert_eq!(parts(question).len(), 1, "{question}: {:?}", texts(question));
        }
    }

    #[test]
    fn a_part_that_does_not_stand_alone_is_looked_for_with_the_first() {
        let parts = parts("How long is the notice period of the lease and who gives it?");
        assert_eq!(parts[1].search, "How long is the notice period of the lease who gives it?");
        assert_eq!(parts[0].search, parts[0].text);
        let searched = |question| super::parts(question).remove(1).search;
        assert_eq!(
            searched("¿Cuántos días de vacaciones tengo y hasta cuándo puedo disfrutarlos?"),
            "¿Cuántos días de vacaciones tengo hasta cuándo puedo disfrutarlos?"
        );
        assert_eq!(
            searched("¿Cuánto dura el contrato y quién aprueba las vacaciones?"),
            "quién aprueba las vacaciones?"
        );
        assert_eq!(
            searched("¿Cuántos días de vacaciones tengo y quién las aprueba?"),
            "¿Cuántos días de vacaciones tengo quién las aprueba?"
        );
    }
}
