//! `intramuros store`

use std::collections::BTreeMap;

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
    /// Copy the index of the configured store into the other kind; then change `store.kind` in the configuration
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
            println!(
                "{}: {} chunks, made by {} ({} dimensions)",
                info.kind, info.chunks, info.embedder.name, info.embedder.dimensions
            );
            Ok(())
        }
        Command::Verify => verify(session, &app),
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
    for (id, found) in held {
        problems.push(format!("{found} chunks of document {id} are in the store and the ledger does not know it"));
    }
    let pending = app.wait(app.state().pending())?;
    if pending > 0 {
        problems.push(format!(
            "{pending} documents were being written when a run was cut off: run `intramuros ingest` again"
        ));
    }
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if session.json {
        let report = json!({ "documents": expected.len(), "chunks": chunks, "digest": digest, "problems": problems });
        output::json(&report)?;
    } else {
        println!("{} documents, {chunks} chunks, digest {digest}", expected.len());
        for problem in &problems {
            println!("  {problem}");
        }
    }
    if problems.is_empty() { Ok(()) } else { bail!("store and ledger disagree in {} places", problems.len()) }
}

fn migrate(session: &Session, app: &App, to: StoreKind) -> anyhow::Result<()> {
    let from = app.store()?;
    if app.config().store.kind == to {
        bail!("the configured store is already of this kind: nothing to move");
    }
    let target = app.open_store(to)?;
    if target.info()?.chunks > 0 {
        bail!(
            "the target already holds {} chunks: empty it first, or name another `store.collection`",
            target.info()?.chunks
        );
    }
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
    let to = match to {
        StoreKind::Edge => "edge",
        StoreKind::Server => "server",
    };
    if session.json {
        return output::json(&json!({ "chunks": moved }));
    }
    println!("{moved} chunks copied; now set `store.kind = \"{to}\"` in the configuration");
    Ok(())
}
