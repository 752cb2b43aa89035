//! Guesses of what comes next, looked up in what stands before.
//!
//! An answer from documents repeats them: names, figures, half sentences. Where the last tokens occurred before, in the
//! passages or the conversation, what followed them there is likely to follow again. The network checks a whole guess in one
//! pass, which costs little more than a single token. (Prompt lookup decoding, Saxena 2023,
//! <https://github.com/apoorvumang/prompt-lookup-decoding>; checking as in Leviathan et al., arXiv:2211.17192.)

use std::collections::HashMap;

/// Tokens that must have occurred before: the longer place is preferred to the shorter.
const LONG: usize = 3;
const SHORT: usize = 2;

/// The longest guess, and the one to begin with.
const MOST: usize = 8;
const FIRST: usize = 3;

/// Looks up guesses in a growing sequence.
pub struct Drafter {
    /// For every few tokens that were seen, where the last such ended.
    long: HashMap<[u32; LONG], usize>,
    short: HashMap<[u32; SHORT], usize>,
    /// How many tokens are in the maps.
    seen: usize,
    length: usize,
}

impl Drafter {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self { long: HashMap::new(), short: HashMap::new(), seen: 0, length: FIRST }
    }

    /// At most `most` tokens that may follow `tokens`, which grow from call to call.
    pub fn guess<'a>(&mut self, tokens: &'a [u32], most: usize) -> &'a [u32] {
        // What the last tokens themselves end is left out: it would be found in place of an earlier occurrence.
        for end in self.seen.max(1)..tokens.len() {
            if let Some(last) = tokens[..end].last_chunk() {
                self.long.insert(*last, end);
            }
            if let Some(last) = tokens[..end].last_chunk() {
                self.short.insert(*last, end);
            }
        }
        self.seen = tokens.len();
        let long = tokens.last_chunk().and_then(|last| self.long.get(last));
        let found = long.or_else(|| tokens.last_chunk().and_then(|last| self.short.get(last)));
        let Some(start) = found else { return &[] };
        &tokens[*start..tokens.len().min(start + most.min(self.length))]
    }

    /// Learns how much of a guess was right: guesses grow while they are and shrink when they are not.
    pub fn learn(&mut self, guessed: usize, right: usize) {
        if guessed == 0 {
            return;
        }
        self.length = if right == guessed { MOST.min(self.length + 2) } else { (right + 1).max(self.length / 2) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_before_is_guessed_again() {
        let mut drafter = Drafter::new();
        let mut tokens = vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 3];
        assert_eq!(drafter.guess(&tokens, 8), [4, 5, 6]);
        tokens.extend([4, 5]);
        drafter.learn(3, 2);
        assert_eq!(drafter.guess(&tokens, 8), [6, 7, 8]);
        tokens.push(1);
        assert_eq!(drafter.guess(&tokens, 8), [0u32; 0]);
    }

    #[test]
    fn a_longer_match_is_preferred_and_the_latest_place_wins() {
        let mut drafter = Drafter::new();
        let tokens = [1, 2, 3, 40, 9, 2, 3, 50, 1, 2, 3];
        assert_eq!(drafter.guess(&tokens, 1), [40]);
        let mut drafter = Drafter::new();
        let tokens = [2, 3, 40, 2, 3, 50, 2, 3];
        assert_eq!(drafter.guess(&tokens, 1), [50]);
    }

    #[test]
    fn a_guess_may_run_into_the_end() {
        let mut drafter = Drafter::new();
        assert_eq!(drafter.guess(&[5, 5, 5, 5], 8), [5]);
        assert_eq!(drafter.guess(&[5], 8), [0u32; 0]);
    }

    #[test]
    fn guesses_grow_with_success_and_shrink_with_failure() {
        let mut drafter = Drafter::new();
        let tokens: Vec<u32> = (0..40).chain(0..3).collect();
        for _ in 0..5 {
            let guessed = drafter.guess(&tokens, 100).len();
            drafter.learn(guessed, guessed);
        }
        assert_eq!(drafter.guess(&tokens, 100).len(), MOST);
        for _ in 0..5 {
            drafter.learn(8, 0);
        }
        assert_eq!(drafter.guess(&tokens, 100).len(), 1);
        assert_eq!(drafter.guess(&tokens, 0).len(), 0);
    }
}
