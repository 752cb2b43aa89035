//! JSON as clients send it.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::Shared;
use crate::error::ApiError;

/// The body of a request, a JSON object; what is wrong with another one is told with its place.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, server: &Shared) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let bytes = in_time(server, Bytes::from_request(Request::from_parts(parts.clone(), body), server)).await;
        let bytes = bytes.map_err(IntoResponse::into_response)?.map_err(IntoResponse::into_response)?;
        // A list would be taken field by field, and an empty one for an object without fields.
        if bytes.trim_ascii_start().starts_with(b"[") {
            let message = "the body is a list and must be an object: `{…}`".to_owned();
            return Err(ApiError::Invalid(message).into_response());
        }
        let request = Request::from_parts(parts, bytes.into());
        let read = <Json<T> as FromRequest<Shared>>::from_request(request, server).await;
        read.map(|Json(value)| Self(value)).map_err(IntoResponse::into_response)
    }
}

/// Gives up on a client that does not send its body, which is small, in time.
pub async fn in_time<T>(server: &Shared, reading: impl Future<Output = T>) -> Result<T, ApiError> {
    let seconds = server.app().config().server.slow_client_s;
    let read = tokio::time::timeout(Duration::from_secs(seconds), reading).await;
    read.map_err(|_| ApiError::SlowClient { seconds })
}

/// Where a body may be left out.
impl<T: DeserializeOwned> OptionalFromRequest<Shared> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, server: &Shared) -> Result<Option<Self>, Response> {
        if request.headers().get(header::CONTENT_TYPE).is_none() {
            return Ok(None);
        }
        <Self as FromRequest<Shared>>::from_request(request, server).await.map(Some)
    }
}
