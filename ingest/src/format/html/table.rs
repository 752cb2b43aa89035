//! The table that is being read.

use crate::format::builder::Builder;

/// A cell text longer than this is not repeated down the rows it spans.
const MAX_REPEATED: usize = 200;

/// The most cells kept of one table.
const MAX_CELLS: usize = 2_000_000;

/// Rows of a table, with spans resolved: a cell over several rows stands in each, one over several columns in the first.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// For each column a cell that goes on into the next rows: how many, and its text.
    spans: Vec<Option<(usize, String)>>,
    cell: Option<Cell>,
    cells: usize,
}

struct Cell {
    text: String,
    columns: usize,
    rows: usize,
}

impl Table {
    /// Begins a row.
    pub fn row(&mut self) {
        self.end_cell();
        self.rows.push(Vec::new());
        self.fill_spans();
    }

    /// Begins a cell.
    pub fn cell(&mut self, columns: usize, rows: usize) {
        self.end_cell();
        if self.rows.is_empty() {
            self.row();
        }
        self.fill_spans();
        self.cell = Some(Cell { text: String::new(), columns, rows });
    }

    /// Adds text to the open cell; text outside of cells is given back.
    pub fn text<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        let Some(cell) = &mut self.cell else { return Some(text) };
        if !cell.text.is_empty() {
            cell.text.push(' ');
        }
        cell.text.push_str(text);
        None
    }

    /// Ends the open cell, if one is.
    pub fn end_cell(&mut self) {
        let (Some(cell), Some(row)) = (self.cell.take(), self.rows.last_mut()) else { return };
        self.cells += cell.columns;
        if self.cells > MAX_CELLS {
            return;
        }
        let column = row.len();
        if cell.rows > 1 {
            self.spans.resize(self.spans.len().max(column + cell.columns), None);
            for (offset, span) in self.spans[column..column + cell.columns].iter_mut().enumerate() {
                let repeated = offset == 0 && cell.text.len() <= MAX_REPEATED;
                *span = Some((cell.rows - 1, if repeated { cell.text.clone() } else { String::new() }));
            }
        }
        row.push(cell.text);
        row.resize(column + cell.columns, String::new());
    }

    /// Writes the table out.
    pub fn finish(mut self, builder: &mut Builder) {
        self.end_cell();
        builder.table(&self.rows);
    }

    /// Puts cells of earlier rows into the columns that they cover, as far as the row has come.
    fn fill_spans(&mut self) {
        let Some(row) = self.rows.last_mut() else { return };
        while let Some(Some((left, text))) = self.spans.get_mut(row.len()) {
            row.push(text.clone());
            self.cells += 1;
            *left -= 1;
            if *left == 0 {
                let column = row.len() - 1;
                self.spans[column] = None;
            }
            if self.cells > MAX_CELLS {
                return;
            }
        }
    }
}
