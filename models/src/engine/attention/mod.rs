//! Attention over a cache in pages, several query heads to one key head.
//!
//! Keys and values are kept as f16 (or f32); everything else is f32. Every sum runs in a fixed order, from left to right, and
//! for each query alone: a token gets the same bits whether it is computed alone or with others, and by whichever
//! instructions. What is cached, shared or checked ahead rests on that.
//!
//! | file | what it holds |
//! |---|---|
//! | `cache` | where keys and values lie |
//! | `kernel` | scores, softmax and mix for some queries of one head, and the plain loop |
//! | `x86` | the same loop in AVX-512 and AVX2 |
//! | `neon` | the same loop on ARM |

mod cache;
mod kernel;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use self::cache::{KvCache, KvShape, LayerCache, PAGE, PageId, Precision, Writer};
use self::cache::{Numbers, Store};
use self::kernel::Queries;
use super::Span;
use super::shared::Shared;
use super::team::Team;
use super::way::Way;

/// Queries of one head that one thread takes at a time: a multiple of the kernel's tile.
const PIECE: usize = 48;

/// Multiplications below which a second thread is not worth it.
const WORTH_A_THREAD: usize = 1 << 16;

/// Computes attention.
pub struct Attention {
    heads: usize,
    scale: f32,
    way: Way,
}

/// A share of the work: some query rows of one key head in one span.
struct Piece {
    span: usize,
    /// The span's first token among all.
    token: usize,
    head: usize,
    first: usize,
    last: usize,
}

impl Attention {
    /// For some number of query heads, a multiple of the cache's heads; scores are multiplied by `scale`.
    pub fn new(heads: usize, scale: f32) -> Self {
        Self { heads, scale, way: Way::best() }
    }

    /// Lets each token attend to the positions of its sequence up to its own, or to the last `window` of them.
    ///
    /// The queries of all spans' tokens lie in rows of `heads * head length`, `stride` apart; the outputs likewise, without
    /// gaps. The tokens' own keys and values must be in the cache.
    pub fn forward(
        &self,
        team: &Team,
        (queries, stride): (&[f32], usize),
        spans: &[Span],
        cache: &LayerCache,
        window: Option<usize>,
        output: &mut [f32],
    ) {
        match &cache.numbers {
            Numbers::F16(store) => self.over(team, (queries, stride), spans, (cache.shape(), store), window, output),
            Numbers::F32(store) => self.over(team, (queries, stride), spans, (cache.shape(), store), window, output),
        }
    }

    fn over<T: kernel::Kernel>(
        &self,
        team: &Team,
        (queries, stride): (&[f32], usize),
        spans: &[Span],
        (shape, store): (&KvShape, &Store<T>),
        window: Option<usize>,
        output: &mut [f32],
    ) {
        let group = self.heads / shape.heads;
        let mut pieces = Vec::new();
        let (mut token, mut work) = (0, 0);
        for (index, span) in spans.iter().enumerate() {
            let rows = span.tokens.len() * group;
            work += rows * shape.heads * (span.position + span.tokens.len()) * shape.length;
            // The last rows see the most: they come first, so that no thread is left with them at the end.
            for first in (0..rows).step_by(PIECE).rev() {
                for head in 0..shape.heads {
                    pieces.push(Piece { span: index, token, head, first, last: rows.min(first + PIECE) });
                }
            }
            token += span.tokens.len();
        }
        let width = self.heads * shape.length;
        let output = Shared::new(output);
        let run = |piece: &Piece| {
            let span = &spans[piece.span];
            let queries = Queries {
                all: &queries[piece.token * stride..],
                stride,
                position: span.position,
                pages: span.pages,
                group,
                head: piece.head,
                length: shape.length,
                scale: self.scale,
                window: window.unwrap_or(usize::MAX),
            };
            kernel::attend(self.way, &queries, piece.first..piece.last, store, (&output, piece.token * width, width));
        };
        if work < WORTH_A_THREAD {
            pieces.iter().for_each(run);
        } else {
            team.run(pieces.len(), |piece| run(&pieces[piece]));
        }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    /// Twice as wide as the others want it, so that some scores stand out.
    fn noise(count: usize, seed: u32) -> Vec<f32> {
        crate::engine::noise::noise(count, seed).into_iter().map(|x| 4.0 * x).collect()
    }

    const PAGES: [PageId; 3] = [4, 0, 2];

    /// A cache whose sequence lies in pages out of order, with rubbish everywhere else.
    fn filled(heads: usize, length: usize, positions: usize, precision: Precision) -> KvCache {
        let mut cache = KvCache::new(KvShape { layers: 1, heads, length, precision }, 6);
        let rubbish = noise(heads * length, 77);
        for page in 0..6 {
            for slot in 0..PAGE {
                store(&mut cache, page, slot, &rubbish, &rubbish);
            }
        }
        for position in 0..positions {
            let keys = noise(heads * length, position as u32 + 1);
            let values = noise(heads * length, position as u32 + 1001);
            store(&mut cache, PAGES[position / PAGE], position % PAGE, &keys, &values);
        }
        cache
    }

    #[expect(unsafe_code, reason = "one thread stores")]
    fn store(cache: &mut KvCache, page: PageId, slot: usize, keys: &[f32], values: &[f32]) {
        // SAFETY: no other thread knows of this cache.
        unsafe { cache.layer(0).writer().store(page, slot, keys, values) }
    }

    fn span(tokens: &[u32], position: usize) -> Span<'_> {
        Span { tokens, position, pages: &PAGES, scored: 0 }
    }

