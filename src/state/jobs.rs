//! The record of ingest runs: those of the command line, and those that a server queues and goes on with after a restart.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{State, StateError, from_json, now_ms, to_json};

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobRecord {
    /// Its id.
    pub job_id: String,
    /// What it does: `sync`.
    pub kind: String,
    /// Name of the source.
    pub source: String,
    /// `queued`, `running`, `done`, `failed` or `interrupted`.
    pub state: String,
    /// Who asked the server for it; `null` for the command line.
    pub requested_by: Option<String>,
    /// When it was asked for, in milliseconds since 1970.
    pub queued_ms: i64,
    /// When it last began.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// The figures shown at its end, with the paths of what failed.
    #[schema(value_type = Option<Object>)]
    pub report: Option<serde_json::Value>,
    /// Why it failed.
    pub error: Option<String>,
    /// What a server has to do; `None` for the command line.
    #[serde(skip)]
    pub request: Option<JobRequest>,
}

/// What a queued job has to do beside what its row says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRequest {
    /// Whether a source that lists no file at all may empty its index.
    #[serde(default)]
    pub allow_empty: bool,
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

type Row = (
    String,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    i64,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<String>,
);

/// The columns of [`Row`].
macro_rules! columns {
    () => {
        "id, kind, source, state, request, requested_by, queued_ms, started_ms, finished_ms, report, error"
    };
}

fn record(row: Row) -> Result<JobRecord, StateError> {
    let (job_id, kind, source, state, request, requested_by, queued_ms, started_ms, finished_ms, report, error) = row;
    let request = request.map(|request| from_json(&request, "job request")).transpose()?;
    let report = report.map(|report| from_json(&report, "job report")).transpose()?;
    Ok(JobRecord {
        job_id,
        kind,
        source,
        state,
        requested_by,
        queued_ms,
        started_ms,
        finished_ms,
        report,
        error,
        request,
    })
}

impl State {
    /// Records that a run of the command line began.
    pub async fn start_job(&self, kind: &str, source: &str) -> Result<String, StateError> {
        let id = Uuid::new_v4().to_string();
        sqlx::query(
            "INSERT INTO jobs (id, kind, source, state, queued_ms, started_ms) VALUES ($1, $2, $3, 'running', $4, $4)",
        )
        .bind(&id)
        .bind(kind)
        .bind(source)
        .bind(now_ms())
        .execute(&self.pool)
        .await?;
        Ok(id)
    }

    /// Queues a sync of a source, durably. One that is queued already to do the same does for both, so that the queue is
    /// never longer than twice the sources (and runs that were cut off); one that runs has listed its files and does not.
    pub async fn enqueue_sync(
        &self,
        source: &str,
        request: JobRequest,
        requested_by: &str,
    ) -> Result<JobRecord, StateError> {
        loop {
            let id = Uuid::new_v4().to_string();
            // One statement, so that two requests at the same moment cannot both find nothing.
            let inserted = sqlx::query(
                "INSERT INTO jobs (id, kind, source, state, request, requested_by, queued_ms)
                 SELECT $1, 'sync', $2, 'queued', $3, $4, $5
                 WHERE NOT EXISTS (
                     SELECT 1 FROM jobs WHERE state = 'queued' AND kind = 'sync' AND source = $2 AND request = $3)",
            )
            .bind(&id)
            .bind(source)
            .bind(to_json(&request))
            .bind(requested_by)
            .bind(now_ms())
            .execute(&self.pool)
            .await?;
            if inserted.rows_affected() == 1 {
                return self.job(&id).await?.ok_or(StateError::Corrupt { field: "job" });
            }
            let queued: Option<Row> = sqlx::query_as(concat!(
                "SELECT ",
                columns!(),
                " FROM jobs WHERE state = 'queued' AND kind = 'sync' AND source = $1 AND request = $2"
            ))
            .bind(source)
            .bind(to_json(&request))
            .fetch_optional(&self.pool)
            .await?;
            // It may have begun in between; then a new one is needed after all.
            if let Some(row) = queued {
                return record(row);
            }
        }
    }

