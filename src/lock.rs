//! One owner for a data directory: the engine and the ledger must never be open twice.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a lock is waited for whose owner has ended.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Held as long as the data directory is open; released by the system when the process ends, however it ends.
pub struct DataLock {
    _file: File,
}

/// Why the directory cannot be owned.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error(
        "the data directory {directory} is in use by {owner}: wait for it to end or stop it, or use another one with --data-dir DIR"
    )]
    Taken {
        /// The directory.
        directory: String,
        /// Process id and command, as it wrote them.
        owner: String,
    },
    /// The lock file cannot be written.
    #[error("cannot lock the data directory {directory}: {source}")]
    Io {
        /// The directory.
        directory: String,
        /// Why.
        source: std::io::Error,
    },
}

impl DataLock {
    /// Takes the directory for this process, which runs `command`.
    pub fn acquire(directory: &Path, command: &str) -> Result<Self, LockError> {
        let shown = directory.display().to_string();
        let io = |source| LockError::Io { directory: shown.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join("lock"))
            .map_err(io)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(io(source)),
                Err(TryLockError::WouldBlock) => {}
            }
            let owner = owner(&mut file);
            // One that was killed while it started a reader leaves the lock to that for a moment.
            if begun.elapsed() > PATIENCE || !owner.as_deref().is_some_and(has_ended) {
                let owner = owner.unwrap_or_else(|| "another process".to_owned());
                return Err(LockError::Taken { directory: shown, owner });
            }
            std::thread::sleep(LOOK_EVERY);
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        // A full disk must not keep anybody from reading: the name is a courtesy, the lock is what counts.
        let _ = write!(file, "process {} (intramuros {command})", std::process::id());
        Ok(Self { _file: file })
    }
}

/// Who has it, as they wrote it; they may be between locking and writing.
fn owner(file: &mut File) -> Option<String> {
    let mut owner = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut owner));
    read.ok().map(|_| owner.trim().to_owned()).filter(|owner| !owner.is_empty())
}

/// Whether the process that an owner names is gone.
fn has_ended(owner: &str) -> bool {
    let id = owner.strip_prefix("process ").and_then(|rest| rest.split_whitespace().next());
    id.is_some_and(|id| !Path::new("/proc").join(id).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_owner_left_to_its_child_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        // No process has this number.
        let path = directory.path().join("lock");
        std::fs::write(&path, "process 4294967295 (intramuros serve)").unwrap();
        let child = File::open(&path).unwrap();
        child.lock().unwrap();
        let freed = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(child);
        });
        assert!(DataLock::acquire(directory.path(), "serve").is_ok());
        freed.join().unwrap();
    }

    #[test]
    fn the_second_opener_is_told_who_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataLock::acquire(directory.path(), "ingest").unwrap();
        let error = DataLock::acquire(directory.path(), "search").err().unwrap().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.contains("intramuros ingest"), "{error}");
        drop(first);
        assert!(DataLock::acquire(directory.path(), "search").is_ok());
    }
}
