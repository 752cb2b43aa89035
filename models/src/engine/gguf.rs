//! Reads GGUF files: metadata and quantised tensors, straight from a memory map.
//!
//! candle has a reader too, but it copies every token text twice, divides by the alignment the file claims (which may
//! be zero) and hands tensors out only after copying them. This one borrows from the map and checks every length
//! against the file before it allocates.
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

pub use candle_core::quantized::GgmlDType;

use super::mapped::MappedFile;
use crate::ModelError;

const MAGIC: &[u8] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
const MAX_DIMENSIONS: u32 = 4;
/// The longest arrays are vocabularies; the largest known has 262,144 tokens.
const MAX_ARRAY: u64 = 1 << 23;

/// A GGUF file on disk, mapped into memory.
pub struct GgufFile(MappedFile);

impl GgufFile {
    /// Maps a file; nothing is parsed yet.
    ///
    /// # Errors
    /// [`ModelError::Io`] when it cannot be read.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        MappedFile::open(path).map(Self)
    }

    /// Parses the header.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when the file is not GGUF version 2 or 3, is cut off or contradicts itself.
    pub fn content(&self) -> Result<Gguf<'_>, ModelError> {
        let content = Gguf::parse(&self.0).map_err(|reason| self.invalid(reason))?;
        Ok(Gguf { file: Some(&self.0), ..content })
    }

    /// The error that says this file cannot be used.
    pub fn invalid(&self, reason: impl Into<String>) -> ModelError {
        self.0.invalid(reason)
    }
}

/// The parsed header of a GGUF file. Failures are plain reasons; [`GgufFile::invalid`] puts the file's name to them.
pub struct Gguf<'a> {
    metadata: HashMap<String, Value<'a>>,
    tensors: HashMap<String, TensorInfo>,
    data: &'a [u8],
    /// Where all that lies, unless it was parsed from plain memory.
    file: Option<&'a MappedFile>,
}

/// One metadata value.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A signed integer of any width.
    Signed(i64),
    /// A float of either width.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A string; invalid UTF-8 is replaced.
    Text(Cow<'a, str>),
    /// Many values of one scalar type.
    Array(Vec<Value<'a>>),
}

#[derive(Clone, Debug)]
struct TensorInfo {
    dtype: GgmlDType,
    /// Outermost first, so that the last is the length of a row.
    dimensions: Vec<usize>,
    start: usize,
    bytes: usize,
}

/// A tensor as it lies in the file.
#[derive(Clone, Copy, Debug)]
pub struct RawTensor<'a> {
    /// How its blocks are coded.
    pub dtype: GgmlDType,
    /// All dimensions but the last, multiplied.
    pub rows: usize,
    /// Length of a row.
    pub columns: usize,
    /// `rows * columns` values, coded.
    pub bytes: &'a [u8],
}

impl RawTensor<'_> {
    /// Makes sure that it has this shape.
    ///
    /// # Errors
    /// A reason with the tensor's name.
    pub fn check_shape(&self, name: &str, rows: usize, columns: usize) -> Result<(), String> {
        if (self.rows, self.columns) == (rows, columns) {
            return Ok(());
        }
        let (found, found_columns) = (self.rows, self.columns);
        Err(format!("tensor `{name}` is {found} by {found_columns} and should be {rows} by {columns}"))
    }
}

