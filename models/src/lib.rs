//! Weights in, vectors and tokens out: the models of Intramuros, on an inference engine of its own.
//!
//! This crate knows no documents, users, network or vector store. [`catalog`] says which models exist by name,
//! [`weights`] finds and verifies their files, [`open_embedder`], [`open_reranker`] and [`open_generator`] bring them to
//! life.

use std::ops::Range;

use serde::{Deserialize, Serialize};

pub mod arch;
pub mod catalog;
pub mod device;
pub mod engine;
mod error;
pub mod memory;
mod stream;
mod turns;
pub mod weights;

pub use engine::CompiledGrammar;
pub use error::ModelError;
pub(crate) use stream::EventSender;
pub use stream::{TokenStream, Waited};

/// Brings an installed embedder to life; its files come from [`weights::locate`].
///
/// # Errors
/// [`ModelError::Invalid`] when the files cannot be understood or the model is no embedder, [`ModelError::TooLarge`]
/// when it does not fit into the memory that is left.
pub fn open_embedder(files: &weights::ModelFiles, precision: Precision) -> Result<Box<dyn Embedder>, ModelError> {
    open_of("embedder", arch::EMBEDDERS, files, precision)?(files, precision)
}

/// Brings an installed reranker to life; its files come from [`weights::locate`].
///
/// # Errors
/// As [`open_embedder`].
pub fn open_reranker(files: &weights::ModelFiles, precision: Precision) -> Result<Box<dyn Reranker>, ModelError> {
    open_of("reranker", arch::RERANKERS, files, precision)?(files, precision)
}

/// What opens a model of a kind.
fn open_of<F: Copy>(
    kind: &str,
    table: &[(&str, F)],
    files: &weights::ModelFiles,
    precision: Precision,
) -> Result<F, ModelError> {
    let architecture = files.entry.architecture.as_str();
    match table.iter().find(|(name, _)| *name == architecture) {
        Some((_, open)) => {
            let need = memory::Need::of_files(files, 0, precision)?;
            // What a GGUF file holds is coded already.
            let could_be_smaller = precision == Precision::F32 && files.with_extension("gguf").is_err();
            let setting = if could_be_smaller { "set `models.precision = \"int8\"`, " } else { "" };
            memory::check(&files.name, &need, memory::available(), setting)?;
            Ok(*open)
        }
        None => {
            let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
            let reason = format!("architecture `{architecture}` is no {kind}; known: {}", known.join(", "));
            Err(files.invalid(reason))
        }
    }
}

/// Brings an installed generator to life; its files come from [`weights::locate`].
///
/// # Errors
/// [`ModelError::Invalid`] when the files cannot be understood or the model is no generator, [`ModelError::TooLarge`]
/// when it does not fit into the memory that is left.
pub fn open_generator(
    files: &weights::ModelFiles,
    options: &engine::EngineOptions,
) -> Result<Box<dyn Generator>, ModelError> {
    let architecture = files.entry.architecture.as_str();
    let known = arch::generators();
    if !known.contains(&architecture) {
        let known = known.join(", ");
        let reason = format!("architecture `{architecture}` is no generator; known: {known}");
        return Err(files.invalid(reason));
    }
    let need = memory::Need::of_files(files, options.kv_bytes as u64, Precision::F32)?;
    memory::check(&files.name, &need, memory::available(), "set `models.kv_mib` lower, ")?;
    Ok(Box::new(engine::DecoderGenerator::load(files, options)?))
}

/// Turns texts into vectors of unit length.
pub trait Embedder: Send + Sync {
    /// Name, pooling and weight fingerprint; vectors of different identities must never meet.
    fn identity(&self) -> &str;
    /// Length of a vector.
    fn dimensions(&self) -> usize;
    /// Tokens of one text that the model sees, special tokens and prefixes not counted; the rest is cut off.
    fn max_tokens(&self) -> usize;
    /// Length of a text in tokens, special tokens not counted, without cutting.
    fn count_tokens(&self, text: &str) -> usize;
    /// One unit vector per passage, in their order. Batches internally by length.
    fn embed_passages(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError>;
    /// The unit vector of a question.
    fn embed_query(&self, text: &str) -> Result<Vec<f32>, ModelError>;
    /// As [`Embedder::embed_passages`], with the vectors of their tokens.
    fn read_passages(&self, texts: &[&str]) -> Result<Vec<ReadText>, ModelError> {
        Ok(self.embed_passages(texts)?.into_iter().map(ReadText::whole).collect())
    }
    /// As [`Embedder::embed_query`], with the vectors of its tokens.
    fn read_query(&self, text: &str) -> Result<ReadText, ModelError> {
        Ok(ReadText::whole(self.embed_query(text)?))
    }
}

/// A text as an embedder reads it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadText {
    /// The unit vector of the whole.
    pub vector: Vec<f32>,
    /// The unit vectors of its tokens one after another, those of special tokens and of prefixes left out. None from a model
    /// whose vectors are no means of their tokens', since nothing has taught those to be near to each other.
    pub tokens: Vec<f32>,
    /// Where each token stands in the text, in bytes.
    pub places: Vec<Range<usize>>,
}

