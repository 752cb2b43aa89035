//! The loops of `kernel` in AVX-512 and AVX2.
#![expect(unsafe_code, reason = "processor instructions on raw pointers")]

use std::arch::x86_64::*;

use super::cache::LANES;

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

/// Writes both loops for a width of registers: `$n` registers of `$lanes` floats make sixteen.
macro_rules! loops {
    ($features:literal, $score:ident, $mix:ident, $lanes:literal, $zero:ident, $set:ident, $fma:ident, $half:ident, $store:ident) => {
        #[target_feature(enable = $features)]
        fn $score<const R: usize>(queries: &[f32], keys: &[u16], scores: &mut [f32]) {
            const N: usize = LANES / $lanes;
            let length = queries.len() / R;
            let columns = scores.len() / R;
            assert!(columns.is_multiple_of(LANES) && keys.len() >= columns * length);
            for group in 0..columns / LANES {
                let mut sums = [[$zero(); N]; R];
                // SAFETY: there are `columns * length` keys and R rows of queries and scores, as just checked.
                unsafe {
                    let keys = keys.as_ptr().add(group * LANES * length);
                    for dimension in 0..length {
                        for part in 0..N {
                            let key = $half(keys.add(dimension * LANES + part * $lanes));
                            for (row, sums) in sums.iter_mut().enumerate() {
                                let value = $set(*queries.as_ptr().add(row * length + dimension));
                                sums[part] = $fma(value, key, sums[part]);
                            }
                        }
                    }
                    for (row, sums) in sums.iter().enumerate() {
                        for (part, sum) in sums.iter().enumerate() {
                            let at = row * columns + group * LANES + part * $lanes;
                            $store(scores.as_mut_ptr().add(at), *sum);
                        }
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
            for chunk in 0..padded / $lanes {
                let mut sums = [$zero(); R];
                // SAFETY: there are `positions` rows of values and at least as many probabilities in each of R rows.
                unsafe {
                    for position in 0..positions {
                        let value = $half(values.as_ptr().add(position * padded + chunk * $lanes));
                        for (row, sum) in sums.iter_mut().enumerate() {
                            let probability = $set(*probabilities.as_ptr().add(row * columns + position));
                            *sum = $fma(probability, value, *sum);
                        }
                    }
                    for (row, sum) in sums.iter().enumerate() {
                        $store(output.as_mut_ptr().add(row * padded + chunk * $lanes), *sum);
                    }
                }
            }
        }
    };
}

loops!(
    "avx512f",
    score_512,
    mix_512,
    16,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    half_512,
    _mm512_storeu_ps
);
loops!(
    "avx2,fma,f16c",
    score_256,
    mix_256,
    8,
    _mm256_setzero_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps,
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
