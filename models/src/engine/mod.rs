//! What runs a network that writes text: one thread owns it, everything else hands it requests.
//!
//! | file | what it holds |
//! |---|---|
//! | `gguf`, `safetensors` | reading weights and metadata |
//! | `tokenizer`, `template` | text to tokens and back, messages to a prompt |
//! | `qmatmul`, `attention`, `math` | the arithmetic, with kernels for the processor at hand |
//! | `sampler`, `output` | choosing tokens, and text from them |
//! | `worker` | the thread, its queue and its cache |
//! | `generator` | [`crate::Generator`] over all of it |
//!
//! The seam: `arch` builds a [`Network`] from `qmatmul` and `attention` and knows no requests; `worker` knows requests and
//! only this trait. Kernels are changed below the seam; batching, prefix caches and speculation come in above it.

use crate::ModelError;

pub mod attention;
mod generator;
pub mod gguf;
pub mod math;
mod output;
pub mod qmatmul;
pub mod safetensors;
mod sampler;
mod shared;
mod template;
mod tokenizer;
mod worker;

pub use self::generator::Llama;

/// A network with room for the keys and values of one sequence.
pub trait Network: Send {
    /// Positions there is room for.
    fn context_length(&self) -> usize;

    /// How many scores a token gets.
    fn vocabulary(&self) -> usize;

    /// Computes tokens at `position` and after it, where everything before was computed earlier. What stood at these
    /// positions and behind is forgotten. With `scores`, those of the token that follows the last one are written.
    ///
    /// # Errors
    /// [`ModelError::Compute`]; the cache then holds nothing that can be relied on.
    fn forward(&mut self, tokens: &[u32], position: usize, scores: Option<&mut Vec<f32>>) -> Result<(), ModelError>;
}
