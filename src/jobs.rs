//! Runs queued jobs, one after the other, in a thread that the server owns.
//!
//! The queue itself is the table of jobs: what is in it survives a restart. Progress is kept in memory only. Invariants:
//! no job, whatever becomes of it, ends the runner; a job that the server's own end cuts short goes back to its place in
//! the queue; while someone asks or searches, a job leaves at least half of the machine to them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use intramuros_ingest::sync::{SyncEvent, SyncOptions, SyncReport};
use serde::Serialize;

use crate::app::App;
use crate::index::{self, IndexError, sources};
use crate::state::StateError;
use crate::state::jobs::{JobEnd, JobRecord};

/// Texts that go to the embedder at a time: few, so that a question waits for few.
const EMBED_BATCH: usize = 8;
/// How long until the state database is tried again where it failed, as on a full disk.
const RETRY: Duration = Duration::from_secs(5);
/// A job gives way no longer than this at a time, however long it has just held the machine.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often a job that gives way looks whether it may go on.
const LOOK: Duration = Duration::from_millis(10);

/// How far the running job is. What it reads is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct JobProgress {
    /// Files that are through.
    pub documents_done: u64,
    /// Files that there are; `null` while they are being listed.
    pub documents_total: Option<u64>,
    /// Passages that went through the model.
    pub passages_embedded: u64,
}

/// A handle to the runner; cheap to clone.
#[derive(Clone)]
pub struct Runner {
    shared: Arc<Shared>,
}

/// Somebody waits for an answer or a search as long as this lives; see [`Runner::asking`].
pub struct Asking(Arc<Shared>);

struct Shared {
    state: Mutex<Inner>,
    changed: Condvar,
    /// Questions and searches that are being worked on.
    asking: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    stopping: bool,
    ended: bool,
    /// Whether the queue may hold what the runner has not seen.
    woken: bool,
    current: Option<Current>,
}

/// The running job.
struct Current {
    job_id: String,
    /// What the pass looks at.
    cancel: Arc<AtomicBool>,
    /// Whether somebody cancelled it, rather than the server ending.
    cancelled: bool,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    listed: AtomicBool,
    total: AtomicU64,
    done: AtomicU64,
    embedded: AtomicU64,
}

impl Runner {
    /// Starts the thread, which goes on with what is queued. It holds the application until it ends.
    pub fn start(app: Arc<App>) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), asking: AtomicUsize::new(0) });
        let of_thread = shared.clone();
        std::thread::Builder::new().name("jobs".to_owned()).spawn(move || {
            let _ended = Ended(&of_thread);
            serve(&app, &of_thread);
            // Whoever waits for the end may count on the data directory being released.
            drop(app);
        })?;
        Ok(Self { shared })
    }

    /// Makes the runner look at the queue.
    pub fn wake(&self) {
        self.shared.lock().woken = true;
        self.shared.changed.notify_all();
    }

    /// How far a job is; `None` unless it is the running one.
    pub fn progress(&self, job_id: &str) -> Option<JobProgress> {
        let inner = self.shared.lock();
        let current = inner.current.as_ref().filter(|current| current.job_id == job_id)?;
        let counts = &current.counts;
        Some(JobProgress {
            documents_done: counts.done.load(Ordering::Relaxed),
            documents_total: counts.listed.load(Ordering::Relaxed).then(|| counts.total.load(Ordering::Relaxed)),
            passages_embedded: counts.embedded.load(Ordering::Relaxed),
        })
    }

    /// Ends the running job at its next safe place; what it has done is kept. Returns whether it is the running one.
    pub fn cancel(&self, job_id: &str) -> bool {
        let mut inner = self.shared.lock();
        let Some(current) = inner.current.as_mut().filter(|current| current.job_id == job_id) else { return false };
        current.cancelled = true;
        current.cancel.store(true, Ordering::Relaxed);
        true
    }

    /// Tells jobs that somebody waits for an answer, as long as the guard lives.
    pub fn asking(&self) -> Asking {
        self.shared.asking.fetch_add(1, Ordering::Relaxed);
        Asking(self.shared.clone())
    }

    /// Ends the runner; its job goes back to the queue. Blocks, at most for `within`; returns whether it has ended.
    pub fn stop(&self, within: Duration) -> bool {
        let mut inner = self.shared.lock();
        inner.stopping = true;
        if let Some(current) = &inner.current {
            current.cancel.store(true, Ordering::Relaxed);
        }
        self.shared.changed.notify_all();
        let waited = self.shared.changed.wait_timeout_while(inner, within, |inner| !inner.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there may be work; `false` when the server ends.
    fn wait_for_work(&self, at_most: Option<Duration>) -> bool {
        let inner = self.lock();
        let idle = |inner: &mut Inner| !inner.stopping && !inner.woken;
        let mut inner = match at_most {
            None => self.changed.wait_while(inner, idle).unwrap_or_else(PoisonError::into_inner),
            Some(time) => self.changed.wait_timeout_while(inner, time, idle).unwrap_or_else(PoisonError::into_inner).0,
        };
        inner.woken = false;
        !inner.stopping
    }

    /// Pauses for as long as the work took, if somebody waits for an answer all that time.
    fn give_way(&self, worked: Duration, cancel: &AtomicBool) {
        let until = Instant::now() + worked.min(LONGEST_PAUSE);
        while Instant::now() < until && self.asking.load(Ordering::Relaxed) > 0 && !cancel.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
        }
    }
}

