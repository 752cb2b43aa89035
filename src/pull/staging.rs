//! Where files wait until a model is whole: `MODELS_DIR/.partial/NAME`, held by one process at a time.
//!
//! `files/X.part` is what has arrived of a file; it becomes `files/X` when its hash is right. When all are there, the
//! manifest is written beside them and the directory is renamed into its place. A crash at any moment leaves either no
//! model or a whole one, and parts from which the next pull goes on.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use intramuros_models::ModelError;
use intramuros_models::catalog::{Model, ModelFile};
use intramuros_models::weights;
use sha2::{Digest, Sha256};

use super::{Progress, PullError, Pulled, Trouble};

/// How often people are told.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// The staging area of one model, locked as long as it lives.
pub(super) struct Staging<'a> {
    pub entry: &'a Model,
    pub progress: &'a dyn Progress,
    models_dir: PathBuf,
    root: PathBuf,
    _lock: File,
}

impl<'a> Staging<'a> {
    /// Opens the area, waiting while another process has it.
    pub fn open(models_dir: &Path, entry: &'a Model, progress: &'a dyn Progress) -> Result<Self, PullError> {
        let partial = models_dir.join(".partial");
        let root = partial.join(&entry.name);
        create_dir(&root.join("files"))?;
        let path = partial.join(format!("{}.lock", entry.name));
        let lock =
            OpenOptions::new().create(true).append(true).open(&path).map_err(|error| write_error(&path, error))?;
        if lock.try_lock().is_err() {
            progress.step(&format!("{}: another process is getting it; waiting", entry.name));
            lock.lock().map_err(|error| write_error(&path, error))?;
        }
        // The process that had it before may have taken the directory away.
        create_dir(&root.join("files"))?;
        Ok(Self { entry, progress, models_dir: models_dir.to_owned(), root, _lock: lock })
    }

    /// A directory for a way's own use, kept until the model is installed.
    pub fn directory(&self, name: &str) -> Result<PathBuf, Trouble> {
        let path = self.root.join(name);
        create_dir(&path).map_err(Trouble::Fatal)?;
        Ok(path)
    }

