//! A Qdrant server or cluster over gRPC, for those who outgrow one machine. Version 1.16 or later.
//!
//! Same points, payload, indexes and filters as in [`super::edge`], so both give the same hits with the same scores.
//! The embedder's identity is kept in the metadata of the collection, which the server replicates with it.
//!
//! Every write waits until the server has it in its log and applied it, in the order of one leader. So a read that
//! follows sees it, and [`VectorStore::flush`] has nothing left to do.
//!
//! Calls block on the runtime whose handle the store was given: they may come from any thread that does not itself
//! run asynchronous tasks (`spawn_blocking` is fine), and panic on one that does.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use intramuros_ingest::access::{Acl, Caller};
use intramuros_ingest::document::{Chunk, ContentHash, Document, DocumentId};
use qdrant_client::qdrant::{
    CountPointsBuilder, DeletePointsBuilder, Filter, PointId, QueryBatchPointsBuilder, QueryPoints, RetrievedPoint,
    ScrollPoints, SetPayloadPointsBuilder, UpsertPointsBuilder, WithPayloadSelector, WithVectorsSelector,
    WriteOrdering, WriteOrderingType,
};
use qdrant_client::{Qdrant, QdrantError};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::point::{BATCH, DENSE, SPARSE, check_dimensions, narrowed, points_of};
use super::{Branches, EmbedderIdentity, Point, Query, Scored, StoreError, StoreInfo, StoredChunk, VectorStore};

mod collection;
mod convert;

use convert::BranchOf;

/// Points read at once.
const PAGE: u32 = 512;
/// Documents named in one filter.
const DOCUMENTS_IN_A_FILTER: usize = 1024;

/// Where the server is and which collection is meant.
#[derive(Clone)]
pub struct ServerOptions {
    /// Address of its gRPC port, `http://…:6334` or `https://…`.
    pub url: String,
    /// Its API key, if it wants one. Never shown.
    pub api_key: Option<String>,
    /// Name of the collection; made if it is not there.
    pub collection: String,
    /// How long one request may take.
    pub timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:6334".into(),
            api_key: None,
            collection: "intramuros".into(),
            timeout: Duration::from_secs(30),
        }
    }
}

/// The served store.
pub struct ServerStore {
    client: Qdrant,
    runtime: Handle,
    /// As configured, with what may stand before its host.
    given_url: String,
    /// As shown to people: without user name and password.
    url: String,
    collection: String,
    embedder: EmbedderIdentity,
    id: Uuid,
}

impl ServerStore {
    /// Connects, and makes the collection where it is not there.
    ///
    /// # Errors
    /// Where the server does not answer, is too old, or holds a collection that another embedder or program made.
    pub fn open(options: &ServerOptions, runtime: Handle, embedder: &EmbedderIdentity) -> Result<Self, StoreError> {
        let url = without_credentials(&options.url);
        let unreachable =
            |error: &QdrantError| StoreError::Unreachable { url: url.clone(), reason: reason_of(error, &options.url) };
        let mut builder = Qdrant::from_url(&options.url)
            .timeout(options.timeout)
            .connect_timeout(options.timeout.min(Duration::from_secs(5)))
            .skip_compatibility_check();
        if let Some(key) = &options.api_key {
            builder = builder.api_key(key.as_str());
        }
        let client = {
            // The client's channels belong to the runtime in whose context they are made.
            let _context = runtime.enter();
            builder.build().map_err(|error| unreachable(&error))?
        };
        let given_url = options.url.clone();
        let mut store = Self {
            client,
            runtime,
            given_url,
            url,
            collection: options.collection.clone(),
            embedder: embedder.clone(),
            id: Uuid::nil(),
        };
        store.id = store.prepare_collection()?;
        Ok(store)
    }

    /// Name of the collection.
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// Waits for a request.
    fn call<T>(
        &self,
        action: &'static str,
        request: impl Future<Output = Result<T, QdrantError>>,
    ) -> Result<T, StoreError> {
        self.runtime.block_on(request).map_err(|error| self.failed(action, &error))
    }

    /// Tells a server that cannot be used from one that refused a request.
    fn failed(&self, action: &'static str, error: &QdrantError) -> StoreError {
        // gRPC status codes: unknown, deadline exceeded, permission denied, unavailable, unauthenticated.
        let answered = match error {
            // The client reports a connection that it cannot make as an internal error.
            QdrantError::ResponseError { status } if status.message().starts_with("Failed to connect") => false,
            QdrantError::ResponseError { status } => !matches!(status.code() as i32, 2 | 4 | 7 | 14 | 16),
            QdrantError::ConversionError(_) => true,
            _ => false,
        };
        if answered {
            return StoreError::Engine { action, reason: reason_of(error, &self.given_url) };
        }
        StoreError::Unreachable { url: self.url.clone(), reason: reason_of(error, &self.given_url) }
    }

