//! What files say of a network: the metadata of GGUF and `config.json` of the Hugging Face hub, each with what all
//! architectures have in common.

use super::config::{Activation, Config, LayerConfig, MAX_CONTEXT};
use super::rope::{Divisors, Llama3, Pairing, RopeConfig, Yarn};
use super::weights;
use crate::arch::sizes;
use crate::engine::gguf::Gguf;
use crate::engine::json::Json;

/// Base of rotary positions where files do not say it.
const ROPE_BASE: f32 = 10_000.0;

/// The metadata of a GGUF file under the name of its architecture.
pub struct Metadata<'a> {
    gguf: &'a Gguf<'a>,
    architecture: &'a str,
}

impl<'a> Metadata<'a> {
    /// Reads keys like `llama.block_count`.
    pub fn new(gguf: &'a Gguf<'a>, architecture: &'a str) -> Self {
        Self { gguf, architecture }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// A whole number that must be there.
    ///
    /// # Errors
    /// A reason.
    pub fn require(&self, name: &str) -> Result<usize, String> {
        self.gguf.require(&self.key(name))
    }

    /// A whole number that may be absent.
    ///
    /// # Errors
    /// A reason, when it is something else.
    pub fn optional(&self, name: &str, default: usize) -> Result<usize, String> {
        Ok(self.gguf.number(&self.key(name))?.unwrap_or(default))
    }

    /// A number that may be absent.
    ///
    /// # Errors
    /// A reason, when it is something else.
    pub fn float(&self, name: &str) -> Result<Option<f32>, String> {
        self.gguf.float(&self.key(name))
    }

    /// How many positions a token sees, in layers where it does not see all; 0 in the file stands for all.
    ///
    /// # Errors
    /// A reason, when it is no whole number.
    pub fn window(&self) -> Result<Option<usize>, String> {
        Ok(Some(self.optional("attention.sliding_window", 0)?).filter(|window| *window > 0))
    }

    /// What all architectures have in common: every layer sees all positions and turns heads in the same way.
    ///
    /// # Errors
    /// A reason, when something is missing or not supported.
    pub fn config(&self, pairing: Pairing) -> Result<Config, String> {
        let width = self.require("embedding_length")?;
        let heads = self.require("attention.head_count")?;
        if width == 0 || heads == 0 || self.optional("expert_count", 0)? > 0 {
            return Err("its width and heads must not be 0, and mixtures of experts are not supported".into());
        }
        for cap in ["attn_logit_softcapping", "final_logit_softcapping"] {
            if self.float(cap)?.is_some_and(|cap| cap != 0.0) {
                return Err(format!("`{}` is not supported", self.key(cap)));
            }
        }
        let head_length = self.optional("attention.key_length", width / heads)?;
        if self.optional("attention.value_length", head_length)? != head_length {
            return Err("its keys and values differ in length, which is not supported".into());
        }
        let layers = self.require("block_count")?;
        let layers = vec![LayerConfig { window: None, rope: Some(0) }; bounded(layers, sizes::LAYERS)];
        Ok(Config {
            width,
            feed_forward: self.require("feed_forward_length")?,
            heads,
            kv_heads: self.optional("attention.head_count_kv", heads)?,
            head_length,
            layers,
            pairing,
            ropes: vec![self.rope(self.optional("rope.dimension_count", head_length)?)?],
            attention_scale: self.float("attention.scale")?.unwrap_or(1.0 / (head_length as f32).sqrt()),
            activation: Activation::Silu,
            embedding_scale: 1.0,
            epsilon: self.float("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-5),
            norm_offset: 0.0,
            head_norms: false,
            sandwich_norms: false,
            biased: false,
            tied: !self.gguf.has_tensor("output.weight"),
            context: self.require("context_length")?.min(MAX_CONTEXT),
            vocabulary: self.gguf.tensor("token_embd.weight")?.rows,
        })
    }

    fn rope(&self, dimensions: usize) -> Result<RopeConfig, String> {
        let base = self.float("rope.freq_base")?.unwrap_or(ROPE_BASE);
        let mut rope = RopeConfig::plain(dimensions, base);
        rope.magnitude = self.float("rope.scaling.attn_factor")?.unwrap_or(1.0);
        let trained = self.optional("rope.scaling.original_context_length", self.require("context_length")?)?;
        let factor = self.float("rope.scaling.factor")?.or(self.float("rope.scale_linear")?);
        let factor = factor.filter(|factor| *factor != 0.0).unwrap_or(1.0);
        match self.gguf.text(&self.key("rope.scaling.type")) {
            // Whatever the type, the factors of Llama 3 and of LongRoPE are tensors.
            None | Some("none" | "longrope") => {}
            Some("linear") => rope.scale = 1.0 / factor,
            Some("yarn") => {
                let fast = self.float("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0);
                let slow = self.float("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0);
                let yarn = Yarn { factor, fast, slow, trained };
                rope.divisors = yarn.divisors(bounded(dimensions, sizes::HEAD_LENGTH), base);
                rope.magnitude *= yarn.magnitude();
            }
            Some(other) => {
                return Err(format!("rope scaling `{other}` is not supported; known: none, linear, yarn, longrope"));
            }
        }
        let floats = |name: &str| weights::floats(&self.gguf.tensor(name)?, name, dimensions / 2);
        if self.gguf.has_tensor("rope_freqs.weight") {
            rope.divisors = Divisors::Fixed(floats("rope_freqs.weight")?);
        } else if self.gguf.has_tensor("rope_factors_long.weight") {
            let (short, long) = (floats("rope_factors_short.weight")?, floats("rope_factors_long.weight")?);
            rope.divisors = Divisors::ByLength { trained, short, long };
        }
        Ok(rope)
    }
}

/// What `config.json` of the hub says.
impl Json {
    /// Which layers see some of the positions only, where `layer_types` says it.
    ///
    /// # Errors
    /// A reason, when it names other kinds of layers.
    pub fn sliding(&self) -> Result<Option<Vec<bool>>, String> {
        self.list("layer_types", |kind| match kind.as_str()? {
            "full_attention" => Some(false),
            "sliding_attention" => Some(true),
            _ => None,
        })
    }

    /// Gives a window to some layers, where `use_sliding_window` says so at all: to those that `layer_types` names, or
    /// those that `chosen` does.
    ///
    /// # Errors
    /// A reason, when something else stands there.
    pub fn limit_some(&self, config: &mut Config, chosen: impl Fn(usize, &LayerConfig) -> bool) -> Result<(), String> {
        let limited = self.flag("use_sliding_window", false)?;
        let Some(window) = self.number("sliding_window")?.filter(|_| limited) else { return Ok(()) };
        let layers = config.layers.iter().enumerate();
        let sliding = self.sliding()?.unwrap_or_else(|| layers.map(|(index, layer)| chosen(index, layer)).collect());
        if sliding.len() != config.layers.len() {
            return Err(format!("`layer_types` is about {} of {} layers", sliding.len(), config.layers.len()));
        }
        for (layer, sliding) in config.layers.iter_mut().zip(sliding) {
            layer.window = sliding.then_some(window);
        }
        Ok(())
    }

    /// The same for those from `max_window_layers` on, as Qwen does it.
    ///
    /// # Errors
    /// As [`Json::limit_some`].
    pub fn limit_later(&self, config: &mut Config) -> Result<(), String> {
        let first = self.number("max_window_layers")?.unwrap_or(28);
        self.limit_some(config, |index, _| index >= first)
    }

    /// What all architectures have in common: every layer sees all positions and turns heads in the same way.
    ///
    /// # Errors
    /// A reason, when something is missing or not supported.
    pub fn config(&self) -> Result<Config, String> {
        let width = self.require("hidden_size")?;
        let heads = self.require("num_attention_heads")?;
        if width == 0 || heads == 0 {
            return Err("its width and heads must not be 0".into());
        }
        if let Some(coding) = self.section("quantization_config")? {
            let method = coding.text("quant_method")?.unwrap_or("unknown");
            return Err(format!("its weights are quantised (`{method}`), which is not supported: take a GGUF file"));
        }
        for cap in ["attn_logit_softcapping", "final_logit_softcapping"] {
            if self.float(cap)?.is_some() {
                return Err(format!("`{cap}` is not supported"));
            }
        }
        let activation = self.text("hidden_activation")?.or(self.text("hidden_act")?);
        let activation = match activation {
            None | Some("silu") => Activation::Silu,
            Some("gelu_pytorch_tanh") => Activation::GeluTanh,
            Some(other) => return Err(format!("activation `{other}` is not known; known: silu, gelu_pytorch_tanh")),
        };
        let head_length = self.number("head_dim")?.unwrap_or(width / heads);
        let layers = bounded(self.require("num_hidden_layers")?, sizes::LAYERS);
        let layers = vec![LayerConfig { window: None, rope: Some(0) }; layers];
        Ok(Config {
            width,
            feed_forward: self.require("intermediate_size")?,
            heads,
            kv_heads: self.number("num_key_value_heads")?.unwrap_or(heads),
            head_length,
            layers,
            pairing: Pairing::Halves,
            ropes: vec![self.rope(head_length)?],
            attention_scale: 1.0 / (head_length as f32).sqrt(),
            activation,
            embedding_scale: 1.0,
            epsilon: self.float("rms_norm_eps")?.unwrap_or(1e-6),
            norm_offset: 0.0,
            head_norms: false,
            sandwich_norms: false,
            biased: self.flag("attention_bias", false)?,
            tied: self.flag("tie_word_embeddings", false)?,
            context: self.require("max_position_embeddings")?.min(MAX_CONTEXT),
            vocabulary: self.require("vocab_size")?,
        })
    }

    /// How heads are turned. transformers 5 writes all of it into `rope_parameters`; before, the base stood beside
    /// `rope_scaling`.
    fn rope(&self, head_length: usize) -> Result<RopeConfig, String> {
        let section = match self.section("rope_parameters")? {
            // One section for each kind of layer; whoever has them reads them himself.
            Some(section) if section.get("full_attention").is_some() => None,
            Some(section) => Some(section),
            None => self.section("rope_scaling")?,
        };
        self.rope_of(section.as_ref(), "rope_theta", head_length)
    }

    /// How heads are turned that a section of its own describes; the base may stand beside it.
    ///
    /// # Errors
    /// A reason, when contexts are stretched in an unknown way.
    pub fn rope_of(&self, section: Option<&Json>, base: &str, head_length: usize) -> Result<RopeConfig, String> {
        let inside = |key: &str| section.map_or(Ok(None), |section| section.float(key));
        let base = inside("rope_theta")?.or(self.float(base)?).unwrap_or(ROPE_BASE);
        let share = inside("partial_rotary_factor")?.or(self.float("partial_rotary_factor")?).unwrap_or(1.0);
        let mut rope = RopeConfig::plain((bounded(head_length, sizes::HEAD_LENGTH) as f32 * share) as usize, base);
        let Some(section) = section else { return Ok(rope) };
        let longest = self.require("max_position_embeddings")?;
        let trained = section
            .number("original_max_position_embeddings")?
            .or(self.number("original_max_position_embeddings")?)
            .unwrap_or(longest);
        let dimensions = rope.dimensions;
        match section.text("rope_type")?.or(section.text("type")?).unwrap_or("default") {
            "default" => {}
            "linear" => rope.scale = 1.0 / section.require_float("factor")?,
            "llama3" => {
                let (low, high) =
                    (section.require_float("low_freq_factor")?, section.require_float("high_freq_factor")?);
                let llama = Llama3 { factor: section.require_float("factor")?, low, high, trained };
                rope.divisors = llama.divisors(dimensions, base);
            }
            "yarn" if section.get("mscale").is_none() => {
                let given = |key, default| Ok::<f32, String>(section.float(key)?.unwrap_or(default));
                let factor = given("factor", longest as f32 / trained as f32)?;
                let yarn = Yarn { factor, fast: given("beta_fast", 32.0)?, slow: given("beta_slow", 1.0)?, trained };
                rope.divisors = yarn.divisors(dimensions, base);
                rope.magnitude = given("attention_factor", yarn.magnitude())?;
            }
            // `su` is what it was called at first.
            "longrope" | "su" => {
                let factors = |key: &str| {
                    let factors = section.list(key, |factor| Some(factor.as_f64()? as f32))?;
                    factors.ok_or_else(|| format!("it lacks `{key}`"))
                };
                rope.divisors =
                    Divisors::ByLength { trained, short: factors("short_factor")?, long: factors("long_factor")? };
                let factor = section.float("factor")?.unwrap_or(longest as f32 / trained as f32);
                let grown = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (trained as f32).ln()).sqrt() };
                rope.magnitude = section.float("attention_factor")?.unwrap_or(grown);
            }
            other => {
                let known = "default, linear, llama3, yarn (without mscale), longrope";
                return Err(format!("rope scaling `{other}` is not supported; known: {known}"));
            }
        }
        Ok(rope)
    }
}

/// A size that [`Config::check`] refuses later if it is too large, so that no list of its length is made before.
fn bounded(size: usize, most: usize) -> usize {
    size.min(most + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn llama(change: Value) -> Result<Config, String> {
        let mut config = json!({
            "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2,
            "intermediate_size": 96, "max_position_embeddings": 4096, "vocab_size": 300, "hidden_act": "silu",
            "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": true
        });
        for (key, value) in change.as_object().unwrap() {
            config[key] = value.clone();
        }
        let config = Json::parse(config.to_string().as_bytes())?.config()?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn both_layouts_of_rotary_positions_are_the_same() {
        let old = llama(json!({"rope_scaling": {"type": "linear", "factor": 4.0}})).unwrap();
        let new = json!({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500000.0}});
        assert_eq!(llama(new).unwrap(), old);
        assert_eq!(old.ropes, [RopeConfig { scale: 0.25, ..RopeConfig::plain(16, 500_000.0) }]);
    }

    #[test]
    fn contexts_are_stretched_as_the_file_says() {
        let factors = vec![1.5; 4];
        let phi = llama(json!({
            "rope_scaling": {"type": "su", "short_factor": [1.0, 1.0, 1.0, 1.0], "long_factor": factors},
            "partial_rotary_factor": 0.5, "original_max_position_embeddings": 1024
        }));
        let phi = &phi.unwrap().ropes[0];
        assert_eq!((phi.dimensions, phi.magnitude), (8, (1.0 + 4f32.ln() / 1024f32.ln()).sqrt()));
        let section = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 512
        });
        let llama3 = llama(json!({"rope_scaling": section})).unwrap();
        let Divisors::Fixed(divisors) = &llama3.ropes[0].divisors else { panic!("no factors") };
        assert_eq!((divisors[0], divisors[7]), (1.0, 8.0));
        let yarn = llama(json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}})).unwrap();
        assert!((yarn.ropes[0].magnitude - 1.138_629).abs() < 1e-5);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let cases = [
            (json!({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}), "`dynamic`"),
            (json!({"rope_scaling": {"rope_type": "linear"}}), "`factor`"),
            (
                json!({"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}}),
                "1 factors",
            ),
            (json!({"rope_scaling": 3}), "`rope_scaling`"),
            (json!({"hidden_act": "relu"}), "`relu`"),
            (json!({"hidden_size": "wide"}), "`hidden_size`"),
            (json!({"attention_bias": "no"}), "`attention_bias`"),
            (json!({"hidden_size": 0}), "must not be 0"),
            (json!({"vocab_size": null}), "lacks `vocab_size`"),
            (json!({"quantization_config": {"quant_method": "awq"}}), "`awq`"),
            (json!({"num_hidden_layers": 1u64 << 40}), "number of layers"),
            (json!({"final_logit_softcapping": 30.0}), "`final_logit_softcapping`"),
        ];
        for (change, expected) in cases {
            let error = llama(change).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
