//! Takes a matrix through the kernels: which of them, in which pieces, and where the results go.

use std::cell::RefCell;
use std::ops::Range;

use super::activations::{CHUNK, Chunk, Quantised};
use super::coding::{Coding, Eight, GROUP, Packing, Panel};
use super::kernels::Sums;
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::packed::Packed;
use super::plain;
#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::engine::shared::Shared;
use crate::engine::team::Team;

/// Multiplications that are worth handing to another thread.
pub const WORTH_A_THREAD: usize = 1 << 17;

/// Tokens that a panel is multiplied with at most before the next one is made.
const TOKENS: usize = 256;

/// Tokens from which on groups are computed together.
const MANY: usize = 32;

/// Groups that are computed together: the activations of 256 columns stay in the second cache while the panels of all of
/// them pass by, and beside them the groups' sums.
const GROUPS: usize = 8;

/// How far ahead of its use memory is asked for.
const AHEAD: usize = 4096;

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
    /// NEON with dot products.
    #[cfg(target_arch = "aarch64")]
    DotProduct,
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
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
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                if is_x86_feature_detected!("avxvnni") {
                    ways.push(Way::AvxVnni);
                }
                ways.push(Way::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                ways.push(Way::DotProduct);
            }
            ways.push(Way::Neon);
        }
        ways.push(Way::Plain);
        ways
    }

    /// In what form it wants weights of 8 bits.
    fn eight(self) -> Eight {
        match self {
            #[cfg(target_arch = "x86_64")]
            Way::Avx512 | Way::AvxVnni => Eight::Shifted,
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => Eight::Split,
            _ => Eight::Signed,
        }
    }

    /// Adds the products of a packed chunk with tokens to their sums.
    #[expect(unsafe_code, reason = "kernels for the processor at hand")]
    fn add(self, coding: Coding, chunk: &[u8], ahead: usize, panel: &mut Panel, tokens: &[Chunk], sums: &mut [Sums]) {
        // One token leaves nothing to do meanwhile; more do, and the processor waits when too many lines are on their way.
        let mut parts = chunk.chunks(if tokens.len() == 1 { chunk.len() } else { chunk.len().div_ceil(3) });
        let mut fetch_part = || parts.next().into_iter().for_each(|part| fetch(part, ahead));
        fetch_part();
        let packing = coding.split(chunk);
        coding.unpack_factors(&packing, panel);
        if let [sums] = sums
            && self.add_one(coding, &packing, panel, tokens, sums)
        {
            return;
        }
        fetch_part();
        coding.unpack_quants(&packing, self.eight(), panel);
        fetch_part();
        // SAFETY: `Way::available` found what the processor has.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Way::Avx512 => x86::avx512(coding, &packing, panel, tokens, sums),
                #[cfg(target_arch = "x86_64")]
                Way::AvxVnni => x86::avx_vnni(coding, &packing, panel, tokens, sums),
                #[cfg(target_arch = "x86_64")]
                Way::Avx2 => x86::avx2(coding, &packing, panel, tokens, sums),
                #[cfg(target_arch = "aarch64")]
                Way::DotProduct => neon::dotprod(coding, &packing, panel, tokens, sums),
                #[cfg(target_arch = "aarch64")]
                Way::Neon => neon::pairs(coding, &packing, panel, tokens, sums),
                Way::Plain => plain::add(coding, panel, packing.blocks, tokens, sums),
            }
        }
    }

    /// The same for a single token, whose weights are not worth spreading out first; false where that cannot be.
    #[expect(unsafe_code, reason = "kernels for the processor at hand")]
    fn add_one(self, coding: Coding, packing: &Packing<'_>, panel: &Panel, tokens: &[Chunk], sums: &mut Sums) -> bool {
        // SAFETY: `Way::available` found what the processor has.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Way::Avx512 => x86::avx512_one(coding, packing, panel, tokens, sums),
                #[cfg(target_arch = "x86_64")]
                Way::AvxVnni => x86::avx_vnni_one(coding, packing, panel, tokens, sums),
                #[cfg(target_arch = "x86_64")]
                Way::Avx2 => x86::avx2_one(coding, packing, panel, tokens, sums),
                #[cfg(target_arch = "aarch64")]
                Way::DotProduct => neon::dotprod_one(coding, packing, panel, tokens, sums),
                #[cfg(target_arch = "aarch64")]
                Way::Neon => neon::pairs_one(coding, packing, panel, tokens, sums),
                Way::Plain => false,
            }
        }
    }
}

/// Where results go: rows `stride` apart, from `offset` on in each.
pub struct Place<'a> {
    /// The rows of all tokens.
    pub output: Shared<'a, f32>,
    /// Length of a row.
    pub stride: usize,
    /// Where in a row.
    pub offset: usize,
    /// What is added, one number per row of the weights, or nothing.
    pub bias: &'a [f32],
}

