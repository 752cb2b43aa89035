//! BERT as an embedder (Devlin et al., arXiv:1810.04805): `config.json`, `tokenizer.json` and safetensors as the Hugging
//! Face hub lays them out, pooled and normalised as sentence-transformers does (Reimers and Gurevych, arXiv:1908.10084).
//!
//! The sequences of a batch are packed one after another, so no arithmetic is spent on padding and a text's vector does
//! not depend on what else is in its batch.
#![expect(unsafe_code, reason = "candle maps safetensors files through an unsafe function")]

use candle_core::{D, DType, Device, Tensor};
use candle_nn::VarBuilder;
use rayon::prelude::*;
use serde::Deserialize;
use tokenizers::Tokenizer;

use super::cpu::{Activation, BiasActivation, PackedAttention, ResidualNorm};
use crate::catalog::{Model, Pooling};
use crate::weights::ModelFiles;
use crate::{Embedder, ModelError, device};

/// Tokens of one batch at most, unless one text alone has more. More costs memory and gains nothing on a processor.
const BATCH_TOKENS: usize = 2048;

/// What `config.json` says about the network.
#[derive(Debug, Deserialize)]
struct Config {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f64,
    position_embedding_type: Option<String>,
}

/// Opens a BERT embedder.
///
/// # Errors
/// [`ModelError::Invalid`] naming the file and what is wrong with it.
pub fn open(files: &ModelFiles) -> Result<Box<dyn Embedder>, ModelError> {
    let entry = &files.entry;
    let config_path = files.path("config.json");
    let text = std::fs::read(&config_path)
        .map_err(|source| ModelError::Io { path: config_path.display().to_string(), source })?;
    let config: Config = serde_json::from_slice(&text).map_err(|error| invalid(files, "config.json", error))?;
    let activation = config.check(entry).map_err(|reason| invalid(files, "config.json", reason))?;

    let mut tokens = Tokens::open(files, &config)?;
    tokens
        .reserve(&[&entry.query_prefix, &entry.passage_prefix])
        .map_err(|reason| invalid(files, "tokenizer.json", reason))?;
    let device = device::device()?;
    let weights = files.with_extension("safetensors")?;
    let name = weights.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // SAFETY: the file was verified, lies in the models directory and is replaced by renaming, never rewritten in place.
    let builder = unsafe { VarBuilder::from_mmaped_safetensors(&[weights], DType::F32, &device) };
    let builder = builder.map_err(|error| invalid(files, &name, error))?;
    let network = Network::load(&config, activation, builder).map_err(|error| invalid(files, &name, error))?;

    let pooling = entry.pooling.unwrap_or(Pooling::Mean);
    let mut identity = format!("{}@{} {pooling} {}", files.name, files.fingerprint, tokens.window + tokens.added());
    if !entry.query_prefix.is_empty() || !entry.passage_prefix.is_empty() {
        identity.push_str(&format!(" {:?} {:?}", entry.query_prefix, entry.passage_prefix));
    }
    Ok(Box::new(Bert {
        identity,
        network,
        tokens,
        pooling,
        query_prefix: entry.query_prefix.clone(),
        passage_prefix: entry.passage_prefix.clone(),
    }))
}

impl Config {
    fn check(&self, entry: &Model) -> Result<Activation, String> {
        if self.model_type != "bert" {
            return Err(format!("model_type `{}` is not bert", self.model_type));
        }
        if self.position_embedding_type.as_ref().is_some_and(|kind| kind != "absolute") {
            return Err("only absolute position embeddings are supported".to_owned());
        }
        if Some(self.hidden_size) != entry.dimensions {
            let listed = entry.dimensions.unwrap_or_default();
            return Err(format!("vectors have {} dimensions and the catalogue says {listed}", self.hidden_size));
        }
        if self.num_attention_heads == 0 || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
            return Err(format!("hidden_size {hidden} cannot be shared out over {heads} heads"));
        }
        if entry.max_tokens > self.max_position_embeddings {
            let (listed, positions) = (entry.max_tokens, self.max_position_embeddings);
            return Err(format!("the catalogue says {listed} tokens and the network has {positions} positions"));
        }
        match self.hidden_act.as_str() {
            "gelu" => Ok(Activation::Gelu),
            "relu" => Ok(Activation::Relu),
            other => Err(format!("activation `{other}` is not known; known: gelu, relu")),
        }
    }
}

