//! Qwen 2 and 2.5 (<https://arxiv.org/abs/2412.15115>): Llama with a bias on queries, keys and values.

use super::decoder::{Config, Family, Metadata, Pairing};
use crate::engine::json::Json;

/// For [`super::DECODERS`].
pub const FAMILY: Family = Family { name: "qwen2", gguf: &["qwen2"], hub: &["qwen2"], from_gguf, from_hub };

fn from_gguf(metadata: &Metadata) -> Result<Config, String> {
    Ok(Config { biased: true, ..metadata.config(Pairing::Halves)? })
}

fn from_hub(hub: &Json) -> Result<Config, String> {
    let mut config = Config { biased: true, ..hub.config()? };
    hub.limit_later(&mut config)?;
    Ok(config)
}
