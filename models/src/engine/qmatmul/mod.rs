//! Multiplies activations with quantised weights.
//!
//! | file | what it holds |
//! |---|---|
//! | `activations` | activations in 8 bits, as llama.cpp quantises them |
//! | `packed` | Q4_1 and Q8_0 weights, sixteen rows side by side, and the plain kernel |
//! | `x86` | the same kernels in AVX-512 VNNI, AVX-VNNI and AVX2 |
//! | `dense` | f32, f16 and bf16 weights with activations in f32 |
//!
//! Other codings run through candle. A coding gets kernels of its own by a line in [`packed::Coding`] and its kernels.

mod activations;
pub mod dense;
mod packed;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Module, Tensor};

use self::activations::Quantised;
use self::dense::Dense;
use self::packed::{Coding, GROUP, Packed, TILE};
use super::gguf::{Gguf, RawTensor};
use super::shared::Shared;
use super::team::Team;
use crate::ModelError;

/// Multiplications that are worth handing to another thread.
const WORTH_A_THREAD: usize = 1 << 18;

/// A linear layer without bias: one or several matrices of the file with the same input, computed as one.
pub struct Linear {
    parts: Vec<Part>,
    rows: usize,
    columns: usize,
}

/// Room for intermediate results, kept between calls.
#[derive(Default)]
pub struct Scratch {
    quantised: Quantised,
}

enum Part {
    Packed(Packed),
    Dense(Dense),
    Candle { matrix: QMatMul, tensor: Arc<QTensor>, rows: usize },
}

impl Linear {
    /// Takes matrices from a file; `shapes` says which, with the rows that each must have.
    pub fn load(gguf: &Gguf<'_>, shapes: &[(&str, usize)], columns: usize) -> Result<Self, String> {
        let mut tensors = Vec::new();
        for (name, rows) in shapes {
            let tensor = gguf.tensor(name)?;
            if tensor.rows != *rows || tensor.columns != columns {
                let (found, found_columns) = (tensor.rows, tensor.columns);
                return Err(format!("tensor `{name}` is {found} by {found_columns} and should be {rows} by {columns}"));
            }
            tensors.push(tensor);
        }
        Self::new(&tensors)
    }

    /// Stacks matrices with the same input on top of each other.
    pub fn new(tensors: &[RawTensor<'_>]) -> Result<Self, String> {
        let columns = tensors.first().map_or(0, |tensor| tensor.columns);
        let mut joined: Vec<(GgmlDType, usize, Vec<u8>)> = Vec::new();
        let mut total = 0;
        for tensor in tensors {
            assert_eq!(tensor.columns, columns, "stacked matrices have the same input");
            total += tensor.rows;
            // Matrices of one coding are computed as one, so that threads have to meet less often.
            match joined.last_mut() {
                Some((previous, rows, bytes)) if *previous == tensor.dtype => {
                    *rows += tensor.rows;
                    bytes.extend_from_slice(tensor.bytes);
                }
                _ => joined.push((tensor.dtype, tensor.rows, tensor.bytes.to_vec())),
            }
        }
        let mut parts = Vec::new();
        for (dtype, rows, bytes) in joined {
            parts.push(Part::new(dtype, rows, columns, &bytes)?);
        }
        Ok(Self { parts, rows: total, columns })
    }

    /// Length of an output row.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Multiplies rows of `input` with the weights: one row of [`Linear::rows`] for each.
    pub fn forward(
        &self,
        team: &Team,
        input: &[f32],
        scratch: &mut Scratch,
        output: &mut [f32],
    ) -> Result<(), ModelError> {
        let tokens = input.len() / self.columns;
        assert_eq!(output.len(), tokens * self.rows, "room for the output");
        if self.parts.iter().any(|part| matches!(part, Part::Packed(_))) {
            scratch.quantised.fill(team, input, self.columns);
        }
        let mut offset = 0;
        for part in &self.parts {
            match part {
                Part::Packed(packed) => {
                    let place = Place { output: Shared::new(output), stride: self.rows, offset };
                    multiply(team, packed, &scratch.quantised, &place);
                    offset += packed.rows();
                }
                Part::Dense(dense) => {
                    let place = Place { output: Shared::new(output), stride: self.rows, offset };
                    dense.multiply(team, input, &place);
                    offset += dense.rows();
                }
                Part::Candle { matrix, rows, .. } => {
                    let result = through_candle(matrix, input, self.columns).map_err(compute_error)?;
                    for (result, output) in result.chunks_exact(*rows).zip(output.chunks_exact_mut(self.rows)) {
                        output[offset..offset + rows].copy_from_slice(result);
                    }
                    offset += rows;
                }
            }
        }
        Ok(())
    }

    /// Writes one row of the weights out as floats; for embeddings.
    pub fn row(&self, row: usize, output: &mut [f32]) -> Result<(), ModelError> {
        let mut row = row;
        for part in &self.parts {
            match part {
                Part::Packed(packed) if row < packed.rows() => {
                    packed.row(row, output);
                    return Ok(());
                }
                Part::Dense(dense) if row < dense.rows() => {
                    dense.row(row, output);
                    return Ok(());
                }
                Part::Candle { tensor, rows, .. } if row < *rows => {
                    return candle_row(tensor, row, self.columns, output).map_err(compute_error);
                }
                Part::Packed(packed) => row -= packed.rows(),
                Part::Dense(dense) => row -= dense.rows(),
                Part::Candle { rows, .. } => row -= rows,
            }
        }
        Err(ModelError::Compute(format!("token {row} lies outside the vocabulary")))
    }
}

impl Part {
    fn new(dtype: GgmlDType, rows: usize, columns: usize, bytes: &[u8]) -> Result<Self, String> {
        let coding = match dtype {
            GgmlDType::Q4_1 => Some(Coding::Q4_1),
            GgmlDType::Q8_0 => Some(Coding::Q8_0),
            _ => None,
        };
        if let Some(coding) = coding {
            return Ok(Part::Packed(Packed::new(coding, rows, columns, bytes)));
        }
        let coding = match dtype {
            GgmlDType::F32 => Some(dense::Coding::F32),
            GgmlDType::F16 => Some(dense::Coding::F16),
            GgmlDType::BF16 => Some(dense::Coding::Bf16),
            _ => None,
        };
        if let Some(coding) = coding {
            return Ok(Part::Dense(Dense::new(coding, rows, columns, bytes)));
        }
        let tensor = candle_tensor(dtype, rows, columns, bytes).map_err(|error| error.to_string())?;
        let tensor = Arc::new(tensor);
        let matrix = QMatMul::from_arc(tensor.clone()).map_err(|error| error.to_string())?;
        Ok(Part::Candle { matrix, tensor, rows })
    }
}

/// Where in the output a part's results go.
struct Place<'a> {
    output: Shared<'a, f32>,
    stride: usize,
    offset: usize,
}

