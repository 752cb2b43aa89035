//! The record of ingest runs.

use serde::Serialize;
use uuid::Uuid;

use super::{State, StateError, from_json, now_ms};

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobRecord {
    /// Its id.
    pub job_id: String,
    /// What it does: `sync`.
    pub kind: String,
    /// Name of the source.
    pub source: String,
    /// `running`, `done`, `failed` or `interrupted`.
    pub state: String,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// The figures shown at its end.
    pub report: Option<serde_json::Value>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Ended runs that are remembered.
const KEPT: i64 = 1000;

/// How a job ended.
pub enum JobEnd<'a> {
    /// It went through; the report as JSON.
    Done(&'a serde_json::Value),
    /// It was asked to stop; what it did until then as JSON.
    Interrupted(&'a serde_json::Value),
    /// It could not go on.
    Failed(&'a str),
}

type Row = (String, String, String, String, i64, Option<i64>, Option<String>, Option<String>);

fn record(row: Row) -> Result<JobRecord, StateError> {
    let (job_id, kind, source, state, started_ms, finished_ms, report, error) = row;
    let report = report.map(|report| from_json(&report, "job report")).transpose()?;
    Ok(JobRecord { job_id, kind, source, state, started_ms, finished_ms, report, error })
}

impl State {
    /// Records that a run began.
    pub async fn start_job(&self, kind: &str, source: &str) -> Result<String, StateError> {
        let id = Uuid::new_v4().to_string();
        sqlx::query("INSERT INTO jobs (id, kind, source, state, started_ms) VALUES ($1, $2, $3, 'running', $4)")
            .bind(&id)
            .bind(kind)
            .bind(source)
            .bind(now_ms())
            .execute(&self.pool)
            .await?;
        Ok(id)
    }

    /// Records how a run ended.
    pub async fn end_job(&self, id: &str, end: JobEnd<'_>) -> Result<(), StateError> {
        let (state, report, error) = match end {
            JobEnd::Done(report) => ("done", Some(report.to_string()), None),
            JobEnd::Interrupted(report) => ("interrupted", Some(report.to_string()), None),
            JobEnd::Failed(error) => ("failed", None, Some(error)),
        };
        sqlx::query(
            "DELETE FROM jobs WHERE finished_ms IS NOT NULL AND id NOT IN (SELECT id FROM jobs ORDER BY finished_ms DESC LIMIT $1)",
        )
        .bind(KEPT)
        .execute(&self.pool)
        .await?;
        sqlx::query("UPDATE jobs SET state = $2, finished_ms = $3, report = $4, error = $5 WHERE id = $1")
            .bind(id)
            .bind(state)
            .bind(now_ms())
            .bind(report)
            .bind(error)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Runs that a crash cut off: nobody runs them any more, as the data directory has one owner.
    pub async fn settle_abandoned_jobs(&self) -> Result<u64, StateError> {
        let result = sqlx::query(
            "UPDATE jobs SET state = 'failed', finished_ms = $1, error = 'the process ended before the run did' WHERE state = 'running'",
        )
        .bind(now_ms())
        .execute(&self.pool)
        .await?;
        Ok(result.rows_affected())
    }

    /// The latest runs, newest first.
    pub async fn jobs(&self, limit: u32) -> Result<Vec<JobRecord>, StateError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, kind, source, state, started_ms, finished_ms, report, error FROM jobs ORDER BY started_ms DESC LIMIT $1",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(record).collect()
    }

    /// One run.
    pub async fn job(&self, id: &str) -> Result<Option<JobRecord>, StateError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, kind, source, state, started_ms, finished_ms, report, error FROM jobs WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(record).transpose()
    }
}
