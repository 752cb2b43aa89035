//! The one table from what can go wrong to what a client of the server is told.
//!
//! A handler returns [`ApiError`]; libraries' errors become one by `From`. What the client may know (its own mistakes)
//! keeps its message; everything else gets a fixed text, and the cause goes to the log once, in [`crate::http::envelope`],
//! which also writes the body `{code, message, request_id}`.

use std::io;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use intramuros_models::ModelError;

use crate::answer::AnswerError;
use crate::app::AppError;
use crate::index::IndexError;
use crate::retrieve::RetrieveError;
use crate::state::StateError;
use crate::store::StoreError;

/// A refusal or a failure of a request.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: the request cannot be understood or asks for what is not possible.
    #[error("{0}")]
    Invalid(String),
    /// 401: nobody known asks.
    #[error("sign in, or send an API key: `Authorization: Bearer KEY`")]
    Unauthorized,
    /// 401: no such name with this password; which of them is wrong is not said.
    #[error("the name or the password is wrong")]
    WrongPassword,
    /// 403: somebody known asks for what only another role may do.
    #[error("{0}")]
    Forbidden(&'static str),
    /// 404: there is no such thing, or the caller may not know of it, which look the same.
    #[error("there is no such {0} that you can see")]
    NotFound(&'static str),
    /// 408: the client sent nothing for too long.
    #[error("nothing more of the body came for {seconds} s: send it faster, or in smaller parts")]
    SlowClient {
        /// How long the server waited.
        seconds: u64,
    },
    /// 409: it does not fit what is there.
    #[error("{0}")]
    Conflict(String),
    /// 413: the body is too large.
    #[error("{0}")]
    TooLarge(String),
    /// 429: the queue is full.
    #[error("too many requests are waiting: try again in {retry_after_s} s")]
    Busy {
        /// Seconds after which a place is likely.
        retry_after_s: u64,
    },
    /// 429: too many sign-ins failed.
    #[error("too many failed sign-ins: try again in {retry_after_s} s")]
    Throttled {
        /// Seconds after which another one is looked at.
        retry_after_s: u64,
    },
    /// 503: something that it needs is not there now.
    #[error("{message}")]
    Unavailable {
        /// What the client is told.
        message: &'static str,
        /// For the log.
        cause: anyhow::Error,
    },
    /// 504: it took too long.
    #[error("the request took longer than the server allows")]
    TimedOut,
    /// 500: anything else.
    #[error("the server failed; the administrator finds the cause in its log under the request id")]
    Internal(anyhow::Error),
}

impl ApiError {
    /// The status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized | Self::WrongPassword => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::SlowClient { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy { .. } | Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        code_of(self.status())
    }

    /// When to try again, in seconds, for `Retry-After`.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Busy { retry_after_s } | Self::Throttled { retry_after_s } => Some(*retry_after_s),
            _ => None,
        }
    }

    /// What only the log may hold.
    pub fn cause(&self) -> Option<&anyhow::Error> {
        match self {
            Self::Unavailable { cause, .. } | Self::Internal(cause) => Some(cause),
            _ => None,
        }
    }
}

/// The stable word of a status.
pub fn code_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 422 => "invalid_request",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        408 => "request_timeout",
        409 => "conflict",
        413 => "too_large",
        415 => "unsupported_media_type",
        429 => "busy",
        503 => "unavailable",
        504 => "timeout",
        400..=499 => "invalid_request",
        _ => "internal",
    }
}

/// Carries the error to [`crate::http::envelope`], which knows the request's id.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(std::sync::Arc::new(self));
        response
    }
}

impl From<StateError> for ApiError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::DiskFull => Self::Unavailable { message: DISK_FULL, cause: error.into() },
            StateError::Busy => Self::Busy { retry_after_s: 5 },
            other => Self::Internal(other.into()),
        }
    }
}

/// What clients are told where the disk is full.
pub const DISK_FULL: &str = "the server's disk is full; nothing acknowledged is lost";

/// A failure of the server's own disk.
impl From<io::Error> for ApiError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Unavailable { message: DISK_FULL, cause: error.into() }
            }
            _ => Self::Internal(error.into()),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DiskFull { .. } => Self::Unavailable { message: DISK_FULL, cause: error.into() },
            StoreError::Unreachable { .. } => {
                Self::Unavailable { message: "the vector store cannot be reached", cause: error.into() }
            }
            other => Self::Internal(other.into()),
        }
    }
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Busy { .. } => Self::Busy { retry_after_s: 5 },
            ModelError::PromptTooLong { .. } | ModelError::Grammar(_) => Self::Invalid(error.to_string()),
            ModelError::NotInstalled { .. } => {
                Self::Unavailable { message: "a model is not installed on the server", cause: error.into() }
            }
            ModelError::TooLarge { .. } | ModelError::KvTooSmall { .. } => {
                Self::Unavailable { message: "a model does not fit into the server's memory", cause: error.into() }
            }
            other => Self::Internal(other.into()),
        }
    }
}

impl From<RetrieveError> for ApiError {
    fn from(error: RetrieveError) -> Self {
        match error {
            RetrieveError::Model(error) => error.into(),
            RetrieveError::Store(error) => error.into(),
        }
    }
}

impl From<AnswerError> for ApiError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::EmptyQuestion | AnswerError::FormOfQuotes => Self::Invalid(error.to_string()),
            // Who asks over HTTP has no settings to change.
            AnswerError::LongQuestion { characters, most } => Self::Invalid(format!(
                "the question has {characters} characters and may have {most}: ask a shorter one"
            )),
            AnswerError::Retrieve(error) => error.into(),
            AnswerError::Model(error) => error.into(),
            other @ AnswerError::NoGenerator => Self::Internal(other.into()),
        }
    }
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Answer(error) => error.into(),
            AppError::Model(error) => error.into(),
            AppError::Store(error) => error.into(),
            AppError::State(error) => error.into(),
            other => Self::Internal(other.into()),
        }
    }
}

impl From<IndexError> for ApiError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::App(error) => error.into(),
            IndexError::State(error) => error.into(),
            other => Self::Internal(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_without_the_memory_it_needs_is_unavailable() {
        let error = ModelError::KvTooSmall { bytes: 1, needed: 2 };
        let cause = error.to_string();
        let told = ApiError::from(error);
        assert_eq!((told.status(), told.code()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
        assert!(told.to_string().contains("memory") && told.cause().unwrap().to_string() == cause, "{told}");
    }
}
