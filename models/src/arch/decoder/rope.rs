//! Rotary positions (RoPE, <https://arxiv.org/abs/2104.09864>): pairs of a head's values are turned by an angle that grows
//! with the position. The ways to stretch contexts all come down to another frequency of each pair.

use std::f64::consts::TAU;

use crate::engine::math::fused;

/// Which values of a head are turned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// 2i with 2i + 1: GGUF files of Llama's relatives, whose rows were put in that order.
    Neighbours,
    /// i with i + half of what is turned: everything else.
    Halves,
}

/// How a head is turned.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// The first values of a head, which are turned; the others stay.
    pub dimensions: usize,
    /// Base of the frequencies.
    pub base: f32,
    /// Frequencies are multiplied by this.
    pub scale: f32,
    /// Frequencies are divided by these.
    pub divisors: Divisors,
    /// Turned values are multiplied by it.
    pub magnitude: f32,
}

/// A factor for each pair.
#[derive(Clone, Debug, PartialEq)]
pub enum Divisors {
    /// None.
    None,
    /// The same ones however long a sequence is.
    Fixed(Vec<f32>),
    /// LongRoPE (<https://arxiv.org/abs/2402.13753>): others where sequences may be longer than those of the training.
    ByLength {
        /// Longest sequence of the training.
        trained: usize,
        /// Up to that.
        short: Vec<f32>,
        /// Beyond it.
        long: Vec<f32>,
    },
}

impl RopeConfig {
    /// Without anything special.
    pub fn plain(dimensions: usize, base: f32) -> Self {
        Self { dimensions, base, scale: 1.0, divisors: Divisors::None, magnitude: 1.0 }
    }

    /// Makes sure that it fits to a head.
    ///
    /// # Errors
    /// A reason.
    pub fn check(&self, head_length: usize) -> Result<(), String> {
        let dimensions = self.dimensions;
        if dimensions == 0 || dimensions > head_length || !dimensions.is_multiple_of(2) {
            return Err(format!("{dimensions} of {head_length} values in a head cannot be turned by their position"));
        }
        let positive = |value: f32| value.is_finite() && value > 0.0;
        if !positive(self.base) || !positive(self.scale) || !positive(self.magnitude) {
            return Err("base, scaling and attention factor of its rotary positions must be positive numbers".into());
        }
        let lists: &[&Vec<f32>] = match &self.divisors {
            Divisors::None => &[],
            Divisors::Fixed(divisors) => &[divisors],
            Divisors::ByLength { short, long, .. } => &[short, long],
        };
        for divisors in lists {
            if divisors.len() != dimensions / 2 || !divisors.iter().all(|divisor| positive(*divisor)) {
                return Err(format!(
                    "its rotary positions have {} factors and should have {}, all positive",
                    divisors.len(),
                    dimensions / 2
                ));
            }
        }
        Ok(())
    }
}

/// The angles of one way to turn heads.
pub struct Rope {
    frequencies: Vec<f32>,
    magnitude: f32,
}

impl Rope {
    /// For sequences of at most so many positions.
    pub fn new(config: &RopeConfig, positions: usize) -> Self {
        let divisors: &[f32] = match &config.divisors {
            Divisors::None => &[],
            Divisors::Fixed(divisors) => divisors,
            Divisors::ByLength { trained, short, long } => {
                if positions > *trained {
                    long
                } else {
                    short
                }
            }
        };
        let frequencies = (0..config.dimensions / 2).map(|pair| {
            let divisor = divisors.get(pair).copied().unwrap_or(1.0);
            let frequency = frequency(config.base, config.dimensions, pair);
            (f64::from(config.scale) * frequency / f64::from(divisor)) as f32
        });
        Self { frequencies: frequencies.collect(), magnitude: config.magnitude }
    }

    /// Appends cosine and sine of every pair at a position.
    pub fn angles(&self, position: usize, output: &mut Vec<(f32, f32)>) {
        for frequency in &self.frequencies {
            let (sine, cosine) = (position as f32 * frequency).sin_cos();
            output.push((cosine * self.magnitude, sine * self.magnitude));
        }
    }
}

fn frequency(base: f32, dimensions: usize, pair: usize) -> f64 {
    f64::from(base).powf(-2.0 * pair as f64 / dimensions as f64)
}

/// Turns the first values of one head in place, two for each angle.
pub fn rotate(pairing: Pairing, head: &mut [f32], angles: &[(f32, f32)]) {
    let turn = |a: f32, b: f32, (cosine, sine): (f32, f32)| (fused(a, cosine, -(b * sine)), fused(a, sine, b * cosine));
    match pairing {
        Pairing::Neighbours => {
            for (pair, angle) in head.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
                (pair[0], pair[1]) = turn(pair[0], pair[1], *angle);
            }
        }
        Pairing::Halves => {
            let (first, second) = head.split_at_mut(angles.len());
            for ((a, b), angle) in first.iter_mut().zip(second).zip(angles) {
                (*a, *b) = turn(*a, *b, *angle);
            }
        }
    }
}

