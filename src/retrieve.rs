//! Finds the passages that a question is about, inside the caller's rights.
//!
//! Dense and BM25 hits come from one request to the store and are fused here, the same for every store, by their scores.
//! Rank fusion throws away how sure each branch is, and that is what tells a lexical hit on a part number from a stop word
//! (Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2023). Cosines count as they are, since
//! their scale is the same for all questions; BM25 counts by the best of its list. A chunk that only one branch returned is
//! at most as good in the other as the last that it did return, and is taken for that. How much each branch counts follows
//! the question: words as far as the best hit has them at all, vectors half as much in a language that the embedder reads by
//! its [gloss] only. The best of the fused list are read sentence by sentence ([`reading`]): words that stand in one sentence
//! answer, the same words all over a passage rarely do. A passage gains by its closest sentence, in words, in meaning
//! and token by token ([`vectors`]), and by the other passages of its document, since who asks about a lease wants the lease.
//! An amount that is asked about is held by a range that it is in (`ranges`).
//! What was replaced ([`edition`]) steps back unless it is asked for, and of two that are as good the one in another language.
//! What the question puts in quotation marks goes before all else.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::Instant;

use intramuros_ingest::access::Caller;
use intramuros_ingest::document::{DocumentId, Language};
use intramuros_models::{Embedder, ModelError, Reranker};

use crate::gloss::{self, Fluency};
use crate::store::{Query, StoreError, StoredChunk, VectorStore, bm25};

/// How passages are found; see `[retrieve]` in the configuration.
pub use crate::config::Retrieve as RetrieveSettings;

pub mod asked;
mod duplicates;
pub mod edition;
mod fusion;
mod phrases;
mod ranges;
pub mod reading;
pub mod spans;
pub mod vectors;

use asked::{Asked, has_code, has_sibling};
use duplicates::without_duplicates;
use fusion::{fuse, related};
use reading::{Closeness, Reading, Sentence};
use vectors::{QuestionVector, TextVectors};

/// What the dense branch counts in a language that the embedder does not know, as a share of its weight elsewhere.
const UNFAMILIAR: f32 = 0.5;
/// What the words count if the best hit by words had none of the question's; they count in full where it has all.
const LEAST_SURE: f32 = 0.3;
/// Passages of the fused list that are read.
const READ: usize = 30;
/// What a sentence that has all words of the question adds to a fused score of 0..1, and what one adds that holds what is
/// asked for as well.
const CLOSE: f32 = 0.16;
const FITTING: f32 = 0.16;
/// What the other passages of its document add to a passage: of the mean of so many of the best of them.
const SIBLINGS: f32 = 0.35;
const SIBLINGS_COUNTED: usize = 5;
/// What a passage loses whose title says that its document was replaced, where nobody asks for the past.
const REPLACED: f32 = 0.3;
/// What a passage loses that is in another language than the question: who finds it in theirs reads that.
const OTHER_LANGUAGE: f32 = 0.05;
/// What a sentence adds whose cosine with the question is 1.
const MEANING: f32 = 0.3;
/// The same where question and sentence are glosses. It is more, since words and vectors say less alike.
const MEANING_OF_GLOSS: f32 = 0.45;
/// What a sentence adds that has a token like each of the question's, and of a gloss.
const MATCHING: f32 = 0.3;
const MATCHING_OF_GLOSS: f32 = 0.2;
/// Passages whose sentences are embedded, and how many of them at most: each takes about as long as a question.
const EMBEDDED: usize = 8;
const EMBEDDED_SENTENCES: usize = 80;

/// Hybrid search over one index.
pub struct Retriever<'a> {
    /// Where the chunks are.
    pub store: &'a dyn VectorStore,
    /// The embedder that made them.
    pub embedder: &'a dyn Embedder,
    /// Its cosine of texts that have nothing to do with each other.
    pub unrelated_cosine: f32,
    /// What it made of texts lately.
    pub vectors: &'a TextVectors,
    /// The languages it covers, as ISO 639-1 codes; empty where that is not known.
    pub languages: &'a [String],
    /// Puts the best passages in order, where there is one.
    pub reranker: Option<&'a dyn Reranker>,
    /// Limits and weights.
    pub settings: &'a RetrieveSettings,
}

