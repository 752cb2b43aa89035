//! Spanish told in English, word by word, for embedders that know English only.
//!
//! The starter embedder was trained on English; Spanish comes apart into pieces that mean nothing to it. An interlinear gloss
//! (each word replaced by the English word that says most likely what it says, in the same order) is poor English, yet it
//! means to such an embedder most of what the sentence means, and it means it next to English documents. The words are those
//! of two word nets, see `gloss/README.md`; endings are taken off by rule until a word is known.
//!
//! Glosses are seen by the embedder and by search and by nobody else: what is shown is what the documents say.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use intramuros_ingest::document::Language;

use crate::store::bm25::fold;

/// Changes when the same text gets another gloss, so that vectors made of the old ones are made anew.
pub const VERSION: u32 = 1;

/// Word and English word, a pair a line.
const WORDS: &str = include_str!("gloss/spanish.tsv");

/// What offices mean by words that the word nets lack or know better by another meaning.
const OFFICE_WORDS: &[(&str, &str)] = &[
    ("albarán", "delivery note"),
    ("almacén", "warehouse"),
    ("antigüedad", "seniority"),
    ("aplicación", "application"),
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
    ("comida", "meal"),
    ("compra", "purchase"),
    ("contraseña", "password"),
    ("convenio", "agreement"),
    ("copia", "copy"),
    ("correo", "mail"),
    ("cuenta", "account"),
    ("despido", "dismissal"),
    ("devolución", "return"),
    ("dieta", "allowance"),
    ("empleado", "employee"),
    ("encargado", "manager"),
    ("entrega", "delivery"),
    ("envío", "shipment"),
    ("factura", "invoice"),
    ("fallo", "failure"),
    ("fichaje", "clocking in"),
    ("fichero", "file"),
    ("finiquito", "severance"),
    ("garantía", "warranty"),
    ("gasto", "expense"),
    ("hoja", "sheet"),
    ("horario", "schedule"),
    ("huelga", "strike"),
    ("impuesto", "tax"),
    ("jefe", "manager"),
    ("kilometraje", "mileage"),
    ("manguera", "hose"),
    ("máquina", "machine"),
    ("móvil", "mobile phone"),
    ("nómina", "payroll"),
    ("ordenador", "computer"),
    ("pantalla", "screen"),
    ("pedido", "order"),
    ("permiso", "leave"),
    ("plantilla", "staff"),
    ("plazo", "deadline"),
    ("portátil", "laptop"),
    ("preaviso", "notice"),
    ("presupuesto", "budget"),
    ("prórroga", "extension"),
    ("proveedor", "supplier"),
    ("recibo", "receipt"),
    ("red", "network"),
    ("renta", "rent"),
    ("repuesto", "spare part"),
    ("retraso", "delay"),
    ("reunión", "meeting"),
    ("salario", "salary"),
    ("seguro", "insurance"),
    ("servidor", "server"),
    ("socio", "partner"),
    ("sueldo", "salary"),
    ("tarjeta", "card"),
    ("teclado", "keyboard"),
    ("teletrabajo", "remote work"),
    ("trienio", "seniority bonus"),
    ("turno", "shift"),
    ("usuario", "user"),
    ("válvula", "valve"),
];

/// Function words, which word nets leave out; they give the sentence its form. Empty: English says nothing there.
const FUNCTION_WORDS: &[(&str, &str)] = &[
    ("a", "to"),
    ("al", "to the"),
    ("ante", "before"),
    ("antes", "before"),
    ("aquel", "that"),
    ("aquella", "that"),
    ("aunque", "although"),
    ("cada", "each"),
    ("como", "as"),
    ("con", "with"),
    ("cual", "which"),
    ("cuando", "when"),
    ("cuál", "which"),
    ("cuáles", "which"),
    ("cuándo", "when"),
    ("cuánta", "how much"),
    ("cuántas", "how many"),
    ("cuánto", "how much"),
    ("cuántos", "how many"),
    ("cómo", "how"),
    ("de", "of"),
    ("debe", "must"),
    ("deben", "must"),
    ("debo", "I must"),
    ("del", "of the"),
    ("desde", "since"),
    ("después", "after"),
    ("donde", "where"),
    ("durante", "during"),
    ("dónde", "where"),
    ("e", "and"),
    ("el", "the"),
    ("ella", "she"),
    ("ellas", "they"),
    ("ellos", "they"),
    ("en", "in"),
    ("entre", "between"),
    ("era", "was"),
    ("eran", "were"),
    ("es", "is"),
    ("esa", "that"),
    ("ese", "that"),
    ("esta", "this"),
    ("estaba", "was"),
    ("estar", "be"),
    ("estas", "these"),
    ("este", "this"),
    ("esto", "this"),
    ("estos", "these"),
    ("está", "is"),
    ("están", "are"),
    ("fue", "was"),
    ("fueron", "were"),
    ("ha", "has"),
    ("había", "had"),
    ("hace", "does"),
    ("hacen", "do"),
    ("hacer", "do"),
    ("hago", "I do"),
    ("han", "have"),
    ("hasta", "until"),
    ("hay", "there is"),
    ("he", "I have"),
    ("la", "the"),
    ("las", "the"),
    ("le", ""),
    ("les", ""),
    ("lo", "it"),
    ("los", "the"),
    ("me", "me"),
    ("mi", "my"),
    ("mis", "my"),
    ("muy", "very"),
    ("más", "more"),
    ("ni", "nor"),
    ("no", "not"),
    ("nos", "us"),
    ("nuestra", "our"),
    ("nuestro", "our"),
    ("o", "or"),
    ("otra", "another"),
    ("otro", "another"),
    ("otros", "other"),
    ("para", "for"),
    ("pero", "but"),
    ("por", "by"),
    ("porque", "because"),
    ("puede", "can"),
    ("pueden", "can"),
    ("puedo", "I can"),
    ("que", "that"),
    ("quien", "who"),
    ("quién", "who"),
    ("quiénes", "who"),
    ("qué", "what"),
    ("se", ""),
    ("sea", "is"),
    ("según", "according to"),
    ("ser", "be"),
    ("si", "if"),
    ("sido", "been"),
    ("sin", "without"),
    ("sobre", "about"),
    ("son", "are"),
    ("su", "its"),
    ("sus", "their"),
    ("sí", "yes"),
    ("también", "also"),
    ("tengo", "I have"),
    ("tiene", "has"),
    ("tienen", "have"),
    ("todo", "all"),
    ("todos", "all"),
    ("tras", "after"),
    ("tu", "your"),
    ("tus", "your"),
    ("u", "or"),
    ("un", "a"),
    ("una", "a"),
    ("unas", "some"),
    ("unos", "some"),
    ("y", "and"),
    ("ya", "already"),
];

