//! What a question asks for: its words, and the kind of thing that it wants. Who asks when wants a time.

use std::collections::{BTreeMap, BTreeSet};

use intramuros_ingest::document::Language;
use intramuros_ingest::language;

use super::ranges::{self, Amount};
use crate::gloss;
use crate::numbers::unit_of;
use crate::store::{StoredChunk, bm25};

/// A question as passages and sentences are held against it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its language, where clear.
    pub language: Option<Language>,
    /// Its words that matter, see [`bm25::words`].
    words: BTreeSet<u32>,
    /// Of a Spanish question, what each of its words is in English, where that is another word.
    in_english: BTreeMap<u32, BTreeSet<u32>>,
    /// All of its words, folded: a name that it gives itself is no answer.
    said: BTreeSet<String>,
    /// Codes and numbered names, such as `Q-950` or *Heron 200*, folded.
    codes: Vec<String>,
    /// Amounts that it names.
    amounts: Vec<Amount>,
    /// What kind of thing it asks for, where it says so.
    wanted: Option<Wanted>,
    /// The words, folded, of each of the names that it joins.
    joined_names: Vec<BTreeSet<String>>,
}

/// A kind of thing that an answer must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// How many, how long, what price.
    Number,
    /// When, which year.
    Time,
    /// Who, where: something with a name.
    Name,
}

/// Interrogatives that are no other word.
const INTERROGATIVES: &[&str] = &[
    "what", "which", "when", "where", "who", "whom", "whose", "why", "how", "qué", "cuál", "cuáles", "cuándo", "dónde",
    "adónde", "quién", "quiénes", "cómo", "cuánto", "cuánta", "cuántos", "cuántas",
];
/// Those of Spanish as people write them in a hurry; only where a question begins, since they join clauses elsewhere.
const BARE: &[&str] = &[
    "que", "cual", "cuales", "cuando", "donde", "adonde", "quien", "quienes", "como", "cuanto", "cuanta", "cuantos",
    "cuantas",
];
const PREPOSITIONS: &[&str] =
    &["a", "at", "by", "con", "de", "desde", "en", "for", "from", "hasta", "in", "on", "para", "por", "to", "with"];
/// Words behind «how» that ask for a number.
const HOW: &[&str] =
    &["big", "early", "far", "fast", "high", "large", "late", "long", "many", "much", "often", "old", "tall"];
/// How many words behind «what» name what is asked for.
const NOUN_REACH: usize = 2;
/// Words between «what» and what it names, folded.
const BETWEEN: &[&str] =
    &["a", "are", "el", "era", "es", "fue", "is", "la", "las", "los", "of", "son", "the", "un", "una", "was", "were"];
