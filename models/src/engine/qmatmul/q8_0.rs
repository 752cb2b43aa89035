//! Codes floats in Q8_0, for networks whose files have none of the codings.

use half::f16;
use rayon::prelude::*;

use super::dense;
use crate::engine::gguf::RawTensor;

/// Values that share a step.
pub const BLOCK: usize = 32;

/// Bytes of a block: the step as f16 and the whole numbers.
pub const BLOCK_BYTES: usize = 2 + BLOCK;

/// The bytes of a matrix of floats in Q8_0: per 32 neighbours a step and whole numbers from -127 to 127. Nothing where its
/// rows are not made of whole blocks, or it is not of floats.
///
/// # Errors
/// When a weight is not a finite number.
pub fn quantise(tensor: &RawTensor) -> Result<Option<Vec<u8>>, String> {
    let Some(floats) = dense::Coding::of(tensor.dtype) else { return Ok(None) };
    if !tensor.columns.is_multiple_of(BLOCK) {
        return Ok(None);
    }
    let row_bytes = (tensor.columns * floats.bytes()).max(1);
    let mut coded = vec![0; tensor.rows * tensor.columns / BLOCK * BLOCK_BYTES];
    let rows = coded.par_chunks_mut((tensor.columns / BLOCK * BLOCK_BYTES).max(1));
    rows.zip(tensor.bytes.par_chunks(row_bytes)).try_for_each(|(coded, bytes)| {
        let mut row = vec![0.0; tensor.columns];
        floats.widen(bytes, &mut row);
        if row.iter().any(|weight| !weight.is_finite()) {
            return Err("a weight is not a finite number: the file is damaged".to_owned());
        }
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
        Ok(())
    })?;
    Ok(Some(coded))
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;

    use super::*;
    use crate::engine::qmatmul::Linear;

    #[test]
    fn whole_numbers_are_within_half_a_step() {
        let values: Vec<f32> =
            (0..128).map(|i| ((i * 37 % 128) as f32 - 61.0) * if i < 64 { 0.01 } else { 2.0 }).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensor = RawTensor { dtype: GgmlDType::F32, rows: 2, columns: 64, bytes: &bytes };
        let coded = quantise(&tensor).unwrap().unwrap();
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
    fn nothing_stays_nothing_and_what_is_no_number_is_refused() {
        let quantise = |values: &[f32], columns: usize| {
            let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            let tensor = RawTensor { dtype: GgmlDType::F32, rows: values.len() / columns, columns, bytes: &bytes };
            quantise(&tensor)
        };
        let mut values = [0f32; 64];
        assert!(quantise(&values, 64).unwrap().unwrap().iter().all(|byte| *byte == 0));
        assert_eq!(quantise(&values[..62], 31), Ok(None));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            values[40] = bad;
            assert!(quantise(&values, 32).unwrap_err().contains("not a finite number"));
        }
    }
}
