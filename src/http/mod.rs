//! The server: every route stands in [`router`], one file an area beside it.
//!
//! Invariants: a handler gets at data only with an [`crate::auth::Identity`]; whatever computes goes through a [`Gate`];
//! questions, document text and secrets stay out of logs and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::app::App;
use crate::auth::{Identity, SignIns};
use crate::config::AnswerMode;
use crate::error::ApiError;
use crate::jobs::Runner;

mod ask;
mod body;
mod conversations;
mod describe;
mod documents;
mod envelope;
mod format;
mod health;
mod limits;
mod links;
mod metrics;
mod openai;
mod original;
mod pages;
mod router;
pub mod search;
mod serve;
mod session;
mod sources;
mod threads;
mod upload;

pub use limits::{Gate, Pass};
pub use router::router;
pub use serve::serve;

use metrics::Metrics;
use threads::Threads;

const UPLOADS_AT_ONCE: usize = 4;
const ORIGINALS_AT_ONCE: usize = 16;
/// Fewer than the state database has connections, so that others get at it meanwhile.
const LISTS_AT_ONCE: usize = 2;

/// What handlers share.
pub struct Server {
    app: Arc<App>,
    /// Before searches.
    searches: Gate,
    /// Before vectors for programs, which may ask for many at a time.
    embeddings: Gate,
    /// Before lists, which read many rows of the state database.
    lists: Gate,
    /// Before answers.
    answers: Gate,
    /// Before uploads; each holds its place as long as its client sends.
    uploads: Gate,
    /// Before originals; each holds its place as long as its client reads.
    originals: Gate,
    /// Before passwords.
    sign_ins: SignIns,
    metrics: Metrics,
    threads: Threads,
    runner: Runner,
    looked: health::Looked,
}

/// The state of the router.
pub type Shared = Arc<Server>;

impl Server {
    /// A server over an open application; loads the models, so that a broken one is told at the start, and goes on with
    /// queued jobs.
    pub fn new(app: Arc<App>) -> anyhow::Result<Shared> {
        app.retriever()?;
        if app.config().answer.mode == AnswerMode::Generate {
            app.generator()?;
        }
        let sign_ins = SignIns::new()?;
        let settings = &app.config().server;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        // With its models there, no job fails for want of one.
        let runner = Runner::start(app.clone())?;
        Ok(Arc::new(Self {
            searches: Gate::new(cores, settings.queue, 1),
            embeddings: Gate::new(1, settings.queue, 5),
            lists: Gate::new(LISTS_AT_ONCE, settings.queue, 1),
            answers: Gate::new(settings.answers_at_once, settings.queue, 5),
            uploads: Gate::new(UPLOADS_AT_ONCE, settings.queue, 10),
            originals: Gate::new(ORIGINALS_AT_ONCE, settings.queue, 2),
            sign_ins,
            metrics: Metrics::new(),
            threads: Threads::new(),
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

    /// Waits until nothing works for requests any more, which is soon after the last connection has ended.
    pub async fn at_rest(&self) {
        self.threads.ended().await;
    }

    /// What keeps sign-ins in bounds.
    pub fn sign_ins(&self) -> &SignIns {
        &self.sign_ins
    }

    /// Waits for a place behind a gate, no longer than a request may take.
    pub async fn enter(&self, gate: &Gate, identity: &Identity) -> Result<Admitted, ApiError> {
        let deadline = Instant::now() + Duration::from_secs(self.app.config().server.timeout_s);
        let pass = tokio::time::timeout_at(deadline.into(), gate.enter()).await.map_err(|_| ApiError::TimedOut)??;
        Ok(Admitted { pass, identity: identity.again(self.app.state()).await?, deadline })
    }

    /// Does blocking work off the async threads, once the gate lets it in. Work that takes long looks at its
    /// [`Cancelled`]: the client may have left, or the time may be up.
    pub async fn blocking<T: Send + 'static>(
        &self,
        gate: &Gate,
        identity: &Identity,
        work: impl FnOnce(&App, &Identity, &Cancelled) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Admitted { pass, identity, deadline } = self.enter(gate, identity).await?;
        let (_guard, cancelled) = CancelOnDrop::new();
        let app = self.app.clone();
        let asking = self.runner.asking();
        let done = self.threads.spawn(move || {
            let _held = (pass, asking);
            work(&app, &identity, &cancelled)
        });
        let done = tokio::time::timeout_at(deadline.into(), done).await.map_err(|_| ApiError::TimedOut)?;
        done.map_err(|panicked| ApiError::Internal(panicked.into()))?
    }
}

/// Somebody whose turn it is.
pub struct Admitted {
    /// Their place.
    pub pass: Pass,
    /// Who asks, looked up after the wait.
    pub identity: Identity,
    /// When the request must be answered.
    pub deadline: Instant,
}

/// What work looks at that its request may leave.
pub type Cancelled = Arc<AtomicBool>;

/// Tells work in another thread that its request is gone. Dropping it is telling.
pub struct CancelOnDrop(Arc<AtomicBool>);

impl CancelOnDrop {
    /// The guard, and what the work looks at.
    pub fn new() -> (Self, Cancelled) {
        let cancelled = Arc::new(AtomicBool::new(false));
        (Self(cancelled.clone()), cancelled)
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
