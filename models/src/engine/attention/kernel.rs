//! Scores, softmax and mix for a few queries of one key head.

use std::cell::RefCell;
use std::ops::Range;

use half::f16;

use super::cache::{Element, PADDING, PAGE, PageId, Store};
#[cfg(target_arch = "aarch64")]
use super::neon;
#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::engine::math;
use crate::engine::shared::Shared;
use crate::engine::way::Way;

/// Query rows that are computed together at most: six rows of two registers leave room for keys and queries in sixteen.
pub const ROWS: usize = 6;

/// The queries of one key head in one span.
pub struct Queries<'a> {
    /// Of all heads, from the span's first token on.
    pub all: &'a [f32],
    /// From one token to the next.
    pub stride: usize,
    /// Of the first token.
    pub position: usize,
    /// Where the sequence's keys and values lie.
    pub pages: &'a [PageId],
    /// Query heads to a key head.
    pub group: usize,
    /// The key head.
    pub head: usize,
    /// Values in a head.
    pub length: usize,
    /// Scores are multiplied by it.
    pub scale: f32,
    /// Positions that a token sees at most.
    pub window: usize,
}

/// Factors of some rows, a row after the other `stride` apart.
#[derive(Clone, Copy)]
pub struct Factors<'a> {
    pub numbers: &'a [f32],
    pub stride: usize,
}

/// A kind of number with the loop that both halves of attention consist of.
pub trait Kernel: Element {
    /// Adds to each of R rows of 32 sums: for every index in turn the row's factor times 32 neighbouring numbers, the
    /// numbers of one index `stride` behind those of the one before. Rows of sums lie `sums_stride` apart.
    fn accumulate<const R: usize>(
        way: Way,
        count: usize,
        factors: Factors,
        numbers: (&[Self], usize),
        sums: (&mut [f32], usize),
    );
}

macro_rules! kernel {
    ($element:ty, $avx512:ident, $avx2:ident, $neon:ident) => {
        impl Kernel for $element {
            #[expect(unsafe_code, reason = "kernels for the processor at hand")]
            fn accumulate<const R: usize>(
                way: Way,
                count: usize,
                factors: Factors,
                numbers: (&[Self], usize),
                sums: (&mut [f32], usize),
            ) {
                // SAFETY: `Way::available` found what the processor has.
                unsafe {
                    match way {
                        #[cfg(target_arch = "x86_64")]
                        Way::Avx512 => x86::$avx512::<R>(count, factors, numbers, sums),
                        #[cfg(target_arch = "x86_64")]
                        Way::Avx2 => x86::$avx2::<R>(count, factors, numbers, sums),
                        #[cfg(target_arch = "aarch64")]
                        Way::Neon => neon::$neon::<R>(count, factors, numbers, sums),
                        Way::Plain => plain::<Self, R>(count, factors, numbers, sums),
                    }
                }
            }
        }
    };
}

kernel!(f16, avx512_f16, avx2_f16, neon_f16);
kernel!(f32, avx512_f32, avx2_f32, neon_f32);

/// What the instructions of x86.rs compute, in plain words.
fn plain<T: Element, const R: usize>(
    count: usize,
    factors: Factors,
    (numbers, stride): (&[T], usize),
    (sums, sums_stride): (&mut [f32], usize),
) {
    for row in 0..R {
        let sums = &mut sums[row * sums_stride..][..PADDING];
        for index in 0..count {
            let factor = factors.numbers[row * factors.stride + index];
            for (sum, number) in sums.iter_mut().zip(&numbers[index * stride..][..PADDING]) {
                *sum = factor.mul_add(number.to_f32(), *sum);
            }
        }
    }
}

/// Checks that [`Kernel::accumulate`] stays inside its slices.
pub fn check<T>(
    rows: usize,
    count: usize,
    factors: Factors,
    (numbers, stride): (&[T], usize),
    (sums, sums_stride): (&[f32], usize),
) {
    assert!(
        rows > 0
            && count > 0
            && factors.numbers.len() >= (rows - 1) * factors.stride + count
            && numbers.len() >= (count - 1) * stride + PADDING
            && sums.len() >= (rows - 1) * sums_stride + PADDING,
        "attention past the end of a buffer"
    );
}

