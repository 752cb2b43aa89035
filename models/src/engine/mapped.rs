//! Weights files stay where they are: mapped into memory, read where they lie, and let go when they were read.
#![expect(unsafe_code, reason = "memory-maps the weights")]

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::{Mmap, UncheckedAdvice};

use crate::ModelError;

/// A file on disk as memory.
pub struct MappedFile {
    path: String,
    map: Mmap,
}

impl MappedFile {
    /// Maps a file.
    ///
    /// # Errors
    /// [`ModelError::Io`] when it cannot be read.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let io = |source| ModelError::Io { path: path.display().to_string(), source };
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.is_dir() {
            return Err(io(std::io::ErrorKind::IsADirectory.into()));
        }
        // SAFETY: the map is read-only and private. Weights files are replaced by renaming, never written in place;
        // whoever truncates one while it is in use gets the signal that any mapped program gets.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Ok(Self { path: path.display().to_string(), map })
    }

    /// The error that says this file cannot be used.
    pub fn invalid(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Invalid { file: self.path.clone(), reason: reason.into() }
    }

    /// Tells the system that all of it will not be needed again soon, so that it does not count as memory in use.
    pub fn forget(&self) {
        self.forget_part(&self.map);
    }

    /// The same of a part. Memory that is not the file's is left alone.
    pub fn forget_part(&self, part: &[u8]) {
        let offset = (part.as_ptr() as usize).wrapping_sub(self.map.as_ptr() as usize);
        if offset.checked_add(part.len()).is_none_or(|end| end > self.map.len()) {
            return;
        }
        // SAFETY: the map is that of a file and nobody writes to it, so that pages that are read again hold what they held.
        let forgotten = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, part.len()) };
        if let Err(error) = forgotten {
            tracing::debug!(%error, file = self.path, "weights that were read stay in memory");
        }
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_can_be_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weights");
        let content: Vec<u8> = (0..40_000u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &content).unwrap();
        let file = MappedFile::open(&path).unwrap();
        assert_eq!(file[..], content);
        file.forget_part(&file[5000..90_000]);
        file.forget_part(&content);
        assert_eq!(file[..], content);
        file.forget();
        assert_eq!(file[..], content);
        assert!(file.invalid("odd").to_string().contains(&format!("`{}`: odd", path.display())));
        assert!(matches!(MappedFile::open(&directory.path().join("none")), Err(ModelError::Io { .. })));
        let error = MappedFile::open(directory.path()).err().unwrap().to_string();
        assert!(error.contains("is a directory"), "{error}");
    }
}
