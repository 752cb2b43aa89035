//! The words of the pages, in two languages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Words of one language by key.
pub type Words = BTreeMap<String, String>;

/// A language that the pages speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Language {
    /// `en`
    English,
    /// `es`
    Spanish,
}

impl Language {
    /// ISO 639-1.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Spanish => "es",
        }
    }

    fn of_tag(tag: &str) -> Option<Self> {
        match tag.split('-').next()?.trim().to_ascii_lowercase().as_str() {
            "en" => Some(Self::English),
            "es" => Some(Self::Spanish),
            _ => None,
        }
    }

    /// The choice of a cookie, else what the browser likes best (RFC 9110, section 12.5.4), else English.
    pub fn negotiate(choice: Option<&str>, accept_language: Option<&str>) -> Self {
        if let Some(chosen) = choice.and_then(Self::of_tag) {
            return chosen;
        }
        let mut best = (Self::English, 0.0);
        for range in accept_language.unwrap_or_default().split(',') {
            let (tag, parameter) = range.split_once(';').unwrap_or((range, ""));
            let weight = match parameter.trim().strip_prefix("q=") {
                Some(weight) => weight.trim().parse().unwrap_or(0.0),
                None => 1.0,
            };
            if let Some(language) = Self::of_tag(tag)
                && weight > best.1
            {
                best = (language, weight);
            }
        }
        best.0
    }
}

/// All words.
pub struct Strings {
    english: Words,
    spanish: Words,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Both {
    en: String,
    es: String,
}

impl Strings {
    /// Reads the table that is part of the binary.
    ///
    /// # Panics
    /// If it is broken, which the tests find out.
    pub fn new() -> Self {
        let table: BTreeMap<String, Both> =
            toml::from_str(include_str!("strings.toml")).expect("the built-in table of words is well formed");
        let mut strings = Self { english: Words::new(), spanish: Words::new() };
        for (key, both) in table {
            strings.english.insert(key.clone(), both.en);
            strings.spanish.insert(key, both.es);
        }
        strings
    }

    /// Those of one language.
    pub fn words(&self, language: Language) -> &Words {
        match language {
            Language::English => &self.english,
            Language::Spanish => &self.spanish,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_wins_then_the_browser_then_english() {
        use Language::{English, Spanish};
        assert_eq!(Language::negotiate(Some("es"), Some("en")), Spanish);
        assert_eq!(Language::negotiate(Some("xx"), Some("es-ES,es;q=0.9,en;q=0.8")), Spanish);
        assert_eq!(Language::negotiate(None, Some("es;q=0.3, en-GB;q=0.7")), English);
        assert_eq!(Language::negotiate(None, Some("de-DE,de;q=0.9,es;q=0.4")), Spanish);
        assert_eq!(Language::negotiate(None, Some("es;q=0, fr")), English);
        assert_eq!(Language::negotiate(None, None), English);
    }

    /// Both languages fill in the same `{names}`.
    #[test]
    fn languages_take_the_same_values() {
        let strings = Strings::new();
        for (key, english) in &strings.english {
            let names = |text: &str| {
                let mut names: Vec<String> =
                    text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect();
                names.sort();
                names
            };
            let spanish = &strings.spanish[key];
            assert!(!english.is_empty() && !spanish.is_empty(), "{key}");
            assert_eq!(names(english), names(spanish), "{key}");
        }
    }
}
