//! Finds, verifies and describes the files of installed models.
//!
//! An installed model is a directory `MODELS_DIR/NAME` with its files and a [`Manifest`], which is written last: without
//! one nothing counts as installed. Opening a model compares length and time of each file with the manifest and reads a
//! file whole only where they differ; [`verify`] always reads everything.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ModelError;
use crate::catalog::{Model, ModelRole};
use crate::engine::gguf::GgufFile;

/// Name of the manifest in a model's directory.
pub const MANIFEST: &str = "manifest.json";

/// The verified files of one installed model.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    /// Name in the catalogue.
    pub name: String,
    /// Where the files lie.
    pub directory: PathBuf,
    /// What the catalogue says about the model.
    pub entry: Model,
    /// 16 hexadecimal digits over the hashes of all files: the same exactly when every byte is the same.
    pub fingerprint: String,
}

/// What was installed, from where, and how its files looked then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the model.
    pub name: String,
    /// Where the files came from, in words.
    pub source: String,
    /// Whether a file had no hash in the catalogue and was trusted as it came.
    pub trusted_on_first_use: bool,
    /// The files in the catalogue's order.
    pub files: Vec<ManifestFile>,
}

/// An installed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Name in the directory.
    pub name: String,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Length.
    pub bytes: u64,
    /// Time of the last change in nanoseconds since 1970.
    pub modified_ns: u64,
}

impl ModelFiles {
    /// A generator's GGUF file that is not installed: nothing verifies it, so it is for measuring only.
    ///
    /// # Errors
    /// [`ModelError::Io`] when it cannot be read, [`ModelError::Invalid`] when it is no GGUF file.
    pub fn of_gguf(path: &Path) -> Result<Self, ModelError> {
        let file = GgufFile::open(path)?;
        let architecture = file.content()?.text("general.architecture").unwrap_or_default().to_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let directory = path.parent().unwrap_or(Path::new(""));
        let files = Self::unlisted(directory, ModelRole::Generator, &architecture, &[name.as_str()]);
        Ok(Self { entry: Model { name: name.clone(), ..files.entry }, name, ..files })
    }

    /// Files in a directory that no catalogue lists and nothing verifies; the model is called as the directory.
    pub fn unlisted(directory: &Path, role: ModelRole, architecture: &str, files: &[&str]) -> Self {
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let entry = Model::unlisted(&name, role, architecture, files);
        Self { name, directory: directory.to_owned(), entry, fingerprint: "unverified".to_owned() }
    }

    /// Where a file of the model lies.
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// The same for one that is read: nobody has verified what else lies in the directory.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when the catalogue does not list it.
    pub fn listed(&self, file: &str) -> Result<PathBuf, ModelError> {
        match self.entry.lists(file) {
            true => Ok(self.path(file)),
            false => Err(self.invalid(format!("the catalogue lists no `{file}` for it"))),
        }
    }

    /// The error that says what is wrong with the model as the catalogue describes it.
    pub fn invalid(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Invalid { file: self.name.clone(), reason: reason.into() }
    }

    /// Where the model's file with this extension (`gguf`, `safetensors`) lies.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when the catalogue lists none.
    pub fn with_extension(&self, extension: &str) -> Result<PathBuf, ModelError> {
        self.all_with_extension(extension).map(|mut paths| paths.swap_remove(0))
    }

    /// Where the model's files with this extension lie; at least one.
    ///
    /// # Errors
    /// As [`ModelFiles::with_extension`].
    pub fn all_with_extension(&self, extension: &str) -> Result<Vec<PathBuf>, ModelError> {
        let has_it = |name: &str| Path::new(name).extension().is_some_and(|own| own == extension);
        let files = self.entry.files.iter().filter(|file| has_it(&file.name));
        let paths: Vec<PathBuf> = files.map(|file| self.path(&file.name)).collect();
        match paths.is_empty() {
            true => Err(self.invalid(format!("the catalogue lists no `.{extension}` file for it"))),
            false => Ok(paths),
        }
    }
}

/// The models directory where the configuration names none: `$INTRAMUROS_MODELS_DIR`, else
/// `$XDG_DATA_HOME/intramuros/models`, else `~/.local/share/intramuros/models`.
pub fn default_models_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(directory) = set("INTRAMUROS_MODELS_DIR") {
        return directory;
    }
    // The XDG specification says that a relative path counts as unset.
    let data = set("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let data = data.unwrap_or_else(|| set("HOME").unwrap_or_else(|| PathBuf::from(".")).join(".local/share"));
    data.join("intramuros").join("models")
}

/// Finds an installed model and makes sure that its files are those of the manifest and of the catalogue.
///
/// Files whose length and time are as recorded are trusted; others are read whole and, where their hash is right,
/// the manifest is brought up to date.
///
/// # Errors
/// [`ModelError::NotInstalled`] with the first missing file, [`ModelError::WrongHash`], [`ModelError::Invalid`] for an
/// unreadable manifest, [`ModelError::Io`].
pub fn locate(models_dir: &Path, entry: &Model) -> Result<ModelFiles, ModelError> {
    check(models_dir, entry, false)
}

