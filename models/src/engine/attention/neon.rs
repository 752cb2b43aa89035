//! The loop of `kernel` in NEON.
#![expect(unsafe_code, reason = "processor instructions on raw pointers")]

use std::arch::aarch64::*;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::cache::PADDING;
use super::kernel::{Factors, check};

/// Sums that are kept in registers: eight of four for each row.
const REGISTERS: usize = PADDING / 4;

/// [`super::kernel::Kernel::accumulate`] over f16, which are widened once for all rows.
///
/// # Safety
/// The processor must have NEON.
pub unsafe fn neon_f16<const R: usize>(
    count: usize,
    factors: Factors,
    (numbers, stride): (&[f16], usize),
    (sums, sums_stride): (&mut [f32], usize),
) {
    check(R, count, factors, (numbers, stride), (sums, sums_stride));
    let mut wide = [0f32; PADDING];
    for index in 0..count {
        numbers[index * stride..][..PADDING].convert_to_f32_slice(&mut wide);
        let factors = Factors { numbers: &factors.numbers[index..], stride: factors.stride };
        // SAFETY: the caller's promise.
        unsafe { neon_f32::<R>(1, factors, (&wide, PADDING), (sums, sums_stride)) };
    }
}

/// [`super::kernel::Kernel::accumulate`] over f32.
///
/// # Safety
/// The processor must have NEON.
pub unsafe fn neon_f32<const R: usize>(
    count: usize,
    factors: Factors,
    (numbers, stride): (&[f32], usize),
    (sums, sums_stride): (&mut [f32], usize),
) {
    check(R, count, factors, (numbers, stride), (sums, sums_stride));
    for row in 0..R {
        // SAFETY: the caller promises NEON, and `check` saw that all places lie in their slices.
        unsafe {
            let sums = sums.as_mut_ptr().add(row * sums_stride);
            let factors = factors.numbers.as_ptr().add(row * factors.stride);
            let mut own: [float32x4_t; REGISTERS] = std::array::from_fn(|part| vld1q_f32(sums.add(4 * part)));
            for index in 0..count {
                let factor = vdupq_n_f32(*factors.add(index));
                let numbers = numbers.as_ptr().add(index * stride);
                for (part, sum) in own.iter_mut().enumerate() {
                    *sum = vfmaq_f32(*sum, factor, vld1q_f32(numbers.add(4 * part)));
                }
            }
            for (part, sum) in own.iter().enumerate() {
                vst1q_f32(sums.add(4 * part), *sum);
            }
        }
    }
}
