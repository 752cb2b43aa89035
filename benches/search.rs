//! Search in the embedded store over many chunks: `cargo bench --bench search [-- CHUNKS]` (50,000 if not said).
//!
//! The data is made up: vectors in clusters, words by the law of Zipf and Mandelbrot in documents of a hundred chunks
//! (the commonest word stands in every second chunk, as where stop words are left out), readers from eight groups. The
//! store is measured alone; at the end the whole search with fusion, with and without the embedding of the question by
//! the starter model, which must be installed (`intramuros models pull starter`). Nothing is asserted but that nobody
//! sees what it may not read.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use intramuros::config::Config;
use intramuros::retrieve::Retriever;
use intramuros::retrieve::vectors::TextVectors;
use intramuros::store::edge::EdgeStore;
use intramuros::store::{EmbedderIdentity, Query, Scored, SparseVector, VectorStore, bm25};
use intramuros_ingest::access::{Acl, Caller, Principal};
use intramuros_ingest::document::{Chunk, ContentHash, Document, DocumentId, Language};
use intramuros_models::catalog::Catalog;
use intramuros_models::{Embedder, ModelError, Precision, weights};

const DIMENSIONS: usize = 384;
const CLUSTERS: usize = 300;
const VOCABULARY: usize = 30_000;
const WORDS_PER_CHUNK: usize = 110;
const CHUNKS_PER_DOCUMENT: usize = 100;
const GROUPS: usize = 8;
const QUERIES: usize = 600;
const HITS: usize = 50;

fn main() {
    let chunks = env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(50_000);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let embedder = EmbedderIdentity { name: "bench".into(), dimensions: DIMENSIONS };
    let mut corpus = Corpus::new();

    let store = EdgeStore::open(directory.path(), &embedder).expect("a new store");
    let mut writing = Duration::ZERO;
    for number in 0..chunks / CHUNKS_PER_DOCUMENT {
        let (document, chunks, vectors) = corpus.document(number);
        let start = Instant::now();
        store.put(&document, &chunks, &vectors).expect("a put");
        if number % 50 == 49 {
            store.flush().expect("a flush");
        }
        writing += start.elapsed();
    }
    let start = Instant::now();
    store.flush().expect("a flush");
    writing += start.elapsed();
    let per_second = chunks as f64 / writing.as_secs_f64();
    println!("{chunks} chunks written in {:.1} s ({per_second:.0}/s), flushes included", writing.as_secs_f64());
    println!("on disk {} MiB, {}", disk_mib(directory.path()), memory());

    let mut words = Vec::with_capacity(QUERIES);
    let mut queries = Vec::with_capacity(QUERIES);
    for _ in 0..QUERIES {
        let (caller, question, query) = corpus.query();
        words.push(question);
        queries.push((caller, query));
    }
    let exact = measure("before optimising", &store, &queries);

    let seconds = measure_meanwhile("while optimising", &store, &queries, || {
        store.optimize().expect("an optimisation");
    });
    println!("  optimised in {seconds:.1} s");
    println!("on disk {} MiB, {}", disk_mib(directory.path()), memory());

    let fast = measure("after optimising", &store, &queries);
    println!("dense hits among the exact first 10: {:.1} %", 100.0 * recall(&exact, &fast));
    let more: Vec<_> = (0..10).map(|number| corpus.document(chunks + number)).collect();
    let seconds = measure_meanwhile("while writing", &store, &queries, || {
        for (document, chunks, vectors) in &more {
            store.put(document, chunks, vectors).expect("a put");
        }
        store.flush().expect("a flush");
    });
    println!("  {} chunks written in {seconds:.1} s", more.len() * CHUNKS_PER_DOCUMENT);

    let alone = |dense: bool| {
        let mut times = Vec::new();
        for (caller, query) in &queries {
            let mut query = query.clone();
            if dense {
                query.sparse = SparseVector::default();
            } else {
                query.dense.clear();
            }
            let start = Instant::now();
            store.search(caller, &query).expect("a search");
            times.push(start.elapsed());
        }
        report(if dense { "  vectors alone" } else { "  BM25 alone" }, &mut times);
    };
    alone(true);
    alone(false);
    let start = Instant::now();
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let workers: Vec<_> = queries
            .chunks(QUERIES / 4)
            .map(|part| scope.spawn(|| part.iter().map(|(caller, query)| timed(&store, caller, query).0).collect()))
            .collect();
        workers.into_iter().flat_map(|worker| -> Vec<Duration> { worker.join().expect("a searching thread") }).collect()
    });
    report("four threads at once", &mut times);
    println!("  {:.0} searches per second", times.len() as f64 / start.elapsed().as_secs_f64());

    drop(store);
    let start = Instant::now();
    let store = EdgeStore::open(directory.path(), &embedder).expect("the store again");
    println!("opened again in {} ms, {}", start.elapsed().as_millis(), memory());
    measure("after opening again", &store, &queries);
    measure("  and once more", &store, &queries);
    measure_whole(&store, &queries, &words);
}

