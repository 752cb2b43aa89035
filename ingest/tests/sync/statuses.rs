//! What becomes of files that are new, changed, moved, gone, broken or as they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use intramuros_ingest::sync::{KnownState, SyncError};

use crate::support::{World, words};

fn first_files(world: &World) {
    world.write("a.md", &format!("# Viajes\n\n{}\n\n{}", words("uno", 28), words("dos", 28)));
    world.write("b/b.md", &format!("# Pagos\n\n{}", words("tres", 40)));
    world.write("b/c.md", &words("cuatro", 12));
    world.write("broken.md", "BROKEN");
    world.write("photo.jpg", "x");
}

#[test]
fn a_second_pass_writes_reads_and_embeds_nothing() {
    let mut world = World::new();
    first_files(&world);
    let report = world.sync();
    assert_eq!((report.new, report.failed, report.skipped, report.unchanged), (3, 1, 1, 0));
    assert_eq!(report.chunks, report.embedded);
    assert_eq!(world.embedded(), report.embedded);
    assert_eq!(world.index.paths(), ["a.md", "b/b.md", "b/c.md"]);
    assert_eq!(world.done, ["New a.md", "New b/b.md", "Skipped photo.jpg", "New b/c.md", "Failed broken.md"]);
    let stored = world.index.stored("a.md");
    assert_eq!(stored.document.title, "Viajes");
    assert_eq!(stored.chunks.len(), 2);
    assert!(stored.document.uri.starts_with("file:///") && stored.document.uri.ends_with("/a.md"));

    let report = world.sync();
    assert_eq!((report.unchanged, report.failed, report.skipped), (3, 1, 1));
    assert!(!report.changed_anything());
    assert_eq!(report.failures[0].path, "broken.md");
    assert_eq!(report.failures[0].reason, "it is damaged");
    assert_eq!(world.index.log, [""; 0]);
    assert_eq!(world.embedded(), 0);
    assert_eq!(world.parsed(), 0);
}

#[test]
fn each_kind_of_change_is_told_and_done() {
    let mut world = World::new();
    first_files(&world);
    world.write("gone.md", &words("cinco", 9));
    world.sync();

    world.write("new.md", &words("seis", 9));
    world.write("b/c.md", &words("siete", 9));
    world.write("b/.access.toml", "readers = ['group:b']");
    world.remove("gone.md");
    world.rename("a.md", "z/viajes.md");
    world.write("broken.md", &words("ocho", 9));
    let report = world.sync();
    let counts = (report.new, report.changed, report.moved, report.rights, report.deleted, report.unchanged);
    assert_eq!(counts, (1, 2, 1, 1, 1, 0));
    assert_eq!(world.index.paths(), ["b/b.md", "b/c.md", "broken.md", "new.md", "z/viajes.md"]);
    assert_eq!(world.index.readable("user:x"), ["broken.md", "new.md", "z/viajes.md"]);
    assert_eq!(world.index.readable("group:b").len(), 5);
    assert!(world.index.stored("b/c.md").document.text.contains("siete1"));
    assert_eq!(world.index.ledger.len(), 5);
    assert_eq!(world.sync().unchanged, 5);
    assert_eq!(world.index.log, [""; 0]);
}

#[test]
fn a_changed_document_embeds_only_its_changed_chunks() {
    let mut world = World::new();
    world.write("a.md", &format!("# T\n\n{}\n\n{}\n\n{}", words("uno", 28), words("dos", 28), words("tres", 28)));
    world.sync();
    world.write("a.md", &format!("# T\n\n{}\n\n{}\n\n{}", words("uno", 28), words("DOS", 28), words("tres", 28)));
    let report = world.sync();
    assert_eq!((report.changed, report.chunks, report.embedded, report.reused), (1, 3, 1, 2));
    assert_eq!(world.embedded(), 1);

    // What was re-used is what would have been made.
    let mut fresh = World::new();
    fresh.folder = std::mem::replace(&mut world.folder, tempfile::tempdir().unwrap());
    fresh.sync();
    assert_eq!(fresh.index.documents, world.index.documents);
}

#[test]
fn a_moved_folder_costs_no_embedding() {
    let mut world = World::new();
    first_files(&world);
    world.write("b/d.md", &format!("# D\n\n{}", words("nueve", 100)));
    world.remove("b/c.md");
    world.sync();
    let vectors = world.index.stored("b/d.md").vectors.clone();
    world.rename("b", "archive/2024");
    let report = world.sync();
    assert_eq!((report.moved, report.new, report.deleted, report.embedded), (2, 0, 0, 0));
    assert_eq!(world.embedded(), 0);
    assert_eq!(world.index.paths(), ["a.md", "archive/2024/b.md", "archive/2024/d.md"]);
    assert_eq!(world.index.stored("archive/2024/d.md").vectors, vectors);
}

