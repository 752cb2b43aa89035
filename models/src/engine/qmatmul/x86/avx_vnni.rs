//! The loops in AVX-VNNI.

use super::{
    BLOCKS, CHUNK, Chunk, GROUP, Packing, Panel, Sums, WORDS, block_loops, one_eights_loop, one_loops, scale_loops,
};

block_loops!("avx2,fma,avxvnni");
scale_loops!("avx2,fma,avxvnni");
one_loops!("avx2,fma,avxvnni");
one_eights_loop!("avx2,fma,avxvnni");

mod ops {
    use std::arch::x86_64::*;

    pub use super::super::registers::*;
    use super::GROUP;

    /// Sums in 32 bits.
    pub type Short = __m256i;
    /// Scaled sums as floats: they stay below 2²⁴, where all whole numbers are floats.
    pub type Scaled = __m256;

    #[inline]
    #[target_feature(enable = "avx2,fma,avxvnni")]
    pub fn dot(sum: Short, weights: __m256i, numbers: __m256i) -> Short {
        _mm256_dpbusd_avx_epi32(sum, weights, numbers)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn widen(short: Short) -> Whole {
        short
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn early(pair: i32, low: i16, high: i16) -> Short {
        pair_times(pair, low, high)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn late(_pair: i32, _low: i16, _high: i16) -> Whole {
        _mm256_setzero_si256()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn scaled_zero() -> Scaled {
        _mm256_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn scaled_start(_pair: i32, _scales: [&[i32; GROUP]; 2], _part: usize) -> Scaled {
        _mm256_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn load_scale(scales: &[i32; GROUP], part: usize) -> __m256 {
        _mm256_cvtepi32_ps(_mm256_srai_epi32::<16>(load_words(scales, part)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn add_scaled(sum: Scaled, short: Short, scale: __m256) -> Scaled {
        _mm256_fmadd_ps(_mm256_cvtepi32_ps(short), scale, sum)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn scaled_float(scaled: Scaled) -> Float {
        scaled
    }

    /// Plus 128, without a sign.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn eights(bytes: __m256i) -> __m256i {
        _mm256_xor_si256(bytes, _mm256_set1_epi8(-128))
    }
}
