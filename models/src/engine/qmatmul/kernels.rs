//! The loops of all kernels, written once for every instruction set.
//!
//! A function multiplies the sixteen rows of a panel with C tokens and adds to their sums, in the order that `plain`
//! explains. Word by word, the weights of as many rows as a register holds are multiplied with the token's word in all
//! places of another. What differs lies in modules of operations on registers, `x86::avx2` for one:
//!
//! - `Short` sums are what the processor's multiplication yields, `SPAN` words of them before something could overflow;
//!   `widen` makes `Whole` sums of 32 bits of them;
//! - `Scaled` sums are those times whole scales, exact too, as whole numbers or as floats;
//! - what quants have been shifted by is taken off before (`early`) or after (`late`) the sum, or with the scales
//!   (`scaled_start`), whichever suits the processor; the other ones then yield nothing.

use super::coding::GROUP;

/// Results of one token for the rows of a group.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
pub struct Sums(pub [f32; GROUP]);

/// A number that the compiler must not know, unless it is about few enough registers.
///
/// Loops over words are to stay loops where several tokens are computed: unrolled, the compiler goes through them token by
/// token, and runs out of registers.
#[inline]
pub fn times<const C: usize>(number: usize) -> usize {
    if C == 1 { number } else { std::hint::black_box(number) }
}

/// Writes the loops that all codings need.
macro_rules! block_loops {
    ($features:literal) => {
        /// Registers for the rows of a group.
        const PARTS: usize = GROUP / ops::LANES;

        /// Adds the products of codings with a step per 32 columns; `OFFSET` is taken off each quant.
        #[target_feature(enable = $features)]
        pub fn blocks<const C: usize, const W: usize, const SPAN: usize, const OFFSET: i16>(
            panel: &Panel,
            blocks: usize,
            tokens: &[Chunk<W>; C],
            sums: &mut [Sums; C],
        ) {
            assert!(blocks <= BLOCKS);
            let span = times::<C>(SPAN);
            for block in 0..blocks {
                let mut whole = [[ops::whole_zero(); PARTS]; C];
                for first in (0..W / BLOCKS).step_by(SPAN) {
                    let mut short = [[ops::short_zero(); PARTS]; C];
                    if first == 0 && OFFSET != 0 {
                        for (short, token) in short.iter_mut().zip(tokens) {
                            *short = [ops::early(token.pairs[block], -OFFSET, -OFFSET); PARTS];
                        }
                    }
                    add_products(panel, tokens, block * (W / BLOCKS) + first, span, &mut short);
                    for (whole, short) in whole.as_flattened_mut().iter_mut().zip(short.as_flattened()) {
                        *whole = ops::add(*whole, ops::widen(*short));
                    }
                }
                for ((token, whole), sums) in tokens.iter().zip(whole).zip(sums.iter_mut()) {
                    let step = ops::splat(token.steps[block]);
                    let late = ops::late(token.pairs[block], -OFFSET, -OFFSET);
                    for (part, whole) in whole.into_iter().enumerate() {
                        let whole = if OFFSET == 0 { whole } else { ops::add(whole, late) };
                        let product = ops::multiply(ops::load(&panel.steps[block], part), step);
                        let sum = ops::multiply_add(product, ops::float(whole), ops::load(&sums.0, part));
                        ops::store(&mut sums.0, part, sum);
                    }
                }
            }
        }

        /// Adds the products of a span of words.
        #[inline]
        #[target_feature(enable = $features)]
        fn add_products<const C: usize, const W: usize>(
            panel: &Panel,
            tokens: &[Chunk<W>; C],
            first: usize,
            span: usize,
            short: &mut [[ops::Short; PARTS]; C],
        ) {
            assert!(first + span <= W && W <= panel.quants.len());
            let mut word = first;
            while word < first + span {
                let mut weights = [ops::bytes_zero(); PARTS];
                for (part, weights) in weights.iter_mut().enumerate() {
                    // SAFETY: `word` is less than W, as just checked.
                    *weights = ops::load_bytes(unsafe { panel.quants.get_unchecked(word) }, part);
                }
                for (token, short) in tokens.iter().zip(short.iter_mut()) {
                    // SAFETY: as above.
                    let numbers = ops::splat_word(unsafe { *token.words.get_unchecked(word) });
                    for (short, weights) in short.iter_mut().zip(weights) {
                        *short = ops::dot(*short, weights, numbers);
                    }
                }
                word += 1;
            }
        }
    };
}

