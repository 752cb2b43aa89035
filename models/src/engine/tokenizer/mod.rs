//! Text to tokens and back, by the vocabulary that the model's files carry.
//!
//! | file | what it holds |
//! |---|---|
//! | `byte_level` | byte-level BPE (`gpt2` in GGUF): Llama 3, SmolLM, Qwen, … |
//! | `sentence_piece` | SentencePiece by scores (`llama` in GGUF): Llama 2, TinyLlama, Mistral, Gemma, … |
//! | `hub` | `tokenizer.json` of the Hugging Face hub |
//! | `specials` | texts that are one token wherever they stand |

mod byte_level;
mod hub;
mod sentence_piece;
mod specials;

use std::collections::HashSet;

use self::byte_level::ByteLevel;
use self::hub::HubTokenizer;
use self::sentence_piece::SentencePiece;
use self::specials::Specials;
use super::gguf::Gguf;
use super::hub::HubFolder;
use crate::ModelError;

/// Codes that GGUF files give to kinds of tokens (`llama_token_type`).
mod kind {
    pub const UNKNOWN: u64 = 2;
    pub const CONTROL: u64 = 3;
    pub const USER_DEFINED: u64 = 4;
    pub const BYTE: u64 = 6;
}

/// What GGUF files call the state of the last token (`llama_pooling_type`).
const POOLING_LAST: u64 = 3;

/// Control tokens that end a turn in one or another model, as llama.cpp knows them.
const END_TOKENS: &[&str] = &[
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "</s>",
];

/// Special tokens of Phi-3 that leave the white space behind them alone.
const STRIP_NOTHING: &[&str] = &["<unk>", "<s>", "<|endoftext|>"];

/// The tokenizer of a model.
pub struct Tokenizer {
    model: Model,
    tokens: Vec<Token>,
    specials: Specials,
    /// Whether white space behind a special token goes with it.
    strips: bool,
    ends: HashSet<u32>,
    begin: Option<u32>,
    end: Option<u32>,
    add_begin: bool,
    add_end: bool,
}

enum Model {
    ByteLevel(Box<ByteLevel>),
    SentencePiece(SentencePiece),
    Hub(Box<HubTokenizer>),
}

/// A token as the file lists it.
#[derive(Default)]
struct Token {
    text: String,
    /// What it adds to an answer; nothing for control tokens.
    bytes: Vec<u8>,
}

