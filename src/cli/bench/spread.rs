//! Least, median and greatest of some rounds.

use serde::Serialize;

use crate::eval::percentile;

/// How a figure came out in several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    /// Of one figure a round; zeros where there is none.
    pub fn of(mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let (min, max) = (rounds.first().copied().unwrap_or(0.0), rounds.last().copied().unwrap_or(0.0));
        Self { min, median: percentile(&rounds, 0.5), max }
    }

    /// A row of the table.
    pub fn row(&self, what: &str, unit: &str) -> Vec<String> {
        let number = |value: f64| if value.abs() < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") };
        vec![what.to_owned(), number(self.min), number(self.median), number(self.max), unit.to_owned()]
    }
}

/// Things per second.
pub fn rate(things: usize, ms: f64) -> f64 {
    1000.0 * things as f64 / ms.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_sorted() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!(spread, Spread { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(spread.row("x", "tokens/s"), ["x", "1.0", "2.0", "3.0", "tokens/s"]);
        assert_eq!(Spread::of(Vec::new()).median, 0.0);
    }

    #[test]
    fn a_rate_is_per_second() {
        assert_eq!(rate(512, 2000.0), 256.0);
    }
}
