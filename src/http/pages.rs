//! The pages for people: who sees which, and the headers they are sent with. What they look like stands in [`crate::web`].

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Form, FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{RequestPartsExt, Router};
use axum_extra::extract::CookieJar;
use minijinja::{Value, context};
use serde::Deserialize;

use super::body::in_time;
use super::envelope::RequestId;
use super::serve::Peer;
use super::{Shared, links};
use crate::auth::{self, Asked, Role, Session, SignInError};
use crate::error::ApiError;
use crate::web::{Asset, Language, Look, PART, Pages, Place, Theme, Viewer, checksum, read, value};

/// Everything comes from this server, nothing stands inline, nothing frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const LANGUAGE_COOKIE: &str = "intramuros_lang";
const THEME_COOKIE: &str = "intramuros_theme";

/// The routes of the pages, and the answer to whatever has no route.
pub fn routes(pages: Pages) -> Router<Shared> {
    Router::new()
        .route("/", get(chat))
        .route("/sign-in", get(door).post(sign_in))
        .route("/documents", get(documents))
        .route("/documents/{id}", get(document))
        .route("/api", get(reference))
        .route("/assets/{version}/{name}", get(asset))
        .route("/favicon.ico", get(icon))
        .fallback(nothing)
        .layer(Extension(Arc::new(pages)))
}

/// Somebody before a page: how they want to see it, and who they are if they are signed in.
struct Visit {
    pages: Arc<Pages>,
    look: Look,
    id: RequestId,
    session: Option<Session>,
}

impl FromRequestParts<Shared> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Response> {
        let mut visit = stranger(parts).await.map_err(IntoResponse::into_response)?;
        match <Option<Session> as FromRequestParts<Shared>>::from_request_parts(parts, server).await {
            Ok(session) => visit.session = session,
            Err(error) => return Err(visit.refuse(error)),
        }
        Ok(visit)
    }
}

/// A visit without a look at who it is.
async fn stranger(parts: &mut Parts) -> Result<Visit, ApiError> {
    let missing = |_| ApiError::Internal(anyhow::anyhow!("a page outside of the pages' router"));
    let Extension(pages) = parts.extract::<Extension<Arc<Pages>>>().await.map_err(missing)?;
    let Extension(id) = parts.extract::<Extension<RequestId>>().await.map_err(missing)?;
    let jar = CookieJar::from_headers(&parts.headers);
    let choice = |name| jar.get(name).map(|cookie| cookie.value());
    let accepted = parts.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let look = Look {
        language: Language::negotiate(choice(LANGUAGE_COOKIE), accepted),
        theme: Theme::of(choice(THEME_COOKIE)),
    };
    Ok(Visit { pages, look, id, session: None })
}

impl Visit {
    /// A word of the page's language.
    fn word(&self, key: &str) -> String {
        self.pages.words(self.look.language).get(key).cloned().unwrap_or_default()
    }

    fn viewer(&self) -> Option<Viewer> {
        let session = self.session.as_ref()?;
        Some(Viewer {
            user: session.identity.user.clone(),
            admin: session.identity.role == Role::Admin,
            groups: session.identity.groups(),
            csrf_token: session.csrf_token.clone(),
        })
    }

    fn page(&self, name: &str, own: Value) -> Response {
        self.sent(self.pages.render(name, self.look, self.viewer().as_ref(), own))
    }

    fn sent(&self, rendered: Result<String, minijinja::Error>) -> Response {
        match rendered {
            Ok(html) => {
                let headers = [
                    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
                    // Without a referrer, forms would say that they come from nowhere.
                    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
                ];
                (headers, Html(html)).into_response()
            }
            Err(error) => ApiError::Internal(error.into()).into_response(),
        }
    }