impl ReadText {
    /// One whose tokens are not known.
    pub fn whole(vector: Vec<f32>) -> Self {
        Self { vector, ..Self::default() }
    }
}

/// Says how well passages answer a question, reading both together.
pub trait Reranker: Send + Sync {
    /// Name and weight fingerprint.
    fn identity(&self) -> &str;
    /// Tokens of question and passage together that the model sees, special tokens not counted; of longer ones the
    /// passage is cut off.
    fn max_tokens(&self) -> usize;
    /// One score per passage, in their order: the model's log-odds that the passage answers the question.
    fn score(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>, ModelError>;
}

/// How the weights of embedders and rerankers are kept and multiplied on the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Whole numbers of 8 bits with a step per 32 neighbours: a quarter of the memory and about twice the speed, vectors a
    /// hair off.
    Int8,
    /// As in the model's files.
    F32,
}

/// Writes text after a prompt.
pub trait Generator: Send + Sync {
    /// Name and weight fingerprint.
    fn identity(&self) -> &str;
    /// Prompt and answer together, in tokens: what the network can do and what the memory for keys and values holds.
    fn context_length(&self) -> usize;
    /// Tokens of prompts that it reads in a second, measured at the start and from then on; nothing while it is not known.
    fn prefill_rate(&self) -> Option<f32>;
    /// Length of a text in tokens, no special tokens added.
    fn count_tokens(&self, text: &str) -> usize;
    /// The messages in the model's own chat template, ready for the model to write the assistant's turn.
    fn render(&self, messages: &[Message]) -> Result<String, ModelError>;
    /// Starts writing. Dropping the stream stops the work at the next token.
    ///
    /// # Errors
    /// [`ModelError::PromptTooLong`], [`ModelError::Busy`], [`ModelError::Grammar`] when the request's cannot be followed.
    fn generate(&self, request: GenerateRequest) -> Result<TokenStream, ModelError>;
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Who speaks in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions of the product.
    System,
    /// The person who asks.
    User,
    /// The model.
    Assistant,
}

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Sampling {
    /// Always the likeliest token; ties go to the lowest id.
    Greedy,
    /// Drawn at random from the likeliest tokens. The same seed gives the same text on the same machine.
    Random {
        /// Above 0; lower is closer to greedy.
        temperature: f32,
        /// Nucleus: the smallest set of tokens whose probabilities reach this sum, in (0, 1].
        top_p: f32,
        /// At most this many tokens; 0 for no limit.
        top_k: usize,
        /// Of the random generator.
        seed: u64,
    },
}

/// A request to write text.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// The whole prompt as [`Generator::render`] made it; its special tokens are honoured.
    pub prompt: String,
    /// At most this many tokens are written.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the answer; they are not part of it. None together with a grammar.
    pub stop: Vec<String>,
    /// What the answer must be. It then ends with [`Finish::Stop`] as a whole match, or with [`Finish::Length`] before.
    pub grammar: Option<Grammar>,
    /// Whose prompts this one may share its computed beginning with: requests of equal scopes only. Whoever may not read the
    /// same documents must have another scope. Without one, nothing is taken from others or left to them.
    pub scope: Option<String>,
    /// Whether tokens are guessed ahead and checked together. The text is the same either way.
    pub speculate: bool,
}

impl GenerateRequest {
    /// Greedy, without a scope.
    pub fn new(prompt: impl Into<String>, max_tokens: usize) -> Self {
        Self {
            prompt: prompt.into(),
            max_tokens,
            sampling: Sampling::Greedy,
            stop: Vec::new(),
            grammar: None,
            scope: None,
            speculate: true,
        }
    }
}

/// What a text must be, to the last character.
#[derive(Clone, Debug, PartialEq)]
pub enum Grammar {
    /// A JSON value that is valid against this schema.
    JsonSchema(serde_json::Value),
    /// Any JSON object.
    JsonObject,
    /// A match of this regular expression from its beginning to its end.
    Regex(String),
}

/// What a [`TokenStream`] yields.
#[derive(Clone, Debug)]
pub enum Event {
    /// Some more text, whole characters only.
    Text(String),
    /// The end, always last.
    Done(Summary),
}

/// How a generation ended and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those of them whose keys and values were still cached.
    pub cached_tokens: usize,
    /// Tokens written.
    pub completion_tokens: usize,
    /// Passes of the network after the prompt.
    pub passes: usize,
    /// Tokens that were guessed ahead.
    pub drafted_tokens: usize,
    /// Those of them that were right.
    pub accepted_tokens: usize,
    /// Milliseconds over the prompt.
    pub prefill_ms: f64,
    /// Milliseconds writing.
    pub decode_ms: f64,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended its turn, or a stop text came.
    Stop,
    /// `max_tokens` or the context was full.
    Length,
}
