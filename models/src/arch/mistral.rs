//! Mistral (<https://arxiv.org/abs/2310.06825>): Llama with attention to the last positions only in its first version. Its
//! GGUF files call themselves `llama`.

use super::decoder::{Config, Family};
use super::llama;
use crate::engine::json::Json;

/// For [`super::DECODERS`].
pub const FAMILY: Family =
    Family { name: "mistral", gguf: &[], hub: &["mistral"], from_gguf: llama::FAMILY.from_gguf, from_hub };

fn from_hub(hub: &Json) -> Result<Config, String> {
    let mut config = hub.config()?;
    // The first version's window goes without saying; later ones say null.
    let window = if hub.mentions("sliding_window") { hub.number("sliding_window")? } else { Some(4096) };
    config.layers.iter_mut().for_each(|layer| layer.window = window);
    Ok(config)
}
