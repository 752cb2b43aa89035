//! Files that came over HTTP: a folder in the data directory that is a source like others, named [`SOURCE`].
//!
//! Each document is a folder of its own, `ID/NAME` beside `ID/.access.toml` with its readers, so that content and readers
//! appear and go with one rename. The folder's name is drawn at random: two departments may each have a `contract.pdf`,
//! and neither learns of the other's. Invariants: what [`Incoming::place`] and [`Uploads::remove`] have returned from
//! survives a crash; a crash before that leaves every document as it was, or gone or new as a whole; nothing is ever
//! readable by others than those its own upload named, and nothing is replaced by somebody who may not read it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use intramuros_ingest::access::{Acl, Caller};
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
/// Beside it, the name of who sent the file.
const SENDER_FILE: &str = ".sender";

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

/// The place of an uploaded file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    folder: String,
    name: String,
}

impl Place {
    /// A new one.
    fn new(name: &str) -> Self {
        let folder = Uuid::new_v4().simple().to_string()[..12].to_owned();
        Self { folder, name: name.to_owned() }
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its document stands in the source.
    pub fn path(&self) -> String {
        format!("{}/{}", self.folder, self.name)
    }

    /// The id of its document.
    pub fn id(&self) -> DocumentId {
        DocumentId::new(SOURCE, &self.path())
    }
}

/// An uploaded file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where it is.
    pub place: Place,
    /// Its readers.
    pub readers: Acl,
    /// Who sent it, where that is known.
    pub sender: Option<String>,
}

