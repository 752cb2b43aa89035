//! `intramuros jobs`

use anyhow::bail;
use intramuros_ingest::sync::SyncReport;
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
        .map(|job| {
            let source = output::printable(&job.source);
            vec![job.job_id.clone(), output::date(job.queued_ms), job.state.clone(), seconds(job), figures(job), source]
        })
        .collect();
    output::table(&["job", "asked for", "state", "took", "documents", "source"], &rows);
    Ok(())
}

fn seconds(job: &JobRecord) -> String {
    match (job.started_ms, job.finished_ms) {
        (Some(start), Some(end)) => format!("{:.1} s", (end - start) as f64 / 1000.0),
        _ => String::new(),
    }
}

/// What became of the documents, without what did not change.
fn figures(job: &JobRecord) -> String {
    let Some(Ok(report)) = job.report.clone().map(serde_json::from_value::<SyncReport>) else { return String::new() };
    let counts = [
        (report.new, "new"),
        (report.changed, "changed"),
        (report.moved, "moved"),
        (report.rights, "rights"),
        (report.deleted, "deleted"),
        (report.failed, "failed"),
    ];
    let told: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if told.is_empty() { "no change".to_owned() } else { told.join(", ") }
}

fn show(job: &JobRecord) -> anyhow::Result<()> {
    outln!("job {} ({} of {}): {} {}", job.job_id, job.kind, output::printable(&job.source), job.state, seconds(job));
    let by = job
        .requested_by
        .as_ref()
        .map_or_else(|| "on the command line".to_owned(), |user| format!("by {}", output::printable(user)));
    outln!("asked for {} {by}", output::date(job.queued_ms));
    if let Some(report) = &job.report {
        let report: SyncReport = serde_json::from_value(report.clone())?;
        out!("{report}");
    }
    if let Some(error) = &job.error {
        outln!("error: {error}");
    }
    Ok(())
}
