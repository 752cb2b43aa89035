//! Reads of documents. Each takes the caller and filters in the query.

use std::ops::Range;

use intramuros_ingest::access::{Acl, Caller};
use intramuros_ingest::document::{ContentHash, DocumentId};
use serde::{Deserialize, Serialize};

use super::{State, StateError, from_json};

/// A document as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DocumentRecord {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub document_id: DocumentId,
    /// Name of its source.
    pub source: String,
    /// Where it stands in the source.
    pub path: String,
    /// The address a person opens.
    pub uri: String,
    /// Its title.
    pub title: String,
    /// ISO 639-1 code, where known.
    pub language: Option<String>,
    /// Pages, for paged formats.
    pub pages: Option<usize>,
    /// Its readers; only the local administrator sees them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub readers: Option<Acl>,
    /// `indexed`, `pending` or `failed`.
    pub state: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Number of chunks.
    pub chunks: u64,
    /// When the row last changed, in milliseconds since 1970.
    pub updated_ms: i64,
    #[serde(skip)]
    page_starts: Vec<usize>,
}

/// Which documents to list.
#[derive(Clone, Debug, Default)]
pub struct Page<'a> {
    /// Title and id of the last one before.
    pub after: Option<(&'a str, DocumentId)>,
    /// Only those of this source.
    pub source: Option<&'a str>,
    /// At most so many.
    pub limit: u32,
}

/// A part of a document's text.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The part.
    pub text: String,
    /// Characters of the whole text.
    pub length: usize,
    /// The first character of each page in the whole text, for paged formats.
    pub page_starts: Vec<usize>,
}

/// Which file a document was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Original {
    /// Name of its source.
    pub source: String,
    /// Where it stands there.
    pub path: String,
    /// Hash of its bytes when it was indexed.
    pub content_hash: ContentHash,
    /// Its readers when it was indexed.
    pub readers: Acl,
}

impl DocumentRecord {
    /// The first character of each page, for paged formats.
    pub fn page_starts(&self) -> &[usize] {
        &self.page_starts
    }

    /// The 1-based page of a character offset, for paged formats.
    pub fn page_at(&self, offset: usize) -> Option<u32> {
        let begun = self.page_starts.partition_point(|&start| start <= offset);
        (!self.page_starts.is_empty()).then(|| begun.max(1) as u32)
    }
}

/// A document's row is visible to the local administrator (`$1 IS NULL`), or when it is indexed and one of the caller's
/// principals (a JSON array) is among its readers.
pub(super) const MAY_READ: &str = "($1 IS NULL OR (d.state = 'indexed' AND EXISTS (
        SELECT 1 FROM document_readers r WHERE r.document_id = d.id
            AND r.principal IN (SELECT value FROM json_each($1)))))";

const COLUMNS: &str = "d.id, d.source, d.path, d.uri, d.title, d.language, d.page_starts, d.readers, d.state, d.reason,
    d.chunks, d.updated_ms";

type Row = (String, String, String, String, String, Option<String>, String, String, String, Option<String>, i64, i64);

/// The caller's principals as the query takes them; `None` is the local administrator, who sees all.
pub(super) fn principals(caller: &Caller) -> Option<String> {
    caller.filter().map(|principals| super::to_json(&principals))
}

fn record(caller: &Caller, row: Row) -> Result<DocumentRecord, StateError> {
    let (id, source, path, uri, title, language, page_starts, readers, state, reason, chunks, updated_ms) = row;
    let page_starts: Vec<usize> = from_json(&page_starts, "list of pages")?;
    let administrator = matches!(caller, Caller::LocalAdministrator);
    let document_id = id.parse().map_err(|_| StateError::Corrupt { field: "document id" })?;
    Ok(DocumentRecord {
        document_id,
        source,
        path,
        uri,
        title,
        language,
        pages: (!page_starts.is_empty()).then_some(page_starts.len()),
        readers: if administrator { Some(from_json(&readers, "list of readers")?) } else { None },
        state,
        reason,
        chunks: chunks.unsigned_abs(),
        updated_ms,
        page_starts,
    })
}

impl State {
    /// The documents that the caller may read, by source and path.
    pub async fn documents(&self, caller: &Caller) -> Result<Vec<DocumentRecord>, StateError> {
        let sql = visible("ORDER BY d.source, d.path");
        let rows: Vec<Row> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(principals(caller)).fetch_all(&self.pool).await?;
        rows.into_iter().map(|row| record(caller, row)).collect()
    }

