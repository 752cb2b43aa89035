//! What happens on a full disk. Runs where `INTRAMUROS_SMALL_DISK` names a directory on a file system of its own with
//! some 100 to 300 MiB: `mount -t tmpfs -o size=160m tmpfs DIR`.

use std::io::Write;
use std::path::Path;
use std::{env, fs};

use intramuros_ingest::access::Caller;
use intramuros_ingest::document::Language;

use super::EdgeStore;
use crate::store::contract::{document_of, embedder};
use crate::store::{Query, StoreError, VectorStore, bm25};

const ADMINISTRATOR: Caller = Caller::LocalAdministrator;

#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    let Ok(disk) = env::var("INTRAMUROS_SMALL_DISK") else {
        println!("INTRAMUROS_SMALL_DISK is not set: skipped");
        return;
    };
    let disk = Path::new(&disk);
    let directory = disk.join("index");
    let store = EdgeStore::open(&directory, &embedder()).unwrap();
    let texts: Vec<String> = (0..300).map(|n| format!("passage {n} {}", "lorem ipsum ".repeat(150))).collect();

    let mut written = Vec::new();
    let error = loop {
        let (document, chunks, vectors) =
            document_of(&format!("{}.md", written.len()), "everyone", Language::English, &texts);
        match store.put(&document, &chunks, &vectors).and_then(|()| store.flush()) {
            Ok(()) => written.push(document.id),
            Err(error) => break error,
        }
        assert!(written.len() < 10_000, "this disk is not small");
    };
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    println!("{} documents of 300 chunks, then: {error}", written.len());
    assert!(!written.is_empty());
    match store.optimize() {
        Ok(_) | Err(StoreError::DiskFull { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    let found = |store: &EdgeStore| {
        for id in &written {
            assert_eq!(store.chunks(&ADMINISTRATOR, *id, 0..1000).unwrap().len(), 300);
        }
        let query =
            Query { dense: vec![1.0; 16], sparse: bm25::query("passage", None), documents: Vec::new(), limit: 10 };
        assert_eq!(store.search(&ADMINISTRATOR, &query).unwrap().sparse.len(), 10);
    };
    found(&store);

    // Somebody else fills the rest.
    let ballast = disk.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while file.write_all(&[1; 65_536]).is_ok() {}
    drop(file);
    assert!(matches!(store.flush(), Err(StoreError::DiskFull { .. })));
    assert!(matches!(store.remove(&written), Err(StoreError::DiskFull { .. })));
    found(&store);
    drop(store);
    // The store that found no room to flush is still in memory with its lock: a copy stands for the next process.
    fs::remove_file(&ballast).unwrap();
    let copy = tempfile::tempdir().unwrap();
    super::crash::copy_directory(&directory, copy.path());
    let store = EdgeStore::open(copy.path(), &embedder()).unwrap();
    found(&store);
    store.remove(&written).unwrap();
    store.flush().unwrap();
    assert!(store.chunks(&ADMINISTRATOR, written[0], 0..10).unwrap().is_empty());
}
