//! `GET /metrics`, in Prometheus' text format. Labels are routes and statuses: never a question, a title or a name.

use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::Shared;
use crate::answer::{Answer, AnswerMode};
use crate::error::ApiError;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Lane {
    lane: &'static str,
}

/// What is counted.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    waiting: Family<Lane, Gauge>,
    /// Tokens that the generator wrote, kept or not.
    pub completion_tokens: Counter,
    /// Tokens of prompts.
    pub prompt_tokens: Counter,
    /// Answers by the name of their outcome.
    answers: Family<Outcome, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// How far an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// To its end.
    Whole,
    /// Nobody waited for it.
    Abandoned,
    /// The time was up.
    Late,
}

fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 15))
}

impl Metrics {
    /// All of them at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("intramuros");
        let requests = Family::default();
        let seconds: Family<Route, Histogram, fn() -> Histogram> = Family::new_with_constructor(histogram);
        let waiting = Family::default();
        let (completion_tokens, prompt_tokens, answers) = (Counter::default(), Counter::default(), Family::default());
        registry.register("http_requests", "Requests by route and status", Family::clone(&requests));
        registry.register("http_request_seconds", "Time until the head of the response", Family::clone(&seconds));
        registry.register("waiting_requests", "Requests waiting for a place", Family::clone(&waiting));
        registry.register("completion_tokens", "Tokens written by the generator", completion_tokens.clone());
        registry.register("prompt_tokens", "Tokens of prompts", prompt_tokens.clone());
        registry.register(
            "answers",
            "Answers by outcome: written, quotes, abstained, abandoned, late",
            Family::clone(&answers),
        );
        Self { registry, requests, seconds, waiting, completion_tokens, prompt_tokens, answers }
    }

    /// Counts a request by its route's pattern.
    pub fn request(&self, route: &str, status: u16, took: Duration) {
        self.requests.get_or_create(&Request { route: route.to_owned(), status }).inc();
        self.seconds.get_or_create(&Route { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    /// Counts an answer, or what there was of it.
    pub fn answer(&self, answer: &Answer, ended: Ended) {
        let outcome = match (ended, answer.abstained, answer.mode) {
            (Ended::Abandoned, ..) => "abandoned",
            (Ended::Late, ..) => "late",
            (Ended::Whole, true, _) => "abstained",
            (Ended::Whole, false, AnswerMode::Generate) => "written",
            (Ended::Whole, false, AnswerMode::Extract) => "quotes",
        };
        self.answers.get_or_create(&Outcome { outcome }).inc();
        self.prompt_tokens.inc_by(answer.usage.prompt_tokens as u64);
        self.completion_tokens.inc_by(answer.usage.completion_tokens as u64);
    }
}

/// Figures for Prometheus. They name no person, question or document.
#[utoipa::path(get, path = "/metrics", tag = "operations", security(()),
    responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
pub async fn metrics(State(server): State<Shared>) -> Result<Response, ApiError> {
    let metrics = &server.metrics;
    let gates = [
        ("search", &server.searches),
        ("answer", &server.answers),
        ("embedding", &server.embeddings),
        ("list", &server.lists),
        ("upload", &server.uploads),
        ("original", &server.originals),
    ];
    for (lane, gate) in gates {
        metrics.waiting.get_or_create(&Lane { lane }).set(gate.waiting() as i64);
    }
    let mut text = String::new();
    encode(&mut text, &metrics.registry).map_err(|error| ApiError::Internal(error.into()))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
