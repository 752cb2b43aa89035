//! Structure-aware splitting: from a document's text and blocks to passages that can stand alone.
//!
//! A pure function, [`split`]. A chunk is a byte-exact slice of the text, so that a quote can be shown at its place.
//! Headings become the section path, which is embedded with each chunk; they are not repeated in its text.
//!
//! Sections are not mixed, with one exception: one below a quarter of the target takes the next one in where both fit
//! the target. A lone line such as "Ask reception." matches nothing well by itself, and as one of ten hits it takes the
//! place of a passage that says something, while two or three such neighbours under their common heading still speak of
//! one thing. Larger sections stay alone, since a vector of two topics is near to neither.

use crate::document::{Chunk, Extracted, Language};
use crate::language;

mod outline;
mod pack;
mod units;
mod words;

use outline::Section;

/// Characters of a token of a tokenizer that knows the language: those of Spanish and English have about five.
const CHARACTERS_PER_TOKEN: f32 = 4.5;

/// How long a text of so many tokens is taken to be: at most as long as its characters make it. A model that does not know a
/// language cuts its words into twice as many pieces, which says nothing about how much a passage says; half a paragraph would
/// be all that fits. What then is beyond its window is embedded in stretches.
pub fn size(text: &str, tokens: usize) -> usize {
    tokens.min((text.chars().count() as f32 / CHARACTERS_PER_TOKEN).ceil() as usize)
}

/// The size in tokens that chunks aim at.
pub const TARGET_TOKENS: usize = 200;

/// Part of what the ledger compares: a change of the splitter's rules must change it.
pub const VERSION: u32 = 3;

/// No language has more bytes a token; above this the token count says nothing (a word piece model counts a whole
/// base64 blob as one unknown token), and the bytes count instead.
const MAX_BYTES_PER_TOKEN: usize = 16;

/// How large chunks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSettings {
    /// Aimed at, in tokens of the chunk's own text.
    pub target_tokens: usize,
    /// Never exceeded by title, section path and text together ([`crate::sync::embedding_text`]): the model's window.
    pub max_tokens: usize,
}

/// What a text is split for and with.
pub struct Splitting<'a> {
    /// The sizes.
    pub settings: ChunkSettings,
    /// The document's title, see [`fit_title`]: it is embedded with each chunk and takes its room.
    pub title: &'a str,
    /// The language that short chunks are taken to be in.
    pub language: Option<Language>,
    /// Length of a text in tokens, see [`size`].
    pub count_tokens: &'a dyn Fn(&str) -> usize,
}

impl Splitting<'_> {
    /// Length in tokens, or a lower bound of it that is beyond every chunk already.
    fn tokens(&self, text: &str) -> usize {
        let floor = text.len().div_ceil(MAX_BYTES_PER_TOKEN);
        if floor > self.settings.max_tokens { floor } else { (self.count_tokens)(text).max(floor) }
    }
}

/// A chunk before its offsets are counted.
struct Draft {
    start: usize,
    end: usize,
    section: Vec<String>,
    /// Where its section's heading begins, if that is not part of it.
    heading: Option<usize>,
    /// Whether it holds all of its section.
    whole: bool,
    tokens: usize,
}

/// Splits a document into passages, in order. Every character that is neither white space nor part of a heading is in
/// exactly one of them.
pub fn split(extracted: &Extracted, how: &Splitting<'_>) -> Vec<Chunk> {
    let text = extracted.text.as_str();
    let longest_heading = how.settings.max_tokens / 4;
    let mut drafts: Vec<Draft> = Vec::new();
    for section in outline::sections(extracted, &|heading| how.tokens(heading) <= longest_heading) {
        for draft in split_section(text, &section, how) {
            match drafts.last_mut().and_then(|last| joined(text, last, &draft, how).map(|join| (last, join))) {
                Some((last, join)) => *last = join,
                None => drafts.push(draft),
            }
        }
    }
    number(extracted, drafts, how.language)
}

