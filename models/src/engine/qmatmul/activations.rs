//! Activations in 8 bits, quantised as llama.cpp does.
#![expect(unsafe_code, reason = "threads fill rows of their own")]

use half::f16;

use crate::engine::shared::Shared;
use crate::engine::team::Team;

/// Values that share a scale.
pub const BLOCK: usize = 32;

/// Rows below which quantising is not worth a second thread.
const ROWS_PER_PIECE: usize = 8;

/// Activations of some tokens: per block of 32 a scale and 32 whole numbers from -127 to 127.
///
/// This is ggml's Q8_0 and Q8_1 in one (`quantize_row_q8_0`, `quantize_row_q8_1`): the same numbers and the same scale,
/// rounded to f16 as there, so that sums come out as in llama.cpp up to the order of additions.
#[derive(Default)]
pub struct Quantised {
    tokens: usize,
    columns: usize,
    words: Vec<i32>,
    scales: Vec<Scale>,
}

/// What is known of one block.
#[derive(Clone, Copy, Default)]
pub struct Scale {
    /// The value of one step, rounded to f16.
    pub step: f32,
    /// The sum of the block's values, rounded to f16.
    pub total: f32,
}

impl Quantised {
    /// Replaces the content by `tokens` rows of `columns`, a multiple of 32.
    pub fn fill(&mut self, team: &Team, rows: &[f32], columns: usize) {
        assert!(
            columns.is_multiple_of(BLOCK) && rows.len().is_multiple_of(columns),
            "activations come in whole blocks"
        );
        self.columns = columns;
        self.tokens = rows.len() / columns;
        self.words.resize(rows.len() / 4, 0);
        self.scales.resize(rows.len() / BLOCK, Scale::default());
        let (words, scales) = (Shared::new(&mut self.words), Shared::new(&mut self.scales));
        let tokens = self.tokens;
        team.run(tokens.div_ceil(ROWS_PER_PIECE), |piece| {
            for row in piece * ROWS_PER_PIECE..tokens.min((piece + 1) * ROWS_PER_PIECE) {
                let numbers = &rows[row * columns..(row + 1) * columns];
                // SAFETY: a row belongs to one piece, and a piece is done once.
                let (words, scales) = unsafe {
                    let (words_of_row, blocks) = (columns / 4, columns / BLOCK);
                    (words.slice(row * words_of_row, words_of_row), scales.slice(row * blocks, blocks))
                };
                quantise(numbers, words, scales);
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

    /// The whole numbers, four to a word, lowest byte first; rows of `columns / 4`.
    pub fn words(&self) -> &[i32] {
        &self.words
    }

    /// Rows of `columns / 32`.
    pub fn scales(&self) -> &[Scale] {
        &self.scales
    }
}

fn quantise(row: &[f32], words: &mut [i32], scales: &mut [Scale]) {
    for ((block, words), scale) in row.as_chunks::<BLOCK>().0.iter().zip(words.chunks_exact_mut(8)).zip(scales) {
        let mut largest = [0f32; 8];
        for part in block.as_chunks::<8>().0 {
            for (largest, value) in largest.iter_mut().zip(part) {
                let value = value.abs();
                *largest = if value > *largest { value } else { *largest };
            }
        }
        let largest = largest.iter().fold(0f32, |a, b| a.max(*b));
        let step = largest / 127.0;
        let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
        let mut numbers = [0i32; BLOCK];
        for (number, value) in numbers.iter_mut().zip(block) {
            *number = (value * inverse).round_ties_even() as i32;
        }
        let sum: i32 = numbers.iter().sum();
        for (word, four) in words.iter_mut().zip(numbers.as_chunks::<4>().0) {
            *word = i32::from_le_bytes(four.map(|number| number as i8 as u8));
        }
        *scale = Scale { step: round(step), total: round(step * sum as f32) };
    }
}

fn round(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_values_to_half_a_step() {
        let row: Vec<f32> = (0..64).map(|i| ((i * 37 % 64) as f32 - 30.0) * if i < 32 { 0.1 } else { 3.0 }).collect();
        let mut quantised = Quantised::default();
        quantised.fill(&Team::new("test", 1).unwrap(), &row, 64);
        for (i, value) in row.iter().enumerate() {
            let number = quantised.words()[i / 4].to_le_bytes()[i % 4] as i8;
            let step = quantised.scales()[i / BLOCK].step;
            assert!((f32::from(number) * step - value).abs() <= step * 0.56, "{value} became {number} times {step}");
        }
    }

    #[test]
    fn nothing_stays_nothing() {
        let mut quantised = Quantised::default();
        quantised.fill(&Team::new("test", 1).unwrap(), &[0.0; 32], 32);
        assert!(quantised.words().iter().all(|word| *word == 0));
        assert_eq!(quantised.scales()[0].step, 0.0);
    }
}
