//! What encoders share: everything but their configuration and the order of their layers.
//!
//! | file | what it holds |
//! |---|---|
//! | `embedder`, `reranker` | [`crate::Embedder`] and [`crate::Reranker`] over a [`Network`] |
//! | `tokens` | from texts to what the network reads |
//! | `attention`, `math` | the arithmetic between the matrices |
//! | `weights` | the file, and matrices and norms of it |
//!
//! The inputs of a batch are *packed*: the rows of all of them one after another, without padding. No arithmetic is spent
//! on padding, and a text's vector does not depend on what else is in its batch.

use std::cmp::Reverse;

use serde::de::DeserializeOwned;

use crate::catalog::Pooling;
use crate::turns::{Turns, Work};
use crate::weights::ModelFiles;
use crate::{ModelError, Precision};

pub mod attention;
pub mod embedder;
pub mod math;
pub mod reranker;
pub mod tokens;
pub mod weights;

/// Tokens of one batch at most, unless one input alone has more; what a network needed for that one, it gives back. More
/// costs memory, gains nothing on a processor, and holds up questions longer.
pub(crate) const BATCH_TOKENS: usize = 1024;

/// What a network reads of one text or one pair of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// Token ids, special ones among them.
    pub ids: Vec<u32>,
    /// Where the second text begins, in networks that tell the two apart; the number of tokens where there is none.
    pub second: usize,
}

/// A network that turns tokens into states.
pub trait Network: Send + Sync {
    /// Numbers of one state.
    fn hidden(&self) -> usize;

    /// Whether it runs in the precision of its files whatever was asked for.
    fn is_exact(&self) -> bool;

    /// The last states of all tokens, [`Network::hidden`] numbers each, in the order of the inputs.
    ///
    /// # Errors
    /// [`ModelError::Compute`].
    fn forward(&self, inputs: &[&Input]) -> Result<Vec<f32>, ModelError>;
}

/// Runs a network over inputs, batch by batch, and hands out the states of each with its index.
///
/// # Errors
/// [`ModelError::Compute`].
fn in_batches(
    network: &dyn Network,
    (turns, work): (&Turns, Work),
    inputs: &[Input],
    mut take: impl FnMut(usize, &[f32]),
) -> Result<(), ModelError> {
    // Long ones first: inputs of about the same length share a batch, and their work is evenly spread over threads.
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_by_key(|&index| Reverse(inputs[index].ids.len()));
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        let mut tokens = 0;
        let fitting = rest.iter().take_while(|&&index| {
            tokens += inputs[index].ids.len();
            tokens <= BATCH_TOKENS
        });
        let (batch, after) = rest.split_at(fitting.count().max(1));
        let packed: Vec<&Input> = batch.iter().map(|&index| &inputs[index]).collect();
        let turn = turns.take(work);
        let states = network.forward(&packed)?;
        drop(turn);
        let mut states = states.as_slice();
        for (&index, input) in batch.iter().zip(packed) {
            let (own, others) = states.split_at(input.ids.len() * network.hidden());
            if own.iter().any(|x| !x.is_finite()) {
                let reason = "the network yields no finite numbers: its weights are damaged";
                return Err(ModelError::Compute(reason.to_owned()));
            }
            take(index, own);
            states = others;
        }
        rest = after;
    }
    Ok(())
}

/// One state of those of an input's tokens.
fn pool(pooling: Pooling, states: &[f32], pooled: &mut [f32]) {
    let width = pooled.len();
    match pooling {
        Pooling::Cls => pooled.copy_from_slice(&states[..width]),
        Pooling::Last => pooled.copy_from_slice(&states[states.len() - width..]),
        Pooling::Mean => {
            pooled.fill(0.0);
            for row in states.chunks_exact(width) {
                pooled.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            let scale = width as f32 / states.len() as f32;
            pooled.iter_mut().for_each(|x| *x *= scale);
        }
    }
}

/// What tells a model's results from those of others.
fn identity(files: &ModelFiles, about: &str, network: &dyn Network, precision: Precision) -> String {
    let suffix = if precision == Precision::Int8 && !network.is_exact() { " int8" } else { "" };
    format!("{}@{} {about}{suffix}", files.name, files.fingerprint)
}

/// Reads `config.json`.
///
/// # Errors
/// [`ModelError::Io`], or [`ModelError::Invalid`] naming what is wrong with it.
pub fn config<T: DeserializeOwned>(files: &ModelFiles) -> Result<T, ModelError> {
    let path = files.listed("config.json")?;
    let text = std::fs::read(&path).map_err(|source| ModelError::Io { path: path.display().to_string(), source })?;
    serde_json::from_slice(&text).map_err(|error| invalid(files, "config.json", error))
}

/// The error that says what is wrong with a file of a model.
pub fn invalid(files: &ModelFiles, file: &str, reason: impl std::fmt::Display) -> ModelError {
    ModelError::Invalid { file: files.path(file).display().to_string(), reason: reason.to_string() }
}
