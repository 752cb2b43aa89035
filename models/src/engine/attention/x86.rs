//! The loop of `kernel` in AVX-512 and AVX2.
#![expect(unsafe_code, reason = "processor instructions on raw pointers")]

use std::arch::x86_64::*;

use half::f16;

use super::cache::PADDING;
use super::kernel::{Factors, check};

/// Writes the loop for a width of registers, two of which take the numbers of an index for one of `$lanes` sums each, and
/// for a kind of number.
macro_rules! accumulate {
    ($public:ident, $private:ident, $features:literal, $element:ty, $lanes:literal, $load:ident,
     $load_sums:ident, $store_sums:ident, $set:ident, $fma:ident, $zero:ident) => {
        /// [`super::kernel::Kernel::accumulate`].
        ///
        /// # Safety
        /// The processor must have the features.
        pub unsafe fn $public<const R: usize>(
            count: usize,
            factors: Factors,
            numbers: (&[$element], usize),
            sums: (&mut [f32], usize),
        ) {
            check(R, count, factors, numbers, (sums.0, sums.1));
            // SAFETY: the caller promises the processor's features, and everything read or written lies in its slice.
            unsafe { $private::<R>(count, factors, numbers, sums) }
        }

        /// # Safety
        /// The arguments must have passed [`check`].
        #[target_feature(enable = $features)]
        unsafe fn $private<const R: usize>(
            count: usize,
            factors: Factors,
            (numbers, stride): (&[$element], usize),
            (sums, sums_stride): (&mut [f32], usize),
        ) {
            for start in (0..PADDING).step_by(2 * $lanes) {
                // SAFETY: the caller's promise.
                unsafe {
                    let numbers = numbers.as_ptr().add(start);
                    let sums = sums.as_mut_ptr().add(start);
                    let mut own = [[$zero(); 2]; R];
                    for (row, own) in own.iter_mut().enumerate() {
                        own[0] = $load_sums(sums.add(row * sums_stride));
                        own[1] = $load_sums(sums.add(row * sums_stride + $lanes));
                    }
                    for index in 0..count {
                        let low = $load(numbers.add(index * stride));
                        let high = $load(numbers.add(index * stride + $lanes));
                        for (row, own) in own.iter_mut().enumerate() {
                            let factor = $set(*factors.numbers.as_ptr().add(row * factors.stride + index));
                            own[0] = $fma(factor, low, own[0]);
                            own[1] = $fma(factor, high, own[1]);
                        }
                    }
                    for (row, own) in own.iter().enumerate() {
                        $store_sums(sums.add(row * sums_stride), own[0]);
                        $store_sums(sums.add(row * sums_stride + $lanes), own[1]);
                    }
                }
            }
        }
    };
}

macro_rules! avx512 {
    ($public:ident, $private:ident, $element:ty, $load:ident) => {
        accumulate!(
            $public,
            $private,
            "avx512f",
            $element,
            16,
            $load,
            _mm512_loadu_ps,
            _mm512_storeu_ps,
            _mm512_set1_ps,
            _mm512_fmadd_ps,
            _mm512_setzero_ps
        );
    };
}

macro_rules! avx2 {
    ($public:ident, $private:ident, $element:ty, $load:ident) => {
        accumulate!(
            $public,
            $private,
            "avx2,fma,f16c",
            $element,
            8,
            $load,
            _mm256_loadu_ps,
            _mm256_storeu_ps,
            _mm256_set1_ps,
            _mm256_fmadd_ps,
            _mm256_setzero_ps
        );
    };
}

avx512!(avx512_f16, accumulate_512_f16, f16, halves_512);
avx512!(avx512_f32, accumulate_512_f32, f32, _mm512_loadu_ps);
avx2!(avx2_f16, accumulate_256_f16, f16, halves_256);
avx2!(avx2_f32, accumulate_256_f32, f32, _mm256_loadu_ps);

/// Sixteen f16 as f32.
///
/// # Safety
/// The sixteen numbers must be readable.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn halves_512(numbers: *const f16) -> __m512 {
    // SAFETY: the caller's promise.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(numbers.cast()) })
}

/// Eight f16 as f32.
///
/// # Safety
/// The eight numbers must be readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn halves_256(numbers: *const f16) -> __m256 {
    // SAFETY: the caller's promise.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(numbers.cast()) })
}
