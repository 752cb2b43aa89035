//! What the catalogue has and what of it is installed.

use std::path::Path;

use intramuros_models::catalog::{Catalog, Model, ModelRole};
use intramuros_models::memory::Need;
use intramuros_models::weights::{self, Manifest};
use intramuros_models::{ModelError, Precision};
use serde::Serialize;

/// A model of the catalogue and its state on this machine.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What it does.
    pub role: ModelRole,
    /// What it is, in a few words.
    pub summary: String,
    /// The profiles of which it is part.
    pub profiles: Vec<String>,
    /// The languages it covers well, as ISO 639-1 codes.
    pub languages: Vec<String>,
    /// What must be said about its languages.
    pub language_note: String,
    /// Its licence.
    pub licence: String,
    /// Memory it needs in use, in MiB.
    pub memory_mib: u64,
    /// The same in its parts, in bytes: by its files where they are here, else by the catalogue.
    pub memory: Need,
    /// Length of its files: as installed, else as the catalogue says, where it does.
    pub bytes: Option<u64>,
    /// Whether the catalogue has the hash of every file; else the first pull is trusted and recorded.
    pub pinned: bool,
    /// Whether it is here.
    pub installation: Installation,
}

/// Whether a model is on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Installation {
    /// It is not.
    Missing,
    /// It is, and its files are as they were when they were verified.
    Installed {
        /// Where it came from.
        source: String,
        /// Whether a file was trusted as it came.
        trusted_on_first_use: bool,
    },
    /// Something is there that cannot be used.
    Broken {
        /// Why, and what to do.
        reason: String,
    },
}

/// Every model of the catalogue, in its order, with its state in the models directory. A generator's keys and values get
/// `kv_bytes`; encoders' weights have `precision`.
pub fn list(catalog: &Catalog, models_dir: &Path, kv_bytes: u64, precision: Precision) -> Vec<Listed> {
    let mut listed = Vec::with_capacity(catalog.models.len());
    for model in &catalog.models {
        let (installation, bytes) = installation(models_dir, model);
        let memory = match installation {
            Installation::Installed { .. } => {
                weights::locate(models_dir, model).and_then(|files| Need::of_files(&files, kv_bytes, precision)).ok()
            }
            _ => None,
        };
        let memory = memory.unwrap_or_else(|| Need::of_catalogue(model));
        let has = |profile: &&intramuros_models::catalog::Profile| {
            [Some(&profile.embedder), Some(&profile.generator), profile.reranker.as_ref()].contains(&Some(&model.name))
        };
        listed.push(Listed {
            name: model.name.clone(),
            role: model.role,
            summary: model.summary.clone(),
            profiles: catalog.profiles.iter().filter(has).map(|profile| profile.name.clone()).collect(),
            languages: model.languages.clone(),
            language_note: model.language_note.clone(),
            licence: model.licence.clone(),
            memory_mib: memory.total().div_ceil(1 << 20),
            memory,
            bytes: bytes.or_else(|| model.bytes()),
            pinned: model.pinned(),
            installation,
        });
    }
    listed
}

/// Reads all files of an installed model again and compares their hashes.
///
/// # Errors
/// [`ModelError::NotInstalled`], or [`ModelError::WrongHash`] for the first file that differs.
pub fn verify(models_dir: &Path, model: &Model) -> Result<Manifest, ModelError> {
    let files = weights::locate(models_dir, model)?;
    weights::verify(&files)?;
    let not_there = || ModelError::NotInstalled {
        name: model.name.clone(),
        directory: files.directory.display().to_string(),
        file: weights::MANIFEST.to_owned(),
    };
    weights::manifest(models_dir, &model.name)?.ok_or_else(not_there)
}

fn installation(models_dir: &Path, model: &Model) -> (Installation, Option<u64>) {
    if !models_dir.join(&model.name).exists() {
        return (Installation::Missing, None);
    }
    let found = weights::locate(models_dir, model).and_then(|_| weights::manifest(models_dir, &model.name));
    match found {
        Ok(Some(manifest)) => {
            let bytes = manifest.files.iter().map(|file| file.bytes).sum();
            let (source, trusted_on_first_use) = (manifest.source, manifest.trusted_on_first_use);
            (Installation::Installed { source, trusted_on_first_use }, Some(bytes))
        }
        Ok(None) => (Installation::Missing, None),
        Err(error) => (Installation::Broken { reason: error.to_string() }, None),
    }
}
