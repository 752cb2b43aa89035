//! The kernels in the instructions of x86: AVX-512 VNNI, AVX-VNNI and AVX2.
//!
//! `vpdpbusd` multiplies bytes without a sign with bytes with a sign and adds four products to a sum of 32 bits. AVX2 adds
//! two products in 16 bits and goes on adding there as long as nothing can overflow: 8 words of 4-bit quants (8 · 2 · 15 ·
//! 127 = 30,480), 4 of 5 bits, 2 of 6 bits. Weights of 8 bits have loops of their own (`signed`).
#![expect(unsafe_code, reason = "processor instructions, and loops without checks of bounds")]

mod avx2;
mod avx512;
mod avx_vnni;
mod registers;
mod signed;

use super::activations::{BLOCK, BLOCKS, CHUNK, Chunk};
use super::coding::{Coding, GROUP, Packing, Panel};
use super::kernels::{Sums, block_loops, by_tiles, one_eights_loop, one_loops, one_table, scale_loops, table};

/// Words of four columns in a block.
const WORDS: usize = BLOCK / 4;

table!(avx512, "AVX-512 VNNI", [8, 4, 2, 1], five: 8, six: 4, eight: |packing, panel, tokens, sums| {
    by_tiles!([8, 4, 2, 1], tokens, sums, |few, sums| {
        avx512::blocks::<_, 8, 128>(panel, packing.blocks, few, sums)
    })
});
table!(avx_vnni, "AVX-VNNI", [4, 2, 1], five: 8, six: 4, eight: |packing, panel, tokens, sums| {
    by_tiles!([4, 2, 1], tokens, sums, |few, sums| {
        avx_vnni::blocks::<_, 8, 128>(panel, packing.blocks, few, sums)
    })
});
table!(avx2, "AVX2 and FMA", [4, 2, 1], five: 4, six: 2, eight: |packing, panel, tokens, sums| {
    signed::spread(packing.lines, panel);
    by_tiles!([4, 2, 1], tokens, sums, |few, sums| signed::blocks(panel, packing.blocks, few, sums))
});

one_table!(avx512_one, avx512, "AVX-512 VNNI", six: 4, eight: |packing, panel, tokens, sums| {
    avx512::one_eights::<128>(packing, panel, &tokens[0], sums)
});
one_table!(avx_vnni_one, avx_vnni, "AVX-VNNI", six: 4, eight: |packing, panel, tokens, sums| {
    avx_vnni::one_eights::<128>(packing, panel, &tokens[0], sums)
});
one_table!(avx2_one, avx2, "AVX2 and FMA", six: 2, eight: |packing, panel, tokens, sums| {
    signed::one(packing.lines, &panel.steps, &tokens[0], sums)
});