/// How Llama 3.1 stretches contexts: slow pairs are slowed down by `factor`, quick ones stay, those between in part.
#[derive(Clone, Copy, Debug)]
pub struct Llama3 {
    /// How much longer sequences become.
    pub factor: f32,
    /// Pairs that turn less often than this over a sequence of the training are slow.
    pub low: f32,
    /// Pairs that turn more often are quick.
    pub high: f32,
    /// Longest sequence of the training.
    pub trained: usize,
}

impl Llama3 {
    /// The factors of all pairs.
    pub fn divisors(&self, dimensions: usize, base: f32) -> Divisors {
        let divisors = (0..dimensions / 2).map(|pair| {
            let turns = self.trained as f64 * frequency(base, dimensions, pair) / TAU;
            let share = (turns - f64::from(self.low)) / f64::from(self.high - self.low);
            blend(share, self.factor)
        });
        Divisors::Fixed(divisors.collect())
    }
}

/// YaRN (<https://arxiv.org/abs/2309.00071>): the same idea, with a ramp over the number of the pair.
#[derive(Clone, Copy, Debug)]
pub struct Yarn {
    /// How much longer sequences become.
    pub factor: f32,
    /// Turns over a sequence of the training from which on pairs are quick.
    pub fast: f32,
    /// Turns below which they are slow.
    pub slow: f32,
    /// Longest sequence of the training.
    pub trained: usize,
}

impl Yarn {
    /// The factors of all pairs.
    pub fn divisors(&self, dimensions: usize, base: f32) -> Divisors {
        // The pair that turns so often, as a fraction.
        let pair = |turns: f32| {
            let length = self.trained as f64 / (f64::from(turns) * TAU);
            dimensions as f64 * length.ln() / (2.0 * f64::from(base).ln())
        };
        let first = pair(self.fast).floor().max(0.0);
        let last = pair(self.slow).ceil().min(dimensions as f64 - 1.0);
        let last = if first == last { last + 0.001 } else { last };
        let divisors = (0..dimensions / 2).map(|pair| blend(1.0 - (pair as f64 - first) / (last - first), self.factor));
        Divisors::Fixed(divisors.collect())
    }

    /// What turned values are multiplied by where the files do not say it.
    pub fn magnitude(&self) -> f32 {
        if self.factor <= 1.0 { 1.0 } else { 0.1 * self.factor.ln() + 1.0 }
    }
}

/// The divisor of a frequency of which a share stays and the rest is divided by `factor`.
fn blend(share: f64, factor: f32) -> f32 {
    let share = share.clamp(0.0, 1.0);
    (1.0 / (share + (1.0 - share) / f64::from(factor))) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_turn_and_keep_their_length() {
        let rope = Rope::new(&RopeConfig::plain(4, 10_000.0), 100);
        let mut angles = Vec::new();
        rope.angles(3, &mut angles);
        let mut head = [1.0, 0.0, 0.0, 2.0, 7.0];
        rotate(Pairing::Neighbours, &mut head, &angles);
        assert!((head[0] - 3f32.cos()).abs() < 1e-6 && (head[1] - 3f32.sin()).abs() < 1e-6);
        assert!((head[2].hypot(head[3]) - 2.0).abs() < 1e-6);
        assert!((head[3] - 2.0 * 0.03f32.cos()).abs() < 1e-6);
        let mut other = [1.0, 0.0, 0.0, 2.0, 7.0];
        rotate(Pairing::Halves, &mut other, &angles);
        assert_eq!([other[0], other[2], other[1], other[3], 7.0], head);
    }

    #[test]
    fn long_sequences_take_other_factors() {
        let divisors = Divisors::ByLength { trained: 50, short: vec![1.0, 2.0], long: vec![4.0, 8.0] };
        let config = RopeConfig { divisors, magnitude: 0.5, ..RopeConfig::plain(4, 10_000.0) };
        assert_eq!(Rope::new(&config, 50).frequencies, [1.0, 0.005]);
        assert_eq!(Rope::new(&config, 51).frequencies, [0.25, 0.00125]);
        let mut angles = Vec::new();
        Rope::new(&config, 50).angles(0, &mut angles);
        assert_eq!(angles, [(0.5, 0.0); 2]);
    }

    #[test]
    fn slow_pairs_are_slowed_down_and_quick_ones_stay() {
        let llama = Llama3 { factor: 8.0, low: 1.0, high: 4.0, trained: 8192 };
        let yarn = Yarn { factor: 8.0, fast: 32.0, slow: 1.0, trained: 8192 };
        for divisors in [llama.divisors(128, 500_000.0), yarn.divisors(128, 500_000.0)] {
            let Divisors::Fixed(divisors) = divisors else { unreachable!() };
            assert_eq!((divisors.len(), divisors[0], divisors[63]), (64, 1.0, 8.0));
            assert!(divisors.is_sorted() && divisors.iter().any(|d| (2.0..6.0).contains(d)), "{divisors:?}");
        }
        assert!((yarn.magnitude() - 1.207_944).abs() < 1e-5);
    }
}
