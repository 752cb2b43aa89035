//! SentencePiece as llama.cpp does it: characters joined in the order of the scores of what they make.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::kind;
use crate::engine::gguf::Gguf;

/// Stands for a space in the vocabulary.
const SPACE: &str = "\u{2581}";

/// A vocabulary with scores.
#[derive(Default)]
pub struct SentencePiece {
    ids: HashMap<String, u32>,
    scores: Vec<f32>,
    /// Tokens for single bytes, for characters that the vocabulary lacks.
    bytes: HashMap<u8, u32>,
    unknown: u32,
    space_first: bool,
}

/// A stretch of the text: bytes `start..end`, and its neighbours.
#[derive(Clone, Copy)]
struct Symbol {
    start: usize,
    end: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours that make a token.
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// Length in bytes; a pair of another length has been joined with something else since.
    length: usize,
}

impl SentencePiece {
    /// Reads the scores; `tokens` is the vocabulary and `kinds` says which tokens are bytes.
    pub fn read(gguf: &Gguf<'_>, tokens: &[String], kinds: &[u64]) -> Result<Self, String> {
        let scores = gguf.array("tokenizer.ggml.scores").ok_or("its metadata lack `tokenizer.ggml.scores`")?;
        if scores.len() != tokens.len() {
            return Err(format!("it lists {} tokens and {} scores", tokens.len(), scores.len()));
        }
        let mut ids = HashMap::new();
        let mut bytes = HashMap::new();
        for (id, (token, kind)) in tokens.iter().zip(kinds).enumerate() {
            if *kind == kind::BYTE
                && let Some(byte) = byte_of(token)
            {
                bytes.insert(byte, id as u32);
            }
            ids.entry(token.clone()).or_insert(id as u32);
        }
        Ok(Self {
            ids,
            scores: scores.iter().map(|score| score.float().unwrap_or(0.0)).collect(),
            bytes,
            unknown: gguf
                .unsigned("tokenizer.ggml.unknown_token_id")
                .and_then(|id| u32::try_from(id).ok())
                .unwrap_or(0),
            space_first: gguf.bool("tokenizer.ggml.add_space_prefix").unwrap_or(true),
        })
    }

    /// Appends the tokens of a text; `at_start` says that it begins the prompt or follows a special token.
    pub fn encode(&self, text: &str, at_start: bool, tokens: &mut Vec<u32>) {
        let mut escaped = String::new();
        if self.space_first && at_start {
            escaped.push_str(SPACE);
        }
        escaped.push_str(&text.replace(' ', SPACE));

        let mut symbols: Vec<Symbol> = Vec::new();
        for (index, (start, character)) in escaped.char_indices().enumerate() {
            let next = Some(index + 1);
            symbols.push(Symbol { start, end: start + character.len_utf8(), previous: index.checked_sub(1), next });
        }
        if let Some(last) = symbols.last_mut() {
            last.next = None;
        }
        let mut pairs = BinaryHeap::new();
        for right in 1..symbols.len() {
            self.offer(&escaped, &symbols, right - 1, right, &mut pairs);
        }
        while let Some(Pair { left, right, length, .. }) = pairs.pop() {
            // A pair whose parts have changed since is stale: an emptied symbol, or another length.
            let (a, b) = (symbols[left], symbols[right]);
            if a.start == a.end || b.start == b.end || b.end - a.start != length || a.next != Some(right) {
                continue;
            }
            symbols[left].end = b.end;
            symbols[left].next = b.next;
            symbols[right].end = symbols[right].start;
            if let Some(next) = b.next {
                symbols[next].previous = Some(left);
                self.offer(&escaped, &symbols, left, next, &mut pairs);
            }
            if let Some(previous) = a.previous {
                self.offer(&escaped, &symbols, previous, left, &mut pairs);
            }
        }
        let mut at = (!symbols.is_empty()).then_some(0);
        while let Some(index) = at {
            let piece = &escaped[symbols[index].start..symbols[index].end];
            match self.ids.get(piece) {
                Some(id) => tokens.push(*id),
                None => tokens.extend(piece.bytes().map(|byte| *self.bytes.get(&byte).unwrap_or(&self.unknown))),
            }
            at = symbols[index].next;
        }
    }

    fn offer(&self, text: &str, symbols: &[Symbol], left: usize, right: usize, pairs: &mut BinaryHeap<Pair>) {
        let (start, end) = (symbols[left].start, symbols[right].end);
        if let Some(id) = self.ids.get(&text[start..end]) {
            pairs.push(Pair { score: self.scores[*id as usize], left, right, length: end - start });
        }
    }
}

#[cfg(test)]
impl SentencePiece {
    /// Without tokens.
    pub fn empty() -> Self {
        Self::default()
    }
}

/// The bytes that a token of the vocabulary stands for.
pub fn bytes(token: &str, is_byte: bool) -> Vec<u8> {
    match byte_of(token) {
        Some(byte) if is_byte => vec![byte],
        _ => token.replace(SPACE, " ").into_bytes(),
    }
}

/// The byte of a token like `<0x0A>`.
fn byte_of(token: &str) -> Option<u8> {
    u8::from_str_radix(token.strip_prefix("<0x")?.strip_suffix('>')?, 16).ok()
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pair {
    /// The best score first; among equals the leftmost.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(pieces: &[(&str, f32)]) -> SentencePiece {
        let mut model = SentencePiece { space_first: true, ..SentencePiece::default() };
        for (id, (piece, score)) in pieces.iter().enumerate() {
            model.ids.insert((*piece).to_owned(), id as u32);
            model.scores.push(*score);
            if let Some(byte) = byte_of(piece) {
                model.bytes.insert(byte, id as u32);
            }
        }
        model
    }

    #[test]
    fn the_best_score_joins_first_and_what_is_unknown_goes_by_bytes() {
        let pieces = [
            ("<unk>", 0.0),
            ("\u{2581}", -9.0),
            ("a", -9.0),
            ("b", -9.0),
            ("c", -9.0),
            ("ab", -2.0),
            ("bc", -1.0),
            ("abc", -3.0),
            ("<0xC3>", 0.0),
            ("<0xB1>", 0.0),
        ];
        let encode = |text: &str| {
            let mut tokens = Vec::new();
            model(&pieces).encode(text, true, &mut tokens);
            tokens
        };
        // "bc" comes before "ab", and then "a" with "bc" makes the whole.
        assert_eq!(encode("abc"), [1, 7]);
        assert_eq!(encode("ab c"), [1, 5, 1, 4]);
        assert_eq!(encode("ñ"), [1, 8, 9]);
        assert_eq!(bytes("\u{2581}ab", false), b" ab");
        assert_eq!(bytes("<0x0A>", true), b"\n");
    }
}
