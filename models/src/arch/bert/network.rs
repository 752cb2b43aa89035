//! The layers, with the fused operations of [`crate::arch::cpu`] on the processor and candle's own elsewhere.

use candle_core::{D, Device, Tensor};
use candle_nn::VarBuilder;

use super::Config;
use crate::arch::cpu::{Activation, BiasActivation, PackedAttention, ResidualNorm};

/// The network of `config.json`'s sizes.
pub(super) struct Network {
    /// Numbers of one state.
    pub(super) hidden: usize,
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
    pub(super) fn load(config: &Config, activation: Activation, builder: VarBuilder) -> Candle<Self> {
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
    pub(super) fn forward(&self, inputs: &[&[u32]]) -> Candle<Vec<f32>> {
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

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use candle_core::DType;

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
    pub fn network(activation: Activation) -> Network {
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
}