    /// The page that says why there is no page.
    fn refuse(&self, error: ApiError) -> Response {
        if matches!(error, ApiError::Unauthorized) {
            return see_other("/sign-in");
        }
        if let Some(cause) = error.cause() {
            tracing::error!(request_id = self.id.0, "{cause:#}");
        }
        let status = error.status();
        let (title, text) = match status.as_u16() {
            403 => ("oops_403", "oops_403_text"),
            429 | 503 | 504 => ("oops_busy", "oops_busy_text"),
            400..=499 => ("oops_404", "oops_404_text"),
            _ => ("oops_500", "oops_500_text"),
        };
        let request_id = status.is_server_error().then_some(&self.id.0);
        let own = context! {
            status => status.as_u16(), title => self.word(title), text => self.word(text), request_id => request_id,
        };
        let mut response = self.page("error.html", own);
        if response.status().is_success() {
            *response.status_mut() = status;
        }
        if let Some(seconds) = error.retry_after_s() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

fn see_other(path: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, HeaderValue::from_static(path))]).into_response()
}

/// `/`: the chat.
async fn chat(State(server): State<Shared>, visit: Visit) -> Response {
    if visit.session.is_none() {
        return see_other("/sign-in");
    }
    let settings = &server.app().config().answer;
    visit.page(
        "chat.html",
        context! { mode => value(&settings.mode), max_question_chars => settings.max_question_chars },
    )
}

/// `GET /sign-in`
async fn door(visit: Visit) -> Response {
    if visit.session.is_some() {
        return see_other("/");
    }
    visit.page("sign_in.html", context! { user => "", error => () })
}

/// The form of `/sign-in`.
#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: String,
}

