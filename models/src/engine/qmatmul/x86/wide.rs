//! The loop over numbers of 16 bits in AVX2.

use super::{BLOCKS, Chunk, GROUP, Packing, Panel, Sums, block_loops, one_eights_loop};

block_loops!("avx2,fma");
one_eights_loop!("avx2,fma");

mod ops {
    use std::arch::x86_64::*;

    pub use super::super::registers::*;

    /// Sums in 32 bits.
    pub type Short = __m256i;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn dot(sum: Short, weights: __m256i, numbers: __m256i) -> Short {
        _mm256_add_epi32(sum, _mm256_madd_epi16(weights, numbers))
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

    /// Four columns in 16 bits: the first and third, then the second and fourth.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn eights(bytes: __m256i) -> [__m256i; 2] {
        [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes)), _mm256_srai_epi16::<8>(bytes)]
    }
}
