//! One pass over a source: finds what is new, changed, moved, gone, unchanged or broken, and brings the index in step.

use std::collections::HashMap;

use crate::access::Acl;
use crate::document::{Chunk, ContentHash, Document, DocumentId};

/// Any failure of a port; the pass only shows it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What sync needs of an embedding model.
pub trait Embed: Sync {
    /// Name and fingerprint; a change means every vector is made anew.
    fn identity(&self) -> &str;
    /// The largest number of tokens of one text that the model sees, special tokens not counted.
    fn max_tokens(&self) -> usize;
    /// Length of a text in the model's tokens, special tokens not counted.
    fn count_tokens(&self, text: &str) -> usize;
    /// One vector per text, in their order.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, BoxError>;
}

/// Where a document stands in the ledger of what has been indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownState {
    /// Its chunks are in the index and flushed.
    Indexed,
    /// A write began and was not acknowledged: what the index holds of it is unknown.
    Pending,
    /// It could not be read; nothing of it is in the index unless `kept` is set.
    Failed {
        /// Why, for the administrator.
        reason: String,
    },
}

/// One row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub id: DocumentId,
    /// Where it stands in the source.
    pub path: String,
    /// Hash of the bytes it was made from.
    pub content_hash: ContentHash,
    /// Its readers as stored.
    pub acl: Acl,
    /// What made its chunks: versions of readers and splitter, settings and the embedder.
    pub pipeline: String,
    /// How far it got.
    pub state: KnownState,
}

/// The index and its ledger, as sync writes them.
///
/// The order of calls makes a crash harmless: `begin` before the first change of a document, then changes, then
/// `commit`, which returns only when everything is on disk. What was begun and not committed is found
/// [`KnownState::Pending`] by the next pass and done again.
pub trait ChunkSink {
    /// All rows of one source.
    fn known(&mut self, source: &str) -> Result<Vec<Known>, BoxError>;
    /// Vectors already in the index for a document, keyed by the hash of the text they were made from ([`embedding_text`]).
    fn vectors(&mut self, id: DocumentId) -> Result<HashMap<ContentHash, Vec<f32>>, BoxError>;
    /// Marks documents as being written. Returns when that is durable.
    fn begin(&mut self, documents: &[Known], source: &str) -> Result<(), BoxError>;
    /// Replaces all that the index holds of a document. Rights are narrowed before anything else.
    fn put(&mut self, document: &Document, chunks: &[Chunk], vectors: &[Vec<f32>]) -> Result<(), BoxError>;
    /// Changes who may read a document without touching its vectors.
    fn set_acl(&mut self, id: DocumentId, acl: &Acl) -> Result<(), BoxError>;
    /// Takes a document out of the index; `commit` drops its row.
    fn remove(&mut self, id: DocumentId) -> Result<(), BoxError>;
    /// Flushes the index, then settles the rows of all documents begun since the last commit.
    fn commit(&mut self, settled: &[Settled]) -> Result<(), BoxError>;
}

/// How a document's row ends up at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The row as it now is.
    Row(Known),
    /// The document is gone.
    Gone(DocumentId),
}

/// The text that is embedded for a chunk: its document's title and section path, then the chunk itself.
pub fn embedding_text(title: &str, chunk: &Chunk) -> String {
    let mut text = String::with_capacity(title.len() + chunk.text.len() + 64);
    text.push_str(title);
    for heading in chunk.section.iter().filter(|heading| heading.as_str() != title) {
        text.push_str(" > ");
        text.push_str(heading);
    }
    text.push('\n');
    text.push_str(&chunk.text);
    text
}
