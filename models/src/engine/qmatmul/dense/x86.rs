//! The kernels of `dense` in AVX-512 and AVX2: the same loop for two widths of registers.
#![expect(unsafe_code, reason = "processor instructions on raw pointers")]

use std::arch::x86_64::*;

use super::product::{Block, Sums};
use super::{Coding, GROUP};

const F32: u8 = 0;
const F16: u8 = 1;
const BF16: u8 = 2;

/// Calls the loop for the coding and for a number of tokens and registers that the compiler knows.
macro_rules! call {
    ($kernel:ident, $coding:expr, $block:expr, $sums:expr, $registers:literal, [$($tokens:literal $groups:literal),+]) => {
        match ($block.tokens, $block.groups) {
            $(($tokens, $groups) => {
                // SAFETY: the caller found the processor's features and vouches for the numbers.
                unsafe {
                    match $coding {
                        Coding::F32 => $kernel::<F32, $tokens, { $registers * $groups }>(&$block, $sums),
                        Coding::F16 => $kernel::<F16, $tokens, { $registers * $groups }>(&$block, $sums),
                        Coding::Bf16 => $kernel::<BF16, $tokens, { $registers * $groups }>(&$block, $sums),
                    }
                }
            })+
            (tokens, groups) => unreachable!("{tokens} tokens and {groups} groups are no tile"),
        }
    };
}

/// 512 bits, for up to 3 tokens and 4 groups or 12 tokens and 2 groups.
///
/// # Safety
/// The processor must have AVX-512F, and all numbers of the block and the sums must be there.
pub unsafe fn avx512(coding: Coding, block: Block, sums: Sums) {
    call!(
        multiply_512, coding, block, sums, 1,
        [
            1 1, 1 2, 1 3, 1 4, 2 1, 2 2, 2 3, 2 4, 3 1, 3 2, 3 3, 3 4, 4 1, 4 2, 5 1, 5 2, 6 1, 6 2, 7 1, 7 2, 8 1, 8 2,
            9 1, 9 2, 10 1, 10 2, 11 1, 11 2, 12 1, 12 2
        ]
    );
}

/// 256 bits, for 1 token and 4 groups, up to 3 tokens and 2 groups or 6 tokens and 1 group.
///
/// # Safety
/// The processor must have AVX2, FMA and F16C, and all numbers of the block and the sums must be there.
pub unsafe fn avx2(coding: Coding, block: Block, sums: Sums) {
    call!(multiply_256, coding, block, sums, 2, [1 1, 1 2, 1 3, 1 4, 2 1, 2 2, 3 1, 3 2, 4 1, 5 1, 6 1]);
}

/// Writes the loop for registers of `$lanes` floats: `C` tokens and `V` registers of rows.
macro_rules! kernel {
    ($features:literal, $name:ident, $vector:ident, $lanes:literal, $zero:ident, $set:ident, $fma:ident, $weights:ident,
     $load:ident, $store:ident) => {
        /// # Safety
        /// All numbers of `C` tokens and the groups of `V` registers must be there.
        #[target_feature(enable = $features)]
        unsafe fn $name<const CODING: u8, const C: usize, const V: usize>(block: &Block, sums: Sums) {
            const IN_GROUP: usize = GROUP / $lanes;
            let width = if CODING == F32 { 4 } else { 2 };
            let mut total = [[$zero(); V]; C];
            // SAFETY: all places lie within what the caller vouches for.
            unsafe {
                if !block.begins {
                    for (token, total) in total.iter_mut().enumerate() {
                        for (v, total) in total.iter_mut().enumerate() {
                            *total = $load(sums.start.add(token * sums.stride + v * $lanes));
                        }
                    }
                }
                let input = block.input.as_ptr();
                let mut weights = block.weights.as_ptr();
                for column in 0..block.columns {
                    let mut rows = [$zero(); V];
                    for (v, rows) in rows.iter_mut().enumerate() {
                        let group = v / IN_GROUP;
                        let at = group * block.group_bytes + (v - group * IN_GROUP) * $lanes * width;
                        *rows = $weights::<CODING>(weights.add(at));
                    }
                    for (token, total) in total.iter_mut().enumerate() {
                        let activation = $set(*input.add(token * block.stride + column));
                        for (total, rows) in total.iter_mut().zip(rows) {
                            *total = $fma(rows, activation, *total);
                        }
                    }
                    weights = weights.add(GROUP * width);
                }
                for (token, total) in total.iter().enumerate() {
                    for (v, total) in total.iter().enumerate() {
                        $store(sums.start.add(token * sums.stride + v * $lanes), *total);
                    }
                }
            }
        }
    };
}

kernel!(
    "avx512f",
    multiply_512,
    __m512,
    16,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    weights_512,
    _mm512_loadu_ps,
    _mm512_storeu_ps
);
kernel!(
    "avx2,fma,f16c",
    multiply_256,
    __m256,
    8,
    _mm256_setzero_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps,
    weights_256,
    _mm256_loadu_ps,
    _mm256_storeu_ps
);

/// Sixteen weights as floats.
///
/// # Safety
/// They must be readable.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn weights_512<const CODING: u8>(weights: *const u8) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        match CODING {
            F32 => _mm512_loadu_ps(weights.cast()),
            F16 => _mm512_cvtph_ps(_mm256_loadu_si256(weights.cast())),
            _ => {
                let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(weights.cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
            }
        }
    }
}

/// Eight weights as floats.
///
/// # Safety
/// They must be readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn weights_256<const CODING: u8>(weights: *const u8) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        match CODING {
            F32 => _mm256_loadu_ps(weights.cast()),
            F16 => _mm256_cvtph_ps(_mm_loadu_si128(weights.cast())),
            _ => {
                let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(weights.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
            }
        }
    }
}
