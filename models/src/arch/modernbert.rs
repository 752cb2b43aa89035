//! ModernBERT (Warner et al., arXiv:2412.13663) as embedder and reranker: rotary positions, layers that see everything
//! between layers that see their neighbourhood, GeGLU (Shazeer, arXiv:2002.05202), norms before the matrices.
//!
//! Always on the processor.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::encoder::attention::{Attention, Rotary};
use super::encoder::math::{self, Activation, Norm};
use super::encoder::reranker::{Head, HeadActivation};
use super::encoder::tokens::Tokens;
use super::encoder::weights::{Dense, Loader};
use super::encoder::{self, BATCH_TOKENS, Input, invalid, weights};
use super::sizes;
use crate::catalog::Pooling;
use crate::engine::qmatmul::Scratch;
use crate::engine::safetensors::{SafetensorsFile, Table};
use crate::engine::shared::for_rows;
use crate::engine::team::Team;
use crate::weights::ModelFiles;
use crate::{Embedder, ModelError, Precision, Reranker};

/// What `config.json` says about the network.
#[derive(Clone, Debug, Deserialize)]
struct Config {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_activation: Activation,
    max_position_embeddings: usize,
    #[serde(default = "norm_eps")]
    norm_eps: f32,
    /// Tokens that a local layer sees, both sides together.
    local_attention: usize,
    /// Every so many layers see everything, from the first on.
    #[serde(default)]
    global_attn_every_n_layers: Option<usize>,
    /// The same, layer by layer, in files of newer programs.
    #[serde(default)]
    layer_types: Option<Vec<LayerType>>,
    #[serde(default)]
    global_rope_theta: Option<f64>,
    #[serde(default)]
    local_rope_theta: Option<f64>,
    #[serde(default)]
    rope_parameters: Option<RopeParameters>,
    #[serde(default = "cls")]
    classifier_pooling: Pooling,
    #[serde(default)]
    classifier_activation: Option<Activation>,
}

/// What a layer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LayerType {
    FullAttention,
    SlidingAttention,
}

#[derive(Clone, Debug, Deserialize)]
struct RopeParameters {
    full_attention: Rope,
    sliding_attention: Rope,
}

#[derive(Clone, Debug, Deserialize)]
struct Rope {
    rope_theta: f64,
    #[serde(default)]
    rope_type: Option<String>,
}

fn norm_eps() -> f32 {
    1e-5
}

fn cls() -> Pooling {
    Pooling::Cls
}

/// Opens a ModernBERT embedder.
///
/// # Errors
/// [`ModelError::Invalid`] naming the file and what is wrong with it.
pub fn open_embedder(files: &ModelFiles, precision: Precision) -> Result<Box<dyn Embedder>, ModelError> {
    let (_, _, tokens, network) = open(files, precision)?;
    encoder::embedder::open(files, Box::new(network), tokens, precision)
}

/// Opens a ModernBERT reranker.
///
/// # Errors
/// [`ModelError::Invalid`] naming the file and what is wrong with it.
pub fn open_reranker(files: &ModelFiles, precision: Precision) -> Result<Box<dyn Reranker>, ModelError> {
    let (config, file, tokens, network) = open(files, precision)?;
    let head = head(&config, &file).map_err(|reason| file.invalid(reason))?;
    encoder::reranker::open(files, Box::new(network), tokens, head, precision)
}

fn open(
    files: &ModelFiles,
    precision: Precision,
) -> Result<(Config, Arc<SafetensorsFile>, Tokens, Network), ModelError> {
    let config: Config = encoder::config(files)?;
    let positions = files.entry.max_tokens;
    let layers = config.layers(positions).map_err(|reason| invalid(files, "config.json", reason))?;
    let tokens = Tokens::open(files, config.vocab_size)?;
    let file = weights::open(files)?;
    let team = Team::of_all_processors("encoder")?;
    let network = Network::load(&config, &layers, &file, precision, team, positions);
    let network = network.map_err(|reason| file.invalid(reason))?;
    // What was packed lies in memory of its own now.
    file.forget();
    Ok((config, file, tokens, network))
}

