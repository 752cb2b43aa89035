//! How weights are coded, and how they lie in memory.
//!
//! The file keeps a row's blocks one after the other. Here sixteen rows form a group, and the bytes of their blocks are
//! shuffled such that the same bytes of all sixteen are neighbours: four-byte words of quants, two-byte scales, single
//! bytes of packed scales. Nothing is added, so that weights take as many bytes as in the file. For a single token kernels
//! compute with this form. For more, [`Coding::unpack_quants`] and [`Coding::unpack_factors`] spread 256 columns of a group
//! over a [`Panel`], which stays in the fastest cache while all tokens are multiplied with it.
//!
//! Formats: `block_q4_0` and the others in <https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h>

use candle_core::quantized::GgmlDType;
use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use super::activations::{BLOCK, BLOCKS, CHUNK};

/// Rows that are computed together.
pub const GROUP: usize = 16;

/// Words of four columns in a block.
const WORDS: usize = BLOCK / 4;

/// The codings that have kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// 4 bits from -8 to 7, a step per 32.
    Q4_0,
    /// 4 bits from 0 to 15, a step and a minimum per 32: `step * q + minimum`.
    Q4_1,
    /// 5 bits from -16 to 15, a step per 32.
    Q5_0,
    /// 5 bits from 0 to 31, a step and a minimum per 32.
    Q5_1,
    /// 8 bits with a sign, a step per 32.
    Q8_0,
    /// 4 bits from 0 to 15; per 32 a scale and a minimum of 6 bits, which share two factors per 256.
    Q4K,
    /// 5 bits from 0 to 31, otherwise as Q4K.
    Q5K,
    /// 6 bits from -32 to 31, a scale of 8 bits per 16, and a factor per 256.
    Q6K,
}

/// Bytes of a block in the file that are shuffled alike.
struct Section {
    first: usize,
    length: usize,
    /// Bytes that stay together.
    unit: usize,
}

/// 256 columns of sixteen rows, ready to be multiplied. Where a coding does not need a part, it keeps what was in it.
#[repr(C, align(64))]
pub struct Panel {
    /// Whole numbers without a sign: for four columns, sixteen times four bytes. For Q8_0 see [`Eight`].
    pub quants: [[u8; 64]; CHUNK / 4],
    /// Q8_0 as sizes and signs: all bits where a number is below zero, none elsewhere.
    pub signs: [[u8; 64]; CHUNK / 4],
    /// The sizes of the numbers below zero, added up per block.
    pub below: [[i32; GROUP]; BLOCKS],
    /// Per sixteen columns the whole scale of each row, in both halves of a word; those of 32 columns at even places.
    pub scales: [[i32; GROUP]; 2 * BLOCKS],
    /// Per block the factor of each row; the codings of 256 columns have one for all, at the first place.
    pub steps: [[f32; GROUP]; BLOCKS],
    /// Per block what is added to each weight of a row.
    pub minima: [[f32; GROUP]; BLOCKS],
}

/// The parts of a packed chunk.
#[derive(Clone, Copy)]
pub struct Packing<'a> {
    /// Blocks of 32 columns.
    pub blocks: usize,
    /// Quants: lines of four bytes of sixteen rows.
    pub lines: &'a [[u8; 64]],
    /// Scales, minima and factors.
    pub factors: &'a [[u8; 2 * GROUP]],
}

/// In what form kernels want Q8_0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eight {
    /// As bytes with a sign.
    Signed,
    /// Plus 128, as bytes without one.
    Shifted,
    /// As sizes and signs, which the kernel does itself.
    Split,
}

impl Coding {
    /// The coding of a tensor, if it has kernels.
    pub fn of(dtype: GgmlDType) -> Option<Self> {
        Some(match dtype {
            GgmlDType::Q4_0 => Coding::Q4_0,
            GgmlDType::Q4_1 => Coding::Q4_1,
            GgmlDType::Q5_0 => Coding::Q5_0,
            GgmlDType::Q5_1 => Coding::Q5_1,
            GgmlDType::Q8_0 => Coding::Q8_0,
            GgmlDType::Q4K => Coding::Q4K,
            GgmlDType::Q5K => Coding::Q5K,
            GgmlDType::Q6K => Coding::Q6K,
            _ => return None,
        })
    }

