//! Citations: a sentence, the passage that supports it, and the place in the document where that stands.

use std::ops::Range;

use intramuros_ingest::document::DocumentId;
use intramuros_ingest::escape;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::StoredChunk;

/// A checkable reference of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Citation {
    /// The number in the answer, `[n]`.
    pub n: usize,
    /// The document.
    #[schema(value_type = uuid::Uuid)]
    pub document_id: DocumentId,
    /// Its title.
    pub title: String,
    /// A link to the document at this place.
    pub uri: String,
    /// 1-based page, for paged formats.
    pub page: Option<u32>,
    /// First character of the quote in the document's text.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
    /// The stored text from `start` to `end`, byte for byte.
    pub quote: String,
}

/// Cites a byte range of a chunk's text. `page_at` tells the page of a character offset in the document.
pub fn citation(
    n: usize,
    chunk: &StoredChunk,
    range: Range<usize>,
    page_at: &dyn Fn(&StoredChunk, usize) -> Option<u32>,
) -> Citation {
    let range = trimmed(&chunk.text, range);
    let quote = &chunk.text[range.clone()];
    let start = chunk.start + chunk.text[..range.start].chars().count();
    let page = page_at(chunk, start);
    Citation {
        n,
        document_id: chunk.document_id,
        title: chunk.title.clone(),
        uri: link(&chunk.uri, page, quote),
        page,
        start,
        end: start + quote.chars().count(),
        quote: quote.to_owned(),
    }
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let slice = &text[range.clone()];
    let start = range.start + (slice.len() - slice.trim_start().len());
    let end = range.end - (slice.len() - slice.trim_end().len());
    start..end.max(start)
}

/// Opens a document at its page (PDF open parameters, ISO 32000-2 annex O) or, without pages, at its words
/// (text fragments, <https://wicg.github.io/scroll-to-text-fragment/>).
fn link(uri: &str, page: Option<u32>, quote: &str) -> String {
    if let Some(page) = page {
        return format!("{uri}#page={page}");
    }
    let words: Vec<&str> = quote.split_whitespace().collect();
    match words.len() {
        0 => uri.to_owned(),
        1..=8 => format!("{uri}#:~:text={}", fragment(&words.join(" "))),
        // Start and end are enough for a browser to find a long quote, whatever its line breaks.
        many => format!("{uri}#:~:text={},{}", fragment(&words[..4].join(" ")), fragment(&words[many - 4..].join(" "))),
    }
}

/// Percent-encodes words for a text fragment, `-` too, which means something there.
fn fragment(text: &str) -> String {
    escape::percent(text.as_bytes(), b"._~")
}

#[cfg(test)]
mod tests {
    use intramuros_ingest::access::Acl;
    use intramuros_ingest::document::ContentHash;

    use super::*;

    #[test]
    fn offsets_count_characters_and_the_quote_is_exact() {
        let chunk = StoredChunk {
            document_id: DocumentId::new("test", "a.md"),
            position: 0,
            source: "test".into(),
            title: "Nóminas".into(),
            uri: "file:///a.md".into(),
            section: Vec::new(),
            page: None,
            start: 100,
            end: 130,
            language: None,
            acl: Acl::nobody(),
            embedding_hash: ContentHash::of(b""),
            text: "Sí. Se pagó el día 5. ".into(),
        };
        let from = chunk.text.find("Se").unwrap();
        let citation = citation(1, &chunk, from..chunk.text.len(), &|_, _| None);
        assert_eq!((citation.start, citation.end), (104, 121));
        assert_eq!(citation.quote, "Se pagó el día 5.");
        assert_eq!(citation.uri, "file:///a.md#:~:text=Se%20pag%C3%B3%20el%20d%C3%ADa%205.");
        assert_eq!(link("file:///b.pdf", Some(3), "x"), "file:///b.pdf#page=3");
    }
}
