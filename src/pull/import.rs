//! Installing models from a directory that somebody carried here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use intramuros_models::catalog::{Catalog, Model, Source};
use intramuros_models::weights;
use serde::Serialize;

use super::staging::{Staging, read_error};
use super::{Progress, PullError, Pulled, Trouble, already_there, needed_files, wheel};

/// How deep below the directory files are looked for.
const DEPTH: usize = 4;

/// What an import did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Imported {
    /// Models that are installed now.
    pub installed: Vec<Pulled>,
    /// Models of which only a part was found.
    pub incomplete: Vec<Incomplete>,
}

/// A model that could not be installed.
#[derive(Clone, Debug, Serialize)]
pub struct Incomplete {
    /// Its name.
    pub name: String,
    /// Files of it that the directory lacks.
    pub missing: Vec<String>,
    /// What went wrong with those that are there, where something did.
    pub reason: Option<String>,
}

/// Installs every model of the catalogue whose files lie in a directory or below it.
///
/// Files are known by their hash, whatever their names; those for which the catalogue has no hash must lie in a
/// directory that is named after the model. Wheels that carry models are recognised by their names.
///
/// # Errors
/// [`PullError::Read`], [`PullError::NothingRecognised`], [`PullError::Write`].
pub fn import(
    directory: &Path,
    catalog: &Catalog,
    models_dir: &Path,
    progress: &dyn Progress,
) -> Result<Imported, PullError> {
    progress.step(&format!("looking for models in {}", directory.display()));
    let mut files = Vec::new();
    walk(directory, DEPTH, &mut files)?;
    let hashes = known_files(&files, catalog)?;

    let mut imported = Imported::default();
    for model in &catalog.models {
        let found = find(model, &files, &hashes);
        if !found.is_any() {
            continue;
        }
        if !found.missing.is_empty() {
            imported.incomplete.push(Incomplete { name: model.name.clone(), missing: found.missing, reason: None });
            continue;
        }
        match install(model, &found, models_dir, progress) {
            Ok(pulled) => imported.installed.push(pulled),
            Err(Trouble::Fatal(error)) => return Err(error),
            Err(Trouble::Way(reason)) => {
                let incomplete = Incomplete { name: model.name.clone(), missing: vec![], reason: Some(reason) };
                imported.incomplete.push(incomplete);
            }
        }
    }
    if imported.installed.is_empty() && imported.incomplete.is_empty() {
        let example = catalog.models.first().map(needed_files).unwrap_or_default();
        return Err(PullError::NothingRecognised { directory: directory.display().to_string(), example });
    }
    Ok(imported)
}

/// What a directory has of one model.
#[derive(Default)]
struct Found {
    /// By the name in the catalogue.
    files: HashMap<String, PathBuf>,
    /// A directory named after the model, for files without a hash.
    named: Option<PathBuf>,
    wheel: Option<(PathBuf, Source)>,
    missing: Vec<String>,
}

impl Found {
    fn is_any(&self) -> bool {
        !self.files.is_empty() || self.wheel.is_some() || self.named.is_some()
    }
}

fn find(model: &Model, files: &[PathBuf], hashes: &HashMap<String, PathBuf>) -> Found {
    let mut found = Found::default();
    for source in &model.sources {
        let Source::Python { package, version, .. } = source else { continue };
        for path in files.iter().filter_map(|path| path.parent()) {
            if let Some(path) = wheel::find(path, package, version) {
                found.wheel = Some((path, source.clone()));
                return found;
            }
        }
    }
    for file in &model.files {
        let path = match &file.sha256 {
            Some(sha256) => hashes.get(sha256).cloned(),
            None => files.iter().find(|path| path.ends_with(Path::new(&model.name).join(&file.name))).cloned(),
        };
        match path {
            Some(path) => {
                if file.sha256.is_none() {
                    found.named = path.parent().map(Path::to_owned);
                }
                found.files.insert(file.name.clone(), path);
            }
            None => found.missing.push(file.name.clone()),
        }
    }
    found
}

fn install(model: &Model, found: &Found, models_dir: &Path, progress: &dyn Progress) -> Result<Pulled, Trouble> {
    if let Some(pulled) = already_there(models_dir, model, progress).map_err(Trouble::Fatal)? {
        return Ok(pulled);
    }
    let staging = Staging::open(models_dir, model, progress).map_err(Trouble::Fatal)?;
    let mut source = found.named.clone();
    if let Some((path, Source::Python { members, .. })) = &found.wheel {
        wheel::extract(&staging, path, members)?;
        source = Some(path.clone());
    }
    for file in staging.missing() {
        let Some(path) = found.files.get(&file.name) else {
            return Err(Trouble::Way(format!("`{}` is missing", file.name)));
        };
        staging.copy(file, path)?;
        source = source.or_else(|| path.parent().map(Path::to_owned));
    }
    let source = source.unwrap_or_default();
    staging.install(&format!("imported from {}", source.display())).map_err(Trouble::Fatal)
}

/// The files whose hash is in the catalogue, by hash. Only those of a right length are read.
fn known_files(files: &[PathBuf], catalog: &Catalog) -> Result<HashMap<String, PathBuf>, PullError> {
    let wanted: Vec<_> = catalog.models.iter().flat_map(|model| &model.files).filter(|f| f.sha256.is_some()).collect();
    let mut hashes = HashMap::new();
    for path in files {
        let length = path.metadata().map_err(|error| read_error(path, error))?.len();
        if wanted.iter().any(|file| file.bytes.is_none_or(|bytes| bytes == length)) {
            hashes.insert(weights::sha256_of(path)?, path.clone());
        }
    }
    Ok(hashes)
}

fn walk(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), PullError> {
    let entries = std::fs::read_dir(directory).map_err(|error| read_error(directory, error))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_file() {
            files.push(path);
        } else if path.is_dir() && depth > 0 {
            walk(&path, depth - 1, files)?;
        }
    }
    Ok(())
}
