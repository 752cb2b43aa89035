//! What a model needs.

use std::fmt;

use serde::Serialize;

use crate::arch::encoder::{self, BATCH_TOKENS};
use crate::catalog::{Model, ModelRole};
use crate::engine::MOST_TOKENS;
use crate::engine::gguf::{Gguf, GgufFile, RawTensor};
use crate::engine::hub::HubFolder;
use crate::engine::json::Json;
use crate::engine::qmatmul::q8_0;
use crate::weights::ModelFiles;
use crate::{ModelError, Precision, arch};

/// Of a token in the tokenizer's tables: its text, its place, its merges.
const VOCABULARY_BYTES: u64 = 400;

/// Threads, queues, and what the allocator holds back.
const REST: u64 = 24 << 20;

/// An intermediate result.
const FLOAT_BYTES: u64 = 4;

/// What a model needs in memory when in use, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The weights.
    pub weights: u64,
    /// Keys and values of what a generator reads and writes.
    pub kv: u64,
    /// Intermediate results, tokenizer, threads.
    pub working: u64,
    /// Whether this was read in the model's files; else the catalogue says it, roughly.
    pub from_files: bool,
}

impl Need {
    /// Of an installed model. A generator's keys and values get `kv_budget` bytes; the weights of embedders and rerankers
    /// are kept in this precision.
    ///
    /// # Errors
    /// [`ModelError::Io`] or [`ModelError::Invalid`] when its files cannot be read.
    pub fn of_files(files: &ModelFiles, kv_budget: u64, precision: Precision) -> Result<Self, ModelError> {
        let (weights, working) = if let Ok(path) = files.with_extension("gguf") {
            let file = GgufFile::open(&path)?;
            of_gguf(&files.entry, &file.content()?).map_err(|reason| file.invalid(reason))?
        } else if arch::generators().contains(&files.entry.architecture.as_str()) {
            of_decoder(files, precision)?
        } else {
            of_encoder(files, precision)?
        };
        let kv = if files.entry.role == ModelRole::Generator { kv_budget } else { 0 };
        Ok(Self { weights, kv, working, from_files: true })
    }

    /// Of a model that is not here.
    pub fn of_catalogue(entry: &Model) -> Self {
        let all = entry.memory_mib << 20;
        let weights = entry.bytes().unwrap_or(all).min(all);
        Self { weights, kv: 0, working: all - weights, from_files: false }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.working)
    }
}

/// `98 MiB weights + 180 MiB keys and values + 60 MiB to work`, or what the catalogue says.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.from_files {
            return write!(f, "about {}", Mib(self.total()));
        }
        write!(f, "{} weights", Mib(self.weights))?;
        if self.kv > 0 {
            write!(f, " + {} keys and values", Mib(self.kv))?;
        }
        write!(f, " + {} to work", Mib(self.working))
    }
}

/// Bytes as people read them.
struct Mib(u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0.div_ceil(1 << 20))
    }
}

/// Bytes of weights and to work.
type Parts = (u64, u64);

fn of_gguf(entry: &Model, gguf: &Gguf<'_>) -> Result<Parts, String> {
    let architecture = gguf.text("general.architecture").ok_or("its metadata lacks `general.architecture`")?;
    let require = |name: &str| gguf.require(&format!("{architecture}.{name}"));
    let columns = decoder_columns(require("embedding_length")?, require("feed_forward_length")?);
    let vocabulary = gguf.array("tokenizer.ggml.tokens").map_or(0, <[_]>::len);
    Ok((gguf.tensor_bytes(), working(entry, columns, vocabulary)))
}

/// Of a decoder in safetensors.
fn of_decoder(files: &ModelFiles, precision: Precision) -> Result<Parts, ModelError> {
    let folder = HubFolder::open(files)?;
    let invalid = |reason| folder.invalid("config.json", reason);
    // With pictures, the text has a section of its own.
    let section = folder.config().section("text_config").map_err(invalid)?;
    let config = section.as_ref().unwrap_or(folder.config());
    let require = |key| config.require(key).map_err(invalid);
    let columns = decoder_columns(require("hidden_size")?, require("intermediate_size")?);
    let vocabulary = config.number("vocab_size").map_err(invalid)?.unwrap_or(0);
    // Generators keep their weights as they are.
    let precision = if files.entry.role == ModelRole::Generator { Precision::F32 } else { precision };
    let weights: u64 = folder.tensors().map(|tensor| weight_bytes(&tensor, precision)).sum();
    Ok((weights, working(&files.entry, columns, vocabulary)))
}

fn of_encoder(files: &ModelFiles, precision: Precision) -> Result<Parts, ModelError> {
    let config: Json = encoder::config(files)?;
    let require = |key| config.require(key).map_err(|reason| encoder::invalid(files, "config.json", reason));
    let (width, feed_forward, vocabulary) =
        (require("hidden_size")?, require("intermediate_size")?, require("vocab_size")?);
    let file = encoder::weights::open(files)?;
    let weights = file.tensors().map(|tensor| {
        // The words' embeddings stay in the file, of which single rows are read.
        let of_words = (tensor.rows, tensor.columns) == (vocabulary, width);
        weight_bytes(&tensor, if of_words { Precision::F32 } else { precision })
    });
    let weights: u64 = weights.sum();
    // States twice, queries, keys, values and what comes of them; the widest once more for its 8 bits. ModernBERT has gates
    // and ups beside each other, and norms before its products.
    let (widths, feed_forwards) = if files.entry.architecture == "modernbert" { (8, 3) } else { (6, 2) };
    let columns =
        (width as u64).saturating_mul(widths).saturating_add((feed_forward as u64).saturating_mul(feed_forwards));
    Ok((weights, working(&files.entry, columns, vocabulary)))
}

