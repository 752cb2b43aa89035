//! Holds the values of an answer in a given form against the passages.
//!
//! A text is held to what a sentence is held to; a date may be written out in the passage. A number must stand where
//! something is said of what was asked for: in a sentence, or in the cells of a row and above them, that share a word with the
//! question or the value's name; if its name holds a unit, in that unit; and not as part of a date. A name that the model
//! chose itself is held to what a text is held to. What says nothing that could be looked for is told apart.

use std::collections::{BTreeSet, HashSet};

use chrono::NaiveDate;
use intramuros_models::Grammar;

use super::check::{Claim, Support, Unsupported, better};
use super::dates::Date;
use super::facts::{folded_words, unit_of_name};
use super::json::Value;
use super::passage::{Passage, Said, terms};

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

/// What a form itself prescribes: the words of whoever asks, not of the model.
#[derive(Debug, Default)]
pub struct Prescribed {
    /// Texts, numbers and the like of `enum` and `const`.
    values: HashSet<serde_json::Value>,
    /// Names of members.
    names: HashSet<String>,
}

impl Prescribed {
    /// By a form.
    pub fn by(grammar: &Grammar) -> Self {
        let mut prescribed = Self::default();
        if let Grammar::JsonSchema(schema) = grammar {
            prescribed.add_schema(schema);
        }
        prescribed
    }

    fn add_schema(&mut self, schema: &serde_json::Value) {
        match schema {
            serde_json::Value::Object(keywords) => {
                for (keyword, value) in keywords {
                    match (keyword.as_str(), value) {
                        ("const" | "enum", value) => self.add_value(value),
                        ("required", serde_json::Value::Array(names)) => {
                            self.names.extend(names.iter().filter_map(|name| name.as_str().map(str::to_owned)));
                        }
                        ("properties", serde_json::Value::Object(members)) => {
                            self.names.extend(members.keys().cloned());
                            members.values().for_each(|schema| self.add_schema(schema));
                        }
                        (_, value) => self.add_schema(value),
                    }
                }
            }
            serde_json::Value::Array(schemas) => schemas.iter().for_each(|schema| self.add_schema(schema)),
            _ => {}
        }
    }

    fn add_value(&mut self, value: &serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                self.names.extend(members.keys().cloned());
                members.values().for_each(|value| self.add_value(value));
            }
            serde_json::Value::Array(values) => values.iter().for_each(|value| self.add_value(value)),
            value => {
                self.values.insert(value.clone());
            }
        }
    }
}

/// Holds what the model wrote in a form against the passages.
pub struct Judge<'a> {
    /// In the caller's words.
    pub question: &'a str,
    /// By the form.
    pub prescribed: &'a Prescribed,
    /// What the model read.
    pub passages: &'a [Passage<'a>],
}

