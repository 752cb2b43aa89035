//! From texts to the token ids that the network reads.

use std::ops::Range;

use tokenizers::{EncodeInput, Tokenizer};

use super::{Input, invalid};
use crate::ModelError;
use crate::engine::tokenizer;
use crate::weights::ModelFiles;

/// The tokenizer, what it puts around texts, and how much of a text fits between.
pub struct Tokens {
    source: Source,
    single: Template,
    /// Absent where the tokenizer knows no pairs.
    pair: Option<Template>,
    /// Tokens of an input at most, special ones among them.
    longest: usize,
    /// Those of a single text that a prefix of the product may take.
    reserved: usize,
}

/// What cuts texts.
enum Source {
    /// `tokenizer.json`.
    Hub(Box<Tokenizer>),
    /// The vocabulary of a GGUF file.
    Gguf(Box<tokenizer::Tokenizer>),
}

/// Special tokens around one text or two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Template {
    before: Vec<u32>,
    /// Empty where there is one text.
    between: Vec<u32>,
    after: Vec<u32>,
    /// How many of those between the texts count as part of the first one; absent where networks see no difference.
    first: Option<usize>,
}

impl Tokens {
    /// Reads `tokenizer.json` for a network that knows `vocabulary` tokens.
    pub fn open(files: &ModelFiles, vocabulary: usize) -> Result<Self, ModelError> {
        let path = files.listed("tokenizer.json")?;
        let failed = |error: tokenizers::Error| invalid(files, "tokenizer.json", error);
        let tokenizer = Tokenizer::from_file(&path).map_err(failed)?;
        Self::new(tokenizer, vocabulary, files.entry.max_tokens).map_err(failed)
    }

