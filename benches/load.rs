//! The server under many clients at once: `cargo bench --bench load [-- SECONDS [CLIENTS] [DATA_DIR]]` (120 seconds, 100 clients; a
//! directory that has the sample intranet indexed saves the indexing, and is changed).
//!
//! Server and clients share the machine: the sample intranet over loopback, searches and questions of three people with
//! different rights, with quoted and with written answers, and uploads with their jobs. A client that is told to wait does so. Prints requests a
//! second, statuses, times and the server's resident memory; ends with an error after any failure of the server.

#[path = "../tests/common/mod.rs"]
mod common;

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use common::load::{self, Memory};

/// Seconds after which caches are full.
const WARM: f64 = 300.0;

fn main() {
    let numbers: Vec<u64> = env::args().filter_map(|argument| argument.parse().ok()).collect();
    let seconds = numbers.first().copied().unwrap_or(120);
    let clients = numbers.get(1).copied().unwrap_or(100) as usize;
    let data = env::args().skip(1).map(PathBuf::from).find(|argument| argument.is_dir());
    println!("indexing the sample intranet");
    let (_scratch, serving, keys) = load::served(data);
    println!("{clients} clients for {seconds} s");
    let look_every = Duration::from_secs(10);
    let figures = load::run(&serving, &keys, &load::Load { clients, lasts: Duration::from_secs(seconds), look_every });

    for (name, kind) in &figures.kinds {
        let statuses: Vec<String> = kind.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        let mut ms = kind.ms.clone();
        ms.sort_by(f64::total_cmp);
        let (p50, p95, p99) = (quantile(&ms, 0.5), quantile(&ms, 0.95), quantile(&ms, 0.99));
        let per_second = kind.ms.len() as f64 / figures.took;
        println!(
            "{name:<7} {per_second:>6.1} a second   p50 {p50:>6.0} ms   p95 {p95:>6.0} ms   p99 {p99:>6.0} ms   {}",
            statuses.join(", ")
        );
    }
    let all = figures.count(|_| true);
    println!("{all} requests in {:.0} s, {} told to wait (429)", figures.took, figures.count(|status| status == 429));
    println!(
        "resident memory, MiB after seconds: its own, and mapped files, which the system takes back when it needs the room"
    );
    for (second, Memory { own, mapped }) in &figures.memory {
        println!("  {second:>4.0} s {own:>7.0} {mapped:>7.0}");
    }
    for failure in figures.undocumented.iter().chain(&figures.broken).take(20) {
        println!("failure: {failure}");
    }
    let own_after =
        |seconds: f64| figures.memory.iter().find(|(at, _)| *at >= seconds).map_or(f64::NAN, |(_, memory)| memory.own);
    let (half, end) = (own_after(figures.took / 2.0), own_after(figures.took));
    println!("its own: {:+.1} % in the second half", 100.0 * (end / half - 1.0));
    if figures.took > 2.0 * WARM {
        println!("         {:+.1} % since the fifth minute", 100.0 * (end / own_after(WARM) - 1.0));
    }
    let alive = serving.get_unknown("/healthz").status == 200;
    assert!(alive && figures.undocumented.is_empty() && figures.broken.is_empty(), "the server failed");
    assert!(end < 1.1 * half, "its memory grows");
    assert!(serving.stop(), "the server did not end when it was asked to");
}

/// The time that the share `part` of all did not exceed, in milliseconds.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
