//! A cross-encoder: question and passage are read together, and a small head makes a score of the first token's state
//! (Nogueira and Cho, arXiv:1901.04085).

use rayon::prelude::*;

use super::math::{Activation, Norm};
use super::tokens::Tokens;
use super::{Input, Network, in_batches, invalid};
use crate::catalog::Pooling;
use crate::engine::qmatmul::{Linear, Scratch};
use crate::engine::team::Team;
use crate::turns::{Turns, Work};
use crate::weights::ModelFiles;
use crate::{ModelError, Precision, Reranker};

/// What makes a score of an input's states.
pub struct Head {
    /// Whose state is read.
    pub pooling: Pooling,
    /// A layer before the last one.
    pub dense: Linear,
    /// Its bias; may be empty.
    pub bias: Vec<f32>,
    /// What follows it.
    pub activation: HeadActivation,
    /// What follows that.
    pub norm: Option<Norm>,
    /// One row, or two of which the second speaks for the passage.
    pub output: Linear,
    /// One number for each row of the output.
    pub output_bias: Vec<f32>,
}

/// The activation of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadActivation {
    /// The hyperbolic tangent.
    Tanh,
    /// As in the layers.
    Layer(Activation),
}

/// Puts a reranker together.
///
/// # Errors
/// [`ModelError::Invalid`] where network, tokenizer and catalogue do not agree.
pub fn open(
    files: &ModelFiles,
    network: Box<dyn Network>,
    tokens: Tokens,
    head: Head,
    precision: Precision,
) -> Result<Box<dyn Reranker>, ModelError> {
    let Some(room) = tokens.free_of_two() else {
        return Err(invalid(
            files,
            "tokenizer.json",
            "it leaves no room for a question and a passage, or knows no pairs",
        ));
    };
    if !matches!(head.output_bias.len(), 1 | 2) || head.output.rows() != head.output_bias.len() {
        let reason = format!("its classifier has {} labels; 1 or 2 make a reranker", head.output.rows());
        return Err(invalid(files, "config.json", reason));
    }
    let mut identity = format!("{}@{} {}", files.name, files.fingerprint, tokens.longest());
    if precision == Precision::Int8 && !network.is_exact() {
        identity.push_str(" int8");
    }
    Ok(Box::new(CrossEncoder {
        identity,
        room,
        network,
        tokens,
        head,
        // The head is too small for more than one thread.
        team: Team::new("reranker", 1)?,
        turns: Turns::default(),
    }))
}

struct CrossEncoder {
    identity: String,
    room: usize,
    network: Box<dyn Network>,
    tokens: Tokens,
    head: Head,
    team: Team,
    turns: Turns,
}

impl Reranker for CrossEncoder {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn max_tokens(&self) -> usize {
        self.room
    }

    fn score(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>, ModelError> {
        let question = self.tokens.encode("", query)?;
        let input = |passage: &&str| self.tokens.input_of_two(&question, &self.tokens.encode("", passage)?);
        let inputs: Vec<Input> = passages.par_iter().map(input).collect::<Result<_, _>>()?;
        let hidden = self.network.hidden();
        let mut pooled = vec![0.0; inputs.len() * hidden];
        in_batches(self.network.as_ref(), (&self.turns, Work::Question), &inputs, |index, states| {
            self.head.pool(states, &mut pooled[index * hidden..(index + 1) * hidden]);
        })?;
        self.head.scores(&self.team, &pooled)
    }
}

impl Head {
    fn pool(&self, states: &[f32], pooled: &mut [f32]) {
        let width = pooled.len();
        match self.pooling {
            Pooling::Cls => pooled.copy_from_slice(&states[..width]),
            Pooling::Last => pooled.copy_from_slice(&states[states.len() - width..]),
            Pooling::Mean => {
                for row in states.chunks_exact(width) {
                    pooled.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                }
                let scale = width as f32 / states.len() as f32;
                pooled.iter_mut().for_each(|x| *x *= scale);
            }
        }
    }

    fn scores(&self, team: &Team, pooled: &[f32]) -> Result<Vec<f32>, ModelError> {
        let mut scratch = Scratch::default();
        let (width, labels) = (self.dense.rows(), self.output_bias.len());
        let mut states = vec![0.0; pooled.len()];
        self.dense.forward(team, pooled, &mut scratch, &mut states)?;
        for row in states.chunks_exact_mut(width) {
            match self.activation {
                HeadActivation::Tanh if self.bias.is_empty() => row.iter_mut().for_each(|x| *x = x.tanh()),
                HeadActivation::Tanh => row.iter_mut().zip(&self.bias).for_each(|(x, b)| *x = (*x + b).tanh()),
                HeadActivation::Layer(activation) => activation.apply(row, &self.bias),
            }
            if let Some(norm) = &self.norm {
                norm.apply(row);
            }
        }
        let mut outputs = vec![0.0; states.len() / width * labels];
        self.output.forward(team, &states, &mut scratch, &mut outputs)?;
        let score = |row: &[f32]| match (row, self.output_bias.as_slice()) {
            ([no, yes], [no_bias, yes_bias]) => (yes + yes_bias) - (no + no_bias),
            _ => row[0] + self.output_bias[0],
        };
        Ok(outputs.chunks_exact(labels).map(score).collect())
    }
}