impl<'a> Gguf<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let mut reader = Reader { bytes, position: 0 };
        if bytes.len() < 4 || &bytes[..4] != MAGIC {
            return Err("it does not begin with GGUF: this is another kind of file".into());
        }
        reader.position = 4;
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("GGUF version {version} is not supported; versions 2 and 3 are"));
        }
        let tensor_count = reader.u64()?;
        let metadata_count = reader.u64()?;

        let mut metadata = HashMap::new();
        for _ in 0..metadata_count {
            let key = reader.text()?.into_owned();
            let kind = reader.u32()?;
            let value = reader.value(kind)?;
            metadata.insert(key, value);
        }
        let mut tensors = HashMap::new();
        for _ in 0..tensor_count {
            let name = reader.text()?.into_owned();
            let info = reader.tensor_info(&name)?;
            tensors.insert(name, info);
        }

        let alignment = match metadata.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(Value::Unsigned(alignment)) if alignment.is_power_of_two() && *alignment <= 1 << 16 => *alignment,
            Some(other) => return Err(format!("its alignment {other:?} is not a power of two")),
        };
        let data_start = reader.position.next_multiple_of(alignment as usize);
        let data = bytes.get(data_start..).unwrap_or_default();
        for (name, info) in &tensors {
            let end = info.start.checked_add(info.bytes);
            if end.is_none_or(|end| end > data.len()) {
                return Err(format!(
                    "tensor `{name}` needs {} bytes at {} and only {} are left: the file is cut off",
                    info.bytes,
                    info.start,
                    data.len().saturating_sub(info.start)
                ));
            }
        }
        Ok(Self { metadata, tensors, data, file: None })
    }

    /// The metadata value of a key.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.metadata.get(key)
    }

    /// The text of a key, if it is there and a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number of a key, if it is there and one.
    pub fn unsigned(&self, key: &str) -> Option<u64> {
        self.get(key)?.unsigned()
    }

    /// A whole number that may be absent.
    ///
    /// # Errors
    /// A reason, when it is something else.
    pub fn number(&self, key: &str) -> Result<Option<usize>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.unsigned().and_then(|number| usize::try_from(number).ok());
        number.map(Some).ok_or_else(|| format!("`{key}` is no whole number"))
    }

    /// A number that may be absent.
    ///
    /// # Errors
    /// A reason, when it is something else.
    pub fn float(&self, key: &str) -> Result<Option<f32>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.float().map(Some).ok_or_else(|| format!("`{key}` is no number"))
    }

    /// The truth of a key.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The array of a key.
    pub fn array(&self, key: &str) -> Option<&[Value<'a>]> {
        match self.get(key)? {
            Value::Array(values) => Some(values),
            _ => None,
        }
    }

    /// A whole number that the file must have.
    ///
    /// # Errors
    /// A reason.
    pub fn require(&self, key: &str) -> Result<usize, String> {
        self.number(key)?.ok_or_else(|| format!("its metadata lacks `{key}`"))
    }

    /// Bytes of all tensors together.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.values().fold(0, |sum: u64, info| sum.saturating_add(info.bytes as u64))
    }

    /// Whether a tensor is in the file.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// What its tensors are called, in no order.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor by name.
    pub fn tensor(&self, name: &str) -> Result<RawTensor<'a>, String> {
        let info = self.tensors.get(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
        let (columns, outer) = info.dimensions.split_last().ok_or_else(|| format!("tensor `{name}` has no shape"))?;
        Ok(RawTensor {
            dtype: info.dtype,
            rows: outer.iter().product(),
            columns: *columns,
            bytes: &self.data[info.start..info.start + info.bytes],
        })
    }

    /// Gives the memory of a tensor back that has been copied; whoever reads it again finds it in the file.
    pub fn release(&self, tensor: &RawTensor<'_>) {
        if let Some(file) = self.file {
            file.forget_part(tensor.bytes);
        }
    }
}

