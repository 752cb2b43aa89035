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
use intramuros_ingest::document::{ContentHash, DocumentId, Language};
use intramuros_ingest::sentence;
use intramuros_models::{
    CompiledGrammar, Embedder, Event, Finish, GenerateRequest, Generator, ModelError, Sampling, Waited,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod check;
mod cite;
mod facts;
mod form;
mod join;
mod json;
mod number_words;
mod passage;
mod prompt;
mod quotes;
mod values;

pub use check::Unsupported;
pub use cite::Citation;
pub use form::Supported;
use form::{Asked, Refusal};
pub use prompt::LeftOut;
use prompt::{Budget, Material, Prompt};

pub use crate::config::{Answer as AnswerSettings, AnswerMode};
use crate::retrieve::{Found, RetrieveError, Retrieved, Retriever, milliseconds};
use crate::store::StoredChunk;

/// How often a listener is looked for while the model computes.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A question with how to answer it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// In the caller's words.
    pub question: String,
    /// Written or quoted.
    pub mode: AnswerMode,
    /// Greedy unless a seed is given.
    pub seed: Option<u64>,
    /// A shorter answer than the configuration allows, in tokens.
    pub max_tokens: Option<usize>,
    /// What the answer must be; sentences if nothing is said. Only for the mode `generate`.
    pub form: Option<Arc<CompiledGrammar>>,
}

/// An answer, as `ask --json` and the API return it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// The text, each sentence followed by its citations `[n]`. In a given form, that alone; where there is no such answer,
    /// a sentence that says so, and `abstained` or `cut_off` is true.
    pub answer: String,
    /// Nothing in the caller's documents was near enough, or none of an answer in a given form stands in them.
    pub abstained: bool,
    /// What the text rests on.
    pub citations: Vec<Citation>,
    /// Sentences of the model that were taken out, with the reason. Of an answer in a given form, the values that no
    /// passage supports: taken out where the form allows it, else still there.
    pub unsupported: Vec<Removed>,
    /// Of an answer in a given form, the values that passages support.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supported: Vec<Supported>,
    /// An answer in a given form was not whole when its tokens were used up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
    /// Passages that were found and had no room.
    pub left_out: Vec<LeftOut>,
    /// The generator; `null` where none was used.
    pub model: Option<String>,
    /// Tokens used.
    pub usage: Usage,
    /// Where the time went.
    pub timings_ms: Timings,
    /// `generate` or `extract`: what the text is, after a fallback too.
    pub mode: AnswerMode,
    /// Whether the model's text did not hold and exact quotes stand in its place.
    pub fell_back: bool,
    /// Language of the question, where clear.
    #[schema(value_type = Option<String>, example = "es")]
    pub language: Option<Language>,
    /// What is needed to make the same answer again.
    pub provenance: Provenance,
}

impl Answer {
    /// Whether it was asked for in a given form.
    pub fn is_formed(&self) -> bool {
        self.provenance.form_sha256.is_some()
    }

    /// Whether the text says why there is no answer in the form asked for.
    pub fn is_refusal(&self) -> bool {
        self.is_formed() && (self.abstained || self.cut_off)
    }
}

/// A sentence, or a value of an answer in a given form, that no passage supports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// As the model wrote it.
    pub sentence: String,
    /// What did not hold.
    pub reason: Unsupported,
    /// Of a value, where it is in the answer: a JSON pointer. Of one that is gone, where the model had put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Tokens of a generation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: usize,
    /// Those that were still cached.
    pub cached_tokens: usize,
    /// Of the answer as written, before the check.
    pub completion_tokens: usize,
}

/// Milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timings {
    /// Search, the question's vector included.
    pub retrieve: f64,
    /// The model over the prompt.
    pub prefill: f64,
    /// The model writing.
    pub decode: f64,
    /// All of it.
    pub total: f64,
}

/// Pins an answer to what made it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Provenance {
    /// The embedder that made the index and the question's vector.
    pub embedder: String,
    /// SHA-256 of the rendered prompt.
    #[schema(value_type = Option<String>)]
    pub prompt_sha256: Option<ContentHash>,
    /// Passages in the order of their numbers: document, offsets and SHA-256 of the text.
    pub passages: Vec<PassageHash>,
    /// Of the random generator; `null` for greedy.
    pub seed: Option<u64>,
    /// SHA-256 of the schema or expression that the answer was to follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub form_sha256: Option<ContentHash>,
}

