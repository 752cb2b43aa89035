//! The tokens of a model as a grammar sees them.

use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::toktrie::{INVALID_TOKEN, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use super::compile;
use crate::engine::tokenizer::Tokenizer;

/// Bytes of the longest token that is used under a grammar; the tree of tokens is 1024 bytes deep at most.
const LONGEST_TOKEN: usize = 512;
/// Bytes of all tokens together, and tokens; the tree has no room for more.
const MOST_BYTES: usize = 1 << 22;

/// Tokens inside a JSON text, which is where most of them can stand: where all of these can, they are let through at once
/// and not looked at one by one. Each such expression costs copies of the tree.
const PLAIN: &str = r#"[^"\\\x00-\x1F\x7F]{1,30}"#;

/// The tokens of a model as a tree of bytes, built once.
pub struct Vocabulary {
    factory: ParserFactory,
}

impl Vocabulary {
    /// Reads the tokens of a tokenizer. Those that end a turn end a match; other control tokens are never written.
    ///
    /// # Errors
    /// A reason when there are too many.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Result<Self, String> {
        let count = tokenizer.vocabulary();
        let written = |token: u32| {
            let bytes = tokenizer.bytes(token);
            // A token that ends the turn is no text, whatever it is called.
            if tokenizer.is_end(token) || bytes.len() > LONGEST_TOKEN { &[] } else { bytes }
        };
        let words: Vec<Vec<u8>> = (0..count as u32).map(|token| written(token).to_vec()).collect();
        let bytes: usize = words.iter().map(Vec::len).sum();
        if count == 0 || bytes + count > MOST_BYTES {
            return Err(format!(
                "{count} tokens of {bytes} bytes together are more than a grammar can be held against"
            ));
        }
        let ends: Vec<u32> = (0..count as u32).filter(|token| tokenizer.is_end(*token)).collect();
        let trie = TokTrie::from(&TokRxInfo::new(count as u32, INVALID_TOKEN), &words);
        let trie = if ends.is_empty() { trie } else { trie.with_eos_tokens(&ends) };
        Self::of(Arc::new(Tokens { trie, tokenizer }))
    }

    /// Over tokens that are known to fit.
    pub(super) fn of(tokens: TokEnv) -> Result<Self, String> {
        let factory = ParserFactory::new(&tokens, InferenceCapabilities::default(), &[PLAIN.to_owned()]);
        let mut factory = factory.map_err(|error| error.to_string())?;
        // It would write to standard error by itself.
        factory.quiet();
        *factory.limits_mut() = compile::limits();
        Ok(Self { factory })
    }

    pub(super) fn factory(&self) -> &ParserFactory {
        &self.factory
    }
}

/// A tokenizer in the form that `llguidance` asks.
struct Tokens {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    /// As the model would have read them, which is how it writes best.
    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let canonical = std::str::from_utf8(bytes).ok().and_then(|text| self.tokenizer.encode_inside(text).ok());
        match canonical {
            // A tokenizer that composes characters, or lacks some, would write other bytes.
            Some(tokens) if self.trie.decode_raw(&tokens) == bytes => tokens,
            _ => self.trie.greedy_tokenize(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_vocabularies_are_refused_or_used() {
        assert!(Vocabulary::new(Arc::new(Tokenizer::of_letters(0))).is_err());
        let tokens = Tokenizer::of_texts(&["a", "a", "", "b", &"c".repeat(LONGEST_TOKEN + 1), "\u{ff}"]);
        let vocabulary = Vocabulary::new(Arc::new(tokens)).unwrap();
        let trie = vocabulary.factory().tok_env().tok_trie();
        assert_eq!((trie.vocab_size(), trie.token(3), trie.token(4)), (6, b"b".as_slice(), b"".as_slice()));
    }
}
