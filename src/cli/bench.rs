//! `intramuros bench`
//!
//! | file | what it measures |
//! |---|---|
//! | `generator` | loading, a prompt, writing after it, many clients at once |
//! | `embedder` | passages of several lengths |
//! | `search` | questions to the index of the data directory |
//! | `answers` | whole cited answers over an evaluation folder |
//! | `spread` | least, median and greatest of the rounds |

use intramuros_models::catalog::{Catalog, Model};
use intramuros_models::weights::{self, ModelFiles};
use intramuros_models::{Embedder, ModelError, open_embedder};
use serde_json::{Map, Value, json};

use super::{Session, output};
use crate::app::{embedder_entry, generator_entry};
use crate::config::Config;

mod answers;
mod embedder;
mod generator;
mod search;
mod spread;

#[derive(clap::Args)]
pub struct Args {
    /// Measure only these
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_values = ["generator", "embedder", "search"])]
    only: Vec<What>,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    #[command(flatten)]
    writing: generator::Args,
    #[command(flatten)]
    embedding: embedder::Args,
    /// Questions to the index
    #[arg(long, value_name = "N", default_value_t = 200)]
    queries: usize,
    #[command(flatten)]
    answering: answers::Args,
}

/// A part of the machine's work.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Tokens read and written
    Generator,
    /// Vectors made
    Embedder,
    /// Questions to the index
    Search,
}

/// What was measured of one part.
struct Measured {
    /// Its name in the JSON document.
    name: &'static str,
    figures: Value,
    /// Of the table: what, least, median, greatest, unit.
    rows: Vec<Vec<String>>,
}

pub fn run(mut session: Session, args: &Args) -> anyhow::Result<()> {
    let measured = match &args.answering.answers {
        Some(folder) => vec![answers::measure(&mut session, folder, &args.answering)?],
        None => parts(&session, args)?,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let processor = processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    if session.json {
        let mut document = Map::new();
        document.insert("machine".to_owned(), json!({ "processor": processor, "threads": threads }));
        document.extend(measured.into_iter().map(|part| (part.name.to_owned(), part.figures)));
        return output::json(&document);
    }
    outln!("{processor}, {threads} threads");
    let rows: Vec<Vec<String>> = measured.into_iter().flat_map(|part| part.rows).collect();
    output::table(&["", "min", "median", "max", ""], &rows);
    Ok(())
}

fn parts(session: &Session, args: &Args) -> anyhow::Result<Vec<Measured>> {
    let wants = |what| args.only.contains(&what);
    let mut measured = Vec::new();
    // Only the index needs the data directory: the rest can be measured beside a server.
    let app = if wants(What::Search) { Some(session.app("bench")?) } else { None };
    if wants(What::Generator) {
        let files = match &args.writing.generator {
            Some(file) => ModelFiles::of_gguf(file)?,
            None => installed(session, generator_entry)?,
        };
        measured.push(generator::measure(&files, session.config.engine(), &args.writing, args.rounds)?);
    }
    if wants(What::Embedder) {
        let own: Box<dyn Embedder>;
        let embedder = match &app {
            Some(app) => app.embedder()?,
            None => {
                own = open_embedder(&installed(session, embedder_entry)?, session.config.models.precision)?;
                own.as_ref()
            }
        };
        measured.push(embedder::measure(embedder, &args.embedding, args.rounds)?);
    }
    if let Some(app) = &app {
        measured.push(search::measure(app, args.queries, args.rounds)?);
    }
    Ok(measured)
}

/// The files of the configured model of a role.
fn installed(
    session: &Session,
    entry: for<'a> fn(&Config, &'a Catalog) -> Result<&'a Model, ModelError>,
) -> anyhow::Result<ModelFiles> {
    let config = &session.config;
    let catalog = Catalog::load(config.models.catalog.as_deref())?;
    Ok(weights::locate(&config.models_dir(), entry(config, &catalog)?)?)
}

/// What this machine's processor calls itself, where the system tells.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
