//! Where keys and values lie: in pages, so that sequences grow, end and share beginnings without a copy.
#![expect(unsafe_code, reason = "threads store tokens of their own into one cache")]

use half::f16;
use half::vec::HalfBitsVecExt;

use crate::engine::shared::Shared;

/// Positions in a page.
pub const PAGE: usize = 32;

/// Numbers of a head are padded to a multiple of this, so that two of the widest registers always fit.
pub const PADDING: usize = 32;

/// The number of a page.
pub type PageId = u32;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Half the memory; what lies beyond ±65504 is cut.
    F16,
    /// As computed.
    F32,
}

/// The sizes of a network's keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// Layers that attend.
    pub layers: usize,
    /// Key heads.
    pub heads: usize,
    /// Values in a head.
    pub length: usize,
    /// How they are kept.
    pub precision: Precision,
}

impl KvShape {
    /// Bytes of a page over all layers.
    pub fn page_bytes(&self) -> usize {
        let number = match self.precision {
            Precision::F16 => 2,
            Precision::F32 => 4,
        };
        self.layers * self.heads * PAGE * (self.length + self.padded()) * number
    }

    fn padded(&self) -> usize {
        self.length.next_multiple_of(PADDING)
    }
}

/// Keys and values of all layers for a fixed number of pages.
///
/// The memory is reserved at once and used as pages fill.
pub struct KvCache {
    layers: Vec<LayerCache>,
    pages: usize,
}

/// Keys and values of one layer.
pub struct LayerCache {
    shape: KvShape,
    pub(super) numbers: Numbers,
}

pub(super) enum Numbers {
    F16(Store<f16>),
    F32(Store<f32>),
}

/// Keys of a page lie dimension by dimension, 32 positions side by side, so that many scores are computed at once; values
/// lie position by position, rows of the padded length.
pub(super) struct Store<T> {
    keys: Vec<T>,
    values: Vec<T>,
    length: usize,
    padded: usize,
    heads: usize,
}

/// A number that a cache can hold.
pub trait Element: Copy + Send + Sync + 'static {
    /// So many zeros, of which the system gives the memory when they are first written.
    fn zeros(count: usize) -> Vec<Self>;
    /// Rounded to this kind.
    fn from_f32(value: f32) -> Self;
    /// Without loss.
    fn to_f32(self) -> f32;
}

impl Element for f16 {
    fn zeros(count: usize) -> Vec<Self> {
        // A vector of f16 would be written through, 512 MiB of it; one of plain numbers is not.
        vec![0u16; count].reinterpret_into()
    }

    fn from_f32(value: f32) -> Self {
        const MOST: f32 = 65_504.0;
        f16::from_f32(value.clamp(-MOST, MOST))
    }

    fn to_f32(self) -> f32 {
        self.to_f32()
    }
}

impl Element for f32 {
    fn zeros(count: usize) -> Vec<Self> {
        vec![0.0; count]
    }

    fn from_f32(value: f32) -> Self {
        value
    }

    fn to_f32(self) -> f32 {
        self
    }
}

impl KvCache {
    /// For a network's sizes and a number of pages.
    pub fn new(shape: KvShape, pages: usize) -> Self {
        let layers = (0..shape.layers).map(|_| LayerCache::new(shape, pages)).collect();
        Self { layers, pages }
    }

    /// How many pages there are.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// The cache of one layer.
    pub fn layer(&mut self, index: usize) -> &mut LayerCache {
        &mut self.layers[index]
    }

    /// Copies the first positions of a page to another one, in all layers.
    pub fn copy(&mut self, from: PageId, to: PageId, positions: usize) {
        for layer in &mut self.layers {
            match &mut layer.numbers {
                Numbers::F16(store) => store.copy(from, to, positions),
                Numbers::F32(store) => store.copy(from, to, positions),
            }
        }
    }
}

impl LayerCache {
    fn new(shape: KvShape, pages: usize) -> Self {
        let numbers = match shape.precision {
            Precision::F16 => Numbers::F16(Store::new(&shape, pages)),
            Precision::F32 => Numbers::F32(Store::new(&shape, pages)),
        };
        Self { shape, numbers }
    }

