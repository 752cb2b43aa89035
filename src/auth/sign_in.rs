//! Signing in and out with a name and a password.

use std::net::IpAddr;
use std::time::Instant;

use axum::http::{HeaderMap, HeaderValue};
use axum_extra::extract::CookieJar;

use super::password::{self, PasswordError, PasswordHash};
use super::throttle::{Place, Throttle};
use super::{COOKIE, Session, by_cookie, origin, secret};
use crate::error::ApiError;
use crate::http::{Gate, Server};
use crate::state::sessions::NewSession;
use crate::state::{State, now_ms};

/// Passwords verified at a time, each some 20 ms of a core and 19 MiB, and those that may wait.
const VERIFIED_AT_ONCE: usize = 2;
const MOST_WAITING: usize = 64;

/// The cookie by which a browser is known as one that somebody signed in with before.
const DEVICE: &str = "intramuros_device";
const DEVICE_LASTS_S: i64 = 365 * 24 * 3600;

/// What keeps sign-ins in bounds; one for a server.
pub struct SignIns {
    gate: Gate,
    throttle: Throttle,
    /// What a name without a password is verified against.
    of_nobody: PasswordHash,
}

/// A new session, and the header that gives it to the browser.
#[derive(Debug)]
pub struct SignedIn {
    /// Who signed in, and the token for the pages.
    pub session: Session,
    /// For `Set-Cookie`: the session, and on a new browser what it is known by next time.
    pub cookies: Vec<HeaderValue>,
}

/// Why somebody is not signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The browser would drop the cookie.
    #[error(
        "the server is reached in plain http from another machine, where browsers do not keep the session: use https, by \
         a proxy with TLS in front of it that sends `X-Forwarded-Proto: https`"
    )]
    PlainHttp,
    /// No such name, no password, or another one: which of them is not said.
    #[error("the name or the password is wrong")]
    Wrong,
    /// Too many failures.
    #[error("too many failed sign-ins: try again in {retry_after_s} s")]
    Throttled {
        /// When to try again.
        retry_after_s: u64,
    },
    /// Anything else: a full queue, a page of another site, a failure.
    #[error(transparent)]
    Other(#[from] ApiError),
}

impl From<SignInError> for ApiError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::PlainHttp => Self::Invalid(error.to_string()),
            SignInError::Wrong => Self::WrongPassword,
            SignInError::Throttled { retry_after_s } => Self::Throttled { retry_after_s },
            SignInError::Other(error) => error,
        }
    }
}

/// Signs a person in with name and password.
///
/// A wrong name takes as long as a wrong password and says the same.
pub async fn sign_in(server: &Server, asked: &Asked<'_>) -> Result<SignedIn, SignInError> {
    let hours = server.app().config().server.session_hours;
    server.sign_ins().try_password(server.app().state(), hours, asked).await
}

/// Ends a browser's session. What comes back is for `Set-Cookie` and takes the cookie away.
pub async fn sign_out(server: &Server, session: &Session) -> Result<HeaderValue, ApiError> {
    server.app().state().end_session(&session.token_hash).await?;
    Ok(cookie(COOKIE, "", 0))
}

/// What somebody sends to be signed in.
pub struct Asked<'a> {
    /// Of the request.
    pub headers: &'a HeaderMap,
    /// The other end of the connection.
    pub peer: Option<IpAddr>,
    /// Who.
    pub name: &'a str,
    /// Proves it.
    pub password: &'a str,
}

impl SignIns {
    /// Nobody has tried yet.
    pub fn new() -> Result<Self, PasswordError> {
        let gate = Gate::new(VERIFIED_AT_ONCE, MOST_WAITING, 2);
        Ok(Self { gate, throttle: Throttle::new(), of_nobody: password::of_nobody()? })
    }

