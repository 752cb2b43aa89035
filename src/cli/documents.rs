//! `intramuros documents`

use std::sync::Arc;

use anyhow::bail;
use clap::Subcommand;
use intramuros_ingest::document::DocumentId;
use serde_json::json;

use super::{As, Session, output};
use crate::local::{DocumentText, Engine, Event, Forget, ListDocuments, ShowDocument};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    // One for all subcommands, so that it counts wherever it stands.
    #[command(flatten)]
    who: As,
}

#[derive(Subcommand)]
enum Command {
    /// List what is indexed, and for the administrator what failed and who reads what (the default)
    List,
    /// Show one document's record
    Show {
        /// Its id
        id: DocumentId,
    },
    /// Print one document's extracted text, which quotes and offsets refer to
    Text {
        /// Its id
        id: DocumentId,
    },
    /// Take all documents of a source out of the index and forget the source; the files stay
    Forget {
        /// Name of the source: for a folder given to `ingest`, its path
        source: String,
    },
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let engine = session.engine("documents")?;
    match &args.command {
        None | Some(Command::List) => list(session, &engine, &args.who),
        Some(Command::Show { id }) => {
            let call = ShowDocument { id: *id, principals: args.who.principals.clone() };
            let Some(record) = engine.get(call)? else { return no_such(*id) };
            if session.json {
                return output::json(&record);
            }
            outln!("{}\n{}\n{}", output::printable(&record.title), record.uri, record.state);
            if let Some(reason) = &record.reason {
                outln!("reason: {reason}");
            }
            if let Some(readers) = &record.readers {
                outln!("readers: {readers}");
            }
            outln!("source: {}\npath: {}", output::printable(&record.source), output::printable(&record.path));
            let language = record.language.as_deref().unwrap_or("unclear");
            let pages = record.pages.map_or(String::new(), |pages| format!(", {pages} pages"));
            outln!("language: {language}, {} chunks{pages}", record.chunks);
            Ok(())
        }
        Some(Command::Text { id }) => {
            let call = DocumentText { id: *id, principals: args.who.principals.clone() };
            let Some(text) = engine.get(call)? else { return no_such(*id) };
            if session.json {
                return output::json(&json!({ "document_id": id, "text": text }));
            }
            outln!("{}", output::printable_lines(&text));
            Ok(())
        }
        Some(Command::Forget { source }) => {
            let gone = engine.call(Forget { source: source.clone() }, &Arc::default(), &mut |event| {
                if event == Event::Queued {
                    output::queued();
                }
                true
            })?;
            if session.json {
                return output::json(&json!({ "forgotten": source, "documents": gone }));
            }
            outln!("{gone} documents of {} are out of the index", output::printable(source));
            Ok(())
        }
    }
}

fn list(session: &Session, engine: &Engine, who: &As) -> anyhow::Result<()> {
    let records = engine.get(ListDocuments { principals: who.principals.clone() })?;
    if session.json {
        return output::json(&json!({ "documents": records }));
    }
    let mut rows = Vec::with_capacity(records.len());
    for record in &records {
        let readers = record.readers.as_ref().map_or(String::new(), ToString::to_string);
        let state =
            record.reason.as_ref().map_or_else(|| record.state.clone(), |why| format!("{}: {why}", record.state));
        let path = output::printable(&record.path);
        rows.push(vec![record.document_id.to_string(), path, record.chunks.to_string(), readers, state]);
    }
    output::table(&["document", "path", "chunks", "readers", "state"], &rows);
    Ok(())
}

/// The same for a document that does not exist and one that the caller may not read.
fn no_such(id: DocumentId) -> anyhow::Result<()> {
    bail!("no document `{id}` that you can read; `intramuros documents` lists them")
}
