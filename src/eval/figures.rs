//! What is kept of each question, and the figures over all of them.

use serde::{Deserialize, Serialize};

use crate::answer::relevance::Evidence;

/// What came of one question; a line of the file that `eval --out` writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Of the question.
    pub id: String,
    /// `en` or `es`.
    pub lang: String,
    /// As it was asked.
    pub question: String,
    /// Whether any document answers it.
    pub answerable: bool,
    /// 1-based rank of the first passage that answers, of the first ten.
    pub rank: Option<usize>,
    /// Share of the evidence in the first five passages.
    pub evidence_at_5: f64,
    /// In the first ten.
    pub evidence_at_10: f64,
    /// Probability that the passages answer.
    pub relevance: f64,
    /// What that rests on.
    #[serde(default)]
    pub evidence: Evidence,
    /// Whether the answer is that the documents do not say.
    pub abstained: bool,
    /// Whether quotes stand in place of the model's text.
    pub fell_back: bool,
    /// 1 if the answer contains an accepted one.
    pub contains_gold: f64,
    /// Token F1 with the nearest accepted one.
    pub f1: f64,
    /// 1 if it is an accepted one.
    pub exact: f64,
    /// Whether every sentence has a mark and every quote is the stored text.
    pub cited: bool,
    /// Words of the answer.
    pub words: usize,
    /// Whole time.
    pub ms: f64,
    /// Search.
    pub retrieve_ms: f64,
    /// The model over the prompt.
    pub prefill_ms: f64,
    /// The model writing.
    pub decode_ms: f64,
    /// The answer.
    pub answer: String,
}

/// The figures, as `eval --json` prints them; `None` where no question tells anything about one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// How many were asked.
    pub questions: usize,
    /// Share of answerable ones whose place is the first hit.
    #[serde(rename = "hit@1")]
    pub hit_at_1: Option<f64>,
    /// Share whose place is among the first five.
    #[serde(rename = "hit@5")]
    pub hit_at_5: Option<f64>,
    /// Mean of 1 / rank of the place, 0 beyond ten.
    #[serde(rename = "mrr@10")]
    pub mrr_at_10: Option<f64>,
    /// Mean share of the evidence's words in the first five passages.
    #[serde(rename = "evidence@5")]
    pub evidence_at_5: Option<f64>,
    /// In the first ten.
    #[serde(rename = "evidence@10")]
    pub evidence_at_10: Option<f64>,
    /// Share of answerable ones whose answer text contains an accepted answer.
    pub contains_gold: Option<f64>,
    /// Mean token F1 of answerable ones.
    pub answer_f1: Option<f64>,
    /// Share of answerable ones that match exactly.
    pub exact_match: Option<f64>,
    /// Median words of the answers given.
    pub answer_words: Option<f64>,
    /// Of those abstained from, the share that has no answer.
    pub abstain_precision: Option<f64>,
    /// Of those without an answer, the share abstained from.
    pub abstain_recall: Option<f64>,
    /// How well `relevance` tells those with an answer from those without: the area under the ROC curve, 0.5 by chance.
    pub relevance_auroc: Option<f64>,
    /// Share of answers given of which every sentence has a mark and every quote is the stored text.
    pub cited_supported: Option<f64>,
    /// Median time of a question in milliseconds.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// Where the time goes.
    pub stages: Vec<StageTimes>,
}

/// Times of one stage over all questions, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StageTimes {
    /// `retrieve`, `prefill` or `decode`.
    pub stage: &'static str,
    /// Median.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
}

