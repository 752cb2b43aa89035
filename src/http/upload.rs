//! `POST /api/v1/documents`: files to disk as they come in, all of them documents or none.

use std::collections::HashSet;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::http::{StatusCode, header};
use intramuros_ingest::access::Acl;
use intramuros_ingest::document::DocumentId;
use serde::Serialize;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::limits::Pace;
use super::sources::JobView;
use super::{Admitted, Shared};
use crate::app::App;
use crate::auth::{Admin, Identity};
use crate::error::{ApiError, DISK_FULL};
use crate::index;
use crate::jobs::Runner;
use crate::state::jobs::{JobRecord, JobRequest};
use crate::uploads::{self, Incoming, Place};

/// What multipart adds to the files: boundaries, headers and the readers.
const OVERHEAD: usize = 1 << 20;
/// Bytes of the list of readers.
const MOST_READERS: usize = 64 << 10;
/// Files of one upload.
const MOST_FILES: usize = 100;
/// Must stay free on the disk beside the files.
const ROOM: u64 = 128 << 20;
/// How long what is no longer wanted is read, so that the client comes to reading the refusal.
const DRAIN: Duration = Duration::from_secs(5);

const READERS_MISSING: &str = "say who may read: add a part `readers` with `everyone`, `user:NAME` or `group:NAME`, \
    several with commas between them, such as `readers=group:legal,user:ana`";

/// Files and their readers, as `multipart/form-data`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read piece by piece")]
pub struct UploadForm {
    /// One or more files. A name that is there already is a new version of that document.
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<Vec<u8>>,
    /// Who may read them: `everyone`, `user:NAME`, `group:NAME`, several with commas.
    #[schema(example = "group:legal,user:ana")]
    readers: String,
}

/// What was taken in, and the job that brings it into the index.
#[derive(Serialize, ToSchema)]
pub struct Uploaded {
    job: JobView,
    documents: Vec<UploadedDocument>,
}

/// A document to be.
#[derive(Serialize, ToSchema)]
pub struct UploadedDocument {
    /// Its id, known once the job is through.
    #[schema(value_type = uuid::Uuid)]
    document_id: DocumentId,
    /// Its file name.
    path: String,
}

/// Uploads files. With the reply they are safe on the server's disk; the job makes them findable.
#[utoipa::path(post, path = "/api/v1/documents", tag = "documents",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 202, body = Uploaded), (status = 504, description = "it took longer than the server allows")))]
pub async fn upload(
    State(server): State<Shared>,
    Admin(identity): Admin,
    mut request: Request,
) -> Result<(StatusCode, Json<Uploaded>), ApiError> {
    let settings = &server.app().config().server;
    let patience = Duration::from_secs(settings.slow_client_s);
    let mut bounds = Bounds {
        bytes: (settings.max_upload_mib as u64) << 20,
        mib: settings.max_upload_mib,
        patience,
        pace: Pace::new(patience),
    };
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let announced: u64 = announced.unwrap_or(0);
    if announced > bounds.bytes + OVERHEAD as u64 {
        // Who waits to be told to go on has not sent anything yet.
        if !request.headers().contains_key(header::EXPECT) {
            DefaultBodyLimit::disable().apply(&mut request);
            if let Ok(mut multipart) = Multipart::from_request(request, &()).await {
                drain(&mut multipart).await;
            }
        }
        return Err(bounds.too_large());
    }
    let Admitted { pass: _pass, identity, .. } = server.enter(&server.uploads, &identity).await?;
    let free = fs4::available_space(server.app().data_dir())?;
    if free < announced.saturating_add(ROOM) {
        let cause = anyhow::anyhow!("an upload of {announced} bytes, and {free} are free");
        return Err(ApiError::Unavailable { message: DISK_FULL, cause });
    }
    DefaultBodyLimit::max(bounds.bytes as usize + OVERHEAD).apply(&mut request);
    let multipart = Multipart::from_request(request, &()).await;
    let mut multipart = multipart.map_err(|_| {
        ApiError::Invalid("send the files as `multipart/form-data`, each as a part named `file`".to_owned())
    })?;
    let incoming = server.app().uploads().incoming()?;
    let (incoming, readers) = match receive(&mut multipart, incoming, &mut bounds).await {
        Ok(received) => received,
        Err(refused) => {
            drain(&mut multipart).await;
            return Err(refused);
        }
    };
    // It took a while: who sends this may not be who they were.
    let Admin(identity) = Admin::of(identity.again(server.app().state()).await?)?;
    let (app, runner) = (server.app.clone(), server.runner.clone());
    // Goes through even if the client leaves now.
    let placed = server.threads.spawn(move || place(&app, &runner, &incoming, &readers, &identity)).await;
    let (job, places) = placed.map_err(|panicked| ApiError::Internal(panicked.into()))??;
    let documents = places
        .iter()
        .map(|place| UploadedDocument { document_id: place.id(), path: place.name().to_owned() })
        .collect();
    Ok((StatusCode::ACCEPTED, Json(Uploaded { job: JobView::brief(&server, job), documents })))
}

/// Makes the files documents; nobody reads a former version for longer than the new one says.
fn place(
    app: &App,
    runner: &Runner,
    incoming: &Incoming,
    readers: &Acl,
    identity: &Identity,
) -> Result<(JobRecord, Vec<Place>), ApiError> {
    let uploads = app.uploads();
    let exclusive = uploads.exclusive();
    let place = |name: &String| uploads.place_for(&exclusive, name, readers, (&identity.user, &identity.caller));
    let places: Vec<Place> = incoming.names().iter().map(place).collect::<Result<_, _>>()?;
    let job = settled(app, runner, identity, || {
        let mut lowered = Vec::with_capacity(places.len());
        for place in &places {
            lowered.push(index::narrow(app, place.id(), readers)?);
        }
        Ok(incoming.place(uploads, &exclusive, &places, (readers, &identity.user))?)
    })?;
    Ok((job, places))
}

