//! `/api/v1/conversations` and `/api/v1/feedback`: a person's own questions and answers.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Shared;
use super::body::Body;
use super::limits::within;
use crate::auth::Identity;
use crate::error::ApiError;
use crate::state::conversations::{ConversationRecord, MAX_CONVERSATIONS, MessageRecord, Page, Rating};

/// Characters of the longest title and of the longest comment.
const MAX_TITLE: usize = 200;
const MAX_COMMENT: usize = 4000;
/// Conversations in one reply.
const MOST: u32 = 200;

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

/// Which conversations to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// At most so many, 1 to 200; 200 if not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Your conversations, the latest first.
#[derive(Serialize, ToSchema)]
pub struct Conversations {
    conversations: Vec<ConversationRecord>,
    /// Passed as `after`, gives the page that follows; `null` on the last one.
    next: Option<String>,
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

/// Lists your conversations, the latest first.
#[utoipa::path(get, path = "/api/v1/conversations", tag = "conversations", params(ListQuery),
    responses((status = 200, body = Conversations)))]
pub async fn list(
    State(server): State<Shared>,
    identity: Identity,
    Query(query): Query<ListQuery>,
) -> Result<Json<Conversations>, ApiError> {
    let limit = within("limit", query.limit.unwrap_or(MOST), MOST)?;
    let after = query.after.as_deref().map(decode_cursor).transpose()?;
    let page = Page { after, limit: limit + 1 };
    let mut conversations = server.app().state().conversations(&identity.user, &page).await?;
    let more = conversations.len() > limit as usize;
    conversations.truncate(limit as usize);
    let next = conversations.last().filter(|_| more).map(encode_cursor);
    Ok(Json(Conversations { conversations, next }))
}

/// Begins a conversation. Somebody who has 1000 deletes some before.
#[utoipa::path(post, path = "/api/v1/conversations", tag = "conversations", request_body = Titled,
    responses((status = 201, body = ConversationRecord), (status = 409, description = "you have too many")))]
pub async fn create(
    State(server): State<Shared>,
    identity: Identity,
    Body(request): Body<Titled>,
) -> Result<(StatusCode, Json<ConversationRecord>), ApiError> {
    let title = bounded("title", request.title.trim(), MAX_TITLE)?;
    let record = server.app().state().create_conversation(&identity.user, title).await?;
    Ok((StatusCode::CREATED, Json(record.ok_or_else(too_many)?)))
}

/// The refusal of one conversation more.
pub(super) fn too_many() -> ApiError {
    ApiError::Conflict(format!("you have {MAX_CONVERSATIONS} conversations: delete some that you need no more"))
}

/// A conversation with its questions and answers. An answer is withheld that rests on what you can no
/// longer read, or on a document that was changed or deleted since.
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

fn encode_cursor(last: &ConversationRecord) -> String {
    format!("{}.{}", last.updated_ms, last.conversation_id)
}

fn decode_cursor(text: &str) -> Result<(i64, Uuid), ApiError> {
    let place = text.split_once('.').and_then(|(ms, id)| Some((ms.parse().ok()?, id.parse().ok()?)));
    place.ok_or_else(|| ApiError::Invalid("`after` is not the `next` of an earlier page".to_owned()))
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
