//! Amounts that a question names, and the ranges of amounts for which sentences and rows of tables hold. «Who approves an
//! order of 4,500 euros?» is answered by «From 1,000 to 6,000 euros | the head of the area», which has none of its figures.

use std::collections::BTreeSet;

use intramuros_ingest::document::Language;

use crate::gloss;
use crate::numbers::{canonical, unit_of, written};
use crate::store::bm25;

/// A number of something.
#[derive(Clone, Debug, PartialEq)]
pub struct Amount {
    /// How many; of a time, how many days.
    value: f64,
    /// The words, in both languages, for what is counted.
    unit: BTreeSet<u32>,
    /// The words that it is written in, see [`bm25::words`].
    pub words: BTreeSet<u32>,
}

/// From one number of something to another.
#[derive(Clone, Debug, PartialEq)]
struct Range {
    from: f64,
    to: f64,
    unit: BTreeSet<u32>,
}

/// Days of each unit of time.
const DAYS: &[(&str, f64)] =
    &[("minute", 1.0 / 1440.0), ("hour", 1.0 / 24.0), ("day", 1.0), ("week", 7.0), ("month", 30.0), ("year", 365.0)];
/// Words that stand between the ends of a range.
const TO: &[&str] = &["a", "al", "hasta", "to", "-", "–"];
/// What stands before a number that something reaches at most, and before one that it reaches at least; the other way round
/// behind «not» and «no».
const AT_MOST: &[&str] = &[
    "as much as",
    "at most",
    "below",
    "como maximo",
    "debajo de",
    "fewer than",
    "hasta",
    "inferior a",
    "inferiores a",
    "less than",
    "maximo de",
    "menos de",
    "under",
    "up to",
];
const AT_LEAST: &[&str] = &[
    "a partir de",
    "above",
    "al menos",
    "at least",
    "desde",
    "encima de",
    "exceed",
    "exceeding",
    "exceeds",
    "from",
    "greater than",
    "larger than",
    "longer than",
    "mas de",
    "mayor de",
    "mayores de",
    "minimo de",
    "more than",
    "over",
    "superior a",
    "superiores a",
];
/// What stands behind a number that something reaches at most or at least.
const OR_LESS: &[&str] = &["and below", "o menos", "or fewer", "or less"];
const OR_MORE: &[&str] = &["and above", "and over", "en adelante", "o mas", "or above", "or more", "y mas"];
/// Words of the longest of these.
const MOST_WORDS: usize = 3;
/// Words behind a number, its unit among them: «five working days».
const UNIT_REACH: usize = 2;
/// A limit of 20 days says nothing of an hour: the least time that «up to» speaks of, as a share of its limit.
const LEAST_OF_LIMIT: f64 = 0.02;

/// A word, a number, or the line between two cells.
struct Token {
    /// As it is written; of a number in several words all of them.
    text: String,
    /// Folded, in lower case.
    word: String,
    value: Option<f64>,
    /// The sign that stands at a number.
    sign: Option<&'static str>,
    /// Whether a sentence, a clause or a cell ends here.
    ends: bool,
}

/// What is counted, and how many of the unit that it is compared in each of it makes.
type Unit = (BTreeSet<u32>, f64);

/// The amounts that a question names. Years, and numbers in names, such as *Article 12*, have no unit and are none.
pub fn amounts(question: &str, language: Option<Language>) -> Vec<Amount> {
    let tokens = tokens(question, language);
    let amount = |at: usize| {
        let value = tokens[at].value?;
        let (unit, factor) = unit(&tokens, at, language)?;
        Some(Amount { value: value * factor, unit, words: bm25::words(&tokens[at].text, language) })
    };
    (0..tokens.len()).filter_map(amount).collect()
}

/// Whether a text speaks of ranges of what some amounts count, and says something for one of these; nothing where it speaks
/// of no such range.
pub fn speaks_for(text: &str, language: Option<Language>, amounts: &[Amount]) -> Option<bool> {
    if amounts.is_empty() {
        return None;
    }
    let ranges = ranges(text, language);
    let is_of = |range: &Range| amounts.iter().any(|amount| !amount.unit.is_disjoint(&range.unit));
    let covers = |range: &Range| amounts.iter().any(|amount| range.covers(amount));
    ranges.iter().any(is_of).then(|| ranges.iter().any(covers))
}