struct Bert {
    identity: String,
    network: Network,
    tokens: Tokens,
    pooling: Pooling,
    query_prefix: String,
    passage_prefix: String,
}

impl Embedder for Bert {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn dimensions(&self) -> usize {
        self.network.hidden
    }

    fn max_tokens(&self) -> usize {
        self.tokens.window - self.tokens.reserved
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.tokens.count(text)
    }

    fn embed_passages(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.embed(&self.passage_prefix, texts)
    }

    fn embed_query(&self, text: &str) -> Result<Vec<f32>, ModelError> {
        let mut vectors = self.embed(&self.query_prefix, &[text])?;
        vectors.pop().ok_or_else(|| ModelError::Compute("no vector came back".to_owned()))
    }
}

impl Bert {
    fn embed(&self, prefix: &str, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        let inputs: Vec<Vec<u32>> =
            texts.par_iter().map(|text| self.tokens.input(prefix, text)).collect::<Result<_, _>>()?;
        // Long ones first: texts of about the same length share a batch, and their work is evenly spread over threads.
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(inputs[index].len()));

        let mut vectors = vec![Vec::new(); inputs.len()];
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let mut tokens = 0;
            let fitting = rest.iter().take_while(|&&index| {
                tokens += inputs[index].len();
                tokens <= BATCH_TOKENS
            });
            let (batch, after) = rest.split_at(fitting.count().max(1));
            let packed: Vec<&[u32]> = batch.iter().map(|&index| inputs[index].as_slice()).collect();
            let states = self.network.forward(&packed).map_err(|error| ModelError::Compute(error.to_string()))?;
            let mut states = states.as_slice();
            for (&index, input) in batch.iter().zip(packed) {
                let (own, others) = states.split_at(input.len() * self.network.hidden);
                vectors[index] = self.pool(own);
                states = others;
            }
            rest = after;
        }
        Ok(vectors)
    }

    /// One unit vector from the last states of a text's tokens.
    fn pool(&self, states: &[f32]) -> Vec<f32> {
        let hidden = self.network.hidden;
        let mut vector = vec![0.0_f32; hidden];
        let rows = match self.pooling {
            Pooling::Mean => states.len() / hidden,
            Pooling::Cls => 1,
        };
        for row in states.chunks_exact(hidden).take(rows) {
            for (sum, x) in vector.iter_mut().zip(row) {
                *sum += x;
            }
        }
        // The mean's divisor falls out of the normalisation.
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        for x in &mut vector {
            *x /= length;
        }
        vector
    }
}

/// The tokenizer, what it puts around a text, and how much of a text fits between.
struct Tokens {
    tokenizer: Tokenizer,
    before: Vec<u32>,
    after: Vec<u32>,
    /// Tokens between them.
    window: usize,
    /// Those of them that a prefix of the product may take.
    reserved: usize,
}