    fn upsert(&self, points: &[Point]) -> Result<(), StoreError> {
        for batch in points.chunks(BATCH) {
            let mut records = Vec::with_capacity(batch.len());
            for point in batch {
                records.push(convert::to_server(point, &self.embedder)?);
            }
            let request = UpsertPointsBuilder::new(&self.collection, records).wait(true).ordering(strong());
            self.call("write chunks", self.client.upsert_points(request))?;
        }
        Ok(())
    }

    /// One request, so that the server changes all chunks of a document together.
    fn set_readers(&self, id: DocumentId, acl: &Acl) -> Result<(), StoreError> {
        let payload = convert::acl_payload(acl)?;
        let request = SetPayloadPointsBuilder::new(&self.collection, payload)
            .points_selector(Filter::must([convert::of_documents(&[id])]))
            .wait(true)
            .ordering(strong());
        self.call("change readers", self.client.set_payload(request)).map(drop)
    }

    fn delete(&self, filter: Filter) -> Result<(), StoreError> {
        let request = DeletePointsBuilder::new(&self.collection).points(filter).wait(true).ordering(strong());
        self.call("delete chunks", self.client.delete_points(request)).map(drop)
    }

    /// One page of records in the order of their ids, and where the next begins.
    fn page(
        &self,
        filter: Option<&Filter>,
        offset: Option<PointId>,
        limit: u32,
        fields: (WithPayloadSelector, WithVectorsSelector),
    ) -> Result<(Vec<RetrievedPoint>, Option<PointId>), StoreError> {
        let request = ScrollPoints {
            collection_name: self.collection.clone(),
            filter: filter.cloned(),
            offset,
            limit: Some(limit),
            with_payload: Some(fields.0),
            with_vectors: Some(fields.1),
            ..ScrollPoints::default()
        };
        let response = self.call("read chunks", self.client.scroll(request))?;
        Ok((response.result, response.next_page_offset))
    }

    /// All records that match.
    fn scroll(
        &self,
        filter: &Filter,
        payload: WithPayloadSelector,
        vectors: WithVectorsSelector,
    ) -> Result<Vec<RetrievedPoint>, StoreError> {
        let mut all = Vec::new();
        let mut offset = None;
        loop {
            let (mut page, next) = self.page(Some(filter), offset, PAGE, (payload.clone(), vectors.clone()))?;
            all.append(&mut page);
            if next.is_none() {
                return Ok(all);
            }
            offset = next;
        }
    }
}

impl VectorStore for ServerStore {
    fn size(&self) -> Result<u64, StoreError> {
        let request = CountPointsBuilder::new(&self.collection).exact(false);
        Ok(self.call("count chunks", self.client.count(request))?.result.map_or(0, |result| result.count))
    }

    fn info(&self) -> Result<StoreInfo, StoreError> {
        let request = CountPointsBuilder::new(&self.collection).exact(true);
        let chunks = self.call("count chunks", self.client.count(request))?.result.map_or(0, |result| result.count);
        Ok(StoreInfo { kind: "server", embedder: self.embedder.clone(), chunks, index_id: self.id })
    }

    fn put(&self, document: &Document, chunks: &[Chunk], vectors: &[Vec<f32>]) -> Result<(), StoreError> {
        let points = points_of(document, chunks, vectors, &self.embedder)?;
        let filter = Filter::must([convert::of_documents(&[document.id])]);
        let held = self.scroll(&filter, vec!["acl"].into(), false.into())?;
        let mut readers = Vec::with_capacity(held.len());
        for record in &held {
            readers.push(convert::record_acl(record)?);
        }
        if let Some(fewer) = narrowed(&readers, &document.acl) {
            self.set_readers(document.id, &fewer)?;
        }
        self.upsert(&points)?;
        // After a crash any positions may be held, so their number says nothing.
        if !held.is_empty() {
            let left_over = convert::positions(chunks.len() as f64, None);
            self.delete(Filter::must([convert::of_documents(&[document.id]), left_over]))?;
        }
        Ok(())
    }

    fn set_acl(&self, id: DocumentId, acl: &Acl) -> Result<(), StoreError> {
        self.set_readers(id, acl)
    }

    fn remove(&self, ids: &[DocumentId]) -> Result<(), StoreError> {
        for batch in ids.chunks(DOCUMENTS_IN_A_FILTER) {
            self.delete(Filter::must([convert::of_documents(batch)]))?;
        }
        Ok(())
    }