/// Words with which a question begins that wants yes or no.
const YES_OR_NO: &[&str] = &[
    "am", "are", "can", "could", "did", "do", "does", "has", "have", "is", "may", "must", "should", "was", "were",
    "will",
];
const TIMES: &[&str] = &[
    "ano", "century", "date", "day", "decada", "decade", "dia", "epoca", "fecha", "hora", "mes", "month", "period",
    "siglo", "time", "year",
];
const NUMBERS: &[&str] = &[
    "amount",
    "cantidad",
    "coste",
    "cost",
    "deadline",
    "distance",
    "edad",
    "fee",
    "importe",
    "length",
    "limit",
    "limite",
    "number",
    "numero",
    "percent",
    "percentage",
    "plazo",
    "poblacion",
    "population",
    "porcentaje",
    "portion",
    "precio",
    "price",
    "rate",
    "salary",
    "size",
    "tamano",
    "tasa",
    "temperatura",
    "temperature",
];
const NAMES: &[&str] = &[
    "actor",
    "author",
    "autor",
    "city",
    "ciudad",
    "country",
    "empresa",
    "lugar",
    "name",
    "nombre",
    "pais",
    "person",
    "persona",
    "place",
    "proveedor",
    "region",
    "rio",
    "river",
    "supplier",
    "town",
    "university",
];
/// Words of time, folded: months, days, parts of the day and centuries.
const TIME_WORDS: &[&str] = &[
    "abril",
    "agosto",
    "april",
    "august",
    "centuries",
    "century",
    "december",
    "diciembre",
    "domingo",
    "enero",
    "february",
    "febrero",
    "friday",
    "january",
    "jueves",
    "julio",
    "july",
    "junio",
    "june",
    "lunes",
    "march",
    "martes",
    "marzo",
    "mayo",
    "miercoles",
    "monday",
    "november",
    "noviembre",
    "october",
    "octubre",
    "sabado",
    "saturday",
    "september",
    "septiembre",
    "siglo",
    "siglos",
    "sunday",
    "thursday",
    "tuesday",
    "viernes",
    "wednesday",
];
/// Numbers in words, folded.
const NUMBER_WORDS: &[&str] = &[
    "cien", "ciento", "cinco", "cuatro", "diez", "doce", "dos", "eight", "eleven", "fifty", "five", "four", "half",
    "hundred", "mil", "million", "millones", "mitad", "nine", "nueve", "ocho", "quarter", "quince", "seis", "seven",
    "siete", "six", "ten", "tercio", "third", "thirty", "thousand", "three", "treinta", "tres", "twelve", "twenty",
    "twice", "two", "veinte",
];

impl Asked {
    /// Reads a question.
    pub fn read(question: &str) -> Self {
        let language =
            language::detect(question).or_else(|| gloss::looks_spanish(question).then_some(Language::Spanish));
        let lower = question.to_lowercase();
        let words: Vec<&str> = split(&lower).collect();
        Self {
            language,
            words: bm25::words(question, language),
            in_english: if language == Some(Language::Spanish) { in_english(question) } else { BTreeMap::new() },
            said: words.iter().map(|word| bm25::fold(word)).collect(),
            codes: lower.split_whitespace().filter_map(code).chain(numbered_names(question)).collect(),
            amounts: amounts(question, language),
            wanted: wanted(&words),
            joined_names: joined_names(question),
        }
    }

    /// Codes and numbered names, such as `Q-950` or *Heron 200*, folded: what holds none of them speaks of something else.
    pub fn codes(&self) -> &[String] {
        &self.codes
    }

    /// Its words that matter, see [`bm25::words`].
    pub fn words(&self) -> &BTreeSet<u32> {
        &self.words
    }

    /// Those of its words that a text holds, be it in the other language, or as an amount in a range that it speaks of.
    pub fn held(&self, text: &str, language: Option<Language>) -> BTreeSet<u32> {
        // Both analyses, because names and codes are the same in both.
        let words = bm25::words(text, None);
        let mut held: BTreeSet<u32> = self.words.intersection(&words).copied().collect();
        match (self.language, language) {
            (Some(Language::Spanish), Some(Language::Spanish)) => {
                let words = bm25::words(&gloss::english(text), Some(Language::English));
                let said = self.in_english.iter().filter(|(_, english)| english.is_subset(&words));
                held.extend(said.map(|(word, _)| word));
            }
            (Some(Language::Spanish), Some(Language::English)) => {
                let said = self.in_english.iter().filter(|(_, english)| english.is_subset(&words));
                held.extend(said.map(|(word, _)| word));
            }
            (Some(Language::English), Some(Language::Spanish)) => {
                let words = bm25::words(&gloss::english(text), self.language);
                held.extend(self.words.intersection(&words));
            }
            _ => {}
        }
        let covered = ranges::covered(text, language, &self.amounts);
        held.extend(covered.into_iter().flat_map(|amount| &amount.words));
        held
    }

    /// Whether a text speaks of the amounts that it names: `true` where a range covers one, `false` where ranges of the same
    /// leave all out, nothing where there is no such range.
    pub fn speaks_for(&self, text: &str, language: Option<Language>) -> Option<bool> {
        ranges::speaks_for(text, language, &self.amounts)
    }

