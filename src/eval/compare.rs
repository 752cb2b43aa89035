//! Two runs over the same questions side by side.
//!
//! The interval of each difference is that of a paired bootstrap (Efron 1979; for information retrieval Sakai, "Evaluating
//! Evaluation Metrics based on the Bootstrap", 2006): questions are drawn with replacement, the same ones for both runs.

use std::collections::HashMap;

use serde::Serialize;

use super::figures::{Record, percentile, share, sorted};

/// Draws of the bootstrap.
const DRAWS: usize = 2000;

/// How a second run differs from a first.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Questions that both runs asked.
    pub questions: usize,
    /// Each figure.
    pub figures: Vec<Difference>,
    /// Questions of which the rank, the answer's rightness or the abstention changed.
    pub changed: Vec<Changed>,
}

/// A figure in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Its name.
    pub figure: &'static str,
    /// In the first run.
    pub a: f64,
    /// In the second.
    pub b: f64,
    /// Second less first.
    pub difference: f64,
    /// The interval that holds 95 % of the bootstrap's differences.
    pub interval: [f64; 2],
}

/// A question that came out differently.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changed {
    /// Its id.
    pub id: String,
    /// As it was asked.
    pub question: String,
    /// Ranks in both.
    pub rank: [Option<usize>; 2],
    /// Whether the answer contains an accepted one.
    pub contains_gold: [f64; 2],
    /// Whether it abstained.
    pub abstained: [bool; 2],
}

/// What a run is compared by.
type Value = fn(&Record) -> f64;

/// What is compared, and over which questions: those with an answer, or all.
const COMPARED: &[(&str, bool, Value)] = &[
    ("hit@1", true, |record| record.hit(1)),
    ("hit@5", true, |record| record.hit(5)),
    ("mrr@10", true, Record::reciprocal_rank),
    ("evidence@5", true, |record| record.evidence_at_5),
    ("contains_gold", true, |record| record.contains_gold),
    ("answer_f1", true, |record| record.f1),
    ("abstained rightly", false, |record| f64::from(u8::from(record.abstained != record.answerable))),
    ("answer_words", false, |record| record.words as f64),
    ("ms", false, |record| record.ms),
];

/// Compares two runs by the questions that both asked.
pub fn compare(a: &[Record], b: &[Record]) -> Comparison {
    let second: HashMap<&str, &Record> = b.iter().map(|record| (record.id.as_str(), record)).collect();
    let pairs: Vec<(&Record, &Record)> =
        a.iter().filter_map(|record| Some((record, *second.get(record.id.as_str())?))).collect();
    let mut figures = Vec::new();
    for (figure, answerable, value) in COMPARED {
        let values: Vec<(f64, f64)> =
            pairs.iter().filter(|(a, _)| a.answerable || !answerable).map(|(a, b)| (value(a), value(b))).collect();
        let mean = |of: fn(&(f64, f64)) -> f64| share(values.iter().map(of).sum(), values.len());
        let (a, b) = (mean(|pair| pair.0), mean(|pair| pair.1));
        figures.push(Difference { figure, a, b, difference: b - a, interval: interval(&values) });
    }
    let outcome = |record: &Record| (record.rank, record.contains_gold > 0.0, record.abstained);
    let changed = pairs
        .iter()
        .filter(|(a, b)| outcome(a) != outcome(b))
        .map(|(a, b)| Changed {
            id: a.id.clone(),
            question: a.question.clone(),
            rank: [a.rank, b.rank],
            contains_gold: [a.contains_gold, b.contains_gold],
            abstained: [a.abstained, b.abstained],
        })
        .collect();
    Comparison { questions: pairs.len(), figures, changed }
}

/// The 95 % interval of the mean difference.
fn interval(values: &[(f64, f64)]) -> [f64; 2] {
    let differences: Vec<f64> = values.iter().map(|(a, b)| b - a).collect();
    // The same draws each time, so that a comparison can be repeated.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        differences.get(((state >> 33) as usize * differences.len()) >> 31).copied().unwrap_or(0.0)
    };
    let means = sorted((0..DRAWS).map(|_| share((0..differences.len()).map(|_| draw()).sum(), differences.len())));
    [percentile(&means, 0.025), percentile(&means, 0.975)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(hits: impl Iterator<Item = bool>) -> Vec<Record> {
        hits.enumerate()
            .map(|(i, hit)| Record { id: i.to_string(), answerable: true, rank: hit.then_some(1), ..Record::default() })
            .collect()
    }

    #[test]
    fn a_difference_has_an_interval_around_it_that_is_the_same_each_time() {
        let a = records((0..200).map(|i| i % 2 == 0));
        let b = records((0..200).map(|i| i % 2 == 0 || i % 10 == 1));
        let comparison = compare(&a, &b);
        let hit = &comparison.figures[0];
        assert_eq!((hit.a, hit.b), (0.5, 0.6));
        let [low, high] = hit.interval;
        // Of 200 questions 20 changed: the standard error is 0.021.
        assert!(low > 0.04 && low < 0.08 && high > 0.12 && high < 0.16, "{low} {high}");
        assert_eq!(comparison.changed.len(), 20);
        assert_eq!(compare(&a, &b).figures, comparison.figures);
        let same = &compare(&a, &a).figures[0];
        assert_eq!((same.difference, same.interval), (0.0, [0.0, 0.0]));
    }

    #[test]
    fn only_questions_of_both_runs_count() {
        let all = records([true, true, false].into_iter());
        assert_eq!(compare(&all, &all[1..]).questions, 2);
        assert_eq!(compare(&all, &[]).questions, 0);
    }
}
