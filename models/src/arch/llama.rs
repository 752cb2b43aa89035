//! Llama and its relatives (Llama 2 and 3, SmolLM, TinyLlama, Mistral) from GGUF: configuration and network.
//!
//! Pre-norm transformer with RMSNorm, rotary positions, grouped-query attention and SwiGLU
//! (<https://arxiv.org/abs/2302.13971>). Weights stay quantised; rounding follows llama.cpp, so that greedy text does too.

use crate::ModelError;
use crate::engine::Network;
use crate::engine::attention::{Attention, KvCache};
use crate::engine::gguf::{Gguf, GgufFile};
use crate::engine::math::{self, Rope};
use crate::engine::qmatmul::{Linear, Scratch};

/// Positions that are kept at most: memory for keys and values is reserved for all of them.
const MAX_CONTEXT: usize = 32_768;

/// What the file's metadata say of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Transformer layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Width between the feed-forward matrices.
    pub feed_forward: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Values in a head.
    pub head_length: usize,
    /// Values of a head that are rotated.
    pub rope_dimensions: usize,
    /// Base of the rotation's angles.
    pub rope_base: f32,
    /// Positions are multiplied by this.
    pub rope_scale: f32,
    /// Added to the mean square in norms.
    pub epsilon: f32,
    /// Positions that can be used.
    pub context: usize,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
}

impl Config {
    /// Reads and checks the metadata.
    fn read(gguf: &Gguf<'_>) -> Result<Self, String> {
        match gguf.text("general.architecture") {
            Some("llama") => {}
            Some(other) => return Err(format!("its architecture is `{other}`; known: llama")),
            None => return Err("its metadata lacks `general.architecture`".into()),
        }
        let width = gguf.require("llama.embedding_length")?;
        let heads = gguf.require("llama.attention.head_count")?;
        if width == 0 || heads == 0 || gguf.unsigned("llama.expert_count").unwrap_or(0) > 0 {
            return Err("its width and heads must not be 0, and mixtures of experts are not supported".into());
        }
        let optional = |key: &str, default: usize| match gguf.get(key) {
            None => Ok(default),
            Some(_) => gguf.require(key),
        };
        let kv_heads = optional("llama.attention.head_count_kv", heads)?;
        let head_length = optional("llama.attention.key_length", width / heads)?;
        let rope_dimensions = optional("llama.rope.dimension_count", head_length)?;
        let rope_scale = match gguf.text("llama.rope.scaling.type") {
            None | Some("none") => 1.0,
            Some("linear") => 1.0 / gguf.float("llama.rope.scaling.factor").unwrap_or(1.0),
            Some(other) => return Err(format!("rope scaling `{other}` is not supported; known: none, linear")),
        };
        let embeddings = gguf.tensor("token_embd.weight")?;
        let config = Self {
            layers: gguf.require("llama.block_count")?,
            width,
            feed_forward: gguf.require("llama.feed_forward_length")?,
            heads,
            kv_heads,
            head_length,
            rope_dimensions,
            rope_base: gguf.float("llama.rope.freq_base").unwrap_or(10_000.0),
            rope_scale,
            epsilon: gguf.float("llama.attention.layer_norm_rms_epsilon").unwrap_or(1e-5),
            context: gguf.require("llama.context_length")?.min(MAX_CONTEXT),
            vocabulary: embeddings.rows,
        };
        config.check()?;
        if optional("llama.attention.value_length", head_length)? != head_length {
            return Err("its keys and values differ in length, which is not supported".into());
        }
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        // Bounds that no model of this family comes near: what lies beyond them is a damaged file, and sizes computed
        // from it would overflow.
        let sizes = [
            ("block_count", self.layers, 1 << 10),
            ("embedding_length", self.width, 1 << 18),
            ("feed_forward_length", self.feed_forward, 1 << 20),
            ("attention.head_count", self.heads, 1 << 12),
            ("attention.head_count_kv", self.kv_heads, 1 << 12),
            ("attention.key_length", self.head_length, 1 << 12),
            ("rope.dimension_count", self.rope_dimensions, self.head_length.min(1 << 12)),
            ("context_length", self.context, MAX_CONTEXT),
            ("vocab_size", self.vocabulary, 1 << 24),
        ];
        for (name, value, limit) in sizes {
            if value == 0 || value > limit {
                return Err(format!("`llama.{name}` is {value}; 1 to {limit} is possible"));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) || !self.rope_dimensions.is_multiple_of(2) {
            return Err(format!(
                "{} query heads over {} key heads with {} rotated values do not fit together",
                self.heads, self.kv_heads, self.rope_dimensions
            ));
        }
        let positive = |value: f32| value.is_finite() && value > 0.0;
        if !positive(self.rope_base) || !positive(self.rope_scale) || !positive(self.epsilon) {
            return Err("its rope base, rope scaling and norm epsilon must be positive numbers".into());
        }
        Ok(())
    }
}

/// The network with its weights and the cache of one sequence.
pub struct Llama {
    config: Config,
    rope: Rope,
    attention: Attention,
    embeddings: Linear,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// Absent where the embeddings serve as output too.
    output: Option<Linear>,
    buffers: Buffers,
}

struct Layer {
    attention_norm: Vec<f32>,
    /// Queries, then keys, then values.
    queries_keys_values: Linear,
    attention_output: Linear,
    feed_norm: Vec<f32>,
    /// Gates, then ups.
    gate_up: Linear,
    down: Linear,
    cache: KvCache,
}

/// What all layers share while some tokens pass through them.
struct Step<'a> {
    config: &'a Config,
    rope: &'a Rope,
    attention: &'a Attention,
    /// Of the first token.
    position: usize,
}

