//! Multiplies activations with quantised weights.
//!
//! | file | what it holds |
//! |---|---|
//! | `activations` | activations in 8 bits |
//! | `coding` | how weights are coded, how they lie in memory and how they are spread out for kernels |
//! | `packed` | a matrix in that order |
//! | `multiply` | the way through a matrix: which kernel, in which pieces |
//! | `plain` | the kernels in plain words, and the order in which floats are added |
//! | `q8_0` | floats coded anew in 8 bits |
//! | `dense` | f32, f16 and bf16 weights with activations in f32 |
//! | `kernels` | the loops of the fast kernels |
//! | `x86`, `neon` | their operations in AVX-512 VNNI, AVX-VNNI, AVX2 and NEON |
//!
//! Other codings run through candle. A coding gets kernels by a line in [`coding::Coding`], how it is unpacked there, and a
//! line in each table of loops.

mod activations;
mod coding;
pub mod dense;
mod kernels;
mod multiply;
#[cfg(target_arch = "aarch64")]
mod neon;
mod packed;
mod plain;
pub mod q8_0;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Module, Tensor};

use self::activations::Quantised;
use self::coding::Coding;
use self::dense::Dense;
use self::multiply::{Place, Way, multiply};
use self::packed::Packed;
use super::gguf::RawTensor;
use super::shared::Shared;
use super::team::Team;
use crate::{ModelError, Precision};

/// A linear layer: one or several matrices of the file with the same input, computed as one.
pub struct Linear {
    parts: Vec<Part>,
    rows: usize,
    columns: usize,
    /// Added to the results; empty where there is none.
    bias: Vec<f32>,
    way: Way,
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
    /// Stacks matrices with the same input on top of each other.
    pub fn new(tensors: &[RawTensor<'_>]) -> Result<Self, String> {
        let columns = tensors.first().map_or(0, |tensor| tensor.columns);
        assert!(tensors.iter().all(|tensor| tensor.columns == columns), "stacked matrices have the same input");
        let mut parts = Vec::new();
        // Matrices of one coding are computed as one, so that threads have to meet less often.
        for same in tensors.chunk_by(|a, b| a.dtype == b.dtype) {
            if let Some(coding) = Coding::of(same[0].dtype) {
                let bytes: Vec<&[u8]> = same.iter().map(|tensor| tensor.bytes).collect();
                parts.push(Part::Packed(Packed::new(coding, columns, &bytes)?));
                continue;
            }
            for tensor in same {
                parts.push(match dense::Coding::of(tensor.dtype) {
                    Some(coding) => Part::Dense(Dense::new(coding, tensor.rows, columns, tensor.bytes)),
                    None => Part::through_candle(tensor)?,
                });
            }
        }
        let rows = tensors.iter().map(|tensor| tensor.rows).sum();
        Ok(Self { parts, rows, columns, bias: Vec::new(), way: Way::available()[0] })
    }

    /// The same, with weights of floats coded anew where the precision says so and their rows allow it.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn in_precision(tensors: &[RawTensor<'_>], precision: Precision) -> Result<Self, String> {
        let coded: Option<Vec<Vec<u8>>> = match precision {
            Precision::F32 => None,
            Precision::Int8 => tensors.iter().map(q8_0::quantise).collect::<Result<_, _>>()?,
        };
        let Some(coded) = coded else { return Self::new(tensors) };
        let coded =
            tensors.iter().zip(&coded).map(|(tensor, bytes)| RawTensor { dtype: GgmlDType::Q8_0, bytes, ..*tensor });
        Self::new(&coded.collect::<Vec<_>>())
    }

    /// The same with numbers that are added to each output row.
    pub fn with_bias(self, bias: Vec<f32>) -> Self {
        assert_eq!(bias.len(), self.rows, "a bias for each row");
        Self { bias, ..self }
    }

