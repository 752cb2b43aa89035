//! The loops over weights of 8 bits in AVX2.
//!
//! `vpmaddubsw` wants one side without a sign. The weights' sizes are that side, and activations take over their signs, by
//! inverting the bits of those that meet a weight below zero: `!a` is `-a - 1`, so that each such product lacks the size
//! of its weight, which is the same for all tokens and where their sums begin ([`below`]). A pair of products is at most
//! 2 · 128 · 128 below zero and 2 · 128 · 127 above, which 16 bits hold.

use std::arch::x86_64::*;

use super::registers::{
    LANES, add, float, keep, load, load_bytes, load_words, multiply, multiply_add, splat, splat_word, store,
};
use super::{BLOCKS, Chunk, GROUP, Sums, WORDS};

/// Registers for the rows of a group.
const PARTS: usize = GROUP / LANES;

/// The sizes of the weights below zero, added up per block and row.
#[target_feature(enable = "avx2,fma")]
pub fn below(lines: &[[u8; 64]]) -> [[i32; GROUP]; BLOCKS] {
    let mut below = [[0; GROUP]; BLOCKS];
    for (lines, below) in lines.as_chunks::<WORDS>().0.iter().zip(&mut below) {
        for part in 0..PARTS {
            let mut pairs = _mm256_setzero_si256();
            for line in lines {
                let weights = _mm256_min_epi8(load_bytes(line, part), _mm256_setzero_si256());
                pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(_mm256_set1_epi8(1), weights));
            }
            let sums = _mm256_madd_epi16(pairs, _mm256_set1_epi16(-1));
            // SAFETY: a row holds two registers.
            unsafe { _mm256_storeu_si256(below.as_mut_ptr().cast::<__m256i>().add(part), sums) };
        }
    }
    below
}

/// Adds the products of lines of weights with C tokens; `below` is that of the lines, `steps` their factors.
#[target_feature(enable = "avx2,fma")]
pub fn blocks<const C: usize>(
    lines: &[[u8; 64]],
    below: &[[i32; GROUP]; BLOCKS],
    steps: &[[f32; GROUP]; BLOCKS],
    tokens: &[Chunk; C],
    sums: &mut [Sums; C],
) {
    let mut registers = [[splat(0.0); PARTS]; C];
    for (registers, sums) in registers.iter_mut().zip(&*sums) {
        *registers = [load(&sums.0, 0), load(&sums.0, 1)];
    }
    for (block, lines) in lines.as_chunks::<WORDS>().0.iter().enumerate().take(BLOCKS) {
        let mut whole = [[load_words(&below[block], 0), load_words(&below[block], 1)]; C];
        for (word, line) in lines.iter().enumerate() {
            let weights = [0, 1].map(|part| load_bytes(line, part));
            let sizes = weights.map(|weights| _mm256_abs_epi8(weights));
            let signs = weights.map(|weights| _mm256_cmpgt_epi8(_mm256_setzero_si256(), weights));
            for (token, whole) in tokens.iter().zip(&mut whole) {
                let numbers = splat_word(token.words[block * WORDS + word]);
                for part in 0..PARTS {
                    let pairs = _mm256_maddubs_epi16(sizes[part], _mm256_xor_si256(numbers, signs[part]));
                    let products = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
                    whole[part] = keep(add(whole[part], products));
                }
            }
        }
        for ((token, whole), registers) in tokens.iter().zip(whole).zip(&mut registers) {
            let step = splat(token.steps[block]);
            for (part, (whole, register)) in whole.into_iter().zip(registers).enumerate() {
                let product = multiply(load(&steps[block], part), step);
                *register = multiply_add(product, float(whole), *register);
            }
        }
    }
    for (registers, sums) in registers.iter().zip(sums) {
        for (part, register) in registers.iter().enumerate() {
            store(&mut sums.0, part, *register);
        }
    }
}

/// The same for a single token, which takes over the signs as they are.
#[target_feature(enable = "avx2,fma")]
pub fn one(lines: &[[u8; 64]], steps: &[[f32; GROUP]; BLOCKS], token: &Chunk, sums: &mut Sums) {
    let mut registers = [load(&sums.0, 0), load(&sums.0, 1)];
    let words = token.words.as_chunks::<WORDS>().0;
    for (block, (lines, words)) in lines.as_chunks::<WORDS>().0.iter().zip(words).enumerate() {
        let mut whole = [_mm256_setzero_si256(); PARTS];
        for (line, word) in lines.iter().zip(words) {
            let numbers = splat_word(*word);
            for (part, whole) in whole.iter_mut().enumerate() {
                let weights = load_bytes(line, part);
                let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(numbers, weights));
                *whole = keep(add(*whole, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
            }
        }
        let step = splat(token.steps[block]);
        for (part, (whole, register)) in whole.into_iter().zip(&mut registers).enumerate() {
            *register = multiply_add(multiply(load(&steps[block], part), step), float(whole), *register);
        }
    }
    for (part, register) in registers.into_iter().enumerate() {
        store(&mut sums.0, part, register);
    }
}
