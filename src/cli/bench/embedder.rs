//! Passages of several lengths to vectors.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use intramuros_models::Embedder;
use serde_json::json;

use super::Measured;
use super::generator::words_of;
use super::spread::{Spread, rate};
use crate::retrieve::milliseconds;

/// Passages of one length.
const PASSAGES: usize = 32;

#[derive(clap::Args)]
pub struct Args {
    /// Embed the lines of this file in place of texts made up
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// Write the vectors of `--texts` to this file, one a line
    #[arg(long, value_name = "FILE", requires = "texts")]
    vectors: Option<PathBuf>,
}

/// Texts to embed.
struct Set {
    name: String,
    texts: Vec<String>,
}

/// Embeds each set of texts once to warm up and then once a round.
pub fn measure(embedder: &dyn Embedder, args: &Args, rounds: u32) -> anyhow::Result<Measured> {
    let sets = match &args.texts {
        Some(path) => vec![read(path)?],
        None => made_up(embedder),
    };
    let mut figures = Vec::new();
    let mut rows = Vec::new();
    for Set { name, texts } in &sets {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let seen = |text: &&str| embedder.count_tokens(text).min(embedder.max_tokens());
        let tokens: usize = texts.iter().map(seen).sum();
        let vectors = embedder.embed_passages(&texts)?;
        if let Some(path) = &args.vectors {
            write(path, &vectors)?;
        }
        let mut times = Vec::new();
        for _ in 0..rounds {
            let started = Instant::now();
            embedder.embed_passages(&texts)?;
            times.push(milliseconds(started));
        }
        let per_second = |things| Spread::of(times.iter().map(|ms| rate(things, *ms)).collect());
        let (token_rates, vector_rates) = (per_second(tokens), per_second(texts.len()));
        rows.push(token_rates.row(&format!("passages {name}"), "tokens/s"));
        rows.push(vector_rates.row("", "vectors/s"));
        figures.push(json!({
            "name": name, "texts": texts.len(), "tokens": tokens, "tokens_per_s": token_rates, "vectors_per_s": vector_rates,
        }));
    }
    let figures = json!({ "model": embedder.identity(), "sets": figures });
    Ok(Measured { name: "embedder", figures, rows })
}

/// Passages of the usual length, of the longest, and of lengths from a title's to the longest.
fn made_up(embedder: &dyn Embedder) -> Vec<Set> {
    let most = embedder.max_tokens().min(256);
    let passage = |number: usize, tokens| words_of(tokens, &number.to_string(), &|text| embedder.count_tokens(text));
    let alike = |tokens: usize| Set {
        name: format!("{PASSAGES}x{tokens}"),
        texts: (0..PASSAGES).map(|number| passage(number, tokens)).collect(),
    };
    let mixed = (0..4 * PASSAGES).map(|number| passage(number, 8 + number * 37 % most.saturating_sub(7).max(1)));
    vec![alike(most / 2), alike(most), Set { name: "mixed".to_owned(), texts: mixed.collect() }]
}

fn read(path: &Path) -> anyhow::Result<Set> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let texts: Vec<String> = text.lines().map(str::to_owned).collect();
    if texts.is_empty() {
        bail!("{} is empty: put a text on each line", path.display());
    }
    Ok(Set { name: path.file_stem().unwrap_or_default().display().to_string(), texts })
}

fn write(path: &Path, vectors: &[Vec<f32>]) -> anyhow::Result<()> {
    let mut lines = String::new();
    for vector in vectors {
        writeln!(lines, "{}", serde_json::to_string(vector)?)?;
    }
    std::fs::write(path, lines).with_context(|| format!("cannot write {}", path.display()))
}