    /// Titles and ids of some of the documents that the caller may read, in that order.
    pub async fn document_titles(
        &self,
        caller: &Caller,
        page: &Page<'_>,
    ) -> Result<Vec<(String, DocumentId)>, StateError> {
        let (title, id) = page.after.map_or(("", String::new()), |(title, id)| (title, id.to_string()));
        // Compared as pairs, so that the index leads to the place.
        let sql = format!(
            "SELECT d.title, d.id FROM documents d
             WHERE (d.title, d.id) > ($3, $4) AND ($2 IS NULL OR d.source = $2) AND {MAY_READ}
             ORDER BY d.title, d.id LIMIT $5"
        );
        let rows: Vec<(String, String)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(principals(caller))
            .bind(page.source)
            .bind(title)
            .bind(id)
            .bind(page.limit)
            .fetch_all(&self.pool)
            .await?;
        let place = |(title, id): (String, String)| {
            Ok((title, id.parse().map_err(|_| StateError::Corrupt { field: "document id" })?))
        };
        rows.into_iter().map(place).collect()
    }

    /// One document; `None` if there is none with this id or the caller may not read it, which look the same.
    pub async fn document(&self, caller: &Caller, id: DocumentId) -> Result<Option<DocumentRecord>, StateError> {
        let sql = visible("AND d.id = $2");
        let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(principals(caller))
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| record(caller, row)).transpose()
    }

    /// The extracted text of a document that the caller may read.
    pub async fn document_text(&self, caller: &Caller, id: DocumentId) -> Result<Option<String>, StateError> {
        let row: Option<(String,)> = sqlx::query_as(sqlx::AssertSqlSafe(visible_text("t.text")))
            .bind(principals(caller))
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|(text,)| text))
    }

    /// A range of characters of the extracted text of a document that the caller may read, with where its pages begin.
    pub async fn document_part(
        &self,
        caller: &Caller,
        id: DocumentId,
        range: Range<usize>,
    ) -> Result<Option<Part>, StateError> {
        let row: Option<(String, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(visible_text("substr(t.text, $3, $4), length(t.text), d.page_starts")))
                .bind(principals(caller))
                .bind(id.to_string())
                .bind(i64::try_from(range.start).unwrap_or(i64::MAX).saturating_add(1))
                .bind(i64::try_from(range.len()).unwrap_or(i64::MAX))
                .fetch_optional(&self.pool)
                .await?;
        let Some((text, length, page_starts)) = row else { return Ok(None) };
        let page_starts = from_json(&page_starts, "list of pages")?;
        Ok(Some(Part { text, length: usize::try_from(length).unwrap_or(0), page_starts }))
    }

    /// Whether the caller may know of a file: it is one of those that its readers may read, indexed or not.
    pub async fn may_know(&self, caller: &Caller, source: &str, path: &str) -> Result<bool, StateError> {
        let row: Option<(String,)> = sqlx::query_as("SELECT readers FROM documents WHERE id = $1")
            .bind(DocumentId::new(source, path).to_string())
            .fetch_optional(&self.pool)
            .await?;
        let Some((readers,)) = row else { return Ok(matches!(caller, Caller::LocalAdministrator)) };
        Ok(caller.may_read(&from_json(&readers, "list of readers")?))
    }

    /// The file that a document which the caller may read was made from.
    pub async fn original(&self, caller: &Caller, id: DocumentId) -> Result<Option<Original>, StateError> {
        let row: Option<(String, String, String, String)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "SELECT d.source, d.path, d.content_hash, d.readers FROM documents d WHERE d.id = $2 AND {MAY_READ}"
        )))
        .bind(principals(caller))
        .bind(id.to_string())
        .fetch_optional(&self.pool)
        .await?;
        let Some((source, path, content_hash, readers)) = row else { return Ok(None) };
        let readers = from_json(&readers, "list of readers")?;
        Ok(Some(Original { source, path, content_hash: ContentHash(content_hash), readers }))
    }
}

/// Columns over the text of document `$2`, in the same statement as the filter: rights cannot change between.
fn visible_text(expression: &'static str) -> String {
    format!(
        "SELECT {expression} FROM documents d JOIN document_texts t ON t.document_id = d.id WHERE d.id = $2 AND {MAY_READ}"
    )
}

/// The rows that the caller may read, and what follows: the texts put together here are constants of this file.
fn visible(rest: &'static str) -> String {
    format!("SELECT {COLUMNS} FROM documents d WHERE {MAY_READ} {rest}")
}
