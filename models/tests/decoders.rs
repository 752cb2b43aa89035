//! Every decoder architecture against transformers, on tiny random checkpoints in both layouts: `data/decoders/` has them and
//! the script that made them.

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{self, Value};
use intramuros_models::arch::decoder::{self, Decoder, Options};
use intramuros_models::catalog::{ModelRole, Pooling};
use intramuros_models::engine::attention::{KvCache, PAGE, PageId, Precision as KvPrecision};
use intramuros_models::engine::gguf::GgufFile;
use intramuros_models::engine::hub::HubFolder;
use intramuros_models::engine::safetensors::SafetensorsFile;
use intramuros_models::engine::team::Team;
use intramuros_models::engine::{DecoderGenerator, EngineOptions, Network, Span};
use intramuros_models::memory;
use intramuros_models::weights::ModelFiles;
use intramuros_models::{Embedder, GenerateRequest, ModelError, Precision, open_embedder};
use serde::Deserialize;

const GENERATORS: [&str; 9] =
    ["llama", "mistral", "mistral-nemo", "smollm3", "qwen2", "qwen3", "phi3", "phi4-mini", "gemma3"];
const EMBEDDER: &str = "qwen3-embedding";

/// Greatest error of a score, relative to the greatest score of its position.
const TOLERANCE: f32 = 1e-4;

/// Positions of the training where factors for long sequences begin.
const TRAINED: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Gguf,
    Hub,
}

const LAYOUTS: [Layout; 2] = [Layout::Gguf, Layout::Hub];

#[derive(Deserialize)]
struct Reference {
    prompts: Vec<Tokens>,
    texts: Vec<Tokens>,
}

#[derive(Deserialize)]
struct Tokens {
    text: String,
    tokens: Vec<u32>,
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/decoders").join(name)
}

fn reference(name: &str) -> Reference {
    serde_json::from_slice(&std::fs::read(directory(name).join("reference.json")).unwrap()).unwrap()
}

/// The numbers that transformers computed for a prompt.
fn expected(name: &str, prompt: usize) -> Vec<f32> {
    let file = SafetensorsFile::open(&directory(name).join("reference.safetensors")).unwrap();
    let tensor = file.tensor(&prompt.to_string()).unwrap();
    tensor.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// A checkpoint as if it had been installed. Decoders read in `config.json` which one they are.
fn files(directory: &Path, layout: Layout, role: ModelRole) -> ModelFiles {
    let names: &[&str] = match layout {
        Layout::Gguf => &["model.gguf"],
        Layout::Hub => &["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"],
    };
    ModelFiles::unlisted(directory, role, "qwen3", names)
}

fn load_from(directory: &Path, layout: Layout, positions: usize) -> Result<Decoder, ModelError> {
    let options = Options { kv: KvPrecision::F32, positions, ..Options::default() };
    match layout {
        Layout::Gguf => {
            let file = GgufFile::open(&directory.join("model.gguf"))?;
            decoder::from_gguf(&file, &file.content()?, |_| options)
        }
        Layout::Hub => {
            decoder::from_hub(&HubFolder::open(&files(directory, layout, ModelRole::Generator))?, |_| options)
        }
    }
}

fn load(name: &str, layout: Layout, positions: usize) -> Decoder {
    load_from(&directory(name), layout, positions).unwrap()
}

/// The scores after every token, computed in parts of so many tokens.
fn scores(decoder: &mut Decoder, tokens: &[u32], part: usize) -> Vec<f32> {
    let team = Team::new("test", 2).unwrap();
    let pages: Vec<PageId> = (0..tokens.len().div_ceil(PAGE) as PageId).rev().collect();
    let mut cache = KvCache::new(decoder.kv_shape(), pages.len());
    let (mut all, mut some) = (Vec::new(), Vec::new());
    for (index, tokens) in tokens.chunks(part).enumerate() {
        let span = Span { tokens, position: index * part, pages: &pages, scored: tokens.len() };
        decoder.forward(&team, &[span], &mut cache, &mut some).unwrap();
        all.extend_from_slice(&some);
    }
    all
}

/// The greatest error relative to the greatest number.
fn error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let greatest = expected.iter().fold(0f32, |greatest, x| greatest.max(x.abs()));
    found.iter().zip(expected).fold(0f32, |error, (a, b)| error.max((a - b).abs())) / greatest
}