/// Times the whole search, each with and without the embedding of its question.
fn measure_whole(store: &EdgeStore, queries: &[(Caller, Query)], words: &[String]) {
    let config = Config::load(None).expect("the default settings");
    let vectors = queries.iter().map(|(_, query)| query.dense.clone()).collect();
    let embedder = RealTimeMadeUpVector::open(vectors);
    let tokens: usize = embedder.questions.iter().map(|question| embedder.count_tokens(question)).sum();
    let vectors = TextVectors::default();
    let retriever = Retriever {
        store,
        embedder: &embedder,
        vectors: &vectors,
        unrelated_cosine: 0.0,
        languages: &[],
        reranker: None,
        settings: &config.retrieve,
    };
    let (mut with, mut without, mut embedding) = (Vec::new(), Vec::new(), Vec::new());
    for ((caller, _), words) in queries.iter().zip(words) {
        let retrieved = retriever.search(caller, words, config.retrieve.limit).expect("a search");
        with.push(Duration::from_secs_f64(retrieved.took_ms / 1000.0));
        without.push(Duration::from_secs_f64((retrieved.took_ms - retrieved.embed_ms) / 1000.0));
        embedding.push(Duration::from_secs_f64(retrieved.embed_ms / 1000.0));
    }
    report("whole search without the embedding of question and sentences", &mut without);
    report("whole search with it", &mut with);
    let mean = tokens as f64 / embedder.questions.len() as f64;
    report(&format!("  the embedding alone ({}, {mean:.0} tokens)", embedder.identity()), &mut embedding);
}

/// Takes as long as the starter embedder takes for real questions, and then gives the made-up vectors in their order:
/// the model knows nothing of made-up words, and what it made of them would not lie among the made-up passages.
struct RealTimeMadeUpVector {
    model: Box<dyn Embedder>,
    questions: Vec<String>,
    vectors: Vec<Vec<f32>>,
    next: AtomicUsize,
}

impl RealTimeMadeUpVector {
    fn open(vectors: Vec<Vec<f32>>) -> Self {
        let catalog = Catalog::load(None).expect("the catalogue");
        let name = &catalog.profile("starter").expect("the profile").embedder;
        let entry = catalog.model(name).expect("the embedder's entry");
        let files = weights::locate(&weights::default_models_dir(), entry).expect("an installed model");
        let model = intramuros_models::open_embedder(&files, Precision::Int8).expect("the embedder");
        let lines = include_str!("../samples/intranet/questions.jsonl").lines();
        let question = |line| -> serde_json::Value { serde_json::from_str(line).expect("a question") };
        let questions = lines.map(|line| question(line)["question"].as_str().expect("a text").to_owned()).collect();
        Self { model, questions, vectors, next: AtomicUsize::new(0) }
    }
}