/// Those of some amounts that a text says something for the range of.
pub fn covered<'a>(text: &str, language: Option<Language>, amounts: &'a [Amount]) -> Vec<&'a Amount> {
    if amounts.is_empty() {
        return Vec::new();
    }
    let ranges = ranges(text, language);
    amounts.iter().filter(|amount| ranges.iter().any(|range| range.covers(amount))).collect()
}

impl Range {
    fn covers(&self, amount: &Amount) -> bool {
        !amount.unit.is_disjoint(&self.unit) && (self.from..=self.to).contains(&amount.value)
    }
}

/// The ranges that a text speaks of. One without a unit in a table has that of its column, which the text names somewhere.
fn ranges(text: &str, language: Option<Language>) -> Vec<Range> {
    let tokens = tokens(text, language);
    let mut ranges = ranges_of(&tokens, language);
    if text.contains('|') && ranges.iter().any(|range| range.unit.is_empty()) {
        let named: BTreeSet<u32> = tokens.iter().flat_map(|token| counted(&token.word, language).0).collect();
        ranges.iter_mut().filter(|range| range.unit.is_empty()).for_each(|range| range.unit.clone_from(&named));
    }
    ranges
}

fn ranges_of(tokens: &[Token], language: Option<Language>) -> Vec<Range> {
    let mut ranges = Vec::new();
    let mut taken = 0;
    for (at, value) in tokens.iter().enumerate().filter_map(|(at, token)| Some((at, token.value?))) {
        if at < taken {
            continue;
        }
        let (own, own_factor) = unit(tokens, at, language).unwrap_or((BTreeSet::new(), 1.0));
        if let Some(other) = other_end(tokens, at) {
            let (unit, factor) = unit(tokens, other, language).unwrap_or((own.clone(), own_factor));
            let own_factor = if own.is_disjoint(&unit) { factor } else { own_factor };
            let (from, to) = (value * own_factor, tokens[other].value.unwrap_or_default() * factor);
            if from < to {
                ranges.push(Range { from, to, unit });
                taken = other + 1;
                continue;
            }
        }
        let limit = value * own_factor;
        match bound(tokens, at) {
            Some(Bound::AtMost) => {
                let least = if own == counted("day", Some(Language::English)).0 { LEAST_OF_LIMIT } else { 0.0 };
                ranges.push(Range { from: limit * least, to: limit, unit: own });
            }
            Some(Bound::AtLeast) => ranges.push(Range { from: limit, to: f64::INFINITY, unit: own }),
            None => {}
        }
    }
    ranges
}

/// Where the other number of a range from one stands: «181 to 365 days», «between 1.000 € and 6.000 €».
fn other_end(tokens: &[Token], at: usize) -> Option<usize> {
    let begins_between = at.checked_sub(1).is_some_and(|before| matches!(&*tokens[before].word, "between" | "entre"));
    // The unit may stand at both.
    let other = (at + 2..tokens.len().min(at + 4)).find(|other| tokens[*other].value.is_some())?;
    let joint = tokens[other - 1].word.as_str();
    let joins = TO.contains(&joint) || (begins_between && matches!(joint, "and" | "y"));
    let is_unit = |between: &Token| unit_of(&between.word).is_some();
    let goes_on = !tokens[at..other].iter().any(|token| token.ends);
    (joins && goes_on && tokens[at + 1..other - 1].iter().all(is_unit)).then_some(other)
}

/// What is said of a number: that something reaches it at most, or at least.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    AtMost,
    AtLeast,
}

fn bound(tokens: &[Token], at: usize) -> Option<Bound> {
    let stands = |phrases: &[&str], words: &[Token]| {
        let text = words.iter().map(|token| &*token.word).collect::<Vec<_>>().join(" ");
        phrases.contains(&text.as_str())
    };
    let joined =
        (1..=MOST_WORDS.min(at)).take_while(|back| !tokens[at - back].ends && tokens[at - back].value.is_none());
    for back in joined {
        let words = &tokens[at - back..at];
        let said = match () {
            () if stands(AT_MOST, words) => Bound::AtMost,
            () if stands(AT_LEAST, words) => Bound::AtLeast,
            () => continue,
        };
        // «May not exceed», «no more than», «no inferior a».
        let is_denied = (at - back).checked_sub(1).is_some_and(|before| matches!(&*tokens[before].word, "no" | "not"));
        return Some(match (said, is_denied) {
            (Bound::AtMost, false) | (Bound::AtLeast, true) => Bound::AtMost,
            (Bound::AtLeast, false) | (Bound::AtMost, true) => Bound::AtLeast,
        });
    }
    if tokens[at].ends {
        return None;
    }
    let behind = &tokens[at + 1..tokens.len().min(at + 3 + UNIT_REACH)];
    let end = behind.iter().position(|token| token.value.is_some()).unwrap_or(behind.len());
    let end = behind[..end].iter().position(|token| token.ends).map_or(end, |last| last + 1);
    let stands_behind = |phrases| behind[..end].windows(2).any(|pair| stands(phrases, pair));
    match () {
        () if stands_behind(OR_LESS) => Some(Bound::AtMost),
        () if stands_behind(OR_MORE) => Some(Bound::AtLeast),
        () => None,
    }
}

