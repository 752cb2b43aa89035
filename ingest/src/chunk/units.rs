//! From the parts of a section to the units that a chunk is put together of, and what it costs to break between them.

use std::ops::Range;

use super::outline::{Part, Section};
use super::pack::Sizes;
use super::words;
use crate::sentence::sentences;

/// Costs of a break before a unit, on the scale of [`super::pack`], where a chunk of half the target costs 0.25.
mod cost {
    /// Between paragraphs, lists, tables.
    pub const PART: f32 = 0.0;
    /// Between sentences of a paragraph.
    pub const SENTENCE: f32 = 0.15;
    /// Between items of a list or rows of a table that do not fit as a whole.
    pub const ROW: f32 = 0.3;
    /// Inside a sentence.
    pub const WORDS: f32 = 0.6;
    /// Between a table's head and its first row.
    pub const HEAD: f32 = 1.0;
    /// Between a list or table and the line that introduces it.
    pub const CAPTION: f32 = 2.0;
}

/// A longer paragraph is no caption.
const CAPTION_TOKENS: usize = 40;

/// How a line begins that stands below a table and belongs to it.
const CAPTION_WORDS: &[&str] =
    &["tabla", "cuadro", "table", "figura", "figure", "fuente", "source", "nota", "notas", "note", "notes"];

/// A piece of text that is not torn apart.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub range: Range<usize>,
    pub tokens: usize,
    /// Cost of a break before it.
    pub break_cost: f32,
}

/// The units of a section, in order, none larger than `sizes.max`.
pub(super) fn units(text: &str, section: &Section, sizes: &Sizes, count: &dyn Fn(&str) -> usize) -> Vec<Unit> {
    let mut cutter = Cutter { text, sizes, count, units: Vec::new() };
    let parts = &section.parts;
    for (i, part) in parts.iter().enumerate() {
        let previous = i.checked_sub(1).map(|before| &parts[before]);
        let next = parts.get(i + 1);
        let belongs = previous.is_some_and(|previous| {
            cutter.introduces(previous, part) || (!cutter.is_block(next) && cutter.is_caption_of(part, previous))
        });
        let break_cost = if belongs { cost::CAPTION } else { cost::PART };
        let introduces = next.is_some_and(|next| cutter.introduces(part, next));
        cutter.part(part, break_cost, next.filter(|_| introduces));
    }
    cutter.units
}

struct Cutter<'a> {
    text: &'a str,
    sizes: &'a Sizes,
    count: &'a dyn Fn(&str) -> usize,
    units: Vec<Unit>,
}

impl Cutter<'_> {
    fn is_block(&self, part: Option<&Part>) -> bool {
        part.is_some_and(|part| !matches!(part, Part::Paragraph(_)))
    }

    /// Whether a paragraph leads into the list, table or listing after it.
    fn introduces(&self, part: &Part, next: &Part) -> bool {
        let Part::Paragraph(range) = part else { return false };
        if !self.is_block(Some(next)) {
            return false;
        }
        let slice = &self.text[range.clone()];
        slice.ends_with(':') || (matches!(next, Part::Table(_)) && (self.count)(slice) <= CAPTION_TOKENS)
    }

    /// Whether a paragraph is the legend below a table.
    fn is_caption_of(&self, part: &Part, table: &Part) -> bool {
        let (Part::Paragraph(range), Part::Table(_)) = (part, table) else { return false };
        let slice = &self.text[range.clone()];
        let word = slice.split(|c: char| !c.is_alphabetic()).next().unwrap_or("");
        CAPTION_WORDS.contains(&word.to_lowercase().as_str()) && (self.count)(slice) <= CAPTION_TOKENS
    }

    /// Adds the units of one part; `leads_to` is the block that it introduces.
    fn part(&mut self, part: &Part, break_cost: f32, leads_to: Option<&Part>) {
        let tokens = self.tokens(&part.range());
        match part {
            Part::Paragraph(range) => {
                let crowded = leads_to.is_some_and(|next| tokens + self.tokens(&next.range()) > self.sizes.max);
                if tokens <= self.sizes.target && !crowded {
                    self.units.push(Unit { range: range.clone(), tokens, break_cost });
                } else {
                    self.sentences(range, break_cost);
                }
            }
            _ if tokens <= self.sizes.max => self.units.push(Unit { range: part.range(), tokens, break_cost }),
            Part::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    let break_cost = if i == 0 { break_cost } else { cost::ROW };
                    let tokens = self.tokens(item);
                    if tokens <= self.sizes.max {
                        self.units.push(Unit { range: item.clone(), tokens, break_cost });
                    } else {
                        self.sentences(item, break_cost);
                    }
                }
            }
            Part::Table(range) | Part::Code(range) => {
                let is_table = matches!(part, Part::Table(_));
                for (i, line) in lines(self.text, range).into_iter().enumerate() {
                    let break_cost = match i {
                        0 => break_cost,
                        1 if is_table => cost::HEAD,
                        _ => cost::ROW,
                    };
                    self.cut_to_fit(line, break_cost);
                }
            }
        }
    }

    fn sentences(&mut self, range: &Range<usize>, first_cost: f32) {
        let found = sentences(&self.text[range.clone()]);
        for (i, sentence) in found.into_iter().enumerate() {
            let break_cost = if i == 0 { first_cost } else { cost::SENTENCE };
            self.cut_to_fit(range.start + sentence.start..range.start + sentence.end, break_cost);
        }
    }

    /// Adds a sentence or row, in pieces where it is too long for any chunk.
    fn cut_to_fit(&mut self, range: Range<usize>, first_cost: f32) {
        let tokens = self.tokens(&range);
        if tokens <= self.sizes.max {
            self.units.push(Unit { range, tokens, break_cost: first_cost });
            return;
        }
        for (i, piece) in words::cut(self.text, range, self.sizes.max, self.count).into_iter().enumerate() {
            let tokens = self.tokens(&piece);
            let break_cost = if i == 0 { first_cost } else { cost::WORDS };
            self.units.push(Unit { range: piece, tokens, break_cost });
        }
    }

    fn tokens(&self, range: &Range<usize>) -> usize {
        (self.count)(&self.text[range.clone()]).max(1)
    }
}

/// The lines of a range that hold more than white space, trimmed.
fn lines(text: &str, range: &Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = range.start;
    for line in text[range.clone()].split_inclusive('\n') {
        let start = at + (line.len() - line.trim_start().len());
        let end = start + line.trim().len();
        if start < end {
            found.push(start..end);
        }
        at += line.len();
    }
    found
}