    /// Share of its words that a chunk and the headings above it hold, in 0..1.
    pub fn share(&self, chunk: &StoredChunk) -> f32 {
        self.share_of(&self.held(&chunk.with_headings(), chunk.language))
    }

    /// Share of its words that are among those that a text [holds](Self::held), in 0..1.
    pub fn share_of(&self, held: &BTreeSet<u32>) -> f32 {
        held.len() as f32 / self.words.len().max(1) as f32
    }

    /// Whether a sentence holds what is asked for; every sentence does where that is not clear.
    pub fn fits(&self, sentence: &str) -> bool {
        self.wanted.is_none() || self.things(sentence).next().is_some()
    }

    /// The words of a sentence that are of the kind asked for, folded; none where it is not clear what is.
    pub fn things(&self, sentence: &str) -> impl Iterator<Item = String> {
        split(sentence).enumerate().filter_map(|(at, word)| {
            let folded = bm25::fold(&word.to_lowercase());
            let is_one = match self.wanted? {
                Wanted::Number => has_digit(word) || NUMBER_WORDS.contains(&folded.as_str()),
                Wanted::Time => has_digit(word) || TIME_WORDS.contains(&folded.as_str()),
                // The first word of a sentence has a capital anyway.
                Wanted::Name => at > 0 && word.starts_with(char::is_uppercase) && !self.said.contains(&folded),
            };
            is_one.then_some(folded)
        })
    }

    /// The names that it joins, each by its folded words: of «the price of the Heron 200 and of the Osprey» two.
    pub fn joined_names(&self) -> &[BTreeSet<String>] {
        &self.joined_names
    }

    /// Whether it has a word, folded.
    pub fn says(&self, word: &str) -> bool {
        self.said.contains(word)
    }

    /// Whether it asks for a number or a time.
    pub fn wants_figures(&self) -> bool {
        matches!(self.wanted, Some(Wanted::Number | Wanted::Time))
    }

    /// Whether it says what kind of thing it asks for.
    pub fn is_specific(&self) -> bool {
        self.wanted.is_some()
    }
}

/// The amounts of a question, each by those of its words that matter.
fn amounts(question: &str, language: Option<Language>) -> Vec<Amount> {
    let words = bm25::words(question, language);
    let mut amounts = ranges::amounts(question, language);
    amounts.iter_mut().for_each(|amount| amount.words.retain(|word| words.contains(word)));
    amounts
}

/// What the words of a Spanish question are in English.
fn in_english(question: &str) -> BTreeMap<u32, BTreeSet<u32>> {
    let mut in_english = BTreeMap::new();
    for (word, english) in gloss::words(question) {
        let english = bm25::words(&english, Some(Language::English));
        if !english.is_empty() {
            let words = bm25::words(&question[word], Some(Language::Spanish)).into_iter();
            in_english.extend(words.map(|word| (word, english.clone())));
        }
    }
    in_english
}

