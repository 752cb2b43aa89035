//! One owner for a data directory: the engine and the ledger must never be open twice.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

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
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(io(source)),
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // The owner may be between locking and writing; then there is no name to show yet.
                let known = file.read_to_string(&mut owner).is_ok() && !owner.trim().is_empty();
                let owner = if known { owner.trim().to_owned() } else { "another process".to_owned() };
                return Err(LockError::Taken { directory: shown, owner });
            }
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        // A full disk must not keep anybody from reading: the name is a courtesy, the lock is what counts.
        let _ = write!(file, "process {} (intramuros {command})", std::process::id());
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
