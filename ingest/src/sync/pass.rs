//! The pass itself: what is to do, in an order in which a crash does no harm.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::compare::{is_wider, readers_of, take_gone, take_unseen};
use super::group::{self, Member, Model, Put, Vectors, Write, pending};
use super::prepare::{Outcome, Prepared, Preparer, Ready, Shared};
use super::queue::{Queue, StopOnDrop};
use super::{ChunkSink, Embed, Known, KnownState, Listed, Ports, Readers, Settled, Status};
use super::{SyncError, SyncEvent, SyncOptions, SyncReport};
use crate::chunk;
use crate::document::{ContentHash, Document, DocumentId, SourceItem};
use crate::source::{Listing, ReadError, Source};

/// Rows that rights changes and deletions settle at a time.
pub(super) const ROWS_AT_A_TIME: usize = 500;

/// Brings the index in step with a source, in this order: documents that are gone are deleted, or closed where they may
/// have moved; readers that changed, the narrowed ones first; then file after file in the order of paths. So what someone
/// may no longer read is closed before any file is read, whatever follows.
///
/// # Errors
/// When the source cannot be listed, lists nothing although the index holds documents of it, or a port fails; an embedder
/// that fails on one document and not on others is no failure of the pass. What was committed until then is kept.
pub fn run(
    source: &dyn Source,
    ports: Ports<'_>,
    options: &SyncOptions,
    events: &mut dyn FnMut(SyncEvent<'_>),
) -> Result<SyncReport, SyncError> {
    let began = Instant::now();
    let listing = source.list()?;
    let rows = ports.sink.known(source.name()).map_err(SyncError::Sink)?;
    let mut known: HashMap<String, Known> = rows.into_iter().map(|row| (row.path.clone(), row)).collect();
    let gone = take_gone(&mut known, &listing, source.scope());
    if listing.items.is_empty() && !gone.is_empty() && !options.allow_empty {
        return Err(SyncError::Emptied { name: source.name().to_owned(), indexed: gone.len() });
    }
    let unseen = take_unseen(&mut known, &listing, source.scope());
    let bytes = listing.items.iter().map(|item| item.size).sum();
    events(SyncEvent::Listed { documents: listing.items.len() as u64, bytes });

    let Ports { embed, sink, readers } = ports;
    // Vectors may be re-used as long as the model is the same, whatever else of the pipeline changed.
    let reusable = format!("embedder={}; ", embed.identity());
    let pipeline = format!(
        "{reusable}readers={}; chunks={} of {} to {}",
        readers.fingerprint,
        chunk::VERSION,
        options.target_tokens,
        embed.max_tokens()
    );
    let mut report = SyncReport { source: source.name().to_owned(), ..SyncReport::default() };
    report_listing(&mut report, &listing);
    let mut pass = Pass {
        source,
        embed,
        sink,
        options,
        events,
        items: &listing.items,
        pipeline,
        reusable,
        report,
        rights: HashSet::new(),
        moves: BTreeMap::new(),
        group: Vec::new(),
        group_chunks: 0,
        settled: Vec::new(),
        settled_bytes: 0,
        last_commit: Instant::now(),
    };
    let outcome = pass.everything(&mut known, gone, unseen, &readers);
    if let Err(SyncError::Embed(_)) = &outcome {
        // The model failed, not the index: what is written may as well stay.
        pass.commit()?;
    }
    outcome?;
    let mut report = pass.report;
    report.failures.sort();
    report.skips.sort();
    report.took_ms = began.elapsed().as_millis() as u64;
    Ok(report)
}

fn report_listing(report: &mut SyncReport, listing: &Listing) {
    for failure in &listing.failures {
        // The source itself has the empty path.
        let path = if failure.path.is_empty() { "." } else { &failure.path };
        report.count(Status::Failed);
        report.failures.push(Listed { path: path.to_owned(), reason: failure.reason.clone() });
    }
    for skip in &listing.skips {
        report.count(Status::Skipped);
        report.skips.push(skip.clone());
    }
    report.warnings.extend(listing.warnings.iter().cloned());
}

/// The state of one pass.
pub(super) struct Pass<'a> {
    pub(super) source: &'a dyn Source,
    embed: &'a dyn Embed,
    pub(super) sink: &'a mut dyn ChunkSink,
    pub(super) options: &'a SyncOptions,
    events: &'a mut dyn FnMut(SyncEvent<'_>),
    pub(super) items: &'a [SourceItem],
    pipeline: String,
    /// How the pipeline of rows begins whose vectors are of the same model.
    reusable: String,
    pub(super) report: SyncReport,
    /// Items whose readers were changed and that have not been gone through yet.
    rights: HashSet<usize>,
    /// Rows whose files are gone and whose content stands at a new place, by content.
    pub(super) moves: BTreeMap<ContentHash, VecDeque<Known>>,
    /// What is to be written next; nothing of it is begun.
    group: Vec<Member>,
    group_chunks: usize,
    /// What is written and not yet committed.
    pub(super) settled: Vec<Settled>,
    /// Bytes of text of the documents in it.
    settled_bytes: u64,
    last_commit: Instant,
}