#[test]
fn scores_are_those_of_transformers() {
    let mut wrong = Vec::new();
    for name in GENERATORS {
        let reference = reference(name);
        assert_eq!(reference.prompts.len(), 3);
        for layout in LAYOUTS {
            let mut worst = 0f32;
            for (index, prompt) in reference.prompts.iter().enumerate() {
                // transformers takes the factors for long sequences where a sequence is long.
                let positions = if prompt.tokens.len() > TRAINED { 96 } else { TRAINED };
                let mut decoder = load(name, layout, positions);
                let expected = expected(name, index);
                let found = scores(&mut decoder, &prompt.tokens, usize::MAX);
                let vocabulary = decoder.vocabulary();
                for (found, expected) in found.chunks(vocabulary).zip(expected.chunks(vocabulary)) {
                    worst = worst.max(error(found, expected));
                }
                assert_eq!(expected.len(), prompt.tokens.len() * vocabulary);
            }
            println!("{name}, {layout:?}: {worst:.1e}");
            if worst.is_nan() || worst > TOLERANCE {
                wrong.push(format!("{name}, {layout:?}: {worst:.1e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn parts_of_any_length_give_the_same_bits() {
    for name in GENERATORS {
        let tokens = &reference(name).prompts[0].tokens;
        assert!(tokens.len() > 30, "{name}: {} tokens", tokens.len());
        let mut decoder = load(name, Layout::Hub, 96);
        let whole = scores(&mut decoder, tokens, usize::MAX);
        for part in [1, 7, 20] {
            assert!(scores(&mut decoder, tokens, part) == whole, "{name} in parts of {part}");
        }
    }
}

fn generator(name: &str, layout: Layout) -> DecoderGenerator {
    let options = EngineOptions { threads: 1, kv_bytes: 1 << 22, sequences: 1 };
    DecoderGenerator::load(&files(&directory(name), layout, ModelRole::Generator), &options).unwrap()
}

#[test]
fn memory_of_a_loaded_generator_is_promised_to_nobody_else() {
    // More than all other tests together.
    let options = EngineOptions { threads: 1, kv_bytes: 1 << 30, sequences: 1 << 20 };
    let generator = DecoderGenerator::load(&files(&directory("llama"), Layout::Hub, ModelRole::Generator), &options);
    assert!(memory::promised() > 1 << 29, "{}", memory::promised());
    drop(generator.unwrap());
    assert!(memory::promised() < 1 << 29, "{}", memory::promised());
}

#[test]
fn tokens_are_those_of_transformers() {
    let mut wrong = Vec::new();
    for name in GENERATORS {
        let reference = reference(name);
        for layout in LAYOUTS {
            let generator = generator(name, layout);
            for Tokens { text, tokens } in reference.prompts.iter().chain(&reference.texts) {
                let found = generator.tokenize(text).unwrap();
                if found != *tokens {
                    wrong.push(format!("{name}, {layout:?}, {text:?}:\n  {found:?}\n  {tokens:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn both_layouts_write_the_same_text() {
    for name in GENERATORS {
        let written = LAYOUTS.map(|layout| {
            let generator = generator(name, layout);
            let (text, summary) = common::write(&generator, GenerateRequest::new("¿Quién firma?", 24)).unwrap();
            assert!(summary.completion_tokens > 0 && !text.is_empty(), "{name}, {layout:?}");
            text
        });
        assert_eq!(written[0], written[1], "{name}");
    }
}

/// A copy of a checkpoint to spoil.
fn copy(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "model.gguf"] {
        std::fs::copy(directory(name).join(file), copy.path().join(file)).unwrap();
    }
    copy
}

fn reason(result: Result<Decoder, ModelError>) -> String {
    match result {
        Err(ModelError::Invalid { reason, .. }) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a spoilt model was accepted"),
    }
}

#[test]
fn what_config_json_gets_wrong_is_named() {
    let change = |name: &str, key: &str, value: serde_json::Value| {
        let copy = copy(name);
        let path = copy.path().join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config[key] = value;
        std::fs::write(&path, config.to_string()).unwrap();
        reason(load_from(copy.path(), Layout::Hub, 96))
    };
    let cases = [
        ("llama", "model_type", "mixtral".into(), "known: llama, mistral"),
        ("llama", "num_hidden_layers", 3.into(), "`model.layers.2.self_attn.q_proj.weight` is missing"),
        ("llama", "num_hidden_layers", 1.into(), "has no place in this architecture"),
        ("llama", "hidden_size", 64.into(), "should be"),
        ("llama", "vocab_size", 7.into(), "should be 7 by 32"),
        ("llama", "rope_scaling", serde_json::json!({"rope_type": "dynamic", "factor": 2.0}), "`dynamic`"),
        ("llama", "num_key_value_heads", 3.into(), "3 key heads"),
        ("llama", "attention_bias", true.into(), "`model.layers.0.self_attn.q_proj.bias` is missing"),
        ("qwen3", "model_type", "llama".into(), "has no place in this architecture"),
        ("qwen3", "head_dim", serde_json::Value::Null, "should be"),
        ("phi3", "rope_scaling", serde_json::json!({"type": "longrope", "long_factor": [1]}), "`short_factor`"),
        ("smollm3", "no_rope_layers", serde_json::json!([1]), "1 of 5 layers"),
        ("gemma3", "layer_types", serde_json::json!(["linear_attention"]), "`layer_types`"),
        ("gemma3", "use_bidirectional_attention", true.into(), "`use_bidirectional_attention`"),
    ];
    for (name, key, value, expected) in cases {
        let found = change(name, key, value);
        assert!(found.contains(expected), "{name}, {key}: {found}");
    }
}

/// A checkpoint's GGUF file with other metadata and only the tensors that are to be kept.
fn rewritten(name: &str, change: impl Fn(&mut BTreeMap<String, Value>), keep: impl Fn(&str) -> bool) -> String {
    let mut file = File::open(directory(name).join("model.gguf")).unwrap();
    let content = gguf_file::Content::read(&mut file).unwrap();
    let mut metadata: BTreeMap<String, Value> = content.metadata.clone().into_iter().collect();
    change(&mut metadata);
    let mut tensors = Vec::new();
    for name in content.tensor_infos.keys().filter(|name| keep(name)) {
        tensors.push((name.as_str(), content.tensor(&mut file, name, &Device::Cpu).unwrap()));
    }
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let directory = tempfile::tempdir().unwrap();
    let mut file = File::create(directory.path().join("model.gguf")).unwrap();
    gguf_file::write(&mut file, &metadata, &tensors).unwrap();
    reason(load_from(directory.path(), Layout::Gguf, 96))
}

#[test]
fn what_gguf_metadata_get_wrong_is_named() {
    let number = |value: u32| Value::U32(value);
    let text = |value: &str| Value::String(value.to_owned());
    let cases = [
        ("llama", "general.architecture", text("mixtral"), "known: llama, smollm3, qwen2"),
        ("llama", "general.architecture", text("qwen3"), "`qwen3.embedding_length`"),
        ("llama", "llama.expert_count", number(8), "mixtures of experts"),
        ("llama", "llama.rope.scaling.type", text("dynamic"), "`dynamic`"),
        ("llama", "llama.block_count", number(3), "`blk.2.attn_q.weight` is missing"),
        ("llama", "llama.block_count", number(1), "has no place in this architecture"),
        ("llama", "llama.block_count", number(u32::MAX), "number of layers"),
        ("llama", "llama.rope.dimension_count", number(7), "`rope_freqs.weight`"),
        ("llama", "llama.attention.head_count_kv", number(0), "number of key heads"),
        ("llama", "llama.context_length", text("long"), "`llama.context_length` is no whole number"),
        ("llama", "llama.attention.head_count_kv", text("two"), "`llama.attention.head_count_kv` is no whole number"),
        ("llama", "llama.rope.freq_base", text("wide"), "`llama.rope.freq_base` is no number"),
        ("llama", "split.count", Value::U16(3), "one of 3 parts"),
        ("mistral-nemo", "llama.attention.value_length", number(8), "differ in length"),
        ("qwen3", "qwen3.rope.scaling.factor", Value::F32(f32::NAN), "must be positive numbers"),
        ("phi3", "phi3.rope.dimension_count", number(6), "`rope_factors_short.weight`"),
        ("gemma3", "gemma3.attention.sliding_window", number(0), "gemma3.attention.sliding_window"),
    ];
    for (name, key, value, expected) in cases {
        let change = |metadata: &mut BTreeMap<String, Value>| {
            metadata.insert(key.to_owned(), value.clone());
        };
        let found = rewritten(name, change, |_| true);
        assert!(found.contains(expected), "{name}, {key}: {found}");
    }
    for name in GENERATORS {
        for missing in ["token_embd.weight", "output_norm.weight", "blk.1.ffn_down.weight", "blk.0.attn_norm.weight"] {
            let found = rewritten(name, |_| {}, |name| name != missing);
            assert!(found.contains(&format!("`{missing}` is missing")), "{name}, {missing}: {found}");
        }
    }
    for (name, missing) in [
        ("qwen2", "blk.1.attn_k.bias"),
        ("qwen3", "blk.1.attn_k_norm.weight"),
        ("gemma3", "blk.0.post_ffw_norm.weight"),
        ("gemma3", "blk.3.post_attention_norm.weight"),
    ] {
        let found = rewritten(name, |_| {}, |name| name != missing);
        assert!(found.contains(missing), "{name}, {missing}: {found}");
    }
}

#[test]
fn damaged_files_never_panic() {
    for name in ["phi4-mini", "gemma3"] {
        let copy = copy(name);
        for (file, layout, most) in [
            ("config.json", Layout::Hub, usize::MAX),
            ("model.safetensors", Layout::Hub, 700),
            ("model.gguf", Layout::Gguf, 1200),
        ] {
            let path = copy.path().join(file);
            let good = std::fs::read(&path).unwrap();
            for index in (0..good.len().min(most)).step_by(7) {
                let mut bytes = good.clone();
                bytes[index] ^= 0x15;
                std::fs::write(&path, &bytes).unwrap();
                let _ = load_from(copy.path(), layout, 96);
            }
            for length in (0..good.len()).step_by(good.len() / 13) {
                std::fs::write(&path, &good[..length]).unwrap();
                let whole = load_from(copy.path(), layout, 96).is_ok();
                assert!(!whole, "{name}: {file} cut to {length} of {} bytes was accepted", good.len());
            }
            std::fs::write(&path, &good).unwrap();
        }
        load_from(copy.path(), Layout::Hub, 96).unwrap();
    }
}

#[test]
fn a_tokenizer_with_more_tokens_than_the_network_is_refused() {
    let copy = copy("llama");
    let path = copy.path().join("tokenizer.json");
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    tokenizer["model"]["vocab"]["one more"] = 5000.into();
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    let files = files(copy.path(), Layout::Hub, ModelRole::Generator);
    match DecoderGenerator::load(&files, &EngineOptions::default()) {
        Err(ModelError::Invalid { file, reason }) => {
            assert!(file.ends_with("tokenizer.json") && reason.contains("5001 tokens"), "{file}: {reason}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

fn embedder(layout: Layout, precision: Precision) -> Box<dyn Embedder> {
    let mut files = files(&directory(EMBEDDER), layout, ModelRole::Embedder);
    files.entry.dimensions = Some(32);
    files.entry.max_tokens = 64;
    files.entry.pooling = Some(Pooling::Last);
    files.entry.query_prefix = "Instruct: Find the passage\nQuery:".to_owned();
    open_embedder(&files, precision).unwrap()
}

#[test]
fn vectors_are_those_of_transformers() {
    let reference = reference(EMBEDDER);
    let texts: Vec<&str> = reference.prompts.iter().map(|prompt| prompt.text.as_str()).collect();
    for layout in LAYOUTS {
        let embedder = embedder(layout, Precision::F32);
        assert_eq!(
            (embedder.dimensions(), embedder.count_tokens(texts[1])),
            (32, reference.prompts[1].tokens.len() - 1)
        );
        let vectors = embedder.embed_passages(&texts).unwrap();
        for (index, vector) in vectors.iter().enumerate() {
            let error = error(vector, &expected(EMBEDDER, index));
            println!("{layout:?}: {error:.1e}");
            assert!(error < TOLERANCE, "{layout:?}, {}: {error}", texts[index]);
            assert_eq!(embedder.embed_passages(&[texts[index]]).unwrap()[0], *vector, "{}", texts[index]);
        }
        // The last of the texts is a question behind its instruction.
        assert_eq!(embedder.embed_query("Who signs?").unwrap(), vectors[2]);
        assert!(embedder.identity().contains("last"), "{}", embedder.identity());
    }
    let (exact, small) = (embedder(Layout::Hub, Precision::F32), embedder(Layout::Hub, Precision::Int8));
    let (exact, small) = (exact.embed_query("Who signs?").unwrap(), small.embed_query("Who signs?").unwrap());
    let cosine: f32 = exact.iter().zip(&small).map(|(a, b)| a * b).sum();
    assert!(exact != small && cosine > 0.99, "{cosine}");
}
