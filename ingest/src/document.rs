//! What flows through ingestion: a raw file, the document read from it, and its chunks.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::access::Acl;

/// The namespace of all UUIDv5 identifiers of this product (RFC 9562, section 5.5).
const NAMESPACE: Uuid = Uuid::from_u128(0x8c5e_7c1a_3f0b_5d0e_9a41_1b6f_54d2_77e3);

/// Identifies a document by where it stands: the same source and path give the same id on every machine and in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DocumentId(Uuid);

impl DocumentId {
    /// The id of the document at `path` (relative, `/` between parts) in the source of this name.
    pub fn new(source: &str, path: &str) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("{source}\n{path}").as_bytes()))
    }

    /// The id of this document's chunk at a position: the point id in the vector store.
    pub fn chunk(&self, position: u32) -> Uuid {
        Uuid::new_v5(&self.0, &position.to_be_bytes())
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DocumentId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// SHA-256 of some bytes, as 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentHash(pub String);

impl ContentHash {
    /// Hashes bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A natural language this product analyses: ISO 639-1 `en` or `es`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[serde(rename = "en")]
    English,
    /// Spanish.
    #[serde(rename = "es")]
    Spanish,
}

impl Language {
    /// The ISO 639-1 code.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Spanish => "es",
        }
    }
}

/// Something a source holds, before its bytes are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceItem {
    /// Where it stands in the source: relative, `/` between parts, unique in the source.
    pub path: String,
    /// The address a person opens, `file:///…`.
    pub uri: String,
    /// Who may read it, or why that cannot be known (then nobody may).
    pub acl: Result<Acl, String>,
    /// Size in bytes as listed.
    pub size: u64,
}

/// A file as it was fetched from its source.
#[derive(Clone, Debug)]
pub struct RawDocument {
    /// File name or path: its ending helps to tell the format.
    pub path: String,
    /// The whole content.
    pub bytes: Vec<u8>,
}

/// What a block of text is; the splitter never mixes a heading, a table or a list into something else's middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// A heading of level 1 (title) to 6.
    Heading(u8),
    /// Running text.
    Paragraph,
    /// One item of a list, nested ones included in their parent's order.
    ListItem,
    /// A whole table, one row a line, cells between `|`.
    Table,
    /// Preformatted text.
    Code,
}

/// A piece of a document's text with one role. Blocks are in reading order and do not overlap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its role.
    pub kind: BlockKind,
    /// Byte range in [`Extracted::text`], on character boundaries.
    pub range: Range<usize>,
    /// 1-based page where it begins, for paged formats.
    pub page: Option<u32>,
}

/// What a format reader makes of a file: plain text without markup, and the structure over it.
///
/// The text is what quotes and offsets refer to: it is stored as it is and never changed afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extracted {
    /// The title the document gives itself, if any.
    pub title: Option<String>,
    /// The whole text: blocks separated by a blank line (list items and lines of one table by one line end).
    pub text: String,
    /// The structure. White space between blocks belongs to none.
    pub blocks: Vec<Block>,
    /// For paged formats: byte offset in `text` where each page begins, first page first.
    pub page_starts: Vec<usize>,
    /// What the reader had to leave out or repair, in words for the administrator; never document text.
    pub warnings: Vec<String>,
}

impl Extracted {
    /// The 1-based page that holds a byte offset; `None` where the format has no pages.
    pub fn page_at(&self, offset: usize) -> Option<u32> {
        let pages_begun = self.page_starts.partition_point(|&start| start <= offset);
        (!self.page_starts.is_empty()).then(|| pages_begun.max(1) as u32)
    }
}

/// A document ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its id.
    pub id: DocumentId,
    /// Name of the source it came from.
    pub source: String,
    /// Where it stands in the source.
    pub path: String,
    /// The address a person opens.
    pub uri: String,
    /// Its own title, else its first heading, else its file name.
    pub title: String,
    /// The language of most of its text, where that is clear.
    pub language: Option<Language>,
    /// SHA-256 of the file's bytes.
    pub content_hash: ContentHash,
    /// Who may read it.
    pub acl: Acl,
    /// The extracted text, see [`Extracted::text`].
    pub text: String,
    /// For paged formats: the first character of each page in `text`, counted in Unicode scalar values.
    pub page_starts: Vec<usize>,
}

/// A passage: a byte-exact slice of its document's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// 0-based position in the document.
    pub position: u32,
    /// The slice itself, `document.text[start..end]` counted in characters.
    pub text: String,
    /// First character of the slice in the document's text, counted in Unicode scalar values.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
    /// The headings above it, outermost first.
    pub section: Vec<String>,
    /// 1-based page on which it begins.
    pub page: Option<u32>,
    /// The language of its own text, else its document's.
    pub language: Option<Language>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_distinct() {
        let id = DocumentId::new("hr", "a/b.md");
        assert_eq!(id, DocumentId::new("hr", "a/b.md"));
        assert_ne!(id, DocumentId::new("hr/a", "b.md"));
        assert_ne!(id.chunk(0), id.chunk(1));
        assert_eq!(id.to_string().parse::<DocumentId>().unwrap(), id);
    }

    #[test]
    fn pages_are_found_by_offset() {
        let extracted = Extracted { text: "aaaabbbb".into(), page_starts: vec![0, 4], ..Extracted::default() };
        assert_eq!([0, 3, 4, 7].map(|at| extracted.page_at(at)), [Some(1), Some(1), Some(2), Some(2)]);
        assert_eq!(Extracted::default().page_at(0), None);
    }
}
