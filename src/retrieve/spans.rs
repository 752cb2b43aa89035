//! The sentences of a passage, and the rows of its tables below their header.

use std::ops::Range;

use intramuros_ingest::sentence;

/// Where a sentence or a row stands in a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Byte range.
    pub range: Range<usize>,
    /// For a row: its place in its table.
    pub row: Option<Row>,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Numbers the tables of the text.
    pub table: usize,
    /// The header row, where the text holds one and this is not it.
    pub header: Option<Range<usize>>,
    /// Nothing stands between the header and this row.
    pub below_header: bool,
    /// Whether this row is the header, or the line beneath it.
    pub is_header: bool,
}

impl Span {
    /// The range to show: a row right below its header is shown with it.
    pub fn shown(&self) -> Range<usize> {
        match &self.row {
            Some(Row { header: Some(header), below_header: true, .. }) => header.start..self.range.end,
            _ => self.range.clone(),
        }
    }

    /// The header that is not part of what is shown.
    pub fn header_elsewhere(&self) -> Option<Range<usize>> {
        self.row.as_ref().filter(|row| !row.below_header).and_then(|row| row.header.clone())
    }
}

/// The sentences and rows of a text, in order.
pub fn spans(text: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut tables = 0;
    for range in sentence::sentences(text) {
        let is_row = is_row(&text[range.clone()]);
        let follows = spans.last().is_some_and(|last| {
            last.row.is_some() && text[last.range.end..range.start].bytes().filter(|byte| *byte == b'\n').count() == 1
        });
        if !is_row {
            spans.push(Span { range, row: None });
            continue;
        }
        let above = spans.last().filter(|_| follows).and_then(|last| Some((last.range.clone(), last.row.clone()?)));
        let row = match above {
            None => {
                tables += 1;
                // Whether it heads others is known when one follows.
                Row { table: tables, header: None, below_header: false, is_header: false }
            }
            Some((above_range, above)) => {
                let begins = above.header.is_none() && !above.is_header && is_first(&spans);
                if begins
                    && names_columns(&text[above_range.clone()])
                    && let Some(Span { row: Some(first), .. }) = spans.last_mut()
                {
                    first.is_header = true;
                }
                let heads = spans.last().and_then(|last| last.row.as_ref()).is_some_and(|row| row.is_header);
                let header = if heads { above.header.or(Some(above_range)) } else { above.header };
                let is_rule = is_rule(&text[range.clone()]);
                Row { table: tables, below_header: heads && header.is_some(), header, is_header: is_rule && heads }
            }
        };
        spans.push(Span { range, row: Some(row) });
    }
    spans
}

/// Whether the last span is the first row of its table.
fn is_first(spans: &[Span]) -> bool {
    let table = |span: Option<&Span>| span.and_then(|span| span.row.as_ref()).map(|row| row.table);
    let [.., before, last] = spans else { return true };
    table(Some(before)) != table(Some(last))
}

fn is_row(line: &str) -> bool {
    !line.contains('\n') && line.contains('|')
}

/// The line of dashes below a header in Markdown.
fn is_rule(line: &str) -> bool {
    line.contains("--") && line.chars().all(|c| matches!(c, '|' | ':' | '-' | ' ' | '\t'))
}

/// Whether a first row says what stands in the columns. A table that was cut begins with figures.
fn names_columns(line: &str) -> bool {
    cells(line).all(|cell| {
        let is_year = cell.len() == 4 && (cell.starts_with("19") || cell.starts_with("20"));
        !cell.starts_with(|c: char| c.is_numeric() || matches!(c, '€' | '£' | '$' | '-' | '+')) || is_year
    })
}

/// The cells of a row.
pub fn cells(line: &str) -> impl Iterator<Item = &str> {
    line.split('|').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "Límites:\n\nCiudad | Límite | Nota\nMadrid | 120 |\nSevilla | 95 | sin desayuno\n\nFin del texto.";

    #[test]
    fn rows_know_their_header() {
        let spans = spans(TABLE);
        let texts: Vec<&str> = spans.iter().map(|span| &TABLE[span.range.clone()]).collect();
        assert_eq!(
            texts,
            ["Límites:", "Ciudad | Límite | Nota", "Madrid | 120 |", "Sevilla | 95 | sin desayuno", "Fin del texto."]
        );
        assert!(spans[1].row.as_ref().unwrap().is_header && spans[4].row.is_none());
        assert_eq!(&TABLE[spans[2].shown()], "Ciudad | Límite | Nota\nMadrid | 120 |");
        assert_eq!(spans[2].header_elsewhere(), None);
        assert_eq!(&TABLE[spans[3].shown()], "Sevilla | 95 | sin desayuno");
        assert_eq!(&TABLE[spans[3].header_elsewhere().unwrap()], "Ciudad | Límite | Nota");
    }

    #[test]
    fn a_line_of_dashes_belongs_to_the_header() {
        let text = "| City | Limit |\n|---|---:|\n| Madrid | 120 |\n| Sevilla | 95 |";
        let spans = spans(text);
        assert!(spans[0].row.as_ref().unwrap().is_header && spans[1].row.as_ref().unwrap().is_header);
        assert_eq!(spans[2].shown(), 0..text.find("\n| Sevilla").unwrap());
        assert_eq!(spans[3].header_elsewhere(), Some(0..16));
    }

    #[test]
    fn a_table_that_was_cut_has_no_header_and_years_are_one() {
        let cut = spans("Madrid | 120 € | yes\nSevilla | 95 € | no");
        assert!(cut.iter().all(|span| span.row.as_ref().is_some_and(|row| row.header.is_none() && !row.is_header)));
        let years = spans("Rate | 2024 | 2025\nBasic | 3 | 4");
        assert!(years[0].row.as_ref().unwrap().is_header);
    }
}
