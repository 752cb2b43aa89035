//! What can go wrong.

use crate::catalog::ModelRole;

/// What can go wrong with a model. Messages say what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The name is not in the catalogue.
    #[error("no model or profile `{name}` in the catalogue; known: {known}")]
    Unknown {
        /// As asked.
        name: String,
        /// Comma-separated.
        known: String,
    },
    /// The model does something else.
    #[error("`{name}` is no {role} but {} {found}; known: {known}", if *.found == ModelRole::Embedder { "an" } else { "a" })]
    Role {
        /// Its name.
        name: String,
        /// What it does.
        found: ModelRole,
        /// What it was asked for.
        role: ModelRole,
        /// Those that do so, comma-separated.
        known: String,
    },
    /// The files are not on this machine.
    #[error(
        "model `{name}` is not installed in {directory} (`{file}` is missing): run `intramuros models pull {name}`, or `intramuros models import DIR` on a machine without network"
    )]
    NotInstalled {
        /// Model name.
        name: String,
        /// Where it should be.
        directory: String,
        /// First missing file.
        file: String,
    },
    /// A file is not the one the catalogue names.
    #[error(
        "`{file}` of model `{name}` has sha256 {actual} and should have {expected}: the file is damaged or another one; delete it and run `intramuros models pull {name}` or `intramuros models import DIR`"
    )]
    WrongHash {
        /// Model name.
        name: String,
        /// File name.
        file: String,
        /// From the catalogue.
        expected: String,
        /// Of the file.
        actual: String,
    },
    /// A file cannot be understood.
    #[error("cannot load `{file}`: {reason}")]
    Invalid {
        /// File name.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Loading it would take more memory than there is.
    #[error(
        "model `{name}` needs {need} MiB of memory ({parts}) and {available} MiB are available: close what else runs, give this machine or container more, {setting}or choose a smaller model"
    )]
    TooLarge {
        /// Model name.
        name: String,
        /// MiB in all.
        need: u64,
        /// What for.
        parts: String,
        /// MiB.
        available: u64,
        /// What the configuration could say instead, and a comma; or nothing.
        setting: &'static str,
    },
    /// The memory set aside for keys and values is too small.
    #[error(
        "{} MiB for keys and values are too few, the model needs {} at least: set `models.kv_mib` higher",
        .bytes >> 20,
        .needed.div_ceil(1 << 20)
    )]
    KvTooSmall {
        /// Bytes as set.
        bytes: usize,
        /// Bytes that it must be at least.
        needed: usize,
    },
    /// The prompt alone fills the context.
    #[error(
        "the prompt has {tokens} tokens and the model's context holds {context}: ask with fewer or shorter passages"
    )]
    PromptTooLong {
        /// Of the prompt.
        tokens: usize,
        /// Of the model.
        context: usize,
    },
    /// The queue is full.
    #[error("{waiting} requests wait for the generator already: try again in a few seconds")]
    Busy {
        /// In the queue.
        waiting: usize,
    },
    /// Reading or writing a file failed.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The chat template failed.
    #[error("the model's chat template cannot be used: {0}")]
    Template(String),
    /// A grammar cannot be followed.
    #[error("the form of the answer cannot be followed: {0}")]
    Grammar(String),
    /// The computation failed.
    #[error("the model failed while computing: {0}")]
    Compute(String),
}
