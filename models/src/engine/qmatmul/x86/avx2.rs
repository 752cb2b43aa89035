//! The loops in AVX2, which sum up in 16 bits.

use super::{BLOCKS, CHUNK, Chunk, GROUP, Packing, Panel, Sums, WORDS, block_loops, one_loops, scale_loops};

block_loops!("avx2,fma");
scale_loops!("avx2,fma");
one_loops!("avx2,fma");

mod ops {
    use std::arch::x86_64::*;

    pub use super::super::registers::*;
    use super::GROUP;

    /// Sums in 16 bits, two per row.
    pub type Short = __m256i;
    /// Scaled sums in 32 bits.
    pub type Scaled = __m256i;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn dot(sum: Short, weights: __m256i, numbers: __m256i) -> Short {
        _mm256_add_epi16(sum, _mm256_maddubs_epi16(weights, numbers))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn widen(short: Short) -> Whole {
        _mm256_madd_epi16(short, _mm256_set1_epi16(1))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn early(_pair: i32, _low: i16, _high: i16) -> Short {
        _mm256_setzero_si256()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn late(pair: i32, low: i16, high: i16) -> Whole {
        pair_times(pair, low, high)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn scaled_zero() -> Scaled {
        _mm256_setzero_si256()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn scaled_start(pair: i32, scales: [&[i32; GROUP]; 2], part: usize) -> Scaled {
        let [first, last] = scales.map(|scales| load_words(scales, part));
        // One scale from each, times -32.
        let both = _mm256_blend_epi16::<0b1010_1010>(first, last);
        let offsets = _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_slli_epi16::<5>(both));
        _mm256_madd_epi16(offsets, _mm256_set1_epi32(pair))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn load_scale(scales: &[i32; GROUP], part: usize) -> __m256i {
        load_words(scales, part)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn add_scaled(sum: Scaled, short: Short, scale: __m256i) -> Scaled {
        _mm256_add_epi32(sum, _mm256_madd_epi16(short, scale))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn scaled_float(scaled: Scaled) -> Float {
        _mm256_cvtepi32_ps(scaled)
    }
}
