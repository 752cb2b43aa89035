//! `POST /api/v1/ask`: one JSON document, or events while the answer is made.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use intramuros_models::{CompiledGrammar, Grammar};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;
use uuid::Uuid;

use super::body::Body;
use super::envelope::{RequestId, error_body};
use super::format::ResponseFormat;
use super::limits::send_within;
use super::metrics::Ended;
use super::{Admitted, CancelOnDrop, Shared, conversations, links};
use crate::answer::{self, Answer, AnswerEvent, AnswerMode, Ask};
use crate::app::App;
use crate::auth::Identity;
use crate::error::ApiError;
use crate::state::conversations::{Kept, MAX_CONVERSATIONS, MAX_MESSAGES, Thread};

/// Earlier questions that a follow-up may refer to.
pub const EARLIER: usize = 8;

/// A question.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskRequest {
    /// In your own words, Spanish or English.
    #[schema(min_length = 1, example = "How many days of annual leave do I have?")]
    question: String,
    /// `generate` or `extract`; as configured if not given.
    mode: Option<AnswerMode>,
    /// Draws the words at random with this seed instead of taking the likeliest; the same seed gives the same answer.
    seed: Option<u64>,
    /// Sends events instead of one document, as `Accept: text/event-stream` does.
    #[serde(default)]
    stream: bool,
    /// The form that the answer is to have; sentences if not given. Not with the mode `extract`.
    response_format: Option<ResponseFormat>,
    /// A conversation of yours that question and answer are added to.
    conversation_id: Option<Uuid>,
    /// Begins a conversation with question and answer; the reply says which. Not together with `conversation_id`.
    #[serde(default)]
    new_conversation: bool,
}

/// An answer, and where it was kept.
#[derive(Serialize, ToSchema)]
pub struct AskResponse {
    /// The answer itself.
    #[serde(flatten)]
    pub answer: Answer,
    /// Its id in the conversation, for feedback; `null` where it is not kept: without a conversation, or in one that was
    /// deleted or filled up meanwhile.
    pub message_id: Option<Uuid>,
    /// The conversation that it is kept in; `null` where it is not.
    pub conversation_id: Option<Uuid>,
}

impl AskResponse {
    fn new(answer: Answer, kept: Option<Kept>) -> Self {
        let (message_id, conversation_id) = (kept.map(|kept| kept.message), kept.map(|kept| kept.conversation));
        Self { answer, message_id, conversation_id }
    }
}

/// One event of a stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the events, which are written line by line")]
pub struct StreamEvent {
    /// Its name, where events have names.
    event: Option<String>,
    /// JSON, or `[DONE]` at the end of a chat.
    data: String,
}

/// Answers from the documents that you can read, with citations.
///
/// With `stream` the events are `citation` (a citation, before the text that refers to it), `token` (`{"text"}`, a checked
/// piece of the answer), then `done` (the whole answer) or `error` (`{"code","message","request_id"}`).
#[utoipa::path(post, path = "/api/v1/ask", tag = "ask", request_body = AskRequest,
    responses((status = 200, content((AskResponse = "application/json"), (StreamEvent = "text/event-stream"))),
        (status = 404, description = "the conversation is not one of yours"),
        (status = 409, description = "the conversation is full"),
        (status = 504, description = "it took longer than the server allows")))]
pub async fn ask(
    State(server): State<Shared>,
    Extension(id): Extension<RequestId>,
    identity: Identity,
    headers: HeaderMap,
    Body(request): Body<AskRequest>,
) -> Result<Response, ApiError> {
    let settings = server.app().config();
    answer::validate(&request.question, &settings.answer)?;
    let thread = thread(&server, &identity, &request).await?;
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let stream = request.stream || accepted.is_some_and(|accept| accept.starts_with("text/event-stream"));
    let mode = request.mode.unwrap_or(settings.answer.mode);
    let grammar = grammar(request.response_format, mode)?;
    let (work, form) = Work::begin(&server, &identity, id).await?.form(grammar).await?;
    let earlier = match thread {
        Some(Thread::Of(id)) => server.app().state().questions(&identity.user, id, EARLIER).await?,
        _ => Vec::new(),
    };
    let ask = Ask { seed: request.seed, form, earlier, ..Ask::new(request.question, mode) };
    let asked = Asked { ask, thread };
    if stream {
        return Ok(work.events(asked, own_events));
    }
    Ok(Json(work.whole(asked).await?).into_response())
}