    /// Nothing to do: each write has waited until the server had it in its log.
    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Nothing to do: the server optimises by itself.
    fn optimize(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn search(&self, caller: &Caller, query: &Query) -> Result<Branches, StoreError> {
        if !query.dense.is_empty() {
            check_dimensions(&query.dense, &self.embedder)?;
        }
        let filter = convert::rights_and_documents(caller, &query.documents);
        let branch = BranchOf { collection: &self.collection, filter, limit: query.limit };
        let mut requests: Vec<QueryPoints> = Vec::new();
        let mut names = Vec::new();
        if query.limit > 0 && !query.dense.is_empty() {
            names.push(DENSE);
            requests.push(branch.request(query.dense.clone().into(), DENSE));
        }
        if query.limit > 0 && !query.sparse.is_empty() {
            let terms: Vec<(u32, f32)> =
                query.sparse.indices.iter().copied().zip(query.sparse.values.iter().copied()).collect();
            names.push(SPARSE);
            requests.push(branch.request(terms.as_slice().into(), SPARSE));
        }
        let mut branches = Branches::default();
        if requests.is_empty() {
            return Ok(branches);
        }
        let request = QueryBatchPointsBuilder::new(&self.collection, requests);
        let results = self.call("search", self.client.query_batch(request))?.result;
        for (name, result) in names.into_iter().zip(results) {
            let mut hits = Vec::with_capacity(result.result.len());
            for point in result.result {
                let chunk = convert::payload_chunk(point.payload)?;
                if caller.may_read(&chunk.acl) {
                    hits.push(Scored { score: point.score, chunk });
                }
            }
            if name == DENSE {
                branches.dense = hits;
            } else {
                branches.sparse = hits;
            }
        }
        Ok(branches)
    }

    fn chunks(&self, caller: &Caller, id: DocumentId, positions: Range<u32>) -> Result<Vec<StoredChunk>, StoreError> {
        if positions.is_empty() {
            return Ok(Vec::new());
        }
        let range = convert::positions(f64::from(positions.start), Some(f64::from(positions.end)));
        let mut conditions = vec![convert::of_documents(&[id]), range];
        conditions.extend(convert::rights(caller));
        let records = self.scroll(&Filter::must(conditions), true.into(), false.into())?;
        let mut chunks = Vec::with_capacity(records.len());
        for record in records {
            let chunk = convert::payload_chunk(record.payload)?;
            // The server reads payloads after it has filtered: readers may have been taken away in between.
            if caller.may_read(&chunk.acl) {
                chunks.push(chunk);
            }
        }
        chunks.sort_by_key(|chunk| chunk.position);
        Ok(chunks)
    }

    fn vectors(&self, id: DocumentId) -> Result<HashMap<ContentHash, Vec<f32>>, StoreError> {
        let filter = Filter::must([convert::of_documents(&[id])]);
        let records = self.scroll(&filter, vec!["embedding_hash"].into(), vec![DENSE].into())?;
        let mut vectors = HashMap::with_capacity(records.len());
        for record in records {
            if let Some((hash, vector)) = convert::record_hash_and_vector(&record) {
                vectors.insert(hash, vector);
            }
        }
        Ok(vectors)
    }

    fn export(&self, caller: &Caller, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError> {
        if !matches!(caller, Caller::LocalAdministrator) || limit == 0 {
            return Ok(Vec::new());
        }
        // The server begins at `after` itself.
        let wanted = limit.saturating_add(usize::from(after.is_some()));
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let (records, _) = self.page(None, after.map(PointId::from), wanted, (true.into(), true.into()))?;
        let mut points = Vec::with_capacity(records.len());
        for record in records {
            let point = convert::record_point(record)?;
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

fn strong() -> WriteOrdering {
    WriteOrdering { r#type: WriteOrderingType::Strong.into() }
}

/// What the server or the connection said, without the headers of the answer and without the URL, which the client
/// repeats and which may hold a password.
fn reason_of(error: &QdrantError, given_url: &str) -> String {
    let reason = match error {
        QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => {
            format!("{}: {}", status.code(), status.message())
        }
        other => other.to_string(),
    };
    let reason = reason.replace(given_url.trim_end_matches('/'), &without_credentials(given_url));
    reason.chars().take(400).collect()
}

/// A URL without the user name and password that may stand before its host.
pub fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host_end = rest.find('/').unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_url_are_not_shown() {
        assert_eq!(without_credentials("https://me:secret@host:6334/x"), "https://host:6334/x");
        assert_eq!(without_credentials("http://host:6334/a@b"), "http://host:6334/a@b");
        assert_eq!(without_credentials("host"), "host");
    }
}
