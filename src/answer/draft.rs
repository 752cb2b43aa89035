//! An answer in the making: what is said is cited, checked and told to the listener at once.

use std::ops::Range;

use intramuros_ingest::document::Language;
use intramuros_models::Embedder;

use super::passage::Passage;
use super::quotes::Certainty;
use super::result::{Answer, Provenance, Removed, Timings, Usage};
use super::{AnswerEvent, AnswerMode, Citation, PageAt, Unsupported, check, cite, evidence, facts, quotes};
use crate::retrieve::Retrieved;
use crate::retrieve::asked::Asked;
use crate::retrieve::edition;
use crate::store::StoredChunk;

/// An answer in the making.
pub struct Draft<'a> {
    pub answer: Answer,
    page_at: &'a PageAt<'a>,
    listener: &'a mut dyn FnMut(AnswerEvent<'_>) -> bool,
    pub listening: bool,
    /// All sentences of the model so far, kept or not.
    claims: Vec<check::Claim>,
    pub repeated: bool,
}

/// A sentence of the model with the place that supports it.
pub struct Held<'p> {
    text: String,
    chunk: &'p StoredChunk,
    range: Range<usize>,
}

impl<'a> Draft<'a> {
    pub fn new(
        language: Option<Language>,
        embedder: &dyn Embedder,
        page_at: &'a PageAt<'a>,
        listener: &'a mut dyn FnMut(AnswerEvent<'_>) -> bool,
    ) -> Self {
        let answer = Answer {
            answer: String::new(),
            asked: None,
            abstained: false,
            relevance: 0.0,
            nearest: Vec::new(),
            unanswered: Vec::new(),
            differing: Vec::new(),
            citations: Vec::new(),
            unsupported: Vec::new(),
            supported: Vec::new(),
            cut_off: false,
            no_room: false,
            left_out: Vec::new(),
            model: None,
            usage: Usage::default(),
            timings_ms: Timings::default(),
            mode: AnswerMode::Extract,
            fell_back: false,
            language,
            provenance: Provenance { embedder: embedder.identity().to_owned(), ..Provenance::default() },
        };
        Self { answer, page_at, listener, listening: true, claims: Vec::new(), repeated: false }
    }

    /// Whether the listener is still there.
    pub fn is_heard(&mut self) -> bool {
        self.listening = self.listening && (self.listener)(AnswerEvent::Waiting);
        self.listening
    }

    pub fn abstain(&mut self) {
        self.answer.abstained = true;
        let text = match self.answer.language {
            Some(Language::Spanish) => "No está en los documentos que puedes leer.",
            _ => "That is not in the documents you can read.",
        };
        if self.answer.is_formed() { self.say_refusal(text) } else { self.say(text) }
    }

    /// Keeps a sentence of the model if a passage supports it, with marks for the passage that does.
    pub fn take_sentence(&mut self, sentence: &str, passages: &[Passage<'_>]) {
        if let Some(held) = self.held(sentence, passages) {
            self.say_held(held);
        }
    }

    /// Keeps what the model made of sentences that answer if it tells of each all that was asked for.
    pub fn take_retold(&mut self, held: Vec<Held<'_>>, passages: &[Passage<'_>], asked: &Asked) {
        let text = held.iter().map(|held| held.text.as_str()).collect::<Vec<_>>().join(" ");
        let is_complete = passages.iter().all(|passage| evidence::tells(&text, &passage.chunk.text, asked));
        for held in held {
            if is_complete {
                self.say_held(held);
            } else {
                self.remove(held.text, Unsupported::Incomplete);
            }
        }
    }

    /// A sentence of the model with the passage that supports it. What none does is put down as removed.
    pub fn held<'p>(&mut self, sentence: &str, passages: &'p [Passage<'_>]) -> Option<Held<'p>> {
        let (text, cited) = without_marks(sentence);
        // The mark of a list item counts nothing, and its list loses items to the check.
        let text = facts::without_list_mark(&text).to_owned();
        let claim = check::Claim::new(&text);
        if claim.is_empty() || passages.iter().any(|passage| claim.is_heading_of(passage.chunk)) {
            return None;
        }
        if self.claims.iter().any(|earlier| claim.repeats(earlier)) {
            // A small model that begins to repeat itself goes on doing so until it is stopped.
            self.repeated = true;
            return None;
        }
        // The passages the model names come first; a wrong or missing number is mended when another one supports it.
        let named = cited.iter().filter_map(|&n| passages.get(n.checked_sub(1)?));
        let others = passages.iter().enumerate().filter(|(i, _)| !cited.contains(&(i + 1))).map(|(_, passage)| passage);
        let mut held = None;
        let mut nearest = Unsupported::Words;
        for passage in named.chain(others) {
            match claim.support(passage) {
                Ok(support) => {
                    held = Some((passage.chunk, support.range));
                    break;
                }
                Err(reason) => nearest = nearest.max(reason),
            }
        }
        self.claims.push(claim);
        let Some((chunk, range)) = held else {
            self.remove(text, nearest);
            return None;
        };
        Some(Held { text, chunk, range })
    }

    fn say_held(&mut self, Held { text, chunk, range }: Held<'_>) {
        let n = self.cite(chunk, range);
        self.say(&format!("{text} [{n}]"));
    }

    fn remove(&mut self, sentence: String, reason: Unsupported) {
        self.answer.unsupported.push(Removed { sentence, reason, path: None, kept: false });
    }

    /// Quotes what answers a question, or a part of one.
    pub fn quote(&mut self, question: &str, retrieved: &Retrieved, certainty: Certainty) {
        self.answer.mode = AnswerMode::Extract;
        let mut quotes = quotes::best(retrieved, certainty);
        // What answers one part of a question and comes up for the next as well does not answer that.
        quotes.retain(|quote| !self.is_cited(quote.chunk, &quote.span.range));
        if quotes.is_empty() && !self.answer.citations.is_empty() {
            self.say_unanswered(question);
        }
        let disputed: Vec<&StoredChunk> =
            quotes.iter().filter(|quote| quote.is_disputed).map(|quote| quote.chunk).collect();
        let is_disputed = disputed.len() > 1;
        if is_disputed {
            let names: Vec<String> = disputed.into_iter().map(edition::name).collect();
            self.say(&format!("{} {}", differ(self.answer.language), names.join("; ")));
        }
        if !is_disputed && self.answer.fell_back && self.answer.citations.is_empty() && !quotes.is_empty() {
            self.say(lead_in(self.answer.language));
        }
        for quote in quotes {
            // A row says little without the header that names its cells, and an item without what opens its list; each is
            // shown once.
            if let Some(header) = quote.span.header_elsewhere().or(quote.lead)
                && !self.is_cited(quote.chunk, &header)
            {
                self.say_quote(quote.chunk, header);
            }
            let header_shown = quote.span.row.as_ref().and_then(|row| row.header.as_ref());
            let alone = header_shown.is_some_and(|header| self.is_cited(quote.chunk, header));
            let n = self.say_quote(quote.chunk, if alone { quote.span.range } else { quote.span.shown() });
            if is_disputed && quote.is_disputed {
                self.answer.differing.push(n);
            }
        }
    }

    /// Says that no passage answers a part of the question.
    pub fn say_unanswered(&mut self, part: &str) {
        self.answer.unanswered.push(part.to_owned());
        let part = part.trim_matches(|c: char| !c.is_alphanumeric());
        let text = format!("{}: {part}", unanswered(self.answer.language));
        self.say(&text);
    }

    fn say_quote(&mut self, chunk: &StoredChunk, range: Range<usize>) -> usize {
        let n = self.cite(chunk, range);
        let text = format!("«{}» [{n}]", self.answer.citations[n - 1].quote);
        self.say(&text);
        n
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
    pub fn cite(&mut self, chunk: &StoredChunk, range: Range<usize>) -> usize {
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

    pub fn say(&mut self, text: &str) {
        let separator = match (self.answer.answer.is_empty(), self.answer.mode) {
            (true, _) => "",
            (false, AnswerMode::Generate) => " ",
            (false, AnswerMode::Extract) => "\n",
        };
        let piece = format!("{separator}{text}");
        self.answer.answer.push_str(&piece);
        self.listening = (self.listener)(AnswerEvent::Text(&piece)) && self.listening;
    }

    pub fn say_refusal(&mut self, text: &str) {
        self.answer.answer = text.to_owned();
        self.listening = (self.listener)(AnswerEvent::Refusal(text)) && self.listening;
    }
}

/// What stands before a part of the question that no passage answers.
pub fn unanswered(language: Option<Language>) -> &'static str {
    match language {
        Some(Language::Spanish) => "No está en los documentos",
        _ => "Not in the documents",
    }
}

/// What stands above quotes of documents that contradict each other, before their names.
pub fn differ(language: Option<Language>) -> &'static str {
    match language {
        Some(Language::Spanish) => "Los documentos no dicen lo mismo:",
        _ => "The documents differ:",
    }
}

/// What stands above quotes where sentences were asked for.
pub fn lead_in(language: Option<Language>) -> &'static str {
    match language {
        Some(Language::Spanish) => "Textualmente:",
        _ => "Quoted:",
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
