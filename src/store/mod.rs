//! The vector store: one trait, Qdrant embedded in the process ([`edge`]) or served ([`server`]).
//!
//! Invariants: every read of chunks takes a [`Caller`] and filters inside the store, on every branch of the query.
//! Fusion of the branches happens in `retrieve`, in the same code for both stores.

use std::collections::HashMap;
use std::ops::Range;

use intramuros_ingest::access::{Acl, Caller};
use intramuros_ingest::document::{Chunk, ContentHash, Document, DocumentId, Language};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub mod bm25;
pub mod edge;
mod point;
pub mod server;

#[cfg(test)]
mod contract;

pub use bm25::SparseVector;

/// A collection of chunks with dense and sparse vectors. Calls block; use them off the async threads.
pub trait VectorStore: Send + Sync {
    /// The identity of the embedder that made the index, and how much it holds.
    fn info(&self) -> Result<StoreInfo, StoreError>;
    /// About how many chunks it holds; quick, however many those are.
    fn size(&self) -> Result<u64, StoreError>;
    /// Replaces all that is held of a document: rights first, then the new chunks, then what is left over of the old.
    fn put(&self, document: &Document, chunks: &[Chunk], vectors: &[Vec<f32>]) -> Result<(), StoreError>;
    /// Changes who may read a document's chunks; vectors stay.
    fn set_acl(&self, id: DocumentId, acl: &Acl) -> Result<(), StoreError>;
    /// Takes documents out. Unknown ones are no error.
    fn remove(&self, ids: &[DocumentId]) -> Result<(), StoreError>;
    /// Returns when everything written so far survives a crash.
    fn flush(&self) -> Result<(), StoreError>;
    /// Builds the indexes that make search fast, without blocking reads. Returns whether there was work.
    fn optimize(&self) -> Result<bool, StoreError>;
    /// Both branches of the hybrid query, each with its own scores, best first. A server gets them in one request; the
    /// embedded engine answers them one after the other.
    fn search(&self, caller: &Caller, query: &Query) -> Result<Branches, StoreError>;
    /// The chunks of a document at some positions, in order; empty where the caller may not read it.
    fn chunks(&self, caller: &Caller, id: DocumentId, positions: Range<u32>) -> Result<Vec<StoredChunk>, StoreError>;
    /// Dense vectors held of a document by the hash of the embedded text, so that sync need not make them again. No text.
    fn vectors(&self, id: DocumentId) -> Result<HashMap<ContentHash, Vec<f32>>, StoreError>;
    /// Whole points in the order of their ids, for migration and verification; only the local administrator gets any.
    fn export(&self, caller: &Caller, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError>;
    /// Takes whole points from another store's [`VectorStore::export`].
    fn import(&self, points: &[Point]) -> Result<(), StoreError>;
}

/// What is known of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreInfo {
    /// `edge` or `server`.
    pub kind: &'static str,
    /// The embedder whose vectors it holds.
    pub embedder: EmbedderIdentity,
    /// Number of chunks.
    pub chunks: u64,
    /// Made with the index and never again: tells it from every other one.
    pub index_id: Uuid,
}

/// Which embedder made the vectors of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedderIdentity {
    /// [`intramuros_models::Embedder::identity`].
    pub name: String,
    /// Length of its vectors.
    pub dimensions: usize,
}

/// A hybrid query.
#[derive(Clone, Debug)]
pub struct Query {
    /// Unit vector of the question.
    pub dense: Vec<f32>,
    /// Terms of the question, see [`bm25::query`].
    pub sparse: SparseVector,
    /// Only chunks of these documents; empty for all.
    pub documents: Vec<DocumentId>,
    /// Hits per branch.
    pub limit: usize,
}

/// The hits of both branches.
#[derive(Clone, Debug, Default)]
pub struct Branches {
    /// By cosine.
    pub dense: Vec<Scored>,
    /// By BM25.
    pub sparse: Vec<Scored>,
}

/// A chunk with one branch's score.
#[derive(Clone, Debug)]
pub struct Scored {
    /// Higher is better.
    pub score: f32,
    /// The chunk.
    pub chunk: StoredChunk,
}

/// A chunk as the store holds it: the payload of its point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredChunk {
    /// Its document.
    pub document_id: DocumentId,
    /// 0-based position in the document.
    pub position: u32,
    /// Name of the source.
    pub source: String,
    /// Title of the document.
    pub title: String,
    /// Address of the document.
    pub uri: String,
    /// Headings above it, outermost first.
    pub section: Vec<String>,
    /// 1-based page on which it begins.
    pub page: Option<u32>,
    /// First character in the document's text.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
    /// Its language.
    pub language: Option<Language>,
    /// Its readers.
    pub acl: Acl,
    /// What its vector is known by.
    pub embedding_hash: ContentHash,
    /// The passage itself.
    pub text: String,
}

impl StoredChunk {
    /// Its title, its section and its text, a line each: headings say what a passage is about.
    pub fn with_headings(&self) -> String {
        let mut text = self.title.clone();
        for part in self.section.iter().chain([&self.text]) {
            text.push('\n');
            text.push_str(part);
        }
        text
    }
}

#[cfg(test)]
impl StoredChunk {
    /// A document of one passage, for tests.
    pub fn of_text(title: &str, text: &str) -> Self {
        Self {
            document_id: DocumentId::new("test", title),
            position: 0,
            source: "test".into(),
            title: title.into(),
            uri: String::new(),
            section: Vec::new(),
            page: None,
            start: 0,
            end: text.chars().count(),
            language: None,
            acl: Acl::nobody(),
            embedding_hash: ContentHash::of(b""),
            text: text.into(),
        }
    }
}

/// A whole point.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// [`DocumentId::chunk`].
    pub id: Uuid,
    /// The payload.
    pub chunk: StoredChunk,
    /// Unit vector.
    pub dense: Vec<f32>,
    /// BM25 term weights.
    pub sparse: SparseVector,
}

/// What can go wrong with a store. Messages say what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The collection was made with another embedder.
    #[error(
        "the index was made by embedder `{index}` and the configuration names `{configured}`: set `models.embedder` or `models.precision` back, or make the index anew with `intramuros store rebuild`"
    )]
    OtherEmbedder {
        /// In the index.
        index: String,
        /// Configured.
        configured: String,
    },
    /// A vector of the wrong length.
    #[error("a vector has {actual} dimensions and the index holds vectors of {expected}")]
    Dimensions {
        /// Of the index.
        expected: usize,
        /// As given.
        actual: usize,
    },
    /// The disk cannot take more.
    #[error(
        "no room to write the index in {directory}: {free_mib} MiB are free and at least {needed_mib} MiB are needed; free some space and run the same command again, nothing acknowledged is lost"
    )]
    DiskFull {
        /// Data directory.
        directory: String,
        /// What is free.
        free_mib: u64,
        /// What is needed at least.
        needed_mib: u64,
    },
    /// The server does not answer.
    #[error("the Qdrant server at {url} cannot be used: {reason}")]
    Unreachable {
        /// As configured.
        url: String,
        /// Why.
        reason: String,
    },
    /// Anything else the engine reports.
    #[error("the vector store failed to {action}: {reason}")]
    Engine {
        /// What was tried.
        action: &'static str,
        /// What the engine said; never document text.
        reason: String,
    },
}