    #[test]
    fn equals_the_textbook() {
        let (heads, kv_heads, length, tokens) = (6, 2, 24, 77);
        let team = Team::new("test", 2).unwrap();
        let queries = noise(tokens * heads * length, 5);
        for (precision, window, tolerance) in
            [(Precision::F32, None, 1e-5), (Precision::F16, None, 2e-3), (Precision::F32, Some(9), 1e-5)]
        {
            let mut cache = filled(kv_heads, length, tokens, precision);
            let mut output = vec![0.0; queries.len()];
            let attention = Attention::new(heads, 1.0 / (length as f32).sqrt());
            let ids = vec![0; tokens];
            attention.forward(&team, (&queries, heads * length), &[span(&ids, 0)], cache.layer(0), window, &mut output);
            let kept = |value: f32| match precision {
                Precision::F16 => f64::from(f16::from_f32(value).to_f32()),
                Precision::F32 => f64::from(value),
            };
            for token in 0..tokens {
                for head in 0..heads {
                    let query = &queries[(token * heads + head) * length..][..length];
                    let row = |seed: usize| noise(kv_heads * length, seed as u32);
                    let at = head / (heads / kv_heads) * length;
                    let first = window.map_or(0, |window| (token + 1).saturating_sub(window));
                    let scores: Vec<f64> = (first..=token)
                        .map(|j| {
                            let keys = row(j + 1);
                            let dot: f64 = (0..length).map(|d| f64::from(query[d]) * kept(keys[at + d])).sum();
                            (dot / (length as f64).sqrt()).exp()
                        })
                        .collect();
                    let sum: f64 = scores.iter().sum();
                    for d in 0..length {
                        let values = (first..).zip(&scores);
                        let expected: f64 = values.map(|(j, s)| s / sum * kept(row(j + 1001)[at + d])).sum();
                        let found = f64::from(output[(token * heads + head) * length + d]);
                        assert!(
                            (found - expected).abs() < tolerance,
                            "{precision:?} {window:?} token {token}, head {head}: {found} for {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn tokens_alone_and_together_and_every_way_give_the_same_bits() {
        let (heads, length, tokens) = (9, 80, 70);
        let team = Team::new("test", 2).unwrap();
        let queries = noise(tokens * heads * length, 8);
        let width = heads * length;
        let ids = vec![0; tokens];
        for (precision, window) in [(Precision::F16, None), (Precision::F32, None), (Precision::F16, Some(33))] {
            let mut cache = filled(3, length, tokens, precision);
            let cache = cache.layer(0);
            let mut expected = vec![0.0; queries.len()];
            let plain = Attention { way: Way::Plain, ..Attention::new(heads, 0.1) };
            plain.forward(&team, (&queries, width), &[span(&ids, 0)], cache, window, &mut expected);
            for way in Way::available() {
                let attention = Attention { way, ..Attention::new(heads, 0.1) };
                // As one span, as several in one batch, and token by token.
                let mut together = vec![0.0; queries.len()];
                attention.forward(&team, (&queries, width), &[span(&ids, 0)], cache, window, &mut together);
                assert!(together.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{way:?}");
                let spans = [span(&ids[..7], 0), span(&ids[7..8], 7), span(&ids[8..], 8)];
                attention.forward(&team, (&queries, width), &spans, cache, window, &mut together);
                assert_eq!(together, expected, "{way:?}");
                for token in 0..tokens {
                    let mut alone = vec![0.0; width];
                    let range = token * width..(token + 1) * width;
                    let spans = [span(&ids[..1], token)];
                    attention.forward(&team, (&queries[range.clone()], width), &spans, cache, window, &mut alone);
                    assert_eq!(alone, expected[range], "{way:?}, token {token}");
                }
            }
        }
    }

    #[test]
    fn a_copied_page_holds_the_same() {
        let mut cache = filled(2, 16, 20, Precision::F16);
        cache.copy(PAGES[0], 5, 20);
        let team = Team::new("test", 1).unwrap();
        let attention = Attention::new(4, 0.25);
        let queries = noise(64, 3);
        let outputs = [&PAGES[..1], &[5]].map(|pages| {
            let mut output = vec![0.0; 64];
            let spans = [Span { tokens: &[0], position: 19, pages, scored: 0 }];
            attention.forward(&team, (&queries, 64), &spans, cache.layer(0), None, &mut output);
            output
        });
        assert_eq!(outputs[0], outputs[1]);
    }
}
