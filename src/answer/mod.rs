//! From a question to an answer that says only what the caller's documents say.
//!
//! The way: retrieve inside the caller's rights → abstain if nothing is near → fit passages into the budget, neighbours joined → let the
//! model write → check each sentence as it is finished → cite what holds, take out what does not → fall back to exact
//! quotes if nothing is left. Whoever listens to the stream hears checked sentences only. An answer in a given form (JSON, say)
//! is checked value by value when it is whole; it has no quotes to fall back to, so that there may be none.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use intramuros_ingest::access::Caller;
use intramuros_ingest::document::{ContentHash, Language};
use intramuros_ingest::sentence;
use intramuros_models::catalog::Reads;
use intramuros_models::{CompiledGrammar, Event, Finish, GenerateRequest, Generator, ModelError, Sampling, Waited};

mod check;
mod cite;
mod dates;
mod draft;
mod evidence;
mod facts;
mod follow_up;
mod form;
mod join;
mod json;
mod parts;
mod passage;
mod prompt;
mod quotes;
pub mod relevance;
mod result;
mod values;

pub use check::Unsupported;
pub use cite::Citation;
use draft::Draft;
pub use draft::{differ, lead_in, unanswered};
pub use form::Supported;
use form::{Asked, Refusal};
use parts::Part;
use passage::Passage;
pub use prompt::LeftOut;
use prompt::{Budget, Material, Prompt};
use quotes::Certainty;
pub use result::{Answer, Nearest, PassageHash, Provenance, Removed, Timings, Usage};

pub use crate::config::{Answer as AnswerSettings, AnswerMode};
use crate::gloss::Fluency;
use crate::retrieve::{Found, RetrieveError, Retrieved, Retriever, milliseconds};
use crate::store::StoredChunk;

/// Documents that are named where none answers.
const MAX_NEAREST: usize = 3;
/// What of `min_relevance` a part of a question needs when another part is answered.
const FURTHER_PART: f32 = 0.4;
/// How often a listener is looked for while the model computes.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A question with how to answer it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// In the caller's words.
    pub question: String,
    /// What was asked before it in the same conversation, first to last: a follow-up is looked for with what it refers to.
    pub earlier: Vec<String>,
    /// Written or quoted.
    pub mode: AnswerMode,
    /// Greedy unless a seed is given.
    pub seed: Option<u64>,
    /// A shorter answer than the configuration allows, in tokens.
    pub max_tokens: Option<usize>,
    /// What the answer must be; sentences if nothing is said. Only for the mode `generate`.
    pub form: Option<Arc<CompiledGrammar>>,
}

impl Ask {
    /// A question to answer in sentences, greedily, as long as the configuration allows.
    pub fn new(question: String, mode: AnswerMode) -> Self {
        Self { question, earlier: Vec::new(), mode, seed: None, max_tokens: None, form: None }
    }
}