    /// Columns of a block in the file.
    fn block(self) -> usize {
        match self {
            Coding::Q4K | Coding::Q5K | Coding::Q6K => CHUNK,
            _ => BLOCK,
        }
    }

    /// Bytes of a block in the file.
    fn block_bytes(self) -> usize {
        match self {
            Coding::Q4_0 => 18,
            Coding::Q4_1 => 20,
            Coding::Q5_0 => 22,
            Coding::Q5_1 => 24,
            Coding::Q8_0 => 34,
            Coding::Q4K => 144,
            Coding::Q5K => 176,
            Coding::Q6K => 210,
        }
    }

    /// Bytes of so many columns of a row, in the file and here.
    pub fn bytes(self, columns: usize) -> usize {
        columns / self.block() * self.block_bytes()
    }

    /// The parts of a block, in the order in which they lie here.
    fn sections(self) -> &'static [Section] {
        const fn quants(first: usize, length: usize) -> Section {
            Section { first, length, unit: 4 }
        }
        const fn halves(first: usize, count: usize) -> Section {
            Section { first, length: 2 * count, unit: 2 }
        }
        const fn bytes(first: usize, length: usize) -> Section {
            Section { first, length, unit: 1 }
        }
        match self {
            Coding::Q4_0 => const { &[quants(2, 16), halves(0, 1)] },
            Coding::Q4_1 => const { &[quants(4, 16), halves(0, 2)] },
            Coding::Q5_0 => const { &[quants(6, 16), quants(2, 4), halves(0, 1)] },
            Coding::Q5_1 => const { &[quants(8, 16), quants(4, 4), halves(0, 2)] },
            Coding::Q8_0 => const { &[quants(2, 32), halves(0, 1)] },
            Coding::Q4K => const { &[quants(16, 128), halves(0, 2), bytes(4, 12)] },
            Coding::Q5K => const { &[quants(48, 128), quants(16, 32), halves(0, 2), bytes(4, 12)] },
            Coding::Q6K => const { &[quants(0, 128), quants(128, 64), halves(208, 1), bytes(192, 16)] },
        }
    }

    /// Shuffles the same columns, at most 256, of up to sixteen rows together; rows that are missing stay as they were.
    pub fn pack(self, rows: &[&[u8]], output: &mut [u8]) {
        let block_bytes = self.block_bytes();
        let blocks = output.len() / GROUP / block_bytes;
        let mut rest = output;
        for section in self.sections() {
            let taken;
            (taken, rest) = rest.split_at_mut(blocks * section.length * GROUP);
            let places = |block| block * block_bytes + section.first;
            match section.unit {
                1 => interleave::<1>(rows, places, section.length, taken),
                2 => interleave::<2>(rows, places, section.length, taken),
                _ => interleave::<4>(rows, places, section.length, taken),
            }
        }
    }

    /// The parts of a packed chunk, of at most 256 columns.
    pub fn split(self, packed: &[u8]) -> Packing<'_> {
        let blocks = packed.len() / GROUP / self.block_bytes() * (self.block() / BLOCK);
        assert!(blocks <= BLOCKS && packed.len() == GROUP * self.bytes(blocks * BLOCK), "a chunk has whole blocks");
        let (lines, factors) = packed.split_at(self.lines() * blocks * 64);
        Packing { blocks, lines: lines.as_chunks().0, factors: factors.as_chunks().0 }
    }

    /// Spreads whole numbers out.
    pub fn unpack_quants(self, packing: &Packing<'_>, eight: Eight, panel: &mut Panel) {
        let Packing { blocks, lines, .. } = *packing;
        match self {
            Coding::Q4_0 | Coding::Q4_1 => nibbles(lines, WORDS / 2, panel),
            Coding::Q5_0 | Coding::Q5_1 => {
                let (lines, highs) = lines.split_at(blocks * WORDS / 2);
                nibbles(lines, WORDS / 2, panel);
                for (quants, high) in panel.quants.as_chunks_mut::<WORDS>().0.iter_mut().zip(highs) {
                    add_fifth_bits(quants, high);
                }
            }
            Coding::Q8_0 => eights(lines, eight, panel),
            Coding::Q4K => nibbles(lines, WORDS, panel),
            Coding::Q5K => {
                let (lines, highs) = lines.split_at(CHUNK / 8);
                nibbles(lines, WORDS, panel);
                for (block, quants) in panel.quants.as_chunks_mut::<WORDS>().0.iter_mut().enumerate() {
                    for (quants, high) in quants.iter_mut().zip(highs) {
                        for (quant, high) in quants.iter_mut().zip(high) {
                            *quant |= (high >> block & 1) << 4;
                        }
                    }
                }
            }
            Coding::Q6K => sixes(lines, panel),
        }
    }

    /// Spreads scales, minima and factors out.
    pub fn unpack_factors(self, packing: &Packing<'_>, panel: &mut Panel) {
        let factors = packing.factors;
        match self {
            Coding::Q4_0 | Coding::Q5_0 | Coding::Q8_0 => {
                for (steps, bytes) in panel.steps.iter_mut().zip(factors) {
                    *steps = floats(bytes);
                }
            }
            Coding::Q4_1 | Coding::Q5_1 => {
                let both = panel.steps.iter_mut().zip(&mut panel.minima);
                for ((steps, minima), bytes) in both.zip(factors.as_chunks::<2>().0) {
                    (*steps, *minima) = (floats(&bytes[0]), floats(&bytes[1]));
                }
            }
            Coding::Q4K | Coding::Q5K => six_bit_scales(factors, panel),
            Coding::Q6K => {
                panel.steps[0] = floats(&factors[0]);
                let scales = factors[1..].as_flattened().as_chunks::<GROUP>().0;
                for (words, scales) in panel.scales.iter_mut().zip(scales) {
                    *words = scales.map(|scale| twice(i32::from(scale as i8)));
                }
            }
        }
    }

    /// Lines of 64 bytes that the quants of a block of 32 take.
    fn lines(self) -> usize {
        match self {
            Coding::Q4_0 | Coding::Q4_1 | Coding::Q4K => 4,
            Coding::Q5_0 | Coding::Q5_1 | Coding::Q5K => 5,
            Coding::Q6K => 6,
            Coding::Q8_0 => 8,
        }
    }

    /// The weights of one row of a panel as floats.
    pub fn row(self, panel: &Panel, lane: usize, output: &mut [f32]) {
        for (column, output) in output.iter_mut().enumerate() {
            let block = column / BLOCK;
            let byte = panel.quants[column / 4][lane * 4 + column % 4];
            let quant = f32::from(byte);
            let scale = |index: usize| f32::from(panel.scales[index][lane] as i16);
            *output = match self {
                Coding::Q4_0 => panel.steps[block][lane] * (quant - 8.0),
                Coding::Q5_0 => panel.steps[block][lane] * (quant - 16.0),
                Coding::Q8_0 => panel.steps[block][lane] * f32::from(byte as i8),
                Coding::Q4_1 | Coding::Q5_1 => panel.steps[block][lane] * quant + panel.minima[block][lane],
                Coding::Q4K | Coding::Q5K => {
                    panel.steps[0][lane] * scale(2 * block) * quant + panel.minima[block][lane]
                }
                Coding::Q6K => panel.steps[0][lane] * scale(column / 16) * (quant - 32.0),
            };
        }
    }
}

