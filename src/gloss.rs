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

/// Changes when the same text gets another gloss, so that what was made of the old ones is made anew.
pub const VERSION: u32 = 1;

/// Word and English word, a pair a line.
const WORDS: &str = include_str!("gloss/spanish.tsv");

/// What offices mean by words that the word nets lack or know better by another meaning.
const OFFICE_WORDS: &[(&str, &str)] = &[
    ("albarán", "delivery note"),
    ("almacén", "warehouse"),
    ("antigüedad", "seniority"),
    ("archivo", "file"),
    ("autónomo", "self-employed"),
    ("avería", "breakdown"),
    ("baja", "leave"),
    ("bomba", "pump"),
    ("cargador", "charger"),
    ("carpeta", "folder"),
    ("carretilla", "forklift"),
    ("cláusula", "clause"),
    ("comercial", "sales"),
    ("compra", "purchase"),
    ("contraseña", "password"),
    ("cuenta", "account"),
    ("despido", "dismissal"),
    ("dieta", "allowance"),
    ("encargado", "manager"),
    ("entrega", "delivery"),
    ("envío", "shipment"),
    ("factura", "invoice"),
    ("fallo", "failure"),
    ("fichaje", "clocking in"),
    ("finiquito", "severance"),
    ("garantía", "warranty"),
    ("hoja", "sheet"),
    ("jefe", "manager"),
    ("móvil", "mobile phone"),
    ("nómina", "payroll"),
    ("pantalla", "screen"),
    ("pedido", "order"),
    ("permiso", "leave"),
    ("plantilla", "staff"),
    ("plazo", "deadline"),
    ("portátil", "laptop"),
    ("preaviso", "notice"),
    ("proveedor", "supplier"),
    ("renta", "rent"),
    ("repuesto", "spare part"),
    ("salario", "salary"),
    ("seguro", "insurance"),
    ("servidor", "server"),
    ("socio", "partner"),
    ("sueldo", "salary"),
    ("teletrabajo", "remote work"),
    ("trienio", "seniority bonus"),
    ("turno", "shift"),
];

