//! The parts of a sentence that must not be wrong: numbers, dates, names, codes, negations and how far it reaches.

use std::collections::BTreeSet;

use intramuros_ingest::document::Language;
use unicode_normalization::UnicodeNormalization;

use super::dates::{self, Date};
use crate::numbers::{canonical, unit_of, written};

/// What a sentence states that a passage must hold to the letter, and the words that are left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Numbers in one spelling: digits with `.` before decimals, whether written in digits or out, `-` in front where it
    /// stands there; those of dates, and weekdays.
    pub numbers: BTreeSet<String>,
    /// Those that are no part of a date.
    pub amounts: BTreeSet<String>,
    /// Dates, each as far as it is said.
    pub dates: BTreeSet<Date>,
    /// Numbers with the unit that follows them.
    pub measures: BTreeSet<(String, &'static str)>,
    /// Names and codes, folded: capitalised words inside a sentence, words with digits in them, acronyms, e-mail addresses.
    pub names: BTreeSet<String>,
    /// Those of them that stand behind «to», in Spanish «a» or «para»: what is done is done to them.
    pub recipients: BTreeSet<String>,
    /// Those that stand without it.
    pub doers: BTreeSet<String>,
    /// Those that only say whose or where something is: «the staff of Altamar».
    pub owners: BTreeSet<String>,
    /// Places in an order that are written out: «the fourth day».
    pub ordinals: BTreeSet<String>,
    /// The first name, word by word; it may be no more than the word that the sentence begins with.
    pub first_name: Vec<String>,
    /// How often it denies something.
    pub negations: usize,
    /// For each time, and for each «instead of», the words behind it, and how many of them stand before the next mark.
    pub denied: Vec<(String, usize)>,
    /// Whether it speaks of all (`all`) or of nothing else (`only`).
    pub reach: BTreeSet<&'static str>,
    /// The sentence without its numbers; signs such as € are words here.
    pub words: String,
}

const NEGATIONS: &[&str] = &[
    "not", "no", "never", "cannot", "without", "none", "neither", "nor", "nobody", "nothing", "nunca", "jamas", "sin",
    "ningun", "ninguna", "ninguno", "tampoco", "nadie", "nada", "ni",
];

/// Words that widen or narrow what is said.
const REACH: &[(&str, &[&str])] = &[
    (
        "all",
        &[
            "all",
            "every",
            "everyone",
            "everybody",
            "entire",
            "whole",
            "always",
            "todo",
            "toda",
            "todos",
            "todas",
            "siempre",
            "entero",
            "entera",
            "cualquier",
            "cualquiera",
        ],
    ),
    ("only", &["only", "solely", "exclusively", "solo", "solamente", "unicamente", "exclusivamente"]),
];

/// «Every year» says how often, not how many.
const PERIODS: &[&str] = &["day", "week", "month", "quarter", "year", "time"];

/// What stands before the unit of something else: «rent per month» is money.
const PER: &[&str] = &["per", "por", "al", "a", "cada"];

/// What stands before those to whom something is done.
const RECEIVING: &[&str] = &["to", "a", "al", "para"];

/// What stands before those whose something is, or where it is.
const OWNING: &[&str] = &["of", "in", "on", "at", "for", "de", "del", "en"];
const ARTICLES: &[&str] = &["the", "el", "la", "los", "las"];

/// Places in an order, in all forms but those of Spanish numbers and genders.
const ORDINALS: &[(&str, &[&str])] = &[
    ("1", &["first", "primer"]),
    ("2", &["second", "segund"]),
    ("3", &["third", "tercer"]),
    ("4", &["fourth", "cuart"]),
    ("5", &["fifth", "quint"]),
    ("6", &["sixth", "sext"]),
    ("7", &["seventh", "septim"]),
    ("8", &["eighth", "octav"]),
    ("9", &["ninth", "noven"]),
    ("10", &["tenth", "decim"]),
    ("11", &["eleventh", "undecim"]),
    ("12", &["twelfth", "duodecim"]),
    ("15", &["fifteenth"]),
    ("20", &["twentieth", "vigesim"]),
    ("30", &["thirtieth", "trigesim"]),
];

