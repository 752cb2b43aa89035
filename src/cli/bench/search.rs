//! Questions to the index of the data directory, one after the other.

use std::time::Instant;

use intramuros_ingest::access::Caller;
use serde_json::json;

use super::Measured;
use super::spread::{Spread, rate};
use crate::app::App;
use crate::eval::percentile;
use crate::retrieve::milliseconds;

/// Passages a question asks for.
const LIMIT: usize = 8;

/// Asks the index; the question's vector is part of the time.
pub fn measure(app: &App, queries: usize, rounds: u32) -> anyhow::Result<Measured> {
    let retriever = app.retriever()?;
    let chunks = app.store()?.info()?.chunks;
    let (mut rates, mut medians, mut slowest) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut times = Vec::with_capacity(queries);
        for i in 0..queries {
            let started = Instant::now();
            retriever.search(&Caller::LocalAdministrator, &format!("how many working days {i}"), LIMIT)?;
            times.push(milliseconds(started));
        }
        times.sort_by(f64::total_cmp);
        rates.push(rate(queries, times.iter().sum()));
        medians.push(percentile(&times, 0.5));
        slowest.push(percentile(&times, 0.95));
    }
    let (rates, p50, p95) = (Spread::of(rates), Spread::of(medians), Spread::of(slowest));
    let figures = json!({ "chunks": chunks, "queries_per_s": rates, "p50_ms": p50, "p95_ms": p95 });
    let rows = vec![
        rates.row(&format!("questions over {chunks} chunks, their vectors included"), "questions/s"),
        p50.row("  half of them take at most", "ms"),
        p95.row("  95 in 100 take at most", "ms"),
    ];
    Ok(Measured { name: "search", figures, rows })
}