    /// The files that are still to come.
    pub fn missing(&self) -> Vec<&'a ModelFile> {
        self.entry.files.iter().filter(|file| !self.place(file).is_file()).collect()
    }

    /// Copies a file from this machine, going on where an earlier copy stopped.
    pub fn copy(&self, file: &ModelFile, from: &Path) -> Result<(), Trouble> {
        if self.place(file).is_file() {
            return Ok(());
        }
        let part = self.part(file);
        let resumed = part.metadata().map_or(0, |metadata| metadata.len());
        match self.append(file, from, resumed) {
            // The part may be of another file, so the whole one gets its chance.
            Err(Trouble::Way(_)) if resumed > 0 => {
                remove(&part);
                self.append(file, from, 0)
            }
            other => other,
        }
    }

    fn append(&self, file: &ModelFile, from: &Path, resumed: u64) -> Result<(), Trouble> {
        let unreadable = |error: std::io::Error| Trouble::Way(format!("{}: {error}", from.display()));
        let mut source = File::open(from).map_err(unreadable)?;
        let length = source.metadata().map_err(unreadable)?.len();
        if resumed > length {
            return Err(Trouble::Way(format!("{} is shorter than what arrived of it before", from.display())));
        }
        source.seek(SeekFrom::Start(resumed)).map_err(unreadable)?;
        self.receive(file, &mut source, resumed)
    }

    /// Takes a file from a reader that stands `resumed` bytes into it; so many are in the part already.
    pub fn receive(&self, file: &ModelFile, source: &mut dyn Read, resumed: u64) -> Result<(), Trouble> {
        let part = self.part(file);
        let fatal = |error| Trouble::Fatal(write_error(&part, error));
        let mut target = OpenOptions::new().create(true).read(true).append(true).open(&part).map_err(fatal)?;
        target.set_len(resumed).map_err(fatal)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        target.seek(SeekFrom::Start(0)).map_err(fatal)?;
        loop {
            let read = target.read(&mut buffer).map_err(fatal)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
        let meter = Meter::new(self.progress, file.bytes, resumed);
        let mut done = resumed;
        loop {
            let read = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Trouble::Way(format!("`{}` broke off: {error}", file.name))),
            };
            done += read as u64;
            if file.bytes.is_some_and(|expected| done > expected) {
                remove(&part);
                return Err(Trouble::Way(format!("`{}` is longer than the catalogue says", file.name)));
            }
            hasher.update(&buffer[..read]);
            target.write_all(&buffer[..read]).map_err(fatal)?;
            meter.report(done);
        }
        meter.finish(done);
        target.sync_all().map_err(fatal)?;
        let actual = weights::hexadecimal(&hasher.finalize());
        self.accept(file, &actual, done)
    }

    /// Takes a whole file that lies in the staging area already.
    pub fn take(&self, file: &ModelFile, whole: &Path) -> Result<(), Trouble> {
        let part = self.part(file);
        std::fs::rename(whole, &part).map_err(|error| Trouble::Fatal(write_error(&part, error)))?;
        let length = part.metadata().map_or(0, |metadata| metadata.len());
        let actual = weights::sha256_of(&part).map_err(|error| Trouble::Fatal(error.into()))?;
        self.accept(file, &actual, length)
    }

    fn accept(&self, file: &ModelFile, actual: &str, length: u64) -> Result<(), Trouble> {
        let part = self.part(file);
        let name = &file.name;
        if file.sha256.as_ref().is_some_and(|expected| expected != actual) {
            let expected = file.sha256.as_deref().unwrap_or_default();
            remove(&part);
            return Err(Trouble::Way(format!("`{name}` has sha256 {actual} and should have {expected}")));
        }
        if file.bytes.is_some_and(|expected| expected != length) {
            remove(&part);
            return Err(Trouble::Way(format!("`{name}` has {length} bytes and should have another number")));
        }
        let place = self.place(file);
        std::fs::rename(&part, &place).map_err(|error| Trouble::Fatal(write_error(&place, error)))
    }

    /// Makes the staged files an installed model, in the place of an older copy where there is one.
    pub fn install(self, source: &str) -> Result<Pulled, PullError> {
        let files = self.root.join("files");
        // What a person left beside the model's files must not become part of it.
        let known = |name: &str| self.entry.files.iter().any(|file| file.name == name);
        for found in std::fs::read_dir(&files).map_err(|error| read_error(&files, error))?.flatten() {
            if !known(&found.file_name().to_string_lossy()) {
                remove(&found.path());
            }
        }
        let manifest = match weights::seal(&files, self.entry, source) {
            Ok(manifest) => manifest,
            Err(ModelError::WrongHash { file, name, expected, actual }) => {
                // Changed since it was accepted: the next pull must not find it.
                remove(&files.join(&file));
                return Err(ModelError::WrongHash { file, name, expected, actual }.into());
            }
            Err(error) => return Err(error.into()),
        };
        let place = self.models_dir.join(&self.entry.name);
        let old = self.root.join("old");
        if place.exists() {
            std::fs::remove_dir_all(&old).ok();
            std::fs::rename(&place, &old).map_err(|error| write_error(&place, error))?;
        }
        std::fs::rename(&files, &place).map_err(|error| write_error(&place, error))?;
        File::open(&self.models_dir)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| write_error(&self.models_dir, error))?;
        self.clean();
        Ok(Pulled {
            name: self.entry.name.clone(),
            directory: place,
            source: source.to_owned(),
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            trusted_on_first_use: manifest.trusted_on_first_use,
            already_there: false,
        })
    }

    /// Removes the area's contents; the model is installed.
    pub fn clean(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.root) {
            tracing::warn!(%error, model = self.entry.name, "what was left of the download could not be removed");
        }
    }

    fn place(&self, file: &ModelFile) -> PathBuf {
        self.root.join("files").join(&file.name)
    }

    fn part(&self, file: &ModelFile) -> PathBuf {
        self.root.join("files").join(format!("{}.part", file.name))
    }
}

/// Turns bytes that arrive into reports of a bearable number.
pub(super) struct Meter<'a> {
    progress: &'a dyn Progress,
    total: Option<u64>,
    resumed: u64,
    began: Instant,
    reported: Cell<Option<Instant>>,
}

impl<'a> Meter<'a> {
    pub fn new(progress: &'a dyn Progress, total: Option<u64>, resumed: u64) -> Self {
        Self { progress, total, resumed, began: Instant::now(), reported: Cell::new(None) }
    }

    pub fn report(&self, done: u64) {
        if self.reported.get().is_none_or(|last| last.elapsed() >= REPORT_EVERY) {
            self.finish(done);
        }
    }

    pub fn finish(&self, done: u64) {
        self.reported.set(Some(Instant::now()));
        let arrived = done.saturating_sub(self.resumed) as f64;
        let seconds = self.began.elapsed().as_secs_f64().max(1e-3);
        self.progress.bytes(done, self.total, arrived / seconds);
    }
}

/// Removes what may or may not be there; if it stays, the hash will tell.
pub(super) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "could not remove a partial download");
    }
}

pub(super) fn create_dir(path: &Path) -> Result<(), PullError> {
    std::fs::create_dir_all(path).map_err(|error| write_error(path, error))
}

pub(super) fn write_error(path: &Path, source: std::io::Error) -> PullError {
    PullError::Write { path: path.display().to_string(), source }
}

pub(super) fn read_error(path: &Path, source: std::io::Error) -> PullError {
    PullError::Read { path: path.display().to_string(), source }
}