/// What a thread works in.
struct Room {
    panel: Panel,
    sums: [Sums; GROUPS * TOKENS],
}

thread_local! {
    static ROOM: RefCell<Box<Room>> = RefCell::new(Box::new(Room { panel: Panel::new(), sums: [Sums([0.0; GROUP]); GROUPS * TOKENS] }));
}

/// Multiplies all tokens with all weights, on all threads.
pub fn multiply(team: &Team, way: Way, weights: &Packed, input: &Quantised, place: &Place) {
    assert_eq!(input.columns(), weights.columns(), "weights and activations have the same columns");
    let groups = weights.groups();
    let work = weights.rows() * input.columns() * input.tokens();
    let pieces = (work / WORTH_A_THREAD).clamp(1, 4 * team.threads()).min(groups);
    team.run(pieces, |piece| {
        let range = piece * groups / pieces..(piece + 1) * groups / pieces;
        ROOM.with_borrow_mut(|room| multiply_groups(way, weights, input, place, range, room));
    });
}

fn multiply_groups(
    way: Way,
    weights: &Packed,
    input: &Quantised,
    place: &Place,
    groups: Range<usize>,
    room: &mut Room,
) {
    let coding = weights.coding();
    for first in (0..input.tokens()).step_by(TOKENS) {
        let tokens = first..input.tokens().min(first + TOKENS);
        // For few tokens all time goes into reading weights, so they are read in the order in which they lie.
        let (together, ahead) =
            if tokens.len() < MANY { (1, AHEAD) } else { (GROUPS, GROUP * coding.bytes(weights.columns())) };
        for start in groups.clone().step_by(together) {
            let some = start..groups.end.min(start + together);
            let sums = &mut room.sums[..some.len() * tokens.len()];
            sums.fill(Sums([0.0; GROUP]));
            for index in 0..weights.columns().div_ceil(CHUNK) {
                for (group, sums) in some.clone().zip(sums.chunks_exact_mut(tokens.len())) {
                    let chunk = weights.chunk(group, index);
                    way.add(coding, chunk, ahead, &mut room.panel, input.chunk(index, tokens.clone()), sums);
                }
            }
            write(place, some.start * GROUP, weights.rows(), tokens.clone(), sums);
        }
    }
}

/// Asks for as many bytes as these, so far ahead of them, so that they are there when their turn comes.
#[inline]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "a hint to the processor"))]
fn fetch(bytes: &[u8], ahead: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint reads nothing, wherever it points to.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().wrapping_add(ahead).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, ahead);
}