/// What a number counts: the sign at it, the first unit behind it, or else the next word, where that is a plural.
fn unit(tokens: &[Token], at: usize, language: Option<Language>) -> Option<Unit> {
    if let Some(sign) = tokens[at].sign {
        return Some(counted(sign, language));
    }
    let ends = tokens[at..].iter().position(|token| token.ends).map_or(tokens.len(), |last| at + last + 1);
    // «Ten or more people».
    let is_joint = tokens.get(at + 1).is_some_and(|next| matches!(&*next.word, "and" | "o" | "or" | "y"));
    let from = (at + if is_joint { 3 } else { 1 }).min(ends);
    let behind = &tokens[from..ends.min(from + UNIT_REACH).max(from)];
    let behind = behind.split(|token| token.value.is_some()).next()?;
    // «Article 12 says» counts nothing.
    let is_plural = |token: &&Token| token.word.ends_with('s') || token.word == "people";
    let is_of_name =
        || at.checked_sub(1).is_some_and(|before| tokens[before].text.starts_with(char::is_uppercase) && before > 0);
    let is_year = tokens[at].value.is_some_and(|value| (1900.0..2100.0).contains(&value));
    let things = || behind.first().filter(is_plural).filter(|_| !is_year && !is_of_name());
    let word = behind.iter().find(|token| unit_of(&token.word).is_some()).or_else(things)?;
    Some(counted(&word.word, language)).filter(|(words, _)| !words.is_empty())
}

/// The words, in both languages, for what a word says is counted. All times are days.
fn counted(word: &str, language: Option<Language>) -> Unit {
    let unit = unit_of(word);
    if let Some((_, days)) = DAYS.iter().find(|(time, _)| Some(*time) == unit) {
        return (bm25::words("day", Some(Language::English)), *days);
    }
    let mut words = bm25::words(unit.unwrap_or(word), unit.map_or(language, |_| Some(Language::English)));
    if language == Some(Language::Spanish) {
        words.extend(bm25::words(&gloss::english(word), Some(Language::English)));
    }
    (words, 1.0)
}

fn tokens(text: &str, language: Option<Language>) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for raw in text.split_whitespace() {
        let ends = raw.ends_with(['.', ';', ':', '?', '!', '|']);
        // «100–499» are two numbers; «2026-03-01» is none.
        let ends_of_range: Vec<&str> = raw.split(['-', '–']).collect();
        let is_range = ends_of_range.len() == 2 && ends_of_range.iter().all(|end| number(end).is_some());
        for (at, text) in ends_of_range.iter().enumerate().take(if is_range { 2 } else { 0 }) {
            if at > 0 {
                tokens.push(Token { text: "-".to_owned(), word: "-".to_owned(), value: None, sign: None, ends: false });
            }
            tokens.push(token(text, ends && at > 0));
        }
        if !is_range {
            tokens.push(token(raw, ends));
        }
    }
    let words: Vec<String> = tokens.iter().map(|token| token.word.clone()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut numbers: Vec<(usize, usize, f64)> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let factor = words.get(at + 1).and_then(|next| written::multiplier_of_figures(next, language));
        let number = match (tokens[at].value, factor) {
            (Some(value), Some(factor)) => Some((value * factor as f64, 2)),
            (Some(_), None) => None,
            (None, _) => written::parse(&words[at..], language).map(|(value, taken)| (value as f64, taken)),
        };
        let taken = number.map_or(1, |(_, taken)| taken.max(1));
        numbers.extend(number.map(|(value, _)| (at, taken, value)));
        at += taken;
    }
    // Last to first, so that the places of those before stay as they are.
    for (at, taken, value) in numbers.into_iter().rev() {
        let rest: Vec<Token> = tokens.drain(at + 1..at + taken).collect();
        let first = &mut tokens[at];
        first.value = Some(value);
        for token in rest {
            first.text = format!("{} {}", first.text, token.text);
            first.ends |= token.ends;
        }
    }
    tokens
}