/// Reads every file of an installed model again and compares its hash with the manifest and the catalogue.
///
/// # Errors
/// [`ModelError::WrongHash`] for the first file that differs, [`ModelError::NotInstalled`] for one that has gone.
pub fn verify(files: &ModelFiles) -> Result<(), ModelError> {
    let models_dir = files.directory.parent().unwrap_or(Path::new("."));
    check(models_dir, &files.entry, true).map(|_| ())
}

/// Reads the manifest of an installed model; `None` when it is not installed.
///
/// # Errors
/// [`ModelError::Io`], or [`ModelError::Invalid`] when it cannot be understood.
pub fn manifest(models_dir: &Path, name: &str) -> Result<Option<Manifest>, ModelError> {
    let path = models_dir.join(name).join(MANIFEST);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io(&path, source)),
    };
    let parsed = serde_json::from_slice(&text).map_err(|error| ModelError::Invalid {
        file: path.display().to_string(),
        reason: format!("{error}; delete the directory and run `intramuros models pull {name}`"),
    })?;
    Ok(Some(parsed))
}

/// Hashes a directory's files, checks them against the catalogue and writes the manifest there, synced to disk.
///
/// Called on a directory that is not yet in its final place, so that only whole models ever appear there.
///
/// # Errors
/// [`ModelError::NotInstalled`] for a missing file, [`ModelError::WrongHash`], [`ModelError::Io`].
pub fn seal(directory: &Path, entry: &Model, source: &str) -> Result<Manifest, ModelError> {
    let mut files = Vec::new();
    for file in &entry.files {
        let path = directory.join(&file.name);
        if !path.is_file() {
            return Err(missing(directory, entry, &file.name));
        }
        let sha256 = sha256_of(&path)?;
        if let Some(expected) = &file.sha256 {
            same_hash(entry, &file.name, expected, &sha256)?;
        }
        let opened = File::open(&path).map_err(|error| io(&path, error))?;
        opened.sync_all().map_err(|error| io(&path, error))?;
        let (bytes, modified_ns) = state(&path)?;
        files.push(ManifestFile { name: file.name.clone(), sha256, bytes, modified_ns });
    }
    let manifest =
        Manifest { name: entry.name.clone(), source: source.to_owned(), trusted_on_first_use: !entry.pinned(), files };
    write_manifest(directory, &manifest)?;
    Ok(manifest)
}

/// SHA-256 of a file in lower-case hexadecimal.
///
/// # Errors
/// [`ModelError::Io`].
pub fn sha256_of(path: &Path) -> Result<String, ModelError> {
    let mut file = File::open(path).map_err(|error| io(path, error))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(|error| io(path, error))?;
        if read == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn check(models_dir: &Path, entry: &Model, read_all: bool) -> Result<ModelFiles, ModelError> {
    let directory = models_dir.join(&entry.name);
    for file in &entry.files {
        if !directory.join(&file.name).is_file() {
            return Err(missing(&directory, entry, &file.name));
        }
    }
    let Some(mut manifest) = manifest(models_dir, &entry.name)? else {
        return Err(missing(&directory, entry, MANIFEST));
    };
    let mut all = Sha256::new();
    let mut touched = false;
    for file in &entry.files {
        let Some(recorded) = manifest.files.iter_mut().find(|recorded| recorded.name == file.name) else {
            return Err(missing(&directory, entry, &file.name));
        };
        if let Some(expected) = &file.sha256 {
            same_hash(entry, &file.name, expected, &recorded.sha256)?;
        }
        let path = directory.join(&file.name);
        let (bytes, modified_ns) = state(&path)?;
        let moved = (bytes, modified_ns) != (recorded.bytes, recorded.modified_ns);
        if moved || read_all {
            same_hash(entry, &file.name, &recorded.sha256, &sha256_of(&path)?)?;
            (recorded.bytes, recorded.modified_ns) = (bytes, modified_ns);
            touched |= moved;
        }
        all.update(recorded.sha256.as_bytes());
    }
    // Saves reading the files again next time; a read-only directory merely goes on paying for it.
    if touched && let Err(error) = write_manifest(&directory, &manifest) {
        tracing::debug!(%error, "manifest not brought up to date");
    }
    let fingerprint = hexadecimal(&all.finalize()[..8]);
    Ok(ModelFiles { name: entry.name.clone(), directory, entry: entry.clone(), fingerprint })
}

fn write_manifest(directory: &Path, manifest: &Manifest) -> Result<(), ModelError> {
    let path = directory.join(MANIFEST);
    let new = directory.join(format!("{MANIFEST}.{}", std::process::id()));
    let text = serde_json::to_vec_pretty(manifest).unwrap_or_default();
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| io(&path, error))
}

fn state(path: &Path) -> Result<(u64, u64), ModelError> {
    let metadata = path.metadata().map_err(|error| io(path, error))?;
    let modified = metadata.modified().map_err(|error| io(path, error))?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((metadata.len(), u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)))
}

