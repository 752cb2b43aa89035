//! Chooses the next token from the network's scores.

use crate::{ModelError, Sampling};

/// Candidates that are sorted at first.
const SORTED: usize = 256;

/// Chooses tokens for one answer.
pub struct Sampler {
    sampling: Sampling,
    random: SplitMix64,
    candidates: Vec<(f32, u32)>,
}

impl Sampler {
    /// For one answer; random sampling starts from its seed.
    pub fn new(sampling: Sampling) -> Self {
        let seed = match sampling {
            Sampling::Greedy => 0,
            Sampling::Random { seed, .. } => seed,
        };
        Self { sampling, random: SplitMix64 { state: seed }, candidates: Vec::new() }
    }

    /// The next token.
    ///
    /// # Errors
    /// [`ModelError::Compute`] when a score is not a number, or the highest is not finite.
    pub fn choose(&mut self, scores: &[f32]) -> Result<u32, ModelError> {
        let best = best(scores);
        // What a grammar forbids has a score of -∞.
        if scores.iter().any(|score| score.is_nan())
            || !scores.get(best as usize).is_some_and(|score| score.is_finite())
        {
            return Err(ModelError::Compute("the network yields scores that are not numbers".into()));
        }
        match self.sampling {
            // A temperature of 0 or less means "no chance", as other servers read it.
            Sampling::Random { temperature, top_p, top_k, .. } if temperature > 0.0 => {
                Ok(self.draw(scores, scores[best as usize], temperature, top_p, top_k))
            }
            _ => Ok(best),
        }
    }

    fn draw(&mut self, scores: &[f32], largest: f32, temperature: f32, top_p: f32, top_k: usize) -> u32 {
        let candidates = &mut self.candidates;
        candidates.clear();
        candidates
            .extend(scores.iter().zip(0..).map(|(score, token)| (((score - largest) / temperature).exp(), token)));
        let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if top_k > 0 && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, order);
            candidates.truncate(top_k);
        }
        let limit = top_p * candidates.iter().map(|(weight, _)| weight).sum::<f32>();
        // The likeliest few hold nearly all of the weight: only as many are sorted as are needed.
        let (mut sorted, mut count, mut kept) = (0, 0, 0.0);
        while count < candidates.len() && (count == 0 || kept < limit) {
            if count == sorted {
                let rest = &mut candidates[sorted..];
                let more = rest.len().min(SORTED.max(sorted));
                if more < rest.len() {
                    rest.select_nth_unstable_by(more - 1, order);
                }
                rest[..more].sort_unstable_by(order);
                sorted += more;
            }
            // What is impossible or forbidden stays so where rounding leaves the sum below the limit.
            if candidates[count].0 == 0.0 {
                break;
            }
            kept += candidates[count].0;
            count += 1;
        }
        let mut rest = self.random.unit() * kept;
        for (weight, token) in &candidates[..count] {
            rest -= weight;
            if rest < 0.0 {
                return *token;
            }
        }
        candidates[count - 1].1
    }
}

/// The highest score; among equals the lowest token.
fn best(scores: &[f32]) -> u32 {
    let mut best = 0;
    for (token, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = token;
        }
    }
    best as u32
}

/// A small generator with good statistics (Steele, Lea and Flood 2014, <https://doi.org/10.1145/2714064.2660195>).
struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1), in steps that an f32 can hold.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(temperature: f32, top_p: f32, top_k: usize, seed: u64) -> Sampler {
        Sampler::new(Sampling::Random { temperature, top_p, top_k, seed })
    }

    #[test]
    fn greedy_takes_the_lowest_of_equals() {
        let mut sampler = Sampler::new(Sampling::Greedy);
        assert_eq!(sampler.choose(&[1.0, 3.0, 3.0, 2.0]).unwrap(), 1);
        assert!(sampler.choose(&[1.0, f32::NAN]).is_err());
    }

    #[test]
    fn random_follows_the_probabilities() {
        let scores = [2f32.ln(), 1f32.ln(), 1f32.ln()];
        let mut sampler = random(1.0, 1.0, 0, 11);
        let mut counts = [0; 3];
        for _ in 0..8000 {
            counts[sampler.choose(&scores).unwrap() as usize] += 1;
        }
        assert!((3800..4200).contains(&counts[0]), "{counts:?}");
        assert!((1850..2150).contains(&counts[1]), "{counts:?}");
    }

    #[test]
    fn limits_keep_the_likeliest_only() {
        let scores = [0.0, 3.0, 2.9, 1.0];
        for seed in 0..200 {
            assert!([1, 2].contains(&random(1.0, 1.0, 2, seed).choose(&scores).unwrap()));
            assert_eq!(random(1.0, 0.1, 0, seed).choose(&scores).unwrap(), 1);
        }
    }

    #[test]
    fn a_seed_gives_the_same_tokens() {
        let scores: Vec<f32> = (0..50).map(|i| (i as f32).sin()).collect();
        let draw = |seed| {
            let mut sampler = random(0.8, 0.95, 40, seed);
            (0..20).map(|_| sampler.choose(&scores).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    #[test]
    fn sorting_a_few_draws_as_sorting_all_does() {
        let mut noise = SplitMix64 { state: 1 };
        for spread in [0.0, 1.0, 30.0] {
            let scores: Vec<f32> = (0..3000).map(|_| noise.unit() * spread).collect();
            for (top_p, seed) in [(1.0, 1), (0.9, 2), (0.5, 3), (0.0, 4)] {
                let weights: Vec<f32> =
                    scores.iter().map(|score| (score - scores[best(&scores) as usize]).exp()).collect();
                let mut order: Vec<usize> = (0..scores.len()).collect();
                order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]).then(a.cmp(b)));
                let limit = top_p * weights.iter().sum::<f32>();
                let (mut kept, mut count) = (0.0, 0);
                while count == 0 || (count < order.len() && kept < limit) {
                    kept += weights[order[count]];
                    count += 1;
                }
                let mut rest = SplitMix64 { state: seed }.unit() * kept;
                let drawn = order[..count].iter().find(|token| {
                    rest -= weights[**token];
                    rest < 0.0
                });
                let token = random(1.0, top_p, 0, seed).choose(&scores).unwrap() as usize;
                assert_eq!(token, *drawn.unwrap_or(&order[count - 1]), "{spread} {top_p}");
            }
        }
    }

    #[test]
    fn what_is_forbidden_is_never_drawn_and_infinity_is_an_error() {
        let scores = [f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY];
        for seed in 0..50 {
            assert_eq!(random(1.0, 1.0, 0, seed).choose(&scores).unwrap(), 1);
        }
        // Sums of so many round differently in another order.
        let many: Vec<f32> = (0..9000).map(|i| if i % 3 == 0 { f32::NEG_INFINITY } else { (i as f32).sin() }).collect();
        for seed in 0..300 {
            assert!(!random(1.0, 1.0, 0, seed).choose(&many).unwrap().is_multiple_of(3));
        }
        for bad in [&[][..], &[f32::NEG_INFINITY; 2], &[0.0, f32::INFINITY, 1.0]] {
            assert!(random(1.0, 1.0, 0, 1).choose(bad).is_err());
            assert!(Sampler::new(Sampling::Greedy).choose(bad).is_err());
        }
    }
}
