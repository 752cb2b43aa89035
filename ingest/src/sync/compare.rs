//! What a listing says of the rows of the ledger: which files are gone, and who reads those that are there.

use std::collections::{HashMap, HashSet};

use super::Known;
use crate::access::Acl;
use crate::document::SourceItem;
use crate::source::Listing;

/// Takes the rows out of `known` whose documents are no longer in the source.
pub(super) fn take_gone(known: &mut HashMap<String, Known>, listing: &Listing, scope: &str) -> Vec<Known> {
    let listed: HashSet<&str> = listing.items.iter().map(|item| item.path.as_str()).collect();
    let unseen: HashSet<&str> = listing.failures.iter().map(|failure| failure.path.as_str()).collect();
    let mut gone = Vec::new();
    known.retain(|path, row| {
        let keep = listed.contains(path.as_str()) || !is_below(path, scope) || is_unseen(path, &unseen);
        if !keep {
            gone.push(row.clone());
        }
        keep
    });
    gone.sort_by(|a, b| a.path.cmp(&b.path));
    gone
}

/// Takes the rows out of `known` that stand where nothing could be looked at: who reads them cannot be known. To be called
/// after [`take_gone`].
pub(super) fn take_unseen(known: &mut HashMap<String, Known>, listing: &Listing, scope: &str) -> Vec<Known> {
    let listed: HashSet<&str> = listing.items.iter().map(|item| item.path.as_str()).collect();
    let is_unseen = |path: &String, _: &mut Known| is_below(path, scope) && !listed.contains(path.as_str());
    let mut unseen: Vec<Known> = known.extract_if(is_unseen).map(|(_, row)| row).collect();
    unseen.sort_by(|a, b| a.path.cmp(&b.path));
    unseen
}

/// Whether a path is `folder` or stands in it; everything stands in the empty one.
fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a path or a folder above it could not be looked at.
fn is_unseen(path: &str, unseen: &HashSet<&str>) -> bool {
    let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
    !unseen.is_empty()
        && (unseen.contains("") || unseen.contains(path) || { folders }.any(|above| unseen.contains(above)))
}

/// The readers of an item: nobody where they cannot be known.
pub(super) fn readers_of(item: &SourceItem) -> Acl {
    item.acl.clone().unwrap_or_else(|_| Acl::nobody())
}

/// Whether all who read by `before` still do by `after`.
pub(super) fn is_wider(after: &Acl, before: &Acl) -> bool {
    before.readers().all(|reader| after.readers().any(|other| other == reader))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{ContentHash, DocumentId};
    use crate::sync::{KnownState, Listed};

    #[test]
    fn gone_is_only_what_was_looked_for_and_not_found() {
        let mut known = HashMap::new();
        for path in ["a/x.md", "a/y.md", "a/broken/z.md", "a/broken.md", "ab/x.md", "b.md"] {
            let row = Known {
                id: DocumentId::new("s", path),
                path: path.to_owned(),
                content_hash: ContentHash::of(b""),
                acl: Acl::nobody(),
                pipeline: String::new(),
                state: KnownState::Indexed,
            };
            known.insert(path.to_owned(), row);
        }
        let item = SourceItem { path: "a/x.md".into(), uri: String::new(), acl: Ok(Acl::nobody()), size: 0 };
        let failure = Listed { path: "a/broken".into(), reason: String::new() };
        let listing = Listing { items: vec![item], failures: vec![failure], ..Listing::default() };
        let paths = |gone: Vec<Known>| gone.into_iter().map(|row| row.path).collect::<Vec<_>>();
        assert_eq!(paths(take_gone(&mut known.clone(), &listing, "a")), ["a/broken.md", "a/y.md"]);
        assert_eq!(paths(take_gone(&mut known.clone(), &listing, "")), ["a/broken.md", "a/y.md", "ab/x.md", "b.md"]);
        let mut left = known.clone();
        take_gone(&mut left, &listing, "a");
        assert_eq!(paths(take_unseen(&mut left, &listing, "a")), ["a/broken/z.md"]);
        let failure = Listed { path: String::new(), reason: String::new() };
        let nothing_seen = Listing { failures: vec![failure], ..Listing::default() };
        assert_eq!(paths(take_gone(&mut known, &nothing_seen, "")), [""; 0]);
    }

    #[test]
    fn wider_means_that_nobody_is_shut_out() {
        let acl = |text: &str| text.parse::<Acl>().unwrap();
        assert!(is_wider(&acl("group:a,group:b"), &acl("group:a")));
        assert!(is_wider(&acl("group:a"), &Acl::nobody()));
        assert!(!is_wider(&acl("group:b"), &acl("group:a")));
        assert!(!is_wider(&Acl::nobody(), &acl("group:a")));
    }
}