/// Computes all figures.
pub fn figures(records: &[Record]) -> Figures {
    let answerable: Vec<&Record> = records.iter().filter(|record| record.answerable).collect();
    let abstained = records.iter().filter(|record| record.abstained).count();
    let rightly = records.iter().filter(|record| record.abstained && !record.answerable).count();
    let given: Vec<&Record> = records.iter().filter(|record| !record.abstained).collect();
    let mean = |value: &dyn Fn(&Record) -> f64| part_of(answerable.iter().map(|r| value(r)).sum(), answerable.len());
    let stage = |stage, value: fn(&Record) -> f64| {
        let times = sorted(records.iter().map(value));
        StageTimes { stage, p50_ms: percentile(&times, 0.50), p95_ms: percentile(&times, 0.95) }
    };
    let times = sorted(records.iter().map(|record| record.ms));
    Figures {
        questions: records.len(),
        hit_at_1: mean(&|record| record.hit(1)),
        hit_at_5: mean(&|record| record.hit(5)),
        mrr_at_10: mean(&Record::reciprocal_rank),
        evidence_at_5: mean(&|record| record.evidence_at_5),
        evidence_at_10: mean(&|record| record.evidence_at_10),
        contains_gold: mean(&|record| record.contains_gold),
        answer_f1: mean(&|record| record.f1),
        exact_match: mean(&|record| record.exact),
        answer_words: (!given.is_empty())
            .then(|| percentile(&sorted(given.iter().map(|record| record.words as f64)), 0.50)),
        abstain_precision: part_of(rightly as f64, abstained),
        abstain_recall: part_of(rightly as f64, records.len() - answerable.len()),
        relevance_auroc: auroc(records),
        cited_supported: part_of(given.iter().filter(|record| record.cited).count() as f64, given.len()),
        p50_ms: percentile(&times, 0.50),
        p95_ms: percentile(&times, 0.95),
        stages: vec![
            stage("retrieve", |record| record.retrieve_ms),
            stage("prefill", |record| record.prefill_ms),
            stage("decode", |record| record.decode_ms),
        ],
    }
}

impl Record {
    /// 1 if the place is among the first `most`.
    pub fn hit(&self, most: usize) -> f64 {
        f64::from(u8::from(self.rank.is_some_and(|rank| rank <= most)))
    }

    /// 1 / rank, 0 beyond ten.
    pub fn reciprocal_rank(&self) -> f64 {
        self.rank.filter(|&rank| rank <= 10).map_or(0.0, |rank| 1.0 / rank as f64)
    }
}

/// The chance that a question with an answer has a greater `relevance` than one without, ties counted half (Mann and
/// Whitney). `None` where either kind is missing.
fn auroc(records: &[Record]) -> Option<f64> {
    let of = |answerable| records.iter().filter(move |record| record.answerable == answerable);
    let mut above = 0.0;
    for with in of(true) {
        for without in of(false) {
            above += match with.relevance.total_cmp(&without.relevance) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    part_of(above, of(true).count() * of(false).count())
}

/// A part of a whole, unless that is nothing.
fn part_of(part: f64, whole: usize) -> Option<f64> {
    (whole > 0).then(|| share(part, whole))
}

/// A part of a whole; 0 of nothing.
pub fn share(part: f64, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part / whole as f64 }
}

/// Values in order.
pub fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which the share `q` of sorted values lies (nearest rank).
pub fn percentile(sorted: &[f64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let times: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!((percentile(&times, 0.5), percentile(&times, 0.95)), (10.0, 19.0));
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    fn record(answerable: bool, relevance: f64, abstained: bool) -> Record {
        Record { answerable, relevance, abstained, ..Record::default() }
    }

    #[test]
    fn abstention_is_judged_by_those_without_an_answer() {
        let records =
            [record(true, 0.9, false), record(true, 0.2, true), record(false, 0.1, true), record(false, 0.3, false)];
        let figures = figures(&records);
        let told = [figures.abstain_precision, figures.abstain_recall, figures.relevance_auroc];
        assert_eq!(told, [Some(0.5), Some(0.5), Some(0.75)]);
    }

    #[test]
    fn what_no_question_tells_is_not_0() {
        let value = |records: &[Record]| serde_json::to_value(figures(records)).unwrap();
        let answerable = value(&[record(true, 0.9, false), record(true, 0.2, false)]);
        for name in ["abstain_precision", "abstain_recall", "relevance_auroc"] {
            assert!(answerable[name].is_null(), "{name}: {answerable}");
        }
        assert_eq!((&answerable["hit@1"], &answerable["cited_supported"]), (&0.0.into(), &0.0.into()));
        let unanswerable = value(&[record(false, 0.1, true)]);
        for name in ["hit@5", "contains_gold", "relevance_auroc", "cited_supported", "answer_words"] {
            assert!(unanswerable[name].is_null(), "{name}: {unanswerable}");
        }
    }
}