impl Tokenizer {
    /// Reads the `tokenizer.ggml` metadata.
    pub fn read(gguf: &Gguf<'_>) -> Result<Self, String> {
        let listed = gguf.array("tokenizer.ggml.tokens").ok_or("its metadata lack `tokenizer.ggml.tokens`")?;
        let texts: Vec<String> = listed
            .iter()
            .map(|value| value.text().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or("`tokenizer.ggml.tokens` holds something other than texts")?;
        let kinds: Vec<u64> = match gguf.array("tokenizer.ggml.token_type") {
            None => vec![1; texts.len()],
            Some(kinds) if kinds.len() == texts.len() => {
                kinds.iter().map(|kind| kind.unsigned().unwrap_or(1)).collect()
            }
            Some(kinds) => return Err(format!("it lists {} tokens and {} token types", texts.len(), kinds.len())),
        };
        let model = match gguf.text("tokenizer.ggml.model") {
            Some("gpt2") => Model::ByteLevel(Box::new(ByteLevel::read(gguf, &texts)?)),
            Some("llama") => Model::SentencePiece(SentencePiece::read(gguf, &texts, &kinds)?),
            Some(other) => return Err(format!("its tokenizer is `{other}`; known: gpt2, llama")),
            None => return Err("its metadata lack `tokenizer.ggml.model`".into()),
        };
        let architecture = gguf.text("general.architecture");
        let (default_begin, strips) = match &model {
            Model::ByteLevel(model) => (model.begins(), false),
            // GGUF cannot say that Phi-3's special tokens take the white space behind them along.
            _ => (true, architecture == Some("phi3")),
        };

        let mut tokens = Vec::with_capacity(texts.len());
        let mut specials = Vec::new();
        let mut ends = HashSet::new();
        for (id, (text, kind)) in texts.into_iter().zip(&kinds).enumerate() {
            let bytes = match (*kind, &model) {
                (kind::CONTROL | kind::UNKNOWN, _) => Vec::new(),
                (kind::USER_DEFINED, _) => text.as_bytes().to_vec(),
                (_, Model::ByteLevel(model)) => model.bytes(&text),
                (kind, _) => sentence_piece::bytes(&text, kind == kind::BYTE),
            };
            if matches!(*kind, kind::CONTROL | kind::UNKNOWN | kind::USER_DEFINED) && !text.is_empty() {
                specials.push((text.clone(), id as u32));
            }
            if *kind == kind::CONTROL && END_TOKENS.contains(&text.as_str()) {
                ends.insert(id as u32);
            }
            tokens.push(Token { text, bytes });
        }
        let id = |name: &str| {
            let id = u32::try_from(gguf.unsigned(&format!("tokenizer.ggml.{name}_token_id"))?).ok()?;
            ((id as usize) < tokens.len()).then_some(id)
        };
        ends.extend([id("eos"), id("eot"), id("eom")].into_iter().flatten());
        let (begin, end) = (id("bos"), id("eos"));
        let add_begin = gguf.bool("tokenizer.ggml.add_bos_token").unwrap_or(default_begin);
        // Networks whose vector is the state of the last token count on one that ends the text, and not all files say so.
        let pools_last =
            architecture.is_some_and(|name| gguf.unsigned(&format!("{name}.pooling_type")) == Some(POOLING_LAST));
        let add_end = gguf.bool("tokenizer.ggml.add_eos_token").unwrap_or(pools_last);
        Ok(Self { strips, begin, end, add_begin, add_end, ..Self::of(model, tokens, specials, ends)? })
    }

    /// With texts that are special, and nothing put around a prompt.
    fn of(model: Model, tokens: Vec<Token>, specials: Vec<(String, u32)>, ends: HashSet<u32>) -> Result<Self, String> {
        let specials = Specials::new(specials)?;
        let (begin, end, add_begin, add_end) = (None, None, false, false);
        Ok(Self { model, tokens, specials, strips: false, ends, begin, end, add_begin, add_end })
    }

    /// Reads the tokenizer of a folder of the hub for a network that knows `vocabulary` tokens.
    ///
    /// # Errors
    /// [`ModelError::Io`] when a file is missing, [`ModelError::Invalid`] when one is damaged or does not fit.
    pub fn from_hub(folder: &HubFolder, vocabulary: usize) -> Result<Self, ModelError> {
        hub::open(folder, vocabulary)
    }

    /// How many tokens there are.
    pub fn vocabulary(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens of a prompt: special tokens honoured, and the token that begins a text put first where the model
    /// wants it and the prompt has not got it.
    pub fn encode_prompt(&self, prompt: &str) -> Result<Vec<u32>, String> {
        let mut tokens = self.encode(prompt)?;
        if let Some(begin) = self.begin
            && self.add_begin
            && tokens.first() != Some(&begin)
        {
            tokens.insert(0, begin);
        }
        Ok(tokens)
    }

    /// The tokens that stand before and behind every text that is to be embedded.
    pub fn around(&self) -> (Vec<u32>, Vec<u32>) {
        let begin = self.begin.filter(|_| self.add_begin);
        let end = self.end.filter(|_| self.add_end);
        (Vec::from_iter(begin), Vec::from_iter(end))
    }

    /// The tokens of a text, special tokens honoured, none added.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        let mut tokens = Vec::new();
        if let Model::Hub(model) = &self.model {
            model.encode(text, &mut tokens)?;
            return self.known(tokens);
        }
        let mut at = 0;
        let mut at_start = true;
        while at < text.len() {
            let found = self.specials.find(text, at);
            let plain = &text[at..found.as_ref().map_or(text.len(), |found| found.start)];
            if !plain.is_empty() {
                match &self.model {
                    Model::ByteLevel(model) => model.encode(plain, &mut tokens)?,
                    Model::SentencePiece(model) => model.encode(plain, at_start, &mut tokens),
                    Model::Hub(_) => {}
                }
            }
            let Some(special) = found else { break };
            tokens.push(special.id);
            at = special.start + special.text.len();
            if self.strips && !STRIP_NOTHING.contains(&special.text) {
                at = text.len() - text[at..].trim_start().len();
            }
            at_start = true;
        }
        Ok(tokens)
    }

    /// Refuses tokens that the network does not know.
    fn known(&self, tokens: Vec<u32>) -> Result<Vec<u32>, String> {
        match tokens.iter().find(|token| **token as usize >= self.tokens.len()) {
            Some(token) => Err(format!("token {token} is none of the network's")),
            None => Ok(tokens),
        }
    }

    /// The tokens of a text in the middle of an answer, where nothing is special.
    pub fn encode_inside(&self, text: &str) -> Result<Vec<u32>, String> {
        let mut tokens = Vec::new();
        match &self.model {
            Model::ByteLevel(model) => model.encode(text, &mut tokens)?,
            Model::SentencePiece(model) => model.encode(text, false, &mut tokens),
            Model::Hub(model) => model.encode_inside(text, &mut tokens)?,
        }
        Ok(tokens)
    }

    /// A text in which nothing is read as a special token.
    pub fn disarm(&self, text: &str) -> String {
        self.specials.disarm(text)
    }

    /// What a token adds to an answer; nothing for control tokens.
    pub fn bytes(&self, token: u32) -> &[u8] {
        self.tokens.get(token as usize).map_or(&[], |token| &token.bytes)
    }

    /// Whether a token ends the model's turn.
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The text of the token that begins a text, for chat templates.
    pub fn begin_text(&self) -> &str {
        self.text(self.begin)
    }

    /// The text of the token that ends a text, for chat templates.
    pub fn end_text(&self) -> &str {
        self.text(self.end)
    }

    fn text(&self, token: Option<u32>) -> &str {
        token.map_or("", |token| &self.tokens[token as usize].text)
    }
}

#[cfg(test)]
impl Tokenizer {
    /// Tokens `a`, `b`, `c`, … that only ever go back to text.
    pub(super) fn of_letters(count: u8) -> Self {
        let texts: Vec<String> = (0..count).map(|index| char::from(b'a' + index).to_string()).collect();
        Self::of_texts(&texts.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Tokens of these texts, none of them special.
    pub(super) fn of_texts(texts: &[&str]) -> Self {
        let token = |text: &&str| Token { text: (*text).to_owned(), bytes: text.as_bytes().to_vec() };
        let tokens = texts.iter().map(token).collect();
        Self::of(Model::SentencePiece(SentencePiece::empty()), tokens, Vec::new(), HashSet::new()).unwrap()
    }
}
