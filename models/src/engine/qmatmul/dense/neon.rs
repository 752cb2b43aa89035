//! The kernel of `dense` in NEON, which every 64-bit ARM processor has.
#![expect(unsafe_code, reason = "processor instructions on raw pointers")]

use std::arch::aarch64::*;

use super::GROUP;
use super::product::{Block, Sums};

/// Numbers in a register.
const LANES: usize = 4;

/// For 1 token and 2 groups or up to 6 tokens and 1 group of weights in f32.
///
/// # Safety
/// All numbers of the block and the sums must be there.
pub unsafe fn neon(block: Block, sums: Sums) {
    // SAFETY: the caller's promise.
    unsafe {
        match (block.tokens, block.groups) {
            (1, 1) => multiply::<1, 4>(&block, sums),
            (1, 2) => multiply::<1, 8>(&block, sums),
            (2, 1) => multiply::<2, 4>(&block, sums),
            (3, 1) => multiply::<3, 4>(&block, sums),
            (4, 1) => multiply::<4, 4>(&block, sums),
            (5, 1) => multiply::<5, 4>(&block, sums),
            (6, 1) => multiply::<6, 4>(&block, sums),
            (tokens, groups) => unreachable!("{tokens} tokens and {groups} groups are no tile"),
        }
    }
}

/// `C` tokens and `V` registers of rows.
///
/// # Safety
/// All numbers of these tokens and rows must be there.
#[inline]
unsafe fn multiply<const C: usize, const V: usize>(block: &Block, sums: Sums) {
    const IN_GROUP: usize = GROUP / LANES;
    let mut total = [[vdupq_n_f32(0.0); V]; C];
    // SAFETY: all places lie within what the caller vouches for.
    unsafe {
        if !block.begins {
            for (token, total) in total.iter_mut().enumerate() {
                for (v, total) in total.iter_mut().enumerate() {
                    *total = vld1q_f32(sums.start.add(token * sums.stride + v * LANES));
                }
            }
        }
        let input = block.input.as_ptr();
        let mut weights = block.weights.as_ptr();
        for column in 0..block.columns {
            let mut rows = [vdupq_n_f32(0.0); V];
            for (v, rows) in rows.iter_mut().enumerate() {
                *rows =
                    vld1q_f32(weights.add(v / IN_GROUP * block.group_bytes).cast::<f32>().add(v % IN_GROUP * LANES));
            }
            for (token, total) in total.iter_mut().enumerate() {
                let activation = *input.add(token * block.stride + column);
                for (total, rows) in total.iter_mut().zip(rows) {
                    *total = vfmaq_n_f32(*total, rows, activation);
                }
            }
            weights = weights.add(GROUP * size_of::<f32>());
        }
        for (token, total) in total.iter().enumerate() {
            for (v, total) in total.iter().enumerate() {
                vst1q_f32(sums.start.add(token * sums.stride + v * LANES), *total);
            }
        }
    }
}
