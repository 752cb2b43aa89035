//! What runs a network. One that writes text is owned by one thread, and everything else hands it requests; the networks of
//! vectors and scores share its files, its arithmetic and its threads.
//!
//! | file | what it holds |
//! |---|---|
//! | `mapped`, `gguf`, `safetensors`, `torch`, `json`, `hub` | reading weights and metadata |
//! | `tokenizer`, `template` | text to tokens and back, messages to a prompt |
//! | `qmatmul`, `attention`, `math` | the arithmetic |
//! | `way` | which kernels the processor at hand can run |
//! | `sampler`, `output` | choosing tokens, and text from them |
//! | `constraint` | forbidding the tokens that would break a grammar |
//! | `team`, `shared` | threads that compute together, and memory that they share |
//! | `pages` | who has which page of the cache, and the beginnings it remembers |
//! | `draft` | guesses of what comes next |
//! | `sequence` | one answer in the making |
//! | `worker` | the thread that takes all of them through the network together |
//! | `generator` | [`crate::Generator`] over all of it |
//!
//! The seam: `arch` builds a [`Network`] from `qmatmul` and `attention` and knows no requests; `worker` knows requests and
//! only this trait.

use self::attention::{KvCache, KvShape, PageId};
use self::team::Team;
use crate::ModelError;

pub mod attention;
pub mod constraint;
mod draft;
mod generator;
pub mod gguf;
pub mod hub;
pub mod json;
mod mapped;
pub mod math;
#[cfg(test)]
pub mod noise;
mod output;
mod pages;
pub mod qmatmul;
pub mod safetensors;
mod sampler;
mod sequence;
pub mod shared;
pub mod team;
mod template;
pub(crate) mod tokenizer;
pub mod torch;
mod way;
mod worker;

pub use self::constraint::CompiledGrammar;
pub use self::generator::DecoderGenerator;
pub(crate) use self::template::TEMPLATE_FILES;
pub(crate) use self::worker::MOST_TOKENS;

/// How an engine is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Threads that compute; 0 for one per processor.
    pub threads: usize,
    /// Memory for keys and values, all sequences together.
    pub kv_bytes: usize,
    /// Answers that are written at a time.
    pub sequences: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { threads: 0, kv_bytes: 512 << 20, sequences: 8 }
    }
}

/// A network that computes tokens of any number of sequences at once.
///
/// It knows no requests: what belongs to a sequence comes with each call, its keys and values lie in a [`KvCache`].
pub trait Network: Send {
    /// Positions that a sequence can have.
    fn context_length(&self) -> usize;

    /// How many scores a token gets.
    fn vocabulary(&self) -> usize;

    /// The sizes of its keys and values.
    fn kv_shape(&self) -> KvShape;

    /// Computes spans of tokens, each after what was computed of its sequence earlier, and keeps their keys and values in
    /// the pages that the span names. `scores` becomes a row of [`Network::vocabulary`] numbers for each token whose scores
    /// a span asks for, in their order. A token's results do not depend on what else is in the batch, bit by bit, as
    /// long as all numbers are finite.
    ///
    /// # Errors
    /// [`ModelError::Compute`]; the spans' positions then hold nothing that can be relied on.
    fn forward(
        &mut self,
        team: &Team,
        spans: &[Span],
        cache: &mut KvCache,
        scores: &mut Vec<f32>,
    ) -> Result<(), ModelError>;
}

/// Neighbouring tokens of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// At least one.
    pub tokens: &'a [u32],
    /// Of the first of them; everything before was computed earlier.
    pub position: usize,
    /// The pages of the sequence from position 0 on, with room for these tokens.
    pub pages: &'a [PageId],
    /// How many of the last tokens want the scores of what follows them.
    pub scored: usize,
}
