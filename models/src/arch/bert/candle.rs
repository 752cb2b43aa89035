//! The layers on other devices than the processor, in candle's operations.

use candle_core::{Device, Error, Tensor};

use super::{Config, Family};
use crate::ModelError;
use crate::arch::encoder::math::Activation;
use crate::arch::encoder::{self, Input};
use crate::engine::safetensors::SafetensorsFile;

/// The network of `config.json`'s sizes.
pub(super) struct Network {
    hidden: usize,
    heads: usize,
    activation: Activation,
    words: Tensor,
    positions: Tensor,
    types: Tensor,
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
    bias: Tensor,
}

struct Norm {
    weight: Tensor,
    shift: Tensor,
    epsilon: f32,
}

type Candle<T> = candle_core::Result<T>;

/// Reads tensors of a file onto a device.
struct Loader<'a> {
    file: &'a SafetensorsFile,
    /// Stands before all names.
    prefix: String,
    device: &'a Device,
}

impl Loader<'_> {
    fn part(&self, name: &str) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), ..*self }
    }

    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Candle<Tensor> {
        self.tensor(name, rows * columns)?.reshape((rows, columns))
    }

    fn tensor(&self, name: &str, length: usize) -> Candle<Tensor> {
        let values = self.file.floats(&format!("{}{name}", self.prefix), length).map_err(Error::msg)?;
        Tensor::from_vec(values, length, self.device)
    }
}

impl Network {
    /// Reads the weights onto a device.
    pub(super) fn open(family: &Family, config: &Config, file: &SafetensorsFile, device: &Device) -> Candle<Self> {
        let whole = file.has_tensor(&format!("{}embeddings.word_embeddings.weight", family.prefix));
        let root = Loader { file, prefix: if whole { family.prefix } else { "" }.to_owned(), device };
        let hidden = config.hidden_size;
        let table = |name: &str, rows| root.part("embeddings").matrix(&format!("{name}.weight"), rows, hidden);
        let (first, all) = ((family.first_position)(config), config.max_position_embeddings);
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for index in 0..config.num_hidden_layers {
            layers.push(Layer::load(config, &root.part(&format!("encoder.layer.{index}")))?);
        }
        Ok(Self {
            hidden,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", all)?.narrow(0, first, all - first)?,
            types: table("token_type_embeddings", config.type_vocab_size)?,
            first_norm: Norm::load(&root.part("embeddings.LayerNorm"), hidden, config.layer_norm_eps)?,
            layers,
        })
    }

    fn states(&self, inputs: &[&Input]) -> Candle<Vec<f32>> {
        let device = self.words.device();
        let lengths: Vec<usize> = inputs.iter().map(|input| input.ids.len()).collect();
        let (mut ids, mut places, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
        for input in inputs {
            ids.extend(&input.ids);
            places.extend(0..input.ids.len() as u32);
            kinds.extend((0..input.ids.len()).map(|place| u32::from(place >= input.second)));
        }
        let rows = |table: &Tensor, rows: Vec<u32>| table.index_select(&Tensor::new(rows, device)?, 0);
        let states = ((rows(&self.words, ids)? + rows(&self.positions, places)?)? + rows(&self.types, kinds)?)?;
        let mut states = self.first_norm.apply(&states)?;
        for layer in &self.layers {
            states = layer.forward(states, &lengths, self)?;
        }
        states.flatten_all()?.to_vec1()
    }
}

impl encoder::Network for Network {
    fn hidden(&self) -> usize {
        self.hidden
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn forward(&self, inputs: &[&Input]) -> Result<Vec<f32>, ModelError> {
        self.states(inputs).map_err(|error| ModelError::Compute(error.to_string()))
    }
}

impl Layer {
    fn load(config: &Config, loader: &Loader) -> Candle<Self> {
        let (hidden, wide, epsilon) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        for part in ["query", "key", "value"] {
            let own = Dense::load(&loader.part(&format!("attention.self.{part}")), hidden, hidden)?;
            weights.push(own.weight);
            biases.push(own.bias);
        }
        Ok(Self {
            qkv: Dense { weight: Tensor::cat(&weights, 0)?, bias: Tensor::cat(&biases, 0)? },
            attended: Dense::load(&loader.part("attention.output.dense"), hidden, hidden)?,
            attention_norm: Norm::load(&loader.part("attention.output.LayerNorm"), hidden, epsilon)?,
            up: Dense::load(&loader.part("intermediate.dense"), hidden, wide)?,
            down: Dense::load(&loader.part("output.dense"), wide, hidden)?,
            output_norm: Norm::load(&loader.part("output.LayerNorm"), hidden, epsilon)?,
        })
    }

    fn forward(&self, states: Tensor, lengths: &[usize], network: &Network) -> Candle<Tensor> {
        let attended = self.attended.forward(&self.attend(&states, lengths, network)?)?;
        let states = self.attention_norm.apply(&(attended + states)?)?;
        let wide = self.up.forward(&states)?;
        let wide = match network.activation {
            Activation::Gelu => wide.gelu_erf()?,
            Activation::Relu => wide.relu()?,
        };
        self.output_norm.apply(&(self.down.forward(&wide)? + states)?)
    }