/// A chunk that was found, with what speaks for it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Fused score in 0..1, comparable within one search only; after a reranker its probability that the chunk answers, and
    /// for those that it did not read the fused score below the least of those.
    pub score: f32,
    /// Cosine between question and chunk, where the dense branch returned it.
    pub cosine: Option<f32>,
    /// How far that cosine is above that of unrelated texts, in 0..1.
    pub relatedness: f32,
    /// Share of the question's words that the chunk holds, in 0..1.
    pub coverage: f32,
    /// Its sentences held against the question; none where it was too far down to be read.
    pub sentences: Vec<Sentence>,
    /// How close the best of them comes.
    pub closeness: Closeness,
    /// Whether its document was replaced, and nobody asks for what held then.
    pub is_past: bool,
    /// The chunk.
    pub chunk: StoredChunk,
}

/// The outcome of a search, best first.
#[derive(Clone, Debug)]
pub struct Retrieved {
    /// What was found.
    pub found: Vec<Found>,
    /// What was asked.
    pub asked: Asked,
    /// How the embedder reads the language of the question.
    pub fluency: Fluency,
    /// Share of the question's words that stand in no passage that was read.
    pub unknown: f32,
    /// Whether the question names a code that stands in no passage that was read.
    pub has_unknown_code: bool,
    /// How much of what the question's words tell apart the best passage by words has: its BM25 score for each unit of weight
    /// in the question, as a share of what a word tells that stands in one chunk alone.
    pub information: f32,
    /// Whether a reranker put them in order.
    pub is_reranked: bool,
    /// Milliseconds for the vectors of the question and of sentences.
    pub embed_ms: f64,
    /// Milliseconds for all of it.
    pub took_ms: f64,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum RetrieveError {
    /// The embedder failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Found {
    /// A chunk that is not read yet.
    pub fn new(score: f32, cosine: Option<f32>, chunk: StoredChunk) -> Self {
        let relatedness = cosine.unwrap_or(0.0);
        Self {
            score,
            cosine,
            relatedness,
            coverage: 0.0,
            sentences: Vec::new(),
            closeness: Closeness::default(),
            is_past: false,
            chunk,
        }
    }
}

impl Retrieved {
    /// Whether sentences were compared with the question token by token.
    pub fn knows_tokens(&self) -> bool {
        knows_tokens(&self.found)
    }

