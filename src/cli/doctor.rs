//! `intramuros doctor`

use anyhow::bail;
use intramuros_models::catalog::{Catalog, Model};
use intramuros_models::{ModelError, weights};
use serde_json::json;

use super::{Session, output};
use crate::app::{embedder_entry, generator_entry, reranker_entry};
use crate::config::{DEFAULTS, StoreKind};
use crate::doctor::Finding;
use crate::local::Examine;
use crate::store::server::without_credentials;

#[derive(clap::Args)]
pub struct Args {
    /// Print every setting with its default and its meaning, ready to be copied into a file
    #[arg(long)]
    print_config: bool,
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    if args.print_config {
        out!("{DEFAULTS}");
        return Ok(());
    }
    let mut findings = models(session);
    match session.engine("doctor").and_then(|engine| engine.get(Examine {})) {
        Ok(examined) => findings.extend(examined),
        Err(error) => findings.push(Finding::new("data directory", Err(error))),
    }
    findings.push(Finding::new("outbound", Ok(outbound(session))));

    let broken = findings.iter().filter(|finding| !finding.ok).count();
    if session.json {
        output::json(&json!({ "ok": broken == 0, "findings": findings }))?;
    } else {
        for finding in &findings {
            let mark = if finding.ok { "ok     " } else { "PROBLEM" };
            outln!("{mark}  {:<15} {}", finding.check, finding.detail);
        }
    }
    if broken > 0 { bail!("{broken} of {} checks found a problem", findings.len()) } else { Ok(()) }
}

fn models(session: &Session) -> Vec<Finding> {
    let config = &session.config;
    let catalog = match Catalog::load(config.models.catalog.as_deref()) {
        Ok(catalog) => catalog,
        Err(error) => return vec![Finding::new("catalogue", Err(error.into()))],
    };
    let mut roles =
        vec![("embedder", embedder_entry(config, &catalog)), ("generator", generator_entry(config, &catalog))];
    if let Some(reranker) = reranker_entry(config, &catalog).transpose() {
        roles.push(("reranker", reranker));
    }
    let look = |(role, entry): (&str, Result<&Model, ModelError>)| {
        let described = entry.and_then(|entry| {
            let files = weights::locate(&config.models_dir(), entry)?;
            Ok(format!("{} in {}, for {}", files.name, files.directory.display(), entry.languages.join(", ")))
        });
        Finding::new(role, described.map_err(Into::into))
    };
    roles.into_iter().map(look).collect()
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
