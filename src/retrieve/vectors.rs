//! Vectors of what was read lately: people's questions come back to the same documents, and embedding their sentences is most
//! of the time that a search takes.
//!
//! A sentence is compared with a question in two ways: as it stands alone, by the cosine of both, and word by word as its
//! passage makes it understood, each token of the question with the nearest of the sentence where the whole passage was read
//! (late interaction: Khattab and Zaharia, "ColBERT", arXiv:2004.12832). Embedders that pool by the mean need no training for
//! that; what others make of single tokens says nothing.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use intramuros_ingest::document::{ContentHash, Language};
use intramuros_models::{Embedder, ModelError, ReadText};

use crate::store::bm25;

/// Bytes kept in each of two generations: with 384 dimensions, about 350 passages and their sentences.
const GENERATION: usize = 40 << 20;

/// A text as it is kept.
pub struct TextVector {
    whole: Vec<f32>,
    /// Unit vectors of its tokens, in steps of 1/127th of the greatest number of each: cosines are off by less than a
    /// hundredth, and they take a quarter of the room.
    tokens: Vec<i8>,
    steps: Vec<f32>,
    /// Where each stands in the text, in bytes.
    places: Vec<Range<usize>>,
}

/// A question as texts are compared with it.
pub struct QuestionVector {
    /// Of the whole.
    pub whole: Vec<f32>,
    /// Its tokens that matter.
    tokens: TextVector,
}

/// Vectors by the text that they were made of, of one embedder. A text that is not asked for while as many others are is
/// forgotten.
#[derive(Default)]
pub struct TextVectors {
    generations: Mutex<Generations>,
}

/// How texts are read that are not known.
type Reader<'a> = dyn Fn(&[&str]) -> Result<Vec<ReadText>, ModelError> + 'a;

#[derive(Default)]
struct Generations {
    young: HashMap<ContentHash, Arc<TextVector>>,
    /// Bytes in the young one.
    held: usize,
    old: HashMap<ContentHash, Arc<TextVector>>,
}

impl Generations {
    fn get(&mut self, key: &ContentHash) -> Option<Arc<TextVector>> {
        if let Some(vector) = self.young.get(key) {
            return Some(vector.clone());
        }
        let vector = self.old.remove(key)?;
        self.put(key.clone(), vector.clone());
        Some(vector)
    }

    fn put(&mut self, key: ContentHash, vector: Arc<TextVector>) {
        if self.held >= GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.held = 0;
        }
        self.held += vector.bytes();
        self.young.insert(key, vector);
    }
}

impl TextVector {
    fn of(read: ReadText) -> Self {
        let width = read.vector.len().max(1);
        let (mut tokens, mut steps) = (Vec::with_capacity(read.tokens.len()), Vec::new());
        for token in read.tokens.chunks_exact(width) {
            let step = token.iter().fold(f32::MIN_POSITIVE, |most, x| x.abs().max(most)) / 127.0;
            tokens.extend(token.iter().map(|x| (x / step).round() as i8));
            steps.push(step);
        }
        Self { whole: read.vector, tokens, steps, places: read.places }
    }

    fn bytes(&self) -> usize {
        let places = self.places.len() * size_of::<Range<usize>>();
        size_of::<Self>() + self.tokens.len() + (self.whole.len() + self.steps.len()) * size_of::<f32>() + places
    }

    /// The tokens of a stretch of the text, each with its step.
    fn within(&self, stretch: &Range<usize>) -> impl Iterator<Item = (&[i8], f32)> {
        let tokens = self.tokens.chunks_exact(self.whole.len().max(1)).zip(&self.steps).zip(&self.places);
        let is_within = |place: &Range<usize>| stretch.start <= place.start && place.end <= stretch.end;
        tokens.filter(move |(_, place)| is_within(place)).map(|((token, step), _)| (token, *step))
    }
}

impl QuestionVector {
    /// Embeds a question. Its stop words matter only where it has nothing else.
    pub fn of(embedder: &dyn Embedder, text: &str, language: Option<Language>) -> Result<Self, ModelError> {
        let read = embedder.read_query(text)?;
        let width = read.vector.len().max(1);
        let matters = |place: &Range<usize>| !bm25::words(word_at(text, place.start), language).is_empty();
        let of = |which: &dyn Fn(&Range<usize>) -> bool| -> Vec<f32> {
            let tokens = read.tokens.chunks_exact(width).zip(&read.places);
            tokens.filter(|(_, place)| which(place)).flat_map(|(token, _)| token).copied().collect()
        };
        let mut tokens = of(&matters);
        if tokens.is_empty() {
            tokens = of(&|_| true);
        }
        let tokens = TextVector::of(ReadText { vector: read.vector.clone(), tokens, places: Vec::new() });
        Ok(Self { whole: read.vector, tokens })
    }

