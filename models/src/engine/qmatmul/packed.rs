//! Quantised weights in an order that the processor likes: sixteen rows side by side.
//!
//! The file keeps a row's blocks one after the other. Here sixteen rows form a group, and a 64-byte line holds four
//! neighbouring columns of each: one instruction multiplies a line with four activations and gives sixteen sums, one
//! per row, so nothing is summed across a register.
//!
//! Floats are added in the order of llama.cpp's AVX2 kernels (`ggml_vec_dot_q4_1_q8_1`, `ggml_vec_dot_q8_0_q8_0`): eight
//! sums per row, each over the same four columns of all blocks from left to right, then added pairwise; the minima in a
//! sum of their own. The order is the same for every instruction set and however many tokens are computed together, so
//! results are equal bit by bit, among themselves and with llama.cpp.

use half::f16;
use half::slice::HalfBitsSliceExt;
use rayon::prelude::*;

use super::activations::{BLOCK, Quantised};
#[cfg(target_arch = "x86_64")]
use super::x86;

/// Rows that are computed together.
pub const GROUP: usize = 16;

/// Tokens that are computed together at most.
pub const TILE: usize = 8;

/// Words of four activations in a block, and sums that are kept for a row.
pub const WORDS: usize = BLOCK / 4;

/// Results of up to eight tokens for the rows of a group.
pub type Sums = [[f32; GROUP]; TILE];

/// A cache line of weights.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

/// The codings that have kernels of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// 4 bits from 0 to 15, a scale and a minimum per block: `scale * q + minimum`.
    Q4_1,
    /// 8 bits with a sign, a scale per block: `scale * q`.
    Q8_0,
}

impl Coding {
    /// Bytes of a block in the file.
    fn file_bytes(self) -> usize {
        match self {
            Coding::Q4_1 => 2 + 2 + BLOCK / 2,
            Coding::Q8_0 => 2 + BLOCK,
        }
    }

    /// f16 numbers that go before the quants of a block.
    fn factors(self) -> usize {
        match self {
            Coding::Q4_1 => 2,
            Coding::Q8_0 => 1,
        }
    }

    /// Lines of a block of a group.
    pub fn lines(self) -> usize {
        match self {
            Coding::Q4_1 => 4,
            Coding::Q8_0 => 8,
        }
    }
}

/// How the sums are computed; all ways give the same results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// 512 bits with VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 256 bits with VNNI.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
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
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vnni")
            {
                ways.push(Way::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
                if is_x86_feature_detected!("avxvnni") {
                    ways.push(Way::AvxVnni);
                }
                ways.push(Way::Avx2);
            }
        }
        ways.push(Way::Plain);
        ways
    }
}

/// A weight matrix in groups of sixteen rows; the last group is filled up with zeros.
pub struct Packed {
    coding: Coding,
    rows: usize,
    columns: usize,
    way: Way,
    /// Per group, per block: [`Coding::lines`] lines. Q8_0 is stored plus 128, because the instructions want one factor
    /// without a sign.
    lines: Vec<Line>,
    /// Per group, per block: sixteen scales, then for Q4_1 sixteen minima, as f16.
    factors: Vec<u16>,
}

/// One group of a matrix.
#[derive(Clone, Copy)]
pub struct Group<'a> {
    /// Blocks in a row.
    pub blocks: usize,
    /// [`Coding::lines`] per block.
    pub lines: &'a [Line],
    /// 16 or 32 per block.
    pub factors: &'a [u16],
}

impl Packed {
    /// Reorders rows as they lie in a GGUF file.
    pub fn new(coding: Coding, rows: usize, columns: usize, bytes: &[u8]) -> Self {
        let blocks = columns / BLOCK;
        let row_bytes = blocks * coding.file_bytes();
        assert_eq!(bytes.len(), rows * row_bytes, "bytes and shape of a matrix agree");
        let groups = rows.div_ceil(GROUP);
        let mut lines = vec![Line([0; 64]); groups * blocks * coding.lines()];
        let mut factors = vec![0u16; groups * blocks * coding.factors() * GROUP];
        let group_lines = lines.par_chunks_mut(blocks * coding.lines());
        let group_factors = factors.par_chunks_mut(blocks * coding.factors() * GROUP);
        group_lines.zip(group_factors).enumerate().for_each(|(group, (lines, factors))| {
            for lane in 0..GROUP.min(rows - group * GROUP) {
                let start = (group * GROUP + lane) * row_bytes;
                pack_row(coding, lane, &bytes[start..start + row_bytes], lines, factors);
            }
        });
        Self { coding, rows, columns, way: Way::available()[0], lines, factors }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        self.rows.div_ceil(GROUP)
    }

