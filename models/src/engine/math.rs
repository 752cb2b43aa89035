//! The small operations between the matrices. Sums run in eight lanes, so that their order does not depend on the machine.

use super::shared::for_rows;
use super::team::Team;

/// Sums that run side by side.
const LANES: usize = 8;

/// Divides each row by the root of its mean square and multiplies by weights (RMSNorm, <https://arxiv.org/abs/1910.07467>).
pub fn rms_norm(team: &Team, input: &[f32], weights: &[f32], epsilon: f32, output: &mut [f32]) {
    let columns = weights.len();
    for_rows(team, output, columns, |row, output| {
        let input = &input[row * columns..(row + 1) * columns];
        let scale = inverse_root_mean_square(input, epsilon);
        for ((output, value), weight) in output.iter_mut().zip(input).zip(weights) {
            *output = value * scale * weight;
        }
    });
}

/// One over the root of the mean square.
pub fn inverse_root_mean_square(row: &[f32], epsilon: f32) -> f32 {
    let mut sums = [0f32; LANES];
    let (parts, rest) = row.as_chunks::<LANES>();
    for part in parts {
        for (sum, value) in sums.iter_mut().zip(part) {
            *sum = value.mul_add(*value, *sum);
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum = value.mul_add(*value, *sum);
    }
    let mean = sums.iter().sum::<f32>() / row.len() as f32;
    1.0 / (mean + epsilon).sqrt()
}

/// Computes `silu(gate) * up` for rows that hold the gates first and the ups after them (SwiGLU,
/// <https://arxiv.org/abs/2002.05202>).
pub fn swiglu(team: &Team, gates_and_ups: &[f32], width: usize, output: &mut [f32]) {
    for_rows(team, output, width, |row, output| {
        let (gates, ups) = gates_and_ups[2 * row * width..2 * (row + 1) * width].split_at(width);
        for ((output, gate), up) in output.iter_mut().zip(gates).zip(ups) {
            *output = gate / (1.0 + exp(-gate)) * up;
        }
    });
}

/// Adds `more` to rows of some width.
pub fn add(team: &Team, values: &mut [f32], width: usize, more: &[f32]) {
    for_rows(team, values, width, |row, values| {
        for (value, more) in values.iter_mut().zip(&more[row * width..(row + 1) * width]) {
            *value += more;
        }
    });
}

/// e to the power of x, to 1.5 units in the last place; 0 below -87, so that the loops around it become vectors.
///
/// The polynomial is that of ARM's optimised routines, which ggml uses too (`ggml_v_expf`).
#[inline]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to a whole number
    const LN2_HIGH: f32 = f32::from_bits(0x3f31_7200);
    const LN2_LOW: f32 = f32::from_bits(0x35bf_be8e);
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let rest = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, clamped));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1f32.to_bits()));
    let square = rest * rest;
    let upper = f32::from_bits(0x3c07_2010).mul_add(rest, f32::from_bits(0x3d2b_9f17));
    let middle = f32::from_bits(0x3e2a_af33).mul_add(rest, f32::from_bits(0x3eff_fedb));
    let series = upper.mul_add(square, middle).mul_add(square, f32::from_bits(0x3f7f_fff6) * rest);
    let result = power.mul_add(series, power);
    if x < -87.0 { 0.0 } else { result }
}

/// Turns pairs of neighbours by an angle that grows with the position (RoPE, <https://arxiv.org/abs/2104.09864>),
/// pairing 2i with 2i+1 as GGUF files of this family expect.
pub struct Rope {
    /// Divides the angle of each pair; from the tensor `rope_freqs`, else ones.
    divisors: Vec<f32>,
    step: f32,
    /// Positions are multiplied by this (linear scaling).
    scale: f32,
}

impl Rope {
    /// For the first `2 * divisors.len()` values of a head.
    pub fn new(base: f32, scale: f32, divisors: Vec<f32>) -> Self {
        let dimensions = 2 * divisors.len();
        Self { divisors, step: base.powf(-2.0 / dimensions as f32), scale }
    }

    /// Appends cosine and sine of every pair at a position.
    pub fn angles(&self, position: usize, output: &mut Vec<(f32, f32)>) {
        let mut angle = position as f32;
        for divisor in &self.divisors {
            let (sine, cosine) = (self.scale * (angle / divisor)).sin_cos();
            output.push((cosine, sine));
            angle *= self.step;
        }
    }

    /// How many pairs there are.
    pub fn pairs(&self) -> usize {
        self.divisors.len()
    }
}

/// Turns one head in place.
pub fn rotate(head: &mut [f32], angles: &[(f32, f32)]) {
    for (pair, (cosine, sine)) in head.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
        let [a, b] = *pair;
        *pair = [a.mul_add(*cosine, -(b * sine)), a.mul_add(*sine, b * cosine)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_everywhere() {
        for i in -8700..=8800 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
        assert_eq!(exp(-200.0), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn rope_turns_and_keeps_length() {
        let rope = Rope::new(10_000.0, 1.0, vec![1.0; 2]);
        let mut angles = Vec::new();
        rope.angles(3, &mut angles);
        let mut head = [1.0, 0.0, 0.0, 2.0];
        rotate(&mut head, &angles);
        assert!((head[0] - 3f32.cos()).abs() < 1e-6 && (head[1] - 3f32.sin()).abs() < 1e-6);
        assert!((head[2].hypot(head[3]) - 2.0).abs() < 1e-6);
        assert!((head[3] - 2.0 * 0.03f32.cos()).abs() < 1e-6);
    }
}
