//! Qdrant embedded in the process: the crate `qdrant-edge` on a directory of its own.
//!
//! What the engine does and does not promise, and what follows from it here:
//!
//! - It keeps a write-ahead log and never replays it: what was not flushed may be gone after a crash. So a write counts
//!   only once [`VectorStore::flush`] has returned, and sync's ledger does everything else again.
//! - While it optimises, deletions in the segments being rebuilt live in memory only. So a flush waits for a running
//!   optimisation: nothing is acknowledged that rests on such a deletion. Reads and writes do not wait.
//! - It panics where a flush fails, and dies where a memory map meets a full disk. So the free space is measured before
//!   every write ([`disk`]) and panics are caught; after a panic in a write the store only reads until it is opened anew.
//! - Its directory has one owner; who opens this store holds the lock of the data directory.

use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io, thread};

use intramuros_ingest::access::{Acl, Caller};
use intramuros_ingest::document::{Chunk, ContentHash, Document, DocumentId};
use qdrant_edge::{
    EdgeConfig, EdgeShard, EdgeSparseVectorParams, EdgeVectorParams, Filter, OperationError, Payload, PayloadOps,
    PointId, PointInsertOperations, PointOperations, Record, ScrollRequest, SearchRequest, SetPayloadOp,
    UpdateOperation, VectorInternal, WalOptions, WithPayloadInterface, WithVector,
};
use uuid::Uuid;

use super::point::{BATCH, DENSE, INDEXED_FIELDS, SPARSE, check_dimensions, narrowed, points_of};
use super::{Branches, EmbedderIdentity, Point, Query, Scored, StoreError, StoreInfo, StoredChunk, VectorStore};

mod convert;
#[cfg(test)]
mod crash;
mod disk;
mod identity;

use convert::{all_of, any_keyword, json_path, position_range, record_chunk, record_point, search_request};

/// Where the engine builds new segments; what a crash leaves there is of no use.
const TEMPORARY_SEGMENTS: &str = "temp_segments";
const LOG: &str = "wal";
/// Size of one file of the log. Small, because closed ones are all that can be freed.
const LOG_FILE_BYTES: usize = 8 * 1024 * 1024;
/// Points read at once.
const PAGE: usize = 1024;
/// Documents named in one filter.
const DOCUMENTS_IN_A_FILTER: usize = 1024;

/// The embedded store.
pub struct EdgeStore {
    directory: PathBuf,
    embedder: EmbedderIdentity,
    id: Uuid,
    /// `None` only while the store is dropped.
    shard: Option<EdgeShard>,
    /// Held by every write and by the flush, which the engine does not allow to meet.
    writing: Mutex<()>,
    /// Held by an optimisation from its first step to the end of its flush, and by every other flush.
    maintaining: Mutex<()>,
    /// Set by a panic inside a write: what is in memory may be inconsistent.
    broken: AtomicBool,
}

impl EdgeStore {
    /// Opens the index in a directory, or makes it. After a crash at any moment this finds what was flushed.
    ///
    /// # Errors
    /// Where the index was made with another embedder, the disk is full, or the index is damaged.
    pub fn open(directory: &Path, embedder: &EmbedderIdentity) -> Result<Self, StoreError> {
        fs::create_dir_all(directory).map_err(|error| engine("create the index directory", &error))?;
        disk::check_free(directory, disk::OPEN_RESERVE)?;
        let id = identity::claim(directory, embedder)?;
        match fs::remove_dir_all(directory.join(TEMPORARY_SEGMENTS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(engine("remove an unfinished optimisation", &error));
            }
            _ => {}
        }
        let shard = catch_unwind(|| EdgeShard::load(directory, Some(configuration(embedder))))
            .map_err(|_| engine("open the index", &"the engine stopped; see its message above"))?
            .map_err(|error| engine("open the index", &error))?;
        let store = Self {
            directory: directory.to_owned(),
            embedder: embedder.clone(),
            id,
            shard: Some(shard),
            writing: Mutex::new(()),
            maintaining: Mutex::new(()),
            broken: AtomicBool::new(false),
        };
        for (field, index) in INDEXED_FIELDS {
            let operation = convert::create_index(field, index);
            store.apply("index a payload field", disk::OPEN_RESERVE, operation)?;
        }
        Ok(store)
    }

    fn shard(&self) -> &EdgeShard {
        self.shard.as_ref().expect("the shard is there until the store is dropped")
    }

