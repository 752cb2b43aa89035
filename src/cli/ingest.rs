//! `intramuros ingest`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use intramuros_ingest::access::Acl;
use intramuros_ingest::sync::SyncReport;
use serde_json::json;

use super::Session;
use super::output::{self, Progress};
use crate::app::App;
use crate::index::Planned;
use crate::local::{self, Event, Ingest, Ingested, Listener};

#[derive(clap::Args)]
pub struct Args {
    /// Folders or files; without any, all configured and all earlier ones
    paths: Vec<PathBuf>,
    /// Who reads what no `.access.toml` speaks for: `everyone`, `group:legal`, `user:ana`, several with commas. A folder
    /// that was never given readers is readable by the local administrator only
    #[arg(long, value_name = "READERS", requires = "paths")]
    acl: Option<Acl>,
    /// Take documents out of the index even when the whole source is empty now
    #[arg(long)]
    allow_empty: bool,
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let mut paths = Vec::with_capacity(args.paths.len());
    for path in &args.paths {
        // A server that does this stands in another directory.
        paths.push(std::path::absolute(path).with_context(|| format!("cannot ingest `{}`", path.display()))?);
    }
    let engine = session.engine("ingest")?;
    let cancel = cancel_on_ctrl_c(session);
    let mut shown = Shown::new();
    let call = Ingest { paths, acl: args.acl.clone(), allow_empty: args.allow_empty };
    let Ingested { sources, broken } = engine.call(call, &cancel, &mut |event| shown.hear(event))?;
    if session.json {
        output::json(&json!({ "sources": sources, "broken": broken }))?;
    } else {
        for report in &sources {
            out!("{report}");
        }
    }
    if !broken.is_empty() {
        let all = sources.len() + broken.len();
        bail!("{} of {all} sources could not be gone through: {}", broken.len(), broken.join(", "));
    }
    if sources.iter().any(|report| report.interrupted) {
        bail!("interrupted; run the same command again to go on");
    }
    Ok(())
}

/// One pass of this process with its progress on standard error.
pub fn run_one(
    app: &App,
    planned: &Planned,
    allow_empty: bool,
    cancel: &Arc<AtomicBool>,
) -> anyhow::Result<SyncReport> {
    let mut shown = Shown::new();
    let mut hear = |event| shown.hear(event);
    Ok(local::pass(app, planned, allow_empty, &mut Listener::new(&mut hear, cancel.clone()))?)
}

/// Shows what is heard of an ingest on standard error.
struct Shown {
    progress: Progress,
    started: Instant,
    embedded: u64,
}

impl Shown {
    fn new() -> Self {
        Self { progress: Progress::counting(0, "documents"), started: Instant::now(), embedded: 0 }
    }

    fn hear(&mut self, event: Event) -> bool {
        match event {
            Event::Listed(documents) => {
                self.started = Instant::now();
                self.progress.set_total(documents);
            }
            Event::Embedded(texts) => {
                self.embedded += texts;
                let rate = self.embedded as f64 / self.started.elapsed().as_secs_f64().max(0.001);
                self.progress.message(format!("({} passages, {rate:.0}/s)", self.embedded));
            }
            Event::Document => self.progress.advance(1),
            Event::SourceEnded => {
                self.progress.finish();
                *self = Self::new();
            }
            Event::SourceFailed(reason) => output::error(&anyhow!(reason)),
            Event::Warning(text) => eprintln!("warning: {text}"),
            Event::Queued => output::queued(),
            Event::Text(_) => {}
        }
        true
    }
}

/// The first Ctrl-C ends the run at the next safe place; the second one ends the process.
pub fn cancel_on_ctrl_c(session: &Session) -> Arc<AtomicBool> {
    let cancel = Arc::new(AtomicBool::new(false));
    let seen = cancel.clone();
    session.runtime.spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if seen.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            eprintln!("stopping after the current batch; press Ctrl-C again to stop at once");
        }
    });
    cancel
}