/// Tells [`Runner::stop`] that the thread is through.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

fn serve(app: &App, shared: &Shared) {
    loop {
        if shared.lock().stopping {
            return;
        }
        let go_on = match app.wait(app.state().claim_job()) {
            Ok(Some(job)) => {
                work(app, shared, &job);
                true
            }
            Ok(None) => shared.wait_for_work(None),
            Err(error) => {
                tracing::error!("the queue of jobs cannot be read, which is tried again: {error}");
                shared.wait_for_work(Some(RETRY))
            }
        };
        if !go_on {
            return;
        }
    }
}

/// Runs one job and records how it ended.
fn work(app: &App, shared: &Shared, job: &JobRecord) {
    let (cancel, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
    {
        let mut inner = shared.lock();
        cancel.store(inner.stopping, Ordering::Relaxed);
        inner.current = Some(Current {
            job_id: job.job_id.clone(),
            cancel: cancel.clone(),
            cancelled: false,
            counts: counts.clone(),
        });
    }
    let began = Instant::now();
    tracing::info!(job_id = job.job_id, "job begins");
    let outcome = catch_unwind(AssertUnwindSafe(|| sync(app, shared, job, &cancel, &counts)));
    let cancelled = shared.lock().current.as_ref().is_some_and(|current| current.cancelled);
    let json;
    let error;
    let end = match outcome {
        Ok(Ok(report)) => {
            json = serde_json::to_value(&report).expect("reports serialise");
            match (report.interrupted, cancelled) {
                (false, _) => Some(JobEnd::Done(&json)),
                (true, true) => Some(JobEnd::Interrupted(&json)),
                // The server ends: after the restart it goes on.
                (true, false) => None,
            }
        }
        Ok(Err(failure)) => {
            error = failure.to_string();
            Some(JobEnd::Failed(&error))
        }
        Err(_) => Some(JobEnd::Failed("the run broke down: the server's log says where; please report it")),
    };
    let (state, failed) = match &end {
        Some(JobEnd::Done(_)) => ("done", false),
        Some(JobEnd::Interrupted(_)) => ("interrupted", false),
        Some(JobEnd::Failed(_)) => ("failed", true),
        None => ("queued again", false),
    };
    // Its error may hold paths of documents: administrators read it in the record of the job.
    let took_ms = began.elapsed().as_millis() as u64;
    if failed {
        tracing::warn!(job_id = job.job_id, took_ms, "job failed; its record says why");
    } else {
        tracing::info!(job_id = job.job_id, took_ms, state, "job ends");
    }
    record_end(app, shared, job, end);
    shared.lock().current = None;
    if state == "done" {
        optimize(app);
    }
}

/// One pass over the job's source.
fn sync(
    app: &App,
    shared: &Shared,
    job: &JobRecord,
    cancel: &Arc<AtomicBool>,
    counts: &Counts,
) -> Result<SyncReport, IndexError> {
    let planned = sources::named(app, &job.source)?;
    let planned = planned.ok_or_else(|| IndexError::UnknownSource { name: job.source.clone() })?;
    let settings = &app.config().ingest;
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let options = SyncOptions {
        workers: if settings.workers == 0 { cores } else { settings.workers },
        embed_batch: EMBED_BATCH,
        target_tokens: settings.target_tokens,
        allow_empty: job.request.unwrap_or_default().allow_empty,
        cancel: Some(cancel.clone()),
        ..SyncOptions::default()
    };
    let mut last = Instant::now();
    index::pass(app, &planned, &options, &mut |event| match event {
        SyncEvent::Listed { documents, .. } => {
            counts.total.store(documents, Ordering::Relaxed);
            counts.listed.store(true, Ordering::Relaxed);
        }
        SyncEvent::Embedded { texts } => {
            counts.embedded.fetch_add(texts, Ordering::Relaxed);
            shared.give_way(last.elapsed(), cancel);
            last = Instant::now();
        }
        SyncEvent::Done { .. } => {
            counts.done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Writes how the job ended, again and again until it is written or the server ends; then the restart settles it.
fn record_end(app: &App, shared: &Shared, job: &JobRecord, end: Option<JobEnd<'_>>) {
    loop {
        let written: Result<(), StateError> = app.wait(async {
            match &end {
                Some(end) => app.state().end_job(&job.job_id, end).await,
                None => app.state().requeue_job(&job.job_id).await,
            }
        });
        let Err(error) = written else { return };
        tracing::error!(job_id = job.job_id, "the end of a job cannot be recorded, which is tried again: {error}");
        let inner = shared.lock();
        let waited = shared.changed.wait_timeout_while(inner, RETRY, |inner| !inner.stopping);
        if waited.unwrap_or_else(PoisonError::into_inner).0.stopping {
            return;
        }
    }
}

/// Failing to makes searches slower, not wrong.
fn optimize(app: &App) {
    let optimized = catch_unwind(AssertUnwindSafe(|| app.store().map(|store| store.optimize())));
    match optimized {
        Ok(Ok(Ok(_))) => {}
        Ok(Ok(Err(error))) => tracing::warn!("the index could not be optimised: {error}"),
        Ok(Err(error)) => tracing::warn!("the index could not be optimised: {error}"),
        Err(_) => tracing::warn!("the index could not be optimised: the engine stopped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Arc<Shared> {
        Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), asking: AtomicUsize::new(0) })
    }

    #[test]
    fn a_job_gives_way_as_long_as_it_worked_and_only_to_those_who_wait() {
        let runner = Runner { shared: shared() };
        let (worked, go_on) = (Duration::from_millis(200), AtomicBool::new(false));
        let pause = |runner: &Runner, cancel: &AtomicBool| {
            let began = Instant::now();
            runner.shared.give_way(worked, cancel);
            began.elapsed()
        };
        assert!(pause(&runner, &go_on) < worked / 2);
        let asking = runner.asking();
        assert!(pause(&runner, &go_on) >= worked);
        assert!(pause(&runner, &AtomicBool::new(true)) < worked / 2, "a cancelled job does not wait");
        drop(asking);
        assert!(pause(&runner, &go_on) < worked / 2);
    }

    #[test]
    fn a_wake_before_the_wait_is_not_lost_and_stopping_ends_it() {
        let runner = Runner { shared: shared() };
        runner.wake();
        assert!(runner.shared.wait_for_work(None));
        let waiting = runner.clone();
        let waits = std::thread::spawn(move || waiting.shared.wait_for_work(None));
        assert!(!runner.stop(Duration::from_millis(50)), "no thread of it has ended");
        assert!(!waits.join().unwrap());
        drop(Ended(&runner.shared));
        assert!(runner.stop(Duration::from_millis(50)));
    }
}
