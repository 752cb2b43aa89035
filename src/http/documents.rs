//! `/api/v1/documents`: what the caller may read, and taking uploaded documents away.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use intramuros_ingest::access::{Acl, Caller};
use intramuros_ingest::document::DocumentId;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use utoipa::{IntoParams, ToSchema};

use super::limits::within;
use super::upload::settled;
use super::{Admitted, Shared, links};
use crate::app::App;
use crate::auth::{Admin, Identity};
use crate::error::ApiError;
use crate::index;
use crate::jobs::Runner;
use crate::state::State as Database;
use crate::state::documents::{DocumentRecord, Page};
use crate::uploads;

pub(super) const UNKNOWN: ApiError = ApiError::NotFound("document");

/// Documents in one reply.
const USUAL: u32 = 50;
const MOST: u32 = 200;
/// Documents looked at in one query when titles are searched.
const LOOKED_AT: u32 = 1000;
/// Characters of text in one reply.
const MOST_CHARS: usize = 1_000_000;

/// Which documents to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// At most so many, 1 to 200; 50 if not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
    /// Only documents of this source.
    source: Option<String>,
    /// Only documents with this in their title; case and accents do not count.
    q: Option<String>,
}

/// Documents, by title.
#[derive(Serialize, ToSchema)]
pub struct Documents {
    documents: Vec<DocumentRecord>,
    /// Passed as `after`, gives the page that follows; `null` on the last one.
    next: Option<String>,
}

/// Which part of a text.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TextQuery {
    /// The first character; 0 if not given.
    #[param(minimum = 0)]
    start: Option<usize>,
    /// One past the last character; a million characters at most are sent.
    #[param(minimum = 0)]
    end: Option<usize>,
}

/// A part of a document's text. All figures count characters (Unicode scalar values) of the whole text, as citations do.
#[derive(Serialize, ToSchema)]
pub struct DocumentText {
    #[schema(value_type = uuid::Uuid)]
    document_id: DocumentId,
    /// The first character that was sent.
    start: usize,
    /// One past the last character that was sent.
    end: usize,
    /// Characters of the whole text.
    length: usize,
    /// From `start` to `end`.
    text: String,
    /// Where each page begins, for paged formats.
    page_starts: Vec<usize>,
}

/// Lists the documents that you can read, by title.
#[utoipa::path(get, path = "/api/v1/documents", tag = "documents", params(ListQuery),
    responses((status = 200, body = Documents), (status = 504, description = "it took longer than the server allows")))]
pub async fn list(
    State(server): State<Shared>,
    identity: Identity,
    Query(query): Query<ListQuery>,
) -> Result<Json<Documents>, ApiError> {
    let limit = within("limit", query.limit.unwrap_or(USUAL), MOST)?;
    let after = query.after.as_deref().map(decode_cursor).transpose()?;
    let wanted = query.q.as_deref().map(folded).filter(|wanted| !wanted.is_empty());
    let Admitted { pass: _pass, identity, .. } = server.enter(&server.lists, &identity).await?;
    let lister = Lister { state: server.app().state(), caller: &identity.caller, source: query.source.as_deref() };
    let mut documents = lister.collect(after, wanted.as_deref(), limit as usize + 1).await?;
    let more = documents.len() > limit as usize;
    documents.truncate(limit as usize);
    let next = documents.last().filter(|_| more).map(encode_cursor);
    let documents = documents.into_iter().map(links::of_record).collect();
    Ok(Json(Documents { documents, next }))
}

/// One document.
#[utoipa::path(get, path = "/api/v1/documents/{id}", tag = "documents",
    params(("id" = uuid::Uuid, Path, description = "Its id")), responses((status = 200, body = DocumentRecord)))]
pub async fn get(
    State(server): State<Shared>,
    identity: Identity,
    Path(id): Path<String>,
) -> Result<Json<DocumentRecord>, ApiError> {
    let record = server.app().state().document(&identity.caller, parse(&id)?).await?;
    Ok(Json(links::of_record(record.ok_or(UNKNOWN)?)))
}

/// The extracted text of a document, which quotes and offsets refer to, or a part of it.
#[utoipa::path(get, path = "/api/v1/documents/{id}/text", tag = "documents",
    params(("id" = uuid::Uuid, Path, description = "Its id"), TextQuery), responses((status = 200, body = DocumentText)))]
pub async fn text(
    State(server): State<Shared>,
    identity: Identity,
    Path(id): Path<String>,
    Query(query): Query<TextQuery>,
) -> Result<Json<DocumentText>, ApiError> {
    let id = parse(&id)?;
    let start = query.start.unwrap_or(0);
    let last = start.saturating_add(MOST_CHARS);
    let end = query.end.unwrap_or(last);
    if end < start {
        return Err(ApiError::Invalid(format!("`end` is {end} and lies before `start`, {start}")));
    }
    let part = server.app().state().document_part(&identity.caller, id, start..end.min(last)).await?.ok_or(UNKNOWN)?;
    let start = start.min(part.length);
    let end = start + part.text.chars().count();
    Ok(Json(DocumentText {
        document_id: id,
        start,
        end,
        length: part.length,
        text: part.text,
        page_starts: part.page_starts,
    }))
}