/// The classifier of a reranker.
fn head(config: &Config, file: &SafetensorsFile) -> Result<Head, String> {
    let hidden = config.hidden_size;
    let labels = file.tensor("classifier.weight")?.rows;
    // The head is small, and its scores are compared: it stays as it is.
    let loader = Loader { file, prefix: "", precision: Precision::F32, epsilon: config.norm_eps, biased: false };
    Ok(Head {
        pooling: config.classifier_pooling,
        dense: loader.dense(&[("head.dense", hidden)], hidden)?,
        activation: HeadActivation::Layer(config.classifier_activation.unwrap_or(Activation::Gelu)),
        norm: Some(loader.norm("head.norm", hidden)?),
        output: loader.dense(&[("classifier", labels)], hidden)?,
    })
}

impl Config {
    /// Checks the sizes for inputs of so many tokens, and says what each layer sees.
    fn layers(&self, max_tokens: usize) -> Result<Vec<LayerType>, String> {
        if self.model_type != "modernbert" {
            return Err(format!("model_type `{}` is not modernbert", self.model_type));
        }
        sizes::check(&[
            ("number of layers", self.num_hidden_layers, sizes::LAYERS),
            ("width", self.hidden_size, sizes::WIDTH),
            ("feed-forward width", self.intermediate_size, sizes::FEED_FORWARD),
            ("number of heads", self.num_attention_heads, sizes::HEADS),
            ("number of positions", self.max_position_embeddings, sizes::POSITIONS),
            ("window", self.local_attention, sizes::POSITIONS),
            ("vocabulary", self.vocab_size, sizes::VOCABULARY),
        ])?;
        let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
        if !hidden.is_multiple_of(2 * heads) {
            return Err(format!("hidden_size {hidden} cannot be shared out in pairs over {heads} heads"));
        }
        if max_tokens > self.max_position_embeddings {
            let positions = self.max_position_embeddings;
            return Err(format!("the catalogue says {max_tokens} tokens and the network has {positions} positions"));
        }
        if let Some(parameters) = &self.rope_parameters {
            for rope in [&parameters.full_attention, &parameters.sliding_attention] {
                if let Some(other) = rope.rope_type.as_ref().filter(|kind| *kind != "default") {
                    return Err(format!("rotary positions of type `{other}` are not supported; known: default"));
                }
            }
        }
        let layers = match &self.layer_types {
            Some(layers) => layers.clone(),
            None => {
                let every = self.global_attn_every_n_layers.unwrap_or(3).max(1);
                let kind = |layer: usize| match layer.is_multiple_of(every) {
                    true => LayerType::FullAttention,
                    false => LayerType::SlidingAttention,
                };
                (0..self.num_hidden_layers).map(kind).collect()
            }
        };
        if layers.len() != self.num_hidden_layers {
            return Err(format!("layer_types names {} layers of {}", layers.len(), self.num_hidden_layers));
        }
        Ok(layers)
    }

    /// Bases of the angles of rotary positions, global and local.
    fn rope_bases(&self) -> (f64, f64) {
        match &self.rope_parameters {
            Some(parameters) => (parameters.full_attention.rope_theta, parameters.sliding_attention.rope_theta),
            None => (self.global_rope_theta.unwrap_or(160_000.0), self.local_rope_theta.unwrap_or(10_000.0)),
        }
    }
}

/// The network of `config.json`'s sizes.
struct Network {
    hidden: usize,
    heads: usize,
    /// Half of the gates and ups of a layer.
    wide: usize,
    activation: Activation,
    exact: bool,
    words: Table,
    first_norm: Norm,
    layers: Vec<Layer>,
    last_norm: Norm,
    global: Rotary,
    local: Rotary,
    /// How far a local layer sees to either side.
    window: usize,
    /// Of the longest input.
    positions: usize,
    team: Team,
    buffers: Mutex<Buffers>,
}

struct Layer {
    kind: LayerType,
    /// The first layer has none: the states that it gets are normalised already.
    attention_norm: Option<Norm>,
    /// Queries, then keys, then values.
    qkv: Dense,
    attended: Dense,
    norm: Norm,
    /// What goes through the activation, then what it is multiplied with.
    gate_up: Dense,
    down: Dense,
}

/// Intermediate results of a batch, row by row.
#[derive(Default)]
struct Buffers {
    scratch: Scratch,
    states: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    gate_up: Vec<f32>,
    gated: Vec<f32>,
    added: Vec<f32>,
}