    /// What was found for the parts of one question, taken in turn, each passage once.
    pub fn in_turn(parts: &[&Self]) -> Vec<Found> {
        let longest = parts.iter().map(|part| part.found.len()).max().unwrap_or(0);
        let found = (0..longest).flat_map(|at| parts.iter().filter_map(move |part| part.found.get(at)));
        let mut places = HashSet::new();
        found.filter(|found| places.insert((found.chunk.document_id, found.chunk.position))).cloned().collect()
    }
}

impl Retriever<'_> {
    /// The best `limit` chunks for a question, near-duplicates dropped.
    pub fn search(&self, caller: &Caller, question: &str, limit: usize) -> Result<Retrieved, RetrieveError> {
        let started = Instant::now();
        let asked = Asked::read(question);
        let vector = self.question(question, asked.language)?;
        let mut embed_ms = milliseconds(started);
        let sparse = bm25::query(question, asked.language);
        let weight: f32 = sparse.values.iter().sum();
        let candidates = self.settings.candidates.max(limit);
        let query = Query { dense: vector.whole.clone(), sparse, documents: Vec::new(), limit: candidates };
        let branches = self.store.search(caller, &query)?;
        let chunks = self.store.size()?;
        let best = branches.sparse.first().map_or(0.0, |best| best.score);
        let information = (best / (weight.max(1.0) * (1.0 + chunks as f32).ln().max(1.0))).min(1.0);
        let fluency = Fluency::of(self.languages, asked.language);
        let dense_weight = self.settings.dense_weight * if fluency == Fluency::Native { 1.0 } else { UNFAMILIAR };
        let sure = branches.sparse.first().map_or(0.0, |best| asked.share(&best.chunk));
        let sure = LEAST_SURE + (1.0 - LEAST_SURE) * sure;
        let mut fused = fuse(branches, (dense_weight, self.unrelated_cosine), sure, candidates);
        step_back(&mut fused, question, asked.language);
        let unknown = read(&mut fused, &asked);
        let has_unknown_code = has_unknown_code(&fused, &asked);
        let mut found = match self.reranker {
            None => without_duplicates(fused, limit.max(EMBEDDED)),
            Some(reranker) => {
                let best = without_duplicates(fused, limit.max(self.settings.rerank_candidates));
                let mut ranked = rerank(reranker, question, best, self.settings.rerank_candidates)?;
                // A reranker of both languages knows how well the other one answers.
                step_back(&mut ranked, question, None);
                ranked
            }
        };
        if fluency != Fluency::None {
            let started = Instant::now();
            self.embed_sentences(&vector, &mut found)?;
            embed_ms += milliseconds(started);
            if self.reranker.is_none() {
                let is_gloss = fluency == Fluency::Gloss;
                let weights = if is_gloss { (MEANING_OF_GLOSS, MATCHING_OF_GLOSS) } else { (MEANING, MATCHING) };
                weigh_meaning(&mut found, weights);
            }
        }
        // «otros» in quotation marks stands everywhere.
        let mut phrases = phrases::quoted(question);
        phrases.retain(|phrase| !bm25::words(phrase, asked.language).is_empty());
        phrases::put_first(&mut found, &phrases);
        found.truncate(limit);
        // Those that were too far down to be read.
        for found in found.iter_mut().filter(|found| found.coverage == 0.0) {
            found.coverage = asked.share(&found.chunk);
        }
        let is_reranked = self.reranker.is_some();
        Ok(Retrieved {
            found,
            asked,
            fluency,
            unknown,
            has_unknown_code,
            information,
            is_reranked,
            embed_ms,
            took_ms: milliseconds(started),
        })
    }

    /// Lets the embedder read passages as a whole, and gives their sentences what that says of each.
    fn read_whole(&self, question: &QuestionVector, found: &mut [Found]) -> Result<(), ModelError> {
        let stretches: Vec<(usize, Stretch)> = found
            .iter()
            .enumerate()
            .flat_map(|(at, found)| self.stretches(found).into_iter().map(move |stretch| (at, stretch)))
            .collect();
        let texts: Vec<&str> = stretches.iter().map(|(_, stretch)| stretch.text.as_str()).collect();
        let vectors = self.vectors.read(self.embedder, &texts)?;
        for ((at, stretch), vector) in stretches.iter().zip(vectors) {
            for (sentence, places) in &stretch.sentences {
                let sentence = &mut found[*at].sentences[*sentence];
                let matching = question.matching(&vector, places);
                sentence.matching = matching.map(|cosine| related(cosine, self.unrelated_cosine));
            }
        }
        Ok(())
    }

