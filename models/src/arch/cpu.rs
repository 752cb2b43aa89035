//! The element-wise parts of an encoder and its attention on the processor, as candle operations.
//!
//! candle 0.11 runs GELU on one thread through `libm` and has no attention over packed sequences; here the loops are
//! written so that the compiler vectorises them, and rows are shared out over the threads. Matrix products stay candle's.
//! A batch is *packed*: the rows of all its sequences one after another, without padding.

use candle_core::{CpuStorage, CustomOp1, InplaceOp1, InplaceOp2, Layout, Result, Shape, bail};
use rayon::prelude::*;

/// Rows and columns that [`block`] computes at once: 4 × 16 sums stay in registers.
const ROWS: usize = 4;
const COLUMNS: usize = 16;

/// Rows for one task; fewer are not worth handing to another thread.
const ROWS_PER_TASK: usize = 16;

/// Adds a bias to every row and applies the activation, in place.
pub struct BiasActivation<'a> {
    /// One number per column.
    pub bias: &'a [f32],
    /// Which activation.
    pub activation: Activation,
}

/// The activation between the two halves of a feed-forward layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · Φ(x)` with the error function (Hendrycks and Gimpel, arXiv:1606.08415).
    Gelu,
    /// `max(x, 0)`.
    Relu,
}

/// `layer_norm(x + residual + bias) · weight + shift` over the last dimension, in place.
pub struct ResidualNorm<'a> {
    /// Added to every row before.
    pub bias: &'a [f32],
    /// Multiplied after.
    pub weight: &'a [f32],
    /// Added after.
    pub shift: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// Full self-attention within each sequence of a packed batch: `[tokens, 3 · hidden]` (queries, keys, values, without
/// their bias) to `[tokens, hidden]`.
pub struct PackedAttention<'a> {
    /// Bias of queries, keys and values, `3 · hidden` numbers.
    pub bias: &'a [f32],
    /// Tokens of each sequence, in order.
    pub lengths: &'a [usize],
    /// Attention heads.
    pub heads: usize,
}

impl InplaceOp1 for BiasActivation<'_> {
    fn name(&self) -> &'static str {
        "bias-activation"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let rows = rows_mut(storage, layout)?;
        rows.par_chunks_mut(self.bias.len() * ROWS_PER_TASK).for_each(|task| {
            for row in task.chunks_exact_mut(self.bias.len()) {
                match self.activation {
                    Activation::Gelu => map_with_bias(row, self.bias, gelu),
                    Activation::Relu => map_with_bias(row, self.bias, |x| x.max(0.0)),
                }
            }
        });
        Ok(())
    }
}

impl InplaceOp2 for ResidualNorm<'_> {
    fn name(&self) -> &'static str {
        "residual-norm"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, x_layout: &Layout, residual: &CpuStorage, layout: &Layout) -> Result<()> {
        let residual = rows(residual, layout)?;
        let x = rows_mut(x, x_layout)?;
        let task = self.bias.len() * ROWS_PER_TASK;
        x.par_chunks_mut(task).zip(residual.par_chunks(task)).for_each(|(x, residual)| {
            let rows = x.chunks_exact_mut(self.bias.len()).zip(residual.chunks_exact(self.bias.len()));
            for (row, residual) in rows {
                self.row(row, residual);
            }
        });
        Ok(())
    }
}

impl ResidualNorm<'_> {
    fn row(&self, row: &mut [f32], residual: &[f32]) {
        for ((x, r), b) in row.iter_mut().zip(residual).zip(self.bias) {
            *x += r + b;
        }
        let scale = 1.0 / row.len() as f32;
        let mean = sum(row, |x| x) * scale;
        let variance = sum(row, |x| (x - mean) * (x - mean)) * scale;
        let inverse = 1.0 / (variance + self.epsilon).sqrt();
        for ((x, w), s) in row.iter_mut().zip(self.weight).zip(self.shift) {
            *x = (*x - mean) * inverse * w + s;
        }
    }
}

