//! Dates, in figures and written out, in English and Spanish: «31/03/2027», «March 31, 2027», «31 de marzo de 2027».

use std::ops::RangeInclusive;

use chrono::{Datelike, NaiveDate};

use super::facts::fold;

/// English months, then Spanish ones.
const MONTHS: [&str; 24] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
];

/// What stands behind a day («30th», «1º»).
const ORDINALS: &[&str] = &["", "st", "nd", "rd", "th", "º", ".º"];
/// What may stand between day, month and year: «the 31st day of March», «31 del mes de marzo del año 2027».
const BETWEEN: &[&str] = &["of", "the", "day", "de", "del", "mes", "año"];
/// What four figures behind a month must be to be its year.
const YEARS: RangeInclusive<i32> = 1900..=2100;

/// Words of the longest: «31 del mes de marzo del año 2027».
pub const MOST_WORDS: usize = 8;

/// A date as far as it is said: «March» and «31 March» are dates too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// Four figures.
    pub year: Option<i32>,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: Option<u32>,
}

impl Date {
    /// Whether day, month and year are said.
    pub fn is_whole(&self) -> bool {
        self.day.is_some() && self.year.is_some()
    }

    /// Whether it says all that another one says.
    pub fn covers(&self, other: &Self) -> bool {
        self.month == other.month
            && (other.day.is_none() || self.day == other.day)
            && (other.year.is_none() || self.year == other.year)
    }

    /// Its numbers; that of the month is told apart, so that «3 de mayo» is not taken for «5 de marzo».
    pub fn numbers(&self) -> impl Iterator<Item = String> {
        let month = format!("month {}", self.month);
        [self.year.map(|year| year.to_string()), Some(month), self.day.map(|day| day.to_string())].into_iter().flatten()
    }
}

impl From<NaiveDate> for Date {
    fn from(date: NaiveDate) -> Self {
        Self { year: Some(date.year()), month: date.month(), day: Some(date.day()) }
    }
}

/// Reads the date that the words of a sentence begin with, and how many of them it takes.
pub fn parse(words: &[&str]) -> Option<(Date, usize)> {
    let first = words.first()?;
    if let Some(date) = in_figures(first) {
        return Some((date.into(), 1));
    }
    let mut day = day(first);
    let month_at = if day.is_some() { behind(words, 0) } else { 0 };
    let month = month(words.get(month_at)?)?;
    let mut year_at = behind(words, month_at);
    if day.is_none() && words[month_at + 1..year_at].iter().all(|word| *word == "the") {
        // «March 31, 2027»; without the year, «in March 31 people» may be meant.
        day = words.get(year_at).and_then(|word| self::day(word)).filter(|_| year(words, year_at + 1).is_some());
        year_at += usize::from(day.is_some());
    }
    let year = year(words, year_at);
    let taken = if year.is_some() { year_at + 1 } else { month_at + 1 };
    Some((Date { year, month, day }, taken))
}

/// The place behind a word and what may stand between it and the next.
fn behind(words: &[&str], at: usize) -> usize {
    at + 1 + words[at + 1..].iter().take_while(|word| BETWEEN.contains(word)).count()
}

/// `2027-03-31`, `31/03/2027`, `31.3.2027`: the day first where it could be the month, as in Spain and Britain.
fn in_figures(word: &str) -> Option<NaiveDate> {
    let separator = word.chars().find(|c| !c.is_ascii_digit()).filter(|c| matches!(c, '-' | '/' | '.'))?;
    let parts: Vec<&str> = word.split(separator).collect();
    let [first, second, third] = parts[..] else { return None };
    let date = |year: &str, month: &str, day: &str| {
        let year = year.parse().ok().filter(|_| year.len() == 4)?;
        NaiveDate::from_ymd_opt(year, month.parse().ok()?, day.parse().ok()?)
    };
    date(first, second, third).or_else(|| date(third, second, first)).or_else(|| date(third, first, second))
}

fn day(word: &str) -> Option<u32> {
    let figures = word.bytes().take_while(u8::is_ascii_digit).count();
    let (figures, ordinal) = word.split_at(figures);
    figures.parse().ok().filter(|day| (1..=31).contains(day) && ORDINALS.contains(&ordinal))
}

/// «may» and «march» are verbs as well: English months are written with a capital, Spanish ones need none.
fn month(word: &str) -> Option<u32> {
    let folded = fold(word);
    let capital = word.starts_with(char::is_uppercase);
    let at = MONTHS.iter().position(|name| *name == folded).filter(|&at| capital || at >= 12)?;
    u32::try_from(at % 12 + 1).ok()
}

fn year(words: &[&str], at: usize) -> Option<i32> {
    let word = words.get(at).filter(|word| word.len() == 4)?;
    word.parse().ok().filter(|year| YEARS.contains(year))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Option<i32>, u32, Option<u32>, usize)> {
        let words: Vec<&str> = text.split(' ').collect();
        parse(&words).map(|(date, taken)| (date.year, date.month, date.day, taken))
    }

    #[test]
    fn whole_dates_are_read_however_they_are_written() {
        for (text, taken) in [
            ("2027-03-31", 1),
            ("31/03/2027", 1),
            ("31.3.2027", 1),
            ("31-03-2027", 1),
            ("03/31/2027", 1),
            ("31 March 2027 it", 3),
            ("31st of March 2027", 4),
            ("March 31 2027", 3),
            ("31 de marzo de 2027", 5),
            ("31 de marzo del 2027", 5),
        ] {
            assert_eq!(read(text), Some((Some(2027), 3, Some(31), taken)), "{text}");
        }
        assert_eq!(read("12/03/2027"), Some((Some(2027), 3, Some(12), 1)), "the day is first");
        assert_eq!(read("1º de enero"), Some((None, 1, Some(1), 3)));
    }

    #[test]
    fn parts_of_dates_are_read_as_far_as_they_go() {
        assert_eq!(read("31 March of each year"), Some((None, 3, Some(31), 2)));
        assert_eq!(read("marzo de 2027"), Some((Some(2027), 3, None, 3)));
        assert_eq!(read("March 31 people"), Some((None, 3, None, 1)));
        assert_eq!(read("March 4500"), Some((None, 3, None, 1)));
        for text in ["may 2027", "32 March", "31 days", "2027", "2027-04-31", "1.2.3", "2026-2027", "31/03"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_covers_what_says_less() {
        let date = |text: &str| parse(&text.split(' ').collect::<Vec<_>>()).unwrap().0;
        let whole = date("31 March 2027");
        for part in ["31/03/2027", "31 March", "marzo de 2027", "March"] {
            assert!(whole.covers(&date(part)), "{part}");
        }
        for other in ["30/03/2027", "31 May", "March 2026"] {
            assert!(!whole.covers(&date(other)), "{other}");
        }
        assert!(!date("31 March").covers(&whole));
    }
}
