//! The running text of a document: paragraphs, tables and what stands inside them.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::numbering::Numbering;
use super::package::attribute;
use super::styles::Styles;
use super::{damaged, xml_error};
use crate::format::FormatError;
use crate::format::builder::Builder;

/// The deepest nesting of elements; Word itself writes no more than a few dozen.
const MAX_DEPTH: usize = 2000;

/// Reads the parts that hold running text.
pub struct Body<'a> {
    builder: &'a mut Builder,
    styles: &'a Styles,
    numbering: Numbering,
    /// Open paragraphs: a text box stands inside the paragraph that anchors it.
    paragraphs: Vec<ParagraphState>,
    /// Open tables, outermost first.
    tables: Vec<Table>,
    depth: usize,
    /// The depth of an element that is left out with all that is in it.
    skipping: Option<usize>,
    /// Whether the text of a `w:t` is being read.
    in_text: bool,
    /// Whether the run is hidden.
    hidden: bool,
    in_properties: bool,
}

#[derive(Default)]
struct ParagraphState {
    text: String,
    style: Option<String>,
    outline: Option<u8>,
    list: Option<String>,
    level: Option<u8>,
}

/// A piece of a table cell, kept until it is clear whether the table is one.
struct Piece {
    heading: Option<u8>,
    label: Option<(usize, String)>,
    text: String,
}

#[derive(Default)]
struct Table {
    rows: Vec<Vec<Vec<Piece>>>,
    /// Text of the cell above for each column, for cells merged downwards.
    above: Vec<String>,
    span: usize,
    merged: bool,
}

impl<'a> Body<'a> {
    /// A reader that adds to a builder.
    pub fn new(builder: &'a mut Builder, styles: &'a Styles, numbering: Numbering) -> Self {
        Self {
            builder,
            styles,
            numbering,
            paragraphs: Vec::new(),
            tables: Vec::new(),
            depth: 0,
            skipping: None,
            in_text: false,
            hidden: false,
            in_properties: false,
        }
    }

    /// Reads one part; an empty one has nothing.
    pub fn read(&mut self, xml: &str) -> Result<(), FormatError> {
        let mut reader = Reader::from_str(xml);
        loop {
            match reader.read_event().map_err(|_| xml_error(&reader))? {
                Event::Start(tag) => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        return Err(damaged("its XML is nested too deeply"));
                    }
                    self.open(&tag);
                }
                Event::Empty(tag) => {
                    self.depth += 1;
                    self.open(&tag);
                    self.close(tag.local_name().as_ref());
                    self.depth -= 1;
                }
                Event::End(tag) => {
                    self.close(tag.local_name().as_ref());
                    self.depth = self.depth.saturating_sub(1);
                }
                Event::Text(text) => self.text(&text),
                Event::CData(text) => self.text(&text),
                Event::GeneralRef(name) => self.text(&entity(&name)),
                Event::Eof if self.depth > 0 => return Err(damaged("its XML is cut off")),
                Event::Eof => return Ok(()),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_text && !self.hidden && self.skipping.is_none() {
            // Line ends in the XML are not line breaks of the document.
            self.push(&text.replace(['\n', '\r'], " "));
        }
    }

    fn push(&mut self, text: &str) {
        if self.hidden {
            return;
        }
        if let Some(paragraph) = self.paragraphs.last_mut() {
            paragraph.text.push_str(text);
        }
    }

    fn open(&mut self, tag: &BytesStart<'_>) {
        if self.skipping.is_some() {
            return;
        }
        let name = tag.local_name();
        let value = || attribute(tag, "val");
        match name.as_ref() {
            // In the properties of a paragraph or row, `del` says that its mark was deleted, not its text.
            "del" if self.in_properties => {}
            "del" | "moveFrom" | "instrText" | "delText" | "Fallback" | "pPrChange" | "rPrChange" | "tblPrChange" => {
                self.skipping = Some(self.depth);
            }
            "footnote" | "endnote" if attribute(tag, "type").is_some_and(|kind| kind != "normal") => {
                self.skipping = Some(self.depth);
            }
            "pPr" | "rPr" | "tcPr" | "trPr" | "tblPr" | "sectPr" => self.in_properties = true,
            "p" => self.paragraphs.push(ParagraphState::default()),
            "r" => self.hidden = false,
            "vanish" => self.hidden = value().is_none_or(|value| value != "0" && value != "false"),
            "t" => self.in_text = true,
            "tab" | "ptab" if !self.in_properties => self.push("\t"),
            "br" | "cr" => self.push("\n"),
            "noBreakHyphen" => self.push("-"),
            "sym" => self.push("•"),
            "docPr" => {
                if let Some(alt) = attribute(tag, "descr") {
                    self.push(" ");
                    self.push(&alt);
                    self.push(" ");
                }
            }
            "tbl" => self.tables.push(Table::default()),
            "tr" => {
                if let Some(table) = self.tables.last_mut() {
                    table.rows.push(Vec::new());
                }
            }
            "tc" => {
                if let Some(table) = self.tables.last_mut() {
                    (table.span, table.merged) = (1, false);
                    if table.rows.is_empty() {
                        table.rows.push(Vec::new());
                    }
                    if let Some(row) = table.rows.last_mut() {
                        row.push(Vec::new());
                    }
                }
            }
            "gridSpan" => {
                if let Some(table) = self.tables.last_mut() {
                    table.span = value().and_then(|value| value.parse().ok()).unwrap_or(1).clamp(1, 100);
                }
            }
            "vMerge" => {
                if let Some(table) = self.tables.last_mut() {
                    table.merged = value().is_none_or(|value| value != "restart");
                }
            }
            name => self.paragraph_property(name, value),
        }
    }

