//! `/api/v1/conversations` and `/api/v1/feedback`: a person's own questions and answers.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Shared;
use super::body::Body;
use crate::auth::Identity;
use crate::error::ApiError;
use crate::state::conversations::{ConversationRecord, MessageRecord, Rating};

/// Characters of the longest title and of the longest comment.
const MAX_TITLE: usize = 200;
const MAX_COMMENT: usize = 4000;

const UNKNOWN: ApiError = ApiError::NotFound("conversation");

/// A new conversation, or another title.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Titled {
    /// Without one, the first question becomes it.
    #[serde(default)]
    #[schema(max_length = 200)]
    title: String,
}

/// Your conversations, the latest first.
#[derive(Serialize, ToSchema)]
pub struct Conversations {
    conversations: Vec<ConversationRecord>,
}

/// A conversation with all that is in it.
#[derive(Serialize, ToSchema)]
pub struct Conversation {
    #[serde(flatten)]
    record: ConversationRecord,
    messages: Vec<MessageRecord>,
}

/// What you think of an answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// The `message_id` that came with the answer.
    message_id: Uuid,
    /// `up` or `down`.
    rating: Rating,
    /// In your own words.
    #[serde(default)]
    #[schema(max_length = 4000)]
    comment: String,
}

/// Lists your conversations.
#[utoipa::path(get, path = "/api/v1/conversations", tag = "conversations",
    responses((status = 200, body = Conversations)))]
pub async fn list(State(server): State<Shared>, identity: Identity) -> Result<Json<Conversations>, ApiError> {
    let conversations = server.app().state().conversations(&identity.user).await?;
    Ok(Json(Conversations { conversations }))
}

/// Begins a conversation.
#[utoipa::path(post, path = "/api/v1/conversations", tag = "conversations", request_body = Titled,
    responses((status = 201, body = ConversationRecord)))]
pub async fn create(
    State(server): State<Shared>,
    identity: Identity,
    Body(request): Body<Titled>,
) -> Result<(StatusCode, Json<ConversationRecord>), ApiError> {
    let title = bounded("title", request.title.trim(), MAX_TITLE)?;
    let record = server.app().state().create_conversation(&identity.user, title).await?;
    Ok((StatusCode::CREATED, Json(record)))
}

/// A conversation with its questions and answers. An answer that rests on what you can no longer read is withheld.
#[utoipa::path(get, path = "/api/v1/conversations/{id}", tag = "conversations", params(("id" = Uuid, Path)),
    responses((status = 200, body = Conversation)))]
pub async fn get(
    State(server): State<Shared>,
    identity: Identity,
    Path(id): Path<String>,
) -> Result<Json<Conversation>, ApiError> {
    let (state, id) = (server.app().state(), parsed(&id)?);
    let record = state.conversation(&identity.user, id).await?.ok_or(UNKNOWN)?;
    let messages = state.messages(&identity.caller, &identity.user, id).await?;
    Ok(Json(Conversation { record, messages }))
}

/// Gives a conversation another title.
#[utoipa::path(patch, path = "/api/v1/conversations/{id}", tag = "conversations", params(("id" = Uuid, Path)),
    request_body = Titled, responses((status = 200, body = ConversationRecord)))]
pub async fn rename(
    State(server): State<Shared>,
    identity: Identity,
    Path(id): Path<String>,
    Body(request): Body<Titled>,
) -> Result<Json<ConversationRecord>, ApiError> {
    let (state, id) = (server.app().state(), parsed(&id)?);
    let title = bounded("title", request.title.trim(), MAX_TITLE)?;
    if title.is_empty() {
        return Err(ApiError::Invalid("`title` is empty".into()));
    }
    state.rename_conversation(&identity.user, id, title).await?;
    Ok(Json(state.conversation(&identity.user, id).await?.ok_or(UNKNOWN)?))
}

/// Deletes a conversation with all that is in it.
#[utoipa::path(delete, path = "/api/v1/conversations/{id}", tag = "conversations", params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub async fn delete(
    State(server): State<Shared>,
    identity: Identity,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let deleted = server.app().state().delete_conversation(&identity.user, parsed(&id)?).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(UNKNOWN) }
}

/// Keeps what you think of one of your answers, in place of what you thought before.
#[utoipa::path(post, path = "/api/v1/feedback", tag = "conversations", request_body = Feedback,
    responses((status = 204), (status = 404, description = "the answer is not one of yours")))]
pub async fn rate(
    State(server): State<Shared>,
    identity: Identity,
    Body(request): Body<Feedback>,
) -> Result<StatusCode, ApiError> {
    let comment = bounded("comment", request.comment.trim(), MAX_COMMENT)?;
    let known = server.app().state().rate(&identity.user, request.message_id, request.rating, comment).await?;
    if known { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::NotFound("message")) }
}

fn parsed(id: &str) -> Result<Uuid, ApiError> {
    id.parse().map_err(|_| UNKNOWN)
}

fn bounded<'a>(field: &str, text: &'a str, most: usize) -> Result<&'a str, ApiError> {
    let characters = text.chars().count();
    if characters > most {
        return Err(ApiError::Invalid(format!("`{field}` has {characters} characters and may have {most}")));
    }
    Ok(text)
}
