//! Who asks: the extractors without which a handler reaches no data.
//!
//! [`Identity`] is anybody known, by an API key or a browser session; [`Admin`] somebody with that role; [`Session`] a
//! browser's, for pages, which need its CSRF token. `Option<Identity>` and `Option<Session>` are for routes that answer
//! strangers too. Who and what they may read is looked up at each request: a user, key or group that is taken away stops
//! working at once.
//!
//! Invariant: a request never becomes [`Caller::LocalAdministrator`]. The role `admin` gives commands (uploads, sources,
//! jobs), not reading rights: an administrator reads what the documents' readers say, like everybody.

use std::fmt;
use std::str::FromStr;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum_extra::extract::CookieJar;
use intramuros_ingest::access::{Caller, Principal};
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::http::Shared;
use crate::state::{State, StateError};

mod origin;
pub mod password;
pub mod secret;
mod sign_in;
mod throttle;

pub use sign_in::{Asked, SignInError, SignIns, SignedIn, sign_in, sign_out};

/// The browser session's cookie.
pub const COOKIE: &str = "intramuros_session";

/// Where a page repeats its session's token, which another site cannot know.
pub const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

/// What somebody may do beside reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Asks and searches.
    Member,
    /// Brings documents in and runs jobs besides.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member => "member",
            Self::Admin => "admin",
        })
    }
}

impl FromStr for Role {
    type Err = StateError;

    /// Reads the stored form.
    fn from_str(text: &str) -> Result<Self, StateError> {
        match text {
            "member" => Ok(Self::Member),
            "admin" => Ok(Self::Admin),
            _ => Err(StateError::Corrupt { field: "role" }),
        }
    }
}

/// Somebody known, with the rights that every read takes.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name, without `user:`.
    pub user: String,
    /// What they may do.
    pub role: Role,
    /// What they may read.
    pub caller: Caller,
    proof: Proof,
}

/// What shows who somebody is, as it is stored.
#[derive(Clone, Debug)]
enum Proof {
    /// The hash of an API key.
    Key(String),
    /// The hash of a session's cookie.
    Session(String),
}

impl Identity {
    fn new(user: String, role: Role, groups: Vec<String>, proof: Proof) -> Self {
        let own = std::iter::once(Principal::User(user.clone()));
        let caller = Caller::new(own.chain(groups.into_iter().map(Principal::Group)));
        Self { user, role, caller, proof }
    }

    /// The same person as they are now. Whoever has waited needs this before they read anything: meanwhile a group, the
    /// key or the session may have been taken away.
    pub async fn again(&self, state: &State) -> Result<Self, ApiError> {
        match &self.proof {
            Proof::Key(hash) => by_key_hash(state, hash).await,
            Proof::Session(hash) => Ok(by_token_hash(state, hash).await?.identity),
        }
    }

    /// The groups whose rights it has, in their order.
    pub fn groups(&self) -> Vec<String> {
        let mut groups = Vec::new();
        if let Caller::Principals(principals) = &self.caller {
            for principal in principals {
                if let Principal::Group(name) = principal {
                    groups.push(name.clone());
                }
            }
        }
        groups
    }
}

/// Somebody known with the role `admin`.
#[derive(Clone, Debug)]
pub struct Admin(pub Identity);

impl Admin {
    /// Refuses members.
    pub fn of(identity: Identity) -> Result<Self, ApiError> {
        match identity.role {
            Role::Admin => Ok(Self(identity)),
            Role::Member => Err(ApiError::Forbidden("only somebody with the role `admin` may do this")),
        }
    }
}

/// A signed-in browser.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who signed in.
    pub identity: Identity,
    /// What its requests other than GET and HEAD carry in `X-CSRF-Token`.
    pub csrf_token: String,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: i64,
    token_hash: String,
}

/// Somebody known, and by what.
#[derive(Clone, Debug)]
pub enum Known {
    /// By an API key.
    Key(Identity),
    /// By the cookie of a browser session.
    Browser(Session),
}

impl Known {
    /// Who it is.
    pub fn into_identity(self) -> Identity {
        match self {
            Self::Key(identity) => identity,
            Self::Browser(session) => session.identity,
        }
    }
}

impl FromRequestParts<Shared> for Known {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, ApiError> {
        authenticate(server.app().state(), &parts.method, &parts.headers).await
    }
}

impl FromRequestParts<Shared> for Identity {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, ApiError> {
        Ok(<Known as FromRequestParts<Shared>>::from_request_parts(parts, server).await?.into_identity())
    }
}

impl FromRequestParts<Shared> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, ApiError> {
        Self::of(<Identity as FromRequestParts<Shared>>::from_request_parts(parts, server).await?)
    }
}

impl FromRequestParts<Shared> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, ApiError> {
        match <Known as FromRequestParts<Shared>>::from_request_parts(parts, server).await? {
            Known::Browser(session) => Ok(session),
            Known::Key(_) => Err(ApiError::Unauthorized),
        }
    }
}

impl OptionalFromRequestParts<Shared> for Identity {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Option<Self>, ApiError> {
        strangers_too(<Self as FromRequestParts<Shared>>::from_request_parts(parts, server).await)
    }
}

