//! The loops over weights of 8 bits in AVX2.
//!
//! `vpmaddubsw` wants one side without a sign. The weights' sizes are that side, and activations take over their signs, by
//! inverting the bits of those that meet a weight below zero: `!a` is `-a - 1`, so that each such product lacks the size
//! of its weight. What is lacking is the same for all tokens, and where their sums begin ([`Panel::below`]). A pair of
//! products is at most 2 · 128 · 128 below zero and 2 · 128 · 127 above, which 16 bits hold.

use std::arch::x86_64::*;

use super::registers::{
    LANES, add, float, keep, load, load_bytes, load_words, multiply, multiply_add, splat, splat_word, store,
    store_bytes, store_words,
};
use super::{BLOCKS, Chunk, GROUP, Panel, Sums, WORDS};

/// Registers for the rows of a group.
const PARTS: usize = GROUP / LANES;

/// Spreads weights out: their sizes, which of them are below zero, and the sum of those per block and row.
#[target_feature(enable = "avx2,fma")]
pub fn spread(lines: &[[u8; 64]], panel: &mut Panel) {
    let places = panel.quants.as_chunks_mut::<WORDS>().0.iter_mut().zip(panel.signs.as_chunks_mut::<WORDS>().0);
    for ((lines, (sizes, signs)), below) in lines.as_chunks::<WORDS>().0.iter().zip(places).zip(&mut panel.below) {
        for part in 0..PARTS {
            let mut pairs = _mm256_setzero_si256();
            for ((line, sizes), signs) in lines.iter().zip(&mut *sizes).zip(&mut *signs) {
                let weights = load_bytes(line, part);
                let negative = _mm256_cmpgt_epi8(_mm256_setzero_si256(), weights);
                store_bytes(sizes, part, _mm256_abs_epi8(weights));
                store_bytes(signs, part, negative);
                let only = _mm256_and_si256(weights, negative);
                pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(_mm256_set1_epi8(1), only));
            }
            store_words(below, part, _mm256_madd_epi16(pairs, _mm256_set1_epi16(-1)));
        }
    }
}

/// Adds the products of a panel that was spread with C tokens.
#[target_feature(enable = "avx2,fma")]
pub fn blocks<const C: usize>(panel: &Panel, blocks: usize, tokens: &[Chunk; C], sums: &mut [Sums; C]) {
    assert!(blocks <= BLOCKS);
    let mut registers = [[splat(0.0); PARTS]; C];
    for (registers, sums) in registers.iter_mut().zip(&*sums) {
        *registers = [load(&sums.0, 0), load(&sums.0, 1)];
    }
    for block in 0..blocks {
        let mut whole = [[load_words(&panel.below[block], 0), load_words(&panel.below[block], 1)]; C];
        for word in block * WORDS..(block + 1) * WORDS {
            let sizes = [0, 1].map(|part| load_bytes(&panel.quants[word], part));
            let signs = [0, 1].map(|part| load_bytes(&panel.signs[word], part));
            for (token, whole) in tokens.iter().zip(&mut whole) {
                let numbers = splat_word(token.words[word]);
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
                let product = multiply(load(&panel.steps[block], part), step);
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