    /// Whether the embedder tells tokens.
    pub fn knows_tokens(&self) -> bool {
        !self.tokens.steps.is_empty()
    }

    /// The cosine with a whole text.
    pub fn cosine(&self, text: &TextVector) -> f32 {
        self.whole.iter().zip(&text.whole).map(|(a, b)| a * b).sum()
    }

    /// The cosine of each token with the nearest in some stretches of a text, in the mean; nothing where none are known.
    pub fn matching(&self, text: &TextVector, stretches: &[Range<usize>]) -> Option<f32> {
        let width = self.whole.len().max(1);
        let mut nearest = vec![0.0f32; self.tokens.steps.len()];
        let mut any = false;
        for (token, step) in stretches.iter().flat_map(|stretch| text.within(stretch)) {
            any = true;
            let own = self.tokens.tokens.chunks_exact(width).zip(&self.tokens.steps);
            for (nearest, (own, own_step)) in nearest.iter_mut().zip(own) {
                let product: i32 = own.iter().zip(token).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
                *nearest = nearest.max(step * own_step * product as f32);
            }
        }
        (any && !nearest.is_empty()).then(|| nearest.iter().sum::<f32>() / nearest.len() as f32)
    }
}

/// The word that a byte of a text is in; nothing where it is in none.
fn word_at(text: &str, at: usize) -> &str {
    let is_between = |c: char| !c.is_alphanumeric();
    let Some((before, behind)) = text.split_at_checked(at) else { return "" };
    if behind.starts_with(is_between) {
        return "";
    }
    let start =
        before.rfind(is_between).map_or(0, |last| last + before[last..].chars().next().map_or(0, char::len_utf8));
    let end = behind.find(is_between).unwrap_or(behind.len());
    &text[start..at + end]
}

impl TextVectors {
    /// One for each text, in their order, without tokens.
    pub fn embedded(
        &self,
        embedder: &dyn Embedder,
        texts: &[impl AsRef<str>],
    ) -> Result<Vec<Arc<TextVector>>, ModelError> {
        let embed = |texts: &[&str]| Ok(embedder.embed_passages(texts)?.into_iter().map(ReadText::whole).collect());
        self.of("embedded", texts, &embed)
    }

    /// One for each text, in their order, with tokens where the embedder tells them.
    pub fn read(&self, embedder: &dyn Embedder, texts: &[impl AsRef<str>]) -> Result<Vec<Arc<TextVector>>, ModelError> {
        self.of("read", texts, &|texts| embedder.read_passages(texts))
    }

