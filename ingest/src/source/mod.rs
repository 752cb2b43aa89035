//! Where documents come from. One file per kind of source; [`KINDS`] lists them.
//!
//! A source lists what it holds with who may read it, and gives the bytes of one item at a time. It never decides what
//! is indexed: that is [`crate::sync`].

use std::io::{Cursor, Read, Seek};
use std::path::{Component, Path};

use crate::document::SourceItem;
use crate::sync::Listed;

mod access_file;
pub mod folder;
mod name;
mod uri;
mod walk;

pub use folder::{Folder, FolderSettings};

/// One kind of source: its name in the configuration and how it is opened from the rest of its table.
pub struct Kind {
    /// Value of `kind`.
    pub name: &'static str,
    /// Decodes the settings; gets the source's name and its table without `name` and `kind`.
    pub open: Open,
}

/// Opens a source by its name and the fields of its own.
pub type Open = fn(&str, toml::Table) -> Result<Box<dyn Source + Send>, SourceError>;

/// All kinds of sources.
pub const KINDS: &[Kind] = &[Kind { name: "folder", open: folder::open }];

/// Opens a configured source of the given kind; `settings` are the fields of its own.
pub fn open(name: &str, kind: &str, settings: toml::Table) -> Result<Box<dyn Source + Send>, SourceError> {
    let Some(found) = KINDS.iter().find(|candidate| candidate.name == kind) else {
        let known = KINDS.iter().map(|candidate| candidate.name).collect::<Vec<_>>().join(", ");
        return Err(SourceError::UnknownKind { name: name.to_owned(), kind: kind.to_owned(), known });
    };
    (found.open)(name, settings)
}

/// A relative path of the file system as the sources of this module write it: `/` between parts, without loss where a
/// name is not Unicode. `None` for one that is absolute or has `..` in it.
pub fn path_text(relative: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for component in relative.components() {
        match component {
            Component::Normal(part) => parts.push(name::to_text(part)?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(parts.join("/"))
}

/// A place that holds documents.
pub trait Source: Sync {
    /// Its name: part of the identity of each of its documents.
    fn name(&self) -> &str;
    /// The part of the source that is listed: a path prefix on a boundary between parts, empty for all of it. Only
    /// documents below it can be found deleted.
    fn scope(&self) -> &str;
    /// What is there now, in the order of paths.
    fn list(&self) -> Result<Listing, SourceError>;
    /// The content of one item now. It may have changed or gone since it was listed.
    fn read(&self, item: &SourceItem) -> Result<Vec<u8>, ReadError>;
    /// The same piece by piece, for handing it on.
    fn open(&self, item: &SourceItem) -> Result<Box<dyn Content>, ReadError> {
        Ok(Box::new(Cursor::new(self.read(item)?)))
    }
}

/// The bytes of an item.
pub trait Content: Read + Seek + Send {}

impl<T: Read + Seek + Send> Content for T {}

/// What a source holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Files, in the order of their paths.
    pub items: Vec<SourceItem>,
    /// Files and folders that could not be looked at. Neither they nor anything below them may be taken for deleted.
    pub failures: Vec<Listed>,
    /// Things that are no documents on purpose, such as links that lead out of the source.
    pub skips: Vec<Listed>,
    /// What an administrator should look at.
    pub warnings: Vec<String>,
}

/// Why the content of an item could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is no longer where it was listed.
    #[error("it vanished while the run was going; the next run settles it")]
    Gone,
    /// Reading failed; the content is unknown.
    #[error("it cannot be read: {0}")]
    Io(String),
    /// It is there and is more than the source takes.
    #[error("it has {size} bytes and the limit is {limit}: raise `max_mib` of the source, or split the file")]
    TooLarge {
        /// Bytes it has, as far as read.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
}

/// Why a source as a whole cannot be used. Nothing is deleted then.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The configuration names a kind that does not exist.
    #[error("source `{name}` is of kind `{kind}`, which does not exist; known: {known}")]
    UnknownKind {
        /// Name of the source.
        name: String,
        /// As configured.
        kind: String,
        /// Comma-separated.
        known: String,
    },
    /// The settings cannot be understood.
    #[error("source `{name}`: {reason}")]
    Settings {
        /// Name of the source.
        name: String,
        /// What is wrong, naming the field.
        reason: String,
    },
    /// Its root is not there or cannot be listed.
    #[error(
        "source `{name}`: folder `{path}` {reason}; nothing was deleted. Check the path and that its disk is mounted; if it is gone for good, `intramuros documents forget {name}` takes its documents out"
    )]
    Root {
        /// Name of the source.
        name: String,
        /// As configured.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_lists_the_known_ones() {
        let error = open("hr", "ftp", toml::Table::new()).err().unwrap().to_string();
        assert!(error.contains("`ftp`") && error.contains("folder"), "{error}");
    }

    #[test]
    fn relative_paths_become_texts() {
        assert_eq!(path_text(Path::new("a/./b.md")).as_deref(), Some("a/b.md"));
        assert_eq!(path_text(Path::new("")).as_deref(), Some(""));
        assert_eq!(path_text(Path::new("a/../b.md")), None);
        assert_eq!(path_text(Path::new("/a")), None);
    }
}