/// Pins a passage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PassageHash {
    /// Its document.
    #[schema(value_type = uuid::Uuid)]
    pub document_id: DocumentId,
    /// First character in the document's text.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// SHA-256 of the passage's text.
    #[schema(value_type = String)]
    pub sha256: ContentHash,
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

/// Everything that answering needs.
pub struct Answerer<'a> {
    /// Finds passages.
    pub retriever: Retriever<'a>,
    /// Writes; not needed for quotes.
    pub generator: Option<&'a dyn Generator>,
    /// Limits.
    pub settings: &'a AnswerSettings,
    /// Tells pages.
    pub page_at: &'a PageAt<'a>,
    /// Tells what stands between chunks.
    pub text_of: &'a TextOf<'a>,
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
        if ask.form.is_some() && ask.mode == AnswerMode::Extract {
            return Err(AnswerError::FormOfQuotes);
        }
        let retrieved = self.retriever.search(caller, &ask.question, self.retriever.settings.limit)?;
        let mut draft = Draft::new(&retrieved, self.retriever.embedder, self.page_at, listener);
        draft.answer.provenance.form_sha256 = ask.form.as_ref().map(|form| form::hash(form.grammar()));

        if !self.is_relevant(&retrieved.found) {
            draft.abstain(retrieved.language);
        } else {
            match (ask.mode, self.generator) {
                (AnswerMode::Generate, None) => return Err(AnswerError::NoGenerator),
                (AnswerMode::Generate, Some(generator)) => {
                    let prompt = self.prompt(generator, caller, ask, &retrieved)?;
                    if prompt.passages.is_empty() {
                        // Without a passage the model could only invent.
                        draft.answer.left_out = prompt.left_out;
                        match ask.form {
                            None => draft.quote(&ask.question, &retrieved.found, self.retriever.embedder)?,
                            Some(_) => draft.refuse(Refusal::Unsupported),
                        }
                    } else {
                        self.generate(generator, (prompt, caller.scope()), ask, &retrieved, &mut draft)?;
                    }
                }
                (AnswerMode::Extract, _) => draft.quote(&ask.question, &retrieved.found, self.retriever.embedder)?,
            }
        }
        let mut answer = draft.answer;
        answer.timings_ms.retrieve = retrieved.took_ms;
        answer.timings_ms.total = milliseconds(started);
        Ok(answer)
    }

    /// Whether any passage is near enough in meaning and words together. A cosine alone says little in a language the
    /// embedder does not know, and words alone say little where they are common.
    fn is_relevant(&self, found: &[Found]) -> bool {
        found.iter().any(|found| found.cosine.unwrap_or(0.0) + found.coverage >= self.settings.min_relevance)
    }

    fn prompt(
        &self,
        generator: &dyn Generator,
        caller: &Caller,
        ask: &Ask,
        retrieved: &Retrieved,
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
            language: retrieved.language,
            found: &retrieved.found,
            chunk_at: &chunk_at,
            text_of: self.text_of,
        };
        prompt::build(generator, &material, budget)
    }

    /// Lets the model write and takes what holds into the draft. Others of the same scope may begin where this prompt does.
    fn generate(
        &self,
        generator: &dyn Generator,
        (prompt, scope): (Prompt, String),
        ask: &Ask,
        retrieved: &Retrieved,
        draft: &mut Draft<'_>,
    ) -> Result<(), AnswerError> {
        draft.answer.model = Some(generator.identity().to_owned());
        draft.answer.mode = AnswerMode::Generate;
        draft.answer.provenance.prompt_sha256 = Some(ContentHash::of(prompt.text.as_bytes()));
        draft.answer.provenance.passages = prompt.passages.iter().map(passage_hash).collect();
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
        let request =
            GenerateRequest { sampling, grammar, scope: Some(scope), ..GenerateRequest::new(prompt.text, max_tokens) };
        if let Some(form) = &ask.form {
            let mut written = String::new();
            let finish = write(generator, request, draft, &mut |_, text| written.push_str(text))?;
            match finish {
                Some(Finish::Stop) => {
                    let asked = Asked { question: &ask.question, form, passages: &prompt.passages };
                    draft.take_form(&written, &asked);
                }
                Some(Finish::Length) => draft.refuse(Refusal::CutOff(max_tokens)),
                None => {}
            }
            return Ok(());
        }
        let mut pending = String::new();
        write(generator, request, draft, &mut |draft, text| {
            pending.push_str(text);
            let finished = finished_sentences(&pending);
            for range in finished.clone() {
                draft.take_sentence(&pending[range], &prompt.passages);
            }
            if let Some(last) = finished.last() {
                pending.drain(..last.end);
            }
        })?;
        for range in sentence::sentences(&pending) {
            draft.take_sentence(&pending[range], &prompt.passages);
        }
        if draft.answer.answer.is_empty() && draft.listening {
            draft.answer.fell_back = true;
            draft.quote(&ask.question, &retrieved.found, self.retriever.embedder)?;
        }
        Ok(())
    }
}

