//! Weights in f32, f16 and bf16, sixteen rows side by side, multiplied with activations in f32.
//!
//! A column of sixteen rows is 64 bytes (32 in the half-wide codings, which stay half as wide in memory too), so one
//! activation is multiplied with neighbours and nothing is summed across a register.
//!
//! | file | what it holds |
//! |---|---|
//! | `product` | groups of rows with tiles of tokens, and the plain kernel |
//! | `x86`, `neon` | the kernels in AVX-512, AVX2 and NEON |

use std::ops::Range;

use candle_core::quantized::GgmlDType;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use rayon::prelude::*;

use super::multiply::{Place, WORTH_A_THREAD};
use crate::engine::team::Team;
use crate::engine::way::Way;

#[cfg(target_arch = "aarch64")]
mod neon;
mod product;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use self::product::{Block, TILE, TILE_COLUMNS, floats_as_bytes, groups, multiply_block, parts, reads, tile};
pub use self::product::{Groups, multiply_groups};

/// Rows that lie side by side.
pub const GROUP: usize = 16;

/// Activations that are computed at a time at most: half of a small second cache.
const BLOCK: usize = 1 << 16;

/// Columns of them.
const BLOCK_COLUMNS: usize = 1536;

/// How a weight is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
}

impl Coding {
    /// The coding of a tensor, if it is one of these.
    pub fn of(dtype: GgmlDType) -> Option<Self> {
        match dtype {
            GgmlDType::F32 => Some(Coding::F32),
            GgmlDType::F16 => Some(Coding::F16),
            GgmlDType::BF16 => Some(Coding::Bf16),
            _ => None,
        }
    }

    /// What a tensor of it is called.
    pub fn dtype(self) -> GgmlDType {
        match self {
            Coding::F32 => GgmlDType::F32,
            Coding::F16 => GgmlDType::F16,
            Coding::Bf16 => GgmlDType::BF16,
        }
    }

    /// Bytes of a weight.
    pub fn bytes(self) -> usize {
        match self {
            Coding::F32 => 4,
            Coding::F16 | Coding::Bf16 => 2,
        }
    }

    /// Weights as floats, as many as there is room for.
    pub fn widen(self, weights: &[u8], output: &mut [f32]) {
        let halves = |weights: &[u8]| {
            let mut halves = [0; 64];
            for (half, bytes) in halves.iter_mut().zip(weights.as_chunks::<2>().0) {
                *half = u16::from_le_bytes(*bytes);
            }
            halves
        };
        for (output, weights) in output.chunks_mut(64).zip(weights.chunks(64 * self.bytes())) {
            match self {
                Coding::F32 => {
                    for (output, weight) in output.iter_mut().zip(weights.as_chunks::<4>().0) {
                        *output = f32::from_le_bytes(*weight);
                    }
                }
                Coding::F16 => halves(weights)[..output.len()].reinterpret_cast::<f16>().convert_to_f32_slice(output),
                Coding::Bf16 => halves(weights)[..output.len()].reinterpret_cast::<bf16>().convert_to_f32_slice(output),
            }
        }
    }
}

/// A cache line of weights.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A weight matrix in groups of sixteen rows; the last group is filled up with zeros.
pub struct Dense {
    coding: Coding,
    rows: usize,
    columns: usize,
    way: Way,
    /// Per group, per column: sixteen weights. A group begins with a line of its own.
    lines: Vec<Line>,
}

impl Dense {
    /// Reorders rows as they lie in a file.
    pub fn new(coding: Coding, rows: usize, columns: usize, bytes: &[u8]) -> Self {
        let row_bytes = columns * coding.bytes();
        assert_eq!(bytes.len(), rows * row_bytes, "bytes and shape of a matrix agree");
        let group_lines = (GROUP * row_bytes).div_ceil(64);
        let mut lines = vec![Line([0; 64]); rows.div_ceil(GROUP) * group_lines];
        lines.par_chunks_mut(group_lines.max(1)).enumerate().for_each(|(group, lines)| {
            let first = group * GROUP * row_bytes;
            let rows = &bytes[first..bytes.len().min(first + GROUP * row_bytes)];
            match coding {
                Coding::F32 => pack::<4>(rows, row_bytes, as_bytes_mut(lines)),
                Coding::F16 | Coding::Bf16 => pack::<2>(rows, row_bytes, as_bytes_mut(lines)),
            }
        });
        Self { coding, rows, columns, way: Way::best(), lines }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Memory that the weights take.
    pub fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }

