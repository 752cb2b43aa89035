//! Activations and norms. The loops are written so that the compiler vectorises them.

use serde::Deserialize;

use crate::engine::math::{exp, fused, sum};
use crate::engine::shared::for_rows;
use crate::engine::team::Team;

/// The activation within a feed-forward layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `x · Φ(x)` with the error function (Hendrycks and Gimpel, arXiv:1606.08415).
    Gelu,
    /// `max(x, 0)`.
    Relu,
}

/// Layer normalisation (Ba et al., arXiv:1607.06450).
pub struct Norm {
    /// Multiplied after.
    pub weight: Vec<f32>,
    /// Added after; may be empty.
    pub shift: Vec<f32>,
    /// Added to the variance.
    pub epsilon: f32,
}

impl Activation {
    /// Adds a bias, which may be empty, to a row and applies the activation.
    pub fn apply(self, row: &mut [f32], bias: &[f32]) {
        match self {
            Self::Gelu => map_with_bias(row, bias, gelu),
            Self::Relu => map_with_bias(row, bias, |x| x.max(0.0)),
        }
    }

    /// [`Activation::apply`] to all rows, on all threads.
    pub fn rows(self, team: &Team, rows: &mut [f32], width: usize, bias: &[f32]) {
        for_rows(team, rows, width, |_, row| self.apply(row, bias));
    }
}

impl Norm {
    /// Normalises a row.
    pub fn apply(&self, row: &mut [f32]) {
        let scale = 1.0 / row.len() as f32;
        let mean = sum(row, |x| x) * scale;
        let variance = sum(row, |x| (x - mean) * (x - mean)) * scale;
        let inverse = 1.0 / (variance + self.epsilon).sqrt();
        if self.shift.is_empty() {
            for (x, w) in row.iter_mut().zip(&self.weight) {
                *x = (*x - mean) * inverse * w;
            }
            return;
        }
        for ((x, w), s) in row.iter_mut().zip(&self.weight).zip(&self.shift) {
            *x = (*x - mean) * inverse * w + s;
        }
    }

    /// Normalises `rows + residual + bias`, of which the bias may be empty, into `rows`, on all threads.
    pub fn residual_rows(&self, team: &Team, rows: &mut [f32], residual: &[f32], bias: &[f32]) {
        let width = self.weight.len();
        for_rows(team, rows, width, |index, row| {
            add(row, &residual[index * width..], bias);
            self.apply(row);
        });
    }
}

/// Adds numbers and a bias, which may be empty, to a row.
pub fn add(row: &mut [f32], more: &[f32], bias: &[f32]) {
    if bias.is_empty() {
        row.iter_mut().zip(more).for_each(|(x, more)| *x += more);
        return;
    }
    for ((x, more), bias) in row.iter_mut().zip(more).zip(bias) {
        *x += more + bias;
    }
}

#[inline(always)]
fn map_with_bias(row: &mut [f32], bias: &[f32], map: impl Fn(f32) -> f32) {
    if bias.is_empty() {
        for x in row {
            *x = map(*x);
        }
        return;
    }
    for (x, b) in row.iter_mut().zip(bias) {
        *x = map(*x + b);
    }
}

/// `x · Φ(x)`.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The error function to 2e-7 (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / fused(0.327_591_1, a, 1.0);
    let mut p = fused(1.061_405_4, t, -1.453_152);
    p = fused(p, t, 1.421_413_7);
    p = fused(p, t, -0.284_496_72);
    p = fused(p, t, 0.254_829_6);
    let magnitude = 1.0 - p * t * exp(-a * a);
    magnitude.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_is_close_to_the_exact_value() {
        // From Python: x * 0.5 * (1 + math.erf(x / math.sqrt(2))).
        let cases = [
            (-6.0, -5.919_474e-9),
            (-2.0, -0.045_500_264),
            (-0.5, -0.154_268_77),
            (0.0, 0.0),
            (0.3, 0.185_373_42),
            (1.0, 0.841_344_7),
            (4.0, 3.999_873_3),
        ];
        for (x, exact) in cases {
            assert!((gelu(x) - exact).abs() < 1e-6, "gelu({x}) is {} and should be {exact}", gelu(x));
        }
    }

    #[test]
    fn a_norm_gives_mean_0_and_variance_1() {
        let mut row: Vec<f32> = (0..37).map(|i| (i * i % 17) as f32 * 3.0 + 100.0).collect();
        let mut norm = Norm { weight: vec![1.0; 37], shift: Vec::new(), epsilon: 0.0 };
        norm.apply(&mut row);
        assert!(row.iter().sum::<f32>().abs() < 1e-3);
        assert!((row.iter().map(|x| x * x).sum::<f32>() / 37.0 - 1.0).abs() < 1e-4);
        let plain = row.clone();
        (norm.weight, norm.shift) = (vec![2.0; 37], vec![0.5; 37]);
        norm.apply(&mut row);
        assert!(row.iter().zip(plain).all(|(x, y)| (x - (2.0 * y + 0.5)).abs() < 1e-5));
    }

    #[test]
    fn rows_are_added_before_they_are_normalised() {
        let team = Team::new("test", 2).unwrap();
        let norm = Norm { weight: vec![1.0, 2.0], shift: vec![0.0, 1.0], epsilon: 0.0 };
        let mut rows = vec![1.0, 0.0, 0.0, 5.0];
        norm.residual_rows(&team, &mut rows, &[0.0, 1.0, 0.0, 0.0], &[0.0, 2.0]);
        assert_eq!(rows, [-1.0, 3.0, -1.0, 3.0]);
        let mut rows = vec![1.0, 0.0, 0.0, 5.0];
        norm.residual_rows(&team, &mut rows, &[0.0, 3.0, 9.0, 0.0], &[]);
        assert_eq!(rows, [-1.0, 3.0, 1.0, -1.0]);
    }
}
