//! Scores, softmax and mix for a few queries of one key head.

use std::ops::Range;

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use super::cache::{KvCache, LANES};
#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::engine::math;
use crate::engine::shared::SharedOutput;

/// Sums that a dot product is split into.
pub const STRIDE: usize = 32;

/// How the loops are computed; all ways give the same results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 256 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Any processor.
    Plain,
}

impl Way {
    /// Every way that this processor knows, fastest first.
    pub fn available() -> Vec<Way> {
        let mut ways = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                ways.push(Way::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
                ways.push(Way::Avx2);
            }
        }
        ways.push(Way::Plain);
        ways
    }

    /// The fastest of them.
    pub fn best() -> Way {
        Way::available()[0]
    }
}

/// The queries of one key head.
pub struct Queries<'a> {
    /// Of all heads and tokens.
    pub all: &'a [f32],
    /// From one token to the next.
    pub stride: usize,
    /// Of the first token.
    pub position: usize,
    /// Query heads to a key head.
    pub group: usize,
    /// The key head.
    pub head: usize,
}

/// Computes some rows; row `r` is query head `r % group` of token `r / group`.
pub fn attend(
    way: Way,
    queries: &Queries,
    rows: Range<usize>,
    cache: &KvCache,
    scores: &mut Vec<f32>,
    output: (&SharedOutput, usize),
) {
    let mut rest = rows;
    while !rest.is_empty() {
        let size = rest.len().min(4);
        let tile = rest.start..rest.start + size;
        rest.start += size;
        match size {
            4 => attend_tile::<4>(way, queries, tile, cache, scores, output),
            3 => attend_tile::<3>(way, queries, tile, cache, scores, output),
            2 => attend_tile::<2>(way, queries, tile, cache, scores, output),
            _ => attend_tile::<1>(way, queries, tile, cache, scores, output),
        }
    }
}

fn attend_tile<const R: usize>(
    way: Way,
    queries: &Queries,
    rows: Range<usize>,
    cache: &KvCache,
    scores: &mut Vec<f32>,
    (output, width): (&SharedOutput, usize),
) {
    let (length, padded) = (cache.length(), cache.padded());
    // The last row sees the most positions; the others get zeros there.
    let positions = queries.position + (rows.end - 1) / queries.group + 1;
    let groups = positions.div_ceil(LANES);
    let columns = groups * LANES;
    scores.clear();
    scores.resize(R * (columns + length + padded), 0.0);
    let (scores, rest) = scores.split_at_mut(R * columns);
    let (tile, mixed) = rest.split_at_mut(R * length);
    let mut halves = vec![f16::ZERO; length.max(columns)];

    let start = |row: usize| (row / queries.group, (queries.head * queries.group + row % queries.group) * length);
    for (row, query) in rows.clone().zip(tile.chunks_exact_mut(length)) {
        let (token, offset) = start(row);
        let at = token * queries.stride + offset;
        round(&queries.all[at..at + length], query, &mut halves[..length]);
    }
    let keys = &cache.keys(queries.head)[..columns * length];
    let values = &cache.values(queries.head)[..positions * padded];
    score::<R>(way, tile, keys, scores);
    for (row, scores) in rows.clone().zip(scores.chunks_exact_mut(columns)) {
        let seen = queries.position + row / queries.group + 1;
        softmax(&mut scores[..seen], 1.0 / (length as f32).sqrt(), &mut halves[..seen]);
        scores[seen..].fill(0.0);
    }
    mix::<R>(way, scores, values, mixed);
    for (row, mixed) in rows.zip(mixed.chunks_exact(padded)) {
        let (token, offset) = start(row);
        write(output, token * width + offset, &mixed[..length]);
    }
}

#[expect(unsafe_code, reason = "writes into a buffer that other threads fill too")]
fn write(output: &SharedOutput, offset: usize, values: &[f32]) {
    // SAFETY: each query row belongs to one piece of the work, and its place in the output to that row.
    unsafe { output.write(offset, values) }
}

fn round(input: &[f32], output: &mut [f32], halves: &mut [f16]) {
    halves.convert_from_f32_slice(input);
    halves.convert_to_f32_slice(output);
}

