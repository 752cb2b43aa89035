//! The kernels of `packed` in the instructions of x86: AVX-512 VNNI, AVX-VNNI and AVX2.
//!
//! All three add up whole numbers exactly and round at the same places as the plain version. The instruction
//! `vpdpbusd` takes bytes without a sign from the left and with a sign from the right; Q8_0 is therefore stored plus 128,
//! and 128 times the activations is taken off again. AVX2 has no such instruction: there the products of two neighbours are added in 16 bits, which cannot overflow (4 bits: 2 · 15 · 127; 8 bits: 2 · 128 · 127).
#![expect(unsafe_code, reason = "processor instructions on raw pointers")]

use std::arch::x86_64::*;

use super::activations::Quantised;
use super::packed::{Coding, GROUP, Group, Sums, WORDS};

/// Runs a kernel for `count` tokens in tiles whose size is known to the compiler.
macro_rules! by_tiles {
    ($kernel:ident, $group:expr, $input:expr, $range:expr, $sums:expr, [$($size:literal),+]) => {{
        let (first, count) = $range;
        let mut done = 0;
        $(
            while count - done >= $size {
                // SAFETY: the caller of the enclosing function found the processor's features; the kernel itself checks
                // that group and tokens lie within their slices.
                unsafe { $kernel::<$size>($group, $input, first + done, &mut $sums[done..done + $size]) };
                done += $size;
            }
        )+
    }};
}

/// 512 bits with VNNI. Must only be called where `Way::available` found it.
pub fn avx512(coding: Coding, group: Group, input: &Quantised, range: (usize, usize), sums: &mut Sums) {
    match coding {
        Coding::Q4_1 => by_tiles!(avx512_q4_1, group, input, range, sums, [2, 1]),
        Coding::Q8_0 => by_tiles!(avx512_q8_0, group, input, range, sums, [2, 1]),
    }
}

/// 256 bits with VNNI. Must only be called where `Way::available` found it.
pub fn avx_vnni(coding: Coding, group: Group, input: &Quantised, range: (usize, usize), sums: &mut Sums) {
    match coding {
        Coding::Q4_1 => by_tiles!(avx_vnni_q4_1, group, input, range, sums, [1]),
        Coding::Q8_0 => by_tiles!(avx_vnni_q8_0, group, input, range, sums, [1]),
    }
}

/// 256 bits. Must only be called where `Way::available` found it.
pub fn avx2(coding: Coding, group: Group, input: &Quantised, range: (usize, usize), sums: &mut Sums) {
    match coding {
        Coding::Q4_1 => by_tiles!(avx2_q4_1, group, input, range, sums, [1]),
        Coding::Q8_0 => by_tiles!(avx2_q8_0, group, input, range, sums, [1]),
    }
}

