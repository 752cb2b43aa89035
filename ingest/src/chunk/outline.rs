//! From blocks to sections: what stands under which headings.

use std::ops::Range;

use crate::document::{BlockKind, Extracted};

/// A run of text under one heading.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// The headings above it, outermost first.
    pub path: Vec<String>,
    /// Where its own heading begins; `None` before the first heading, and where the heading is the text itself.
    pub heading: Option<usize>,
    /// What it holds, in order.
    pub parts: Vec<Part>,
}

/// One block of a section, or the items of one list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Paragraph(Range<usize>),
    List(Vec<Range<usize>>),
    Table(Range<usize>),
    Code(Range<usize>),
}

impl Part {
    pub(super) fn range(&self) -> Range<usize> {
        match self {
            Self::Paragraph(range) | Self::Table(range) | Self::Code(range) => range.clone(),
            Self::List(items) => {
                let start = items.first().map_or(0, |item| item.start);
                start..items.last().map_or(start, |item| item.end)
            }
        }
    }
}

/// A heading above the text in hand.
struct Open {
    level: u8,
    text: String,
    range: Range<usize>,
}

/// Groups a document's blocks by the headings above them.
///
/// A heading that `fits` not is longer than a heading should be (readers take a bold paragraph for one): it stays text.
/// So does one that has nothing under it, not even another heading.
pub(super) fn sections(extracted: &Extracted, fits: &dyn Fn(&str) -> bool) -> Vec<Section> {
    let text = extracted.text.as_str();
    let mut sections = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut parts: Vec<Part> = Vec::new();
    // Whether the innermost open heading has had neither text nor a heading below it.
    let mut bare = false;
    for (kind, range) in pieces(extracted) {
        let level = match kind {
            BlockKind::Heading(level) if fits(&text[range.clone()]) => level,
            BlockKind::Heading(_) => {
                push_part(&mut parts, BlockKind::Paragraph, range);
                continue;
            }
            _ => {
                push_part(&mut parts, kind, range);
                continue;
            }
        };
        let deeper = open.last().is_none_or(|last| last.level < level);
        close(&mut sections, &mut open, std::mem::take(&mut parts), bare && !deeper);
        while open.last().is_some_and(|last| last.level >= level) {
            open.pop();
        }
        let words: Vec<&str> = text[range.clone()].split_whitespace().collect();
        open.push(Open { level, text: words.join(" "), range });
        bare = true;
    }
    close(&mut sections, &mut open, parts, bare);
    sections
}

/// Ends the section under the open headings. With no parts, the innermost heading becomes the text if nothing else
/// will ever show it.
fn close(sections: &mut Vec<Section>, open: &mut Vec<Open>, parts: Vec<Part>, is_leaf: bool) {
    let path = |open: &[Open]| open.iter().map(|heading| heading.text.clone()).collect::<Vec<_>>();
    if !parts.is_empty() {
        let heading = open.last().map(|last| last.range.start);
        sections.push(Section { path: path(open), heading, parts });
    } else if is_leaf && let Some(last) = open.pop() {
        let parts = vec![Part::Paragraph(last.range)];
        sections.push(Section { path: path(open), heading: None, parts });
    }
}

/// Appends a block; items that follow each other are one list.
fn push_part(parts: &mut Vec<Part>, kind: BlockKind, range: Range<usize>) {
    match kind {
        BlockKind::ListItem => match parts.last_mut() {
            Some(Part::List(items)) => items.push(range),
            _ => parts.push(Part::List(vec![range])),
        },
        BlockKind::Table => parts.push(Part::Table(range)),
        BlockKind::Code => parts.push(Part::Code(range)),
        BlockKind::Heading(_) | BlockKind::Paragraph => parts.push(Part::Paragraph(range)),
    }
}

/// The blocks without the white space at their edges. Text that no block holds is a paragraph: a reader that forgets
/// some must not make it unfindable.
fn pieces(extracted: &Extracted) -> Vec<(BlockKind, Range<usize>)> {
    let text = extracted.text.as_str();
    let mut pieces = Vec::with_capacity(extracted.blocks.len());
    let mut covered = 0;
    let mut push = |kind, range: Range<usize>| {
        let slice = &text[range.clone()];
        let start = range.start + (slice.len() - slice.trim_start().len());
        let end = start + slice.trim().len();
        if start < end {
            pieces.push((kind, start..end));
        }
    };
    for block in &extracted.blocks {
        let start = text.floor_char_boundary(block.range.start).max(covered);
        let end = text.floor_char_boundary(block.range.end).max(start);
        push(BlockKind::Paragraph, covered..start);
        push(block.kind, start..end);
        covered = end;
    }
    push(BlockKind::Paragraph, covered..text.len());
    pieces
}