#[test]
fn the_same_content_at_two_places_is_two_documents() {
    let mut world = World::new();
    let text = format!("# T\n\n{}", words("uno", 28));
    world.write("a.md", &text);
    world.write("b.md", &text);
    world.sync();
    assert_eq!(world.index.paths(), ["a.md", "b.md"]);
    world.remove("a.md");
    let report = world.sync();
    assert_eq!((report.deleted, report.unchanged), (1, 1));
    assert_eq!(world.index.paths(), ["b.md"]);

    // Of two that went away one can have moved.
    world.write("a.md", &text);
    world.sync();
    world.remove("a.md");
    world.rename("b.md", "c.md");
    let report = world.sync();
    assert_eq!((report.moved, report.deleted), (1, 1));
    assert_eq!(world.index.paths(), ["c.md"]);
}

#[test]
fn what_cannot_be_understood_any_more_is_not_found_any_more() {
    let mut world = World::new();
    first_files(&world);
    world.sync();
    world.write("a.md", "BROKEN now");
    world.write("b/b.md", "PANIC");
    let report = world.sync();
    assert_eq!((report.failed, report.unchanged), (3, 1));
    assert_eq!(report.failures.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["a.md", "b/b.md", "broken.md"]);
    assert_eq!(report.failures[1].reason, "its reader panicked");
    assert_eq!(world.index.paths(), ["b/c.md"]);
    world.sync();
    assert_eq!((world.index.log.len(), world.parsed()), (0, 0));
    // A new reader may understand it.
    world.readers = "lines@2".to_owned();
    world.sync();
    assert_eq!(world.parsed(), 4);
    world.write("a.md", &words("uno", 5));
    assert_eq!(world.sync().changed, 1);
    assert_eq!(world.index.paths(), ["a.md", "b/c.md"]);
}

#[test]
fn a_reader_that_crashed_is_tried_again_and_loses_no_unchanged_document() {
    let mut world = World::new();
    world.write("a.md", "STOP");
    for _ in 0..2 {
        let report = world.sync();
        assert_eq!((report.failed, world.parsed()), (1, 1));
    }
    assert_eq!(world.index.log, [""; 0]);
    assert!(world.index.documents.is_empty());
}

#[test]
fn a_reader_that_was_stopped_takes_nothing_out_of_the_index() {
    let mut world = World::new();
    world.write("a.md", &words("uno", 5));
    world.sync();
    let indexed = world.index.documents.clone();
    world.stopping = true;
    world.write("new.md", &words("tres", 5));
    // An upgrade on a busy machine.
    world.readers = "lines@2".to_owned();
    for _ in 0..2 {
        let report = world.sync();
        assert_eq!((report.failed, world.parsed()), (2, 2));
        assert_eq!(report.failures[0].reason, "it took too long");
        assert_eq!(world.index.documents, indexed);
    }
    world.write("a.md", &words("dos", 5));
    let report = world.sync();
    assert!(report.failures[0].reason.contains("as it was before"), "{:?}", report.failures);
    assert_eq!(world.index.documents, indexed);
    world.stopping = false;
    let report = world.sync();
    assert_eq!((report.changed, report.failed), (2, 0));
    assert!(world.index.stored("a.md").document.text.contains("dos1"));

    // Vectors of another model are of no use, and a search must not meet them.
    world.stopping = true;
    world.embed.identity = "another@1";
    world.sync();
    assert!(world.index.documents.is_empty());
    world.stopping = false;
    assert_eq!(world.sync().changed, 2);
}

#[test]
fn a_document_that_the_model_fails_on_is_listed_and_the_others_are_taken_in() {
    let mut world = World::new();
    for i in 0..7 {
        world.write(&format!("f{i}.md"), &words("w", 20));
    }
    world.write("f3.md", "UNTOKENIZABLE words.");
    for round in 0..2 {
        let report = world.sync();
        assert_eq!((report.new, report.unchanged, report.failed), if round == 0 { (6, 0, 1) } else { (0, 6, 1) });
        assert_eq!(report.failures[0].path, "f3.md");
        assert!(report.failures[0].reason.contains("cannot embed it: no such token"), "{:?}", report.failures);
        assert_eq!(world.index.log.is_empty(), round == 1);
    }
    // One that was indexed is not answered from its old text.
    world.write("f5.md", "UNTOKENIZABLE too.");
    world.rename("f0.md", "moved.md");
    let report = world.sync();
    assert_eq!((report.moved, report.failed, report.unchanged), (1, 2, 4));
    assert_eq!(world.index.paths(), ["f1.md", "f2.md", "f4.md", "f6.md", "moved.md"]);
    world.write("f3.md", &words("w", 20));
    world.write("f5.md", &words("w", 20));
    assert_eq!(world.sync().changed, 2);
}

