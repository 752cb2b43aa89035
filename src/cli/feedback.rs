//! `intramuros feedback`

use serde_json::json;

use super::{Session, output};
use crate::local::ListFeedback;

#[derive(clap::Args)]
#[command(after_help = "\
What stands here came from the thumbs below answers, or POST /api/v1/feedback. It goes with its conversation when that is \
deleted. --json gives the whole question.")]
pub struct Args {
    /// Ratings to list, the latest first
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let feedback = session.engine("feedback")?.get(ListFeedback { limit: args.limit })?;
    if session.json {
        return output::json(&json!({ "feedback": feedback }));
    }
    if feedback.is_empty() {
        outln!("nobody has rated an answer yet");
        return Ok(());
    }
    let mut rows = Vec::with_capacity(feedback.len());
    for record in &feedback {
        let rating = record.rating.as_str().to_owned();
        let (question, comment) = (cut(&output::printable(&record.question)), output::printable(&record.comment));
        rows.push(vec![output::date(record.updated_ms), output::printable(&record.user), rating, question, comment]);
    }
    output::table(&["date", "person", "rating", "question", "comment"], &rows);
    Ok(())
}

/// A question as long as a column may be.
fn cut(question: &str) -> String {
    const MOST: usize = 60;
    if question.chars().count() <= MOST {
        return question.to_owned();
    }
    let beginning: String = question.chars().take(MOST - 1).collect();
    format!("{}…", beginning.trim_end())
}