    /// A passage below its headings, in as many stretches as the embedder needs to see all of it.
    fn stretches(&self, found: &Found) -> Vec<Stretch> {
        let chunk = &found.chunk;
        let readable = |text: &str| gloss::readable(text, chunk.language, self.languages).into_owned();
        let mut headings = readable(&[std::slice::from_ref(&chunk.title), &chunk.section].concat().join("\n"));
        headings.push('\n');
        let room = self.embedder.max_tokens().saturating_sub(self.embedder.count_tokens(&headings));
        let mut stretches: Vec<Stretch> = Vec::new();
        let (mut left, mut header) = (0, None);
        for (at, sentence) in found.sentences.iter().enumerate() {
            let own = readable(&chunk.text[sentence.span.range.clone()]);
            let own_header = sentence.span.row.as_ref().and_then(|row| row.header.clone());
            let header_text = own_header.clone().map(|header| readable(&chunk.text[header]));
            let tokens = self.embedder.count_tokens(&own);
            if tokens > left {
                stretches.push(Stretch { text: headings.clone(), sentences: Vec::new() });
                left = room;
                header = None;
            }
            left = left.saturating_sub(tokens);
            let Some(Stretch { text, sentences }) = stretches.last_mut() else { continue };
            let mut put = |line: &str| {
                let start = text.len();
                text.push_str(line);
                text.push('\n');
                start..start + line.len()
            };
            let headed = own_header.as_ref().zip(header_text).map(|(own_header, line)| match header.take() {
                Some((known, place)) if known == *own_header => (known, place),
                _ => {
                    left = left.saturating_sub(self.embedder.count_tokens(&line));
                    (own_header.clone(), put(&line))
                }
            });
            let mut places = vec![put(&own)];
            places.extend(headed.as_ref().map(|(_, place)| place.clone()));
            header = headed;
            sentences.push((at, places));
        }
        stretches
    }

    /// A question as the embedder reads it.
    fn question(&self, question: &str, language: Option<Language>) -> Result<QuestionVector, ModelError> {
        let readable = gloss::readable(question, language, self.languages);
        let language = match Fluency::of(self.languages, language) {
            Fluency::Gloss => Some(Language::English),
            Fluency::Native | Fluency::None => language,
        };
        QuestionVector::of(self.embedder, &readable, language)
    }

    /// Gives the sentences of the best passages their cosines with the question.
    fn embed_sentences(&self, question: &QuestionVector, found: &mut [Found]) -> Result<(), ModelError> {
        let best = found.len().min(EMBEDDED);
        let mut sentences: Vec<(Option<Language>, &mut Sentence)> = found[..best]
            .iter_mut()
            .flat_map(|Found { chunk, sentences, .. }| sentences.iter_mut().map(|sentence| (chunk.language, sentence)))
            .collect();
        // Those of a long table that share nothing with the question are left out.
        sentences.sort_by(|(_, a), (_, b)| b.words.total_cmp(&a.words));
        sentences.truncate(EMBEDDED_SENTENCES);
        let readable = |(language, sentence): &(_, &mut Sentence)| {
            gloss::readable(&sentence.weighed, *language, self.languages).into_owned()
        };
        let texts: Vec<String> = sentences.iter().map(readable).collect();
        let vectors = self.vectors.embedded(self.embedder, &texts)?;
        for ((_, sentence), vector) in sentences.iter_mut().zip(vectors) {
            sentence.meaning = Some(related(question.cosine(&vector), self.unrelated_cosine));
        }
        if question.knows_tokens() {
            self.read_whole(question, &mut found[..best])?;
        }
        for Found { sentences, closeness, .. } in &mut found[..best] {
            closeness.meaning = sentences.iter().filter_map(|sentence| sentence.meaning).fold(0.0, f32::max);
            closeness.matching = sentences.iter().filter_map(|sentence| sentence.matching).fold(0.0, f32::max);
        }
        Ok(())
    }
}

/// What of a passage the embedder reads at once, and where in it each sentence stands, a row with the header of its table.
struct Stretch {
    text: String,
    sentences: Vec<(usize, Vec<Range<usize>>)>,
}

