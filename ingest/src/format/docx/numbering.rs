//! The numbers and bullets that Word puts before paragraphs.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::package::attribute;
use super::xml_error;
use crate::format::FormatError;

/// Levels of a list (ECMA-376, 17.9.6).
const LEVELS: usize = 9;

/// The lists of a document, and how far each has counted.
#[derive(Default)]
pub struct Numbering {
    /// `numId` to `abstractNumId`.
    instances: HashMap<String, String>,
    lists: HashMap<String, Vec<Level>>,
    /// For each abstract list the last number of each level.
    counters: HashMap<String, [Option<u32>; LEVELS]>,
}

#[derive(Clone, Default)]
struct Level {
    start: u32,
    format: String,
    text: String,
}

impl Numbering {
    /// Parses `numbering.xml`; an empty text has no lists.
    pub fn parse(xml: &str) -> Result<Self, FormatError> {
        let mut numbering = Self::default();
        let mut reader = Reader::from_str(xml);
        let mut list = String::new();
        let mut instance = String::new();
        let mut level = 0;
        loop {
            let event = reader.read_event().map_err(|_| xml_error(&reader))?;
            let tag = match event {
                Event::Start(tag) | Event::Empty(tag) => tag,
                Event::Eof => return Ok(numbering),
                _ => continue,
            };
            let value = attribute(&tag, "val");
            match tag.local_name().as_ref() {
                "abstractNum" => list = attribute(&tag, "abstractNumId").unwrap_or_default(),
                "num" => {
                    instance = attribute(&tag, "numId").unwrap_or_default();
                    list.clear();
                }
                "abstractNumId" => {
                    numbering.instances.insert(instance.clone(), value.unwrap_or_default());
                }
                "lvl" => {
                    level = attribute(&tag, "ilvl").and_then(|level| level.parse().ok()).unwrap_or(0).min(LEVELS - 1)
                }
                name @ ("start" | "numFmt" | "lvlText") if !list.is_empty() => {
                    let levels = numbering
                        .lists
                        .entry(list.clone())
                        .or_insert_with(|| vec![Level { start: 1, ..Level::default() }; LEVELS]);
                    let value = value.unwrap_or_default();
                    match name {
                        "start" => levels[level].start = value.parse().unwrap_or(1),
                        "numFmt" => levels[level].format = value,
                        _ => levels[level].text = value,
                    }
                }
                _ => {}
            }
        }
    }

    /// Counts one paragraph of a list and gives the label before it: `-` for bullets, else as Word shows it.
    ///
    /// `None` where the paragraph is in no list (`numId` 0 takes it out of its style's list).
    pub fn label(&mut self, id: &str, level: u8) -> Option<String> {
        if id == "0" {
            return None;
        }
        let level = usize::from(level).min(LEVELS - 1);
        let list = self.instances.get(id).filter(|list| self.lists.contains_key(*list));
        // A list that is not described is still a list.
        let Some(list) = list else { return Some("-".to_owned()) };
        let levels = &self.lists[list];
        let counters = self.counters.entry(list.clone()).or_default();
        counters[level] = Some(counters[level].map_or(levels[level].start, |number| number.saturating_add(1)));
        counters[level + 1..].fill(None);
        if matches!(levels[level].format.as_str(), "bullet" | "") {
            return Some("-".to_owned());
        }
        let mut label = String::new();
        let mut chars = levels[level].text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                label.push(c);
                continue;
            }
            let Some(digit) = chars.next().and_then(|digit| digit.to_digit(10)) else { continue };
            let at = (digit as usize).saturating_sub(1).min(LEVELS - 1);
            label.push_str(&shown(counters[at].unwrap_or(levels[at].start), &levels[at].format));
        }
        Some(if label.trim().is_empty() { "-".to_owned() } else { label })
    }
}

/// A number in a format of ECMA-376, 17.18.59; those not known here are shown as decimals.
fn shown(number: u32, format: &str) -> String {
    match format {
        "lowerLetter" => letters(number),
        "upperLetter" => letters(number).to_uppercase(),
        "lowerRoman" => roman(number),
        "upperRoman" => roman(number).to_uppercase(),
        "ordinal" => format!("{number}º"),
        "none" => String::new(),
        "decimalZero" => format!("{number:02}"),
        _ => number.to_string(),
    }
}

/// a, b … z, aa, bb …, as Word counts.
fn letters(number: u32) -> String {
    let Some(index) = number.checked_sub(1) else { return "0".to_owned() };
    let letter = char::from(b'a' + (index % 26) as u8);
    std::iter::repeat_n(letter, (index / 26 + 1).min(20) as usize).collect()
}

fn roman(number: u32) -> String {
    if number == 0 || number > 3999 {
        return number.to_string();
    }
    let signs = [
        (1000, "m"),
        (900, "cm"),
        (500, "d"),
        (400, "cd"),
        (100, "c"),
        (90, "xc"),
        (50, "l"),
        (40, "xl"),
        (10, "x"),
        (9, "ix"),
        (5, "v"),
        (4, "iv"),
        (1, "i"),
    ];
    let mut left = number;
    let mut out = String::new();
    for (value, sign) in signs {
        while left >= value {
            out.push_str(sign);
            left -= value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_word_shows_them() {
        assert_eq!([1, 26, 27, 0].map(letters), ["a", "z", "aa", "0"]);
        assert_eq!([4, 1994, 4000].map(roman), ["iv", "mcmxciv", "4000"]);
        assert_eq!(shown(3, "upperRoman"), "III");
    }
}
