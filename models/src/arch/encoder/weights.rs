//! The file with the weights, and its matrices in the precision that was asked for.

use std::sync::Arc;

use candle_core::quantized::GgmlDType;
use half::f16;
use rayon::prelude::*;

use crate::engine::gguf::RawTensor;
use crate::engine::qmatmul::Linear;
use crate::engine::safetensors::{SafetensorsFile, read_floats};
use crate::engine::torch;
use crate::weights::ModelFiles;
use crate::{ModelError, Precision};

/// Values that share a step in Q8_0.
pub const BLOCK: usize = 32;

/// Bytes of a block in Q8_0: the step as f16 and the whole numbers.
const BLOCK_BYTES: usize = 2 + BLOCK;

/// Maps the file with the weights: safetensors, or what older models have in its place.
///
/// # Errors
/// [`ModelError::Invalid`] when the catalogue lists none or it cannot be understood, [`ModelError::Io`].
pub fn open(files: &ModelFiles) -> Result<Arc<SafetensorsFile>, ModelError> {
    let file = match (files.with_extension("safetensors"), files.with_extension("bin")) {
        (Err(_), Ok(path)) => torch::open(&path)?,
        (path, _) => SafetensorsFile::open(&path?)?,
    };
    Ok(Arc::new(file))
}

/// Stacks matrices with the same input on top of each other; `shapes` says which, with the rows that each must have.
///
/// # Errors
/// A reason, when a matrix is missing or has another shape.
pub fn linear(
    file: &SafetensorsFile,
    shapes: &[(&str, usize)],
    columns: usize,
    precision: Precision,
) -> Result<Linear, String> {
    let mut tensors = Vec::with_capacity(shapes.len());
    for (name, rows) in shapes {
        tensors.push(file.matrix(name, *rows, columns)?);
    }
    // Rows that are not made of whole blocks stay as they are.
    if precision == Precision::F32 || !columns.is_multiple_of(BLOCK) {
        return Linear::new(&tensors);
    }
    let coded: Vec<Vec<u8>> = tensors.iter().map(quantise).collect();
    let coded: Vec<RawTensor> = tensors
        .iter()
        .zip(&coded)
        .map(|(tensor, bytes)| RawTensor { dtype: GgmlDType::Q8_0, bytes, ..*tensor })
        .collect();
    Linear::new(&coded)
}

/// Codes a matrix of whole blocks in Q8_0: per 32 neighbours a step and whole numbers from -127 to 127.
pub fn quantise(tensor: &RawTensor) -> Vec<u8> {
    let row_bytes = tensor.bytes.len() / tensor.rows.max(1);
    let mut coded = vec![0; tensor.rows * tensor.columns / BLOCK * BLOCK_BYTES];
    let rows = coded.par_chunks_mut(tensor.columns / BLOCK * BLOCK_BYTES).zip(tensor.bytes.par_chunks(row_bytes));
    rows.for_each(|(coded, bytes)| {
        let mut row = vec![0.0; tensor.columns];
        read_floats(tensor.dtype, bytes, &mut row);
        for (coded, block) in coded.as_chunks_mut::<BLOCK_BYTES>().0.iter_mut().zip(row.as_chunks::<BLOCK>().0) {
            let greatest = block.iter().fold(0f32, |greatest, x| greatest.max(x.abs()));
            let step = f16::from_f32(greatest / 127.0);
            let inverse = if step == f16::ZERO { 0.0 } else { 1.0 / step.to_f32() };
            let (head, numbers) = coded.split_at_mut(2);
            head.copy_from_slice(&step.to_le_bytes());
            for (number, x) in numbers.iter_mut().zip(block) {
                *number = (x * inverse).round_ties_even().clamp(-127.0, 127.0) as i8 as u8;
            }
        }
    });
    coded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_within_half_a_step() {
        let values: Vec<f32> =
            (0..128).map(|i| ((i * 37 % 128) as f32 - 61.0) * if i < 64 { 0.01 } else { 2.0 }).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensor = RawTensor { dtype: GgmlDType::F32, rows: 2, columns: 64, bytes: &bytes };
        let coded = quantise(&tensor);
        let linear = Linear::new(&[RawTensor { dtype: GgmlDType::Q8_0, rows: 2, columns: 64, bytes: &coded }]).unwrap();
        for (index, row) in values.chunks_exact(64).enumerate() {
            let mut decoded = vec![0.0; 64];
            linear.row(index, &mut decoded).unwrap();
            for (block, decoded) in row.chunks_exact(BLOCK).zip(decoded.chunks_exact(BLOCK)) {
                let step = block.iter().fold(0f32, |greatest, x| greatest.max(x.abs())) / 127.0;
                for (x, y) in block.iter().zip(decoded) {
                    assert!((x - y).abs() <= 0.6 * step, "{x} became {y}");
                }
            }
        }
    }

    #[test]
    fn nothing_and_what_is_no_number_do_no_harm() {
        let mut values = [0f32; 64];
        (values[40], values[41]) = (f32::NAN, f32::INFINITY);
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let coded = quantise(&RawTensor { dtype: GgmlDType::F32, rows: 1, columns: 64, bytes: &bytes });
        assert!(coded[..BLOCK_BYTES].iter().all(|byte| *byte == 0));
    }
}