/// Writes the loops of codings with minima and whole scales.
macro_rules! scale_loops {
    ($features:literal) => {
        /// Adds `minimum * total` for all blocks.
        #[target_feature(enable = $features)]
        pub fn minima<const C: usize>(panel: &Panel, blocks: usize, tokens: &[Narrow; C], sums: &mut [Sums; C]) {
            assert!(blocks <= BLOCKS);
            let mut registers = [[ops::splat(0.0); PARTS]; C];
            for (registers, sums) in registers.iter_mut().zip(sums.iter()) {
                for (part, register) in registers.iter_mut().enumerate() {
                    *register = ops::load(&sums.0, part);
                }
            }
            for block in 0..blocks {
                for part in 0..PARTS {
                    let minima = ops::load(&panel.minima[block], part);
                    for (registers, token) in registers.iter_mut().zip(tokens) {
                        let total = ops::splat(token.totals[block]);
                        registers[part] = ops::multiply_add(minima, total, registers[part]);
                    }
                }
            }
            for (registers, sums) in registers.iter().zip(sums) {
                for (part, register) in registers.iter().enumerate() {
                    ops::store(&mut sums.0, part, *register);
                }
            }
        }

        /// Adds the products of codings whose 256 columns share a factor, with a whole scale per 32 columns.
        #[target_feature(enable = $features)]
        pub fn scaled<const C: usize, const SPAN: usize>(
            panel: &Panel,
            blocks: usize,
            tokens: &[Narrow; C],
            sums: &mut [Sums; C],
        ) {
            assert!(blocks <= BLOCKS);
            let span = times::<C>(SPAN);
            let mut chunk = [[ops::splat(0.0); PARTS]; C];
            for block in 0..blocks {
                let mut scaled = [[ops::scaled_zero(); PARTS]; C];
                for first in (0..WORDS).step_by(SPAN) {
                    let mut short = [[ops::short_zero(); PARTS]; C];
                    add_products(panel, tokens, block * WORDS + first, span, &mut short);
                    add_scaled(&panel.scales[2 * block], &short, &mut scaled);
                }
                add_steps(block, tokens, &scaled, &mut chunk);
            }
            add_chunk(panel, &chunk, sums);
        }

        /// Adds the products of 6-bit weights, which have a whole scale per 16 columns and 32 taken off each quant.
        #[target_feature(enable = $features)]
        pub fn sixes<const C: usize, const SPAN: usize>(
            panel: &Panel,
            blocks: usize,
            tokens: &[Narrow; C],
            sums: &mut [Sums; C],
        ) {
            assert!(blocks <= BLOCKS);
            let spans = times::<C>(WORDS / SPAN);
            let mut chunk = [[ops::splat(0.0); PARTS]; C];
            for block in 0..blocks {
                let mut scaled = [[ops::scaled_zero(); PARTS]; C];
                for (token, scaled) in tokens.iter().zip(scaled.iter_mut()) {
                    for (part, scaled) in scaled.iter_mut().enumerate() {
                        *scaled = ops::scaled_start(token.pairs[block], &panel.offsets[block], part);
                    }
                }
                for index in 0..spans {
                    let half = index * SPAN / (WORDS / 2);
                    let mut short = [[ops::short_zero(); PARTS]; C];
                    if index * SPAN % (WORDS / 2) == 0 {
                        let (first, last) = if half == 0 { (-32, 0) } else { (0, -32) };
                        for (short, token) in short.iter_mut().zip(tokens) {
                            *short = [ops::early(token.pairs[block], first, last); PARTS];
                        }
                    }
                    add_products(panel, tokens, block * WORDS + index * SPAN, SPAN, &mut short);
                    add_scaled(&panel.scales[2 * block + half], &short, &mut scaled);
                }
                add_steps(block, tokens, &scaled, &mut chunk);
            }
            add_chunk(panel, &chunk, sums);
        }

        /// Adds sums times the whole scales of rows.
        #[inline]
        #[target_feature(enable = $features)]
        fn add_scaled<const C: usize>(
            scales: &[i32; GROUP],
            short: &[[ops::Short; PARTS]; C],
            scaled: &mut [[ops::Scaled; PARTS]; C],
        ) {
            for part in 0..PARTS {
                let scale = ops::load_scale(scales, part);
                for (short, scaled) in short.iter().zip(scaled.iter_mut()) {
                    scaled[part] = ops::add_scaled(scaled[part], short[part], scale);
                }
            }
        }

        /// Adds the sums of a block times the steps of tokens.
        #[inline]
        #[target_feature(enable = $features)]
        fn add_steps<const C: usize>(
            block: usize,
            tokens: &[Narrow; C],
            scaled: &[[ops::Scaled; PARTS]; C],
            chunk: &mut [[ops::Float; PARTS]; C],
        ) {
            for ((token, scaled), chunk) in tokens.iter().zip(scaled).zip(chunk) {
                let step = ops::splat(token.steps[block]);
                for (scaled, chunk) in scaled.iter().zip(chunk) {
                    *chunk = ops::multiply_add(step, ops::scaled_float(*scaled), *chunk);
                }
            }
        }

        /// Adds the sums of a chunk times the factors of rows.
        #[inline]
        #[target_feature(enable = $features)]
        fn add_chunk<const C: usize>(panel: &Panel, chunk: &[[ops::Float; PARTS]; C], sums: &mut [Sums; C]) {
            for (chunk, sums) in chunk.iter().zip(sums) {
                for (part, chunk) in chunk.iter().enumerate() {
                    let factors = ops::load(&panel.steps[0], part);
                    let sum = ops::multiply_add(factors, *chunk, ops::load(&sums.0, part));
                    ops::store(&mut sums.0, part, sum);
                }
            }
        }
    };
}

