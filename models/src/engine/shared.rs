//! Memory that several threads fill at once, each its own part.
#![expect(unsafe_code, reason = "hands one buffer to the threads that fill disjoint parts of it")]

use std::marker::PhantomData;

use super::team::Team;

/// Rows below which element-wise work is not worth a second thread.
const ROWS_PER_PIECE: usize = 8;

/// A buffer that is split over threads in another way than slices can be: by columns of its rows, say.
pub struct Shared<'a, T> {
    start: *mut T,
    length: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: the pointer comes from an exclusive borrow that lives as long as this value, and the methods demand that no two
// threads touch the same place.
unsafe impl<T: Copy + Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Copy + Send> Sync for Shared<'_, T> {}

impl<'a, T: Copy> Shared<'a, T> {
    /// Takes over a buffer for the length of the borrow.
    pub fn new(buffer: &'a mut [T]) -> Self {
        Self { start: buffer.as_mut_ptr(), length: buffer.len(), borrow: PhantomData }
    }

    /// Copies values to a place of the buffer.
    ///
    /// # Safety
    /// No other thread may use `offset..offset + values.len()` meanwhile.
    pub unsafe fn write(&self, offset: usize, values: &[T]) {
        assert!(offset <= self.length && values.len() <= self.length - offset, "write past the end of a buffer");
        // SAFETY: in bounds as just checked; exclusive as the caller promises.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.add(offset), values.len()) }
    }

    /// Puts values `stride` apart, the first at `offset`.
    ///
    /// # Safety
    /// No other thread may use these places meanwhile.
    pub unsafe fn scatter(&self, offset: usize, stride: usize, values: impl ExactSizeIterator<Item = T>) {
        let last = offset + values.len().saturating_sub(1) * stride;
        assert!(values.len() == 0 || last < self.length, "write past the end of a buffer");
        for (index, value) in values.enumerate() {
            // SAFETY: in bounds as just checked; exclusive as the caller promises.
            unsafe { *self.start.add(offset + index * stride) = value };
        }
    }

    /// Where a part of the buffer begins, for those who write to some places of it only.
    pub fn pointer(&self, offset: usize, length: usize) -> *mut T {
        assert!(offset <= self.length && length <= self.length - offset, "a part past the end of a buffer");
        // SAFETY: in bounds as just checked.
        unsafe { self.start.add(offset) }
    }

    /// A part of the buffer to work on.
    ///
    /// # Safety
    /// No other thread may use `offset..offset + length` as long as the slice lives.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that nobody else has this part")]
    pub unsafe fn slice(&self, offset: usize, length: usize) -> &mut [T] {
        assert!(offset <= self.length && length <= self.length - offset, "a slice past the end of a buffer");
        // SAFETY: in bounds as just checked; exclusive as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(offset), length) }
    }
}

/// Calls `work` for every row of a buffer, on all threads where there are enough.
pub fn for_rows(team: &Team, buffer: &mut [f32], width: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = buffer.len() / width;
    let shared = Shared::new(buffer);
    team.run(rows.div_ceil(ROWS_PER_PIECE), |piece| {
        for row in piece * ROWS_PER_PIECE..rows.min((piece + 1) * ROWS_PER_PIECE) {
            // SAFETY: a row belongs to one piece, and a piece is done once.
            work(row, unsafe { shared.slice(row * width, width) });
        }
    });
}
