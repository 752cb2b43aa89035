//! Files that came over HTTP: a folder in the data directory that is a source like others, named [`SOURCE`].
//!
//! Each document is a folder of its own, `NAME/NAME` beside `NAME/.access.toml` with its readers, so that content and
//! readers appear and go with one rename. Invariants: what [`Incoming::place`] and [`Uploads::remove`] have returned
//! from survives a crash; a crash before that leaves every document as it was, or gone or new as a whole; nothing is
//! ever readable by others than those its own upload named.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use intramuros_ingest::access::Acl;
use intramuros_ingest::document::DocumentId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod ceiling;
mod name;

pub use ceiling::{Ceilings, Held, Lowered, common};
pub use name::{BadName, ending, file_name};

/// Name of the source.
pub const SOURCE: &str = "uploads";

/// What a crash leaves in here is of no use. Hidden, so that no listing shows it.
const INCOMING: &str = ".incoming";
/// Former versions while new ones take their place; after a crash those without a successor go back.
const REPLACED: &str = ".replaced";
const ACCESS_FILE: &str = ".access.toml";

/// The folder of uploaded files.
pub struct Uploads {
    root: PathBuf,
    /// Held by whoever puts files in place or takes some away.
    placing: Mutex<()>,
    ceilings: Ceilings,
}

/// Held while documents change; see [`Uploads::exclusive`].
pub struct Exclusive<'a> {
    _held: MutexGuard<'a, ()>,
}

/// An uploaded file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its file name.
    pub name: String,
    /// Its readers.
    pub readers: Acl,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessFile {
    readers: Acl,
}

impl Uploads {
    /// The uploads of a data directory that this process owns; repairs what a crash left.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let uploads = Self { root: data_dir.join(SOURCE), placing: Mutex::new(()), ceilings: Ceilings::default() };
        if uploads.exists() {
            uploads.recover()?;
        }
        Ok(uploads)
    }

    /// The folder; it is made with the first upload.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether anything was ever uploaded.
    pub fn exists(&self) -> bool {
        self.root.is_dir()
    }

    /// Readers that were narrowed before sync has seen why.
    pub fn ceilings(&self) -> &Ceilings {
        &self.ceilings
    }

    /// Waits until nobody else changes the files.
    pub fn exclusive(&self) -> Exclusive<'_> {
        Exclusive { _held: self.placing.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Where the document of a file stands in the source.
    pub fn path_of(name: &str) -> String {
        format!("{name}/{name}")
    }

    /// The id of the document of a file.
    pub fn id_of(name: &str) -> DocumentId {
        DocumentId::new(SOURCE, &Self::path_of(name))
    }

    /// A place for new files, beside the others and not yet among them.
    pub fn incoming(&self) -> io::Result<Incoming> {
        if !self.exists() {
            private_dir(&self.root)?;
            self.root.parent().map_or(Ok(()), sync_dir)?;
        }
        private_dir(&self.root.join(INCOMING))?;
        let directory = self.root.join(INCOMING).join(Uuid::new_v4().simple().to_string());
        private_dir(&directory)?;
        Ok(Incoming { directory, names: Vec::new() })
    }

    /// The file whose document has this id.
    pub fn find(&self, id: DocumentId) -> io::Result<Option<Stored>> {
        if !self.exists() {
            return Ok(None);
        }
        for entry in fs::read_dir(&self.root)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if name.starts_with('.') || Self::id_of(&name) != id {
                continue;
            }
            // Without a list of readers that can be used nobody reads it.
            let readers = fs::read_to_string(self.root.join(&name).join(ACCESS_FILE)).ok();
            let parsed = readers.and_then(|text| toml::from_str::<AccessFile>(&text).ok());
            return Ok(Some(Stored { name, readers: parsed.map_or_else(Acl::nobody, |file| file.readers) }));
        }
        Ok(None)
    }

    /// Takes a file away, durably. Returns whether it was there.
    pub fn remove(&self, _exclusive: &Exclusive<'_>, name: &str) -> io::Result<bool> {
        private_dir(&self.root.join(INCOMING))?;
        let aside = self.root.join(INCOMING).join(Uuid::new_v4().simple().to_string());
        match fs::rename(self.root.join(name), &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        sync_dir(&self.root)?;
        // It is gone from the source; what is left of it here goes at the next start at the latest.
        let _ = fs::remove_dir_all(aside);
        Ok(true)
    }

    fn recover(&self) -> io::Result<()> {
        remove_all(&self.root.join(INCOMING))?;
        let replaced = self.root.join(REPLACED);
        if !replaced.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(&replaced)? {
            let former = entry?.path();
            let Some(name) = only_file(&former)? else { continue };
            if !self.root.join(&name).exists() {
                fs::rename(&former, self.root.join(&name))?;
            }
        }
        sync_dir(&self.root)?;
        remove_all(&replaced)
    }
}

