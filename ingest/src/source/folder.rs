//! A folder of files, on this machine or mounted on it.
//!
//! Hidden files and folders are no documents. A link is followed only where it leads to something inside the folder,
//! and what it leads to keeps the readers of the place where it really stands: a link in an open folder opens nothing.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::access_file::AccessFiles;
use super::walk::Walk;
use super::{Content, Listing, ReadError, Source, SourceError, name};
use crate::access::Acl;
use crate::document::SourceItem;

/// Settings of a folder source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderSettings {
    /// The folder.
    pub path: PathBuf,
    /// Who reads what no `.access.toml` speaks of. Nobody but the local administrator unless said.
    #[serde(default)]
    pub readers: Acl,
    /// Larger files are not read, in MiB.
    #[serde(default = "default_max_mib")]
    pub max_mib: u64,
    /// Only this file or folder in it is listed: relative, `/` between parts. Empty for all.
    #[serde(default)]
    pub below: String,
}

impl FolderSettings {
    /// The settings of a folder of which nothing is said but where it is.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), readers: Acl::nobody(), max_mib: default_max_mib(), below: String::new() }
    }
}

fn default_max_mib() -> u64 {
    200
}

/// A folder whose files are documents.
pub struct Folder {
    name: String,
    settings: FolderSettings,
}

/// Decodes the settings of a configured folder source.
pub(super) fn open(name: &str, settings: toml::Table) -> Result<Box<dyn Source + Send>, SourceError> {
    let settings = settings.try_into().map_err(|error: toml::de::Error| SourceError::Settings {
        name: name.to_owned(),
        reason: error.message().to_owned(),
    })?;
    Ok(Box::new(Folder::new(name, settings)?))
}

impl Folder {
    /// A source of this name over a folder. The folder itself is looked at when it is listed.
    pub fn new(name: &str, mut settings: FolderSettings) -> Result<Self, SourceError> {
        let refuse = |reason: &str| SourceError::Settings { name: name.to_owned(), reason: reason.to_owned() };
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(refuse("the name of a source may not be empty or hold control characters"));
        }
        if settings.max_mib == 0 {
            return Err(refuse("`max_mib` must be at least 1"));
        }
        settings.below = settings.below.trim_matches('/').to_owned();
        let parts = settings.below.split('/').filter(|_| !settings.below.is_empty());
        for part in parts {
            if part.starts_with('.') || name::from_text(part).is_none() {
                return Err(refuse("`below` must be a relative path of visible folders without `.` and `..` in it"));
            }
        }
        Ok(Self { name: name.to_owned(), settings })
    }

    fn max_bytes(&self) -> u64 {
        self.settings.max_mib.saturating_mul(1 << 20)
    }

    /// The folder with all links resolved.
    fn root(&self) -> io::Result<PathBuf> {
        let root = fs::canonicalize(&self.settings.path)?;
        if !root.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        Ok(root)
    }

    fn root_error(&self, error: &io::Error) -> SourceError {
        let path = self.settings.path.join(&self.settings.below);
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "does not exist".to_owned(),
            io::ErrorKind::NotADirectory => "is not a folder".to_owned(),
            _ => format!("cannot be listed: {error}"),
        };
        SourceError::Root { name: self.name.clone(), path: path.display().to_string(), reason }
    }
}

impl Folder {
    /// The file of an item and its size, if its readers are still those that were listed.
    fn open_file(&self, item: &SourceItem) -> Result<(File, u64), ReadError> {
        let root = self.root().map_err(|error| ReadError::Io(error.to_string()))?;
        let gone_or = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::Gone,
            _ => ReadError::Io(error.to_string()),
        };
        let listed = on_disk(&root, &item.path).ok_or(ReadError::Gone)?;
        let real = fs::canonicalize(listed).map_err(gone_or)?;
        // Between listing and reading a file can become a link to one that others may read, or none at all.
        let parent = real.parent().filter(|_| real.starts_with(&root));
        let parent = parent.ok_or_else(|| ReadError::Io("it now leads out of the source".to_owned()))?;
        if !fs::metadata(&real).map_err(gone_or)?.is_file() {
            return Err(ReadError::Io("it is no longer a file".to_owned()));
        }
        let file = File::open(&real).map_err(gone_or)?;
        // After opening: whoever puts another file with other readers in its place does both before or after this.
        if AccessFiles::new(&root, &self.settings.readers).readers(parent) != item.acl {
            return Err(ReadError::Io(
                "its readers changed while the run was going; the next run settles it".to_owned(),
            ));
        }
        let size = file.metadata().map_err(gone_or)?.len();
        let limit = self.max_bytes();
        if size > limit { Err(ReadError::TooLarge { size, limit }) } else { Ok((file, size)) }
    }
}

