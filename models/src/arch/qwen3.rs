//! Qwen 3 (<https://arxiv.org/abs/2505.09388>): Llama whose queries and keys are normed head by head, in heads of a length of
//! their own.

use super::decoder::{Config, Family, Metadata, Pairing};
use crate::engine::json::Json;

/// For [`super::DECODERS`].
pub const FAMILY: Family = Family { name: "qwen3", gguf: &["qwen3"], hub: &["qwen3"], from_gguf, from_hub };

fn from_gguf(metadata: &Metadata) -> Result<Config, String> {
    Ok(Config { head_norms: true, ..metadata.config(Pairing::Halves)? })
}

fn from_hub(hub: &Json) -> Result<Config, String> {
    let mut config = Config { head_norms: true, ..hub.config()? };
    hub.limit_later(&mut config)?;
    Ok(config)
}
