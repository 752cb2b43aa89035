//! Sources that are not there, only partly there, or change while they are read.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use intramuros_ingest::document::SourceItem;
use intramuros_ingest::source::{Folder, FolderSettings, Listing, ReadError, Source, SourceError};
use intramuros_ingest::sync::{KnownState, SyncError};

use crate::support::{World, symlink, words};

fn files(world: &World) {
    for path in ["a.md", "b/b.md", "b/c/c.md", "bb.md"] {
        world.write(path, &words(path, 9));
    }
}

#[test]
fn a_root_that_vanished_deletes_nothing() {
    let mut world = World::new();
    files(&world);
    world.sync();
    let source = Folder::new("docs", FolderSettings::new(world.folder.path().join("missing"))).unwrap();
    let error = world.try_sync(&source).unwrap_err();
    assert!(matches!(error, SyncError::Source(SourceError::Root { .. })), "{error}");
    let source = Folder::new("docs", FolderSettings::new(world.folder.path().join("a.md"))).unwrap();
    assert!(world.try_sync(&source).unwrap_err().to_string().contains("is not a folder"));
    assert_eq!((world.index.documents.len(), world.index.log.len()), (4, 0));
}

#[test]
fn a_root_that_is_empty_is_only_believed_when_a_person_says_so() {
    let mut world = World::new();
    assert!(!world.sync().changed_anything());
    files(&world);
    world.sync();
    for path in ["a.md", "bb.md", "b/b.md", "b/c/c.md"] {
        world.remove(path);
    }
    let source = world.source();
    let error = world.try_sync(&source).unwrap_err().to_string();
    assert!(error.contains("4 documents") && error.contains("--allow-empty"), "{error}");
    assert_eq!((world.index.documents.len(), world.index.log.len()), (4, 0));
    world.options.allow_empty = true;
    assert_eq!(world.sync().deleted, 4);
    assert!(world.index.documents.is_empty() && world.index.ledger.is_empty());
}

#[test]
fn a_part_of_a_source_concerns_only_what_stands_in_it() {
    let mut world = World::new();
    files(&world);
    world.sync();
    world.remove("a.md");
    world.remove("b/c/c.md");
    world.write("b/new.md", &words("nuevo", 9));
    world.write("new.md", &words("otro", 9));
    let part = world.source_with(|settings| settings.below = "b".to_owned());
    let report = world.try_sync(&part).unwrap();
    assert_eq!((report.new, report.deleted, report.unchanged), (1, 1, 1));
    assert_eq!(world.index.paths(), ["a.md", "b/b.md", "b/new.md", "bb.md"]);

    fs::remove_dir_all(world.folder.path().join("b")).unwrap();
    assert!(matches!(world.try_sync(&part), Err(SyncError::Emptied { indexed: 2, .. })));
    let report = world.sync();
    assert_eq!((report.new, report.deleted), (1, 3));
    assert_eq!(world.index.paths(), ["bb.md", "new.md"]);
}

#[test]
fn two_sources_know_nothing_of_each_other() {
    let mut world = World::new();
    files(&world);
    world.sync();
    let other = Folder::new("other", FolderSettings::new(world.folder.path().join("b"))).unwrap();
    assert_eq!(world.try_sync(&other).unwrap().new, 2);
    assert_eq!(world.index.documents.len(), 6);
    assert_eq!(world.sync().unchanged, 4);
    assert_eq!(world.index.documents.len(), 6);
}

#[test]
fn what_lies_where_nobody_can_look_is_not_taken_for_deleted() {
    let mut world = World::new();
    files(&world);
    world.sync();
    // A mount that went away: the folder is now a link into nothing.
    fs::remove_dir_all(world.folder.path().join("b")).unwrap();
    symlink("unmounted", world.folder.path().join("b"));
    world.remove("bb.md");
    let report = world.sync();
    assert_eq!((report.deleted, report.failed, report.unchanged), (1, 1, 1));
    assert_eq!(report.failures[0].path, "b");
    assert_eq!(world.index.paths(), ["a.md", "b/b.md", "b/c/c.md"]);
    // Removed on purpose, it is gone.
    world.remove("b");
    assert_eq!(world.sync().deleted, 2);
}

