//! One thread owns the network; requests come over a bounded channel, events go back over another.
//!
//! Every pass of the network takes along whoever has something to compute: answers a token each with guesses of the next,
//! and prompts as many tokens as fit without keeping the answers waiting. Answers join and leave between passes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use super::attention::{KvCache, PAGE, PageId};
use super::constraint::Constraint;
use super::pages::Pages;
use super::sequence::{Next, Sequence};
use super::team::Team;
use super::tokenizer::Tokenizer;
use super::{EngineOptions, Network};
use crate::{EventSender, Finish, ModelError, Sampling, TokenStream};

/// Requests that may wait.
const QUEUE: usize = 32;

/// Tokens of prompts that one pass takes: at most, and at least.
pub const MOST_TOKENS: usize = 512;
const FEWEST_TOKENS: usize = 16;

/// Seconds that a pass may take while answers wait for their next token.
const PATIENCE: f32 = 0.15;

/// Rows of guesses that one pass takes at most, over all answers.
const GUESSES: usize = 16;

/// Tokens that are computed at the start to know how fast prompts are read.
const TRIAL: usize = 64;

/// Pages that a cache has at least, so that two sequences can run.
const FEWEST_PAGES: usize = 2;

/// Hands requests to the thread that owns the network. The thread ends when the last handle has gone.
#[derive(Clone)]
pub struct Worker {
    jobs: SyncSender<Job>,
    /// Positions that the cache has room for.
    positions: usize,
    rate: Arc<Rate>,
}

/// One answer to write.
pub struct Task {
    /// Tokens of the prompt; at least one, and fewer than the context holds.
    pub prompt: Vec<u32>,
    /// At most this many tokens are written.
    pub max_tokens: usize,
    /// How they are chosen.
    pub sampling: Sampling,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// What the answer must be, if anything.
    pub constraint: Option<Constraint>,
    /// Whose cached beginnings may be used and added to.
    pub scope: Option<String>,
    /// Whether tokens are guessed ahead.
    pub speculate: bool,
}

struct Job {
    task: Task,
    events: EventSender,
}

/// Tokens of prompts per second, a running mean; the bits of an f32, 0 while nothing is known.
#[derive(Default)]
struct Rate(AtomicU32);

impl Rate {
    fn get(&self) -> Option<f32> {
        Some(f32::from_bits(self.0.load(Ordering::Relaxed))).filter(|rate| *rate > 0.0)
    }

    fn learn(&self, tokens: usize, seconds: f32) {
        let now = tokens as f32 / seconds.max(1e-6);
        let mean = self.get().map_or(now, |before| before + 0.2 * (now - before));
        self.0.store(mean.to_bits(), Ordering::Relaxed);
    }
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`ModelError::Compute`] when the system gives no threads, [`ModelError::KvTooSmall`] when the memory for keys and
    /// values does not hold a page for each of two sequences.
    pub fn start(
        network: Box<dyn Network>,
        tokenizer: Arc<Tokenizer>,
        options: &EngineOptions,
    ) -> Result<Self, ModelError> {
        let team = match options.threads {
            0 => Team::of_all_processors("generator")?,
            threads => Team::new("generator", threads)?,
        };
        let shape = network.kv_shape();
        let affordable = options.kv_bytes / shape.page_bytes();
        if affordable < FEWEST_PAGES {
            let needed = FEWEST_PAGES * shape.page_bytes();
            return Err(ModelError::KvTooSmall { bytes: options.kv_bytes, needed });
        }
        // No more than all sequences could fill.
        let fillable = network.context_length().div_ceil(PAGE) * options.sequences;
        let pages = affordable.min(fillable.max(FEWEST_PAGES));
        let (jobs, queue) = sync_channel(QUEUE);
        let rate = Arc::new(Rate::default());
        let owner = Owner {
            cache: KvCache::new(shape, pages),
            pages: Pages::new(pages),
            network,
            tokenizer,
            team,
            rate: rate.clone(),
            most: options.sequences,
            waiting: None,
            running: Vec::new(),
            scores: Vec::new(),
        };
        std::thread::Builder::new()
            .name("generator".into())
            .spawn(move || owner.serve(&queue))
            .map_err(|error| ModelError::Compute(format!("no thread for the generator: {error}")))?;
        Ok(Self { jobs, positions: pages * PAGE, rate })
    }

    /// Positions of one sequence that there is memory for.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Tokens of prompts that are read in a second, once it is known.
    pub fn prefill_rate(&self) -> Option<f32> {
        self.rate.get()
    }

    /// Queues a request.
    ///
    /// # Errors
    /// [`ModelError::Busy`] when too many wait already.
    pub fn submit(&self, task: Task) -> Result<TokenStream, ModelError> {
        let (events, stream) = TokenStream::channel();
        match self.jobs.try_send(Job { task, events }) {
            Ok(()) => Ok(stream),
            Err(TrySendError::Full(_)) => Err(ModelError::Busy { waiting: QUEUE }),
            Err(TrySendError::Disconnected(_)) => Err(ModelError::Compute("the generator's thread has ended".into())),
        }
    }
}