    fn of(
        &self,
        kind: &str,
        texts: &[impl AsRef<str>],
        embed: &Reader<'_>,
    ) -> Result<Vec<Arc<TextVector>>, ModelError> {
        let key = |text: &str| ContentHash::of(format!("{kind}\n{text}").as_bytes());
        let keys: Vec<ContentHash> = texts.iter().map(|text| key(text.as_ref())).collect();
        let mut vectors: Vec<Option<Arc<TextVector>>> = {
            let mut known = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
            keys.iter().map(|key| known.get(key)).collect()
        };
        let missing: Vec<usize> = (0..texts.len()).filter(|&at| vectors[at].is_none()).collect();
        if !missing.is_empty() {
            // Others may search meanwhile.
            let read = embed(&missing.iter().map(|&at| texts[at].as_ref()).collect::<Vec<_>>())?;
            let mut known = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
            for (at, read) in missing.into_iter().zip(read) {
                let vector = Arc::new(TextVector::of(read));
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
        let (known, embedder) = (TextVectors::default(), Counting::default());
        let of = |texts: &[&str]| -> Vec<f32> {
            known.embedded(&embedder, texts).unwrap().iter().map(|vector| vector.whole[0]).collect()
        };
        assert_eq!(of(&["one", "three", "one"]), [3.0, 5.0, 3.0]);
        let before = embedder.0.load(Ordering::Relaxed);
        assert_eq!(of(&["three", "seven", "one"]), [5.0, 5.0, 3.0]);
        assert_eq!(embedder.0.load(Ordering::Relaxed), before + 1, "only what is new");
        assert!(of(&[]).is_empty());
        let most = GENERATION / TextVector::of(ReadText::whole(vec![0.0])).bytes();
        let others: Vec<String> = (0..3 * most).map(|at| format!("other {at}")).collect();
        for half in others.chunks(most / 2) {
            of(&half.iter().map(String::as_str).collect::<Vec<_>>());
            of(&["one"]);
        }
        let before = embedder.0.load(Ordering::Relaxed);
        of(&["one"]);
        assert_eq!(embedder.0.load(Ordering::Relaxed), before, "asked for all the time");
        of(&["three"]);
        assert_eq!(embedder.0.load(Ordering::Relaxed), before + 1, "forgotten");
        let kept = known.generations.lock().unwrap();
        assert!(kept.young.len() + kept.old.len() <= 2 * most + 2);
    }

    /// Reads each word as one of three axes, and texts as the mean of theirs.
    struct Axes;

    impl Embedder for Axes {
        fn identity(&self) -> &str {
            "axes"
        }

        fn dimensions(&self) -> usize {
            3
        }

        fn max_tokens(&self) -> usize {
            100
        }

        fn count_tokens(&self, text: &str) -> usize {
            text.split_whitespace().count()
        }

        fn embed_passages(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
            Ok(self.read_passages(texts)?.into_iter().map(|read| read.vector).collect())
        }

        fn embed_query(&self, text: &str) -> Result<Vec<f32>, ModelError> {
            Ok(self.read_query(text)?.vector)
        }

        fn read_passages(&self, texts: &[&str]) -> Result<Vec<ReadText>, ModelError> {
            texts.iter().map(|text| self.read_query(text)).collect()
        }

        fn read_query(&self, text: &str) -> Result<ReadText, ModelError> {
            let mut read = ReadText { vector: vec![0.0; 3], ..ReadText::default() };
            for word in text.split(' ') {
                let axis = ["rent", "lease"].iter().position(|name| *name == word).unwrap_or(2);
                let token = (0..3).map(|at| f32::from(u8::from(at == axis)));
                read.vector.iter_mut().zip(token.clone()).for_each(|(sum, x)| *sum += x);
                read.tokens.extend(token);
                let start = word.as_ptr() as usize - text.as_ptr() as usize;
                read.places.push(start..start + word.len());
            }
            Ok(read)
        }
    }

    #[test]
    fn each_word_of_a_question_that_matters_is_compared_with_the_nearest_of_a_sentence() {
        let known = TextVectors::default();
        let text = "rent is due. lease of land";
        let passage = known.read(&Axes, &[text]).unwrap().remove(0);
        let matching = |question: &str, stretch: Range<usize>| {
            QuestionVector::of(&Axes, question, Some(Language::English))
                .unwrap()
                .matching(&passage, std::slice::from_ref(&stretch))
        };
        let close = |cosine: Option<f32>, expected: f32| cosine.is_some_and(|cosine| (cosine - expected).abs() < 0.01);
        let (first, second) = (0..12, 13..26);
        assert!(close(matching("what is the rent", first.clone()), 1.0), "stop words do not count");
        assert!(close(matching("what is the rent", second.clone()), 0.0));
        assert!(close(matching("what rent of the lease", second), 0.5));
        assert!(close(matching("what is it", first), 1.0), "where there is nothing else they do");
        assert_eq!(matching("rent", 30..40), None);
        let alone = known.embedded(&Axes, &[text]).unwrap().remove(0);
        let rent = QuestionVector::of(&Axes, "rent", None).unwrap();
        assert_eq!(rent.matching(&alone, std::slice::from_ref(&(0..26))), None, "what is not read has no tokens");
        assert!((rent.cosine(&alone) - rent.cosine(&passage)).abs() < 1e-6);
    }

    #[test]
    fn a_place_is_in_a_word() {
        for (text, at, expected) in [("el año", 4, "año"), ("¿qué", 2, "qué"), ("a-b", 1, ""), ("", 0, "")] {
            assert_eq!(word_at(text, at), expected, "{text}");
        }
    }
}