    fn attend(&self, states: &Tensor, lengths: &[usize], network: &Network) -> Candle<Tensor> {
        let (heads, size) = (network.heads, network.hidden / network.heads);
        let qkv = self.qkv.forward(states)?;
        let mut attended = Vec::with_capacity(lengths.len());
        let mut start = 0;
        for &length in lengths {
            let own = qkv.narrow(0, start, length)?.reshape((length, 3, heads, size))?;
            let part = |which: usize| own.narrow(1, which, 1)?.squeeze(1)?.transpose(0, 1)?.contiguous();
            let scores = (part(0)?.matmul(&part(1)?.t()?)? * (1.0 / (size as f64).sqrt()))?;
            let mixed = candle_nn::ops::softmax_last_dim(&scores)?.matmul(&part(2)?)?;
            attended.push(mixed.transpose(0, 1)?.reshape((length, heads * size))?);
            start += length;
        }
        Tensor::cat(&attended, 0)
    }
}

impl Dense {
    fn load(loader: &Loader, from: usize, to: usize) -> Candle<Self> {
        Ok(Self { weight: loader.matrix("weight", to, from)?, bias: loader.tensor("bias", to)? })
    }

    fn forward(&self, x: &Tensor) -> Candle<Tensor> {
        x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }
}

impl Norm {
    fn load(loader: &Loader, size: usize, epsilon: f32) -> Candle<Self> {
        // Older files still carry TensorFlow's names.
        let old = loader.file.has_tensor(&format!("{}gamma", loader.prefix));
        let (weight, shift) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        Ok(Self { weight: loader.tensor(weight, size)?, shift: loader.tensor(shift, size)?, epsilon })
    }

    fn apply(&self, x: &Tensor) -> Candle<Tensor> {
        candle_nn::ops::layer_norm(x, &self.weight, &self.shift, self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;
    use std::sync::Arc;

    use super::super::{FAMILY, network};
    use super::*;
    use crate::Precision;
    use crate::arch::encoder::Network as _;
    use crate::engine::noise::noise;

    fn config(activation: &str) -> Config {
        serde_json::from_value(serde_json::json!({
            "model_type": "bert", "vocab_size": 50, "hidden_size": 42, "num_hidden_layers": 2,
            "num_attention_heads": 3, "intermediate_size": 37, "hidden_act": activation,
            "max_position_embeddings": 70, "type_vocab_size": 2, "layer_norm_eps": 1e-12
        }))
        .unwrap()
    }

    /// Weights of a network whose sizes are no multiples of anything.
    fn write(path: &Path) {
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
        let mut tensors = HashMap::new();
        for (seed, (name, shape)) in shapes.into_iter().enumerate() {
            let data = noise(shape.iter().product(), seed as u32);
            tensors.insert(name, Tensor::from_vec(data, shape, &Device::Cpu).unwrap());
        }
        candle_core::safetensors::save(&tensors, path).unwrap();
    }

    #[test]
    fn candle_and_the_processors_kernels_give_the_same_states() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        write(&path);
        let mut inputs = Vec::new();
        for length in [1, 70, 3, 16, 33] {
            let ids: Vec<u32> = (0..length).map(|i| i * 7 % 50).collect();
            inputs.push(Input { ids, second: length as usize / 2 });
        }
        let inputs: Vec<&Input> = inputs.iter().collect();
        for activation in ["gelu", "relu"] {
            let config = config(activation);
            let file = Arc::new(SafetensorsFile::open(&path).unwrap());
            let own = network::Network::load(&FAMILY, &config, &file, Precision::F32, 70).unwrap();
            let own = own.forward(&inputs).unwrap();
            let candle = Network::open(&FAMILY, &config, &file, &Device::Cpu).unwrap().forward(&inputs).unwrap();
            assert_eq!(own.len(), 123 * 42);
            let worst = own.iter().zip(&candle).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "{activation}: {worst}");
        }
    }

    #[test]
    fn an_input_alone_gives_the_states_it_gives_in_a_batch() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        write(&path);
        let file = Arc::new(SafetensorsFile::open(&path).unwrap());
        let network = network::Network::load(&FAMILY, &config("gelu"), &file, Precision::F32, 70).unwrap();
        let input = |ids: std::ops::Range<u32>| Input { second: ids.len(), ids: ids.collect() };
        let (one, two) = (input(0..20), input(20..29));
        let batch = network.forward(&[&one, &two]).unwrap();
        assert_eq!(batch[20 * 42..], network.forward(&[&two]).unwrap());
        let strange = Input { ids: vec![50], second: 1 };
        assert!(network.forward(&[&strange]).unwrap_err().to_string().contains("vocabulary"));
    }
}