    async fn try_password(&self, state: &State, hours: u64, asked: &Asked<'_>) -> Result<SignedIn, SignInError> {
        origin::check(asked.headers)?;
        if !origin::keeps_secure_cookies(asked.headers) {
            return Err(SignInError::PlainHttp);
        }
        let device = known_device(state, asked).await?;
        let place = match &device {
            Some(hash) => Place::Device(hash),
            None => Place::Address(origin::client(asked.headers, asked.peer)),
        };
        let attempt = self.throttle.admit(asked.name, place, Instant::now());
        let attempt = attempt.map_err(|retry_after_s| SignInError::Throttled { retry_after_s })?;
        let stored = state.password_hash(asked.name).await.map_err(ApiError::from)?;
        let known = stored.is_some();
        let hash = stored.unwrap_or_else(|| self.of_nobody.clone());
        let right = self.verify(asked, hash.clone()).await?;
        let signed_in = if known && right { begin(state, hours, asked.name, &hash).await? } else { None };
        match signed_in {
            Some(mut signed_in) => {
                attempt.succeeded();
                if device.is_none() {
                    signed_in.cookies.push(remember_device(state, asked.name).await?);
                }
                tracing::info!(user = asked.name, "signed in");
                Ok(signed_in)
            }
            None => {
                attempt.failed();
                // An unknown name may be a password in the wrong field.
                tracing::warn!(user = if known { asked.name } else { "unknown" }, "a sign-in failed");
                Err(SignInError::Wrong)
            }
        }
    }

    async fn verify(&self, asked: &Asked<'_>, hash: PasswordHash) -> Result<bool, ApiError> {
        let pass = self.gate.enter().await?;
        let password = asked.password.to_owned();
        let verified = tokio::task::spawn_blocking(move || {
            let _pass = pass;
            password::verify(&password, &hash)
        });
        verified.await.map_err(|panicked| ApiError::Internal(panicked.into()))
    }
}

/// Begins a session. `None` if the user is gone, or has another password by now.
async fn begin(state: &State, hours: u64, user: &str, hash: &PasswordHash) -> Result<Option<SignedIn>, ApiError> {
    let random = || secret::random().map_err(|error| ApiError::Internal(error.into()));
    let (value, csrf_token) = (random()?, random()?);
    let seconds = i64::try_from(hours.saturating_mul(3600)).unwrap_or(i64::MAX / 2000);
    let session = NewSession {
        token_hash: &secret::hash(&value),
        user,
        password_hash: hash,
        csrf_token: &csrf_token,
        expires_ms: now_ms().saturating_add(seconds.saturating_mul(1000)),
    };
    state.purge_sessions().await?;
    if !state.create_session(&session).await? {
        return Ok(None);
    }
    let cookies = vec![cookie(COOKIE, &value, seconds)];
    Ok(Some(SignedIn { session: by_cookie(state, &value).await?, cookies }))
}

/// The hash of the cookie of a browser that this person signed in with before.
async fn known_device(state: &State, asked: &Asked<'_>) -> Result<Option<String>, ApiError> {
    let Some(cookie) = CookieJar::from_headers(asked.headers).get(DEVICE).map(|cookie| secret::hash(cookie.value()))
    else {
        return Ok(None);
    };
    Ok(state.is_device(&cookie, asked.name).await?.then_some(cookie))
}

/// What makes this browser known as the person's own; reads nothing and signs nobody in.
async fn remember_device(state: &State, user: &str) -> Result<HeaderValue, ApiError> {
    let value = secret::random().map_err(|error| ApiError::Internal(error.into()))?;
    state.remember_device(&secret::hash(&value), user).await?;
    Ok(cookie(DEVICE, &value, DEVICE_LASTS_S))
}

