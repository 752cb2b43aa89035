//! Kills a writing process at random moments and looks at what is left.
//!
//! The child keeps a ledger the way sync does: `begin` before it touches a document, `commit` after a flush. After each
//! kill the index must open and hold every document that was not begun since the last commit, exactly as committed.
//! `INTRAMUROS_CRASH_ROUNDS` sets how often it is killed.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{env, thread};

use intramuros_ingest::access::Caller;
use intramuros_ingest::document::{DocumentId, Language};

use super::EdgeStore;
use crate::store::VectorStore;
use crate::store::contract::{document_of, embedder};

const DOCUMENTS: u64 = 40;
const DIRECTORY: &str = "INTRAMUROS_CRASH_DIRECTORY";

/// What a document is in its n-th version: length, text and readers follow from both numbers. Every fifth is gone.
fn write(store: &EdgeStore, document: u64, version: u64) {
    let id = DocumentId::new("test", &document.to_string());
    match version % 5 {
        4 => store.remove(&[id]).unwrap(),
        // Only the readers change.
        3 => store.set_acl(id, &readers(version).parse().unwrap()).unwrap(),
        _ => {
            let (document, chunks, vectors) = expected(document, version).unwrap();
            store.put(&document, &chunks, &vectors).unwrap();
        }
    }
}

fn readers(version: u64) -> String {
    format!("user:{}", version % 7)
}

type Written = (intramuros_ingest::document::Document, Vec<intramuros_ingest::document::Chunk>, Vec<Vec<f32>>);

fn expected(document: u64, version: u64) -> Option<Written> {
    if version % 5 == 4 {
        return None;
    }
    let text_version = if version % 5 == 3 { version - 1 } else { version };
    let count = 1 + (document * 31 + text_version * 17) % 90;
    let texts: Vec<String> =
        (0..count).map(|n| format!("text {document} {text_version} {n} {}", "x".repeat(600))).collect();
    Some(document_of(&document.to_string(), &readers(version), Language::English, &texts))
}

/// Versions committed, and documents begun since.
fn read_ledger(directory: &Path) -> (BTreeMap<u64, u64>, BTreeMap<u64, u64>) {
    let (mut committed, mut begun) = (BTreeMap::new(), BTreeMap::new());
    let text = fs::read_to_string(directory.join("ledger")).unwrap_or_default();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["begin", document, version, "."] => {
                begun.insert(document.parse().unwrap(), version.parse().unwrap());
            }
            ["commit", "."] => committed.append(&mut begun),
            _ => {}
        }
    }
    (committed, begun)
}

fn check(store: &EdgeStore, document: u64, version: u64) {
    let id = DocumentId::new("test", &document.to_string());
    let chunks = store.chunks(&Caller::LocalAdministrator, id, 0..u32::MAX).unwrap();
    let Some((whole, expected, _)) = expected(document, version) else {
        assert!(chunks.is_empty(), "document {document} is back from version {version}");
        return;
    };
    assert_eq!(chunks.len(), expected.len(), "chunks of document {document}, version {version}");
    assert_eq!(store.vectors(id).unwrap().len(), expected.len());
    for (chunk, expected) in chunks.iter().zip(&expected) {
        assert_eq!((&chunk.text, &chunk.acl), (&expected.text, &whole.acl), "document {document}, version {version}");
    }
    let reader = Caller::new([readers(version).parse().unwrap()]);
    assert_eq!(store.chunks(&reader, id, 0..u32::MAX).unwrap().len(), expected.len());
}

/// The process that is killed; does nothing unless the parent names a directory.
#[test]
fn crash_child() {
    let Ok(directory) = env::var(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let store = Arc::new(EdgeStore::open(&directory.join("index"), &embedder()).unwrap());
    let mut ledger = OpenOptions::new().create(true).append(true).open(directory.join("ledger")).unwrap();
    let optimizing = Arc::clone(&store);
    thread::spawn(move || {
        loop {
            optimizing.optimize().unwrap();
            thread::sleep(Duration::from_millis(20));
        }
    });
    let (mut versions, begun) = read_ledger(directory);
    for (document, version) in begun {
        // Begun and not committed: written again from the text, as sync does.
        writeln!(ledger, "begin {document} {} .", version - version % 5 + 5).unwrap();
        write(&store, document, version - version % 5 + 5);
        versions.insert(document, version - version % 5 + 5);
    }
    let mut random = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    loop {
        for _ in 0..5 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let document = random % DOCUMENTS;
            let version = versions.get(&document).map_or(0, |version| version + 1);
            writeln!(ledger, "begin {document} {version} .").unwrap();
            write(&store, document, version);
            versions.insert(document, version);
        }
        store.flush().unwrap();
        writeln!(ledger, "commit .").unwrap();
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let rounds: u64 = env::var("INTRAMUROS_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..rounds {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "store::edge::crash::crash_child", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let salt = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos() as u64;
        thread::sleep(Duration::from_millis(300 + round % 5 * 200 + salt % 700));
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself in round {round}");
        child.kill().unwrap();
        child.wait().unwrap();

        let (committed, begun) = read_ledger(directory.path());
        // Opened as a copy, so that the next child meets what the killed one left and not what this test repaired.
        let copy = directory.path().join("copy");
        copy_directory(&directory.path().join("index"), &copy);
        let store = EdgeStore::open(&copy, &embedder()).unwrap();
        for (document, version) in &committed {
            if !begun.contains_key(document) {
                check(&store, *document, *version);
                acknowledged += 1;
            }
        }
        drop(store);
        fs::remove_dir_all(&copy).unwrap();
    }
    println!("{rounds} kills, {acknowledged} acknowledged documents found as they were");
    assert!(acknowledged > 0, "no round lived long enough to acknowledge anything");
}

pub(super) fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).into_iter().flatten() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