    fn paragraph_property(&mut self, name: &str, value: impl Fn() -> Option<String>) {
        let Some(paragraph) = self.paragraphs.last_mut() else { return };
        match name {
            "pStyle" => paragraph.style = value(),
            "outlineLvl" => paragraph.outline = value().and_then(|value| value.parse().ok()),
            "numId" => paragraph.list = value(),
            "ilvl" => paragraph.level = value().and_then(|value| value.parse().ok()),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        if let Some(depth) = self.skipping {
            if depth == self.depth {
                self.skipping = None;
            }
            return;
        }
        match name {
            "pPr" | "tcPr" | "trPr" | "tblPr" | "sectPr" => {
                self.in_properties = false;
                // What its mark's properties say is not about the paragraph's runs.
                self.hidden = false;
            }
            "rPr" => self.in_properties = false,
            "t" => self.in_text = false,
            "p" => self.end_paragraph(),
            "r" => self.hidden = false,
            "tc" => {
                if let Some(table) = self.tables.last_mut() {
                    table.end_cell();
                }
            }
            "tbl" => self.end_table(),
            _ => {}
        }
    }

    fn end_paragraph(&mut self) {
        let Some(paragraph) = self.paragraphs.pop() else { return };
        let style = paragraph.style.as_deref();
        let own_outline = paragraph.outline.map(|outline| (outline < 9).then_some(outline.min(5) + 1));
        let heading = own_outline.unwrap_or_else(|| style.and_then(|style| self.styles.heading(style)));
        let from_style = style.and_then(|style| self.styles.numbering(style));
        let level = paragraph.level.or(from_style.as_ref().map(|(_, level)| *level)).unwrap_or(0);
        let list = paragraph.list.or(from_style.map(|(list, _)| list));
        if paragraph.text.trim().is_empty() {
            return;
        }
        let label = list.and_then(|list| self.numbering.label(&list, level));
        let piece = Piece { heading, label: label.map(|label| (usize::from(level), label)), text: paragraph.text };
        match self.tables.last_mut().and_then(Table::open_cell) {
            Some(cell) => cell.push(piece),
            None => self.add(piece),
        }
    }

    fn add(&mut self, piece: Piece) {
        match (piece.heading, piece.label) {
            (Some(level), Some((_, label))) if label != "-" => {
                self.builder.heading(level, &format!("{label} {}", piece.text))
            }
            (Some(level), _) => self.builder.heading(level, &piece.text),
            (None, Some((depth, label))) => self.builder.item(depth, &label, &piece.text),
            (None, None) => self.builder.paragraph(&piece.text),
        }
    }

    fn end_table(&mut self) {
        let Some(table) = self.tables.pop() else { return };
        // A table of one column is a frame around text.
        let framed = table.rows.iter().all(|row| row.len() <= 1);
        let outer = self.tables.last_mut().and_then(Table::open_cell);
        match outer {
            Some(cell) => cell.extend(table.rows.into_iter().flatten().flatten()),
            None if framed => {
                for piece in table.rows.into_iter().flatten().flatten() {
                    self.add(piece);
                }
            }
            None => {
                let rows: Vec<Vec<String>> =
                    table.rows.iter().map(|row| row.iter().map(|cell| cell_text(cell)).collect()).collect();
                self.builder.table(&rows);
            }
        }
    }
}

impl Table {
    fn open_cell(&mut self) -> Option<&mut Vec<Piece>> {
        self.rows.last_mut()?.last_mut()
    }

    /// Fills a cell merged downwards with the text above it, and adds the further columns of a wide cell.
    fn end_cell(&mut self) {
        let Some(row) = self.rows.last_mut() else { return };
        let Some(at) = row.len().checked_sub(1) else { return };
        if self.merged {
            if let (Some(above), Some(cell)) = (self.above.get(at), row.last_mut())
                && !above.is_empty()
            {
                *cell = vec![Piece { heading: None, label: None, text: above.clone() }];
            }
        } else {
            self.above.resize(self.above.len().max(at + self.span), String::new());
            let text = row.last().map(|cell| cell_text(cell)).unwrap_or_default();
            // A long text is not repeated in every row that it spans.
            self.above[at] = if text.len() <= 200 { text } else { String::new() };
        }
        for _ in 1..self.span {
            row.push(Vec::new());
        }
    }
}

/// The text of a cell on one line.
fn cell_text(cell: &[Piece]) -> String {
    let texts: Vec<String> = cell
        .iter()
        .map(|piece| match &piece.label {
            Some((_, label)) => format!("{label} {}", piece.text),
            None => piece.text.clone(),
        })
        .collect();
    texts.join(" ")
}

/// The text that an entity stands for; unknown ones are nothing.
pub fn entity(name: &quick_xml::events::BytesRef<'_>) -> String {
    if let Ok(Some(c)) = name.resolve_char_ref() {
        return c.to_string();
    }
    quick_xml::escape::resolve_predefined_entity(name).unwrap_or_default().to_owned()
}