/// A unit stands at most so many words after its number: «23 working days».
const UNIT_DISTANCE: usize = 2;

const WEEKDAYS: &[(&str, u8)] = &[
    ("monday", 1),
    ("tuesday", 2),
    ("wednesday", 3),
    ("thursday", 4),
    ("friday", 5),
    ("saturday", 6),
    ("sunday", 7),
    ("lunes", 1),
    ("martes", 2),
    ("miercoles", 3),
    ("jueves", 4),
    ("viernes", 5),
    ("sabado", 6),
    ("domingo", 7),
];

/// A word of a sentence.
struct Word<'a> {
    /// Without the marks around it.
    core: &'a str,
    folded: String,
    /// Where a capital says nothing.
    at_start: bool,
    /// Whether a mark behind it ends a group of words.
    closed: bool,
    /// Signs glued to it.
    signs: Vec<char>,
    /// Whether a minus stands right before it.
    negative: bool,
}

impl Facts {
    fn add_amount(&mut self, number: String) {
        self.amounts.insert(number.clone());
        self.numbers.insert(number);
    }

    fn add_date(&mut self, date: Date) {
        self.numbers.extend(date.numbers());
        self.dates.insert(date);
    }

    /// Adds what another stretch of the same text states; its words and what it denies aside.
    pub fn add(&mut self, other: &Self) {
        self.numbers.extend(other.numbers.iter().cloned());
        self.amounts.extend(other.amounts.iter().cloned());
        self.dates.extend(&other.dates);
        self.measures.extend(other.measures.iter().cloned());
        self.reach.extend(&other.reach);
        self.ordinals.extend(other.ordinals.iter().cloned());
        self.recipients.extend(other.recipients.iter().cloned());
        self.doers.extend(other.doers.iter().cloned());
        self.negations += other.negations;
    }

    /// Forgets amounts and their units.
    pub fn keep_dates_only(&mut self) {
        self.numbers.retain(|number| !self.amounts.contains(number));
        self.amounts.clear();
        self.measures.clear();
    }

    /// Lets each amount stand for as many thousands, say, as well.
    pub fn scale(&mut self, scale: Option<f64>) {
        let Some(scale) = scale else { return };
        let scaled = |number: &String| {
            let value = number.parse::<f64>().ok()? * scale;
            Some(product(value))
        };
        let more: Vec<String> = self.amounts.iter().filter_map(scaled).collect();
        self.numbers.extend(more.iter().cloned());
        self.amounts.extend(more);
    }

    /// Whether the numbers that both measure have the same unit in both.
    pub fn same_units(&self, support: &Self) -> bool {
        self.measures.iter().all(|measure| {
            let measured = support.measures.iter().any(|(number, _)| *number == measure.0);
            !measured || support.measures.contains(measure)
        })
    }

    /// Whether nobody to whom something is done there does it here, and the other way round.
    pub fn same_recipients(&self, support: &Self) -> bool {
        let turned = |own: &BTreeSet<String>, there: &BTreeSet<String>, same: &BTreeSet<String>| {
            own.iter().any(|name| there.contains(name) && !same.contains(name))
        };
        !turned(&self.doers, &support.recipients, &support.doers)
            && !turned(&self.recipients, &support.doers, &support.recipients)
    }

    /// Whether each date stands there whole, in one place. Where none is written out whole («from the first to the 31st of
    /// March»), its numbers have to do.
    pub fn same_dates(&self, support: &Self) -> bool {
        let none_is_whole = !support.dates.iter().any(Date::is_whole);
        self.dates.iter().all(|date| none_is_whole || support.dates.iter().any(|other| other.covers(date)))
    }
}

