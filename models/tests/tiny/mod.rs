//! A Llama of two layers with random weights, written as GGUF.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use intramuros_models::engine::{DecoderGenerator, EngineOptions};
use intramuros_models::weights::ModelFiles;

const WIDTH: usize = 64;
const FEED_FORWARD: usize = 96;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_LENGTH: usize = WIDTH / HEADS;
const LAYERS: usize = 2;

/// A model file in a directory of its own.
pub struct TinyModel {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl TinyModel {
    /// Single characters, each a token.
    pub const WORDS: [&'static str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    /// Positions.
    pub const CONTEXT: usize = 1024;

    /// In Q4_1 with embeddings in Q8_0, as the starter model.
    pub fn new() -> Self {
        Self::write(GgmlDType::Q4_1, |_| {})
    }

    /// With other metadata.
    pub fn with(change: impl FnOnce(&mut BTreeMap<String, Value>)) -> Self {
        Self::write(GgmlDType::Q4_1, change)
    }

    /// With its matrices in another coding.
    pub fn coded(coding: GgmlDType) -> Self {
        Self::write(coding, |_| {})
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It, as if it had been installed.
    pub fn files(&self) -> ModelFiles {
        ModelFiles::of_gguf(&self.path).unwrap()
    }

    /// A generator over it.
    pub fn load(&self) -> DecoderGenerator {
        DecoderGenerator::load(&self.files(), &EngineOptions::default()).unwrap()
    }

    fn write(coding: GgmlDType, change: impl FnOnce(&mut BTreeMap<String, Value>)) -> Self {
        let mut metadata = metadata();
        let vocabulary = match &metadata["tokenizer.ggml.tokens"] {
            Value::Array(tokens) => tokens.len(),
            _ => unreachable!("tokens are an array"),
        };
        change(&mut metadata);
        let embeddings = if coding == GgmlDType::Q4_1 { GgmlDType::Q8_0 } else { coding };
        let mut noise = Noise(12345);
        let mut tensors = vec![
            ("token_embd.weight".to_owned(), noise.matrix(vocabulary, WIDTH, embeddings)),
            ("output_norm.weight".to_owned(), ones()),
        ];
        for layer in 0..LAYERS {
            for (name, rows, columns) in [
                ("attn_q", WIDTH, WIDTH),
                ("attn_k", KV_HEADS * HEAD_LENGTH, WIDTH),
                ("attn_v", KV_HEADS * HEAD_LENGTH, WIDTH),
                ("attn_output", WIDTH, WIDTH),
                ("ffn_gate", FEED_FORWARD, WIDTH),
                ("ffn_up", FEED_FORWARD, WIDTH),
                ("ffn_down", WIDTH, FEED_FORWARD),
            ] {
                tensors.push((format!("blk.{layer}.{name}.weight"), noise.matrix(rows, columns, coding)));
            }
            tensors.push((format!("blk.{layer}.attn_norm.weight"), ones()));
            tensors.push((format!("blk.{layer}.ffn_norm.weight"), ones()));
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tiny.gguf");
        let mut file = std::fs::File::create(&path).unwrap();
        let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        gguf_file::write(&mut file, &metadata, &tensors).unwrap();
        Self { _directory: directory, path }
    }
}

fn metadata() -> BTreeMap<String, Value> {
    let mut tokens: Vec<String> = vec!["<|endoftext|>".into()];
    // The printable ASCII characters stand for themselves; that is all that the tests write.
    tokens.extend(('!'..='~').map(String::from));
    tokens.extend(["Ġ".to_owned(), "Ċ".to_owned()]);
    let kinds = (0..tokens.len()).map(|id| Value::I32(if id == 0 { 3 } else { 1 })).collect();
    let tokens = tokens.into_iter().map(Value::String).collect();
    let number = |value: usize| Value::U32(value as u32);
    let text = |value: &str| Value::String(value.into());
    BTreeMap::from(
        [
            ("general.architecture", text("llama")),
            ("llama.block_count", number(LAYERS)),
            ("llama.context_length", number(TinyModel::CONTEXT)),
            ("llama.embedding_length", number(WIDTH)),
            ("llama.feed_forward_length", number(FEED_FORWARD)),
            ("llama.attention.head_count", number(HEADS)),
            ("llama.attention.head_count_kv", number(KV_HEADS)),
            ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("llama.rope.freq_base", Value::F32(10_000.0)),
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text("gpt-2")),
            ("tokenizer.ggml.tokens", Value::Array(tokens)),
            ("tokenizer.ggml.token_type", Value::Array(kinds)),
            ("tokenizer.ggml.merges", Value::Array(vec![])),
            ("tokenizer.ggml.bos_token_id", number(0)),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    )
}

fn ones() -> QTensor {
    let ones = Tensor::ones(WIDTH, candle_core::DType::F32, &Device::Cpu).unwrap();
    QTensor::quantize(&ones, GgmlDType::F32).unwrap()
}

/// Numbers that look random and are the same everywhere; those of the crate's own tests are not to be had from outside.
struct Noise(u32);

impl Noise {
    fn matrix(&mut self, rows: usize, columns: usize, coding: GgmlDType) -> QTensor {
        let values: Vec<f32> = (0..rows * columns)
            .map(|_| {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 17;
                self.0 ^= self.0 << 5;
                self.0 as f32 / u32::MAX as f32 - 0.5
            })
            .collect();
        let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
        QTensor::quantize(&tensor, coding).unwrap()
    }
}