/// What a listener hears while an answer is made.
pub enum AnswerEvent<'a> {
    /// A checked sentence or quote with its marks, a separating blank in front where one is due; a checked answer in a
    /// given form as a whole.
    Text(&'a str),
    /// Why there is no answer in the form asked for.
    Refusal(&'a str),
    /// A citation, before the text that refers to it.
    Citation(&'a Citation),
    /// Nothing yet: the model is computing. Comes several times a second, so that whoever is gone is noticed.
    Waiting,
}

/// A question that cannot be taken, or a failure below.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// Nothing was asked.
    #[error("the question is empty: ask in a sentence or a few words")]
    EmptyQuestion,
    /// It is too long.
    #[error(
        "the question has {characters} characters and may have {most}: ask a shorter one, or raise `answer.max_question_chars`"
    )]
    LongQuestion {
        /// As given.
        characters: usize,
        /// From the configuration.
        most: usize,
    },
    /// Quotes have a form of their own.
    #[error("exact quotes have no other form: ask in mode `generate` (over `/v1` the model `intramuros`) for one")]
    FormOfQuotes,
    /// The mode needs a generator and none is loaded.
    #[error("mode `generate` needs a generator and none is loaded: use mode `extract`")]
    NoGenerator,
    /// Retrieval failed.
    #[error(transparent)]
    Retrieve(#[from] RetrieveError),
    /// A model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Looks up the page of a character offset; the implementation holds the caller's rights.
pub type PageAt<'a> = dyn Fn(&StoredChunk, usize) -> Option<u32> + 'a;
/// Gives a range of characters of a chunk's document; the implementation holds the caller's rights.
pub type TextOf<'a> = dyn Fn(&StoredChunk, Range<usize>) -> Option<String> + 'a;

/// A part of a question with what was found for it.
struct Sought {
    text: String,
    retrieved: Retrieved,
    relevance: f32,
}

/// Everything that answering needs.
pub struct Answerer<'a> {
    /// Finds passages.
    pub retriever: Retriever<'a>,
    /// Writes; not needed for quotes.
    pub generator: Option<&'a dyn Generator>,
    /// The languages that it writes, as ISO 639-1 codes; empty where that is not known.
    pub languages: &'a [String],
    /// What it can make an answer of.
    pub reads: Reads,
    /// Limits.
    pub settings: &'a AnswerSettings,
    /// Tells pages.
    pub page_at: &'a PageAt<'a>,
    /// Tells what stands between chunks.
    pub text_of: &'a TextOf<'a>,
}

/// Refuses a form where there can be none.
pub fn validate_form(is_given: bool, mode: AnswerMode) -> Result<(), AnswerError> {
    if is_given && mode == AnswerMode::Extract { Err(AnswerError::FormOfQuotes) } else { Ok(()) }
}

/// Refuses what is no question.
pub fn validate(question: &str, settings: &AnswerSettings) -> Result<(), AnswerError> {
    if question.trim().is_empty() {
        return Err(AnswerError::EmptyQuestion);
    }
    let characters = question.chars().count();
    if characters > settings.max_question_chars {
        return Err(AnswerError::LongQuestion { characters, most: settings.max_question_chars });
    }
    Ok(())
}

