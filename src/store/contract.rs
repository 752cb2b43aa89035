//! One suite for every [`VectorStore`]: the embedded one always, a Qdrant server where `QDRANT_URL` names one
//! (and `QDRANT_API_KEY` its key, if it wants one). Each test has a collection of its own and removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use intramuros_ingest::access::{Acl, Caller};
use intramuros_ingest::document::{Chunk, ContentHash, Document, DocumentId, Language};
use intramuros_ingest::sync::{embedding_hash, embedding_text};
use tempfile::TempDir;
use uuid::Uuid;

use super::edge::EdgeStore;
use super::server::{ServerOptions, ServerStore};
use super::{Branches, EmbedderIdentity, Query, Scored, SparseVector, StoreError, VectorStore, bm25};

const DIMENSIONS: usize = 16;
const ADMINISTRATOR: Caller = Caller::LocalAdministrator;

pub(super) fn embedder() -> EmbedderIdentity {
    EmbedderIdentity { name: "test-embedder".into(), dimensions: DIMENSIONS }
}

/// A unit vector that depends on the seed alone.
pub(super) fn unit_vector(seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut vector: Vec<f32> = (0..DIMENSIONS)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
        })
        .collect();
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= norm);
    vector
}

/// A document with one chunk per text.
pub(super) fn document_of(
    path: &str,
    acl: &str,
    language: Language,
    texts: &[String],
) -> (Document, Vec<Chunk>, Vec<Vec<f32>>) {
    let document = Document {
        id: DocumentId::new("test", path),
        source: "test".into(),
        path: path.into(),
        uri: format!("file:///test/{path}"),
        title: path.into(),
        language: Some(language),
        content_hash: ContentHash::of(path.as_bytes()),
        acl: if acl == "nobody" { Acl::nobody() } else { acl.parse().unwrap() },
        text: texts.join("\n"),
        page_starts: Vec::new(),
    };
    let chunk = |(position, text): (usize, &String)| Chunk {
        position: position as u32,
        text: text.clone(),
        start: position * 10,
        end: position * 10 + text.chars().count(),
        section: vec!["Section".into()],
        page: (position % 2 == 0).then_some(position as u32 + 1),
        language: Some(language),
    };
    let chunks: Vec<Chunk> = texts.iter().enumerate().map(chunk).collect();
    let seed = |position: usize| document.id.chunk(position as u32).as_u128() as u64;
    let vectors = (0..texts.len()).map(|position| unit_vector(seed(position))).collect();
    (document, chunks, vectors)
}

/// An English document of `count` chunks.
pub(super) fn sample(path: &str, count: usize, acl: &str) -> (Document, Vec<Chunk>, Vec<Vec<f32>>) {
    let texts: Vec<String> = (0..count).map(|n| format!("handbook passage number{n} of {path}")).collect();
    document_of(path, acl, Language::English, &texts)
}

fn put(store: &dyn VectorStore, sample: &(Document, Vec<Chunk>, Vec<Vec<f32>>)) -> DocumentId {
    store.put(&sample.0, &sample.1, &sample.2).unwrap();
    sample.0.id
}

fn caller(principals: &str) -> Caller {
    let names = principals.split(',').filter(|name| !name.is_empty());
    Caller::new(names.map(|name| name.parse().unwrap()))
}

fn question(text: &str) -> Query {
    Query { dense: unit_vector(7), sparse: bm25::query(text, None), documents: Vec::new(), limit: 100 }
}

fn titles(hits: &[Scored]) -> BTreeSet<String> {
    hits.iter().map(|hit| hit.chunk.title.clone()).collect()
}

/// A collection on a server that goes when the test ends, however it ends.
struct Served {
    store: ServerStore,
    _runtime: tokio::runtime::Runtime,
}

impl Served {
    fn open(url: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let options = server_options(url, &format!("intramuros-test-{}", Uuid::new_v4()));
        let store = ServerStore::open(&options, runtime.handle().clone(), &embedder()).unwrap();
        Self { store, _runtime: runtime }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.store.delete_collection().unwrap();
    }
}

fn server_options(url: &str, collection: &str) -> ServerOptions {
    ServerOptions {
        url: url.to_owned(),
        api_key: std::env::var("QDRANT_API_KEY").ok(),
        collection: collection.to_owned(),
        ..ServerOptions::default()
    }
}

fn server_url() -> Option<String> {
    let url = std::env::var("QDRANT_URL").ok();
    if url.is_none() {
        println!("QDRANT_URL is not set: the server half is skipped");
    }
    url
}

