//! Structure-aware splitting.

use crate::document::{Chunk, Extracted, Language};

/// The size in tokens that chunks aim at.
pub const TARGET_TOKENS: usize = 200;

/// How large chunks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSettings {
    /// Aimed at, in tokens of the chunk's own text.
    pub target_tokens: usize,
    /// Never exceeded by title, section path and text together ([`crate::sync::embedding_text`]): the model's window.
    pub max_tokens: usize,
}

/// What a text is split for and with.
pub struct Splitting<'a> {
    /// The sizes.
    pub settings: ChunkSettings,
    /// The document's title: it is embedded with each chunk and takes its room.
    pub title: &'a str,
    /// The language that short chunks are taken to be in.
    pub language: Option<Language>,
    /// Length of a text in tokens.
    pub count_tokens: &'a dyn Fn(&str) -> usize,
}

/// Splits a document into passages.
pub fn split(_extracted: &Extracted, _how: &Splitting<'_>) -> Vec<Chunk> {
    Vec::new()
}
