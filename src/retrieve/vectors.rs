//! Vectors of the sentences that were read lately: what people ask comes back to the same documents, and embedding their
//! sentences is most of the time that a search takes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use intramuros_ingest::document::ContentHash;
use intramuros_models::{Embedder, ModelError};

/// Vectors kept in each of two generations; with 384 dimensions both take 25 MB.
const GENERATION: usize = 8_192;

type Vector = Arc<[f32]>;

/// Vectors by the text that they were made of, of one embedder. A text that is not asked for while as many others are is
/// forgotten.
#[derive(Default)]
pub struct SentenceVectors {
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<ContentHash, Vector>,
    old: HashMap<ContentHash, Vector>,
}

impl Generations {
    fn get(&mut self, key: &ContentHash) -> Option<Vector> {
        if let Some(vector) = self.young.get(key) {
            return Some(vector.clone());
        }
        let vector = self.old.remove(key)?;
        self.put(key.clone(), vector.clone());
        Some(vector)
    }

    fn put(&mut self, key: ContentHash, vector: Vector) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, vector);
    }
}

impl SentenceVectors {
    /// One unit vector per text, in their order.
    pub fn of(&self, embedder: &dyn Embedder, texts: &[impl AsRef<str>]) -> Result<Vec<Vector>, ModelError> {
        let keys: Vec<ContentHash> = texts.iter().map(|text| ContentHash::of(text.as_ref().as_bytes())).collect();
        let mut vectors: Vec<Option<Vector>> = {
            let mut known = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
            keys.iter().map(|key| known.get(key)).collect()
        };
        let missing: Vec<usize> = (0..texts.len()).filter(|&at| vectors[at].is_none()).collect();
        if !missing.is_empty() {
            // Others may search meanwhile.
            let made = embedder.embed_passages(&missing.iter().map(|&at| texts[at].as_ref()).collect::<Vec<_>>())?;
            let mut known = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
            for (at, vector) in missing.into_iter().zip(made) {
                let vector: Vector = vector.into();
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