/// Intermediate results of some tokens, row by row.
#[derive(Default)]
struct Buffers {
    scratch: Scratch,
    stream: Vec<f32>,
    normed: Vec<f32>,
    projected: Vec<f32>,
    attended: Vec<f32>,
    gates_ups: Vec<f32>,
    hidden: Vec<f32>,
    added: Vec<f32>,
    angles: Vec<(f32, f32)>,
}

impl Llama {
    /// Loads the network of a GGUF file.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] when metadata or tensors are missing, contradict each other or are not supported.
    pub fn load(file: &GgufFile, gguf: &Gguf<'_>) -> Result<Self, ModelError> {
        Self::read(gguf).map_err(|reason| file.invalid(reason))
    }

    fn read(gguf: &Gguf<'_>) -> Result<Self, String> {
        let config = Config::read(gguf)?;
        let embeddings = Linear::load(gguf, &[("token_embd.weight", config.vocabulary)], config.width)?;
        let output = match gguf.has_tensor("output.weight") {
            true => Some(Linear::load(gguf, &[("output.weight", config.vocabulary)], config.width)?),
            false => None,
        };
        let divisors = match gguf.has_tensor("rope_freqs.weight") {
            true => floats(gguf, "rope_freqs.weight", config.rope_dimensions / 2)?,
            false => vec![1.0; config.rope_dimensions / 2],
        };
        let mut layers = Vec::new();
        for index in 0..config.layers {
            layers.push(Layer::load(gguf, index, &config)?);
        }
        Ok(Self {
            rope: Rope::new(config.rope_base, config.rope_scale, divisors),
            attention: Attention::new(config.heads),
            embeddings,
            layers,
            norm: floats(gguf, "output_norm.weight", config.width)?,
            output,
            buffers: Buffers::default(),
            config,
        })
    }

