//! Which versions of its documents an answer shows.

use std::collections::BTreeSet;
use std::ops::Range;

use intramuros_ingest::document::{ContentHash, DocumentId};
use sqlx::SqliteConnection;

use crate::answer::Answer;
use crate::state::StateError;

/// A document of an answer that is to be kept.
pub(super) struct Version {
    /// Which.
    pub(super) document: DocumentId,
    /// Whether it is there.
    pub(super) exists: bool,
    /// Which one it is, if what the answer shows of it stands there.
    pub(super) content_hash: Option<String>,
}

/// The versions that an answer was made from. Its documents may have changed while it was made.
pub(super) async fn versions(connection: &mut SqliteConnection, answer: &Answer) -> Result<Vec<Version>, StateError> {
    let mut versions = Vec::new();
    for document in documents_of(answer) {
        let row: Option<(Option<String>,)> = sqlx::query_as(
            "SELECT t.content_hash FROM documents d LEFT JOIN document_texts t ON t.document_id = d.id WHERE d.id = $1",
        )
        .bind(document.to_string())
        .fetch_optional(&mut *connection)
        .await?;
        let exists = row.is_some();
        let mut content_hash = row.and_then(|(content_hash,)| content_hash);
        for (place, expected) in places_of(answer, document) {
            let there: Option<(String,)> =
                sqlx::query_as("SELECT substr(text, $2, $3) FROM document_texts WHERE document_id = $1")
                    .bind(document.to_string())
                    .bind(i64::try_from(place.start).unwrap_or(i64::MAX).saturating_add(1))
                    .bind(i64::try_from(place.len()).unwrap_or(i64::MAX))
                    .fetch_optional(&mut *connection)
                    .await?;
            if there.is_none_or(|(text,)| ContentHash::of(text.as_bytes()) != expected) {
                content_hash = None;
            }
        }
        versions.push(Version { document, exists, content_hash });
    }
    Ok(versions)
}

/// What an answer shows of a document: characters of its text, and the hash of what stands there.
fn places_of(answer: &Answer, document: DocumentId) -> Vec<(Range<usize>, ContentHash)> {
    let mut places = Vec::new();
    for citation in answer.citations.iter().filter(|citation| citation.document_id == document) {
        places.push((citation.start..citation.end, ContentHash::of(citation.quote.as_bytes())));
    }
    for passage in answer.provenance.passages.iter().filter(|passage| passage.document_id == document) {
        places.push((passage.start..passage.end, passage.sha256.clone()));
    }
    places
}

/// Every document that an answer shows anything of.
fn documents_of(answer: &Answer) -> BTreeSet<DocumentId> {
    let cited = answer.citations.iter().map(|citation| citation.document_id);
    let left_out = answer.left_out.iter().map(|passage| passage.document_id);
    let read = answer.provenance.passages.iter().map(|passage| passage.document_id);
    let nearest = answer.nearest.iter().map(|document| document.document_id);
    cited.chain(left_out).chain(read).chain(nearest).collect()
}
