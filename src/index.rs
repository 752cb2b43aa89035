//! Brings sources into the index: the ports that sync works through, and which folder belongs to which source.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use intramuros_ingest::access::Acl;
use intramuros_ingest::document::{Chunk, ContentHash, Document, DocumentId};
use intramuros_ingest::format;
use intramuros_ingest::source::{self, Folder, FolderSettings, Source, SourceError};
use intramuros_ingest::sync::{
    self, BoxError, ChunkSink, Embed, Known, Ports, Readers, Settled, SyncError, SyncEvent, SyncOptions, SyncReport,
};
use intramuros_ingest::worker::{Worker, WorkerOptions};
use intramuros_models::Embedder;

use crate::app::{App, AppError};
use crate::state::StateError;
use crate::state::jobs::JobEnd;
use crate::state::ledger::Written;
use crate::store::{VectorStore, bm25};

/// The hidden subcommand that serves as a reader process.
pub const READER_COMMAND: &str = "read-documents";

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
    /// It lies inside a source, which alone says who reads it.
    #[error(
        "{path} lies in the source `{name}`, so --acl cannot say who reads it: put `readers = [\"{example}\"]` into {path}/.access.toml instead"
    )]
    RightsInside {
        /// As given.
        path: String,
        /// The source.
        name: String,
        /// One of the readers given.
        example: String,
    },
    /// Its readers stand in the configuration.
    #[error("the readers of the source `{name}` stand in the configuration: change them there")]
    RightsConfigured {
        /// The source.
        name: String,
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

/// A source to go through, and who reads it by default where that is known.
pub struct Planned {
    source: Box<dyn Source + Send>,
    remember: Option<(PathBuf, Acl)>,
}

impl Planned {
    /// Name of the source.
    pub fn name(&self) -> &str {
        self.source.name()
    }
}

/// All sources: those of the configuration, then the remembered ones.
pub fn all_sources(app: &App) -> Result<Vec<Planned>, IndexError> {
    let mut planned = Vec::new();
    for configured in &app.config().sources {
        let source = source::open(&configured.name, &configured.kind, configured.settings.clone())?;
        planned.push(Planned { source, remember: None });
    }
    for record in app.wait(app.state().sources())? {
        if let Some((configured, _, _)) = known_folders(app)?.into_iter().find(|(_, root, readers)| {
            readers.is_none() && overlap(root, &record.root)
        }) {
            let root = record.root.display().to_string();
            return Err(IndexError::Twice { configured, remembered: record.name, root });
        }
        planned.push(Planned { source: folder(&record.name, &record.root, record.readers, "")?, remember: None });
    }
    if planned.is_empty() && orphans(app)?.is_empty() { Err(IndexError::NoSources) } else { Ok(planned) }
}

/// The sources that several paths belong to; `acl` is given to those that are new.
pub fn sources_of(app: &App, paths: &[PathBuf], acl: Option<&Acl>) -> Result<Vec<Planned>, IndexError> {
    let mut planned: Vec<Planned> = Vec::with_capacity(paths.len());
    for path in paths {
        let one = source_of(app, path, acl)?;
        let new_root = |planned: &Planned| planned.remember.as_ref().map(|(root, _)| root.clone());
        if let Some(root) = new_root(&one) {
            for other in &planned {
                if let Some(other_root) = new_root(other).filter(|other_root| overlap(&root, other_root)) {
                    let (name, root) = (other.name().to_owned(), other_root.display().to_string());
                    return Err(IndexError::Overlap { path: path.display().to_string(), name, root });
                }
            }
        }
        planned.push(one);
    }
    Ok(planned)
}

/// Sources that documents came from and that neither the configuration nor an earlier `ingest PATH` names any more.
pub fn orphans(app: &App) -> Result<Vec<String>, IndexError> {
    let mut names = app.wait(app.state().document_sources())?;
    let remembered = app.wait(app.state().sources())?;
    names.retain(|name| {
        let configured = app.config().sources.iter().any(|source| source.name == *name);
        !configured && !remembered.iter().any(|record| record.name == *name)
    });
    Ok(names)
}

/// What an administrator is told of an orphan.
pub fn orphan_warning(name: &str) -> String {
    format!(
        "documents of `{name}` are still found, though no source of this name is known any more: `intramuros documents forget {name}` takes them out"
    )
}

/// Whether one folder is or holds the other, by their real places.
fn overlap(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (a, b) = (real(a), real(b));
    a.starts_with(&b) || b.starts_with(&a)
}

/// The source that a path belongs to: a known one, a part of a known one, or a new one, which is remembered.
pub fn source_of(app: &App, path: &Path, acl: Option<&Acl>) -> Result<Planned, IndexError> {
    let shown = || path.display().to_string();
    let path = path.canonicalize().map_err(|source| IndexError::Path { path: shown(), source })?;

    for (name, root, readers) in known_folders(app)? {
        let Ok(root) = root.canonicalize() else { continue };
        if path != root && root.starts_with(&path) {
            return Err(IndexError::Overlap { path: shown(), name, root: root.display().to_string() });
        }
        let Ok(below) = path.strip_prefix(&root) else { continue };
        let whole = below.as_os_str().is_empty();
        let below = source::path_text(below)
            .ok_or_else(|| IndexError::Path { path: shown(), source: std::io::ErrorKind::InvalidFilename.into() })?;
        let remember = match (acl, &readers) {
            (None, _) => None,
            (Some(acl), _) if !whole => {
                let example = acl.readers().next().map_or_else(|| "everyone".to_owned(), ToString::to_string);
                return Err(IndexError::RightsInside { path: shown(), name, example });
            }
            (Some(_), None) => return Err(IndexError::RightsConfigured { name }),
            (Some(acl), Some(_)) => Some((root.clone(), acl.clone())),
        };
        let source: Box<dyn Source + Send> = match readers {
            Some(readers) => {
                let readers = remember.as_ref().map_or(readers, |(_, acl)| acl.clone());
                folder(&name, &root, readers, &below)?
            }
            None => configured_part(app, &name, &below)?,
        };
        return Ok(Planned { source, remember });
    }
    let readers = acl.cloned().unwrap_or_default();
    let name = path.to_string_lossy().into_owned();
    Ok(Planned { source: folder(&name, &path, readers.clone(), "")?, remember: Some((path, readers)) })
}

/// Name, folder and, for remembered ones, readers of every folder source.
fn known_folders(app: &App) -> Result<Vec<(String, PathBuf, Option<Acl>)>, IndexError> {
    let mut folders = Vec::new();
    for source in &app.config().sources {
        if let Some(path) = source.settings.get("path").and_then(toml::Value::as_str) {
            folders.push((source.name.clone(), PathBuf::from(path), None));
        }
    }
    for record in app.wait(app.state().sources())? {
        folders.push((record.name, record.root, Some(record.readers)));
    }
    Ok(folders)
}

fn configured_part(app: &App, name: &str, below: &str) -> Result<Box<dyn Source + Send>, IndexError> {
    let configured = app.config().sources.iter().find(|source| source.name == name);
    let configured = configured.expect("known_folders lists configured names");
    let mut settings = configured.settings.clone();
    if !below.is_empty() {
        settings.insert("below".into(), below.into());
    }
    Ok(source::open(name, &configured.kind, settings)?)
}

/// A folder, or a single file as the only one of its folder.
fn folder(name: &str, root: &Path, readers: Acl, below: &str) -> Result<Box<dyn Source + Send>, SourceError> {
    let mut settings = FolderSettings::new(root);
    settings.readers = readers;
    settings.below = below.to_owned();
    if root.is_file()
        && let (Some(parent), Some(file)) = (root.parent(), root.file_name())
        && let Some(file) = source::path_text(Path::new(file))
    {
        settings.path = parent.to_owned();
        settings.below = file;
    }
    Ok(Box::new(Folder::new(name, settings)?))
}

/// Runs one pass over a source as a recorded job.
pub fn run(
    app: &App,
    planned: &Planned,
    options: &SyncOptions,
    events: &mut dyn FnMut(SyncEvent<'_>),
) -> Result<SyncReport, IndexError> {
    let name = planned.name();
    if let Some((root, readers)) = &planned.remember {
        app.wait(app.state().remember_source(name, root, readers)).map_err(|error| app.state_error(error))?;
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
    let ports = Ports {
        embed: &Passages(embedder),
        sink: &mut sink,
        readers: Readers { fingerprint: format!("{}; {}", format::fingerprint(), bm25::ANALYSIS), open: &open },
    };

    let job = app.wait(app.state().start_job("sync", name)).map_err(|error| app.state_error(error))?;
    let outcome = sync::run(planned.source.as_ref(), ports, options, events);
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
    let ended = app.wait(app.state().end_job(&job, end)).map_err(|error| app.state_error(error));
    // Where both failed, the run's own reason says more.
    let mut report = outcome?;
    ended?;
    if let Err(error) = store.optimize() {
        // All of it is committed and found, only not as fast.
        report.warnings.push(format!("the index could not be optimised, the next run tries again: {error}"));
    }
    Ok(report)
}

/// Takes all documents of a source out of the index and forgets the source.
pub fn forget(app: &App, source: &str) -> Result<usize, IndexError> {
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
struct Passages<'a>(&'a dyn Embedder);

impl Embed for Passages<'_> {
    fn identity(&self) -> &str {
        self.0.identity()
    }

    fn max_tokens(&self) -> usize {
        self.0.max_tokens()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.0.count_tokens(text)
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, BoxError> {
        Ok(self.0.embed_passages(texts)?)
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
        let begun = self.app.wait(self.app.state().begin(documents, source));
        Ok(begun.map_err(|error| self.app.state_error(error))?)
    }

    fn put(&mut self, document: &Document, chunks: &[Chunk], vectors: &[Vec<f32>]) -> Result<(), BoxError> {
        self.store.put(document, chunks, vectors)?;
        self.written.push(Written { document: document.clone(), chunks: chunks.len() });
        Ok(())
    }

    fn set_acl(&mut self, id: DocumentId, acl: &Acl) -> Result<(), BoxError> {
        Ok(self.store.set_acl(id, acl)?)
    }

    fn remove(&mut self, id: DocumentId) -> Result<(), BoxError> {
        Ok(self.store.remove(&[id])?)
    }

    fn commit(&mut self, settled: &[Settled]) -> Result<(), BoxError> {
        // The index must be on disk before the ledger says so.
        self.store.flush()?;
        let done = self.app.wait(self.app.state().settle(settled, &self.written));
        done.map_err(|error| self.app.state_error(error))?;
        self.written.clear();
        Ok(())
    }
}