#[test]
fn names_that_are_not_utf8_are_documents_like_others() {
    let mut world = World::new();
    for name in [&b"caf\xe9.md"[..], b"caf\xe8.md", "café.md".as_bytes(), "cafe\u{301}.md".as_bytes(), b"caf\\xe9.md"]
    {
        fs::write(world.folder.path().join(OsStr::from_bytes(name)), words("uno", 5)).unwrap();
    }
    assert_eq!(world.sync().new, 5);
    assert_eq!(world.index.paths(), ["caf\\\\xe9.md", "caf\\xe8.md", "caf\\xe9.md", "cafe\u{301}.md", "café.md"]);
    assert_eq!(world.sync().unchanged, 5);
    fs::remove_file(world.folder.path().join(OsStr::from_bytes(b"caf\xe9.md"))).unwrap();
    assert_eq!(world.sync().deleted, 1);
    assert!(!world.index.paths().contains(&"caf\\xe9.md"));
}

#[test]
fn a_file_that_grew_too_large_is_not_answered_from_its_old_text() {
    let mut world = World::new();
    files(&world);
    let source = world.source_with(|settings| settings.max_mib = 1);
    world.try_sync(&source).unwrap();
    world.write("a.md", &"x ".repeat(1 << 20));
    for round in 0..2 {
        let report = world.try_sync(&source).unwrap();
        assert_eq!((report.failed, report.unchanged), (1, 3));
        assert!(report.failures[0].reason.contains("max_mib"), "{:?}", report.failures);
        assert_eq!(world.index.log.is_empty(), round == 1, "the second time nothing is left to write");
    }
    assert_eq!(world.index.paths(), ["b/b.md", "b/c/c.md", "bb.md"]);
}

/// A source whose files fail to be read, or change just before.
struct Unsteady<'a> {
    folder: Folder,
    before_read: Mutex<Box<BeforeRead<'a>>>,
}

type BeforeRead<'a> = dyn FnMut(&SourceItem) -> Option<ReadError> + Send + 'a;

impl<'a> Unsteady<'a> {
    fn new(world: &World, before_read: impl FnMut(&SourceItem) -> Option<ReadError> + Send + 'a) -> Self {
        Self { folder: world.source(), before_read: Mutex::new(Box::new(before_read)) }
    }
}

