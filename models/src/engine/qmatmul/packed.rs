//! Weight matrices in the order of `coding`.

use memmap2::MmapMut;
use rayon::prelude::*;

use super::activations::CHUNK;
use super::coding::{Coding, Eight, GROUP, Panel};

/// Bytes from which memory is asked for in huge pages: smaller matrices would not fill one.
const HUGE: usize = 4 << 20;

/// A weight matrix in groups of sixteen rows; the last group is filled up with zeros.
pub struct Packed {
    coding: Coding,
    rows: usize,
    columns: usize,
    bytes: MmapMut,
}

impl Packed {
    /// Packs matrices with the same input, stacked on top of each other. Each is a number of rows of `columns` as they lie
    /// in a GGUF file.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn new(coding: Coding, columns: usize, matrices: &[&[u8]]) -> Result<Self, String> {
        let row_bytes = coding.bytes(columns);
        assert!(
            row_bytes > 0 && matrices.iter().all(|bytes| bytes.len().is_multiple_of(row_bytes)),
            "bytes and shape of a matrix agree"
        );
        let rows: Vec<&[u8]> = matrices.iter().flat_map(|bytes| bytes.chunks_exact(row_bytes)).collect();
        let group_bytes = GROUP * row_bytes;
        let length = rows.len().div_ceil(GROUP) * group_bytes;
        let mut bytes = MmapMut::map_anon(length).map_err(|error| format!("no {length} bytes for weights: {error}"))?;
        #[cfg(target_os = "linux")]
        if length >= HUGE {
            // Not every system has them, and nothing depends on it.
            bytes.advise(memmap2::Advice::HugePage).ok();
        }
        bytes.par_chunks_mut(group_bytes).zip(rows.par_chunks(GROUP)).for_each(|(group, rows)| {
            let mut group = group;
            for first in (0..columns).step_by(CHUNK) {
                let range = coding.bytes(first)..coding.bytes(columns.min(first + CHUNK));
                let mut parts = [&[][..]; GROUP];
                for (part, row) in parts.iter_mut().zip(rows) {
                    *part = &row[range.clone()];
                }
                let (chunk, rest) = std::mem::take(&mut group).split_at_mut(range.len() * GROUP);
                coding.pack(&parts[..rows.len()], chunk);
                group = rest;
            }
        });
        Ok(Self { coding, rows: rows.len(), columns, bytes })
    }

    /// How the weights are coded.
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Length of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        self.rows.div_ceil(GROUP)
    }

    /// Memory that the weights take.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// A chunk of a group, counted from the left.
    pub fn chunk(&self, group: usize, index: usize) -> &[u8] {
        let [before, end] = [index * CHUNK, self.columns.min((index + 1) * CHUNK)];
        let group_start = group * GROUP * self.coding.bytes(self.columns);
        &self.bytes[group_start + GROUP * self.coding.bytes(before)..group_start + GROUP * self.coding.bytes(end)]
    }

    /// Writes one row out as floats.
    pub fn row(&self, row: usize, output: &mut [f32]) {
        assert!(row < self.rows && output.len() == self.columns);
        let mut panel = Panel::new();
        for (index, output) in output.chunks_mut(CHUNK).enumerate() {
            let packing = self.coding.split(self.chunk(row / GROUP, index));
            self.coding.unpack_factors(&packing, &mut panel);
            self.coding.unpack_quants(&packing, Eight::Signed, &mut panel);
            self.coding.row(&panel, row % GROUP, output);
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::tests::{CODINGS, quantised};

    #[test]
    fn rows_come_back_as_candle_reads_them() {
        for dtype in CODINGS {
            for (rows, columns) in [(21, 256), (16, 768), (1, 512)] {
                let (tensor, packed) = quantised(dtype, rows, columns);
                let expected = tensor.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
                for (row, expected) in expected.iter().enumerate() {
                    let mut output = vec![0.0; columns];
                    packed.row(row, &mut output);
                    assert_eq!(&output, expected, "{dtype:?}, row {row}");
                }
                assert_eq!(packed.bytes(), packed.groups() * 16 * tensor.data().unwrap().len() / rows);
            }
        }
    }
}
