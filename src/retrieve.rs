//! Finds the passages that a question is about, inside the caller's rights.
//!
//! Dense and BM25 hits come from one request to the store and are fused here, the same for every store: both score lists
//! are brought to 0..1 by their theoretical least and their greatest value and added with a weight (TM2C2 of Bruch, Gai
//! and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2023). Rank fusion throws away how sure each
//! branch is, and that is what tells a lexical hit on a part number from a stop word.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use intramuros_ingest::access::Caller;
use intramuros_ingest::document::{DocumentId, Language};
use intramuros_ingest::language;
use intramuros_models::{Embedder, ModelError, Reranker};

use crate::store::{Branches, Query, Scored, SparseVector, StoreError, StoredChunk, VectorStore, bm25};

/// How passages are found; see `[retrieve]` in the configuration.
pub use crate::config::Retrieve as RetrieveSettings;

/// Share of common word shingles from which two passages count as the same.
const DUPLICATE_SIMILARITY: f32 = 0.85;

/// Hybrid search over one index.
pub struct Retriever<'a> {
    /// Where the chunks are.
    pub store: &'a dyn VectorStore,
    /// The embedder that made them.
    pub embedder: &'a dyn Embedder,
    /// Puts the best passages in order, where there is one.
    pub reranker: Option<&'a dyn Reranker>,
    /// Limits and weights.
    pub settings: &'a RetrieveSettings,
}

/// A chunk that was found, with what speaks for it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Fused score in 0..1, comparable within one search only; after a reranker its probability that the chunk answers, and
    /// for those that it did not read the fused score below the least of those.
    pub score: f32,
    /// Cosine between question and chunk, where the dense branch returned it.
    pub cosine: Option<f32>,
    /// Share of the question's words that the chunk holds, in 0..1.
    pub coverage: f32,
    /// The chunk.
    pub chunk: StoredChunk,
}

/// The outcome of a search, best first.
#[derive(Clone, Debug)]
pub struct Retrieved {
    /// What was found.
    pub found: Vec<Found>,
    /// The language of the question, where clear.
    pub language: Option<Language>,
    /// Milliseconds for the question's vector.
    pub embed_ms: f64,
    /// Milliseconds for all of it.
    pub took_ms: f64,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum RetrieveError {
    /// The embedder failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Retriever<'_> {
    /// The best `limit` chunks for a question, near-duplicates dropped.
    pub fn search(&self, caller: &Caller, question: &str, limit: usize) -> Result<Retrieved, RetrieveError> {
        let started = Instant::now();
        let language = language::detect(question);
        let dense = self.embedder.embed_query(question)?;
        let embed_ms = milliseconds(started);
        let sparse = bm25::query(question, language);
        let candidates = self.settings.candidates.max(limit);
        let query = Query { dense, sparse, documents: Vec::new(), limit: candidates };
        let branches = self.store.search(caller, &query)?;
        let fused = fuse(branches, self.settings.dense_weight);
        let mut found = match self.reranker {
            None => without_duplicates(fused, limit),
            Some(reranker) => {
                let best = without_duplicates(fused, limit.max(self.settings.rerank_candidates));
                rerank(reranker, question, best, self.settings.rerank_candidates)?
            }
        };
        found.truncate(limit);
        // Reading a passage's words takes longer than finding it: only for those that are returned.
        for found in &mut found {
            found.coverage = coverage(&query.sparse, &found.chunk);
        }
        Ok(Retrieved { found, language, embed_ms, took_ms: milliseconds(started) })
    }
}

/// Milliseconds since an instant.
pub fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Adds the normalised scores of both branches; ties go to the lower document id and position, so that order is fixed.
fn fuse(branches: Branches, dense_weight: f32) -> Vec<Found> {
    let mut by_place: BTreeMap<(DocumentId, u32), Found> = BTreeMap::new();
    // The least possible cosine is -1, the least BM25 score is 0; the greatest is the best of the list.
    add_branch(&mut by_place, branches.dense, -1.0, dense_weight, true);
    add_branch(&mut by_place, branches.sparse, 0.0, 1.0 - dense_weight, false);
    let mut found: Vec<Found> = by_place.into_values().collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found
}

/// Puts the first `most` passages in the order that a reranker gives them; the others stay below in theirs.
fn rerank(
    reranker: &dyn Reranker,
    question: &str,
    mut found: Vec<Found>,
    most: usize,
) -> Result<Vec<Found>, ModelError> {
    let others = found.split_off(most.min(found.len()));
    // Headings say what a passage is about, as they do to the embedder.
    let texts: Vec<String> = found.iter().map(|found| with_headings(&found.chunk)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (found, score) in found.iter_mut().zip(reranker.score(question, &texts)?) {
        found.score = 1.0 / (1.0 + (-score).exp());
    }
    // Stable, so that ties keep the order of the fused score.
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let least = found.last().map_or(1.0, |found| found.score);
    found.extend(others.into_iter().map(|other| Found { score: least * other.score, ..other }));
    Ok(found)
}

fn add_branch(
    by_place: &mut BTreeMap<(DocumentId, u32), Found>,
    hits: Vec<Scored>,
    least: f32,
    weight: f32,
    is_dense: bool,
) {
    let greatest = hits.iter().map(|hit| hit.score).fold(f32::MIN, f32::max);
    let range = greatest - least;
    for hit in hits {
        let normal = if range > 0.0 { (hit.score - least) / range } else { 0.0 };
        let place = (hit.chunk.document_id, hit.chunk.position);
        let found =
            by_place.entry(place).or_insert(Found { score: 0.0, cosine: None, coverage: 0.0, chunk: hit.chunk });
        found.score += weight * normal;
        if is_dense {
            found.cosine = Some(hit.score);
        }
    }
}

/// Share of the question's terms that stand in a chunk or its headings.
fn coverage(question: &SparseVector, chunk: &StoredChunk) -> f32 {
    if question.indices.is_empty() {
        return 0.0;
    }
    let text = with_headings(chunk);
    // Both analyses, because the question may be in the other language than the chunk.
    let own: HashSet<u32> = bm25::query(&text, None).indices.into_iter().collect();
    let common = question.indices.iter().filter(|term| own.contains(term)).count();
    common as f32 / question.indices.len() as f32
}

/// A chunk's title, its section and its text, a line each.
fn with_headings(chunk: &StoredChunk) -> String {
    let mut text = chunk.title.clone();
    for part in chunk.section.iter().chain([&chunk.text]) {
        text.push('\n');
        text.push_str(part);
    }
    text
}

fn without_duplicates(fused: Vec<Found>, limit: usize) -> Vec<Found> {
    let mut kept: Vec<(HashSet<[u64; 3]>, Found)> = Vec::with_capacity(limit);
    for found in fused {
        if kept.len() == limit {
            break;
        }
        let shingles = shingles(&found.chunk.text);
        let duplicate = kept.iter().any(|(others, _)| similarity(&shingles, others) >= DUPLICATE_SIMILARITY);
        if !duplicate {
            kept.push((shingles, found));
        }
    }
    kept.into_iter().map(|(_, found)| found).collect()
}

/// Hashes of each run of three words, case and punctuation aside.
fn shingles(text: &str) -> HashSet<[u64; 3]> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let words: Vec<u64> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| {
            let mut hasher = DefaultHasher::new();
            word.to_lowercase().hash(&mut hasher);
            hasher.finish()
        })
        .collect();
    words.windows(3).map(|window| [window[0], window[1], window[2]]).collect()
}

