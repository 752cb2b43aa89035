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

/// Writes the loops that all codings need.
macro_rules! block_loops {
    ($features:literal) => {
        /// Registers for the rows of a group.
        const PARTS: usize = GROUP / ops::LANES;

        /// Adds the products of codings with a step per 32 columns; `OFFSET` is taken off each quant.
        #[target_feature(enable = $features)]
        pub fn blocks<const C: usize, const SPAN: usize, const OFFSET: i16>(
            panel: &Panel,
            blocks: usize,
            tokens: &[Chunk; C],
            sums: &mut [Sums; C],
        ) {
            assert!(blocks <= BLOCKS);
            let mut registers = load_sums(sums);
            for block in 0..blocks {
                let mut whole = [[ops::whole_zero(); PARTS]; C];
                for first in (0..WORDS).step_by(SPAN) {
                    let mut short = [[ops::short_zero(); PARTS]; C];
                    if first == 0 && OFFSET != 0 {
                        for (short, token) in short.iter_mut().zip(tokens) {
                            *short = [ops::early(token.pairs[block], -OFFSET, -OFFSET); PARTS];
                        }
                    }
                    add_products::<C, SPAN>(panel, tokens, block * WORDS + first, &mut short);
                    for (whole, short) in whole.as_flattened_mut().iter_mut().zip(short.as_flattened()) {
                        *whole = ops::add(*whole, ops::widen(*short));
                    }
                }
                for ((token, whole), registers) in tokens.iter().zip(whole).zip(&mut registers) {
                    let step = ops::splat(token.steps[block]);
                    let late = ops::late(token.pairs[block], -OFFSET, -OFFSET);
                    for (part, (whole, register)) in whole.into_iter().zip(registers).enumerate() {
                        let whole = if OFFSET == 0 { whole } else { ops::add(whole, late) };
                        let product = ops::multiply(ops::load(&panel.steps[block], part), step);
                        *register = ops::multiply_add(product, ops::float(whole), *register);
                    }
                }
            }
            store_sums(&registers, sums);
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn load_sums<const C: usize>(sums: &[Sums; C]) -> [[ops::Float; PARTS]; C] {
            let mut registers = [[ops::splat(0.0); PARTS]; C];
            for (registers, sums) in registers.iter_mut().zip(sums) {
                for (part, register) in registers.iter_mut().enumerate() {
                    *register = ops::load(&sums.0, part);
                }
            }
            registers
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn store_sums<const C: usize>(registers: &[[ops::Float; PARTS]; C], sums: &mut [Sums; C]) {
            for (registers, sums) in registers.iter().zip(sums) {
                for (part, register) in registers.iter().enumerate() {
                    ops::store(&mut sums.0, part, *register);
                }
            }
        }

        /// Adds the products of a span of words.
        #[inline]
        #[target_feature(enable = $features)]
        fn add_products<const C: usize, const SPAN: usize>(
            panel: &Panel,
            tokens: &[Chunk; C],
            first: usize,
            short: &mut [[ops::Short; PARTS]; C],
        ) {
            assert!(first + SPAN <= panel.quants.len());
            for word in first..first + SPAN {
                let mut weights = [ops::bytes_zero(); PARTS];
                for (part, weights) in weights.iter_mut().enumerate() {
                    // SAFETY: a panel has this word, as just checked, and a chunk has as many.
                    *weights = ops::load_bytes(unsafe { panel.quants.get_unchecked(word) }, part);
                }
                for (token, short) in tokens.iter().zip(short.iter_mut()) {
                    // SAFETY: as above.
                    let numbers = ops::splat_word(unsafe { *token.words.get_unchecked(word) });
                    for (short, weights) in short.iter_mut().zip(weights) {
                        *short = ops::keep(ops::dot(*short, weights, numbers));
                    }
                }
            }
        }
    };
}

/// Writes the loops of codings with minima and whole scales.
macro_rules! scale_loops {
    ($features:literal) => {
        /// Adds `minimum * total` for all blocks.
        #[target_feature(enable = $features)]
        pub fn minima<const C: usize>(panel: &Panel, blocks: usize, tokens: &[Chunk; C], sums: &mut [Sums; C]) {
            assert!(blocks <= BLOCKS);
            let mut registers = load_sums(sums);
            for block in 0..blocks {
                for part in 0..PARTS {
                    let minima = ops::load(&panel.minima[block], part);
                    for (registers, token) in registers.iter_mut().zip(tokens) {
                        let total = ops::splat(token.totals[block]);
                        registers[part] = ops::multiply_add(minima, total, registers[part]);
                    }
                }
            }
            store_sums(&registers, sums);
        }

        /// Adds the products of codings whose 256 columns share a factor, with a whole scale per 32 columns.
        #[target_feature(enable = $features)]
        pub fn scaled<const C: usize, const SPAN: usize>(
            panel: &Panel,
            blocks: usize,
            tokens: &[Chunk; C],
            sums: &mut [Sums; C],
        ) {
            assert!(blocks <= BLOCKS);
            let mut chunk = [[ops::splat(0.0); PARTS]; C];
            for block in 0..blocks {
                let mut scaled = [[ops::scaled_zero(); PARTS]; C];
                for first in (0..WORDS).step_by(SPAN) {
                    let mut short = [[ops::short_zero(); PARTS]; C];
                    add_products::<C, SPAN>(panel, tokens, block * WORDS + first, &mut short);
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
            tokens: &[Chunk; C],
            sums: &mut [Sums; C],
        ) {
            assert!(blocks <= BLOCKS);
            let mut chunk = [[ops::splat(0.0); PARTS]; C];
            for block in 0..blocks {
                let mut scaled = [[ops::scaled_zero(); PARTS]; C];
                for (token, scaled) in tokens.iter().zip(scaled.iter_mut()) {
                    for (part, scaled) in scaled.iter_mut().enumerate() {
                        *scaled = ops::scaled_start(token.pairs[block], scales_of(panel, block), part);
                    }
                }
                for index in 0..WORDS / SPAN {
                    let half = index * SPAN / (WORDS / 2);
                    let mut short = [[ops::short_zero(); PARTS]; C];
                    if index * SPAN % (WORDS / 2) == 0 {
                        let (first, last) = if half == 0 { (-32, 0) } else { (0, -32) };
                        for (short, token) in short.iter_mut().zip(tokens) {
                            *short = [ops::early(token.pairs[block], first, last); PARTS];
                        }
                    }
                    add_products::<C, SPAN>(panel, tokens, block * WORDS + index * SPAN, &mut short);
                    add_scaled(&panel.scales[2 * block + half], &short, &mut scaled);
                }
                add_steps(block, tokens, &scaled, &mut chunk);
            }
            add_chunk(panel, &chunk, sums);
        }

        /// The scales of a block's halves.
        #[inline]
        fn scales_of(panel: &Panel, block: usize) -> [&[i32; GROUP]; 2] {
            [&panel.scales[2 * block], &panel.scales[2 * block + 1]]
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
            tokens: &[Chunk; C],
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

/// Writes the loops that multiply a single token with packed weights.
macro_rules! one_loops {
    ($features:literal) => {
        /// Adds the products of 4-bit codings with a step per 32 columns; `OFFSET` is taken off each quant.
        #[target_feature(enable = $features)]
        pub fn one_nibbles<const OFFSET: i16>(packing: &Packing, panel: &Panel, token: &Chunk, sums: &mut Sums) {
            let mut registers = load_sums(std::array::from_ref(sums));
            let lines = packing.lines.as_chunks().0.iter().zip(token.words.as_chunks().0);
            for (block, (lines, words)) in lines.enumerate().take(BLOCKS) {
                let mut short = [[ops::short_zero(); PARTS]; 2];
                if OFFSET != 0 {
                    short[0] = [ops::early(token.pairs[block], -OFFSET, -OFFSET); PARTS];
                }
                add_nibbles::<{ WORDS / 2 }, WORDS>(lines, words, &mut short);
                let step = ops::splat(token.steps[block]);
                let late = ops::late(token.pairs[block], -OFFSET, -OFFSET);
                for (part, register) in registers[0].iter_mut().enumerate() {
                    let whole = ops::add(ops::widen(short[0][part]), ops::widen(short[1][part]));
                    let whole = if OFFSET == 0 { whole } else { ops::add(whole, late) };
                    let product = ops::multiply(ops::load(&panel.steps[block], part), step);
                    *register = ops::multiply_add(product, ops::float(whole), *register);
                }
            }
            store_sums(&registers, std::array::from_mut(sums));
        }

        /// Adds the products of 4-bit codings whose 256 columns share a factor, with a whole scale per 32 columns.
        #[target_feature(enable = $features)]
        pub fn one_scaled(packing: &Packing, panel: &Panel, token: &Chunk, sums: &mut Sums) {
            let mut chunk = [[ops::splat(0.0); PARTS]];
            let lines = packing.lines.as_chunks().0.iter().zip(token.words.as_chunks().0);
            for (pair, (lines, words)) in lines.enumerate().take(BLOCKS / 2) {
                let mut short = [[ops::short_zero(); PARTS]; 2];
                add_nibbles::<WORDS, { 2 * WORDS }>(lines, words, &mut short);
                for (block, short) in (2 * pair..).zip(short) {
                    let mut scaled = [[ops::scaled_zero(); PARTS]];
                    add_scaled(&panel.scales[2 * block], &[short], &mut scaled);
                    add_steps(block, std::array::from_ref(token), &scaled, &mut chunk);
                }
            }
            add_chunk(panel, &chunk, std::array::from_mut(sums));
        }

        /// Adds the products of lines whose low halves belong to the first of the words and whose high halves to the last.
        #[inline]
        #[target_feature(enable = $features)]
        fn add_nibbles<const L: usize, const W: usize>(
            lines: &[[u8; 64]; L],
            words: &[i32; W],
            short: &mut [[ops::Short; PARTS]; 2],
        ) {
            let (lows, highs) = words.split_at(L);
            for ((line, low), high) in lines.iter().zip(lows).zip(highs) {
                let (low, high) = (ops::splat_word(*low), ops::splat_word(*high));
                for part in 0..PARTS {
                    let (weights, more_weights) = ops::halves(ops::load_bytes(line, part));
                    short[0][part] = ops::keep(ops::dot(short[0][part], weights, low));
                    short[1][part] = ops::keep(ops::dot(short[1][part], more_weights, high));
                }
            }
        }

        /// Adds the products of 6-bit weights, which have a whole scale per 16 columns and 32 taken off each quant.
        #[target_feature(enable = $features)]
        pub fn one_sixes<const SPAN: usize>(packing: &Packing, panel: &Panel, token: &Chunk, sums: &mut Sums) {
            let (lows, highs) = packing.lines.split_at(CHUNK / 8);
            for part in 0..PARTS {
                let mut chunk = ops::splat(0.0);
                // Of 128 columns, the quants of four blocks are mixed.
                let mixed = lows.as_chunks::<{ 2 * WORDS }>().0.iter().zip(highs.as_chunks::<WORDS>().0);
                for (half, (lows, highs)) in mixed.enumerate().take(2) {
                    let blocks = [0, 1, 2, 3].map(|index| 4 * half + index);
                    let mut scaled = [ops::scaled_zero(); 4];
                    for (scaled, block) in scaled.iter_mut().zip(blocks) {
                        *scaled = ops::scaled_start(token.pairs[block], scales_of(panel, block), part);
                    }
                    for first in (0..WORDS).step_by(SPAN) {
                        let mut short = [ops::short_zero(); 4];
                        if first % (WORDS / 2) == 0 {
                            let (low, high) = if first == 0 { (-32, 0) } else { (0, -32) };
                            for (short, block) in short.iter_mut().zip(blocks) {
                                *short = ops::early(token.pairs[block], low, high);
                            }
                        }
                        for word in first..first + SPAN {
                            let [low, more_low] = [word, WORDS + word].map(|line| ops::load_bytes(&lows[line], part));
                            let weights = ops::sixes(low, more_low, ops::load_bytes(&highs[word], part));
                            for ((short, weights), block) in short.iter_mut().zip(weights).zip(blocks) {
                                let numbers = ops::splat_word(token.words[block * WORDS + word]);
                                *short = ops::keep(ops::dot(*short, weights, numbers));
                            }
                        }
                        for ((scaled, short), block) in scaled.iter_mut().zip(short).zip(blocks) {
                            let scales = &panel.scales[2 * block + first / (WORDS / 2)];
                            *scaled = ops::add_scaled(*scaled, short, ops::load_scale(scales, part));
                        }
                    }
                    for (scaled, block) in scaled.into_iter().zip(blocks) {
                        let step = ops::splat(token.steps[block]);
                        chunk = ops::multiply_add(step, ops::scaled_float(scaled), chunk);
                    }
                }
                let sum = ops::multiply_add(ops::load(&panel.steps[0], part), chunk, ops::load(&sums.0, part));
                ops::store(&mut sums.0, part, sum);
            }
        }
    };
}

/// Writes the loop that multiplies a single token with packed weights of 8 bits.
macro_rules! one_eights_loop {
    ($features:literal) => {
        /// Adds the products of weights of 8 bits with a step per 32 columns; `OFFSET` is what `ops::eights` adds to them.
        #[target_feature(enable = $features)]
        pub fn one_eights<const OFFSET: i16>(packing: &Packing, panel: &Panel, token: &Chunk, sums: &mut Sums) {
            let mut registers = load_sums(std::array::from_ref(sums));
            let words = token.words.as_chunks::<WORDS>().0;
            for (block, (lines, words)) in packing.lines.as_chunks::<WORDS>().0.iter().zip(words).enumerate() {
                let mut short = [ops::early(token.pairs[block], -OFFSET, -OFFSET); PARTS];
                for (line, word) in lines.iter().zip(words) {
                    let word = ops::splat_word(*word);
                    for (part, short) in short.iter_mut().enumerate() {
                        *short = ops::keep(ops::dot(*short, ops::eights(ops::load_bytes(line, part)), word));
                    }
                }
                let step = ops::splat(token.steps[block]);
                for (part, (short, register)) in short.into_iter().zip(&mut registers[0]).enumerate() {
                    let product = ops::multiply(ops::load(&panel.steps[block], part), step);
                    *register = ops::multiply_add(product, ops::float(ops::widen(short)), *register);
                }
            }
            store_sums(&registers, std::array::from_mut(sums));
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
     eight: |$packing:ident, $panel:ident, $tokens:ident, $sums:ident| $eight:expr) => {
        #[doc = concat!("Adds products with ", $name, ".")]
        ///
        /// # Safety
        /// The processor must have it.
        pub unsafe fn $compute(
            coding: Coding,
            $packing: &Packing<'_>,
            $panel: &mut Panel,
            $tokens: &[Chunk],
            $sums: &mut [Sums],
        ) {
            let blocks = $packing.blocks;
            // SAFETY: the caller's promise.
            unsafe {
                match coding {
                    Coding::Q4_0 => by_tiles!($tiles, $tokens, $sums, |few, sums| {
                        $compute::blocks::<_, 8, 8>($panel, blocks, few, sums)
                    }),
                    Coding::Q4_1 => by_tiles!($tiles, $tokens, $sums, |few, sums| {
                        $compute::minima($panel, blocks, few, sums);
                        $compute::blocks::<_, 8, 0>($panel, blocks, few, sums)
                    }),
                    Coding::Q5_0 => by_tiles!($tiles, $tokens, $sums, |few, sums| {
                        $compute::blocks::<_, $five, 16>($panel, blocks, few, sums)
                    }),
                    Coding::Q5_1 => by_tiles!($tiles, $tokens, $sums, |few, sums| {
                        $compute::minima($panel, blocks, few, sums);
                        $compute::blocks::<_, $five, 0>($panel, blocks, few, sums)
                    }),
                    Coding::Q8_0 => $eight,
                    Coding::Q4K => by_tiles!($tiles, $tokens, $sums, |few, sums| {
                        $compute::minima($panel, blocks, few, sums);
                        $compute::scaled::<_, 8>($panel, blocks, few, sums)
                    }),
                    Coding::Q5K => by_tiles!($tiles, $tokens, $sums, |few, sums| {
                        $compute::minima($panel, blocks, few, sums);
                        $compute::scaled::<_, $five>($panel, blocks, few, sums)
                    }),
                    Coding::Q6K => by_tiles!($tiles, $tokens, $sums, |few, sums| {
                        $compute::sixes::<_, $six>($panel, blocks, few, sums)
                    }),
                }
            }
        }
    };
}

/// Writes the function that does so for a single token: which loop computes which coding. It returns false for a coding
/// that has none.
macro_rules! one_table {
    ($compute:ident, $module:ident, $name:literal, six: $six:literal,
     eight: |$packing:ident, $panel:ident, $tokens:ident, $sums:ident| $eight:expr) => {
        #[doc = concat!("Adds products of one token with ", $name, ".")]
        ///
        /// # Safety
        /// The processor must have it.
        pub unsafe fn $compute(
            coding: Coding,
            $packing: &Packing<'_>,
            $panel: &Panel,
            $tokens: &[Chunk],
            $sums: &mut Sums,
        ) -> bool {
            // SAFETY: the caller's promise.
            unsafe {
                match (coding, $tokens) {
                    (Coding::Q4_0, [token]) => $module::one_nibbles::<8>($packing, $panel, token, $sums),
                    (Coding::Q4_1, [token]) => {
                        let tokens = std::array::from_ref(token);
                        $module::minima($panel, $packing.blocks, tokens, std::array::from_mut($sums));
                        $module::one_nibbles::<0>($packing, $panel, token, $sums);
                    }
                    (Coding::Q4K, [token]) => {
                        let tokens = std::array::from_ref(token);
                        $module::minima($panel, $packing.blocks, tokens, std::array::from_mut($sums));
                        $module::one_scaled($packing, $panel, token, $sums);
                    }
                    (Coding::Q6K, [token]) => $module::one_sixes::<$six>($packing, $panel, token, $sums),
                    (Coding::Q8_0, _) => $eight,
                    _ => return false,
                }
            }
            true
        }
    };
}

pub(super) use {block_loops, by_tiles, one_eights_loop, one_loops, one_table, scale_loops, table};