/// Function words and the forms of the verbs that are used like them, which word nets leave out; they give the sentence its
/// form. Empty: English says nothing there.
const FUNCTION_WORDS: &[(&str, &str)] = &[
    ("a", "to"),
    ("adonde", "where"),
    ("adónde", "where"),
    ("al", "to the"),
    ("algo", "something"),
    ("alguien", "somebody"),
    ("alguna", "some"),
    ("algunas", "some"),
    ("alguno", "some"),
    ("algunos", "some"),
    ("allí", "there"),
    ("ante", "before"),
    ("aquel", "that"),
    ("aquella", "that"),
    ("aquellas", "those"),
    ("aquello", "that"),
    ("aquellos", "those"),
    ("así", "so"),
    ("aunque", "although"),
    ("aún", "still"),
    ("cada", "each"),
    ("cobra", "is paid"),
    ("cobran", "are paid"),
    ("cobrar", "be paid"),
    ("cobro", "am paid"),
    ("con", "with"),
    ("cual", "which"),
    ("cuales", "which"),
    ("cuando", "when"),
    ("cuanta", "as much"),
    ("cuantas", "as many"),
    ("cuanto", "as much"),
    ("cuantos", "as many"),
    ("cuesta", "costs"),
    ("cuestan", "cost"),
    ("cuál", "which"),
    ("cuáles", "which"),
    ("cuándo", "when"),
    ("cuánta", "how much"),
    ("cuántas", "how many"),
    ("cuánto", "how much"),
    ("cuántos", "how many"),
    ("cómo", "how"),
    ("da", "gives"),
    ("dan", "give"),
    ("de", "of"),
    ("deba", "must"),
    ("deban", "must"),
    ("debe", "must"),
    ("debemos", "must"),
    ("deben", "must"),
    ("deberá", "must"),
    ("deberán", "must"),
    ("debería", "should"),
    ("deberían", "should"),
    ("debes", "must"),
    ("debo", "I must"),
    ("debía", "must"),
    ("del", "of the"),
    ("desde", "since"),
    ("después", "after"),
    ("devuelve", "returns"),
    ("devuelven", "return"),
    ("dice", "says"),
    ("dicen", "say"),
    ("diga", "says"),
    ("dijo", "said"),
    ("dio", "gave"),
    ("donde", "where"),
    ("doy", "give"),
    ("durante", "during"),
    ("dé", "gives"),
    ("dónde", "where"),
    ("e", "and"),
    ("el", "the"),
    ("ella", "she"),
    ("ellas", "they"),
    ("ello", "it"),
    ("ellos", "they"),
    ("empieza", "begins"),
    ("empiezan", "begin"),
    ("en", "in"),
    ("entre", "between"),
    ("era", "was"),
    ("eran", "were"),
    ("eres", "are"),
    ("es", "is"),
    ("esa", "that"),
    ("esas", "those"),
    ("ese", "that"),
    ("eso", "that"),
    ("esos", "those"),
    ("esta", "this"),
    ("estaba", "was"),
    ("estaban", "were"),
    ("estado", "been"),
    ("estamos", "are"),
    ("estará", "will be"),
    ("estaría", "would be"),
    ("estas", "these"),
    ("este", "this"),
    ("esto", "this"),
    ("estos", "these"),
    ("estoy", "am"),
    ("estuvo", "was"),
    ("está", "is"),
    ("están", "are"),
    ("esté", "is"),
    ("estén", "are"),
    ("fue", "was"),
    ("fuera", "were"),
    ("fueron", "were"),
    ("fuese", "were"),
    ("fui", "was"),
    ("ha", "has"),
    ("haber", "have"),
    ("habido", "been"),
    ("habrá", "there will be"),
    ("habría", "would have"),
    ("había", "had"),
    ("habían", "had"),
    ("hace", "does"),
    ("hacemos", "do"),
    ("hacen", "do"),
    ("haces", "do"),
    ("haciendo", "doing"),
    ("haga", "does"),
    ("hagan", "do"),
    ("hago", "I do"),
    ("han", "have"),
    ("hará", "will do"),
    ("harán", "will do"),
    ("haría", "would do"),
    ("hasta", "until"),
    ("hay", "there is"),
    ("haya", "has"),
    ("hayan", "have"),
    ("he", "I have"),
    ("hecho", "done"),
    ("hemos", "have"),
    ("hicieron", "did"),
    ("hizo", "did"),
    ("hubo", "there was"),
    ("iba", "went"),
    ("ir", "go"),
    ("irá", "will go"),
    ("la", "the"),
    ("las", "the"),
    ("le", ""),
    ("les", ""),
    ("lo", "it"),
    ("los", "the"),
    ("me", "me"),
    ("mi", "my"),
    ("mis", "my"),
    ("misma", "same"),
    ("muy", "very"),
    ("mí", "me"),
    ("mío", "mine"),
    ("nada", "nothing"),
    ("ni", "nor"),
    ("ninguna", "no"),
    ("ninguno", "none"),
    ("no", "not"),
    ("nos", "us"),
    ("nosotros", "we"),
    ("nuestra", "our"),
    ("nuestras", "our"),
    ("nuestro", "our"),
    ("nuestros", "our"),
    ("o", "or"),
    ("os", "you"),
    ("otras", "other"),
    ("otro", "another"),
    ("otros", "other"),
    ("para", "for"),
    ("pero", "but"),
    ("pida", "asks"),
    ("pide", "asks"),
    ("piden", "ask"),
    ("pido", "ask"),
    ("podemos", "can"),
    ("poder", "can"),
    ("podrá", "can"),
    ("podrán", "can"),
    ("podré", "can"),
    ("podría", "could"),
    ("podrían", "could"),
    ("podía", "could"),
    ("pone", "puts"),
    ("ponen", "put"),
    ("ponga", "puts"),
    ("pongo", "put"),
    ("por", "by"),
    ("porque", "because"),
    ("pudo", "could"),
    ("pueda", "can"),
    ("puedan", "can"),
    ("puede", "can"),
    ("pueden", "can"),
    ("puedes", "can"),
    ("puedo", "I can"),
    ("pues", "then"),
    ("puso", "put"),
    ("que", "that"),
    ("quien", "who"),
    ("quienes", "who"),
    ("quiera", "wants"),
    ("quiere", "wants"),
    ("quieren", "want"),
    ("quieres", "want"),
    ("quiero", "want"),
    ("quién", "who"),
    ("quiénes", "who"),
    ("qué", "what"),
    ("se", ""),
    ("sea", "is"),
    ("sean", "are"),
    ("según", "according to"),
    ("será", "will be"),
    ("serán", "will be"),
    ("seré", "will be"),
    ("sería", "would be"),
    ("serían", "would be"),
    ("si", "if"),
    ("sido", "been"),
    ("siendo", "being"),
    ("sigue", "follows"),
    ("siguen", "follow"),
    ("sin", "without"),
    ("sobre", "about"),
    ("somos", "are"),
    ("son", "are"),
    ("soy", "am"),
    ("sr", "Mr"),
    ("sra", "Mrs"),
    ("su", "its"),
    ("sus", "their"),
    ("suyo", "theirs"),
    ("sí", "yes"),
    ("te", "you"),
    ("tendrá", "will have"),
    ("tendrán", "will have"),
    ("tendré", "will have"),
    ("tendría", "would have"),
    ("tenemos", "have"),
    ("tenga", "has"),
    ("tengan", "have"),
    ("tengo", "I have"),
    ("tenía", "had"),
    ("tenían", "had"),
    ("ti", "you"),
    ("tiene", "has"),
    ("tienen", "have"),
    ("tienes", "have"),
    ("toda", "all"),
    ("todas", "all"),
    ("todos", "all"),
    ("tras", "after"),
    ("tu", "your"),
    ("tus", "your"),
    ("tuvo", "had"),
    ("tuyo", "yours"),
    ("tú", "you"),
    ("u", "or"),
    ("un", "a"),
    ("una", "a"),
    ("unas", "some"),
    ("unos", "some"),
    ("usted", "you"),
    ("ustedes", "you"),
    ("va", "goes"),
    ("vamos", "go"),
    ("van", "go"),
    ("vas", "go"),
    ("vaya", "goes"),
    ("vence", "expires"),
    ("vencen", "expire"),
    ("venga", "comes"),
    ("vengo", "come"),
    ("viene", "comes"),
    ("vienen", "come"),
    ("vino", "came"),
    ("vosotros", "you"),
    ("voy", "go"),
    ("y", "and"),
    ("ya", "already"),
    ("yo", "I"),
    ("él", "he"),
];