/// Lets the model write and hands on each piece; how it ended, or nothing when nobody listens or it repeats itself.
fn write(
    generator: &dyn Generator,
    request: GenerateRequest,
    draft: &mut Draft<'_>,
    take: &mut dyn FnMut(&mut Draft<'_>, &str),
) -> Result<Option<Finish>, AnswerError> {
    let mut events = generator.generate(request)?;
    loop {
        let event = match events.wait(LOOK_EVERY) {
            Waited::Event(event) => event?,
            Waited::End => return Ok(None),
            Waited::Nothing if draft.is_heard() => continue,
            Waited::Nothing => return Ok(None),
        };
        match event {
            Event::Text(text) => {
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

/// All sentences but the last, which may still grow: citation marks follow the full stop.
fn finished_sentences(text: &str) -> Vec<Range<usize>> {
    let mut sentences = sentence::sentences(text);
    sentences.pop();
    sentences
}

/// An answer in the making.
struct Draft<'a> {
    answer: Answer,
    page_at: &'a PageAt<'a>,
    listener: &'a mut dyn FnMut(AnswerEvent<'_>) -> bool,
    listening: bool,
    /// All sentences of the model so far, kept or not.
    claims: Vec<check::Claim>,
    repeated: bool,
}

impl<'a> Draft<'a> {
    fn new(
        retrieved: &Retrieved,
        embedder: &dyn Embedder,
        page_at: &'a PageAt<'a>,
        listener: &'a mut dyn FnMut(AnswerEvent<'_>) -> bool,
    ) -> Self {
        let answer = Answer {
            answer: String::new(),
            abstained: false,
            citations: Vec::new(),
            unsupported: Vec::new(),
            supported: Vec::new(),
            cut_off: false,
            left_out: Vec::new(),
            model: None,
            usage: Usage::default(),
            timings_ms: Timings::default(),
            mode: AnswerMode::Extract,
            fell_back: false,
            language: retrieved.language,
            provenance: Provenance { embedder: embedder.identity().to_owned(), ..Provenance::default() },
        };
        Self { answer, page_at, listener, listening: true, claims: Vec::new(), repeated: false }
    }

    /// Whether the listener is still there.
    fn is_heard(&mut self) -> bool {
        self.listening = self.listening && (self.listener)(AnswerEvent::Waiting);
        self.listening
    }

    fn abstain(&mut self, language: Option<Language>) {
        self.answer.abstained = true;
        let text = match language {
            Some(Language::Spanish) => "No está en los documentos que puedes leer.",
            _ => "That is not in the documents you can read.",
        };
        if self.answer.is_formed() { self.say_refusal(text) } else { self.say(text) }
    }

    /// Keeps a sentence of the model if a passage supports it, with marks for the passage that does.
    fn take_sentence(&mut self, sentence: &str, passages: &[StoredChunk]) {
        let (text, cited) = without_marks(sentence);
        // The mark of a list item counts nothing, and its list loses items to the check.
        let text = facts::without_list_mark(&text).to_owned();
        let claim = check::Claim::new(&text);
        if claim.is_empty() || passages.iter().any(|passage| claim.is_heading_of(passage)) {
            return;
        }
        if self.claims.iter().any(|earlier| claim.repeats(earlier)) {
            // A small model that begins to repeat itself goes on doing so until it is stopped.
            self.repeated = true;
            return;
        }
        // The passages the model names come first; a wrong or missing number is mended when another one supports it.
        let named = cited.iter().filter_map(|&n| passages.get(n.checked_sub(1)?));
        let others = passages.iter().enumerate().filter(|(i, _)| !cited.contains(&(i + 1))).map(|(_, chunk)| chunk);
        let mut nearest = Unsupported::Words;
        for chunk in named.chain(others) {
            match claim.support(chunk) {
                Ok(support) => {
                    let n = self.cite(chunk, support.range);
                    self.say(&format!("{text} [{n}]"));
                    self.claims.push(claim);
                    return;
                }
                Err(reason) => nearest = nearest.max(reason),
            }
        }
        self.claims.push(claim);
        self.answer.unsupported.push(Removed { sentence: text, reason: nearest, path: None });
    }

    fn quote(&mut self, question: &str, found: &[Found], embedder: &dyn Embedder) -> Result<(), AnswerError> {
        self.answer.mode = AnswerMode::Extract;
        for quote in quotes::best(embedder, question, found)? {
            // A row says little without the header that names its cells; each table's is shown once.
            if let Some(header) = quote.span.header_elsewhere()
                && !self.is_cited(quote.chunk, &header)
            {
                self.say_quote(quote.chunk, header);
            }
            let header_shown = quote.span.row.as_ref().and_then(|row| row.header.as_ref());
            let alone = header_shown.is_some_and(|header| self.is_cited(quote.chunk, header));
            self.say_quote(quote.chunk, if alone { quote.span.range } else { quote.span.shown() });
        }
        if self.answer.answer.is_empty() {
            self.abstain(self.answer.language);
        }
        Ok(())
    }

    fn say_quote(&mut self, chunk: &StoredChunk, range: Range<usize>) {
        let n = self.cite(chunk, range);
        let text = format!("«{}» [{n}]", self.answer.citations[n - 1].quote);
        self.say(&text);
    }

    /// Whether a citation holds this place.
    fn is_cited(&self, chunk: &StoredChunk, range: &Range<usize>) -> bool {
        let start = chunk.start + chunk.text[..range.start].chars().count();
        let end = start + chunk.text[range.clone()].chars().count();
        let holds =
            |cited: &Citation| cited.document_id == chunk.document_id && cited.start <= start && end <= cited.end;
        self.answer.citations.iter().any(holds)
    }

    /// The number of the citation of this place, a new one if need be.
    fn cite(&mut self, chunk: &StoredChunk, range: Range<usize>) -> usize {
        let n = self.answer.citations.len() + 1;
        let citation = cite::citation(n, chunk, range, &self.page_at);
        let same = |other: &Citation| {
            (other.document_id, other.start, other.end) == (citation.document_id, citation.start, citation.end)
        };
        if let Some(known) = self.answer.citations.iter().position(same) {
            return known + 1;
        }
        self.listening = (self.listener)(AnswerEvent::Citation(&citation)) && self.listening;
        self.answer.citations.push(citation);
        n
    }

    fn say(&mut self, text: &str) {
        let separator = match (self.answer.answer.is_empty(), self.answer.mode) {
            (true, _) => "",
            (false, AnswerMode::Generate) => " ",
            (false, AnswerMode::Extract) => "\n",
        };
        let piece = format!("{separator}{text}");
        self.answer.answer.push_str(&piece);
        self.listening = (self.listener)(AnswerEvent::Text(&piece)) && self.listening;
    }

    fn say_refusal(&mut self, text: &str) {
        self.answer.answer = text.to_owned();
        self.listening = (self.listener)(AnswerEvent::Refusal(text)) && self.listening;
    }
}

fn passage_hash(chunk: &StoredChunk) -> PassageHash {
    PassageHash {
        document_id: chunk.document_id,
        start: chunk.start,
        end: chunk.end,
        sha256: ContentHash::of(chunk.text.as_bytes()),
    }
}

/// A sentence without its marks `[1]`, `[1, 2]`, and the numbers they name.
fn without_marks(sentence: &str) -> (String, Vec<usize>) {
    let mut text = String::with_capacity(sentence.len());
    let mut cited = Vec::new();
    let mut rest = sentence;
    while let Some(open) = rest.find('[') {
        let (before, from) = rest.split_at(open);
        text.push_str(before);
        let numbers = from[1..].split_once(']').and_then(|(inside, after)| {
            let numbers: Result<Vec<usize>, _> = inside.split(',').map(|part| part.trim().parse()).collect();
            Some((numbers.ok()?, after))
        });
        match numbers {
            Some((numbers, after)) => {
                cited.extend(numbers);
                rest = after;
            }
            None => {
                text.push('[');
                rest = &from[1..];
            }
        }
    }
    text.push_str(rest);
    // A mark before the full stop leaves a blank behind.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(" .", ".").replace(" ,", ",");
    (text, cited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_and_taken_out() {
        assert_eq!(without_marks("It is 5 [1]."), ("It is 5.".into(), vec![1]));
        assert_eq!(without_marks("It is 5. [1, 3] [2]"), ("It is 5.".into(), vec![1, 3, 2]));
        assert_eq!(without_marks("an array[i] stays [x"), ("an array[i] stays [x".into(), vec![]));
    }
}
