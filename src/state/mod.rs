//! The state database: documents and their readers, sources, jobs, people. Embedded SQLite.
//!
//! Invariant: a function that returns anything about documents to a person takes a [`Caller`] and filters in its query.
//! The ledger functions, which only ingestion uses, stand apart in [`ledger`].

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

pub mod conversations;
pub mod documents;
pub mod jobs;
pub mod keys;
pub mod ledger;
pub mod sessions;
pub mod sources;
pub mod users;

/// Each step brings a database from version N to N + 1. Steps are only ever added.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
];

/// A handle to the state database; cheap to clone.
#[derive(Clone)]
pub struct State {
    pool: SqlitePool,
}

/// What can go wrong with the state database.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Made by a newer version of this program.
    #[error(
        "the state database {path} has version {found} and this program knows up to {known}: use a newer intramuros"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        found: i64,
        /// The newest known.
        known: i64,
    },
    /// The disk is full.
    #[error(
        "no room to write the state database: free some space on the disk of the data directory and run the same command again, nothing acknowledged is lost"
    )]
    DiskFull,
    /// Too many use it at once.
    #[error("the state database is busy: try again in a few seconds")]
    Busy,
    /// SQLite reports an error.
    #[error("the state database cannot be used: {0}")]
    Sql(sqlx::Error),
    /// A stored value cannot be understood.
    #[error(
        "the state database holds an invalid {field}: restore the data directory from a backup, or index again into an empty one"
    )]
    Corrupt {
        /// Which one.
        field: &'static str,
    },
}

impl From<sqlx::Error> for StateError {
    fn from(error: sqlx::Error) -> Self {
        // SQLITE_FULL, and SQLITE_IOERR_SHMSIZE where not even the log's index has room; see
        // https://www.sqlite.org/rescode.html
        let code = error.as_database_error().and_then(|error| error.code());
        match code.as_deref() {
            Some("13" | "4874") => Self::DiskFull,
            Some("5") => Self::Busy,
            _ if matches!(error, sqlx::Error::PoolTimedOut) => Self::Busy,
            _ => Self::Sql(error),
        }
    }
}

impl State {
    /// Opens the database file, creating and upgrading it as needed.
    pub async fn open(path: &Path) -> Result<Self, StateError> {
        let options = SqliteConnectOptions::from_str("sqlite:")?
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged commit must survive a power cut, not only a crash of the process.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What is deleted is overwritten.
            .pragma("secure_delete", "ON")
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        let state = Self { pool };
        state.migrate(path).await?;
        Ok(state)
    }

    async fn migrate(&self, path: &Path) -> Result<(), StateError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
            .execute(&mut *transaction)
            .await?;
        let found: Option<(i64,)> =
            sqlx::query_as("SELECT version FROM schema_version").fetch_optional(&mut *transaction).await?;
        let known = MIGRATIONS.len() as i64;
        let current = found.map_or(0, |(version,)| version);
        if current > known {
            return Err(StateError::Newer { path: path.display().to_string(), found: current, known });
        }
        for step in &MIGRATIONS[current as usize..] {
            sqlx::raw_sql(*step).execute(&mut *transaction).await?;
        }
        if current < known {
            sqlx::query("DELETE FROM schema_version").execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
                .bind(known)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Closes all connections; what was committed is in the main file afterwards.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain lists and structs serialise")
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str, field: &'static str) -> Result<T, StateError> {
    serde_json::from_str(text).map_err(|_| StateError::Corrupt { field })
}
