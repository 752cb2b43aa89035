//! The products themselves: groups of rows with tiles of tokens.
//!
//! Every output is one chain of fused multiply-adds over the columns from left to right, whatever the instruction set, the
//! number of tokens and the cutting into blocks: results are equal bit by bit.

use std::ops::Range;

#[cfg(target_arch = "aarch64")]
use super::neon;
#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{Coding, GROUP};
use crate::engine::qmatmul::multiply::Place;
use crate::engine::shared::Shared;
use crate::engine::way::Way;

/// Columns that one call of a kernel goes through: with [`GROUP`] rows their weights stay in the first cache.
pub const TILE_COLUMNS: usize = 256;

/// Groups that are computed together at most.
const GROUPS: usize = 4;

/// Most tokens of one call of a kernel.
pub const TILE: usize = 12;

/// Rows of weights in f32 that are packed already: per group, per column sixteen neighbours.
#[derive(Clone, Copy)]
pub struct Groups<'a> {
    /// All of them.
    pub weights: &'a [f32],
    /// Numbers from one group to the next.
    pub stride: usize,
    /// How many groups there are.
    pub count: usize,
    /// Length of a row.
    pub columns: usize,
}

/// What a kernel multiplies.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    /// Weights of some groups, `group_bytes` apart.
    pub weights: &'a [u8],
    pub group_bytes: usize,
    pub groups: usize,
    /// Columns, counted from the start of the weights.
    pub columns: usize,
    /// Activations of some tokens, `stride` apart.
    pub input: &'a [f32],
    pub stride: usize,
    pub tokens: usize,
    /// Whether the sums begin here; else they are added to.
    pub begins: bool,
}

/// Where a kernel's sums are: sixteen numbers for a group, groups one after the other, tokens `stride` numbers apart.
#[derive(Clone, Copy)]
pub struct Sums {
    pub start: *mut f32,
    pub stride: usize,
}

/// Tokens of one call of the kernel.
pub fn tile(way: Way) -> usize {
    match way {
        #[cfg(target_arch = "x86_64")]
        Way::Avx512 => TILE,
        #[cfg(target_arch = "x86_64")]
        Way::Avx2 => 6,
        #[cfg(target_arch = "aarch64")]
        Way::Neon => 6,
        Way::Plain => 1,
    }
}

/// Groups of one call: enough independent sums to hide the latency of an addition.
pub fn groups(way: Way, tokens: usize) -> usize {
    match way {
        #[cfg(target_arch = "x86_64")]
        Way::Avx512 => [4, 4, 4, 2][tokens.clamp(1, 4) - 1],
        #[cfg(target_arch = "x86_64")]
        Way::Avx2 => [4, 2, 2, 1][tokens.clamp(1, 4) - 1],
        #[cfg(target_arch = "aarch64")]
        Way::Neon => [2, 1][tokens.clamp(1, 2) - 1],
        Way::Plain => 1,
    }
}

/// Whether the kernels read this coding; else weights are widened first.
pub fn reads(way: Way, coding: Coding) -> bool {
    match way {
        #[cfg(target_arch = "x86_64")]
        Way::Avx512 | Way::Avx2 => true,
        _ => coding == Coding::F32,
    }
}

/// Multiplies `tokens` rows of activations, `stride` apart, with groups of rows. Writes whole groups for each token,
/// `output_stride` apart. For products within attention.
pub fn multiply_groups(
    packed: Groups,
    tokens: usize,
    (input, stride): (&[f32], usize),
    (output, output_stride): (&mut [f32], usize),
) {
    let way = Way::best();
    let place = Place { output: Shared::new(output), stride: output_stride, offset: 0, bias: &[] };
    let step = groups(way, tokens);
    for first in (0..packed.count).step_by(step) {
        let weights = floats_as_bytes(&packed.weights[first * packed.stride..]);
        let count = step.min(packed.count - first);
        for columns in parts(0..packed.columns, TILE_COLUMNS) {
            let block = Block {
                weights: &weights[4 * GROUP * columns.start..],
                group_bytes: 4 * packed.stride,
                groups: count,
                columns: columns.len(),
                input: &input[columns.start..],
                stride,
                tokens,
                begins: columns.start == 0,
            };
            multiply_block(way, Coding::F32, block, GROUP * first..GROUP * (first + count), &place, 0);
        }
    }
}

