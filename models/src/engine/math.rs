//! The small operations between the matrices. Sums run in sixteen lanes, so that their order does not depend on the machine,
//! and loops are written so that the compiler vectorises them.

use super::shared::for_rows;
use super::team::Team;

/// Sums that run side by side.
const LANES: usize = 16;

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

/// The same for one row in place.
pub fn rms_norm_row(row: &mut [f32], weights: &[f32], epsilon: f32) {
    let scale = inverse_root_mean_square(row, epsilon);
    for (value, weight) in row.iter_mut().zip(weights) {
        *value = *value * scale * weight;
    }
}

/// One over the root of the mean square.
pub fn inverse_root_mean_square(row: &[f32], epsilon: f32) -> f32 {
    let mean = sum(row, |x| x * x) / row.len() as f32;
    1.0 / (mean + epsilon).sqrt()
}

/// Computes `silu(gate) * up` for rows that hold the gates first and the ups after them (SwiGLU,
/// <https://arxiv.org/abs/2002.05202>).
pub fn swiglu(team: &Team, gates_and_ups: &[f32], width: usize, output: &mut [f32]) {
    gated(team, gates_and_ups, width, output, silu);
}

/// The same with GELU in place of SiLU, by the hyperbolic tangent (GEGLU, <https://arxiv.org/abs/2002.05202>).
pub fn geglu(team: &Team, gates_and_ups: &[f32], width: usize, output: &mut [f32]) {
    gated(team, gates_and_ups, width, output, gelu_tanh);
}

fn gated(
    team: &Team,
    gates_and_ups: &[f32],
    width: usize,
    output: &mut [f32],
    activation: impl Fn(f32) -> f32 + Copy + Sync,
) {
    for_rows(team, output, width, |row, output| {
        let (gates, ups) = gates_and_ups[2 * row * width..2 * (row + 1) * width].split_at(width);
        for ((output, gate), up) in output.iter_mut().zip(gates).zip(ups) {
            *output = activation(*gate) * up;
        }
    });
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))` (<https://arxiv.org/abs/1606.08415>), where `(1 + tanh y)/2` is
/// `1/(1 + e⁻²ʸ)`.
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const TWICE: f32 = 1.595_769; // 2 √(2/π)
    let cube = 0.044_715 * x * x * x;
    x / (1.0 + exp(-TWICE * (x + cube)))
}

/// Adds `more` to rows of some width.
pub fn add(team: &Team, values: &mut [f32], width: usize, more: &[f32]) {
    for_rows(team, values, width, |row, values| {
        for (value, more) in values.iter_mut().zip(&more[row * width..(row + 1) * width]) {
            *value += more;
        }
    });
}

/// Puts `e^(x - greatest)` in the place of each `x` of a row and gives their sum, which is not 0.
pub fn exponentials(row: &mut [f32]) -> f32 {
    let mut greatest = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (greatest, x) in greatest.iter_mut().zip(chunk) {
            *greatest = if *x > *greatest { *x } else { *greatest };
        }
    }
    let greatest = greatest.iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *x = exp(*x - greatest);
            *lane += *x;
        }
    }
    let mut sum = lanes.iter().sum();
    for x in rest {
        *x = exp(*x - greatest);
        sum += *x;
    }
    sum
}

/// Sum of a function of the numbers, in sixteen lanes.
#[inline(always)]
pub fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += of(*x);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|x| of(*x)).sum::<f32>()
}

/// `a · b + c`, in one instruction where the build has it; elsewhere `mul_add` would be a slow call.
#[inline(always)]
pub fn fused(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
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
    let shifted = fused(clamped, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let rest = fused(n, -LN2_LOW, fused(n, -LN2_HIGH, clamped));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1f32.to_bits()));
    let square = rest * rest;
    let upper = fused(f32::from_bits(0x3c07_2010), rest, f32::from_bits(0x3d2b_9f17));
    let middle = fused(f32::from_bits(0x3e2a_af33), rest, f32::from_bits(0x3eff_fedb));
    let series = fused(fused(upper, square, middle), square, f32::from_bits(0x3f7f_fff6) * rest);
    let result = fused(power, series, power);
    if x < -87.0 { 0.0 } else { result }
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
    fn exponentials_survive_large_numbers() {
        for length in [1, 5, 16, 33] {
            let mut row: Vec<f32> = (0..length).map(|i| (i as f32 - 3.0) * 200.0).collect();
            let sum = exponentials(&mut row);
            assert!((row.iter().sum::<f32>() - sum).abs() < 1e-6 * sum);
            assert!(row[length - 1] / sum > 0.99);
        }
    }

    #[test]
    fn gates_are_those_of_the_textbook() {
        // From Python: x * 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), and x / (1 + math.exp(-x)).
        let cases = [
            (-3.0, -0.003_637_392, -0.142_277_62),
            (-0.5, -0.154_286, -0.188_770_33),
            (0.0, 0.0, 0.0),
            (0.7, 0.530_570_14, 0.467_731_53),
            (5.0, 4.999_999_8, 4.966_535_7),
        ];
        for (x, gelu, sigmoid) in cases {
            assert!((gelu_tanh(x) - gelu).abs() < 1e-6, "{x}: {}", gelu_tanh(x));
            assert!((silu(x) - sigmoid).abs() < 1e-6, "{x}: {}", silu(x));
        }
        assert!(gelu_tanh(-60.0).abs() < 1e-30 && gelu_tanh(60.0) == 60.0);
    }
}