/// Endings of nouns, blanks between them, and what stands in their place in the words of the table: plurals and feminines.
const NOUN_ENDINGS: &[(&str, &[&str])] = &[
    ("ces", &["z"]),
    ("s", &[""]),
    ("es", &[""]),
    ("as", &["o"]),
    ("a", &["o"]),
    ("ita itas ito itos", &["a", "o"]),
    ("mente", &["", "o"]),
];

/// The same of verbs, by the class of their infinitive, with the spellings that keep a sound, and of nouns of deeds.
const VERB_ENDINGS: &[(&str, &[&str])] = &[
    (
        "ando ado ada ados adas aba abas aban ábamos ar aron ó é aste amos áis an as a o e es en emos aré ará arás arán \
         aremos aría arías arían ara aran ase asen arse ándose arlo arla arlos arlas arle arles",
        &["ar"],
    ),
    (
        "iendo ido ida idos idas ía ías ían íamos ieron ió í iste imos en es e o a as an amos iera ieran iese iesen",
        &["er", "ir"],
    ),
    ("eré erá erán ería erían erse erlo erla erlos erlas emos éis", &["er"]),
    ("iré irá irán iría irían irse irlo irla imos ís", &["ir"]),
    ("qué quemos que quen ques", &["car"]),
    ("gué gue guen gues", &["gar"]),
    ("cé ce cen ces", &["zar"]),
    ("zca zcan zco", &["cer", "cir"]),
    ("ja jan jo", &["ger", "gir"]),
    ("yó yeron yendo ye yen", &["er", "ir", "uir"]),
    ("uye uyen uyó uyeron uyendo uya", &["uir"]),
    ("ción ciones", &["r"]),
];

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
