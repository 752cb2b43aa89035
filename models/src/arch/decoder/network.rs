//! The forward pass.

use super::config::{Activation, Config, LayerConfig};
use super::rope::{self, Rope};
use super::weights::Weights;
use super::{Options, Purpose};
use crate::ModelError;
use crate::engine::attention::{Attention, KvCache, KvShape, LayerCache, PAGE};
use crate::engine::math;
use crate::engine::qmatmul::{Linear, Scratch};
use crate::engine::shared::Shared;
use crate::engine::team::Team;
use crate::engine::{Network, Span};

/// A network with its weights.
pub struct Decoder {
    config: Config,
    options: Options,
    ropes: Vec<Rope>,
    attention: Attention,
    embeddings: Linear,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// Absent where the embeddings serve as output too, and where no scores are wanted.
    output: Option<Linear>,
    buffers: Buffers,
}

struct Layer {
    config: LayerConfig,
    attention_norm: Vec<f32>,
    /// Queries, then keys, then values.
    queries_keys_values: Linear,
    /// For a head of the queries and one of the keys.
    head_norms: Option<(Vec<f32>, Vec<f32>)>,
    attention_output: Linear,
    attention_post_norm: Option<Vec<f32>>,
    feed_norm: Vec<f32>,
    /// Gates, then ups.
    gate_up: Linear,
    down: Linear,
    feed_post_norm: Option<Vec<f32>>,
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
    /// For each way to turn heads, per token, of every turned pair.
    angles: Vec<Vec<(f32, f32)>>,
    /// Per token: the page and the place in it where its keys and values go.
    places: Vec<(u32, usize)>,
}

impl Decoder {
    /// Takes the weights; the configuration must have been checked.
    ///
    /// # Errors
    /// A reason, when tensors are missing or do not fit.
    pub(super) fn load(weights: &Weights, config: Config, options: Options) -> Result<Self, String> {
        let names = weights.names;
        let embeddings = weights.linear(&[(names.embeddings, config.vocabulary)], config.width, false)?;
        let output = match config.tied || options.purpose == Purpose::Embed {
            true => None,
            false => Some(weights.linear(&[(names.output, config.vocabulary)], config.width, false)?),
        };
        let mut layers = Vec::new();
        for index in 0..config.layers.len() {
            layers.push(Layer::load(weights, index, &config)?);
        }
        let norm = weights.norm(names.norm, config.width, &config)?;
        weights.check_rest()?;
        Ok(Self {
            ropes: config.ropes.iter().map(|rope| Rope::new(rope, options.positions)).collect(),
            attention: Attention::new(config.heads, config.attention_scale),
            embeddings,
            layers,
            norm,
            output,
            buffers: Buffers::default(),
            options,
            config,
        })
    }

    /// What the files say of the network.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Gives the memory of intermediate results back; the next computation takes what it needs.
    pub fn shrink(&mut self) {
        self.buffers = Buffers::default();
    }

    /// Computes spans and leaves the normed last states of the tokens that they ask for in `buffers.chosen`.
    fn run(&mut self, team: &Team, spans: &[Span], cache: &mut KvCache) -> Result<(), ModelError> {
        let config = &self.config;
        let b = &mut self.buffers;
        let tokens: usize = spans.iter().map(|span| span.tokens.len()).sum();
        b.resize(config, tokens);
        let all = spans.iter().flat_map(|span| span.tokens);
        for (row, token) in b.stream.chunks_exact_mut(config.width).zip(all) {
            self.embeddings.row(*token as usize, row)?;
            if config.embedding_scale != 1.0 {
                row.iter_mut().for_each(|value| *value *= config.embedding_scale);
            }
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
                for (rope, angles) in self.ropes.iter().zip(&mut b.angles) {
                    rope.angles(position, angles);
                }
                b.places.push((span.pages[position / PAGE], position % PAGE));
            }
        }
        let step = Step { team, config, attention: &self.attention, spans };
        for (index, layer) in self.layers.iter().enumerate() {
            let index = if self.options.purpose == Purpose::Embed { 0 } else { index };
            layer.attend(&step, cache.layer(index), b)?;
            layer.feed_forward(&step, b)?;
        }
        b.choose(config, spans);
        if b.chosen.iter().any(|value| !value.is_finite()) {
            return Err(ModelError::Compute("the network yields no finite numbers: its weights are damaged".into()));
        }
        let normed = &mut b.normed[..b.chosen.len()];
        math::rms_norm(team, &b.chosen, &self.norm, config.epsilon, normed);
        Ok(())
    }

    /// Computes whole sequences; `states` becomes a row of [`Config::width`] numbers for each token that a span asks for.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn states(
        &mut self,
        team: &Team,
        spans: &[Span],
        cache: &mut KvCache,
        states: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        self.run(team, spans, cache)?;
        states.clear();
        states.extend_from_slice(&self.buffers.normed[..self.buffers.chosen.len()]);
        Ok(())
    }
}