thread_local! {
    /// Scores, queries and mixed values of a tile, kept between calls.
    static ROOM: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Computes some rows; row `r` is query head `r % group` of token `r / group`. The output's rows lie `width` apart from
/// `start` on.
pub fn attend<T: Kernel>(
    way: Way,
    queries: &Queries,
    rows: Range<usize>,
    store: &Store<T>,
    output: (&Shared<f32>, usize, usize),
) {
    ROOM.with_borrow_mut(|room| {
        let mut rest = rows;
        while !rest.is_empty() {
            let size = rest.len().min(ROWS);
            let tile = rest.start..rest.start + size;
            rest.start += size;
            match size {
                6 => attend_tile::<T, 6>(way, queries, tile, store, room, output),
                5 => attend_tile::<T, 5>(way, queries, tile, store, room, output),
                4 => attend_tile::<T, 4>(way, queries, tile, store, room, output),
                3 => attend_tile::<T, 3>(way, queries, tile, store, room, output),
                2 => attend_tile::<T, 2>(way, queries, tile, store, room, output),
                _ => attend_tile::<T, 1>(way, queries, tile, store, room, output),
            }
        }
    });
}

fn attend_tile<T: Kernel, const R: usize>(
    way: Way,
    queries: &Queries,
    rows: Range<usize>,
    store: &Store<T>,
    room: &mut Vec<f32>,
    (output, output_start, width): (&Shared<f32>, usize, usize),
) {
    let (length, padded) = (queries.length, store.padded());
    let seen = |row: usize| {
        let end = queries.position + row / queries.group + 1;
        end.saturating_sub(queries.window)..end
    };
    // The first row sees the earliest positions and the last row the latest; what another row does not see gets zeros.
    let first_page = seen(rows.start).start / PAGE;
    let end = seen(rows.end - 1).end;
    let pages = &queries.pages[first_page..end.div_ceil(PAGE)];
    let origin = first_page * PAGE;
    let columns = pages.len() * PAGE;
    room.clear();
    room.resize(R * (columns + length + padded), 0.0);
    let (scores, rest) = room.split_at_mut(R * columns);
    let (tile, mixed) = rest.split_at_mut(R * length);

    let place = |row: usize| (row / queries.group, (queries.head * queries.group + row % queries.group) * length);
    for (row, query) in rows.clone().zip(tile.chunks_exact_mut(length)) {
        let (token, offset) = place(row);
        for (scaled, value) in query.iter_mut().zip(&queries.all[token * queries.stride + offset..][..length]) {
            *scaled = value * queries.scale;
        }
    }
    for (index, page) in pages.iter().enumerate() {
        let factors = Factors { numbers: tile, stride: length };
        let keys = (store.keys(*page, queries.head), PAGE);
        T::accumulate::<R>(way, length, factors, keys, (&mut scores[index * PAGE..], columns));
    }
    for (row, scores) in rows.clone().zip(scores.chunks_exact_mut(columns)) {
        let seen = seen(row);
        let (before, scores) = scores.split_at_mut(seen.start - origin);
        let (scores, after) = scores.split_at_mut(seen.len());
        before.fill(0.0);
        let inverse = 1.0 / math::exponentials(scores);
        scores.iter_mut().for_each(|score| *score *= inverse);
        after.fill(0.0);
    }
    for (index, page) in pages.iter().enumerate() {
        let count = PAGE.min(end - origin - index * PAGE);
        let factors = Factors { numbers: &scores[index * PAGE..], stride: columns };
        let values = store.values(*page, queries.head);
        for start in (0..padded).step_by(PADDING) {
            T::accumulate::<R>(way, count, factors, (&values[start..], padded), (&mut mixed[start..], padded));
        }
    }
    for (row, mixed) in rows.zip(mixed.chunks_exact(padded)) {
        let (token, offset) = place(row);
        write(output, output_start + token * width + offset, &mixed[..length]);
    }
}

#[expect(unsafe_code, reason = "writes into a buffer that other threads fill too")]
fn write(output: &Shared<f32>, offset: usize, values: &[f32]) {
    // SAFETY: each query row belongs to one piece of the work, and its place in the output to that row.
    unsafe { output.write(offset, values) }
}
