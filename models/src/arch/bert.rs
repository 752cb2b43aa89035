//! BERT (Devlin et al., arXiv:1810.04805) as embedder and reranker: `config.json`, `tokenizer.json` and safetensors as the
//! Hugging Face hub lays them out.

use std::sync::Arc;

use serde::Deserialize;

use super::encoder::math::Activation;
use super::encoder::reranker::{Head, HeadActivation};
use super::encoder::tokens::Tokens;
use super::encoder::weights::Loader;
use super::encoder::{self, invalid, weights};
use super::sizes;
use crate::catalog::Pooling;
use crate::engine::safetensors::SafetensorsFile;
use crate::weights::ModelFiles;
use crate::{Embedder, ModelError, Precision, Reranker};

#[cfg(any(test, feature = "cuda"))]
mod candle;
mod network;

use network::Network;

/// What `config.json` says about the network.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Config {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: Activation,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f32,
    position_embedding_type: Option<String>,
    #[serde(default)]
    pad_token_id: usize,
}

/// How the relatives of BERT differ.
pub(super) struct Family {
    /// As `config.json` names them.
    pub model_type: &'static str,
    /// Before the names of tensors, where a file holds more than the network.
    pub prefix: &'static str,
    /// Position of the first token.
    pub first_position: fn(&Config) -> usize,
    /// Names of the layer before the last one in a reranker, and of the last.
    pub head: [&'static str; 2],
}

const FAMILY: Family =
    Family { model_type: "bert", prefix: "bert.", first_position: |_| 0, head: ["bert.pooler.dense", "classifier"] };

/// Opens a BERT embedder.
///
/// # Errors
/// [`ModelError::Invalid`] naming the file and what is wrong with it.
pub fn open_embedder(files: &ModelFiles, precision: Precision) -> Result<Box<dyn Embedder>, ModelError> {
    FAMILY.open_embedder(files, precision)
}

/// Opens a BERT reranker.
///
/// # Errors
/// [`ModelError::Invalid`] naming the file and what is wrong with it.
pub fn open_reranker(files: &ModelFiles, precision: Precision) -> Result<Box<dyn Reranker>, ModelError> {
    FAMILY.open_reranker(files, precision)
}

impl Family {
    pub(super) fn open_embedder(
        &self,
        files: &ModelFiles,
        precision: Precision,
    ) -> Result<Box<dyn Embedder>, ModelError> {
        let config = self.config(files)?;
        let tokens = Tokens::open(files, config.vocab_size)?;
        let (_, network) = self.network(files, &config, precision)?;
        encoder::embedder::open(files, network, tokens, precision)
    }

    pub(super) fn open_reranker(
        &self,
        files: &ModelFiles,
        precision: Precision,
    ) -> Result<Box<dyn Reranker>, ModelError> {
        let config = self.config(files)?;
        let tokens = Tokens::open(files, config.vocab_size)?;
        let (file, network) = self.network(files, &config, precision)?;
        let head = self.head(&file, config.hidden_size).map_err(|reason| file.invalid(reason))?;
        encoder::reranker::open(files, network, tokens, head, precision)
    }

    fn config(&self, files: &ModelFiles) -> Result<Config, ModelError> {
        let config: Config = encoder::config(files)?;
        match config.check(self, files.entry.max_tokens) {
            Ok(()) => Ok(config),
            Err(reason) => Err(invalid(files, "config.json", reason)),
        }
    }

    /// The network for the device at hand, and the file that it came from.
    fn network(
        &self,
        files: &ModelFiles,
        config: &Config,
        precision: Precision,
    ) -> Result<(Arc<SafetensorsFile>, Box<dyn encoder::Network>), ModelError> {
        let file = weights::open(files)?;
        #[cfg(feature = "cuda")]
        if let device @ candle_core::Device::Cuda(_) = crate::device::device()? {
            let network = candle::Network::open(self, config, &file, &device);
            return Ok((file.clone(), Box::new(network.map_err(|error| file.invalid(error.to_string()))?)));
        }
        let network = Network::load(self, config, &file, precision, files.entry.max_tokens)?;
        // What was packed lies in memory of its own now.
        file.forget();
        Ok((file, Box::new(network)))
    }

    fn head(&self, file: &SafetensorsFile, hidden: usize) -> Result<Head, String> {
        let [dense, output] = self.head;
        let labels = file.tensor(&format!("{output}.weight"))?.rows;
        // The head is small, and its scores are compared: it stays as it is.
        let loader = Loader { file, prefix: "", precision: Precision::F32, epsilon: 0.0, biased: true };
        Ok(Head {
            pooling: Pooling::Cls,
            dense: loader.dense(&[(dense, hidden)], hidden)?,
            activation: HeadActivation::Tanh,
            norm: None,
            output: loader.dense(&[(output, labels)], hidden)?,
        })
    }
}

impl Config {
    /// Where padding would stand.
    pub(super) fn padding(&self) -> usize {
        self.pad_token_id
    }

    fn check(&self, family: &Family, max_tokens: usize) -> Result<(), String> {
        if self.model_type != family.model_type {
            return Err(format!("model_type `{}` is not {}", self.model_type, family.model_type));
        }
        if self.position_embedding_type.as_ref().is_some_and(|kind| kind != "absolute") {
            return Err("only absolute position embeddings are supported".to_owned());
        }
        sizes::check(&[
            ("number of layers", self.num_hidden_layers, sizes::LAYERS),
            ("width", self.hidden_size, sizes::WIDTH),
            ("feed-forward width", self.intermediate_size, sizes::FEED_FORWARD),
            ("number of heads", self.num_attention_heads, sizes::HEADS),
            ("number of positions", self.max_position_embeddings, sizes::POSITIONS),
            ("number of token types", self.type_vocab_size, sizes::POSITIONS),
            ("vocabulary", self.vocab_size, sizes::VOCABULARY),
        ])?;
        let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
        if !hidden.is_multiple_of(heads) {
            return Err(format!("hidden_size {hidden} cannot be shared out over {heads} heads"));
        }
        let positions = self.max_position_embeddings.saturating_sub((family.first_position)(self));
        if max_tokens > positions {
            return Err(format!("the catalogue says {max_tokens} tokens and the network has {positions} positions"));
        }
        Ok(())
    }
}
