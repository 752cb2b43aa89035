//! What ingestion has done: the rows that [`intramuros_ingest::sync`] compares a source with.

use std::collections::HashMap;

use intramuros_ingest::access::Acl;
use intramuros_ingest::document::{ContentHash, Document, DocumentId};
use intramuros_ingest::sync::{Known, KnownState, Settled};
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use super::conversations::erase_answers;
use super::{State, StateError, from_json, now_ms, to_json};

/// What a commit writes of a document beside its ledger row.
pub struct Written {
    /// The document, with its text.
    pub document: Document,
    /// How many chunks it has.
    pub chunks: usize,
}

/// Documents of a source by state, for administrators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Counts {
    /// In the index.
    pub indexed: u64,
    /// Could not be understood.
    pub failed: u64,
    /// Being written.
    pub pending: u64,
}

impl State {
    /// All rows of a source.
    pub async fn known(&self, source: &str) -> Result<Vec<Known>, StateError> {
        type Row = (String, String, String, String, String, String, Option<String>);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, path, content_hash, readers, pipeline, state, reason FROM documents WHERE source = $1 ORDER BY path",
        )
        .bind(source)
        .fetch_all(&self.pool)
        .await?;
        let mut known = Vec::with_capacity(rows.len());
        for (id, path, content_hash, readers, pipeline, state, reason) in rows {
            known.push(Known {
                id: id.parse().map_err(|_| StateError::Corrupt { field: "document id" })?,
                path,
                content_hash: ContentHash(content_hash),
                acl: from_json(&readers, "list of readers")?,
                pipeline,
                state: match state.as_str() {
                    "indexed" => KnownState::Indexed,
                    "failed" => KnownState::Failed { reason: reason.unwrap_or_default() },
                    _ => KnownState::Pending,
                },
            });
        }
        Ok(known)
    }

    /// Marks documents as being written; from here until they settle they are shown to nobody but the administrator.
    pub async fn begin(&self, documents: &[Known], source: &str) -> Result<(), StateError> {
        let mut transaction = self.pool.begin().await?;
        for known in documents {
            upsert(&mut transaction, known, source, "pending", None).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Settles rows after the index was flushed, with the texts of what was written, in one transaction.
    pub async fn settle(&self, settled: &[Settled], written: &[Written]) -> Result<(), StateError> {
        let mut transaction = self.pool.begin().await?;
        for settled in settled {
            match settled {
                Settled::Row(known) => settle_row(&mut transaction, known).await?,
                Settled::Gone(id) => {
                    erase_answers(&mut transaction, *id).await?;
                    sqlx::query("DELETE FROM documents WHERE id = $1")
                        .bind(id.to_string())
                        .execute(&mut *transaction)
                        .await?;
                }
            }
        }
        for written in written {
            write_document(&mut transaction, written).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Takes readers away from a document at once, so that those are left whom `narrowed` gives of them. Returns them, or
    /// `None` if there is nothing to take away.
    pub async fn narrow(&self, id: DocumentId, narrowed: impl Fn(&Acl) -> Acl) -> Result<Option<Acl>, StateError> {
        // Writing first takes the lock: no pass settles the row between reading and writing.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let row: Option<(String, String)> = sqlx::query_as("SELECT readers, state FROM documents WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&mut *transaction)
            .await?;
        let Some((before, state)) = row else { return Ok(None) };
        let before: Acl = from_json(&before, "list of readers")?;
        let readers = narrowed(&before);
        // What the index holds of a pending one, and for whom, is unknown.
        if readers == before && state != "pending" {
            return Ok(None);
        }
        let readers_json = to_json(&readers);
        sqlx::query("UPDATE documents SET readers = $2, updated_ms = $3 WHERE id = $1")
            .bind(id.to_string())
            .bind(&readers_json)
            .bind(now_ms())
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM document_readers WHERE document_id = $1 AND principal NOT IN (SELECT value FROM json_each($2))")
            .bind(id.to_string())
            .bind(&readers_json)
            .execute(&mut *transaction)
            .await?;
        for reader in readers.readers() {
            // Of `everyone`, a name may be left.
            sqlx::query("INSERT INTO document_readers (document_id, principal) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(id.to_string())
                .bind(reader.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(Some(readers))
    }

    /// Documents of each source by state, for administrators.
    pub async fn document_counts(&self) -> Result<HashMap<String, Counts>, StateError> {
        let rows: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT source, state, COUNT(*) FROM documents GROUP BY source, state")
                .fetch_all(&self.pool)
                .await?;
        let mut counts: HashMap<String, Counts> = HashMap::new();
        for (source, state, count) in rows {
            let counts = counts.entry(source).or_default();
            let field = match state.as_str() {
                "indexed" => &mut counts.indexed,
                "failed" => &mut counts.failed,
                _ => &mut counts.pending,
            };
            *field = count.unsigned_abs();
        }
        Ok(counts)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StateError> {
        sqlx::query("SELECT version FROM schema_version").fetch_optional(&self.pool).await?;
        Ok(())
    }

    /// The id of the index that the ledger describes; `None` before the first.
    pub async fn described_index(&self) -> Result<Option<Uuid>, StateError> {
        let row: Option<(String,)> =
            sqlx::query_as("SELECT index_id FROM described_index").fetch_optional(&self.pool).await?;
        row.map(|(id,)| id.parse().map_err(|_| StateError::Corrupt { field: "index id" })).transpose()
    }

    /// From now on the ledger describes this index.
    pub async fn describe_index(&self, id: Uuid) -> Result<(), StateError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("DELETE FROM described_index").execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO described_index (index_id) VALUES ($1)")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Takes every document for not indexed: the next run of each source brings them in again. Returns how many.
    pub async fn forget_progress(&self) -> Result<u64, StateError> {
        let result = sqlx::query("UPDATE documents SET state = 'pending'").execute(&self.pool).await?;
        Ok(result.rows_affected())
    }

    /// Names of the sources that documents come from.
    pub async fn document_sources(&self) -> Result<Vec<String>, StateError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT DISTINCT source FROM documents ORDER BY source").fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    /// Whether any document has a row.
    pub async fn is_empty(&self) -> Result<bool, StateError> {
        let row: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM documents LIMIT 1").fetch_optional(&self.pool).await?;
        Ok(row.is_none())
    }

    /// Rows of all sources that are not settled, for checks of consistency.
    pub async fn pending(&self) -> Result<Vec<DocumentId>, StateError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT id FROM documents WHERE state = 'pending'").fetch_all(&self.pool).await?;
        rows.into_iter().map(|(id,)| id.parse().map_err(|_| StateError::Corrupt { field: "document id" })).collect()
    }

    /// Chunks each indexed document should have, by id, for checks of consistency.
    pub async fn chunk_counts(&self) -> Result<Vec<(DocumentId, u64, Acl)>, StateError> {
        let rows: Vec<(String, i64, String)> =
            sqlx::query_as("SELECT id, chunks, readers FROM documents WHERE state = 'indexed' ORDER BY id")
                .fetch_all(&self.pool)
                .await?;
        let mut counts = Vec::with_capacity(rows.len());
        for (id, chunks, readers) in rows {
            let id = id.parse().map_err(|_| StateError::Corrupt { field: "document id" })?;
            counts.push((id, chunks.unsigned_abs(), from_json(&readers, "list of readers")?));
        }
        Ok(counts)
    }
}

async fn upsert(
    transaction: &mut Transaction<'_, Sqlite>,
    known: &Known,
    source: &str,
    state: &str,
    reason: Option<&str>,
) -> Result<(), StateError> {
    sqlx::query(
        "INSERT INTO documents (id, source, path, content_hash, pipeline, readers, state, reason, updated_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (id) DO UPDATE SET content_hash = excluded.content_hash, pipeline = excluded.pipeline,
             readers = excluded.readers, state = excluded.state, reason = excluded.reason, updated_ms = excluded.updated_ms",
    )
    .bind(known.id.to_string())
    .bind(source)
    .bind(&known.path)
    .bind(&known.content_hash.0)
    .bind(&known.pipeline)
    .bind(to_json(&known.acl))
    .bind(state)
    .bind(reason)
    .bind(now_ms())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn settle_row(transaction: &mut Transaction<'_, Sqlite>, known: &Known) -> Result<(), StateError> {
    let id = known.id.to_string();
    let (state, reason) = match &known.state {
        KnownState::Indexed => ("indexed", None),
        KnownState::Failed { reason } => ("failed", Some(reason.as_str())),
        KnownState::Pending => ("pending", None),
    };
    sqlx::query(
        "UPDATE documents SET content_hash = $2, pipeline = $3, readers = $4, state = $5, reason = $6, updated_ms = $7 WHERE id = $1",
    )
    .bind(&id)
    .bind(&known.content_hash.0)
    .bind(&known.pipeline)
    .bind(to_json(&known.acl))
    .bind(state)
    .bind(reason)
    .bind(now_ms())
    .execute(&mut **transaction)
    .await?;
    sqlx::query("DELETE FROM document_readers WHERE document_id = $1").bind(&id).execute(&mut **transaction).await?;
    for reader in known.acl.readers() {
        sqlx::query("INSERT INTO document_readers (document_id, principal) VALUES ($1, $2)")
            .bind(&id)
            .bind(reader.to_string())
            .execute(&mut **transaction)
            .await?;
    }
    if state == "failed" {
        sqlx::query("UPDATE documents SET chunks = 0 WHERE id = $1").bind(&id).execute(&mut **transaction).await?;
        sqlx::query("DELETE FROM document_texts WHERE document_id = $1").bind(&id).execute(&mut **transaction).await?;
    }
    Ok(())
}

async fn write_document(transaction: &mut Transaction<'_, Sqlite>, written: &Written) -> Result<(), StateError> {
    let document = &written.document;
    let id = document.id.to_string();
    sqlx::query(
        "UPDATE documents SET uri = $2, title = $3, language = $4, page_starts = $5, chunks = $6 WHERE id = $1",
    )
    .bind(&id)
    .bind(&document.uri)
    .bind(&document.title)
    .bind(document.language.map(|language| language.code()))
    .bind(to_json(&document.page_starts))
    .bind(written.chunks as i64)
    .execute(&mut **transaction)
    .await?;
    sqlx::query(
        "INSERT INTO document_texts (document_id, text, content_hash)
             SELECT id, $2, content_hash FROM documents WHERE id = $1
         ON CONFLICT (document_id) DO UPDATE SET text = excluded.text, content_hash = excluded.content_hash",
    )
    .bind(&id)
    .bind(&document.text)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
