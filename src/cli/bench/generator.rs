//! A generator's speed: loading, a prompt, writing after it, the second turn of a conversation, and many clients at once.
//!
//! What is measured is plain work: every prompt begins differently, so that nothing cached helps but in the second turn.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use clap::builder::RangedU64ValueParser;
use intramuros_models::engine::EngineOptions;
use intramuros_models::weights::ModelFiles;
use intramuros_models::{Event, GenerateRequest, Generator, ModelError, Summary, open_generator};
use serde_json::json;

use super::Measured;
use super::spread::{Spread, rate};
use crate::config::processors;
use crate::retrieve::milliseconds;

/// Neutral words to make texts of a wanted length from.
const WORDS: &str = "The committee reviews every request within five working days and informs the applicant in writing of its decision.";

/// Prompt and answer of a client that is one of many, in tokens.
const CLIENT_TOKENS: usize = 128;

/// Answer and next question of a conversation, in tokens.
const TURN_TOKENS: usize = 24;

/// Of the prompt whose first token tells when a model is ready.
const FIRST_PROMPT_TOKENS: usize = 8;

#[derive(clap::Args)]
pub struct Args {
    /// A GGUF file in place of the configured generator; nothing verifies it
    #[arg(long, value_name = "FILE")]
    pub generator: Option<PathBuf>,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = RangedU64ValueParser::<usize>::new().range(8..))]
    prompt_tokens: usize,
    /// Tokens to write
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    completion_tokens: usize,
    /// Clients that ask at once; 0 or 1 for none
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = RangedU64ValueParser::<usize>::new().range(0..=1000))]
    clients: usize,
    /// Threads that the generator computes with; 0: one per processor [default: `models.threads` of the configuration]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(0..=1024))]
    threads: Option<usize>,
}

/// Loads a generator and measures it.
pub fn measure(files: &ModelFiles, options: EngineOptions, args: &Args, rounds: u32) -> anyhow::Result<Measured> {
    if let Some(threads) = args.threads.filter(|threads| *threads > processors()) {
        bail!("--threads {threads} is more than the {} processors here, which would hold each other up", processors());
    }
    let threads = args.threads.unwrap_or(options.threads);
    let options = EngineOptions { threads, sequences: options.sequences.max(args.clients), ..options };
    let started = Instant::now();
    let generator = open_generator(files, &options)?;
    let load_ms = milliseconds(started);
    let generator = generator.as_ref();
    let most = generator.context_length() - 1;
    if args.prompt_tokens.saturating_add(args.completion_tokens) > most {
        bail!("--prompt-tokens and --completion-tokens may be {most} together: the model's context holds no more");
    }
    let bench = Bench { generator, prompts: Cell::new(0) };
    bench.write(FIRST_PROMPT_TOKENS, 1)?;
    let first_token_ms = milliseconds(started);
    bench.write(args.prompt_tokens, 1)?;

    let (mut prefill, mut decode, mut together, mut gaps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut second, mut unknown) = (Vec::new(), Vec::new());
    let mut prompt_tokens = 0;
    for _ in 0..rounds {
        // The first token comes out of the prompt's own computation.
        let done = bench.write(args.prompt_tokens, 1 + args.completion_tokens)?;
        prompt_tokens = done.prompt_tokens;
        prefill.push(rate(done.prompt_tokens - done.cached_tokens, done.prefill_ms));
        decode.push(rate(done.completion_tokens.saturating_sub(1), done.decode_ms));
        let (second_ms, unknown_ms) = bench.second_turn(args.prompt_tokens)?;
        second.push(second_ms);
        unknown.push(unknown_ms);
        if args.clients > 1 {
            let (tokens_per_s, gap_ms) = bench.write_together(args.clients)?;
            together.push(tokens_per_s);
            gaps.push(gap_ms);
        }
    }
    let (prefill, decode) = (Spread::of(prefill), Spread::of(decode));
    let (second, unknown) = (Spread::of(second), Spread::of(unknown));
    let mut figures = json!({
        "model": generator.identity(), "load_ms": load_ms, "first_token_ms": first_token_ms, "prompt_tokens": prompt_tokens,
        "completion_tokens": args.completion_tokens, "prefill_tokens_per_s": prefill, "decode_tokens_per_s": decode,
        "second_turn": { "first_token_ms": second, "uncached_first_token_ms": unknown },
    });
    let mut rows = vec![
        Spread::of(vec![first_token_ms]).row("loading to the first token", "ms"),
        prefill.row(&format!("reading a prompt of {prompt_tokens} tokens"), "tokens/s"),
        decode.row(&format!("writing {} tokens after it", args.completion_tokens), "tokens/s"),
        second.row("second turn of a conversation, to its first token", "ms"),
        unknown.row("  the same where the first turn is not known", "ms"),
    ];
    if args.clients > 1 {
        let (together, gaps) = (Spread::of(together), Spread::of(gaps));
        figures["clients"] = json!({ "clients": args.clients, "tokens_per_s": together, "longest_wait_ms": gaps });
        rows.push(together.row(&format!("writing for {} clients at once, all together", args.clients), "tokens/s"));
        rows.push(gaps.row("  longest wait of a client between two pieces of text", "ms"));
    }
    Ok(Measured { name: "generator", figures, rows })
}

