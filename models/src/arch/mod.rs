//! The architectures this build can load, one file each: configuration and network. Decoders share theirs.
//!
//! A new architecture is a new file and one line in the table of its kind.

use crate::weights::ModelFiles;
use crate::{Embedder, ModelError, Precision, Reranker};

mod bert;
pub mod decoder;
pub(crate) mod encoder;
mod gemma3;
mod llama;
mod mistral;
mod modernbert;
mod phi3;
mod qwen2;
mod qwen3;
mod sizes;
mod smollm3;
mod xlm_roberta;

/// Brings an embedder's files to life.
pub type OpenEmbedder = fn(&ModelFiles, Precision) -> Result<Box<dyn Embedder>, ModelError>;

/// Brings a reranker's files to life.
pub type OpenReranker = fn(&ModelFiles, Precision) -> Result<Box<dyn Reranker>, ModelError>;

/// Embedders by the name of their architecture in the catalogue.
pub const EMBEDDERS: &[(&str, OpenEmbedder)] = &[
    ("bert", bert::open_embedder),
    ("xlm-roberta", xlm_roberta::open_embedder),
    ("modernbert", modernbert::open_embedder),
    ("qwen3", decoder::embedder::open),
];

/// Rerankers by the name of their architecture in the catalogue.
pub const RERANKERS: &[(&str, OpenReranker)] = &[
    ("bert", bert::open_reranker),
    ("xlm-roberta", xlm_roberta::open_reranker),
    ("modernbert", modernbert::open_reranker),
];

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