/// Names with nothing between them but a comma or a joint, an article and a preposition.
fn joined_names(question: &str) -> Vec<BTreeSet<String>> {
    const JOINTS: &[&str] = &["and", "e", "o", "or", "u", "y"];
    const LINKS: &[&str] =
        &["a", "al", "an", "de", "del", "el", "en", "for", "in", "la", "las", "los", "of", "para", "the", "to"];
    let mut names: Vec<(BTreeSet<String>, bool)> = Vec::new();
    // Whether the name before ends here, and whether what follows it joins the next.
    let (mut ended, mut joins) = (true, false);
    for (at, token) in question.split_whitespace().enumerate() {
        let word = token.trim_matches(|c: char| !c.is_alphanumeric());
        let lower = bm25::fold(&word.to_lowercase());
        let goes_on = has_digit(word) && !ended;
        let is_name = word.starts_with(char::is_uppercase) || goes_on;
        if at > 0 && is_name && !is_interrogative(&word.to_lowercase(), true) {
            match names.last_mut() {
                Some((name, _)) if !ended => name.extend(split(&lower).map(str::to_owned)),
                _ => names.push((split(&lower).map(str::to_owned).collect(), joins)),
            }
            (ended, joins) = (token.ends_with(','), token.ends_with(','));
        } else {
            joins = if JOINTS.contains(&lower.as_str()) {
                !names.is_empty()
            } else {
                joins && LINKS.contains(&lower.as_str())
            };
            ended = true;
        }
    }
    let is_joined = |at: usize| names[at].1 || names.get(at + 1).is_some_and(|(_, joins)| *joins);
    (0..names.len()).filter(|at| is_joined(*at)).map(|at| names[at].0.clone()).collect()
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// A lower-case word as a code, if it is one: letters, then figures.
fn code(word: &str) -> Option<String> {
    let code = word.trim_matches(|c: char| !c.is_alphanumeric());
    (code.starts_with(char::is_alphabetic) && has_digit(code)).then(|| bm25::fold(code))
}

/// Whether a text has a code, as words of its own, whatever stands between them: `G4` does not stand in `G40`, and *Heron 200*
/// may be broken over two lines.
pub fn has_code(text: &str, code: &str) -> bool {
    let spaced = |text: &str| {
        let folded = bm25::fold(&text.to_lowercase());
        format!(" {} ", split(&folded).collect::<Vec<_>>().join(" "))
    };
    spaced(text).contains(&spaced(code))
}

/// Whether a text numbers the name of a numbered name, be it otherwise: *Heron 300* for `heron 200`. Plain codes have no name.
pub fn has_sibling(text: &str, code: &str) -> bool {
    let Some((name, _)) = code.split_once(' ') else { return true };
    let folded = bm25::fold(&text.to_lowercase());
    let words: Vec<&str> = split(&folded).collect();
    words.windows(2).any(|pair| pair[0] == name && pair[1].starts_with(|c: char| c.is_ascii_digit()))
}

/// Words before the number of a place in a text, folded, which the other language calls otherwise.
const PLACES: &[&str] = &[
    "anexo", "annex", "appendix", "art", "article", "articulo", "capitulo", "chapter", "clausula", "clause", "page",
    "pagina", "paso", "punto", "schedule", "seccion", "section", "step", "tabla", "table",
];

/// Names with the number of a model behind them, in lower case and folded: *Heron 200*, *Heron 200X*. Dates, amounts and
/// places in a text are none.
fn numbered_names(question: &str) -> Vec<String> {
    let words: Vec<&str> = question.split_whitespace().collect();
    let bare =
        |at: usize| words.get(at).map(|word| word.trim_matches(|c: char| !c.is_alphanumeric())).unwrap_or_default();
    let name = |at: usize| {
        let (name, number) = (words[at - 1], bare(at));
        let folded = bm25::fold(&name.to_lowercase());
        let is_model = number.starts_with(|c: char| c.is_ascii_digit()) && number.chars().all(char::is_alphanumeric);
        let is_year = number.len() == 4
            && !number.contains(char::is_alphabetic)
            && (number.starts_with("19") || number.starts_with("20"));
        let is_month = folded == "may" || TIME_WORDS.iter().any(|word| folded.len() >= 3 && word.starts_with(&folded));
        let counts = |word: &str| unit_of(&bm25::fold(&word.to_lowercase())).is_some();
        let is_name = at > 1
            && name.starts_with(char::is_uppercase)
            && name.chars().all(char::is_alphabetic)
            && !is_month
            && !PLACES.contains(&folded.as_str());
        (is_name && is_model && !is_year && !counts(name) && !counts(bare(at + 1)))
            .then(|| format!("{folded} {}", bm25::fold(&number.to_lowercase())))
    };
    (1..words.len()).filter_map(name).collect()
}

fn has_digit(word: &str) -> bool {
    word.contains(|c: char| c.is_ascii_digit())
}

/// Whether a lower-case word asks; those of Spanish without their accent only where a question `begins` with them.
pub fn is_interrogative(word: &str, begins: bool) -> bool {
    INTERROGATIVES.contains(&word) || (begins && BARE.contains(&word))
}

/// Whether a Spanish article stands for something said before: right behind «quién», «cómo», «cuándo» (*¿quién las aprueba?*).
pub fn stands_for_something(word: &str, before: &str) -> bool {
    matches!(word, "la" | "las" | "lo" | "los")
        && matches!(bm25::fold(before).as_str(), "quien" | "quienes" | "como" | "cuando" | "donde")
}

/// Whether a lower-case word may stand before one that asks: «until when», «hasta cuándo».
pub fn may_precede_interrogative(word: &str) -> bool {
    PREPOSITIONS.contains(&word)
}

/// What the first interrogative of a question asks for.
fn wanted(words: &[&str]) -> Option<Wanted> {
    if words.first().is_some_and(|first| YES_OR_NO.contains(first)) {
        return None;
    }
    let at = words.iter().enumerate().position(|(at, word)| {
        let begins = at == 0 || (at == 1 && PREPOSITIONS.contains(&words[0]));
        is_interrogative(word, begins)
    })?;
    let behind = words[at + 1..].iter().map(|word| bm25::fold(word));
    match bm25::fold(words[at]).as_str() {
        "when" | "cuando" => Some(Wanted::Time),
        "who" | "whom" | "whose" | "quien" | "quienes" | "where" | "donde" | "adonde" => Some(Wanted::Name),
        "cuanto" | "cuanta" | "cuantos" | "cuantas" => Some(Wanted::Number),
        "how" => behind.take(1).find(|next| HOW.contains(&next.as_str())).map(|_| Wanted::Number),
        "what" | "which" | "que" | "cual" | "cuales" => nouns(behind).find_map(|noun| {
            let forms = [Some(noun.as_str()), noun.strip_suffix('s'), noun.strip_suffix("es")];
            let is_of = |nouns: &[&str]| forms.iter().flatten().any(|form| nouns.contains(form));
            match () {
                () if is_of(TIMES) => Some(Wanted::Time),
                () if is_of(NUMBERS) => Some(Wanted::Number),
                () if is_of(NAMES) => Some(Wanted::Name),
                () => None,
            }
        }),
        _ => None,
    }
}

/// The words behind «what» that may name what is asked for.
fn nouns(behind: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    behind.skip_while(|word| BETWEEN.contains(&word.as_str())).take(NOUN_REACH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interrogative_says_what_is_wanted() {
        for (question, expected) in [
            ("When does payday fall in the UK office?", Some(Wanted::Time)),
            ("In what year was the plant opened?", Some(Wanted::Time)),
            ("¿En qué año abrió la planta?", Some(Wanted::Time)),
            ("cuando cobro", Some(Wanted::Time)),
            ("¿Cuántos días de vacaciones tengo cuando llevo un año?", Some(Wanted::Number)),
            ("What is the price of a meter?", Some(Wanted::Number)),
            ("How long is the notice period?", Some(Wanted::Number)),
            ("¿Cuál es el importe máximo?", Some(Wanted::Number)),
            ("Who approves a flight when the manager is away?", Some(Wanted::Name)),
            ("¿Dónde está la planta?", Some(Wanted::Name)),
            ("¿En qué meses abre la piscina?", Some(Wanted::Time)),
            ("Do I get paid when I am sick?", None),
            ("¿Qué tipo de contrato tengo?", None),
            ("What is the company policy on gifts?", None),
            ("How do I reset my password?", None),
            ("¿Qué hago si se rompe el portátil?", None),
            ("El plazo que rige cuando vence", None),
            ("", None),
        ] {
            assert_eq!(Asked::read(question).wanted, expected, "{question}");
        }
    }

    #[test]
    fn a_text_of_the_other_language_holds_the_words_by_their_gloss() {
        let share = |question: &str, text: &str, language| {
            let asked = Asked::read(question);
            asked.share_of(&asked.held(text, Some(language)))
        };
        let (spanish, english) = (Language::Spanish, Language::English);
        assert_eq!(share("¿Cuánto cuesta la manguera?", "The hose costs 20 euros.", english), 1.0);
        assert_eq!(share("How much does the hose cost?", "La manguera cuesta 20 euros.", spanish), 1.0);
        assert_eq!(share("¿Qué seguro tiene el coche?", "El automóvil tiene seguro.", spanish), 1.0);
        assert_eq!(share("¿Dónde vive Blanco?", "The wall is white.", english), 0.0, "a name is no word");
        assert_eq!(share("¿Cuánto cuesta la manguera?", "The lamp is red.", english), 0.0);
    }

    #[test]
    fn codes_are_letters_and_figures() {
        let asked = Asked::read("¿Qué hago si la VPN muestra el error Q-950 (o E52) a las 10h del 4º día de 2026?");
        assert_eq!(asked.codes(), ["q-950", "e52"]);
    }

    #[test]
    fn names_with_a_number_are_codes_of_their_own() {
        let codes = |question: &str| Asked::read(question).codes().to_vec();
        assert_eq!(codes("What is the warranty on the Nertola 500?"), ["nertola 500"]);
        assert_eq!(codes("¿Qué batería lleva el Nertola 200X?"), ["nertola 200x"]);
        for question in [
            "What was sold in Madrid 2024?",
            "Who called on May 4?",
            "Who approves EUR 4500?",
            "¿Qué dice el Anexo 3?",
            "Is it open on Jan 15?",
            "Are 20 days enough?",
            "Which 3 of them?",
        ] {
            assert!(codes(question).is_empty(), "{question}: {:?}", codes(question));
        }
        assert!(has_code("The Nertola\n500 is new.", "nertola 500") && has_code("See Q-950.", "q-950"));
        assert!(has_code("(G4)", "g4"));
        assert!(has_sibling("The Nertola 200X is new.", "nertola 500") && !has_sibling("The ISO rules.", "iso 9001"));
        assert!(!has_code("The Nertola 500X is new.", "nertola 500") && !has_code("The G40", "g4"));
    }

    #[test]
    fn names_are_joined_by_what_stands_between_them() {
        let joined = |question: &str| -> Vec<String> {
            let names = Asked::read(question).joined_names;
            names.into_iter().map(|name| name.into_iter().collect::<Vec<_>>().join(" ")).collect()
        };
        assert_eq!(joined("What is the price of the Heron 200 and of the Osprey?"), ["200 heron", "osprey"]);
        assert_eq!(joined("¿Cuánto dura el viaje a Vigo, Gijón o Cádiz?"), ["vigo", "gijon", "cadiz"]);
        for question in [
            "What does Ana Ruiz say to Ben in May?",
            "Who signs for Acme and what does Ben pay?",
            "What is the price and the weight of the Heron?",
            "How much is it and when does Ana pay?",
            "Is it between 10 and 20 years?",
        ] {
            assert!(joined(question).is_empty(), "{question}: {:?}", joined(question));
        }
    }

    #[test]
    fn a_sentence_fits_if_it_holds_what_is_wanted() {
        let fits = |question: &str, sentence: &str| Asked::read(question).fits(sentence);
        assert!(fits("¿Cuántos días?", "Son veinte días.") && fits("How many days?", "It is 23 days."));
        assert!(!fits("How many days?", "It depends on the contract."));
        assert!(fits("When is it due?", "It is due every Friday.") && !fits("When is it due?", "It is due soon."));
        assert!(fits("Who signs?", "Contracts are signed by Ana Ruiz."));
        assert!(!fits("Who signs for Ana?", "Nobody signs for Ana."));
        assert!(fits("How do I sign?", "With a pen."));
    }
}