/// Changes uploaded files between two requests for a job, so that a crash or a failure at any moment is harmless: the
/// first settles whatever the files say then, and as it may have begun before they changed, the second does for what did.
pub(super) fn settled(
    app: &App,
    runner: &Runner,
    identity: &Identity,
    change: impl FnOnce() -> Result<(), ApiError>,
) -> Result<JobRecord, ApiError> {
    let queue = || app.wait(app.state().enqueue_sync(uploads::SOURCE, JobRequest::default(), &identity.user));
    let _woken = WakeOnDrop(runner);
    queue()?;
    let changed = change();
    let job = queue()?;
    changed.map(|()| job)
}

/// Makes the runner look at the queue, whatever happens after a job was put there.
struct WakeOnDrop<'a>(&'a Runner);

impl Drop for WakeOnDrop<'_> {
    fn drop(&mut self) {
        self.0.wake();
    }
}

struct Bounds {
    /// All files together.
    bytes: u64,
    /// The same, as configured.
    mib: usize,
    /// How long the next piece may take.
    patience: Duration,
    /// How it goes as a whole.
    pace: Pace,
}

impl Bounds {
    fn too_large(&self) -> ApiError {
        ApiError::TooLarge(format!(
            "an upload may have {} MiB, all its files together (`server.max_upload_mib`): send fewer at a time, or split them",
            self.mib
        ))
    }

    /// What a failure of reading the body is to the client.
    fn refusal(&self, error: &MultipartError) -> ApiError {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return self.too_large();
        }
        ApiError::Invalid("the body ended early or is not valid `multipart/form-data`".to_owned())
    }

    async fn chunk(&mut self, field: &mut Field<'_>) -> Result<Option<Bytes>, ApiError> {
        let chunk = timeout(self.patience, field.chunk()).await;
        let chunk = chunk.map_err(|_| self.too_slow())?.map_err(|error| self.refusal(&error))?;
        if self.pace.holds(chunk.as_ref().map_or(0, Bytes::len)) { Ok(chunk) } else { Err(self.too_slow()) }
    }

    fn too_slow(&self) -> ApiError {
        ApiError::SlowClient { seconds: self.patience.as_secs() }
    }
}

/// Writes all files to where they wait for the decision, and finds their readers.
async fn receive(
    multipart: &mut Multipart,
    mut incoming: Incoming,
    bounds: &mut Bounds,
) -> Result<(Incoming, Acl), ApiError> {
    let mut readers = None;
    let mut names = HashSet::new();
    let mut left = bounds.bytes;
    loop {
        let field = timeout(bounds.patience, multipart.next_field()).await.map_err(|_| bounds.too_slow())?;
        let Some(mut field) = field.map_err(|error| bounds.refusal(&error))? else { break };
        match field.name() {
            Some("readers") if readers.is_none() => readers = Some(read_readers(&mut field, bounds).await?),
            Some("readers") => return Err(ApiError::Invalid("there are two parts `readers`".to_owned())),
            Some("file") => {
                let given = field.file_name().unwrap_or_default();
                let name = uploads::file_name(given).map_err(|bad| ApiError::Invalid(bad.to_string()))?;
                if !names.insert(name.clone()) {
                    return Err(ApiError::Invalid(format!("there are two files named `{name}`")));
                }
                if names.len() > MOST_FILES {
                    return Err(ApiError::Invalid(format!("an upload may have {MOST_FILES} files")));
                }
                let path = incoming.add(&name)?;
                let mut file = File::create_new(path).await?;
                let mut bytes = 0;
                while let Some(chunk) = bounds.chunk(&mut field).await? {
                    bytes += chunk.len() as u64;
                    left = left.checked_sub(chunk.len() as u64).ok_or_else(|| bounds.too_large())?;
                    file.write_all(&chunk).await?;
                }
                if bytes == 0 {
                    return Err(ApiError::Invalid(format!("`{name}` is empty")));
                }
                file.flush().await?;
                file.sync_all().await?;
            }
            _ => {
                return Err(ApiError::Invalid("there is a part that is named neither `file` nor `readers`".to_owned()));
            }
        }
    }
    let readers = readers.ok_or_else(|| ApiError::Invalid(READERS_MISSING.to_owned()))?;
    if incoming.names().is_empty() {
        return Err(ApiError::Invalid("there is no file: send each as a part named `file`".to_owned()));
    }
    Ok((incoming, readers))
}

async fn read_readers(field: &mut Field<'_>, bounds: &mut Bounds) -> Result<Acl, ApiError> {
    let mut text = Vec::new();
    while let Some(chunk) = bounds.chunk(field).await? {
        if text.len() + chunk.len() > MOST_READERS {
            return Err(ApiError::TooLarge(format!("the list of readers may have {} KiB", MOST_READERS >> 10)));
        }
        text.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(text).unwrap_or_default();
    if text.trim().is_empty() {
        return Err(ApiError::Invalid(READERS_MISSING.to_owned()));
    }
    text.parse().map_err(|error: intramuros_ingest::access::InvalidPrincipal| ApiError::Invalid(error.to_string()))
}

/// Reads on for a moment: many clients look at the answer only once they have sent everything.
async fn drain(multipart: &mut Multipart) {
    let rest = async {
        while let Ok(Some(mut field)) = multipart.next_field().await {
            while let Ok(Some(_)) = field.chunk().await {}
        }
    };
    let _ = timeout(DRAIN, rest).await;
}