/// Jaccard similarity; texts too short for a shingle are never the same as anything.
fn similarity(a: &HashSet<[u64; 3]>, b: &HashSet<[u64; 3]>) -> f32 {
    let common = a.intersection(b).count();
    let all = a.len() + b.len() - common;
    if all == 0 { 0.0 } else { common as f32 / all as f32 }
}

#[cfg(test)]
mod tests {
    use intramuros_ingest::access::Acl;
    use intramuros_ingest::document::ContentHash;

    use super::*;

    fn chunk(path: &str, text: &str) -> StoredChunk {
        StoredChunk {
            document_id: DocumentId::new("test", path),
            position: 0,
            source: "test".into(),
            title: path.into(),
            uri: String::new(),
            section: Vec::new(),
            page: None,
            start: 0,
            end: text.chars().count(),
            language: None,
            acl: Acl::nobody(),
            embedding_hash: ContentHash::of(b""),
            text: text.into(),
        }
    }

    fn scored(score: f32, path: &str, text: &str) -> Scored {
        Scored { score, chunk: chunk(path, text) }
    }

    #[test]
    fn a_chunk_that_both_branches_find_wins() {
        let branches = Branches {
            dense: vec![scored(0.8, "a", "alpha"), scored(0.78, "b", "beta")],
            sparse: vec![scored(9.0, "b", "beta"), scored(3.0, "c", "gamma")],
        };
        let found = fuse(branches, 0.5);
        let order: Vec<&str> = found.iter().map(|found| found.chunk.title.as_str()).collect();
        assert_eq!(order, ["b", "a", "c"]);
        let question = bm25::query("beta", Some(Language::English));
        assert_eq!((coverage(&question, &found[0].chunk), coverage(&question, &found[1].chunk)), (1.0, 0.0));
        assert_eq!(found[2].cosine, None);
    }

    /// Likes long passages.
    struct Lengths;

    impl Reranker for Lengths {
        fn identity(&self) -> &str {
            "lengths"
        }

        fn max_tokens(&self) -> usize {
            100
        }

        fn score(&self, _: &str, passages: &[&str]) -> Result<Vec<f32>, ModelError> {
            Ok(passages.iter().map(|passage| passage.len() as f32 - 10.0).collect())
        }
    }

    #[test]
    fn a_reranker_puts_passages_in_its_order() {
        let found = |path, text: &str| Found { score: 0.5, cosine: None, coverage: 0.0, chunk: chunk(path, text) };
        let found = vec![found("a", "short"), found("b", "the longest of them"), found("c", "longer one")];
        let order = |found: &[Found]| found.iter().map(|found| found.chunk.title.clone()).collect::<Vec<_>>();
        let ranked = rerank(&Lengths, "?", found.clone(), 10).unwrap();
        assert_eq!(order(&ranked), ["b", "c", "a"]);
        assert!(ranked[0].score > 0.99 && ranked[1].score < 0.99 && ranked[1].score > 0.4);
        let ranked = rerank(&Lengths, "?", found, 2).unwrap();
        assert_eq!(order(&ranked), ["b", "a", "c"], "the third is not read, however well it would do");
        assert!(ranked.is_sorted_by(|a, b| a.score > b.score));
    }

    #[test]
    fn near_duplicates_are_dropped_and_short_texts_are_not() {
        let long = "the annual leave of every employee is twenty three working days a year plus two for seniority";
        let found = |path, text: &str| Found { score: 1.0, cosine: None, coverage: 0.0, chunk: chunk(path, text) };
        let kept = without_duplicates(
            vec![found("a", long), found("b", &format!("{long}!")), found("c", "yes"), found("d", "yes")],
            10,
        );
        let order: Vec<&str> = kept.iter().map(|found| found.chunk.title.as_str()).collect();
        assert_eq!(order, ["a", "c", "d"]);
    }
}
