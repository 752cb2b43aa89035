//! The architectures this build can load, one file each: configuration and network.
//!
//! A new architecture is a new file and one line in the table of its kind.

use crate::weights::ModelFiles;
use crate::{Embedder, ModelError, Precision, Reranker};

pub mod bert;
mod encoder;
pub mod llama;
pub mod modernbert;
pub mod xlm_roberta;

/// Brings an embedder's files to life.
pub type OpenEmbedder = fn(&ModelFiles, Precision) -> Result<Box<dyn Embedder>, ModelError>;

/// Brings a reranker's files to life.
pub type OpenReranker = fn(&ModelFiles, Precision) -> Result<Box<dyn Reranker>, ModelError>;

/// Embedders by the name of their architecture in the catalogue.
pub const EMBEDDERS: &[(&str, OpenEmbedder)] = &[
    ("bert", bert::open_embedder),
    ("xlm-roberta", xlm_roberta::open_embedder),
    ("modernbert", modernbert::open_embedder),
];

/// Rerankers by the name of their architecture in the catalogue.
pub const RERANKERS: &[(&str, OpenReranker)] = &[
    ("bert", bert::open_reranker),
    ("xlm-roberta", xlm_roberta::open_reranker),
    ("modernbert", modernbert::open_reranker),
];

/// Architectures of generators in the catalogue, read from GGUF by [`llama`].
pub const GENERATORS: &[&str] = &["llama"];
