//! What a pass does about documents that are no longer where they were: closes them at once, finds out which of them
//! moved, and deletes the others.

use std::collections::{HashMap, HashSet};

use super::group::pending;
use super::pass::{Pass, ROWS_AT_A_TIME};
use super::{Known, KnownState, Settled, Status, SyncError};
use crate::access::Acl;
use crate::document::{ContentHash, SourceItem};
use crate::format;

impl Pass<'_> {
    /// Items that were not there before and may become documents.
    pub(super) fn arrived(&self, known: &HashMap<String, Known>) -> Vec<usize> {
        let new = |item: &SourceItem| !known.contains_key(&item.path) && format::refused_by_name(&item.path).is_none();
        (0..self.items.len()).filter(|&i| new(&self.items[i])).collect()
    }

    /// Makes what is gone readable by nobody. Finding out whether it moved takes as long as the new files take to read.
    pub(super) fn close(&mut self, gone: &mut [Known]) -> Result<(), SyncError> {
        let is_open = |row: &Known| match row.state {
            KnownState::Indexed => row.acl != Acl::nobody(),
            // What the index holds of it, and for whom, is unknown.
            KnownState::Pending => true,
            KnownState::Failed { .. } => false,
        };
        let mut open: Vec<&mut Known> = gone.iter_mut().filter(|row| is_open(row)).collect();
        for batch in open.chunks_mut(ROWS_AT_A_TIME) {
            if self.cancelled() {
                break;
            }
            for row in batch.iter_mut() {
                row.acl = Acl::nobody();
            }
            let begun: Vec<Known> = batch.iter().map(|row| pending(row)).collect();
            self.sink.begin(&begun, self.source.name()).map_err(SyncError::Sink)?;
            for row in batch.iter() {
                self.sink.set_acl(row.id, &row.acl).map_err(SyncError::Sink)?;
                self.settled.push(Settled::Row((**row).clone()));
            }
            self.commit()?;
        }
        Ok(())
    }

    /// Deletes what is gone, but for what may have moved: its vectors will be of use.
    pub(super) fn remove_gone(&mut self, arrived: &[usize], gone: Vec<Known>) -> Result<(), SyncError> {
        if gone.is_empty() {
            return Ok(());
        }
        let mut contents = HashSet::new();
        for &i in arrived {
            if self.cancelled() {
                return Ok(());
            }
            if let Ok(bytes) = self.source.read(&self.items[i]) {
                contents.insert(ContentHash::of(&bytes));
            }
        }
        let mut deleted = Vec::new();
        for row in gone {
            if row.state == KnownState::Indexed && contents.contains(&row.content_hash) {
                self.moves.entry(row.content_hash.clone()).or_default().push_back(row);
            } else {
                deleted.push(row);
            }
        }
        self.delete(deleted)
    }

    pub(super) fn delete(&mut self, rows: Vec<Known>) -> Result<(), SyncError> {
        for batch in rows.chunks(ROWS_AT_A_TIME) {
            if self.cancelled() {
                break;
            }
            let begun: Vec<Known> = batch.iter().map(pending).collect();
            self.sink.begin(&begun, self.source.name()).map_err(SyncError::Sink)?;
            for row in batch {
                self.sink.remove(row.id).map_err(SyncError::Sink)?;
                self.settled.push(Settled::Gone(row.id));
                self.report.count(Status::Deleted);
            }
            self.commit()?;
        }
        Ok(())
    }
}
