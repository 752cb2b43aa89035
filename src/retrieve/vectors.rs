//! Vectors of the sentences that were read lately: what people ask comes back to the same documents, and embedding their
//! sentences is most of the time that a search takes.
//!
//! A sentence is compared with a question as a whole, by the cosine of their vectors, and word by word: for each token of
//! the question the nearest of the sentence (late interaction: Khattab and Zaharia, "ColBERT", arXiv:2004.12832). Embedders
//! that pool by the mean do it well enough without having been trained for it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use intramuros_ingest::document::{ContentHash, Language};
use intramuros_models::{Embedder, ModelError, ReadText};

use crate::store::bm25;

/// Numbers kept in each of two generations, a byte each for tokens: with 384 dimensions, 2,500 sentences.
const GENERATION: usize = 1 << 25;

/// A sentence as it is kept.
pub struct SentenceVector {
    whole: Vec<f32>,
    /// Unit vectors of its tokens in steps of 1/127th of the greatest number of each: the cosines are off by less than a
    /// hundredth, and they take a quarter of the room.
    tokens: Vec<i8>,
    steps: Vec<f32>,
}

/// A question as sentences are compared with it.
pub struct QuestionVector {
    /// Of the whole.
    pub whole: Vec<f32>,
    /// Of its tokens that matter.
    tokens: Vec<f32>,
}

/// Vectors by the text that they were made of, of one embedder. A text that is not asked for while as many others are is
/// forgotten.
#[derive(Default)]
pub struct SentenceVectors {
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<ContentHash, Arc<SentenceVector>>,
    /// Numbers in the young one.
    held: usize,
    old: HashMap<ContentHash, Arc<SentenceVector>>,
}

impl Generations {
    fn get(&mut self, key: &ContentHash) -> Option<Arc<SentenceVector>> {
        if let Some(vector) = self.young.get(key) {
            return Some(vector.clone());
        }
        let vector = self.old.remove(key)?;
        self.put(key.clone(), vector.clone());
        Some(vector)
    }

    fn put(&mut self, key: ContentHash, vector: Arc<SentenceVector>) {
        if self.held >= GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.held = 0;
        }
        self.held += vector.size();
        self.young.insert(key, vector);
    }
}

impl SentenceVector {
    fn of(read: ReadText) -> Self {
        let width = read.vector.len();
        let (mut tokens, mut steps) = (Vec::with_capacity(read.tokens.len()), Vec::new());
        for token in read.tokens.chunks_exact(width) {
            let step = token.iter().fold(f32::MIN_POSITIVE, |most, x| x.abs().max(most)) / 127.0;
            tokens.extend(token.iter().map(|x| (x / step).round() as i8));
            steps.push(step);
        }
        Self { whole: read.vector, tokens, steps }
    }

    fn size(&self) -> usize {
        self.tokens.len() + (self.whole.len() + self.steps.len()) * size_of::<f32>()
    }
}

impl QuestionVector {
    /// Embeds a question. Its stop words matter only where it has nothing else.
    pub fn of(embedder: &dyn Embedder, text: &str, language: Option<Language>) -> Result<Self, ModelError> {
        let read = embedder.read_query(text)?;
        let width = read.vector.len();
        let matters = |place: &Range<usize>| !bm25::words(word_at(text, place.start), language).is_empty();
        let of = |which: &dyn Fn(&Range<usize>) -> bool| -> Vec<f32> {
            let tokens = read.tokens.chunks_exact(width).zip(&read.places);
            tokens.filter(|(_, place)| which(place)).flat_map(|(token, _)| token).copied().collect()
        };
        let mut tokens = of(&matters);
        if tokens.is_empty() {
            tokens = of(&|_| true);
        }
        Ok(Self { whole: read.vector, tokens })
    }

    /// The cosine with a sentence.
    pub fn cosine(&self, sentence: &SentenceVector) -> f32 {
        self.whole.iter().zip(&sentence.whole).map(|(a, b)| a * b).sum()
    }

