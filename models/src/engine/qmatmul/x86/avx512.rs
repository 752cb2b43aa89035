//! The loops in AVX-512 VNNI.

use super::{BLOCKS, Chunk, GROUP, Narrow, Panel, Sums, WORDS, block_loops, scale_loops, times};

block_loops!("avx512f,avx512bw,avx512vnni");
scale_loops!("avx512f,avx512bw,avx512vnni");

mod ops {
    use std::arch::x86_64::*;

    use super::GROUP;

    /// Rows in a register.
    pub const LANES: usize = 16;

    /// Floats, one per row.
    pub type Float = __m512;
    /// Sums in 32 bits, one per row.
    pub type Whole = __m512i;
    /// The same.
    pub type Short = __m512i;
    /// Scaled sums as floats: they stay below 2²⁴, where all whole numbers are floats.
    pub type Scaled = __m512;

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn bytes_zero() -> __m512i {
        _mm512_setzero_si512()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn load_bytes(line: &[u8; 64], part: usize) -> __m512i {
        assert!(part == 0);
        // SAFETY: a line holds one register.
        unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn splat_word(word: i32) -> __m512i {
        _mm512_set1_epi32(word)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub fn dot(sum: Short, weights: __m512i, numbers: __m512i) -> Short {
        _mm512_dpbusd_epi32(sum, weights, numbers)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn short_zero() -> Short {
        _mm512_setzero_si512()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn whole_zero() -> Whole {
        _mm512_setzero_si512()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn widen(short: Short) -> Whole {
        short
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn add(a: Whole, b: Whole) -> Whole {
        _mm512_add_epi32(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn float(whole: Whole) -> Float {
        _mm512_cvtepi32_ps(whole)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn early(pair: i32, low: i16, high: i16) -> Short {
        let factors = i32::from(low) & 0xffff | i32::from(high) << 16;
        _mm512_madd_epi16(_mm512_set1_epi32(pair), _mm512_set1_epi32(factors))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn late(_pair: i32, _low: i16, _high: i16) -> Whole {
        _mm512_setzero_si512()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn scaled_zero() -> Scaled {
        _mm512_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn scaled_start(_pair: i32, _offsets: &[i32; GROUP], _part: usize) -> Scaled {
        _mm512_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn load_scale(scales: &[i32; GROUP], part: usize) -> __m512 {
        assert!(part == 0);
        // SAFETY: a row holds one register.
        let words = unsafe { _mm512_loadu_si512(scales.as_ptr().cast()) };
        _mm512_cvtepi32_ps(_mm512_srai_epi32::<16>(words))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn add_scaled(sum: Scaled, short: Short, scale: __m512) -> Scaled {
        _mm512_fmadd_ps(_mm512_cvtepi32_ps(short), scale, sum)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn scaled_float(scaled: Scaled) -> Float {
        scaled
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn splat(number: f32) -> Float {
        _mm512_set1_ps(number)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn load(row: &[f32; GROUP], part: usize) -> Float {
        assert!(part == 0);
        // SAFETY: a row holds one register.
        unsafe { _mm512_loadu_ps(row.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn store(row: &mut [f32; GROUP], part: usize, values: Float) {
        assert!(part == 0);
        // SAFETY: a row holds one register.
        unsafe { _mm512_storeu_ps(row.as_mut_ptr(), values) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn multiply(a: Float, b: Float) -> Float {
        _mm512_mul_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn multiply_add(a: Float, b: Float, sum: Float) -> Float {
        _mm512_fmadd_ps(a, b, sum)
    }
}
