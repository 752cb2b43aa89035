//! What both kinds of kernels do alike.

use std::arch::aarch64::*;

use super::GROUP;

/// Rows in a register.
pub const LANES: usize = 4;

/// Floats, one per row.
pub type Float = float32x4_t;
/// Sums in 32 bits, one per row.
pub type Whole = int32x4_t;
/// The same.
pub type Short = int32x4_t;
/// Scaled sums, the same again.
pub type Scaled = int32x4_t;

#[inline]
#[target_feature(enable = "neon")]
pub fn bytes_zero() -> int8x16_t {
    vdupq_n_s8(0)
}

#[inline]
#[target_feature(enable = "neon")]
pub fn load_bytes(line: &[u8; 64], part: usize) -> int8x16_t {
    assert!(part < GROUP / LANES);
    // SAFETY: a line holds four registers.
    unsafe { vld1q_s8(line.as_ptr().cast::<i8>().add(part * 16)) }
}

#[inline]
#[target_feature(enable = "neon")]
pub fn splat_word(word: i32) -> int8x16_t {
    vreinterpretq_s8_s32(vdupq_n_s32(word))
}

#[inline]
#[target_feature(enable = "neon")]
pub fn short_zero() -> Short {
    vdupq_n_s32(0)
}

#[inline]
#[target_feature(enable = "neon")]
pub fn whole_zero() -> Whole {
    vdupq_n_s32(0)
}

#[inline]
#[target_feature(enable = "neon")]
pub fn widen(short: Short) -> Whole {
    short
}

#[inline]
#[target_feature(enable = "neon")]
pub fn add(a: Whole, b: Whole) -> Whole {
    vaddq_s32(a, b)
}

#[inline]
#[target_feature(enable = "neon")]
pub fn float(whole: Whole) -> Float {
    vcvtq_f32_s32(whole)
}

/// The sums of a block's halves times two factors, added up.
#[inline]
#[target_feature(enable = "neon")]
pub fn early(pair: i32, low: i16, high: i16) -> Short {
    vdupq_n_s32(i32::from(pair as i16) * i32::from(low) + (pair >> 16) * i32::from(high))
}

#[inline]
#[target_feature(enable = "neon")]
pub fn late(_pair: i32, _low: i16, _high: i16) -> Whole {
    vdupq_n_s32(0)
}

#[inline]
#[target_feature(enable = "neon")]
pub fn scaled_zero() -> Scaled {
    vdupq_n_s32(0)
}

#[inline]
#[target_feature(enable = "neon")]
pub fn scaled_start(_pair: i32, _offsets: &[i32; GROUP], _part: usize) -> Scaled {
    vdupq_n_s32(0)
}

#[inline]
#[target_feature(enable = "neon")]
pub fn load_scale(scales: &[i32; GROUP], part: usize) -> int32x4_t {
    assert!(part < GROUP / LANES);
    // SAFETY: a row holds four registers.
    vshrq_n_s32::<16>(unsafe { vld1q_s32(scales.as_ptr().add(part * LANES)) })
}

#[inline]
#[target_feature(enable = "neon")]
pub fn add_scaled(sum: Scaled, short: Short, scale: int32x4_t) -> Scaled {
    vmlaq_s32(sum, short, scale)
}

#[inline]
#[target_feature(enable = "neon")]
pub fn scaled_float(scaled: Scaled) -> Float {
    vcvtq_f32_s32(scaled)
}

#[inline]
#[target_feature(enable = "neon")]
pub fn splat(number: f32) -> Float {
    vdupq_n_f32(number)
}

#[inline]
#[target_feature(enable = "neon")]
pub fn load(row: &[f32; GROUP], part: usize) -> Float {
    assert!(part < GROUP / LANES);
    // SAFETY: a row holds four registers.
    unsafe { vld1q_f32(row.as_ptr().add(part * LANES)) }
}

#[inline]
#[target_feature(enable = "neon")]
pub fn store(row: &mut [f32; GROUP], part: usize, values: Float) {
    assert!(part < GROUP / LANES);
    // SAFETY: a row holds four registers.
    unsafe { vst1q_f32(row.as_mut_ptr().add(part * LANES), values) }
}

#[inline]
#[target_feature(enable = "neon")]
pub fn multiply(a: Float, b: Float) -> Float {
    vmulq_f32(a, b)
}

#[inline]
#[target_feature(enable = "neon")]
pub fn multiply_add(a: Float, b: Float, sum: Float) -> Float {
    vfmaq_f32(sum, a, b)
}