#[test]
fn texts_are_committed_before_they_are_many_bytes() {
    let commits = |commit_bytes: u64| {
        let mut world = World::new();
        world.options.commit_bytes = commit_bytes;
        for i in 0..9 {
            world.write(&format!("f{i}.md"), &words("w", 20));
        }
        assert_eq!(world.sync().new, 9);
        world.index.log.iter().filter(|call| call.starts_with("commit")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(commits(1 << 20), ["commit 9"]);
    let text = words("w", 20).len() as u64;
    assert_eq!(commits(4 * text), ["commit 6", "commit 3"]);
    assert_eq!(commits(1), ["commit 3"; 3]);
}

#[test]
fn other_readers_re_use_vectors_and_another_model_does_not() {
    let mut world = World::new();
    first_files(&world);
    let first = world.sync();
    world.readers = "lines@2".to_owned();
    let report = world.sync();
    assert_eq!((report.changed, report.embedded, report.reused), (3, 0, first.chunks));
    world.embed.identity = "another@1";
    let report = world.sync();
    assert_eq!((report.changed, report.embedded, report.reused), (3, first.chunks, 0));
}

#[test]
fn a_file_that_is_no_document_any_more_leaves_the_index() {
    let mut world = World::new();
    world.write("a.md", &words("uno", 5));
    world.write("b.md", &words("dos", 5));
    world.sync();
    world.rename("a.md", "a.jpg");
    let report = world.sync();
    assert_eq!((report.deleted, report.skipped, report.unchanged), (1, 1, 1));
    assert_eq!(world.index.paths(), ["b.md"]);
    assert_eq!(world.index.ledger.len(), 1);
}

#[test]
fn the_number_of_threads_and_batches_changes_nothing() {
    let mut logs = Vec::new();
    for (workers, embed_batch) in [(1, 3), (4, 3), (2, 1000)] {
        let mut world = World::new();
        world.options.workers = workers;
        world.options.embed_batch = embed_batch;
        world.options.memory_bytes = 10_000;
        for i in 0..60 {
            world.write(&format!("d{}/f{i}.md", i % 7), &format!("# T{i}\n\n{}", words("w", 5 + i * 3)));
        }
        assert_eq!(world.sync().new, 60);
        let puts: Vec<String> = world.index.log.iter().filter(|call| call.starts_with("put")).cloned().collect();
        let stored: Vec<_> = world.index.documents.values().map(|stored| stored.vectors.clone()).collect();
        logs.push((puts, stored));
    }
    assert_eq!(logs[0], logs[1]);
    assert_eq!(logs[0], logs[2]);
}

#[test]
fn a_failing_model_stops_the_pass_and_keeps_what_was_written() {
    let mut world = World::new();
    for i in 0..9 {
        world.write(&format!("f{i}.md"), &words("w", 20));
    }
    world.embed.fail_after = 5;
    let source = world.source();
    let error = world.try_sync(&source).unwrap_err();
    assert!(matches!(&error, SyncError::Embed(_)) && error.to_string().contains("out of memory"), "{error}");
    assert_eq!(world.index.documents.len(), 3);
    assert!(world.index.ledger.values().all(|(_, row)| row.state == KnownState::Indexed));
    world.embed.fail_after = u64::MAX;
    let report = world.sync();
    assert_eq!((report.new, report.unchanged), (6, 3));
}

#[test]
fn a_cancelled_pass_keeps_what_is_done_and_the_next_goes_on() {
    let mut world = World::new();
    for i in 0..20 {
        world.write(&format!("f{i:02}.md"), &words("w", 20));
    }
    let cancel = Arc::new(AtomicBool::new(true));
    world.options.cancel = Some(cancel.clone());
    let report = world.sync();
    assert!(report.interrupted && report.to_string().contains("interrupted"));
    assert_eq!(report.new, 0);
    cancel.store(false, Ordering::SeqCst);
    assert_eq!(world.sync().new, 20);
    assert!(!world.sync().interrupted);
}