impl OptionalFromRequestParts<Shared> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Option<Self>, ApiError> {
        strangers_too(<Self as FromRequestParts<Shared>>::from_request_parts(parts, server).await)
    }
}

/// Nobody known is `None`; a forged request or a failure stays an error.
fn strangers_too<T>(known: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match known {
        Ok(known) => Ok(Some(known)),
        Err(ApiError::Unauthorized) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Finds out who asks. A bearer key decides alone; without one the cookie does, and then whatever is not a mere look
/// must come from a page of ours: its origin and its token say so.
async fn authenticate(state: &State, method: &Method, headers: &HeaderMap) -> Result<Known, ApiError> {
    if let Some(key) = bearer(headers) {
        return by_key(state, key).await.map(Known::Key);
    }
    let jar = CookieJar::from_headers(headers);
    let cookie = jar.get(COOKIE).ok_or(ApiError::Unauthorized)?;
    let session = by_cookie(state, cookie.value()).await?;
    if !matches!(*method, Method::GET | Method::HEAD) {
        origin::check(headers)?;
        let token = headers.get(CSRF_HEADER).map_or(&[][..], |token| token.as_bytes());
        if !secret::equal(token, session.csrf_token.as_bytes()) {
            return Err(ApiError::Forbidden(
                "a request with the session cookie must carry the session's token in X-CSRF-Token; \
                 GET /api/v1/session tells it",
            ));
        }
    }
    Ok(Known::Browser(session))
}

/// The key of an `Authorization: Bearer KEY` header; other schemes are somebody else's affair, a proxy's say.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(key.trim_ascii())
}

async fn by_key(state: &State, key: &[u8]) -> Result<Identity, ApiError> {
    let key = std::str::from_utf8(key).ok().filter(|key| secret::is_key(key)).ok_or(ApiError::Unauthorized)?;
    by_key_hash(state, &secret::hash(key)).await
}

async fn by_key_hash(state: &State, hash: &str) -> Result<Identity, ApiError> {
    let record = state.key_by_hash(hash).await?.ok_or(ApiError::Unauthorized)?;
    let groups = state.groups_of_key(&record).await?;
    Ok(Identity::new(record.user, record.role, groups, Proof::Key(hash.to_owned())))
}

async fn by_cookie(state: &State, value: &str) -> Result<Session, ApiError> {
    by_token_hash(state, &secret::hash(value)).await
}

async fn by_token_hash(state: &State, token_hash: &str) -> Result<Session, ApiError> {
    let record = state.session(token_hash).await?.ok_or(ApiError::Unauthorized)?;
    let groups = state.groups_of(&record.user).await?;
    Ok(Session {
        identity: Identity::new(record.user, record.role, groups, Proof::Session(token_hash.to_owned())),
        csrf_token: record.csrf_token,
        expires_ms: record.expires_ms,
        token_hash: token_hash.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{AccountCommand, AccountReply, execute};
    use crate::state::now_ms;
    use crate::state::sessions::NewSession;

    async fn opened() -> (tempfile::TempDir, State) {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(&directory.path().join("state.sqlite")).await.unwrap();
        for (name, role) in [("ana", Role::Member), ("iris", Role::Admin)] {
            let password = Some(password::hash(name, "a long enough password").unwrap());
            execute(&state, &AccountCommand::CreateUser { name: name.into(), password, role }).await.unwrap();
        }
        (directory, state)
    }

    async fn key(state: &State, user: &str, groups: Option<&[&str]>) -> (String, String) {
        let groups = groups.map(|groups| groups.iter().map(|&group| group.to_owned()).collect());
        let (role, label) = (Role::Member, String::new());
        let command = AccountCommand::CreateKey { user: user.into(), groups, role, label, expires_days: None };
        let AccountReply::KeyCreated(created) = execute(state, &command).await.unwrap() else {
            panic!("another reply")
        };
        (created.record.id, created.key)
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    async fn ask(state: &State, method: Method, pairs: &[(&str, &str)]) -> Result<Known, ApiError> {
        authenticate(state, &method, &headers(pairs)).await
    }

    async fn principals(state: &State, key: &str) -> Vec<String> {
        let known = ask(state, Method::POST, &[("authorization", &format!("Bearer {key}"))]).await.unwrap();
        known.into_identity().caller.filter().expect("never the local administrator")
    }

    #[tokio::test]
    async fn nobody_known_is_refused() {
        let (_directory, state) = opened().await;
        let unknown_key = format!("Bearer im_{}", "A".repeat(43));
        for pairs in [
            &[][..],
            &[("authorization", "Bearer ana")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer")],
            &[("authorization", "Basic YW5hOng=")],
            &[("authorization", unknown_key.as_str())],
            &[("cookie", "intramuros_session=")],
            &[("cookie", "intramuros_session=AAAA; other=1")],
        ] {
            let refused = ask(&state, Method::GET, pairs).await.err();
            assert!(matches!(refused, Some(ApiError::Unauthorized)), "{pairs:?}: {refused:?}");
        }
    }

    #[tokio::test]
    async fn a_key_never_has_a_group_that_its_user_is_not_in() {
        let (_directory, state) = opened().await;
        state.add_to_group("legal", &["ana".to_owned()]).await.unwrap();
        let (_, own) = key(&state, "ana", Some(&["legal"])).await;
        let (id, of_user) = key(&state, "ana", None).await;
        let (_, of_nobody) = key(&state, "wiki-bot", None).await;
        let (_, of_a_program) = key(&state, "wiki-bot", Some(&["legal", "hr"])).await;
        assert_eq!(principals(&state, &own).await, ["everyone", "user:ana", "group:legal"]);
        assert_eq!(principals(&state, &of_user).await, ["everyone", "user:ana", "group:legal"]);
        assert_eq!(principals(&state, &of_nobody).await, ["everyone", "user:wiki-bot"]);
        assert_eq!(principals(&state, &of_a_program).await, ["everyone", "user:wiki-bot", "group:hr", "group:legal"]);

        state.add_to_group("hr", &["ana".to_owned()]).await.unwrap();
        assert_eq!(principals(&state, &of_user).await, ["everyone", "user:ana", "group:hr", "group:legal"]);
        assert_eq!(principals(&state, &own).await, ["everyone", "user:ana", "group:legal"]);
        state.remove_from_group("legal", &["ana".to_owned()]).await.unwrap();
        assert_eq!(principals(&state, &of_user).await, ["everyone", "user:ana", "group:hr"]);
        assert_eq!(principals(&state, &own).await, ["everyone", "user:ana"]);

        execute(&state, &AccountCommand::RevokeKey { id }).await.unwrap();
        let bearer = format!("Bearer {of_user}");
        assert!(ask(&state, Method::GET, &[("authorization", &bearer)]).await.is_err());
        execute(&state, &AccountCommand::DeleteUser { name: "ana".into() }).await.unwrap();
        let bearer = format!("Bearer {own}");
        assert!(ask(&state, Method::GET, &[("authorization", &bearer)]).await.is_err(), "of a deleted user");
    }

    async fn signed_in(state: &State, user: &str, lasts_ms: i64) -> (String, String) {
        let (value, csrf_token) = (secret::random().unwrap(), secret::random().unwrap());
        let hash = state.password_hash(user).await.unwrap().unwrap();
        let session = NewSession {
            token_hash: &secret::hash(&value),
            user,
            password_hash: &hash,
            csrf_token: &csrf_token,
            expires_ms: now_ms() + lasts_ms,
        };
        assert!(state.create_session(&session).await.unwrap());
        (format!("theme=dark; {COOKIE}={value}"), csrf_token)
    }

    #[tokio::test]
    async fn a_cookie_reads_and_writes_only_with_the_token_and_from_its_own_pages() {
        let (_directory, state) = opened().await;
        let (cookie, token) = signed_in(&state, "ana", 60_000).await;
        let cookie = ("cookie", cookie.as_str());
        let host = ("host", "127.0.0.1:8080");
        let known = ask(&state, Method::GET, &[cookie]).await.unwrap();
        assert!(matches!(known, Known::Browser(session) if session.csrf_token == token));

        for forged in [
            &[cookie, host][..],
            &[cookie, host, ("x-csrf-token", "")],
            &[cookie, host, ("x-csrf-token", &token[1..])],
            &[cookie, host, ("x-csrf-token", &token), ("origin", "http://evil.example")],
            &[cookie, host, ("x-csrf-token", &token), ("sec-fetch-site", "cross-site")],
        ] {
            let refused = ask(&state, Method::POST, forged).await.err();
            assert!(matches!(refused, Some(ApiError::Forbidden(_))), "{forged:?}: {refused:?}");
            assert!(ask(&state, Method::DELETE, forged).await.is_err());
        }
        let own = [cookie, host, ("x-csrf-token", &token), ("origin", "http://127.0.0.1:8080")];
        assert!(ask(&state, Method::POST, &own).await.is_ok());
        // A session of one user with the token of another's is forged too.
        let (_, others) = signed_in(&state, "iris", 60_000).await;
        assert!(ask(&state, Method::POST, &[cookie, host, ("x-csrf-token", &others)]).await.is_err());
    }

    #[tokio::test]
    async fn sessions_end_by_time_by_password_and_with_their_user() {
        let (_directory, state) = opened().await;
        let (expired, _) = signed_in(&state, "ana", -1).await;
        assert!(ask(&state, Method::GET, &[("cookie", &expired)]).await.is_err());

        let (cookie, _) = signed_in(&state, "ana", 60_000).await;
        assert!(ask(&state, Method::GET, &[("cookie", &cookie)]).await.is_ok());
        let password = Some(password::hash("ana", "quite another password").unwrap());
        execute(&state, &AccountCommand::SetPassword { name: "ana".into(), password }).await.unwrap();
        assert!(ask(&state, Method::GET, &[("cookie", &cookie)]).await.is_err());

        let (cookie, _) = signed_in(&state, "ana", 60_000).await;
        execute(&state, &AccountCommand::DeleteUser { name: "ana".into() }).await.unwrap();
        assert!(ask(&state, Method::GET, &[("cookie", &cookie)]).await.is_err());
    }
}