impl Answerer<'_> {
    /// Answers a question inside the caller's rights.
    ///
    /// `listener` hears checked text while it is made; when it returns `false`, nobody listens any more and the work stops.
    pub fn ask(
        &self,
        caller: &Caller,
        ask: &Ask,
        listener: &mut dyn FnMut(AnswerEvent<'_>) -> bool,
    ) -> Result<Answer, AnswerError> {
        let started = Instant::now();
        validate(&ask.question, self.settings)?;
        validate_form(ask.form.is_some(), ask.mode)?;
        let question = follow_up::standalone(&ask.earlier, &ask.question);
        // What was asked before may be too long to be read once more.
        let fits = question.chars().count() <= self.settings.max_question_chars;
        let question = if fits { question } else { ask.question.clone() };
        let is_rewritten = question != ask.question;
        let ask = &Ask { question, ..ask.clone() };
        let sought = self.seek(caller, ask, !is_rewritten)?;
        let relevance = sought.iter().map(|sought| sought.relevance).fold(0.0, f32::max);
        let least = self.least_relevance(relevance);
        let answered = |sought: &&Sought| sought.relevance >= least;
        let any = sought.iter().any(|sought| answered(&sought));
        let parts = sought.iter().filter(|sought| !any || answered(sought)).map(|sought| &sought.retrieved);
        let found = Retrieved::in_turn(&parts.collect::<Vec<_>>());
        let language = sought.iter().find_map(|sought| sought.retrieved.asked.language);
        let mut draft = Draft::new(language, self.retriever.embedder, self.page_at, listener);
        draft.answer.asked = Some(ask.question.clone()).filter(|_| is_rewritten);
        draft.answer.provenance.form_sha256 = ask.form.as_ref().map(|form| form::hash(form.grammar()));

        draft.answer.relevance = relevance;
        if relevance < self.settings.min_relevance {
            draft.abstain();
        } else {
            match (ask.mode, self.generator) {
                (AnswerMode::Generate, None) => return Err(AnswerError::NoGenerator),
                (AnswerMode::Generate, Some(generator)) if ask.form.is_none() && !self.reads_passages(language) => {
                    // Of a follow-up, sentences on what was asked before are true and no answer.
                    if self.writes(language) && !is_rewritten {
                        self.retell(generator, caller, ask, (&sought, language), &mut draft)?;
                    }
                    if draft.answer.answer.is_empty() && draft.listening {
                        draft.answer.fell_back = true;
                        self.quote(&sought, least, ask.mode, &mut draft);
                    }
                }
                (AnswerMode::Generate, Some(generator)) => {
                    let prompt = self.prompt(generator, caller, ask, (&found, language))?;
                    if prompt.passages.is_empty() {
                        // Without a passage the model could only invent.
                        draft.answer.left_out = prompt.left_out;
                        match ask.form {
                            None => self.quote(&sought, least, ask.mode, &mut draft),
                            Some(_) => {
                                draft.answer.mode = AnswerMode::Generate;
                                draft.refuse(Refusal::NoRoom);
                            }
                        }
                    } else {
                        self.generate(generator, (prompt, caller.scope()), ask, &mut draft)?;
                        if draft.answer.answer.is_empty() && draft.listening && ask.form.is_none() {
                            draft.answer.fell_back = true;
                            self.quote(&sought, least, ask.mode, &mut draft);
                        } else if draft.listening {
                            for part in sought.iter().filter(|sought| !answered(sought)) {
                                draft.say_unanswered(&part.text);
                            }
                        }
                    }
                }
                (AnswerMode::Extract, _) => self.quote(&sought, least, ask.mode, &mut draft),
            }
        }
        let mut answer = draft.answer;
        if answer.abstained {
            answer.nearest = nearest(&found);
        }
        answer.timings_ms.retrieve = sought.iter().map(|sought| sought.retrieved.took_ms).sum();
        answer.timings_ms.total = milliseconds(started);
        Ok(answer)
    }

    /// Looks for each part of a question by itself, if it may have parts. An answer in a given form is one, whatever it is
    /// made of.
    fn seek(&self, caller: &Caller, ask: &Ask, may_have_parts: bool) -> Result<Vec<Sought>, AnswerError> {
        let whole = || vec![Part { text: ask.question.clone(), search: ask.question.clone() }];
        let parts = if may_have_parts && ask.form.is_none() { parts::parts(&ask.question) } else { whole() };
        let mut sought = Vec::with_capacity(parts.len());
        for Part { text, search } in parts {
            let retrieved = self.retriever.search(caller, &search, self.retriever.settings.limit)?;
            sought.push(Sought { text, relevance: relevance::probability(&retrieved), retrieved });
        }
        Ok(sought)
    }

    /// The least relevance of a part of a question: where the documents answer another part, less speaks for the next.
    fn least_relevance(&self, best: f32) -> f32 {
        let least = self.settings.min_relevance;
        if best < least { least } else { least * FURTHER_PART }
    }

    /// Quotes for each part; of one that no passage answers, that.
    fn quote(&self, sought: &[Sought], least: f32, asked: AnswerMode, draft: &mut Draft<'_>) {
        for part in sought {
            if part.relevance < least {
                draft.say_unanswered(&part.text);
            } else {
                draft.quote(&part.text, &part.retrieved, Certainty::of(asked, part.relevance));
            }
        }
        if draft.answer.answer.is_empty() {
            draft.abstain();
        }
    }

    fn prompt(
        &self,
        generator: &dyn Generator,
        caller: &Caller,
        ask: &Ask,
        (found, language): (&[Found], Option<Language>),
    ) -> Result<Prompt, AnswerError> {
        let seconds = self.settings.first_token_ms as f32 / 1000.0;
        let budget = Budget {
            passage_tokens: self.settings.passage_tokens,
            prompt_tokens: generator.prefill_rate().filter(|_| seconds > 0.0).map(|rate| (rate * seconds) as usize),
            answer_tokens: self.settings.max_tokens,
        };
        let chunk_at = |beside: &StoredChunk, position: u32| {
            let chunks = self.retriever.store.chunks(caller, beside.document_id, position..position + 1)?;
            Ok(chunks.into_iter().next())
        };
        let material = Material {
            question: &ask.question,
            form: ask.form.as_ref().map(|form| form.grammar()),
            language,
            found,
            chunk_at: &chunk_at,
            text_of: self.text_of,
        };
        prompt::build(generator, &material, budget)
    }

    /// Whether the model writes a language.
    fn writes(&self, language: Option<Language>) -> bool {
        Fluency::of(self.languages, language) == Fluency::Native
    }

    /// Whether the model is given whole passages and writes what it makes of them. Quotes are put in front of one that is
    /// too small for that, and in place of one that does not write the language, whose words would be taken out anyway.
    fn reads_passages(&self, language: Option<Language>) -> bool {
        self.reads == Reads::Passages && self.writes(language)
    }

    /// Lets a small model say in its own words what the quotes say. Of a question in parts each is answered by its own, and
    /// those are shown as they stand.
    fn retell(
        &self,
        generator: &dyn Generator,
        caller: &Caller,
        ask: &Ask,
        (sought, language): (&[Sought], Option<Language>),
        draft: &mut Draft<'_>,
    ) -> Result<(), AnswerError> {
        let [Sought { retrieved, relevance, .. }] = sought else { return Ok(()) };
        let quotes = quotes::best(retrieved, Certainty::of(ask.mode, *relevance));
        if quotes.iter().any(|quote| quote.is_disputed) {
            return Ok(());
        }
        let Some(passages) = evidence::passages(&quotes).filter(|passages| !passages.is_empty()) else { return Ok(()) };
        let asked = (ask.question.as_str(), language);
        let prompt = prompt::of_sentences(generator, asked, passages, self.settings.max_tokens)?;
        let Some(prompt) = prompt else { return Ok(()) };
        let passages = prompt.passages.clone();
        let passages: Vec<Passage<'_>> = passages.iter().map(Passage::read).collect();
        let request = self.request(generator, (prompt, caller.scope()), ask, draft);
        let mut held = Vec::new();
        write_sentences(generator, request, draft, &mut |draft, sentence| {
            held.extend(draft.held(sentence, &passages));
        })?;
        if draft.listening {
            draft.take_retold(held, &passages, &retrieved.asked);
        }
        Ok(())
    }

    /// What the model is asked, put down in the answer's provenance.
    fn request(
        &self,
        generator: &dyn Generator,
        (prompt, scope): (Prompt, String),
        ask: &Ask,
        draft: &mut Draft<'_>,
    ) -> GenerateRequest {
        draft.answer.model = Some(generator.identity().to_owned());
        draft.answer.mode = AnswerMode::Generate;
        draft.answer.provenance.prompt_sha256 = Some(ContentHash::of(prompt.text.as_bytes()));
        draft.answer.provenance.passages = prompt.passages.iter().map(PassageHash::of).collect();
        draft.answer.provenance.seed = ask.seed;
        draft.answer.left_out = prompt.left_out;
        let sampling = match ask.seed {
            None => Sampling::Greedy,
            Some(seed) => Sampling::Random { temperature: 0.7, top_p: 0.9, top_k: 40, seed },
        };
        let max_tokens =
            ask.max_tokens.map_or(self.settings.max_tokens, |wanted| wanted.clamp(1, self.settings.max_tokens));
        let grammar = ask.form.as_ref().map(|form| form.grammar().clone());
        draft.answer.usage.prompt_tokens = generator.count_tokens(&prompt.text);
        GenerateRequest { sampling, grammar, scope: Some(scope), ..GenerateRequest::new(prompt.text, max_tokens) }
    }

    /// Lets the model write and takes what holds into the draft. Others of the same scope may begin where this prompt does.
    fn generate(
        &self,
        generator: &dyn Generator,
        (prompt, scope): (Prompt, String),
        ask: &Ask,
        draft: &mut Draft<'_>,
    ) -> Result<(), AnswerError> {
        let passages = prompt.passages.clone();
        let passages: Vec<Passage<'_>> = passages.iter().map(Passage::read).collect();
        let request = self.request(generator, (prompt, scope), ask, draft);
        if let Some(form) = &ask.form {
            let mut written = String::new();
            let max_tokens = request.max_tokens;
            let finish = write(generator, request, draft, &mut |_, text| written.push_str(text))?;
            match finish {
                Some(Finish::Stop) => {
                    let asked = Asked { question: &ask.question, form, passages: &passages };
                    draft.take_form(&written, &asked);
                }
                Some(Finish::Length) => draft.refuse(Refusal::CutOff(max_tokens)),
                None => {}
            }
            return Ok(());
        }
        write_sentences(generator, request, draft, &mut |draft, sentence| draft.take_sentence(sentence, &passages))
    }
}