/// What the thread owns.
struct Owner {
    network: Box<dyn Network>,
    tokenizer: Arc<Tokenizer>,
    team: Team,
    cache: KvCache,
    pages: Pages,
    rate: Arc<Rate>,
    /// Sequences that run at a time.
    most: usize,
    /// The next request, where it waits for memory.
    waiting: Option<Job>,
    running: Vec<Sequence>,
    scores: Vec<f32>,
}

impl Owner {
    fn serve(mut self, queue: &Receiver<Job>) {
        self.waiting = queue.try_recv().ok();
        if self.waiting.is_none() {
            self.try_out();
        }
        while self.admit(queue) {
            self.pass();
        }
    }

    /// Lets requests in, in their order, as far as there is memory for all that they may need: who is in is never thrown out
    /// again. Waits where there is nothing else to do. False when nobody is left who could ask.
    fn admit(&mut self, queue: &Receiver<Job>) -> bool {
        while self.running.len() < self.most {
            let next = match self.waiting.take() {
                Some(job) => Some(job),
                None if self.running.is_empty() => queue.recv().ok(),
                None => queue.try_recv().ok(),
            };
            let Some(Job { task, events }) = next else { break };
            if !events.is_read() {
                continue;
            }
            let Some((pages, cached)) = self.reserve(&task) else {
                self.waiting = Some(Job { task, events });
                break;
            };
            let context = self.network.context_length().min(pages.len() * PAGE);
            self.running.push(Sequence::new(task, events, pages, cached, context));
        }
        !self.running.is_empty()
    }

    /// Measures how fast prompts are read, on pages that nobody has yet.
    fn try_out(&mut self) {
        let count = self.pages.count().min(TRIAL / PAGE);
        let Some(pages) = self.pages.take(count) else { return };
        let tokens: Vec<u32> = (0..(count * PAGE).min(self.network.context_length()))
            .map(|index| (index % self.network.vocabulary()) as u32)
            .collect();
        let start = Instant::now();
        let span = super::Span { tokens: &tokens, position: 0, pages: &pages, scored: 0 };
        let run = || self.network.forward(&self.team, &[span], &mut self.cache, &mut self.scores);
        // Weights that cannot compute fail the first request in the same way, and that has somebody to tell.
        if let Ok(Ok(())) = catch_unwind(AssertUnwindSafe(run)) {
            self.rate.learn(tokens.len(), start.elapsed().as_secs_f32());
        }
        self.pages.release(&pages);
    }

    /// Pages for a request, with as much of its prompt in them as is known; the second number is how many tokens those are.
    /// Nothing where running sequences hold too many.
    fn reserve(&mut self, task: &Task) -> Option<(Vec<PageId>, usize)> {
        let positions = task.prompt.len().saturating_add(task.max_tokens).min(self.network.context_length());
        let needed = positions.div_ceil(PAGE).min(self.pages.count());
        // The last token's scores are needed, so it is always computed.
        let known = &task.prompt[..task.prompt.len() - 1];
        let mut found = task.scope.as_ref().map(|scope| self.pages.find(scope, known)).unwrap_or_default();
        let mut fresh = self.pages.take(needed - found.whole.len());
        if let Some((page, positions)) = found.part {
            match &fresh {
                Some(fresh) => self.cache.copy(page, fresh[0], positions),
                None => found.part = None,
            }
            self.pages.release(&[page]);
            // The page that was to be copied may have been the one that was missing.
            fresh = fresh.or_else(|| self.pages.take(needed - found.whole.len()));
        }
        let Some(fresh) = fresh else {
            self.pages.release(&found.whole);
            return None;
        };
        let cached = found.tokens();
        Some(([found.whole, fresh].concat(), cached))
    }

    /// One pass of the network over what all running sequences need next.
    fn pass(&mut self) {
        let writing = self.running.iter().filter(|sequence| sequence.unread() == 0).count();
        let guesses = GUESSES.checked_div(writing).unwrap_or(0);
        let tokens = self.prompt_tokens(writing > 0);
        let mut batch = Vec::new();
        for (index, most) in shares(&self.running.iter().map(Sequence::unread).collect::<Vec<_>>(), tokens) {
            self.running[index].prepare(most, guesses);
            batch.push(index);
        }
        let read: usize = batch.iter().map(|index| self.running[*index].span().tokens.len()).sum();
        let start = Instant::now();
        let results = self.compute(&batch);
        if writing == 0 && read >= FEWEST_TOKENS {
            self.rate.learn(read, start.elapsed().as_secs_f32());
        }
        let mut ended: Vec<(usize, Result<Next, ModelError>)> = Vec::new();
        for (index, result) in batch.into_iter().zip(results) {
            match result {
                Ok(Next::On) => self.remember_prompt(index),
                other => ended.push((index, other)),
            }
        }
        ended.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
        for (index, result) in ended {
            let sequence = self.running.remove(index);
            self.end(sequence, result);
        }
    }

