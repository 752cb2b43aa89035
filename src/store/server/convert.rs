//! Between this product's types and the client's.

use std::collections::HashMap;

use intramuros_ingest::access::{Acl, Caller};
use intramuros_ingest::document::{ContentHash, DocumentId};
use qdrant_client::Payload;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::vector_output::Vector as VectorKind;
use qdrant_client::qdrant::{
    Condition, Filter, NamedVectors, PointId, PointStruct, QueryPoints, QueryPointsBuilder, Range, RetrievedPoint,
    Value, Vector, VectorInput, VectorsOutput,
};
use serde_json::Map;
use uuid::Uuid;

use crate::store::point::{DENSE, SPARSE, chunk_of, payload_of};
use crate::store::{EmbedderIdentity, Point, SparseVector, StoreError, StoredChunk};

pub(super) fn of_documents(ids: &[DocumentId]) -> Condition {
    Condition::matches("document_id", ids.iter().map(ToString::to_string).collect::<Vec<String>>())
}

/// Positions from `start` on, up to `end` where given.
pub(super) fn positions(start: f64, end: Option<f64>) -> Condition {
    Condition::range("position", Range { gte: Some(start), lt: end, gt: None, lte: None })
}

/// The condition that keeps a caller to what it may read; none for the local administrator.
pub(super) fn rights(caller: &Caller) -> Option<Condition> {
    caller.filter().map(|principals| Condition::matches("acl", principals))
}

pub(super) fn rights_and_documents(caller: &Caller, documents: &[DocumentId]) -> Option<Filter> {
    let mut conditions = Vec::new();
    conditions.extend(rights(caller));
    if !documents.is_empty() {
        conditions.push(of_documents(documents));
    }
    (!conditions.is_empty()).then(|| Filter::must(conditions))
}

/// What both branches of a hybrid query have in common.
pub(super) struct BranchOf<'a> {
    pub collection: &'a str,
    pub filter: Option<Filter>,
    pub limit: usize,
}

impl BranchOf<'_> {
    /// The request of one branch.
    pub(super) fn request(&self, query: VectorInput, using: &str) -> QueryPoints {
        let mut request = QueryPointsBuilder::new(self.collection).query(query).using(using);
        request = request.limit(self.limit as u64).with_payload(true);
        if let Some(filter) = &self.filter {
            request = request.filter(filter.clone());
        }
        request.into()
    }
}

pub(super) fn acl_payload(acl: &Acl) -> Result<Payload, StoreError> {
    let readers = serde_json::to_value(acl).map_err(|_| unreadable("readers"))?;
    Ok(Payload::from(Map::from_iter([("acl".to_owned(), readers)])))
}

pub(super) fn to_server(point: &Point, embedder: &EmbedderIdentity) -> Result<PointStruct, StoreError> {
    let mut vectors = NamedVectors::default().add_vector(DENSE, point.dense.clone());
    if !point.sparse.is_empty() {
        let sparse = Vector::new_sparse(point.sparse.indices.clone(), point.sparse.values.clone());
        vectors = vectors.add_vector(SPARSE, sparse);
    }
    let payload = Payload::from(payload_of(&point.chunk, embedder)?);
    Ok(PointStruct::new(point.id.to_string(), vectors, payload))
}

pub(super) fn payload_chunk(payload: HashMap<String, Value>) -> Result<StoredChunk, StoreError> {
    chunk_of(Map::from(Payload::from(payload)))
}

/// The readers in a record; nobody where there are none.
pub(super) fn record_acl(record: &RetrievedPoint) -> Result<Acl, StoreError> {
    let Some(readers) = record.payload.get("acl") else { return Ok(Acl::nobody()) };
    serde_json::to_value(readers).and_then(serde_json::from_value).map_err(|_| unreadable("readers"))
}

pub(super) fn record_hash_and_vector(record: &RetrievedPoint) -> Option<(ContentHash, Vec<f32>)> {
    let hash = record.payload.get("embedding_hash")?.as_str()?.to_owned();
    Some((ContentHash(hash), dense_of(record.vectors.as_ref()?)?))
}

pub(super) fn record_point(record: RetrievedPoint) -> Result<Point, StoreError> {
    let id = record.id.as_ref().and_then(uuid_of).ok_or_else(|| unreadable("an id"))?;
    let vectors = record.vectors.as_ref();
    let dense = vectors.and_then(dense_of).ok_or_else(|| unreadable("a dense vector"))?;
    let sparse = vectors.and_then(sparse_of).unwrap_or_default();
    Ok(Point { id, chunk: payload_chunk(record.payload)?, dense, sparse })
}

fn uuid_of(id: &PointId) -> Option<Uuid> {
    match id.point_id_options.as_ref()? {
        PointIdOptions::Uuid(text) => text.parse().ok(),
        PointIdOptions::Num(_) => None,
    }
}

fn dense_of(vectors: &VectorsOutput) -> Option<Vec<f32>> {
    match vectors.get_vector_by_name(DENSE)? {
        VectorKind::Dense(dense) => Some(dense.data),
        _ => None,
    }
}

fn sparse_of(vectors: &VectorsOutput) -> Option<SparseVector> {
    match vectors.get_vector_by_name(SPARSE)? {
        VectorKind::Sparse(sparse) => Some(SparseVector { indices: sparse.indices, values: sparse.values }),
        _ => None,
    }
}

fn unreadable(what: &str) -> StoreError {
    StoreError::Engine { action: "read a point", reason: format!("{what} is not in the form of this product") }
}
