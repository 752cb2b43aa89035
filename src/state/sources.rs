//! Folders that were given to `ingest` by path: remembered with their readers, so that a later run needs neither.

use std::path::{Path, PathBuf};

use intramuros_ingest::access::Acl;

use super::{State, StateError, from_json, now_ms, to_json};

/// A remembered source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// Unique name.
    pub name: String,
    /// Its folder.
    pub root: PathBuf,
    /// Who reads what no `.access.toml` speaks for.
    pub readers: Acl,
}

impl State {
    /// All remembered sources, by name.
    pub async fn sources(&self) -> Result<Vec<SourceRecord>, StateError> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT name, root, readers FROM sources ORDER BY name").fetch_all(&self.pool).await?;
        let mut sources = Vec::with_capacity(rows.len());
        for (name, root, readers) in rows {
            sources.push(SourceRecord {
                name,
                root: PathBuf::from(root),
                readers: from_json(&readers, "list of readers")?,
            });
        }
        Ok(sources)
    }

    /// Remembers a source, or its new root and readers.
    pub async fn remember_source(&self, name: &str, root: &Path, readers: &Acl) -> Result<(), StateError> {
        sqlx::query(
            "INSERT INTO sources (name, root, readers, created_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO UPDATE SET root = excluded.root, readers = excluded.readers",
        )
        .bind(name)
        .bind(root.to_string_lossy())
        .bind(to_json(readers))
        .bind(now_ms())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets a source that has no documents left.
    pub async fn forget_source(&self, name: &str) -> Result<(), StateError> {
        sqlx::query("DELETE FROM sources WHERE name = $1").bind(name).execute(&self.pool).await?;
        Ok(())
    }
}
