//! The loops without `sdot`.

use super::{
    BLOCKS, CHUNK, Chunk, GROUP, Packing, Panel, Sums, WORDS, block_loops, one_eights_loop, one_loops, scale_loops,
};

block_loops!("neon");
scale_loops!("neon");
one_loops!("neon");
one_eights_loop!("neon");

mod ops {
    use std::arch::aarch64::*;

    pub use super::super::registers::*;

    #[inline]
    #[target_feature(enable = "neon")]
    pub fn dot(sum: int32x4_t, weights: int8x16_t, numbers: int8x16_t) -> int32x4_t {
        let first = vmull_s8(vget_low_s8(weights), vget_low_s8(numbers));
        let last = vmull_high_s8(weights, numbers);
        // Two products stay below 2¹⁵: 2 · 128 · 127 = 32,512.
        vpadalq_s16(sum, vpaddq_s16(first, last))
    }
}
