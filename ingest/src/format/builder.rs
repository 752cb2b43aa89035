//! Puts a document together block by block, so that every reader keeps the contract of [`Extracted`].

use std::collections::HashSet;

use super::{FormatError, clean};
use crate::document::{Block, BlockKind, Extracted};

/// Part of [`super::fingerprint`]: raised when the same calls may give another text.
pub const VERSION: u32 = 2;

/// The longest text of one document, in bytes.
const MAX_TEXT: usize = 64 << 20;

/// The most warnings kept for one document.
const MAX_WARNINGS: usize = 20;

/// Collects the blocks of one document.
#[derive(Default)]
pub struct Builder {
    out: Extracted,
    /// Pages begun since the last block.
    pages_begun: usize,
    warned: HashSet<String>,
    full: bool,
}

impl Builder {
    /// Sets the document's own title; an empty one is none, and the first one stays.
    pub fn title(&mut self, title: &str) {
        let title = clean::line(title);
        if self.out.title.is_none() && !title.is_empty() {
            self.out.title = Some(title.chars().take(500).collect());
        }
    }

    /// Notes something that was left out or repaired; the same note counts once.
    pub fn warn(&mut self, warning: impl Into<String>) {
        let warning = warning.into();
        if self.out.warnings.len() < MAX_WARNINGS && self.warned.insert(warning.clone()) {
            self.out.warnings.push(warning);
        }
    }

    /// Begins a page: what is added from now on stands on it.
    pub fn page(&mut self) {
        self.pages_begun += 1;
    }

    /// Adds a heading of level 1 to 6.
    pub fn heading(&mut self, level: u8, text: &str) {
        self.block(BlockKind::Heading(level.clamp(1, 6)), &clean::line(text), 0);
    }

    /// Adds a paragraph; line feeds in it are line breaks that the document forces.
    pub fn paragraph(&mut self, text: &str) {
        self.block(BlockKind::Paragraph, &clean::prose(text), 0);
    }

    /// Adds a list item with its marker, `- ` or `1. `, at a nesting depth of 0 or more.
    pub fn item(&mut self, depth: usize, marker: &str, text: &str) {
        let text = clean::prose(text);
        if !text.is_empty() {
            self.block(BlockKind::ListItem, &format!("{}{text}", clean::prose(marker) + " "), depth.min(8));
        }
    }

    /// Adds preformatted text.
    pub fn code(&mut self, text: &str) {
        self.block(BlockKind::Code, &clean::code(text), 0);
    }

    /// Adds a table, one line a row; rows without text are left out, and so are empty columns at the end of a row.
    ///
    /// Every line shows that it is a row: one that has text in its first cell alone ends with `|`
    /// ([`crate::sentence::sentences`]). A table of one column is a frame around text, and each row a paragraph.
    pub fn table(&mut self, rows: &[Vec<String>]) {
        let filled = |row: &[String]| row.iter().rposition(|cell| !cell.trim().is_empty());
        if rows.iter().all(|row| filled(row).is_none_or(|last| last == 0)) {
            for cell in rows.iter().filter_map(|row| row.first()) {
                self.paragraph(&clean::line(cell));
            }
            return;
        }
        let mut text = String::new();
        for row in rows {
            let cells: Vec<String> = row.iter().map(|cell| clean::line(cell)).collect();
            let Some(last) = filled(&cells) else { continue };
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(cells[..=last].join(" | ").trim_start());
            if last == 0 {
                text.push_str(" |");
            }
            if text.len() > MAX_TEXT {
                break;
            }
        }
        self.block(BlockKind::Table, &text, 0);
    }

    /// Continues the last block on a line of its own, where it is of this kind; else adds a paragraph.
    pub fn continue_on_new_line(&mut self, kind: BlockKind, text: &str) {
        let text = clean::prose(text);
        if self.last().is_some_and(|last| last.kind == kind) {
            self.extend("\n", &text);
        } else {
            self.block(BlockKind::Paragraph, &text, 0);
        }
    }

    /// Continues the last block after a page break in its middle; a word hyphenated across the break is joined.
    pub fn continue_across_pages(&mut self, text: &str) {
        let text = clean::prose(text);
        if hyphenated(&self.out.text, &text) {
            self.out.text.pop();
            self.extend("", &text);
        } else {
            self.extend(" ", &text);
        }
    }

    /// Whether the last block is a paragraph that stops in the middle of a sentence.
    pub fn is_unfinished(&self) -> bool {
        self.last().is_some_and(|last| last.kind == BlockKind::Paragraph)
            && self.out.text.ends_with(|c: char| c.is_lowercase() || matches!(c, ',' | '-' | ';'))
    }

    /// Closes the document. `nothing` says what a file without text may be.
    pub fn finish(mut self, nothing: &str) -> Result<Extracted, FormatError> {
        if self.full {
            let limit = format!("{} MiB", MAX_TEXT >> 20);
            return Err(FormatError::TooLarge { what: "its text".to_owned(), limit });
        }
        if self.out.blocks.is_empty() {
            return Err(FormatError::NoText { reason: nothing.to_owned() });
        }
        self.open_pages(self.out.text.len());
        Ok(self.out)
    }

