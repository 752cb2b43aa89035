//! One thread owns the network; requests come over a bounded channel, events go back over another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use super::Network;
use super::constraint::Constraint;
use super::output::{Output, Shown};
use super::sampler::Sampler;
use super::tokenizer::Tokenizer;
use crate::{Event, EventSender, Finish, ModelError, Sampling, Summary, TokenStream};

/// Requests that may wait.
const QUEUE: usize = 32;

/// Tokens of a prompt that are computed before it is looked whether the reader is still there.
const PREFILL_BLOCK: usize = 256;

/// Hands requests to the thread that owns the network. The thread ends when the last handle has gone.
#[derive(Clone)]
pub struct Worker {
    jobs: SyncSender<Job>,
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
}

struct Job {
    task: Task,
    events: EventSender,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`ModelError::Compute`] when the system gives no threads.
    pub fn start(network: Box<dyn Network>, tokenizer: Arc<Tokenizer>) -> Result<Self, ModelError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("generator-{index}"))
            .build()
            .map_err(|error| ModelError::Compute(format!("no threads for the generator: {error}")))?;
        let (jobs, queue) = sync_channel(QUEUE);
        let mut owner = Owner { network, tokenizer, cached: Vec::new(), scores: Vec::new() };
        std::thread::Builder::new()
            .name("generator".into())
            .spawn(move || owner.serve(&queue, &pool))
            .map_err(|error| ModelError::Compute(format!("no thread for the generator: {error}")))?;
        Ok(Self { jobs })
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
    /// The tokens whose keys and values the network holds, from position 0 on.
    cached: Vec<u32>,
    scores: Vec<f32>,
}

/// Why an answer ends before its time.
enum Interrupt {
    /// Nobody reads it any more.
    Cancelled,
    /// Something failed.
    Failed(ModelError),
}

impl From<ModelError> for Interrupt {
    fn from(error: ModelError) -> Self {
        Interrupt::Failed(error)
    }
}

impl Owner {
    fn serve(&mut self, queue: &Receiver<Job>, pool: &rayon::ThreadPool) {
        while let Ok(Job { task, events }) = queue.recv() {
            if !events.is_read() {
                continue;
            }
            // The network's own threads compute; running the whole answer on one of them saves waking it every time.
            let run = AssertUnwindSafe(|| pool.install(|| self.run(task, &events)));
            match catch_unwind(run) {
                Ok(Ok(summary)) => events.send(Ok(Event::Done(summary))),
                Ok(Err(Interrupt::Cancelled)) => {}
                Ok(Err(Interrupt::Failed(error))) => {
                    self.cached.clear();
                    events.send(Err(error));
                }
                Err(_) => {
                    self.cached.clear();
                    events.send(Err(ModelError::Compute(
                        "the generator met an error of its own; the log of this process says where".into(),
                    )));
                }
            }
        }
    }

    fn run(&mut self, task: Task, events: &EventSender) -> Result<Summary, Interrupt> {
        let start = Instant::now();
        let cached_tokens = self.prefill(&task.prompt, events)?;
        let prefill_ms = start.elapsed().as_secs_f64() * 1000.0;
        let mut summary = Summary {
            finish: Finish::Length,
            prompt_tokens: task.prompt.len(),
            cached_tokens,
            completion_tokens: 0,
            prefill_ms,
            decode_ms: 0.0,
        };
        let start = Instant::now();
        let mut sampler = Sampler::new(task.sampling);
        let mut output = Output::new(task.stop);
        let mut constraint = task.constraint;
        let is_finished = |constraint: &Option<Constraint>| constraint.as_ref().is_some_and(Constraint::is_finished);
        while summary.completion_tokens < task.max_tokens && !is_finished(&constraint) {
            if let Some(constraint) = &mut constraint {
                constraint.mask(&mut self.scores)?;
            }
            let token = sampler.choose(&self.scores)?;
            if let Some(constraint) = &mut constraint {
                constraint.accept(token)?;
            }
            if self.tokenizer.is_end(token) {
                summary.finish = Finish::Stop;
                break;
            }
            summary.completion_tokens += 1;
            match output.push(self.tokenizer.bytes(token)) {
                Shown::Text(text) => show(events, text)?,
                Shown::Stopped(text) => {
                    show(events, text)?;
                    summary.finish = Finish::Stop;
                    summary.decode_ms = start.elapsed().as_secs_f64() * 1000.0;
                    return Ok(summary);
                }
            }
            let position = self.cached.len();
            let more = summary.completion_tokens < task.max_tokens && position < self.network.context_length();
            if !more || is_finished(&constraint) {
                break;
            }
            self.network.forward(&[token], position, Some(&mut self.scores))?;
            self.cached.push(token);
        }
        if is_finished(&constraint) {
            summary.finish = Finish::Stop;
        }
        show(events, output.finish())?;
        summary.decode_ms = start.elapsed().as_secs_f64() * 1000.0;
        Ok(summary)
    }

