//! Addresses for people and programs elsewhere. What a document's own address says of this machine's file system is for
//! its administrator: over HTTP, files are read at the server's own pages.

use intramuros_ingest::document::DocumentId;

use crate::answer::Citation;
use crate::state::documents::DocumentRecord;
use crate::uploads;

/// Where a passage is read, with its place marked.
pub fn of_passage(uri: &mut String, id: DocumentId, start: usize, end: usize) {
    if is_local(uri) {
        *uri = format!("/documents/{id}?start={start}&end={end}#cited");
    }
}

/// A citation with its address.
pub fn of_citation(mut citation: Citation) -> Citation {
    let Citation { document_id, start, end, .. } = citation;
    of_passage(&mut citation.uri, document_id, start, end);
    citation
}

/// Where a document is read.
pub fn of_document(uri: &mut String, id: DocumentId) {
    if is_local(uri) {
        *uri = format!("/documents/{id}");
    }
}

/// A document with its address, and its source by a name that is no path.
pub fn of_record(mut record: DocumentRecord) -> DocumentRecord {
    of_document(&mut record.uri, record.document_id);
    record.source = source(&record.source).to_owned();
    record.path = path(&record.source, record.path);
    record
}

/// Where a document stands in its source, as people know it: an upload has a folder of its own, which says nothing.
pub fn path(source: &str, path: String) -> String {
    match path.split_once('/') {
        Some((_, name)) if source == uploads::SOURCE => name.to_owned(),
        _ => path,
    }
}

/// A source that was ingested by its path is called by it; the last part of that says enough.
pub fn source(name: &str) -> &str {
    match name.strip_prefix('/') {
        Some(path) => path.trim_end_matches('/').rsplit('/').next().unwrap_or(path),
        None => name,
    }
}

fn is_local(uri: &str) -> bool {
    uri.starts_with("file:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_at_our_pages_and_other_addresses_stay() {
        let id = DocumentId::new("s", "a");
        let mut uri = "file:///srv/legal/lease.pdf#page=2".to_owned();
        of_passage(&mut uri, id, 3, 9);
        assert_eq!(uri, format!("/documents/{id}?start=3&end=9#cited"));
        let mut uri = "https://wiki.example/page".to_owned();
        of_passage(&mut uri, id, 3, 9);
        assert_eq!(uri, "https://wiki.example/page");
    }

    #[test]
    fn sources_are_called_by_no_path() {
        assert_eq!(
            (source("/srv/handbook"), source("wiki"), source("/"), source("/srv/")),
            ("handbook", "wiki", "", "srv")
        );
    }
}