/// Calls a kernel with as many tokens at a time as it was compiled for.
macro_rules! by_tiles {
    ([$($size:literal),+], $tokens:expr, $sums:expr, |$few:ident, $places:ident| $call:expr) => {{
        let (tokens, sums) = ($tokens, &mut *$sums);
        assert_eq!(tokens.len(), sums.len(), "each token has its sums");
        let mut at = 0;
        $(
            while let (Some($few), Some($places)) =
                (tokens[at..].first_chunk::<$size>(), sums[at..].first_chunk_mut::<$size>())
            {
                $call;
                at += $size;
            }
        )+
    }};
}

/// Writes the function that adds the products of a panel with tokens to their sums: which loop computes which coding.
macro_rules! table {
    ($compute:ident, $name:literal, $tiles:tt, five: $five:literal, six: $six:literal,
     eight: |$panel:ident, $blocks:ident, $tokens:ident, $sums:ident| $eight:expr) => {
        #[doc = concat!("Adds products with ", $name, ". Must only be called where the processor has it.")]
        pub fn $compute(coding: Coding, $panel: &Panel, $blocks: usize, $tokens: Tokens<'_>, $sums: &mut [Sums]) {
            // SAFETY: the caller found the processor's features.
            unsafe {
                match coding {
                    Coding::Q4_0 => by_tiles!($tiles, $tokens.narrow, $sums, |few, sums| {
                        $compute::blocks::<_, _, 8, 8>($panel, $blocks, few, sums)
                    }),
                    Coding::Q4_1 => by_tiles!($tiles, $tokens.narrow, $sums, |few, sums| {
                        $compute::minima($panel, $blocks, few, sums);
                        $compute::blocks::<_, _, 8, 0>($panel, $blocks, few, sums)
                    }),
                    Coding::Q5_0 => by_tiles!($tiles, $tokens.narrow, $sums, |few, sums| {
                        $compute::blocks::<_, _, $five, 16>($panel, $blocks, few, sums)
                    }),
                    Coding::Q5_1 => by_tiles!($tiles, $tokens.narrow, $sums, |few, sums| {
                        $compute::minima($panel, $blocks, few, sums);
                        $compute::blocks::<_, _, $five, 0>($panel, $blocks, few, sums)
                    }),
                    Coding::Q8_0 => $eight,
                    Coding::Q4K => by_tiles!($tiles, $tokens.narrow, $sums, |few, sums| {
                        $compute::minima($panel, $blocks, few, sums);
                        $compute::scaled::<_, 8>($panel, $blocks, few, sums)
                    }),
                    Coding::Q5K => by_tiles!($tiles, $tokens.narrow, $sums, |few, sums| {
                        $compute::minima($panel, $blocks, few, sums);
                        $compute::scaled::<_, $five>($panel, $blocks, few, sums)
                    }),
                    Coding::Q6K => by_tiles!($tiles, $tokens.narrow, $sums, |few, sums| {
                        $compute::sixes::<_, $six>($panel, $blocks, few, sums)
                    }),
                }
            }
        }
    };
}

pub(super) use {block_loops, by_tiles, scale_loops, table};