    fn new(mut tokenizer: Tokenizer, vocabulary: usize, longest: usize) -> Result<Self, tokenizers::Error> {
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None)?;
        let size = tokenizer.get_vocab_size(true);
        if size > vocabulary {
            return Err(format!("{size} tokens and the network knows {vocabulary}").into());
        }
        let single = Template::of_one(&tokenizer)?;
        if longest <= single.length() {
            return Err("its special tokens leave no room for text".into());
        }
        let pair = Template::of_two(&tokenizer)?.filter(|pair| longest > pair.length() + 1);
        Ok(Self { source: Source::Hub(Box::new(tokenizer)), single, pair, longest, reserved: 0 })
    }

    /// Takes the tokenizer of a GGUF file; it knows no pairs of texts.
    ///
    /// # Errors
    /// A reason, when there is no room for text.
    pub fn of_gguf(tokenizer: tokenizer::Tokenizer, longest: usize) -> Result<Self, String> {
        let (before, after) = tokenizer.around();
        let single = Template { before, after, ..Template::default() };
        if longest <= single.length() {
            return Err("its special tokens leave no room for text".into());
        }
        Ok(Self { source: Source::Gguf(Box::new(tokenizer)), single, pair: None, longest, reserved: 0 })
    }

    /// Keeps room for the longest of the prefixes that stand before a text.
    pub fn reserve(&mut self, prefixes: &[&str]) -> Result<(), String> {
        self.reserved = prefixes.iter().map(|prefix| self.count(prefix)).max().unwrap_or(0);
        let (reserved, window) = (self.reserved, self.window());
        if reserved >= window {
            return Err(format!("a prefix of {reserved} tokens leaves no room for text in a window of {window}"));
        }
        Ok(())
    }

    /// Length in tokens. A text that the tokenizer fails on counts as its bytes, more than which it never makes of one,
    /// so that none is taken for short.
    pub fn count(&self, text: &str) -> usize {
        self.encode("", text).map_or(text.len(), |ids| ids.len())
    }

    /// Whether a text ends with a special token, which [`crate::catalog::Pooling::Last`] counts on.
    pub fn ends_texts(&self) -> bool {
        !self.single.after.is_empty()
    }

    /// Tokens of an input at most, special ones and prefix among them.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Tokens that are left for a single text.
    pub fn free(&self) -> usize {
        self.window() - self.reserved
    }

    /// Tokens that are left for two texts together; absent where the tokenizer knows no pairs.
    pub fn free_of_two(&self) -> Option<usize> {
        self.pair.as_ref().map(|pair| self.longest - pair.length())
    }

    fn window(&self) -> usize {
        self.longest - self.single.length()
    }

    /// The ids of a text behind a prefix, no special ones added.
    pub fn encode(&self, prefix: &str, text: &str) -> Result<Vec<u32>, ModelError> {
        let joined = format!("{prefix}{text}");
        let ids = match &self.source {
            Source::Hub(tokenizer) => {
                tokenizer.encode_fast(joined, false).ok().map(|encoding| encoding.get_ids().to_vec())
            }
            Source::Gguf(tokenizer) => tokenizer.encode(&joined).ok(),
        };
        ids.ok_or_else(|| ModelError::Compute("the tokenizer failed on a text".to_owned()))
    }

    /// Where the tokens of a text behind a prefix stand in it, in bytes, without the blank that some begin with; empty for
    /// those of the prefix. Nothing from tokenizers that do not tell.
    pub fn places(&self, prefix: &str, text: &str) -> Option<Vec<Range<usize>>> {
        let Source::Hub(tokenizer) = &self.source else { return None };
        let encoding = tokenizer.encode(format!("{prefix}{text}"), false).ok()?;
        let place =
            |&(start, end): &(usize, usize)| start.saturating_sub(prefix.len())..end.saturating_sub(prefix.len());
        Some(encoding.get_offsets().iter().map(place).take(self.window()).collect())
    }

    /// Special tokens before a single text.
    pub fn before(&self) -> usize {
        self.single.before.len()
    }

    /// What the network reads of one text: special tokens around as much of it as fits.
    pub fn input(&self, prefix: &str, text: &str) -> Result<Input, ModelError> {
        let ids = self.encode(prefix, text)?;
        if ids.is_empty() && self.single.length() == 0 {
            return Err(ModelError::Compute("a text without tokens has no vector".to_owned()));
        }
        Ok(self.single.fill(&ids[..ids.len().min(self.window())], &[]))
    }

    /// What the network reads of two texts, given as [`Tokens::encode`] makes them. Where they are too long, the second
    /// one is cut; the first only where it takes more than half of the room.
    ///
    /// # Errors
    /// [`ModelError::Compute`] where the tokenizer knows no pairs.
    pub fn input_of_two(&self, first: &[u32], second: &[u32]) -> Result<Input, ModelError> {
        let (Some(pair), Some(room)) = (&self.pair, self.free_of_two()) else {
            return Err(ModelError::Compute("the tokenizer knows no pairs of texts".to_owned()));
        };
        let first = &first[..first.len().min((room / 2).max(room.saturating_sub(second.len())))];
        Ok(pair.fill(first, &second[..second.len().min(room - first.len())]))
    }
}

impl Template {
    /// The special tokens around a text are whatever the tokenizer adds to a probe.
    fn of_one(tokenizer: &Tokenizer) -> Result<Self, tokenizers::Error> {
        let probe = |special| tokenizer.encode_fast("a", special).map(|encoding| encoding.get_ids().to_vec());
        let (bare, whole) = (probe(false)?, probe(true)?);
        let at = position(&whole, &bare).ok_or("its template changes the text")?;
        let (before, after) = (whole[..at].to_vec(), whole[at + bare.len()..].to_vec());
        Ok(Self { before, after, ..Self::default() })
    }

