//! `intramuros doctor`

use anyhow::bail;
use intramuros_models::catalog::{Catalog, Model};
use intramuros_models::memory::{self, Need};
use intramuros_models::{ModelError, weights};
use serde_json::json;

use super::{Session, output};
use crate::app::{embedder_entry, generator_entry, reranker_entry};
use crate::config::{DEFAULTS, StoreKind};
use crate::doctor::Finding;
use crate::local::{Engine, Examine};
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
    let (mut findings, needs) = models(session);
    let engine = session.engine("doctor");
    let served = matches!(engine, Ok(Engine::Served(_)));
    findings.extend(memory::available().map(|available| Finding::new("memory", room(&needs, available, served))));
    match engine.and_then(|engine| engine.get(Examine {})) {
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

/// What is configured, and what the models that are here need in memory.
fn models(session: &Session) -> (Vec<Finding>, Vec<Need>) {
    let config = &session.config;
    let catalog = match Catalog::load(config.models.catalog.as_deref()) {
        Ok(catalog) => catalog,
        Err(error) => return (vec![Finding::new("catalogue", Err(error.into()))], Vec::new()),
    };
    let mut roles =
        vec![("embedder", embedder_entry(config, &catalog)), ("generator", generator_entry(config, &catalog))];
    if let Some(reranker) = reranker_entry(config, &catalog).transpose() {
        roles.push(("reranker", reranker));
    }
    let mut needs = Vec::new();
    let look = |(role, entry): (&str, Result<&Model, ModelError>)| {
        let described = entry.and_then(|entry| {
            let files = weights::locate(&config.models_dir(), entry)?;
            let need = Need::of_files(&files, config.engine().kv_bytes as u64, config.models.precision)?;
            needs.push(need);
            let (directory, languages) = (files.directory.display(), entry.languages.join(", "));
            Ok(format!("{} in {directory}, for {languages}; in memory {need}", files.name))
        });
        Finding::new(role, described.map_err(Into::into))
    };
    let findings = roles.into_iter().map(look).collect();
    (findings, needs)
}

/// Whether the models fit into the memory that is left; a server may have them in it already.
fn room(needs: &[Need], available: u64, served: bool) -> anyhow::Result<String> {
    let mib = |bytes: u64| bytes >> 20;
    if served {
        return Ok(format!("{} MiB available beside the running server", mib(available)));
    }
    let need = needs.iter().map(Need::total).sum();
    if need > available {
        bail!(
            "the models need {} MiB and {} MiB are available: close what else runs, give this machine or container more, set `models.kv_mib` lower, or choose smaller models",
            mib(need),
            mib(available)
        );
    }
    Ok(format!("{} MiB available, the models need {} MiB", mib(available), mib(need)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_do_not_fit_are_a_problem_unless_a_server_has_them() {
        let need = |mib: u64| Need { weights: mib << 20, kv: 0, working: 0, from_files: true };
        let needs = [need(300), need(700)];
        assert_eq!(room(&needs, 1000 << 20, false).unwrap(), "1000 MiB available, the models need 1000 MiB");
        let error = room(&needs, 999 << 20, false).unwrap_err().to_string();
        assert!(error.contains("need 1000 MiB and 999 MiB are available"), "{error}");
        assert!(room(&needs, 999 << 20, true).is_ok());
    }
}
