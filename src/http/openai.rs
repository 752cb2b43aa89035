//! For any OpenAI client: `/v1/chat/completions`, `/v1/embeddings`, `/v1/models`.
//!
//! A chat answers from the caller's documents, with the same search, check and rights as `/api/v1/ask`; the citations come
//! beside the text. Where a form is asked for and the documents hold no answer in it, there is a `refusal`. Requests are read
//! leniently, as clients send much that has no meaning here (`temperature`, say); what would change the meaning of an answer
//! and is not done is refused by name.

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Shared;
use super::ask::{self, Asked, Heard, StreamEvent, Work};
use super::body::Body;
use super::envelope::{RequestId, error_body};
use super::format::ResponseFormat;
use crate::answer::{self, Answer, AnswerEvent, AnswerMode, Ask, Citation, Nearest, Removed, Supported};
use crate::auth::Identity;
use crate::error::ApiError;
use crate::state::now_ms;

pub mod embeddings;
pub mod models;

use models::{QUOTES, UNKNOWN_MODEL, WRITTEN};

/// A chat, in OpenAI's form.
#[derive(Deserialize, ToSchema)]
pub struct ChatRequest {
    /// `intramuros` or `intramuros-extract`.
    #[schema(example = "intramuros")]
    model: String,
    /// The last message of the role `user` is the question. Those before it tell what a follow-up such as «And in Spain?»
    /// refers to. No other message is given to the model: answers come from the documents.
    messages: Vec<ChatMessage>,
    /// Sends chunks while the answer is made.
    #[serde(default)]
    stream: Option<bool>,
    /// `include_usage` adds a last chunk with the tokens used.
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    /// Draws the words at random with this seed; without one the likeliest are taken.
    #[serde(default)]
    seed: Option<i64>,
    /// The longest answer in tokens, at most what the server is configured for.
    #[serde(default)]
    #[schema(minimum = 1)]
    max_tokens: Option<usize>,
    /// The newer name of `max_tokens`.
    #[serde(default)]
    #[schema(minimum = 1)]
    max_completion_tokens: Option<usize>,
    /// Only 1.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1)]
    n: Option<u32>,
    /// The form of the answer; `text` if not given. JSON comes when it is whole and checked, its `content` valid against the
    /// schema; other forms than `text` are for the model `intramuros`.
    #[serde(default)]
    response_format: Option<ResponseFormat>,
    /// None: there are no tools here.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Value>,
    /// None.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    functions: Option<Value>,
    /// None: an answer ends where its last sentence does.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    stop: Option<Value>,
    /// Only `false`.
    #[serde(default)]
    logprobs: Option<bool>,
}

impl ChatRequest {
    /// What would change the meaning of an answer and is not done, with the reason.
    fn not_done(&self) -> Option<&'static str> {
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        let given = |value: &Option<Value>| value.as_ref().is_some_and(|value| !is_empty(value));
        if self.n.is_some_and(|n| n != 1) {
            return Some("`n` must be 1: there is one answer to a question");
        }
        if self.max_tokens == Some(0) || self.max_completion_tokens == Some(0) {
            return Some("`max_tokens` and `max_completion_tokens` must be 1 at least");
        }
        if given(&self.tools) || given(&self.functions) {
            return Some("`tools` and `functions` must be left out: answers come from the documents and call nothing");
        }
        if given(&self.stop) {
            return Some("`stop` must be left out: an answer ends where its last checked sentence does");
        }
        self.logprobs
            .filter(|wanted| *wanted)
            .map(|_| "`logprobs` must be false: an answer is checked text, not tokens")
    }
}

/// A message of a chat.
#[derive(Deserialize, ToSchema)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    role: String,
    /// A text, or parts of the type `text`.
    #[serde(default)]
    content: Option<Content>,
}

/// The content of a message.
#[derive(Deserialize, ToSchema)]
#[serde(untagged, expecting = "must be a text or a list of parts of the type `text`")]
pub enum Content {
    /// Plainly.
    Text(String),
    /// In parts.
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Deserialize, ToSchema)]
pub struct Part {
    /// Only `text`.
    #[serde(rename = "type")]
    kind: String,
    /// The text.
    #[serde(default)]
    text: String,
}

/// What a stream tells besides.
#[derive(Deserialize, ToSchema)]
pub struct StreamOptions {
    /// Adds a last chunk with the tokens used.
    #[serde(default)]
    include_usage: bool,
}