    /// Memory that the weights take.
    pub fn bytes(&self) -> usize {
        let parts = self.parts.iter().map(|part| match part {
            Part::Packed(packed) => packed.bytes(),
            Part::Dense(dense) => dense.bytes(),
            Part::Candle { tensor, .. } => tensor.storage_size_in_bytes(),
        });
        parts.sum::<usize>() + size_of_val(self.bias.as_slice())
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
            let bias = self.bias.get(offset..offset + part.rows()).unwrap_or_default();
            match part {
                Part::Packed(packed) => {
                    let place = Place { output: Shared::new(output), stride: self.rows, offset, bias };
                    multiply(team, self.way, packed, &scratch.quantised, &place);
                }
                Part::Dense(dense) => {
                    let place = Place { output: Shared::new(output), stride: self.rows, offset, bias: &[] };
                    dense.multiply(team, input, &place);
                    for output in output.chunks_exact_mut(self.rows) {
                        for (output, bias) in output[offset..].iter_mut().zip(bias) {
                            *output += bias;
                        }
                    }
                }
                Part::Candle { matrix, rows, .. } => {
                    let result = through_candle(matrix, input, self.columns).map_err(compute_error)?;
                    for (result, output) in result.chunks_exact(*rows).zip(output.chunks_exact_mut(self.rows)) {
                        let output = &mut output[offset..offset + rows];
                        output.copy_from_slice(result);
                        for (output, bias) in output.iter_mut().zip(bias) {
                            *output += bias;
                        }
                    }
                }
            }
            offset += part.rows();
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
    fn through_candle(tensor: &RawTensor<'_>) -> Result<Self, String> {
        let RawTensor { dtype, rows, columns, bytes } = *tensor;
        let tensor = candle_tensor(dtype, rows, columns, bytes).map_err(|error| error.to_string())?;
        let tensor = Arc::new(tensor);
        let matrix = QMatMul::from_arc(tensor.clone()).map_err(|error| error.to_string())?;
        Ok(Part::Candle { matrix, tensor, rows })
    }

    fn rows(&self) -> usize {
        match self {
            Part::Packed(packed) => packed.rows(),
            Part::Dense(dense) => dense.rows(),
            Part::Candle { rows, .. } => *rows,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::noise::noise;

    /// The codings that have kernels.
    pub const CODINGS: [GgmlDType; 8] = [
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q5_1,
        GgmlDType::Q8_0,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
    ];

    /// A matrix of noise, as candle quantises it and packed.
    pub fn quantised(dtype: GgmlDType, rows: usize, columns: usize) -> (QTensor, Packed) {
        let weights = Tensor::from_vec(noise(rows * columns, 7), (rows, columns), &Device::Cpu).unwrap();
        let tensor = QTensor::quantize(&weights, dtype).unwrap();
        let packed = Packed::new(Coding::of(dtype).unwrap(), columns, &[&tensor.data().unwrap()]).unwrap();
        (tensor, packed)
    }

    #[test]
    fn stacked_matrices_are_those_one_by_one_and_a_bias() {
        let columns = 256;
        let team = Team::new("test", 2).unwrap();
        let input = noise(9 * columns, 4);
        let kinds = [GgmlDType::Q4_1, GgmlDType::Q4_1, GgmlDType::Q8_0, GgmlDType::F32, GgmlDType::Q2K, GgmlDType::Q6K];
        let mut tensors = Vec::new();
        for (index, dtype) in kinds.into_iter().enumerate() {
            let rows = 5 + 7 * index;
            let weights = Tensor::from_vec(noise(rows * columns, index as u32), (rows, columns), &Device::Cpu).unwrap();
            tensors.push((dtype, rows, QTensor::quantize(&weights, dtype).unwrap().data().unwrap().into_owned()));
        }
        let raw: Vec<RawTensor> = tensors
            .iter()
            .map(|(dtype, rows, bytes)| RawTensor { dtype: *dtype, rows: *rows, columns, bytes })
            .collect();
        let multiply = |linear: &Linear| {
            let mut output = vec![f32::NAN; 9 * linear.rows()];
            linear.forward(&team, &input, &mut Scratch::default(), &mut output).unwrap();
            output
        };
        let stacked = Linear::new(&raw).unwrap();
        assert!(stacked.bytes() >= raw.iter().map(|tensor| tensor.bytes.len()).sum());
        let rows = stacked.rows();
        let bias = noise(rows, 8);
        let stacked = stacked.with_bias(bias.clone());
        let output = multiply(&stacked);
        let mut first = 0;
        for tensor in raw {
            let alone = Linear::new(&[tensor]).unwrap();
            let (mut row, mut same_row) = (vec![0.0; columns], vec![0.0; columns]);
            alone.row(tensor.rows - 1, &mut row).unwrap();
            stacked.row(first + tensor.rows - 1, &mut same_row).unwrap();
            assert_eq!(row, same_row, "{:?}", tensor.dtype);
            for (token, alone) in multiply(&alone).chunks(tensor.rows).enumerate() {
                let stacked = &output[token * rows + first..][..tensor.rows];
                let biased: Vec<f32> = alone.iter().zip(&bias[first..]).map(|(sum, bias)| sum + bias).collect();
                assert_eq!(stacked, biased, "{:?}", tensor.dtype);
            }
            first += tensor.rows;
        }
        assert!(stacked.row(rows, &mut vec![0.0; columns]).is_err());
    }
}
