//! Gemma 3 (<https://arxiv.org/abs/2503.19786>), its half that reads and writes text: heads are normed, results of both halves
//! of a layer too, gates go through GELU, embeddings are scaled, and most layers see a window only and turn faster.

use serde_json::json;

use super::decoder::{Activation, Config, Family, Metadata, Pairing, RopeConfig};
use crate::engine::json::Json;

/// For [`super::DECODERS`].
pub const FAMILY: Family =
    Family { name: "gemma3", gguf: &["gemma3"], hub: &["gemma3_text", "gemma3"], from_gguf, from_hub };

/// Base of the rotary positions in layers with a window.
const LOCAL_BASE: f32 = 10_000.0;

/// Every so many layers there is one that sees everything.
const PATTERN: usize = 6;

fn from_gguf(metadata: &Metadata) -> Result<Config, String> {
    // llama.cpp's converter has added the one to the weights of norms.
    let mut config = family(Config { activation: Activation::GeluTanh, ..metadata.config(Pairing::Halves)? });
    if metadata.float("attention.scale")?.is_none() && config.layers.len() == 62 {
        // The largest one divides by what its heads would have without a length of their own; no key says it.
        config.attention_scale = 1.0 / (config.width as f32 / config.heads as f32).sqrt();
    }
    let local_base = metadata.float("rope.freq_base_swa")?.unwrap_or(LOCAL_BASE);
    let local = RopeConfig::plain(config.ropes[0].dimensions, local_base);
    let window = metadata.window()?.ok_or("its metadata lacks `gemma3.attention.sliding_window`")?;
    let pattern = metadata.optional("attention.sliding_window_pattern", PATTERN)?;
    let sliding = (0..config.layers.len()).map(|layer| is_sliding(layer, pattern)).collect();
    limit(config, window, local, sliding)
}

fn from_hub(hub: &Json) -> Result<Config, String> {
    // With pictures, the text has a section of its own.
    let section = hub.section("text_config")?;
    let hub = section.as_ref().unwrap_or(hub).with_defaults(&[
        ("vocab_size", json!(262_208)),
        ("num_attention_heads", json!(8)),
        ("num_key_value_heads", json!(4)),
        ("head_dim", json!(256)),
        ("max_position_embeddings", json!(131_072)),
        ("rms_norm_eps", json!(1e-6)),
        ("rope_theta", json!(1_000_000.0)),
        ("hidden_activation", json!("gelu_pytorch_tanh")),
        ("query_pre_attn_scalar", json!(256)),
        ("sliding_window", json!(4096)),
        ("tie_word_embeddings", json!(true)),
    ]);
    if hub.flag("use_bidirectional_attention", false)? {
        return Err("`use_bidirectional_attention` is not supported".into());
    }
    let mut config = family(Config { norm_offset: 1.0, ..hub.config()? });
    config.attention_scale = 1.0 / hub.float("query_pre_attn_scalar")?.unwrap_or(256.0).sqrt();
    let head_length = config.head_length;
    let by_layer = hub.section("rope_parameters")?;
    let of_kind = |kind: &str| by_layer.as_ref().map_or(Ok(None), |section| section.section(kind));
    if let Some(section) = of_kind("full_attention")? {
        config.ropes = vec![hub.rope_of(Some(&section), "rope_theta", head_length)?];
    }
    let hub_local = hub.with_defaults(&[("rope_local_base_freq", json!(LOCAL_BASE))]);
    let local = hub_local.rope_of(of_kind("sliding_attention")?.as_ref(), "rope_local_base_freq", head_length)?;
    let pattern = hub.number("sliding_window_pattern")?.or(hub.number("_sliding_window_pattern")?).unwrap_or(PATTERN);
    let sliding = match hub.sliding()? {
        Some(sliding) => sliding,
        None => (0..config.layers.len()).map(|layer| is_sliding(layer, pattern)).collect(),
    };
    limit(config, hub.require("sliding_window")?, local, sliding)
}

fn family(config: Config) -> Config {
    Config { head_norms: true, sandwich_norms: true, embedding_scale: (config.width as f32).sqrt(), ..config }
}

fn is_sliding(layer: usize, pattern: usize) -> bool {
    pattern == 0 || layer % pattern < pattern - 1
}

/// Gives layers their window and its way to turn heads.
fn limit(mut config: Config, window: usize, local: RopeConfig, sliding: Vec<bool>) -> Result<Config, String> {
    if sliding.len() != config.layers.len() {
        return Err(format!("`layer_types` is about {} of {} layers", sliding.len(), config.layers.len()));
    }
    config.ropes.push(local);
    for (layer, sliding) in config.layers.iter_mut().zip(sliding) {
        if sliding {
            (layer.window, layer.rope) = (Some(window), Some(1));
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_configurations_are_read() {
        // gemma-3-4b-it says no more of its text than this.
        let hub = json!({"model_type": "gemma3", "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024
        }});
        let config = from_hub(&Json::parse(hub.to_string().as_bytes()).unwrap()).unwrap();
        config.check().unwrap();
        assert_eq!((config.heads, config.kv_heads, config.head_length), (8, 4, 256));
        assert_eq!(config.ropes[0], RopeConfig { scale: 0.125, ..RopeConfig::plain(256, 1e6) });
        assert_eq!(config.ropes[1], RopeConfig::plain(256, 1e4));
        assert_eq!((config.attention_scale, config.embedding_scale), (1.0 / 16.0, 2560f32.sqrt()));
        let global: Vec<usize> = (0..34).filter(|layer| config.layers[*layer].window.is_none()).collect();
        assert_eq!(global, [5, 11, 17, 23, 29]);
        assert!(config.layers.iter().all(|layer| layer.window.is_none() == (layer.rope == Some(0))));
    }
}
