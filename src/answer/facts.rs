//! The parts of a sentence that must not be wrong: numbers, dates, names, codes and negations.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization;

/// What a sentence states that a passage must hold to the letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Numbers in one spelling: digits with `.` before decimals; number words up to twelve count as numbers.
    pub numbers: BTreeSet<String>,
    /// Names and codes, folded: capitalised words inside a sentence, words with digits in them, acronyms, e-mail addresses.
    pub names: BTreeSet<String>,
    /// Whether it denies something.
    pub negated: bool,
}

const NEGATIONS: &[&str] = &[
    "not", "no", "never", "cannot", "without", "none", "neither", "nor", "nobody", "nothing", "nunca", "jamas", "sin",
    "ningun", "ninguna", "ninguno", "tampoco", "nadie", "nada", "ni",
];

/// Without «one» and «once», which are mostly something else.
const NUMBER_WORDS: &[(&str, &str)] = &[
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
    ("eleven", "11"),
    ("twelve", "12"),
    ("dos", "2"),
    ("tres", "3"),
    ("cuatro", "4"),
    ("cinco", "5"),
    ("seis", "6"),
    ("siete", "7"),
    ("ocho", "8"),
    ("nueve", "9"),
    ("diez", "10"),
    ("doce", "12"),
];

/// Months, English ones first; they count among the numbers, so that «3 de mayo» is not taken for «3 de junio».
const MONTHS: &[(&str, u8)] = &[
    ("january", 1),
    ("february", 2),
    ("march", 3),
    ("april", 4),
    ("may", 5),
    ("june", 6),
    ("july", 7),
    ("august", 8),
    ("september", 9),
    ("october", 10),
    ("november", 11),
    ("december", 12),
    ("enero", 1),
    ("febrero", 2),
    ("marzo", 3),
    ("abril", 4),
    ("mayo", 5),
    ("junio", 6),
    ("julio", 7),
    ("agosto", 8),
    ("septiembre", 9),
    ("octubre", 10),
    ("noviembre", 11),
    ("diciembre", 12),
];

/// Reads the facts of one sentence.
pub fn facts(sentence: &str) -> Facts {
    let mut facts = Facts::default();
    let mut at_start = true;
    for word in sentence.split_whitespace() {
        let core = word.trim_matches(|c: char| !c.is_alphanumeric());
        if core.is_empty() {
            continue;
        }
        let folded = fold(core);
        if NEGATIONS.contains(&folded.as_str()) || folded.ends_with("n't") || folded.ends_with("n’t") {
            facts.negated = true;
        }
        // «may» and «march» are verbs as well: English months are written with a capital, Spanish ones need none.
        let capital = core.starts_with(char::is_uppercase);
        let month = MONTHS.iter().position(|(name, _)| *name == folded).filter(|&at| capital || at >= 12);
        let spelled = NUMBER_WORDS.iter().find(|(name, _)| *name == folded);
        if let Some(at) = month {
            facts.numbers.insert(format!("month {}", MONTHS[at].1));
        } else if let Some((_, digits)) = spelled {
            facts.numbers.insert((*digits).to_owned());
        } else if core.contains(|c: char| c.is_ascii_digit()) {
            add_digits(&mut facts, core, &folded);
        } else if !at_start && is_name(core) {
            facts.names.insert(folded);
        }
        // After a colon or a full stop inside the text a capital says nothing.
        at_start = word.ends_with([':', '.', '!', '?']) || word.starts_with(['"', '«', '“', '¿', '¡']) && at_start;
    }
    facts
}

/// A number if it is one with at most a unit sign, else a code whose spelling matters as a whole.
fn add_digits(facts: &mut Facts, core: &str, folded: &str) {
    let numeric = core
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '.' | ',' | '%' | '€' | '$' | ':' | '/' | '-' | 'º' | 'ª' | '°'));
    if !numeric {
        // «30th», «90min», «15h» are numbers with a unit glued on; «ES-2024» and «ERR42» are codes.
        let digits: String = core.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ',')).collect();
        let unit = &core[digits.len()..];
        if !digits.is_empty() && unit.chars().count() <= 3 && unit.chars().all(char::is_alphabetic) {
            facts.numbers.insert(canonical_number(&digits));
        } else {
            facts.names.insert(folded.to_owned());
        }
        return;
    }
    let parts = core.split([':', '/', '-']);
    for part in parts {
        let digits: String = part.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | ',')).collect();
        let number = canonical_number(digits.trim_matches(['.', ',']));
        if !number.is_empty() {
            facts.numbers.insert(number);
        }
    }
}

/// One spelling for `1.234,50`, `1,234.50` and `1234.5`.
fn canonical_number(text: &str) -> String {
    let last = text.rfind(['.', ',']);
    let decimals = match last {
        Some(at) => {
            let tail = text.len() - at - 1;
            let separator = &text[at..=at];
            let alone = text.matches(['.', ',']).count() == 1;
            // Three digits behind a single separator, or the same separator twice, group thousands.
            let groups = tail == 3 || (!alone && text[..at].contains(separator));
            if groups { None } else { Some(at) }
        }
        None => None,
    };
    let digits = |part: &str| part.chars().filter(char::is_ascii_digit).collect::<String>();
    let (whole, fraction) = match decimals {
        Some(at) => (digits(&text[..at]), digits(&text[at + 1..])),
        None => (digits(text), String::new()),
    };
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() && !text.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
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
        facts(text).numbers.into_iter().collect()
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
        assert_eq!(numbers("from 08:30 to 15:00"), ["0", "15", "30", "8"]);
        assert_eq!(numbers("dura 90min"), ["90"]);
    }

    #[test]
    fn names_and_codes_are_kept_and_first_words_are_not_names() {
        let facts = facts("The form SF-86 goes to Núria Vidal at HR.");
        let names: Vec<&str> = facts.names.iter().map(String::as_str).collect();
        assert_eq!(names, ["hr", "nuria", "sf-86", "vidal"]);
        assert!(facts.numbers.is_empty() && !facts.negated);
    }

    #[test]
    fn negation_is_seen_in_both_languages() {
        assert!(facts("You may not share it.").negated);
        assert!(facts("You don't pay.").negated);
        assert!(facts("Nunca se comparte.").negated);
        assert!(!facts("Notice is given.").negated);
    }
}
