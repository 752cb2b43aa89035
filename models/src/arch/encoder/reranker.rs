//! A cross-encoder: question and passage are read together, and a small head makes a score of the first token's state
//! (Nogueira and Cho, arXiv:1901.04085).

use super::math::{Activation, Norm};
use super::tokens::Tokens;
use super::weights::Dense;
use super::{Input, Network, identity, in_batches, pool};
use crate::catalog::Pooling;
use crate::engine::qmatmul::Scratch;
use crate::engine::team::Team;
use crate::turns::{Turns, Work};
use crate::weights::ModelFiles;
use crate::{ModelError, Precision, Reranker};

/// What makes a score of an input's states.
pub struct Head {
    /// Whose state is read.
    pub pooling: Pooling,
    /// A layer before the last one.
    pub dense: Dense,
    /// What follows it.
    pub activation: HeadActivation,
    /// What follows that.
    pub norm: Option<Norm>,
    /// One row, or two of which the second speaks for the passage.
    pub output: Dense,
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
        return Err(files.invalid(
            "its tokenizer knows no pairs of texts, or `max_tokens` leaves no room for a question and a passage",
        ));
    };
    let labels = head.output.weight.rows();
    if !matches!(labels, 1 | 2) {
        return Err(files.invalid(format!("its classifier has {labels} labels; 1 or 2 make a reranker")));
    }
    let about = tokens.longest().to_string();
    Ok(Box::new(CrossEncoder {
        identity: identity(files, &about, network.as_ref(), precision),
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
        // Not on rayon's threads: the question would wait for the documents that keep them busy.
        let inputs: Vec<Input> = passages.iter().map(input).collect::<Result<_, _>>()?;
        let hidden = self.network.hidden();
        let mut pooled = vec![0.0; inputs.len() * hidden];
        in_batches(self.network.as_ref(), (&self.turns, Work::Question), &inputs, |index, states| {
            pool(self.head.pooling, states, &mut pooled[index * hidden..(index + 1) * hidden]);
        })?;
        self.head.scores(&self.team, &pooled)
    }
}

impl Head {
    fn scores(&self, team: &Team, pooled: &[f32]) -> Result<Vec<f32>, ModelError> {
        let mut scratch = Scratch::default();
        let (width, labels) = (self.dense.weight.rows(), self.output.weight.rows());
        let mut states = vec![0.0; pooled.len()];
        self.dense.weight.forward(team, pooled, &mut scratch, &mut states)?;
        for row in states.chunks_exact_mut(width) {
            match self.activation {
                HeadActivation::Tanh => {
                    row.iter_mut().zip(&self.dense.bias).for_each(|(x, b)| *x += b);
                    row.iter_mut().for_each(|x| *x = x.tanh());
                }
                HeadActivation::Layer(activation) => activation.apply(row, &self.dense.bias),
            }
            if let Some(norm) = &self.norm {
                norm.apply(row);
            }
        }
        let mut outputs = vec![0.0; states.len() / width * labels];
        self.output.weight.forward(team, &states, &mut scratch, &mut outputs)?;
        for row in outputs.chunks_exact_mut(labels) {
            row.iter_mut().zip(&self.output.bias).for_each(|(x, b)| *x += b);
        }
        let score = |row: &[f32]| match row {
            [no, yes] => yes - no,
            row => row[0],
        };
        Ok(outputs.chunks_exact(labels).map(score).collect())
    }
}
