//! Reads what `torch.save` wrote (`pytorch_model.bin`): a zip archive of uncompressed tensors, mapped like safetensors, and
//! a pickle that says which is which. candle reads the pickle, which builds no objects.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::DType;
use candle_core::pickle::{TensorInfo, read_pth_tensor_info};
use zip::{CompressionMethod, ZipArchive};

use super::safetensors::{SafetensorsFile, TensorPlace};
use crate::ModelError;

/// Maps a file and finds its tensors.
///
/// # Errors
/// [`ModelError::Io`], or [`ModelError::Invalid`] when the file is of another kind, cut off or contradicts itself.
pub fn open(path: &Path) -> Result<SafetensorsFile, ModelError> {
    SafetensorsFile::map(path, |map| tensors(path, map.len()))
}

fn tensors(path: &Path, length: usize) -> Result<HashMap<String, TensorPlace>, String> {
    let damaged = |error: &dyn std::fmt::Display| format!("it is damaged, or torch did not write it: {error}");
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(&error))?;
    let infos = read_pth_tensor_info(path, false, None).map_err(|error| damaged(&error))?;
    if infos.is_empty() {
        return Err("it holds no tensors".to_owned());
    }
    let mut tensors = HashMap::with_capacity(infos.len());
    for info in infos {
        let place = place(&info, &mut archive, length).map_err(|reason| format!("tensor `{}` {reason}", info.name))?;
        tensors.insert(info.name, place);
    }
    Ok(tensors)
}

/// Where a tensor lies in a file of `length` bytes.
fn place(info: &TensorInfo, archive: &mut ZipArchive<BufReader<File>>, length: usize) -> Result<TensorPlace, String> {
    let entry = archive.by_name(&info.path).map_err(|error| format!("is not there: {error}"))?;
    if entry.compression() != CompressionMethod::Stored {
        return Err("is compressed, which torch never does".to_owned());
    }
    if !info.layout.is_contiguous() {
        return Err("does not lie in one piece: save the model again as safetensors".to_owned());
    }
    let start = entry.data_start().and_then(|start| usize::try_from(start).ok()).ok_or("cannot be found")?;
    let (offset, values) = (info.layout.start_offset(), info.layout.shape().elem_count());
    let bytes = values.checked_mul(info.dtype.size_in_bytes()).ok_or("is larger than any memory")?;
    let end = offset.checked_add(bytes).filter(|end| *end as u64 <= entry.size()).ok_or("is cut off")?;
    if start.checked_add(end).is_none_or(|end| end > length) {
        return Err("is cut off".to_owned());
    }
    let dtype = match info.dtype {
        DType::F32 => "F32",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        other => other.as_str(),
    };
    let shape = info.layout.dims().to_vec();
    Ok(TensorPlace { dtype: dtype.to_owned(), shape, place: start + offset..start + end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pytorch_model.bin");
        std::fs::write(&path, b"no archive at all").unwrap();
        let error = open(&path).err().unwrap().to_string();
        assert!(error.contains("pytorch_model.bin") && error.contains("damaged"), "{error}");
    }
}