    /// Applies an operation that writes about `bytes` bytes.
    fn write(&self, action: &'static str, bytes: usize, operation: UpdateOperation) -> Result<(), StoreError> {
        self.apply(action, disk::WRITE_RESERVE + disk::COPIES_OF_A_RECORD * bytes as u64, operation)
    }

    /// Applies an operation if so many bytes are free on the disk.
    fn apply(&self, action: &'static str, needed: u64, operation: UpdateOperation) -> Result<(), StoreError> {
        let _writing = lock(&self.writing);
        if self.broken.load(Ordering::Relaxed) {
            return Err(engine(action, &"an earlier write failed half-way: start the program again"));
        }
        disk::check_free(&self.directory, needed)?;
        match catch_unwind(AssertUnwindSafe(|| self.shard().update(operation))) {
            Ok(result) => result.map_err(|error| self.failed(action, &error)),
            Err(_) => {
                self.broken.store(true, Ordering::Relaxed);
                Err(self.failed(action, &"the engine stopped; see its message above"))
            }
        }
    }

    /// Tells a failure for want of space from all others.
    fn failed(&self, action: &'static str, reason: &dyn std::fmt::Display) -> StoreError {
        match disk::check_free(&self.directory, disk::OPEN_RESERVE) {
            Err(full @ StoreError::DiskFull { .. }) => full,
            _ => engine(action, reason),
        }
    }

    fn upsert(&self, points: &[Point]) -> Result<(), StoreError> {
        for batch in points.chunks(BATCH) {
            let bytes: usize = batch.iter().map(convert::written_size).sum();
            let mut records = Vec::with_capacity(batch.len());
            for point in batch {
                records.push(convert::to_engine(point, &self.embedder)?);
            }
            let points = PointOperations::UpsertPoints(PointInsertOperations::PointsList(records));
            self.write("write chunks", bytes, UpdateOperation::PointOperation(points))?;
        }
        Ok(())
    }

    fn set_readers(&self, points: &[PointId], acl: &Acl) -> Result<(), StoreError> {
        let readers = serde_json::to_value(acl).map_err(|error| engine("write readers", &error))?;
        let payload = Payload([("acl".to_owned(), readers)].into_iter().collect());
        for batch in points.chunks(PAGE) {
            let operation = PayloadOps::SetPayload(SetPayloadOp {
                payload: payload.clone(),
                points: Some(batch.to_vec()),
                filter: None,
                key: None,
            });
            // Points of an optimised segment are copied whole.
            let bytes = batch.len() * (8 * self.embedder.dimensions + 8192);
            self.write("change readers", bytes, UpdateOperation::PayloadOperation(operation))?;
        }
        Ok(())
    }

    fn delete(&self, filter: Filter) -> Result<(), StoreError> {
        let operation = UpdateOperation::PointOperation(PointOperations::DeletePointsByFilter(filter));
        // Deleting must stay possible where nothing else is: it is what makes room.
        self.apply("delete chunks", disk::OPEN_RESERVE, operation)
    }

    /// All records that match, in the order of their ids.
    fn scroll(
        &self,
        filter: &Filter,
        payload: &WithPayloadInterface,
        vectors: &WithVector,
    ) -> Result<Vec<Record>, StoreError> {
        let mut all = Vec::new();
        let mut offset = None;
        loop {
            let request = ScrollRequest {
                offset,
                limit: Some(PAGE),
                filter: Some(filter.clone()),
                with_payload: Some(payload.clone()),
                with_vector: vectors.clone(),
                order_by: None,
            };
            let (mut records, next) = self.shard().scroll(request).map_err(|error| engine("read chunks", &error))?;
            all.append(&mut records);
            if next.is_none() {
                return Ok(all);
            }
            offset = next;
        }
    }

    fn branch(&self, caller: &Caller, request: SearchRequest) -> Result<Vec<Scored>, StoreError> {
        let found = self.shard().search(request).map_err(|error| engine("search", &error))?;
        let mut hits = Vec::with_capacity(found.len());
        for point in found {
            let chunk = convert::payload_chunk(point.payload)?;
            if caller.may_read(&chunk.acl) {
                hits.push(Scored { score: point.score, chunk });
            }
        }
        Ok(hits)
    }

