//! The reading order of a page: rows of segments to columns, tables and lines.

use std::collections::BTreeMap;

use super::glyphs::Glyph;
use super::words::{self, Segment};

/// How often columns may stand in columns.
const MAX_DEPTH: usize = 6;

/// The most rows that one table or set of columns spans; it bounds the time for a page of odd content.
const MAX_RUN: usize = 200;

/// The narrowest gutter between columns, as a part of the font size.
const GUTTER: f64 = 0.8;

/// The most directions of text told apart on a page.
const MAX_DIRECTIONS: usize = 12;

/// A line of running text in its column.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its words.
    pub text: String,
    /// Left edge.
    pub x0: f64,
    /// Right edge.
    pub x1: f64,
    /// Baseline, growing downwards.
    pub y: f64,
    /// Font size.
    pub size: f64,
    /// Whether all of it is bold.
    pub bold: bool,
    /// Number of its column on the page.
    pub column: usize,
}

/// Something on a page, in reading order.
#[derive(Debug)]
pub enum Item {
    /// A line of running text.
    Line(Line),
    /// A table: rows of cells.
    Table(Vec<Vec<String>>),
}

/// The segments of a page, one list for each direction of text, the main one first.
pub fn directions(glyphs: &[Glyph]) -> Vec<Vec<Segment>> {
    let mut by_angle: BTreeMap<i32, Vec<Glyph>> = BTreeMap::new();
    for glyph in glyphs {
        let along = glyph.end - glyph.start;
        let angle = if along.hypot() > 1e-6 { along.atan2().to_degrees().round() as i32 } else { 0 };
        by_angle.entry(if angle == -180 { 180 } else { angle }).or_default().push(glyph.clone());
    }
    let mut groups: Vec<(i32, Vec<Glyph>)> = by_angle.into_iter().collect();
    groups.sort_by_key(|(angle, glyphs)| (std::cmp::Reverse(glyphs.len()), *angle));
    groups.truncate(MAX_DIRECTIONS);
    groups.iter().map(|(angle, glyphs)| words::segments(glyphs, f64::from(*angle).to_radians())).collect()
}

/// Puts segments, sorted by baseline, into reading order.
pub fn read(segments: Vec<Segment>) -> Vec<Item> {
    let mut reading = Reading { items: Vec::new(), columns: 0 };
    reading.region(rows(segments), 0);
    reading.items
}

/// Segments on one baseline, from left to right.
type Row = Vec<Segment>;

/// Groups sorted segments by their baseline, which is exactly the same for all of a row.
pub fn rows(segments: Vec<Segment>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for segment in segments {
        match rows.last_mut() {
            Some(row) if (row[0].y - segment.y).abs() < 0.01 => row.push(segment),
            _ => rows.push(vec![segment]),
        }
    }
    rows
}

struct Reading {
    items: Vec<Item>,
    columns: usize,
}

impl Reading {
    fn region(&mut self, rows: Vec<Row>, depth: usize) {
        self.columns += 1;
        let mut at = 0;
        while at < rows.len() {
            let run = if depth < MAX_DEPTH { find_run(&rows[at..]) } else { None };
            let Some(Run { mut length, gutters, score }) = run else {
                self.line(&rows[at]);
                at += 1;
                continue;
            };
            let part = &rows[at..at + length];
            let grid = Grid::new(part, &gutters);
            match grid.reading() {
                // Without its first rows, a title or a head over several columns, the rest may have more in common.
                Across::Table if grid.is_alone(&part[0]) || has_better_start(&rows[at..], score) => length = 1,
                Across::Table => self.table(part, &grid),
                Across::Lines => length = 1,
                Across::Columns => {
                    for column in 0..grid.columns {
                        let inside = |segment: &&Segment| grid.column(segment) == column;
                        let own = part.iter().map(|row| row.iter().filter(inside).cloned().collect::<Row>());
                        self.region(own.filter(|row: &Row| !row.is_empty()).collect(), depth + 1);
                    }
                    self.columns += 1;
                }
            }
            if length == 1 {
                self.line(&rows[at]);
            }
            at += length;
        }
    }

    fn line(&mut self, row: &[Segment]) {
        let (Some(first), Some(last)) = (row.first(), row.last()) else { return };
        let texts: Vec<&str> = row.iter().map(|segment| segment.text.as_str()).collect();
        self.items.push(Item::Line(Line {
            text: texts.join(" "),
            x0: first.x0,
            x1: last.x1,
            y: first.y,
            size: row.iter().map(|segment| segment.size).fold(0.0, f64::max),
            bold: row.iter().all(|segment| segment.bold),
            column: self.columns,
        }));
    }