/// Files on their way in. Dropping it removes what was not placed.
pub struct Incoming {
    directory: PathBuf,
    names: Vec<String>,
}

impl Incoming {
    /// Where to write the content of one more file. `name` is one of [`file_name`], used once.
    pub fn add(&mut self, name: &str) -> io::Result<PathBuf> {
        let directory = self.directory.join(self.names.len().to_string());
        private_dir(&directory)?;
        self.names.push(name.to_owned());
        Ok(directory.join(name))
    }

    /// The names so far, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Makes all files documents of the source with these readers, durably; a former version of the same name is
    /// replaced. On an error none is.
    pub fn place(&self, uploads: &Uploads, _exclusive: &Exclusive<'_>, readers: &Acl) -> io::Result<()> {
        let access = toml::to_string(&AccessFile { readers: readers.clone() }).map_err(io::Error::other)?;
        for (i, name) in self.names.iter().enumerate() {
            let directory = self.directory.join(i.to_string());
            let mut file = File::create(directory.join(ACCESS_FILE))?;
            file.write_all(access.as_bytes())?;
            file.sync_all()?;
            File::open(directory.join(name))?.sync_all()?;
            sync_dir(&directory)?;
        }
        let replaced = uploads.root.join(REPLACED);
        private_dir(&replaced)?;
        let mut done = Vec::with_capacity(self.names.len());
        for (i, name) in self.names.iter().enumerate() {
            let step = Step {
                staged: self.directory.join(i.to_string()),
                target: uploads.root.join(name),
                former: replaced.join(Uuid::new_v4().simple().to_string()),
            };
            let outcome = step.swap(&replaced);
            done.push(step);
            if let Err(error) = outcome {
                for step in done.iter().rev() {
                    step.undo();
                }
                return Err(error);
            }
        }
        sync_dir(&uploads.root)?;
        for step in &done {
            let _ = remove_all(&step.former);
        }
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// One document that takes its place.
struct Step {
    staged: PathBuf,
    target: PathBuf,
    former: PathBuf,
}

impl Step {
    fn swap(&self, replaced: &Path) -> io::Result<()> {
        match fs::rename(&self.target, &self.former) {
            // A crash from here on finds the former version there.
            Ok(()) => sync_dir(replaced)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        fs::rename(&self.staged, &self.target)
    }

    /// Takes back as much of [`Step::swap`] as was done.
    fn undo(&self) {
        if !self.staged.exists() {
            let _ = fs::rename(&self.target, &self.staged);
        }
        if self.former.exists() {
            let _ = fs::rename(&self.former, &self.target);
        }
    }
}

/// The name of the one visible file in a folder.
fn only_file(directory: &Path) -> io::Result<Option<std::ffi::OsString>> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the names in a folder survive a power cut.
fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(uploads: &Uploads, files: &[(&str, &str)], readers: &str) {
        let mut incoming = uploads.incoming().unwrap();
        for (name, text) in files {
            fs::write(incoming.add(name).unwrap(), text).unwrap();
        }
        incoming.place(uploads, &uploads.exclusive(), &readers.parse().unwrap()).unwrap();
    }

    fn text(uploads: &Uploads, name: &str) -> Option<String> {
        fs::read_to_string(uploads.root().join(Uploads::path_of(name))).ok()
    }

    #[test]
    fn files_come_are_replaced_and_go() {
        let data = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(data.path()).unwrap();
        assert!(!uploads.exists());
        upload(&uploads, &[("a.md", "one"), ("b.md", "b")], "group:legal");
        upload(&uploads, &[("a.md", "two")], "user:ana,everyone");
        assert_eq!(text(&uploads, "a.md").as_deref(), Some("two"));
        let stored = uploads.find(Uploads::id_of("a.md")).unwrap().unwrap();
        assert_eq!((stored.name.as_str(), stored.readers), ("a.md", "everyone,user:ana".parse().unwrap()));
        let stored = uploads.find(Uploads::id_of("b.md")).unwrap().unwrap();
        assert_eq!(stored.readers, "group:legal".parse().unwrap());
        assert!(uploads.remove(&uploads.exclusive(), "a.md").unwrap());
        assert!(!uploads.remove(&uploads.exclusive(), "a.md").unwrap());
        assert_eq!(uploads.find(Uploads::id_of("a.md")).unwrap(), None);
        for hidden in [INCOMING, REPLACED] {
            assert_eq!(fs::read_dir(uploads.root().join(hidden)).unwrap().count(), 0, "{hidden}");
        }
    }

    #[test]
    fn what_is_not_placed_leaves_nothing() {
        let data = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(data.path()).unwrap();
        upload(&uploads, &[("a.md", "one")], "everyone");
        let mut incoming = uploads.incoming().unwrap();
        fs::write(incoming.add("a.md").unwrap(), "two").unwrap();
        // The second one was never written, so that neither may be placed.
        incoming.add("b.md").unwrap();
        incoming.place(&uploads, &uploads.exclusive(), &Acl::nobody()).unwrap_err();
        drop(incoming);
        assert_eq!(text(&uploads, "a.md").as_deref(), Some("one"));
        assert_eq!(text(&uploads, "b.md"), None);
        assert_eq!(fs::read_dir(uploads.root().join(INCOMING)).unwrap().count(), 0);
    }

    #[test]
    fn a_failure_half_way_puts_everything_back() {
        let data = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(data.path()).unwrap();
        upload(&uploads, &[("a.md", "one")], "everyone");
        let blocked = uploads.root().join(REPLACED);
        let mut incoming = uploads.incoming().unwrap();
        fs::write(incoming.add("a.md").unwrap(), "two").unwrap();
        fs::write(incoming.add("c.md").unwrap(), "three").unwrap();
        let steps: Vec<Step> = (0..2)
            .map(|i| Step {
                staged: incoming.directory.join(i.to_string()),
                target: uploads.root().join(&incoming.names()[i]),
                former: blocked.join(i.to_string()),
            })
            .collect();
        for step in &steps {
            step.swap(&blocked).unwrap();
        }
        assert_eq!(text(&uploads, "a.md").as_deref(), Some("two"));
        for step in steps.iter().rev() {
            step.undo();
        }
        assert_eq!(text(&uploads, "a.md").as_deref(), Some("one"));
        assert_eq!(text(&uploads, "c.md"), None);
    }

    #[test]
    fn a_crash_between_the_two_renames_brings_the_former_version_back() {
        let data = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(data.path()).unwrap();
        upload(&uploads, &[("a.md", "one"), ("b.md", "one")], "everyone");
        let replaced = uploads.root().join(REPLACED);
        fs::rename(uploads.root().join("a.md"), replaced.join("x")).unwrap();
        // Of the other one, both versions are there: the new one stays.
        fs::create_dir(replaced.join("y")).unwrap();
        fs::write(replaced.join("y/b.md"), "zero").unwrap();
        fs::create_dir_all(uploads.root().join(INCOMING).join("z/0")).unwrap();
        let uploads = Uploads::open(data.path()).unwrap();
        assert_eq!(text(&uploads, "a.md").as_deref(), Some("one"));
        assert_eq!(text(&uploads, "b.md").as_deref(), Some("one"));
        assert!(!replaced.exists() && !uploads.root().join(INCOMING).exists());
    }
}
