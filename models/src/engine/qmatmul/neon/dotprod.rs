//! The loops with `sdot`.

use super::{
    BLOCKS, CHUNK, Chunk, GROUP, Packing, Panel, Sums, WORDS, block_loops, one_eights_loop, one_loops, scale_loops,
};

block_loops!("neon,dotprod");
scale_loops!("neon,dotprod");
one_loops!("neon,dotprod");
one_eights_loop!("neon,dotprod");

mod ops {
    use std::arch::aarch64::*;

    pub use super::super::registers::*;

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    pub fn dot(sum: int32x4_t, weights: int8x16_t, numbers: int8x16_t) -> int32x4_t {
        let mut sum = sum;
        // The intrinsic for it, `vdotq_s32`, is not stable.
        // SAFETY: the instruction only changes the register of the sum.
        unsafe {
            std::arch::asm!(
                "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
                inout(vreg) sum,
                in(vreg) weights,
                in(vreg) numbers,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }
}
