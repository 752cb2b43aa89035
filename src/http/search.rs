//! `POST /api/v1/search`

use axum::Json;
use axum::extract::State;
use intramuros_ingest::document::DocumentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::limits::within;
use super::{Cancelled, Shared, links};
use crate::answer;
use crate::app::App;
use crate::auth::Identity;
use crate::error::ApiError;
use crate::retrieve::{Found, Retrieved};

/// What to look for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// In your own words, Spanish or English.
    #[schema(min_length = 1, example = "notice period of the lease")]
    question: String,
    /// Passages to return; as configured if not given.
    #[schema(minimum = 1, maximum = 100)]
    k: Option<usize>,
}

/// Passages, best first. `search --json` prints the same.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SearchResponse {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Milliseconds, the question's vector included.
    pub took_ms: f64,
}

/// A passage that was found.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Hit {
    /// 1-based.
    pub rank: usize,
    /// Comparable within one search only: the fused score of words and meaning, in 0..1; where the profile has a reranker,
    /// its probability that the passage answers, and less than the least of these for passages that it did not read.
    pub score: f32,
    /// Cosine with the question, where the dense branch found it.
    pub cosine: Option<f32>,
    /// Share of the question's words that it holds.
    pub coverage: f32,
    /// Its document.
    #[schema(value_type = uuid::Uuid)]
    pub document_id: DocumentId,
    /// Title of the document.
    pub title: String,
    /// Address of the document.
    pub uri: String,
    /// 1-based page on which it begins, for paged formats.
    pub page: Option<u32>,
    /// Headings above it, outermost first.
    pub section: Vec<String>,
    /// First character in the document's text.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
    /// The passage.
    pub text: String,
}

/// Finds passages in the documents that you can read.
#[utoipa::path(post, path = "/api/v1/search", tag = "ask", request_body = SearchRequest,
    responses((status = 200, body = SearchResponse), (status = 504, description = "it took longer than the server allows")))]
pub async fn search(
    State(server): State<Shared>,
    identity: Identity,
    Body(request): Body<SearchRequest>,
) -> Result<Json<SearchResponse>, ApiError> {
    let settings = server.app().config();
    answer::validate(&request.question, &settings.answer)?;
    let limit = within("k", request.k.unwrap_or(settings.retrieve.limit), 100)?;
    let work = move |app: &App, identity: &Identity, _: &Cancelled| {
        Ok(app.retriever()?.search(&identity.caller, &request.question, limit)?)
    };
    let retrieved = server.blocking(&server.searches, &identity, work).await?;
    let mut response = SearchResponse::from(&retrieved);
    for hit in &mut response.hits {
        links::of_passage(&mut hit.uri, hit.document_id, hit.start, hit.end);
    }
    Ok(Json(response))
}

impl From<&Retrieved> for SearchResponse {
    fn from(retrieved: &Retrieved) -> Self {
        let hits = retrieved.found.iter().enumerate().map(|(i, found)| Hit::new(i + 1, found)).collect();
        Self { hits, took_ms: retrieved.took_ms }
    }
}

impl Hit {
    fn new(rank: usize, found: &Found) -> Self {
        let chunk = &found.chunk;
        Self {
            rank,
            score: found.score,
            cosine: found.cosine,
            coverage: found.coverage,
            document_id: chunk.document_id,
            title: chunk.title.clone(),
            uri: chunk.uri.clone(),
            page: chunk.page,
            section: chunk.section.clone(),
            start: chunk.start,
            end: chunk.end,
            text: chunk.text.clone(),
        }
    }
}
