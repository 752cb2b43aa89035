//! A slice that several threads fill at once, each its own part.
#![expect(unsafe_code, reason = "hands one output buffer to the threads that fill disjoint parts of it")]

use std::marker::PhantomData;

/// The output of a computation that is split over threads by rows while memory runs by tokens.
#[derive(Clone, Copy)]
pub struct SharedOutput<'a> {
    start: *mut f32,
    length: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer comes from an exclusive borrow that lives as long as this value, and `write` demands that no two
// threads write to the same place.
unsafe impl Send for SharedOutput<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedOutput<'_> {}

impl<'a> SharedOutput<'a> {
    /// Takes over a buffer for the length of the borrow.
    pub fn new(output: &'a mut [f32]) -> Self {
        Self { start: output.as_mut_ptr(), length: output.len(), borrow: PhantomData }
    }

    /// Copies values to a place of the buffer.
    ///
    /// # Safety
    /// No other thread may write to `offset..offset + values.len()` during the life of the buffer's borrow.
    pub unsafe fn write(&self, offset: usize, values: &[f32]) {
        assert!(offset + values.len() <= self.length, "write past the end of an output");
        // SAFETY: in bounds as just checked; exclusive as the caller promises.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.add(offset), values.len()) }
    }
}
