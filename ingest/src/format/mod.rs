//! Format readers: from the bytes of a file to plain text with its structure.
//!
//! A reader is one file and one row of [`READERS`]. What all of them share: [`builder`] puts blocks together and cleans
//! their text, [`decode`] finds the character encoding. A reader never panics on bad input; where a library under it
//! does, [`extract`] catches that. Against hangs, stack overflows and memory blow-ups stands [`crate::worker`].

mod builder;
mod clean;
mod decode;
mod docx;
mod error;
mod html;
mod markdown;
mod pdf;
mod text;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use error::FormatError;

use crate::document::{Extracted, RawDocument};

/// One document format.
struct Reader {
    /// Its name in messages.
    name: &'static str,
    /// File name endings in lower case, without the dot.
    endings: &'static [&'static str],
    /// Whether its files are text, in which no binary content may stand.
    textual: bool,
    /// Raised whenever the same bytes may give another text or other blocks: documents are then read anew.
    version: u32,
    /// Reads the bytes of one file.
    read: fn(&[u8]) -> Result<Extracted, FormatError>,
}

/// All formats this product reads.
static READERS: [Reader; 5] = [
    Reader {
        name: "Markdown",
        endings: &["md", "markdown", "mdown"],
        textual: true,
        version: markdown::VERSION,
        read: markdown::read,
    },
    Reader { name: "text", endings: &["txt", "text"], textual: true, version: text::VERSION, read: text::read },
    Reader {
        name: "HTML",
        endings: &["html", "htm", "xhtml"],
        textual: true,
        version: html::VERSION,
        read: html::read,
    },
    Reader { name: "PDF", endings: &["pdf"], textual: false, version: pdf::VERSION, read: pdf::read },
    Reader { name: "DOCX", endings: &["docx", "docm"], textual: false, version: docx::VERSION, read: docx::read },
];

/// The file name endings that have a reader, in lower case and without the dot.
pub fn known_endings() -> Vec<&'static str> {
    READERS.iter().flat_map(|reader| reader.endings.iter().copied()).collect()
}

/// Names all readers with their versions: part of the identity of the pipeline that made a chunk.
pub fn fingerprint() -> String {
    let versions: Vec<_> = READERS.iter().map(|reader| format!("{}{}", reader.endings[0], reader.version)).collect();
    format!("b{}-{}", builder::VERSION, versions.join("-"))
}

/// Why no reader will take a file of this name, whatever is in it; `None` where the content decides.
pub fn refused_by_name(path: &str) -> Option<FormatError> {
    let ending = ending(path);
    let known = ending.is_empty() || READERS.iter().any(|reader| reader.endings.contains(&ending.as_str()));
    (!known).then(|| unsupported(ending))
}

fn unsupported(ending: String) -> FormatError {
    FormatError::Unsupported { ending, known: known_endings().join(", ") }
}

/// Reads a file: the ending of its path names the format, its first bytes confirm it.
///
/// A file whose content is plainly that of another known format is read as what it is, with a warning.
pub fn extract(raw: &RawDocument) -> Result<Extracted, FormatError> {
    if let Some(refused) = refused_by_name(&raw.path) {
        return Err(refused);
    }
    let ending = ending(&raw.path);
    let named = READERS.iter().find(|reader| reader.endings.contains(&ending.as_str()));
    if raw.bytes.is_empty() {
        return Err(FormatError::Empty);
    }
    let found = recognise(&raw.bytes);
    let Some(named) = named else {
        return match found {
            Some(Content::Known(reader)) => guarded(reader, &raw.bytes),
            _ => Err(unsupported(ending)),
        };
    };
    match found {
        Some(Content::Known(actual)) if actual.name != named.name => {
            let mut extracted = guarded(actual, &raw.bytes)?;
            extracted.warnings.push(format!("the file is named .{ending} and is read as {}, which it is", actual.name));
            Ok(extracted)
        }
        // Two letters are enough for some signatures: only bytes that no text has make it binary.
        Some(Content::Foreign(found)) if named.textual && raw.bytes.contains(&0) => {
            Err(FormatError::Damaged { format: named.name.to_owned(), reason: format!("its content is {found}") })
        }
        _ => guarded(named, &raw.bytes),
    }
}

/// What the first bytes of a file say about it.
enum Content {
    /// One of our formats.
    Known(&'static Reader),
    /// Some binary format that is not ours, by its MIME type.
    Foreign(&'static str),
}

/// Tells a format from the content alone, for those that can be told.
fn recognise(bytes: &[u8]) -> Option<Content> {
    let found = infer::get(bytes)?;
    let reader = READERS.iter().find(|reader| !reader.textual && reader.endings.contains(&found.extension()));
    match found.matcher_type() {
        _ if reader.is_some() => reader.map(Content::Known),
        infer::MatcherType::Text => None,
        _ => Some(Content::Foreign(found.mime_type())),
    }
}

/// The ending of a path in lower case; empty where there is none.
fn ending(path: &str) -> String {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => ending.to_lowercase(),
        _ => String::new(),
    }
}

/// Runs a reader and turns a panic of a library under it into an error.
fn guarded(reader: &Reader, bytes: &[u8]) -> Result<Extracted, FormatError> {
    catch_unwind(AssertUnwindSafe(|| (reader.read)(bytes))).unwrap_or_else(|_| {
        Err(FormatError::Damaged {
            format: reader.name.to_owned(),
            reason: "its structure contradicts itself".to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(path: &str, bytes: &[u8]) -> RawDocument {
        RawDocument { path: path.to_owned(), bytes: bytes.to_vec() }
    }

    #[test]
    fn unknown_endings_name_the_known_ones() {
        let error = extract(&raw("a/b.xyz", b"hello")).unwrap_err().to_string();
        assert!(error.contains(".xyz") && error.contains("docx"), "{error}");
        assert!(matches!(extract(&raw(".hidden", b"hello")), Err(FormatError::Unsupported { .. })));
        assert!(matches!(extract(&raw("a.md", b"")), Err(FormatError::Empty)));
        assert_eq!(refused_by_name("a/b.xyz"), extract(&raw("a/b.xyz", b"%PDF-1.7")).err());
        assert_eq!(["a.MD", "a/b.pdf", "README", ".hidden"].map(refused_by_name), [const { None }; 4]);
    }

    #[test]
    fn binary_content_under_a_text_name_is_refused() {
        let error = extract(&raw("a.txt", b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR")).unwrap_err().to_string();
        assert!(error.contains("image/png"), "{error}");
    }

    #[test]
    fn text_that_begins_like_a_picture_or_program_is_text() {
        for start in ["BMW lease agreement", "MZ is short for Mainz"] {
            assert_eq!(extract(&raw("a.txt", start.as_bytes())).unwrap().text, start);
        }
    }

    #[test]
    fn each_ending_has_one_reader() {
        let mut endings = known_endings();
        endings.sort_unstable();
        let count = endings.len();
        endings.dedup();
        assert_eq!(endings.len(), count);
        assert!(fingerprint().contains("pdf"));
    }
}