    /// How many tokens of prompts the next pass takes.
    fn prompt_tokens(&self, answers_wait: bool) -> usize {
        match self.rate.get() {
            Some(rate) if answers_wait => ((rate * PATIENCE) as usize).clamp(FEWEST_TOKENS, MOST_TOKENS),
            _ => MOST_TOKENS,
        }
    }

    /// Computes the passes that were prepared. Where that fails, each sequence is tried alone, so that one whose numbers
    /// overflow does not take the others with it.
    fn compute(&mut self, batch: &[usize]) -> Vec<Result<Next, ModelError>> {
        match self.forward(batch) {
            Ok(()) => self.take(batch),
            Err(error) if batch.len() == 1 => vec![Err(error)],
            Err(_) => {
                let alone = |index: &usize| match self.forward(&[*index]) {
                    Ok(()) => self.take(&[*index]).pop().unwrap_or(Ok(Next::Left)),
                    Err(error) => Err(error),
                };
                batch.iter().map(alone).collect()
            }
        }
    }

    fn forward(&mut self, batch: &[usize]) -> Result<(), ModelError> {
        let spans: Vec<super::Span> = batch.iter().map(|index| self.running[*index].span()).collect();
        let run = || self.network.forward(&self.team, &spans, &mut self.cache, &mut self.scores);
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            Err(ModelError::Compute("the generator met an error of its own; the log of this process says where".into()))
        })
    }

    /// Gives each sequence its scores.
    fn take(&mut self, batch: &[usize]) -> Vec<Result<Next, ModelError>> {
        let vocabulary = self.network.vocabulary();
        let mut scores = self.scores.as_mut_slice();
        let mut results = Vec::with_capacity(batch.len());
        for index in batch {
            let sequence = &mut self.running[*index];
            let (own, others) = scores.split_at_mut(sequence.span().scored * vocabulary);
            scores = others;
            results.push(sequence.take(own, vocabulary, &self.tokenizer));
        }
        results
    }

    /// Lets others begin with a prompt as soon as it was read. Only whole pages: the last one is still written to.
    fn remember_prompt(&mut self, index: usize) {
        let sequence = &mut self.running[index];
        if sequence.unread() > 0 || sequence.remembered {
            return;
        }
        sequence.remembered = true;
        if let Some(scope) = &sequence.task.scope {
            let whole = sequence.computed().len() / PAGE * PAGE;
            self.pages.remember(scope, &sequence.computed()[..whole], &sequence.pages);
        }
    }

    fn end(&mut self, sequence: Sequence, result: Result<Next, ModelError>) {
        match result {
            Err(error) => {
                sequence.events.send(Err(error));
                self.pages.release(&sequence.pages);
            }
            Ok(Next::Done(finish)) => self.keep(sequence, Some(finish)),
            Ok(Next::On | Next::Left) => self.keep(sequence, None),
        }
    }

    /// Remembers what a sequence computed, and sends its last event if somebody waits for it.
    fn keep(&mut self, sequence: Sequence, finish: Option<Finish>) {
        if let Some(scope) = &sequence.task.scope {
            self.pages.remember(scope, sequence.computed(), &sequence.pages);
        }
        self.pages.release(&sequence.pages);
        if let Some(finish) = finish {
            sequence.finish(finish);
        }
    }
}

/// How many tokens the next pass takes of each sequence, of those that it takes any of: one of each that writes, and of
/// prompts, of which so many are unread, no more than `tokens` together. Short prompts come first, so that a question does
/// not wait for a long document; half is kept for the oldest, so that a long document does not wait for ever.
fn shares(unread: &[usize], tokens: usize) -> Vec<(usize, usize)> {
    let mut shares: Vec<usize> = unread.iter().map(|unread| usize::from(*unread == 0)).collect();
    let mut left = tokens;
    let mut give = |index: usize, most: usize| {
        let more = (unread[index] - shares[index]).min(most).min(left);
        shares[index] += more;
        left -= more;
    };
    let mut readers: Vec<usize> = (0..unread.len()).filter(|index| unread[*index] > 0).collect();
    if let Some(&oldest) = readers.first() {
        give(oldest, tokens.div_ceil(2));
        readers.sort_by_key(|index| (*index == oldest, unread[*index]));
        readers.into_iter().for_each(|index| give(index, tokens));
    }
    shares.into_iter().enumerate().filter(|(_, share)| *share > 0).collect()
}

#[cfg(test)]
mod tests;