    /// Writes a table; rows at its bottom that stand in its first column alone are lines below it.
    fn table(&mut self, rows: &[Row], grid: &Grid) {
        let last = rows.iter().rposition(|row| !grid.is_alone(row)).unwrap_or(rows.len() - 1);
        let mut table: Vec<Vec<String>> = Vec::new();
        let mut above = f64::NEG_INFINITY;
        for row in &rows[..=last] {
            let mut cells = vec![String::new(); grid.columns];
            for segment in row {
                let cell = &mut cells[grid.column(segment)];
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(&segment.text);
            }
            let near = row[0].y - above < 1.6 * row[0].size;
            above = row[0].y;
            match table.last_mut() {
                Some(last) if near && goes_on(last, &cells) => append(last, &cells),
                _ => table.push(cells),
            }
        }
        self.items.push(Item::Table(table));
        for row in &rows[last + 1..] {
            self.line(row);
        }
    }
}

/// Whether a row of a table is the next line of the cells above it.
fn goes_on(above: &[String], cells: &[String]) -> bool {
    let filled = |cells: &[String]| cells.iter().filter(|cell| !cell.is_empty()).count();
    let numeric = cells.iter().any(|cell| {
        let digits = cell.chars().filter(char::is_ascii_digit).count();
        digits > 0 && digits * 2 >= cell.chars().filter(|c| !c.is_whitespace()).count()
    });
    let under_text = cells.iter().zip(above).all(|(cell, above)| cell.is_empty() || !above.is_empty());
    let first_goes_on = cells[0].is_empty() || cells[0].starts_with(|c: char| c.is_lowercase());
    first_goes_on && under_text && !numeric && filled(cells) < filled(above).max(2)
}

fn append(row: &mut [String], cells: &[String]) {
    for (cell, more) in row.iter_mut().zip(cells) {
        if more.is_empty() {
            continue;
        }
        if super::super::builder::hyphenated(cell, more) {
            cell.pop();
        } else {
            cell.push(' ');
        }
        cell.push_str(more);
    }
}

/// A stretch of x that no segment crosses, with the number of rows that have text on either side of it.
///
/// A gap only ever shrinks or splits, so what lay beside it still does.
#[derive(Clone, Copy)]
struct Gap {
    from: f64,
    to: f64,
    left: usize,
    right: usize,
}

/// Rows that share gutters.
struct Run {
    /// How many rows, from the first one on.
    length: usize,
    gutters: Vec<Gap>,
    /// Over all gutters, how many rows have text on the side that has fewer.
    score: usize,
}

/// The run from the first row on whose gutters have most text on both sides.
fn find_run(rows: &[Row]) -> Option<Run> {
    let all = || rows.iter().take(MAX_RUN).flatten();
    let left = all().map(|segment| segment.x0).fold(f64::INFINITY, f64::min);
    let right = all().map(|segment| segment.x1).fold(f64::NEG_INFINITY, f64::max);
    let mut gaps = vec![Gap { from: left, to: right, left: 0, right: 0 }];
    let mut best: Option<Run> = None;
    for (at, row) in rows.iter().take(MAX_RUN).enumerate() {
        for segment in row {
            cut(&mut gaps, segment);
        }
        if gaps.is_empty() {
            break;
        }
        let mut score = 0;
        for gap in &mut gaps {
            gap.left += usize::from(row.iter().any(|segment| segment.x1 <= gap.from));
            gap.right += usize::from(row.iter().any(|segment| segment.x0 >= gap.to));
            score += if is_gutter(gap) { gap.left.min(gap.right) } else { 0 };
        }
        if score > best.as_ref().map_or(0, |best| best.score) {
            best = Some(Run { length: at + 1, gutters: gaps.iter().copied().filter(is_gutter).collect(), score });
        }
    }
    best
}

/// Whether at least two rows have text on each side.
fn is_gutter(gap: &Gap) -> bool {
    gap.left.min(gap.right) >= 2
}

/// Whether a run that begins one to three rows later has more text in columns.
fn has_better_start(rows: &[Row], score: usize) -> bool {
    (1..=3).filter_map(|later| find_run(rows.get(later..)?)).any(|run| run.score > score)
}

/// Takes what a segment covers out of the gaps.
fn cut(gaps: &mut Vec<Gap>, segment: &Segment) {
    let least = GUTTER * segment.size;
    let mut left = Vec::with_capacity(gaps.len() + 1);
    for gap in gaps.iter() {
        // A segment beside the gap leaves all of it as one of the two parts.
        for (from, to) in [(gap.from, gap.to.min(segment.x0)), (gap.from.max(segment.x1), gap.to)] {
            if to - from >= least {
                left.push(Gap { from, to, ..*gap });
            }
        }
    }
    *gaps = left;
}

/// How text on both sides of a gutter is read.
enum Across {
    /// One column after the other.
    Columns,
    /// Row by row, as cells.
    Table,
    /// Row by row, as lines: the gutter is chance.
    Lines,
}

/// Rows of segments over the columns between gutters.
struct Grid {
    /// The middle of each gutter, from left to right.
    borders: Vec<f64>,
    columns: usize,
    /// Rows with text in two or more columns.
    shared: usize,
    /// For each column the rows with text in it.
    filled: Vec<usize>,
    /// Whether a column is running text: long lines that fill its width.
    prose: Vec<bool>,
}

