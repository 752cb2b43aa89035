//! One answer in the making.

use std::time::Instant;

use super::Span;
use super::attention::{PAGE, PageId};
use super::constraint::Constraint;
use super::draft::Drafter;
use super::output::{Output, Shown};
use super::sampler::Sampler;
use super::tokenizer::Tokenizer;
use super::worker::Task;
use crate::{Event, EventSender, Finish, ModelError, Summary};

/// An answer with what it holds of the cache.
pub struct Sequence {
    pub task: Task,
    pub events: EventSender,
    /// Whole pages, with room for the prompt and the longest answer.
    pub pages: Vec<PageId>,
    /// The prompt and what was written.
    tokens: Vec<u32>,
    /// How many of them have their keys and values in the cache.
    computed: usize,
    /// Whether the pages of the prompt were remembered.
    pub remembered: bool,
    context: usize,
    sampler: Sampler,
    output: Option<Output>,
    drafter: Drafter,
    /// Of the pass under way: the tokens to compute, guesses at the end, and how many those are.
    batch: Vec<u32>,
    guessed: usize,
    /// Whether the drafter made them, not the grammar.
    drafted: bool,
    scored: usize,
    summary: Summary,
    started: Instant,
    first_scores: Option<Instant>,
}

/// How a sequence goes on after a pass.
pub enum Next {
    /// With another pass.
    On,
    /// Not: it is whole.
    Done(Finish),
    /// Not: nobody reads it any more.
    Left,
}

impl Sequence {
    /// An answer whose first tokens, `cached` of them, lie in its pages already.
    pub fn new(task: Task, events: EventSender, pages: Vec<PageId>, cached: usize, context: usize) -> Self {
        let summary = Summary {
            finish: Finish::Length,
            prompt_tokens: task.prompt.len(),
            cached_tokens: cached,
            completion_tokens: 0,
            passes: 0,
            drafted_tokens: 0,
            accepted_tokens: 0,
            prefill_ms: 0.0,
            decode_ms: 0.0,
        };
        Self {
            tokens: task.prompt.clone(),
            computed: cached,
            remembered: false,
            context,
            sampler: Sampler::new(task.sampling),
            output: Some(Output::new(task.stop.clone())),
            drafter: Drafter::new(),
            batch: Vec::new(),
            guessed: 0,
            drafted: false,
            scored: 0,
            summary,
            started: Instant::now(),
            first_scores: None,
            pages,
            events,
            task,
        }
    }

    /// Tokens of the prompt that are still to be computed.
    pub fn unread(&self) -> usize {
        if self.first_scores.is_some() { 0 } else { self.task.prompt.len() - self.computed }
    }

    /// The tokens whose keys and values lie in the pages.
    pub fn computed(&self) -> &[u32] {
        &self.tokens[..self.computed]
    }

    /// Prepares the next pass: at most `most` tokens of the prompt, or the last token with guesses of what follows.
    pub fn prepare(&mut self, most: usize, guesses: usize) {
        self.batch.clear();
        self.guessed = 0;
        let end = self.tokens.len().min(self.computed + most);
        self.batch.extend_from_slice(&self.tokens[self.computed..end]);
        self.scored = usize::from(end == self.tokens.len());
        if self.scored == 0 {
            return;
        }
        // The token after the last one that is wanted needs no place, so neither do its guesses.
        let wanted = (self.task.max_tokens - self.summary.completion_tokens).saturating_sub(1);
        let room = self.context.min(self.pages.len() * PAGE) - self.tokens.len();
        let guesses = if self.task.speculate { guesses.min(wanted).min(room) } else { 0 };
        if guesses == 0 {
            return;
        }
        // What the grammar leaves no choice about is right whatever stood before.
        let forced = self.task.constraint.as_mut().map(Constraint::forced).unwrap_or_default();
        self.drafted = forced.is_empty();
        let guess = match self.drafted {
            true => self.drafter.guess(&self.tokens, guesses),
            false => &forced[..forced.len().min(guesses)],
        };
        self.batch.extend_from_slice(guess);
        self.guessed = guess.len();
        self.scored += guess.len();
    }