fn same_hash(entry: &Model, file: &str, expected: &str, actual: &str) -> Result<(), ModelError> {
    if expected == actual {
        return Ok(());
    }
    Err(ModelError::WrongHash {
        name: entry.name.clone(),
        file: file.to_owned(),
        expected: expected.to_owned(),
        actual: actual.to_owned(),
    })
}

fn missing(directory: &Path, entry: &Model, file: &str) -> ModelError {
    ModelError::NotInstalled {
        name: entry.name.clone(),
        directory: directory.display().to_string(),
        file: file.to_owned(),
    }
}

fn io(path: &Path, source: std::io::Error) -> ModelError {
    ModelError::Io { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, ModelFile};

    fn two_files() -> Model {
        let mut entry = Catalog::load(None).unwrap().model("all-MiniLM-L6-v2").unwrap().clone();
        entry.name = "tiny".to_owned();
        let hash = |text: &[u8]| Some(hexadecimal(&Sha256::digest(text)));
        entry.files = vec![
            ModelFile { name: "a.bin".to_owned(), bytes: Some(5), sha256: hash(b"alpha") },
            ModelFile { name: "b.bin".to_owned(), bytes: None, sha256: None },
        ];
        entry
    }

    fn installed() -> (tempfile::TempDir, Model) {
        let models_dir = tempfile::tempdir().unwrap();
        let entry = two_files();
        let directory = models_dir.path().join("tiny");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("a.bin"), "alpha").unwrap();
        std::fs::write(directory.join("b.bin"), "beta").unwrap();
        seal(&directory, &entry, "test").unwrap();
        (models_dir, entry)
    }

    #[test]
    fn a_sealed_directory_is_found_and_verifies() {
        let (models_dir, entry) = installed();
        let files = locate(models_dir.path(), &entry).unwrap();
        assert_eq!(files.fingerprint.len(), 16);
        assert_eq!(files.with_extension("bin").unwrap(), models_dir.path().join("tiny/a.bin"));
        assert!(files.with_extension("gguf").is_err());
        assert_eq!(files.listed("b.bin").unwrap(), models_dir.path().join("tiny/b.bin"));
        assert!(files.listed(MANIFEST).unwrap_err().to_string().contains(&format!("no `{MANIFEST}`")));
        verify(&files).unwrap();
        assert!(manifest(models_dir.path(), "tiny").unwrap().unwrap().trusted_on_first_use);
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_run() {
        let (models_dir, entry) = installed();
        for file in ["b.bin", MANIFEST] {
            let (models_dir, entry) = (models_dir.path(), &entry);
            std::fs::rename(models_dir.join("tiny").join(file), models_dir.join("aside")).unwrap();
            let error = locate(models_dir, entry).unwrap_err().to_string();
            assert!(error.contains(file) && error.contains("models pull tiny"), "{error}");
            std::fs::rename(models_dir.join("aside"), models_dir.join("tiny").join(file)).unwrap();
        }
    }

    #[test]
    fn a_changed_file_is_refused_even_when_the_catalogue_has_no_hash() {
        let (models_dir, entry) = installed();
        for (file, text) in [("a.bin", "alphA"), ("b.bin", "Beta")] {
            let path = models_dir.path().join("tiny").join(file);
            let before = std::fs::read(&path).unwrap();
            std::fs::write(&path, text).unwrap();
            let error = locate(models_dir.path(), &entry).unwrap_err();
            assert!(matches!(&error, ModelError::WrongHash { file: named, .. } if named == file), "{error}");
            std::fs::write(&path, before).unwrap();
            locate(models_dir.path(), &entry).unwrap();
        }
    }

    #[test]
    fn a_touched_file_is_read_once_and_recorded() {
        let (models_dir, entry) = installed();
        let path = models_dir.path().join("tiny/a.bin");
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        File::options().append(true).open(&path).unwrap().set_modified(later).unwrap();
        let before = manifest(models_dir.path(), "tiny").unwrap().unwrap();
        locate(models_dir.path(), &entry).unwrap();
        let after = manifest(models_dir.path(), "tiny").unwrap().unwrap();
        assert_ne!(before.files[0].modified_ns, after.files[0].modified_ns);
        assert_eq!(before.files[0].sha256, after.files[0].sha256);
    }

    #[test]
    fn a_change_that_keeps_length_and_time_is_found_by_verify() {
        let (models_dir, entry) = installed();
        let files = locate(models_dir.path(), &entry).unwrap();
        let path = models_dir.path().join("tiny/a.bin");
        let time = path.metadata().unwrap().modified().unwrap();
        std::fs::write(&path, "alphA").unwrap();
        File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        assert!(matches!(verify(&files), Err(ModelError::WrongHash { .. })));
    }

    #[test]
    fn a_catalogue_that_names_another_hash_is_obeyed() {
        let (models_dir, mut entry) = installed();
        entry.files[0].sha256 = Some("0".repeat(64));
        assert!(matches!(locate(models_dir.path(), &entry), Err(ModelError::WrongHash { .. })));
        let directory = models_dir.path().join("tiny");
        assert!(matches!(seal(&directory, &entry, "test"), Err(ModelError::WrongHash { .. })));
    }
}