    /// Multiplies a group with up to eight tokens from `first` on. The coding decides which kernel runs.
    pub fn compute(&self, group: usize, input: &Quantised, first: usize, count: usize, sums: &mut Sums) {
        self.compute_by(self.way, group, input, (first, count), sums);
    }

    fn compute_by(&self, way: Way, group: usize, input: &Quantised, (first, count): (usize, usize), sums: &mut Sums) {
        assert!(input.columns() == self.columns && count <= TILE && first + count <= input.tokens());
        let blocks = self.columns / BLOCK;
        let lines = blocks * self.coding.lines();
        let factors = blocks * self.coding.factors() * GROUP;
        let group = Group {
            blocks,
            lines: &self.lines[group * lines..(group + 1) * lines],
            factors: &self.factors[group * factors..(group + 1) * factors],
        };
        match way {
            #[cfg(target_arch = "x86_64")]
            Way::Avx512 => x86::avx512(self.coding, group, input, (first, count), sums),
            #[cfg(target_arch = "x86_64")]
            Way::AvxVnni => x86::avx_vnni(self.coding, group, input, (first, count), sums),
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => x86::avx2(self.coding, group, input, (first, count), sums),
            Way::Plain => {
                for (token, sums) in (first..first + count).zip(sums.iter_mut()) {
                    plain(self.coding, group, input, token, sums);
                }
            }
        }
    }

    /// Writes one row out as floats.
    pub fn row(&self, row: usize, output: &mut [f32]) {
        assert!(row < self.rows && output.len() == self.columns);
        let (group, lane) = (row / GROUP, row % GROUP);
        let blocks = self.columns / BLOCK;
        for (block, output) in output.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            let at = group * blocks + block;
            let lines = &self.lines[at * self.coding.lines()..(at + 1) * self.coding.lines()];
            let factors = &self.factors[at * self.coding.factors() * GROUP..];
            let scale = f16::from_bits(factors[lane]).to_f32();
            for (column, output) in output.iter_mut().enumerate() {
                *output = match self.coding {
                    Coding::Q8_0 => f32::from(q8_0(lines, lane, column)) * scale,
                    Coding::Q4_1 => {
                        f32::from(q4_1(lines, lane, column)) * scale + f16::from_bits(factors[GROUP + lane]).to_f32()
                    }
                };
            }
        }
    }
}

fn pack_row(coding: Coding, lane: usize, row: &[u8], lines: &mut [Line], factors: &mut [u16]) {
    let blocks = row.chunks_exact(coding.file_bytes());
    let lines = lines.chunks_exact_mut(coding.lines());
    let factors = factors.chunks_exact_mut(coding.factors() * GROUP);
    for ((block, lines), factors) in blocks.zip(lines).zip(factors) {
        let (heads, quants) = block.split_at(2 * coding.factors());
        for (index, head) in heads.as_chunks::<2>().0.iter().enumerate() {
            factors[index * GROUP + lane] = u16::from_le_bytes(*head);
        }
        for (line, four) in lines.iter_mut().zip(quants.as_chunks::<4>().0) {
            for (place, quant) in line.0[lane * 4..lane * 4 + 4].iter_mut().zip(four) {
                *place = match coding {
                    Coding::Q4_1 => *quant,
                    Coding::Q8_0 => quant ^ 0x80,
                };
            }
        }
    }
}

/// The quant of a column in a block of Q4_1: columns 0 to 15 lie in the low halves of the bytes, 16 to 31 in the high.
fn q4_1(lines: &[Line], lane: usize, column: usize) -> u8 {
    let byte = lines[column % 16 / 4].0[lane * 4 + column % 4];
    if column < 16 { byte & 0x0f } else { byte >> 4 }
}

fn q8_0(lines: &[Line], lane: usize, column: usize) -> i8 {
    (lines[column / 4].0[lane * 4 + column % 4] ^ 0x80) as i8
}

