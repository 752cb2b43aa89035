//! `intramuros search`

use std::ffi::OsString;
use std::path::PathBuf;

use super::output::{self, printable, printable_lines};
use super::{As, Session};
use crate::http::search::SearchResponse;
use crate::local::Search;

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
    let engine = session.engine("search")?;
    let limit = args.k.map(|k| k as usize);
    for question in questions {
        let response = engine.get(Search { question, limit, principals: args.who.principals.clone() })?;
        if session.json || args.batch.is_some() {
            output::json(&response)?;
        } else {
            print(&response);
        }
    }
    Ok(())
}

fn print(response: &SearchResponse) {
    if response.hits.is_empty() {
        outln!("Nothing found in the documents you can read; `intramuros documents` lists them.");
    }
    for hit in &response.hits {
        let page = hit.page.map_or(String::new(), |page| format!(", page {page}"));
        // The title is often the outermost heading, too.
        let headings = hit.section.strip_prefix(std::slice::from_ref(&hit.title)).unwrap_or(&hit.section);
        let section: String = headings.iter().map(|heading| format!(" > {heading}")).collect();
        outln!("{}. {}{}{page}  ({:.3})", hit.rank, printable(&hit.title), printable(&section), hit.score);
        outln!("   {}", hit.uri);
        for line in printable_lines(&hit.text).lines() {
            outln!("   {line}");
        }
        outln!("");
    }
}
