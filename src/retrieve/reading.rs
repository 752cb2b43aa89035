//! A passage read against a question, sentence by sentence.

use std::collections::BTreeSet;

use super::asked::Asked;
use super::spans::{Span, spans};
use crate::store::StoredChunk;

/// A sentence, or a row of a table, with what speaks for it.
#[derive(Clone, Debug)]
pub struct Sentence {
    /// Where it stands in its passage.
    pub span: Span,
    /// What it is weighed by: a row with the header that names its cells, the answer of a list of questions with its question.
    pub weighed: String,
    /// Its length in words, that of its header included.
    pub length: usize,
    /// Whether it asks something, and answers nothing.
    pub is_question: bool,
    /// Share of the question's words that it is weighed by, in 0..1.
    pub words: f32,
    /// The same with the sentence before it and the headings above it: «It is due on the 5th» answers below «Rent».
    pub around: f32,
    /// Whether it holds the kind of thing asked for, see [`Asked::fits`].
    pub fits: bool,
    /// Whether it speaks for an amount that the question names, see [`Asked::speaks_for`].
    pub speaks_for: Option<bool>,
    /// Its cosine with the question above that of unrelated texts, in 0..1, where it was embedded.
    pub meaning: Option<f32>,
    /// The mean cosine of the question's tokens with the nearest of its own as its passage makes them understood, likewise;
    /// nothing from embedders that do not tell.
    pub matching: Option<f32>,
}

/// What a passage has of a question.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The question's words that stand in it or in the headings above it.
    pub held: BTreeSet<u32>,
    /// Its sentences and rows, in order; no headers of tables, which say nothing alone.
    pub sentences: Vec<Sentence>,
}

/// How close the best sentence of a passage comes to a question.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Closeness {
    /// Share of the question's words that it has, in 0..1.
    pub words: f32,
    /// The same of the best sentence that holds what is asked for.
    pub fitting: f32,
    /// Greatest cosine with the question; 0 until its sentences are embedded.
    pub meaning: f32,
    /// The greatest of [`Sentence::matching`], likewise.
    pub matching: f32,
}

impl Reading {
    /// Reads a passage.
    pub fn of(chunk: &StoredChunk, asked: &Asked) -> Self {
        let text = &chunk.text;
        let headings = asked.held(&format!("{}\n{}", chunk.title, chunk.section.join("\n")), chunk.language);
        let mut held = headings.clone();
        let mut before = BTreeSet::new();
        // The question that the next sentence answers.
        let mut above = chunk.section.last().filter(|heading| is_question(heading)).map(String::as_str);
        let mut sentences = Vec::new();
        for span in spans(text) {
            let is_header = span.row.as_ref().is_some_and(|row| row.is_header);
            let own_text = &text[span.range.clone()];
            let with_header = match span.row.as_ref().and_then(|row| row.header.clone()) {
                Some(header) => format!("{}\n{own_text}", &text[header]),
                None => own_text.to_owned(),
            };
            let length = with_header.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count();
            let is_question = is_question(own_text);
            let weighed = match above.take() {
                Some(asked) if !is_question => format!("{asked}\n{with_header}"),
                _ => with_header,
            };
            let own = asked.held(&weighed, chunk.language);
            held.extend(&own);
            if !is_header {
                let around: BTreeSet<u32> = headings.iter().chain(&before).chain(&own).copied().collect();
                sentences.push(Sentence {
                    length,
                    is_question,
                    words: asked.share_of(&own),
                    around: asked.share_of(&around),
                    fits: asked.fits(own_text),
                    speaks_for: asked.speaks_for(&weighed, chunk.language),
                    meaning: None,
                    matching: None,
                    weighed,
                    span,
                });
            }
            above = is_question.then_some(own_text);
            before = own;
        }
        Self { held, sentences }
    }

    /// How close its best sentence comes in words.
    pub fn closeness(&self) -> Closeness {
        let mut best = Closeness::default();
        for sentence in &self.sentences {
            best.words = best.words.max(sentence.words);
            if sentence.fits {
                best.fitting = best.fitting.max(sentence.words);
            }
        }
        best
    }
}

fn is_question(text: &str) -> bool {
    text.trim_end().ends_with('?')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoredChunk;

    fn read(question: &str, text: &str) -> Reading {
        Reading::of(&StoredChunk::of_text("Leases", text), &Asked::read(question))
    }

    #[test]
    fn one_sentence_with_all_words_is_closer_than_many_with_one_each() {
        let question = "How many days is the notice period of the lease?";
        let together = read(question, "The notice period of the lease is 30 days. Rent is due monthly.").closeness();
        let apart = read(question, "The lease began in May. Notice is a word. A period ends. Days pass.").closeness();
        assert!(together.words > apart.words, "{together:?} {apart:?}");
        assert_eq!(together.words, together.fitting);
        assert_eq!(read(question, "").closeness(), Closeness::default());
    }

    #[test]
    fn a_sentence_is_read_below_what_stands_above_it_and_a_row_below_its_header() {
        let reading = read("When is rent of the leases due?", "Rent is owed monthly. It is due on the 5th.");
        let [owed, due] = &reading.sentences[..] else { panic!("{reading:?}") };
        assert!(due.around > due.words && due.fits && !owed.fits);
        assert_eq!(due.around, 1.0);
        let reading = read("How do I reset my password?", "How do I reset my password? Go to the page. It is new.");
        let [question, answer, more] = &reading.sentences[..] else { panic!("{reading:?}") };
        assert!(question.is_question && !answer.is_question);
        assert_eq!((answer.words, answer.length), (1.0, 4), "weighed with its question");
        assert!(more.words < 1.0);
        let reading = read("Which hotel limit has Madrid?", "City | Hotel limit\nMadrid | 120\nSevilla | 95");
        assert_eq!(reading.sentences.len(), 2, "the header is no sentence");
        assert_eq!((reading.sentences[0].words, reading.sentences[0].length), (1.0, 5));
    }
}
