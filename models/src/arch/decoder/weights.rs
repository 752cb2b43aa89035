//! Finds the matrices of a decoder, however files name and cut them.

use std::cell::RefCell;
use std::collections::HashSet;

use super::config::Config;
use super::names::{self, Names};
use crate::Precision;
use crate::engine::gguf::{Gguf, RawTensor};
use crate::engine::hub::HubFolder;
use crate::engine::qmatmul::Linear;

/// The tensors of a model.
pub struct Weights<'a> {
    source: Source<'a>,
    pub names: &'static Names,
    /// Stands before all names but the output's.
    prefix: &'static str,
    precision: Precision,
    /// What was asked for, so that what is left is noticed.
    used: RefCell<HashSet<String>>,
}

enum Source<'a> {
    Gguf(&'a Gguf<'a>),
    Hub(&'a HubFolder),
}

/// What stands before names in the hub's files: in those of networks that write, of bare ones, and of those that see pictures
/// too, before and since transformers 5.
const PREFIXES: [&str; 4] = ["model.", "", "language_model.model.", "model.language_model."];

impl<'a> Weights<'a> {
    /// Of a GGUF file.
    pub fn of_gguf(gguf: &'a Gguf<'a>) -> Self {
        let source = Source::Gguf(gguf);
        Self { source, names: &names::GGUF, prefix: "", precision: Precision::F32, used: RefCell::default() }
    }

    /// Of a folder of the hub; with [`Precision::Int8`], matrices are coded anew.
    ///
    /// # Errors
    /// A reason, when its tensors have unknown names.
    pub fn of_hub(folder: &'a HubFolder, config: &Config, precision: Precision) -> Result<Self, String> {
        let names = if config.sandwich_norms { &names::HUB_SANDWICH } else { &names::HUB };
        let embeddings = |prefix: &&str| folder.has_tensor(&format!("{prefix}{}.weight", names.embeddings));
        let prefix = PREFIXES.into_iter().find(embeddings);
        let prefix = prefix.ok_or_else(|| format!("tensor `model.{}.weight` is missing", names.embeddings))?;
        Ok(Self { source: Source::Hub(folder), names, prefix, precision, used: RefCell::default() })
    }

    /// The full name of a part of a layer.
    pub fn part(&self, layer: usize, name: &str) -> String {
        format!("{}{layer}.{name}", self.names.layers)
    }

    /// Whether there is such a matrix.
    pub fn has(&self, name: &str) -> bool {
        self.has_tensor(&self.full(name, "weight"))
    }

    fn full(&self, name: &str, kind: &str) -> String {
        let prefix = if name == self.names.output { "" } else { self.prefix };
        format!("{prefix}{name}.{kind}")
    }

    fn has_tensor(&self, name: &str) -> bool {
        match self.source {
            Source::Gguf(gguf) => gguf.has_tensor(name),
            Source::Hub(folder) => folder.has_tensor(name),
        }
    }

    fn tensor(&self, name: &str) -> Result<RawTensor<'a>, String> {
        self.used.borrow_mut().insert(name.to_owned());
        match self.source {
            Source::Gguf(gguf) => gguf.tensor(name),
            Source::Hub(folder) => folder.tensor(name),
        }
    }

    /// Matrices with the same input on top of each other, each with the rows that it must have, and their biases where
    /// there are any. With `biased`, there must be.
    ///
    /// # Errors
    /// A reason, when one is missing or has another shape.
    pub fn linear(&self, parts: &[(&str, usize)], columns: usize, biased: bool) -> Result<Linear, String> {
        let mut tensors = Vec::new();
        for (part, rows) in parts {
            let name = self.full(part, "weight");
            let tensor = self.tensor(&name)?;
            tensor.check_shape(&name, *rows, columns)?;
            tensors.push(tensor);
        }
        let linear = Linear::in_precision(&tensors, self.precision)?;
        tensors.iter().for_each(|tensor| self.release(tensor));
        let has_bias = |part: &str| self.has_tensor(&self.full(part, "bias"));
        if !biased && !parts.iter().any(|(part, _)| has_bias(part)) {
            return Ok(linear);
        }
        let mut bias = Vec::new();
        for (part, rows) in parts {
            if biased || has_bias(part) {
                let name = self.full(part, "bias");
                bias.extend(floats(&self.tensor(&name)?, &name, *rows)?);
            } else {
                bias.resize(bias.len() + rows, 0.0);
            }
        }
        Ok(linear.with_bias(bias))
    }

    /// The weights of a norm.
    ///
    /// # Errors
    /// A reason, when they are missing or have another length.
    pub fn norm(&self, name: &str, length: usize, config: &Config) -> Result<Vec<f32>, String> {
        let name = self.full(name, "weight");
        let mut weights = floats(&self.tensor(&name)?, &name, length)?;
        weights.iter_mut().for_each(|weight| *weight += config.norm_offset);
        Ok(weights)
    }

    fn release(&self, tensor: &RawTensor) {
        // A folder of the hub is released as a whole.
        if let Source::Gguf(gguf) = self.source {
            gguf.release(tensor);
        }
    }

    /// Makes sure that no tensor of a layer was left over: the network would be another one than the file's.
    ///
    /// # Errors
    /// A reason with the name of one.
    pub fn check_rest(&self) -> Result<(), String> {
        let layers = format!("{}{}", self.prefix, self.names.layers);
        let used = self.used.borrow();
        // Angles of rotary positions, which some files list though they follow from the configuration.
        let needless = |name: &str| name.contains("rotary_emb.") || name.contains("rope_freqs");
        let mut names: Box<dyn Iterator<Item = &str>> = match self.source {
            Source::Gguf(gguf) => Box::new(gguf.tensor_names()),
            Source::Hub(folder) => Box::new(folder.tensor_names()),
        };
        match names.find(|name| name.starts_with(&layers) && !used.contains(*name) && !needless(name)) {
            Some(name) => Err(format!("tensor `{name}` has no place in this architecture, which is not supported")),
            None => Ok(()),
        }
    }
}

/// A small tensor as floats.
///
/// # Errors
/// A reason, when it has another length.
pub fn floats(tensor: &RawTensor, name: &str, length: usize) -> Result<Vec<f32>, String> {
    let found = tensor.rows * tensor.columns;
    if tensor.rows != 1 || found != length {
        return Err(format!("tensor `{name}` has {found} values and should have {length}"));
    }
    let mut values = vec![0.0; length];
    Linear::new(&[*tensor])?.row(0, &mut values).map_err(|error| error.to_string())?;
    Ok(values)
}
