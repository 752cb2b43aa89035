//! Answers that cannot be anything but a match of a grammar: before each token, those that would break it are forbidden.
//!
//! | file | what it holds |
//! |---|---|
//! | `vocabulary` | the model's tokens as the grammar sees them: bytes, and which of them end a turn |
//! | `compile` | a grammar for a vocabulary, within fixed limits of work |
//! | `compiled` | a grammar without a model: what can be followed, and whether a text does |
//! | `schema` | what a JSON Schema asks for that cannot be done, found by its place |
//!
//! The state behind it is the crate `llguidance` (<https://github.com/guidance-ai/llguidance>): a lexer by derivatives of
//! regular expressions below an Earley parser.

mod compile;
mod compiled;
mod schema;
mod vocabulary;

use llguidance::Matcher;

pub use self::compiled::CompiledGrammar;
pub use self::vocabulary::Vocabulary;
use crate::{Grammar, ModelError};

/// Where one answer stands in its grammar.
///
/// For each token: [`mask`](Self::mask) the scores, choose, [`accept`](Self::accept) what was chosen; the answer ends when it
/// [`is_finished`](Self::is_finished). The state depends on the accepted tokens alone, so an engine that checks drafted
/// tokens goes on along those that hold and has nothing to take back.
pub struct Constraint {
    matcher: Matcher,
}

impl Constraint {
    /// Compiles a grammar for the tokens of a model.
    ///
    /// # Errors
    /// [`ModelError::Grammar`] when it cannot be understood, asks for what is not done, or is too large.
    pub fn new(vocabulary: &Vocabulary, grammar: &Grammar) -> Result<Self, ModelError> {
        Ok(Self { matcher: compile::compile(grammar, vocabulary.factory())? })
    }

    /// Lowers the score of each token that would break the grammar to minus infinity; at least one stays. The tokens that
    /// end a turn stay where the text so far is a whole match.
    ///
    /// # Errors
    /// [`ModelError::Grammar`] when no token goes on, or finding that out takes more work than is allowed.
    pub fn mask(&mut self, scores: &mut [f32]) -> Result<(), ModelError> {
        let allowed = self.matcher.compute_mask_or_eos().map_err(compile::broken)?;
        if allowed.first_bit_set().is_none_or(|token| token >= scores.len()) {
            return Err(ModelError::Grammar("no token of this model goes on with it".into()));
        }
        // A network may have scores for more tokens than its tokenizer lists.
        let listed = allowed.len().min(scores.len());
        scores[listed..].fill(f32::NEG_INFINITY);
        allowed.iter_unset_entries(|token| {
            if let Some(score) = scores.get_mut(token) {
                *score = f32::NEG_INFINITY;
            }
        });
        Ok(())
    }

    /// Goes on by a token that [`mask`](Self::mask) left.
    ///
    /// # Errors
    /// [`ModelError::Grammar`] when it was not left.
    pub fn accept(&mut self, token: u32) -> Result<(), ModelError> {
        self.matcher.consume_token(token).map_err(compile::broken)
    }

    /// Whether the text is a whole match that nothing can be added to, or a token has ended the turn.
    pub fn is_finished(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }

    /// The tokens that the grammar leaves no choice about, perhaps none: [`mask`](Self::mask) leaves nothing but these in
    /// their order, so as drafts they always hold.
    pub fn forced(&mut self) -> Vec<u32> {
        if self.matcher.is_stopped() { Vec::new() } else { self.matcher.compute_ff_tokens() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::tokenizer::Tokenizer;

    /// Over the letters `a` to `z`; they have no token that ends a turn.
    fn letters(regex: &str) -> Constraint {
        let vocabulary = Vocabulary::new(Arc::new(Tokenizer::of_letters(26))).unwrap();
        Constraint::new(&vocabulary, &Grammar::Regex(regex.into())).unwrap()
    }

    fn allowed(constraint: &mut Constraint, scores: usize) -> Vec<usize> {
        let mut scores = vec![1.0; scores];
        constraint.mask(&mut scores).unwrap();
        (0..scores.len()).filter(|&token| scores[token] == 1.0).collect()
    }

    #[test]
    fn only_tokens_that_go_on_keep_their_score() {
        let mut constraint = letters("a[cd]{2}z");
        // The network has four scores more than the tokenizer has tokens.
        assert_eq!(allowed(&mut constraint, 30), [0]);
        constraint.accept(0).unwrap();
        assert_eq!(allowed(&mut constraint, 30), [2, 3]);
        constraint.accept(3).unwrap();
        constraint.accept(2).unwrap();
        assert!(!constraint.is_finished());
        constraint.accept(25).unwrap();
        assert!(constraint.is_finished());
        assert_eq!(constraint.forced(), [0; 0]);
    }

    #[test]
    fn what_is_forced_is_told_ahead() {
        let mut constraint = letters("abc[xy]de");
        assert_eq!(constraint.forced(), [0, 1, 2]);
        for token in [0, 1, 2, 24] {
            assert_ne!(allowed(&mut constraint, 26), [0; 0]);
            constraint.accept(token).unwrap();
        }
        assert_eq!(constraint.forced(), [3, 4]);
    }

    #[test]
    fn a_token_that_breaks_it_is_refused_and_the_answer_is_not_finished() {
        let mut constraint = letters("ab");
        let error = constraint.accept(5).unwrap_err();
        assert!(matches!(&error, ModelError::Grammar(reason) if !reason.contains('\n')), "{error}");
        assert!(!constraint.is_finished());
        assert!(constraint.mask(&mut [0.0; 26]).is_err());
    }

    #[test]
    fn what_the_tokens_cannot_write_is_an_error() {
        for text in ["Ä", "[A-Z]+", "a?9"] {
            let vocabulary = Vocabulary::new(Arc::new(Tokenizer::of_letters(26))).unwrap();
            let made = Constraint::new(&vocabulary, &Grammar::Regex(text.into()));
            let failed = made.and_then(|mut constraint| {
                for _ in 0..3 {
                    let mut scores = [0.0; 26];
                    constraint.mask(&mut scores)?;
                    constraint.accept(scores.iter().position(|score| *score == 0.0).unwrap() as u32)?;
                }
                Ok(())
            });
            assert!(matches!(failed, Err(ModelError::Grammar(_))), "{text}: {failed:?}");
        }
    }
}
