//! `intramuros search`

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::json;

use super::output::{self, printable};
use super::{As, Session};
use crate::retrieve::{Found, Retrieved};

#[derive(clap::Args)]
pub struct Args {
    /// What to look for, in your own words, Spanish or English; `-` reads it from standard input
    #[arg(required_unless_present = "batch")]
    question: Vec<OsString>,
    /// Look for every line of this file; prints a line of JSON for each, in their order
    #[arg(long, value_name = "FILE", conflicts_with = "question")]
    batch: Option<PathBuf>,
    /// Passages to show [default: `retrieve.limit` of the configuration, 8]
    #[arg(short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    k: Option<u32>,
    #[command(flatten)]
    who: As,
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let questions = super::questions(&args.question, args.batch.as_deref(), &session.config.answer)?;
    let app = session.app("search")?;
    let limit = args.k.map_or(session.config.retrieve.limit, |k| k as usize);
    let retriever = app.retriever()?;
    for question in &questions {
        let retrieved = retriever.search(&args.who.caller(), question, limit)?;
        if session.json || args.batch.is_some() {
            let hits: Vec<_> = retrieved.found.iter().enumerate().map(|(i, found)| hit(i + 1, found)).collect();
            output::json(&json!({ "hits": hits, "took_ms": retrieved.took_ms }))?;
        } else {
            print(&retrieved);
        }
    }
    Ok(())
}

fn print(retrieved: &Retrieved) {
    if retrieved.found.is_empty() {
        println!("Nothing found in the documents you can read.");
    }
    for (i, found) in retrieved.found.iter().enumerate() {
        let chunk = &found.chunk;
        let page = chunk.page.map_or(String::new(), |page| format!(", page {page}"));
        let section =
            if chunk.section.is_empty() { String::new() } else { format!(" > {}", chunk.section.join(" > ")) };
        println!("{}. {}{}{page}  ({:.3})", i + 1, printable(&chunk.title), printable(&section), found.score);
        println!("   {}", chunk.uri);
        for line in printable(&chunk.text).lines() {
            println!("   {line}");
        }
        println!();
    }
}

fn hit(rank: usize, found: &Found) -> serde_json::Value {
    let chunk = &found.chunk;
    json!({
        "rank": rank,
        "score": found.score,
        "cosine": found.cosine,
        "coverage": found.coverage,
        "document_id": chunk.document_id,
        "title": chunk.title,
        "uri": chunk.uri,
        "page": chunk.page,
        "section": chunk.section,
        "start": chunk.start,
        "end": chunk.end,
        "text": chunk.text,
    })
}
