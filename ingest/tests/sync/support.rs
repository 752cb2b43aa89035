//! An index and ledger in memory that keep to the contract of a real one and check that the pass does too, a model that
//! hashes words, and a reader of a few lines.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use intramuros_ingest::access::{Acl, Caller};
use intramuros_ingest::document::{Block, BlockKind, Chunk, ContentHash, Document, DocumentId, Extracted, RawDocument};
use intramuros_ingest::source::{Folder, FolderSettings, Source};
use intramuros_ingest::sync::{
    self, BoxError, ChunkSink, Embed, Extract, ExtractError, Known, KnownState, Ports, Readers, Settled, SyncError,
    SyncEvent, SyncOptions, SyncReport, embedding_hash,
};
use tempfile::TempDir;

/// What the index holds of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub document: Document,
    pub chunks: Vec<Chunk>,
    pub vectors: Vec<Vec<f32>>,
}

/// How a crash treats what was written and not flushed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Crash {
    /// It is all there.
    Kept,
    /// It is lost.
    Lost,
}

/// Index and ledger.
#[derive(Clone, Default)]
pub struct Index {
    pub documents: BTreeMap<DocumentId, Stored>,
    pub ledger: BTreeMap<DocumentId, (String, Known)>,
    flushed: BTreeMap<DocumentId, Stored>,
    begun: BTreeSet<DocumentId>,
    /// Names of all calls that write, and the path they are about.
    pub log: Vec<String>,
    /// The call that fails, counted over all that write.
    pub fail_at: Option<usize>,
}

impl Index {
    /// What is left after the process died.
    pub fn after(mut self, crash: Crash) -> Self {
        if crash == Crash::Lost {
            self.documents = self.flushed.clone();
        }
        self.flushed = self.documents.clone();
        self.begun.clear();
        self.log.clear();
        self.fail_at = None;
        self
    }

    pub fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = self.documents.values().map(|stored| stored.document.path.as_str()).collect();
        paths.sort_unstable();
        paths
    }

    pub fn stored(&self, path: &str) -> &Stored {
        self.documents.values().find(|stored| stored.document.path == path).unwrap_or_else(|| panic!("no {path}"))
    }

    /// Paths that a caller with these principals may read.
    pub fn readable(&self, principals: &str) -> Vec<&str> {
        let caller = Caller::new(principals.parse::<Acl>().unwrap().readers().cloned());
        let readable = self.documents.values().filter(|stored| caller.may_read(&stored.document.acl));
        let mut paths: Vec<&str> = readable.map(|stored| stored.document.path.as_str()).collect();
        paths.sort_unstable();
        paths
    }

    /// Whether this call is the one that fails.
    fn fails(&mut self, call: String) -> bool {
        self.log.push(call);
        self.fail_at == Some(self.log.len() - 1)
    }

    fn assert_begun(&self, id: DocumentId) {
        assert!(self.begun.contains(&id), "written before it was begun");
    }
}

fn crashed<T>() -> Result<T, BoxError> {
    Err("the index failed".into())
}

impl ChunkSink for Index {
    fn known(&mut self, source: &str) -> Result<Vec<Known>, BoxError> {
        Ok(self.ledger.values().filter(|(of, _)| of == source).map(|(_, row)| row.clone()).collect())
    }

    fn vectors(&mut self, id: DocumentId) -> Result<HashMap<ContentHash, Vec<f32>>, BoxError> {
        let Some(stored) = self.documents.get(&id) else { return Ok(HashMap::new()) };
        let hash = |chunk| embedding_hash(&stored.document.title, chunk);
        Ok(stored.chunks.iter().zip(&stored.vectors).map(|(chunk, vector)| (hash(chunk), vector.clone())).collect())
    }

    fn begin(&mut self, documents: &[Known], source: &str) -> Result<(), BoxError> {
        let fails = self.fails(format!("begin {}", documents.len()));
        for row in documents {
            assert_eq!(row.state, KnownState::Pending);
            assert_eq!(row.id, DocumentId::new(source, &row.path));
            self.begun.insert(row.id);
            self.ledger.insert(row.id, (source.to_owned(), row.clone()));
        }
        if fails { crashed() } else { Ok(()) }
    }