fn edge() -> (TempDir, EdgeStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = EdgeStore::open(directory.path(), &embedder()).unwrap();
    (directory, store)
}

fn each_store(test: impl Fn(&dyn VectorStore)) {
    let (_directory, store) = edge();
    test(&store);
    if let Some(url) = server_url() {
        test(&Served::open(&url).store);
    }
}

#[test]
fn a_document_is_put_replaced_and_shrunk() {
    each_store(|store| {
        let id = put(store, &sample("a.md", 300, "everyone"));
        put(store, &sample("b.md", 2, "everyone"));
        let chunks = store.chunks(&ADMINISTRATOR, id, 0..u32::MAX).unwrap();
        assert!(chunks.iter().map(|chunk| chunk.position).eq(0..300));
        assert_eq!(store.info().unwrap().chunks, 302);

        let texts: Vec<String> = (0..3).map(|n| format!("another text {n}")).collect();
        let replaced = document_of("a.md", "everyone", Language::English, &texts);
        put(store, &replaced);
        let chunks = store.chunks(&ADMINISTRATOR, id, 0..u32::MAX).unwrap();
        assert_eq!(chunks.len(), 3);
        for (chunk, expected) in chunks.iter().zip(&replaced.1) {
            assert_eq!(chunk.text, expected.text);
            assert_eq!((chunk.start, chunk.end, chunk.page), (expected.start, expected.end, expected.page));
            assert_eq!((&chunk.section, chunk.language), (&expected.section, expected.language));
            assert_eq!(chunk.document_id, id);
            assert_eq!(chunk.uri, replaced.0.uri);
            assert_eq!(chunk.embedding_hash, embedding_hash("a.md", expected));
        }
        assert_eq!(store.chunks(&ADMINISTRATOR, id, 1..2).unwrap()[0], chunks[1]);
        assert!(store.search(&ADMINISTRATOR, &question("number200")).unwrap().sparse.is_empty());
        assert_eq!(store.info().unwrap().chunks, 5);

        put(store, &sample("a.md", 0, "everyone"));
        assert_eq!(store.info().unwrap().chunks, 2);
    });
}

#[test]
fn documents_are_removed_and_unknown_ones_are_no_error() {
    each_store(|store| {
        let a = put(store, &sample("a.md", 3, "everyone"));
        put(store, &sample("b.md", 3, "everyone"));
        store.remove(&[a, DocumentId::new("test", "unknown.md")]).unwrap();
        store.remove(&[]).unwrap();
        let found = store.search(&ADMINISTRATOR, &question("handbook")).unwrap();
        assert_eq!(titles(&found.dense), BTreeSet::from(["b.md".to_owned()]));
        assert_eq!(titles(&found.sparse), BTreeSet::from(["b.md".to_owned()]));
        assert!(store.chunks(&ADMINISTRATOR, a, 0..10).unwrap().is_empty());
        assert!(store.vectors(a).unwrap().is_empty());
        assert_eq!(store.info().unwrap().chunks, 3);
    });
}

#[test]
fn nobody_sees_more_than_its_rights_by_any_way_of_reading() {
    let readers = [
        ("all.md", "everyone"),
        ("ana.md", "user:ana"),
        ("legal.md", "group:legal"),
        ("both.md", "group:legal,user:ana"),
        ("hr.md", "group:hr"),
        ("odd.md", "user:legal"),
        ("secret.md", "nobody"),
    ];
    let callers = ["", "user:ana", "group:legal", "user:ana,group:hr", "user:nobody", "group:ana"].map(caller);
    each_store(|store| {
        let documents: Vec<_> = readers.map(|(path, acl)| sample(path, 3, acl)).into();
        for document in &documents {
            put(store, document);
        }
        for caller in callers.iter().chain([&ADMINISTRATOR]) {
            let may = documents.iter().filter(|(document, ..)| caller.may_read(&document.acl));
            let may: BTreeSet<String> = may.map(|(document, ..)| document.title.clone()).collect();
            let found = store.search(caller, &question("handbook passage")).unwrap();
            assert_eq!(titles(&found.dense), may, "{caller:?}");
            assert_eq!(titles(&found.sparse), may, "{caller:?}");
            for (document, chunks, _) in &documents {
                let got = store.chunks(caller, document.id, 0..10).unwrap();
                let expected = if caller.may_read(&document.acl) { chunks.len() } else { 0 };
                assert_eq!(got.len(), expected, "{caller:?} {}", document.title);
                // Naming a document in the query must not open it.
                let query = Query { documents: vec![document.id], ..question("handbook passage") };
                let found = store.search(caller, &query).unwrap();
                assert_eq!((found.dense.len(), found.sparse.len()), (expected, expected));
            }
            let exported = store.export(caller, None, 100).unwrap().len();
            assert_eq!(exported, if *caller == ADMINISTRATOR { 21 } else { 0 });
        }
    });
}

