//! The loop over weights of 8 bits in AVX2.

use super::{BLOCKS, Chunk, GROUP, Packing, Panel, Sums, WORDS, block_loops, one_eights_loop};

block_loops!("avx2,fma");
one_eights_loop!("avx2,fma");

mod ops {
    use std::arch::x86_64::*;

    pub use super::super::registers::*;

    /// Sums in 32 bits.
    pub type Short = __m256i;

    /// The weights' signs go over to the activations: a pair of products is then at most 2 · 128 · 127, which 16 bits hold.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn dot(sum: Short, weights: __m256i, numbers: __m256i) -> Short {
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(numbers, weights));
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn widen(short: Short) -> Whole {
        short
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn early(_pair: i32, _low: i16, _high: i16) -> Short {
        _mm256_setzero_si256()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn late(_pair: i32, _low: i16, _high: i16) -> Whole {
        _mm256_setzero_si256()
    }

    /// As they are.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn eights(bytes: __m256i) -> __m256i {
        bytes
    }
}