/// Softmax of `scores * scale`, rounded to f16.
fn softmax(scores: &mut [f32], scale: f32, halves: &mut [f16]) {
    let mut largest = f32::NEG_INFINITY;
    for score in scores.iter_mut() {
        *score *= scale;
        largest = if *score > largest { *score } else { largest };
    }
    for score in scores.iter_mut() {
        *score = math::exp(*score - largest);
    }
    // Eight are added as floats and these sums as doubles, in llama.cpp's order (`ggml_vec_soft_max_f32`).
    let mut sum = 0f64;
    for part in scores.chunks(8) {
        let mut eight = [0f32; 8];
        eight[..part.len()].copy_from_slice(part);
        let pair = |lane: usize| eight[lane + 4] + eight[lane];
        sum += f64::from((pair(0) + pair(2)) + (pair(1) + pair(3)));
    }
    let inverse = (1.0 / sum) as f32;
    for score in scores.iter_mut() {
        *score *= inverse;
    }
    halves.convert_from_f32_slice(scores);
    halves.convert_to_f32_slice(scores);
}

/// Scores of R queries against all keys.
fn score<const R: usize>(way: Way, queries: &[f32], keys: &[u16], scores: &mut [f32]) {
    match way {
        #[cfg(target_arch = "x86_64")]
        Way::Avx512 => x86::score_avx512::<R>(queries, keys, scores),
        #[cfg(target_arch = "x86_64")]
        Way::Avx2 => x86::score_avx2::<R>(queries, keys, scores),
        Way::Plain => {
            let length = queries.len() / R;
            let columns = scores.len() / R;
            for row in 0..R {
                let query = &queries[row * length..(row + 1) * length];
                for (group, keys) in keys.chunks_exact(LANES * length).enumerate() {
                    let place = &mut scores[row * columns + group * LANES..][..LANES];
                    sum_in_order(length, place, |dimension| (query[dimension], &keys[dimension * LANES..]));
                }
            }
        }
    }
}

/// Sums of all values, weighted by R rows of probabilities.
fn mix<const R: usize>(way: Way, probabilities: &[f32], values: &[u16], output: &mut [f32]) {
    match way {
        #[cfg(target_arch = "x86_64")]
        Way::Avx512 => x86::mix_avx512::<R>(probabilities, values, output),
        #[cfg(target_arch = "x86_64")]
        Way::Avx2 => x86::mix_avx2::<R>(probabilities, values, output),
        Way::Plain => {
            let columns = probabilities.len() / R;
            let padded = output.len() / R;
            let positions = values.len() / padded;
            for row in 0..R {
                let probabilities = &probabilities[row * columns..(row + 1) * columns];
                for (chunk, output) in output[row * padded..(row + 1) * padded].chunks_exact_mut(LANES).enumerate() {
                    sum_in_order(positions, output, |position| {
                        (probabilities[position], &values[position * padded + chunk * LANES..])
                    });
                }
            }
        }
    }
}

/// Adds up `count` products of a factor and sixteen f16 numbers in the order of llama.cpp's AVX2 dot product
/// (`ggml_vec_dot_f16`): 32 sums, each over every 32nd product, then added pairwise. Written out below as what
/// the instructions of x86.rs compute.
fn sum_in_order<'a>(count: usize, output: &mut [f32], product: impl Fn(usize) -> (f32, &'a [u16])) {
    let mut partial = [[0f32; LANES]; STRIDE];
    for index in 0..count {
        let (factor, halves) = product(index);
        let halves = halves[..LANES].reinterpret_cast::<f16>();
        for (sum, half) in partial[index % STRIDE].iter_mut().zip(halves) {
            *sum = factor.mul_add(half.to_f32(), *sum);
        }
    }
    for (lane, output) in output.iter_mut().enumerate() {
        let four = |l: usize| {
            let at = |j: usize| partial[8 * j + l][lane];
            (at(0) + at(2)) + (at(1) + at(3))
        };
        let pair = |l: usize| four(l) + four(l + 4);
        *output = (pair(0) + pair(1)) + (pair(2) + pair(3));
    }
}
