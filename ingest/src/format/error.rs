//! Why a file could not be read, in words for the person who has to mend it.

use serde::{Deserialize, Serialize};

/// Why a file gave no text. Messages never hold document text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum FormatError {
    /// No reader for this ending.
    #[error("no reader for {}: convert it to one of {known}", if .ending.is_empty() { "files without an ending".to_owned() } else { format!("`.{ending}` files") })]
    Unsupported {
        /// The ending of the file, without the dot.
        ending: String,
        /// The endings that can be read.
        known: String,
    },
    /// The file has no bytes.
    #[error("the file is empty (0 bytes): copy it again")]
    Empty,
    /// The file needs a password.
    #[error("the file is encrypted: {mend}")]
    Encrypted {
        /// How to mend it.
        mend: String,
    },
    /// The bytes are not what they claim to be.
    #[error("not a readable {format} file: {reason}")]
    Damaged {
        /// Name of the format.
        format: String,
        /// What is wrong.
        reason: String,
    },
    /// The file is sound and holds no text.
    #[error("no text in it: {reason}")]
    NoText {
        /// What it holds instead, as far as that is known.
        reason: String,
    },
    /// The file, or what is packed in it, is over a limit.
    #[error("too large: {what} is over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, with its unit.
        limit: String,
    },
    /// Reading took too long and was stopped.
    #[error(
        "the reader took longer than {seconds} s and was stopped: the next run tries again; if it comes back, raise `ingest.timeout_s`"
    )]
    TooSlow {
        /// The time limit.
        seconds: u64,
    },
    /// Reading needed too much memory and was stopped.
    #[error(
        "the reader needed more than {mebibytes} MiB of memory and was stopped: the next run tries again; if it comes back, raise `ingest.memory_mib`"
    )]
    TooHungry {
        /// The memory limit.
        mebibytes: u64,
    },
    /// The process that reads files died or could not be started.
    #[error("the reader crashed ({how})")]
    Crashed {
        /// How it ended.
        how: String,
    },
}
