//! `intramuros store`

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use clap::Subcommand;
use intramuros_ingest::access::Caller;
use intramuros_ingest::document::DocumentId;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Session;
use super::output::{self, Progress};
use crate::app::App;
use crate::config::StoreKind;
use crate::store::{Point, VectorStore};

/// Points moved or read at a time.
const PAGE: usize = 500;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Describe the store: kind, embedder, number of chunks
    Info,
    /// Check that store and ledger agree, chunk by chunk, and print a digest of the whole index
    Verify,
    /// Empty the configured store, so that the next `ingest` makes the index anew from the documents
    Rebuild,
    /// Copy the index of the configured store into the other kind; then change `store.kind` in the configuration. Cut off
    /// half-way, it goes on when run again
    Migrate {
        /// Where to
        #[arg(long)]
        to: StoreKind,
    },
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let app = session.app("store")?;
    match &args.command {
        Command::Info => {
            let info = app.store()?.info()?;
            if session.json {
                return output::json(&info);
            }
            outln!(
                "{}: {} chunks, made by {} ({} dimensions)",
                info.kind,
                info.chunks,
                info.embedder.name,
                info.embedder.dimensions
            );
            Ok(())
        }
        Command::Verify => verify(session, &app),
        Command::Rebuild => rebuild(session, &app),
        Command::Migrate { to } => migrate(session, &app, *to),
    }
}

/// Calls `each` with every point, in the order of ids.
fn all_points(store: &dyn VectorStore, each: &mut dyn FnMut(&[Point]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let points = store.export(&Caller::LocalAdministrator, after, PAGE)?;
        let Some(last) = points.last() else { return Ok(()) };
        after = Some(last.id);
        each(&points)?;
    }
}

fn verify(session: &Session, app: &App) -> anyhow::Result<()> {
    let mut held: BTreeMap<DocumentId, u64> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut digest = Sha256::new();
    let mut chunks = 0u64;
    let expected = app.wait(app.state().chunk_counts())?;
    let readers: BTreeMap<_, _> = expected.iter().map(|(id, _, acl)| (*id, acl)).collect();
    all_points(app.store()?.as_ref(), &mut |points| {
        for point in points {
            let id = point.chunk.document_id;
            chunks += 1;
            *held.entry(id).or_default() += 1;
            if point.id != id.chunk(point.chunk.position) {
                problems.push(format!("a chunk of document {id} has a foreign point id"));
            }
            let length: f32 = point.dense.iter().map(|x| x * x).sum::<f32>().sqrt();
            if (length - 1.0).abs() > 1e-3 {
                problems
                    .push(format!("chunk {} of document {id} has a vector of length {length}", point.chunk.position));
            }
            if readers.get(&id).is_some_and(|acl| **acl != point.chunk.acl) {
                problems
                    .push(format!("chunk {} of document {id} has other readers than the ledger", point.chunk.position));
            }
            // Vectors may differ in their last bits with the batch they were made in: the hash of their text stands in.
            digest.update(serde_json::to_vec(&point.chunk)?);
        }
        Ok(())
    })?;
    for (id, count, _) in &expected {
        let found = held.remove(id).unwrap_or(0);
        if found != *count {
            problems.push(format!("document {id} has {found} chunks in the store and {count} in the ledger"));
        }
    }
    let pending = app.wait(app.state().pending())?;
    for id in &pending {
        held.remove(id);
    }
    for (id, found) in held {
        problems.push(format!("{found} chunks of document {id} are in the store and the ledger does not know it"));
    }
    if !pending.is_empty() {
        problems.push(format!(
            "{} documents were being written when a run was cut off: run `intramuros ingest` again",
            pending.len()
        ));
    }
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if session.json {
        let report = json!({ "documents": expected.len(), "chunks": chunks, "digest": digest, "problems": problems });
        output::json(&report)?;
    } else {
        outln!("{} documents, {chunks} chunks, digest {digest}", expected.len());
        for problem in &problems {
            outln!("  {problem}");
        }
    }
    if problems.is_empty() { Ok(()) } else { bail!("store and ledger disagree in {} places", problems.len()) }
}

fn rebuild(session: &Session, app: &App) -> anyhow::Result<()> {
    // Not `app.store()`: it refuses exactly the index that this command is for.
    let store = app.open_store(app.config().store.kind)?;
    // First the record: cut off after this, the next ingest writes every document again.
    let documents = app.wait(app.state().forget_progress())?;
    loop {
        let points = store.export(&Caller::LocalAdministrator, None, PAGE)?;
        if points.is_empty() {
            break;
        }
        let ids: BTreeSet<DocumentId> = points.iter().map(|point| point.chunk.document_id).collect();
        store.remove(&ids.into_iter().collect::<Vec<_>>())?;
    }
    store.flush()?;
    app.wait(app.state().describe_index(store.info()?.index_id))?;
    if session.json {
        return output::json(&json!({ "documents": documents }));
    }
    outln!("the store is empty; `intramuros ingest` brings {documents} documents in again");
    Ok(())
}

/// A target may hold what an earlier migration brought there, and nothing else.
fn check_target(from: &dyn VectorStore, target: &dyn VectorStore) -> anyhow::Result<()> {
    all_points(target, &mut |points| {
        for point in points {
            let (id, at) = (point.chunk.document_id, point.chunk.position);
            let own = from.chunks(&Caller::LocalAdministrator, id, at..at + 1)?;
            if own.is_empty() {
                bail!("the target holds chunks of other documents: empty it first, or name another `store.collection`");
            }
        }
        Ok(())
    })
}

fn migrate(session: &Session, app: &App, to: StoreKind) -> anyhow::Result<()> {
    let from = app.store()?;
    if app.config().store.kind == to {
        bail!("the configured store is already of this kind: nothing to move");
    }
    let target = app.open_store(to)?;
    check_target(from.as_ref(), target.as_ref())?;
    let total = from.info()?.chunks;
    let mut progress = Progress::counting(total, "chunks");
    all_points(from.as_ref(), &mut |points| {
        target.import(points)?;
        progress.advance(points.len() as u64);
        Ok(())
    })?;
    target.flush()?;
    target.optimize()?;
    progress.finish();
    let moved = target.info()?.chunks;
    if moved != total {
        bail!("{moved} of {total} chunks arrived; the configured store is as it was");
    }
    app.wait(app.state().describe_index(target.info()?.index_id))?;
    let to = match to {
        StoreKind::Edge => "edge",
        StoreKind::Server => "server",
    };
    if session.json {
        return output::json(&json!({ "chunks": moved }));
    }
    outln!("{moved} chunks copied; now set `store.kind = \"{to}\"` in the configuration");
    Ok(())
}