/// Milliseconds since an instant.
pub fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Lets the passages of replaced documents lose, unless the question wants what held then, and those of another language.
fn step_back(found: &mut [Found], question: &str, language: Option<Language>) {
    for Found { chunk, score, is_past, .. } in found.iter_mut() {
        *is_past = edition::is_replaced(&chunk.title) && !edition::wants_past(question, chunk);
        if *is_past {
            *score = (*score - REPLACED).max(0.0);
        }
        if language.is_some() && chunk.language.is_some() && chunk.language != language {
            *score = (*score - OTHER_LANGUAGE).max(0.0);
        }
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
}

/// Reads the best of a fused list and lets those gain that have a sentence close to the question, or brothers and sisters
/// that were found too. Gives the share of the question's words that stand in none of them.
fn read(fused: &mut [Found], asked: &Asked) -> f32 {
    let mut unknown = asked.words().clone();
    // Among those that are read: of passages that score alike further down, each index returns others.
    let best = fused.len().min(READ);
    let siblings = siblings(&fused[..best]);
    for (found, siblings) in fused.iter_mut().zip(siblings) {
        let reading = Reading::of(&found.chunk, asked);
        found.coverage = asked.share_of(&reading.held);
        unknown.retain(|word| !reading.held.contains(word));
        found.closeness = reading.closeness();
        found.sentences = reading.sentences;
        found.score += CLOSE * found.closeness.words + FITTING * found.closeness.fitting + SIBLINGS * siblings;
    }
    fused.iter_mut().for_each(|found| found.score /= 1.0 + CLOSE + FITTING + SIBLINGS);
    // Stable, so that ties keep the order of the fused score.
    fused.sort_by(|a, b| b.score.total_cmp(&a.score));
    asked.share_of(&unknown)
}

/// Whether a question names a code that stands in none of the passages that were read.
fn has_unknown_code(read: &[Found], asked: &Asked) -> bool {
    let texts: Vec<String> = match asked.codes() {
        [] => Vec::new(),
        _ => read.iter().take(READ).map(|found| found.chunk.with_headings()).collect(),
    };
    // A standard that no document numbers otherwise may be known to the asker alone; a model beside others does not exist.
    let is_unknown = |code: &String| {
        !texts.iter().any(|text| has_code(text, code)) && texts.iter().any(|text| has_sibling(text, code))
    };
    asked.codes().iter().any(is_unknown)
}

/// For each of a list that is sorted by score, the mean score of the best others of its document.
fn siblings(fused: &[Found]) -> Vec<f32> {
    let mut by_document: HashMap<DocumentId, Vec<f32>> = HashMap::new();
    let mut own_places = Vec::with_capacity(fused.len());
    for found in fused {
        let scores = by_document.entry(found.chunk.document_id).or_default();
        own_places.push(scores.len());
        scores.push(found.score);
    }
    let mean = |(found, own): (&Found, usize)| {
        let scores = by_document.get(&found.chunk.document_id).into_iter().flatten().enumerate();
        let others = scores.filter(|(at, _)| *at != own).map(|(_, score)| score);
        others.take(SIBLINGS_COUNTED).sum::<f32>() / SIBLINGS_COUNTED as f32
    };
    fused.iter().zip(own_places).map(mean).collect()
}

/// Lets passages gain by their closest sentence in meaning, and by the one whose tokens match best.
fn weigh_meaning(found: &mut [Found], (weight, matching_weight): (f32, f32)) {
    let knows_tokens = knows_tokens(found);
    let matching_weight = if knows_tokens { matching_weight } else { 0.0 };
    for found in found.iter_mut() {
        let Closeness { meaning, matching, .. } = found.closeness;
        found.score = (found.score + weight * meaning + matching_weight * matching) / (1.0 + weight + matching_weight);
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
}

/// Whether the embedder told the tokens of what it read.
fn knows_tokens(found: &[Found]) -> bool {
    found.iter().flat_map(|found| &found.sentences).any(|sentence| sentence.matching.is_some())
}

/// Puts the first `most` passages in the order that a reranker gives them; the others stay below in theirs.
fn rerank(
    reranker: &dyn Reranker,
    question: &str,
    mut found: Vec<Found>,
    most: usize,
) -> Result<Vec<Found>, ModelError> {
    let others = found.split_off(most.min(found.len()));
    let texts: Vec<String> = found.iter().map(|found| found.chunk.with_headings()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (found, score) in found.iter_mut().zip(reranker.score(question, &texts)?) {
        found.score = 1.0 / (1.0 + (-score).exp());
    }
    // Stable, so that ties keep the order of the fused score.
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let least = found.last().map_or(1.0, |found| found.score);
    found.extend(others.into_iter().map(|other| Found { score: least * other.score, ..other }));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A passage, for the tests of this module and those below it.
    pub fn found(path: &str, text: &str) -> Found {
        Found::new(0.5, None, StoredChunk::of_text(path, text))
    }

    /// The titles of what was found, in order.
    pub fn order(found: &[Found]) -> Vec<&str> {
        found.iter().map(|found| found.chunk.title.as_str()).collect()
    }

    #[test]
    fn a_passage_with_a_close_sentence_gains() {
        let asked = Asked::read("How long is the notice period?");
        let mut all = vec![found("a", "A period. Notice of it."), found("b", "The notice period is 30 days.")];
        // «Long» stands in neither.
        assert_eq!(read(&mut all, &asked), 1.0 / 3.0);
        assert_eq!(order(&all), ["b", "a"]);
        assert!(all[0].score <= 1.0);
    }

    #[test]
    fn what_was_replaced_steps_back_unless_it_is_asked_for() {
        let of = |score, title: &str| Found { score, ..found(title, "Ten characters.") };
        let all = || vec![of(0.8, "Password policy 2024 (replaced)"), of(0.7, "Password policy 2026")];
        let ordered = |question: &str| {
            let mut all = all();
            step_back(&mut all, question, None);
            all[0].chunk.title.clone()
        };
        assert_eq!(ordered("How long is a password?"), "Password policy 2026");
        assert_eq!(ordered("How long was a password in 2024?"), "Password policy 2024 (replaced)");
        let of = |score, title: &str, language| {
            let found = of(score, title);
            Found { chunk: StoredChunk { language: Some(language), ..found.chunk }, ..found }
        };
        let mut all = vec![of(0.72, "Normas", Language::Spanish), of(0.7, "Rules", Language::English)];
        step_back(&mut all, "Which rules are there?", Some(Language::English));
        assert_eq!(order(&all), ["Rules", "Normas"], "of two that are as good the one in the asker's language");
    }

    #[test]
    fn a_code_that_no_passage_has_is_told() {
        let all = [found("Errors", "Q-105: no network. Q-417: too old.")];
        assert!(has_unknown_code(&all, &Asked::read("What does Q-950 mean?")));
        assert!(!has_unknown_code(&all, &Asked::read("What does q-417 mean?")));
        assert!(!has_unknown_code(&all, &Asked::read("What do 950 errors mean?")));
    }

    #[test]
    fn a_passage_gains_by_the_others_of_its_document() {
        let of = |score, document: &str, text| Found { score, ..found(document, text) };
        let all = [of(0.9, "a", "1"), of(0.8, "b", "1"), of(0.5, "b", "2"), of(0.2, "b", "3")];
        let mean = |sum: f32| sum / SIBLINGS_COUNTED as f32;
        assert_eq!(siblings(&all), [0.0, mean(0.5 + 0.2), mean(0.8 + 0.2), mean(0.8 + 0.5)]);
    }

    /// Likes long passages.
    struct Lengths;

    impl Reranker for Lengths {
        fn identity(&self) -> &str {
            "lengths"
        }

        fn max_tokens(&self) -> usize {
            100
        }

        fn score(&self, _: &str, passages: &[&str]) -> Result<Vec<f32>, ModelError> {
            Ok(passages.iter().map(|passage| passage.len() as f32 - 10.0).collect())
        }
    }

    #[test]
    fn a_reranker_puts_passages_in_its_order() {
        let found = vec![found("a", "short"), found("b", "the longest of them"), found("c", "longer one")];
        let ranked = rerank(&Lengths, "?", found.clone(), 10).unwrap();
        assert_eq!(order(&ranked), ["b", "c", "a"]);
        assert!(ranked[0].score > 0.99 && ranked[1].score < 0.99 && ranked[1].score > 0.4);
        let ranked = rerank(&Lengths, "?", found, 2).unwrap();
        assert_eq!(order(&ranked), ["b", "a", "c"], "the third is not read, however well it would do");
        assert!(ranked.is_sorted_by(|a, b| a.score > b.score));
    }
}
