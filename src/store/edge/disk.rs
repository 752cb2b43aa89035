//! Keeps the embedded engine away from a full disk and its write-ahead log from growing without end.
//!
//! The engine writes through memory maps of sparse files: on a full disk such a write is a bus error, which no program
//! survives. So every write is measured against the free space first, with room to spare for what else writes there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::store::StoreError;

const MIB: u64 = 1024 * 1024;
/// Must be free to open an index: the engine sets up its log and repairs what a crash left.
pub(super) const OPEN_RESERVE: u64 = 16 * MIB;
/// Must stay free beside what a write itself takes.
pub(super) const WRITE_RESERVE: u64 = 64 * MIB;
/// A record is written to the log, to the payload and vector files, and to indexes.
pub(super) const COPIES_OF_A_RECORD: u64 = 4;

/// Refuses work on a file system with less than `needed` bytes free.
pub(super) fn check_free(directory: &Path, needed: u64) -> Result<(), StoreError> {
    let free = fs4::available_space(directory).map_err(|error| StoreError::Engine {
        action: "measure the free space of the data directory",
        reason: error.to_string(),
    })?;
    if free >= needed {
        return Ok(());
    }
    Err(StoreError::DiskFull {
        directory: directory.display().to_string(),
        free_mib: free / MIB,
        needed_mib: needed.div_ceil(MIB),
    })
}

/// Bytes that the files below a directory take on disk; holes in sparse files do not count.
pub(super) fn disk_size(directory: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // A file that the engine removed since the listing takes no space.
        let Ok(metadata) = entry.metadata() else { continue };
        total += if metadata.is_dir() { disk_size(&entry.path()).unwrap_or(0) } else { allocated(&metadata) };
    }
    Ok(total)
}

#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks() * 512
}

#[cfg(not(unix))]
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}

/// Frees the closed parts of the engine's write-ahead log, all but the newest.
///
/// The engine never replays its log and never shortens it. The newest closed part has to stay: its name and length say
/// at which number the next operation begins, and operations with lower numbers than the points' would be ignored.
pub(super) fn prune_log(log: &Path) -> io::Result<()> {
    let mut closed: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(log)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("closed-")).and_then(|rest| rest.parse().ok());
        if let Some(number) = number {
            closed.push((number, entry.path()));
        }
    }
    closed.sort();
    closed.pop();
    // Oldest first, so that what is left is without a gap whenever this stops.
    for (_, path) in closed {
        let file = fs::OpenOptions::new().write(true).open(&path)?;
        fs::remove_file(&path)?;
        // The engine keeps old parts mapped and never looks at them again: without this the space would come back only
        // when the process ends.
        file.set_len(0)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_space_is_named_in_mebibytes() {
        let directory = tempfile::tempdir().unwrap();
        check_free(directory.path(), 1).unwrap();
        let error = check_free(directory.path(), u64::MAX).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { needed_mib, .. } if needed_mib == u64::MAX / MIB + 1));
    }

    #[test]
    fn only_the_newest_closed_part_of_the_log_stays() {
        let log = tempfile::tempdir().unwrap();
        for name in ["closed-0", "closed-90", "closed-100", "open-3", "first-index"] {
            fs::write(log.path().join(name), "x").unwrap();
        }
        prune_log(log.path()).unwrap();
        let mut left: Vec<_> = fs::read_dir(log.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["closed-100", "first-index", "open-3"]);
    }

    #[test]
    fn holes_take_no_space() {
        let directory = tempfile::tempdir().unwrap();
        fs::File::create(directory.path().join("hole")).unwrap().set_len(1 << 30).unwrap();
        assert!(disk_size(directory.path()).unwrap() < 1 << 20);
    }
}