#[test]
fn a_change_of_readers_takes_effect_at_once_and_keeps_the_vectors() {
    each_store(|store| {
        let id = put(store, &sample("a.md", 200, "user:ana"));
        let before = store.vectors(id).unwrap();
        let (ana, eva) = (caller("user:ana"), caller("user:eva"));
        assert_eq!(store.chunks(&ana, id, 0..1000).unwrap().len(), 200);
        store.set_acl(id, &"user:eva".parse().unwrap()).unwrap();
        assert_eq!(store.chunks(&ana, id, 0..1000).unwrap(), []);
        assert_eq!(store.chunks(&eva, id, 0..1000).unwrap().len(), 200);
        let found = store.search(&ana, &question("handbook")).unwrap();
        assert!(found.dense.is_empty() && found.sparse.is_empty());
        assert_eq!(store.search(&eva, &question("handbook")).unwrap().sparse.len(), 100);
        assert_eq!(store.vectors(id).unwrap(), before);

        store.set_acl(id, &Acl::nobody()).unwrap();
        assert_eq!(store.chunks(&eva, id, 0..1000).unwrap(), []);
        assert_eq!(store.chunks(&ADMINISTRATOR, id, 0..1000).unwrap().len(), 200);
        // A put with other readers leaves no chunk with the old ones.
        put(store, &sample("a.md", 150, "group:legal"));
        assert_eq!(store.chunks(&caller("group:legal"), id, 0..1000).unwrap().len(), 150);
        assert_eq!(store.chunks(&eva, id, 0..1000).unwrap(), []);
    });
}

#[test]
fn both_branches_carry_the_scores_of_cosine_and_bm25() {
    let texts = [
        ("one.md", "The travel policy covers trains and trains only"),
        ("two.md", "Expense policy: flights need approval by a manager"),
        ("three.md", "Laptops are replaced every four years"),
        ("four.md", "Trains, flights and hotels are booked by the travel desk, see policy SF-86"),
    ];
    each_store(|store| {
        let mut vectors = BTreeMap::new();
        for (path, text) in texts {
            let document = document_of(path, "everyone", Language::English, &[text.to_owned()]);
            let embedded = embedding_text(path, &document.1[0]);
            vectors
                .insert(path.to_owned(), (document.2[0].clone(), bm25::document(&embedded, Some(Language::English))));
            put(store, &document);
        }
        let query = question("travel policies for trains SF-86");
        let found = store.search(&caller(""), &query).unwrap();
        assert_eq!(found.dense.len(), 4);
        for hit in &found.dense {
            let cosine: f32 = query.dense.iter().zip(&vectors[&hit.chunk.title].0).map(|(a, b)| a * b).sum();
            assert!((hit.score - cosine).abs() < 1e-3, "{} {cosine}", hit.score);
        }
        let expected: BTreeMap<&str, f32> = vectors
            .iter()
            .map(|(title, (_, sparse))| (title.as_str(), reference_bm25(&query.sparse, sparse, &vectors)))
            .filter(|(_, score)| *score > 0.0)
            .collect();
        assert_eq!(titles(&found.sparse), expected.keys().map(|title| (*title).to_owned()).collect());
        assert_eq!(expected.len(), 3);
        for hit in &found.sparse {
            let score = expected[hit.chunk.title.as_str()];
            assert!((hit.score - score).abs() < 1e-3, "{} {score}", hit.score);
        }
        for hits in [&found.dense, &found.sparse] {
            assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
        }
    });
}

/// BM25 as Robertson and Zaragoza write it, over the vectors of all documents.
fn reference_bm25(
    query: &SparseVector,
    document: &SparseVector,
    all: &BTreeMap<String, (Vec<f32>, SparseVector)>,
) -> f32 {
    let mut score = 0.0;
    for (term, weight) in query.indices.iter().zip(&query.values) {
        let Ok(at) = document.indices.binary_search(term) else { continue };
        let having = all.values().filter(|(_, other)| other.indices.contains(term)).count() as f32;
        let idf = (1.0 + (all.len() as f32 - having + 0.5) / (having + 0.5)).ln();
        score += weight * idf * document.values[at];
    }
    score
}