    /// The cosine of each token with the nearest of a sentence, in the mean; nothing where no tokens are known.
    pub fn matching(&self, sentence: &SentenceVector) -> Option<f32> {
        let width = self.whole.len();
        let count = self.tokens.len() / width;
        let nearest = |token: &[f32]| {
            let cosines = sentence
                .tokens
                .chunks_exact(width)
                .zip(&sentence.steps)
                .map(|(other, step)| step * token.iter().zip(other).map(|(a, b)| a * f32::from(*b)).sum::<f32>());
            cosines.fold(0.0, f32::max)
        };
        (count > 0 && !sentence.steps.is_empty())
            .then(|| self.tokens.chunks_exact(width).map(nearest).sum::<f32>() / count as f32)
    }
}

/// The word that a byte of a text is in; nothing where it is in none.
fn word_at(text: &str, at: usize) -> &str {
    let start = text[..at]
        .rfind(|c: char| !c.is_alphanumeric())
        .map_or(0, |before| before + text[before..].chars().next().map_or(0, char::len_utf8));
    let end = text[at..].find(|c: char| !c.is_alphanumeric()).map_or(text.len(), |end| at + end);
    &text[start..end.max(start)]
}

impl SentenceVectors {
    /// One for each text, in their order.
    pub fn of(
        &self,
        embedder: &dyn Embedder,
        texts: &[impl AsRef<str>],
    ) -> Result<Vec<Arc<SentenceVector>>, ModelError> {
        let keys: Vec<ContentHash> = texts.iter().map(|text| ContentHash::of(text.as_ref().as_bytes())).collect();
        let mut vectors: Vec<Option<Arc<SentenceVector>>> = {
            let mut known = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
            keys.iter().map(|key| known.get(key)).collect()
        };
        let missing: Vec<usize> = (0..texts.len()).filter(|&at| vectors[at].is_none()).collect();
        if !missing.is_empty() {
            // Others may search meanwhile.
            let read = embedder.read_passages(&missing.iter().map(|&at| texts[at].as_ref()).collect::<Vec<_>>())?;
            let mut known = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
            for (at, read) in missing.into_iter().zip(read) {
                let vector = Arc::new(SentenceVector::of(read));
                known.put(keys[at].clone(), vector.clone());
                vectors[at] = Some(vector);
            }
        }
        Ok(vectors.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Embeds a text as its length and counts what it embeds.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Embedder for Counting {
        fn identity(&self) -> &str {
            "counting"
        }

        fn dimensions(&self) -> usize {
            1
        }

        fn max_tokens(&self) -> usize {
            100
        }

        fn count_tokens(&self, text: &str) -> usize {
            text.len()
        }

        fn embed_passages(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
            self.0.fetch_add(texts.len(), Ordering::Relaxed);
            Ok(texts.iter().map(|text| vec![text.len() as f32]).collect())
        }

        fn embed_query(&self, text: &str) -> Result<Vec<f32>, ModelError> {
            Ok(vec![text.len() as f32])
        }
    }

    #[test]
    fn a_text_is_embedded_once_while_it_is_asked_for() {
        let (known, embedder) = (SentenceVectors::default(), Counting::default());
        let of = |texts: &[&str]| -> Vec<f32> { known.of(&embedder, texts).unwrap().iter().map(|v| v[0]).collect() };
        assert_eq!(of(&["one", "three", "one"]), [3.0, 5.0, 3.0]);
        let before = embedder.0.load(Ordering::Relaxed);
        assert_eq!(of(&["three", "seven", "one"]), [5.0, 5.0, 3.0]);
        assert_eq!(embedder.0.load(Ordering::Relaxed), before + 1, "only what is new");
        assert!(of(&[]).is_empty());
        let others: Vec<String> = (0..3 * GENERATION).map(|at| format!("other {at}")).collect();
        for half in others.chunks(GENERATION / 2) {
            of(&half.iter().map(String::as_str).collect::<Vec<_>>());
            of(&["one"]);
        }
        let before = embedder.0.load(Ordering::Relaxed);
        of(&["one"]);
        assert_eq!(embedder.0.load(Ordering::Relaxed), before, "asked for all the time");
        of(&["three"]);
        assert_eq!(embedder.0.load(Ordering::Relaxed), before + 1, "forgotten");
        let kept = known.generations.lock().unwrap();
        assert!(kept.young.len() + kept.old.len() <= 2 * GENERATION);
    }
}
