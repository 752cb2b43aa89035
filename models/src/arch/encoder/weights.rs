//! The file with the weights, and the parts of a network in it.

use std::sync::Arc;

use super::math::Norm;
use crate::engine::qmatmul::Linear;
use crate::engine::safetensors::SafetensorsFile;
use crate::engine::torch;
use crate::weights::ModelFiles;
use crate::{ModelError, Precision};

/// A matrix and its bias, which may be empty.
pub struct Dense {
    /// The matrix.
    pub weight: Linear,
    /// One number for each of its rows, or none.
    pub bias: Vec<f32>,
}

/// Reads the parts of a network.
pub struct Loader<'a> {
    /// Where they are.
    pub file: &'a SafetensorsFile,
    /// Stands before all names.
    pub prefix: &'a str,
    /// How matrices are kept.
    pub precision: Precision,
    /// Of the norms.
    pub epsilon: f32,
    /// Whether matrices and norms must have a bias.
    pub biased: bool,
}

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

impl Loader<'_> {
    /// Matrices with the same input on top of each other; `parts` says which, with the rows that each must have.
    ///
    /// # Errors
    /// A reason, when one is missing or has another shape.
    pub fn dense(&self, parts: &[(&str, usize)], columns: usize) -> Result<Dense, String> {
        let mut tensors = Vec::with_capacity(parts.len());
        let mut bias = Vec::new();
        for (name, rows) in parts {
            tensors.push(self.file.matrix(&format!("{}{name}.weight", self.prefix), *rows, columns)?);
            bias.extend(self.bias(&format!("{name}.bias"), *rows)?);
        }
        Ok(Dense { weight: Linear::in_precision(&tensors, self.precision)?, bias })
    }

    /// A norm.
    ///
    /// # Errors
    /// As [`Loader::dense`].
    pub fn norm(&self, name: &str, size: usize) -> Result<Norm, String> {
        // Older files still carry TensorFlow's names.
        let old = self.file.has_tensor(&format!("{}{name}.gamma", self.prefix));
        let (weight, shift) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        Ok(Norm {
            weight: self.file.floats(&format!("{}{name}.{weight}", self.prefix), size)?,
            shift: self.bias(&format!("{name}.{shift}"), size)?,
            epsilon: self.epsilon,
        })
    }

    fn bias(&self, name: &str, length: usize) -> Result<Vec<f32>, String> {
        let name = format!("{}{name}", self.prefix);
        if self.biased || self.file.has_tensor(&name) { self.file.floats(&name, length) } else { Ok(Vec::new()) }
    }
}
