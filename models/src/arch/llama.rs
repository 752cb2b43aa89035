//! Llama 2 and 3 (<https://arxiv.org/abs/2407.21783>), and what has its architecture: SmolLM, TinyLlama, and Mistral in GGUF.

use super::decoder::{Config, Family, Metadata, Pairing};
use crate::engine::json::Json;

/// For [`super::DECODERS`].
pub const FAMILY: Family =
    Family { name: "llama", gguf: &["llama"], hub: &["llama"], from_gguf, from_hub: Json::config };

fn from_gguf(metadata: &Metadata) -> Result<Config, String> {
    let mut config = metadata.config(Pairing::Neighbours)?;
    let window = metadata.window()?;
    config.layers.iter_mut().for_each(|layer| layer.window = window);
    Ok(config)
}
