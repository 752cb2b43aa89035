//! Spanish told in English, word by word, for embedders that know English only.
//!
//! The starter embedder was trained on English; Spanish comes apart into pieces that mean nothing to it. An interlinear gloss
//! (each word replaced by the English word that says most likely what it says, in the same order) is poor English, yet it
//! means to such an embedder most of what the sentence means, and it means it next to English documents. The words are those
//! of two word nets, see `gloss/README.md`; endings are taken off by rule until a word is known.
//!
//! Glosses are seen by the embedder and by search and by nobody else: what is shown is what the documents say.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::LazyLock;

use intramuros_ingest::document::Language;
use serde::{Deserialize, Serialize};

use crate::store::bm25::fold;

mod words;

use words::{FUNCTION_WORDS, NOUN_ENDINGS, OFFICE_WORDS, VERB_ENDINGS, WORDS};

/// Changes when the same text gets another gloss, so that what was made of the old ones is made anew.
pub const VERSION: u32 = 1;

/// Letters that an ending leaves at least.
const LEAST_LEFT: usize = 2;
/// What stands before the first word of a sentence, a heading or a cell.
const OPENERS: &str = ".:;!?¿¡\"\n\t|>([«“–—•…";

/// What each word says.
struct Table {
    /// By its spelling; names with their capital.
    exact: HashMap<&'static str, &'static str>,
    /// By its spelling without accents, which people leave out.
    folded: HashMap<String, &'static str>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let nets = WORDS.lines().filter_map(|line| line.split_once('\t'));
    let own = || FUNCTION_WORDS.iter().chain(OFFICE_WORDS).copied();
    let (mut exact, mut folded) = (HashMap::with_capacity(60_000), HashMap::new());
    for (word, english) in own().chain(nets) {
        exact.entry(word).or_insert(english);
        if !word.is_ascii() {
            folded.entry(fold(word)).or_insert(english);
        }
    }
    // What the nets have without its accent by mistake.
    for (word, english) in own() {
        if own().all(|(other, _)| other != fold(word))
            && let Some(other) = exact.get_mut(fold(word).as_str())
        {
            *other = english;
        }
    }
    Table { exact, folded }
});

static OF_NOUNS: LazyLock<Endings> = LazyLock::new(|| Endings::of(NOUN_ENDINGS));
static OF_VERBS: LazyLock<Endings> = LazyLock::new(|| Endings::of(VERB_ENDINGS));

/// Endings one by one, the shortest first, by their last letter.
struct Endings(HashMap<char, Vec<Ending>>);

impl Endings {
    fn of(list: &[(&'static str, &'static [&'static str])]) -> Self {
        let mut endings: Vec<Ending> = Vec::new();
        for (written, replacements) in list {
            for written in written.split_whitespace() {
                endings.extend(replacements.iter().map(|&replacement| Ending { written, replacement }));
            }
        }
        // Stable.
        endings.sort_by_key(|ending| ending.written.chars().count());
        let mut by_last_letter: HashMap<char, Vec<Ending>> = HashMap::new();
        for ending in endings {
            if let Some(last) = ending.written.chars().next_back() {
                by_last_letter.entry(last).or_default().push(ending);
            }
        }
        Self(by_last_letter)
    }

    /// The first that is found for a word without one of them, by what is left and what stands in its place.
    fn find(&self, word: &str, find: impl Fn(&str, &str) -> Option<&'static str>) -> Option<&'static str> {
        self.0.get(&word.chars().next_back()?)?.iter().find_map(|ending| {
            let stem = word.strip_suffix(ending.written)?;
            find(stem, ending.replacement).filter(|_| stem.chars().count() >= LEAST_LEFT)
        })
    }
}

/// An ending and what stands in its place in the words of the table.
struct Ending {
    written: &'static str,
    replacement: &'static str,
}

/// How a model reads a language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fluency {
    /// As it stands.
    #[default]
    Native,
    /// By its gloss.
    Gloss,
    /// Not at all.
    None,
}

impl Fluency {
    /// How a model of some languages (ISO 639-1 codes) reads this one: as it stands where either is not known.
    pub fn of(languages: &[String], language: Option<Language>) -> Self {
        let knows = |language: Language| languages.is_empty() || languages.iter().any(|code| code == language.code());
        match language {
            None => Self::Native,
            Some(language) if knows(language) => Self::Native,
            Some(Language::Spanish) if knows(Language::English) => Self::Gloss,
            Some(_) => Self::None,
        }
    }
}

/// A text as an embedder of some languages reads it best.
pub fn readable<'t>(text: &'t str, language: Option<Language>, languages: &[String]) -> Cow<'t, str> {
    match Fluency::of(languages, language) {
        Fluency::Gloss => Cow::Owned(english(text)),
        Fluency::Native | Fluency::None => Cow::Borrowed(text),
    }
}

/// The gloss of a Spanish text.
pub fn english(text: &str) -> String {
    let mut gloss = String::with_capacity(text.len());
    let mut end = 0;
    for (word, english) in words(text) {
        gloss.push_str(&text[end..word.start]);
        // What English leaves out takes a blank along.
        if english.is_empty() && (gloss.is_empty() || gloss.ends_with(char::is_whitespace)) {
            end = word.end + text[word.end..].chars().next().filter(|c| *c == ' ').map_or(0, char::len_utf8);
        } else {
            end = word.end;
        }
        gloss.push_str(&english);
    }
    gloss.push_str(&text[end..]);
    gloss
}

/// Whether a text too short to tell its language by is Spanish: all its words of more than three letters are, and one at
/// least is no English word too.
pub fn looks_spanish(text: &str) -> bool {
    static ENGLISH: LazyLock<HashSet<&str>> = LazyLock::new(|| TABLE.exact.values().copied().collect());
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().nth(3).is_some())
        .map(str::to_lowercase)
        .collect();
    words.iter().all(|word| known(word).is_some()) && words.iter().any(|word| !ENGLISH.contains(word.as_str()))
}

