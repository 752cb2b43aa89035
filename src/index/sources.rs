//! Which sources there are: those of the configuration, folders given by path, and the uploads.

use std::path::{Path, PathBuf};

use intramuros_ingest::access::Acl;
use intramuros_ingest::document::SourceItem;
use intramuros_ingest::source::{self, Content, Folder, FolderSettings, ReadError, Source, SourceError};

use super::IndexError;
use crate::app::App;
use crate::state::StateError;
use crate::state::documents::Original;
use crate::state::sources::SourceRecord;
use crate::uploads;

/// A source to go through, and who reads it by default where that is known.
pub struct Planned {
    pub(super) source: Box<dyn Source + Send>,
    pub(super) remember: Option<(PathBuf, Acl)>,
}

impl Planned {
    /// Name of the source.
    pub fn name(&self) -> &str {
        self.source.name()
    }
}

/// All sources: those of the configuration, then the remembered ones.
pub fn all_sources(app: &App) -> Result<Vec<Planned>, IndexError> {
    let mut planned = Vec::new();
    for configured in &app.config().sources {
        let source = source::open(&configured.name, &configured.kind, configured.settings.clone())?;
        planned.push(Planned { source, remember: None });
    }
    for record in app.wait(app.state().sources())? {
        planned.push(remembered(app, record)?);
    }
    planned.extend(uploaded(app)?);
    if planned.is_empty() && orphans(app)?.is_empty() { Err(IndexError::NoSources) } else { Ok(planned) }
}

/// A folder that was ingested by its path, unless the configuration has it, too.
fn remembered(app: &App, record: SourceRecord) -> Result<Planned, IndexError> {
    let twice = |folder: &KnownFolder| folder.readers.is_none() && overlap(&folder.root, &record.root);
    if let Some(configured) = folders(app)?.into_iter().find(twice) {
        let root = record.root.display().to_string();
        return Err(IndexError::Twice { configured: configured.name, remembered: record.name, root });
    }
    Ok(Planned { source: folder(&record.name, &record.root, record.readers, "")?, remember: None })
}

/// The sources that several paths belong to; `acl` is given to those that are new.
pub fn sources_of(app: &App, paths: &[PathBuf], acl: Option<&Acl>) -> Result<Vec<Planned>, IndexError> {
    let mut planned: Vec<Planned> = Vec::with_capacity(paths.len());
    for path in paths {
        let one = source_of(app, path, acl)?;
        let new_root = |planned: &Planned| planned.remember.as_ref().map(|(root, _)| root.clone());
        if let Some(root) = new_root(&one) {
            for other in &planned {
                if let Some(other_root) = new_root(other).filter(|other_root| overlap(&root, other_root)) {
                    let (name, root) = (other.name().to_owned(), other_root.display().to_string());
                    return Err(IndexError::Overlap { path: path.display().to_string(), name, root });
                }
            }
        }
        planned.push(one);
    }
    Ok(planned)
}

/// Sources that documents came from and that neither the configuration nor an earlier `ingest PATH` names any more.
pub fn orphans(app: &App) -> Result<Vec<String>, IndexError> {
    let mut names = app.wait(app.state().document_sources())?;
    let remembered = app.wait(app.state().sources())?;
    names.retain(|name| {
        let configured = app.config().sources.iter().any(|source| source.name == *name);
        let uploaded = name == uploads::SOURCE && app.uploads().exists();
        !configured && !uploaded && !remembered.iter().any(|record| record.name == *name)
    });
    Ok(names)
}

/// What an administrator is told of an orphan.
pub fn orphan_warning(name: &str) -> String {
    format!(
        "documents of `{name}` are still found, though no source of this name is known any more: `intramuros documents forget {name}` takes them out"
    )
}

/// Refuses a new source that overlaps one which was not there yet when it was planned.
pub(super) fn still_apart(app: &App, name: &str, root: &Path) -> Result<(), IndexError> {
    for other in folders(app)? {
        if other.name != name && overlap(&other.root, root) {
            return Err(IndexError::Meanwhile { path: root.display().to_string(), name: other.name });
        }
    }
    Ok(())
}

/// Whether one folder is or holds the other, by their real places.
fn overlap(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (a, b) = (real(a), real(b));
    a.starts_with(&b) || b.starts_with(&a)
}

/// The files that came over HTTP, each with readers of its own.
fn uploaded(app: &App) -> Result<Option<Planned>, IndexError> {
    if !app.uploads().exists() {
        return Ok(None);
    }
    let mut settings = FolderSettings::new(app.uploads().root());
    settings.max_mib = settings.max_mib.max(app.config().server.max_upload_mib as u64);
    Ok(Some(Planned { source: Box::new(Folder::new(uploads::SOURCE, settings)?), remember: None }))
}

/// The source of this name, if there is one.
pub fn named(app: &App, name: &str) -> Result<Option<Planned>, IndexError> {
    if name == uploads::SOURCE {
        return uploaded(app);
    }
    if app.config().sources.iter().any(|configured| configured.name == name) {
        return Ok(Some(Planned { source: configured_part(app, name, "")?, remember: None }));
    }
    for record in app.wait(app.state().sources())? {
        if record.name == name {
            return remembered(app, record).map(Some);
        }
    }
    Ok(None)
}

/// A source as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceInfo {
    /// Its name.
    pub name: String,
    /// One of [`source::KINDS`].
    pub kind: String,
    /// Who reads what no `.access.toml` speaks for.
    pub readers: Acl,
}

