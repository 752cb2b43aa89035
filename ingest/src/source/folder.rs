//! A folder of files on this machine or mounted on it.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Listing, ReadError, Source, SourceError};
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
    /// The settings of a folder of which nothing is said but its path.
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
    let settings = settings
        .try_into()
        .map_err(|error: toml::de::Error| SourceError::Settings { name: name.to_owned(), reason: error.to_string() })?;
    Ok(Box::new(Folder::new(name, settings)?))
}

impl Folder {
    /// A source of this name over a folder. The folder itself is looked at when it is listed.
    pub fn new(name: &str, settings: FolderSettings) -> Result<Self, SourceError> {
        Ok(Self { name: name.to_owned(), settings })
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
        Ok(Listing::default())
    }

    fn read(&self, _item: &SourceItem) -> Result<Vec<u8>, ReadError> {
        Err(ReadError::Gone)
    }
}
