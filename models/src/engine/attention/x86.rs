//! The loops of `kernel` in AVX-512 and AVX2.
#![expect(unsafe_code, reason = "processor instructions on raw pointers")]

use std::arch::x86_64::*;

use super::cache::LANES;
use super::kernel::STRIDE;

/// Scores of R queries against all keys. Must only be called where `Way::available` found AVX-512.
pub fn score_avx512<const R: usize>(queries: &[f32], keys: &[u16], scores: &mut [f32]) {
    // SAFETY: the caller found the processor's features.
    unsafe { score_512::<R>(queries, keys, scores) }
}

/// Sums of values weighted by R rows. Must only be called where `Way::available` found AVX-512.
pub fn mix_avx512<const R: usize>(probabilities: &[f32], values: &[u16], output: &mut [f32]) {
    // SAFETY: the caller found the processor's features.
    unsafe { mix_512::<R>(probabilities, values, output) }
}

/// Scores of R queries against all keys. Must only be called where `Way::available` found AVX2, FMA and F16C.
pub fn score_avx2<const R: usize>(queries: &[f32], keys: &[u16], scores: &mut [f32]) {
    // SAFETY: the caller found the processor's features.
    unsafe { score_256::<R>(queries, keys, scores) }
}

/// Sums of values weighted by R rows. Must only be called where `Way::available` found AVX2, FMA and F16C.
pub fn mix_avx2<const R: usize>(probabilities: &[f32], values: &[u16], output: &mut [f32]) {
    // SAFETY: the caller found the processor's features.
    unsafe { mix_256::<R>(probabilities, values, output) }
}

/// Writes both loops for a width of registers: `$lanes` floats.
///
/// Both are the same sum in the order that `kernel` explains: for each of eight remainders four chains over every 32nd
/// product, folded, then the remainders added pairwise.
macro_rules! loops {
    ($features:literal, $sum:ident, $score:ident, $mix:ident, $vector:ident, $lanes:literal,
     $zero:ident, $set:ident, $fma:ident, $add:ident, $half:ident, $store:ident) => {
        /// Sums of `count` products for R rows. Factors of a row are neighbours and rows `row_stride` apart; numbers are
        /// `stride` apart.
        ///
        /// # Safety
        /// All factors and numbers must be readable.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $sum<const R: usize>(
            count: usize,
            (factors, row_stride): (*const f32, usize),
            (numbers, stride): (*const u16, usize),
        ) -> [$vector; R] {
            let mut folded = [[$zero(); R]; STRIDE / 4];
            for (remainder, folded) in folded.iter_mut().enumerate() {
                let mut chains = [[$zero(); R]; 4];
                let mut first = remainder;
                while first < count {
                    for (chain, sums) in chains.iter_mut().enumerate() {
                        let index = first + 8 * chain;
                        if index < count {
                            // SAFETY: `index` is below `count`, for which the caller vouches.
                            unsafe {
                                let number = $half(numbers.add(index * stride));
                                for (row, sum) in sums.iter_mut().enumerate() {
                                    *sum = $fma($set(*factors.add(row * row_stride + index)), number, *sum);
                                }
                            }
                        }
                    }
                    first += STRIDE;
                }
                for (row, folded) in folded.iter_mut().enumerate() {
                    *folded = $add($add(chains[0][row], chains[2][row]), $add(chains[1][row], chains[3][row]));
                }
            }
            let mut result = [$zero(); R];
            for (row, result) in result.iter_mut().enumerate() {
                let [a, b, c, d] = [0, 1, 2, 3].map(|l| (folded[l][row], folded[l + 4][row]));
                *result = $add($add($add(a.0, a.1), $add(b.0, b.1)), $add($add(c.0, c.1), $add(d.0, d.1)));
            }
            result
        }

        #[target_feature(enable = $features)]
        fn $score<const R: usize>(queries: &[f32], keys: &[u16], scores: &mut [f32]) {
            let length = queries.len() / R;
            let columns = scores.len() / R;
            assert!(columns.is_multiple_of(LANES) && keys.len() >= columns * length);
            for start in (0..columns).step_by($lanes) {
                let at = start / LANES * LANES * length + start % LANES;
                // SAFETY: there are `columns * length` keys and R rows of queries and scores, as just checked.
                unsafe {
                    let sums = $sum::<R>(length, (queries.as_ptr(), length), (keys.as_ptr().add(at), LANES));
                    for (row, sum) in sums.iter().enumerate() {
                        $store(scores.as_mut_ptr().add(row * columns + start), *sum);
                    }
                }
            }
        }

        #[target_feature(enable = $features)]
        fn $mix<const R: usize>(probabilities: &[f32], values: &[u16], output: &mut [f32]) {
            let columns = probabilities.len() / R;
            let padded = output.len() / R;
            let positions = values.len() / padded;
            assert!(padded.is_multiple_of(LANES) && positions <= columns);
            for start in (0..padded).step_by($lanes) {
                // SAFETY: there are `positions` rows of values and at least as many probabilities in each of R rows.
                unsafe {
                    let values = values.as_ptr().add(start);
                    let sums = $sum::<R>(positions, (probabilities.as_ptr(), columns), (values, padded));
                    for (row, sum) in sums.iter().enumerate() {
                        $store(output.as_mut_ptr().add(row * padded + start), *sum);
                    }
                }
            }
        }
    };
}

loops!(
    "avx512f",
    sum_512,
    score_512,
    mix_512,
    __m512,
    16,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    _mm512_add_ps,
    half_512,
    _mm512_storeu_ps
);
loops!(
    "avx2,fma,f16c",
    sum_256,
    score_256,
    mix_256,
    __m256,
    8,
    _mm256_setzero_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps,
    half_256,
    _mm256_storeu_ps
);

/// Sixteen f16 as f32.
///
/// # Safety
/// The sixteen numbers must be readable.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn half_512(numbers: *const u16) -> __m512 {
    // SAFETY: the caller's promise.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(numbers.cast()) })
}

/// Eight f16 as f32.
///
/// # Safety
/// The eight numbers must be readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn half_256(numbers: *const u16) -> __m256 {
    // SAFETY: the caller's promise.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(numbers.cast()) })
}
