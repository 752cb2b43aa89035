//! An embedder: the states of a text's tokens, pooled and normalised as sentence-transformers does (Reimers and Gurevych,
//! arXiv:1908.10084).

use std::ops::Range;

use rayon::prelude::*;

use super::tokens::Tokens;
use super::{Input, Network, identity, in_batches, pool};
use crate::catalog::Pooling;
use crate::turns::{Turns, Work};
use crate::weights::ModelFiles;
use crate::{Embedder, ModelError, Precision, ReadText};

/// Puts an embedder together.
///
/// # Errors
/// [`ModelError::Invalid`] where network, tokenizer and catalogue do not agree.
pub fn open(
    files: &ModelFiles,
    network: Box<dyn Network>,
    mut tokens: Tokens,
    precision: Precision,
) -> Result<Box<dyn Embedder>, ModelError> {
    let entry = &files.entry;
    if Some(network.hidden()) != entry.dimensions {
        let (own, listed) = (network.hidden(), entry.dimensions.unwrap_or_default());
        return Err(files.invalid(format!("its vectors have {own} dimensions and the catalogue says {listed}")));
    }
    tokens.reserve(&[&entry.query_prefix, &entry.passage_prefix]).map_err(|reason| files.invalid(reason))?;
    let pooling = entry.pooling.unwrap_or(Pooling::Mean);
    if pooling == Pooling::Last && !tokens.ends_texts() {
        return Err(files.invalid(
            "the catalogue says `pooling = \"last\"`, and the tokenizer puts no token behind a text whose state could be its \
             vector: take files whose tokenizer adds one (in GGUF, `tokenizer.ggml.add_eos_token`)",
        ));
    }
    let about = format!("{pooling} {}", tokens.longest());
    let mut identity = identity(files, &about, network.as_ref(), precision);
    if !entry.query_prefix.is_empty() || !entry.passage_prefix.is_empty() {
        identity.push_str(&format!(" {:?} {:?}", entry.query_prefix, entry.passage_prefix));
    }
    Ok(Box::new(TextEmbedder {
        identity,
        network,
        tokens,
        pooling,
        query_prefix: entry.query_prefix.clone(),
        passage_prefix: entry.passage_prefix.clone(),
        turns: Turns::default(),
    }))
}

struct TextEmbedder {
    identity: String,
    network: Box<dyn Network>,
    tokens: Tokens,
    pooling: Pooling,
    query_prefix: String,
    passage_prefix: String,
    turns: Turns,
}

impl Embedder for TextEmbedder {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn dimensions(&self) -> usize {
        self.network.hidden()
    }

    fn max_tokens(&self) -> usize {
        self.tokens.free()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.tokens.count(text)
    }

    fn embed_passages(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.embed(Work::Passages, &self.passage_prefix, texts)
    }

    fn embed_query(&self, text: &str) -> Result<Vec<f32>, ModelError> {
        let mut vectors = self.embed(Work::Question, &self.query_prefix, &[text])?;
        vectors.pop().ok_or_else(no_vector)
    }

    fn read_passages(&self, texts: &[&str]) -> Result<Vec<ReadText>, ModelError> {
        self.read(Work::Passages, &self.passage_prefix, texts)
    }

    fn read_query(&self, text: &str) -> Result<ReadText, ModelError> {
        let mut read = self.read(Work::Question, &self.query_prefix, &[text])?;
        read.pop().ok_or_else(no_vector)
    }
}

fn no_vector() -> ModelError {
    ModelError::Compute("no vector came back".to_owned())
}

impl TextEmbedder {
    fn embed(&self, work: Work, prefix: &str, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        let inputs = self.inputs(work, prefix, texts)?;
        let mut vectors = vec![Vec::new(); inputs.len()];
        in_batches(self.network.as_ref(), (&self.turns, work), &inputs, |index, states| {
            vectors[index] = self.vector(states);
        })?;
        Ok(vectors)
    }

    fn read(&self, work: Work, prefix: &str, texts: &[&str]) -> Result<Vec<ReadText>, ModelError> {
        let inputs = self.inputs(work, prefix, texts)?;
        let places: Option<Vec<Vec<Range<usize>>>> = match self.pooling {
            Pooling::Mean => texts.iter().map(|text| self.tokens.places(prefix, text)).collect(),
            Pooling::Cls | Pooling::Last => None,
        };
        let mut read = vec![ReadText::default(); inputs.len()];
        in_batches(self.network.as_ref(), (&self.turns, work), &inputs, |index, states| {
            read[index] = ReadText::whole(self.vector(states));
            let Some(places) = places.as_ref().map(|places| &places[index]) else { return };
            let width = self.network.hidden();
            // Before those of the text stand special tokens and the prefix.
            for (state, place) in states[self.tokens.before() * width..].chunks_exact(width).zip(places) {
                if !place.is_empty() {
                    read[index].places.push(place.clone());
                    read[index].tokens.extend(self.vector(state));
                }
            }
        })?;
        Ok(read)
    }

    fn inputs(&self, work: Work, prefix: &str, texts: &[&str]) -> Result<Vec<Input>, ModelError> {
        let input = |text: &&str| self.tokens.input(prefix, text);
        match work {
            // A question would wait for the documents whose texts keep all of rayon's threads busy.
            Work::Question => texts.iter().map(input).collect(),
            Work::Passages => texts.par_iter().map(input).collect(),
        }
    }