/// What a tensor takes in memory.
fn weight_bytes(tensor: &RawTensor<'_>, precision: Precision) -> u64 {
    let is_coded = precision == Precision::Int8 && tensor.rows > 1 && tensor.columns.is_multiple_of(q8_0::BLOCK);
    let bytes = match is_coded {
        true => tensor.rows * tensor.columns / q8_0::BLOCK * q8_0::BLOCK_BYTES,
        false => tensor.bytes.len(),
    };
    bytes as u64
}

/// Intermediate results of a token in a decoder: the stream, what its norm makes of it, queries, keys, values and what comes of
/// them; gates, ups and their product.
fn decoder_columns(width: usize, feed_forward: usize) -> u64 {
    (width as u64).saturating_mul(7).saturating_add((feed_forward as u64).saturating_mul(3))
}

/// Room for `columns` intermediate results of each token that passes through at once, and for what there is of each entry of
/// the vocabulary. Metadata of a damaged file may claim anything.
fn working(entry: &Model, columns: u64, vocabulary: usize) -> u64 {
    let tokens = match entry.role {
        ModelRole::Generator => MOST_TOKENS as u64,
        ModelRole::Embedder | ModelRole::Reranker => BATCH_TOKENS.max(entry.max_tokens) as u64,
    };
    let results = tokens.saturating_mul(columns).saturating_mul(FLOAT_BYTES);
    // Scores for every token of the vocabulary go along with its tables.
    let tables = (vocabulary as u64).saturating_mul(VOCABULARY_BYTES + FLOAT_BYTES);
    results.saturating_add(tables).saturating_add(REST)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::catalog::Catalog;

    /// Checkpoints of the integration tests.
    fn checkpoint(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
    }

    #[test]
    fn weights_of_an_encoder_are_kept_as_they_are_or_in_8_bits() {
        let directory = tempfile::tempdir().unwrap();
        let header = r#"{"__metadata__":{"format":"pt"},"odd":{"dtype":"F16","shape":[3,5],"data_offsets":[0,30]},"ids":{"dtype":"I64","shape":[2],"data_offsets":[30,46]},"matrix":{"dtype":"F16","shape":[2,64],"data_offsets":[46,302]},"words":{"dtype":"F32","shape":[100,64],"data_offsets":[302,25902]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + 25_902, 0);
        let path = directory.path().join("model.safetensors");
        fs::write(&path, &bytes).unwrap();
        let config = r#"{"hidden_size": 64, "intermediate_size": 256, "vocab_size": 100, "model_type": "bert"}"#;
        fs::write(directory.path().join("config.json"), config).unwrap();
        let names = ["model.safetensors", "config.json"];
        let mut files = ModelFiles::unlisted(directory.path(), ModelRole::Embedder, "bert", &names);
        let short = Need::of_files(&files, 7 << 20, Precision::F32).unwrap();
        assert_eq!((short.weights, short.kv), (30 + 256 + 25_600, 0));
        let need = Need::of_files(&files, 0, Precision::Int8).unwrap();
        assert_eq!(need.weights, 30 + 136 + 25_600);
        // A text may be longer than a batch.
        files.entry.max_tokens = 8 * BATCH_TOKENS;
        let long = Need::of_files(&files, 0, Precision::F32).unwrap();
        assert_eq!(long.working - REST - 100 * 404, 8 * (short.working - REST - 100 * 404));
        for length in [4, 20, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(Need::of_files(&files, 0, Precision::F32).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn what_torch_saved_needs_the_same() {
        let need = |weights| {
            let directory = checkpoint("encoders/xlm-roberta");
            let names = [weights, "config.json"];
            let files = ModelFiles::unlisted(&directory, ModelRole::Embedder, "xlm-roberta", &names);
            Need::of_files(&files, 0, Precision::Int8).unwrap()
        };
        // There is a classifier in safetensors only: its matrix in 8 bits, its bias, one row and that one's bias.
        let classifier = 32 * 34 + 32 * 4 + 32 * 4 + 4;
        let of_torch = need("pytorch_model.bin");
        let weights = of_torch.weights + classifier;
        assert_eq!(Need { weights, ..of_torch }, need("model.safetensors"));
    }

    #[test]
    fn the_precision_counts_for_a_decoder_that_embeds_and_not_for_one_that_writes() {
        let weights = |role, precision| {
            let names = ["model.safetensors", "config.json"];
            let files = ModelFiles::unlisted(&checkpoint("decoders/qwen3-embedding"), role, "qwen3", &names);
            Need::of_files(&files, 0, precision).unwrap().weights
        };
        let whole = weights(ModelRole::Embedder, Precision::F32);
        assert_eq!(weights(ModelRole::Generator, Precision::Int8), whole);
        assert!(weights(ModelRole::Embedder, Precision::Int8) < whole * 3 / 4);
    }

    #[test]
    fn the_catalogue_knows_every_model_roughly() {
        for entry in Catalog::load(None).unwrap().models {
            let need = Need::of_catalogue(&entry);
            assert_eq!(need.total(), entry.memory_mib << 20, "{}", entry.name);
            assert!(need.to_string().starts_with("about "), "{}", entry.name);
        }
    }
}
