//! Readers narrowed at once, while a pass that listed the files before may still write what it listed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use intramuros_ingest::access::Acl;
use intramuros_ingest::document::DocumentId;

/// The most that may be written as readers of some documents. Kept in memory only: after a restart no pass is left that
/// listed anything before.
#[derive(Default)]
pub struct Ceilings(RwLock<HashMap<DocumentId, Ceiling>>);

struct Ceiling {
    readers: Acl,
    /// Whether the files say so too by now: the next listing finds it by itself.
    settled: bool,
}

/// Held during a write, so that no ceiling comes down between looking and writing.
pub struct Held<'a>(RwLockReadGuard<'a, HashMap<DocumentId, Ceiling>>);

impl Ceilings {
    /// From when this returns, nobody else is written as a reader of the document. Settled when what it gives is
    /// dropped.
    pub fn lower(&self, id: DocumentId, readers: &Acl) -> Lowered<'_> {
        let mut ceilings = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let readers = match ceilings.get(&id) {
            Some(ceiling) => common(&ceiling.readers, readers),
            None => readers.clone(),
        };
        ceilings.insert(id, Ceiling { readers, settled: false });
        Lowered { ceilings: self, id }
    }

    /// Forgets what a listing from now on finds by itself.
    pub fn forget_settled(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, ceiling| !ceiling.settled);
    }

    /// The ceilings as they stay while this is held.
    pub fn hold(&self) -> Held<'_> {
        Held(self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A ceiling whose reason is not in the files yet.
pub struct Lowered<'a> {
    ceilings: &'a Ceilings,
    id: DocumentId,
}

impl Drop for Lowered<'_> {
    fn drop(&mut self) {
        let mut ceilings = self.ceilings.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(ceiling) = ceilings.get_mut(&self.id) {
            ceiling.settled = true;
        }
    }
}

impl Held<'_> {
    /// Those of the readers that may be written.
    pub fn within<'a>(&self, id: DocumentId, readers: &'a Acl) -> Cow<'a, Acl> {
        match self.0.get(&id) {
            Some(ceiling) => Cow::Owned(common(&ceiling.readers, readers)),
            None => Cow::Borrowed(readers),
        }
    }
}

/// Those who read by both. `everyone` beside a name is that name.
pub fn common(a: &Acl, b: &Acl) -> Acl {
    use intramuros_ingest::access::Principal::Everyone;
    let open = |acl: &Acl| acl.readers().any(|reader| *reader == Everyone);
    match (open(a), open(b)) {
        (true, _) => b.clone(),
        (_, true) => a.clone(),
        (false, false) => a.readers().filter(|reader| b.readers().any(|other| other == *reader)).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(text: &str) -> Acl {
        text.parse().unwrap()
    }

    #[test]
    fn a_ceiling_holds_until_a_listing_after_it_settled() {
        let ceilings = Ceilings::default();
        let id = DocumentId::new("uploads", "a/a");
        let lowered = ceilings.lower(id, &acl("group:a,group:b"));
        ceilings.forget_settled();
        assert_eq!(*ceilings.hold().within(id, &acl("everyone")), acl("group:a,group:b"));
        assert_eq!(*ceilings.hold().within(id, &acl("group:b,group:c")), acl("group:b"));
        drop(lowered);
        let lowered = ceilings.lower(id, &Acl::nobody());
        assert_eq!(*ceilings.hold().within(id, &acl("group:a")), Acl::nobody());
        drop(lowered);
        assert_eq!(*ceilings.hold().within(id, &acl("group:a")), Acl::nobody());
        ceilings.forget_settled();
        assert_eq!(*ceilings.hold().within(id, &acl("group:a")), acl("group:a"));
    }

    #[test]
    fn what_is_common_widens_nothing() {
        assert_eq!(common(&acl("everyone"), &acl("group:a")), acl("group:a"));
        assert_eq!(common(&acl("group:a"), &acl("everyone,group:b")), acl("group:a"));
        assert_eq!(common(&acl("group:a"), &Acl::nobody()), Acl::nobody());
    }
}
