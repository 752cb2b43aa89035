//! Reads safetensors files, straight from a memory map.
//!
//! Every length is checked against the file before anything is allocated or read.
//! Format: <https://github.com/huggingface/safetensors#format>

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::gguf::RawTensor;
use super::mapped::MappedFile;
use super::qmatmul::dense::Coding;
use crate::ModelError;

/// A safetensors file on disk, mapped into memory.
pub struct SafetensorsFile {
    file: MappedFile,
    tensors: HashMap<String, TensorPlace>,
}

/// A matrix that stays in the file and of which single rows are read.
pub struct Table {
    file: Arc<SafetensorsFile>,
    coding: Coding,
    rows: usize,
    columns: usize,
    place: Range<usize>,
}

/// What a file's header says of a tensor.
pub struct TensorPlace {
    /// As safetensors name it: `F32` for one.
    pub dtype: String,
    /// Outermost first, so that the last is the length of a row.
    pub shape: Vec<usize>,
    /// In the map.
    pub place: Range<usize>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

impl SafetensorsFile {
    /// Maps a file and reads its header.
    ///
    /// # Errors
    /// [`ModelError::Io`], or [`ModelError::Invalid`] when the file is cut off or contradicts itself.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::map(path, header)
    }

    /// Maps a file whose tensors lie where `find` says.
    ///
    /// # Errors
    /// [`ModelError::Io`], or [`ModelError::Invalid`] with the reason that `find` gives.
    pub fn map(
        path: &Path,
        find: impl FnOnce(&[u8]) -> Result<HashMap<String, TensorPlace>, String>,
    ) -> Result<Self, ModelError> {
        let file = MappedFile::open(path)?;
        match find(&file) {
            Ok(tensors) => Ok(Self { file, tensors }),
            Err(reason) => Err(file.invalid(reason)),
        }
    }

    /// The error that says this file cannot be used.
    pub fn invalid(&self, reason: impl Into<String>) -> ModelError {
        self.file.invalid(reason)
    }

    /// What its tensors are called, in no order.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// All of its tensors of floats, in no order.
    pub fn tensors(&self) -> impl Iterator<Item = RawTensor<'_>> {
        self.tensor_names().filter_map(move |name| self.tensor(name).ok())
    }

    /// Whether there is such a tensor.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor as it lies in the file: all dimensions but the last are its rows.
    ///
    /// # Errors
    /// A reason, when it is not there or not of floats.
    pub fn tensor(&self, name: &str) -> Result<RawTensor<'_>, String> {
        let info = self.tensors.get(name).ok_or_else(|| format!("it has no tensor `{name}`"))?;
        let coding = coding(name, &info.dtype)?;
        let columns = info.shape.last().copied().unwrap_or(1);
        let bytes = &self.file[info.place.clone()];
        let width = coding.bytes();
        if info.shape.iter().try_fold(width, |size, length| size.checked_mul(*length)) != Some(bytes.len()) {
            return Err(format!("tensor `{name}` has {} bytes, which does not fit to its shape", bytes.len()));
        }
        let rows = (bytes.len() / width).checked_div(columns).unwrap_or(0);
        Ok(RawTensor { dtype: coding.dtype(), rows, columns, bytes })
    }

    /// A tensor that must be `rows` by `columns`.
    ///
    /// # Errors
    /// As [`SafetensorsFile::tensor`], or that it has another shape.
    pub fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<RawTensor<'_>, String> {
        let tensor = self.tensor(name)?;
        tensor.check_shape(name, rows, columns)?;
        Ok(tensor)
    }

    /// A small tensor as floats, of which there must be `length`.
    ///
    /// # Errors
    /// As [`SafetensorsFile::matrix`].
    pub fn floats(&self, name: &str, length: usize) -> Result<Vec<f32>, String> {
        let tensor = self.tensor(name)?;
        if tensor.rows * tensor.columns != length {
            let found = tensor.rows * tensor.columns;
            return Err(format!("tensor `{name}` has {found} values and should have {length}"));
        }
        let mut values = vec![0.0; length];
        coding(name, &self.tensors[name].dtype)?.widen(tensor.bytes, &mut values);
        Ok(values)
    }

    /// A matrix whose rows are read one by one.
    ///
    /// # Errors
    /// As [`SafetensorsFile::matrix`].
    pub fn table(self: &Arc<Self>, name: &str, rows: usize, columns: usize) -> Result<Table, String> {
        self.matrix(name, rows, columns)?;
        let TensorPlace { dtype, place, .. } = &self.tensors[name];
        Ok(Table { file: self.clone(), coding: coding(name, dtype)?, rows, columns, place: place.clone() })
    }

    /// Tells the system that what was read will not be needed again soon, so that it does not count as memory in use.
    pub fn forget(&self) {
        self.file.forget();
    }
}