    /// The pass that was prepared.
    pub fn span(&self) -> Span<'_> {
        Span { tokens: &self.batch, position: self.computed, pages: &self.pages, scored: self.scored }
    }

    /// Takes the scores of the pass that was prepared, a row of `vocabulary` for each token that [`Sequence::span`] asked for.
    ///
    /// Tokens are drawn row by row as if each had been computed alone. A guess is right when it is what was drawn; the first
    /// wrong one ends the pass. So the text is that of plain decoding, whatever the guesses: the same when greedy, and from
    /// the same distribution, with the same seed even the same, when drawn at random.
    pub fn take(&mut self, scores: &mut [f32], vocabulary: usize, tokenizer: &Tokenizer) -> Result<Next, ModelError> {
        let known = self.batch.len() - self.guessed;
        self.computed += known;
        if !self.events.is_read() {
            return Ok(Next::Left);
        }
        if self.scored == 0 {
            return Ok(Next::On);
        }
        match self.first_scores {
            None => self.first_scores = Some(Instant::now()),
            Some(_) => self.summary.passes += 1,
        }
        self.summary.drafted_tokens += self.guessed;
        let mut right = 0;
        let mut next = Next::On;
        for (row, scores) in scores.chunks_exact_mut(vocabulary).enumerate() {
            if self.is_matched() {
                next = Next::Done(Finish::Stop);
                break;
            }
            if self.summary.completion_tokens >= self.task.max_tokens {
                next = Next::Done(Finish::Length);
                break;
            }
            if let Some(constraint) = &mut self.task.constraint {
                constraint.mask(scores)?;
            }
            let token = self.sampler.choose(scores)?;
            if let Some(constraint) = &mut self.task.constraint {
                constraint.accept(token)?;
            }
            let before = self.tokens.len();
            next = self.write(token, tokenizer);
            if self.is_matched() {
                next = Next::Done(Finish::Stop);
            }
            let guess = self.batch.get(known + row);
            // A token that ends the turn is no part of the answer, so it is not kept, whether it was guessed or not.
            if guess != Some(&token) || self.tokens.len() == before {
                break;
            }
            right += 1;
            if !matches!(next, Next::On) {
                break;
            }
        }
        self.computed += right;
        self.summary.accepted_tokens += right;
        // What a grammar forces always holds and says nothing about the text.
        if self.drafted {
            self.drafter.learn(self.guessed, right);
        }
        Ok(next)
    }

    /// Whether the answer is a whole match of its grammar that nothing can be added to.
    fn is_matched(&self) -> bool {
        self.task.constraint.as_ref().is_some_and(Constraint::is_finished)
    }

    /// Adds a token to the answer.
    fn write(&mut self, token: u32, tokenizer: &Tokenizer) -> Next {
        if tokenizer.is_end(token) {
            return Next::Done(Finish::Stop);
        }
        self.summary.completion_tokens += 1;
        self.tokens.push(token);
        let Some(output) = &mut self.output else { return Next::Done(Finish::Stop) };
        match output.push(tokenizer.bytes(token)) {
            Shown::Text(text) => self.show(text),
            Shown::Stopped(text) => {
                self.show(text);
                self.output = None;
                return Next::Done(Finish::Stop);
            }
        }
        if self.summary.completion_tokens >= self.task.max_tokens || self.tokens.len() > self.context {
            return Next::Done(Finish::Length);
        }
        Next::On
    }

    fn show(&self, text: String) {
        if !text.is_empty() {
            self.events.send(Ok(Event::Text(text)));
        }
    }

    /// Sends the last event.
    pub fn finish(mut self, finish: Finish) {
        if let Some(output) = self.output.take() {
            self.show(output.finish());
        }
        let now = Instant::now();
        let read = self.first_scores.unwrap_or(now);
        self.summary.finish = finish;
        self.summary.prefill_ms = (read - self.started).as_secs_f64() * 1000.0;
        self.summary.decode_ms = (now - read).as_secs_f64() * 1000.0;
        self.events.send(Ok(Event::Done(self.summary)));
    }
}