#[test]
fn a_query_keeps_to_the_documents_it_names() {
    each_store(|store| {
        let a = put(store, &sample("a.md", 4, "everyone"));
        put(store, &sample("b.md", 4, "everyone"));
        let c = put(store, &sample("c.md", 4, "user:ana"));
        let query = Query { documents: vec![a, c], ..question("handbook") };
        let found = store.search(&caller("user:ana"), &query).unwrap();
        assert_eq!(titles(&found.sparse), BTreeSet::from(["a.md".to_owned(), "c.md".to_owned()]));
        assert_eq!(found.dense.len(), 8);
        assert_eq!(titles(&store.search(&caller(""), &query).unwrap().dense), BTreeSet::from(["a.md".to_owned()]));
    });
}

#[test]
fn spanish_questions_find_spanish_passages() {
    let texts = [
        "El niño de la empleada puede comer en la guardería.",
        "La factura se pagó en marzo.",
        "Antes de contratar a un proveedor hacen falta tres ofertas.",
        "Las vacaciones se piden con quince días de antelación.",
    ]
    .map(str::to_owned);
    each_store(|store| {
        put(store, &document_of("normas.md", "everyone", Language::Spanish, &texts));
        for (text, language, position) in [
            ("nino", Some(Language::Spanish), 0),
            ("¿NIÑOS?", None, 0),
            ("pagar", Some(Language::Spanish), 1),
            ("¿Quién pagó?", None, 1),
            ("contratación", Some(Language::Spanish), 2),
            ("contratacion de proveedores", None, 2),
            ("vacación", Some(Language::Spanish), 3),
        ] {
            let query = Query { sparse: bm25::query(text, language), ..question("") };
            let found = store.search(&caller(""), &query).unwrap().sparse;
            assert_eq!(found.first().map(|hit| hit.chunk.position), Some(position), "{text}");
        }
    });
}

#[test]
fn empty_queries_and_limits_give_nothing() {
    each_store(|store| {
        let id = put(store, &document_of("a.md", "everyone", Language::English, &["of the".to_owned(), String::new()]));
        put(store, &sample("b.md", 2, "everyone"));
        assert_eq!(store.chunks(&ADMINISTRATOR, id, 0..9).unwrap().len(), 2);
        assert!(store.chunks(&ADMINISTRATOR, id, 1..1).unwrap().is_empty());
        let count = |query: &Query| {
            let Branches { dense, sparse } = store.search(&ADMINISTRATOR, query).unwrap();
            (dense.len(), sparse.len())
        };
        assert_eq!(count(&question("what is the")), (4, 0));
        assert_eq!(count(&Query { dense: Vec::new(), ..question("handbook") }), (0, 2));
        assert_eq!(count(&Query { limit: 0, ..question("handbook") }), (0, 0));
        assert_eq!(count(&Query { limit: 1, ..question("handbook") }), (1, 1));
    });
}

#[test]
fn vectors_of_another_length_are_refused() {
    each_store(|store| {
        let (document, chunks, mut vectors) = sample("a.md", 2, "everyone");
        vectors[1].push(0.0);
        let error = store.put(&document, &chunks, &vectors).unwrap_err();
        assert!(matches!(error, StoreError::Dimensions { expected: DIMENSIONS, actual: 17 }), "{error}");
        assert_eq!(store.info().unwrap().chunks, 0);
        let query = Query { dense: vec![1.0; 3], ..question("x") };
        assert!(matches!(store.search(&ADMINISTRATOR, &query), Err(StoreError::Dimensions { .. })));
    });
}

#[test]
fn an_index_of_another_embedder_is_refused() {
    let other = EmbedderIdentity { name: "other".into(), ..embedder() };
    let longer = EmbedderIdentity { dimensions: DIMENSIONS + 1, ..embedder() };
    let (directory, store) = edge();
    drop(store);
    let open = |identity| EdgeStore::open(directory.path(), identity).map(drop);
    assert!(matches!(open(&other), Err(StoreError::OtherEmbedder { .. })));
    assert!(matches!(open(&longer), Err(StoreError::Dimensions { .. })));
    open(&embedder()).unwrap();

    let Some(url) = server_url() else { return };
    let served = Served::open(&url);
    let options = server_options(&url, served.store.collection());
    let handle = served._runtime.handle();
    let open = |identity| ServerStore::open(&options, handle.clone(), identity).map(drop);
    assert!(matches!(open(&other), Err(StoreError::OtherEmbedder { .. })));
    assert!(matches!(open(&longer), Err(StoreError::Dimensions { .. })));
    open(&embedder()).unwrap();
}

