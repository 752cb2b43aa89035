//! The call that brings sources into the index.

use std::path::PathBuf;

use intramuros_ingest::access::Acl;
use intramuros_ingest::sync::{SyncEvent, SyncOptions, SyncReport};
use serde::{Deserialize, Serialize};

use super::{Call, Event, Listener, error_text};
use crate::app::App;
use crate::index::{self, IndexError, Planned};

/// Goes through sources, one after the other.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ingest {
    /// Folders or files, absolute: a server stands elsewhere. Without any, all known sources.
    pub paths: Vec<PathBuf>,
    /// Who reads what nothing else speaks for.
    pub acl: Option<Acl>,
    /// Whether a source that lists no file at all may empty its index.
    pub allow_empty: bool,
}

/// What came of an ingest.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ingested {
    /// A report for each source that was gone through.
    pub sources: Vec<SyncReport>,
    /// Names of those that could not be.
    pub broken: Vec<String>,
}

impl Call for Ingest {
    type Reply = Ingested;

    fn perform(&self, app: &App, listener: &mut Listener<'_>) -> anyhow::Result<Ingested> {
        let planned = match &self.paths[..] {
            [] => index::all_sources(app)?,
            paths => index::sources_of(app, paths, self.acl.as_ref())?,
        };
        for orphan in index::orphans(app)? {
            listener.tell(Event::Warning(index::orphan_warning(&orphan)));
        }
        let mut ingested = Ingested { sources: Vec::new(), broken: Vec::new() };
        for one in &planned {
            // A source that cannot be reached must not keep the others from being brought in step.
            match pass(app, one, self.allow_empty, listener) {
                Ok(report) => ingested.sources.push(report),
                Err(error) if planned.len() == 1 => return Err(error.into()),
                Err(error) => {
                    listener.tell(Event::SourceFailed(error_text(&error.into())));
                    ingested.broken.push(one.name().to_owned());
                }
            }
        }
        Ok(ingested)
    }
}

/// One pass over one source, once nobody else changes the index.
pub fn pass(
    app: &App,
    planned: &Planned,
    allow_empty: bool,
    listener: &mut Listener<'_>,
) -> Result<SyncReport, IndexError> {
    listener.wait_for_turn(app);
    let settings = &app.config().ingest;
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let options = SyncOptions {
        workers: if settings.workers == 0 { cores } else { settings.workers },
        target_tokens: settings.target_tokens,
        allow_empty,
        cancel: Some(listener.cancel.clone()),
        ..SyncOptions::default()
    };
    let outcome = index::run(app, planned, &options, &mut |event| {
        listener.tell(match event {
            SyncEvent::Listed { documents, .. } => Event::Listed(documents),
            SyncEvent::Embedded { texts } => Event::Embedded(texts),
            SyncEvent::Done { .. } => Event::Document,
        });
    });
    listener.tell(Event::SourceEnded);
    outcome
}