    fn put(&mut self, document: &Document, chunks: &[Chunk], vectors: &[Vec<f32>]) -> Result<(), BoxError> {
        self.assert_begun(document.id);
        assert_eq!(chunks.len(), vectors.len());
        assert!(vectors.iter().all(|vector| !vector.is_empty()));
        let mut stored = Stored { document: document.clone(), chunks: chunks.to_vec(), vectors: vectors.to_vec() };
        let fails = self.fails(format!("put {}", document.path));
        if fails {
            stored.chunks.truncate(chunks.len() / 2);
            stored.vectors.truncate(chunks.len() / 2);
        }
        self.documents.insert(document.id, stored);
        if fails { crashed() } else { Ok(()) }
    }

    fn set_acl(&mut self, id: DocumentId, acl: &Acl) -> Result<(), BoxError> {
        self.assert_begun(id);
        if self.fails("set_acl".to_owned()) {
            return crashed();
        }
        if let Some(stored) = self.documents.get_mut(&id) {
            stored.document.acl = acl.clone();
        }
        Ok(())
    }

    fn remove(&mut self, id: DocumentId) -> Result<(), BoxError> {
        self.assert_begun(id);
        let path = self.ledger[&id].1.path.clone();
        if self.fails(format!("remove {path}")) {
            return crashed();
        }
        self.documents.remove(&id);
        Ok(())
    }

    fn commit(&mut self, settled: &[Settled]) -> Result<(), BoxError> {
        let fails = self.fails(format!("commit {}", settled.len()));
        self.flushed = self.documents.clone();
        if fails {
            return crashed();
        }
        for settled in settled {
            let id = match settled {
                Settled::Row(row) => row.id,
                Settled::Gone(id) => *id,
            };
            assert!(self.begun.remove(&id), "settled before it was begun");
            match settled {
                Settled::Row(row) => self.ledger.get_mut(&id).unwrap().1 = row.clone(),
                Settled::Gone(_) => drop(self.ledger.remove(&id)),
            }
        }
        assert!(self.begun.is_empty(), "begun and not settled");
        Ok(())
    }
}

/// A model that hashes words.
pub struct Hashing {
    pub identity: &'static str,
    pub texts: AtomicU64,
    /// Fails from this many texts on.
    pub fail_after: u64,
}

impl Default for Hashing {
    fn default() -> Self {
        Self { identity: "hashing@1", texts: AtomicU64::new(0), fail_after: u64::MAX }
    }
}

impl Embed for Hashing {
    fn identity(&self) -> &str {
        self.identity
    }

