//! Activations in 8 bits.
#![expect(unsafe_code, reason = "threads fill rows of their own")]

use std::ops::Range;

use half::f16;

use crate::engine::shared::Shared;
use crate::engine::team::Team;

/// Values that share a step.
pub const BLOCK: usize = 32;

/// Columns that kernels work through at a time.
pub const CHUNK: usize = 256;

/// Blocks in a chunk.
pub const BLOCKS: usize = CHUNK / BLOCK;

/// Rows below which quantising is not worth a second thread.
const ROWS_PER_PIECE: usize = 8;

/// Activations of some tokens: per block of 32 a step and 32 whole numbers from -127 to 127.
///
/// The numbers, steps and sums are those of ggml's Q8_0 and Q8_1 (`quantize_row_q8_0`, `quantize_row_q8_1`), rounded to
/// f16 as there. Products with weights in blocks of 32 then differ from llama.cpp's only by the order of additions; for
/// weights in blocks of 256 it takes one step per 256 activations, which is coarser. What f16 cannot hold stays f32.
#[derive(Default)]
pub struct Quantised {
    tokens: usize,
    columns: usize,
    /// For each 256 columns all tokens, one after the other.
    chunks: Vec<Chunk>,
}

/// 256 columns of one token; the last of a row may hold fewer, the rest is then left over from others.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct Chunk {
    /// The whole numbers, four in a word, lowest byte first.
    pub words: [i32; CHUNK / 4],
    /// Per block the value of one step.
    pub steps: [f32; BLOCKS],
    /// Per block the sum of its values.
    pub totals: [f32; BLOCKS],
    /// Per block the sums of its first and of its last sixteen whole numbers, in the low and the high 16 bits.
    pub pairs: [i32; BLOCKS],
}

impl Quantised {
    /// Replaces the content by rows of `columns`, a multiple of 32.
    pub fn fill(&mut self, team: &Team, rows: &[f32], columns: usize) {
        assert!(
            columns.is_multiple_of(BLOCK) && rows.len().is_multiple_of(columns),
            "activations come in whole blocks"
        );
        self.columns = columns;
        self.tokens = rows.len() / columns;
        let tokens = self.tokens;
        self.chunks.resize(tokens * columns.div_ceil(CHUNK), Chunk::EMPTY);
        let chunks = Shared::new(&mut self.chunks);
        team.run(tokens.div_ceil(ROWS_PER_PIECE), |piece| {
            for token in piece * ROWS_PER_PIECE..tokens.min((piece + 1) * ROWS_PER_PIECE) {
                let row = &rows[token * columns..(token + 1) * columns];
                for (index, values) in row.chunks(CHUNK).enumerate() {
                    // SAFETY: a token belongs to one piece, and a piece is done once.
                    unsafe { &mut chunks.slice(index * tokens + token, 1)[0] }.fill(values);
                }
            }
        });
    }

    /// How many rows there are.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Length of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The same 256 columns of some tokens.
    pub fn chunk(&self, index: usize, tokens: Range<usize>) -> &[Chunk] {
        &self.chunks[index * self.tokens + tokens.start..index * self.tokens + tokens.end]
    }
}

impl Chunk {
    const EMPTY: Self = Self { words: [0; CHUNK / 4], steps: [0.0; BLOCKS], totals: [0.0; BLOCKS], pairs: [0; BLOCKS] };

