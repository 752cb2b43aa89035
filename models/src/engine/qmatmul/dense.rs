//! Weights in f32, f16 and bf16, sixteen rows side by side, multiplied with activations in f32.
//!
//! A column of sixteen rows is 64 bytes (32 in the half-wide codings, which stay half as wide in memory too), so one
//! activation is multiplied with neighbours and nothing is summed across a register.
//!
//! Every output is one chain of fused multiply-adds over the columns from left to right, whatever the instruction set,
//! the number of tokens and the cutting into blocks: results are equal bit by bit.

use std::ops::Range;
use std::sync::LazyLock;

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use rayon::prelude::*;

use candle_core::quantized::GgmlDType;

use super::multiply::{Place, WORTH_A_THREAD};
use crate::engine::shared::Shared;
use crate::engine::team::Team;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Rows that lie side by side.
pub const GROUP: usize = 16;

/// Activations that are computed at a time at most: half of a small second cache.
const BLOCK: usize = 1 << 16;

/// Columns of them.
const BLOCK_COLUMNS: usize = 1536;

/// Columns that one call of a kernel goes through: with [`GROUP`] rows their weights stay in the first cache.
const TILE_COLUMNS: usize = 384;

/// Groups that are computed together at most.
const GROUPS: usize = 4;

/// Most tokens of one call of a kernel.
const TILE: usize = 12;

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

    fn bytes(self) -> usize {
        match self {
            Coding::F32 => 4,
            Coding::F16 | Coding::Bf16 => 2,
        }
    }
}

/// How the sums are computed; all ways give the same results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 256 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 128 bits.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Any processor.
    Plain,
}

impl Way {
    /// Every way that this processor knows, fastest first.
    fn available() -> Vec<Way> {
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
        #[cfg(target_arch = "aarch64")]
        ways.push(Way::Neon);
        ways.push(Way::Plain);
        ways
    }

    /// The fastest of them.
    fn best() -> Way {
        static BEST: LazyLock<Way> = LazyLock::new(|| Way::available()[0]);
        *BEST
    }

