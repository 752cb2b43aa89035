//! Brings sources into the index: the ports that sync works through. Which folder belongs to which source stands in
//! [`sources`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use intramuros_ingest::access::Acl;
use intramuros_ingest::document::{Chunk, ContentHash, Document, DocumentId, Language};
use intramuros_ingest::format;
use intramuros_ingest::source::SourceError;
use intramuros_ingest::sync::{
    self, BoxError, ChunkSink, Embed, Known, Ports, Readers, Settled, SyncError, SyncEvent, SyncOptions, SyncReport,
};
use intramuros_ingest::worker::{Worker, WorkerOptions};
use intramuros_models::Embedder;

use crate::app::{App, AppError, embedder_entry};
use crate::gloss::{self, Fluency};
use crate::state::StateError;
use crate::state::jobs::JobEnd;
use crate::state::ledger::Written;
use crate::store::{VectorStore, bm25};
use crate::uploads::{self, Lowered};

pub mod sources;

pub use sources::{Planned, all_sources, orphan_warning, orphans, source_of, sources_of};

/// The hidden subcommand that serves as a reader process.
pub const READER_COMMAND: &str = "read-documents";

/// How often somebody who waits for a pass to end looks again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What can keep an ingest from running.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The path does not exist.
    #[error("cannot ingest {path}: {source}")]
    Path {
        /// As given.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A source's name is its folder's, and names are Unicode.
    #[error("the name of {path} is not valid UTF-8: rename it, or ingest the folder above it")]
    NotUnicode {
        /// As given, with replacements.
        path: String,
    },
    /// It lies inside a source, which alone says who reads it.
    #[error(
        "{path} lies in the source `{name}`, so --acl cannot say who reads it: put `readers = [\"{example}\"]` into {folder}/.access.toml instead"
    )]
    RightsInside {
        /// As given.
        path: String,
        /// The source.
        name: String,
        /// Where the file that says so belongs.
        folder: String,
        /// One of the readers given.
        example: String,
    },
    /// Its readers stand in the configuration.
    #[error("the readers of the source `{name}` stand in the configuration: change them there")]
    RightsConfigured {
        /// The source.
        name: String,
    },
    /// A queued job names a source that was taken out of the configuration since.
    #[error("there is no source `{name}` any more")]
    UnknownSource {
        /// The source.
        name: String,
    },
    /// It holds uploads.
    #[error(
        "{path} holds files that came over HTTP, with readers of their own: ingest folders beside it, or run `intramuros ingest` without a path"
    )]
    Uploads {
        /// As given.
        path: String,
    },
    /// Uploads are deleted, not forgotten.
    #[error(
        "the documents of `uploads` exist nowhere else: delete them one by one over HTTP (`DELETE /api/v1/documents/ID`), or remove their folders in {directory} and run `intramuros ingest`"
    )]
    ForgetUploads {
        /// Where they are.
        directory: String,
    },
    /// A source lies inside it.
    #[error(
        "{path} holds the folder of the source `{name}` ({root}): documents would be indexed twice; forget that source first with `intramuros documents forget {name}`, or ingest folders beside it"
    )]
    Overlap {
        /// As given.
        path: String,
        /// The source inside.
        name: String,
        /// Its folder.
        root: String,
    },
    /// A new source came in between planning and running.
    #[error(
        "the folder of the source `{name}` came into the index meanwhile, and {path} overlaps it: run the same command again"
    )]
    Meanwhile {
        /// The folder that was to become a source.
        path: String,
        /// The source that is there now.
        name: String,
    },
    /// A remembered folder and a configured one are the same, or one lies in the other.
    #[error(
        "the folder of the configured source `{configured}` overlaps with {root}, which was ingested by its path before: its documents would be indexed twice and stay readable by the readers given then; run `intramuros documents forget {remembered}`, then `intramuros ingest`"
    )]
    Twice {
        /// In the configuration.
        configured: String,
        /// From an earlier `ingest PATH`.
        remembered: String,
        /// Its folder.
        root: String,
    },
    /// Nothing to do.
    #[error(
        "no source is configured and none was ever ingested: name a folder, `intramuros ingest DIR --acl everyone`, or add [[sources]] to the configuration"
    )]
    NoSources,
    /// A source's settings or place.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The run itself.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// Below.
    #[error(transparent)]
    App(#[from] AppError),
    /// The record of sources and jobs.
    #[error(transparent)]
    State(#[from] StateError),
    /// The reader processes need this program's own file.
    #[error("cannot start reader processes: {0}")]
    Reader(std::io::Error),
}

/// Whether somebody changes the index now; a pass or a `forget` that begins meanwhile waits for its turn.
pub fn is_busy(app: &App) -> bool {
    app.try_change().is_none()
}

/// Waits for the right to change the index; `None` once `cancel` is set.
fn turn<'a>(app: &'a App, cancel: Option<&AtomicBool>) -> Option<MutexGuard<'a, ()>> {
    loop {
        if cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
            return None;
        }
        if let Some(right) = app.try_change() {
            return Some(right);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A pass, once nobody else changes the index; one that is cancelled while it waits reports just that.
fn in_turn(
    app: &App,
    planned: &Planned,
    options: &SyncOptions,
    pass: impl FnOnce() -> Result<SyncReport, IndexError>,
) -> Result<SyncReport, IndexError> {
    match turn(app, options.cancel.as_deref()) {
        Some(_turn) => pass(),
        None => Ok(SyncReport { source: planned.name().to_owned(), interrupted: true, ..SyncReport::default() }),
    }
}

/// Runs one pass over a source as a recorded job of the command line, once nobody else changes the index.
pub fn run(
    app: &App,
    planned: &Planned,
    options: &SyncOptions,
    events: &mut dyn FnMut(SyncEvent<'_>),
) -> Result<SyncReport, IndexError> {
    in_turn(app, planned, options, || recorded(app, planned, options, events))
}

fn recorded(
    app: &App,
    planned: &Planned,
    options: &SyncOptions,
    events: &mut dyn FnMut(SyncEvent<'_>),
) -> Result<SyncReport, IndexError> {
    // What keeps the run from beginning is no failed run.
    app.embedder()?;
    app.store()?;
    let job = app.wait(app.state().start_job("sync", planned.name())).map_err(|error| app.state_error(error))?;
    let outcome = sync_source(app, planned, options, events);
    let (json, error);
    let end = match &outcome {
        Ok(report) => {
            json = serde_json::to_value(report).expect("reports serialise");
            if report.interrupted { JobEnd::Interrupted(&json) } else { JobEnd::Done(&json) }
        }
        Err(failure) => {
            error = failure.to_string();
            JobEnd::Failed(&error)
        }
    };
    let ended = app.wait(app.state().end_job(&job, &end)).map_err(|error| app.state_error(error));
    // Where both failed, the run's own reason says more.
    let mut report = outcome?;
    ended?;
    if let Err(error) = app.store()?.optimize() {
        // All of it is committed and found, only not as fast.
        report.warnings.push(format!("the index could not be optimised, the next run tries again: {error}"));
    }
    Ok(report)
}

/// One pass over a source, once nobody else changes the index; who calls this records it.
pub fn pass(
    app: &App,
    planned: &Planned,
    options: &SyncOptions,
    events: &mut dyn FnMut(SyncEvent<'_>),
) -> Result<SyncReport, IndexError> {
    in_turn(app, planned, options, || sync_source(app, planned, options, events))
}

fn sync_source(
    app: &App,
    planned: &Planned,
    options: &SyncOptions,
    events: &mut dyn FnMut(SyncEvent<'_>),
) -> Result<SyncReport, IndexError> {
    let name = planned.name();
    if let Some((root, readers)) = &planned.remember {
        sources::still_apart(app, name, root)?;
        app.wait(app.state().remember_source(name, root, readers)).map_err(|error| app.state_error(error))?;
    }
    let mut options = options.clone();
    if name == uploads::SOURCE {
        // The last one may go; a folder that cannot be listed is an error all the same.
        options.allow_empty = true;
        app.uploads().ceilings().forget_settled();
    }
    let embedder = app.embedder()?;
    let store = app.store()?;
    let program = std::env::current_exe().map_err(IndexError::Reader)?;
    let mut reader = WorkerOptions::new(program, [READER_COMMAND]);
    reader.time_limit = Duration::from_secs(app.config().ingest.timeout_s);
    reader.memory_limit = app.config().ingest.memory_mib << 20;
    let open = || -> Box<sync::Extract> {
        let mut worker = Worker::new(reader.clone());
        Box::new(move |raw| Ok(worker.extract(raw)?))
    };
    let mut sink = Sink { app, store: store.as_ref(), written: Vec::new() };
    let entry = embedder_entry(app.config(), app.catalog()).map_err(AppError::from)?;
    let ports = Ports {
        embed: &Passages::of(embedder, &entry.languages),
        sink: &mut sink,
        readers: Readers {
            fingerprint: format!("{}; {}; gloss {}", format::fingerprint(), bm25::ANALYSIS, gloss::VERSION),
            open: &open,
        },
    };
    Ok(sync::run(planned.source.as_ref(), ports, &options, events)?)
}

/// Takes readers away from an uploaded document: when this returns, nobody reads it by any way who is not among
/// `readers`, also after a crash, and no pass that is running gives it back. What it returns is dropped once the files
/// say so too.
pub fn narrow<'a>(app: &'a App, id: DocumentId, readers: &Acl) -> Result<Lowered<'a>, IndexError> {
    let lowered = app.uploads().ceilings().lower(id, readers);
    let left = app.wait(app.state().narrow(id, |before| uploads::common(before, readers)))?;
    if let Some(left) = left {
        let store = app.store()?;
        store.set_acl(id, &left).map_err(AppError::from)?;
        store.flush().map_err(AppError::from)?;
    }
    Ok(lowered)
}

/// Takes all documents of a source out of the index and forgets the source, once nobody else changes the index.
pub fn forget(app: &App, source: &str) -> Result<usize, IndexError> {
    if source == uploads::SOURCE && app.uploads().exists() {
        return Err(IndexError::ForgetUploads { directory: app.uploads().root().display().to_string() });
    }
    let _turn = turn(app, None);
    let known = app.wait(app.state().known(source))?;
    let mut sink = Sink { app, store: app.store()?.as_ref(), written: Vec::new() };
    let sunk = |error| IndexError::Sync(SyncError::Sink(error));
    sink.begin(&known, source).map_err(sunk)?;
    for row in &known {
        sink.remove(row.id).map_err(sunk)?;
    }
    let gone: Vec<Settled> = known.iter().map(|row| Settled::Gone(row.id)).collect();
    sink.commit(&gone).map_err(sunk)?;
    app.wait(app.state().forget_source(source))?;
    Ok(known.len())
}

/// The embedder as sync's port.
struct Passages<'a> {
    embedder: &'a dyn Embedder,
    /// The languages that it knows.
    languages: &'a [String],
    identity: String,
}

impl<'a> Passages<'a> {
    fn of(embedder: &'a dyn Embedder, languages: &'a [String]) -> Self {
        let identity = match Fluency::of(languages, Some(Language::Spanish)) {
            Fluency::Gloss => format!("{} gloss-{}", embedder.identity(), gloss::VERSION),
            Fluency::Native | Fluency::None => embedder.identity().to_owned(),
        };
        Self { embedder, languages, identity }
    }
}

impl Embed for Passages<'_> {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn max_tokens(&self) -> usize {
        self.embedder.max_tokens()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.embedder.count_tokens(text)
    }

    fn readable<'t>(&self, text: &'t str, language: Option<Language>) -> Cow<'t, str> {
        gloss::readable(text, language, self.languages)
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, BoxError> {
        Ok(self.embedder.embed_passages(texts)?)
    }
}