/// The words of a Spanish text, with the English one for each; the same where none is known, where they are figures, or part
/// of an address.
pub fn words(text: &str) -> impl Iterator<Item = (Range<usize>, Cow<'_, str>)> {
    let mut end = 0;
    // Whether a capital says that a sentence, a heading or a cell begins, and no name.
    let mut opens = true;
    std::iter::from_fn(move || {
        let start = end + text[end..].find(char::is_alphanumeric)?;
        let between = &text[end..start];
        opens |= between.contains(|c: char| OPENERS.contains(c));
        end = start + text[start..].find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len() - start);
        let word = &text[start..end];
        let joins = |c: char| matches!(c, '@' | '/' | '.' | '_');
        let is_joined = between.ends_with(joins) && !between.ends_with("...") && between.chars().count() == 1
            || text[end..].starts_with(joins) && text[end..].chars().nth(1).is_some_and(char::is_alphanumeric);
        let english = if is_joined { Cow::Borrowed(word) } else { of_word(word, opens) };
        opens = false;
        Some((start..end, english))
    })
}

/// The English word for a Spanish one. A name stays, but for those that English has another one for.
fn of_word(word: &str, opens: bool) -> Cow<'_, str> {
    let has_capital = word.starts_with(char::is_uppercase);
    // «POLÍTICA DE VACACIONES» is no name; «IVA» may be one.
    let is_loud = word.chars().nth(3).is_some() && !word.contains(char::is_lowercase);
    let lower = || known(&word.to_lowercase());
    let english = match () {
        () if word.contains(char::is_numeric) => None,
        () if !has_capital || is_loud => lower(),
        () if opens => lower().or_else(|| TABLE.exact.get(word).copied()),
        () => TABLE.exact.get(word).copied(),
    };
    english.map_or(Cow::Borrowed(word), Cow::Borrowed)
}

/// What the table says of a lower-case word, with as little of its end taken off as needed: as a noun, then as a form of a verb.
/// Accents may be missing.
fn known(word: &str) -> Option<&'static str> {
    let exact = |word: &str| TABLE.exact.get(word).copied();
    let either = |word: &str| exact(word).or_else(|| TABLE.folded.get(fold(word).as_str()).copied());
    exact(word)
        .or_else(|| OF_NOUNS.find(word, |stem, replacement| either(&format!("{stem}{replacement}"))))
        .or_else(|| either(word))
        .or_else(|| OF_VERBS.find(word, |stem, infinitive| either(&format!("{stem}{infinitive}"))))
        .or_else(|| {
            let infinitive = |stem: &str, ending: &str| Some(format!("{}{ending}", with_vowel_of_infinitive(stem)?));
            OF_VERBS.find(word, |stem, ending| exact(&infinitive(stem, ending)?))
        })
}