    fn group_bytes(&self) -> usize {
        (GROUP * self.columns * self.coding.bytes()).next_multiple_of(64)
    }

    /// Multiplies rows of `input` with the weights.
    pub(super) fn multiply(&self, team: &Team, input: &[f32], place: &Place) {
        if self.columns == 0 || input.is_empty() {
            return;
        }
        let tokens = input.len() / self.columns;
        let blocks = tokens.div_ceil(BLOCK / self.columns.min(BLOCK_COLUMNS));
        // Enough pieces for every thread, none too small to be worth it and each of whole calls of the kernel.
        let work = tokens * self.rows * self.columns;
        let wanted = (work / WORTH_A_THREAD).clamp(1, 4 * team.threads());
        let step = groups(self.way, tokens);
        let steps = self.rows.div_ceil(GROUP * step);
        let parts = wanted.div_ceil(blocks).clamp(1, steps);
        team.run(blocks * parts, |piece| {
            let (block, part) = (piece / parts, piece % parts);
            let tokens = block * tokens / blocks..(block + 1) * tokens / blocks;
            let cut = |part: usize| (part * steps / parts * step * GROUP).min(self.rows);
            self.multiply_part(self.way, input, tokens, cut(part)..cut(part + 1), place);
        });
    }

    /// Multiplies some tokens with some rows, whole groups but for the last.
    fn multiply_part(&self, way: Way, input: &[f32], tokens: Range<usize>, rows: Range<usize>, place: &Place) {
        let input = &input[tokens.start * self.columns..tokens.end * self.columns];
        let widened = !reads(way, self.coding) || (self.coding != Coding::F32 && tokens.len() > TILE);
        let step = GROUP * groups(way, tokens.len());
        let mut wide = Vec::new();
        for columns in parts(0..self.columns, BLOCK_COLUMNS) {
            for first in rows.clone().step_by(step) {
                let rows = first..rows.end.min(first + step);
                let most = if tokens.len() <= tile(way) && !widened { BLOCK_COLUMNS } else { TILE_COLUMNS };
                for columns in parts(columns.clone(), most) {
                    let mut block = Block {
                        weights: &as_bytes(&self.lines)[first / GROUP * self.group_bytes()..],
                        group_bytes: self.group_bytes(),
                        groups: rows.len().div_ceil(GROUP),
                        columns: columns.len(),
                        input: &input[columns.start..],
                        stride: self.columns,
                        tokens: tokens.len(),
                        begins: columns.start == 0,
                    };
                    let skipped = GROUP * columns.start * self.coding.bytes();
                    let coding = if widened { Coding::F32 } else { self.coding };
                    if widened {
                        wide.resize(block.groups * GROUP * columns.len(), 0.0);
                        for (group, wide) in wide.chunks_exact_mut(GROUP * columns.len()).enumerate() {
                            self.coding.widen(&block.weights[group * block.group_bytes + skipped..], wide);
                        }
                        (block.weights, block.group_bytes) = (floats_as_bytes(&wide), 4 * GROUP * columns.len());
                    } else {
                        block.weights = &block.weights[skipped..];
                    }
                    multiply_block(way, coding, block, rows.clone(), place, tokens.start);
                }
            }
        }
    }

    /// Writes one row out as floats.
    pub fn row(&self, row: usize, output: &mut [f32]) {
        assert!(row < self.rows && output.len() == self.columns);
        let group = &as_bytes(&self.lines)[row / GROUP * self.group_bytes()..];
        let width = self.coding.bytes();
        for (output, weights) in output.iter_mut().zip(group.chunks_exact(GROUP * width)) {
            self.coding.widen(&weights[row % GROUP * width..], std::slice::from_mut(output));
        }
    }
}

/// Puts up to sixteen rows side by side, weights of `W` bytes each.
fn pack<const W: usize>(rows: &[u8], row_bytes: usize, group: &mut [u8]) {
    for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
        let places = group.as_chunks_mut::<W>().0.iter_mut().skip(lane).step_by(GROUP);
        for (place, weight) in places.zip(row.as_chunks::<W>().0) {
            *place = *weight;
        }
    }
}

#[expect(unsafe_code, reason = "looks at lines as bytes")]
fn as_bytes(lines: &[Line]) -> &[u8] {
    // SAFETY: a line is 64 bytes and nothing else.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), size_of_val(lines)) }
}

#[expect(unsafe_code, reason = "looks at lines as bytes")]
fn as_bytes_mut(lines: &mut [Line]) -> &mut [u8] {
    // SAFETY: as above, and any byte is a valid one.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), size_of_val(lines)) }
}