/// A whole answer, in OpenAI's form.
#[derive(Serialize, ToSchema)]
pub struct ChatCompletion {
    id: String,
    object: &'static str,
    created: i64,
    model: String,
    choices: Vec<Choice>,
    usage: ChatUsage,
}

/// The one answer.
#[derive(Serialize, ToSchema)]
pub struct Choice {
    index: u32,
    message: ChatAnswer,
    finish_reason: &'static str,
}

/// The answer's text, and what it rests on.
#[derive(Serialize, ToSchema)]
pub struct ChatAnswer {
    role: &'static str,
    /// `null` where there is a refusal.
    content: Option<String>,
    /// Why there is no answer in the `response_format` asked for: the documents you can read do not support one, their
    /// passages have no room beside it, or it was not whole when its tokens were used up (then `finish_reason` is `length`).
    refusal: Option<String>,
    #[serde(flatten)]
    rests: Rests,
}

/// What an answer rests on and what it does not: additions to OpenAI's form.
#[derive(Serialize, ToSchema)]
pub struct Rests {
    /// What the marks `[n]` refer to, or what the values of another form rest on.
    citations: Vec<Citation>,
    /// Whether the documents you can read hold no answer.
    abstained: bool,
    /// Where they hold none, the documents that come nearest.
    nearest: Vec<Nearest>,
    /// Parts of the question that no passage answers.
    unanswered: Vec<String>,
    /// Numbers of the citations that contradict each other.
    differing: Vec<usize>,
    /// What was looked for, where a follow-up was rewritten to stand alone.
    asked: Option<String>,
    /// Of another form than `text`: the values that passages support, each with its citation.
    supported: Vec<Supported>,
    /// Sentences that were taken out. Of another form: values, and names of members that the schema does not have, that no
    /// passage supports; they are `null` or left out where the schema allows it, else `kept`.
    unsupported: Vec<Removed>,
}

impl From<&Answer> for Rests {
    fn from(answer: &Answer) -> Self {
        Self {
            citations: answer.citations.clone(),
            abstained: answer.abstained,
            nearest: answer.nearest.clone(),
            unanswered: answer.unanswered.clone(),
            differing: answer.differing.clone(),
            asked: answer.asked.clone(),
            supported: answer.supported.clone(),
            unsupported: answer.unsupported.clone(),
        }
    }
}

/// How an answer ended, in OpenAI's words.
fn finish_reason(answer: &Answer) -> &'static str {
    if answer.cut_off { "length" } else { "stop" }
}

/// Tokens used.
#[derive(Clone, Serialize, ToSchema)]
pub struct ChatUsage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
}

impl From<&Answer> for ChatUsage {
    fn from(answer: &Answer) -> Self {
        let (prompt_tokens, completion_tokens) = (answer.usage.prompt_tokens, answer.usage.completion_tokens);
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

/// Answers the last question of a chat from the documents that you can read.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "openai", request_body = ChatRequest,
    responses((status = 200, content((ChatCompletion = "application/json"), (StreamEvent = "text/event-stream"))),
        (status = 404, description = "there is no such model"), (status = 504, description = "it took longer than the server allows")))]
pub async fn chat(
    State(server): State<Shared>,
    Extension(id): Extension<RequestId>,
    identity: Identity,
    Body(request): Body<ChatRequest>,
) -> Result<Response, ApiError> {
    let mode = match request.model.as_str() {
        WRITTEN => AnswerMode::Generate,
        QUOTES => AnswerMode::Extract,
        _ => return Err(UNKNOWN_MODEL),
    };
    if let Some(reason) = request.not_done() {
        return Err(ApiError::Invalid(reason.to_owned()));
    }
    let (earlier, question) = questions(&request.messages)?;
    answer::validate(&question, &server.app().config().answer)?;
    let chunk =
        Chunk { id: format!("chatcmpl-{}", Uuid::new_v4().simple()), created: now_ms() / 1000, model: request.model };
    let grammar = ask::grammar(request.response_format, mode)?;
    let (work, form) = Work::begin(&server, &identity, id).await?.form(grammar).await?;
    let seed = request.seed.map(i64::cast_unsigned);
    let max_tokens = request.max_completion_tokens.or(request.max_tokens);
    let ask = Ask { seed, max_tokens, form, earlier, ..Ask::new(question, mode) };
    let asked = Asked { ask, thread: None };
    if request.stream.unwrap_or(false) {
        let with_usage = request.stream_options.is_some_and(|options| options.include_usage);
        return Ok(work.events(asked, move |heard, id| chunk.events(heard, with_usage, id)));
    }
    let answer = work.whole(asked).await?.answer;
    let (usage, rests) = (ChatUsage::from(&answer), Rests::from(&answer));
    let finish_reason = finish_reason(&answer);
    let (content, refusal) =
        if answer.is_refusal() { (None, Some(answer.answer)) } else { (Some(answer.answer), None) };
    let choices =
        vec![Choice { index: 0, message: ChatAnswer { role: "assistant", content, refusal, rests }, finish_reason }];
    let Chunk { id, created, model } = chunk;
    Ok(Json(ChatCompletion { id, object: "chat.completion", created, model, choices, usage }).into_response())
}

