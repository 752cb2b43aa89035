//! The kernels in plain words: what all others compute, and what runs where none of them can.

use super::activations::{BLOCK, Chunk};
use super::coding::{Coding, Panel};
use super::kernels::Sums;

/// Adds the products of a panel with tokens to their sums.
///
/// Within a block, numbers are whole and their sum exact. Floats are then added in an order that is the same for every
/// instruction set and however many tokens are computed together, so that results are equal bit by bit: for each row and
/// token one sum, to which every 256 columns first the minima of all blocks are added and then the products of all
/// blocks, from left to right; where 256 columns share a factor, it multiplies a sum of their own.
pub fn add(coding: Coding, panel: &Panel, blocks: usize, tokens: &[Chunk], sums: &mut [Sums]) {
    for (token, sums) in tokens.iter().zip(sums) {
        for (lane, sum) in sums.0.iter_mut().enumerate() {
            add_row(coding, panel, lane, blocks, token, sum);
        }
    }
}

fn add_row(coding: Coding, panel: &Panel, lane: usize, blocks: usize, token: &Chunk, sum: &mut f32) {
    if matches!(coding, Coding::Q4_1 | Coding::Q5_1 | Coding::Q4K | Coding::Q5K) {
        for block in 0..blocks {
            *sum = panel.minima[block][lane].mul_add(token.totals[block], *sum);
        }
    }
    if matches!(coding, Coding::Q4K | Coding::Q5K | Coding::Q6K) {
        let mut scaled = 0f32;
        for block in 0..blocks {
            let [first, last] = halves(coding, panel, lane, block, token);
            let of_last = if coding == Coding::Q6K { 2 * block + 1 } else { 2 * block };
            let [scale, scale_of_last] = [2 * block, of_last].map(|index| panel.scales[index][lane] >> 16);
            scaled = token.steps[block].mul_add((scale * first + scale_of_last * last) as f32, scaled);
        }
        *sum = panel.steps[0][lane].mul_add(scaled, *sum);
    } else {
        for block in 0..blocks {
            let [first, last] = halves(coding, panel, lane, block, token);
            *sum = (panel.steps[block][lane] * token.steps[block]).mul_add((first + last) as f32, *sum);
        }
    }
}

/// The products of the first and of the last sixteen columns of a block.
fn halves(coding: Coding, panel: &Panel, lane: usize, block: usize, token: &Chunk) -> [i32; 2] {
    let mut halves = [0; 2];
    for column in 0..BLOCK {
        let word = block * (BLOCK / 4) + column / 4;
        let byte = panel.quants[word][lane * 4 + column % 4];
        let weight = match coding {
            Coding::Q8_0 => i32::from(byte as i8),
            Coding::Q4_0 => i32::from(byte) - 8,
            Coding::Q5_0 => i32::from(byte) - 16,
            Coding::Q6K => i32::from(byte) - 32,
            _ => i32::from(byte),
        };
        halves[column / 16] += weight * i32::from(token.words[word].to_le_bytes()[column % 4] as i8);
    }
    halves
}
