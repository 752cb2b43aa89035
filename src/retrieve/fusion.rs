//! The hits of both branches as one list.

use std::collections::BTreeMap;

use intramuros_ingest::document::DocumentId;

use super::Found;
use crate::store::{Branches, Scored, StoredChunk};

/// Adds the normalised scores of both branches, those of the sparse one counted as far as they are `sure`; ties go to the
/// lower document id and position, so that order is fixed.
pub fn fuse(branches: Branches, (dense_weight, unrelated): (f32, f32), sure: f32, candidates: usize) -> Vec<Found> {
    let best = branches.sparse.iter().map(|hit| hit.score).fold(0.0, f32::max);
    let dense = Branch::of(&branches.dense, dense_weight, candidates).above(unrelated);
    let sparse_weight = if best > 0.0 { (1.0 - dense_weight) * sure / best } else { 0.0 };
    let sparse = Branch::of(&branches.sparse, sparse_weight, candidates);
    let mut by_place: BTreeMap<(DocumentId, u32), Scores> = BTreeMap::new();
    for hit in branches.dense {
        by_place.insert((hit.chunk.document_id, hit.chunk.position), (Some(hit.score), None, hit.chunk));
    }
    for hit in branches.sparse {
        let place = (hit.chunk.document_id, hit.chunk.position);
        by_place.entry(place).or_insert((None, None, hit.chunk)).1 = Some(hit.score);
    }
    let scored = |(cosine, words, chunk)| {
        let score = dense.share(cosine) + sparse.share(words);
        let relatedness = cosine.map_or(0.0, |cosine| related(cosine, unrelated));
        Found { relatedness, ..Found::new(score, cosine, chunk) }
    };
    let mut found: Vec<Found> = by_place.into_values().map(scored).collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found
}

/// A chunk with its scores in both branches, where it has one.
type Scores = (Option<f32>, Option<f32>, StoredChunk);

/// How far a cosine is above that of unrelated texts, in 0..1.
pub fn related(cosine: f32, unrelated: f32) -> f32 {
    ((cosine - unrelated) / (1.0 - unrelated)).max(0.0)
}

/// How the scores of a branch become shares of a fused one.
struct Branch {
    /// A score that says nothing.
    unrelated: f32,
    /// What the branch did not return is at most as good as this.
    last: f32,
    /// Of a score of 1.
    weight: f32,
}

impl Branch {
    fn of(hits: &[Scored], weight: f32, candidates: usize) -> Self {
        // A list that is not full holds all that scores at all.
        let is_full = hits.len() >= candidates;
        let last = hits.iter().map(|hit| hit.score).reduce(f32::min).filter(|_| is_full).unwrap_or(0.0);
        Self { unrelated: 0.0, last, weight }
    }

    fn above(self, unrelated: f32) -> Self {
        Self { unrelated, ..self }
    }

    fn share(&self, score: Option<f32>) -> f32 {
        self.weight * related(score.unwrap_or(self.last), self.unrelated)
    }
}

#[cfg(test)]
mod tests {
    use super::super::asked::Asked;
    use super::super::tests::order;
    use super::*;

    fn scored(score: f32, path: &str, text: &str) -> Scored {
        Scored { score, chunk: StoredChunk::of_text(path, text) }
    }

    #[test]
    fn a_chunk_that_both_branches_find_wins() {
        let branches = Branches {
            dense: vec![scored(0.8, "a", "alpha"), scored(0.78, "b", "beta")],
            sparse: vec![scored(9.0, "b", "beta"), scored(3.0, "c", "gamma")],
        };
        let found = fuse(branches, (0.5, 0.0), 1.0, 50);
        assert_eq!(order(&found), ["b", "a", "c"]);
        let asked = Asked::read("What is beta?");
        assert_eq!(asked.share(&found[0].chunk), 1.0);
        assert_eq!(found[2].cosine, None);
    }

    #[test]
    fn a_chunk_that_one_branch_alone_is_sure_of_is_not_lost_to_one_that_both_list_last() {
        // The dense branch does not know the language: all its cosines are alike, and its list ends before the answer.
        let dense = (0..50).map(|i| scored(0.4 - 0.001 * i as f32, &format!("d{i}"), "x")).collect();
        let sparse = vec![scored(12.0, "answer", "y"), scored(3.0, "d0", "x")];
        assert_eq!(order(&fuse(Branches { dense, sparse }, (0.6, 0.0), 1.0, 50))[..2], ["answer", "d0"]);
    }

    #[test]
    fn words_count_as_far_as_they_are_sure() {
        let branches = Branches {
            dense: vec![scored(0.9, "a", ""), scored(0.3, "b", "")],
            sparse: vec![scored(2.0, "b", ""), scored(0.5, "a", "")],
        };
        assert_eq!(order(&fuse(branches.clone(), (0.5, 0.0), 1.0, 50)), ["b", "a"]);
        assert_eq!(order(&fuse(branches, (0.5, 0.0), 0.3, 50)), ["a", "b"]);
        assert!(fuse(Branches::default(), (0.5, 0.0), 1.0, 50).is_empty());
    }

    #[test]
    fn cosines_count_above_those_of_unrelated_texts() {
        let dense = vec![scored(0.9, "a", "x"), scored(0.8, "b", "y"), scored(0.65, "c", "z")];
        let found = fuse(Branches { dense, sparse: Vec::new() }, (1.0, 0.7), 1.0, 50);
        let related: Vec<i32> = found.iter().map(|found| (found.relatedness * 100.0).round() as i32).collect();
        assert_eq!(related, [67, 33, 0]);
        assert_eq!(found[0].cosine, Some(0.9), "told as it is");
        assert!((found[0].score - 0.667).abs() < 0.01);
    }

    #[test]
    fn a_code_that_one_chunk_alone_has_wins_over_all_that_are_nearer_in_meaning() {
        let dense = (0..50).map(|i| scored(0.5 - 0.001 * i as f32, &format!("d{i}"), "x")).collect();
        let sparse = vec![scored(4.0, "SF-86", "y")];
        assert_eq!(order(&fuse(Branches { dense, sparse }, (0.6, 0.0), 1.0, 50))[0], "SF-86");
    }
}
