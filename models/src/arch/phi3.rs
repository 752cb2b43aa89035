//! Phi-3 (<https://arxiv.org/abs/2404.14219>) and Phi-4, mini or not (<https://arxiv.org/abs/2503.01743>): Llama with matrices
//! that are cut less, heads that are turned in part, and LongRoPE.

use super::decoder::{Config, Family, Metadata, Pairing};
use crate::engine::json::Json;

/// For [`super::DECODERS`].
pub const FAMILY: Family = Family { name: "phi3", gguf: &["phi3"], hub: &["phi3"], from_gguf, from_hub };

fn from_gguf(metadata: &Metadata) -> Result<Config, String> {
    let mut config = metadata.config(Pairing::Halves)?;
    let window = metadata.window()?;
    config.layers.iter_mut().for_each(|layer| layer.window = window);
    Ok(config)
}

fn from_hub(hub: &Json) -> Result<Config, String> {
    let mut config = hub.config()?;
    let window = hub.number("sliding_window")?;
    config.layers.iter_mut().for_each(|layer| layer.window = window);
    Ok(config)
}