/// Reads the facts of one sentence in the language it is taken for.
pub fn facts(sentence: &str, language: Option<Language>) -> Facts {
    let mut facts = Facts::default();
    let words = split(without_list_mark(sentence));
    let folded: Vec<&str> = words.iter().map(|word| word.folded.as_str()).collect();
    // The last number and where it ended.
    let mut number: Option<(String, usize)> = None;
    // Whether the name that follows stands behind «to».
    let mut receives = false;
    // Whether it stands behind «of».
    let mut owns = false;
    // The place behind the first name.
    let mut first_name_end = None;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let group = words[at..].iter().position(|word| word.closed).map_or(words.len(), |last| at + last + 1);
        let mut next = at + 1;
        if let Some(place) = ordinal_of(&word.folded) {
            facts.ordinals.insert(place);
        }
        if is_negation(&word.folded) {
            facts.negations += 1;
            facts.denied.push((behind(&words[next..]), group - at - 1));
        }
        if is_failing(&folded[at..]) {
            facts.negations += 1;
            facts.denied.push((behind(&words[at + 2..]), group.saturating_sub(at + 2)));
        }
        if let Some(taken) = excluded(&folded[at..]) {
            facts.denied.push((behind(&words[at + taken..]), group.saturating_sub(at + taken)));
        }
        if let Some(reach) = reach_of(&folded[at..]) {
            facts.reach.insert(reach);
        }
        if let Some((date, taken)) = date_at(&words[at..]) {
            next = at + taken;
            facts.add_date(date);
        } else if let Some(weekday) = weekday_of(word) {
            facts.numbers.insert(weekday);
        } else if let Some((value, taken)) = written::parse(&folded[at..group], language) {
            next = at + taken;
            facts.add_amount(value.to_string());
            number = Some((value.to_string(), next));
        } else if word.core.contains(|c: char| c.is_ascii_digit()) {
            let factor = words
                .get(next)
                .filter(|_| next < group)
                .and_then(|next| written::multiplier_of_figures(&next.folded, language));
            if let Some(last) = add_digits(&mut facts, word, factor) {
                next += usize::from(factor.is_some());
                number = Some((last, next));
            }
        } else if is_percent(&folded[at..]) {
            facts.words.push_str(" percent");
            next = at + 2;
            measure(&mut facts, &mut number, "percent", at);
        } else {
            let name = without_possessive(&word.folded);
            // «The» and «In» have a capital at the start and name nothing.
            let opens = word.at_start && (ARTICLES.contains(&name) || OWNING.contains(&name));
            if is_name(word.core) && !opens {
                if !word.at_start {
                    facts.names.insert(name.to_owned());
                }
                if receives { &mut facts.recipients } else { &mut facts.doers }.insert(name.to_owned());
                if owns {
                    facts.owners.insert(name.to_owned());
                }
                if first_name_end.is_none_or(|end| end == at) {
                    facts.first_name.push(name.to_owned());
                    first_name_end = Some(if word.closed { usize::MAX } else { next });
                }
            } else {
                receives = RECEIVING.contains(&name);
                owns = OWNING.contains(&name) || (owns && ARTICLES.contains(&name));
            }
            if let Some(unit) = unit_of(&word.folded) {
                measure(&mut facts, &mut number, unit, at);
            }
            facts.words.push(' ');
            facts.words.push_str(word.core);
        }
        for sign in &word.signs {
            if let Some(unit) = unit_of(sign.encode_utf8(&mut [0; 4])) {
                measure(&mut facts, &mut number, unit, at);
                facts.words.push(' ');
                facts.words.push_str(if *sign == '£' && language == Some(Language::Spanish) { "libra" } else { unit });
            }
        }
        at = next;
    }
    facts
}

