//! What an open data directory looks like from inside: `intramuros doctor` shows it.

use intramuros_ingest::access::Caller;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::index::{self, sources};

/// One thing looked at.
#[derive(Debug, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub check: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

impl Finding {
    /// What was found, or what is wrong.
    pub fn new(check: &str, outcome: anyhow::Result<String>) -> Self {
        let (ok, detail) = match outcome {
            Ok(detail) => (true, detail),
            Err(error) => (false, format!("{error:#}")),
        };
        Self { check: check.to_owned(), ok, detail }
    }
}

/// Looks at the directory, the store, the documents and the sources.
pub fn examine(app: &App) -> Vec<Finding> {
    let directory = app.data_dir().display();
    let free = fs4::available_space(app.data_dir()).map(|free| format!("{directory}, {} MiB free", free >> 20));
    let store = app.store().and_then(|store| Ok(store.info()?));
    let store = store.map(|info| format!("{}: {} chunks by {}", info.kind, info.chunks, info.embedder.name));
    let mut findings = vec![
        Finding::new("data directory", free.map_err(Into::into)),
        Finding::new("store", store.map_err(Into::into)),
        Finding::new("documents", documents(app)),
    ];
    look_at_sources(app, &mut findings);
    findings
}

fn documents(app: &App) -> anyhow::Result<String> {
    let records = app.wait(app.state().documents(&Caller::LocalAdministrator))?;
    let failed = records.iter().filter(|record| record.state == "failed").count();
    let unread = records.iter().filter(|record| record.readers.as_ref().is_some_and(|acl| acl.is_nobody())).count();
    Ok(format!("{}, {failed} failed, {unread} readable by the local administrator only", records.len()))
}

fn look_at_sources(app: &App, findings: &mut Vec<Finding>) {
    let sources = match sources::folders(app) {
        Ok(sources) => sources,
        Err(error) => return findings.push(Finding::new("sources", Err(error.into()))),
    };
    let mut there = Vec::new();
    for source in sources {
        if source.root.exists() {
            there.push(match source.readers {
                Some(readers) => format!("{} (readers: {readers})", source.name),
                None => source.name,
            });
        } else {
            let gone = format!("the folder {} of the source `{}` is not there", source.root.display(), source.name);
            findings.push(Finding::new("source", Err(anyhow::anyhow!(gone))));
        }
    }
    match index::orphans(app) {
        Ok(orphans) => {
            let found = |name: &String| Finding::new("source", Err(anyhow::anyhow!(index::orphan_warning(name))));
            findings.extend(orphans.iter().map(found));
        }
        Err(error) => findings.push(Finding::new("sources", Err(error.into()))),
    }
    let none = "none yet: `intramuros ingest DIR --acl everyone`".to_owned();
    findings.push(Finding::new("sources", Ok(if there.is_empty() { none } else { there.join(", ") })));
}
