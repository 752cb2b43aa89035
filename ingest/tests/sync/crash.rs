//! The process dies at any call to the index; the next pass makes the index what it would have been.

use intramuros_ingest::sync::SyncError;

use crate::support::{Crash, Index, World, words};

/// An indexed folder that has changed in every way since.
fn changed_world() -> World {
    let mut world = World::new();
    world.options.commit_documents = 3;
    for i in 0..6 {
        world.write(&format!("stay/{i}.md"), &format!("# S{i}\n\n{}", words("w", 20 + 15 * i)));
    }
    for path in ["gone1.md", "gone2.md", "from/a.md", "from/b.md", "legal/a.md", "legal/b.md", "breaks.md", "mends.md"]
    {
        world.write(path, &format!("# {path}\n\n{}\n\n{}", words(path, 28), words("dos", 28)));
    }
    world.write("mends.md", "BROKEN");
    world.write("opens/.access.toml", "readers = ['user:ana']");
    world.write("opens/x.md", &words("x", 9));
    world.sync();

    world.remove("gone1.md");
    world.remove("gone2.md");
    world.rename("from", "to");
    world.write("breaks.md", "BROKEN");
    world.write("mends.md", &words("mends", 30));
    world.write("stay/3.md", &format!("# S3\n\n{}", words("changed", 70)));
    world.write("legal/.access.toml", "readers = ['group:legal']");
    world.write("legal/b.md", &format!("# legal/b.md\n\n{}", words("changed", 28)));
    world.remove("opens/.access.toml");
    world.write("new/1.md", &words("uno", 80));
    world.write("new/2.md", &words("dos", 5));
    world.write("photo.jpg", "x");
    world.options.allow_empty = false;
    world
}

fn state(index: &Index) -> (Vec<String>, Vec<String>) {
    let documents = index.documents.values().map(|stored| format!("{stored:?}")).collect();
    let ledger = index.ledger.values().map(|row| format!("{row:?}")).collect();
    (documents, ledger)
}

#[test]
fn after_a_crash_at_any_call_the_next_pass_makes_it_good() {
    let mut world = changed_world();
    let before = world.index.clone().after(Crash::Kept);
    world.sync();
    let calls = world.index.log.len();
    let undisturbed = state(&world.index);
    assert!(calls > 20, "{calls} calls");
    let source = world.source();
    for crash in [Crash::Kept, Crash::Lost] {
        for call in 0..calls {
            world.index = before.clone();
            world.index.fail_at = Some(call);
            assert!(matches!(world.try_sync(&source), Err(SyncError::Sink(_))), "call {call} does not fail");
            world.index = std::mem::take(&mut world.index).after(crash);
            world.try_sync(&source).unwrap();
            assert_eq!(state(&world.index), undisturbed, "{crash:?} at call {call}");
            world.try_sync(&source).unwrap();
            assert!(world.index.log.is_empty(), "{crash:?} at call {call}: {:?}", world.index.log);
        }
    }
}

#[test]
fn after_two_crashes_too() {
    let mut world = changed_world();
    let before = world.index.clone().after(Crash::Kept);
    world.sync();
    let calls = world.index.log.len();
    let undisturbed = state(&world.index);
    let source = world.source();
    for first in (0..calls).step_by(3) {
        for second in (0..calls).step_by(5) {
            world.index = before.clone();
            for (call, crash) in [(first, Crash::Lost), (second, Crash::Kept)] {
                world.index.fail_at = Some(call);
                let _ = world.try_sync(&source);
                world.index = std::mem::take(&mut world.index).after(crash);
            }
            world.try_sync(&source).unwrap();
            assert_eq!(state(&world.index), undisturbed, "calls {first} and {second}");
        }
    }
}

#[test]
fn rights_taken_back_after_a_crash_are_taken_back_in_the_index() {
    // The readers are widened, the process dies before the ledger knows, and the readers are narrowed again.
    let mut world = World::new();
    world.write(".access.toml", "readers = ['group:legal']");
    world.write("a.md", &words("uno", 9));
    world.sync();
    world.write(".access.toml", "readers = ['everyone']");
    let source = world.source();
    for call in 1..3 {
        let before = world.index.clone().after(Crash::Kept);
        world.index = before.clone();
        world.index.fail_at = Some(call);
        assert!(world.try_sync(&source).is_err());
        world.index = std::mem::take(&mut world.index).after(Crash::Kept);
        world.write(".access.toml", "readers = ['group:legal']");
        world.sync();
        assert_eq!(world.index.readable("user:eva"), [""; 0], "call {call}");
        world.write(".access.toml", "readers = ['everyone']");
        world.index = before;
    }
}

#[test]
fn vectors_of_another_model_are_not_taken_over_after_a_crash() {
    let mut world = World::new();
    for i in 0..4 {
        world.write(&format!("{i}.md"), &format!("# T{i}\n\n{}", words("w", 28)));
    }
    world.sync();
    let before = world.index.clone().after(Crash::Kept);
    world.embed.identity = "another@1";
    let chunks = world.sync().chunks;
    let undisturbed = state(&world.index);
    let calls = world.index.log.len();
    let source = world.source();
    for call in 0..calls {
        world.index = before.clone();
        world.index.fail_at = Some(call);
        assert!(world.try_sync(&source).is_err());
        world.index = std::mem::take(&mut world.index).after(Crash::Lost);
        let report = world.try_sync(&source).unwrap();
        assert_eq!(state(&world.index), undisturbed, "call {call}");
        assert!(report.embedded <= chunks);
    }
}
