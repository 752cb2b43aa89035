//! One pass over a source: finds what is new, changed, moved, gone, unchanged or broken, and brings the index in step.
//!
//! [`run`] is the pass. What it needs of the rest of the product stands here as ports: a model that makes vectors
//! ([`Embed`]), the index with its ledger ([`ChunkSink`]) and the readers of formats ([`Readers`]). Invariants: one bad
//! file never stops a pass; a second pass over the same files writes nothing; after a crash at any moment the next
//! pass brings the index to where an undisturbed one would have; nothing is taken for deleted unless the place where
//! it stood could be listed; rights are narrowed before anything else happens.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::access::Acl;
use crate::document::{Chunk, ContentHash, Document, DocumentId, Extracted, Language, RawDocument};
use crate::format::FormatError;
use crate::source::SourceError;

mod compare;
mod gone;
mod group;
mod pass;
mod prepare;
mod queue;
mod report;
mod windows;

pub use pass::run;
pub use report::{Listed, Status, SyncReport};

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
    /// A text as the model reads it best: one of a language that it does not know may be told in another one.
    fn readable<'t>(&self, text: &'t str, _language: Option<Language>) -> Cow<'t, str> {
        Cow::Borrowed(text)
    }
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
    /// It could not be understood; nothing of it is in the index.
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
    /// Vectors already in the index for a document, by their [`embedding_hash`].
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

/// Why a format reader gave no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// No reader knows this kind of file: it is listed as skipped.
    #[error("{0}")]
    UnknownFormat(String),
    /// The file is damaged, encrypted, empty or too much for its reader: it is listed as failed.
    #[error("{0}")]
    Unreadable(String),
    /// The reader came to no end, which need not be the file's fault: it is listed as failed and tried again each time,
    /// and what is indexed of the file stays.
    #[error("{0}")]
    Stopped(String),
}

impl From<FormatError> for ExtractError {
    fn from(error: FormatError) -> Self {
        let reason = error.to_string();
        match error {
            FormatError::Unsupported { .. } => Self::UnknownFormat(reason),
            // The machine may have been busy, or low on memory.
            FormatError::Crashed { .. } | FormatError::TooSlow { .. } | FormatError::TooHungry { .. } => {
                Self::Stopped(reason)
            }
            _ => Self::Unreadable(reason),
        }
    }
}

/// Turns one file into text with structure. Each thread of a pass has its own.
pub type Extract = dyn FnMut(&RawDocument) -> Result<Extracted, ExtractError> + Send;

/// The readers of document formats.
pub struct Readers<'a> {
    /// Names and versions of all readers; a change means that every document is read anew.
    pub fingerprint: String,
    /// Makes the reader of one thread.
    pub open: &'a (dyn Fn() -> Box<Extract> + Sync),
}

/// What a pass works with.
pub struct Ports<'a> {
    /// Makes the vectors.
    pub embed: &'a dyn Embed,
    /// Holds the index and the ledger.
    pub sink: &'a mut dyn ChunkSink,
    /// Read the files.
    pub readers: Readers<'a>,
}

/// Settings of a pass.
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// Threads that read and split files.
    pub workers: usize,
    /// Bytes of files and texts that may be in memory at a time, one document of any size always being let in.
    pub memory_bytes: u64,
    /// Texts that go to the embedder at a time.
    pub embed_batch: usize,
    /// A commit comes after this many documents.
    pub commit_documents: usize,
    /// A commit comes after documents with this many bytes of text, which the index may hold in memory until then.
    pub commit_bytes: u64,
    /// A commit comes after this time.
    pub commit_every: Duration,
    /// Size in tokens that chunks aim at; the embedder's window limits it.
    pub target_tokens: usize,
    /// Whether a source that lists no file at all may empty its index.
    pub allow_empty: bool,
    /// Set from outside (Ctrl-C), makes the pass finish its batch, commit and return.
    pub cancel: Option<Arc<AtomicBool>>,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            workers: 2,
            memory_bytes: 256 << 20,
            embed_batch: 32,
            commit_documents: 200,
            commit_bytes: 32 << 20,
            commit_every: Duration::from_secs(20),
            target_tokens: crate::chunk::TARGET_TOKENS,
            allow_empty: false,
            cancel: None,
        }
    }
}

/// What a pass tells while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncEvent<'a> {
    /// The source has been listed; comes once, first.
    Listed {
        /// Files to go through.
        documents: u64,
        /// Their sizes together.
        bytes: u64,
    },
    /// A batch of texts has gone through the model.
    Embedded {
        /// Number of texts.
        texts: u64,
    },
    /// A listed file is through; comes once for each, and for nothing else.
    Done {
        /// Where it stands.
        path: &'a str,
        /// What became of it.
        status: Status,
        /// Its size as listed.
        bytes: u64,
    },
}

/// Why a pass stopped before its end. Everything committed until then is kept, and the next pass goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The source cannot be listed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source is empty, which more often is a disk that is not mounted than a wish.
    #[error(
        "source `{name}` lists no file and {indexed} documents of it are in the index: nothing was deleted; check that the folder is there, or pass `--allow-empty` to empty the index of it"
    )]
    Emptied {
        /// Name of the source.
        name: String,
        /// Rows of the ledger that would go.
        indexed: usize,
    },
    /// The embedder failed.
    #[error("cannot embed passages: {0}; what was committed is kept, run the same command again")]
    Embed(#[source] BoxError),
    /// The index or the ledger failed.
    #[error("{0}")]
    Sink(#[source] BoxError),
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
    let mut text = embedding_prefix(title, &chunk.section);
    text.push_str(&chunk.text);
    text
}

/// What a chunk's vector is known by: what [`embedding_text`] says, and the language in which a model reads it.
pub fn embedding_hash(title: &str, chunk: &Chunk) -> ContentHash {
    let language = chunk.language.map_or("", Language::code);
    ContentHash::of(format!("{language}\n{}", embedding_text(title, chunk)).as_bytes())
}

/// What stands before the chunk's own text in [`embedding_text`].
pub fn embedding_prefix(title: &str, section: &[String]) -> String {
    let mut prefix = title.to_owned();
    for heading in section.iter().filter(|heading| heading.as_str() != title) {
        prefix.push_str(" > ");
        prefix.push_str(heading);
    }
    prefix.push('\n');
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_over_its_limits_is_tried_again_and_the_setting_is_named() {
        for (error, setting) in [
            (FormatError::TooSlow { seconds: 60 }, "`ingest.timeout_s`"),
            (FormatError::TooHungry { mebibytes: 2048 }, "`ingest.memory_mib`"),
            (FormatError::Crashed { how: "signal 9".to_owned() }, "signal 9"),
        ] {
            let error = ExtractError::from(error);
            assert!(matches!(error, ExtractError::Stopped(_)), "{error:?}");
            assert!(error.to_string().contains(setting), "{error}");
        }
        assert!(matches!(FormatError::Empty.into(), ExtractError::Unreadable(_)));
    }
}
