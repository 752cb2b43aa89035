//! `/api/v1/sources` and `/api/v1/jobs`: for administrators, where documents come from and how far it is.

use std::collections::HashSet;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use intramuros_ingest::access::Acl;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::Body;
use super::limits::within;
use super::{Server, Shared};
use crate::auth::{Admin, Identity};
use crate::error::ApiError;
use crate::index::sources;
use crate::jobs::JobProgress;
use crate::state::jobs::{JobRecord, JobRequest};
use crate::state::ledger::Counts;

/// Files that one job names, and those that are looked at for that.
const MOST_NAMED: usize = 100;
const MOST_LOOKED_AT: usize = 1000;
const UNKNOWN_JOB: ApiError = ApiError::NotFound("job");

/// A job, and how far it is.
#[derive(Serialize, ToSchema)]
pub struct JobView {
    #[serde(flatten)]
    record: JobRecord,
    /// While it runs.
    progress: Option<JobProgress>,
    /// Failed and skipped files, and warnings, that the report counts and does not name: in a list all of them; in one job
    /// those of documents that you may not read, and what comes after the first 100.
    unnamed: usize,
}

impl JobView {
    /// The figures alone.
    pub fn brief(server: &Server, record: JobRecord) -> Self {
        Self::named(server, record, |_| false)
    }

    /// With the names of files that the caller may read. What else a pass has to say is about files, too, and is for the
    /// local administrator.
    async fn whole(server: &Server, identity: &Identity, record: JobRecord) -> Result<Self, ApiError> {
        let mut known = HashSet::new();
        for path in listed(&record).into_iter().take(MOST_LOOKED_AT) {
            if known.len() < MOST_NAMED
                && server.app().state().may_know(&identity.caller, &record.source, &path).await?
            {
                known.insert(path);
            }
        }
        Ok(Self::named(server, record, |path| known.contains(path)))
    }

    fn named(server: &Server, mut record: JobRecord, may_know: impl Fn(&str) -> bool) -> Self {
        // One that has begun since its record was read is shown as the record says.
        let progress = if record.state == "running" { server.runner.progress(&record.job_id) } else { None };
        let mut unnamed = 0;
        // The local administrator's may have gone over a part of a source, whose name not everybody may know.
        if record.requested_by.is_none() && record.error.is_some() {
            record.error = Some(format!("`intramuros jobs {}` on the server says why", record.job_id));
        }
        if let Some(report) = record.report.as_mut().and_then(serde_json::Value::as_object_mut) {
            for list in ["failures", "skips", "warnings"] {
                let Some(items) = report.get_mut(list).and_then(serde_json::Value::as_array_mut) else { continue };
                let before = items.len();
                items.retain(|item| item["path"].as_str().is_some_and(&may_know));
                unnamed += before - items.len();
            }
        }
        Self { record, progress, unnamed }
    }
}

/// The paths that a job's report names.
fn listed(record: &JobRecord) -> Vec<String> {
    let mut paths = Vec::new();
    for list in ["failures", "skips"] {
        let items = record.report.as_ref().and_then(|report| report[list].as_array());
        paths.extend(items.into_iter().flatten().filter_map(|item| item["path"].as_str().map(str::to_owned)));
    }
    paths
}

/// Sources, those of the configuration first.
#[derive(Serialize, ToSchema)]
pub struct Sources {
    sources: Vec<SourceView>,
}

/// A source.
#[derive(Serialize, ToSchema)]
pub struct SourceView {
    name: String,
    /// `folder`
    kind: String,
    /// Who reads what no `.access.toml` speaks for; empty: nobody.
    #[schema(value_type = Vec<String>)]
    readers: Acl,
    /// How many documents it has.
    documents: Counts,
    /// The latest run.
    last_job: Option<JobView>,
}

/// What a sync may do.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// Whether a source that lists no file at all may empty its index; else it is taken for a disk that is not mounted.
    #[serde(default)]
    allow_empty: bool,
}

/// Jobs, newest first.
#[derive(Serialize, ToSchema)]
pub struct Jobs {
    jobs: Vec<JobView>,
}

/// How many jobs to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct JobsQuery {
    /// At most so many, 1 to 200; 20 if not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Lists the sources of documents.
