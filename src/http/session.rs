//! `/api/v1/session`: signing in and out of a browser, and who one is.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shared;
use super::body::Body;
use super::serve::Peer;
use crate::auth::{self, Asked, Known, Role};
use crate::error::ApiError;

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// As the administrator created it.
    #[schema(example = "ana")]
    user: String,
    /// Sent over TLS, or from the server's own machine.
    #[schema(format = Password)]
    password: String,
}

/// Somebody known.
#[derive(Serialize, ToSchema)]
pub struct Who {
    /// The name.
    user: String,
    /// What they may do beside reading.
    role: Role,
    /// The groups whose documents they read, beside their own and everyone's.
    groups: Vec<String>,
    /// What a browser sends as `X-CSRF-Token` with whatever is not GET; `null` with an API key, which needs none.
    csrf_token: Option<String>,
    /// When the browser must sign in again, in milliseconds since 1970; `null` with an API key.
    expires_ms: Option<i64>,
}

impl From<Known> for Who {
    fn from(known: Known) -> Self {
        let (csrf_token, expires_ms) = match &known {
            Known::Browser(session) => (Some(session.csrf_token.clone()), Some(session.expires_ms)),
            Known::Key(_) => (None, None),
        };
        let identity = known.into_identity();
        Self { groups: identity.groups(), user: identity.user, role: identity.role, csrf_token, expires_ms }
    }
}

/// Signs in with name and password. The cookie `intramuros_session` that comes back is the session.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = SignIn, security(()),
    responses((status = 401, description = "the name or the password is wrong"), (status = 200, body = Who, headers(("Set-Cookie" = String, description = "The session, for this server only")))))]
pub async fn begin(
    State(server): State<Shared>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Body(request): Body<SignIn>,
) -> Result<(HeaderMap, Json<Who>), ApiError> {
    let peer = peer.map(|Extension(Peer(address))| address);
    let asked = Asked { headers: &headers, peer, name: &request.user, password: &request.password };
    let signed_in = auth::sign_in(&server, &asked).await?;
    let cookies = signed_in.cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie)).collect();
    Ok((cookies, Json(Known::Browser(signed_in.session).into())))
}

/// Who you are, by key or by session.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses((status = 200, body = Who)))]
pub async fn who(known: Known) -> Json<Who> {
    Json(known.into())
}

/// Signs out: the session ends. An API key has none and is revoked on the server's command line.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses((status = 204),
    (status = 400, description = "an API key has no session")))]
pub async fn end(
    State(server): State<Shared>,
    known: Known,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1]), ApiError> {
    let Known::Browser(session) = known else {
        return Err(ApiError::Invalid("an API key has no session to end; `intramuros key revoke` ends the key".into()));
    };
    let cookie = auth::sign_out(&server, &session).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]))
}