impl Layer {
    fn read(loader: &Loader, config: &Config, index: usize, kind: LayerType) -> Result<Self, String> {
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let part = |part: &str| format!("layers.{index}.{part}");
        Ok(Self {
            kind,
            attention_norm: if index == 0 { None } else { Some(loader.norm(&part("attn_norm"), hidden)?) },
            qkv: loader.dense(&[(&part("attn.Wqkv"), 3 * hidden)], hidden)?,
            attended: loader.dense(&[(&part("attn.Wo"), hidden)], hidden)?,
            norm: loader.norm(&part("mlp_norm"), hidden)?,
            gate_up: loader.dense(&[(&part("mlp.Wi"), 2 * wide)], hidden)?,
            down: loader.dense(&[(&part("mlp.Wo"), hidden)], wide)?,
        })
    }
}

impl Network {
    /// Reads the weights, for inputs of `positions` tokens at most.
    fn load(
        config: &Config,
        layers: &[LayerType],
        file: &Arc<SafetensorsFile>,
        precision: Precision,
        team: Team,
        positions: usize,
    ) -> Result<Self, String> {
        let prefix = if file.has_tensor("model.embeddings.tok_embeddings.weight") { "model." } else { "" };
        let loader = Loader { file, prefix, precision, epsilon: config.norm_eps, biased: false };
        let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
        let (global, local) = config.rope_bases();
        let words = file.table(&format!("{prefix}embeddings.tok_embeddings.weight"), config.vocab_size, hidden)?;
        let layers = layers.iter().enumerate().map(|(index, kind)| Layer::read(&loader, config, index, *kind));
        Ok(Self {
            hidden,
            heads,
            wide: config.intermediate_size,
            activation: config.hidden_activation,
            exact: precision == Precision::F32,
            words,
            first_norm: loader.norm("embeddings.norm", hidden)?,
            layers: layers.collect::<Result<_, _>>()?,
            last_norm: loader.norm("final_norm", hidden)?,
            global: Rotary::new(hidden / heads, positions, global),
            local: Rotary::new(hidden / heads, positions, local),
            window: config.local_attention / 2,
            positions,
            team,
            buffers: Mutex::default(),
        })
    }

    fn layer(&self, layer: &Layer, lengths: &[usize], buffers: &mut Buffers) -> Result<(), ModelError> {
        let Buffers { scratch, states, normed, qkv, attended, gate_up, gated, added } = buffers;
        let (team, hidden, wide) = (&self.team, self.hidden, self.wide);
        for_rows(team, normed, hidden, |index, row| {
            row.copy_from_slice(&states[index * hidden..(index + 1) * hidden]);
            if let Some(norm) = &layer.attention_norm {
                norm.apply(row);
            }
        });
        layer.qkv.weight.forward(team, normed, scratch, qkv)?;
        let (rotary, window) = match layer.kind {
            LayerType::FullAttention => (&self.global, None),
            LayerType::SlidingAttention => (&self.local, Some(self.window)),
        };
        let attention = Attention { heads: self.heads, bias: &layer.qkv.bias, rotary: Some(rotary), window };
        attention.forward(team, qkv, lengths, attended);
        layer.attended.weight.forward(team, attended, scratch, added)?;
        self.add(states, added, &layer.attended.bias);

        for_rows(team, normed, hidden, |index, row| {
            row.copy_from_slice(&states[index * hidden..(index + 1) * hidden]);
            layer.norm.apply(row);
        });
        layer.gate_up.weight.forward(team, normed, scratch, gate_up)?;
        let (gate_bias, up_bias) = layer.gate_up.bias.split_at(layer.gate_up.bias.len() / 2);
        for_rows(team, gated, wide, |index, row| {
            let (gate, up) = gate_up[index * 2 * wide..(index + 1) * 2 * wide].split_at(wide);
            row.copy_from_slice(gate);
            self.activation.apply(row, gate_bias);
            if up_bias.is_empty() {
                row.iter_mut().zip(up).for_each(|(x, up)| *x *= up);
            } else {
                row.iter_mut().zip(up).zip(up_bias).for_each(|((x, up), bias)| *x *= up + bias);
            }
        });
        layer.down.weight.forward(team, gated, scratch, added)?;
        self.add(states, added, &layer.down.bias);
        Ok(())
    }