/// Store and ledger as sync's port.
struct Sink<'a> {
    app: &'a App,
    store: &'a dyn VectorStore,
    written: Vec<Written>,
}

impl ChunkSink for Sink<'_> {
    fn known(&mut self, source: &str) -> Result<Vec<Known>, BoxError> {
        Ok(self.app.wait(self.app.state().known(source))?)
    }

    fn vectors(&mut self, id: DocumentId) -> Result<HashMap<ContentHash, Vec<f32>>, BoxError> {
        Ok(self.store.vectors(id)?)
    }

    fn begin(&mut self, documents: &[Known], source: &str) -> Result<(), BoxError> {
        let held = self.app.uploads().ceilings().hold();
        let documents: Vec<Known> = documents.iter().map(|row| within(&held, row)).collect();
        let begun = self.app.wait(self.app.state().begin(&documents, source));
        Ok(begun.map_err(|error| self.app.state_error(error))?)
    }

    fn put(&mut self, document: &Document, chunks: &[Chunk], vectors: &[Vec<f32>]) -> Result<(), BoxError> {
        let held = self.app.uploads().ceilings().hold();
        let mut document = document.clone();
        document.acl = held.within(document.id, &document.acl).into_owned();
        self.store.put(&document, chunks, vectors)?;
        self.written.push(Written { document, chunks: chunks.len() });
        Ok(())
    }

    fn set_acl(&mut self, id: DocumentId, acl: &Acl) -> Result<(), BoxError> {
        let held = self.app.uploads().ceilings().hold();
        Ok(self.store.set_acl(id, &held.within(id, acl))?)
    }

    fn remove(&mut self, id: DocumentId) -> Result<(), BoxError> {
        Ok(self.store.remove(&[id])?)
    }

    fn commit(&mut self, settled: &[Settled]) -> Result<(), BoxError> {
        // The index must be on disk before the ledger says so.
        self.store.flush()?;
        let held = self.app.uploads().ceilings().hold();
        let mut rows = Vec::with_capacity(settled.len());
        for settled in settled {
            rows.push(match settled {
                Settled::Row(row) => Settled::Row(within(&held, row)),
                Settled::Gone(id) => Settled::Gone(*id),
            });
        }
        let done = self.app.wait(self.app.state().settle(&rows, &self.written));
        done.map_err(|error| self.app.state_error(error))?;
        self.written.clear();
        Ok(())
    }
}

/// The row with no more readers than may be written now.
fn within(held: &uploads::Held<'_>, row: &Known) -> Known {
    Known { acl: held.within(row.id, &row.acl).into_owned(), ..row.clone() }
}
