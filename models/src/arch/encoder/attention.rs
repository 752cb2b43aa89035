//! Self-attention in both directions within each input of a packed batch.
#![expect(unsafe_code, reason = "threads fill parts of their own of one buffer")]

use std::cell::RefCell;
use std::ops::Range;

use crate::engine::math;
use crate::engine::qmatmul::dense::{GROUP, Groups, multiply_groups};
use crate::engine::shared::Shared;
use crate::engine::team::Team;

/// Scores that are computed before they are used: half of a small first cache.
const SCORES: usize = 4096;

/// Tokens whose scores are computed together at least, and of which their number is a multiple: what all kernels like.
const TOKENS: usize = 12;

/// How the tokens of an input look at each other: `softmax(q · kᵀ / √size) · v` for every head.
pub struct Attention<'a> {
    /// How many heads there are.
    pub heads: usize,
    /// Of queries, keys and values, one after the other; may be empty.
    pub bias: &'a [f32],
    /// Turns queries and keys by their positions.
    pub rotary: Option<&'a Rotary>,
    /// How far a token sees to either side; everything where it is absent.
    pub window: Option<usize>,
}

/// Angles of rotary positions (Su et al., arXiv:2104.09864), where number `i` of a head is turned with `i + size / 2`.
pub struct Rotary {
    size: usize,
    /// Per position the cosines, then the sines of the pairs.
    angles: Vec<f32>,
}

/// Intermediate results of one head; kept by each thread.
#[derive(Default)]
struct Scratch {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
    mixed: Vec<f32>,
}

/// One head of one input.
struct Head<'a> {
    /// Queries, keys and values of the input's tokens.
    qkv: &'a [f32],
    /// Tokens of the input.
    length: usize,
    /// Which head.
    index: usize,
    /// Where the input's first token is in the output.
    first: usize,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Attention<'_> {
    /// Takes rows of queries, keys and values, without their bias, for inputs of these lengths, and gives rows of a third
    /// of their width.
    pub fn forward(&self, team: &Team, qkv: &[f32], lengths: &[usize], output: &mut [f32]) {
        let tokens: usize = lengths.iter().sum();
        assert!(qkv.len() == 3 * output.len() && output.len().is_multiple_of(tokens.max(1)), "rows of attention");
        if tokens == 0 {
            return;
        }
        let hidden = output.len() / tokens;
        let mut heads = Vec::with_capacity(lengths.len() * self.heads);
        let mut first = 0;
        for &length in lengths {
            let qkv = &qkv[3 * hidden * first..3 * hidden * (first + length)];
            heads.extend((0..self.heads).map(|index| Head { qkv, length, index, first }));
            first += length;
        }
        let output = Shared::new(output);
        team.run(heads.len(), |piece| {
            SCRATCH.with_borrow_mut(|scratch| self.head(&heads[piece], hidden, scratch, &output));
        });
    }

    fn head(&self, head: &Head, hidden: usize, scratch: &mut Scratch, output: &Shared<f32>) {
        let size = hidden / self.heads;
        scratch.pack(self, head, hidden);
        let wide = size.next_multiple_of(GROUP);
        let columns = self.window.map_or(head.length, |window| head.length.min(2 * window + 1 + TOKENS));
        let most = (SCORES / columns.next_multiple_of(GROUP) / TOKENS).max(1) * TOKENS;
        let mut next = 0;
        while next < head.length {
            let tokens = next..head.length.min(next + most);
            next = tokens.end;
            let seen = self.seen(&tokens, head.length);
            let keys = seen.start / GROUP..seen.end.div_ceil(GROUP);
            let start = keys.start * GROUP;
            let padded = keys.len() * GROUP;
            // Everything written before it is read.
            scratch.scores.resize(scratch.scores.len().max(tokens.len() * padded), 0.0);
            scratch.mixed.resize(scratch.mixed.len().max(tokens.len() * wide), 0.0);
            let queries = &scratch.queries[tokens.start * size..];
            let groups = Groups {
                weights: &scratch.keys[start * size..],
                stride: GROUP * size,
                count: keys.len(),
                columns: size,
            };
            multiply_groups(groups, tokens.len(), (queries, size), (&mut scratch.scores, padded));
            let mut sums = Vec::with_capacity(tokens.len());
            for (token, scores) in tokens.clone().zip(scratch.scores.chunks_exact_mut(padded)) {
                let own = self.seen(&(token..token + 1), head.length);
                let (before, rest) = scores.split_at_mut(own.start - start);
                let (own, after) = rest.split_at_mut(own.len());
                sums.push(math::exponentials(own));
                before.fill(0.0);
                after.fill(0.0);
            }
            let values = Groups {
                weights: &scratch.values[start * GROUP..],
                stride: GROUP * head.length,
                count: wide / GROUP,
                columns: seen.end - start,
            };
            multiply_groups(values, tokens.len(), (&scratch.scores, padded), (&mut scratch.mixed, wide));
            for ((token, sum), mixed) in tokens.zip(sums).zip(scratch.mixed.chunks_exact(wide)) {
                // SAFETY: the places of a head in the rows of an input belong to one piece, and a piece is done once.
                let to = unsafe { output.slice((head.first + token) * hidden + head.index * size, size) };
                let scale = 1.0 / sum;
                for (to, mixed) in to.iter_mut().zip(mixed) {
                    *to = mixed * scale;
                }
            }
        }
    }

    /// What at least one of some tokens sees.
    fn seen(&self, tokens: &Range<usize>, length: usize) -> Range<usize> {
        match self.window {
            None => 0..length,
            Some(window) => tokens.start.saturating_sub(window)..length.min(tokens.end + window),
        }
    }
}