/// Where the answer is to be kept, if there is room.
async fn thread(server: &Shared, identity: &Identity, request: &AskRequest) -> Result<Option<Thread>, ApiError> {
    let state = server.app().state();
    match (request.conversation_id, request.new_conversation) {
        (None, false) => Ok(None),
        (None, true) if state.conversation_count(&identity.user).await? >= MAX_CONVERSATIONS => {
            Err(conversations::too_many())
        }
        (None, true) => Ok(Some(Thread::New)),
        (Some(_), true) => {
            Err(ApiError::Invalid("`conversation_id` and `new_conversation` exclude each other: send one".to_owned()))
        }
        (Some(id), false) => {
            state.conversation(&identity.user, id).await?.ok_or(ApiError::NotFound("conversation"))?;
            if state.message_count(id).await? >= MAX_MESSAGES {
                return Err(ApiError::Conflict(format!(
                    "the conversation has {MAX_MESSAGES} questions: begin a new one"
                )));
            }
            Ok(Some(Thread::Of(id)))
        }
    }
}

/// What the answer is asked to be. Whoever asks for what cannot be does not wait for a place first.
pub fn grammar(format: Option<ResponseFormat>, mode: AnswerMode) -> Result<Option<Grammar>, ApiError> {
    let grammar = format.and_then(ResponseFormat::grammar);
    answer::validate_form(grammar.is_some(), mode)?;
    Ok(grammar)
}

/// What is asked, and where it is kept.
pub struct Asked {
    /// The question.
    pub ask: Ask,
    /// A conversation of who asks, looked up already.
    pub thread: Option<Thread>,
}

/// An answer's place in the queue, reached.
pub struct Work {
    server: Shared,
    admitted: Admitted,
    id: RequestId,
}

impl Work {
    /// Waits for a place.
    pub async fn begin(server: &Shared, identity: &Identity, id: RequestId) -> Result<Self, ApiError> {
        Ok(Self { server: server.clone(), admitted: server.enter(&server.answers, identity).await?, id })
    }

    /// Compiles the form that an answer is to have, which may take a while.
    pub async fn form(self, grammar: Option<Grammar>) -> Result<(Self, Option<Arc<CompiledGrammar>>), ApiError> {
        let Some(grammar) = grammar else { return Ok((self, None)) };
        let threads = self.server.threads.clone();
        // The place in the queue goes along, so that nobody compiles more at a time by leaving early.
        let made = threads.spawn(move || Ok((self, Some(Arc::new(CompiledGrammar::new(grammar)?)))));
        made.await.map_err(|panicked| ApiError::Internal(panicked.into()))?
    }

    /// The whole answer. Dropping the future stops the work.
    pub async fn whole(self, asked: Asked) -> Result<AskResponse, ApiError> {
        let (_guard, cancelled) = CancelOnDrop::new();
        let threads = self.server.threads.clone();
        let made = threads.spawn(move || self.make(&asked, &cancelled, &mut |_| true));
        made.await.map_err(|panicked| ApiError::Internal(panicked.into()))?
    }