    fn max_tokens(&self) -> usize {
        60
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, BoxError> {
        if self.texts.fetch_add(texts.len() as u64, Ordering::SeqCst) + texts.len() as u64 > self.fail_after {
            return Err("out of memory".into());
        }
        if texts.iter().any(|text| text.contains("UNTOKENIZABLE")) {
            return Err("no such token".into());
        }
        let mut vectors = Vec::new();
        for text in texts {
            assert!(self.count_tokens(text) <= self.max_tokens(), "a text is longer than the window");
            let mut vector = vec![0.0_f32; 8];
            for word in text.split_whitespace() {
                let hash = word.bytes().fold(self.identity.len(), |hash, byte| hash * 31 % 65_537 + usize::from(byte));
                vector[hash % 8] += 1.0;
            }
            vectors.push(vector);
        }
        Ok(vectors)
    }
}

/// Headings begin with `#`, paragraphs end at blank lines. Some beginnings stand for files that cannot be read.
pub fn read_lines(raw: &RawDocument) -> Result<Extracted, ExtractError> {
    if !raw.path.ends_with(".md") {
        return Err(ExtractError::UnknownFormat("no reader for it".to_owned()));
    }
    let text = String::from_utf8_lossy(&raw.bytes).into_owned();
    if text.starts_with("BROKEN") {
        return Err(ExtractError::Unreadable("it is damaged".to_owned()));
    }
    if text.starts_with("STOP") {
        return Err(ExtractError::Stopped("the reader crashed".to_owned()));
    }
    assert!(!text.starts_with("PANIC"), "a reader that panics");
    let mut extracted = Extracted::default();
    for block in text.split("\n\n") {
        let block = block.trim();
        let (kind, block) = match block.strip_prefix("# ") {
            Some(heading) => (BlockKind::Heading(1), heading),
            None => (BlockKind::Paragraph, block),
        };
        let start = extracted.text.len();
        extracted.text.push_str(block);
        extracted.blocks.push(Block { kind, range: start..extracted.text.len(), page: None });
        extracted.text.push_str("\n\n");
    }
    Ok(extracted)
}

/// A folder of files, an index of it, and how often files were parsed.
pub struct World {
    pub folder: TempDir,
    pub index: Index,
    pub embed: Hashing,
    pub parsed: Arc<AtomicU64>,
    pub readers: String,
    pub options: SyncOptions,
    /// Whether every reader is stopped before its end.
    pub stopping: bool,
    /// Status and path of each file of the last pass.
    pub done: Vec<String>,
}

impl World {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            index: Index::default(),
            embed: Hashing::default(),
            parsed: Arc::default(),
            readers: "lines@1".to_owned(),
            options: SyncOptions { workers: 3, embed_batch: 3, target_tokens: 30, ..SyncOptions::default() },
            stopping: false,
            done: Vec::new(),
        }
    }

    pub fn write(&self, path: &str, content: &str) {
        let file = self.folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.folder.path().join(path)).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        let to = self.folder.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(self.folder.path().join(from), to).unwrap();
    }

    /// The folder as a source that everyone reads.
    pub fn source(&self) -> Folder {
        self.source_with(|_| {})
    }

    pub fn source_with(&self, change: impl FnOnce(&mut FolderSettings)) -> Folder {
        let mut settings = FolderSettings::new(self.folder.path());
        settings.readers = "everyone".parse().unwrap();
        change(&mut settings);
        Folder::new("docs", settings).unwrap()
    }

    pub fn sync(&mut self) -> SyncReport {
        let source = self.source();
        self.try_sync(&source).unwrap()
    }

    pub fn try_sync(&mut self, source: &dyn Source) -> Result<SyncReport, SyncError> {
        self.index.log.clear();
        self.embed.texts.store(0, Ordering::SeqCst);
        self.parsed.store(0, Ordering::SeqCst);
        let (parsed, stopping) = (&self.parsed, self.stopping);
        let open = || -> Box<Extract> {
            let parsed = Arc::clone(parsed);
            Box::new(move |raw| {
                parsed.fetch_add(1, Ordering::SeqCst);
                if stopping { Err(ExtractError::Stopped("it took too long".to_owned())) } else { read_lines(raw) }
            })
        };
        let done = &mut self.done;
        done.clear();
        let ports = Ports {
            embed: &self.embed,
            sink: &mut self.index,
            readers: Readers { fingerprint: self.readers.clone(), open: &open },
        };
        sync::run(source, ports, &self.options, &mut |event| {
            if let SyncEvent::Done { path, status, .. } = event {
                done.push(format!("{status:?} {path}"));
            }
        })
    }

    /// Files that were parsed in the last pass.
    pub fn parsed(&self) -> u64 {
        self.parsed.load(Ordering::SeqCst)
    }

    /// Texts that went through the model in the last pass.
    pub fn embedded(&self) -> u64 {
        self.embed.texts.load(Ordering::SeqCst)
    }
}

/// A text of so many words that no other number gives.
pub fn words(name: &str, n: usize) -> String {
    let mut text = (1..n).map(|i| format!("{name}{i}")).collect::<Vec<_>>().join(" ");
    text.push_str(" end.");
    text
}

pub fn symlink(target: impl AsRef<Path>, link: impl AsRef<Path>) {
    std::os::unix::fs::symlink(target, link).unwrap();
}
