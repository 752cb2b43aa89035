//! Passages that say the same are found once.

use std::collections::HashSet;

use super::Found;

/// Share of common word shingles from which two passages count as the same.
const DUPLICATE_SIMILARITY: f32 = 0.85;

/// The best `limit` of a list, without those that are nearly the same as one before them.
pub fn without_duplicates(fused: Vec<Found>, limit: usize) -> Vec<Found> {
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
    use super::super::tests::{found, order};
    use super::*;

    #[test]
    fn near_duplicates_are_dropped_and_short_texts_are_not() {
        let long = "the annual leave of every employee is twenty three working days a year plus two for seniority";
        let kept = without_duplicates(
            vec![found("a", long), found("b", &format!("{long}!")), found("c", "yes"), found("d", "yes")],
            10,
        );
        assert_eq!(order(&kept), ["a", "c", "d"]);
    }
}
