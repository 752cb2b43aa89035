//! A chunk as a point: what both stores write and read in the same form.

use intramuros_ingest::access::{Acl, Principal};
use intramuros_ingest::document::{Chunk, Document};
use intramuros_ingest::sync::{embedding_hash, embedding_text};
use serde_json::{Map, Value};

use super::{EmbedderIdentity, Point, StoreError, StoredChunk, bm25};

/// Name of the dense vector.
pub(super) const DENSE: &str = "dense";
/// Name of the sparse vector.
pub(super) const SPARSE: &str = "bm25";
/// Points in one write: bounds what a write needs in memory, in a request and in free disk space.
pub(super) const BATCH: usize = 128;

/// How a payload field is indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldIndex {
    /// Exact texts; the vector index gets links among the points of each, since searches filter by it.
    SearchedKeyword,
    /// Exact texts.
    Keyword,
    /// Whole numbers, by range.
    Integer,
}

/// The payload fields with an index: those that filters name, and the source, by which a person may look into the store.
pub(super) const INDEXED_FIELDS: [(&str, FieldIndex); 4] = [
    ("acl", FieldIndex::SearchedKeyword),
    ("document_id", FieldIndex::Keyword),
    ("source", FieldIndex::Keyword),
    ("position", FieldIndex::Integer),
];

/// What a document's chunks look like in the store, ready to be written.
///
/// The sparse vector and the hash are made from the text that was embedded: title, section path and passage.
pub(super) fn points_of(
    document: &Document,
    chunks: &[Chunk],
    vectors: &[Vec<f32>],
    embedder: &EmbedderIdentity,
) -> Result<Vec<Point>, StoreError> {
    if chunks.len() != vectors.len() {
        return Err(StoreError::Engine {
            action: "write a document",
            reason: format!("{} chunks came with {} vectors", chunks.len(), vectors.len()),
        });
    }
    let mut points = Vec::with_capacity(chunks.len());
    for (chunk, vector) in chunks.iter().zip(vectors) {
        check_dimensions(vector, embedder)?;
        let embedded = embedding_text(&document.title, chunk);
        points.push(Point {
            id: document.id.chunk(chunk.position),
            sparse: bm25::document(&embedded, chunk.language),
            dense: vector.clone(),
            chunk: StoredChunk {
                document_id: document.id,
                position: chunk.position,
                source: document.source.clone(),
                title: document.title.clone(),
                uri: document.uri.clone(),
                section: chunk.section.clone(),
                page: chunk.page,
                start: chunk.start,
                end: chunk.end,
                language: chunk.language,
                acl: document.acl.clone(),
                embedding_hash: embedding_hash(&document.title, chunk),
                text: chunk.text.clone(),
            },
        });
    }
    Ok(points)
}

/// Refuses a vector that is not of the embedder's length.
pub(super) fn check_dimensions(vector: &[f32], embedder: &EmbedderIdentity) -> Result<(), StoreError> {
    if vector.len() != embedder.dimensions {
        return Err(StoreError::Dimensions { expected: embedder.dimensions, actual: vector.len() });
    }
    Ok(())
}

/// Refuses a collection that another embedder made.
pub(super) fn check_embedder(found: &EmbedderIdentity, configured: &EmbedderIdentity) -> Result<(), StoreError> {
    if found.name != configured.name {
        return Err(StoreError::OtherEmbedder { index: found.name.clone(), configured: configured.name.clone() });
    }
    if found.dimensions != configured.dimensions {
        return Err(StoreError::Dimensions { expected: found.dimensions, actual: configured.dimensions });
    }
    Ok(())
}

/// The readers that a document's old chunks keep while new ones are written: those that each of them has and that stay.
/// `None` where nobody has to lose anything.
pub(super) fn narrowed(held: &[Acl], new: &Acl) -> Option<Acl> {
    let stays = |reader: &&Principal| held.iter().all(|acl| acl.readers().any(|other| other == *reader));
    let common: Acl = new.readers().filter(stays).cloned().collect();
    held.iter().any(|acl| *acl != common).then_some(common)
}

/// The payload of a chunk: its own fields and the name of the embedder.
pub(super) fn payload_of(chunk: &StoredChunk, embedder: &EmbedderIdentity) -> Result<Map<String, Value>, StoreError> {
    let value = serde_json::to_value(chunk).map_err(|error| malformed(&error))?;
    let Value::Object(mut payload) = value else {
        return Err(StoreError::Engine { action: "write a chunk", reason: "its payload is no object".into() });
    };
    payload.insert("embedder".into(), Value::String(embedder.name.clone()));
    Ok(payload)
}

/// The chunk in a payload.
pub(super) fn chunk_of(payload: Map<String, Value>) -> Result<StoredChunk, StoreError> {
    serde_json::from_value(Value::Object(payload)).map_err(|error| malformed(&error))
}

/// Names the kind of fault only: serde's message would quote the payload.
fn malformed(error: &serde_json::Error) -> StoreError {
    let reason = format!("a point's payload is not one of this product ({:?})", error.classify());
    StoreError::Engine { action: "read a chunk", reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::sample;

    #[test]
    fn a_payload_gives_back_its_chunk_and_names_the_embedder() {
        let (document, chunks, vectors) = sample("a.md", 3, "group:legal,user:ana");
        let embedder = EmbedderIdentity { name: "test".into(), dimensions: vectors[0].len() };
        for point in points_of(&document, &chunks, &vectors, &embedder).unwrap() {
            let payload = payload_of(&point.chunk, &embedder).unwrap();
            assert_eq!(payload["embedder"], "test");
            assert_eq!(payload["acl"], serde_json::json!(["user:ana", "group:legal"]));
            assert!(INDEXED_FIELDS.iter().all(|(field, _)| payload.contains_key(*field)));
            assert_eq!(chunk_of(payload).unwrap(), point.chunk);
        }
    }

    #[test]
    fn old_chunks_lose_the_readers_that_go_and_gain_none() {
        let acl = |text: &str| text.parse::<Acl>().unwrap();
        assert_eq!(narrowed(&[], &acl("everyone")), None);
        assert_eq!(narrowed(&[acl("user:a")], &acl("user:a,user:b")), None);
        assert_eq!(narrowed(&[acl("user:a,user:b")], &acl("user:b,user:c")), Some(acl("user:b")));
        assert_eq!(narrowed(&[acl("user:a"), acl("user:b")], &acl("user:a")), Some(Acl::nobody()));
        assert_eq!(narrowed(&[acl("user:a")], &Acl::nobody()), Some(Acl::nobody()));
    }

    #[test]
    fn a_foreign_payload_is_refused_without_quoting_it() {
        let mut payload = Map::new();
        payload.insert("text".into(), Value::String("very secret".into()));
        assert!(!chunk_of(payload).unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn a_missing_or_short_vector_is_refused() {
        let (document, chunks, mut vectors) = sample("a.md", 2, "everyone");
        let embedder = EmbedderIdentity { name: "test".into(), dimensions: vectors[0].len() };
        vectors[1].pop();
        let short = points_of(&document, &chunks, &vectors, &embedder);
        assert!(matches!(short, Err(StoreError::Dimensions { .. })));
        vectors.pop();
        assert!(points_of(&document, &chunks, &vectors, &embedder).is_err());
    }
}