/// What the instructions of x86.rs compute, in plain words.
fn plain(coding: Coding, group: Group, input: &Quantised, token: usize, sums: &mut [f32; GROUP]) {
    let words = &input.words()[token * group.blocks * 8..(token + 1) * group.blocks * 8];
    let scales = &input.scales()[token * group.blocks..(token + 1) * group.blocks];
    let mut partial = [[0f32; GROUP]; WORDS];
    let mut minima = [0f32; GROUP];
    let mut factors = [0f32; 2 * GROUP];
    for (block, scale) in scales.iter().enumerate() {
        let lines = &group.lines[block * coding.lines()..(block + 1) * coding.lines()];
        let count = coding.factors() * GROUP;
        let halves = group.factors[block * count..(block + 1) * count].reinterpret_cast::<f16>();
        for (single, half) in factors.iter_mut().zip(halves) {
            *single = half.to_f32();
        }
        for lane in 0..GROUP {
            for (word, partial) in partial.iter_mut().enumerate() {
                let mut whole = 0i32;
                for (byte, activation) in words[block * WORDS + word].to_le_bytes().into_iter().enumerate() {
                    let column = 4 * word + byte;
                    let weight = match coding {
                        Coding::Q4_1 => i32::from(q4_1(lines, lane, column)),
                        Coding::Q8_0 => i32::from(q8_0(lines, lane, column)),
                    };
                    whole += weight * i32::from(activation as i8);
                }
                partial[lane] = (factors[lane] * scale.step).mul_add(whole as f32, partial[lane]);
            }
            if coding == Coding::Q4_1 {
                minima[lane] = factors[GROUP + lane].mul_add(scale.total, minima[lane]);
            }
        }
    }
    for (lane, sum) in sums.iter_mut().enumerate() {
        let pair = |word: usize| partial[word][lane] + partial[word + 4][lane];
        *sum = ((pair(0) + pair(2)) + (pair(1) + pair(3))) + minima[lane];
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{Device, Tensor};

    use super::*;

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

    fn quantised(coding: Coding, rows: usize, columns: usize) -> (QTensor, Packed) {
        let dtype = match coding {
            Coding::Q4_1 => GgmlDType::Q4_1,
            Coding::Q8_0 => GgmlDType::Q8_0,
        };
        let weights = Tensor::from_vec(noise(rows * columns, 7), (rows, columns), &Device::Cpu).unwrap();
        let tensor = QTensor::quantize(&weights, dtype).unwrap();
        let packed = Packed::new(coding, rows, columns, &tensor.data().unwrap());
        (tensor, packed)
    }

    #[test]
    fn rows_come_back_as_candle_reads_them() {
        for coding in [Coding::Q4_1, Coding::Q8_0] {
            let (tensor, packed) = quantised(coding, 21, 96);
            let expected = tensor.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            for (row, expected) in expected.iter().enumerate() {
                let mut output = vec![0.0; 96];
                packed.row(row, &mut output);
                assert_eq!(&output, expected, "{coding:?}, row {row}");
            }
        }
    }

    #[test]
    fn every_way_gives_the_same_bits_for_every_number_of_tokens() {
        for coding in [Coding::Q4_1, Coding::Q8_0] {
            let (tensor, packed) = quantised(coding, 32, 288);
            let weights = tensor.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            let activations = noise(7 * 288, 99);
            let mut input = Quantised::default();
            input.fill(&crate::engine::team::Team::new("test", 1).unwrap(), &activations, 288);
            for way in Way::available() {
                for count in 1..=7 {
                    let mut sums = [[0.0; GROUP]; TILE];
                    packed.compute_by(way, 1, &input, (7 - count, count), &mut sums);
                    for (token, sums) in (7 - count..7).zip(sums) {
                        let mut expected = [[0.0; GROUP]; TILE];
                        packed.compute_by(Way::Plain, 1, &input, (token, 1), &mut expected);
                        assert_eq!(sums.map(f32::to_bits), expected[0].map(f32::to_bits), "{coding:?} {way:?}");
                        for (lane, sum) in sums.iter().enumerate() {
                            let exact: f32 = (0..288)
                                .map(|column| weights[GROUP + lane][column] * activations[token * 288 + column])
                                .sum();
                            assert!((sum - exact).abs() < 0.05, "{coding:?} {way:?}: {sum} for {exact}");
                        }
                    }
                }
            }
        }
    }
}