    fn flush_shard(&self) -> Result<(), StoreError> {
        let _writing = lock(&self.writing);
        disk::check_free(&self.directory, disk::OPEN_RESERVE)?;
        catch_unwind(AssertUnwindSafe(|| self.shard().flush()))
            .map_err(|_| self.failed("flush the index", &"the engine stopped; see its message above"))?;
        if let Err(error) = disk::prune_log(&self.directory.join(LOG)) {
            tracing::warn!(%error, "the index's log could not be shortened");
        }
        Ok(())
    }
}

impl VectorStore for EdgeStore {
    fn info(&self) -> Result<StoreInfo, StoreError> {
        let (embedder, chunks) = (self.embedder.clone(), self.size()?);
        Ok(StoreInfo { kind: "edge", embedder, chunks, index_id: self.id })
    }

    fn size(&self) -> Result<u64, StoreError> {
        Ok(self.shard().info().points_count as u64)
    }

    fn put(&self, document: &Document, chunks: &[Chunk], vectors: &[Vec<f32>]) -> Result<(), StoreError> {
        let points = points_of(document, chunks, vectors, &self.embedder)?;
        let held = self.scroll(
            &all_of(vec![any_keyword("document_id", [document.id.to_string()])]),
            &WithPayloadInterface::Fields(vec![json_path("acl")]),
            &WithVector::Bool(false),
        )?;
        let mut readers = Vec::with_capacity(held.len());
        for record in &held {
            readers.push(convert::record_acl(record)?);
        }
        if let Some(fewer) = narrowed(&readers, &document.acl) {
            let ids: Vec<_> = held.iter().map(|record| record.id).collect();
            self.set_readers(&ids, &fewer)?;
        }
        self.upsert(&points)?;
        // After a crash any positions may be held, so their number says nothing.
        if !held.is_empty() {
            self.delete(all_of(vec![
                any_keyword("document_id", [document.id.to_string()]),
                position_range(chunks.len() as f64, None),
            ]))?;
        }
        Ok(())
    }

    fn set_acl(&self, id: DocumentId, acl: &Acl) -> Result<(), StoreError> {
        let filter = all_of(vec![any_keyword("document_id", [id.to_string()])]);
        let held = self.scroll(&filter, &WithPayloadInterface::Bool(false), &WithVector::Bool(false))?;
        let ids: Vec<_> = held.iter().map(|record| record.id).collect();
        self.set_readers(&ids, acl)
    }

    fn remove(&self, ids: &[DocumentId]) -> Result<(), StoreError> {
        for batch in ids.chunks(DOCUMENTS_IN_A_FILTER) {
            let names = batch.iter().map(ToString::to_string);
            self.delete(all_of(vec![any_keyword("document_id", names)]))?;
        }
        Ok(())
    }

    /// Waits for a running optimisation, for the reason given above.
    fn flush(&self) -> Result<(), StoreError> {
        let _maintaining = lock(&self.maintaining);
        self.flush_shard()
    }

    fn optimize(&self) -> Result<bool, StoreError> {
        let _maintaining = lock(&self.maintaining);
        let size = disk::disk_size(&self.directory).map_err(|error| engine("measure the index", &error))?;
        // The engine asks for the same: old and new segments stand side by side.
        disk::check_free(&self.directory, disk::WRITE_RESERVE + 2 * size)?;
        let worked = catch_unwind(AssertUnwindSafe(|| self.shard().optimize()))
            .map_err(|_| self.failed("optimise the index", &"the engine stopped; see its message above"))?
            .map_err(|error: OperationError| self.failed("optimise the index", &error))?;
        if worked {
            self.flush_shard()?;
        }
        Ok(worked)
    }

    fn search(&self, caller: &Caller, query: &Query) -> Result<Branches, StoreError> {
        let mut branches = Branches::default();
        if query.limit == 0 {
            return Ok(branches);
        }
        let filter = convert::rights_and_documents(caller, &query.documents);
        if !query.dense.is_empty() {
            check_dimensions(&query.dense, &self.embedder)?;
            let vector = VectorInternal::Dense(query.dense.clone());
            branches.dense = self.branch(caller, search_request(vector, DENSE, filter.clone(), query.limit))?;
        }
        if !query.sparse.is_empty() {
            let vector = VectorInternal::Sparse(convert::sparse_to_engine(&query.sparse)?);
            branches.sparse = self.branch(caller, search_request(vector, SPARSE, filter, query.limit))?;
        }
        Ok(branches)
    }