impl Scratch {
    /// Puts the numbers of a head where the kernels want them: queries scaled, keys and values in groups.
    fn pack(&mut self, attention: &Attention, head: &Head, hidden: usize) {
        let size = hidden / attention.heads;
        let padded = head.length.next_multiple_of(GROUP);
        self.queries.resize(head.length * size, 0.0);
        self.keys.clear();
        self.keys.resize(padded * size, 0.0);
        self.values.clear();
        self.values.resize(size.next_multiple_of(GROUP) * head.length, 0.0);
        let scale = 1.0 / (size as f32).sqrt();
        let mut row = vec![0.0; size];
        for (token, qkv) in head.qkv.chunks_exact(3 * hidden).enumerate() {
            let part = |which: usize, row: &mut [f32]| {
                let at = which * hidden + head.index * size;
                let numbers = &qkv[at..at + size];
                match attention.bias.get(at..at + size) {
                    Some(bias) => row.iter_mut().zip(numbers).zip(bias).for_each(|((to, x), b)| *to = x + b),
                    None => row.copy_from_slice(numbers),
                }
                if let (Some(rotary), 0 | 1) = (attention.rotary, which) {
                    rotary.turn(token, row);
                }
            };
            let query = &mut self.queries[token * size..(token + 1) * size];
            part(0, query);
            query.iter_mut().for_each(|x| *x *= scale);
            part(1, &mut row);
            let keys = &mut self.keys[token / GROUP * GROUP * size..];
            for (key, x) in keys.iter_mut().skip(token % GROUP).step_by(GROUP).zip(&row) {
                *key = *x;
            }
            part(2, &mut row);
            let places = self.values.as_chunks_mut::<GROUP>().0.iter_mut().skip(token).step_by(head.length);
            for (place, values) in places.zip(row.chunks(GROUP)) {
                match values.first_chunk() {
                    // Of a known size: without a call.
                    Some(values) => *place = *values,
                    None => place[..values.len()].copy_from_slice(values),
                }
            }
        }
    }
}

impl Rotary {
    /// For heads of `size` numbers at `positions` positions.
    pub fn new(size: usize, positions: usize, base: f64) -> Self {
        let half = size / 2;
        let mut angles = Vec::with_capacity(positions * 2 * half);
        for position in 0..positions {
            let angle = |pair: usize| position as f64 * base.powf(-2.0 * pair as f64 / size as f64);
            angles.extend((0..half).map(|pair| angle(pair).cos() as f32));
            angles.extend((0..half).map(|pair| angle(pair).sin() as f32));
        }
        Self { size, angles }
    }