impl Stored {
    /// Whether somebody may replace it or take it away: who may read it, and who sent it.
    pub fn is_theirs(&self, user: &str, caller: &Caller) -> bool {
        caller.may_read(&self.readers) || self.sender.as_deref() == Some(user)
    }
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
        for place in self.places()? {
            if place.id() == id {
                return Ok(Some(self.stored(place)));
            }
        }
        Ok(None)
    }

    /// Where a file of this name belongs: the place of an earlier version that is [theirs](Stored::is_theirs), best of the
    /// same readers, or else a new one. Whether somebody else has a file of this name does not show.
    pub fn place_for(
        &self,
        _: &Exclusive<'_>,
        name: &str,
        readers: &Acl,
        (user, caller): (&str, &Caller),
    ) -> io::Result<Place> {
        let mut own = Vec::new();
        for place in self.places()?.into_iter().filter(|place| place.name == name) {
            let stored = self.stored(place);
            if stored.is_theirs(user, caller) {
                own.push(stored);
            }
        }
        let same = own.iter().position(|stored| stored.readers == *readers);
        // Of several, none of which is meant more than the others, none is replaced.
        let chosen = same.or((own.len() == 1).then_some(0));
        Ok(chosen.map_or_else(|| Place::new(name), |at| own.swap_remove(at).place))
    }

    fn places(&self) -> io::Result<Vec<Place>> {
        let mut places = Vec::new();
        if !self.exists() {
            return Ok(places);
        }
        for entry in fs::read_dir(&self.root)? {
            let Ok(folder) = entry?.file_name().into_string() else { continue };
            if folder.starts_with('.') {
                continue;
            }
            let Some(Ok(name)) = only_file(&self.root.join(&folder))?.map(std::ffi::OsString::into_string) else {
                continue;
            };
            places.push(Place { folder, name });
        }
        Ok(places)
    }

    fn stored(&self, place: Place) -> Stored {
        // Without a list of readers that can be used nobody reads it.
        let readers = fs::read_to_string(self.root.join(&place.folder).join(ACCESS_FILE)).ok();
        let parsed = readers.and_then(|text| toml::from_str::<AccessFile>(&text).ok());
        let sender = fs::read_to_string(self.root.join(&place.folder).join(SENDER_FILE)).ok();
        Stored { place, readers: parsed.map_or_else(Acl::nobody, |file| file.readers), sender }
    }

    /// Takes a file away, durably. Returns whether it was there.
    pub fn remove(&self, _: &Exclusive<'_>, place: &Place) -> io::Result<bool> {
        // A former version that was left there would come back at the next start.
        remove_all(&self.root.join(REPLACED).join(&place.folder))?;
        private_dir(&self.root.join(INCOMING))?;
        let aside = self.root.join(INCOMING).join(Uuid::new_v4().simple().to_string());
        match fs::rename(self.root.join(&place.folder), &aside) {
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
            let entry = entry?;
            let place = self.root.join(entry.file_name());
            if !place.exists() {
                fs::rename(entry.path(), place)?;
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

    /// Makes all files documents of the source with these readers, durably, each at its place, where it replaces what was
    /// there. On an error none is.
    pub fn place(
        &self,
        uploads: &Uploads,
        _: &Exclusive<'_>,
        places: &[Place],
        (readers, sender): (&Acl, &str),
    ) -> io::Result<()> {
        let access = toml::to_string(&AccessFile { readers: readers.clone() }).map_err(io::Error::other)?;
        for (i, name) in self.names.iter().enumerate() {
            let directory = self.directory.join(i.to_string());
            for (file, text) in [(ACCESS_FILE, access.as_str()), (SENDER_FILE, sender)] {
                let mut file = File::create(directory.join(file))?;
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
            }
            File::open(directory.join(name))?.sync_all()?;
            sync_dir(&directory)?;
        }
        let replaced = uploads.root.join(REPLACED);
        private_dir(&replaced)?;
        let mut done = Vec::with_capacity(self.names.len());
        let mut swapped = Ok(());
        for (i, place) in places.iter().enumerate() {
            let former = replaced.join(&place.folder);
            remove_all(&former)?;
            let step =
                Step { staged: self.directory.join(i.to_string()), target: uploads.root.join(&place.folder), former };
            swapped = step.swap(&replaced);
            done.push(step);
            if swapped.is_err() {
                break;
            }
        }
        if let Err(error) = swapped.and_then(|()| sync_dir(&uploads.root)) {
            for step in done.iter().rev() {
                step.undo();
            }
            return Err(error);
        }
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
    use intramuros_ingest::access::Principal;

    use super::*;

    fn upload(uploads: &Uploads, files: &[(&str, &str)], readers: &str) {
        let mut incoming = uploads.incoming().unwrap();
        for (name, text) in files {
            fs::write(incoming.add(name).unwrap(), text).unwrap();
        }
        let (exclusive, readers) = (uploads.exclusive(), readers.parse().unwrap());
        let places = places(uploads, &exclusive, &incoming, &readers);
        incoming.place(uploads, &exclusive, &places, (&readers, "lea")).unwrap();
    }

    fn places(uploads: &Uploads, exclusive: &Exclusive<'_>, incoming: &Incoming, readers: &Acl) -> Vec<Place> {
        let place =
            |name: &String| uploads.place_for(exclusive, name, readers, ("lea", &Caller::LocalAdministrator)).unwrap();
        incoming.names().iter().map(place).collect()
    }

    fn stored(uploads: &Uploads, name: &str) -> Vec<Stored> {
        let places = uploads.places().unwrap().into_iter().filter(|place| place.name == name);
        places.map(|place| uploads.stored(place)).collect()
    }

    fn text(uploads: &Uploads, name: &str) -> Option<String> {
        let stored = stored(uploads, name);
        assert!(stored.len() < 2, "{stored:?}");
        fs::read_to_string(uploads.root().join(stored.first()?.place.path())).ok()
    }

    #[test]
    fn files_come_are_replaced_and_go() {
        let data = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(data.path()).unwrap();
        assert!(!uploads.exists());
        upload(&uploads, &[("a.md", "one"), ("b.md", "b")], "group:legal");
        upload(&uploads, &[("a.md", "two")], "user:ana,everyone");
        assert_eq!(text(&uploads, "a.md").as_deref(), Some("two"));
        let a = stored(&uploads, "a.md").remove(0);
        assert_eq!(a.readers, "everyone,user:ana".parse().unwrap());
        assert_eq!(uploads.find(a.place.id()).unwrap(), Some(a.clone()));
        assert_eq!(stored(&uploads, "b.md")[0].readers, "group:legal".parse().unwrap());
        assert!(uploads.remove(&uploads.exclusive(), &a.place).unwrap());
        assert!(!uploads.remove(&uploads.exclusive(), &a.place).unwrap());
        assert_eq!(uploads.find(a.place.id()).unwrap(), None);
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
        let exclusive = uploads.exclusive();
        let places = places(&uploads, &exclusive, &incoming, &Acl::nobody());
        incoming.place(&uploads, &exclusive, &places, (&Acl::nobody(), "lea")).unwrap_err();
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
        let places = places(&uploads, &uploads.exclusive(), &incoming, &Acl::nobody());
        let steps: Vec<Step> = (0..2)
            .map(|i| Step {
                staged: incoming.directory.join(i.to_string()),
                target: uploads.root().join(&places[i].folder),
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
        let folder = |name: &str| stored(&uploads, name)[0].place.folder.clone();
        let (a, b) = (folder("a.md"), folder("b.md"));
        fs::rename(uploads.root().join(&a), replaced.join(&a)).unwrap();
        // Of the other one, both versions are there: the new one stays.
        fs::create_dir(replaced.join(&b)).unwrap();
        fs::write(replaced.join(&b).join("b.md"), "zero").unwrap();
        fs::create_dir_all(uploads.root().join(INCOMING).join("z/0")).unwrap();
        let uploads = Uploads::open(data.path()).unwrap();
        assert_eq!(text(&uploads, "a.md").as_deref(), Some("one"));
        assert_eq!(text(&uploads, "b.md").as_deref(), Some("one"));
        assert!(!replaced.exists() && !uploads.root().join(INCOMING).exists());
    }

    #[test]
    fn nobody_replaces_what_they_may_not_read() {
        let data = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(data.path()).unwrap();
        upload(&uploads, &[("contract.md", "of hr")], "group:hr");
        let of_group = |group: &str| Caller::new([Principal::Group(group.to_owned())]);
        let place_of = |user: &str, caller: &Caller, readers: &str| {
            let readers = readers.parse().unwrap();
            uploads.place_for(&uploads.exclusive(), "contract.md", &readers, (user, caller)).unwrap()
        };
        let place = |caller: &Caller, readers: &str| place_of("somebody", caller, readers);
        let theirs = stored(&uploads, "contract.md")[0].place.clone();
        assert_eq!(place(&of_group("hr"), "everyone"), theirs);
        assert_ne!(place(&of_group("legal"), "group:legal"), theirs);
        assert_ne!(place(&of_group("legal"), "group:hr"), theirs);

        // Of two that one may read, that of the same readers is meant, and else neither.
        let mut incoming = uploads.incoming().unwrap();
        fs::write(incoming.add("contract.md").unwrap(), "of legal").unwrap();
        let other = place(&of_group("legal"), "group:legal");
        let places = std::slice::from_ref(&other);
        let readers = "group:legal".parse().unwrap();
        incoming.place(&uploads, &uploads.exclusive(), places, (&readers, "luis")).unwrap();
        let both = Caller::new(["hr", "legal"].map(|group| Principal::Group(group.to_owned())));
        assert_eq!(place(&both, "group:hr"), theirs);
        assert_eq!(place(&both, "group:legal"), other);
        assert!(![&theirs, &other].contains(&&place(&both, "everyone")));
        // Who sent a file for others sends its next version, too.
        assert_eq!(place_of("luis", &Caller::new([]), "group:legal"), other);
        assert_eq!(place_of("lea", &Caller::new([]), "group:hr"), theirs);
    }
}