impl Source for Unsteady<'_> {
    fn name(&self) -> &str {
        self.folder.name()
    }

    fn scope(&self) -> &str {
        self.folder.scope()
    }

    fn list(&self) -> Result<Listing, SourceError> {
        self.folder.list()
    }

    fn read(&self, item: &SourceItem) -> Result<Vec<u8>, ReadError> {
        match (self.before_read.lock().unwrap())(item) {
            Some(error) => Err(error),
            None => self.folder.read(item),
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_now_keeps_what_is_known_of_it() {
    let mut world = World::new();
    files(&world);
    world.sync();
    world.write("new.md", &words("nuevo", 9));
    let broken_disk = Unsteady::new(&world, |item| {
        ["a.md", "new.md"].contains(&item.path.as_str()).then(|| ReadError::Io("input/output error".to_owned()))
    });
    for round in 0..2 {
        let report = world.try_sync(&broken_disk).unwrap();
        assert_eq!((report.failed, report.unchanged, report.new), (2, 3, 0));
        assert!(report.failures[0].reason.contains("input/output error"));
        assert_eq!(world.index.log.is_empty(), round == 1);
    }
    assert_eq!(world.index.paths(), ["a.md", "b/b.md", "b/c/c.md", "bb.md"]);
    let report = world.sync();
    assert_eq!((report.changed, report.unchanged), (1, 4));
}

#[test]
fn a_file_that_vanishes_while_the_pass_runs_is_settled_by_the_next() {
    let mut world = World::new();
    files(&world);
    world.sync();
    world.write("late.md", &words("tarde", 9));
    let root = world.folder.path().to_owned();
    let vanishing = Unsteady::new(&world, move |item| {
        if ["b/b.md", "late.md"].contains(&item.path.as_str()) {
            fs::remove_file(root.join(&item.path)).unwrap();
        }
        None
    });
    let report = world.try_sync(&vanishing).unwrap();
    assert_eq!((report.failed, report.skipped, report.unchanged, report.deleted), (1, 1, 3, 0));
    assert_eq!(world.index.paths(), ["a.md", "b/b.md", "b/c/c.md", "bb.md"]);
    assert_eq!(world.sync().deleted, 1);
    assert_eq!(world.index.paths(), ["a.md", "b/c/c.md", "bb.md"]);
}

#[test]
fn the_hash_is_of_the_bytes_that_were_read() {
    let mut world = World::new();
    files(&world);
    let root = world.folder.path().to_owned();
    let changing = Unsteady::new(&world, move |item| {
        if item.path == "a.md" {
            fs::write(root.join("a.md"), words("cambiado", 9)).unwrap();
        }
        None
    });
    world.try_sync(&changing).unwrap();
    assert!(world.index.stored("a.md").document.text.contains("cambiado1"));
    assert_eq!(world.sync().unchanged, 4);
}

#[test]
fn a_file_that_moves_and_changes_while_the_pass_runs_leaves_nothing_behind() {
    let mut world = World::new();
    files(&world);
    world.sync();
    world.rename("a.md", "z.md");
    let root = world.folder.path().to_owned();
    let mut reads = 0;
    let changing = Unsteady::new(&world, move |item| {
        reads += usize::from(item.path == "z.md");
        if item.path == "z.md" && reads == 2 {
            fs::write(root.join("z.md"), words("otro", 9)).unwrap();
        }
        None
    });
    let report = world.try_sync(&changing).unwrap();
    assert_eq!((report.new, report.moved, report.deleted), (1, 0, 1));
    assert_eq!(world.index.paths(), ["b/b.md", "b/c/c.md", "bb.md", "z.md"]);
    assert!(world.index.ledger.values().all(|(_, row)| row.state == KnownState::Indexed));
}

#[test]
fn what_moved_or_went_is_closed_before_any_file_is_read() {
    let mut world = World::new();
    world.write("legal/.access.toml", "readers = ['group:legal']");
    for path in ["open/gone.md", "open/stay.md", "open/x.md"] {
        world.write(path, &words(path, 9));
    }
    world.sync();
    assert_eq!(world.index.readable("user:eva").len(), 3);
    world.rename("open/x.md", "legal/x.md");
    world.remove("open/gone.md");
    for i in 0..20 {
        world.write(&format!("a{i}.md"), &words("nuevo", 9));
    }
    let cancel = Arc::new(AtomicBool::new(false));
    world.options.cancel = Some(cancel.clone());
    let interrupted = Unsteady::new(&world, |_| {
        cancel.store(true, Ordering::SeqCst);
        None
    });
    assert!(world.try_sync(&interrupted).unwrap().interrupted);
    drop(interrupted);
    assert_eq!(world.index.readable("user:eva"), ["open/stay.md"]);
    assert_eq!(world.index.documents.len(), 3);

    cancel.store(false, Ordering::SeqCst);
    let report = world.sync();
    assert_eq!((report.moved, report.deleted, report.new, report.unchanged, report.rights), (1, 1, 20, 1, 0));
    assert!(!world.index.readable("user:eva").contains(&"legal/x.md"));
    assert_eq!(world.index.readable("group:legal").len(), 22);
    // Moved back, it is as open as before.
    world.rename("legal/x.md", "open/x.md");
    assert_eq!(world.sync().moved, 1);
    assert!(world.index.readable("user:eva").contains(&"open/x.md"));
}

#[test]
fn a_file_that_no_reader_takes_is_not_even_read() {
    let mut world = World::new();
    files(&world);
    world.sync();
    world.write("photo.jpg", "x");
    world.write("b/video.MP4", "x");
    world.remove("a.md");
    let read = Mutex::new(Vec::new());
    let watched = Unsteady::new(&world, |item| {
        read.lock().unwrap().push(item.path.clone());
        None
    });
    let report = world.try_sync(&watched).unwrap();
    assert_eq!((report.skipped, report.deleted, report.unchanged), (2, 1, 3));
    assert!(report.skips[0].reason.contains("`.mp4`"), "{:?}", report.skips);
    drop(watched);
    let mut read = read.into_inner().unwrap();
    read.sort();
    assert_eq!(read, ["b/b.md", "b/c/c.md", "bb.md"]);
}