/// The question, and what the same person asked before it.
fn questions(messages: &[ChatMessage]) -> Result<(Vec<String>, String), ApiError> {
    let mut asked = messages.iter().rev().filter(|message| message.role == "user").map(ChatMessage::text);
    let missing = || ApiError::Invalid("`messages` holds no message of the role `user` with a content".into());
    let question = asked.next().transpose()?.flatten().ok_or_else(missing)?;
    // What cannot be read of earlier messages is nothing that the question could refer to.
    let mut earlier: Vec<String> = asked.filter_map(|text| text.ok().flatten()).take(ask::EARLIER).collect();
    earlier.reverse();
    Ok((earlier, question))
}

impl ChatMessage {
    /// Its text, where it has one.
    fn text(&self) -> Result<Option<String>, ApiError> {
        match &self.content {
            None => Ok(None),
            Some(Content::Text(text)) => Ok(Some(text.clone())),
            Some(Content::Parts(parts)) => {
                if let Some(part) = parts.iter().find(|part| part.kind != "text") {
                    return Err(ApiError::Invalid(format!(
                        "a part of the type `{}` cannot be read: only `text`",
                        part.kind
                    )));
                }
                Ok(Some(parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join("\n")))
            }
        }
    }
}

/// What all chunks of a stream have in common.
struct Chunk {
    id: String,
    created: i64,
    model: String,
}

impl Chunk {
    /// The events of a piece of an answer; `None` where there is nothing to tell.
    fn events(&self, heard: Heard<'_>, with_usage: bool, id: &RequestId) -> Vec<Event> {
        match heard {
            Heard::Begun => vec![self.delta(json!({ "role": "assistant", "content": "" }), None)],
            Heard::Event(AnswerEvent::Text(text)) => vec![self.delta(json!({ "content": text }), None)],
            Heard::Event(AnswerEvent::Refusal(text)) => vec![self.delta(json!({ "refusal": text }), None)],
            Heard::Event(AnswerEvent::Citation(_) | AnswerEvent::Waiting) => Vec::new(),
            Heard::Done(response) => {
                let answer = &response.answer;
                let mut events = vec![self.delta(json!(Rests::from(answer)), Some(finish_reason(answer)))];
                if with_usage {
                    events.push(self.event(json!([]), json!(ChatUsage::from(answer))));
                }
                events.push(Event::default().data("[DONE]"));
                events
            }
            Heard::Failed(error) => {
                let body = error_body(error.code(), error.to_string(), id, true);
                vec![Event::default().data(body.to_string())]
            }
        }
    }

    fn delta(&self, delta: Value, finish_reason: Option<&str>) -> Event {
        self.event(json!([{ "index": 0, "delta": delta, "finish_reason": finish_reason }]), Value::Null)
    }

    fn event(&self, choices: Value, usage: Value) -> Event {
        let Self { id, created, model } = self;
        let chunk = json!({
            "id": id, "object": "chat.completion.chunk", "created": created, "model": model, "choices": choices, "usage": usage,
        });
        Event::default().data(chunk.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(messages: Value) -> Result<String, ApiError> {
        questions(&serde_json::from_value::<Vec<ChatMessage>>(messages).unwrap()).map(|(_, question)| question)
    }

    #[test]
    fn the_last_message_of_the_user_is_the_question() {
        let chat = json!([
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "First?" },
            { "role": "assistant", "content": null },
            { "role": "user", "content": [{ "type": "text", "text": "Second" }, { "type": "text", "text": "part?" }] },
        ]);
        assert_eq!(asked(chat).unwrap(), "Second\npart?");
        assert!(asked(json!([{ "role": "system", "content": "x" }])).is_err());
        let image = asked(json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": {} }] }]));
        assert!(image.unwrap_err().to_string().contains("image_url"));
    }
}