/// Endings, blanks between them, and what stands in their place in the words of the table. Plurals and feminines first, then
/// verbs by the class of their infinitive, their spellings that keep a sound, and nouns of deeds.
const ENDINGS: &[(&str, &[&str])] = &[
    ("ces", &["z"]),
    ("s", &[""]),
    ("es", &["", ""]),
    ("as", &["o"]),
    ("a", &["o"]),
    ("ita itas ito itos", &["a", "o"]),
    ("mente", &["", "o"]),
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

/// What each word says, by its spelling and by its spelling without accents.
static TABLE: LazyLock<HashMap<Cow<'static, str>, &'static str>> = LazyLock::new(|| {
    let own: Vec<(&str, &str)> = FUNCTION_WORDS.iter().chain(OFFICE_WORDS).copied().collect();
    let nets: Vec<(&str, &str)> = WORDS.lines().filter_map(|line| line.split_once('\t')).collect();
    let mut table = HashMap::with_capacity(70_000);
    for pairs in [own, nets] {
        for &(word, english) in &pairs {
            table.entry(Cow::Borrowed(word)).or_insert(english);
        }
        // «garantia» is what people type; «ano» is not «año».
        for (word, english) in pairs {
            let folded = fold(word);
            if folded != word {
                table.entry(Cow::Owned(folded)).or_insert(english);
            }
        }
    }
    table
});

/// [`ENDINGS`] one by one, the shortest first.
static SORTED_ENDINGS: LazyLock<Vec<(&'static str, &'static str)>> = LazyLock::new(|| {
    let mut endings: Vec<(&str, &str)> = ENDINGS
        .iter()
        .flat_map(|(endings, replacements)| {
            endings
                .split_whitespace()
                .flat_map(|ending| replacements.iter().map(move |replacement| (ending, *replacement)))
        })
        .collect();
    // Stable: of those that are as long, plurals go before verbs.
    endings.sort_by_key(|(ending, _)| ending.chars().count());
    endings
});

/// How a model reads a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fluency {
    /// As it stands.
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
    let mut rest = text;
    let mut opens = true;
    while let Some(start) = rest.find(char::is_alphanumeric) {
        let (between, from_word) = rest.split_at(start);
        opens |= between.contains(['.', ':', ';', '!', '?', '¿', '¡', '"', '\n']);
        gloss.push_str(between);
        let end = from_word.find(|c: char| !c.is_alphanumeric()).unwrap_or(from_word.len());
        let (word, behind) = from_word.split_at(end);
        let english = of_word(word, opens);
        if english.is_empty() && gloss.ends_with(' ') {
            gloss.pop();
        }
        gloss.push_str(&english);
        opens = false;
        rest = behind;
    }
    gloss.push_str(rest);
    gloss
}

/// The English word for a Spanish one; itself where none is known. A name in the middle of a sentence stays, but for those of
/// places that have another one in English.
fn of_word(word: &str, opens: bool) -> Cow<'_, str> {
    if word.chars().any(char::is_numeric) {
        return Cow::Borrowed(word);
    }
    let is_name = !opens && word.starts_with(char::is_uppercase);
    let lower = word.to_lowercase();
    match known(&lower) {
        Some(english) if !is_name || english.starts_with(char::is_uppercase) => Cow::Borrowed(english),
        _ => Cow::Borrowed(word),
    }
}

/// What the table says of a word, with as little of its end taken off as needed.
fn known(word: &str) -> Option<&'static str> {
    if let Some(english) = TABLE.get(word) {
        return Some(english);
    }
    let shorter = SORTED_ENDINGS.iter().filter_map(|(ending, replacement)| {
        let stem = word.strip_suffix(ending)?;
        (stem.chars().count() >= LEAST_LEFT).then(|| format!("{stem}{replacement}"))
    });
    shorter
        .into_iter()
        .find_map(|word| TABLE.get(word.as_str()).or_else(|| TABLE.get(fold(&word).as_str())))
        .copied()
        .or_else(|| TABLE.get(fold(word).as_str()).copied())
}

#[cfg(test)]
mod tests {
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
            ("Se conquistaron tres ciudades", " conquer three city"),
            ("garantias de la maquina", "warranty of the machine"),
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
    fn every_line_of_the_table_is_a_pair() {
        assert!(WORDS.lines().all(|line| line.split('\t').count() == 2 && !line.ends_with('\t')));
        assert!(WORDS.lines().count() > 50_000);
    }
}