fn split(sentence: &str) -> Vec<Word<'_>> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut at_start = true;
    for word in sentence.split_whitespace() {
        let core = word.trim_matches(|c: char| !c.is_alphanumeric());
        let signs = word.chars().filter(|c| matches!(c, '€' | '£' | '$' | '%')).collect();
        let closed = word.ends_with([',', ';', ':', '.', '!', '?', ')', '|']);
        if core.is_empty() {
            match words.last_mut() {
                Some(last) => {
                    last.signs.extend::<Vec<char>>(signs);
                    last.closed |= closed;
                }
                // A sign in front belongs to the amount behind it.
                None => continue,
            }
            continue;
        }
        let before = word.find(char::is_alphanumeric).map_or("", |at| &word[..at]);
        // A dash that another one closes is a parenthesis, and one between two amounts a range.
        let money = ['€', '£', '$'];
        let is_range = before.starts_with(money)
            && words.last().is_some_and(|word: &Word<'_>| word.core.ends_with(|c: char| c.is_ascii_digit()));
        let negative = match before.trim_start_matches('(').trim_start_matches(money).trim_end_matches(money) {
            "-" | "−" => !is_range,
            "–" => !is_range && !sentence.contains("– "),
            _ => false,
        };
        // «30-day» and «two-week» are a number and a word, «SF-86» is one code.
        let parts: Vec<&str> = core.split('-').collect();
        let counted = parts.len() > 1
            && (parts[0].bytes().all(|byte| byte.is_ascii_digit())
                || written::parse(&[fold(parts[0]).as_str()], None).is_some())
            && parts[1..].iter().all(|part| part.chars().count() > 1 && part.chars().all(char::is_alphabetic));
        let parts = if counted { parts } else { vec![core] };
        let count = parts.len();
        for (i, part) in parts.into_iter().enumerate() {
            let last = i + 1 == count;
            words.push(Word {
                core: part,
                folded: fold(part),
                at_start,
                closed: closed && last,
                signs: Vec::new(),
                negative: negative && i == 0,
            });
            at_start = false;
        }
        if let Some(last) = words.last_mut() {
            last.signs = signs;
        }
        // After a colon or a full stop inside the text a capital says nothing.
        at_start = word.ends_with([':', '.', '!', '?']);
    }
    words
}

/// A sentence without the mark of the list item it may be: `1. `, `12) `, `a) `, `- `, `• `. The mark is no fact.
pub fn without_list_mark(sentence: &str) -> &str {
    let text = sentence.trim_start();
    let inner = text.strip_prefix('(').unwrap_or(text);
    let label = inner.find(|c: char| !c.is_alphanumeric()).unwrap_or(inner.len());
    let numbered = (1..=3).contains(&label) && inner[..label].bytes().all(|byte| byte.is_ascii_digit());
    let lettered = inner[..label].chars().count() == 1;
    let rest = match inner[label..].chars().next() {
        Some(')') if numbered || lettered => &inner[label + 1..],
        Some('.') if numbered => &inner[label + 1..],
        Some(mark @ ('-' | '*' | '•' | '·' | '▪' | '◦' | '–')) if label == 0 => &inner[mark.len_utf8()..],
        _ => return text,
    };
    if rest.starts_with(char::is_whitespace) { without_list_mark(rest) } else { text }
}

fn is_negation(folded: &str) -> bool {
    NEGATIONS.contains(&folded) || folded.ends_with("n't") || folded.ends_with("n’t")
}

/// «Fails to pay» is «does not pay».
fn is_failing(words: &[&str]) -> bool {
    matches!(words, ["fail" | "fails" | "failed" | "failing", "to", ..])
}

/// Words as they are written: their stems need the accents.
fn behind(words: &[Word<'_>]) -> String {
    words.iter().map(|word| word.core.to_lowercase()).collect::<Vec<_>>().join(" ")
}

/// How many words say that what follows is not so, in favour of something else: «by Ana instead of Eva».
fn excluded(words: &[&str]) -> Option<usize> {
    const BEFORE: &[&[&str]] = &[
        &["instead", "of"],
        &["rather", "than"],
        &["replacing"],
        &["en", "lugar", "de"],
        &["en", "vez", "de"],
        &["en", "sustitucion", "de"],
    ];
    BEFORE.iter().find(|before| words.starts_with(before)).map(|before| before.len())
}

fn reach_of(words: &[&str]) -> Option<&'static str> {
    let word = words.first()?;
    let often = words.get(1).is_some_and(|next| PERIODS.contains(next));
    let (reach, _) = REACH.iter().find(|(_, forms)| forms.contains(word))?;
    (!(*word == "every" && often)).then_some(*reach)
}