impl Judge<'_> {
    /// Judges a value by its place in the answer, a JSON pointer.
    pub fn value(&self, value: &Value, path: &str) -> Verdict {
        let name = name_of(path);
        let asked = format!("{} {name}", self.question);
        let verdict = match value {
            Value::Null => Verdict::Nothing,
            Value::Text(text) if text.trim().is_empty() => Verdict::Nothing,
            Value::Flag => Verdict::Fails(Unsupported::Unchecked),
            Value::Number(number) => self.best(|passage| number_support(number, &name, &asked, passage)),
            Value::Text(text) => self.text(text, &asked),
        };
        match verdict {
            Verdict::Fails(_) if self.is_label(value, &name) => Verdict::Fails(Unsupported::Unchecked),
            verdict => verdict,
        }
    }

    /// Why the name of a member does not hold, if the model chose it.
    pub fn name(&self, name: &str) -> Option<Unsupported> {
        if self.prescribed.names.contains(name) {
            return None;
        }
        match self.text(&words_of(name), self.question) {
            Verdict::Fails(reason) if reason.is_wrong() && !is_plain_name(name, self.question) => Some(reason),
            _ => None,
        }
    }

    fn text(&self, text: &str, asked: &str) -> Verdict {
        let claim = Claim::new(&spelled(text));
        if claim.is_blank() {
            return Verdict::Fails(Unsupported::Unchecked);
        }
        self.best(|passage| {
            let asked = terms(asked, passage.language);
            claim.support_near(passage, &asked).or_else(|reason| heading_support(text, &asked, passage).ok_or(reason))
        })
    }

    fn best(&self, support: impl Fn(&Passage<'_>) -> Result<Support, Unsupported>) -> Verdict {
        let mut best = (0, Err(Unsupported::Words));
        for (index, passage) in self.passages.iter().enumerate() {
            let outcome = better(best.1.clone(), support(passage));
            if outcome != best.1 {
                best = (index, outcome);
            }
        }
        match best {
            (index, Ok(support)) => Verdict::Stands(index, support),
            (_, Err(reason)) => Verdict::Fails(reason),
        }
    }

    /// Whether a value is one of those that the form offers and says nothing but which of them it is: no number with a unit,
    /// and no text with an amount or a date in it.
    fn is_label(&self, value: &Value, name: &str) -> bool {
        match value {
            Value::Text(text) => {
                let states = !Said::read(text, None).facts.numbers.is_empty();
                !states && self.prescribed.values.contains(&serde_json::Value::from(text.as_str()))
            }
            Value::Number(number) => {
                let number = serde_json::from_str::<serde_json::Value>(number);
                unit_of_name(name).is_none() && number.is_ok_and(|number| self.prescribed.values.contains(&number))
            }
            Value::Flag | Value::Null => false,
        }
    }
}