    /// As [`Template::of_one`], for two texts.
    fn of_two(tokenizer: &Tokenizer) -> Result<Option<Self>, tokenizers::Error> {
        let bare = tokenizer.encode_fast("a", false)?.get_ids().to_vec();
        let whole = tokenizer.encode_fast(EncodeInput::from(("a", "a")), true)?;
        let ids = whole.get_ids();
        let Some(at) = position(ids, &bare) else { return Ok(None) };
        let rest = &ids[at + bare.len()..];
        let Some(next) = position(rest, &bare) else { return Ok(None) };
        let second = whole.get_type_ids().iter().position(|kind| *kind > 0);
        let first = second.and_then(|second| second.checked_sub(at + bare.len())).filter(|first| *first <= next);
        Ok(Some(Self {
            before: ids[..at].to_vec(),
            between: rest[..next].to_vec(),
            after: rest[next + bare.len()..].to_vec(),
            first,
        }))
    }

    /// How many special tokens there are.
    fn length(&self) -> usize {
        self.before.len() + self.between.len() + self.after.len()
    }

    fn fill(&self, first: &[u32], second: &[u32]) -> Input {
        let ids = [&self.before, first, &self.between, second, &self.after].concat();
        let second = self.first.map_or(ids.len(), |own| self.before.len() + first.len() + own);
        Input { ids, second }
    }
}

/// Where `part` stands in `whole`.
fn position(whole: &[u32], part: &[u32]) -> Option<usize> {
    whole.windows(part.len().max(1)).position(|window| window == part)
}

#[cfg(test)]
pub mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Words `w0` to `w40`, a word of a prefix, and a vocabulary without a token for anything else. One text stands
    /// between 48 and 49, and 49 stands between two.
    pub fn tokens(max_tokens: usize) -> Tokens {
        let mut vocabulary: HashMap<String, u32> = (0..=40).map(|i| (format!("w{i}"), i)).collect();
        for (word, id) in [("passage", 41), (":", 42), ("a", 43), ("<s>", 48), ("</s>", 49)] {
            vocabulary.insert(word.to_owned(), id);
        }
        let special = |name: &str, kind: u32| serde_json::json!({ "SpecialToken": { "id": name, "type_id": kind } });
        let text = |name: &str, kind: u32| serde_json::json!({ "Sequence": { "id": name, "type_id": kind } });
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": { "type": "Whitespace" }, "decoder": null,
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [special("<s>", 0), text("A", 0), special("</s>", 0)],
                "pair": [special("<s>", 0), text("A", 0), special("</s>", 0), text("B", 1), special("</s>", 1)],
                "special_tokens": {
                    "<s>": { "id": "<s>", "ids": [48], "tokens": ["<s>"] },
                    "</s>": { "id": "</s>", "ids": [49], "tokens": ["</s>"] }
                }
            },
            "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" }
        });
        Tokens::new(Tokenizer::from_bytes(json.to_string()).unwrap(), 50, max_tokens).unwrap()
    }

    /// The same with nothing behind a text.
    pub fn without_end(max_tokens: usize) -> Tokens {
        let mut tokens = tokens(max_tokens);
        tokens.single.after.clear();
        tokens
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

    #[test]
    fn special_tokens_stand_around_what_fits() {
        let tokens = tokens(7);
        assert_eq!(tokens.input("", "w1 w2").unwrap(), Input { ids: vec![48, 1, 2, 49], second: 4 });
        assert_eq!(tokens.input("passage: ", "w1 w2 w3 w4").unwrap().ids, [48, 41, 42, 1, 2, 3, 49]);
        assert_eq!(tokens.free_of_two(), Some(4));
        let pair = |first: &[u32], second: &[u32]| tokens.input_of_two(first, second).unwrap();
        assert_eq!(pair(&[1], &[2, 3]), Input { ids: vec![48, 1, 49, 2, 3, 49], second: 3 });
        assert_eq!(pair(&[1], &[2, 3, 4, 5]).ids, [48, 1, 49, 2, 3, 4, 49]);
        assert_eq!(pair(&[1, 2, 3, 4, 5], &[6, 7, 8]).ids, [48, 1, 2, 49, 6, 7, 49]);
        assert_eq!(pair(&[1, 2, 3, 4, 5], &[6]).ids, [48, 1, 2, 3, 49, 6, 49]);
    }
}
