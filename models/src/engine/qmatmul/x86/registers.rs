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
pub fn store_bytes(line: &mut [u8; 64], part: usize, bytes: __m256i) {
    assert!(part < GROUP / LANES);
    // SAFETY: a line holds two registers.
    unsafe { _mm256_storeu_si256(line.as_mut_ptr().cast::<__m256i>().add(part), bytes) }
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

/// Writes them.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn store_words(row: &mut [i32; GROUP], part: usize, words: __m256i) {
    assert!(part < GROUP / LANES);
    // SAFETY: a row holds two registers.
    unsafe { _mm256_storeu_si256(row.as_mut_ptr().cast::<__m256i>().add(part), words) }
}

/// The same, but the compiler must compute it here: left to itself, it goes through long sums token by token, and runs out
/// of registers.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn keep(sum: __m256i) -> __m256i {
    let mut sum = sum;
    // SAFETY: there is no instruction.
    unsafe { std::arch::asm!("/* {0} */", inout(ymm_reg) sum, options(nomem, nostack, preserves_flags)) };
    sum
}

/// The sums of a block's halves times two factors, added up.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn pair_times(pair: i32, low: i16, high: i16) -> Whole {
    let factors = i32::from(low) & 0xffff | i32::from(high) << 16;
    _mm256_madd_epi16(_mm256_set1_epi32(pair), _mm256_set1_epi32(factors))
}

/// The low and the high halves of bytes.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn halves(bytes: __m256i) -> (__m256i, __m256i) {
    let low = _mm256_set1_epi8(0x0f);
    (_mm256_and_si256(bytes, low), _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low))
}

/// Numbers of 6 bits from two times 4 and one time 2 of them.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn sixes(low: __m256i, more_low: __m256i, high: __m256i) -> [__m256i; 4] {
    let two = _mm256_set1_epi8(0x30);
    let (first, third) = halves(low);
    let (second, fourth) = halves(more_low);
    let highs = [_mm256_slli_epi16::<4>(high), _mm256_slli_epi16::<2>(high), high, _mm256_srli_epi16::<2>(high)];
    let [a, b, c, d] = highs.map(|high| _mm256_and_si256(high, two));
    [_mm256_or_si256(first, a), _mm256_or_si256(second, b), _mm256_or_si256(third, c), _mm256_or_si256(fourth, d)]
}
