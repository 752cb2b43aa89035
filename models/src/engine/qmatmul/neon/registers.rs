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

/// The same, but the compiler must compute it here: left to itself, it goes through long sums token by token, and runs out
/// of registers.
#[inline]
#[target_feature(enable = "neon")]
pub fn keep(sum: Short) -> Short {
    let mut sum = sum;
    // SAFETY: there is no instruction.
    unsafe { std::arch::asm!("/* {0:v} */", inout(vreg) sum, options(nomem, nostack, preserves_flags)) };
    sum
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
pub fn scaled_start(_pair: i32, _scales: [&[i32; GROUP]; 2], _part: usize) -> Scaled {
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

/// As they are.
#[inline]
#[target_feature(enable = "neon")]
pub fn eights(bytes: int8x16_t) -> int8x16_t {
    bytes
}

/// The low and the high halves of bytes.
#[inline]
#[target_feature(enable = "neon")]
pub fn halves(bytes: int8x16_t) -> (int8x16_t, int8x16_t) {
    let bytes = vreinterpretq_u8_s8(bytes);
    let low = vandq_u8(bytes, vdupq_n_u8(0x0f));
    (vreinterpretq_s8_u8(low), vreinterpretq_s8_u8(vshrq_n_u8::<4>(bytes)))
}

/// Numbers of 6 bits from two times 4 and one time 2 of them.
#[inline]
#[target_feature(enable = "neon")]
pub fn sixes(low: int8x16_t, more_low: int8x16_t, high: int8x16_t) -> [int8x16_t; 4] {
    let two = vdupq_n_s8(0x30);
    let (first, third) = halves(low);
    let (second, fourth) = halves(more_low);
    let unsigned = vreinterpretq_u8_s8(high);
    let highs = [vshlq_n_s8::<4>(high), vshlq_n_s8::<2>(high), high, vreinterpretq_s8_u8(vshrq_n_u8::<2>(unsigned))];
    let [a, b, c, d] = highs.map(|high| vandq_s8(high, two));
    [vorrq_s8(first, a), vorrq_s8(second, b), vorrq_s8(third, c), vorrq_s8(fourth, d)]
}
