//! `intramuros jobs`

use anyhow::bail;
use serde_json::json;

use super::{Session, output};
use crate::local::{ListJobs, ShowJob};
use crate::state::jobs::JobRecord;

#[derive(clap::Args)]
pub struct Args {
    /// Show this run with its figures and failures, in place of the list
    id: Option<String>,
    /// Runs to list, newest first
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let engine = session.engine("jobs")?;
    if let Some(id) = &args.id {
        let Some(job) = engine.get(ShowJob { id: id.clone() })? else {
            bail!("no job `{id}`; `intramuros jobs` lists them");
        };
        return if session.json { output::json(&job) } else { show(&job) };
    }
    let jobs = engine.get(ListJobs { limit: args.limit })?;
    if session.json {
        return output::json(&json!({ "jobs": jobs }));
    }
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|job| vec![job.job_id.clone(), job.state.clone(), seconds(job), output::printable(&job.source)])
        .collect();
    output::table(&["job", "state", "took", "source"], &rows);
    Ok(())
}

fn seconds(job: &JobRecord) -> String {
    match (job.started_ms, job.finished_ms) {
        (Some(start), Some(end)) => format!("{:.1} s", (end - start) as f64 / 1000.0),
        _ => String::new(),
    }
}

fn show(job: &JobRecord) -> anyhow::Result<()> {
    outln!("job {} ({} of {}): {} {}", job.job_id, job.kind, output::printable(&job.source), job.state, seconds(job));
    if let Some(user) = &job.requested_by {
        outln!("asked for by {}", output::printable(user));
    }
    if let Some(report) = &job.report {
        let report: intramuros_ingest::sync::SyncReport = serde_json::from_value(report.clone())?;
        out!("{report}");
    }
    if let Some(error) = &job.error {
        outln!("error: {error}");
    }
    Ok(())
}