    /// Tokens of one call of the kernel.
    fn tile(self) -> usize {
        match self {
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
    fn groups(self, tokens: usize) -> usize {
        match self {
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
    fn reads(self, coding: Coding) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Way::Avx512 | Way::Avx2 => true,
            _ => coding == Coding::F32,
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
struct Block<'a> {
    /// Weights of some groups, `group_bytes` apart.
    weights: &'a [u8],
    group_bytes: usize,
    groups: usize,
    /// Columns, counted from the start of the weights.
    columns: usize,
    /// Activations of some tokens, `stride` apart.
    input: &'a [f32],
    stride: usize,
    tokens: usize,
    /// Whether the sums begin here; else they are added to.
    begins: bool,
}

/// Where a kernel's sums are: sixteen numbers for a group, groups one after the other, tokens `stride` numbers apart.
#[derive(Clone, Copy)]
struct Sums {
    start: *mut f32,
    stride: usize,
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
        let step = self.way.groups(tokens);
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
        let widened = !way.reads(self.coding) || (self.coding != Coding::F32 && tokens.len() > TILE);
        let step = GROUP * way.groups(tokens.len());
        let mut wide = Vec::new();
        for columns in parts(0..self.columns, BLOCK_COLUMNS) {
            for first in rows.clone().step_by(step) {
                let rows = first..rows.end.min(first + step);
                let most = if tokens.len() <= way.tile() && !widened { BLOCK_COLUMNS } else { TILE_COLUMNS };
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
                            widen(self.coding, &block.weights[group * block.group_bytes + skipped..], wide);
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
            widen(self.coding, &weights[row % GROUP * width..], std::slice::from_mut(output));
        }
    }
}

/// Multiplies `tokens` rows of activations, `stride` apart, with groups of rows. Writes whole groups for each token,
/// `output_stride` apart. For products within attention.
pub fn multiply_groups(
    groups: Groups,
    tokens: usize,
    (input, stride): (&[f32], usize),
    (output, output_stride): (&mut [f32], usize),
) {
    let way = Way::best();
    let place = Place { output: Shared::new(output), stride: output_stride, offset: 0, bias: &[] };
    let step = way.groups(tokens);
    for first in (0..groups.count).step_by(step) {
        let weights = floats_as_bytes(&groups.weights[first * groups.stride..]);
        let count = step.min(groups.count - first);
        for columns in parts(0..groups.columns, TILE_COLUMNS) {
            let block = Block {
                weights: &weights[4 * GROUP * columns.start..],
                group_bytes: 4 * groups.stride,
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
fn parts(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let (start, length) = (range.start, range.len());
    let count = length.div_ceil(most);
    (0..count).map(move |part| start + part * length / count..start + (part + 1) * length / count)
}

/// Multiplies all tokens of a block with its groups, tile by tile.
#[expect(unsafe_code, reason = "lets kernels add to a buffer that other threads fill too")]
fn multiply_block(way: Way, coding: Coding, block: Block, rows: Range<usize>, place: &Place, first: usize) {
    // Tiles of about the same size: a small last one would keep half of the processor idle.
    for tokens in parts(0..block.tokens, way.tile()) {
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

/// Multiplies up to a tile of tokens with up to [`Way::groups`] groups.
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

/// Puts up to sixteen rows side by side, weights of `W` bytes each.
fn pack<const W: usize>(rows: &[u8], row_bytes: usize, group: &mut [u8]) {
    for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
        let places = group.as_chunks_mut::<W>().0.iter_mut().skip(lane).step_by(GROUP);
        for (place, weight) in places.zip(row.as_chunks::<W>().0) {
            *place = *weight;
        }
    }
}

/// Weights as floats, as many as there is room for.
fn widen(coding: Coding, weights: &[u8], output: &mut [f32]) {
    let halves = |weights: &[u8]| {
        let mut halves = [0; 64];
        for (half, bytes) in halves.iter_mut().zip(weights.as_chunks::<2>().0) {
            *half = u16::from_le_bytes(*bytes);
        }
        halves
    };
    for (output, weights) in output.chunks_mut(64).zip(weights.chunks(64 * coding.bytes())) {
        match coding {
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

#[expect(unsafe_code, reason = "looks at floats as bytes")]
fn floats_as_bytes(floats: &[f32]) -> &[u8] {
    // SAFETY: any initialised memory may be read as bytes.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), size_of_val(floats)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODINGS: [Coding; 3] = [Coding::F32, Coding::F16, Coding::Bf16];

    /// Numbers that look random and are the same everywhere.
    fn noise(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 - 0.5
        };
        (0..count).map(|_| next()).collect()
    }

    /// A matrix and its weights as a coding keeps them.
    fn matrix(coding: Coding, rows: usize, columns: usize, weights: &[f32]) -> (Dense, Vec<f32>) {
        let mut bytes = Vec::new();
        let mut kept = Vec::new();
        for weight in weights {
            match coding {
                Coding::F32 => bytes.extend(weight.to_le_bytes()),
                Coding::F16 => bytes.extend(f16::from_f32(*weight).to_le_bytes()),
                Coding::Bf16 => bytes.extend(bf16::from_f32(*weight).to_le_bytes()),
            }
            kept.push(match coding {
                Coding::F32 => *weight,
                Coding::F16 => f16::from_f32(*weight).to_f32(),
                Coding::Bf16 => bf16::from_f32(*weight).to_f32(),
            });
        }
        (Dense::new(coding, rows, columns, &bytes), kept)
    }

    /// Bits of all outputs, in the middle of rows that are longer.
    fn product(dense: &Dense, way: Way, team: Option<&Team>, input: &[f32]) -> Vec<u32> {
        let tokens = input.len() / dense.columns;
        let stride = dense.rows + 5;
        let mut output = vec![7.0; tokens * stride];
        let place = Place { output: Shared::new(&mut output), stride, offset: 3, bias: &[] };
        match team {
            Some(team) => dense.multiply(team, input, &place),
            None => dense.multiply_part(way, input, 0..tokens, 0..dense.rows, &place),
        }
        let mut bits = Vec::new();
        for row in output.chunks_exact(stride) {
            assert!(row[..3].iter().chain(&row[3 + dense.rows..]).all(|other| *other == 7.0), "wrote beside its place");
            bits.extend(row[3..3 + dense.rows].iter().map(|x| x.to_bits()));
        }
        bits
    }

    /// One chain of fused multiply-adds for each output.
    fn chains(weights: &[f32], columns: usize, input: &[f32]) -> Vec<u32> {
        let mut bits = Vec::new();
        for token in input.chunks_exact(columns) {
            for row in weights.chunks_exact(columns) {
                let sum = row.iter().zip(token).fold(0f32, |sum, (weight, x)| weight.mul_add(*x, sum));
                bits.push(sum.to_bits());
            }
        }
        bits
    }

    #[test]
    fn every_way_gives_the_same_bits_for_every_shape() {
        let team = Team::new("test", 3).unwrap();
        for coding in CODINGS {
            for (rows, columns) in [(1, 1), (16, 32), (33, 7), (47, 129), (80, 385), (21, 1537), (50, 4001)] {
                let (dense, weights) = matrix(coding, rows, columns, &noise(rows * columns, 7));
                for tokens in (1..14).chain([50]).filter(|tokens| columns < 1000 || *tokens < 8) {
                    let input = noise(tokens * columns, 99);
                    let expected = chains(&weights, columns, &input);
                    for way in Way::available() {
                        assert!(
                            product(&dense, way, None, &input) == expected,
                            "{coding:?} {way:?} {rows}x{columns}x{tokens}"
                        );
                    }
                    assert!(
                        product(&dense, Way::Plain, Some(&team), &input) == expected,
                        "{coding:?} {rows}x{columns}x{tokens}"
                    );
                }
            }
        }
    }

    #[test]
    fn many_tokens_are_cut_into_pieces_that_give_the_same_bits() {
        let team = Team::new("test", 2).unwrap();
        for coding in CODINGS {
            let (rows, columns) = (200, 96);
            let (dense, weights) = matrix(coding, rows, columns, &noise(rows * columns, 3));
            let input = noise(1500 * columns, 4);
            assert!(
                product(&dense, Way::Plain, Some(&team), &input) == chains(&weights, columns, &input),
                "{coding:?}"
            );
        }
    }

    #[test]
    fn groups_that_others_packed_give_the_same_bits() {
        for (rows, columns, tokens) in [(16, 32, 1), (48, 20, 3), (80, 390, 13)] {
            let weights = noise(rows * columns, 8);
            let mut packed = Vec::new();
            for group in weights.chunks_exact(GROUP * columns) {
                packed.extend((0..columns).flat_map(|column| (0..GROUP).map(move |row| group[row * columns + column])));
            }
            let groups = Groups { weights: &packed, stride: GROUP * columns, count: rows / GROUP, columns };
            let stride = columns + 2;
            let input = noise(tokens * stride, 9);
            let mut output = vec![0.0; tokens * (rows + 1)];
            multiply_groups(groups, tokens, (&input, stride), (&mut output, rows + 1));
            let input: Vec<f32> = input.chunks_exact(stride).flat_map(|row| row[..columns].to_vec()).collect();
            let output: Vec<u32> =
                output.chunks_exact(rows + 1).flat_map(|row| &row[..rows]).map(|x| x.to_bits()).collect();
            assert!(output == chains(&weights, columns, &input), "{rows}x{columns}x{tokens}");
        }
    }

    #[test]
    fn what_is_no_number_stays_with_its_token_and_its_row() {
        let (rows, columns) = (20, 40);
        let mut weights = noise(rows * columns, 1);
        weights[3 * columns + 5] = f32::NAN;
        weights[4 * columns + 6] = f32::INFINITY;
        let mut input = noise(8 * columns, 2);
        input[2 * columns + 9] = f32::NAN;
        input[5 * columns + 9] = f32::MIN_POSITIVE / 4.0;
        for coding in CODINGS {
            let (dense, _) = matrix(coding, rows, columns, &weights);
            for way in Way::available() {
                let output: Vec<f32> = product(&dense, way, None, &input).into_iter().map(f32::from_bits).collect();
                for (at, value) in output.iter().enumerate() {
                    let (token, row) = (at / rows, at % rows);
                    assert_eq!(value.is_nan(), token == 2 || row == 3, "{coding:?} {way:?}: {value} at {token}, {row}");
                    assert_eq!(
                        value.is_infinite(),
                        token != 2 && row == 4,
                        "{coding:?} {way:?}: {value} at {token}, {row}"
                    );
                }
            }
        }
    }

    #[test]
    fn rows_come_back_as_they_were() {
        for coding in CODINGS {
            let (dense, weights) = matrix(coding, 19, 71, &noise(19 * 71, 5));
            for (row, expected) in weights.chunks_exact(71).enumerate() {
                let mut output = vec![0.0; 71];
                dense.row(row, &mut output);
                assert_eq!(output, expected, "{coding:?}, row {row}");
            }
            let packed = 2 * (16 * 71 * coding.bytes()).next_multiple_of(64);
            assert_eq!(dense.bytes(), packed);
        }
    }
}
