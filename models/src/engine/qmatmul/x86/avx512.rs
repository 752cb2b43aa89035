//! The loops in AVX-512 VNNI.

use super::{
    BLOCKS, CHUNK, Chunk, GROUP, Packing, Panel, Sums, WORDS, block_loops, one_eights_loop, one_loops, scale_loops,
};

block_loops!("avx512f,avx512bw,avx512vnni");
scale_loops!("avx512f,avx512bw,avx512vnni");
one_loops!("avx512f,avx512bw,avx512vnni");
one_eights_loop!("avx512f,avx512bw,avx512vnni");

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

    /// The same, but the compiler must compute it here: left to itself, it goes through long sums token by token, and runs
    /// out of registers.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn keep(sum: Short) -> Short {
        let mut sum = sum;
        // SAFETY: there is no instruction.
        unsafe { std::arch::asm!("/* {0} */", inout(zmm_reg) sum, options(nomem, nostack, preserves_flags)) };
        sum
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
    pub fn scaled_start(_pair: i32, _scales: [&[i32; GROUP]; 2], _part: usize) -> Scaled {
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

    /// Plus 128, without a sign.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn eights(bytes: __m512i) -> __m512i {
        _mm512_xor_si512(bytes, _mm512_set1_epi8(-128))
    }

    /// The low and the high halves of bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn halves(bytes: __m512i) -> (__m512i, __m512i) {
        let low = _mm512_set1_epi8(0x0f);
        (_mm512_and_si512(bytes, low), _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low))
    }

    /// Numbers of 6 bits from two times 4 and one time 2 of them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn sixes(low: __m512i, more_low: __m512i, high: __m512i) -> [__m512i; 4] {
        let two = _mm512_set1_epi8(0x30);
        let (first, third) = halves(low);
        let (second, fourth) = halves(more_low);
        let highs = [_mm512_slli_epi16::<4>(high), _mm512_slli_epi16::<2>(high), high, _mm512_srli_epi16::<2>(high)];
        let [a, b, c, d] = highs.map(|high| _mm512_and_si512(high, two));
        [_mm512_or_si512(first, a), _mm512_or_si512(second, b), _mm512_or_si512(third, c), _mm512_or_si512(fourth, d)]
    }
}