/// Deletes a document that was uploaded. From the reply on it is in no search, answer or list; a job clears up after it.
#[utoipa::path(delete, path = "/api/v1/documents/{id}", tag = "documents",
    params(("id" = uuid::Uuid, Path, description = "Its id")), responses((status = 204, description = "It is gone")))]
pub async fn delete(
    State(server): State<Shared>,
    Admin(identity): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = parse(&id)?;
    let (app, runner) = (server.app.clone(), server.runner.clone());
    let work = move || take_away(&app, &runner, &identity, id);
    // Goes through even if the client leaves.
    let done = server.threads.spawn(work).await;
    done.map_err(|panicked| ApiError::Internal(panicked.into()))??;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes an uploaded document; nobody reads it any more before its file goes.
fn take_away(app: &App, runner: &Runner, identity: &Identity, id: DocumentId) -> Result<(), ApiError> {
    let uploads = app.uploads();
    let exclusive = uploads.exclusive();
    let record = app.wait(app.state().document(&identity.caller, id))?;
    // What waits to be indexed, or could not be, is in no list; its readers and its sender may delete it all the same.
    let stored = uploads.find(id)?;
    let is_theirs = stored.as_ref().is_some_and(|stored| stored.is_theirs(&identity.user, &identity.caller));
    match &record {
        None if !is_theirs => return Err(UNKNOWN),
        Some(record) if record.source != uploads::SOURCE => {
            return Err(ApiError::Conflict(format!(
                "the document comes from the source `{}`: delete the file there, and the next sync takes it out",
                record.source
            )));
        }
        _ => {}
    }
    settled(app, runner, identity, || {
        let _lowered = index::narrow(app, id, &Acl::nobody())?;
        // A new version may be uploaded before the job sees that this one was deleted.
        app.wait(app.state().erase_answers(id))?;
        if let Some(stored) = &stored {
            uploads.remove(&exclusive, &stored.place)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// An id in a path. One that cannot be any answers like one that nothing has.
pub(super) fn parse(id: &str) -> Result<DocumentId, ApiError> {
    id.parse().map_err(|_| UNKNOWN)
}

/// Goes through what one caller may read.
struct Lister<'a> {
    state: &'a Database,
    caller: &'a Caller,
    source: Option<&'a str>,
}

impl Lister<'_> {
    /// The next documents in order whose title holds `wanted`.
    async fn collect(
        &self,
        mut after: Option<(String, DocumentId)>,
        wanted: Option<&str>,
        count: usize,
    ) -> Result<Vec<DocumentRecord>, ApiError> {
        let limit = if wanted.is_some() { LOOKED_AT } else { count as u32 };
        let mut found = Vec::new();
        loop {
            let from = after.as_ref().map(|(title, id)| (title.as_str(), *id));
            let page = Page { after: from, source: self.source, limit };
            let titles = self.state.document_titles(self.caller, &page).await?;
            let was_last = titles.len() < limit as usize;
            for (title, id) in &titles {
                if wanted.is_none_or(|wanted| folded(title).contains(wanted)) {
                    // One that was taken away since is left out.
                    found.extend(self.state.document(self.caller, *id).await?);
                }
                if found.len() == count {
                    return Ok(found);
                }
            }
            if was_last {
                return Ok(found);
            }
            after = titles.into_iter().next_back();
        }
    }
}

/// Lower case without accents.
fn folded(text: &str) -> String {
    text.trim().nfkd().filter(|&c| !is_combining_mark(c)).flat_map(char::to_lowercase).collect()
}

fn encode_cursor(last: &DocumentRecord) -> String {
    let place = serde_json::json!([last.title, last.document_id]);
    URL_SAFE_NO_PAD.encode(place.to_string())
}

fn decode_cursor(text: &str) -> Result<(String, DocumentId), ApiError> {
    let place = URL_SAFE_NO_PAD.decode(text).ok().and_then(|json| serde_json::from_slice(&json).ok());
    place.ok_or_else(|| ApiError::Invalid("`after` is not the `next` of an earlier page".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_found_without_case_and_accents() {
        assert_eq!(folded(" Política de VIAJES "), "politica de viajes");
        assert!(folded("Año nuevo").contains(&folded("ANO")));
    }

    #[test]
    fn cursors_come_back_and_others_are_refused() {
        let id = DocumentId::new("s", "a");
        let text = URL_SAFE_NO_PAD.encode(serde_json::json!(["Ñ\"", id]).to_string());
        assert_eq!(decode_cursor(&text).unwrap(), ("Ñ\"".to_owned(), id));
        for bad in ["", "x", "W10", "bnVsbA"] {
            assert!(matches!(decode_cursor(bad), Err(ApiError::Invalid(_))), "{bad}");
        }
    }
}