/// Cuts a range into parts of about the same length, none longer than `most`.
pub fn parts(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let (start, length) = (range.start, range.len());
    let count = length.div_ceil(most);
    (0..count).map(move |part| start + part * length / count..start + (part + 1) * length / count)
}

/// Multiplies all tokens of a block with its groups, tile by tile.
#[expect(unsafe_code, reason = "lets kernels add to a buffer that other threads fill too")]
pub fn multiply_block(way: Way, coding: Coding, block: Block, rows: Range<usize>, place: &Place, first: usize) {
    // Tiles of about the same size: a small last one would keep half of the processor idle.
    for tokens in parts(0..block.tokens, tile(way)) {
        let tile = Block { input: &block.input[tokens.start * block.stride..], tokens: tokens.len(), ..block };
        let at = (first + tokens.start) * place.stride + place.offset + rows.start;
        let width = rows.len();
        if width.is_multiple_of(GROUP) {
            let length = (tokens.len() - 1) * place.stride + width;
            let sums = Sums { start: place.output.pointer(at, length), stride: place.stride };
            // SAFETY: the rows of these tokens lie within the output, as `pointer` checked, and belong to this piece.
            unsafe { multiply_tile(way, coding, tile, sums) };
            continue;
        }
        // The last group is not whole: its sums are computed aside.
        let mut aside = [0.0; TILE * GROUPS * GROUP];
        let padded = block.groups * GROUP;
        for (token, sums) in aside.chunks_exact_mut(padded).take(tokens.len()).enumerate() {
            if !block.begins {
                // SAFETY: as above.
                sums[..width].copy_from_slice(unsafe { place.output.slice(at + token * place.stride, width) });
            }
        }
        // SAFETY: there is room for a tile's tokens.
        unsafe { multiply_tile(way, coding, tile, Sums { start: aside.as_mut_ptr(), stride: padded }) };
        for (token, sums) in aside.chunks_exact(padded).take(tokens.len()).enumerate() {
            // SAFETY: as above.
            unsafe { place.output.write(at + token * place.stride, &sums[..width]) };
        }
    }
}

/// Multiplies up to a tile of tokens with up to [`groups`] groups.
///
/// # Safety
/// The sums of these tokens and groups must be readable and writable, and nobody else's.
#[expect(unsafe_code, reason = "the sums are a raw pointer")]
unsafe fn multiply_tile(way: Way, coding: Coding, block: Block, sums: Sums) {
    let weights = (block.groups - 1) * block.group_bytes + block.columns * GROUP * coding.bytes();
    let inputs = (block.tokens - 1) * block.stride + block.columns;
    assert!(block.weights.len() >= weights && block.input.len() >= inputs, "a tile has all of its numbers");
    // SAFETY: weights and activations are there, as just checked, and the caller vouches for the sums. Only ways that the
    // processor knows are ever chosen.
    unsafe {
        match way {
            #[cfg(target_arch = "x86_64")]
            Way::Avx512 => x86::avx512(coding, block, sums),
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => x86::avx2(coding, block, sums),
            #[cfg(target_arch = "aarch64")]
            Way::Neon => neon::neon(block, sums),
            Way::Plain => plain(block, sums),
        }
    }
}

/// What the kernels compute, in plain words.
///
/// # Safety
/// As [`multiply_tile`].
#[expect(unsafe_code, reason = "the sums are a raw pointer")]
unsafe fn plain(block: Block, sums: Sums) {
    for token in 0..block.tokens {
        let input = &block.input[token * block.stride..][..block.columns];
        for group in 0..block.groups {
            // SAFETY: the caller's promise.
            let sums = unsafe { &mut *sums.start.add(token * sums.stride + group * GROUP).cast::<[f32; GROUP]>() };
            if block.begins {
                *sums = [0.0; GROUP];
            }
            let weights = block.weights[group * block.group_bytes..].as_chunks::<{ 4 * GROUP }>().0;
            for (activation, weights) in input.iter().zip(weights) {
                for (sum, weight) in sums.iter_mut().zip(weights.as_chunks::<4>().0) {
                    *sum = f32::from_le_bytes(*weight).mul_add(*activation, *sum);
                }
            }
        }
    }
}

#[expect(unsafe_code, reason = "looks at floats as bytes")]
pub fn floats_as_bytes(floats: &[f32]) -> &[u8] {
    // SAFETY: any initialised memory may be read as bytes.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), size_of_val(floats)) }
}
