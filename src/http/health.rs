//! `GET /healthz` and `GET /readyz`: for supervisors and load balancers, without a key and without a secret.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::Shared;
use super::envelope::AsIs;
use crate::config::AnswerMode;

/// Less than this on the disk of the data directory is almost nothing: the store refuses writes soon after.
const LEAST_FREE: u64 = 128 << 20;
/// How long an answer holds for others: nobody can keep the server busy by asking.
const FRESH: Duration = Duration::from_secs(1);
/// What takes longer to answer is not there.
const PATIENCE: Duration = Duration::from_secs(5);

/// That the process serves.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`
    status: &'static str,
}

/// Whether questions can be answered and documents taken in.
#[derive(Clone, Serialize, ToSchema)]
pub struct Readiness {
    ready: bool,
    checks: Vec<Check>,
}

/// One thing that is needed.
#[derive(Clone, Serialize, ToSchema)]
pub struct Check {
    /// `state`, `store`, `models` or `disk`.
    name: &'static str,
    ready: bool,
    /// What is wrong; the log of the server says more.
    reason: Option<&'static str>,
}

/// The latest look, kept for a moment.
#[derive(Default)]
pub struct Looked(Mutex<Option<(Instant, Readiness)>>);

/// Says that the process serves.
#[utoipa::path(get, path = "/healthz", tag = "operations", security(()), responses((status = 200, body = Health)))]
pub async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Says whether everything that answers and uploads need is there, and if not, what is missing.
#[utoipa::path(get, path = "/readyz", tag = "operations", security(()),
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub async fn readyz(State(server): State<Shared>) -> Response {
    let mut looked = server.looked.0.lock().await;
    let readiness = match &*looked {
        Some((when, readiness)) if when.elapsed() < FRESH => readiness.clone(),
        _ => {
            let readiness = look(&server).await;
            *looked = Some((Instant::now(), readiness.clone()));
            readiness
        }
    };
    drop(looked);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = (status, Json(readiness)).into_response();
    response.extensions_mut().insert(AsIs);
    response
}

async fn look(server: &Shared) -> Readiness {
    let state = tokio::time::timeout(PATIENCE, server.app().state().ping()).await;
    let mut checks = vec![check("state", matches!(state, Ok(Ok(()))), "the state database does not answer")];
    let app = server.app.clone();
    let blocking = server.threads.spawn(move || {
        let models =
            app.embedder().is_ok() && (app.config().answer.mode == AnswerMode::Extract || app.generator().is_ok());
        let free = fs4::available_space(app.data_dir()).unwrap_or(0);
        // The store comes last: one on another machine may not answer at all.
        (models, free, app.store().is_ok_and(|store| store.info().is_ok()))
    });
    match tokio::time::timeout(PATIENCE, blocking).await {
        Ok(Ok((models, free, store))) => {
            checks.push(check("store", store, "the vector store cannot be used"));
            checks.push(check("models", models, "a model is not installed or cannot be loaded"));
            checks.push(check("disk", free >= LEAST_FREE, "the disk of the data directory is almost full"));
        }
        _ => checks.push(check("store", false, "the vector store does not answer")),
    }
    Readiness { ready: checks.iter().all(|check| check.ready), checks }
}

fn check(name: &'static str, ready: bool, reason: &'static str) -> Check {
    Check { name, ready, reason: (!ready).then_some(reason) }
}
