//! Between this product's types and the embedded engine's.

use std::collections::HashMap;

use intramuros_ingest::access::{Acl, Caller};
use intramuros_ingest::document::{ContentHash, DocumentId};
use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    AnyVariants, Condition, CreateIndex, FieldCondition, FieldIndexOperations, Filter, IntegerIndexParams, JsonPath,
    KeywordIndexParams, Match, NamedQuery, Payload, PayloadFieldSchema, PayloadSchemaParams, PointId,
    PointStructPersisted, QueryEnum, Range, Record, SearchRequest, UpdateOperation, VectorInternal, VectorPersisted,
    VectorStructInternal, VectorStructPersisted, WithPayloadInterface,
};

use super::engine;
use crate::store::point::{DENSE, FieldIndex, SPARSE, chunk_of, payload_of};
use crate::store::{EmbedderIdentity, Point, SparseVector, StoreError, StoredChunk};

/// The path of one of this product's payload fields.
pub(super) fn json_path(field: &'static str) -> JsonPath {
    field.parse().expect("a plain name is a path")
}

pub(super) fn create_index(field: &'static str, index: FieldIndex) -> UpdateOperation {
    let keyword =
        |graph| PayloadSchemaParams::Keyword(KeywordIndexParams { enable_hnsw: Some(graph), ..Default::default() });
    let schema = match index {
        FieldIndex::SearchedKeyword => keyword(true),
        FieldIndex::Keyword => keyword(false),
        FieldIndex::Integer => {
            PayloadSchemaParams::Integer(IntegerIndexParams { enable_hnsw: Some(false), ..Default::default() })
        }
    };
    UpdateOperation::FieldIndexOperation(FieldIndexOperations::CreateIndex(CreateIndex {
        field_name: json_path(field),
        field_schema: Some(PayloadFieldSchema::FieldParams(schema)),
    }))
}

pub(super) fn all_of(conditions: Vec<Condition>) -> Filter {
    Filter { must: Some(conditions), ..Filter::new() }
}

pub(super) fn any_keyword(field: &'static str, values: impl IntoIterator<Item = String>) -> Condition {
    let values = AnyVariants::Strings(values.into_iter().collect());
    Condition::Field(FieldCondition::new_match(json_path(field), Match::new_any(values)))
}

/// Positions from `start` on, up to `end` where given.
pub(super) fn position_range(start: f64, end: Option<f64>) -> Condition {
    let range = Range { gte: Some(OrderedFloat(start)), lt: end.map(OrderedFloat), gt: None, lte: None };
    Condition::Field(FieldCondition::new_range(json_path("position"), range))
}

/// The condition that keeps a caller to what it may read; none for the local administrator.
pub(super) fn rights(caller: &Caller) -> Option<Condition> {
    caller.filter().map(|principals| any_keyword("acl", principals))
}

pub(super) fn rights_and_documents(caller: &Caller, documents: &[DocumentId]) -> Option<Filter> {
    let mut conditions = Vec::new();
    conditions.extend(rights(caller));
    if !documents.is_empty() {
        conditions.push(any_keyword("document_id", documents.iter().map(ToString::to_string)));
    }
    (!conditions.is_empty()).then(|| all_of(conditions))
}

pub(super) fn search_request(
    query: VectorInternal,
    using: &str,
    filter: Option<Filter>,
    limit: usize,
) -> SearchRequest {
    SearchRequest {
        query: QueryEnum::Nearest(NamedQuery { query, using: Some(using.into()) }),
        filter,
        params: None,
        limit,
        offset: 0,
        with_payload: Some(WithPayloadInterface::Bool(true)),
        with_vector: None,
        score_threshold: None,
    }
}

pub(super) fn sparse_to_engine(sparse: &SparseVector) -> Result<qdrant_edge::SparseVector, StoreError> {
    qdrant_edge::SparseVector::new(sparse.indices.clone(), sparse.values.clone())
        .map_err(|error| engine("read a sparse vector", &error))
}

pub(super) fn to_engine(point: &Point, embedder: &EmbedderIdentity) -> Result<PointStructPersisted, StoreError> {
    let mut vectors = HashMap::new();
    vectors.insert(DENSE.into(), VectorPersisted::Dense(point.dense.clone()));
    if !point.sparse.is_empty() {
        vectors.insert(SPARSE.into(), VectorPersisted::Sparse(sparse_to_engine(&point.sparse)?));
    }
    Ok(PointStructPersisted {
        id: PointId::Uuid(point.id),
        vector: VectorStructPersisted::Named(vectors),
        payload: Some(Payload(payload_of(&point.chunk, embedder)?)),
    })
}

/// About how many bytes a point takes in the engine's log.
pub(super) fn written_size(point: &Point) -> usize {
    let names: usize = point.chunk.section.iter().map(String::len).sum::<usize>() + point.chunk.uri.len();
    point.chunk.text.len() + names + 5 * point.dense.len() + 10 * point.sparse.indices.len() + 2048
}

pub(super) fn payload_chunk(payload: Option<Payload>) -> Result<StoredChunk, StoreError> {
    chunk_of(payload.map(|payload| payload.0).unwrap_or_default())
}

pub(super) fn record_chunk(record: Record) -> Result<StoredChunk, StoreError> {
    payload_chunk(record.payload)
}

/// The readers in a record; nobody where they cannot be read.
pub(super) fn record_acl(record: &Record) -> Result<Acl, StoreError> {
    let readers = record.payload.as_ref().and_then(|payload| payload.0.get("acl"));
    match readers {
        Some(readers) => serde_json::from_value(readers.clone()).map_err(|error| engine("read readers", &error)),
        None => Ok(Acl::nobody()),
    }
}

pub(super) fn record_hash_and_vector(record: Record) -> Option<(ContentHash, Vec<f32>)> {
    let hash = record.payload.as_ref()?.0.get("embedding_hash")?.as_str()?.to_owned();
    let (dense, _) = split_vectors(record.vector)?;
    Some((ContentHash(hash), dense))
}

pub(super) fn record_point(record: Record) -> Result<Point, StoreError> {
    let PointId::Uuid(id) = record.id else {
        return Err(engine("export points", &"a point has a number for its id"));
    };
    let Some((dense, sparse)) = split_vectors(record.vector) else {
        return Err(engine("export points", &format!("point {id} has no dense vector")));
    };
    Ok(Point { id, chunk: payload_chunk(record.payload)?, dense, sparse })
}

fn split_vectors(vectors: Option<VectorStructInternal>) -> Option<(Vec<f32>, SparseVector)> {
    let Some(VectorStructInternal::Named(mut named)) = vectors else { return None };
    let Some(VectorInternal::Dense(dense)) = named.remove(DENSE) else { return None };
    let sparse = match named.remove(SPARSE) {
        Some(VectorInternal::Sparse(sparse)) => SparseVector { indices: sparse.indices, values: sparse.values },
        _ => SparseVector::default(),
    };
    Some((dense, sparse))
}