    /// Computes the prompt as far as it is not cached and leaves the scores of its last token; the number of tokens
    /// that were cached comes back. A token's keys and values depend on what stands before it alone, so the longest
    /// common beginning with the last prompt and answer can stay.
    fn prefill(&mut self, prompt: &[u32], events: &EventSender) -> Result<usize, Interrupt> {
        let common = self.cached.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        // The last token's scores are needed, so it is always computed.
        let reused = common.min(prompt.len().saturating_sub(1));
        self.cached.truncate(reused);
        while self.cached.len() < prompt.len() {
            if !events.is_read() {
                return Err(Interrupt::Cancelled);
            }
            let position = self.cached.len();
            let end = prompt.len().min(position + PREFILL_BLOCK);
            let scores = (end == prompt.len()).then_some(&mut self.scores);
            self.network.forward(&prompt[position..end], position, scores)?;
            self.cached.extend_from_slice(&prompt[position..end]);
        }
        Ok(reused)
    }
}

fn show(events: &EventSender, text: String) -> Result<(), Interrupt> {
    if !events.is_read() {
        return Err(Interrupt::Cancelled);
    }
    if !text.is_empty() {
        events.send(Ok(Event::Text(text)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    const LAST: u32 = 9;

    /// A network of ten tokens that counts up: after token t comes t + 1. Each call takes a while.
    struct Counting {
        pause: Duration,
        computed: Arc<AtomicUsize>,
        panic_at: Option<u32>,
    }

    impl Network for Counting {
        fn context_length(&self) -> usize {
            4096
        }

        fn vocabulary(&self) -> usize {
            10
        }

        fn forward(&mut self, tokens: &[u32], _: usize, scores: Option<&mut Vec<f32>>) -> Result<(), ModelError> {
            std::thread::sleep(self.pause);
            self.computed.fetch_add(tokens.len(), Ordering::SeqCst);
            let last = tokens[tokens.len() - 1];
            assert!(self.panic_at != Some(last), "as the test demands");
            if let Some(scores) = scores {
                *scores = (0..10).map(|token| if token == (last + 1) % LAST { 1.0 } else { 0.0 }).collect();
            }
            Ok(())
        }
    }

    fn worker(pause_ms: u64, panic_at: Option<u32>) -> (Worker, Arc<AtomicUsize>) {
        let computed = Arc::new(AtomicUsize::new(0));
        let network = Counting { pause: Duration::from_millis(pause_ms), computed: computed.clone(), panic_at };
        let tokenizer = Tokenizer::of_letters(10);
        (Worker::start(Box::new(network), Arc::new(tokenizer)).unwrap(), computed)
    }

    fn task(prompt: Vec<u32>, max_tokens: usize) -> Task {
        Task { prompt, max_tokens, sampling: Sampling::Greedy, stop: vec![], constraint: None }
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
        let (worker, computed) = worker(2, None);
        let mut stream = worker.submit(task(vec![0], 3000)).unwrap();
        assert!(matches!(stream.next(), Some(Ok(Event::Text(_)))));
        drop(stream);
        finish(worker.submit(task(vec![8, 8], 1)).unwrap()).unwrap();
        assert!(computed.load(Ordering::SeqCst) < 2000, "{computed:?} tokens were computed for nobody");
    }

    #[test]
    fn a_reader_that_leaves_stops_the_reading_of_a_long_prompt() {
        let (worker, computed) = worker(50, None);
        let stream = worker.submit(task(vec![0; 4000], 1)).unwrap();
        while computed.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(stream);
        finish(worker.submit(task(vec![8], 0)).unwrap()).unwrap();
        assert!(computed.load(Ordering::SeqCst) < 4000, "{computed:?} tokens were computed for nobody");
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
}