impl Pass<'_> {
    fn everything(
        &mut self,
        known: &mut HashMap<String, Known>,
        mut gone: Vec<Known>,
        mut unseen: Vec<Known>,
        readers: &Readers<'_>,
    ) -> Result<(), SyncError> {
        // What stands where nothing can be looked at stays in the index; who reads it cannot be known.
        self.close(&mut unseen)?;
        let arrived = if gone.is_empty() { Vec::new() } else { self.arrived(known) };
        if arrived.is_empty() {
            // Nothing can have moved.
            self.delete(std::mem::take(&mut gone))?;
        } else {
            self.close(&mut gone)?;
        }
        self.change_readers(known)?;
        self.remove_gone(&arrived, gone)?;
        if !self.cancelled() {
            self.go_through(known, readers)?;
        }
        if !self.cancelled() {
            // Files that looked as if they had moved and then were something else.
            let left = std::mem::take(&mut self.moves).into_values().flatten().collect();
            self.delete(left)?;
        }
        self.report.rights += self.rights.len() as u64;
        self.commit()
    }

    /// Whether to stop; once so, the report says it.
    pub(super) fn cancelled(&mut self) -> bool {
        let cancelled = self.options.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed));
        self.report.interrupted |= cancelled;
        cancelled
    }

    /// Changes the readers of what is indexed, first where someone loses the right to read.
    fn change_readers(&mut self, known: &mut HashMap<String, Known>) -> Result<(), SyncError> {
        let mut changes = Vec::new();
        for (i, item) in self.items.iter().enumerate() {
            let Some(row) = known.get(&item.path) else { continue };
            let acl = readers_of(item);
            // What the index holds of a pending one, and for whom, is unknown.
            if row.acl != acl || row.state == KnownState::Pending {
                changes.push((is_wider(&acl, &row.acl), i, acl));
            }
        }
        changes.sort_by_key(|(wider, i, _)| (*wider, *i));
        for batch in changes.chunks(ROWS_AT_A_TIME) {
            if self.cancelled() {
                break;
            }
            let mut rows = Vec::new();
            for (_, i, acl) in batch {
                if let Some(row) = known.get_mut(&self.items[*i].path) {
                    row.acl = acl.clone();
                    rows.push((*i, row.clone()));
                }
            }
            self.write_readers(&rows)?;
        }
        Ok(())
    }

    fn write_readers(&mut self, rows: &[(usize, Known)]) -> Result<(), SyncError> {
        let begun: Vec<Known> = rows.iter().map(|(_, row)| pending(row)).collect();
        self.sink.begin(&begun, self.source.name()).map_err(SyncError::Sink)?;
        for (i, row) in rows {
            match row.state {
                KnownState::Failed { .. } => {}
                KnownState::Pending => self.sink.set_acl(row.id, &row.acl).map_err(SyncError::Sink)?,
                KnownState::Indexed => {
                    self.sink.set_acl(row.id, &row.acl).map_err(SyncError::Sink)?;
                    self.rights.insert(*i);
                }
            }
            self.settled.push(Settled::Row(row.clone()));
        }
        self.commit()
    }

    /// Goes through all files, in order: threads read and understand them, this one embeds and writes.
    fn go_through(&mut self, known: &HashMap<String, Known>, readers: &Readers<'_>) -> Result<(), SyncError> {
        let (items, pipeline) = (self.items, self.pipeline.clone());
        let (source, embed, target_tokens) = (self.source, self.embed, self.options.target_tokens);
        let shared = Shared { source, embed, readers, known, pipeline: &pipeline, target_tokens };
        let queue = Queue::new(items.iter().map(|item| item.size).collect(), self.options.memory_bytes);
        std::thread::scope(|scope| {
            for _ in 0..self.options.workers.clamp(1, items.len().max(1)) {
                scope.spawn(|| {
                    let mut preparer = Preparer::new(&shared);
                    while let Some(i) = queue.take() {
                        let prepared = preparer.prepare(&items[i]);
                        queue.finish(i, prepared.size(), prepared);
                    }
                });
            }
            let _stop = StopOnDrop(&queue);
            while let Some((i, prepared)) = queue.next() {
                if self.cancelled() {
                    return Ok(());
                }
                self.take(i, known.get(&items[i].path), prepared);
                if self.group_chunks >= self.options.embed_batch || self.group.len() >= self.options.commit_documents {
                    self.write_group()?;
                }
            }
            self.write_group()
        })
    }

    /// Decides what to do about one file.
    fn take(&mut self, i: usize, row: Option<&Known>, prepared: Prepared) {
        self.report.bytes += prepared.bytes;
        let unread = || ContentHash(String::new());
        match prepared.outcome {
            Outcome::Unchanged => {
                let status = if self.rights.contains(&i) { Status::Rights } else { Status::Unchanged };
                self.done(i, status);
            }
            Outcome::FailedAgain(reason) => self.fail(i, reason),
            Outcome::NotRead(ReadError::Gone) if row.is_none() => self.skip(i, ReadError::Gone.to_string()),
            Outcome::NotRead(error @ ReadError::TooLarge { .. }) => {
                self.set_failed(i, row, unread(), error.to_string())
            }
            // What the index holds may still be right.
            Outcome::NotRead(error) if row.is_some() => self.fail(i, error.to_string()),
            Outcome::NotRead(error) => self.set_failed(i, row, unread(), error.to_string()),
            Outcome::Stopped(hash, reason) => match row {
                // What is indexed stays, unless it is of another model.
                Some(row) if row.state == KnownState::Indexed && row.pipeline.starts_with(&self.reusable) => {
                    let changed = row.content_hash != hash;
                    let kept = if changed { "; until then the index keeps its text as it was before" } else { "" };
                    self.fail(i, reason + kept);
                }
                _ => self.set_failed(i, row, unread(), reason),
            },
            Outcome::Failed(hash, reason) => self.set_failed(i, row, hash, reason),
            Outcome::Skipped(reason) => match row {
                Some(row) => {
                    let write = Write::Drop { row: row.clone(), reason };
                    self.group.push(Member { item: i, write });
                }
                None => self.skip(i, reason),
            },
            Outcome::Ready(hash, ready) => self.put(i, row, hash, *ready),
        }
    }

    /// Notes that a file cannot be taken in, unless the ledger says so already. With the hash of no content it will be
    /// tried again each time.
    fn set_failed(&mut self, i: usize, before: Option<&Known>, content_hash: ContentHash, reason: String) {
        let item = &self.items[i];
        let row = Known { content_hash, state: KnownState::Failed { reason: reason.clone() }, ..self.row(item) };
        if before == Some(&row) {
            return self.fail(i, reason);
        }
        let held = before.is_some_and(|before| !matches!(before.state, KnownState::Failed { .. }));
        self.group.push(Member { item: i, write: Write::Fail { row, held, reason } });
    }

    fn put(&mut self, i: usize, before: Option<&Known>, content_hash: ContentHash, ready: Ready) {
        let item = &self.items[i];
        let moved_from = match before {
            Some(_) => None,
            None => self.moves.get_mut(&content_hash).and_then(VecDeque::pop_front),
        };
        let status = match before.map(|row| &row.state) {
            None if moved_from.is_some() => Status::Moved,
            None | Some(KnownState::Pending) => Status::New,
            Some(_) => Status::Changed,
        };
        let row = Known { content_hash: content_hash.clone(), ..self.row(item) };
        let document = Document {
            id: row.id,
            source: self.source.name().to_owned(),
            path: item.path.clone(),
            uri: item.uri.clone(),
            title: ready.title,
            language: ready.language,
            content_hash,
            acl: row.acl.clone(),
            text: ready.text,
            page_starts: ready.page_starts,
        };
        self.group_chunks += ready.chunks.len();
        let put = Put {
            document,
            chunks: ready.chunks,
            warnings: ready.warnings,
            row,
            before: before.cloned(),
            moved_from,
            status,
        };
        self.group.push(Member { item: i, write: Write::Put(Box::new(put)) });
    }

    /// The row of an item as it will be once indexed, but for its content.
    fn row(&self, item: &SourceItem) -> Known {
        Known {
            id: DocumentId::new(self.source.name(), &item.path),
            path: item.path.clone(),
            content_hash: ContentHash(String::new()),
            acl: readers_of(item),
            pipeline: self.pipeline.clone(),
            state: KnownState::Indexed,
        }
    }

    /// Makes the vectors of the group and writes it. Nothing is begun before its vectors are there, so that as little
    /// as possible is ever half written.
    fn write_group(&mut self) -> Result<(), SyncError> {
        let group = std::mem::take(&mut self.group);
        self.group_chunks = 0;
        if group.is_empty() {
            return Ok(());
        }
        match self.vectors(&group) {
            Ok(Some(vectors)) => self.write(group, vectors),
            Ok(None) => Ok(()),
            Err(SyncError::Embed(_)) => self.write_singly(group),
            Err(error) => Err(error),
        }
    }

    /// Writes each of a group by itself, after the model failed on the group. What it fails on even so is listed as
    /// failed and tried again each time.
    fn write_singly(&mut self, group: Vec<Member>) -> Result<(), SyncError> {
        for member in group {
            let member = [member];
            match self.vectors(&member) {
                Ok(Some(vectors)) => self.write(member.into(), vectors)?,
                Ok(None) => return Ok(()),
                Err(SyncError::Embed(error)) => {
                    // A model that fails on anything is no fault of the document.
                    if self.embed.embed(&["a"]).is_err() {
                        return Err(SyncError::Embed(error));
                    }
                    let [Member { item, write }] = member;
                    let Write::Put(put) = write else { return Err(SyncError::Embed(error)) };
                    if let Some(from) = put.moved_from {
                        self.moves.entry(from.content_hash.clone()).or_default().push_back(from);
                    }
                    let reason = format!("the model cannot embed it: {error}");
                    self.set_failed(item, put.before.as_ref(), ContentHash(String::new()), reason);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The vectors of a group; `None` once cancelled.
    fn vectors(&mut self, group: &[Member]) -> Result<Option<Vectors>, SyncError> {
        let model = Model { embed: self.embed, batch: self.options.embed_batch, reusable: &self.reusable };
        let cancel = self.options.cancel.as_deref();
        group::vectors(group, self.sink, &model, &mut |texts| {
            (self.events)(SyncEvent::Embedded { texts });
            !cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
        })
    }

    /// Writes a group to the index and commits where that is due.
    fn write(&mut self, group: Vec<Member>, vectors: Vectors) -> Result<(), SyncError> {
        let rows: Vec<Known> = group.iter().flat_map(|member| member.rows_to_begin(&self.reusable)).collect();
        self.sink.begin(&rows, self.source.name()).map_err(SyncError::Sink)?;
        let mut of_documents = vectors.of_documents.iter();
        for member in group {
            let own = match &member.write {
                Write::Put(_) => of_documents.next().map_or(&[][..], Vec::as_slice),
                _ => &[],
            };
            self.settled.extend(member.write(self.sink, own)?);
            self.written(member);
        }
        self.report.embedded += vectors.embedded;
        self.report.reused += vectors.reused;
        let due = self.last_commit.elapsed() >= self.options.commit_every
            || self.settled.len() >= self.options.commit_documents
            || self.settled_bytes >= self.options.commit_bytes;
        if due { self.commit() } else { Ok(()) }
    }

    /// Counts and tells what was written.
    fn written(&mut self, member: Member) {
        let i = member.item;
        match member.write {
            Write::Put(put) => {
                self.report.chunks += put.chunks.len() as u64;
                self.settled_bytes += put.document.text.len() as u64;
                let path = &self.items[i].path;
                self.report.warnings.extend(put.warnings.iter().map(|warning| format!("{path}: {warning}")));
                self.done(i, put.status);
            }
            Write::Fail { reason, .. } => self.fail(i, reason),
            Write::Drop { reason, .. } => self.skip(i, reason),
        }
    }

    fn fail(&mut self, i: usize, reason: String) {
        self.report.failures.push(Listed { path: self.items[i].path.clone(), reason });
        self.done(i, Status::Failed);
    }

    fn skip(&mut self, i: usize, reason: String) {
        self.report.skips.push(Listed { path: self.items[i].path.clone(), reason });
        self.done(i, Status::Skipped);
    }

    fn done(&mut self, i: usize, status: Status) {
        self.rights.remove(&i);
        self.report.count(status);
        let item = &self.items[i];
        (self.events)(SyncEvent::Done { path: &item.path, status, bytes: item.size });
    }

    pub(super) fn commit(&mut self) -> Result<(), SyncError> {
        self.last_commit = Instant::now();
        self.settled_bytes = 0;
        if self.settled.is_empty() {
            return Ok(());
        }
        self.sink.commit(&self.settled).map_err(SyncError::Sink)?;
        self.settled.clear();
        Ok(())
    }
}