impl Source for Folder {
    fn name(&self) -> &str {
        &self.name
    }

    fn scope(&self) -> &str {
        &self.settings.below
    }

    fn list(&self) -> Result<Listing, SourceError> {
        let root = self.root().map_err(|error| self.root_error(&error))?;
        let access = AccessFiles::new(&root, &self.settings.readers);
        Walk::new(&root, access).run(&self.settings.below).map_err(|error| self.root_error(&error))
    }

    fn read(&self, item: &SourceItem) -> Result<Vec<u8>, ReadError> {
        let (file, size) = self.open_file(item)?;
        let limit = self.max_bytes();
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| ReadError::Io(error.to_string()))?;
        let size = bytes.len() as u64;
        if size > limit { Err(ReadError::TooLarge { size, limit }) } else { Ok(bytes) }
    }

    fn open(&self, item: &SourceItem) -> Result<Box<dyn Content>, ReadError> {
        Ok(Box::new(self.open_file(item)?.0))
    }
}

/// The file that a listed path stands for; `None` if no listing ever gives this path.
pub(super) fn on_disk(root: &Path, path: &str) -> Option<PathBuf> {
    let mut file = root.to_owned();
    for part in path.split('/') {
        file.push(name::from_text(part)?);
    }
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Principal;

    #[test]
    fn settings_are_checked_and_named() {
        let refused = |text: &str| open("hr", toml::from_str(text).unwrap()).err().unwrap().to_string();
        assert!(refused("path = '/srv'\nreader = []").contains("reader"));
        assert!(refused("path = '/srv'\nreaders = ['ana']").contains("`ana`"));
        assert!(refused("path = '/srv'\nmax_mib = 0").contains("max_mib"));
        for below in ["..", "a/../..", ".git", "a//b"] {
            assert!(refused(&format!("path = '/srv'\nbelow = '{below}'")).contains("below"), "{below}");
        }
        let opened =
            open("hr", toml::from_str("path = '/srv'\nreaders = ['group:hr']\nbelow = 'a/b/'").unwrap()).unwrap();
        assert_eq!((opened.name(), opened.scope()), ("hr", "a/b"));
    }

    #[test]
    fn a_missing_root_is_an_error() {
        let missing = tempfile::tempdir().unwrap().path().join("gone");
        let error = Folder::new("hr", FolderSettings::new(&missing)).unwrap().list().unwrap_err().to_string();
        assert!(error.contains("does not exist") && error.contains("nothing was deleted"), "{error}");
    }

    #[test]
    fn a_file_over_the_limit_is_refused_with_both_sizes() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("big.txt"), vec![b'x'; (1 << 20) + 1]).unwrap();
        let source = Folder::new("hr", FolderSettings { max_mib: 1, ..FolderSettings::new(folder.path()) }).unwrap();
        let listing = source.list().unwrap();
        let error = source.read(&listing.items[0]).unwrap_err();
        assert_eq!(error, ReadError::TooLarge { size: (1 << 20) + 1, limit: 1 << 20 });
    }

    #[cfg(unix)]
    #[test]
    fn a_file_swapped_for_a_link_is_not_read_with_the_old_readers() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("legal")).unwrap();
        fs::write(at("legal/.access.toml"), "readers = ['group:legal']").unwrap();
        fs::write(at("legal/secret.md"), "secret").unwrap();
        fs::write(at("open.md"), "open").unwrap();
        let everyone: Acl = [Principal::Everyone].into_iter().collect();
        let settings = FolderSettings { readers: everyone, ..FolderSettings::new(folder.path()) };
        let source = Folder::new("hr", settings).unwrap();
        let listing = source.list().unwrap();
        let open = listing.items.iter().find(|item| item.path == "open.md").unwrap();
        assert_eq!(source.read(open).unwrap(), b"open");
        fs::remove_file(at("open.md")).unwrap();
        std::os::unix::fs::symlink("legal/secret.md", at("open.md")).unwrap();
        assert!(matches!(source.read(open), Err(ReadError::Io(_))));
    }
}
