//! Holds the values of an answer in a given form against the passages.
//!
//! A text is held to what a sentence is held to. A date may be written out in the passage. A number must stand where
//! something is said of what was asked for: in a sentence or row that shares a word, or a heading's word, with the question or
//! the value's name; if its name holds a unit, in that unit. What says nothing that could be looked for is told apart.

use std::collections::HashSet;

use intramuros_ingest::document::Language;

use super::check::{Claim, Support, Unsupported, better};
use super::facts::folded_words;
use super::json::Value;
use super::passage::{Passage, Said, terms};
use crate::store::StoredChunk;

/// The English months, as a date is written out.
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// What came of holding a value against the passages.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It states nothing: `null`, an empty text.
    Nothing,
    /// It stands in this passage.
    Stands(usize, Support),
    /// It does not hold, or cannot be looked for.
    Fails(Unsupported),
}

/// Judges a value. `name` is the words of its place in the answer, `labels` the texts that the form itself prescribes.
pub fn judge(value: &Value, name: &str, question: &str, labels: &HashSet<String>, passages: &[StoredChunk]) -> Verdict {
    let asked = format!("{question} {name}");
    let outcome = |support: &dyn Fn(&StoredChunk) -> Result<Support, Unsupported>| {
        let mut best = (0, Err(Unsupported::Words));
        for (index, chunk) in passages.iter().enumerate() {
            let outcome = better(best.1.clone(), support(chunk));
            if outcome != best.1 {
                best = (index, outcome);
            }
        }
        match best {
            (index, Ok(support)) => Verdict::Stands(index, support),
            (_, Err(reason)) => Verdict::Fails(reason),
        }
    };
    match value {
        Value::Null => Verdict::Nothing,
        Value::Text(text) if text.trim().is_empty() => Verdict::Nothing,
        Value::Flag => Verdict::Fails(Unsupported::Unchecked),
        Value::Number(number) => outcome(&|chunk| number_support(number, name, &asked, chunk)),
        Value::Text(text) => {
            let claims: Vec<Claim> = spellings(text).iter().map(|text| Claim::new(text)).collect();
            if claims.iter().all(Claim::is_blank) {
                return Verdict::Fails(Unsupported::Unchecked);
            }
            let in_text = |chunk: &StoredChunk| {
                let supports = claims.iter().map(|claim| claim.support_near(chunk, &asked));
                supports.fold(Err(Unsupported::Words), better)
            };
            match outcome(&|chunk| in_text(chunk).or_else(|reason| heading_support(text, &asked, chunk).ok_or(reason)))
            {
                Verdict::Fails(_) if labels.contains(text) => Verdict::Fails(Unsupported::Unchecked),
                verdict => verdict,
            }
        }
    }
}