/// A generator with the number of prompts that it got.
struct Bench<'a> {
    generator: &'a dyn Generator,
    prompts: Cell<usize>,
}

/// What one client saw.
pub struct Seen {
    pub text: String,
    /// When each piece of it came.
    pieces: Vec<Instant>,
    pub summary: Summary,
}

impl Bench<'_> {
    /// A prompt that begins like none before it.
    fn prompt(&self, tokens: usize) -> String {
        let number = self.prompts.replace(self.prompts.get() + 1);
        words_of(tokens, &beginning(number), &|text| self.generator.count_tokens(text))
    }

    fn write(&self, prompt_tokens: usize, max_tokens: usize) -> Result<Summary, ModelError> {
        Ok(listen(self.generator, request(self.prompt(prompt_tokens), max_tokens))?.summary)
    }

    /// The time to the first token of the second turn of a conversation, whose first turn was just answered, and the same
    /// for somebody with other rights, to whom the first turn is not known; in milliseconds.
    fn second_turn(&self, prompt_tokens: usize) -> Result<(f64, f64), ModelError> {
        let scope = |who: &str| Some(format!("{who} {}", self.prompts.get()));
        let (ana, luis) = (scope("ana"), scope("luis"));
        let ask = |prompt: &str, scope: &Option<String>| {
            let request = request(prompt.to_owned(), TURN_TOKENS);
            listen(self.generator, GenerateRequest { scope: scope.clone(), ..request })
        };
        let first = self.prompt(prompt_tokens.saturating_sub(2 * TURN_TOKENS));
        let answer = ask(&first, &ana)?.text;
        let next = words_of(TURN_TOKENS, "", &|text| self.generator.count_tokens(text));
        let second = format!("{first}{answer}{next}");
        Ok((ask(&second, &ana)?.summary.prefill_ms, ask(&second, &luis)?.summary.prefill_ms))
    }

    /// Many clients ask at the same moment. Tokens per second while all of them are being written for, and the longest
    /// time in which one of them saw nothing new, in milliseconds.
    fn write_together(&self, clients: usize) -> anyhow::Result<(f64, f64)> {
        let prompts: Vec<String> = (0..clients).map(|_| self.prompt(CLIENT_TOKENS)).collect();
        let (generator, barrier) = (self.generator, Barrier::new(clients));
        let seen = std::thread::scope(|scope| {
            let ask = |prompt| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    listen(generator, request(prompt, CLIENT_TOKENS))
                })
            };
            let threads: Vec<_> = prompts.into_iter().map(ask).collect();
            let panicked = || anyhow!("a client's thread failed");
            let seen = threads.into_iter().map(|thread| Ok(thread.join().map_err(|_| panicked())??));
            seen.collect::<anyhow::Result<Vec<Seen>>>()
        })?;
        together(&seen)
    }
}

/// Plain work only: greedy, to the last token asked for.
fn request(prompt: String, max_tokens: usize) -> GenerateRequest {
    GenerateRequest { speculate: false, scope: None, ..GenerateRequest::new(prompt, max_tokens) }
}

/// Hears an answer to its end.
pub fn listen(generator: &dyn Generator, request: GenerateRequest) -> Result<Seen, ModelError> {
    let (mut text, mut pieces) = (String::new(), Vec::new());
    for event in generator.generate(request)? {
        match event? {
            Event::Text(more) => {
                text.push_str(&more);
                pieces.push(Instant::now());
            }
            Event::Done(summary) => return Ok(Seen { text, pieces, summary }),
        }
    }
    Err(ModelError::Compute("the generator ended without saying so".to_owned()))
}