    fn last(&self) -> Option<&Block> {
        self.out.blocks.last()
    }

    /// Adds clean text as a block.
    fn block(&mut self, kind: BlockKind, text: &str, indent: usize) {
        if text.is_empty() || self.is_full(text.len()) {
            return;
        }
        if let Some(last) = self.last() {
            let tight = last.kind == BlockKind::ListItem && kind == BlockKind::ListItem;
            self.out.text.push_str(if tight { "\n" } else { "\n\n" });
        }
        for _ in 0..indent {
            self.out.text.push_str("  ");
        }
        let start = self.out.text.len();
        self.open_pages(start);
        self.out.text.push_str(text);
        let page = (!self.out.page_starts.is_empty()).then_some(self.out.page_starts.len() as u32);
        self.out.blocks.push(Block { kind, range: start..self.out.text.len(), page });
    }

    /// Adds clean text to the end of the last block.
    fn extend(&mut self, separator: &str, text: &str) {
        if text.is_empty() || self.is_full(text.len()) {
            return;
        }
        self.out.text.push_str(separator);
        self.open_pages(self.out.text.len());
        self.out.text.push_str(text);
        if let Some(last) = self.out.blocks.last_mut() {
            last.range.end = self.out.text.len();
        }
    }

    fn open_pages(&mut self, at: usize) {
        for _ in 0..std::mem::take(&mut self.pages_begun) {
            self.out.page_starts.push(at);
        }
    }

    fn is_full(&mut self, more: usize) -> bool {
        self.full |= self.out.text.len() + more > MAX_TEXT;
        self.full
    }
}

/// Whether `before` ends in the first half of a word that `after` goes on with.
pub fn hyphenated(before: &str, after: &str) -> bool {
    let mut end = before.chars().rev();
    matches!(end.next(), Some('-' | '\u{2010}'))
        && end.next().is_some_and(char::is_alphabetic)
        && after.starts_with(|c: char| c.is_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lie_exactly_on_the_text() {
        let mut builder = Builder::default();
        builder.page();
        builder.heading(1, " Título\n ");
        builder.item(0, "-", "uno");
        builder.item(1, "1.", "dos");
        builder.table(&[vec!["a".into(), String::new(), "b\nc".into()], vec![String::new()], vec!["d".into()]]);
        builder.page();
        builder.page();
        builder.paragraph("fin");
        let out = builder.finish("").unwrap();
        assert_eq!(out.text, "Título\n\n- uno\n  1. dos\n\na |  | b c\nd |\n\nfin");
        let texts: Vec<_> = out.blocks.iter().map(|block| &out.text[block.range.clone()]).collect();
        assert_eq!(texts, ["Título", "- uno", "1. dos", "a |  | b c\nd |", "fin"]);
        assert_eq!(out.blocks.iter().map(|block| block.page).collect::<Vec<_>>(), [1, 1, 1, 1, 3].map(Some));
        assert_eq!(out.page_at(out.text.len() - 1), Some(3));
    }

    #[test]
    fn a_paragraph_goes_on_across_a_page() {
        let mut builder = Builder::default();
        builder.page();
        builder.paragraph("La con-");
        builder.page();
        assert!(builder.is_unfinished());
        builder.continue_across_pages("tratación empieza.");
        let out = builder.finish("").unwrap();
        assert_eq!(out.text, "La contratación empieza.");
        assert_eq!((out.blocks.len(), out.page_at(2), out.page_at(8)), (1, Some(1), Some(2)));
    }

    #[test]
    fn each_row_of_a_table_is_a_sentence_of_its_own() {
        let rows = |rows: &[&[&str]]| -> Vec<Vec<String>> {
            rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
        };
        let mut builder = Builder::default();
        builder.paragraph("Límites por noche");
        let table = [&["Ciudad", "Límite"][..], &["Norte"], &["Madrid", "120. No más."], &["", "95"], &["Sur", " "]];
        builder.table(&rows(&table));
        builder.table(&rows(&[&["Un marco. Con texto."], &["Otro", ""]]));
        let text = builder.finish("").unwrap().text;
        let sentences: Vec<&str> = crate::sentence::sentences(&text).into_iter().map(|range| &text[range]).collect();
        let expected = [
            "Límites por noche",
            "Ciudad | Límite",
            "Norte |",
            "Madrid | 120. No más.",
            "| 95",
            "Sur |",
            "Un marco.",
            "Con texto.",
            "Otro",
        ];
        assert_eq!(sentences, expected);
    }

    #[test]
    fn a_document_without_text_says_so() {
        let mut builder = Builder::default();
        builder.paragraph(" \u{200b} ");
        assert!(matches!(builder.finish("blank"), Err(FormatError::NoText { .. })));
    }
}
