//! SmolLM3 (<https://huggingface.co/blog/smollm3>): Llama in which every fourth layer knows no positions (NoPE,
//! <https://arxiv.org/abs/2501.18795>).

use serde_json::json;

use super::decoder::{Config, Family, Metadata, Pairing};
use crate::engine::json::Json;

/// For [`super::DECODERS`].
pub const FAMILY: Family = Family { name: "smollm3", gguf: &["smollm3"], hub: &["smollm3"], from_gguf, from_hub };

/// Every so many layers there is one without positions; GGUF files do not say it.
const INTERVAL: usize = 4;

fn from_gguf(metadata: &Metadata) -> Result<Config, String> {
    let mut config = metadata.config(Pairing::Neighbours)?;
    without_positions(&mut config, INTERVAL);
    Ok(config)
}

fn from_hub(hub: &Json) -> Result<Config, String> {
    let hub = hub.with_defaults(&[("tie_word_embeddings", json!(true))]);
    let mut config = hub.config()?;
    // 1 where a layer is turned, in spite of the name.
    match hub.list("no_rope_layers", |turned| turned.as_u64())? {
        None => {
            let interval = hub.number("no_rope_layer_interval")?.unwrap_or(INTERVAL);
            without_positions(&mut config, interval.max(1));
        }
        Some(turned) if turned.len() == config.layers.len() => {
            for (layer, turned) in config.layers.iter_mut().zip(turned) {
                layer.rope = (turned != 0).then_some(0);
            }
        }
        Some(turned) => {
            return Err(format!("`no_rope_layers` is about {} of {} layers", turned.len(), config.layers.len()));
        }
    }
    hub.limit_some(&mut config, |_, layer| layer.rope.is_none())?;
    Ok(config)
}

fn without_positions(config: &mut Config, interval: usize) {
    for (index, layer) in config.layers.iter_mut().enumerate() {
        if (index + 1).is_multiple_of(interval) {
            layer.rope = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_leave_out_is_as_in_transformers() {
        let mut hub = json!({
            "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
            "num_key_value_heads": 4, "max_position_embeddings": 65536, "vocab_size": 128256, "hidden_act": "silu"
        });
        let read = |hub: &serde_json::Value| from_hub(&Json::parse(hub.to_string().as_bytes()).unwrap()).unwrap();
        let config = read(&hub);
        config.check().unwrap();
        assert!(config.tied);
        let without_positions = config.layers.iter().filter(|layer| layer.rope.is_none()).count();
        assert_eq!((without_positions, config.layers[3].rope), (9, None));
        hub["tie_word_embeddings"] = json!(false);
        assert!(!read(&hub).tied);
    }
}
