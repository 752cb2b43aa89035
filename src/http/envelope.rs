//! What every request passes: its id, its line in the log, its count, security headers, and the one shape of errors.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Shared;
use crate::error::{ApiError, code_of};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id under which a request stands in the log.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Marks a response whose body stays as it is although its status is an error's.
#[derive(Clone, Copy, Debug)]
pub struct AsIs;

/// The body of every error of `/api/v1`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// A stable word for programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// Where the administrator finds it in the log.
    pub request_id: String,
}

/// The body of every error of `/v1`, in OpenAI's form.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAiError {
    error: OpenAiErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAiErrorDetail {
    message: String,
    r#type: String,
    code: String,
    param: Option<String>,
    request_id: String,
}

/// The outermost layer.
pub async fn wrap(State(server): State<Shared>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId(Uuid::new_v4().simple().to_string());
    let path = request.uri().path();
    let openai = path.starts_with("/v1/");
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    request.extensions_mut().insert(id.clone());

    let response = next.run(request).await;
    let status = response.status();
    let mut response = if status.is_client_error() || status.is_server_error() {
        let most_kib = server.app().config().server.max_body_kib;
        told(response, &id, openai, most_kib).await
    } else {
        response
    };
    let (took, status) = (started.elapsed(), response.status());
    server.metrics.request(&route, status.as_u16(), took);
    tracing::info!(request_id = id.0, %method, route, status = status.as_u16(), took_ms = took.as_millis() as u64);

    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    secure(headers);
    response
}

/// Replaces the body of an error by the one shape, and logs what only the log may hold.
async fn told(response: Response, id: &RequestId, openai: bool, most_kib: usize) -> Response {
    let status = response.status();
    let (mut parts, body) = response.into_parts();
    let is_page = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page || parts.extensions.get::<AsIs>().is_some() {
        return Response::from_parts(parts, body);
    }
    let error = parts.extensions.remove::<Arc<ApiError>>();
    if let Some(cause) = error.as_ref().and_then(|error| error.cause()) {
        tracing::error!(request_id = id.0, "{cause:#}");
    }
    let message = match &error {
        Some(error) => error.to_string(),
        // What axum's own extractors refuse, they say in plain text.
        None if status == StatusCode::PAYLOAD_TOO_LARGE => {
            format!("the body may have {most_kib} KiB: send less at a time")
        }
        None if status.is_client_error() => refusal(status, body).await,
        None => ApiError::Internal(anyhow::anyhow!("no cause")).to_string(),
    };
    let code = error.as_ref().map_or(code_of(status), |error| error.code());
    // One status for what cannot be understood, whichever extractor noticed.
    let status = if status == StatusCode::UNPROCESSABLE_ENTITY { StatusCode::BAD_REQUEST } else { status };
    let body = error_body(code, message, id, openai);
    let mut response = (status, axum::Json(body)).into_response();
    if let Some(seconds) = error.as_deref().and_then(ApiError::retry_after_s) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(allow) = parts.headers.remove(header::ALLOW) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// The error as JSON: OpenAI's shape for its clients, the product's own elsewhere.
pub fn error_body(code: &str, message: String, id: &RequestId, openai: bool) -> serde_json::Value {
    let (code, request_id) = (code.to_owned(), id.0.clone());
    if openai {
        let error = OpenAiErrorDetail { message, r#type: code.clone(), code, param: None, request_id };
        return serde_json::json!(OpenAiError { error });
    }
    serde_json::json!(ErrorBody { code, message, request_id })
}

async fn refusal(status: StatusCode, body: Body) -> String {
    const MOST: usize = 4096;
    let text = to_bytes(body, MOST).await.ok().and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    match text.filter(|text| !text.trim().is_empty()) {
        Some(text) => in_plain_words(&text),
        None if status == StatusCode::NOT_FOUND => "there is no such route; /openapi.json lists them".to_owned(),
        None if status == StatusCode::METHOD_NOT_ALLOWED => {
            "the route has no such method; `Allow` names those it has, /openapi.json says what they do".to_owned()
        }
        None => status.canonical_reason().unwrap_or("the request was refused").to_lowercase(),
    }
}

/// What serde says of types, in words of JSON and not of this program.
fn in_plain_words(text: &str) -> String {
    let mut plain = text.replace("Failed to deserialize the JSON body into the target type: ", "");
    for name in ["usize", "u64", "u32", "i64", "u8"] {
        plain = plain.replace(&format!("expected {name}"), "expected a whole number");
    }
    if let Some((before, after)) = plain.split_once("expected struct ") {
        let rest = after.trim_start_matches(|c: char| c.is_alphanumeric());
        plain = format!("{before}expected an object{rest}");
    }
    plain.replace("invalid digit found in string", "it must be a whole number")
}

/// Turns a panic of a handler into an error; the panic itself stands in the log already.
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::Internal(anyhow::anyhow!("a handler panicked")).into_response()
}

/// Nothing of ours is framed, sniffed, cached by others or refers to elsewhere. Pages set a policy of their own.
fn secure(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serde_says_becomes_plain() {
        for (said, plain) in [
            (
                "Failed to deserialize the JSON body into the target type: k: invalid type: string \"3\", expected usize at line 1 column 9",
                "k: invalid type: string \"3\", expected a whole number at line 1 column 9",
            ),
            (
                "invalid type: integer `7`, expected struct AskRequest at line 1",
                "invalid type: integer `7`, expected an object at line 1",
            ),
            (
                "Failed to deserialize query string: limit: invalid digit found in string",
                "Failed to deserialize query string: limit: it must be a whole number",
            ),
        ] {
            assert_eq!(in_plain_words(said), plain);
        }
    }
}
