//! Attention over a preallocated cache of keys and values, several query heads to one key head.
//!
//! Keys and values are kept as f16, queries and probabilities are rounded to f16 before they meet them, as in llama.cpp.
//! Sums run in a fixed order, that of llama.cpp's AVX2 build, and for each query alone, so a token gets the same result
//! whether it is computed alone or with others, and by whichever instructions.
//!
//! | file | what it holds |
//! |---|---|
//! | `cache` | where keys and values lie |
//! | `kernel` | scores, softmax and mix for some queries of one head, and the plain loops |
//! | `x86` | the same loops in AVX-512 and AVX2 |

mod cache;
mod kernel;
#[cfg(target_arch = "x86_64")]
mod x86;

use rayon::prelude::*;

pub use self::cache::KvCache;
use self::kernel::{Queries, Way};
use super::shared::SharedOutput;

/// Queries of one head that one thread takes at a time.
const PIECE: usize = 48;

/// Multiplications below which a second thread is not worth it.
const WORTH_A_THREAD: usize = 1 << 17;

/// Computes attention.
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    way: Way,
}

impl Attention {
    /// For some number of query heads, a multiple of the cache's heads.
    pub fn new(heads: usize) -> Self {
        Self { heads, way: Way::best() }
    }

    /// Lets each token attend to all positions up to its own.
    ///
    /// The queries of the tokens at `position`, `position + 1`, … lie in rows of `heads * head length`, `stride` apart;
    /// the outputs likewise, without gaps. The tokens' own keys and values must be in the cache.
    pub fn forward(&self, queries: &[f32], stride: usize, position: usize, cache: &KvCache, output: &mut [f32]) {
        let width = self.heads * cache.length();
        let tokens = output.len() / width;
        let group = self.heads / cache.heads();
        let rows = tokens * group;
        let pieces_per_head = rows.div_ceil(PIECE);
        let shared = SharedOutput::new(output);
        let run = |scores: &mut Vec<f32>, piece: usize| {
            let head = piece / pieces_per_head;
            let first = piece % pieces_per_head * PIECE;
            let queries = Queries { all: queries, stride, position, group, head };
            kernel::attend(self.way, &queries, first..rows.min(first + PIECE), cache, scores, (&shared, width));
        };
        let pieces = cache.heads() * pieces_per_head;
        if rows * cache.heads() * (position + tokens) * cache.length() < WORTH_A_THREAD {
            let mut scores = Vec::new();
            for piece in 0..pieces {
                run(&mut scores, piece);
            }
        } else {
            (0..pieces).into_par_iter().with_max_len(1).for_each_init(Vec::new, run);
        }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    fn noise(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        (0..count)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state as f32 / u32::MAX as f32 * 4.0 - 2.0
            })
            .collect()
    }

    fn filled(heads: usize, length: usize, positions: usize) -> KvCache {
        let mut cache = KvCache::new(heads, length, positions);
        for position in 0..positions {
            let keys = noise(heads * length, position as u32 + 1);
            let values = noise(heads * length, position as u32 + 1001);
            cache.store(position, &keys, &values);
        }
        cache
    }

    #[test]
    fn equals_the_textbook() {
        let (heads, kv_heads, length, tokens) = (6, 2, 24, 37);
        let cache = filled(kv_heads, length, tokens);
        let queries = noise(tokens * heads * length, 5);
        let mut output = vec![0.0; queries.len()];
        Attention::new(heads).forward(&queries, heads * length, 0, &cache, &mut output);
        let half = |value: f32| f64::from(f16::from_f32(value).to_f32());
        for token in 0..tokens {
            for head in 0..heads {
                let query = &queries[(token * heads + head) * length..][..length];
                let row = |seed: usize| noise(kv_heads * length, seed as u32);
                let at = head / (heads / kv_heads) * length;
                let scores: Vec<f64> = (0..=token)
                    .map(|j| {
                        let keys = row(j + 1);
                        let dot: f64 = (0..length).map(|d| half(query[d]) * half(keys[at + d])).sum();
                        (dot / (length as f64).sqrt()).exp()
                    })
                    .collect();
                let sum: f64 = scores.iter().sum();
                for d in 0..length {
                    let expected: f64 =
                        scores.iter().enumerate().map(|(j, s)| s / sum * half(row(j + 1001)[at + d])).sum();
                    let found = f64::from(output[(token * heads + head) * length + d]);
                    assert!((found - expected).abs() < 2e-3, "token {token}, head {head}: {found} for {expected}");
                }
            }
        }
    }

    #[test]
    fn tokens_alone_and_together_and_every_way_give_the_same_bits() {
        let (heads, length, tokens) = (9, 64, 50);
        let cache = filled(3, length, tokens);
        let queries = noise(tokens * heads * length, 8);
        let width = heads * length;
        let mut expected = vec![0.0; queries.len()];
        Attention { heads, way: Way::Plain }.forward(&queries, width, 0, &cache, &mut expected);
        for way in Way::available() {
            let attention = Attention { heads, way };
            let mut together = vec![0.0; queries.len()];
            attention.forward(&queries, width, 0, &cache, &mut together);
            assert!(together.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{way:?}");
            for token in 0..tokens {
                let mut alone = vec![0.0; width];
                let range = token * width..(token + 1) * width;
                attention.forward(&queries[range.clone()], width, token, &cache, &mut alone);
                assert_eq!(alone, expected[range], "{way:?}, token {token}");
            }
        }
    }
}