/// `POST /sign-in`. The session that the browser may still have does not matter: somebody signs in anew.
async fn sign_in(State(server): State<Shared>, headers: HeaderMap, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
    let visit = match stranger(&mut parts).await {
        Ok(visit) => visit,
        Err(error) => return error.into_response(),
    };
    let request = Request::from_parts(parts, body);
    let form = <Form<Credentials> as FromRequest<Shared>>::from_request(request, &server);
    let form = match in_time(&server, form).await {
        Ok(Ok(Form(form))) => form,
        Ok(Err(_)) => return visit.refuse(ApiError::Invalid("the form is incomplete".to_owned())),
        Err(slow) => return visit.refuse(slow),
    };
    let name = form.user.trim();
    let asked = Asked { headers: &headers, peer, name, password: &form.password };
    let mut wait = None;
    let (status, said) = match auth::sign_in(&server, &asked).await {
        Ok(signed_in) => {
            let mut response = see_other("/");
            for cookie in signed_in.cookies {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            return response;
        }
        Err(SignInError::Wrong) => (StatusCode::UNAUTHORIZED, visit.word("sign_in_wrong")),
        Err(SignInError::PlainHttp) => (StatusCode::BAD_REQUEST, visit.word("sign_in_plain")),
        Err(
            SignInError::Throttled { retry_after_s: seconds }
            | SignInError::Other(ApiError::Busy { retry_after_s: seconds }),
        ) => {
            wait = Some(seconds);
            let said = visit.word("sign_in_busy").replace("{seconds}", &seconds.to_string());
            (StatusCode::TOO_MANY_REQUESTS, said)
        }
        Err(SignInError::Other(ApiError::Forbidden(_))) => (StatusCode::FORBIDDEN, visit.word("sign_in_elsewhere")),
        Err(SignInError::Other(error)) => {
            if let Some(cause) = error.cause() {
                tracing::error!(request_id = visit.id.0, "{cause:#}");
            }
            (error.status(), visit.word("sign_in_failed"))
        }
    };
    let mut response = visit.page("sign_in.html", context! { user => name, error => said });
    if response.status().is_success() {
        *response.status_mut() = status;
    }
    if let Some(seconds) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// `/documents`: what one may read; for administrators uploads and jobs too.
async fn documents(State(server): State<Shared>, visit: Visit) -> Response {
    if visit.session.is_none() {
        return see_other("/sign-in");
    }
    let most = server.app().config().server.max_upload_mib;
    visit.page("documents.html", context! { here => "documents", max_upload_mib => most })
}

/// The query of `/documents/{id}`, in characters.
#[derive(Default, Deserialize)]
struct PlaceQuery {
    start: Option<usize>,
    end: Option<usize>,
    sum: Option<String>,
    from: Option<usize>,
}

/// `/documents/{id}`: a document's text, a place in it marked.
async fn document(
    State(server): State<Shared>,
    visit: Visit,
    Path(id): Path<String>,
    query: Result<Query<PlaceQuery>, QueryRejection>,
) -> Response {
    let Some(session) = &visit.session else { return see_other("/sign-in") };
    // What cannot be understood marks nothing; the document is there all the same.
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let cited = query.start.zip(query.end).filter(|(start, end)| start < end).map(|(start, end)| start..end);
    let place = Place { cited, sum: query.sum, from: query.from };
    match reading(&server, &visit, session, &id, place).await {
        Ok(response) => response,
        Err(error) => visit.refuse(error),
    }
}

async fn reading(
    server: &Shared,
    visit: &Visit,
    session: &Session,
    id: &str,
    mut place: Place,
) -> Result<Response, ApiError> {
    const UNKNOWN: ApiError = ApiError::NotFound("document");
    let id = id.parse().map_err(|_| UNKNOWN)?;
    let (state, caller) = (server.app().state(), &session.identity.caller);
    let record = state.document(caller, id).await?.ok_or(UNKNOWN)?;
    let mut changed = false;
    if let (Some(cited), Some(sum)) = (place.cited.clone(), &place.sum) {
        // No quote is longer than what a page shows.
        let range = cited.start..cited.end.min(cited.start.saturating_add(PART));
        let there = state.document_part(caller, id, range).await?.ok_or(UNKNOWN)?;
        changed = checksum(&there.text) != *sum;
    }
    if changed {
        place.cited = None;
    }
    let first = place.first();
    let part = state.document_part(caller, id, first..first.saturating_add(PART + 1)).await?.ok_or(UNKNOWN)?;
    let cited = place.cited.as_ref();
    let reading = read(&part.text, first, record.page_starts(), cited);

    let page = cited.and_then(|cited| record.page_at(cited.start));
    let original = match page {
        Some(page) => format!("/api/v1/documents/{id}/original#page={page}"),
        None => format!("/api/v1/documents/{id}/original"),
    };
    // One that did not fit is gone with its place.
    let sum = place.sum.as_ref().map_or(String::new(), |sum| format!("&sum={sum}"));
    let part = |from: usize| match cited {
        Some(cited) => format!("/documents/{id}?start={}&end={}{sum}&from={from}", cited.start, cited.end),
        None => format!("/documents/{id}?from={from}"),
    };
    let source = links::source(&record.source);
    let own = context! {
        here => "documents",
        document => context! {
            title => record.title, source => source, path => links::path(source, record.path.clone()), language => record.language,
            original => original,
        },
        changed => changed,
        cited => cited.map(|_| context! { page => page }),
        earlier => reading.earlier.map(part),
        later => reading.later.map(part),
        pages => value(&reading.pages),
    };
    Ok(visit.page("document.html", own))
}

/// `/api`: the API explained.
async fn reference(visit: Visit) -> Response {
    visit.sent(visit.pages.render_reference(visit.look, visit.viewer().as_ref()))
}

/// A file of the pages. Its address changes with its content, so browsers may keep it for good.
async fn asset(
    Extension(pages): Extension<Arc<Pages>>,
    Path((version, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let asset = pages.asset(&version, &name).ok_or(ApiError::NotFound("file"))?;
    Ok(file(&asset, HeaderValue::from_static("public, max-age=31536000, immutable")))
}

async fn icon(Extension(pages): Extension<Arc<Pages>>) -> Response {
    file(&pages.icon(), HeaderValue::from_static("public, max-age=86400"))
}

fn file(asset: &Asset, keep: HeaderValue) -> Response {
    let headers: [(HeaderName, HeaderValue); 2] =
        [(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type)), (header::CACHE_CONTROL, keep)];
    (headers, asset.content).into_response()
}

/// What has no route: a page for people, the usual body for programs.
async fn nothing(State(server): State<Shared>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let path = parts.uri.path();
    let accepted = parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let for_programs = path.starts_with("/api/") || path.starts_with("/v1/") || !accepted.contains("text/html");
    if for_programs {
        return StatusCode::NOT_FOUND.into_response();
    }
    // A form or a script that missed its route is not signed in for that.
    parts.method = Method::GET;
    match Visit::from_request_parts(&mut parts, &server).await {
        Ok(visit) => visit.refuse(ApiError::NotFound("page")),
        Err(response) => response,
    }
}
