//! `intramuros doctor`

use anyhow::bail;
use intramuros_ingest::access::Caller;
use intramuros_models::catalog::Catalog;
use intramuros_models::weights;
use serde::Serialize;
use serde_json::json;

use super::{Session, output};
use crate::app::{App, embedder_entry, generator_entry};
use crate::config::{DEFAULTS, StoreKind};
use crate::index;
use crate::store::server::without_credentials;

#[derive(clap::Args)]
pub struct Args {
    /// Print every setting with its default and its meaning, ready to be copied into a file
    #[arg(long)]
    print_config: bool,
}

/// One thing looked at.
#[derive(Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    detail: String,
}

/// What was looked at so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, check: &'static str, outcome: anyhow::Result<String>) {
        let (ok, detail) = match outcome {
            Ok(detail) => (true, detail),
            Err(error) => (false, error.to_string()),
        };
        self.0.push(Finding { check, ok, detail });
    }
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    if args.print_config {
        out!("{DEFAULTS}");
        return Ok(());
    }
    let mut findings = Findings::default();
    models(session, &mut findings);
    match session.app("doctor") {
        Err(error) => findings.add("data directory", Err(error)),
        Ok(app) => data(session, &app, &mut findings),
    }
    findings.add("outbound", Ok(outbound(session)));

    let broken = findings.0.iter().filter(|finding| !finding.ok).count();
    if session.json {
        output::json(&json!({ "ok": broken == 0, "findings": findings.0 }))?;
    } else {
        for finding in &findings.0 {
            let mark = if finding.ok { "ok     " } else { "PROBLEM" };
            outln!("{mark}  {:<15} {}", finding.check, finding.detail);
        }
    }
    if broken > 0 { bail!("{broken} of {} checks found a problem", findings.0.len()) } else { Ok(()) }
}

fn models(session: &Session, findings: &mut Findings) {
    let config = &session.config;
    let catalog = match Catalog::load(config.models.catalog.as_deref()) {
        Ok(catalog) => catalog,
        Err(error) => return findings.add("catalogue", Err(error.into())),
    };
    let roles = [("embedder", embedder_entry(config, &catalog)), ("generator", generator_entry(config, &catalog))];
    for (role, entry) in roles {
        let described = entry.and_then(|entry| {
            let files = weights::locate(&config.models_dir(), entry)?;
            Ok(format!("{} in {}, for {}", files.name, files.directory.display(), entry.languages.join(", ")))
        });
        findings.add(role, described.map_err(Into::into));
    }
}

fn data(session: &Session, app: &App, findings: &mut Findings) {
    let directory = app.data_dir().display().to_string();
    let free = fs4::available_space(app.data_dir()).map(|free| format!("{directory}, {} MiB free", free >> 20));
    findings.add("data directory", free.map_err(Into::into));
    let store = app.store().and_then(|store| Ok(store.info()?));
    let described = store.map(|info| format!("{}: {} chunks by {}", info.kind, info.chunks, info.embedder.name));
    findings.add("store", described.map_err(Into::into));

    let records = app.wait(app.state().documents(&Caller::LocalAdministrator));
    let described = records.map(|records| {
        let failed = records.iter().filter(|record| record.state == "failed").count();
        let unread = records.iter().filter(|record| record.readers.as_ref().is_some_and(|acl| acl.is_nobody())).count();
        format!("{}, {failed} failed, {unread} readable by the local administrator only", records.len())
    });
    findings.add("documents", described.map_err(Into::into));

    let mut sources: Vec<String> = session.config.sources.iter().map(|source| source.name.clone()).collect();
    if let Ok(remembered) = app.wait(app.state().sources()) {
        for record in remembered {
            if record.root.exists() {
                sources.push(format!("{} (readers: {})", record.name, record.readers));
            } else {
                let gone = format!("the folder {} of a source is not there", record.root.display());
                findings.add("source", Err(anyhow::anyhow!(gone)));
            }
        }
    }
    if let Ok(orphans) = index::orphans(app) {
        for orphan in orphans {
            findings.add("source", Err(anyhow::anyhow!(index::orphan_warning(&orphan))));
        }
    }
    let none = "none yet: `intramuros ingest DIR --acl everyone`".to_owned();
    findings.add("sources", Ok(if sources.is_empty() { none } else { sources.join(", ") }));
}

/// Every place this program may ever connect to, as configured.
fn outbound(session: &Session) -> String {
    let store = match session.config.store.kind {
        StoreKind::Edge => "nothing while it runs".to_owned(),
        StoreKind::Server => format!("the Qdrant server {}", without_credentials(&session.config.store.url)),
    };
    let mut places = Vec::new();
    if let Some(mirror) = &session.config.models.mirror {
        places.push(format!("the directory {}", mirror.display()));
    }
    if std::env::var_os("HF_HUB_OFFLINE").is_none() {
        let hub = std::env::var("HF_ENDPOINT").unwrap_or_else(|_| "https://huggingface.co".to_owned());
        places.push(format!("the hub {}", without_credentials(&hub)));
    }
    places.push("the Python index that `pip` is configured for".to_owned());
    format!("{store}; for model files, and only when `models pull` or `demo` is run: {}", places.join(", "))
}