/// Shortens a title to what may take room beside each chunk: a quarter of the model's window.
pub fn fit_title(title: &str, max_tokens: usize, count_tokens: &dyn Fn(&str) -> usize) -> String {
    let room = (max_tokens / 4).max(1);
    let mut kept = String::new();
    let mut tokens = 0;
    for word in title.split_whitespace() {
        tokens += count_tokens(word).max(word.len().div_ceil(MAX_BYTES_PER_TOKEN));
        if tokens > room {
            break;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(word);
    }
    // A title of one endless word is cut in the word.
    if kept.is_empty() { title.trim().chars().take(room).collect() } else { kept }
}

/// Cuts a section path from its outer end until it takes at most a quarter of the window.
fn fit_path(path: &[String], how: &Splitting<'_>) -> Vec<String> {
    let room = how.settings.max_tokens / 4;
    let mut tokens = 0;
    let mut kept = 0;
    for heading in path.iter().rev() {
        tokens += how.tokens(&format!(" > {heading}"));
        if tokens > room {
            break;
        }
        kept += 1;
    }
    path[path.len() - kept..].to_vec()
}

/// Tokens left for a chunk's text beside its title and section path.
fn room(section: &[String], how: &Splitting<'_>) -> usize {
    let window = how.settings.max_tokens;
    let prefix = crate::sync::embedding_prefix(how.title, section);
    window.saturating_sub(how.tokens(&prefix)).max(window / 4).max(1)
}

fn split_section(text: &str, section: &Section, how: &Splitting<'_>) -> Vec<Draft> {
    let path = fit_path(&section.path, how);
    let max = room(&path, how);
    let sizes = pack::Sizes { target: how.settings.target_tokens.clamp(1, max), max };
    let count = |slice: &str| how.tokens(slice);
    let units = units::units(text, section, &sizes, &count);
    let mut drafts: Vec<Draft> = Vec::new();
    for run in pack::pack(&units, &sizes) {
        for range in pack::verified(text, &units[run], max, &count) {
            let tokens = count(&text[range.clone()]);
            drafts.push(Draft {
                start: range.start,
                end: range.end,
                section: path.clone(),
                heading: section.heading,
                whole: false,
                tokens,
            });
        }
    }
    if let [only] = drafts.as_mut_slice() {
        only.whole = true;
    }
    drafts
}

/// A tiny section together with the one that follows it, if they are siblings or parent and child and fit.
fn joined(text: &str, first: &Draft, second: &Draft, how: &Splitting<'_>) -> Option<Draft> {
    let target = how.settings.target_tokens;
    if !first.whole || !second.whole || first.tokens * 4 >= target || first.tokens + second.tokens > target {
        return None;
    }
    let common = first.section.iter().zip(&second.section).take_while(|(a, b)| a == b).count();
    // The first one's own heading is no longer in the path, so it comes into the text.
    let start = match first.section.len() - common {
        0 => first.start,
        1 => first.heading?,
        _ => return None,
    };
    let section = first.section[..common].to_vec();
    let tokens = how.tokens(&text[start..second.end]);
    let heading = if start == first.start { first.heading } else { None };
    (tokens <= target.min(room(&section, how))).then_some(Draft {
        start,
        end: second.end,
        section,
        heading,
        whole: true,
        tokens,
    })
}

/// Counts characters once along the text and makes the chunks.
fn number(extracted: &Extracted, drafts: Vec<Draft>, language: Option<Language>) -> Vec<Chunk> {
    let text = extracted.text.as_str();
    let (mut byte, mut characters) = (0, 0);
    let mut chunks = Vec::with_capacity(drafts.len());
    for (position, draft) in drafts.into_iter().enumerate() {
        let slice = &text[draft.start..draft.end];
        let start = characters + text[byte..draft.start].chars().count();
        let end = start + slice.chars().count();
        (byte, characters) = (draft.end, end);
        chunks.push(Chunk {
            position: position as u32,
            text: slice.to_owned(),
            start,
            end,
            section: draft.section,
            page: extracted.page_at(draft.start),
            language: language::of_chunk(slice, language),
        });
    }
    chunks
}

#[cfg(test)]
mod tests;