#[test]
fn vectors_come_back_by_the_hash_of_their_text() {
    each_store(|store| {
        let (document, chunks, vectors) = sample("a.md", 5, "nobody");
        store.put(&document, &chunks, &vectors).unwrap();
        let held = store.vectors(document.id).unwrap();
        assert_eq!(held.len(), 5);
        for (chunk, vector) in chunks.iter().zip(&vectors) {
            let hash = embedding_hash(&document.title, chunk);
            assert!(held[&hash].iter().zip(vector).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    });
}

fn export_all(store: &dyn VectorStore, page: usize) -> Vec<super::Point> {
    let mut all: Vec<super::Point> = Vec::new();
    loop {
        let next = store.export(&ADMINISTRATOR, all.last().map(|point| point.id), page).unwrap();
        assert!(next.len() <= page);
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}

fn assert_same_points(one: &[super::Point], other: &[super::Point]) {
    assert_eq!(one.len(), other.len());
    for (a, b) in one.iter().zip(other) {
        assert_eq!((a.id, &a.chunk), (b.id, &b.chunk));
        assert_eq!(a.sparse, b.sparse);
        assert!(a.dense.iter().zip(&b.dense).all(|(x, y)| (x - y).abs() < 1e-5));
    }
}

#[test]
fn points_move_between_stores_unchanged() {
    each_store(|middle| {
        let (_first_directory, first) = edge();
        put(&first, &sample("a.md", 40, "user:ana"));
        put(&first, &sample("b.md", 3, "nobody"));
        let points = export_all(&first, 7);
        assert_eq!(points.len(), 43);
        assert!(points.is_sorted_by(|a, b| a.id < b.id));
        middle.import(&points).unwrap();
        let (_last_directory, last) = edge();
        last.import(&export_all(middle, 10)).unwrap();
        assert_same_points(&export_all(&last, 1000), &points);
        assert_eq!(
            last.chunks(&caller("user:ana"), points[0].chunk.document_id, 0..1).unwrap().len(),
            usize::from(!points[0].chunk.acl.is_nobody())
        );
    });
}

#[test]
fn searches_go_on_while_the_index_is_optimised() {
    each_store(|store| {
        for n in 0..30 {
            put(store, &sample(&format!("{n}.md"), 100, if n % 2 == 0 { "user:ana" } else { "group:legal" }));
        }
        let gone: Vec<_> = (0..15).map(|n| DocumentId::new("test", &format!("{n}.md"))).collect();
        store.remove(&gone).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                store.optimize().unwrap();
                done.store(true, Ordering::SeqCst);
            });
            loop {
                let last_round = done.load(Ordering::SeqCst);
                let found = store.search(&caller("user:ana"), &question("handbook passage")).unwrap();
                assert_eq!((found.dense.len(), found.sparse.len()), (100, 100));
                let ana = "user:ana".parse().unwrap();
                assert!(found.dense.iter().chain(&found.sparse).all(|hit| hit.chunk.acl == ana));
                assert!(found.dense.iter().all(|hit| !gone.contains(&hit.chunk.document_id)));
                // A change of readers while segments are rebuilt holds too.
                let id = DocumentId::new("test", "16.md");
                store.set_acl(id, &Acl::nobody()).unwrap();
                assert!(store.chunks(&caller("user:ana"), id, 0..100).unwrap().is_empty());
                store.set_acl(id, &ana_only()).unwrap();
                if last_round {
                    break;
                }
            }
        });
        store.flush().unwrap();
        assert_eq!(store.info().unwrap().chunks, 1500);
    });
}

fn ana_only() -> Acl {
    "user:ana".parse().unwrap()
}

#[test]
fn what_was_flushed_is_there_after_reopening() {
    let (directory, store) = edge();
    put(&store, &sample("a.md", 20, "user:ana"));
    put(&store, &sample("b.md", 20, "everyone"));
    store.set_acl(DocumentId::new("test", "b.md"), &ana_only()).unwrap();
    store.flush().unwrap();
    let before = export_all(&store, 100);
    drop(store);
    let store = EdgeStore::open(directory.path(), &embedder()).unwrap();
    assert_same_points(&export_all(&store, 100), &before);
    let found = store.search(&caller("user:ana"), &question("handbook")).unwrap();
    assert_eq!((found.dense.len(), found.sparse.len()), (40, 40));
    assert!(store.search(&caller(""), &question("handbook")).unwrap().sparse.is_empty());
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = ServerOptions { api_key: Some("hidden".into()), ..server_options("http://127.0.0.1:9", "x") };
    let error = ServerStore::open(&options, runtime.handle().clone(), &embedder()).map(drop).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{message}");
    assert!(message.contains("http://127.0.0.1:9") && !message.contains("hidden"), "{message}");
}
