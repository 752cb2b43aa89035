//! How likely it is that the passages answer the question.
//!
//! A logistic regression on what search knows of the best passages: how near the nearest is in meaning, and its closest
//! sentence, how many of the question's words that sentence has, alone and with what stands around it, how many stand in no
//! passage at all, and how much those that do stand there tell apart. The weights were fitted, with the starter embedder, on
//! questions of which half had their documents left out (SQuAD 2.0 in English and Spanish; the sample intranet, whose
//! questions say things in other words) and, counted less, on questions written so that the documents seem to answer them.
//! `intramuros eval DIR --html FILE` shows how well the probabilities hold on documents of your own.

use serde::{Deserialize, Serialize};

use crate::gloss::Fluency;
use crate::retrieve::Retrieved;

/// Passages that are looked at.
const PASSAGES: usize = 5;

/// What speaks for the passages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The greatest cosine with the question, above that of unrelated texts.
    pub cosine: f32,
    /// Share of the question's words in the sentence that has most of them.
    pub words: f32,
    /// The same with the sentence before it and the headings above it.
    #[serde(default)]
    pub around: f32,
    /// The greatest cosine of a sentence with the question, where sentences were embedded.
    #[serde(default)]
    pub meaning: f32,
    /// Share of the question's words that stand in no passage that was read.
    pub unknown: f32,
    /// See [`Retrieved::has_unknown_code`].
    #[serde(default)]
    pub unknown_code: bool,
    /// See [`Retrieved::information`].
    pub information: f32,
    /// How the embedder reads the language of the question.
    #[serde(default)]
    pub fluency: Fluency,
}

/// What each counts, in log-odds.
struct Weights {
    bias: f32,
    cosine: f32,
    meaning: f32,
    words: f32,
    around: f32,
    unknown: f32,
    information: f32,
}

/// In a language that the embedder knows.
const NATIVE: Weights =
    Weights { bias: -8.2, cosine: 4.9, meaning: 10.1, words: 2.2, around: 0.0, unknown: -1.9, information: 0.0 };
/// In one that it reads by its gloss, where how much the words tell apart says more. The bias is lower than the fitted one by
/// 0.25: what looks answered half of the time is not.
const GLOSSED: Weights =
    Weights { bias: -8.4, cosine: 6.1, meaning: 5.1, words: 0.5, around: 3.5, unknown: -1.5, information: 2.1 };
/// In one that it does not read, where no sentence is embedded, how much the words tell apart says most.
const UNREAD: Weights =
    Weights { bias: -6.8, cosine: 4.8, meaning: 0.0, words: 2.0, around: 0.0, unknown: -1.1, information: 8.4 };

/// What it costs, in log-odds, that no passage has a code that the question names: its neighbours in a list are near to it in
/// everything else. Not fitted: the questions above name none.
const UNKNOWN_CODE: f32 = 5.0;

impl Evidence {
    /// Of what was found.
    pub fn of(retrieved: &Retrieved) -> Self {
        let mut evidence = Self {
            unknown: retrieved.unknown,
            information: retrieved.information,
            unknown_code: retrieved.has_unknown_code,
            fluency: retrieved.fluency,
            ..Self::default()
        };
        for found in retrieved.found.iter().take(PASSAGES) {
            evidence.cosine = evidence.cosine.max(found.relatedness);
            evidence.words = evidence.words.max(found.closeness.words);
            let around = found.sentences.iter().map(|sentence| sentence.around);
            evidence.around = around.fold(evidence.around, f32::max);
            evidence.meaning = evidence.meaning.max(found.closeness.meaning);
        }
        evidence
    }

    fn log_odds(&self) -> f32 {
        let weights = match self.fluency {
            Fluency::Native => &NATIVE,
            Fluency::Gloss => &GLOSSED,
            Fluency::None => &UNREAD,
        };
        weights.bias
            + weights.cosine * self.cosine
            + weights.meaning * self.meaning
            + weights.words * self.words
            + weights.around * self.around
            + weights.unknown * self.unknown
            + weights.information * self.information
            - if self.unknown_code { UNKNOWN_CODE } else { 0.0 }
    }
}

/// The probability that the passages answer the question; 0 where there are none. A reranker, which reads question and
/// passage together, has half a say.
pub fn probability(retrieved: &Retrieved) -> f32 {
    let Some(best) = retrieved.found.first() else { return 0.0 };
    let own = Evidence::of(retrieved).log_odds();
    let log_odds = if retrieved.is_reranked {
        let read = best.score.clamp(1e-6, 1.0 - 1e-6);
        0.5 * (own + (read / (1.0 - read)).ln())
    } else {
        own
    };
    1.0 / (1.0 + (-log_odds).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(evidence: Evidence) -> f32 {
        1.0 / (1.0 + (-evidence.log_odds()).exp())
    }

    #[test]
    fn what_stands_in_a_passage_is_likely_to_be_answered_and_what_stands_nowhere_is_not() {
        for fluency in [Fluency::Native, Fluency::Gloss, Fluency::None] {
            let near = Evidence {
                cosine: 0.7,
                words: 0.8,
                around: 0.8,
                meaning: 0.8,
                unknown: 0.0,
                information: 0.6,
                unknown_code: false,
                fluency,
            };
            let far = Evidence {
                cosine: 0.2,
                words: 0.2,
                around: 0.2,
                meaning: 0.3,
                unknown: 0.5,
                information: 0.1,
                unknown_code: false,
                fluency,
            };
            assert!(of(near) > 0.9 && of(far) < 0.1, "{} {}", of(near), of(far));
            // Each of them speaks for itself.
            for less in [
                Evidence { cosine: 0.3, ..near },
                Evidence { words: 0.2, around: 0.2, ..near },
                Evidence { unknown: 0.5, ..near },
                Evidence { unknown_code: true, ..near },
            ] {
                assert!(of(less) < of(near), "{less:?}");
            }
        }
    }
}