    fn chunks(&self, caller: &Caller, id: DocumentId, positions: Range<u32>) -> Result<Vec<StoredChunk>, StoreError> {
        if positions.is_empty() {
            return Ok(Vec::new());
        }
        let mut conditions = vec![
            any_keyword("document_id", [id.to_string()]),
            position_range(f64::from(positions.start), Some(f64::from(positions.end))),
        ];
        conditions.extend(convert::rights(caller));
        let records = self.scroll(&all_of(conditions), &WithPayloadInterface::Bool(true), &WithVector::Bool(false))?;
        let mut chunks = Vec::with_capacity(records.len());
        for record in records {
            let chunk = record_chunk(record)?;
            // The engine reads payloads after it has filtered: readers may have been taken away in between.
            if caller.may_read(&chunk.acl) {
                chunks.push(chunk);
            }
        }
        chunks.sort_by_key(|chunk| chunk.position);
        Ok(chunks)
    }

    fn vectors(&self, id: DocumentId) -> Result<HashMap<ContentHash, Vec<f32>>, StoreError> {
        let records = self.scroll(
            &all_of(vec![any_keyword("document_id", [id.to_string()])]),
            &WithPayloadInterface::Fields(vec![json_path("embedding_hash")]),
            &WithVector::Selector(vec![DENSE.into()]),
        )?;
        let mut vectors = HashMap::with_capacity(records.len());
        for record in records {
            if let Some((hash, vector)) = convert::record_hash_and_vector(record) {
                vectors.insert(hash, vector);
            }
        }
        Ok(vectors)
    }

    fn export(&self, caller: &Caller, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError> {
        if !matches!(caller, Caller::LocalAdministrator) || limit == 0 {
            return Ok(Vec::new());
        }
        let request = ScrollRequest {
            offset: after.map(PointId::Uuid),
            // The engine begins at `after` itself.
            limit: Some(limit.saturating_add(usize::from(after.is_some()))),
            filter: None,
            with_payload: Some(WithPayloadInterface::Bool(true)),
            with_vector: WithVector::Bool(true),
            order_by: None,
        };
        let (records, _) = self.shard().scroll(request).map_err(|error| engine("export points", &error))?;
        let mut points = Vec::with_capacity(records.len());
        for record in records {
            let point = record_point(record)?;
            if Some(point.id) != after {
                points.push(point);
            }
        }
        points.truncate(limit);
        Ok(points)
    }

    fn import(&self, points: &[Point]) -> Result<(), StoreError> {
        for point in points {
            check_dimensions(&point.dense, &self.embedder)?;
        }
        self.upsert(points)
    }
}

impl Drop for EdgeStore {
    fn drop(&mut self) {
        let Some(shard) = self.shard.take() else { return };
        // The engine flushes as it goes and panics where it cannot. Nothing acknowledged depends on that flush.
        let full = disk::check_free(&self.directory, disk::OPEN_RESERVE).is_err();
        if full || self.broken.load(Ordering::Relaxed) {
            std::mem::forget(shard);
            return;
        }
        if catch_unwind(AssertUnwindSafe(|| drop(shard))).is_err() {
            tracing::warn!("the index was closed without its last flush; nothing acknowledged is lost");
        }
    }
}

fn configuration(embedder: &EmbedderIdentity) -> EdgeConfig {
    let mut builder_threads = thread::available_parallelism().map_or(1, usize::from) / 2;
    builder_threads = builder_threads.max(1);
    let dense = EdgeVectorParams::builder(embedder.dimensions, qdrant_edge::Distance::Cosine).build();
    let sparse = EdgeSparseVectorParams { modifier: Some(qdrant_edge::Modifier::Idf), ..Default::default() };
    let mut config = EdgeConfig {
        vectors: [(DENSE.to_owned(), dense)].into_iter().collect(),
        sparse_vectors: [(SPARSE.to_owned(), sparse)].into_iter().collect(),
        wal_options: Some(WalOptions { segment_capacity: LOG_FILE_BYTES, ..WalOptions::default() }),
        ..EdgeConfig::default()
    };
    // Half of the processors stay with those who search meanwhile.
    config.hnsw_config.max_indexing_threads = builder_threads;
    config
}

/// Nothing is guarded by these locks but order, so a panic elsewhere does not spoil them.
fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn engine(action: &'static str, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Engine { action, reason: reason.to_string().chars().take(400).collect() }
}