    /// Runs in a thread of its own; `hear` may block, and returns `false` when nobody listens any more.
    fn make(
        self,
        asked: &Asked,
        cancelled: &AtomicBool,
        hear: &mut dyn FnMut(AnswerEvent<'_>) -> bool,
    ) -> Result<AskResponse, ApiError> {
        let Self { server, admitted: Admitted { pass, identity, deadline }, .. } = self;
        let _held = (pass, server.runner.asking());
        let app = server.app();
        let mut late = false;
        let mut answer = app.ask(&identity.caller, &asked.ask, &mut |event| {
            late = late || Instant::now() > deadline;
            if late || cancelled.load(Ordering::Relaxed) {
                return false;
            }
            match event {
                AnswerEvent::Citation(citation) => hear(AnswerEvent::Citation(&links::of_citation(citation.clone()))),
                other => hear(other),
            }
        })?;
        answer.citations = answer.citations.into_iter().map(links::of_citation).collect();
        answer.nearest.iter_mut().for_each(|document| links::of_document(&mut document.uri, document.document_id));
        let abandoned = cancelled.load(Ordering::Relaxed);
        server.metrics.answer(
            &answer,
            if late {
                Ended::Late
            } else if abandoned {
                Ended::Abandoned
            } else {
                Ended::Whole
            },
        );
        if late {
            return Err(ApiError::TimedOut);
        }
        if abandoned {
            // Nobody was told of this answer, and it may be half of one.
            return Ok(AskResponse::new(answer, None));
        }
        let kept = keep(app, &identity, asked, &answer)?;
        Ok(AskResponse::new(answer, kept))
    }

    /// The answer as events, in whatever form `shape` gives each piece.
    pub fn events(
        self,
        asked: Asked,
        shape: impl Fn(Heard<'_>, &RequestId) -> Vec<Event> + Send + 'static,
    ) -> Response {
        // A reader that falls behind holds up its own answer, and only for as long as a slow client may take.
        let (sender, receiver) = mpsc::channel::<Result<Event, Infallible>>(64);
        let threads = self.server.threads.clone();
        threads.spawn(move || {
            let (server, id) = (self.server.clone(), self.id.clone());
            let patience = Duration::from_secs(server.app().config().server.slow_client_s);
            let send = |heard: Heard<'_>| {
                let mut sent = !sender.is_closed();
                for event in shape(heard, &id) {
                    sent = sent && send_within(&sender, Ok(event), patience);
                }
                sent
            };
            send(Heard::Begun);
            let left = AtomicBool::new(false);
            let mut hear = |event: AnswerEvent<'_>| {
                let heard = send(Heard::Event(event));
                if !heard {
                    left.store(true, Ordering::Relaxed);
                }
                heard
            };
            let made = catch_unwind(AssertUnwindSafe(|| self.make(&asked, &left, &mut hear)));
            match made.unwrap_or_else(|_| Err(ApiError::Internal(anyhow::anyhow!("an answer panicked")))) {
                Ok(response) => send(Heard::Done(&response)),
                Err(error) => {
                    if let Some(cause) = error.cause() {
                        tracing::error!(request_id = id.0, "an answer broke off: {cause:#}");
                    }
                    send(Heard::Failed(&error))
                }
            };
        });
        Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default()).into_response()
    }
}

/// A piece of an answer in the making.
pub enum Heard<'a> {
    /// Nothing yet.
    Begun,
    /// Text or a citation.
    Event(AnswerEvent<'a>),
    /// The whole of it.
    Done(&'a AskResponse),
    /// There will be no more.
    Failed(&'a ApiError),
}

/// The events of `/api/v1/ask`.
fn own_events(heard: Heard<'_>, id: &RequestId) -> Vec<Event> {
    match heard {
        Heard::Begun | Heard::Event(AnswerEvent::Waiting) => Vec::new(),
        Heard::Event(AnswerEvent::Text(text) | AnswerEvent::Refusal(text)) => {
            vec![json_event("token", &serde_json::json!({ "text": text }))]
        }
        Heard::Event(AnswerEvent::Citation(citation)) => vec![json_event("citation", citation)],
        Heard::Done(response) => vec![json_event("done", response)],
        Heard::Failed(error) => {
            vec![json_event("error", &error_body(error.code(), error.to_string(), id, false))]
        }
    }
}

/// Adds question and answer to the conversation, if there is one.
fn keep(app: &App, identity: &Identity, asked: &Asked, answer: &Answer) -> Result<Option<Kept>, ApiError> {
    let Some(thread) = asked.thread else { return Ok(None) };
    // The conversation may have been deleted or filled up meanwhile.
    Ok(app.wait(app.state().add_message(&identity.user, thread, &asked.ask.question, answer))?)
}

fn json_event(name: &str, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).expect("answers serialise");
    Event::default().event(name).data(data)
}