    fn turn(&self, position: usize, row: &mut [f32]) {
        let half = self.size / 2;
        let angles = &self.angles[position * 2 * half..(position + 1) * 2 * half];
        let (first, second) = row.split_at_mut(half);
        for (((a, b), cosine), sine) in first.iter_mut().zip(second).zip(angles).zip(&angles[half..]) {
            (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::noise::noise;

    fn numbers(count: usize) -> Vec<f32> {
        noise(count, 7).into_iter().map(|x| 4.0 * x).collect()
    }

    /// The same in plain words and double precision, for one input.
    fn plain(attention: &Attention, qkv: &[f32], length: usize, hidden: usize) -> Vec<f64> {
        let size = hidden / attention.heads;
        let mut output = vec![0.0; length * hidden];
        for head in 0..attention.heads {
            let part = |token: usize, which: usize| {
                let at = which * hidden + head * size;
                let mut row: Vec<f32> = qkv[token * 3 * hidden + at..][..size].to_vec();
                for (x, b) in row.iter_mut().zip(attention.bias.iter().skip(at)) {
                    *x += b;
                }
                if let (Some(rotary), true) = (attention.rotary, which < 2) {
                    rotary.turn(token, &mut row);
                }
                row.into_iter().map(f64::from).collect::<Vec<f64>>()
            };
            for token in 0..length {
                let query = part(token, 0);
                let mut weights = vec![0.0; length];
                for (other, weight) in weights.iter_mut().enumerate() {
                    if attention.window.is_none_or(|window| token.abs_diff(other) <= window) {
                        let score: f64 = query.iter().zip(part(other, 1)).map(|(q, k)| q * k).sum();
                        *weight = (score / (size as f64).sqrt()).exp();
                    }
                }
                let sum: f64 = weights.iter().sum();
                for (other, weight) in weights.iter().enumerate() {
                    for (index, value) in part(other, 2).iter().enumerate() {
                        output[token * hidden + head * size + index] += weight / sum * value;
                    }
                }
            }
        }
        output
    }

    #[test]
    fn every_shape_gives_what_the_definition_says() {
        let team = Team::new("test", 2).unwrap();
        let lengths = [70, 1, 16, 33, 200, 3];
        let tokens: usize = lengths.iter().sum();
        for (heads, size) in [(3, 14), (2, 32), (1, 64)] {
            let hidden = heads * size;
            let qkv = numbers(tokens * 3 * hidden);
            let bias = numbers(3 * hidden);
            let rotary = Rotary::new(size, 200, 10_000.0);
            for (bias, rotary, window) in [
                (bias.as_slice(), None, None),
                (&[], Some(&rotary), Some(5)),
                (&bias, Some(&rotary), Some(64)),
                (&[], None, Some(1)),
            ] {
                let attention = Attention { heads, bias, rotary, window };
                let mut output = vec![f32::NAN; tokens * hidden];
                attention.forward(&team, &qkv, &lengths, &mut output);
                let mut first = 0;
                for length in lengths {
                    let expected = plain(&attention, &qkv[first * 3 * hidden..], length, hidden);
                    for (x, exact) in output[first * hidden..].iter().zip(&expected) {
                        assert!((f64::from(*x) - exact).abs() < 1e-5, "{heads}x{size}, {window:?}: {x} for {exact}");
                    }
                    first += length;
                }
            }
        }
    }

    #[test]
    fn an_input_gives_the_same_alone_and_in_a_batch() {
        let team = Team::new("test", 2).unwrap();
        let attention = Attention { heads: 2, bias: &[], rotary: None, window: None };
        let qkv = numbers(60 * 96);
        let (mut batch, mut alone) = (vec![0.0; 60 * 32], vec![0.0; 23 * 32]);
        attention.forward(&team, &qkv, &[37, 23], &mut batch);
        attention.forward(&team, &qkv[37 * 96..], &[23], &mut alone);
        assert_eq!(batch[37 * 32..], alone);
    }
}