fn cookie(name: &str, value: &str, seconds: i64) -> HeaderValue {
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite=Lax");
    HeaderValue::from_str(&text).expect("base64 and numbers fit into a header")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::header;

    use super::*;
    use crate::accounts::{AccountCommand, execute};
    use crate::auth::Role;

    const RIGHT: &str = "three words together";

    async fn opened() -> (tempfile::TempDir, State, SignIns) {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(&directory.path().join("state.sqlite")).await.unwrap();
        for (name, password) in [("ana", Some(password::hash("ana", RIGHT).unwrap())), ("bot", None)] {
            let create = AccountCommand::CreateUser { name: name.into(), password, role: Role::Admin };
            execute(&state, &create).await.unwrap();
        }
        (directory, state, SignIns::new().unwrap())
    }

    fn from_host(host: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))])
    }

    async fn attempt(sign_ins: &SignIns, state: &State, name: &str, password: &str) -> Result<SignedIn, SignInError> {
        sign_ins
            .try_password(state, 12, &Asked { headers: &from_host("localhost:8080"), peer: None, name, password })
            .await
    }

    #[tokio::test]
    async fn the_right_password_signs_in_and_the_cookie_is_for_this_server_alone() {
        let (_directory, state, sign_ins) = opened().await;
        let signed_in = attempt(&sign_ins, &state, "ana", RIGHT).await.unwrap();
        assert_eq!((signed_in.session.identity.user.as_str(), signed_in.session.identity.role), ("ana", Role::Admin));
        let text = signed_in.cookies[0].to_str().unwrap();
        for part in ["; HttpOnly", "; Secure", "; SameSite=Lax", "; Path=/", "; Max-Age=43200"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let value = text.strip_prefix("intramuros_session=").and_then(|rest| rest.split(';').next()).unwrap();
        assert_eq!(by_cookie(&state, value).await.unwrap().csrf_token, signed_in.session.csrf_token);
        assert!(state.end_session(&signed_in.session.token_hash).await.unwrap());
        assert!(by_cookie(&state, value).await.is_err());
    }

    #[tokio::test]
    async fn a_wrong_name_looks_like_a_wrong_password_and_takes_as_long() {
        let (_directory, state, sign_ins) = opened().await;
        let mut fastest = Vec::new();
        let mut messages = Vec::new();
        for name in ["ana", "nobody", "bot"] {
            let mut best = Duration::MAX;
            for _ in 0..4 {
                let started = Instant::now();
                messages.push(attempt(&sign_ins, &state, name, "not this one").await.unwrap_err().to_string());
                best = best.min(started.elapsed());
            }
            fastest.push(best);
        }
        messages.dedup();
        assert_eq!(messages, ["the name or the password is wrong"]);
        // Without a password to verify it would be a thousandth of the time; a busy machine makes some difference too.
        let (least, most) = (fastest.iter().min().unwrap(), fastest.iter().max().unwrap());
        assert!(*most < 10 * *least, "the times tell who is known: {fastest:?}");
    }

    #[tokio::test]
    async fn repeated_failures_wait_even_with_the_right_password() {
        let (_directory, state, sign_ins) = opened().await;
        for _ in 0..5 {
            assert!(matches!(attempt(&sign_ins, &state, "ana", "not this one").await, Err(SignInError::Wrong)));
        }
        let throttled: ApiError = attempt(&sign_ins, &state, "ana", RIGHT).await.unwrap_err().into();
        assert_eq!((throttled.status().as_u16(), throttled.retry_after_s()), (429, Some(2)));
    }

    #[tokio::test]
    async fn a_browser_that_signed_in_before_is_not_kept_out_by_others() {
        let (_directory, state, sign_ins) = opened().await;
        let first = attempt(&sign_ins, &state, "ana", RIGHT).await.unwrap();
        let device = first.cookies[1].to_str().unwrap();
        assert!(device.starts_with("intramuros_device=") && device.contains("; HttpOnly; Secure"), "{device}");
        let mut headers = from_host("localhost:8080");
        headers.insert(header::COOKIE, device.split(';').next().unwrap().parse().unwrap());
        let own = Asked { headers: &headers, peer: None, name: "ana", password: RIGHT };
        while attempt(&sign_ins, &state, "ana", "not this one").await.is_err_and(|e| matches!(e, SignInError::Wrong)) {}
        let again = sign_ins.try_password(&state, 12, &own).await.unwrap();
        assert_eq!(again.cookies.len(), 1, "it is known already");

        // It is nobody else's, and not hers any more once her password is another.
        let others = Asked { headers: &headers, peer: None, name: "bot", password: RIGHT };
        assert!(matches!(sign_ins.try_password(&state, 12, &others).await, Err(SignInError::Wrong)));
        assert!(known_device(&state, &others).await.unwrap().is_none());
        let password = Some(password::hash("ana", "four other words together").unwrap());
        execute(&state, &AccountCommand::SetPassword { name: "ana".into(), password }).await.unwrap();
        assert!(known_device(&state, &own).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_session_that_would_not_stick_is_refused_and_so_is_another_site() {
        let (_directory, state, sign_ins) = opened().await;
        let headers = from_host("rag.example");
        let asked = Asked { headers: &headers, peer: None, name: "ana", password: RIGHT };
        let refused = sign_ins.try_password(&state, 12, &asked).await.unwrap_err();
        assert!(refused.to_string().contains("https"), "{refused}");
        assert_eq!(ApiError::from(refused).status().as_u16(), 400);

        let mut headers = from_host("localhost:8080");
        headers.insert(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
        let asked = Asked { headers: &headers, peer: None, name: "ana", password: RIGHT };
        let refused = ApiError::from(sign_ins.try_password(&state, 12, &asked).await.unwrap_err());
        assert_eq!(refused.status().as_u16(), 403);
    }
}