/// Makes sure that a kernel's pointers stay inside its slices.
fn check(coding: Coding, group: Group, input: &Quantised, first: usize, sums: &[[f32; GROUP]], count: usize) {
    let factors = match coding {
        Coding::Q4_1 => 2 * GROUP,
        Coding::Q8_0 => GROUP,
    };
    assert!(
        group.lines.len() == group.blocks * coding.lines()
            && group.factors.len() == group.blocks * factors
            && input.words().len() >= (first + count) * group.blocks * WORDS
            && input.scales().len() >= (first + count) * group.blocks
            && sums.len() == count
    );
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn avx512_q4_1<const C: usize>(group: Group, input: &Quantised, first: usize, sums: &mut [[f32; GROUP]]) {
    check(Coding::Q4_1, group, input, first, sums, C);
    let row_words = group.blocks * WORDS;
    let low_half = _mm512_set1_epi8(0x0f);
    let zero = _mm512_setzero_si512();
    let mut partial = [[_mm512_setzero_ps(); WORDS]; C];
    let mut minima_sums = [_mm512_setzero_ps(); C];
    // SAFETY: `check` made sure that every place read below lies within its slice.
    unsafe {
        let words = input.words().as_ptr().add(first * row_words);
        let scales = input.scales().as_ptr().add(first * group.blocks);
        for block in 0..group.blocks {
            let lines = group.lines.as_ptr().add(block * 4).cast::<__m512i>();
            let factors = group.factors.as_ptr().add(block * 2 * GROUP).cast::<__m256i>();
            let steps = _mm512_cvtph_ps(_mm256_loadu_si256(factors));
            let minima = _mm512_cvtph_ps(_mm256_loadu_si256(factors.add(1)));
            let mut step = [_mm512_setzero_ps(); C];
            for token in 0..C {
                let scale = &*scales.add(token * group.blocks + block);
                step[token] = _mm512_mul_ps(steps, _mm512_set1_ps(scale.step));
                minima_sums[token] = _mm512_fmadd_ps(minima, _mm512_set1_ps(scale.total), minima_sums[token]);
            }
            for line in 0..4 {
                let both = _mm512_load_si512(lines.add(line));
                let low = _mm512_and_si512(both, low_half);
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(both), low_half);
                for token in 0..C {
                    let word = words.add(token * row_words + block * WORDS + line);
                    let whole_low = _mm512_dpbusd_epi32(zero, low, _mm512_set1_epi32(*word));
                    let whole_high = _mm512_dpbusd_epi32(zero, high, _mm512_set1_epi32(*word.add(4)));
                    let partial = &mut partial[token];
                    partial[line] = _mm512_fmadd_ps(step[token], _mm512_cvtepi32_ps(whole_low), partial[line]);
                    partial[line + 4] = _mm512_fmadd_ps(step[token], _mm512_cvtepi32_ps(whole_high), partial[line + 4]);
                }
            }
        }
        for token in 0..C {
            let total = _mm512_add_ps(fold_512(&partial[token]), minima_sums[token]);
            _mm512_storeu_ps(sums[token].as_mut_ptr(), total);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn avx512_q8_0<const C: usize>(group: Group, input: &Quantised, first: usize, sums: &mut [[f32; GROUP]]) {
    check(Coding::Q8_0, group, input, first, sums, C);
    let row_words = group.blocks * WORDS;
    let offset = _mm512_set1_epi8(-128);
    let zero = _mm512_setzero_si512();
    let mut partial = [[_mm512_setzero_ps(); WORDS]; C];
    // SAFETY: `check` made sure that every place read below lies within its slice.
    unsafe {
        let words = input.words().as_ptr().add(first * row_words);
        let scales = input.scales().as_ptr().add(first * group.blocks);
        for block in 0..group.blocks {
            let lines = group.lines.as_ptr().add(block * 8).cast::<__m512i>();
            let factors = group.factors.as_ptr().add(block * GROUP).cast::<__m256i>();
            let steps = _mm512_cvtph_ps(_mm256_loadu_si256(factors));
            let mut step = [_mm512_setzero_ps(); C];
            for (token, step) in step.iter_mut().enumerate() {
                let scale = &*scales.add(token * group.blocks + block);
                *step = _mm512_mul_ps(steps, _mm512_set1_ps(scale.step));
            }
            for line in 0..8 {
                let weights = _mm512_load_si512(lines.add(line));
                for token in 0..C {
                    let word = _mm512_set1_epi32(*words.add(token * row_words + block * WORDS + line));
                    let excess = _mm512_dpbusd_epi32(zero, offset, word);
                    let whole = _mm512_sub_epi32(_mm512_dpbusd_epi32(zero, weights, word), excess);
                    let partial = &mut partial[token][line];
                    *partial = _mm512_fmadd_ps(step[token], _mm512_cvtepi32_ps(whole), *partial);
                }
            }
        }
        for token in 0..C {
            // Adding nothing for minima keeps the sign of zero as the plain version has it.
            let total = _mm512_add_ps(fold_512(&partial[token]), _mm512_setzero_ps());
            _mm512_storeu_ps(sums[token].as_mut_ptr(), total);
        }
    }
}

/// Adds the eight sums of sixteen rows pairwise.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_512(partial: &[__m512; WORDS]) -> __m512 {
    let even = _mm512_add_ps(_mm512_add_ps(partial[0], partial[4]), _mm512_add_ps(partial[2], partial[6]));
    let odd = _mm512_add_ps(_mm512_add_ps(partial[1], partial[5]), _mm512_add_ps(partial[3], partial[7]));
    _mm512_add_ps(even, odd)
}

/// The kernels in 256 bits, for half a group and one token at a time, with and without VNNI.
macro_rules! kernels_256 {
    ($features:literal, $q4_1:ident, $q8_0:ident, $small:ident, $signed:ident) => {
        #[target_feature(enable = $features)]
        fn $q4_1<const C: usize>(group: Group, input: &Quantised, first: usize, sums: &mut [[f32; GROUP]]) {
            check(Coding::Q4_1, group, input, first, sums, C);
            let low_half = _mm256_set1_epi8(0x0f);
            for (token, sums) in sums.iter_mut().enumerate() {
                for half in 0..2 {
                    let mut partial = [_mm256_setzero_ps(); WORDS];
                    let mut minima_sum = _mm256_setzero_ps();
                    // SAFETY: `check` made sure that every place read below lies within its slice.
                    unsafe {
                        let words = input.words().as_ptr().add((first + token) * group.blocks * WORDS);
                        let scales = input.scales().as_ptr().add((first + token) * group.blocks);
                        for block in 0..group.blocks {
                            let lines = group.lines.as_ptr().add(block * 4).cast::<__m256i>().add(half);
                            let factors = group.factors.as_ptr().add(block * 2 * GROUP).cast::<__m128i>().add(half);
                            let scale = &*scales.add(block);
                            let steps = _mm256_cvtph_ps(_mm_loadu_si128(factors));
                            let minima = _mm256_cvtph_ps(_mm_loadu_si128(factors.add(2)));
                            let step = _mm256_mul_ps(steps, _mm256_set1_ps(scale.step));
                            minima_sum = _mm256_fmadd_ps(minima, _mm256_set1_ps(scale.total), minima_sum);
                            for line in 0..4 {
                                let both = _mm256_load_si256(lines.add(2 * line));
                                let low = _mm256_and_si256(both, low_half);
                                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), low_half);
                                let word = words.add(block * WORDS + line);
                                let whole_low = _mm256_cvtepi32_ps($small(low, _mm256_set1_epi32(*word)));
                                let whole_high = _mm256_cvtepi32_ps($small(high, _mm256_set1_epi32(*word.add(4))));
                                partial[line] = _mm256_fmadd_ps(step, whole_low, partial[line]);
                                partial[line + 4] = _mm256_fmadd_ps(step, whole_high, partial[line + 4]);
                            }
                        }
                        let total = _mm256_add_ps(fold_256(&partial), minima_sum);
                        _mm256_storeu_ps(sums.as_mut_ptr().add(8 * half), total);
                    }
                }
            }
        }

        #[target_feature(enable = $features)]
        fn $q8_0<const C: usize>(group: Group, input: &Quantised, first: usize, sums: &mut [[f32; GROUP]]) {
            check(Coding::Q8_0, group, input, first, sums, C);
            for (token, sums) in sums.iter_mut().enumerate() {
                for half in 0..2 {
                    let mut partial = [_mm256_setzero_ps(); WORDS];
                    // SAFETY: `check` made sure that every place read below lies within its slice.
                    unsafe {
                        let words = input.words().as_ptr().add((first + token) * group.blocks * WORDS);
                        let scales = input.scales().as_ptr().add((first + token) * group.blocks);
                        for block in 0..group.blocks {
                            let lines = group.lines.as_ptr().add(block * 8).cast::<__m256i>().add(half);
                            let factors = group.factors.as_ptr().add(block * GROUP).cast::<__m128i>().add(half);
                            let steps = _mm256_cvtph_ps(_mm_loadu_si128(factors));
                            let step = _mm256_mul_ps(steps, _mm256_set1_ps((*scales.add(block)).step));
                            for (line, partial) in partial.iter_mut().enumerate() {
                                let weights = _mm256_load_si256(lines.add(2 * line));
                                let word = _mm256_set1_epi32(*words.add(block * WORDS + line));
                                let whole = _mm256_cvtepi32_ps($signed(weights, word));
                                *partial = _mm256_fmadd_ps(step, whole, *partial);
                            }
                        }
                        // Adding nothing for minima keeps the sign of zero as the plain version has it.
                        let total = _mm256_add_ps(fold_256(&partial), _mm256_setzero_ps());
                        _mm256_storeu_ps(sums.as_mut_ptr().add(8 * half), total);
                    }
                }
            }
        }
    };
}