impl Layer {
    fn load(weights: &Weights, index: usize, config: &Config) -> Result<Self, String> {
        let names = weights.names;
        let part = |name: &str| weights.part(index, name);
        let linear = |parts: &[(&str, usize)], columns, biased| {
            let full: Vec<String> = parts.iter().map(|(name, _)| part(name)).collect();
            let parts: Vec<(&str, usize)> =
                full.iter().zip(parts).map(|(name, (_, rows))| (name.as_str(), *rows)).collect();
            weights.linear(&parts, columns, biased)
        };
        let norm = |name: &str, length| weights.norm(&part(name), length, config);
        let (queries, keys) = (config.queries(), config.keys());
        let (width, between) = (config.width, config.feed_forward);

        let queries_keys_values = if weights.has(&part(names.queries_keys_values)) {
            linear(&[(names.queries_keys_values, queries + 2 * keys)], width, config.biased)?
        } else {
            linear(&[(names.queries, queries), (names.keys, keys), (names.values, keys)], width, config.biased)?
        };
        let gate_up = if weights.has(&part(names.gate)) || !weights.has(&part(names.gate_up)) {
            linear(&[(names.gate, between), (names.up, between)], width, false)?
        } else {
            linear(&[(names.gate_up, 2 * between)], width, false)?
        };
        let head_norms = match config.head_norms {
            true => Some((norm(names.query_norm, config.head_length)?, norm(names.key_norm, config.head_length)?)),
            false => None,
        };
        let post_norm = |name| if config.sandwich_norms { norm(name, width).map(Some) } else { Ok(None) };
        Ok(Self {
            config: config.layers[index],
            attention_norm: norm(names.attention_norm, width)?,
            queries_keys_values,
            head_norms,
            attention_output: linear(&[(names.attention_output, width)], queries, false)?,
            attention_post_norm: post_norm(names.attention_post_norm)?,
            feed_norm: norm(names.feed_norm, width)?,
            gate_up,
            down: linear(&[(names.down, width)], between, false)?,
            feed_post_norm: post_norm(names.feed_post_norm)?,
        })
    }

    /// Attention: reads `stream`, adds to it.
    fn attend(&self, step: &Step, cache: &mut LayerCache, b: &mut Buffers) -> Result<(), ModelError> {
        let Step { team, config, attention, spans } = *step;
        let stride = config.queries() + 2 * config.keys();
        math::rms_norm(team, &b.stream, &self.attention_norm, config.epsilon, &mut b.normed);
        self.queries_keys_values.forward(team, &b.normed, &mut b.scratch, &mut b.projected)?;
        self.turn_and_store(step, cache, b);
        attention.forward(team, (&b.projected, stride), spans, cache, self.config.window, &mut b.attended);
        self.attention_output.forward(team, &b.attended, &mut b.scratch, &mut b.added)?;
        b.add(step, self.attention_post_norm.as_deref());
        Ok(())
    }

    /// The feed-forward half: reads `stream`, adds to it.
    fn feed_forward(&self, step: &Step, b: &mut Buffers) -> Result<(), ModelError> {
        let Step { team, config, .. } = *step;
        math::rms_norm(team, &b.stream, &self.feed_norm, config.epsilon, &mut b.normed);
        self.gate_up.forward(team, &b.normed, &mut b.scratch, &mut b.gates_ups)?;
        match config.activation {
            Activation::Silu => math::swiglu(team, &b.gates_ups, config.feed_forward, &mut b.hidden),
            Activation::GeluTanh => math::geglu(team, &b.gates_ups, config.feed_forward, &mut b.hidden),
        }
        self.down.forward(team, &b.hidden, &mut b.scratch, &mut b.added)?;
        b.add(step, self.feed_post_norm.as_deref());
        Ok(())
    }