impl Tokens {
    fn open(files: &ModelFiles, config: &Config) -> Result<Self, ModelError> {
        let invalid = |reason: &dyn std::fmt::Display| invalid(files, "tokenizer.json", reason);
        let path = files.path("tokenizer.json");
        let mut tokenizer = Tokenizer::from_file(&path).map_err(|error| invalid(&error))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| invalid(&error))?;
        let size = tokenizer.get_vocab_size(true);
        if size > config.vocab_size {
            return Err(invalid(&format!("{size} tokens and the network knows {}", config.vocab_size)));
        }
        // The special tokens around a text are whatever its template adds to a probe.
        let probe = |special| tokenizer.encode_fast("a", special).map(|encoding| encoding.get_ids().to_vec());
        let bare = probe(false).map_err(|error| invalid(&error))?;
        let whole = probe(true).map_err(|error| invalid(&error))?;
        let at = whole.windows(bare.len().max(1)).position(|window| window == bare);
        let at = at.ok_or_else(|| invalid(&"its template changes the text"))?;
        let (before, after) = (whole[..at].to_vec(), whole[at + bare.len()..].to_vec());
        let window = files.entry.max_tokens.saturating_sub(before.len() + after.len());
        if window == 0 {
            return Err(invalid(&"its special tokens leave no room for text"));
        }
        Ok(Self { tokenizer, before, after, window, reserved: 0 })
    }

    /// Keeps room for the longest of the prefixes that stand before a text.
    fn reserve(&mut self, prefixes: &[&str]) -> Result<(), String> {
        self.reserved = prefixes.iter().map(|prefix| self.count(prefix)).max().unwrap_or(0);
        if self.reserved >= self.window {
            let (reserved, window) = (self.reserved, self.window);
            return Err(format!("a prefix of {reserved} tokens leaves no room for text in a window of {window}"));
        }
        Ok(())
    }

    /// Length in tokens. A text that the tokenizer fails on counts as its bytes, more than which it never makes of one,
    /// so that none is taken for short.
    fn count(&self, text: &str) -> usize {
        self.encode("", text).map_or(text.len(), |ids| ids.len())
    }

    fn added(&self) -> usize {
        self.before.len() + self.after.len()
    }

    fn encode(&self, prefix: &str, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoding = if prefix.is_empty() {
            self.tokenizer.encode_fast(text, false)
        } else {
            self.tokenizer.encode_fast(format!("{prefix}{text}"), false)
        };
        let encoding = encoding.map_err(|_| ModelError::Compute("the tokenizer failed on a text".to_owned()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// What the network reads: special tokens around as much of the text as fits.
    fn input(&self, prefix: &str, text: &str) -> Result<Vec<u32>, ModelError> {
        let ids = self.encode(prefix, text)?;
        let mut input = self.before.clone();
        input.extend(ids.iter().take(self.window));
        input.extend(&self.after);
        Ok(input)
    }
}

struct Network {
    hidden: usize,
    heads: usize,
    activation: Activation,
    /// Whether the operations of [`super::cpu`] are used; elsewhere candle's own do the same.
    fused: bool,
    words: Tensor,
    positions: Tensor,
    first_norm: Norm,
    layers: Vec<Layer>,
}

struct Layer {
    qkv: Dense,
    attended: Dense,
    attention_norm: Norm,
    up: Dense,
    down: Dense,
    output_norm: Norm,
}

/// A matrix `[out, in]` and its bias.
struct Dense {
    weight: Tensor,
    bias: Vector,
}

struct Norm {
    weight: Vector,
    shift: Vector,
    epsilon: f64,
}

/// A small tensor, and its numbers for the operations on the processor.
struct Vector {
    tensor: Tensor,
    numbers: Vec<f32>,
}

type Candle<T> = candle_core::Result<T>;

impl Network {
    fn load(config: &Config, activation: Activation, builder: VarBuilder) -> Candle<Self> {
        let in_bert = builder.contains_tensor("bert.embeddings.word_embeddings.weight");
        let root = if in_bert { builder.pp("bert") } else { builder };
        let (hidden, epsilon) = (config.hidden_size, config.layer_norm_eps);
        let table = |name: &str, rows| root.pp("embeddings").pp(name).get((rows, hidden), "weight");
        let words = table("word_embeddings", config.vocab_size)?;
        let positions = table("position_embeddings", config.max_position_embeddings)?;
        let types = table("token_type_embeddings", config.type_vocab_size)?;
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for index in 0..config.num_hidden_layers {
            layers.push(Layer::load(config, &root.pp(format!("encoder.layer.{index}")))?);
        }
        Ok(Self {
            hidden,
            heads: config.num_attention_heads,
            activation,
            fused: matches!(root.device(), Device::Cpu),
            words,
            // A single text is all of type 0, so that row can be added once and for all.
            positions: positions.broadcast_add(&types.narrow(0, 0, 1)?)?,
            first_norm: Norm::load(&root.pp("embeddings.LayerNorm"), hidden, epsilon)?,
            layers,
        })
    }

    /// The last states of all tokens, `hidden` numbers each, in the order of the inputs.
    fn forward(&self, inputs: &[&[u32]]) -> Candle<Vec<f32>> {
        let device = self.words.device();
        let lengths: Vec<usize> = inputs.iter().map(|input| input.len()).collect();
        let ids = inputs.concat();
        let mut places = Vec::with_capacity(ids.len());
        for &length in &lengths {
            places.extend(0..length as u32);
        }
        let ids = Tensor::from_vec(ids, lengths.iter().sum::<usize>(), device)?;
        let places = Tensor::from_vec(places, ids.elem_count(), device)?;
        let states = self.words.index_select(&ids, 0)?;
        let mut states =
            self.first_norm.residual(states, &self.positions.index_select(&places, 0)?, None, self.fused)?;
        for layer in &self.layers {
            states = layer.forward(states, &lengths, self)?;
        }
        states.flatten_all()?.to_vec1()
    }
}

impl Layer {
    fn load(config: &Config, builder: &VarBuilder) -> Candle<Self> {
        let (hidden, wide, epsilon) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let own = builder.pp("attention.self");
        let parts = [own.pp("query"), own.pp("key"), own.pp("value")];
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        for part in &parts {
            weights.push(part.get((hidden, hidden), "weight")?);
            biases.push(part.get(hidden, "bias")?);
        }
        let bias = Vector::new(Tensor::cat(&biases, 0)?)?;
        Ok(Self {
            qkv: Dense { weight: Tensor::cat(&weights, 0)?, bias },
            attended: Dense::load(&builder.pp("attention.output.dense"), hidden, hidden)?,
            attention_norm: Norm::load(&builder.pp("attention.output.LayerNorm"), hidden, epsilon)?,
            up: Dense::load(&builder.pp("intermediate.dense"), hidden, wide)?,
            down: Dense::load(&builder.pp("output.dense"), wide, hidden)?,
            output_norm: Norm::load(&builder.pp("output.LayerNorm"), hidden, epsilon)?,
        })
    }

    fn forward(&self, states: Tensor, lengths: &[usize], network: &Network) -> Candle<Tensor> {
        let attention = attend(&self.qkv, &states, lengths, network)?;
        let attended = self.attended.product(&attention)?;
        let states = self.attention_norm.residual(attended, &states, Some(&self.attended.bias), network.fused)?;
        let wide = activate(self.up.product(&states)?, &self.up.bias, network)?;
        let narrow = self.down.product(&wide)?;
        self.output_norm.residual(narrow, &states, Some(&self.down.bias), network.fused)
    }
}

impl Dense {
    fn load(builder: &VarBuilder, from: usize, to: usize) -> Candle<Self> {
        Ok(Self { weight: builder.get((to, from), "weight")?, bias: Vector::new(builder.get(to, "bias")?)? })
    }

    /// The product without the bias, which the operation after it adds.
    fn product(&self, x: &Tensor) -> Candle<Tensor> {
        x.matmul(&self.weight.t()?)
    }
}

impl Norm {
    fn load(builder: &VarBuilder, size: usize, epsilon: f64) -> Candle<Self> {
        // Older files still carry TensorFlow's names.
        let (weight, shift) = if builder.contains_tensor("weight") { ("weight", "bias") } else { ("gamma", "beta") };
        let weight = Vector::new(builder.get(size, weight)?)?;
        Ok(Self { weight, shift: Vector::new(builder.get(size, shift)?)?, epsilon })
    }

    /// Normalises `x + residual + bias`; `x` must be nobody else's.
    fn residual(&self, x: Tensor, residual: &Tensor, bias: Option<&Vector>, fused: bool) -> Candle<Tensor> {
        if fused {
            let none = vec![0.0; if bias.is_some() { 0 } else { self.weight.numbers.len() }];
            let operation = ResidualNorm {
                bias: bias.map_or(none.as_slice(), |bias| &bias.numbers),
                weight: &self.weight.numbers,
                shift: &self.shift.numbers,
                epsilon: self.epsilon as f32,
            };
            x.inplace_op2(residual, &operation)?;
            return Ok(x);
        }
        let mut x = (x + residual)?;
        if let Some(bias) = bias {
            x = x.broadcast_add(&bias.tensor)?;
        }
        candle_nn::ops::layer_norm(&x, &self.weight.tensor, &self.shift.tensor, self.epsilon as f32)
    }
}

impl Vector {
    fn new(tensor: Tensor) -> Candle<Self> {
        Ok(Self { numbers: tensor.to_vec1()?, tensor })
    }
}

/// Adds the bias and applies the activation; `x` must be nobody else's.
fn activate(x: Tensor, bias: &Vector, network: &Network) -> Candle<Tensor> {
    let activation = network.activation;
    if network.fused {
        x.inplace_op1(&BiasActivation { bias: &bias.numbers, activation })?;
        return Ok(x);
    }
    let x = x.broadcast_add(&bias.tensor)?;
    match activation {
        Activation::Gelu => x.gelu_erf(),
        Activation::Relu => x.relu(),
    }
}

/// Self-attention within each sequence.
fn attend(qkv: &Dense, states: &Tensor, lengths: &[usize], network: &Network) -> Candle<Tensor> {
    let all = qkv.product(states)?;
    let heads = network.heads;
    if network.fused {
        return all.apply_op1_no_bwd(&PackedAttention { bias: &qkv.bias.numbers, lengths, heads });
    }
    let all = all.broadcast_add(&qkv.bias.tensor)?;
    let size = states.dim(1)? / heads;
    let mut attended = Vec::with_capacity(lengths.len());
    let mut start = 0;
    for &length in lengths {
        let own = all.narrow(0, start, length)?.reshape((length, 3, heads, size))?;
        let part = |which| own.narrow(1, which, 1)?.squeeze(1)?.transpose(0, 1)?.contiguous();
        let (queries, keys, values) = (part(0)?, part(1)?, part(2)?);
        let scores = (queries.matmul(&keys.t()?)? * (1.0 / (size as f64).sqrt()))?;
        let shares = candle_nn::ops::softmax(&scores, D::Minus1)?;
        attended.push(shares.matmul(&values)?.transpose(0, 1)?.reshape((length, heads * size))?);
        start += length;
    }
    Tensor::cat(&attended, 0)
}

fn invalid(files: &ModelFiles, file: &str, reason: impl std::fmt::Display) -> ModelError {
    ModelError::Invalid { file: files.path(file).display().to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Numbers that look random and are always the same.
    fn numbers(seed: &mut u32, count: usize) -> Vec<f32> {
        let mut next = || {
            *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (*seed >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..count).map(|_| next()).collect()
    }

    /// A network whose sizes are no multiples of anything.
    fn network(activation: Activation) -> Network {
        let config: Config = serde_json::from_value(serde_json::json!({
            "model_type": "bert", "vocab_size": 50, "hidden_size": 42, "num_hidden_layers": 2,
            "num_attention_heads": 3, "intermediate_size": 37, "hidden_act": "gelu",
            "max_position_embeddings": 70, "type_vocab_size": 2, "layer_norm_eps": 1e-12
        }))
        .unwrap();
        let mut shapes = vec![
            ("embeddings.word_embeddings.weight".to_owned(), vec![50, 42]),
            ("embeddings.position_embeddings.weight".to_owned(), vec![70, 42]),
            ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, 42]),
            ("embeddings.LayerNorm.weight".to_owned(), vec![42]),
            ("embeddings.LayerNorm.bias".to_owned(), vec![42]),
        ];
        for layer in 0..2 {
            let mut dense = |name: &str, to, from| {
                shapes.push((format!("encoder.layer.{layer}.{name}.weight"), vec![to, from]));
                shapes.push((format!("encoder.layer.{layer}.{name}.bias"), vec![to]));
            };
            for name in ["self.query", "self.key", "self.value", "output.dense"] {
                dense(&format!("attention.{name}"), 42, 42);
            }
            dense("intermediate.dense", 37, 42);
            dense("output.dense", 42, 37);
            for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
                shapes.push((format!("encoder.layer.{layer}.{name}.gamma"), vec![42]));
                shapes.push((format!("encoder.layer.{layer}.{name}.beta"), vec![42]));
            }
        }
        let (mut seed, mut tensors) = (7, HashMap::new());
        for (name, shape) in shapes {
            let data = numbers(&mut seed, shape.iter().product());
            tensors.insert(name, Tensor::from_vec(data, shape, &Device::Cpu).unwrap());
        }
        Network::load(&config, activation, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)).unwrap()
    }

    #[test]
    fn the_processors_operations_are_those_of_candle() {
        let inputs: Vec<Vec<u32>> =
            [1, 70, 3, 16, 33].iter().map(|&length| (0..length).map(|i| i * 7 % 50).collect()).collect();
        let inputs: Vec<&[u32]> = inputs.iter().map(Vec::as_slice).collect();
        for activation in [Activation::Gelu, Activation::Relu] {
            let mut network = network(activation);
            assert!(network.fused);
            let fused = network.forward(&inputs).unwrap();
            network.fused = false;
            let plain = network.forward(&inputs).unwrap();
            assert_eq!(fused.len(), 123 * 42);
            let worst = fused.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "{activation:?}: {worst}");
        }
    }

    #[test]
    fn a_text_alone_gives_the_states_it_gives_in_a_batch() {
        let network = network(Activation::Gelu);
        let (one, two): (Vec<u32>, Vec<u32>) = ((0..20).collect(), (20..29).collect());
        let batch = network.forward(&[&one, &two]).unwrap();
        let alone = network.forward(&[&two]).unwrap();
        let worst = batch[20 * 42..].iter().zip(&alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-6, "{worst}");
    }

    /// Words `w0` to `w40`, a word of a prefix, and a vocabulary without a token for anything else.
    fn tokens(max_tokens: usize) -> Tokens {
        let mut vocabulary: HashMap<String, u32> = (0..=40).map(|i| (format!("w{i}"), i)).collect();
        vocabulary.insert("passage".to_owned(), 41);
        vocabulary.insert(":".to_owned(), 42);
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null, "decoder": null,
            "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" }
        });
        let tokenizer = Tokenizer::from_bytes(json.to_string()).unwrap();
        Tokens { tokenizer, before: vec![48], after: vec![49], window: max_tokens - 2, reserved: 0 }
    }

    #[test]
    fn a_text_of_the_most_tokens_is_seen_to_its_end_behind_a_prefix() {
        let mut tokens = tokens(30);
        tokens.reserve(&["", "passage: "]).unwrap();
        let bert = Bert {
            identity: String::new(),
            network: network(Activation::Gelu),
            tokens,
            pooling: Pooling::Mean,
            query_prefix: String::new(),
            passage_prefix: "passage: ".to_owned(),
        };
        assert_eq!(bert.max_tokens(), 26);
        let text = |last: &str| "w1 ".repeat(bert.max_tokens() - 1) + last;
        let (one, other, longer) = (text("w2"), text("w3"), text("w2 w4"));
        assert_eq!(bert.count_tokens(&one), bert.max_tokens());
        let vectors = bert.embed_passages(&[&one, &other, &longer]).unwrap();
        let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(apart(&vectors[0], &vectors[1]) > 1e-4, "the last token was cut off");
        assert!(apart(&vectors[0], &vectors[2]) < 1e-6);
    }

    #[test]
    fn a_prefix_that_fills_the_window_is_refused() {
        let error = tokens(4).reserve(&["passage: "]).unwrap_err();
        assert!(error.contains("2 tokens"), "{error}");
    }

    #[test]
    fn a_text_that_cannot_be_tokenized_is_not_taken_for_short() {
        let tokens = tokens(30);
        assert!(tokens.input("", "w1 unknown").is_err());
        assert_eq!(tokens.count("w1 unknown"), 10);
        assert_eq!(tokens.count("w1 w2"), 2);
    }
}