impl CustomOp1 for PackedAttention<'_> {
    fn name(&self) -> &'static str {
        "packed-attention"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let qkv = rows(storage, layout)?;
        let hidden = self.bias.len() / 3;
        let tokens: usize = self.lengths.iter().sum();
        if qkv.len() != tokens * hidden * 3 || !hidden.is_multiple_of(self.heads) {
            bail!("packed attention: {} numbers for {tokens} tokens of {hidden} in {} heads", qkv.len(), self.heads);
        }
        let mut tasks = Vec::with_capacity(self.lengths.len() * self.heads);
        let mut start = 0;
        for &length in self.lengths {
            for head in 0..self.heads {
                tasks.push((start, length, head));
            }
            start += length;
        }
        let parts: Vec<Vec<f32>> = tasks
            .par_iter()
            .map(|&(start, length, head)| {
                self.head(&qkv[start * hidden * 3..(start + length) * hidden * 3], length, head)
            })
            .collect();
        let size = hidden / self.heads;
        let mut out = vec![0.0; tokens * hidden];
        for (&(start, length, head), part) in tasks.iter().zip(&parts) {
            for row in 0..length {
                let to = (start + row) * hidden + head * size;
                out[to..to + size].copy_from_slice(&part[row * size..(row + 1) * size]);
            }
        }
        Ok((CpuStorage::F32(out), Shape::from((tokens, hidden))))
    }
}

impl PackedAttention<'_> {
    /// One head over one sequence: `softmax(q · kᵀ / √size) · v`.
    fn head(&self, qkv: &[f32], length: usize, head: usize) -> Vec<f32> {
        let hidden = self.bias.len() / 3;
        let size = hidden / self.heads;
        let (wide, long) = (size.next_multiple_of(COLUMNS), length.next_multiple_of(COLUMNS));
        let scale = 1.0 / (size as f32).sqrt();

        // Queries scaled, keys transposed, values as they are; all padded with zeros to whole blocks.
        let mut queries = vec![0.0; length.next_multiple_of(ROWS) * size];
        let mut keys = vec![0.0; size * long];
        let mut values = vec![0.0; length * wide];
        for row in 0..length {
            let from = row * hidden * 3 + head * size;
            let part = |which: usize| {
                let bias = &self.bias[which * hidden + head * size..][..size];
                qkv[from + which * hidden..][..size].iter().zip(bias).map(|(x, b)| x + b)
            };
            for (q, x) in queries[row * size..].iter_mut().zip(part(0)) {
                *q = x * scale;
            }
            for (column, x) in part(1).enumerate() {
                keys[column * long + row] = x;
            }
            for (v, x) in values[row * wide..].iter_mut().zip(part(2)) {
                *v = x;
            }
        }

        let mut out = vec![0.0; length * size];
        let mut scores = vec![0.0; ROWS * long];
        for first in (0..length).step_by(ROWS) {
            let q = four(&queries[first * size..], size, size);
            for column in (0..long).step_by(COLUMNS) {
                let sums = block(q, &keys[column..], long);
                for (row, sums) in sums.iter().enumerate() {
                    scores[row * long + column..][..COLUMNS].copy_from_slice(sums);
                }
            }
            for row in scores.chunks_exact_mut(long) {
                softmax(&mut row[..length]);
            }
            let p = four(&scores, long, length);
            for column in (0..size).step_by(COLUMNS) {
                let sums = block(p, &values[column..], wide);
                let width = COLUMNS.min(size - column);
                for (row, sums) in sums.iter().enumerate().take(length - first) {
                    out[(first + row) * size + column..][..width].copy_from_slice(&sums[..width]);
                }
            }
        }
        out
    }
}

/// The first `length` numbers of four rows that lie `stride` apart.
fn four(data: &[f32], stride: usize, length: usize) -> [&[f32]; ROWS] {
    std::array::from_fn(|row| &data[row * stride..row * stride + length])
}

