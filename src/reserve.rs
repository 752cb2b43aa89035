//! Room kept for a full disk: a file that is given up so that the index can still be opened and read.
//!
//! Opening needs some space even for a reader: SQLite makes the index of its log, and the engine writes its settings and
//! repairs what a crash left. Where other programs have filled the disk, that space comes from here; when the data
//! directory is closed, the file takes it back. Writing documents asks for far more and stays refused.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use fs4::FileExt;

const FILE: &str = "reserve";
const MIB: u64 = 1024 * 1024;
/// Above what the store asks for to open, with room for the state database.
const NEEDED: u64 = 18 * MIB;
const SIZE: u64 = 20 * MIB;
/// With less than this free, the file is not made: a small disk is better filled with documents.
const MAKE_WITH: u64 = 80 * MIB;

/// The file, given up or not, for as long as the data directory is open.
pub struct Reserve {
    directory: PathBuf,
    given_up: bool,
}

impl Reserve {
    /// Looks at the free space and gives the file up where too little is left, or makes it where there is enough.
    pub fn settle(directory: &Path) -> io::Result<Self> {
        let mut reserve = Self { directory: directory.to_owned(), given_up: false };
        let free = fs4::available_space(directory)?;
        let held = fs::metadata(reserve.path()).map_or(0, |metadata| metadata.len());
        if free < NEEDED && held > 0 {
            fs::remove_file(reserve.path())?;
            reserve.given_up = true;
            tracing::warn!(
                "the disk of {} is full: documents can be read, not written; free some space",
                directory.display()
            );
        } else if held < SIZE && free >= MAKE_WITH {
            reserve.make(SIZE);
        }
        Ok(reserve)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Without the file a full disk ends reading with an error that says so; that is no reason to stop now.
    fn make(&self, size: u64) {
        let made = OpenOptions::new().write(true).create(true).truncate(false).open(self.path());
        if let Err(error) = made.and_then(|file| file.allocate(size)) {
            tracing::debug!(%error, "no room could be set aside for a full disk");
            let _ = fs::remove_file(self.path());
        }
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        let free = fs4::available_space(&self.directory).unwrap_or(0);
        if self.given_up && free > 0 {
            self.make(SIZE.min(free));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_file_takes_real_space_and_comes_back_after_it_was_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::settle(directory.path()).unwrap();
        let held = || fs::metadata(directory.path().join(FILE)).map_or(0, |metadata| metadata.blocks() * 512);
        assert_eq!(held() / MIB, SIZE / MIB);
        fs::remove_file(reserve.path()).unwrap();
        reserve.given_up = true;
        drop(reserve);
        assert_eq!(held() / MIB, SIZE / MIB);
    }
}