/// The documents that come nearest, each once.
fn nearest(found: &[Found]) -> Vec<Nearest> {
    let mut nearest: Vec<Nearest> = Vec::new();
    for found in found {
        let chunk = &found.chunk;
        if nearest.len() < MAX_NEAREST && !nearest.iter().any(|other| other.document_id == chunk.document_id) {
            let (title, uri) = (chunk.title.clone(), chunk.uri.clone());
            nearest.push(Nearest { document_id: chunk.document_id, title, uri });
        }
    }
    nearest
}

/// Lets the model write and hands on each piece; how it ended, or nothing when nobody listens or it repeats itself.
fn write(
    generator: &dyn Generator,
    request: GenerateRequest,
    draft: &mut Draft<'_>,
    take: &mut dyn FnMut(&mut Draft<'_>, &str),
) -> Result<Option<Finish>, AnswerError> {
    let mut events = generator.generate(request)?;
    let mut looked = Instant::now();
    loop {
        let event = match events.wait(LOOK_EVERY) {
            Waited::Event(event) => event?,
            Waited::End => return Ok(None),
            Waited::Nothing if draft.is_heard() => continue,
            Waited::Nothing => return Ok(None),
        };
        match event {
            Event::Text(text) => {
                // What is written may be long in coming to whoever listens.
                if looked.elapsed() >= LOOK_EVERY {
                    draft.is_heard();
                    looked = Instant::now();
                }
                // Corrected by the summary, unless the work is stopped before it comes.
                draft.answer.usage.completion_tokens += generator.count_tokens(&text);
                take(draft, &text);
                if !draft.listening || draft.repeated {
                    return Ok(None);
                }
            }
            Event::Done(summary) => {
                draft.answer.usage = Usage {
                    prompt_tokens: summary.prompt_tokens,
                    cached_tokens: summary.cached_tokens,
                    completion_tokens: summary.completion_tokens,
                };
                draft.answer.timings_ms.prefill = summary.prefill_ms;
                draft.answer.timings_ms.decode = summary.decode_ms;
                return Ok(Some(summary.finish));
            }
        }
    }
}

/// Lets the model write and hands on each sentence when it is finished.
fn write_sentences(
    generator: &dyn Generator,
    request: GenerateRequest,
    draft: &mut Draft<'_>,
    take: &mut dyn FnMut(&mut Draft<'_>, &str),
) -> Result<(), AnswerError> {
    let mut pending = String::new();
    write(generator, request, draft, &mut |draft, text| {
        for sentence in taken(&mut pending, text) {
            take(draft, &sentence);
        }
    })?;
    for range in sentence::sentences(&pending) {
        take(draft, &pending[range]);
    }
    Ok(())
}

/// Adds to what is written and takes all sentences off it but the last, which may still grow: citation marks follow the full
/// stop.
fn taken(pending: &mut String, text: &str) -> Vec<String> {
    pending.push_str(text);
    let mut finished = sentence::sentences(pending);
    finished.pop();
    let sentences = finished.iter().map(|range| pending[range.clone()].to_owned()).collect();
    if let Some(last) = finished.last() {
        pending.drain(..last.end);
    }
    sentences
}