    /// Takes the job that has waited longest; it is `running` from here on.
    pub async fn claim_job(&self) -> Result<Option<JobRecord>, StateError> {
        let row: Option<Row> = sqlx::query_as(concat!(
            "UPDATE jobs SET state = 'running', started_ms = $1 WHERE id = (
                SELECT id FROM jobs WHERE state = 'queued' ORDER BY queued_ms, id LIMIT 1) RETURNING ",
            columns!()
        ))
        .bind(now_ms())
        .fetch_optional(&self.pool)
        .await?;
        row.map(record).transpose()
    }

    /// Puts a running job back to where it stood in the queue.
    pub async fn requeue_job(&self, id: &str) -> Result<(), StateError> {
        sqlx::query("UPDATE jobs SET state = 'queued', started_ms = NULL WHERE id = $1 AND state = 'running'")
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Takes a job out of the queue. Returns whether it was in it.
    pub async fn cancel_queued_job(&self, id: &str) -> Result<bool, StateError> {
        let result =
            sqlx::query("UPDATE jobs SET state = 'interrupted', finished_ms = $2 WHERE id = $1 AND state = 'queued'")
                .bind(id)
                .bind(now_ms())
                .execute(&self.pool)
                .await?;
        Ok(result.rows_affected() == 1)
    }

    /// Records how a run ended.
    pub async fn end_job(&self, id: &str, end: &JobEnd<'_>) -> Result<(), StateError> {
        let (state, report, error) = match end {
            JobEnd::Done(report) => ("done", Some(report.to_string()), None),
            JobEnd::Interrupted(report) => ("interrupted", Some(report.to_string()), None),
            JobEnd::Failed(error) => ("failed", None, Some(*error)),
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

    /// Runs that a crash cut off: nobody runs them any more, as the data directory has one owner. A server's go back to
    /// the queue, those of the command line have failed.
    pub async fn settle_abandoned_jobs(&self) -> Result<u64, StateError> {
        sqlx::query(
            "UPDATE jobs SET state = 'queued', started_ms = NULL WHERE state = 'running' AND request IS NOT NULL",
        )
        .execute(&self.pool)
        .await?;
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
        let rows: Vec<Row> =
            sqlx::query_as(concat!("SELECT ", columns!(), " FROM jobs ORDER BY queued_ms DESC, id LIMIT $1"))
                .bind(limit)
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(record).collect()
    }

    /// One run.
    pub async fn job(&self, id: &str) -> Result<Option<JobRecord>, StateError> {
        let row: Option<Row> = sqlx::query_as(concat!("SELECT ", columns!(), " FROM jobs WHERE id = $1"))
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.map(record).transpose()
    }

    /// The latest run of a source.
    pub async fn last_job(&self, source: &str) -> Result<Option<JobRecord>, StateError> {
        let row: Option<Row> = sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM jobs WHERE source = $1 ORDER BY queued_ms DESC, id LIMIT 1"
        ))
        .bind(source)
        .fetch_optional(&self.pool)
        .await?;
        row.map(record).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn opened(directory: &std::path::Path) -> State {
        State::open(&directory.join("state.sqlite")).await.unwrap()
    }

    #[tokio::test]
    async fn the_queue_is_ordered_has_one_job_a_source_and_survives() {
        let directory = tempfile::tempdir().unwrap();
        let state = opened(directory.path()).await;
        let (careful, empty) = (JobRequest::default(), JobRequest { allow_empty: true });
        let a = state.enqueue_sync("a", careful, "ana").await.unwrap();
        assert_eq!((a.state.as_str(), a.requested_by.as_deref(), a.started_ms), ("queued", Some("ana"), None));
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        let b = state.enqueue_sync("b", careful, "ana").await.unwrap();
        let again = state.enqueue_sync("a", careful, "luis").await.unwrap();
        assert_eq!(again.job_id, a.job_id);
        let other = state.enqueue_sync("a", empty, "luis").await.unwrap();
        assert_ne!(other.job_id, a.job_id, "what one person allows, the other's job may not");
        assert_eq!((other.request, other.requested_by.as_deref()), (Some(empty), Some("luis")));
        assert!(state.cancel_queued_job(&other.job_id).await.unwrap());

        let first = state.claim_job().await.unwrap().unwrap();
        assert_eq!((first.job_id.as_str(), first.state.as_str()), (a.job_id.as_str(), "running"));
        let after = state.enqueue_sync("a", careful, "ana").await.unwrap();
        assert_ne!(after.job_id, a.job_id, "a running one does not do for what came after it began");

        let of_command_line = state.start_job("sync", "c").await.unwrap();
        state.close().await;
        let state = opened(directory.path()).await;
        assert_eq!(state.settle_abandoned_jobs().await.unwrap(), 1);
        assert_eq!(state.job(&of_command_line).await.unwrap().unwrap().state, "failed");
        let first = state.claim_job().await.unwrap().unwrap();
        assert_eq!(first.job_id, a.job_id, "what was cut off comes first");
        state.end_job(&first.job_id, &JobEnd::Failed("x")).await.unwrap();
        assert_eq!(state.claim_job().await.unwrap().unwrap().job_id, b.job_id);
        assert!(state.cancel_queued_job(&after.job_id).await.unwrap());
        assert!(!state.cancel_queued_job(&b.job_id).await.unwrap());
        assert_eq!(state.claim_job().await.unwrap(), None);
        assert_eq!(state.last_job("a").await.unwrap().unwrap().job_id, after.job_id);
    }

    #[tokio::test]
    async fn a_job_that_stops_with_the_server_is_next_again() {
        let directory = tempfile::tempdir().unwrap();
        let state = opened(directory.path()).await;
        let a = state.enqueue_sync("a", JobRequest::default(), "ana").await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        state.enqueue_sync("b", JobRequest::default(), "ana").await.unwrap();
        let claimed = state.claim_job().await.unwrap().unwrap();
        state.requeue_job(&claimed.job_id).await.unwrap();
        assert_eq!(state.claim_job().await.unwrap().unwrap().job_id, a.job_id);
    }
}