kernels_256!("avx2,fma,f16c,avxvnni", avx_vnni_q4_1, avx_vnni_q8_0, vnni_small, vnni_signed);
kernels_256!("avx2,fma,f16c", avx2_q4_1, avx2_q8_0, avx2_small, avx2_signed);

/// Adds the eight sums of eight rows pairwise.
#[inline]
#[target_feature(enable = "avx2")]
fn fold_256(partial: &[__m256; WORDS]) -> __m256 {
    let even = _mm256_add_ps(_mm256_add_ps(partial[0], partial[4]), _mm256_add_ps(partial[2], partial[6]));
    let odd = _mm256_add_ps(_mm256_add_ps(partial[1], partial[5]), _mm256_add_ps(partial[3], partial[7]));
    _mm256_add_ps(even, odd)
}

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn vnni_small(weights: __m256i, activations: __m256i) -> __m256i {
    _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), weights, activations)
}

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn vnni_signed(weights: __m256i, activations: __m256i) -> __m256i {
    let signed = _mm256_xor_si256(weights, _mm256_set1_epi8(-128));
    vnni_small(_mm256_abs_epi8(signed), _mm256_sign_epi8(activations, signed))
}

#[inline]
#[target_feature(enable = "avx2")]
fn avx2_small(weights: __m256i, activations: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(weights, activations);
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

#[inline]
#[target_feature(enable = "avx2")]
fn avx2_signed(weights: __m256i, activations: __m256i) -> __m256i {
    let signed = _mm256_xor_si256(weights, _mm256_set1_epi8(-128));
    avx2_small(_mm256_abs_epi8(signed), _mm256_sign_epi8(activations, signed))
}