    fn fill(&mut self, values: &[f32]) {
        for (block, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
            // As whole numbers, so that NaN counts as the largest: then it is the step and spoils all that comes of it.
            let mut largest = [0u32; 8];
            for eight in values.as_chunks::<8>().0 {
                for (largest, value) in largest.iter_mut().zip(eight) {
                    *largest = (*largest).max(value.abs().to_bits());
                }
            }
            let largest = f32::from_bits(largest.into_iter().fold(0, u32::max));
            let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
            let mut numbers = [0i32; BLOCK];
            if largest.is_finite() {
                for (number, value) in numbers.iter_mut().zip(values) {
                    *number = round_to_whole(value * inverse);
                }
            }
            let words = &mut self.words[block * BLOCK / 4..(block + 1) * BLOCK / 4];
            let bytes = numbers.map(|number| number as u8);
            for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
                *word = i32::from_le_bytes(*bytes);
            }
            let [first, last] = [&numbers[..BLOCK / 2], &numbers[BLOCK / 2..]].map(|half| half.iter().sum::<i32>());
            let step = largest / 127.0;
            self.steps[block] = round(step);
            self.totals[block] = round(step * (first + last) as f32);
            self.pairs[block] = first & 0xffff | last << 16;
        }
    }
}

/// The nearest whole number, ties to even, for what lies between -127 and 127.
fn round_to_whole(value: f32) -> i32 {
    // 1.5 · 2²³: floats of this size are whole numbers apart, so that adding it rounds and leaves the number in the lowest
    // bits.
    const ROUND: f32 = 12_582_912.0;
    (value + ROUND).to_bits() as i32 - ROUND.to_bits() as i32
}

/// Rounded to f16, unless that is too small or too large for it.
fn round(value: f32) -> f32 {
    let rounded = f16::from_f32(value).to_f32();
    let fits = (6.2e-5..=65504.0).contains(&value.abs());
    if fits { rounded } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantised(row: &[f32]) -> Quantised {
        let mut quantised = Quantised::default();
        quantised.fill(&Team::new("test", 1).unwrap(), row, row.len());
        quantised
    }

    fn number(chunk: &Chunk, column: usize) -> i32 {
        i32::from(chunk.words[column / 4].to_le_bytes()[column % 4] as i8)
    }

    #[test]
    fn keeps_values_to_half_a_step() {
        for scale in [0.1, 3.0, 1e-7, 1e9] {
            let row: Vec<f32> = (0..320).map(|i| ((i * 37 % 64) as f32 - 30.0) * scale).collect();
            let quantised = quantised(&row);
            for (column, value) in row.iter().enumerate() {
                let chunk = &quantised.chunk(column / CHUNK, 0..1)[0];
                let step = chunk.steps[column % CHUNK / BLOCK];
                let number = number(chunk, column % CHUNK);
                assert!((number as f32 * step - value).abs() <= step * 0.56, "{value} became {number} times {step}");
            }
        }
    }

    #[test]
    fn sums_agree_with_the_numbers() {
        let row: Vec<f32> = (0..256).map(|i| ((i * 91 % 127) as f32 - 50.0) * 0.3).collect();
        let quantised = quantised(&row);
        let chunk = &quantised.chunk(0, 0..1)[0];
        for block in 0..BLOCKS {
            let sum = |range: Range<usize>| range.map(|column| number(chunk, column)).sum::<i32>();
            let first = sum(block * BLOCK..block * BLOCK + 16);
            let last = sum(block * BLOCK + 16..(block + 1) * BLOCK);
            assert_eq!([i32::from(chunk.pairs[block] as i16), chunk.pairs[block] >> 16], [first, last]);
            let total = chunk.steps[block] * (first + last) as f32;
            assert!((chunk.totals[block] - total).abs() <= total.abs() * 1e-3);
        }
    }

    #[test]
    fn nothing_stays_nothing_and_no_number_stays_none() {
        let mut row = vec![0.0; 96];
        row[40] = f32::NAN;
        row[70] = f32::INFINITY;
        let quantised = quantised(&row);
        let chunk = &quantised.chunk(0, 0..1)[0];
        assert!(chunk.words[..BLOCK / 4].iter().all(|word| *word == 0));
        assert_eq!((chunk.steps[0], chunk.totals[0], chunk.pairs[0]), (0.0, 0.0, 0));
        assert!(chunk.steps[1].is_nan() && chunk.totals[1].is_nan());
        assert!(!chunk.steps[2].is_finite() && !chunk.totals[2].is_finite());
    }
}
