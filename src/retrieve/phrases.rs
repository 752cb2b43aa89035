//! What a question puts in quotation marks is looked for as it stands.

use super::Found;
use crate::store::bm25;

/// Puts the passages that hold every one of some phrases before the others, each in their order.
pub fn put_first(found: &mut Vec<Found>, phrases: &[String]) {
    if !phrases.is_empty() {
        let best = found.iter().map(|found| found.score).fold(0.0, f32::max);
        let (mut with, without): (Vec<Found>, Vec<Found>) = found.drain(..).partition(|found| {
            let text = spaced_words(&found.chunk.with_headings());
            phrases.iter().all(|phrase| text.contains(phrase.as_str()))
        });
        with.iter_mut().for_each(|found| found.score = best);
        found.extend(with.into_iter().chain(without));
    }
}

/// What a question puts in quotation marks, in the form of [`spaced_words`].
pub fn quoted(question: &str) -> Vec<String> {
    let mut phrases = Vec::new();
    let mut rest = question;
    while let Some(open) = rest.find(['"', '«', '“']) {
        let mark = rest[open..].chars().next().unwrap_or('"');
        let inside = &rest[open + mark.len_utf8()..];
        let close = match mark {
            '«' => '»',
            '“' => '”',
            mark => mark,
        };
        // Inches and other lone marks open nothing.
        let Some(end) = inside.find(close) else {
            rest = inside;
            continue;
        };
        let phrase = spaced_words(&inside[..end]);
        if !phrase.trim().is_empty() {
            phrases.push(phrase);
        }
        rest = &inside[end + close.len_utf8()..];
    }
    phrases
}

/// The words of a text in lower case without accents, a blank before and behind each.
fn spaced_words(text: &str) -> String {
    let folded = bm25::fold(&text.to_lowercase());
    folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .fold(" ".to_owned(), |all, word| all + word + " ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, order};
    use super::*;

    #[test]
    fn what_is_in_quotation_marks_goes_first() {
        assert_eq!(quoted("¿Qué dice «Fuerza Mayor» y \"plazo\"?"), [" fuerza mayor ", " plazo "]);
        assert!(quoted("5\" only").is_empty() && quoted("«» \"?\"").is_empty());
        let mut all = vec![found("a", "mayor fuerza"), found("b", "por fuerza\nmayor, se"), found("c", "nada")];
        put_first(&mut all, &quoted("«fuerza mayor»"));
        assert_eq!(order(&all), ["b", "a", "c"]);
        put_first(&mut all, &quoted("«otra cosa»"));
        assert_eq!(order(&all), ["b", "a", "c"]);
    }
}
