//! Who may read what after a pass.

use std::fs;

use crate::support::{World, symlink, words};

fn files(world: &World) {
    for path in ["open.md", "legal/a.md", "legal/old/b.md", "legal/old/c.md"] {
        world.write(path, &words("uno", 9));
    }
}

#[test]
fn the_nearest_access_file_says_who_reads() {
    let mut world = World::new();
    files(&world);
    world.write("legal/.access.toml", "readers = ['group:legal', 'user:ana']");
    world.write("legal/old/.access.toml", "readers = []");
    world.sync();
    assert_eq!(world.index.readable("user:eva"), ["open.md"]);
    assert_eq!(world.index.readable("user:ana"), ["legal/a.md", "open.md"]);
    assert_eq!(world.index.readable("group:legal"), ["legal/a.md", "open.md"]);
}

#[test]
fn a_source_that_says_nothing_is_readable_by_nobody() {
    let mut world = World::new();
    files(&world);
    let source = world.source_with(|settings| settings.readers = intramuros_ingest::access::Acl::nobody());
    world.try_sync(&source).unwrap();
    assert_eq!(world.index.documents.len(), 4);
    assert_eq!(world.index.readable("everyone"), [""; 0]);
}

#[test]
fn rights_change_without_embedding_and_before_anything_else() {
    let mut world = World::new();
    files(&world);
    world.sync();
    world.write("legal/.access.toml", "readers = ['group:legal']");
    world.write("a-first.md", &words("nuevo", 30));
    let report = world.sync();
    assert_eq!((report.rights, report.new, report.unchanged), (3, 1, 1));
    assert_eq!(world.embedded(), 1);
    assert_eq!(world.index.log[..5], ["begin 3", "set_acl", "set_acl", "set_acl", "commit 3"]);
    assert_eq!(world.index.readable("user:eva"), ["a-first.md", "open.md"]);

    // One folder is opened, another closed: closing comes first.
    world.write("legal/.access.toml", "readers = ['everyone', 'group:legal']");
    world.write("legal/old/.access.toml", "readers = ['user:ana']");
    let report = world.sync();
    assert_eq!((report.rights, world.embedded()), (3, 0));
    assert_eq!(world.index.readable("user:eva"), ["a-first.md", "legal/a.md", "open.md"]);
    assert_eq!(world.index.readable("user:ana").len(), 5);

    world.remove("legal/.access.toml");
    world.remove("legal/old/.access.toml");
    assert_eq!(world.sync().rights, 3);
    assert_eq!(world.index.readable("user:eva").len(), 5);
    world.sync();
    assert_eq!(world.index.log, [""; 0]);
}

#[test]
fn a_document_that_changes_with_its_readers_is_closed_at_once() {
    let mut world = World::new();
    files(&world);
    world.sync();
    world.write("legal/.access.toml", "readers = ['group:legal']");
    world.write("legal/a.md", &words("otro", 9));
    world.embed.fail_after = 0;
    let source = world.source();
    assert!(world.try_sync(&source).is_err());
    assert_eq!(world.index.readable("user:eva"), ["open.md"]);
    world.embed.fail_after = u64::MAX;
    let report = world.sync();
    assert_eq!((report.changed, report.rights, report.unchanged), (1, 0, 3));
}

#[test]
fn a_broken_access_file_closes_what_it_covers_and_is_reported() {
    let broken = [
        "reader = ['everyone']",
        "readers = ['ana']",
        "readers = ['everyone']\nx = 1",
        "readers = 'everyone'",
        "{",
        "",
    ];
    for text in broken {
        let mut world = World::new();
        files(&world);
        world.write("legal/old/.access.toml", "readers = ['user:ana']");
        world.sync();
        world.write("legal/.access.toml", text);
        world.write("legal/new.md", &words("dos", 9));
        let report = world.sync();
        assert_eq!((report.rights, report.new), (1, 1), "{text}");
        assert_eq!(world.index.readable("everyone"), ["open.md"], "{text}");
        // A nearer one wins, over a broken one too.
        assert_eq!(world.index.readable("user:ana"), ["legal/old/b.md", "legal/old/c.md", "open.md"], "{text}");
        assert_eq!(report.warnings.len(), 1);
        assert!(report.warnings[0].starts_with("`legal/.access.toml` "), "{:?}", report.warnings);
        assert_eq!(world.sync().warnings.len(), 1, "it is said each time");
        world.write("legal/.access.toml", "readers = ['everyone']");
        assert_eq!(world.sync().rights, 2);
    }
}

#[test]
fn an_access_file_that_cannot_be_read_closes_too() {
    let mut world = World::new();
    files(&world);
    symlink("nowhere.toml", world.folder.path().join("legal/.access.toml"));
    fs::create_dir(world.folder.path().join("legal/old/.access.toml")).unwrap();
    let report = world.sync();
    assert_eq!(world.index.readable("everyone"), ["open.md"]);
    assert_eq!(report.warnings.len(), 2);
}

#[test]
fn a_link_opens_nothing() {
    let mut world = World::new();
    files(&world);
    world.write("legal/.access.toml", "readers = ['group:legal']");
    symlink("legal/a.md", world.folder.path().join("open-link.md"));
    symlink("legal/old", world.folder.path().join("old"));
    world.sync();
    assert_eq!(world.index.readable("user:eva"), ["open.md"]);
    assert_eq!(world.index.documents.len(), 7);
}

#[test]
fn what_can_no_longer_be_looked_at_is_closed_until_it_can() {
    let mut world = World::new();
    world.write("z.md", &words("secreto", 9));
    fs::create_dir(world.folder.path().join("pub")).unwrap();
    symlink("../z.md", world.folder.path().join("pub/link.md"));
    world.sync();
    assert_eq!(world.index.readable("user:eva"), ["pub/link.md", "z.md"]);

    // The text's only file is behind a restriction now, and the link leads nowhere.
    world.write("priv/.access.toml", "readers = ['group:legal']");
    world.rename("z.md", "priv/z.md");
    let report = world.sync();
    assert_eq!((report.failed, report.moved), (1, 1), "{report}");
    assert_eq!(world.index.readable("user:eva"), [""; 0]);
    assert_eq!(world.index.readable("group:legal"), ["priv/z.md"]);

    world.write("z.md", &words("secreto", 9));
    world.sync();
    assert_eq!(world.index.readable("user:eva"), ["pub/link.md", "z.md"]);
    assert_eq!(world.embedded(), 1, "only the new file; what was closed keeps its vectors");
}
