//! What a decoder is made of, and the bounds of it.

use super::rope::{Pairing, RopeConfig};
use crate::arch::sizes;

/// Positions that a sequence can have at most.
pub const MAX_CONTEXT: usize = 32_768;

/// What the files say of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Width of the residual stream.
    pub width: usize,
    /// Width between the feed-forward matrices.
    pub feed_forward: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Values in a head.
    pub head_length: usize,
    /// What is particular to each layer.
    pub layers: Vec<LayerConfig>,
    /// Which values of a head are turned together.
    pub pairing: Pairing,
    /// The ways to turn them; layers name theirs by its index.
    pub ropes: Vec<RopeConfig>,
    /// Scores of attention are multiplied by it.
    pub attention_scale: f32,
    /// On the gates of the feed-forward halves.
    pub activation: Activation,
    /// Embeddings are multiplied by it.
    pub embedding_scale: f32,
    /// Added to the mean square in norms.
    pub epsilon: f32,
    /// Added to the weights of norms as the files hold them.
    pub norm_offset: f32,
    /// Whether the heads of queries and keys are normed before they are turned.
    pub head_norms: bool,
    /// Whether the results of both halves of a layer are normed too before they are added.
    pub sandwich_norms: bool,
    /// Whether queries, keys and values must have a bias. One that other matrices have is added in any case.
    pub biased: bool,
    /// Whether the embeddings serve as output too.
    pub tied: bool,
    /// Positions that can be used.
    pub context: usize,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
}

/// What is particular to a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerConfig {
    /// How many positions a token sees, its own among them; all where it is absent.
    pub window: Option<usize>,
    /// Which of [`Config::ropes`] turns its queries and keys; none where it is absent.
    pub rope: Option<usize>,
}

/// What becomes of a gate before the multiplication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · σ(x)`.
    Silu,
    /// GELU with the hyperbolic tangent in place of the error function (<https://arxiv.org/abs/1606.08415>).
    GeluTanh,
}

impl Config {
    /// Numbers in the queries of a token.
    pub fn queries(&self) -> usize {
        self.heads * self.head_length
    }

    /// Numbers in the keys of a token, and in its values.
    pub fn keys(&self) -> usize {
        self.kv_heads * self.head_length
    }

    /// Makes sure that sizes are possible and fit together.
    ///
    /// # Errors
    /// A reason.
    pub fn check(&self) -> Result<(), String> {
        sizes::check(&[
            ("number of layers", self.layers.len(), sizes::LAYERS),
            ("width", self.width, sizes::WIDTH),
            ("feed-forward width", self.feed_forward, sizes::FEED_FORWARD),
            ("number of query heads", self.heads, sizes::HEADS),
            ("number of key heads", self.kv_heads, sizes::HEADS),
            ("head length", self.head_length, sizes::HEAD_LENGTH),
            ("context length", self.context, MAX_CONTEXT),
            ("vocabulary", self.vocabulary, sizes::VOCABULARY),
        ])?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!("{} query heads over {} key heads do not fit together", self.heads, self.kv_heads));
        }
        let numbers = [
            ("norm epsilon", self.epsilon),
            ("attention scale", self.attention_scale),
            ("embedding scale", self.embedding_scale),
        ];
        for (name, value) in numbers {
            if !(value.is_finite() && value > 0.0) {
                return Err(format!("its {name} is {value} and must be a positive number"));
            }
        }
        for layer in &self.layers {
            if layer.window == Some(0) || layer.rope.is_some_and(|rope| rope >= self.ropes.len()) {
                return Err("its layers see no positions, or turn them in a way that is not there".into());
            }
        }
        self.ropes.iter().try_for_each(|rope| rope.check(self.head_length))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::rope::Divisors;
    use super::*;

    /// Small, and like Llama.
    pub fn small() -> Config {
        Config {
            width: 32,
            feed_forward: 48,
            heads: 4,
            kv_heads: 2,
            head_length: 8,
            layers: vec![LayerConfig { window: None, rope: Some(0) }; 2],
            pairing: Pairing::Neighbours,
            ropes: vec![RopeConfig { dimensions: 8, base: 1e4, scale: 1.0, divisors: Divisors::None, magnitude: 1.0 }],
            attention_scale: 0.35,
            activation: Activation::Silu,
            embedding_scale: 1.0,
            epsilon: 1e-5,
            norm_offset: 0.0,
            head_norms: false,
            sandwich_norms: false,
            biased: false,
            tied: true,
            context: 64,
            vocabulary: 100,
        }
    }

    #[test]
    fn what_is_impossible_is_named() {
        small().check().unwrap();
        type Case = (fn(&mut Config), &'static str);
        let cases: [Case; 8] = [
            (|config| config.width = 0, "width"),
            (|config| config.layers.clear(), "layers"),
            (|config| config.vocabulary = usize::MAX, "vocabulary"),
            (|config| config.kv_heads = 3, "3 key heads"),
            (|config| config.epsilon = f32::NAN, "epsilon"),
            (|config| config.layers[1].rope = Some(1), "not there"),
            (|config| config.ropes[0].dimensions = 10, "10 of 8"),
            (|config| config.ropes[0].divisors = Divisors::Fixed(vec![1.0; 3]), "3 factors"),
        ];
        for (change, expected) in cases {
            let mut config = small();
            change(&mut config);
            let error = config.check().unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
