//! Llama and its relatives (Llama 2 and 3, SmolLM, TinyLlama, Mistral) from GGUF: configuration and network.
//!
//! Pre-norm transformer with RMSNorm, rotary positions, grouped-query attention and SwiGLU
//! (<https://arxiv.org/abs/2302.13971>). Weights stay quantised; rounding follows llama.cpp, so that greedy text does too.

use crate::ModelError;
use crate::engine::attention::{Attention, KvCache, KvShape, LayerCache, PAGE, Precision};
use crate::engine::gguf::{Gguf, GgufFile};
use crate::engine::math::{self, Rope};
use crate::engine::qmatmul::{Linear, Scratch};
use crate::engine::shared::Shared;
use crate::engine::team::Team;
use crate::engine::{Network, Span};

/// Positions that a sequence can have at most.
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

/// The network with its weights.
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
}

/// What all layers share while some tokens pass through them.
struct Step<'a> {
    team: &'a Team,
    config: &'a Config,
    attention: &'a Attention,
    spans: &'a [Span<'a>],
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
    /// Rows of the tokens whose scores are wanted.
    chosen: Vec<f32>,
    /// Per token, of every rotated pair.
    angles: Vec<(f32, f32)>,
    /// Per token: the page and the place in it where its keys and values go.
    places: Vec<(u32, usize)>,
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
            attention: Attention::new(config.heads, 1.0 / (config.head_length as f32).sqrt()),
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
        })
    }

    /// Attention: reads `stream`, adds to it.
    fn attend(&self, step: &Step, cache: &mut LayerCache, b: &mut Buffers) -> Result<(), ModelError> {
        let Step { team, config, attention, spans } = *step;
        let (queries, keys) = (config.heads * config.head_length, config.kv_heads * config.head_length);
        let stride = queries + 2 * keys;
        math::rms_norm(team, &b.stream, &self.attention_norm, config.epsilon, &mut b.normed);
        self.queries_keys_values.forward(team, &b.normed, &mut b.scratch, &mut b.projected)?;
        rotate_and_store(step, cache, b);
        attention.forward(team, (&b.projected, stride), spans, cache, None, &mut b.attended);
        self.attention_output.forward(team, &b.attended, &mut b.scratch, &mut b.added)?;
        math::add(team, &mut b.stream, config.width, &b.added);
        Ok(())
    }

    /// The feed-forward half: reads `stream`, adds to it.
    fn feed_forward(&self, step: &Step, b: &mut Buffers) -> Result<(), ModelError> {
        let Step { team, config, .. } = *step;
        math::rms_norm(team, &b.stream, &self.feed_norm, config.epsilon, &mut b.normed);
        self.gate_up.forward(team, &b.normed, &mut b.scratch, &mut b.gates_ups)?;
        math::swiglu(team, &b.gates_ups, config.feed_forward, &mut b.hidden);
        self.down.forward(team, &b.hidden, &mut b.scratch, &mut b.added)?;
        math::add(team, &mut b.stream, config.width, &b.added);
        Ok(())
    }
}

/// Turns the queries and keys of all tokens and puts keys and values into the cache.
#[expect(unsafe_code, reason = "threads store tokens of their own")]
fn rotate_and_store(step: &Step, cache: &mut LayerCache, b: &mut Buffers) {
    const TOKENS_PER_PIECE: usize = 8;
    let Step { team, config, .. } = *step;
    let (queries, keys) = (config.heads * config.head_length, config.kv_heads * config.head_length);
    let stride = queries + 2 * keys;
    let tokens = b.places.len();
    let (writer, rows) = (cache.writer(), Shared::new(&mut b.projected));
    let pairs = config.rope_dimensions / 2;
    team.run(tokens.div_ceil(TOKENS_PER_PIECE), |piece| {
        for token in piece * TOKENS_PER_PIECE..tokens.min((piece + 1) * TOKENS_PER_PIECE) {
            // SAFETY: a token belongs to one piece, and a piece is done once.
            let row = unsafe { rows.slice(token * stride, stride) };
            let angles = &b.angles[token * pairs..(token + 1) * pairs];
            for head in row[..queries + keys].chunks_exact_mut(config.head_length) {
                math::rotate(&mut head[..config.rope_dimensions], angles);
            }
            let (page, slot) = b.places[token];
            // SAFETY: as above, and no two tokens of a batch have the same place.
            unsafe { writer.store(page, slot, &row[queries..queries + keys], &row[queries + keys..]) };
        }
    });
}

impl Network for Llama {
    fn context_length(&self) -> usize {
        self.config.context
    }

    fn vocabulary(&self) -> usize {
        self.config.vocabulary
    }

    fn kv_shape(&self) -> KvShape {
        let Config { layers, kv_heads, head_length, .. } = self.config;
        KvShape { layers, heads: kv_heads, length: head_length, precision: Precision::F16 }
    }

    fn forward(
        &mut self,
        team: &Team,
        spans: &[Span],
        cache: &mut KvCache,
        scores: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        let config = &self.config;
        let b = &mut self.buffers;
        let tokens: usize = spans.iter().map(|span| span.tokens.len()).sum();
        b.resize(config, tokens);
        let all = spans.iter().flat_map(|span| span.tokens);
        for (row, token) in b.stream.chunks_exact_mut(config.width).zip(all) {
            self.embeddings.row(*token as usize, row)?;
        }
        for span in spans {
            let positions = span.position..span.position + span.tokens.len();
            if positions.end > config.context.min(span.pages.len() * PAGE) {
                let (length, context) = (positions.end, config.context);
                return Err(ModelError::Compute(format!(
                    "a sequence of {length} does not fit into {context} positions"
                )));
            }
            for position in positions {
                self.rope.angles(position, &mut b.angles);
                b.places.push((span.pages[position / PAGE], position % PAGE));
            }
        }
        let step = Step { team, config, attention: &self.attention, spans };
        for (index, layer) in self.layers.iter().enumerate() {
            layer.attend(&step, cache.layer(index), b)?;
            layer.feed_forward(&step, b)?;
        }
        b.choose(config, spans);
        if b.chosen.iter().any(|value| !value.is_finite()) {
            return Err(ModelError::Compute("the network yields no finite numbers: its weights are damaged".into()));
        }
        let wanted = b.chosen.len() / config.width;
        scores.clear();
        scores.resize(wanted * config.vocabulary, 0.0);
        if wanted == 0 {
            return Ok(());
        }
        let normed = &mut b.normed[..wanted * config.width];
        math::rms_norm(team, &b.chosen, &self.norm, config.epsilon, normed);
        self.output.as_ref().unwrap_or(&self.embeddings).forward(team, normed, &mut b.scratch, scores)
    }
}

impl Buffers {
    /// Makes room for so many tokens.
    fn resize(&mut self, config: &Config, tokens: usize) {
        self.angles.clear();
        self.places.clear();
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

    /// Gathers the rows of the tokens whose scores are wanted.
    fn choose(&mut self, config: &Config, spans: &[Span]) {
        self.chosen.clear();
        let mut end = 0;
        for span in spans {
            end += span.tokens.len();
            let rows = (end - span.scored) * config.width..end * config.width;
            self.chosen.extend_from_slice(&self.stream[rows]);
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
