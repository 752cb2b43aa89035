//! `/v1/embeddings`: vectors of the index's own embedder.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::models::{UNKNOWN_MODEL, embedder_name};
use crate::app::App;
use crate::auth::Identity;
use crate::error::ApiError;
use crate::http::body::Body;
use crate::http::{Cancelled, Shared};

/// Texts of one request for embeddings.
const MAX_INPUTS: usize = 256;
/// Texts that are embedded before it is looked whether the client is still there.
const INPUTS_AT_ONCE: usize = 16;

/// Texts to embed, in OpenAI's form.
#[derive(Deserialize, ToSchema)]
pub struct EmbeddingRequest {
    /// The embedder, as `/v1/models` lists it.
    #[schema(example = "all-MiniLM-L6-v2")]
    model: String,
    /// A text or up to 256 of them, each no longer than the embedder's window.
    input: Input,
    /// `float` or `base64` (little-endian 32-bit floats).
    #[serde(default)]
    encoding_format: EncodingFormat,
    /// Only the embedder's own number.
    #[serde(default)]
    dimensions: Option<usize>,
    /// `passage` or `query`, for embedders that tell them apart; an addition to OpenAI's form.
    #[serde(default)]
    input_type: InputType,
}

/// One text or several.
#[derive(Deserialize, ToSchema)]
#[serde(untagged, expecting = "must be a text or a list of texts")]
pub enum Input {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
    /// Token ids, which another model's tokenizer made and which say nothing to this one: refused.
    Tokens(Vec<TokenIds>),
}

/// Token ids of one text or of several.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only what they are is looked at")]
pub enum TokenIds {
    /// Of the one text.
    Of(u64),
    /// Of one of several.
    List(Vec<u64>),
}

/// How a vector is written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFormat {
    /// A list of numbers.
    #[default]
    Float,
    /// Little-endian 32-bit floats.
    Base64,
}

/// What a text is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    /// Something to be found.
    #[default]
    Passage,
    /// Something to find with.
    Query,
}

/// Vectors, in OpenAI's form.
#[derive(Serialize, ToSchema)]
pub struct Embeddings {
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: EmbeddingUsage,
}

/// One vector.
#[derive(Serialize, ToSchema)]
pub struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

/// A vector as asked for.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Vector {
    /// Numbers.
    Float(Vec<f32>),
    /// Little-endian 32-bit floats.
    Base64(String),
}

/// Tokens embedded.
#[derive(Serialize, ToSchema)]
pub struct EmbeddingUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// Embeds texts with the embedder of the index.
#[utoipa::path(post, path = "/v1/embeddings", tag = "openai", request_body = EmbeddingRequest,
    responses((status = 200, body = Embeddings), (status = 404, description = "there is no such model"),
        (status = 504, description = "it took longer than the server allows")))]
pub async fn embeddings(
    State(server): State<Shared>,
    identity: Identity,
    Body(request): Body<EmbeddingRequest>,
) -> Result<Json<Embeddings>, ApiError> {
    if request.model != embedder_name(server.app())? {
        return Err(UNKNOWN_MODEL);
    }
    let texts = match request.input {
        Input::One(text) => vec![text],
        Input::Many(texts) => texts,
        Input::Tokens(ids) => {
            return Err(ApiError::Invalid(format!(
                "`input` is token ids ({} of them), which belong to another model's tokenizer: send texts (LangChain: \
                 `check_embedding_ctx_length=False`)",
                ids.len()
            )));
        }
    };
    if texts.is_empty() || texts.len() > MAX_INPUTS {
        return Err(ApiError::Invalid(format!("`input` holds {} texts and must hold 1 to {MAX_INPUTS}", texts.len())));
    }
    let (dimensions, kind, format) = (request.dimensions, request.input_type, request.encoding_format);
    let work = move |app: &App, _: &Identity, left: &Cancelled| embed(app, &texts, dimensions, kind, left);
    let (vectors, tokens) = server.blocking(&server.embeddings, &identity, work).await?;
    let written = |vector: Vec<f32>| match format {
        EncodingFormat::Float => Vector::Float(vector),
        EncodingFormat::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            Vector::Base64(STANDARD.encode(bytes))
        }
    };
    let embedding = |(index, vector)| Embedding { object: "embedding", index, embedding: written(vector) };
    let data = vectors.into_iter().enumerate().map(embedding).collect();
    let usage = EmbeddingUsage { prompt_tokens: tokens, total_tokens: tokens };
    Ok(Json(Embeddings { object: "list", data, model: request.model, usage }))
}

fn embed(
    app: &App,
    texts: &[String],
    dimensions: Option<usize>,
    kind: InputType,
    left: &Cancelled,
) -> Result<(Vec<Vec<f32>>, usize), ApiError> {
    let embedder = app.embedder()?;
    if dimensions.is_some_and(|wanted| wanted != embedder.dimensions()) {
        let own = embedder.dimensions();
        return Err(ApiError::Invalid(format!("`dimensions` must be {own}, the embedder's own number, or left out")));
    }
    let mut tokens = 0;
    for (i, text) in texts.iter().enumerate() {
        let own = embedder.count_tokens(text);
        if text.trim().is_empty() {
            return Err(ApiError::Invalid(format!("text {i} of `input` is empty")));
        }
        if own > embedder.max_tokens() {
            let most = embedder.max_tokens();
            return Err(ApiError::Invalid(format!(
                "text {i} of `input` has {own} tokens and may have {most}: split it"
            )));
        }
        tokens += own;
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut vectors = Vec::with_capacity(texts.len());
    for some in texts.chunks(INPUTS_AT_ONCE) {
        if left.load(Ordering::Relaxed) {
            return Err(ApiError::TimedOut);
        }
        match kind {
            InputType::Passage => vectors.extend(embedder.embed_passages(some)?),
            InputType::Query => {
                for text in some {
                    vectors.push(embedder.embed_query(text)?);
                }
            }
        }
    }
    Ok((vectors, tokens))
}
