//! The architectures this build can load, one file each: configuration and network.
//!
//! A new architecture is a new file and one line in the table of its kind.

use crate::weights::ModelFiles;
use crate::{Embedder, ModelError};

pub mod bert;
mod cpu;
pub mod llama;

/// Brings an embedder's files to life.
pub type OpenEmbedder = fn(&ModelFiles) -> Result<Box<dyn Embedder>, ModelError>;

/// Embedders by the name of their architecture in the catalogue.
pub const EMBEDDERS: &[(&str, OpenEmbedder)] = &[("bert", bert::open)];

/// Architectures of generators in the catalogue, read from GGUF by [`llama`].
pub const GENERATORS: &[&str] = &["llama"];
