//! What all kernels in registers of 256 bits do alike.

use std::arch::x86_64::*;

use super::GROUP;

/// Rows in a register.
pub const LANES: usize = 8;

/// Floats, one per row.
pub type Float = __m256;
/// Sums in 32 bits, one per row.
pub type Whole = __m256i;

#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn bytes_zero() -> __m256i {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn load_bytes(line: &[u8; 64], part: usize) -> __m256i {
    assert!(part < GROUP / LANES);
    // SAFETY: a line holds two registers.
    unsafe { _mm256_loadu_si256(line.as_ptr().cast::<__m256i>().add(part)) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn splat_word(word: i32) -> __m256i {
    _mm256_set1_epi32(word)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn short_zero() -> __m256i {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn whole_zero() -> Whole {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn add(a: Whole, b: Whole) -> Whole {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn float(whole: Whole) -> Float {
    _mm256_cvtepi32_ps(whole)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn splat(number: f32) -> Float {
    _mm256_set1_ps(number)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn load(row: &[f32; GROUP], part: usize) -> Float {
    assert!(part < GROUP / LANES);
    // SAFETY: a row holds two registers.
    unsafe { _mm256_loadu_ps(row.as_ptr().add(part * LANES)) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn store(row: &mut [f32; GROUP], part: usize, values: Float) {
    assert!(part < GROUP / LANES);
    // SAFETY: a row holds two registers.
    unsafe { _mm256_storeu_ps(row.as_mut_ptr().add(part * LANES), values) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn multiply(a: Float, b: Float) -> Float {
    _mm256_mul_ps(a, b)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn multiply_add(a: Float, b: Float, sum: Float) -> Float {
    _mm256_fmadd_ps(a, b, sum)
}

/// Numbers of 32 bits, one per row.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn load_words(row: &[i32; GROUP], part: usize) -> __m256i {
    assert!(part < GROUP / LANES);
    // SAFETY: a row holds two registers.
    unsafe { _mm256_loadu_si256(row.as_ptr().cast::<__m256i>().add(part)) }
}

/// The sums of a block's halves times two factors, added up.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn pair_times(pair: i32, low: i16, high: i16) -> Whole {
    let factors = i32::from(low) & 0xffff | i32::from(high) << 16;
    _mm256_madd_epi16(_mm256_set1_epi32(pair), _mm256_set1_epi32(factors))
}
