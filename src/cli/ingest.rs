//! `intramuros ingest`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::bail;
use intramuros_ingest::access::Acl;
use intramuros_ingest::sync::{SyncEvent, SyncOptions, SyncReport};
use serde_json::json;

use super::Session;
use super::output::{self, Progress};
use crate::app::App;
use crate::index::{self, Planned};

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
    let app = session.app("ingest")?;
    let planned = match &args.paths[..] {
        [] => index::all_sources(&app)?,
        paths => index::sources_of(&app, paths, args.acl.as_ref())?,
    };
    for orphan in index::orphans(&app)? {
        eprintln!("warning: {}", index::orphan_warning(&orphan));
    }
    let cancel = cancel_on_ctrl_c(session);
    let mut reports = Vec::new();
    let mut broken = Vec::new();
    for one in &planned {
        // A source that cannot be reached must not keep the others from being brought in step.
        match run_one(&app, one, args.allow_empty, &cancel) {
            Ok(report) => reports.push(report),
            Err(error) if planned.len() == 1 => return Err(error),
            Err(error) => {
                output::error(&error);
                broken.push(one.name().to_owned());
            }
        }
    }
    if session.json {
        output::json(&json!({ "sources": reports, "broken": broken }))?;
    } else {
        for report in &reports {
            print!("{report}");
        }
    }
    if !broken.is_empty() {
        bail!("{} of {} sources could not be gone through: {}", broken.len(), planned.len(), broken.join(", "));
    }
    if reports.iter().any(|report| report.interrupted) {
        bail!("interrupted; run the same command again to go on");
    }
    Ok(())
}

/// One pass with its progress on standard error.
pub fn run_one(
    app: &App,
    planned: &Planned,
    allow_empty: bool,
    cancel: &Arc<AtomicBool>,
) -> anyhow::Result<SyncReport> {
    let settings = &app.config().ingest;
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let options = SyncOptions {
        workers: if settings.workers == 0 { cores } else { settings.workers },
        target_tokens: settings.target_tokens,
        allow_empty,
        cancel: Some(cancel.clone()),
        ..SyncOptions::default()
    };
    let mut progress = Progress::counting(0, "documents");
    let started = Instant::now();
    let mut embedded = 0;
    let report = index::run(app, planned, &options, &mut |event| match event {
        SyncEvent::Listed { documents, .. } => progress.set_total(documents),
        SyncEvent::Embedded { texts } => {
            embedded += texts;
            let rate = embedded as f64 / started.elapsed().as_secs_f64().max(0.001);
            progress.message(format!("({embedded} passages, {rate:.0}/s)"));
        }
        SyncEvent::Done { .. } => progress.advance(1),
    });
    progress.finish();
    Ok(report?)
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
