//! Byte-level BPE: bytes as printable characters, split by an expression, joined by ranked merges.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel as Bytes;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use crate::engine::gguf::Gguf;

const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How text is split before merging, by the name in `tokenizer.ggml.pre`.
#[derive(Clone, Copy)]
enum Splitting {
    /// GPT-2's expression.
    Gpt2,
    /// Each digit alone, then GPT-2's expression.
    DigitsGpt2,
    /// An expression of the model's own.
    Own(&'static str),
    /// The same over composed characters (NFC).
    Composed(&'static str),
    /// The same as [`Splitting::Own`], and a word that is in the vocabulary is taken as it is. Such models begin a text with
    /// a token where the file does not say otherwise.
    Whole(&'static str),
}

const SPLITTINGS: &[(&str, Splitting)] = &[
    ("default", Splitting::Gpt2),
    ("gpt-2", Splitting::Gpt2),
    ("smollm", Splitting::DigitsGpt2),
    ("starcoder", Splitting::DigitsGpt2),
    ("llama-bpe", Splitting::Whole(LLAMA_3)),
    ("llama3", Splitting::Whole(LLAMA_3)),
    ("llama-v3", Splitting::Whole(LLAMA_3)),
    ("smaug-bpe", Splitting::Own(LLAMA_3)),
    // Phi-4.
    ("dbrx", Splitting::Own(LLAMA_3)),
    ("qwen2", Splitting::Composed(QWEN_2)),
    ("deepseek-r1-qwen", Splitting::Composed(QWEN_2)),
    // Phi-4-mini.
    ("gpt-4o", Splitting::Own(GPT_4O)),
    ("tekken", Splitting::Whole(TEKKEN)),
];

/// A vocabulary with merges.
pub struct ByteLevel {
    tokenizer: tokenizers::Tokenizer,
    bytes: ByteCharacters,
    begins: bool,
}

/// The characters that stand for bytes.
pub struct ByteCharacters(HashMap<char, u8>);

impl ByteLevel {
    /// Reads merges and the way of splitting; `tokens` is the vocabulary.
    pub fn read(gguf: &Gguf<'_>, tokens: &[String]) -> Result<Self, String> {
        let listed = gguf.array("tokenizer.ggml.merges").ok_or("its metadata lack `tokenizer.ggml.merges`")?;
        let mut merges = Vec::with_capacity(listed.len());
        for merge in listed {
            let pair = merge.text().and_then(|text| text.split_once(' '));
            let (left, right) = pair.ok_or("`tokenizer.ggml.merges` holds something other than pairs")?;
            merges.push((left.to_owned(), right.to_owned()));
        }
        let name = gguf.text("tokenizer.ggml.pre").unwrap_or("default");
        let Some((_, splitting)) = SPLITTINGS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = SPLITTINGS.iter().map(|(name, _)| *name).collect();
            return Err(format!("its text is split the way of `{name}`; known: {}", known.join(", ")));
        };
        let vocabulary: Vocab = tokens.iter().enumerate().map(|(id, token)| (token.clone(), id as u32)).collect();
        let model = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .ignore_merges(matches!(splitting, Splitting::Whole(_)))
            .build()
            .map_err(|error| format!("its merges cannot be used: {error}"))?;
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        let steps: Vec<PreTokenizerWrapper> = match splitting {
            Splitting::Gpt2 => vec![Bytes::new(false, false, true).into()],
            Splitting::DigitsGpt2 => vec![Digits::new(true).into(), Bytes::new(false, false, true).into()],
            Splitting::Own(expression) | Splitting::Composed(expression) | Splitting::Whole(expression) => {
                if matches!(splitting, Splitting::Composed(_)) {
                    tokenizer.with_normalizer(Some(NFC)).map_err(|error| error.to_string())?;
                }
                let pattern = SplitPattern::Regex((*expression).to_owned());
                let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                    .map_err(|error| format!("its splitting cannot be used: {error}"))?;
                vec![split.into(), Bytes::new(false, false, false).into()]
            }
        };
        tokenizer.with_pre_tokenizer(Some(Sequence::new(steps)));
        let begins = matches!(splitting, Splitting::Whole(_));
        Ok(Self { tokenizer, bytes: ByteCharacters::new(), begins })
    }

    /// Whether a text begins with a token of its own where the file does not say it.
    pub fn begins(&self) -> bool {
        self.begins
    }

    /// Appends the tokens of a text.
    pub fn encode(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), String> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|error| error.to_string())?;
        tokens.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    /// The bytes that a token of the vocabulary stands for.
    pub fn bytes(&self, token: &str) -> Vec<u8> {
        self.bytes.of(token)
    }
}

impl ByteCharacters {
    /// Printable characters stand for themselves, the others lie from U+0100 on
    /// (<https://github.com/openai/gpt-2/blob/master/src/encoder.py>, `bytes_to_unicode`).
    pub fn new() -> Self {
        let mut characters = HashMap::new();
        let mut next = 0x100u32;
        for byte in 0..=255u8 {
            let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
            let character = if printable {
                char::from(byte)
            } else {
                next += 1;
                char::from_u32(next - 1).unwrap_or('\0')
            };
            characters.insert(character, byte);
        }
        Self(characters)
    }

    /// The bytes of a token.
    pub fn of(&self, token: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(token.len());
        for character in token.chars() {
            match self.0.get(&character) {
                Some(byte) => bytes.push(*byte),
                None => bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_characters_of_their_own() {
        let characters = ByteCharacters::new();
        assert_eq!(characters.0.len(), 256);
        assert_eq!(characters.of("aĠĊ日"), "a \n日".as_bytes());
    }
}
