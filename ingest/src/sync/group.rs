//! A group of documents that go through the model together and are then written.

use std::collections::HashMap;

use super::windows::{mean, windows};
use super::{
    BoxError, ChunkSink, Embed, Known, KnownState, Settled, Status, SyncError, embedding_hash, embedding_text,
};
use crate::document::{Chunk, ContentHash, Document};

/// One change to the index, decided and not yet begun.
pub(super) enum Write {
    /// A document with its chunks.
    Put(Box<Put>),
    /// A document that cannot be understood now.
    Fail {
        /// Its row as it will be.
        row: Known,
        /// Whether the index may hold something of it.
        held: bool,
        reason: String,
    },
    /// A document that is no longer one.
    Drop {
        /// Its row as it was.
        row: Known,
        reason: String,
    },
}

/// The model, and how a group's texts go to it.
pub(super) struct Model<'a> {
    pub embed: &'a dyn Embed,
    /// Texts at a time.
    pub batch: usize,
    /// How the pipeline of rows begins whose vectors are of the same model.
    pub reusable: &'a str,
}

/// A document with its chunks.
pub(super) struct Put {
    pub document: Document,
    pub chunks: Vec<Chunk>,
    pub warnings: Vec<String>,
    /// Its row as it will be.
    pub row: Known,
    /// Its row as it was.
    pub before: Option<Known>,
    /// The row of the place where the same content stood before.
    pub moved_from: Option<Known>,
    pub status: Status,
}

/// A write, and which file of the listing it is about.
pub(super) struct Member {
    pub item: usize,
    pub write: Write,
}

/// The vectors of one group: for each document, one for each chunk.
pub(super) struct Vectors {
    pub of_documents: Vec<Vec<Vec<f32>>>,
    pub embedded: u64,
    pub reused: u64,
}

/// Makes the vectors of a group's chunks, re-using those that the index holds of the same texts from the same model.
/// `go_on` is asked after each batch with its size; once it says no, the answer is `None`.
pub(super) fn vectors(
    members: &[Member],
    sink: &mut dyn ChunkSink,
    model: &Model<'_>,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<Option<Vectors>, SyncError> {
    let mut texts: Vec<String> = Vec::new();
    let mut places: Vec<(usize, usize)> = Vec::new();
    let mut of_documents = Vec::new();
    let mut reused = 0;
    for member in members {
        let Write::Put(put) = &member.write else { continue };
        let mut held: HashMap<ContentHash, Vec<f32>> = HashMap::new();
        let former = [&put.before, &put.moved_from].into_iter().flatten();
        for row in former.filter(|row| row.pipeline.starts_with(model.reusable)) {
            held.extend(sink.vectors(row.id).map_err(SyncError::Sink)?);
        }
        let mut own = Vec::with_capacity(put.chunks.len());
        for (i, chunk) in put.chunks.iter().enumerate() {
            match held.get(&embedding_hash(&put.document.title, chunk)).cloned() {
                Some(vector) => {
                    reused += 1;
                    own.push(vector);
                }
                None => {
                    places.push((of_documents.len(), i));
                    let text = embedding_text(&put.document.title, chunk);
                    texts.push(model.embed.readable(&text, chunk.language).into_owned());
                    own.push(Vec::new());
                }
            }
        }
        of_documents.push(own);
    }
    for (batch, places) in texts.chunks(model.batch.max(1)).zip(places.chunks(model.batch.max(1))) {
        let windows: Vec<Vec<String>> = batch.iter().map(|text| windows(text, model.embed)).collect();
        let all: Vec<&str> = windows.iter().flatten().map(String::as_str).collect();
        let made = model.embed.embed(&all).map_err(SyncError::Embed)?;
        if made.len() != all.len() {
            let reason = format!("the embedder made {} vectors of {} texts", made.len(), all.len());
            return Err(SyncError::Embed(reason.into()));
        }
        let mut made = made.into_iter();
        for (windows, &(document, chunk)) in windows.iter().zip(places) {
            of_documents[document][chunk] = mean(made.by_ref().take(windows.len()));
        }
        if !go_on(batch.len() as u64) {
            return Ok(None);
        }
    }
    Ok(Some(Vectors { of_documents, embedded: texts.len() as u64, reused }))
}

impl Member {
    /// The rows to mark as being written before anything of this is.
    pub fn rows_to_begin(&self, reusable: &str) -> Vec<Known> {
        match &self.write {
            Write::Put(put) => {
                let mut row = pending(&put.row);
                // Until it is committed the index may hold vectors of the model before.
                if put.before.as_ref().is_some_and(|before| !before.pipeline.starts_with(reusable)) {
                    row.pipeline.clear();
                }
                std::iter::once(row).chain(put.moved_from.as_ref().map(pending)).collect()
            }
            Write::Fail { row, .. } | Write::Drop { row, .. } => vec![pending(row)],
        }
    }

    /// Writes this to the index and says how its rows will settle.
    pub fn write(&self, sink: &mut dyn ChunkSink, vectors: &[Vec<f32>]) -> Result<Vec<Settled>, SyncError> {
        let sunk = |result: Result<(), BoxError>| result.map_err(SyncError::Sink);
        match &self.write {
            Write::Put(put) => {
                sunk(sink.put(&put.document, &put.chunks, vectors))?;
                let mut settled = vec![Settled::Row(put.row.clone())];
                if let Some(from) = &put.moved_from {
                    sunk(sink.remove(from.id))?;
                    settled.push(Settled::Gone(from.id));
                }
                Ok(settled)
            }
            Write::Fail { row, held, .. } => {
                if *held {
                    sunk(sink.remove(row.id))?;
                }
                Ok(vec![Settled::Row(row.clone())])
            }
            Write::Drop { row, .. } => {
                sunk(sink.remove(row.id))?;
                Ok(vec![Settled::Gone(row.id)])
            }
        }
    }
}

/// A row while its document is being written.
pub(super) fn pending(row: &Known) -> Known {
    Known { state: KnownState::Pending, ..row.clone() }
}