fn multiply(team: &Team, weights: &Packed, input: &Quantised, place: &Place) {
    let groups = weights.groups();
    let work = weights.rows() * input.columns() * input.tokens();
    let pieces = (work / WORTH_A_THREAD).clamp(1, 4 * team.threads()).min(groups);
    team.run(pieces, |piece| {
        let range = piece * groups / pieces..(piece + 1) * groups / pieces;
        multiply_groups(weights, input, place, range);
    });
}

#[expect(unsafe_code, reason = "writes into a buffer that other threads fill too")]
fn multiply_groups(weights: &Packed, input: &Quantised, place: &Place, groups: std::ops::Range<usize>) {
    let mut sums = [[0.0; GROUP]; TILE];
    for group in groups {
        let first_row = group * GROUP;
        let rows = GROUP.min(weights.rows() - first_row);
        for first in (0..input.tokens()).step_by(TILE) {
            let count = TILE.min(input.tokens() - first);
            weights.compute(group, input, first, count, &mut sums);
            for (token, sums) in (first..first + count).zip(&sums) {
                let at = token * place.stride + place.offset + first_row;
                // SAFETY: every group belongs to one piece, and groups write to rows of their own.
                unsafe { place.output.write(at, &sums[..rows]) };
            }
        }
    }
}

fn through_candle(matrix: &QMatMul, input: &[f32], columns: usize) -> candle_core::Result<Vec<f32>> {
    let input = Tensor::from_slice(input, (input.len() / columns, columns), &Device::Cpu)?;
    matrix.forward(&input)?.flatten_all()?.to_vec1()
}

fn candle_tensor(dtype: GgmlDType, rows: usize, columns: usize, bytes: &[u8]) -> candle_core::Result<QTensor> {
    // candle reads the bytes as blocks and insists on their alignment, which a file does not promise.
    let mut aligned = vec![0u64; bytes.len().div_ceil(8)];
    for (word, eight) in aligned.iter_mut().zip(bytes.chunks(8)) {
        let mut padded = [0; 8];
        padded[..eight.len()].copy_from_slice(eight);
        *word = u64::from_ne_bytes(padded);
    }
    let storage = QStorage::from_data(as_bytes(&aligned, bytes.len()).into(), &Device::Cpu, dtype)?;
    QTensor::new(storage, (rows, columns))
}

#[expect(unsafe_code, reason = "looks at words as bytes")]
fn as_bytes(words: &[u64], length: usize) -> &[u8] {
    assert!(length <= words.len() * 8);
    // SAFETY: any initialised memory may be read as bytes, and the length was just checked.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), length) }
}

fn candle_row(tensor: &QTensor, row: usize, columns: usize, output: &mut [f32]) -> candle_core::Result<()> {
    let data = tensor.data()?;
    let bytes = data.len() / tensor.shape().dims()[0];
    let single = candle_tensor(tensor.dtype(), 1, columns, &data[row * bytes..(row + 1) * bytes])?;
    output.copy_from_slice(&single.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?);
    Ok(())
}

fn compute_error(error: candle_core::Error) -> ModelError {
    ModelError::Compute(error.to_string())
}