    /// The sizes it was made for.
    pub fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// A handle through which several threads store tokens.
    pub fn writer(&mut self) -> Writer<'_> {
        match &mut self.numbers {
            Numbers::F16(store) => Writer::F16(StoreWriter::new(store)),
            Numbers::F32(store) => Writer::F32(StoreWriter::new(store)),
        }
    }
}

impl<T: Element> Store<T> {
    fn new(shape: &KvShape, pages: usize) -> Self {
        let (length, padded, heads) = (shape.length, shape.padded(), shape.heads);
        Self {
            keys: T::zeros(pages * heads * PAGE * length),
            values: T::zeros(pages * heads * PAGE * padded),
            length,
            padded,
            heads,
        }
    }

    /// Values in a head, rounded up.
    pub(super) fn padded(&self) -> usize {
        self.padded
    }

    /// The keys of a head in a page: per dimension, 32 positions.
    pub(super) fn keys(&self, page: PageId, head: usize) -> &[T] {
        let size = PAGE * self.length;
        &self.keys[(page as usize * self.heads + head) * size..][..size]
    }

    /// The values of a head in a page: per position, the padded length.
    pub(super) fn values(&self, page: PageId, head: usize) -> &[T] {
        let size = PAGE * self.padded;
        &self.values[(page as usize * self.heads + head) * size..][..size]
    }

    fn copy(&mut self, from: PageId, to: PageId, positions: usize) {
        let (from, to) = (from as usize, to as usize);
        let keys = self.heads * PAGE * self.length;
        self.keys.copy_within(from * keys..(from + 1) * keys, to * keys);
        for head in 0..self.heads {
            let start = |page: usize| (page * self.heads + head) * PAGE * self.padded;
            self.values.copy_within(start(from)..start(from) + positions * self.padded, start(to));
        }
    }
}

/// Stores tokens into a layer's cache.
pub enum Writer<'a> {
    /// Into halves.
    F16(StoreWriter<'a, f16>),
    /// Into floats.
    F32(StoreWriter<'a, f32>),
}

/// [`Writer`] for one kind of number.
pub struct StoreWriter<'a, T> {
    keys: Shared<'a, T>,
    values: Shared<'a, T>,
    length: usize,
    padded: usize,
    heads: usize,
}

impl Writer<'_> {
    /// Puts the keys and values of all heads at a place of a page, over what was there.
    ///
    /// # Safety
    /// No other thread may store at the same place meanwhile.
    pub unsafe fn store(&self, page: PageId, slot: usize, keys: &[f32], values: &[f32]) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Writer::F16(store) => store.store(page, slot, keys, values),
                Writer::F32(store) => store.store(page, slot, keys, values),
            }
        }
    }
}

impl<'a, T: Element> StoreWriter<'a, T> {
    fn new(store: &'a mut Store<T>) -> Self {
        Self {
            keys: Shared::new(&mut store.keys),
            values: Shared::new(&mut store.values),
            length: store.length,
            padded: store.padded,
            heads: store.heads,
        }
    }

    /// # Safety
    /// As [`Writer::store`].
    unsafe fn store(&self, page: PageId, slot: usize, keys: &[f32], values: &[f32]) {
        assert!(slot < PAGE && keys.len() == self.heads * self.length && values.len() == keys.len());
        let first = page as usize * self.heads;
        for (head, keys) in keys.chunks_exact(self.length).enumerate() {
            let offset = (first + head) * PAGE * self.length + slot;
            // SAFETY: the place is this call's own, as the caller promises.
            unsafe { self.keys.scatter(offset, PAGE, keys.iter().map(|key| T::from_f32(*key))) };
        }
        for (head, values) in values.chunks_exact(self.length).enumerate() {
            let offset = ((first + head) * PAGE + slot) * self.padded;
            // SAFETY: as above.
            unsafe { self.values.scatter(offset, 1, values.iter().map(|value| T::from_f32(*value))) };
        }
    }
}