impl Panel {
    /// A panel of zeros.
    pub fn new() -> Self {
        Self {
            quants: [[0; 64]; CHUNK / 4],
            signs: [[0; 64]; CHUNK / 4],
            below: [[0; GROUP]; BLOCKS],
            scales: [[0; GROUP]; 2 * BLOCKS],
            steps: [[0.0; GROUP]; BLOCKS],
            minima: [[0.0; GROUP]; BLOCKS],
        }
    }
}

/// Puts the units of a section of all blocks one after the other, sixteen rows side by side.
fn interleave<const UNIT: usize>(rows: &[&[u8]], place: impl Fn(usize) -> usize, length: usize, output: &mut [u8]) {
    let blocks = output.chunks_exact_mut(length * GROUP);
    for (block, output) in blocks.enumerate() {
        let output = output.as_chunks_mut::<UNIT>().0;
        for (lane, row) in rows.iter().enumerate() {
            let units = row[place(block)..place(block) + length].as_chunks::<UNIT>().0;
            for (line, unit) in output.chunks_exact_mut(GROUP).zip(units) {
                line[lane] = *unit;
            }
        }
    }
}

/// Splits bytes into halves: the low ones of `run` lines, then the high ones, and so on.
fn nibbles(lines: &[[u8; 64]], run: usize, panel: &mut Panel) {
    for (lines, quants) in lines.chunks_exact(run).zip(panel.quants.chunks_exact_mut(2 * run)) {
        let (lows, highs) = quants.split_at_mut(run);
        for ((line, low), high) in lines.iter().zip(lows).zip(highs) {
            *low = line.map(|byte| byte & 0x0f);
            *high = line.map(|byte| byte >> 4);
        }
    }
}

