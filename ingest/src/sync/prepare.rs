//! What can be done of a document away from the index: reading, comparing, understanding and splitting it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Embed, Extract, ExtractError, Known, KnownState, Readers};
use crate::chunk::{self, ChunkSettings, Splitting};
use crate::document::{BlockKind, Chunk, ContentHash, Extracted, Language, RawDocument, SourceItem};
use crate::source::{ReadError, Source};
use crate::{format, language};

/// What all threads of a pass share.
pub(super) struct Shared<'a> {
    pub source: &'a dyn Source,
    pub embed: &'a dyn Embed,
    pub readers: &'a Readers<'a>,
    /// Ledger rows by path.
    pub known: &'a HashMap<String, Known>,
    pub pipeline: &'a str,
    pub target_tokens: usize,
}

/// What a file came to.
pub(super) struct Prepared {
    /// Bytes read.
    pub bytes: u64,
    pub outcome: Outcome,
}

pub(super) enum Outcome {
    /// Content and pipeline are those of its ledger row.
    Unchanged,
    /// As before, it cannot be understood.
    FailedAgain(String),
    /// Its content could not be had.
    NotRead(ReadError),
    /// No reader knows it.
    Skipped(String),
    /// It cannot be understood.
    Failed(ContentHash, String),
    /// Its reader broke down.
    Stopped(ContentHash, String),
    /// It is ready for its vectors.
    Ready(ContentHash, Box<Ready>),
}

/// A document without what only the pass knows of it.
pub(super) struct Ready {
    pub title: String,
    pub language: Option<Language>,
    pub text: String,
    /// In characters.
    pub page_starts: Vec<usize>,
    pub chunks: Vec<Chunk>,
    pub warnings: Vec<String>,
}

impl Prepared {
    /// Bytes it takes in memory, about.
    pub fn size(&self) -> u64 {
        match &self.outcome {
            // The chunks hold the text once more, and each has its own fields.
            Outcome::Ready(_, ready) => (2 * ready.text.len() + 256 * ready.chunks.len()) as u64,
            _ => 0,
        }
    }
}

/// One thread's part of a pass.
pub(super) struct Preparer<'a> {
    shared: &'a Shared<'a>,
    extract: Box<Extract>,
}

impl<'a> Preparer<'a> {
    pub fn new(shared: &'a Shared<'a>) -> Self {
        Self { shared, extract: (shared.readers.open)() }
    }

    /// Reads one file and makes of it what can be made. Never panics, whatever a reader does.
    pub fn prepare(&mut self, item: &SourceItem) -> Prepared {
        if let Some(refused) = format::refused_by_name(&item.path) {
            return Prepared { bytes: 0, outcome: Outcome::Skipped(refused.to_string()) };
        }
        let bytes = match self.shared.source.read(item) {
            Ok(bytes) => bytes,
            Err(error) => return Prepared { bytes: 0, outcome: Outcome::NotRead(error) },
        };
        let length = bytes.len() as u64;
        let hash = ContentHash::of(&bytes);
        if let Some(known) = self.shared.known.get(&item.path)
            && known.content_hash == hash
            && known.pipeline == self.shared.pipeline
        {
            match &known.state {
                KnownState::Indexed => return Prepared { bytes: length, outcome: Outcome::Unchanged },
                KnownState::Failed { reason } => {
                    return Prepared { bytes: length, outcome: Outcome::FailedAgain(reason.clone()) };
                }
                KnownState::Pending => {}
            }
        }
        let raw = RawDocument { path: item.path.clone(), bytes };
        let made = catch_unwind(AssertUnwindSafe(|| {
            let extracted = (self.extract)(&raw)?;
            Ok(self.split(&item.path, extracted))
        }));
        let outcome = match made {
            Ok(Ok(ready)) if ready.chunks.is_empty() => Outcome::Failed(hash, "no text in it".to_owned()),
            Ok(Ok(ready)) => Outcome::Ready(hash, Box::new(ready)),
            Ok(Err(ExtractError::UnknownFormat(reason))) => Outcome::Skipped(reason),
            Ok(Err(ExtractError::Unreadable(reason))) => Outcome::Failed(hash, reason),
            Ok(Err(ExtractError::Stopped(reason))) => Outcome::Stopped(hash, reason),
            Err(_) => {
                // A reader that panicked may be left in any state.
                self.extract = (self.shared.readers.open)();
                Outcome::Failed(hash, "its reader panicked".to_owned())
            }
        };
        Prepared { bytes: length, outcome }
    }

    fn split(&self, path: &str, extracted: Extracted) -> Ready {
        let embed = self.shared.embed;
        let count_tokens = |text: &str| chunk::size(text, embed.count_tokens(text));
        let max_tokens = embed.max_tokens();
        let title = chunk::fit_title(&title(path, &extracted), max_tokens, &count_tokens);
        let document_language = language::of_document(&extracted.text);
        let chunks = chunk::split(
            &extracted,
            &Splitting {
                settings: ChunkSettings { target_tokens: self.shared.target_tokens, max_tokens },
                title: &title,
                language: document_language,
                count_tokens: &count_tokens,
            },
        );
        let page_starts = in_characters(&extracted.text, &extracted.page_starts);
        let Extracted { text, warnings, .. } = extracted;
        Ready { title, language: document_language, text, page_starts, chunks, warnings }
    }
}

/// Its own title, else its first heading, else its file name.
fn title(path: &str, extracted: &Extracted) -> String {
    let own = extracted.title.as_deref().map(str::trim).filter(|title| !title.is_empty());
    if let Some(title) = own {
        return title.to_owned();
    }
    let is_heading = |kind: BlockKind| matches!(kind, BlockKind::Heading(_));
    let headings = extracted.blocks.iter().filter(|block| is_heading(block.kind));
    for heading in headings {
        if let Some(text) = extracted.text.get(heading.range.clone())
            && !text.trim().is_empty()
        {
            return text.to_owned();
        }
    }
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// Byte offsets, in order, as character offsets.
fn in_characters(text: &str, offsets: &[usize]) -> Vec<usize> {
    let (mut byte, mut characters) = (0, 0);
    let mut counted = Vec::with_capacity(offsets.len());
    for &offset in offsets {
        let offset = text.floor_char_boundary(offset).max(byte);
        characters += text[byte..offset].chars().count();
        byte = offset;
        counted.push(characters);
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Block;

    #[test]
    fn the_title_is_the_documents_own_then_a_heading_then_the_file_name() {
        let mut extracted = Extracted { text: "texto\n\nGuía".into(), ..Extracted::default() };
        assert_eq!(title("a/b.md", &extracted), "b.md");
        extracted.blocks = vec![Block { kind: BlockKind::Heading(2), range: 7..12, page: None }];
        assert_eq!(title("a/b.md", &extracted), "Guía");
        extracted.title = Some(" ".into());
        assert_eq!(title("a/b.md", &extracted), "Guía");
        extracted.title = Some("Política".into());
        assert_eq!(title("a/b.md", &extracted), "Política");
    }

    #[test]
    fn pages_begin_at_characters() {
        assert_eq!(in_characters("ñandú €5", &[0, 2, 8, 99]), [0, 1, 6, 8]);
    }
}