    /// One unit vector from the last states of a text's tokens.
    fn vector(&self, states: &[f32]) -> Vec<f32> {
        let mut vector = vec![0.0; self.network.hidden()];
        pool(self.pooling, states, &mut vector);
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        vector.iter_mut().for_each(|x| *x /= length);
        vector
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;

    use super::super::tokens::tests::{tokens, without_end};
    use super::*;
    use crate::catalog::ModelRole;

    /// A network whose states tell the sum of the tokens up to each, and where the second text begins.
    struct Sums;

    impl Network for Sums {
        fn hidden(&self) -> usize {
            2
        }

        fn is_exact(&self) -> bool {
            true
        }

        fn forward(&self, inputs: &[&Input]) -> Result<Vec<f32>, ModelError> {
            let mut states = Vec::new();
            for input in inputs {
                let mut sum = 0.0;
                for id in &input.ids {
                    sum += *id as f32;
                    states.extend([sum, 1.0]);
                }
            }
            Ok(states)
        }
    }

    fn embedder(pooling: Pooling) -> TextEmbedder {
        let mut tokens = tokens(30);
        tokens.reserve(&["", "passage: "]).unwrap();
        TextEmbedder {
            identity: String::new(),
            network: Box::new(Sums),
            tokens,
            pooling,
            query_prefix: String::new(),
            passage_prefix: "passage: ".to_owned(),
            turns: Turns::default(),
        }
    }

    #[test]
    fn a_text_of_the_most_tokens_is_seen_to_its_end_behind_a_prefix() {
        let embedder = embedder(Pooling::Mean);
        assert_eq!(embedder.max_tokens(), 26);
        let text = |last: &str| "w1 ".repeat(embedder.max_tokens() - 1) + last;
        let (one, other, longer) = (text("w2"), text("w40"), text("w2 w4"));
        assert_eq!(embedder.count_tokens(&one), embedder.max_tokens());
        let vectors = embedder.embed_passages(&[&one, &other, &longer]).unwrap();
        assert!(vectors[0] != vectors[1], "the last token was cut off");
        assert_eq!(vectors[0], vectors[2]);
    }

    #[test]
    fn the_tokens_of_a_text_come_with_their_places_and_without_prefix_and_special_ones() {
        let embedder = embedder(Pooling::Mean);
        let text = "w7 w8 w9";
        let read = embedder.read_passages(&["w1", text]).unwrap().pop().unwrap();
        assert_eq!(read.vector, embedder.embed_passages(&[text]).unwrap()[0]);
        assert_eq!(read.places.iter().map(|place| &text[place.clone()]).collect::<Vec<_>>(), ["w7", "w8", "w9"]);
        // The sums of «<s> passage : w7» and on.
        let sums: Vec<f32> = read.tokens.chunks_exact(2).map(|token| (token[0] / token[1]).round()).collect();
        assert_eq!(sums, [48.0 + 41.0 + 42.0 + 7.0, 146.0, 155.0]);
        let asked = embedder.read_query("w7 w8").unwrap();
        assert_eq!((asked.places, asked.tokens.len()), (vec![0..2, 3..5], 4));
        let whole = self::embedder(Pooling::Cls).read_query("w7 w8").unwrap();
        assert!(whole.tokens.is_empty() && whole.places.is_empty() && !whole.vector.is_empty());
    }

    #[test]
    fn the_last_state_is_no_vector_where_nothing_ends_a_text() {
        let mut files = ModelFiles::unlisted(Path::new("somewhere/odd"), ModelRole::Embedder, "qwen3", &[]);
        files.entry.dimensions = Some(2);
        let opened = |files: &ModelFiles, tokens| open(files, Box::new(Sums), tokens, Precision::F32).map(|_| ());
        files.entry.pooling = Some(Pooling::Mean);
        opened(&files, without_end(30)).unwrap();
        files.entry.pooling = Some(Pooling::Last);
        opened(&files, tokens(30)).unwrap();
        let error = opened(&files, without_end(30)).unwrap_err().to_string();
        assert!(error.contains("`odd`") && error.contains("`pooling = \"last\"`"), "{error}");
    }

    #[test]
    fn a_question_does_not_wait_for_threads_that_read_documents() {
        let busy = Arc::new(Mutex::new(()));
        let held = busy.lock().unwrap();
        for _ in 0..rayon::current_num_threads() {
            let busy = busy.clone();
            rayon::spawn(move || drop(busy.lock()));
        }
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || sender.send(embedder(Pooling::Mean).embed_query("w1 w2").is_ok()));
        let answered = receiver.recv_timeout(Duration::from_secs(10));
        drop(held);
        assert_eq!(answered, Ok(true));
    }

    #[test]
    fn vectors_come_in_the_order_of_the_texts_and_are_pooled_as_asked() {
        let texts: Vec<String> = (0..200).map(|i| "w1 ".repeat(i % 23) + &format!("w{}", i % 40)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let embedder = embedder(Pooling::Mean);
        let vectors = embedder.embed_passages(&texts).unwrap();
        for (text, vector) in texts.iter().zip(&vectors) {
            assert_eq!(embedder.embed_passages(&[text]).unwrap()[0], *vector, "{text}");
            assert!((vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6);
        }
        let first = self::embedder(Pooling::Cls).embed_query("w7 w8").unwrap();
        assert!((first[0] / first[1] - 48.0).abs() < 1e-3);
        let last = self::embedder(Pooling::Last).embed_query("w7 w8").unwrap();
        assert!((last[0] / last[1] - 112.0).abs() < 1e-3);
    }
}