#[utoipa::path(get, path = "/api/v1/sources", tag = "documents",
    responses((status = 200, body = Sources), (status = 403, description = "only for administrators")))]
pub async fn list(State(server): State<Shared>, _admin: Admin) -> Result<Json<Sources>, ApiError> {
    let state = server.app().state();
    let counts = state.document_counts().await?;
    let mut views = Vec::new();
    for info in sources::infos(server.app()).await? {
        let last_job = state.last_job(&info.name).await?.map(|job| JobView::brief(&server, job));
        let documents = counts.get(&info.name).copied().unwrap_or_default();
        views.push(SourceView { name: info.name, kind: info.kind, readers: info.readers, documents, last_job });
    }
    Ok(Json(Sources { sources: views }))
}

/// Brings the index in step with a source. If a job for that waits already, it is the reply.
#[utoipa::path(post, path = "/api/v1/sources/{name}/sync", tag = "documents",
    params(("name" = String, Path, description = "Its name, percent-encoded: `/` is `%2F`")),
    request_body(content = Option<SyncRequest>), responses((status = 202, body = JobView)))]
pub async fn sync(
    State(server): State<Shared>,
    Admin(identity): Admin,
    Path(name): Path<String>,
    request: Option<Body<Option<SyncRequest>>>,
) -> Result<(StatusCode, Json<JobView>), ApiError> {
    let known = sources::infos(server.app()).await?;
    if !known.iter().any(|info| info.name == name) {
        return Err(ApiError::NotFound("source"));
    }
    let allow_empty = request.and_then(|Body(request)| request).is_some_and(|request| request.allow_empty);
    let request = JobRequest { allow_empty };
    let job = server.app().state().enqueue_sync(&name, request, &identity.user).await?;
    server.runner.wake();
    Ok((StatusCode::ACCEPTED, Json(JobView::brief(&server, job))))
}

/// Lists jobs, newest first.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "documents", params(JobsQuery),
    responses((status = 200, body = Jobs), (status = 403, description = "only for administrators")))]
pub async fn jobs(
    State(server): State<Shared>,
    _admin: Admin,
    Query(query): Query<JobsQuery>,
) -> Result<Json<Jobs>, ApiError> {
    let limit = within("limit", query.limit.unwrap_or(20), 200)?;
    let records = server.app().state().jobs(limit).await?;
    let jobs = records.into_iter().map(|record| JobView::brief(&server, record)).collect();
    Ok(Json(Jobs { jobs }))
}

/// One job, with its progress while it runs and its report afterwards.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "documents",
    params(("id" = uuid::Uuid, Path, description = "Its id")),
    responses((status = 200, body = JobView), (status = 403, description = "only for administrators")))]
pub async fn job(
    State(server): State<Shared>,
    Admin(identity): Admin,
    Path(id): Path<String>,
) -> Result<Json<JobView>, ApiError> {
    let record = server.app().state().job(&id).await?.ok_or(UNKNOWN_JOB)?;
    Ok(Json(JobView::whole(&server, &identity, record).await?))
}

/// Takes a job out of the queue, or ends it at its next safe place; what it has done is kept.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/cancel", tag = "documents",
    params(("id" = uuid::Uuid, Path, description = "Its id")),
    responses((status = 202, body = JobView), (status = 409, description = "the job has ended")))]
pub async fn cancel(
    State(server): State<Shared>,
    _admin: Admin,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<JobView>), ApiError> {
    let state = server.app().state();
    // A job can leave the queue between two looks; it is then running within a moment.
    for _ in 0..20 {
        let record = state.job(&id).await?.ok_or(UNKNOWN_JOB)?;
        let done = match record.state.as_str() {
            "queued" => state.cancel_queued_job(&id).await?,
            "running" => server.runner.cancel(&id),
            ended => return Err(ApiError::Conflict(format!("the job has ended already: it is {ended}"))),
        };
        if done {
            let record = state.job(&id).await?.ok_or(UNKNOWN_JOB)?;
            return Ok((StatusCode::ACCEPTED, Json(JobView::brief(&server, record))));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(ApiError::Conflict("the job is just ending".to_owned()))
}
