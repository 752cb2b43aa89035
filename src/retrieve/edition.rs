//! Which edition of a document a passage is from, as far as its name tells: its year, and whether it was replaced.
//!
//! A policy of 2024 that was replaced in 2026 says what no longer holds in nearly the same words. Who asks without naming a
//! year wants what holds.

use crate::store::{StoredChunk, bm25};

/// What titles say of a document that no longer holds, folded.
const REPLACED: &[&str] = &[
    "anulada",
    "anulado",
    "archived",
    "caducada",
    "caducado",
    "derogada",
    "derogado",
    "expired",
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
/// Words of who asks for what held before, folded.
const PAST: &[&str] = &[
    "antigua",
    "antiguas",
    "antiguo",
    "antiguos",
    "anterior",
    "anteriores",
    "before",
    "earlier",
    "former",
    "formerly",
    "old",
    "older",
    "previous",
    "previously",
];

/// Whether a title says that its document was replaced.
pub fn is_replaced(title: &str) -> bool {
    words(title).any(|word| REPLACED.contains(&word.as_str()))
}

/// Whether a question wants what held before: it says so, or names a year.
pub fn wants_past(question: &str) -> bool {
    words(question)
        .any(|word| PAST.contains(&word.as_str()) || REPLACED.contains(&word.as_str()) || year_of(&word).is_some())
}

/// The year that a document's title names, else the name of its file; the latest where there are several.
pub fn year(chunk: &StoredChunk) -> Option<u16> {
    let file = chunk.uri.rsplit('/').next().unwrap_or_default();
    let latest = |text: &str| words(text).filter_map(|word| year_of(&word)).max();
    latest(&chunk.title).or_else(|| latest(file))
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

    #[test]
    fn titles_and_file_names_tell_the_edition() {
        assert!(is_replaced("Política de contraseñas 2024 (SUSTITUIDA)") && !is_replaced("Password Policy 2026"));
        let of = |title: &str, uri: &str| StoredChunk { uri: uri.into(), ..StoredChunk::of_text(title, "") };
        assert_eq!(year(&of("Leave 2024, 2026 edition", "file:///leave-2020.md")), Some(2026));
        assert_eq!(year(&of("Leave", "file:///2019/leave-2024.md")), Some(2024));
        assert_eq!(year(&of("Form 12345", "file:///form.md")), None);
        assert_eq!(name(&of("Leave", "file:///2019/leave-2024.md")), "Leave (2024)");
        assert_eq!(name(&of("Leave 2024", "file:///leave.md")), "Leave 2024");
    }

    #[test]
    fn who_names_a_year_or_the_old_one_wants_the_past() {
        for question in ["What did the old policy say?", "¿Qué decía la norma de 2024?", "the superseded rules"] {
            assert!(wants_past(question), "{question}");
        }
        assert!(!wants_past("How long must a password be?"));
    }
}
