//! `intramuros bench`

use std::time::Instant;

use anyhow::bail;
use intramuros_ingest::access::Caller;
use intramuros_models::{Event, GenerateRequest, Message, Role};
use serde_json::json;

use super::{Session, output};
use crate::eval::percentile;
use crate::retrieve::milliseconds;

/// Neutral words to make texts of a wanted length from.
const WORDS: &str = "The committee reviews every request within five working days and informs the applicant in writing of its decision. ";

#[derive(clap::Args)]
pub struct Args {
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512)]
    prompt_tokens: usize,
    /// Tokens to write
    #[arg(long, default_value_t = 64)]
    completion_tokens: usize,
    /// Passages to embed
    #[arg(long, default_value_t = 64)]
    passages: usize,
    /// Queries against the index
    #[arg(long, default_value_t = 200)]
    queries: usize,
}

pub fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let app = session.app("bench")?;
    let embedder = app.embedder()?;
    let passage = WORDS.repeat(10);
    let texts = vec![passage.as_str(); args.passages];
    embedder.embed_passages(&texts[..texts.len().min(4)])?;
    let started = Instant::now();
    embedder.embed_passages(&texts)?;
    let vectors_per_second = args.passages as f64 / started.elapsed().as_secs_f64();

    let retriever = app.retriever()?;
    let mut times = Vec::with_capacity(args.queries);
    for i in 0..args.queries {
        let started = Instant::now();
        retriever.search(&Caller::LocalAdministrator, &format!("how many working days {i}"), 8)?;
        times.push(milliseconds(started));
    }
    times.sort_by(f64::total_cmp);
    let queries_per_second = 1000.0 * times.len() as f64 / times.iter().sum::<f64>().max(f64::MIN_POSITIVE);

    let generator = app.generator()?;
    let mut content = String::new();
    let most = generator.context_length().saturating_sub(args.completion_tokens + 64);
    if args.prompt_tokens > most {
        bail!("--prompt-tokens may be {most} at most: the model's context holds {} tokens", generator.context_length());
    }
    while generator.count_tokens(&content) < args.prompt_tokens {
        content.push_str(WORDS);
    }
    let prompt = generator.render(&[Message { role: Role::User, content }])?;
    let request = GenerateRequest::new(prompt, args.completion_tokens);
    let mut summary = None;
    for event in generator.generate(request)? {
        if let Event::Done(done) = event? {
            summary = Some(done);
        }
    }
    let rate = |tokens: usize, ms: f64| 1000.0 * tokens as f64 / ms.max(f64::MIN_POSITIVE);
    let (prefill, decode) = summary.map_or((0.0, 0.0), |done| {
        (rate(done.prompt_tokens - done.cached_tokens, done.prefill_ms), rate(done.completion_tokens, done.decode_ms))
    });
    let chunks = app.store()?.info()?.chunks;
    if session.json {
        return output::json(&json!({
            "prefill_tokens_per_s": prefill,
            "decode_tokens_per_s": decode,
            "vectors_per_s": vectors_per_second,
            "queries_per_s": queries_per_second,
            "query_p50_ms": percentile(&times, 0.5),
            "query_p95_ms": percentile(&times, 0.95),
            "chunks": chunks,
        }));
    }
    outln!(
        "generator  {prefill:.0} tokens/s over the prompt, {decode:.0} tokens/s writing  ({})",
        generator.identity()
    );
    outln!(
        "embedder   {vectors_per_second:.1} passages/s of {} tokens  ({})",
        embedder.count_tokens(&passage),
        embedder.identity()
    );
    outln!(
        "search     {queries_per_second:.0} queries/s over {chunks} chunks, p50 {:.1} ms, p95 {:.1} ms, the question's vector included",
        percentile(&times, 0.5),
        percentile(&times, 0.95)
    );
    Ok(())
}