    fn add(&self, states: &mut [f32], added: &[f32], bias: &[f32]) {
        for_rows(&self.team, states, self.hidden, |index, row| {
            math::add(row, &added[index * self.hidden..], bias);
        });
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
        let ids: Vec<usize> = inputs.iter().flat_map(|input| &input.ids).map(|id| *id as usize).collect();
        if ids.iter().any(|id| *id >= self.words.rows()) || lengths.iter().any(|length| *length > self.positions) {
            return Err(ModelError::Compute(
                "an input does not fit to the network's vocabulary and positions".to_owned(),
            ));
        }
        buffers.resize(self, ids.len());
        for_rows(&self.team, &mut buffers.states, self.hidden, |index, row| {
            self.words.row(ids[index], row);
            self.first_norm.apply(row);
        });
        for layer in &self.layers {
            self.layer(layer, &lengths, buffers)?;
        }
        for_rows(&self.team, &mut buffers.states, self.hidden, |_, row| self.last_norm.apply(row));
        let states = std::mem::take(&mut buffers.states);
        if ids.len() > BATCH_TOKENS {
            *buffers = Buffers::default();
        }
        Ok(states)
    }
}

impl Buffers {
    fn resize(&mut self, network: &Network, tokens: usize) {
        let (hidden, wide) = (network.hidden, network.wide);
        for (buffer, width) in [
            (&mut self.states, hidden),
            (&mut self.normed, hidden),
            (&mut self.qkv, 3 * hidden),
            (&mut self.attended, hidden),
            (&mut self.gate_up, 2 * wide),
            (&mut self.gated, wide),
            (&mut self.added, hidden),
        ] {
            buffer.resize(tokens * width, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::arch::encoder::Network as _;
    use crate::catalog::ModelRole;

    #[test]
    fn the_memory_of_a_long_input_is_given_back() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/encoders/modernbert");
        let names = ["model.safetensors", "config.json", "tokenizer.json"];
        let mut files = ModelFiles::unlisted(&directory, ModelRole::Embedder, "modernbert", &names);
        files.entry.max_tokens = 20;
        let (.., network) = open(&files, Precision::F32).unwrap();
        let input = Input { ids: vec![1; 20], second: 20 };
        let kept = || network.buffers.lock().unwrap().qkv.capacity();
        network.forward(&[&input; BATCH_TOKENS / 20]).unwrap();
        assert!(kept() > 0);
        network.forward(&[&input; BATCH_TOKENS / 20 + 1]).unwrap();
        assert_eq!(kept(), 0);
    }

    fn config(more: serde_json::Value) -> Config {
        let mut json = serde_json::json!({
            "model_type": "modernbert", "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 4,
            "num_attention_heads": 2, "intermediate_size": 48, "hidden_activation": "gelu",
            "max_position_embeddings": 64, "local_attention": 8
        });
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn older_and_newer_files_say_the_same() {
        use LayerType::{FullAttention, SlidingAttention};
        let older = config(serde_json::json!({ "global_attn_every_n_layers": 2, "local_rope_theta": 500.0 }));
        assert_eq!(older.rope_bases(), (160_000.0, 500.0));
        let layers = [FullAttention, SlidingAttention, FullAttention, SlidingAttention];
        assert_eq!(older.layers(64).unwrap(), layers);
        let newer = config(serde_json::json!({
            "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {
                "full_attention": { "rope_theta": 160_000.0, "rope_type": "default" },
                "sliding_attention": { "rope_theta": 500.0, "rope_type": "default" }
            }
        }));
        assert_eq!(newer.rope_bases(), (160_000.0, 500.0));
        assert_eq!(newer.layers(64).unwrap(), layers);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let cases = [
            (config(serde_json::json!({ "model_type": "bert" })), "`bert`"),
            (config(serde_json::json!({ "num_attention_heads": 3 })), "3 heads"),
            (config(serde_json::json!({ "num_hidden_layers": u64::MAX })), "number of layers"),
            (config(serde_json::json!({ "intermediate_size": u64::MAX })), "feed-forward width"),
            (config(serde_json::json!({ "local_attention": u64::MAX })), "window"),
            (config(serde_json::json!({ "layer_types": ["full_attention"] })), "1 layers of 4"),
            (
                config(serde_json::json!({ "rope_parameters": {
                    "full_attention": { "rope_theta": 1e4, "rope_type": "yarn" },
                    "sliding_attention": { "rope_theta": 1e4 }
                } })),
                "`yarn`",
            ),
        ];
        for (config, expected) in cases {
            let error = config.layers(64).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(config(serde_json::json!({})).layers(65).unwrap_err().contains("65 tokens"));
    }
}
