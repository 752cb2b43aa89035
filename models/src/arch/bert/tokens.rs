//! From a text to the token ids that the network reads.

use tokenizers::Tokenizer;

use super::{Config, invalid};
use crate::ModelError;
use crate::weights::ModelFiles;

/// The tokenizer, what it puts around a text, and how much of a text fits between.
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    before: Vec<u32>,
    after: Vec<u32>,
    /// Tokens between them.
    window: usize,
    /// Those of them that a prefix of the product may take.
    reserved: usize,
}

impl Tokens {
    pub(super) fn open(files: &ModelFiles, config: &Config) -> Result<Self, ModelError> {
        let invalid = |reason: &dyn std::fmt::Display| invalid(files, "tokenizer.json", reason);
        let path = files.path("tokenizer.json");
        let mut tokenizer = Tokenizer::from_file(&path).map_err(|error| invalid(&error))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| invalid(&error))?;
        let size = tokenizer.get_vocab_size(true);
        if size > config.vocab_size {
            return Err(invalid(&format!("{size} tokens and the network knows {}", config.vocab_size)));
        }
        // The special tokens around a text are whatever its template adds to a probe.
        let probe = |special| tokenizer.encode_fast("a", special).map(|encoding| encoding.get_ids().to_vec());
        let bare = probe(false).map_err(|error| invalid(&error))?;
        let whole = probe(true).map_err(|error| invalid(&error))?;
        let at = whole.windows(bare.len().max(1)).position(|window| window == bare);
        let at = at.ok_or_else(|| invalid(&"its template changes the text"))?;
        let (before, after) = (whole[..at].to_vec(), whole[at + bare.len()..].to_vec());
        let window = files.entry.max_tokens.saturating_sub(before.len() + after.len());
        if window == 0 {
            return Err(invalid(&"its special tokens leave no room for text"));
        }
        Ok(Self { tokenizer, before, after, window, reserved: 0 })
    }

    /// Keeps room for the longest of the prefixes that stand before a text.
    pub(super) fn reserve(&mut self, prefixes: &[&str]) -> Result<(), String> {
        self.reserved = prefixes.iter().map(|prefix| self.count(prefix)).max().unwrap_or(0);
        if self.reserved >= self.window {
            let (reserved, window) = (self.reserved, self.window);
            return Err(format!("a prefix of {reserved} tokens leaves no room for text in a window of {window}"));
        }
        Ok(())
    }

    /// Length in tokens. A text that the tokenizer fails on counts as its bytes, more than which it never makes of one,
    /// so that none is taken for short.
    pub(super) fn count(&self, text: &str) -> usize {
        self.encode("", text).map_or(text.len(), |ids| ids.len())
    }

    /// Tokens of an input at most, special ones and prefix among them.
    pub(super) fn longest(&self) -> usize {
        self.window + self.before.len() + self.after.len()
    }

    /// Tokens that are left for a text.
    pub(super) fn free(&self) -> usize {
        self.window - self.reserved
    }

    fn encode(&self, prefix: &str, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoding = if prefix.is_empty() {
            self.tokenizer.encode_fast(text, false)
        } else {
            self.tokenizer.encode_fast(format!("{prefix}{text}"), false)
        };
        let encoding = encoding.map_err(|_| ModelError::Compute("the tokenizer failed on a text".to_owned()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// What the network reads: special tokens around as much of the text as fits.
    pub(super) fn input(&self, prefix: &str, text: &str) -> Result<Vec<u32>, ModelError> {
        let ids = self.encode(prefix, text)?;
        let mut input = self.before.clone();
        input.extend(ids.iter().take(self.window));
        input.extend(&self.after);
        Ok(input)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Words `w0` to `w40`, a word of a prefix, and a vocabulary without a token for anything else.
    pub fn tokens(max_tokens: usize) -> Tokens {
        let mut vocabulary: HashMap<String, u32> = (0..=40).map(|i| (format!("w{i}"), i)).collect();
        vocabulary.insert("passage".to_owned(), 41);
        vocabulary.insert(":".to_owned(), 42);
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null, "decoder": null,
            "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" }
        });
        let tokenizer = Tokenizer::from_bytes(json.to_string()).unwrap();
        Tokens { tokenizer, before: vec![48], after: vec![49], window: max_tokens - 2, reserved: 0 }
    }

    #[test]
    fn a_prefix_that_fills_the_window_is_refused() {
        let error = tokens(4).reserve(&["passage: "]).unwrap_err();
        assert!(error.contains("2 tokens"), "{error}");
    }

    #[test]
    fn a_text_that_cannot_be_tokenized_is_not_taken_for_short() {
        let tokens = tokens(30);
        assert!(tokens.input("", "w1 unknown").is_err());
        assert_eq!(tokens.count("w1 unknown"), 10);
        assert_eq!(tokens.count("w1 w2"), 2);
    }
}
