//! Where keys and values of one layer lie.

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

/// Positions, or values of a head, that one instruction takes at once.
pub const LANES: usize = 16;

/// Keys and values of one layer for a fixed number of positions, as f16.
///
/// Memory is reserved at once and used as positions fill it. Keys of sixteen neighbouring positions lie side by side,
/// dimension by dimension, so that sixteen scores are computed at once; values lie position by position.
pub struct KvCache {
    heads: usize,
    length: usize,
    padded: usize,
    capacity: usize,
    keys: Vec<u16>,
    values: Vec<u16>,
    halves: Vec<f16>,
}

impl KvCache {
    /// For `heads` heads of `length` values and some number of positions.
    pub fn new(heads: usize, length: usize, positions: usize) -> Self {
        let capacity = positions.next_multiple_of(LANES);
        let padded = length.next_multiple_of(LANES);
        Self {
            heads,
            length,
            padded,
            capacity,
            keys: vec![0; heads * capacity * length],
            values: vec![0; heads * capacity * padded],
            halves: vec![f16::ZERO; heads * length],
        }
    }

    /// How many heads there are.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Values in a head.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Values in a head, rounded up to whole lanes.
    pub fn padded(&self) -> usize {
        self.padded
    }

    /// Puts the keys and values of all heads at a position, over what was there.
    pub fn store(&mut self, position: usize, keys: &[f32], values: &[f32]) {
        assert!(position < self.capacity, "position {position} of {}", self.capacity);
        self.halves.convert_from_f32_slice(keys);
        let (group, lane) = (position / LANES, position % LANES);
        for (head, keys) in self.halves.chunks_exact(self.length).enumerate() {
            let start = (head * self.capacity + group * LANES) * self.length + lane;
            for (place, key) in self.keys[start..].iter_mut().step_by(LANES).zip(keys) {
                *place = key.to_bits();
            }
        }
        self.halves.convert_from_f32_slice(values);
        for (head, values) in self.halves.chunks_exact(self.length).enumerate() {
            let start = (head * self.capacity + position) * self.padded;
            self.values[start..start + self.length].reinterpret_cast_mut::<f16>().copy_from_slice(values);
        }
    }

    /// The keys of a head: per sixteen positions, per dimension, sixteen numbers.
    pub fn keys(&self, head: usize) -> &[u16] {
        &self.keys[head * self.capacity * self.length..(head + 1) * self.capacity * self.length]
    }

    /// The values of a head: rows of [`KvCache::padded`].
    pub fn values(&self, head: usize) -> &[u16] {
        &self.values[head * self.capacity * self.padded..(head + 1) * self.capacity * self.padded]
    }
}