/// The date that words begin with. It ends with its sentence, and no sign of money belongs to it.
fn date_at(words: &[Word<'_>]) -> Option<(Date, usize)> {
    let ends = |(i, word): (usize, &Word<'_>)| !word.signs.is_empty() || (i > 0 && word.at_start);
    let length = words.iter().enumerate().position(ends).unwrap_or(words.len());
    let cores: Vec<&str> = words[..length].iter().take(dates::MOST_WORDS).map(|word| word.core).collect();
    dates::parse(&cores)
}

fn weekday_of(word: &Word<'_>) -> Option<String> {
    let is_day = |name: &&(&str, u8)| word.folded == name.0 || word.folded.strip_suffix('s') == Some(name.0);
    WEEKDAYS.iter().find(is_day).map(|(_, day)| format!("weekday {day}"))
}

fn is_percent(words: &[&str]) -> bool {
    matches!(words, ["per", "cent", ..] | ["por", "ciento" | "cien", ..])
}

/// The unit that a name such as «notice days» gives its number: its last word, a plural, or what stands before «per».
pub fn unit_of_name(name: &str) -> Option<&'static str> {
    let words: Vec<String> = folded_words(name).collect();
    let is_per = |at: Option<usize>| at.and_then(|at| words.get(at)).is_some_and(|word| PER.contains(&word.as_str()));
    (0..words.len()).rev().find_map(|at| {
        let counts = at + 1 == words.len() || words[at].ends_with('s') || is_per(Some(at + 1));
        unit_of(&words[at]).filter(|_| counts && !is_per(at.checked_sub(1)))
    })
}

/// Gives the last number its unit, the first one that follows it.
fn measure(facts: &mut Facts, number: &mut Option<(String, usize)>, unit: &'static str, at: usize) {
    if let Some((number, _)) = number.take_if(|(_, end)| at <= *end + UNIT_DISTANCE) {
        facts.measures.insert((number, unit));
    }
}

/// A number if it is one with at most a unit sign, else a code whose spelling matters as a whole. Returns the last number.
fn add_digits(facts: &mut Facts, word: &Word<'_>, factor: Option<u64>) -> Option<String> {
    let core = word.core;
    let numeric = core.chars().all(|c| {
        c.is_ascii_digit() || matches!(c, '.' | ',' | '%' | '€' | '$' | '£' | ':' | '/' | '-' | '–' | 'º' | 'ª' | '°')
    });
    if !numeric {
        // «30th», «90min», «15h» are numbers with a unit glued on; «ES-2024» and «ERR42» are codes.
        let digits: String = core.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ',')).collect();
        let unit = &core[digits.len()..];
        if digits.is_empty() || unit.chars().count() > 3 || !unit.chars().all(char::is_alphabetic) {
            facts.names.insert(word.folded.clone());
            return None;
        }
        let number = signed(canonical(&digits), word.negative);
        facts.add_amount(number.clone());
        if let Some(unit) = unit_of(&fold(unit)) {
            facts.measures.insert((number.clone(), unit));
        }
        return Some(number);
    }
    let mut numbers: Vec<String> = Vec::new();
    for (i, part) in core.split(['/', '-', '–']).enumerate() {
        let number = clock_or_number(part);
        if !number.is_empty() {
            numbers.push(signed(number, word.negative && i == 0));
        }
    }
    // «5 mil» and «1.5 million» are one number.
    if let (Some(last), Some(factor)) = (numbers.last_mut(), factor)
        && let Ok(value) = last.parse::<f64>()
    {
        *last = product(value * factor as f64);
    }
    let last = numbers.last().cloned();
    for number in numbers {
        facts.add_amount(number);
    }
    last
}

/// A product that should be whole may miss it by a hair.
fn product(value: f64) -> String {
    format!("{}", if (value - value.round()).abs() < 1e-6 { value.round() } else { value })
}

/// The place in an order that a folded word says: «fourth», «cuarta», «tercer».
fn ordinal_of(folded: &str) -> Option<String> {
    let figures = folded.trim_end_matches(|c: char| !c.is_ascii_digit());
    if !figures.is_empty() && matches!(&folded[figures.len()..], "st" | "nd" | "rd" | "th" | "º" | ".º" | "ª" | ".ª")
    {
        return Some(figures.to_owned());
    }
    let is_form = |form: &&str| {
        *form == folded
            || folded
                .strip_prefix(*form)
                .is_some_and(|ending| matches!(ending, "o" | "a" | "os" | "as") && form.len() > 3)
    };
    ORDINALS.iter().find(|(_, forms)| forms.iter().any(is_form)).map(|(place, _)| (*place).to_owned())
}

