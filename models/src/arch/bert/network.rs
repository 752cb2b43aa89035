//! The layers on the processor.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Config, Family};
use crate::arch::encoder::attention::Attention;
use crate::arch::encoder::math::{Activation, Norm};
use crate::arch::encoder::weights::{Dense, Loader};
use crate::arch::encoder::{self, BATCH_TOKENS, Input};
use crate::engine::qmatmul::Scratch;
use crate::engine::safetensors::{SafetensorsFile, Table};
use crate::engine::shared::for_rows;
use crate::engine::team::Team;
use crate::{ModelError, Precision};

/// The network of `config.json`'s sizes.
pub(super) struct Network {
    hidden: usize,
    heads: usize,
    activation: Activation,
    exact: bool,
    words: Table,
    /// Rows of as many positions as an input may have.
    positions: Vec<f32>,
    /// Rows of the first and, where there is one, the second text.
    types: Vec<f32>,
    first_norm: Norm,
    layers: Vec<Layer>,
    team: Team,
    buffers: Mutex<Buffers>,
}

struct Layer {
    /// Queries, then keys, then values.
    qkv: Dense,
    attended: Dense,
    attention_norm: Norm,
    up: Dense,
    down: Dense,
    output_norm: Norm,
}

/// Intermediate results of a batch, row by row.
#[derive(Default)]
struct Buffers {
    scratch: Scratch,
    states: Vec<f32>,
    /// What will be the next states.
    next: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    wide: Vec<f32>,
}

impl Network {
    /// Reads the weights, for inputs of `positions` tokens at most.
    pub(super) fn load(
        family: &Family,
        config: &Config,
        file: &Arc<SafetensorsFile>,
        precision: Precision,
        positions: usize,
    ) -> Result<Self, ModelError> {
        let whole = file.has_tensor(&format!("{}embeddings.word_embeddings.weight", family.prefix));
        let prefix = if whole { family.prefix } else { "" };
        let epsilon = config.layer_norm_eps;
        let loader = Loader { file, prefix, precision, epsilon, biased: true };
        let team = Team::of_all_processors("encoder")?;
        Self::read(&loader, family, config, file, team, positions).map_err(|reason| file.invalid(reason))
    }

    fn read(
        loader: &Loader,
        family: &Family,
        config: &Config,
        file: &Arc<SafetensorsFile>,
        team: Team,
        positions: usize,
    ) -> Result<Self, String> {
        let hidden = config.hidden_size;
        let name = |part: &str| format!("{}embeddings.{part}.weight", loader.prefix);
        let first = (family.first_position)(config) * hidden;
        let all = file.floats(&name("position_embeddings"), config.max_position_embeddings * hidden)?;
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for index in 0..config.num_hidden_layers {
            layers.push(Layer::read(loader, config, &format!("encoder.layer.{index}."))?);
        }
        Ok(Self {
            hidden,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            exact: loader.precision == Precision::F32,
            words: file.table(&name("word_embeddings"), config.vocab_size, hidden)?,
            positions: all[first..first + positions * hidden].to_vec(),
            types: file.floats(&name("token_type_embeddings"), config.type_vocab_size * hidden)?,
            first_norm: loader.norm("embeddings.LayerNorm", hidden)?,
            layers,
            team,
            buffers: Mutex::default(),
        })
    }
}

impl Layer {
    fn read(loader: &Loader, config: &Config, name: &str) -> Result<Self, String> {
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let part = |part: &str| format!("{name}{part}");
        let own = ["query", "key", "value"].map(|which| part(&format!("attention.self.{which}")));
        let own = own.each_ref().map(|name| (name.as_str(), hidden));
        Ok(Self {
            qkv: loader.dense(&own, hidden)?,
            attended: loader.dense(&[(&part("attention.output.dense"), hidden)], hidden)?,
            attention_norm: loader.norm(&part("attention.output.LayerNorm"), hidden)?,
            up: loader.dense(&[(&part("intermediate.dense"), wide)], hidden)?,
            down: loader.dense(&[(&part("output.dense"), hidden)], wide)?,
            output_norm: loader.norm(&part("output.LayerNorm"), hidden)?,
        })
    }
}

impl encoder::Network for Network {
    fn hidden(&self) -> usize {
        self.hidden
    }

    fn is_exact(&self) -> bool {
        self.exact
    }

    fn forward(&self, inputs: &[&Input]) -> Result<Vec<f32>, ModelError> {
        // Whoever panicked left numbers that are overwritten now.
        let buffers = &mut *self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let lengths: Vec<usize> = inputs.iter().map(|input| input.ids.len()).collect();
        let tokens: usize = lengths.iter().sum();
        buffers.states.resize(tokens * self.hidden, 0.0);
        buffers.next.resize(tokens * self.hidden, 0.0);
        self.embed(inputs, &mut buffers.states)?;
        for layer in &self.layers {
            self.layer(layer, &lengths, buffers)?;
        }
        let states = std::mem::take(&mut buffers.states);
        if tokens > BATCH_TOKENS {
            *buffers = Buffers::default();
        }
        Ok(states)
    }
}

impl Network {
    /// The first states: word, position and text of each token.
    fn embed(&self, inputs: &[&Input], states: &mut [f32]) -> Result<(), ModelError> {
        let hidden = self.hidden;
        let mut places = Vec::with_capacity(states.len() / hidden);
        for input in inputs {
            let kinds = (0..input.ids.len()).map(|place| (place, usize::from(place >= input.second)));
            places.extend(kinds.zip(&input.ids).map(|((place, kind), id)| (*id as usize, place, kind)));
        }
        let (words, positions, kinds) = (self.words.rows(), self.positions.len() / hidden, self.types.len() / hidden);
        if places.iter().any(|(id, place, kind)| *id >= words || *place >= positions || *kind >= kinds) {
            return Err(ModelError::Compute(
                "an input does not fit to the network's vocabulary and positions".to_owned(),
            ));
        }
        for_rows(&self.team, states, hidden, |index, row| {
            let (id, place, kind) = places[index];
            self.words.row(id, row);
            let more = self.positions[place * hidden..].iter().zip(&self.types[kind * hidden..]);
            row.iter_mut().zip(more).for_each(|(x, (position, kind))| *x += position + kind);
            self.first_norm.apply(row);
        });
        Ok(())
    }

    fn layer(&self, layer: &Layer, lengths: &[usize], buffers: &mut Buffers) -> Result<(), ModelError> {
        let Buffers { scratch, states, next, qkv, attended, wide } = buffers;
        let (team, tokens) = (&self.team, states.len() / self.hidden);
        qkv.resize(tokens * layer.qkv.weight.rows(), 0.0);
        attended.resize(states.len(), 0.0);
        wide.resize(tokens * layer.up.weight.rows(), 0.0);

        layer.qkv.weight.forward(team, states, scratch, qkv)?;
        let attention = Attention { heads: self.heads, bias: &layer.qkv.bias, rotary: None, window: None };
        attention.forward(team, qkv, lengths, attended);
        layer.attended.weight.forward(team, attended, scratch, next)?;
        layer.attention_norm.residual_rows(team, next, states, &layer.attended.bias);
        std::mem::swap(states, next);

        layer.up.weight.forward(team, states, scratch, wide)?;
        self.activation.rows(team, wide, layer.up.weight.rows(), &layer.up.bias);
        layer.down.weight.forward(team, wide, scratch, next)?;
        layer.output_norm.residual_rows(team, next, states, &layer.down.bias);
        std::mem::swap(states, next);
        Ok(())
    }
}