    /// Norms and turns the queries and keys of all tokens and puts keys and values into the cache.
    #[expect(unsafe_code, reason = "threads store tokens of their own")]
    fn turn_and_store(&self, step: &Step, cache: &mut LayerCache, b: &mut Buffers) {
        const TOKENS_PER_PIECE: usize = 8;
        let Step { team, config, .. } = *step;
        let (queries, keys) = (config.queries(), config.keys());
        let stride = queries + 2 * keys;
        let tokens = b.places.len();
        let (writer, rows) = (cache.writer(), Shared::new(&mut b.projected));
        let turning = self.config.rope.map(|rope| (config.ropes[rope].dimensions, b.angles[rope].as_slice()));
        team.run(tokens.div_ceil(TOKENS_PER_PIECE), |piece| {
            for token in piece * TOKENS_PER_PIECE..tokens.min((piece + 1) * TOKENS_PER_PIECE) {
                // SAFETY: a token belongs to one piece, and a piece is done once.
                let row = unsafe { rows.slice(token * stride, stride) };
                let heads = row[..queries + keys].chunks_exact_mut(config.head_length);
                for (index, head) in heads.enumerate() {
                    if let Some((for_queries, for_keys)) = &self.head_norms {
                        let weights = if index < config.heads { for_queries } else { for_keys };
                        math::rms_norm_row(head, weights, config.epsilon);
                    }
                    if let Some((dimensions, angles)) = turning {
                        let pairs = dimensions / 2;
                        let angles = &angles[token * pairs..(token + 1) * pairs];
                        rope::rotate(config.pairing, &mut head[..dimensions], angles);
                    }
                }
                let (page, slot) = b.places[token];
                // SAFETY: as above, and no two tokens of a batch have the same place.
                unsafe { writer.store(page, slot, &row[queries..queries + keys], &row[queries + keys..]) };
            }
        });
    }
}

impl Network for Decoder {
    fn context_length(&self) -> usize {
        self.config.context
    }

    fn vocabulary(&self) -> usize {
        self.config.vocabulary
    }

    fn kv_shape(&self) -> KvShape {
        self.config.kv_shape(&self.options)
    }

    fn forward(
        &mut self,
        team: &Team,
        spans: &[Span],
        cache: &mut KvCache,
        scores: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        self.run(team, spans, cache)?;
        let b = &mut self.buffers;
        let wanted = b.chosen.len() / self.config.width;
        // Every one of them is written over.
        scores.resize(wanted * self.config.vocabulary, 0.0);
        if wanted == 0 {
            return Ok(());
        }
        let states = &b.normed[..b.chosen.len()];
        self.output.as_ref().unwrap_or(&self.embeddings).forward(team, states, &mut b.scratch, scores)
    }
}

impl Config {
    /// The sizes of keys and values under some options.
    pub fn kv_shape(&self, options: &Options) -> KvShape {
        let layers = if options.purpose == Purpose::Embed { 1 } else { self.layers.len() };
        KvShape { layers, heads: self.kv_heads, length: self.head_length, precision: options.kv }
    }
}

impl Buffers {
    /// Makes room for so many tokens.
    fn resize(&mut self, config: &Config, tokens: usize) {
        self.angles.resize_with(config.ropes.len(), Vec::new);
        self.angles.iter_mut().for_each(Vec::clear);
        self.places.clear();
        for (buffer, width) in [
            (&mut self.stream, config.width),
            (&mut self.normed, config.width),
            (&mut self.projected, config.queries() + 2 * config.keys()),
            (&mut self.attended, config.queries()),
            (&mut self.gates_ups, 2 * config.feed_forward),
            (&mut self.hidden, config.feed_forward),
            (&mut self.added, config.width),
        ] {
            buffer.resize(tokens * width, 0.0);
        }
    }

    /// Adds the result of half a layer to the stream, normed where it must be.
    fn add(&mut self, step: &Step, norm: Option<&[f32]>) {
        let Step { team, config, .. } = *step;
        match norm {
            None => math::add(team, &mut self.stream, config.width, &self.added),
            Some(weights) => {
                math::rms_norm(team, &self.added, weights, config.epsilon, &mut self.normed);
                math::add(team, &mut self.stream, config.width, &self.normed);
            }
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
