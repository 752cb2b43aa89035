//! The server: every route stands in [`router`], one file an area beside it.
//!
//! Invariants: a handler gets at data only with an [`crate::auth::Identity`]; whatever computes goes through a [`Gate`];
//! questions, document text and secrets stay out of logs and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::app::App;
use crate::auth::SignIns;
use crate::error::ApiError;
use crate::jobs::Runner;

mod ask;
mod body;
mod conversations;
mod documents;
mod envelope;
mod health;
mod limits;
mod metrics;
mod openai;
mod original;
mod pages;
mod router;
pub mod search;
mod serve;
mod session;
mod sources;
mod upload;

pub use limits::{Gate, Pass};
pub use router::router;
pub use serve::serve;

use metrics::Metrics;

const UPLOADS_AT_ONCE: usize = 4;
const ORIGINALS_AT_ONCE: usize = 16;

/// What handlers share.
pub struct Server {
    app: Arc<App>,
    /// Before searches and the embeddings of questions.
    searches: Gate,
    /// Before answers.
    answers: Gate,
    /// Before uploads; each holds its place as long as its client sends.
    uploads: Gate,
    /// Before originals; each holds its place as long as its client reads.
    originals: Gate,
    /// Before passwords.
    sign_ins: SignIns,
    metrics: Metrics,
    runner: Runner,
    looked: health::Looked,
}

/// The state of the router.
pub type Shared = Arc<Server>;

impl Server {
    /// A server over an open application; loads the models, so that a broken one is told at the start, and goes on with
    /// queued jobs.
    pub fn new(app: Arc<App>) -> Result<Shared, ApiError> {
        app.retriever()?;
        app.generator()?;
        let settings = &app.config().server;
        // With its models there, no job fails for want of one.
        let runner = Runner::start(app.clone()).map_err(|error| ApiError::Internal(error.into()))?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Arc::new(Self {
            searches: Gate::new(cores, settings.queue, 1),
            answers: Gate::new(settings.answers_at_once, settings.queue, 5),
            uploads: Gate::new(UPLOADS_AT_ONCE, settings.queue, 10),
            originals: Gate::new(ORIGINALS_AT_ONCE, settings.queue, 2),
            sign_ins: SignIns::new().map_err(|error| ApiError::Internal(error.into()))?,
            metrics: Metrics::new(),
            runner,
            looked: health::Looked::default(),
            app,
        }))
    }

    /// The application.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// The runner of jobs: [`Runner::stop`] belongs to the end of the server.
    pub fn runner(&self) -> &Runner {
        &self.runner
    }

    /// What keeps sign-ins in bounds.
    pub fn sign_ins(&self) -> &SignIns {
        &self.sign_ins
    }

    /// Does blocking work off the async threads, once the gate lets it in.
    pub async fn blocking<T: Send + 'static>(
        &self,
        gate: &Gate,
        work: impl FnOnce(&App) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let pass = gate.enter().await?;
        let app = self.app.clone();
        let asking = self.runner.asking();
        let done = tokio::task::spawn_blocking(move || {
            let _held = (pass, asking);
            work(&app)
        });
        done.await.map_err(|panicked| ApiError::Internal(panicked.into()))?
    }
}

/// Tells work in another thread that its request is gone. Dropping it is telling.
pub struct CancelOnDrop(Arc<AtomicBool>);

impl CancelOnDrop {
    /// The guard, and what the work looks at.
    pub fn new() -> (Self, Arc<AtomicBool>) {
        let cancelled = Arc::new(AtomicBool::new(false));
        (Self(cancelled.clone()), cancelled)
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