impl Value<'_> {
    /// As a whole number.
    pub fn unsigned(&self) -> Option<u64> {
        match self {
            Value::Unsigned(value) => Some(*value),
            Value::Signed(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// As a number.
    pub fn float(&self) -> Option<f32> {
        match self {
            Value::Float(value) => Some(*value as f32),
            Value::Unsigned(value) => Some(*value as f32),
            Value::Signed(value) => Some(*value as f32),
            _ => None,
        }
    }

    /// As a text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let left = self.bytes.len() - self.position;
        if length > left as u64 {
            return Err(format!(
                "{length} bytes are needed at byte {} of the header and {left} are left: the file is cut off or damaged",
                self.position
            ));
        }
        let taken = &self.bytes[self.position..self.position + length as usize];
        self.position += length as usize;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut value = [0; N];
        value.copy_from_slice(self.take(N as u64)?);
        Ok(value)
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<Cow<'a, str>, String> {
        let length = self.u64()?;
        Ok(String::from_utf8_lossy(self.take(length)?))
    }

    fn value(&mut self, kind: u32) -> Result<Value<'a>, String> {
        const ARRAY: u32 = 9;
        if kind != ARRAY {
            return self.scalar(kind);
        }
        let element = self.u32()?;
        let count = self.u64()?;
        if count > MAX_ARRAY {
            return Err(format!("an array claims {count} values; at most {MAX_ARRAY} are read: the file is damaged"));
        }
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.scalar(element)?);
        }
        Ok(Value::Array(values))
    }

    fn scalar(&mut self, kind: u32) -> Result<Value<'a>, String> {
        Ok(match kind {
            0 => Value::Unsigned(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Signed(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            8 => Value::Text(self.text()?),
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(format!("metadata of type {other} at byte {} is not understood", self.position)),
        })
    }

    fn tensor_info(&mut self, name: &str) -> Result<TensorInfo, String> {
        let count = self.u32()?;
        if count == 0 || count > MAX_DIMENSIONS {
            return Err(format!("tensor `{name}` has {count} dimensions; 1 to {MAX_DIMENSIONS} are possible"));
        }
        let mut dimensions = Vec::new();
        let mut elements = 1usize;
        for _ in 0..count {
            let dimension = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
            if dimension == 0 {
                return Err(format!("tensor `{name}` has a dimension of 0"));
            }
            elements = elements.checked_mul(dimension).ok_or_else(|| format!("tensor `{name}` is absurdly large"))?;
            dimensions.push(dimension);
        }
        let code = self.u32()?;
        let dtype = dtype(code).ok_or_else(|| {
            format!("tensor `{name}` is coded as ggml type {code}, which is not supported; take a file in Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, F16, BF16 or F32")
        })?;
        let start = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        let row = dimensions[0];
        if !row.is_multiple_of(dtype.block_size()) {
            return Err(format!("tensor `{name}` has rows of {row}, not a multiple of {}", dtype.block_size()));
        }
        let bytes = (elements / dtype.block_size())
            .checked_mul(dtype.type_size())
            .ok_or_else(|| format!("tensor `{name}` is absurdly large"))?;
        dimensions.reverse();
        Ok(TensorInfo { dtype, dimensions, start, bytes })
    }
}

/// The tensor codings that can be computed with, by the number ggml gives them.
fn dtype(code: u32) -> Option<GgmlDType> {
    Some(match code {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(metadata: &[u8], metadata_count: u64) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(metadata_count.to_le_bytes());
        bytes.extend(metadata);
        bytes
    }

    fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes = (key.len() as u64).to_le_bytes().to_vec();
        bytes.extend(key.as_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(value);
        bytes
    }

    #[test]
    fn reads_scalars_and_refuses_every_shorter_file() {
        let mut metadata = entry("a", 4, &7u32.to_le_bytes());
        metadata.extend(entry("b", 8, &[&2u64.to_le_bytes()[..], b"hi"].concat()));
        let bytes = header(&metadata, 2);
        let gguf = Gguf::parse(&bytes).unwrap();
        assert_eq!((gguf.require("a"), gguf.number("none"), gguf.float("none")), (Ok(7), Ok(None), Ok(None)));
        assert_eq!(gguf.text("b"), Some("hi"));
        assert_eq!(gguf.require("b").unwrap_err(), "`b` is no whole number");
        assert_eq!(gguf.float("b").unwrap_err(), "`b` is no number");
        assert!(gguf.require("none").unwrap_err().contains("lacks `none`"));
        for length in 0..bytes.len() {
            assert!(Gguf::parse(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn refuses_absurd_lengths_and_alignments() {
        let huge = [&5u32.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat();
        assert!(Gguf::parse(&header(&entry("a", 9, &huge), 1)).is_err());
        assert!(Gguf::parse(&header(&entry("a", 8, &u64::MAX.to_le_bytes()), 1)).is_err());
        let zero = entry("general.alignment", 4, &0u32.to_le_bytes());
        assert!(Gguf::parse(&header(&zero, 1)).is_err());
        assert!(Gguf::parse(&header(&[], u64::MAX)).is_err());
    }
}
