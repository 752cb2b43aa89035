//! The kernels in the instructions of ARM, with and without `sdot`.
//!
//! `sdot` multiplies bytes with a sign and adds four products to a sum of 32 bits; without it two products are added in 16
//! bits first. Quants of up to 6 bits have the same value with and without a sign.
#![expect(unsafe_code, reason = "processor instructions, and loops without checks of bounds")]

mod dotprod;
mod pairs;
mod registers;

use super::activations::{BLOCK, BLOCKS, CHUNK, Chunk};
use super::coding::{Coding, GROUP, Packing, Panel};
use super::kernels::{Sums, block_loops, by_tiles, one_eights_loop, one_loops, one_table, scale_loops, table};

/// Words of four columns in a block.
const WORDS: usize = BLOCK / 4;

table!(dotprod, "the dot product extension", [4, 2, 1], five: 8, six: 4, eight: |packing, panel, tokens, sums| {
    by_tiles!([4, 2, 1], tokens, sums, |few, sums| dotprod::blocks::<_, 8, 0>(panel, packing.blocks, few, sums))
});
table!(pairs, "NEON", [4, 2, 1], five: 8, six: 4, eight: |packing, panel, tokens, sums| {
    by_tiles!([4, 2, 1], tokens, sums, |few, sums| pairs::blocks::<_, 8, 0>(panel, packing.blocks, few, sums))
});

one_table!(dotprod_one, dotprod, "the dot product extension", six: 4, eight: |packing, panel, tokens, sums| {
    dotprod::one_eights::<0>(packing, panel, &tokens[0], sums)
});
one_table!(pairs_one, pairs, "NEON", six: 4, eight: |packing, panel, tokens, sums| {
    pairs::one_eights::<0>(packing, panel, &tokens[0], sums)
});