/// The rate of all clients together in the time in which each of them is being written for, and the longest time between
/// two pieces of text for one of them, in milliseconds. A generator that serves one after the other has no such time:
/// there, all of it counts.
fn together(seen: &[Seen]) -> anyhow::Result<(f64, f64)> {
    let firsts = seen.iter().filter_map(|client| client.pieces.first());
    let lasts = seen.iter().filter_map(|client| client.pieces.last());
    let (Some(start), Some(end)) = (firsts.clone().max(), lasts.clone().min()) else {
        bail!("the clients got no text: this model ends its answers at once");
    };
    let at_once = start < end;
    let (start, end) = if at_once { (start, end) } else { (firsts.min().unwrap_or(start), lasts.max().unwrap_or(end)) };
    let mut tokens = 0.0;
    let mut longest = Duration::ZERO;
    for Seen { pieces, summary, .. } in seen {
        // A piece is a token, or a few where only together they make a character.
        let within = pieces.iter().filter(|at| *at > start && *at <= end).count();
        tokens += summary.completion_tokens as f64 * within as f64 / pieces.len().max(1) as f64;
        longest = pieces.windows(2).map(|pair| pair[1] - pair[0]).fold(longest, Duration::max);
    }
    Ok((tokens / (*end - *start).as_secs_f64().max(f64::MIN_POSITIVE), longest.as_secs_f64() * 1000.0))
}

/// A word that no other number has, at the very beginning of a prompt.
fn beginning(number: usize) -> String {
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    format!("{}{}{}", letter(number), letter(number / 26), letter(number / 676))
}

/// Neutral text of this many tokens, as nearly as whole words allow, behind a beginning of its own.
pub fn words_of(tokens: usize, beginning: &str, count: &dyn Fn(&str) -> usize) -> String {
    let mut text = beginning.to_owned();
    // Whole sentences first: counting takes time, and the last words alone decide.
    let sentence = count(WORDS).max(1);
    for _ in 0..tokens.saturating_sub(count(&text)) / (sentence + 1) {
        text.push(' ');
        text.push_str(WORDS);
    }
    // A sentence was taken for one token longer than it is, in case one is lost where it is joined on.
    let more = WORDS.split(' ').cycle().take(tokens / sentence + 2 * sentence);
    for word in more.chain(std::iter::repeat_n("a", sentence)) {
        let length = text.len();
        text.push(' ');
        text.push_str(word);
        if count(&text) > tokens {
            text.truncate(length);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use intramuros_models::Finish;

    use super::*;

    fn seen(pieces: &[u64], completion_tokens: usize, since: Instant) -> Seen {
        let summary = Summary {
            finish: Finish::Length,
            prompt_tokens: 1,
            cached_tokens: 0,
            completion_tokens,
            passes: 0,
            drafted_tokens: 0,
            accepted_tokens: 0,
            prefill_ms: 0.0,
            decode_ms: 0.0,
        };
        Seen {
            text: String::new(),
            pieces: pieces.iter().map(|ms| since + Duration::from_millis(*ms)).collect(),
            summary,
        }
    }

    #[test]
    fn clients_count_while_all_of_them_are_served() {
        let since = Instant::now();
        // From 200 to 400 ms both get a piece every 100 ms; one's pieces are two tokens each.
        let clients = [seen(&[100, 200, 300, 400], 8, since), seen(&[200, 300, 400, 650], 4, since)];
        let (tokens_per_s, longest_ms) = together(&clients).unwrap();
        assert!((tokens_per_s - 30.0).abs() < 1e-6, "{tokens_per_s}");
        assert!((longest_ms - 250.0).abs() < 1e-6, "{longest_ms}");
    }

    #[test]
    fn one_after_the_other_the_whole_time_counts() {
        let since = Instant::now();
        let clients = [seen(&[0, 100, 200], 3, since), seen(&[300, 400, 500], 3, since)];
        assert!((together(&clients).unwrap().0 - 10.0).abs() < 1e-6);
        assert!(together(&[seen(&[], 0, since)]).is_err());
    }

    #[test]
    fn prompts_are_as_long_as_asked_for_and_begin_differently() {
        let words = |text: &str| text.split_whitespace().count();
        for tokens in [1, 2, 17, 18, 19, 36, 512] {
            assert_eq!(words(&words_of(tokens, &beginning(tokens), &words)), tokens);
        }
        let beginnings: std::collections::HashSet<String> = (0..3000).map(beginning).collect();
        assert_eq!(beginnings.len(), 3000);
    }
}