/// All sources that there are, as [`all_sources`] orders them.
pub async fn infos(app: &App) -> Result<Vec<SourceInfo>, StateError> {
    let mut infos = Vec::new();
    for configured in &app.config().sources {
        let settings: Result<FolderSettings, _> = configured.settings.clone().try_into();
        let readers = settings.map(|settings| settings.readers).unwrap_or_default();
        infos.push(SourceInfo { name: configured.name.clone(), kind: configured.kind.clone(), readers });
    }
    for record in app.state().sources().await? {
        infos.push(SourceInfo { name: record.name, kind: "folder".to_owned(), readers: record.readers });
    }
    if app.uploads().exists() {
        let name = uploads::SOURCE.to_owned();
        infos.push(SourceInfo { name, kind: "folder".to_owned(), readers: Acl::nobody() });
    }
    Ok(infos)
}

/// A file that is opened, or why it cannot be.
pub type Opened = Result<Box<dyn Content>, ReadError>;

/// The file that a document was made from, as it is now; `None` if its source is no longer known.
pub fn open_original(app: &App, original: &Original) -> Result<Option<Opened>, IndexError> {
    let Some(planned) = named(app, &original.source)? else { return Ok(None) };
    let item =
        SourceItem { path: original.path.clone(), uri: String::new(), acl: Ok(original.readers.clone()), size: 0 };
    Ok(Some(planned.source.open(&item)))
}

/// The source that a path belongs to: a known one, a part of a known one, or a new one, which is remembered.
pub fn source_of(app: &App, path: &Path, acl: Option<&Acl>) -> Result<Planned, IndexError> {
    let shown = || path.display().to_string();
    let path = path.canonicalize().map_err(|source| IndexError::Path { path: shown(), source })?;

    if let Ok(root) = app.uploads().root().canonicalize()
        && (root.starts_with(&path) || path.starts_with(&root))
    {
        return Err(IndexError::Uploads { path: shown() });
    }
    for KnownFolder { name, root, readers } in folders(app)? {
        let Ok(root) = root.canonicalize() else { continue };
        if path != root && root.starts_with(&path) {
            return Err(IndexError::Overlap { path: shown(), name, root: root.display().to_string() });
        }
        let Ok(below) = path.strip_prefix(&root) else { continue };
        let whole = below.as_os_str().is_empty();
        let below = source::path_text(below)
            .ok_or_else(|| IndexError::Path { path: shown(), source: std::io::ErrorKind::InvalidFilename.into() })?;
        let remember = match (acl, &readers) {
            (None, _) => None,
            (Some(acl), _) if !whole => {
                let example = acl.readers().next().map_or_else(|| "everyone".to_owned(), ToString::to_string);
                let folder = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(&path) };
                let folder = folder.display().to_string();
                return Err(IndexError::RightsInside { path: shown(), name, folder, example });
            }
            (Some(_), None) => return Err(IndexError::RightsConfigured { name }),
            (Some(acl), Some(_)) => Some((root.clone(), acl.clone())),
        };
        let source: Box<dyn Source + Send> = match readers {
            Some(readers) => {
                let readers = remember.as_ref().map_or(readers, |(_, acl)| acl.clone());
                folder(&name, &root, readers, &below)?
            }
            None => configured_part(app, &name, &below)?,
        };
        return Ok(Planned { source, remember });
    }
    let readers = acl.cloned().unwrap_or_default();
    let name = path.to_str().ok_or_else(|| IndexError::NotUnicode { path: shown() })?.to_owned();
    Ok(Planned { source: folder(&name, &path, readers.clone(), "")?, remember: Some((path, readers)) })
}

/// A source that is a folder, or a file that was ingested by its path.
pub struct KnownFolder {
    /// Name of the source.
    pub name: String,
    /// The folder, as configured or as first ingested.
    pub root: PathBuf,
    /// Who reads it by default, for those that are not in the configuration.
    pub readers: Option<Acl>,
}

/// All of them: those of the configuration, then the remembered ones.
pub fn folders(app: &App) -> Result<Vec<KnownFolder>, IndexError> {
    let mut folders = Vec::new();
    for source in &app.config().sources {
        if let Some(path) = source.settings.get("path").and_then(toml::Value::as_str) {
            folders.push(KnownFolder { name: source.name.clone(), root: PathBuf::from(path), readers: None });
        }
    }
    for record in app.wait(app.state().sources())? {
        folders.push(KnownFolder { name: record.name, root: record.root, readers: Some(record.readers) });
    }
    Ok(folders)
}

fn configured_part(app: &App, name: &str, below: &str) -> Result<Box<dyn Source + Send>, IndexError> {
    let configured = app.config().sources.iter().find(|source| source.name == name);
    let configured = configured.expect("folders lists configured names");
    let mut settings = configured.settings.clone();
    if !below.is_empty() {
        settings.insert("below".into(), below.into());
    }
    Ok(source::open(name, &configured.kind, settings)?)
}

/// A folder, or a single file as the only one of its folder.
fn folder(name: &str, root: &Path, readers: Acl, below: &str) -> Result<Box<dyn Source + Send>, SourceError> {
    let mut settings = FolderSettings::new(root);
    settings.readers = readers;
    settings.below = below.to_owned();
    if root.is_file()
        && let (Some(parent), Some(file)) = (root.parent(), root.file_name())
        && let Some(file) = source::path_text(Path::new(file))
    {
        settings.path = parent.to_owned();
        settings.below = file;
    }
    Ok(Box::new(Folder::new(name, settings)?))
}