fn signed(number: String, negative: bool) -> String {
    if negative { format!("-{number}") } else { number }
}

fn without_possessive(folded: &str) -> &str {
    folded.strip_suffix("'s").or_else(|| folded.strip_suffix("’s")).unwrap_or(folded)
}

/// The words of a text, folded, as names are compared.
pub fn folded_words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split_whitespace()
        .map(|word| fold(word.trim_matches(|c: char| !c.is_alphanumeric())))
        .filter(|word| !word.is_empty())
        .map(|word| without_possessive(&word).to_owned())
}

/// A number, or a time of the day as a whole: `08:30` is `8:30`, `17:00` is `17`.
fn clock_or_number(text: &str) -> String {
    let mut parts: Vec<String> = text
        .split(':')
        .map(|part| part.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | ',')).collect::<String>())
        .map(|digits| canonical(digits.trim_matches(['.', ','])))
        .collect();
    while parts.len() > 1 && parts.last().is_some_and(|last| last.is_empty() || last == "0") {
        parts.pop();
    }
    parts.join(":")
}

fn is_name(word: &str) -> bool {
    let mut characters = word.chars();
    let capital = characters.next().is_some_and(char::is_uppercase);
    capital && word.chars().count() >= 2
}

/// Lower case without accents.
pub fn fold(text: &str) -> String {
    text.nfd().filter(|c| !unicode_normalization::char::is_combining_mark(*c)).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<String> {
        facts(text, None).numbers.into_iter().collect()
    }

    #[test]
    fn numbers_have_one_spelling_in_both_languages() {
        for text in ["pays 1.234,50 €", "pays 1,234.50", "pays 1234.5"] {
            assert_eq!(numbers(text), ["1234.5"], "{text}");
        }
        assert_eq!(numbers("cuesta 12.000 euros"), ["12000"]);
        assert_eq!(numbers("it is 3.5%"), ["3.5"]);
        assert_eq!(numbers("within three days"), ["3"]);
        assert_eq!(numbers("el 3 de mayo"), ["3", "month 5"]);
        assert_eq!(numbers("from 08:30 to 15:00, 8:30–9:15"), ["15", "8:30", "9:15"]);
        assert_eq!(numbers("dura 90min"), ["90"]);
        for text in ["es del 0,125 %", "it is 0.125 %"] {
            assert_eq!(numbers(text), ["0.125"], "{text}");
        }
    }

    #[test]
    fn a_minus_belongs_to_its_number() {
        for text in ["falls to -5 degrees", "a result of −5 %", "baja a –5", "(-£5)", "it is £-5"] {
            assert_eq!(numbers(text), ["-5"], "{text}");
        }
        assert_eq!(numbers("from 2020-2025"), ["2020", "2025"]);
        assert_eq!(numbers("- 5 days"), ["5"]);
    }

    #[test]
    fn dashes_of_parentheses_and_ranges_are_no_minus() {
        assert_eq!(numbers("El plazo –30 días naturales– empieza hoy."), ["30"]);
        for text in ["it costs 10 €–20 €", "10 %–20 % of it"] {
            assert_eq!(numbers(text), ["10", "20"], "{text}");
        }
    }

    #[test]
    fn dates_are_whole_and_their_numbers_no_amounts() {
        let read = facts("From 12/03/2027 to 31 March 2028, 5 days in May.", None);
        let dates: Vec<_> = read.dates.iter().map(|date| (date.year, date.month, date.day)).collect();
        assert_eq!(dates, [(None, 5, None), (Some(2027), 3, Some(12)), (Some(2028), 3, Some(31))]);
        assert_eq!(read.amounts.into_iter().collect::<Vec<_>>(), ["5"]);
        assert_eq!(numbers("31/03/2027"), numbers("el 31 de marzo de 2027"));
        assert_eq!(facts("On 31 March. 2027 people came.", None).amounts.len(), 1);
        assert_eq!(facts("en marzo 2000 €", None).amounts.len(), 1);
    }

    #[test]
    fn a_name_gives_its_number_a_unit() {
        for (name, unit) in [
            ("notice days", Some("day")),
            ("dias de preaviso", Some("day")),
            ("min days", Some("day")),
            ("rent pounds per month", Some("pound")),
            ("importe eur al mes", Some("euro")),
            ("rent per month", None),
            ("price per day", None),
            ("salary per year", None),
            ("coste por hora", None),
            ("renta al mes", None),
            ("day rate", None),
            ("min age", None),
        ] {
            assert_eq!(unit_of_name(name), unit, "{name}");
        }
    }

    #[test]
    fn numbers_written_out_are_numbers() {
        for text in ["twenty-five days", "twenty five days", "veinticinco días", "25-day notice", "25 days"] {
            assert_eq!(numbers(text), ["25"], "{text}");
        }
        for text in ["quince días", "fifteen days", "15 días"] {
            assert_eq!(numbers(text), ["15"], "{text}");
        }
        for text in ["treinta y cinco mil euros", "35 mil euros", "35.000 €", "thirty-five thousand euros"] {
            assert_eq!(numbers(text), ["35000"], "{text}");
        }
        assert_eq!(numbers("dos, tres y cuatro"), ["2", "3", "4"]);
        assert_eq!(numbers("una persona, one person"), Vec::<String>::new());
        assert_eq!(numbers("on Mondays, los lunes"), ["weekday 1"]);
    }

    #[test]
    fn a_unit_belongs_to_its_number() {
        let measures = |text: &str| facts(text, None).measures.into_iter().collect::<Vec<_>>();
        let day = |number: &str| vec![(number.to_owned(), "day")];
        assert_eq!(measures("23 working days a year"), day("23"));
        assert_eq!(measures("veintitrés días al año"), day("23"));
        for text in ["95 €", "€95", "95 euros", "noventa y cinco euros", "95€"] {
            assert_eq!(measures(text), [("95".to_owned(), "euro")], "{text}");
        }
        for text in ["7 %", "7%", "7 per cent", "siete por ciento"] {
            assert_eq!(measures(text), [("7".to_owned(), "percent")], "{text}");
            assert_eq!(numbers(text), ["7"], "{text}");
        }
    }

    #[test]
    fn a_number_may_stand_with_several_units() {
        let both = facts("It pays £30 every thirty years.", None).measures;
        assert_eq!(both.into_iter().collect::<Vec<_>>(), [("30".to_owned(), "pound"), ("30".to_owned(), "year")]);
    }

    #[test]
    fn names_and_codes_are_kept_and_first_words_are_not_names() {
        let facts = facts("The form SF-86 goes to Núria Vidal at HR.", None);
        let names: Vec<&str> = facts.names.iter().map(String::as_str).collect();
        assert_eq!(names, ["hr", "nuria", "sf-86", "vidal"]);
        assert!(facts.numbers.is_empty() && facts.negations == 0);
    }

    #[test]
    fn the_mark_of_a_list_item_is_no_fact() {
        for text in ["6. Notice is given.", "12) Notice is given.", "- Notice is given.", "• 3. Notice is given."] {
            assert_eq!(without_list_mark(text), "Notice is given.", "{text}");
            assert_eq!(numbers(text), Vec::<String>::new(), "{text}");
        }
        for text in ["2026. Notice is given.", "23 days.", "5.2 Notice", "-5 degrees", "A plan"] {
            assert_eq!(without_list_mark(text), text);
        }
    }

    #[test]
    fn negation_and_reach_are_seen_in_both_languages() {
        let facts = |text| facts(text, None);
        assert_eq!(facts("You may not share it.").negations, 1);
        assert_eq!(facts("You don't pay.").negations, 1);
        assert_eq!(facts("Nunca se comparte.").negations, 1);
        assert!(facts("Notice is given.").denied.is_empty());
        for text in ["Only managers pay.", "Paga únicamente la dirección.", "Sólo paga ella."] {
            assert!(facts(text).reach.contains("only"), "{text}");
        }
        for text in ["All managers pay.", "Pagan todos.", "It covers the entire plant."] {
            assert!(facts(text).reach.contains("all"), "{text}");
        }
        assert!(facts("Managers pay every year.").reach.is_empty());
    }
}