    /// What the file says of the network.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl Layer {
    fn load(gguf: &Gguf<'_>, index: usize, config: &Config) -> Result<Self, String> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        for part in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            if gguf.has_tensor(&format!("blk.{index}.{part}.bias")) {
                return Err(format!("`blk.{index}.{part}.bias` is not supported"));
            }
        }
        let (queries, keys) = (config.heads * config.head_length, config.kv_heads * config.head_length);
        let linear = |parts: &[(&str, usize)], columns| {
            let names: Vec<String> = parts.iter().map(|(part, _)| name(part)).collect();
            let shapes: Vec<(&str, usize)> =
                names.iter().zip(parts).map(|(name, (_, rows))| (name.as_str(), *rows)).collect();
            Linear::load(gguf, &shapes, columns)
        };
        Ok(Self {
            attention_norm: floats(gguf, &name("attn_norm"), config.width)?,
            queries_keys_values: linear(&[("attn_q", queries), ("attn_k", keys), ("attn_v", keys)], config.width)?,
            attention_output: linear(&[("attn_output", config.width)], queries)?,
            feed_norm: floats(gguf, &name("ffn_norm"), config.width)?,
            gate_up: linear(&[("ffn_gate", config.feed_forward), ("ffn_up", config.feed_forward)], config.width)?,
            down: linear(&[("ffn_down", config.width)], config.feed_forward)?,
            cache: KvCache::new(config.kv_heads, config.head_length, config.context),
        })
    }

    /// Attention: reads `stream`, adds to it.
    fn attend(&mut self, step: &Step, b: &mut Buffers) -> Result<(), ModelError> {
        let Step { config, rope, attention, position } = *step;
        let (queries, keys) = (config.heads * config.head_length, config.kv_heads * config.head_length);
        math::rms_norm(&b.stream, &self.attention_norm, config.epsilon, &mut b.normed);
        self.queries_keys_values.forward(&b.normed, &mut b.scratch, &mut b.projected)?;
        for (token, row) in b.projected.chunks_exact_mut(queries + 2 * keys).enumerate() {
            rope.angles(position + token, &mut b.angles);
            for head in row[..queries + keys].chunks_exact_mut(config.head_length) {
                math::rotate(&mut head[..config.rope_dimensions], &b.angles);
            }
            self.cache.store(position + token, &row[queries..queries + keys], &row[queries + keys..]);
        }
        attention.forward(&b.projected, queries + 2 * keys, position, &self.cache, &mut b.attended);
        self.attention_output.forward(&b.attended, &mut b.scratch, &mut b.added)?;
        math::add(&mut b.stream, &b.added);
        Ok(())
    }

    /// The feed-forward half: reads `stream`, adds to it.
    fn feed_forward(&self, config: &Config, b: &mut Buffers) -> Result<(), ModelError> {
        math::rms_norm(&b.stream, &self.feed_norm, config.epsilon, &mut b.normed);
        self.gate_up.forward(&b.normed, &mut b.scratch, &mut b.gates_ups)?;
        math::swiglu(&b.gates_ups, config.feed_forward, &mut b.hidden);
        self.down.forward(&b.hidden, &mut b.scratch, &mut b.added)?;
        math::add(&mut b.stream, &b.added);
        Ok(())
    }
}

impl Network for Llama {
    fn context_length(&self) -> usize {
        self.config.context
    }

    fn vocabulary(&self) -> usize {
        self.config.vocabulary
    }

    fn forward(&mut self, tokens: &[u32], position: usize, logits: Option<&mut Vec<f32>>) -> Result<(), ModelError> {
        let config = &self.config;
        if tokens.is_empty() || position + tokens.len() > config.context {
            return Err(ModelError::Compute(format!(
                "{} tokens at position {position} do not fit into a context of {}",
                tokens.len(),
                config.context
            )));
        }
        let b = &mut self.buffers;
        b.resize(config, tokens.len());
        for (row, token) in b.stream.chunks_exact_mut(config.width).zip(tokens) {
            self.embeddings.row(*token as usize, row)?;
        }
        let step = Step { config, rope: &self.rope, attention: &self.attention, position };
        for layer in &mut self.layers {
            layer.attend(&step, b)?;
            layer.feed_forward(config, b)?;
        }
        let Some(logits) = logits else { return Ok(()) };
        let last = &b.stream[(tokens.len() - 1) * config.width..];
        if last.iter().any(|value| !value.is_finite()) {
            return Err(ModelError::Compute("the network yields no finite numbers: its weights are damaged".into()));
        }
        let normed = &mut b.normed[..config.width];
        math::rms_norm(last, &self.norm, config.epsilon, normed);
        logits.resize(config.vocabulary, 0.0);
        self.output.as_ref().unwrap_or(&self.embeddings).forward(normed, &mut b.scratch, logits)
    }
}

impl Buffers {
    fn resize(&mut self, config: &Config, tokens: usize) {
        let queries = config.heads * config.head_length;
        let projected = queries + 2 * config.kv_heads * config.head_length;
        for (buffer, width) in [
            (&mut self.stream, config.width),
            (&mut self.normed, config.width),
            (&mut self.projected, projected),
            (&mut self.attended, queries),
            (&mut self.gates_ups, 2 * config.feed_forward),
            (&mut self.hidden, config.feed_forward),
            (&mut self.added, config.width),
        ] {
            buffer.resize(tokens * width, 0.0);
        }
    }
}

/// A small tensor as floats.
fn floats(gguf: &Gguf<'_>, name: &str, length: usize) -> Result<Vec<f32>, String> {
    let shape = gguf.tensor(name)?;
    if shape.rows != 1 || shape.columns != length {
        return Err(format!("tensor `{name}` has {} values and should have {length}", shape.rows * shape.columns));
    }
    let mut values = vec![0.0; length];
    let row = Linear::load(gguf, &[(name, 1)], length)?;
    row.row(0, &mut values).map_err(|error| error.to_string())?;
    Ok(values)
}
