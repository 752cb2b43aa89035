//! The whole API on one page.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    Shared, ask, conversations, describe, documents, envelope, health, metrics, openai, original, pages, search,
    session, sources, upload,
};
use crate::web::{Pages, Reference};

/// The description of the API; its paths come from the routes below.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Intramuros",
        description = "Ask your company's documents, on your company's hardware. What holds data wants an API key \
            (`Authorization: Bearer KEY`) or a signed-in browser, and returns only what its owner may read.",
        license(name = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "ask", description = "Questions and searches"),
        (name = "documents", description = "Documents, and where they come from"),
        (name = "conversations", description = "Earlier questions and answers, and what people thought of them"),
        (name = "session", description = "Who you are, and signing in and out of a browser"),
        (name = "openai", description = "For any OpenAI client"),
        (name = "operations", description = "Health and metrics")
    )
)]
struct Api;

/// All routes with their documentation, the pages, and the layers that every request passes.
pub fn router(server: Shared) -> Router {
    let body_limit = server.app().config().server.max_body_kib << 10;
    let (routes, mut api) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(ask::ask))
        .routes(routes!(search::search))
        .routes(routes!(conversations::list, conversations::create))
        .routes(routes!(conversations::get, conversations::rename, conversations::delete))
        .routes(routes!(conversations::rate))
        .routes(routes!(openai::chat))
        .routes(routes!(openai::embeddings::embeddings))
        .routes(routes!(openai::models::models))
        .routes(routes!(openai::models::model))
        .routes(routes!(documents::list))
        .routes(routes!(upload::upload))
        .routes(routes!(documents::get, documents::delete))
        .routes(routes!(documents::text))
        .routes(routes!(original::original))
        .routes(routes!(sources::list))
        .routes(routes!(sources::sync))
        .routes(routes!(sources::jobs))
        .routes(routes!(sources::job))
        .routes(routes!(sources::cancel))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(session::who, session::begin, session::end))
        .routes(routes!(metrics::metrics))
        .split_for_parts();
    describe::describe(&mut api);
    let api = serde_json::to_value(api).expect("descriptions of APIs serialise");
    let address = format!("http://{}", server.app().config().server.listen);
    let pages = Pages::new(&Reference::new(&api, &address));
    let api = axum::Json(api);
    routes
        .route("/openapi.json", get(move || async move { api.clone() }))
        .merge(pages::routes(pages))
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(CatchPanicLayer::custom(envelope::panicked))
        .layer(middleware::from_fn_with_state(server.clone(), envelope::wrap))
        .with_state(server)
}