/// Four rows times sixteen columns: `a[r] · b[.., c]`, where the rows of `b` lie `stride` apart.
#[inline]
fn block(a: [&[f32]; ROWS], b: &[f32], stride: usize) -> [[f32; COLUMNS]; ROWS] {
    let mut sums = [[0.0; COLUMNS]; ROWS];
    let [a0, a1, a2, a3] = a;
    let rows = a0.iter().zip(a1).zip(a2.iter().zip(a3)).zip(b.chunks(stride));
    for (((x0, x1), (x2, x3)), b) in rows {
        let Some(b) = b.first_chunk::<COLUMNS>() else { break };
        for column in 0..COLUMNS {
            sums[0][column] = fused(*x0, b[column], sums[0][column]);
            sums[1][column] = fused(*x1, b[column], sums[1][column]);
            sums[2][column] = fused(*x2, b[column], sums[2][column]);
            sums[3][column] = fused(*x3, b[column], sums[3][column]);
        }
    }
    sums
}

/// `a · b + c`, in one instruction where the build has it; elsewhere `mul_add` would be a slow call.
#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
}

fn softmax(row: &mut [f32]) {
    let mut greatest = [f32::NEG_INFINITY; COLUMNS];
    let chunks = row.chunks_exact(COLUMNS);
    let rest = chunks.remainder().iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    for chunk in chunks {
        for (greatest, x) in greatest.iter_mut().zip(chunk) {
            *greatest = if *x > *greatest { *x } else { *greatest };
        }
    }
    let greatest = greatest.iter().fold(rest, |a, b| a.max(*b));
    for x in row.iter_mut() {
        *x = exp(*x - greatest);
    }
    let scale = 1.0 / sum(row, |x| x);
    for x in row {
        *x *= scale;
    }
}

/// Sum of a function of the numbers, in sixteen lanes.
#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; COLUMNS];
    let chunks = row.chunks_exact(COLUMNS);
    let rest: f32 = chunks.remainder().iter().map(|x| of(*x)).sum();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += of(*x);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[inline(always)]
fn map_with_bias(row: &mut [f32], bias: &[f32], map: impl Fn(f32) -> f32) {
    for (x, b) in row.iter_mut().zip(bias) {
        *x = map(*x + b);
    }
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
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

/// `eˣ` to two units in the last place; 0 below −87 and largest near 88 (polynomial of the Cephes library's `expf`).
#[inline(always)]
fn exp(x: f32) -> f32 {
    // 1.5 · 2²³: adding it leaves the nearest whole number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x > 88.0 { 88.0 } else { x };
    let clamped = if clamped > -87.0 { clamped } else { -87.0 };
    let shifted = fused(clamped, std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let r = fused(whole, -0.693_359_4, clamped);
    let r = fused(whole, 2.121_944_4e-4, r);
    let mut p = fused(1.987_569_2e-4, r, 1.398_2e-3);
    p = fused(p, r, 8.333_452e-3);
    p = fused(p, r, 4.166_579_6e-2);
    p = fused(p, r, 1.666_666_5e-1);
    p = fused(p, r, 0.5);
    let p = fused(p, r * r, r) + 1.0;
    // The whole number is added to the exponent.
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

fn rows<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&data[start..end]),
        _ => bail!("only contiguous f32 tensors"),
    }
}

fn rows_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&mut data[start..end]),
        _ => bail!("only contiguous f32 tensors"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_exact_value() {
        for step in -8600..8700 {
            let x = step as f32 / 100.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1000.0) < 1e-37);
    }

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
    fn softmax_adds_up_to_one_and_survives_large_numbers() {
        for length in [1, 5, 16, 33] {
            let mut row: Vec<f32> = (0..length).map(|i| (i as f32 - 3.0) * 200.0).collect();
            softmax(&mut row);
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(row[length - 1] > 0.99);
        }
    }
}