/// The words of a value's place: `/parties/0/noticeDays` is «parties notice Days».
pub fn name_of(path: &str) -> String {
    let mut name = String::new();
    let mut before = ' ';
    for character in path.chars() {
        let begins = character.is_uppercase() && before.is_lowercase();
        if begins || !character.is_alphabetic() {
            name.push(' ');
        }
        if character.is_alphabetic() {
            name.push(character);
        }
        before = character;
    }
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text as it may stand in a passage; a date in figures also with its month written out.
fn spellings(text: &str) -> Vec<String> {
    match date(text) {
        Some((year, month, day, rest)) => {
            let month_name = MONTHS[month - 1];
            vec![format!("{day}/{month}/{year} {rest}"), format!("{day} {month_name} {year} {rest}")]
        }
        None => vec![text.to_owned()],
    }
}

/// Year, month and day of `2026-03-31`, and the time of the day if one follows that is not midnight.
fn date(text: &str) -> Option<(u32, usize, u32, String)> {
    let (date, time) = text.split_at_checked(10)?;
    let mut parts = date.split('-');
    let mut next = |length: usize| parts.next().filter(|part| part.len() == length)?.parse::<u32>().ok();
    let (year, month, day) = (next(4)?, next(2)?, next(2)?);
    if !(1..=12).contains(&month) || !(time.is_empty() || time.starts_with(['T', 't'])) {
        return None;
    }
    let clock: String = time.chars().skip(1).take_while(|c| c.is_ascii_digit() || *c == ':').collect();
    let is_midnight = clock.chars().all(|c| matches!(c, '0' | ':'));
    Some((year, month as usize, day, if is_midnight { String::new() } else { clock }))
}

/// Where a number stands among words of what was asked for.
fn number_support(number: &str, name: &str, asked: &str, chunk: &StoredChunk) -> Result<Support, Unsupported> {
    let passage = Passage::read(chunk);
    let claim = Said::read(&format!("{} {name}", plain(number)), passage.language);
    let asked = terms(asked, passage.language);
    let mut best = Err(Unsupported::Words);
    for (at, piece) in passage.pieces.iter().enumerate() {
        let said = passage.said(at, &claim);
        let outcome = if !stands(number, &said, passage.language) || !same_units(&claim, &said) {
            Err(Unsupported::Number)
        } else {
            match passage.shared(at, &asked) {
                0 => Err(Unsupported::Words),
                shared => Ok(Support { range: piece.span.shown(), overlap: 1.0, shared }),
            }
        };
        best = better(best, outcome);
    }
    best
}

fn stands(number: &str, said: &Said, language: Option<Language>) -> bool {
    let own = Said::read(&plain(number), language).facts.numbers;
    !own.is_empty() && own.is_subset(&said.facts.numbers)
}

/// Whether a number that the value's name gives a unit has that unit there, where it has one at all.
fn same_units(claim: &Said, said: &Said) -> bool {
    let measures = &said.facts.measures;
    claim.facts.measures.iter().all(|measure| {
        let measured = measures.iter().any(|(number, _)| *number == measure.0);
        !measured || measures.contains(measure)
    })
}

/// A JSON number as people write it: `1.2e3` is 1200.
fn plain(number: &str) -> String {
    match number.parse::<f64>() {
        Ok(value) if number.contains(['e', 'E']) => format!("{value}"),
        _ => number.to_owned(),
    }
}

/// A text that stands word for word in the title or a heading of a passage. Its first sentence is shown, the one nearest
/// to what was asked for if there is one.
fn heading_support(text: &str, asked: &str, chunk: &StoredChunk) -> Option<Support> {
    let words: Vec<String> = folded_words(text).collect();
    let holds = |heading: &String| {
        let heading: Vec<String> = folded_words(heading).collect();
        !words.is_empty() && heading.windows(words.len()).any(|window| window == words)
    };
    if !chunk.section.iter().chain([&chunk.title]).any(holds) {
        return None;
    }
    let passage = Passage::read(chunk);
    let asked = terms(asked, passage.language);
    let supports =
        passage.pieces.iter().enumerate().map(|(at, piece)| {
            Ok(Support { range: piece.span.shown(), overlap: 0.0, shared: passage.shared(at, &asked) })
        });
    supports.fold(Err(Unsupported::Words), better).ok()
}

#[cfg(test)]
mod tests {
    use intramuros_ingest::access::Acl;
    use intramuros_ingest::document::{ContentHash, DocumentId};

    use super::*;

    const ENGLISH: &str = "The lease ends on 31 March 2027. The tenant, Torrubia Ltd, pays £1,200.50 a month. \
        Notice of six months is given in writing. Tea is served at 15:30 by Marta Lee.";
    const SPANISH: &str = "El contrato vence el 31/03/2027. La penalización es del 0,4 % por cada día de retraso. \
        El plazo de preaviso es de treinta días.";

    fn chunk(language: Language, text: &str) -> StoredChunk {
        StoredChunk {
            document_id: DocumentId::new("test", "a"),
            position: 0,
            source: "test".into(),
            title: "Lease of Harrowmouth".into(),
            uri: String::new(),
            section: vec!["Money and terms".into()],
            page: None,
            start: 0,
            end: text.chars().count(),
            language: Some(language),
            acl: Acl::nobody(),
            embedding_hash: ContentHash::of(b""),
            text: text.into(),
        }
    }

    /// What was shown for a value, or why it did not hold.
    fn shown(value: Value, path: &str, question: &str) -> Result<String, Unsupported> {
        let passages = [chunk(Language::English, ENGLISH), chunk(Language::Spanish, SPANISH)];
        let labels = HashSet::from(["rent".to_owned(), "Torrubia Ltd".to_owned()]);
        match judge(&value, &name_of(path), question, &labels, &passages) {
            Verdict::Stands(index, support) => Ok(passages[index].text[support.range].to_owned()),
            Verdict::Fails(reason) => Err(reason),
            Verdict::Nothing => Ok(String::new()),
        }
    }

    fn text(value: &str, path: &str) -> Result<String, Unsupported> {
        shown(Value::Text(value.into()), path, "What are the terms of the lease?")
    }

    fn number(value: &str, path: &str, question: &str) -> Result<String, Unsupported> {
        shown(Value::Number(value.into()), path, question)
    }

    #[test]
    fn texts_are_held_to_what_sentences_are_held_to() {
        assert!(text("Torrubia Ltd", "/tenant").unwrap().starts_with("The tenant, Torrubia Ltd"));
        assert!(text("Marta Lee", "/served_by").is_ok());
        assert!(text("Marta Torrubia", "/served_by").is_err(), "a name put together from two");
        assert!(text("Luis Pardo", "/tenant").is_err());
        assert!(text("£1,200.50", "/rent").is_ok() && text("six months", "/notice").is_ok());
        assert!(text("seven months", "/notice").is_err());
        assert!(text("Harrowmouth", "/place").is_ok(), "a title says it");
        assert!(text("Harrowmouth Castle", "/place").is_err());
        assert_eq!(text("", "/x"), Ok(String::new()));
        assert_eq!(shown(Value::Null, "/x", "?"), Ok(String::new()));
    }

    #[test]
    fn dates_are_recognised_however_they_are_written() {
        assert_eq!(text("2027-03-31", "/ends").unwrap(), "The lease ends on 31 March 2027.");
        assert_eq!(
            shown(Value::Text("2027-03-31".into()), "/fin", "¿Cuándo vence el contrato?").unwrap(),
            "El contrato vence el 31/03/2027."
        );
        assert!(text("2027-03-31T00:00:00Z", "/ends").is_ok());
        for wrong in ["2027-03-30", "2027-04-31", "2026-03-31", "2027-03-31T15:30:00Z"] {
            assert!(text(wrong, "/ends").is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_number_stands_where_something_is_said_of_what_was_asked() {
        let rent = "How much does the tenant pay?";
        assert!(number("1200.5", "/rent", rent).unwrap().contains("£1,200.50"));
        assert!(number("1.2005e3", "/rent", rent).is_ok());
        assert_eq!(number("1200", "/rent", rent), Err(Unsupported::Number));
        assert!(number("0.4", "/percent", "¿Qué penalización hay por retraso?").unwrap().contains("0,4 %"));
        assert!(number("30", "/preaviso_dias", "¿Qué plazo hay?").unwrap().contains("treinta días"));
        // The number stands in a sentence about something else.
        assert_eq!(number("6", "/floor", "Which storey?"), Err(Unsupported::Number));
        // The unit is another one.
        assert!(number("6", "/notice_months", "How long is the notice?").is_ok());
        assert_eq!(number("6", "/noticeDays", "How long is the notice?"), Err(Unsupported::Number));
    }

    #[test]
    fn what_cannot_be_looked_for_is_told_apart() {
        let reason = Err(Unsupported::Unchecked);
        assert_eq!(shown(Value::Flag, "/x", "?"), reason);
        assert_eq!(text("yes", "/answer"), reason);
        assert_eq!(text("rent", "/kind"), reason, "a word of the form that no passage holds");
        assert!(text("Torrubia Ltd", "/tenant").is_ok(), "a word of the form that a passage holds");
    }

    #[test]
    fn names_are_words() {
        assert_eq!(name_of("/parties/0/noticeDays"), "parties notice Days");
        assert_eq!(name_of("/a~1b/VAT_rate"), "a b VAT rate");
        assert_eq!(name_of(""), "");
    }
}