impl Embedder for RealTimeMadeUpVector {
    fn identity(&self) -> &str {
        self.model.identity()
    }

    fn dimensions(&self) -> usize {
        self.model.dimensions()
    }

    fn max_tokens(&self) -> usize {
        self.model.max_tokens()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.model.count_tokens(text)
    }

    fn embed_passages(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.model.embed_passages(texts)
    }

    fn embed_query(&self, _: &str) -> Result<Vec<f32>, ModelError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.model.embed_query(&self.questions[number % self.questions.len()])?;
        Ok(self.vectors[number % self.vectors.len()].clone())
    }
}

fn timed(store: &EdgeStore, caller: &Caller, query: &Query) -> (Duration, Vec<Scored>) {
    let start = Instant::now();
    let branches = store.search(caller, query).expect("a search");
    let took = start.elapsed();
    for hit in branches.dense.iter().chain(&branches.sparse) {
        assert!(caller.may_read(&hit.chunk.acl), "a hit that its caller may not read");
    }
    assert!(!branches.dense.is_empty() && !branches.sparse.is_empty(), "a search without hits");
    (took, branches.dense)
}

/// Times the queries one after the other; gives back the dense hits of each.
fn measure(when: &str, store: &EdgeStore, queries: &[(Caller, Query)]) -> Vec<Vec<Scored>> {
    let mut times = Vec::with_capacity(queries.len());
    let mut all = Vec::with_capacity(queries.len());
    for (caller, query) in queries {
        let (took, hits) = timed(store, caller, query);
        times.push(took);
        all.push(hits);
    }
    report(when, &mut times);
    all
}

/// Times a query every ten milliseconds or so for as long as the work takes; gives back its seconds.
fn measure_meanwhile(when: &str, store: &EdgeStore, queries: &[(Caller, Query)], work: impl FnOnce() + Send) -> f64 {
    let done = AtomicBool::new(false);
    let mut times = Vec::new();
    let start = Instant::now();
    let seconds = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            work();
            done.store(true, Ordering::SeqCst);
            start.elapsed().as_secs_f64()
        });
        while !done.load(Ordering::SeqCst) {
            let (caller, query) = &queries[times.len() % queries.len()];
            times.push(timed(store, caller, query).0);
            // The engine builds at low priority: without a pause the searches alone would fill a small machine.
            thread::sleep(Duration::from_millis(10));
        }
        worker.join().expect("the work")
    });
    report(when, &mut times);
    seconds
}

fn report(when: &str, times: &mut [Duration]) {
    times.sort();
    if times.is_empty() {
        println!("{when}: no search came between");
        return;
    }
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!(
        "{when}: {} searches, p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms, slowest {:.2} ms",
        times.len(),
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    );
}

/// Share of the exact first ten dense hits that are among the first ten of the other run.
fn recall(exact: &[Vec<Scored>], other: &[Vec<Scored>]) -> f64 {
    let name = |hit: &Scored| (hit.chunk.document_id, hit.chunk.position);
    let mut found = 0;
    let mut wanted = 0;
    for (exact, other) in exact.iter().zip(other) {
        let first: Vec<_> = other.iter().take(10).map(name).collect();
        wanted += exact.len().min(10);
        found += exact.iter().take(10).filter(|hit| first.contains(&name(hit))).count();
    }
    found as f64 / wanted as f64
}

struct Corpus {
    random: Random,
    centres: Vec<Vec<f32>>,
    /// Cumulative shares of the words.
    shares: Vec<f64>,
}

impl Corpus {
    fn new() -> Self {
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        let centres = (0..CLUSTERS).map(|_| (0..DIMENSIONS).map(|_| random.normal()).collect()).collect();
        let mut total = 0.0;
        let shares = (1..=VOCABULARY)
            .map(|rank| {
                total += 1.0 / (rank as f64 + 20.0);
                total
            })
            .collect();
        Self { random, centres, shares }
    }

