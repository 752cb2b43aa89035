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

    fn forward(&mut self, _: &Team, spans: &[Span], _: &mut KvCache, scores: &mut Vec<f32>) -> Result<(), ModelError> {
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

#[test]
fn prompts_share_a_pass_and_the_oldest_has_half_of_it() {
    assert_eq!(shares(&[], 512), []);
    assert_eq!(shares(&[0, 0], 512), [(0, 1), (1, 1)]);
    assert_eq!(shares(&[700], 512), [(0, 512)]);
    // A question behind a long document, whoever of them is the oldest.
    assert_eq!(shares(&[4000, 100], 512), [(0, 412), (1, 100)]);
    assert_eq!(shares(&[0, 100, 4000], 512), [(0, 1), (1, 100), (2, 412)]);
    // A long document beside short prompts that never end.
    assert_eq!(shares(&[0, 4000, 300, 300], 512), [(0, 1), (1, 256), (2, 256)]);
    assert_eq!(shares(&[4000, 300, 20, 0], 64), [(0, 32), (1, 12), (2, 20), (3, 1)]);
    assert_eq!(shares(&[5, 7], 1), [(0, 1)]);
}

#[test]
fn a_cache_that_is_too_small_is_refused_with_what_it_needs() {
    let options = EngineOptions { threads: 1, kv_bytes: 100, sequences: 8 };
    let network = Counting { pause: Duration::ZERO, seen: Arc::default(), panic_at: None };
    let needed = FEWEST_PAGES * network.kv_shape().page_bytes();
    let refused = Worker::start(Box::new(network), Arc::new(Tokenizer::of_letters(10)), &options).err();
    assert!(matches!(refused, Some(ModelError::KvTooSmall { bytes: 100, needed: found }) if found == needed));
}

#[test]
fn a_limit_beyond_all_numbers_is_the_context() {
    let (worker, _) = worker(0, None);
    let (_, summary) = finish(worker.submit(task(vec![0], usize::MAX)).unwrap()).unwrap();
    assert!(summary.completion_tokens > 0 && summary.finish == Finish::Length);
}
