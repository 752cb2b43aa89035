//! BERT as an embedder (Devlin et al., arXiv:1810.04805): `config.json`, `tokenizer.json` and safetensors as the Hugging
//! Face hub lays them out, pooled and normalised as sentence-transformers does (Reimers and Gurevych, arXiv:1908.10084).
//!
//! The sequences of a batch are packed one after another, so no arithmetic is spent on padding and a text's vector does
//! not depend on what else is in its batch.
#![expect(unsafe_code, reason = "candle maps safetensors files through an unsafe function")]

use candle_core::DType;
use candle_nn::VarBuilder;
use rayon::prelude::*;
use serde::Deserialize;

use super::cpu::Activation;
use crate::catalog::{Model, Pooling};
use crate::turns::{Turns, Work};
use crate::weights::ModelFiles;
use crate::{Embedder, ModelError, device};

mod network;
mod tokens;

use network::Network;
use tokens::Tokens;

/// Tokens of one batch at most, unless one text alone has more. More costs memory, gains nothing on a processor, and holds
/// up questions longer.
const BATCH_TOKENS: usize = 1024;

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
    let mut identity = format!("{}@{} {pooling} {}", files.name, files.fingerprint, tokens.longest());
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
        turns: Turns::default(),
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
    turns: Turns,
}

impl Embedder for Bert {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn dimensions(&self) -> usize {
        self.network.hidden
    }

    fn max_tokens(&self) -> usize {
        self.tokens.free()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.tokens.count(text)
    }

    fn embed_passages(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.embed(Work::Passages, &self.passage_prefix, texts)
    }

    fn embed_query(&self, text: &str) -> Result<Vec<f32>, ModelError> {
        let mut vectors = self.embed(Work::Question, &self.query_prefix, &[text])?;
        vectors.pop().ok_or_else(|| ModelError::Compute("no vector came back".to_owned()))
    }
}

impl Bert {
    fn embed(&self, work: Work, prefix: &str, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
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
            let turn = self.turns.take(work);
            let states = self.network.forward(&packed).map_err(|error| ModelError::Compute(error.to_string()))?;
            drop(turn);
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

fn invalid(files: &ModelFiles, file: &str, reason: impl std::fmt::Display) -> ModelError {
    ModelError::Invalid { file: files.path(file).display().to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::network::tests::network;
    use super::tokens::tests::tokens;
    use super::*;

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
            turns: Turns::default(),
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
}