/// The stem of an infinitive whose vowel changes under stress: «encuentr-», «pid-».
fn with_vowel_of_infinitive(stem: &str) -> Option<String> {
    let changes = [("ie", "e"), ("ue", "o"), ("i", "e")];
    let found = changes.iter().filter_map(|(vowel, other)| Some((stem.rfind(vowel)?, *vowel, *other)));
    let (at, vowel, other) = found.max_by_key(|(at, vowel, _)| at + vowel.len())?;
    Some(format!("{}{other}{}", &stem[..at], &stem[at + vowel.len()..]))
}

#[cfg(test)]
mod tests {
    use intramuros_ingest::document::ContentHash;

    use super::*;

    #[test]
    fn a_sentence_is_told_word_by_word() {
        for (spanish, gloss) in [
            ("¿Cuántos días de vacaciones tienen los empleados?", "¿how many day of vacation have the employee?"),
            (
                "El proveedor pagará las facturas antes del 5 de enero.",
                "the supplier pay the invoice before of the 5 of January.",
            ),
            (
                "La reina de Inglaterra llegó a Madrid con Rosa López.",
                "the queen of England come to Madrid with Rosa López.",
            ),
            ("Se conquistaron tres ciudades", "conquer three city"),
            ("garantias de la maquina", "warranty of the machine"),
            ("¿Cuántos dias tenemos todas?", "¿how many day have all?"),
            ("El contrato vence cuando podría renovarse", "the contract expires when could renew"),
            ("Manual del empleado > Vacaciones y Permisos", "Manual of the employee > vacation and Permisos"),
            ("Ciudad | Límite | Precio", "city | limit | price"),
            ("POLÍTICA DE VACACIONES", "policy DE vacation"),
            ("nominas@empresa.es y www.empresa.es/facturas", "nominas@empresa.es and www.empresa.es/facturas"),
            ("Los precios se encuentran en la tarifa.", "the price find in the rate."),
            ("Q-950: 12 xyzzy", "Q-950: 12 xyzzy"),
            ("", ""),
        ] {
            assert_eq!(english(spanish), gloss, "{spanish}");
        }
    }

    #[test]
    fn only_what_the_embedder_does_not_know_is_glossed() {
        let english = ["en".to_owned()];
        let both = ["en".to_owned(), "es".to_owned()];
        assert_eq!(readable("La factura", Some(Language::Spanish), &english), "the invoice");
        assert_eq!(readable("La factura", Some(Language::Spanish), &both), "La factura");
        assert_eq!(readable("La factura", None, &english), "La factura");
        assert_eq!(readable("red", Some(Language::English), &english), "red");
        assert_eq!(readable("La factura", Some(Language::Spanish), &[]), "La factura");
    }

    #[test]
    fn short_texts_of_spanish_words_look_spanish() {
        for text in ["vacaciones", "nómina enero", "devolución pedidos", "plazo de entrega"] {
            assert!(looks_spanish(text), "{text}");
        }
        for text in ["notice period", "error VPN", "payroll", "hotel", "Q-950", ""] {
            assert!(!looks_spanish(text), "{text}");
        }
    }

    #[test]
    fn words_of_the_list_are_sorted_and_not_those_of_the_nets() {
        let nets: HashMap<&str, &str> = WORDS.lines().filter_map(|line| line.split_once('\t')).collect();
        for list in [FUNCTION_WORDS, OFFICE_WORDS] {
            assert!(list.is_sorted_by(|(a, _), (b, _)| a < b));
            for (word, english) in list {
                assert!(nets.get(word) != Some(english) && !word.contains(char::is_uppercase), "{word}");
            }
        }
    }

    /// Vectors and terms of old glosses are made anew only if the version says that they are old.
    #[test]
    fn a_change_of_the_words_changes_the_version() {
        let all = format!("{WORDS}{OFFICE_WORDS:?}{FUNCTION_WORDS:?}{NOUN_ENDINGS:?}{VERB_ENDINGS:?}{OPENERS:?}");
        let hash = ContentHash::of(all.as_bytes()).to_string();
        assert_eq!((VERSION, &hash[..16]), (1, "b02f4e74bed28e77"), "the words changed: change VERSION and this hash");
    }
}