impl Table {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Writes one row out.
    ///
    /// # Panics
    /// When there is no such row or `output` has another length.
    pub fn row(&self, row: usize, output: &mut [f32]) {
        assert!(row < self.rows && output.len() == self.columns, "a row of a table");
        let bytes = self.place.len() / self.rows;
        let start = self.place.start + row * bytes;
        self.coding.widen(&self.file.file[start..start + bytes], output);
    }
}

/// How a tensor of floats is written.
fn coding(name: &str, dtype: &str) -> Result<Coding, String> {
    match dtype {
        "F32" => Ok(Coding::F32),
        "F16" => Ok(Coding::F16),
        "BF16" => Ok(Coding::Bf16),
        other => Err(format!("tensor `{name}` is of {other}; known: F32, F16, BF16")),
    }
}

/// Reads the header: where every tensor lies.
fn header(map: &[u8]) -> Result<HashMap<String, TensorPlace>, String> {
    let (length, rest) = map.split_first_chunk::<8>().ok_or("it is too short for a safetensors file")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let text = rest.get(..length).ok_or("its header is cut off, or it is no safetensors file")?;
    let entries: HashMap<String, serde_json::Value> =
        serde_json::from_slice(text).map_err(|error| format!("its header is damaged: {error}"))?;
    let mut tensors = HashMap::with_capacity(entries.len());
    for (name, value) in entries {
        if name == "__metadata__" {
            continue;
        }
        let entry: Entry =
            serde_json::from_value(value).map_err(|error| format!("tensor `{name}` is described wrongly: {error}"))?;
        let [start, end] = entry.data_offsets;
        let first = 8 + length;
        if start > end || end > map.len() - first {
            return Err(format!("tensor `{name}` lies beyond the end of the file: it is cut off"));
        }
        let place = first + start..first + end;
        tensors.insert(name, TensorPlace { dtype: entry.dtype, shape: entry.shape, place });
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    fn file(header: &str, data: &[u8]) -> Result<SafetensorsFile, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        std::fs::write(&path, bytes).unwrap();
        SafetensorsFile::open(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn matrices_vectors_and_rows_are_read() {
        let header = r#"{"__metadata__":{"format":"pt"},
            "m":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},
            "h":{"dtype":"F16","shape":[2],"data_offsets":[16,20]},
            "b":{"dtype":"BF16","shape":[1,2],"data_offsets":[20,24]},
            "ids":{"dtype":"I64","shape":[1],"data_offsets":[24,32]}}"#;
        let mut data = Vec::new();
        data.extend([1f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).as_flattened());
        data.extend([0.5f32, -2.0].map(|x| f16::from_f32(x).to_le_bytes()).as_flattened());
        data.extend([1.5f32, 8.0].map(|x| bf16::from_f32(x).to_le_bytes()).as_flattened());
        data.extend([0; 8]);
        let file = Arc::new(file(header, &data).unwrap());
        assert_eq!(file.matrix("m", 2, 2).unwrap().bytes.len(), 16);
        assert_eq!(file.floats("h", 2).unwrap(), [0.5, -2.0]);
        assert_eq!(file.floats("b", 2).unwrap(), [1.5, 8.0]);
        let mut row = [0.0; 2];
        file.forget();
        file.table("m", 2, 2).unwrap().row(1, &mut row);
        assert_eq!(row, [3.0, 4.0]);
        assert!(file.has_tensor("ids") && !file.has_tensor("__metadata__"));
        assert!(file.tensor("ids").unwrap_err().contains("I64"));
        assert!(file.tensor("none").unwrap_err().contains("`none`"));
        assert_eq!(file.tensors().map(|tensor| tensor.rows * tensor.columns).sum::<usize>(), 8);
        assert!(file.matrix("m", 4, 1).unwrap_err().contains("should be 4 by 1"));
        assert!(file.floats("m", 3).unwrap_err().contains("should have 3"));
    }

    #[test]
    fn damaged_files_are_refused() {
        let short = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(short.path(), [1, 2, 3]).unwrap();
        assert!(SafetensorsFile::open(short.path()).is_err());
        let cut = r#"{"m":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;
        assert!(file(cut, &[0; 15]).err().unwrap().contains("cut off"));
        assert!(file("{", &[]).err().unwrap().contains("damaged"));
        let backwards = r#"{"m":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#;
        assert!(file(backwards, &[0; 4]).err().unwrap().contains("`m`"));
        let shape = r#"{"m":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,16]}}"#;
        assert!(file(shape, &[0; 16]).unwrap().tensor("m").is_err());
    }
}
