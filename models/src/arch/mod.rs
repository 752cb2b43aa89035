//! The architectures this build can load, one file each: configuration and network.
//!
//! A new architecture is a new file and one line in the table of its kind.

use crate::weights::ModelFiles;
use crate::{Embedder, ModelError};

pub mod bert;
mod cpu;
pub mod decoder;
mod gemma3;
mod llama;
mod mistral;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;

/// Brings an embedder's files to life.
pub type OpenEmbedder = fn(&ModelFiles) -> Result<Box<dyn Embedder>, ModelError>;

/// Embedders by the name of their architecture in the catalogue.
pub const EMBEDDERS: &[(&str, OpenEmbedder)] = &[("bert", bert::open)];

/// Generators, all of them on the network of [`decoder`].
pub const DECODERS: &[&decoder::Family] = &[
    &llama::FAMILY,
    &mistral::FAMILY,
    &smollm3::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &phi3::FAMILY,
    &gemma3::FAMILY,
];

/// What architectures of generators are called in the catalogue.
pub fn generators() -> Vec<&'static str> {
    DECODERS.iter().map(|family| family.name).collect()
}
