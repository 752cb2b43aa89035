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
const MOST_TOKENS: usize = 512;
const FEWEST_TOKENS: usize = 16;

/// Seconds that a pass may take while answers wait for their next token.
const PATIENCE: f32 = 0.15;

/// Rows of guesses that one pass takes at most, over all answers.
const GUESSES: usize = 16;

/// Tokens that are computed at the start to know how fast prompts are read.
const TRIAL: usize = 64;

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
        // No more than all sequences could fill.
        let most = network.context_length().div_ceil(PAGE) * options.sequences;
        let pages = (options.kv_bytes / shape.page_bytes()).min(most);
        if pages < 2 {
            return Err(ModelError::KvTooSmall { bytes: options.kv_bytes, needed: 2 * shape.page_bytes() });
        }
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
        let positions = (task.prompt.len() + task.max_tokens).min(self.network.context_length());
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
        let mut tokens = self.prompt_tokens(writing > 0);
        // Short prompts first, so that a question does not wait for a long document; the oldest always gets its share.
        let mut order: Vec<usize> = (0..self.running.len()).collect();
        order.sort_by_key(|index| (*index > 0, self.running[*index].unread()));
        let mut batch = Vec::new();
        for index in order {
            let unread = self.running[index].unread();
            let most = if unread == 0 { 1 } else { unread.min(tokens) };
            if most == 0 {
                continue;
            }
            if unread > 0 {
                tokens -= most;
            }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;
    use crate::engine::Span;
    use crate::engine::attention::{KvShape, Precision};
    use crate::{Event, Summary};

    const LAST: u32 = 9;

    /// A network of ten tokens that counts up: after token t comes t + 1, and after 8 comes 0. Each call takes a while.
    struct Counting {
        pause: Duration,
        seen: Arc<Seen>,
        panic_at: Option<u32>,
    }

    /// What the network was asked for.
    #[derive(Default)]
    struct Seen {
        tokens: AtomicUsize,
        /// Per pass, the tokens of each span.
        passes: Mutex<Vec<Vec<usize>>>,
    }

    impl Seen {
        fn tokens(&self) -> usize {
            self.tokens.load(Ordering::SeqCst)
        }
    }

    impl Network for Counting {
        fn context_length(&self) -> usize {
            4096
        }

        fn vocabulary(&self) -> usize {
            10
        }

        fn kv_shape(&self) -> KvShape {
            KvShape { layers: 1, heads: 1, length: 32, precision: Precision::F16 }
        }

        fn forward(
            &mut self,
            _: &Team,
            spans: &[Span],
            _: &mut KvCache,
            scores: &mut Vec<f32>,
        ) -> Result<(), ModelError> {
            std::thread::sleep(self.pause);
            scores.clear();
            self.seen.passes.lock().unwrap().push(spans.iter().map(|span| span.tokens.len()).collect());
            for span in spans {
                self.seen.tokens.fetch_add(span.tokens.len(), Ordering::SeqCst);
                for last in &span.tokens[span.tokens.len() - span.scored..] {
                    assert!(self.panic_at != Some(*last), "as the test demands");
                    scores.extend((0..10).map(|token| if token == (last + 1) % LAST { 1.0 } else { 0.0 }));
                }
            }
            Ok(())
        }
    }

    fn worker_with(options: &EngineOptions, pause_ms: u64, panic_at: Option<u32>) -> (Worker, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        let network = Counting { pause: Duration::from_millis(pause_ms), seen: seen.clone(), panic_at };
        let tokenizer = Tokenizer::of_letters(10);
        (Worker::start(Box::new(network), Arc::new(tokenizer), options).unwrap(), seen)
    }

    fn worker(pause_ms: u64, panic_at: Option<u32>) -> (Worker, Arc<Seen>) {
        let options = EngineOptions { threads: 1, kv_bytes: 1 << 24, sequences: 1 };
        worker_with(&options, pause_ms, panic_at)
    }

    fn task(prompt: Vec<u32>, max_tokens: usize) -> Task {
        let scope = Some("everyone".to_owned());
        Task { prompt, max_tokens, sampling: Sampling::Greedy, stop: vec![], constraint: None, scope, speculate: false }
    }

    fn finish(stream: TokenStream) -> Result<(String, Summary), ModelError> {
        let mut text = String::new();
        for event in stream {
            match event? {
                Event::Text(more) => text.push_str(&more),
                Event::Done(summary) => return Ok((text, summary)),
            }
        }
        panic!("a stream ended without a last event");
    }

    #[test]
    fn writes_and_says_what_it_took() {
        let (worker, _) = worker(0, None);
        let (text, summary) = finish(worker.submit(task(vec![0, 1], 3)).unwrap()).unwrap();
        assert_eq!(text, "cde");
        assert_eq!((summary.prompt_tokens, summary.cached_tokens, summary.completion_tokens), (2, 0, 3));
        let (_, summary) = finish(worker.submit(task(vec![0, 1, 2, 3, 8], 1)).unwrap()).unwrap();
        assert_eq!(summary.cached_tokens, 4);
    }

    #[test]
    fn a_reader_that_leaves_stops_the_writing() {
        let (worker, seen) = worker(2, None);
        let mut stream = worker.submit(task(vec![0], 3000)).unwrap();
        assert!(matches!(stream.next(), Some(Ok(Event::Text(_)))));
        drop(stream);
        finish(worker.submit(task(vec![8, 8], 1)).unwrap()).unwrap();
        assert!(seen.tokens() < 2000, "{} tokens were computed for nobody", seen.tokens());
    }

    #[test]
    fn a_reader_that_leaves_stops_the_reading_of_a_long_prompt() {
        let (worker, seen) = worker(50, None);
        let stream = worker.submit(task(vec![0; 4000], 1)).unwrap();
        while seen.tokens() <= TRIAL {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(stream);
        finish(worker.submit(task(vec![8], 0)).unwrap()).unwrap();
        assert!(seen.tokens() < 4000, "{} tokens were computed for nobody", seen.tokens());
    }

    #[test]
    fn a_panic_is_an_error_and_the_next_answer_is_right() {
        let (worker, _) = worker(0, Some(4));
        assert!(matches!(finish(worker.submit(task(vec![3], 5)).unwrap()), Err(ModelError::Compute(_))));
        let (text, summary) = finish(worker.submit(task(vec![5], 2)).unwrap()).unwrap();
        assert_eq!((text.as_str(), summary.cached_tokens), ("gh", 0));
    }

    #[test]
    fn a_full_queue_says_so() {
        let (worker, _) = worker(20, None);
        let mut streams = Vec::new();
        let refused = (0..QUEUE + 5).find_map(|_| match worker.submit(task(vec![0], 100)) {
            Ok(stream) => {
                streams.push(stream);
                None
            }
            Err(error) => Some(error),
        });
        assert!(matches!(refused, Some(ModelError::Busy { waiting: QUEUE })), "{refused:?}");
    }

    #[test]
    fn answers_are_written_together_and_a_long_prompt_keeps_none_waiting() {
        let options = EngineOptions { threads: 1, kv_bytes: 1 << 24, sequences: 4 };
        let (worker, seen) = worker_with(&options, 3, None);
        let mut first = worker.submit(task(vec![0], 200)).unwrap();
        assert!(matches!(first.next(), Some(Ok(Event::Text(_)))));
        let long = worker.submit(task(vec![5; 3000], 3)).unwrap();
        let short = worker.submit(task(vec![3], 6)).unwrap();
        let (long, short) = (finish(long).unwrap(), finish(short).unwrap());
        assert_eq!((long.0.as_str(), short.0.as_str()), ("ghi", "efgiab".replace('i', "hi").get(..6).unwrap()));
        finish(first).unwrap();
        let passes = seen.passes.lock().unwrap();
        assert!(passes.iter().any(|pass| pass.len() == 3), "the three never met in one pass");
        // While somebody writes, every pass takes a token of his along.
        assert!(passes.iter().skip_while(|pass| **pass != [1]).all(|pass| pass.contains(&1)));
    }

    #[test]
    fn guesses_save_passes_and_change_nothing() {
        for sampling in [Sampling::Greedy, Sampling::Random { temperature: 0.7, top_p: 0.95, top_k: 0, seed: 3 }] {
            let write = |speculate| {
                let (worker, _) = worker(0, None);
                let task = Task { sampling, speculate, ..task((0..9).chain(0..4).collect(), 60) };
                finish(worker.submit(task).unwrap()).unwrap()
            };
            let ((plain, slow), (text, quick)) = (write(false), write(true));
            assert_eq!(text, plain);
            assert_eq!((slow.passes, slow.drafted_tokens, slow.completion_tokens), (59, 0, 60));
            assert!(quick.passes < slow.passes && quick.accepted_tokens > 0, "{quick:?}");
            assert_eq!(quick.completion_tokens, 60);
            if sampling == Sampling::Greedy {
                assert!(quick.passes < 15, "{quick:?}");
            }
        }
    }

    #[test]
    fn beginnings_are_shared_within_a_scope_only() {
        let (worker, _) = worker(0, None);
        let prompt: Vec<u32> = (0..300).map(|i| i * i % 9).collect();
        let ask = |scope: Option<&str>| {
            let task = Task { scope: scope.map(str::to_owned), ..task(prompt.clone(), 2) };
            finish(worker.submit(task).unwrap()).unwrap().1.cached_tokens
        };
        assert_eq!(ask(Some("ana")), 0);
        assert_eq!(ask(Some("luis")), 0);
        assert_eq!(ask(None), 0);
        assert_eq!(ask(None), 0);
        assert_eq!(ask(Some("ana")), 299);
    }

    #[test]
    fn who_finds_no_memory_waits_until_others_have_ended() {
        let page = KvShape { layers: 1, heads: 1, length: 32, precision: Precision::F16 }.page_bytes();
        let options = EngineOptions { threads: 1, kv_bytes: 4 * page, sequences: 8 };
        let (worker, seen) = worker_with(&options, 1, None);
        assert_eq!(worker.positions(), 4 * PAGE);
        let streams: Vec<_> = (0..6).map(|first| worker.submit(task(vec![first; 20], 40)).unwrap()).collect();
        for stream in streams {
            assert_eq!(finish(stream).unwrap().1.completion_tokens, 40);
        }
        // Each needs two pages of four.
        assert!(seen.passes.lock().unwrap().iter().all(|pass| pass.len() <= 2));
        // One that needs all of them, although a page of the beginning that it shares cannot be taken over whole.
        assert_eq!(finish(worker.submit(task(vec![1; 100], 28)).unwrap()).unwrap().1.completion_tokens, 28);
        assert_eq!(finish(worker.submit(task(vec![1; 100], 28)).unwrap()).unwrap().1.completion_tokens, 28);
    }

    #[test]
    fn one_that_fails_takes_nobody_with_it() {
        let options = EngineOptions { threads: 1, kv_bytes: 1 << 24, sequences: 4 };
        let (worker, _) = worker_with(&options, 2, Some(7));
        let good = worker.submit(task(vec![0], 6)).unwrap();
        let bad = worker.submit(task(vec![2], 60)).unwrap();
        assert_eq!(finish(good).unwrap().0, "bcdefg");
        assert!(matches!(finish(bad), Err(ModelError::Compute(_))));
    }
}
