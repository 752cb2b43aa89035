//! An answer as the command line and the API return it.

use intramuros_ingest::document::{ContentHash, DocumentId, Language};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AnswerMode, Citation, LeftOut, Supported, Unsupported};
use crate::store::StoredChunk;

/// An answer, as `ask --json` and the API return it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// The text, each sentence followed by its citations `[n]`. In a given form, that alone; where there is no such answer,
    /// a sentence that says so, and `abstained`, `cut_off` or `no_room` is true.
    pub answer: String,
    /// What was looked for, where a follow-up was rewritten to stand alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// Nothing in the caller's documents was near enough, or none of an answer in a given form stands in them.
    pub abstained: bool,
    /// Probability that the passages answer the question; below `answer.min_relevance` there is no answer.
    #[serde(default)]
    pub relevance: f32,
    /// Where the passages do not answer, the documents that come nearest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<Nearest>,
    /// Parts of the question that no passage answers, where others are answered; the text says so too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<String>,
    /// Numbers of the citations that contradict each other, the later edition first; the text says so too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differing: Vec<usize>,
    /// What the text rests on.
    pub citations: Vec<Citation>,
    /// Sentences of the model that were taken out, with the reason. Of an answer in a given form, the values, and the names
    /// of members that it does not prescribe, that no passage supports: taken out where the form allows it, else `kept`.
    pub unsupported: Vec<Removed>,
    /// Of an answer in a given form, the values that passages support.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supported: Vec<Supported>,
    /// An answer in a given form was not whole when its tokens were used up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
    /// No passage had room beside the form of the answer, so that none was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_room: bool,
    /// Passages that were found and had no room.
    pub left_out: Vec<LeftOut>,
    /// The generator; `null` where none was used.
    pub model: Option<String>,
    /// Tokens used.
    pub usage: Usage,
    /// Where the time went.
    pub timings_ms: Timings,
    /// `generate` or `extract`: what the text is, after a fallback too.
    pub mode: AnswerMode,
    /// Whether exact quotes stand in place of the model's text: that did not hold or left something out, or the question is
    /// one that the model is not given (another language, a table, several parts, documents that differ).
    pub fell_back: bool,
    /// Language of the question, where clear.
    #[schema(value_type = Option<String>, example = "es")]
    pub language: Option<Language>,
    /// What is needed to make the same answer again.
    pub provenance: Provenance,
}

impl Answer {
    /// Whether it was asked for in a given form.
    pub fn is_formed(&self) -> bool {
        self.provenance.form_sha256.is_some()
    }

    /// Whether the text says why there is no answer in the form asked for.
    pub fn is_refusal(&self) -> bool {
        self.is_formed() && (self.abstained || self.cut_off || self.no_room)
    }
}

/// A document that comes near to the question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Nearest {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub document_id: DocumentId,
    /// Its title.
    pub title: String,
    /// Its address.
    pub uri: String,
}

/// A sentence that no passage supports; of an answer in a given form a value, or the name of a member that the form does
/// not prescribe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// As the model wrote it.
    pub sentence: String,
    /// What did not hold.
    pub reason: Unsupported,
    /// Of a value or a name, a JSON pointer: where it is in the answer, or where `null` stands in its place; of one that is
    /// gone altogether, where the model had put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether it is still in the answer, because the form leaves no way to take it out or nothing in it can be checked.
    #[serde(default)]
    pub kept: bool,
}

/// Tokens of a generation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: usize,
    /// Those that were still cached.
    pub cached_tokens: usize,
    /// Of the answer as written, before the check.
    pub completion_tokens: usize,
}

/// Milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timings {
    /// Search, the question's vector included.
    pub retrieve: f64,
    /// The model over the prompt.
    pub prefill: f64,
    /// The model writing.
    pub decode: f64,
    /// All of it.
    pub total: f64,
}

/// Pins an answer to what made it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Provenance {
    /// The embedder that made the index and the question's vector.
    pub embedder: String,
    /// SHA-256 of the rendered prompt.
    #[schema(value_type = Option<String>)]
    pub prompt_sha256: Option<ContentHash>,
    /// Passages in the order of their numbers: document, offsets and SHA-256 of the text.
    pub passages: Vec<PassageHash>,
    /// Of the random generator; `null` for greedy.
    pub seed: Option<u64>,
    /// SHA-256 of the schema or expression that the answer was to follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub form_sha256: Option<ContentHash>,
}

/// Pins a passage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PassageHash {
    /// Its document.
    #[schema(value_type = uuid::Uuid)]
    pub document_id: DocumentId,
    /// First character in the document's text.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// SHA-256 of the passage's text.
    #[schema(value_type = String)]
    pub sha256: ContentHash,
}

impl PassageHash {
    /// Of a passage.
    pub fn of(chunk: &StoredChunk) -> Self {
        Self {
            document_id: chunk.document_id,
            start: chunk.start,
            end: chunk.end,
            sha256: ContentHash::of(chunk.text.as_bytes()),
        }
    }
}
