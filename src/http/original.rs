//! `GET /api/v1/documents/{id}/original`: the file that a document was made from, as long as it is the same.

use std::io::{self, Read, SeekFrom};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use intramuros_ingest::document::ContentHash;
use intramuros_ingest::source::{Content, ReadError};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::documents::{UNKNOWN, parse};
use super::limits::{Pace, send_within};
use super::{Admitted, Shared};
use crate::app::App;
use crate::auth::Identity;
use crate::error::ApiError;
use crate::index::sources;
use crate::state::documents::Original;
use crate::uploads;

const PIECE: usize = 64 << 10;

/// Nothing in a document may run, load or be framed.
const CLOSED: &str = "sandbox; default-src 'none'; frame-ancestors 'none'";
/// In a sandbox browsers refuse to start their PDF viewer, which has walls of its own: what it may show is this file, and
/// its own style.
const PDF: &str = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// The file of a document. PDFs and text open in the browser (`#page=N` leads to a page), other kinds are downloads.
///
/// 409 once the file is another than the one that was indexed: text, quotes and readers belong to that version.
#[utoipa::path(get, path = "/api/v1/documents/{id}/original", tag = "documents",
    params(("id" = uuid::Uuid, Path, description = "Its id")),
    responses((status = 200, description = "The file", content(
        (Vec<u8> = "application/pdf"), (String = "text/plain"), (Vec<u8> = "application/octet-stream"),
        (Vec<u8> = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"))),
        (status = 409, description = "the file is another than the one that was indexed"),
        (status = 504, description = "it took longer than the server allows")))]
pub async fn original(
    State(server): State<Shared>,
    identity: Identity,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = parse(&id)?;
    let Admitted { pass, identity, .. } = server.enter(&server.originals, &identity).await?;
    let original = server.app().state().original(&identity.caller, id).await?.ok_or(UNKNOWN)?;
    let name = original.path.rsplit('/').next().unwrap_or_default().to_owned();
    let expected = original.content_hash.clone();
    let app = server.app.clone();
    let opened = server.threads.spawn(move || open(&app, &original)).await;
    let (content, length) = opened.map_err(|panicked| ApiError::Internal(panicked.into()))??;

    let (sender, receiver) = mpsc::channel(2);
    let threads = server.threads.clone();
    threads.spawn(move || {
        let _pass = pass;
        let patience = Duration::from_secs(server.app().config().server.slow_client_s);
        let mut pace = Pace::new(patience);
        let mut send = |piece: io::Result<Bytes>| {
            let bytes = piece.as_ref().map_or(0, Bytes::len);
            send_within(&sender, piece, patience) && pace.holds(bytes)
        };
        if let Err(error) = pour(content, length, &expected, &mut send) {
            send(Err(error));
        }
    });
    let shown = Shown::of(&name);
    let headers = [
        (header::CONTENT_TYPE, shown.kind.to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, disposition(shown.is_inline, &name)),
        (header::CONTENT_SECURITY_POLICY, shown.policy.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

/// The file and its length, if it is the one that was indexed.
fn open(app: &App, original: &Original) -> Result<(Box<dyn Content>, u64), ApiError> {
    const GONE: ApiError = ApiError::NotFound("original file");
    let changed = || {
        ApiError::Conflict(
            "the file changed since it was indexed: text and quotes belong to the version before, the next sync brings them in step"
                .to_owned(),
        )
    };
    let Some(opened) = sources::open_original(app, original)? else { return Err(GONE) };
    let mut content = match opened {
        Ok(content) => content,
        Err(ReadError::Gone) => return Err(GONE),
        Err(ReadError::Io(_) | ReadError::TooLarge { .. }) => return Err(changed()),
    };
    let mut digest = Sha256::new();
    let length = io::copy(&mut content, &mut digest)?;
    if hash(digest) != original.content_hash {
        return Err(changed());
    }
    content.seek(SeekFrom::Start(0))?;
    Ok((content, length))
}

/// Hands the content on piece by piece. The last one goes out only if all of them together are what was indexed.
fn pour(
    content: Box<dyn Content>,
    length: u64,
    expected: &ContentHash,
    send: &mut dyn FnMut(io::Result<Bytes>) -> bool,
) -> io::Result<()> {
    let mut content = content.take(length);
    let mut digest = Sha256::new();
    let mut held: Option<Bytes> = None;
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        (&mut content).take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.is_empty() {
            break;
        }
        digest.update(&piece);
        if let Some(before) = held.replace(piece.into())
            && !send(Ok(before))
        {
            return Ok(());
        }
    }
    if hash(digest) != *expected {
        return Err(io::Error::other("the file changed while it was sent"));
    }
    if let Some(last) = held {
        send(Ok(last));
    }
    Ok(())
}

fn hash(digest: Sha256) -> ContentHash {
    ContentHash(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// How a browser is told to treat a file.
struct Shown {
    kind: &'static str,
    is_inline: bool,
    policy: &'static str,
}

impl Shown {
    fn of(name: &str) -> Self {
        let (kind, is_inline, policy) = match uploads::ending(name).as_deref() {
            Some("pdf") => ("application/pdf", true, PDF),
            Some("md" | "markdown" | "mdown" | "txt" | "text") => ("text/plain; charset=utf-8", true, CLOSED),
            Some("docx" | "docm") => {
                ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", false, CLOSED)
            }
            // HTML least of all may become a page of this server.
            _ => ("application/octet-stream", false, CLOSED),
        };
        Self { kind, is_inline, policy }
    }
}

/// The header with the file's name (RFC 6266), also for those who know only ASCII.
fn disposition(is_inline: bool, name: &str) -> String {
    let how = if is_inline { "inline" } else { "attachment" };
    let plain = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    let mut encoded = String::new();
    for &byte in name.as_bytes() {
        // `attr-char` of RFC 8187, the plain ones of it.
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{how}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn names_are_encoded_and_no_page_is_made_of_a_file() {
        assert_eq!(
            disposition(false, "año \"1\".docx"),
            "attachment; filename=\"a_o _1_.docx\"; filename*=UTF-8''a%C3%B1o%20%221%22.docx"
        );
        for name in ["a.html", "a.HTM", "a.xhtml", "a", "a.svg"] {
            let shown = Shown::of(name);
            assert_eq!((shown.kind, shown.is_inline), ("application/octet-stream", false), "{name}");
        }
        assert!(Shown::of("a.PDF").is_inline);
    }

    fn poured(bytes: &[u8], expected: &[u8]) -> (Vec<u8>, bool) {
        let mut sent = Vec::new();
        let outcome = pour(
            Box::new(Cursor::new(bytes.to_vec())),
            expected.len() as u64,
            &ContentHash::of(expected),
            &mut |piece| {
                sent.extend_from_slice(&piece.unwrap());
                true
            },
        );
        (sent, outcome.is_ok())
    }

    #[test]
    fn a_file_that_changes_while_it_is_sent_never_arrives_whole() {
        let bytes: Vec<u8> = (0..PIECE * 2 + 17).map(|i| i as u8).collect();
        assert_eq!(poured(&bytes, &bytes), (bytes.clone(), true));
        assert_eq!(poured(&[], &[]), (Vec::new(), true));
        let mut other = bytes.clone();
        other[PIECE * 2 + 5] ^= 1;
        let (sent, whole) = poured(&other, &bytes);
        assert!(!whole && sent.len() == PIECE * 2);
    }
}