/// Adds the fifth bits of a block, 32 in a word for each row.
fn add_fifth_bits(quants: &mut [[u8; 64]; WORDS], high: &[u8; 64]) {
    for (word, quants) in quants.iter_mut().enumerate() {
        for (quants, bits) in quants.as_chunks_mut::<4>().0.iter_mut().zip(high.as_chunks::<4>().0) {
            let four = u32::from_le_bytes(*bits) >> (4 * word) & 0x0f;
            // Copies of the four bits seven places apart: each byte's lowest bit is then another of them.
            let spread = four.wrapping_mul(0x0020_4081) & 0x0101_0101;
            *quants = (u32::from_le_bytes(*quants) | spread << 4).to_le_bytes();
        }
    }
}

fn eights(lines: &[[u8; 64]], eight: Eight, panel: &mut Panel) {
    match eight {
        Eight::Split => {}
        Eight::Signed => panel.quants[..lines.len()].copy_from_slice(lines),
        Eight::Shifted => {
            for (quants, line) in panel.quants.iter_mut().zip(lines) {
                *quants = line.map(|byte| byte ^ 0x80);
            }
        }
    }
}

/// Joins the low four bits and the high two of Q6K: of 128 columns, 64 bytes hold the low halves of the first 64 and in
/// their high halves the last 64; each of 32 bytes holds the high bits of four columns that are 32 apart.
fn sixes(lines: &[[u8; 64]], panel: &mut Panel) {
    let (lows, highs) = lines.split_at(CHUNK / 8);
    let halves = lows.as_chunks::<{ 2 * WORDS }>().0.iter().zip(highs.as_chunks::<WORDS>().0);
    for ((lows, highs), quants) in halves.zip(panel.quants.as_chunks_mut::<{ 4 * WORDS }>().0) {
        for word in 0..WORDS {
            for (index, high) in highs[word].iter().enumerate() {
                let [low, more_low] = [lows[word][index], lows[WORDS + word][index]];
                quants[word][index] = low & 0x0f | high << 4 & 0x30;
                quants[WORDS + word][index] = more_low & 0x0f | high << 2 & 0x30;
                quants[2 * WORDS + word][index] = low >> 4 | high & 0x30;
                quants[3 * WORDS + word][index] = more_low >> 4 | high >> 2 & 0x30;
            }
        }
    }
}

/// Unpacks two factors and twelve bytes per row, which hold eight scales and eight minima of 6 bits (`get_scale_min_k4`).
fn six_bit_scales(factors: &[[u8; 2 * GROUP]], panel: &mut Panel) {
    panel.steps[0] = floats(&factors[0]);
    let factor = floats(&factors[1]);
    let bytes = factors[2..].as_flattened().as_chunks::<GROUP>().0;
    for block in 0..BLOCKS {
        let mut scales = [0u8; GROUP];
        let mut minima = [0u8; GROUP];
        for lane in 0..GROUP {
            (scales[lane], minima[lane]) = if block < 4 {
                (bytes[block][lane] & 63, bytes[block + 4][lane] & 63)
            } else {
                let [low, high, both] = [bytes[block - 4][lane], bytes[block][lane], bytes[block + 4][lane]];
                (both & 0x0f | low >> 6 << 4, both >> 4 | high >> 6 << 4)
            };
        }
        panel.scales[2 * block] = scales.map(|scale| twice(scale.into()));
        for (lane, minimum) in panel.minima[block].iter_mut().enumerate() {
            *minimum = -(factor[lane] * f32::from(minima[lane]));
        }
    }
}

/// A small number in both halves of a word.
fn twice(number: i32) -> i32 {
    number & 0xffff | number << 16
}

/// Sixteen f16 as floats.
fn floats(bytes: &[u8; 2 * GROUP]) -> [f32; GROUP] {
    let mut halves = [0u16; GROUP];
    for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *half = u16::from_le_bytes(*bytes);
    }
    let mut floats = [0.0; GROUP];
    halves.reinterpret_cast::<f16>().convert_to_f32_slice(&mut floats);
    floats
}