fn token(text: &str, ends: bool) -> Token {
    let word = bm25::fold(
        &text.trim_matches(|c: char| !c.is_alphanumeric() && !is_sign(c) && c != '-' && c != '–').to_lowercase(),
    );
    let (value, sign) = number(text).map_or((None, None), |(value, sign)| (Some(value), sign));
    Token { text: text.to_owned(), word, value, sign, ends }
}

fn is_sign(c: char) -> bool {
    matches!(c, '€' | '£' | '$' | '%')
}

/// A number in figures, with the sign that stands at it: `1.500 €`, `£450`, `12%`.
fn number(text: &str) -> Option<(f64, Option<&'static str>)> {
    let core = text.trim_matches(|c: char| !c.is_alphanumeric());
    let is_plain = !core.is_empty() && core.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ','));
    let value = canonical(core).parse().ok().filter(|_| is_plain)?;
    Some((value, text.matches(is_sign).next().and_then(unit_of)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a text speaks of the amount that a question names.
    fn covers(question: &str, text: &str) -> bool {
        let languages = [question, text].map(intramuros_ingest::language::detect);
        let amounts = amounts(question, languages[0]);
        assert_eq!(amounts.len(), 1, "{question}: {amounts:?}");
        !covered(text, languages[1], &amounts).is_empty()
    }

    #[test]
    fn an_amount_is_covered_by_the_range_that_it_is_in() {
        let machine = "Quiero comprar una máquina de 4.500 euros, ¿cuántas ofertas necesito?";
        for (text, expected) in [
            ("Para las compras de 1.000 a 6.000 euros se piden dos ofertas", true),
            ("Las compras de más de 1.500 € las aprueba la dirección.", true),
            ("Importe en euros | Ofertas\nde 1.000 a 6.000 | dos", true),
            ("Hasta 5.000 euros decide el responsable de cada área.", true),
            ("Hasta 4.000 euros decide el responsable de cada área.", false),
            ("Entre 5.000 y 9.000 euros decide la dirección de la empresa.", false),
            ("No más de 3.000 euros de los que se pagan al mes.", false),
            ("Los pagos no superiores a 5.000 euros los aprueba el área.", true),
            ("Las fianzas son de un importe no inferior a 5.000 euros.", false),
            ("The penalty may not exceed 5,000 euros in any year.", true),
            ("The penalty may not exceed 4,000 euros in any year.", false),
            ("Los pagos de más de cuatro mil euros los aprueba la dirección.", true),
            ("Los pagos de más de 5 mil euros los aprueba la dirección.", false),
            ("Desde 2024 el precio en euros es el de la tarifa.", false),
            ("El plazo es de 1.000 a 6.000 días desde que se firma.", false),
            ("For purchases between €1,000 and €6,000 you need two offers.", true),
            ("Purchases of 4,000 euros or more are approved by the board.", true),
            ("Purchases of 4,000 euros are approved by the board.", false),
        ] {
            assert_eq!(covers(machine, text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_compared_in_days_and_things_by_their_words() {
        let debt = "¿Qué pasa con una deuda que venció hace 200 días?";
        assert!(covers(debt, "For debts of 181 to 365 days the provision is 60 %."));
        assert!(covers(debt, "Más de seis meses después de que venza, la deuda se da por perdida."));
        assert!(covers(debt, "From 90 days to 1 year the provision is 60 % of the debt."));
        assert!(!covers(debt, "For debts of up to three months there is none."));
        assert!(!covers(debt, "Days | Rate\n10 | 300 or more"), "what stands behind belongs to the next cell");
        let meters = "What is the discount for 300 meters?";
        assert!(
            covers(meters, "Meters | Discount\n100–499 | 5 %") && !covers(meters, "Meters | Discount\n500-999 | 7 %")
        );
        assert!(!covers(meters, "Lamps | Discount\n100–499 | 5 %"));
        assert!(covers(meters, "¿Más de 250 metros? Entonces hay un descuento."));
        assert!(covers("May a team of twelve people travel?", "Teams of ten or more people travel by train."));
    }

    #[test]
    fn years_and_names_are_no_amounts() {
        for question in [
            "What was sold in 2027?",
            "What does Article 12 say?",
            "¿Qué dice el anexo 3?",
            "Where is E-52?",
            "Which are the 2026 holidays?",
            "",
        ] {
            let found = amounts(question, intramuros_ingest::language::detect(question));
            assert!(found.is_empty(), "{question}: {found:?}");
        }
    }
}