/// Writes the sums of groups of rows, token by token: rows of the output lie far apart.
#[expect(unsafe_code, reason = "writes into a buffer that other threads fill too")]
fn write(place: &Place, first_row: usize, rows: usize, tokens: Range<usize>, sums: &mut [Sums]) {
    for (index, token) in tokens.clone().enumerate() {
        for (group, sums) in sums.chunks_exact_mut(tokens.len()).enumerate() {
            let first_row = first_row + group * GROUP;
            let rows = first_row..rows.min(first_row + GROUP);
            let Sums(sums) = &mut sums[index];
            if let Some(bias) = place.bias.get(rows.clone()) {
                for (sum, bias) in sums.iter_mut().zip(bias) {
                    *sum += bias;
                }
            }
            let at = token * place.stride + place.offset + first_row;
            // SAFETY: every group belongs to one piece, and groups write to rows of their own.
            unsafe {
                match rows.len() {
                    // Of a known size: without a call.
                    GROUP => place.output.pointer(at, GROUP).cast::<[f32; GROUP]>().write(*sums),
                    fewer => place.output.write(at, &sums[..fewer]),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use candle_core::quantized::GgmlDType;

    use super::super::tests::{CODINGS, quantised};
    use super::*;
    use crate::engine::noise::noise;

    fn compute(team: &Team, way: Way, weights: &Packed, input: &[f32]) -> Vec<f32> {
        let mut activations = Quantised::default();
        activations.fill(team, input, weights.columns());
        let mut output = vec![f32::NAN; activations.tokens() * weights.rows()];
        let place = Place { output: Shared::new(&mut output), stride: weights.rows(), offset: 0, bias: &[] };
        multiply(team, way, weights, &activations, &place);
        output
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// A block with a step (and a minimum or a factor) and all other bytes the same.
    fn block(dtype: GgmlDType, step: f32, byte: u8) -> Vec<u8> {
        let mut bytes = vec![byte; dtype.type_size()];
        let step = half::f16::from_f32(step).to_le_bytes();
        match dtype {
            GgmlDType::Q6K => bytes[208..].copy_from_slice(&step),
            GgmlDType::Q4_1 | GgmlDType::Q5_1 | GgmlDType::Q4K | GgmlDType::Q5K => {
                bytes[..2].copy_from_slice(&step);
                bytes[2..4].copy_from_slice(&step);
            }
            _ => bytes[..2].copy_from_slice(&step),
        }
        bytes
    }

    #[test]
    fn every_way_gives_the_same_bits_for_every_number_of_tokens() {
        let team = Team::new("test", 2).unwrap();
        for dtype in CODINGS {
            let unit = dtype.block_size();
            for (rows, columns) in [(1, unit), (16, 256), (37, 256 + unit), (40, 1024), (19, 768 - unit)] {
                let (_, weights) = quantised(dtype, rows, columns);
                let input = noise(17 * columns, 99);
                let expected = bits(&compute(&team, Way::Plain, &weights, &input));
                for way in Way::available() {
                    for tokens in 1..=17 {
                        let output = compute(&team, way, &weights, &input[..tokens * columns]);
                        assert_eq!(bits(&output), expected[..tokens * rows], "{dtype:?} {way:?} {tokens} tokens");
                    }
                }
            }
        }
    }

    #[test]
    fn products_are_those_of_the_weights_that_candle_reads() {
        let team = Team::new("test", 1).unwrap();
        for dtype in CODINGS {
            let (tensor, weights) = quantised(dtype, 33, 768);
            let floats = tensor.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            let input = noise(300 * 768, 5);
            for way in Way::available() {
                let output = compute(&team, way, &weights, &input);
                for (input, output) in input.chunks(768).zip(output.chunks(33)) {
                    for (row, sum) in floats.iter().zip(output) {
                        let exact: f64 = row.iter().zip(input).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                        // Rounding activations to 8 bits leaves about 0.011 (one step is 0.5 / 127) per root of columns.
                        assert!((f64::from(*sum) - exact).abs() < 0.08, "{dtype:?} {way:?}: {sum} for {exact}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let team = Team::new("test", 1).unwrap();
        for dtype in CODINGS {
            let columns = 512;
            for byte in [0x00, 0x7f, 0x80, 0xff, 0x20, 0xe0] {
                let row = block(dtype, 65504.0, byte).repeat(columns / dtype.block_size());
                let weights = Packed::new(Coding::of(dtype).unwrap(), columns, &[&row.repeat(16)]).unwrap();
                let mut row = vec![0.0; columns];
                weights.row(0, &mut row);
                for (even, odd) in [(127.0, 127.0), (-127.0, -127.0), (127.0, -127.0)] {
                    let input: Vec<f32> = [even, odd].repeat(columns / 2);
                    let exact: f64 = row.iter().zip(&input).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    let expected = bits(&compute(&team, Way::Plain, &weights, &input));
                    for way in Way::available() {
                        let output = compute(&team, way, &weights, &input);
                        assert_eq!(bits(&output), expected, "{dtype:?} {way:?} {byte:#x}");
                        let size: f64 = row.iter().map(|weight| f64::from(weight.abs()) * 127.0).sum();
                        // Sums of a block that no f16 holds exactly are rounded to it.
                        let error = (f64::from(output[0]) - exact).abs();
                        assert!(error <= size * 1e-3, "{dtype:?} {way:?} {byte:#x}: {} for {exact}", output[0]);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_spoils_its_token_and_no_other() {
        let team = Team::new("test", 1).unwrap();
        for dtype in CODINGS {
            let (_, weights) = quantised(dtype, 20, 512);
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut input = noise(5 * 512, 3);
                let clean = input.clone();
                input[3 * 512 + 300] = bad;
                for way in Way::available() {
                    let output = compute(&team, way, &weights, &input);
                    let expected = compute(&team, way, &weights, &clean);
                    for (token, (output, expected)) in output.chunks(20).zip(expected.chunks(20)).enumerate() {
                        match token {
                            3 => assert!(output.iter().all(|sum| !sum.is_finite()), "{dtype:?} {way:?} {bad}"),
                            _ => assert_eq!(bits(output), bits(expected), "{dtype:?} {way:?} {bad}"),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_smallest_numbers_count() {
        let team = Team::new("test", 1).unwrap();
        for dtype in CODINGS {
            let (tensor, weights) = quantised(dtype, 16, 256);
            let floats = tensor.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            let input: Vec<f32> = noise(256, 11).iter().map(|value| value * 1e-30).collect();
            for way in Way::available() {
                let output = compute(&team, way, &weights, &input);
                for (row, sum) in floats.iter().zip(output) {
                    let exact: f64 = row.iter().zip(&input).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    assert!((f64::from(sum) - exact).abs() < 0.08e-30, "{dtype:?} {way:?}: {sum} for {exact}");
                }
            }
        }
    }
}