impl Grid {
    fn new(rows: &[Row], gutters: &[Gap]) -> Self {
        let mut borders: Vec<f64> = gutters.iter().map(|gap| (gap.from + gap.to) / 2.0).collect();
        borders.sort_by(f64::total_cmp);
        let columns = borders.len() + 1;
        let mut grid = Self { borders, columns, shared: 0, filled: vec![0; columns], prose: Vec::new() };
        let mut lines: Vec<Vec<(f64, usize)>> = vec![Vec::new(); columns];
        for row in rows {
            let mut widths = vec![(f64::INFINITY, f64::NEG_INFINITY, 0); columns];
            for segment in row {
                let cell = &mut widths[grid.column(segment)];
                *cell = (cell.0.min(segment.x0), cell.1.max(segment.x1), cell.2 + segment.text.chars().count());
            }
            let present: Vec<usize> = (0..columns).filter(|&column| widths[column].2 > 0).collect();
            grid.shared += usize::from(present.len() > 1);
            for column in present {
                grid.filled[column] += 1;
                lines[column].push((widths[column].1 - widths[column].0, widths[column].2));
            }
        }
        grid.prose = lines.iter().map(|lines| is_prose(lines)).collect();
        grid
    }

    fn column(&self, segment: &Segment) -> usize {
        let middle = (segment.x0 + segment.x1) / 2.0;
        self.borders.partition_point(|&border| border <= middle)
    }

    /// Whether a row has text in the first column only.
    fn is_alone(&self, row: &Row) -> bool {
        row.iter().all(|segment| self.column(segment) == 0)
    }

    /// How the columns are read.
    fn reading(&self) -> Across {
        let prose = self.prose.iter().filter(|prose| **prose).count();
        if prose >= 2 && prose * 3 >= self.columns * 2 {
            return Across::Columns;
        }
        let shortest = (0..self.columns).filter(|&column| !self.prose[column]).map(|column| self.filled[column]).min();
        let enough = if self.columns > 2 { 2 } else { 3 };
        // A column beside running text belongs to it row by row only if most of its rows stand on the text's lines.
        let aligned = self.shared * 10 >= shortest.unwrap_or(0) * 6;
        if self.shared >= enough && aligned {
            return Across::Table;
        }
        if prose >= 1 && self.columns == 2 { Across::Columns } else { Across::Lines }
    }
}

/// Whether lines, given as width and number of characters, are running text.
fn is_prose(lines: &[(f64, usize)]) -> bool {
    let widest = lines.iter().map(|(width, _)| *width).fold(0.0, f64::max);
    let full = lines.iter().filter(|(width, _)| *width >= 0.75 * widest).count();
    let characters: usize = lines.iter().map(|(_, count)| count).sum();
    lines.len() >= 3 && full * 10 >= lines.len() * 6 && characters >= lines.len() * 22
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(text: &str, x0: f64, y: f64) -> Segment {
        Segment { text: text.to_owned(), x0, x1: x0 + 5.0 * text.len() as f64, y, size: 10.0, bold: false }
    }

    fn texts(items: &[Item]) -> Vec<String> {
        let text = |item: &Item| match item {
            Item::Line(line) => line.text.clone(),
            Item::Table(rows) => rows.iter().map(|row| row.join("|")).collect::<Vec<_>>().join("/"),
        };
        items.iter().map(text).collect()
    }

    #[test]
    fn columns_are_read_one_after_the_other() {
        let mut segments = vec![segment("a title that goes across both of the columns of text", 0.0, 0.0)];
        for line in 0..4 {
            let y = 20.0 + 12.0 * f64::from(line);
            segments.push(segment(&format!("left text of a column, {line}"), 0.0, y));
            segments.push(segment(
                &format!("right text of a column {line}"),
                150.0,
                y + if line == 3 { 2.0 } else { 0.0 },
            ));
        }
        let out = texts(&read(segments));
        assert!(out[0].starts_with("a title") && out[1..5].iter().all(|line| line.starts_with("left")), "{out:?}");
        assert!(out[5..].iter().all(|line| line.starts_with("right")), "{out:?}");
    }

    #[test]
    fn tables_are_read_row_by_row_with_wrapped_cells_joined() {
        let segments = vec![
            segment("Producto", 0.0, 0.0),
            segment("Precio", 100.0, 0.0),
            segment("Nota", 200.0, 0.0),
            segment("Mesa", 0.0, 20.0),
            segment("120", 100.0, 20.0),
            segment("con", 200.0, 20.0),
            segment("patas", 200.0, 32.0),
            segment("Silla", 0.0, 52.0),
            segment("40", 100.0, 52.0),
            segment("sin", 200.0, 52.0),
        ];
        assert_eq!(texts(&read(segments)), ["Producto|Precio|Nota/Mesa|120|con patas/Silla|40|sin"]);
    }
}
