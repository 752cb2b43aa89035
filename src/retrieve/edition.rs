//! Which edition of a document a passage is from, as far as its name tells: its year, and whether it was replaced.
//!
//! A policy of 2024 that was replaced in 2026 says what no longer holds in nearly the same words. Who asks without naming a
//! year wants what holds.

use crate::store::{StoredChunk, bm25};

/// What titles say of a document that no longer holds, folded, in the singular.
const REPLACED: &[&str] = &[
    "anulada",
    "anulado",
    "derogada",
    "derogado",
    "obsolete",
    "obsoleta",
    "obsoleto",
    "outdated",
    "repealed",
    "replaced",
    "superseded",
    "sustituida",
    "sustituido",
    "withdrawn",
];
/// Words of who asks for what held before, folded, in the singular.
const PAST: &[&str] = &["antigua", "antiguo", "former", "formerly"];
/// Those that mean it beside the name of a rule («the old policy»), and such names.
const EARLIER: &[&str] = &["anterior", "earlier", "old", "older", "previous"];
const RULES: &[&str] =
    &["agreement", "convenio", "edicion", "edition", "norma", "policy", "politica", "regla", "rule", "version"];

/// Whether a title says that its document was replaced: in brackets, behind its year or at its end. «Replaced parts» are
/// something else.
pub fn is_replaced(title: &str) -> bool {
    let folded = bm25::fold(&title.to_lowercase());
    if folded.contains("no vigente") {
        return true;
    }
    let pieces: Vec<&str> = folded.split_whitespace().collect();
    pieces.iter().enumerate().any(|(at, piece)| {
        let stands_apart = piece.starts_with(['(', '[']) || at + 1 == pieces.len();
        let behind_year = at > 0 && year_of(pieces[at - 1].trim_matches(|c: char| !c.is_alphanumeric())).is_some();
        let word = singular(piece.trim_matches(|c: char| !c.is_alphanumeric()));
        at > 0 && (stands_apart || behind_year) && REPLACED.contains(&word)
    })
}

/// Whether a question wants what held when a document did: it says so, or names the document's year.
pub fn wants_past(question: &str, chunk: &StoredChunk) -> bool {
    let words: Vec<String> = words(question).collect();
    let is_of = |list: &[&str], word: Option<&String>| word.is_some_and(|word| list.contains(&singular(word)));
    words.iter().enumerate().any(|(at, word)| {
        let beside_rule = is_of(RULES, words.get(at + 1)) || (at > 0 && is_of(RULES, words.get(at - 1)));
        is_of(PAST, Some(word))
            || is_of(REPLACED, Some(word))
            || (is_of(EARLIER, Some(word)) && beside_rule)
            || year_of(word).is_some_and(|asked| year(chunk) == Some(asked))
    })
}

/// The year that a document's title names, else the name of its file; the latest where there are several.
pub fn year(chunk: &StoredChunk) -> Option<u16> {
    let file = chunk.uri.rsplit('/').next().filter(|name| name.contains('.')).unwrap_or_default();
    let latest = |text: &str| words(text).filter_map(|word| year_of(&word)).max();
    latest(&chunk.title).or_else(|| latest(file))
}

/// Whether two titles name the same but for years and for what was replaced.
pub fn is_same_work(a: &str, b: &str) -> bool {
    let named = |title: &str| -> Vec<String> {
        words(title).filter(|word| year_of(word).is_none() && !REPLACED.contains(&singular(word))).collect()
    };
    named(a) == named(b)
}

fn singular(word: &str) -> &str {
    word.strip_suffix('s').unwrap_or(word)
}

/// A document's title, with the year of its edition where that stands elsewhere.
pub fn name(chunk: &StoredChunk) -> String {
    match year(chunk) {
        Some(year) if !chunk.title.contains(&year.to_string()) => format!("{} ({year})", chunk.title),
        _ => chunk.title.clone(),
    }
}

fn year_of(word: &str) -> Option<u16> {
    let is_year = word.len() == 4 && (word.starts_with("19") || word.starts_with("20"));
    is_year.then(|| word.parse().ok()).flatten()
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| bm25::fold(&word.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(title: &str, uri: &str) -> StoredChunk {
        StoredChunk { uri: uri.into(), ..StoredChunk::of_text(title, "") }
    }

    #[test]
    fn titles_and_file_names_tell_the_edition() {
        for title in ["Política de contraseñas 2024 (SUSTITUIDA)", "Normas derogadas", "Leave 2019 superseded, HR"] {
            assert!(is_replaced(title), "{title}");
        }
        for title in ["Password Policy 2026", "Replaced parts warranty", "Repealed laws of Spain", "Sustituido"] {
            assert!(!is_replaced(title), "{title}");
        }
        assert_eq!(year(&of("Leave 2024, 2026 edition", "file:///leave-2020.md")), Some(2026));
        assert_eq!(year(&of("Leave", "file:///2019/leave-2024.md")), Some(2024));
        assert_eq!(year(&of("Form 12345", "file:///form.md")), None);
        assert_eq!(year(&of("Leave", "/documents/a1b2c3d4-2041-5f00-8000-000000000000")), None, "not a file name");
        assert_eq!(name(&of("Leave", "file:///2019/leave-2024.md")), "Leave (2024)");
        assert_eq!(name(&of("Leave 2024", "file:///leave.md")), "Leave 2024");
        assert!(is_same_work("Leave policy 2024 (replaced)", "Leave Policy 2026"));
        assert!(!is_same_work("Leave in Spain 2024", "Leave in Portugal 2024"));
    }

    #[test]
    fn who_names_its_year_or_the_old_one_wants_the_past() {
        let old = of("Política de contraseñas 2024 (SUSTITUIDA)", "");
        for question in ["What did the old policy say?", "¿Qué decía la norma de 2024?", "las normas antiguas"] {
            assert!(wants_past(question, &old), "{question}");
        }
        for question in [
            "How long must a password be?",
            "vacaciones en 2026",
            "How old must I be?",
            "How many days before a trip?",
            "trips over 2000 euros",
        ] {
            assert!(!wants_past(question, &old), "{question}");
        }
    }
}
