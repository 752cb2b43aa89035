//! `/v1/models`: what `model` can be.

use axum::Json;
use axum::extract::{Path, State};
use intramuros_models::weights;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, embedder_entry, generator_entry};
use crate::auth::Identity;
use crate::error::ApiError;
use crate::http::Shared;

/// Answers written by the generator, each sentence checked.
pub const WRITTEN: &str = "intramuros";
/// Exact quotes only.
pub const QUOTES: &str = "intramuros-extract";
/// Said of any other name.
pub const UNKNOWN_MODEL: ApiError = ApiError::NotFound("model (`GET /v1/models` lists them)");

/// The models, in OpenAI's form.
#[derive(Serialize, ToSchema)]
pub struct Models {
    object: &'static str,
    data: Vec<Model>,
}

/// A model.
#[derive(Serialize, ToSchema)]
pub struct Model {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
}

/// Lists what `model` can be.
#[utoipa::path(get, path = "/v1/models", tag = "openai", responses((status = 200, body = Models)))]
pub async fn models(State(server): State<Shared>, _: Identity) -> Result<Json<Models>, ApiError> {
    Ok(Json(Models { object: "list", data: all_models(server.app())? }))
}

/// One model.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "openai", params(("id" = String, Path)),
    responses((status = 200, body = Model)))]
pub async fn model(State(server): State<Shared>, _: Identity, Path(id): Path<String>) -> Result<Json<Model>, ApiError> {
    let found = all_models(server.app())?.into_iter().find(|model| model.id == id);
    found.map(Json).ok_or(UNKNOWN_MODEL)
}

fn all_models(app: &App) -> Result<Vec<Model>, ApiError> {
    // Models have no date of their own here; clients only want a number.
    let model = |id: String| Model { id, object: "model", created: 0, owned_by: "intramuros" };
    let mut names = vec![QUOTES.to_owned(), embedder_name(app)?];
    let generator = generator_entry(app.config(), app.catalog())?;
    if weights::locate(&app.config().models_dir(), generator).is_ok() {
        names.insert(0, WRITTEN.to_owned());
    }
    Ok(names.into_iter().map(model).collect())
}

/// The name of the index's embedder.
pub fn embedder_name(app: &App) -> Result<String, ApiError> {
    Ok(embedder_entry(app.config(), app.catalog())?.name.clone())
}