    fn vector(&mut self) -> Vec<f32> {
        let centre = self.random.below(CLUSTERS);
        let mut vector: Vec<f32> = self.centres[centre].clone();
        vector.iter_mut().for_each(|x| *x += 0.8 * self.random.normal());
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
        vector
    }

    fn words(&mut self, count: usize) -> String {
        let total = self.shares[VOCABULARY - 1];
        let mut text = String::new();
        for _ in 0..count {
            let at = self.random.unit() * total;
            let rank = self.shares.partition_point(|share| *share < at);
            text.push_str(&word(rank));
            text.push(' ');
        }
        text
    }

    fn document(&mut self, number: usize) -> (Document, Vec<Chunk>, Vec<Vec<f32>>) {
        let path = format!("{number}.md");
        let acl: Acl = match self.random.below(10) {
            0 => [Principal::Everyone].into_iter().collect(),
            _ => [group(self.random.below(GROUPS))].into_iter().collect(),
        };
        let document = Document {
            id: DocumentId::new("bench", &path),
            source: "bench".into(),
            uri: format!("file:///bench/{path}"),
            title: self.words(4),
            language: Some(Language::English),
            content_hash: ContentHash::of(path.as_bytes()),
            acl,
            text: String::new(),
            page_starts: Vec::new(),
            path,
        };
        let mut chunks = Vec::new();
        let mut vectors = Vec::new();
        for position in 0..CHUNKS_PER_DOCUMENT {
            let text = self.words(WORDS_PER_CHUNK);
            chunks.push(Chunk {
                position: position as u32,
                start: position * 1000,
                end: position * 1000 + text.len(),
                text,
                section: vec![self.words(3)],
                page: Some(position as u32 / 3 + 1),
                language: Some(if number.is_multiple_of(2) { Language::English } else { Language::Spanish }),
            });
            vectors.push(self.vector());
        }
        (document, chunks, vectors)
    }

    /// A question of eight words by a member of two groups.
    fn query(&mut self) -> (Caller, String, Query) {
        let caller = Caller::new([group(self.random.below(GROUPS)), group(self.random.below(GROUPS))]);
        let words = self.words(8);
        let sparse = bm25::query(&words, None);
        (caller, words, Query { dense: self.vector(), sparse, documents: Vec::new(), limit: HITS })
    }
}

fn group(number: usize) -> Principal {
    Principal::Group(format!("g{number}"))
}

/// A pronounceable word for a rank, short ones first.
fn word(rank: usize) -> String {
    const SYLLABLES: [&str; 20] = [
        "ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "xo", "lu", "ar", "en", "is",
        "or", "un",
    ];
    let mut rest = rank + 20;
    let mut word = String::new();
    while rest > 0 {
        word.push_str(SYLLABLES[rest % 20]);
        rest /= 20;
    }
    word
}

/// Xorshift (Marsaglia 2003): the same data in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }

    /// The sum of four uniform numbers is near enough to a normal one.
    fn normal(&mut self) -> f32 {
        ((0..4).map(|_| self.unit()).sum::<f64>() - 2.0) as f32 * 1.732
    }
}

fn disk_mib(directory: &std::path::Path) -> u64 {
    fn bytes(directory: &std::path::Path) -> u64 {
        let mut total = 0;
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            total += if metadata.is_dir() { bytes(&entry.path()) } else { allocated(&metadata) };
        }
        total
    }
    bytes(directory) / (1024 * 1024)
}

#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks() * 512
}

#[cfg(not(unix))]
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}

/// Memory of this process, where the system tells.
fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib / 1024)
    };
    match (mib("VmRSS"), mib("RssAnon"), mib("VmHWM")) {
        (Some(now), Some(own), Some(peak)) => {
            format!("memory {now} MiB (of which {own} MiB not file cache), peak {peak} MiB")
        }
        _ => "memory unknown".to_owned(),
    }
}