/// The words of a value's place: `/parties/0/noticeDays` is «parties notice days».
fn name_of(path: &str) -> String {
    let letters = words_of(path).replace(|c: char| !c.is_alphabetic(), " ");
    letters.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A name as people write it: `noticeDays` and `notice_days` are «notice days».
fn words_of(name: &str) -> String {
    let mut words = String::new();
    let mut before = ' ';
    for character in name.chars() {
        if character.is_uppercase() && before.is_lowercase() {
            words.push(' ');
            words.extend(character.to_lowercase());
        } else {
            words.push(if character == '_' { ' ' } else { character });
        }
        before = character;
    }
    words
}

/// Words of a name that is no sentence at most.
const MOST_NAME_WORDS: usize = 3;

/// Whether a name says no more than what stands under it: a short one such as `Answer` or `end_date`, or words of the question
/// only.
fn is_plain_name(name: &str, question: &str) -> bool {
    let words = words_of(name);
    let asked: HashSet<String> = folded_words(&words_of(question)).collect();
    let facts = Said::read(&words, None).facts;
    let is_short = !name.contains(char::is_whitespace)
        && folded_words(&words).count() <= MOST_NAME_WORDS
        && facts.numbers.is_empty()
        && facts.negations == 0;
    is_short || folded_words(&words).all(|word| asked.contains(&word))
}

/// A text as a passage may hold it: a moment as a date and the time of its day, unless that is midnight.
fn spelled(text: &str) -> String {
    let moment = || {
        let (date, time) = text.split_at_checked(10)?;
        let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
        let time = time.strip_prefix(['T', 't'])?;
        let clock: String = time.chars().take_while(|c| c.is_ascii_digit() || *c == ':').collect();
        let is_midnight = clock.chars().all(|c| matches!(c, '0' | ':'));
        Some(if is_midnight { date.to_string() } else { format!("{date} {clock}") })
    };
    moment().unwrap_or_else(|| text.to_owned())
}

/// Where a number stands among words of what was asked for. The title and headings of the passage do not count: they stand
/// above every number in it.
fn number_support(number: &str, name: &str, asked: &str, passage: &Passage<'_>) -> Result<Support, Unsupported> {
    let number = canonical(number);
    let unit = unit_of_name(name);
    let asked = terms(asked, passage.language);
    let mut claim = Said { terms: asked.clone(), ..Said::default() };
    claim.facts.measures.extend(unit.map(|unit| (number.clone(), unit)));
    claim.facts.numbers.insert(number.clone());
    let mut best = Err(Unsupported::Words);
    for (at, piece) in passage.pieces.iter().enumerate() {
        let said = passage.said(at, &claim);
        let stands = said.facts.amounts.contains(&number) || is_part_of_date(&number, unit, &said.facts.dates);
        let outcome = if !stands || !claim.facts.same_units(&said.facts) {
            Err(Unsupported::Number)
        } else if said.terms.is_disjoint(&asked) {
            Err(Unsupported::Words)
        } else {
            Ok(Support { range: piece.span.shown(), overlap: 1.0, shared: passage.shared(at, &asked) })
        };
        best = better(best, outcome);
    }
    best
}

/// Whether a number whose name says that it is a day, a month or a year is that of a date.
fn is_part_of_date(number: &str, unit: Option<&str>, dates: &BTreeSet<Date>) -> bool {
    dates.iter().any(|date| match unit {
        Some("year") => date.year.is_some_and(|year| year.to_string() == number),
        Some("month") => date.month.to_string() == number,
        Some("day") => date.day.is_some_and(|day| day.to_string() == number),
        _ => false,
    })
}

/// A JSON number in the spelling that numbers of passages have: `1.20e3` is `1200`.
fn canonical(number: &str) -> String {
    let plain = match number.parse::<f64>() {
        Ok(value) if number.contains(['e', 'E']) => format!("{value}"),
        _ => number.to_owned(),
    };
    // The full stop always stands before decimals here, however many they are.
    match plain.split_once('.') {
        Some(_) => plain.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => plain,
    }
}

/// A text that stands word for word in the title or a heading of a passage. Its first sentence is shown, the one nearest
/// to what was asked for if there is one. The numbers of sections state nothing.
fn heading_support(text: &str, asked: &HashSet<u32>, passage: &Passage<'_>) -> Option<Support> {
    let words: Vec<String> = folded_words(text).collect();
    let holds = |heading: &String| {
        let mut heading: Vec<String> = folded_words(heading).collect();
        if heading.first().is_some_and(|word| !word.contains(char::is_alphabetic)) {
            heading.remove(0);
        }
        !words.is_empty() && heading.windows(words.len()).any(|window| window == words)
    };
    let is_figures = words.iter().all(|word| !word.contains(char::is_alphabetic));
    if is_figures || !passage.chunk.section.iter().chain([&passage.chunk.title]).any(holds) {
        return None;
    }
    let supports =
        passage.pieces.iter().enumerate().map(|(at, piece)| {
            Ok(Support { range: piece.span.shown(), overlap: 0.0, shared: passage.shared(at, asked) })
        });
    supports.fold(Err(Unsupported::Words), better).ok()
}

#[cfg(test)]
mod tests {
    use intramuros_ingest::access::Acl;
    use intramuros_ingest::document::{ContentHash, DocumentId, Language};
    use serde_json::json;

    use super::*;
    use crate::store::StoredChunk;

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

    fn judged<T>(chunks: &[StoredChunk], question: &str, judge: impl FnOnce(&Judge<'_>) -> T) -> T {
        let prescribed = Prescribed::by(&Grammar::JsonSchema(json!({
            "properties": { "tenant": {}, "const": { "enum": ["rent", "Torrubia Ltd", "£100", 3, 7] } },
            "additionalProperties": { "const": { "declared in a constant": true } },
        })));
        let passages: Vec<Passage<'_>> = chunks.iter().map(Passage::read).collect();
        judge(&Judge { question, prescribed: &prescribed, passages: &passages })
    }

    /// What was shown for a value, or why it did not hold.
    fn shown_of(chunks: &[StoredChunk], value: &Value, path: &str, question: &str) -> Result<String, Unsupported> {
        match judged(chunks, question, |judge| judge.value(value, path)) {
            Verdict::Stands(index, support) => Ok(chunks[index].text[support.range].to_owned()),
            Verdict::Fails(reason) => Err(reason),
            Verdict::Nothing => Ok(String::new()),
        }
    }

    fn shown(value: Value, path: &str, question: &str) -> Result<String, Unsupported> {
        shown_of(&[chunk(Language::English, ENGLISH), chunk(Language::Spanish, SPANISH)], &value, path, question)
    }

    /// Of a number, over one sentence.
    fn number_over(text: &str, number: &str, path: &str, question: &str) -> Result<String, Unsupported> {
        shown_of(&[chunk(Language::English, text)], &Value::Number(number.into()), path, question)
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
    fn dates_are_compared_whole() {
        let over = |text: &str, date: &str| {
            shown_of(&[chunk(Language::English, text)], &Value::Text(date.into()), "/date", "When?").is_ok()
        };
        let both = "The lease begins on 1 March 2024 and ends on 31 December 2027.";
        assert!(over(both, "2024-03-01") && over(both, "2027-12-31"));
        assert!(!over(both, "2027-12-01") && !over(both, "2024-12-31"));
        let figures = "It ends on 12/03/2027.";
        assert!(over(figures, "2027-03-12") && !over(figures, "2027-12-03"));
        assert!(!over("It ends on 1 December 2027.", "2027-01-01"));
        for text in ["It ends on 2027-03-31.", "It ends on March 31, 2027.", "It ends on the 31st of March 2027."] {
            assert!(over(text, "2027-03-31"), "{text}");
        }
    }

    #[test]
    fn dates_with_words_between_and_ranges_are_read() {
        let over = |language, text: &str, date: &str| {
            shown_of(&[chunk(language, text)], &Value::Text(date.into()), "/date", "When?").is_ok()
        };
        for text in ["Vence el 31 de marzo del año 2027.", "Vence el 31 del mes de marzo de 2027."] {
            assert!(
                over(Language::Spanish, text, "2027-03-31") && !over(Language::Spanish, text, "2027-03-01"),
                "{text}"
            );
        }
        for text in ["It ends on the 31st day of March 2027.", "It ends on March the 31st, 2027."] {
            assert!(over(Language::English, text, "2027-03-31"), "{text}");
        }
    }

    #[test]
    fn parts_of_a_date_are_numbers_by_their_names() {
        let over = |text, number, path| number_over(text, number, path, "When does the lease end?").is_ok();
        let whole = "The lease ends on 31/03/2027.";
        assert!(over(whole, "31", "/day") && over(whole, "3", "/month") && over(whole, "2027", "/year"));
        assert!(!over(whole, "12", "/month") && !over(whole, "31", "/rent"));
        let without_year = "The lease ends every 31 March.";
        assert!(!over(without_year, "1.5", "/term_years") && !over(without_year, "99999999999", "/year"));
    }

    #[test]
    fn names_that_state_nothing_are_plain() {
        for name in ["answer", "Answer", "end_date", "monthlyRent", "When lease", "fecha_de_fin"] {
            assert!(is_plain_name(name, "When does the lease end?"), "{name}");
        }
        for name in
            ["The lease is void", "owes_9000", "the_lease_is_not_valid", "not_valid", "the_tenant_owes_the_landlord"]
        {
            assert!(!is_plain_name(name, "When does the lease end?"), "{name}");
        }
    }

    #[test]
    fn titles_support_their_words_and_not_the_numbers_of_sections() {
        let mut titled = chunk(Language::Spanish, "Texto.");
        (titled.title, titled.section) = ("Convenio colectivo 2024".into(), vec!["5. Vacaciones".into()]);
        let shown =
            |text: &str| shown_of(&[titled.clone()], &Value::Text(text.into()), "/document", "¿Qué dice?").is_ok();
        assert!(shown("Convenio colectivo 2024") && shown("Vacaciones"));
        assert!(!shown("5") && !shown("2024") && !shown("5. Vacaciones anuales"));
    }

    #[test]
    fn json_numbers_are_no_prose() {
        let rent = |number| number_over("The rent is 1.250 € a month.", number, "/rent", "How much is the rent?");
        assert!(rent("1250").is_ok() && rent("1250.0").is_ok() && rent("1.25e3").is_ok());
        assert!(rent("1.250").is_err() && rent("1.25").is_err());
        let rate = |number| number_over("The rate is 0,125 %.", number, "/rate", "What is the rate?");
        assert!(rate("0.125").is_ok() && rate("0.1250").is_ok() && rate("125").is_err());
    }

    #[test]
    fn the_sign_of_a_number_must_stand_there() {
        let change = |text, number| number_over(text, number, "/change", "How did the rent change?");
        assert!(change("The rent rose by 5 %.", "5").is_ok() && change("The rent rose by 5 %.", "-5").is_err());
        assert!(change("The change of the rent is −5 %.", "-5").is_ok());
        assert!(change("The change of the rent is -5 %.", "5").is_err());
        assert!(change("The rent of 2020-2025 is fixed.", "-2025").is_err());
    }

    #[test]
    fn a_number_is_supported_by_no_heading_and_no_date() {
        let question = "How much is the rent of Harrowmouth?";
        let over = |text, number, path| number_over(text, number, path, question);
        // The title of the document shares a word with the question, and so does the whole of it.
        assert_eq!(over("It has 40 rooms.", "40", "/rent"), Err(Unsupported::Words));
        assert_eq!(over("The rent is due until 31 March 2027.", "2027", "/rent"), Err(Unsupported::Number));
        assert_eq!(over("The rent is due until 31 March 2027.", "31", "/rent"), Err(Unsupported::Number));
        assert!(over("The lease of Harrowmouth ends on 31 March 2027.", "2027", "/end_year").is_ok());
        let table = "Place | Rent | Rooms\nHarrowmouth | 950 | 40\nQuayside | 800 | 12";
        assert!(over(table, "950", "/rent").is_ok() && over(table, "800", "/rent").is_ok());
        assert!(over(table, "12", "/rent").is_err(), "it stands in another column");
    }

    #[test]
    fn a_unit_behind_per_is_none_of_the_number() {
        let rent = |path| number("1200.5", path, "How much does the tenant pay?");
        for path in ["/rent_per_month", "/price_per_day", "/salaryPerYear", "/rent_pounds_per_month"] {
            assert!(rent(path).is_ok(), "{path}");
        }
        assert!(rent("/rent_euros_per_month").is_err());
    }

    #[test]
    fn numbers_of_sections_support_nothing() {
        let mut passage = chunk(Language::English, "Notice is given in writing.");
        passage.section = vec!["5. Annual leave".into()];
        let over =
            |text: &str| shown_of(&[passage.clone()], &Value::Text(text.into()), "/days", "How many days?").is_ok();
        assert!(over("Annual leave") && !over("5") && !over("5. Annual leave"));
    }

    #[test]
    fn names_that_the_model_chose_are_judged() {
        let passages = [chunk(Language::English, ENGLISH)];
        let question = "What is the rent of the lease, as rent_amount?";
        let name = |name: &str| judged(&passages, question, |judge| judge.name(name));
        // Prescribed, plain, of the question, or in a passage.
        let fine =
            ["declared in a constant", "answer", "rentAmount", "the rent of the lease", "six_months", "Torrubia Ltd"];
        for fine in fine {
            assert_eq!(name(fine), None, "{fine}");
        }
        for wrong in ["The lease is void", "rent 1300", "Luis Pardo", "rent not paid", "2029"] {
            assert!(name(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_looked_for_is_told_apart() {
        let reason = Err(Unsupported::Unchecked);
        assert_eq!(shown(Value::Flag, "/x", "?"), reason);
        assert_eq!(text("yes", "/answer"), reason);
        assert_eq!(text("rent", "/kind"), reason, "a word of the form that no passage holds");
        assert!(text("Torrubia Ltd", "/tenant").is_ok(), "a word of the form that a passage holds");
        assert_eq!(text("£100", "/rent"), Err(Unsupported::Number), "an amount of the form that no passage holds");
        let rating = "How good is it?";
        assert_eq!(number("3", "/rating", rating), reason, "a number of the form");
        assert_eq!(
            number("3", "/notice_days", rating),
            Err(Unsupported::Number),
            "one that says how many of something"
        );
        assert_eq!(number("4", "/rating", rating), Err(Unsupported::Number));
    }

    #[test]
    fn names_are_words() {
        assert_eq!(name_of("/parties/0/noticeDays"), "parties notice days");
        assert_eq!(name_of("/a~1b/VAT_rate"), "a b VAT rate");
        assert_eq!(name_of(""), "");
    }
}
