//! `tokenizer.json` of the Hugging Face hub, through the library that defines it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tokenizers::tokenizer::{NormalizedString, OffsetType, PreTokenizedString};
use tokenizers::{Model as _, Normalizer as _, PreTokenizer as _};

use super::byte_level::ByteCharacters;
use super::{END_TOKENS, Model, Token, Tokenizer, sentence_piece};
use crate::ModelError;
use crate::engine::hub::HubFolder;
use crate::engine::json::Json;

const FILE: &str = "tokenizer.json";

/// Stands for a space in vocabularies of SentencePiece.
const SPACE: &str = "\u{2581}";

/// The tokenizer of a folder of the hub.
pub struct HubTokenizer {
    tokenizer: tokenizers::Tokenizer,
    /// Whether the vocabulary is of bytes, as GPT-2's; else it is of pieces, as SentencePiece's.
    of_bytes: bool,
}

impl HubTokenizer {
    /// Appends the tokens of a text, special tokens honoured.
    pub fn encode(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), String> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|error| error.to_string())?;
        tokens.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    /// Appends the tokens of a text in the middle of another, where nothing is special.
    pub fn encode_inside(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), String> {
        self.split(text).map(|ids| tokens.extend(ids)).map_err(|error| error.to_string())
    }

    fn split(&self, text: &str) -> tokenizers::Result<Vec<u32>> {
        let model = self.tokenizer.get_model();
        if !self.of_bytes {
            // The normalizer might put a space first, as at the beginning of a text.
            let pieces = model.tokenize(&text.replace(' ', SPACE))?;
            return Ok(pieces.into_iter().map(|token| token.id).collect());
        }
        let mut normalized = NormalizedString::from(text);
        if let Some(normalizer) = self.tokenizer.get_normalizer() {
            normalizer.normalize(&mut normalized)?;
        }
        let mut words = PreTokenizedString::from(normalized);
        if let Some(splitter) = self.tokenizer.get_pre_tokenizer() {
            splitter.pre_tokenize(&mut words)?;
        }
        words.tokenize(|word| model.tokenize(word.get()))?;
        Ok(words.into_encoding(None, 0, OffsetType::None)?.get_ids().to_vec())
    }
}

/// Reads `tokenizer.json` and what other files say about tokens.
pub fn open(folder: &HubFolder, vocabulary: usize) -> Result<Tokenizer, ModelError> {
    let text = folder.text(FILE)?.ok_or_else(|| folder.missing(FILE))?;
    let config = folder.json("tokenizer_config.json")?.unwrap_or_default();
    let generation = folder.json("generation_config.json")?.unwrap_or_default();
    let ends = ends(&generation).or_else(|| ends(folder.config())).unwrap_or_default();
    read(&text, &config, ends, vocabulary).map_err(|reason| folder.invalid(FILE, reason))
}

fn read(text: &str, config: &Json, ends: Vec<u32>, vocabulary: usize) -> Result<Tokenizer, String> {
    let json = Json::parse(text.as_bytes())?;
    let mut tokenizer = tokenizers::Tokenizer::from_bytes(text).map_err(|error| error.to_string())?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| error.to_string())?;

    let of_bytes = json.get("decoder").is_some_and(|decoder| decoder.to_string().contains("\"ByteLevel\""));
    let added = tokenizer.get_added_tokens_decoder();
    let ids: HashMap<String, u32> = tokenizer.get_vocab(true);
    let count = ids.values().max().map_or(0, |last| *last as usize + 1);
    if (vocabulary..count).any(|id| !added.contains_key(&(id as u32))) {
        return Err(format!("it has {count} tokens and its network {vocabulary}"));
    }
    // Added tokens that the network does not know stand for pictures and the like.
    let characters = ByteCharacters::new();
    let mut tokens: Vec<Token> = (0..count.min(vocabulary)).map(|_| Token::default()).collect();
    for (text, id) in ids {
        let Some(token) = tokens.get_mut(id as usize) else { continue };
        token.bytes = match added.get(&id) {
            Some(added) if added.special => Vec::new(),
            Some(_) => text.as_bytes().to_vec(),
            None if of_bytes => characters.of(&text),
            None => sentence_piece::bytes(&text, true),
        };
        token.text = text;
    }

    let mut specials = Vec::new();
    let mut ends: HashSet<u32> = ends.into_iter().collect();
    for (id, added) in &added {
        if !added.content.is_empty() {
            specials.push((added.content.clone(), *id));
        }
        if added.special && END_TOKENS.contains(&added.content.as_str()) {
            ends.insert(*id);
        }
    }
    let id = |key: &str| tokenizer.token_to_id(named(config, key)?).filter(|id| (*id as usize) < tokens.len());
    let (begin, end) = (id("bos_token"), id("eos_token"));
    ends.extend(end);

    // What the tokenizer puts around a text it puts around this one.
    let encode = |special| tokenizer.encode_fast("a", special).map(|encoding| encoding.get_ids().to_vec());
    let bare = encode(false).map_err(|error| error.to_string())?;
    let whole = encode(true).map_err(|error| error.to_string())?;
    let (first, last) = (whole.first().copied(), whole.last().copied());
    let add_begin = bare.first() != whole.first() && begin.is_some() && first == begin;
    let add_end = bare.last() != whole.last();
    let end = if add_end { last } else { end };
    let model = Model::Hub(Box::new(HubTokenizer { tokenizer, of_bytes }));
    Ok(Tokenizer { begin, end, add_begin, add_end, ..Tokenizer::of(model, tokens, specials, ends)? })
}

/// The tokens that end an answer: one, or a list.
fn ends(config: &Json) -> Option<Vec<u32>> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match config.get("eos_token_id")? {
        Value::Array(ids) => ids.iter().map(id).collect(),
        value => id(value).map(|id| vec![id]),
    }
}

/// A token that `tokenizer_config.json` names, by its text or with how it is found.
fn named<'a>(config: &'a Json, key: &str) -> Option<&'a str> {
    match config.get(key)? {
        Value::String(text) => Some(text),
        value => value.get("content")?.as_str(),
    }
}
