//! From lines to blocks: paragraphs, headings and list items over all pages of a document.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::layout::{self, Item, Line};
use super::words::{self, Segment};
use crate::format::builder::{Builder, hyphenated};

/// A document with fewer pages has no running headers that could be told from text.
const MIN_PAGES_WITH_FRAMES: usize = 4;

/// How many rows at the top and at the bottom of a page may be a running header or footer.
const FRAME_ROWS: usize = 2;

/// Text larger than body text by this factor is a heading.
const HEADING: f64 = 1.15;

/// The longest heading, in characters.
const MAX_HEADING: usize = 200;

/// How far from the top or bottom edge a running header or footer may stand, as a part of the page's height.
const FRAME_DEPTH: f64 = 0.13;

/// The text of a page.
pub struct PageText {
    /// Segments for each direction of text, the main one first.
    pub directions: Vec<Vec<Segment>>,
    /// Its height in points.
    pub height: f64,
}

/// Adds all pages of a document.
pub fn add(mut pages: Vec<PageText>, builder: &mut Builder) {
    drop_frames(&mut pages);
    let body = Body::of(&pages);
    let pages: Vec<Vec<Group>> = pages.into_iter().map(groups).collect();
    let mut sizes: Vec<i32> =
        pages.iter().flatten().filter(|group| group.is_large(&body)).map(|group| half_points(group.size())).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes.dedup();
    for groups in &pages {
        builder.page();
        for group in groups {
            group.add(&body, &sizes, builder);
        }
    }
}

/// What most of the text looks like.
struct Body {
    size: f64,
    /// Whether bold is so common that it marks nothing.
    bold: bool,
}

impl Body {
    fn of(pages: &[PageText]) -> Self {
        let mut by_size: BTreeMap<i32, usize> = BTreeMap::new();
        let (mut bold, mut all) = (0, 0);
        for segment in pages.iter().flat_map(|page| &page.directions).flatten() {
            let letters = segment.text.len();
            *by_size.entry(half_points(segment.size)).or_default() += letters;
            all += letters;
            bold += if segment.bold { letters } else { 0 };
        }
        let size = by_size.iter().max_by_key(|(_, letters)| **letters).map_or(10, |(size, _)| *size);
        Self { size: f64::from(size) / 2.0, bold: bold * 10 > all * 4 }
    }
}

fn half_points(size: f64) -> i32 {
    (size * 2.0).round() as i32
}

/// Lines that belong together, or a table.
enum Group {
    Lines(Vec<Line>),
    Table(Vec<Vec<String>>),
}

/// Groups the lines of a page.
fn groups(page: PageText) -> Vec<Group> {
    let mut out = Vec::new();
    for segments in page.directions {
        let items = layout::read(segments);
        let pitches = pitches(&items);
        let mut open: Vec<Line> = Vec::new();
        for item in items {
            match item {
                Item::Line(line) => {
                    let columns = pitches.get(&line.column);
                    if columns.is_some_and(|column| begins_block(&open, &line, column)) && !open.is_empty() {
                        out.push(Group::Lines(std::mem::take(&mut open)));
                    }
                    open.push(line);
                }
                Item::Table(rows) => {
                    if !open.is_empty() {
                        out.push(Group::Lines(std::mem::take(&mut open)));
                    }
                    out.push(Group::Table(rows));
                }
            }
        }
        if !open.is_empty() {
            out.push(Group::Lines(open));
        }
    }
    out
}

/// What is usual in a column.
struct Column {
    left: f64,
    right: f64,
    /// Distance from line to line, as a part of the font size.
    pitch: f64,
}

fn pitches(items: &[Item]) -> HashMap<usize, Column> {
    let mut columns: HashMap<usize, (f64, f64, Vec<f64>)> = HashMap::new();
    let mut above: Option<&Line> = None;
    for item in items {
        let Item::Line(line) = item else {
            above = None;
            continue;
        };
        let column = columns.entry(line.column).or_insert((f64::INFINITY, f64::NEG_INFINITY, Vec::new()));
        column.0 = column.0.min(line.x0);
        column.1 = column.1.max(line.x1);
        if let Some(above) =
            above.filter(|above| above.column == line.column && half_points(above.size) == half_points(line.size))
        {
            let pitch = (line.y - above.y) / line.size.max(0.1);
            if (0.7..3.0).contains(&pitch) {
                column.2.push(pitch);
            }
        }
        above = Some(line);
    }
    let column = |(left, right, mut gaps): (f64, f64, Vec<f64>)| {
        gaps.sort_by(f64::total_cmp);
        // The lower quartile: lines of one paragraph are closer than paragraphs.
        Column { left, right, pitch: gaps.get(gaps.len() / 4).copied().unwrap_or(1.25) }
    };
    columns.into_iter().map(|(number, found)| (number, column(found))).collect()
}

/// Whether a line begins a block after the lines before it.
fn begins_block(open: &[Line], line: &Line, column: &Column) -> bool {
    let (Some(first), Some(above)) = (open.first(), open.last()) else { return true };
    let size = line.size.max(0.1);
    let gap = (line.y - above.y) / size;
    let ends = above.text.trim_end().ends_with(['.', '!', '?', ':', ';', '»', '”', '"']);
    let short = above.x1 < column.right - 0.2 * (column.right - column.left);
    let differs =
        half_points(line.size).abs_diff(half_points(above.size)) > 1 && (line.size / above.size - 1.0).abs() > 0.08;
    if line.column != above.column || differs || line.bold != above.bold || gap <= 0.0 || gap > 1.35 * column.pitch {
        return true;
    }
    match first_word(&line.text) {
        Some(word) if words::is_bullet(word) => return true,
        Some(word) if words::is_number(word) && (ends || short) => return true,
        _ => {}
    }
    let is_item = first_word(&first.text).is_some_and(words::is_marker);
    if is_item {
        return ends && line.x0 < first.x0 + 0.3 * size;
    }
    let indent = (line.x0 - above.x0) / size;
    (ends && short) || (ends && (0.8..5.0).contains(&indent) && (above.x0 - column.left).abs() < 0.5 * size)
}

fn first_word(text: &str) -> Option<&str> {
    let (word, rest) = text.split_once(' ')?;
    (!rest.trim().is_empty()).then_some(word)
}

impl Group {
    fn size(&self) -> f64 {
        match self {
            Self::Lines(lines) => lines.iter().map(|line| line.size).fold(0.0, f64::max),
            Self::Table(_) => 0.0,
        }
    }

    /// The text of its lines, with words that were broken at a line's end joined.
    fn text(&self) -> String {
        let Self::Lines(lines) = self else { return String::new() };
        let mut text = String::new();
        for line in lines {
            // A soft hyphen at the end of a line is drawn as one.
            let line = line.text.trim();
            if hyphenated(&text, line) || text.ends_with('\u{ad}') {
                text.pop();
            } else if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(line);
        }
        text
    }

    /// Whether it is no list item and its letters are so few that it can be a heading.
    fn is_short(&self, lines: usize) -> bool {
        let Self::Lines(own) = self else { return false };
        if own.first().and_then(|line| first_word(&line.text)).is_some_and(words::is_bullet) {
            return false;
        }
        let characters: usize = own.iter().map(|line| line.text.chars().count()).sum();
        let letters = own.iter().flat_map(|line| line.text.chars()).filter(|c| c.is_alphabetic()).count();
        own.len() <= lines && characters <= MAX_HEADING && letters >= 2
    }

    fn is_large(&self, body: &Body) -> bool {
        self.size() >= HEADING * body.size && self.is_short(3)
    }

    fn is_bold_heading(&self, body: &Body) -> bool {
        let Self::Lines(lines) = self else { return false };
        !body.bold
            && lines.iter().all(|line| line.bold)
            && self.size() >= 0.95 * body.size
            && self.is_short(2)
            && lines.last().is_some_and(|last| !last.text.trim_end().ends_with(['.', ',', ';', ':']))
    }

    fn add(&self, body: &Body, sizes: &[i32], builder: &mut Builder) {
        if let Self::Table(rows) = self {
            builder.table(rows);
            return;
        }
        let text = self.text();
        if self.is_large(body) {
            let rank = sizes.iter().position(|&size| size == half_points(self.size())).unwrap_or(0);
            builder.heading(rank.min(4) as u8 + 1, &text);
        } else if self.is_bold_heading(body) {
            builder.heading(sizes.len().min(4) as u8 + 2, &text);
        } else if let Some(word) = first_word(&text).filter(|word| words::is_marker(word)) {
            let marker = if words::is_bullet(word) { "-" } else { word };
            builder.item(0, marker, &text[word.len()..]);
        } else if builder.is_unfinished() && text.starts_with(|c: char| c.is_lowercase()) {
            builder.continue_across_pages(&text);
        } else {
            builder.paragraph(&text);
        }
    }
}

/// Takes running headers, footers and page numbers out: rows at the same place near the edge of most pages that are the
/// same, or the same but for a number that grows from page to page.
///
/// The first of each stays, for it may say what no other place does; page numbers go everywhere.
fn drop_frames(pages: &mut [PageText]) {
    if pages.len() < MIN_PAGES_WITH_FRAMES {
        return;
    }
    let edges: Vec<Vec<Edge>> = pages.iter().enumerate().map(|(index, page)| edges(page, index)).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for page in &edges {
        let keys: HashSet<&str> = page.iter().flat_map(|edge| &edge.keys).map(String::as_str).collect();
        for key in keys {
            *counts.entry(key).or_default() += 1;
        }
    }
    // Left and right pages may differ, so each header may stand on fewer than half of them.
    let least = (pages.len() * 2 / 5).max(3);
    let mut seen: HashSet<&str> = HashSet::new();
    for (page, edges) in pages.iter_mut().zip(&edges) {
        let mut gone = Vec::new();
        for edge in edges {
            let Some(key) = edge.keys.iter().find(|key| counts[key.as_str()] >= least) else { continue };
            if edge.is_number || !seen.insert(key) {
                gone.push(edge.y);
            }
        }
        let Some(main) = page.directions.first_mut() else { continue };
        // A page that would have nothing left is not a frame around nothing.
        if main.iter().any(|segment| !gone.contains(&segment.y)) {
            main.retain(|segment| !gone.contains(&segment.y));
        }
    }
}

/// A row at the edge of a page.
struct Edge {
    y: f64,
    /// What makes it equal to rows of other pages.
    keys: Vec<String>,
    /// Whether it holds little more than a number.
    is_number: bool,
}

/// The rows at the edges of a page.
fn edges(page: &PageText, index: usize) -> Vec<Edge> {
    let Some(main) = page.directions.first() else { return Vec::new() };
    let rows = layout::rows(main.clone());
    // White space parts a header from the text below it, which may repeat as well.
    let parted = |at: &usize| rows[at + 1][0].y - rows[*at][0].y > 1.6 * rows[*at][0].size.max(rows[at + 1][0].size);
    let last = rows.len().saturating_sub(1);
    let top = (0..last.min(FRAME_ROWS)).rfind(parted).map_or(0, |at| at + 1);
    let bottom = (last.saturating_sub(FRAME_ROWS)..last).find(parted).map_or(rows.len(), |at| at + 1);
    let depth = FRAME_DEPTH * page.height;
    let above = rows[..top].iter().filter(|row| row[0].y < depth);
    let below = rows[bottom.max(top)..].iter().filter(|row| row[0].y > page.height - depth);
    above
        .chain(below)
        .map(|row| {
            let texts: Vec<&str> = row.iter().map(|segment| segment.text.as_str()).collect();
            let (text, place) = (texts.join(" "), (row[0].y / 4.0).round());
            let letters = text.chars().filter(|c| c.is_alphabetic()).count();
            let mut keys = vec![format!("{place} {text}")];
            keys.extend(page_number_keys(&text, index).into_iter().map(|key| format!("{place} {key}")));
            Edge { y: row[0].y, keys, is_number: letters <= 10 && text.contains(|c: char| c.is_ascii_digit()) }
        })
        .collect()
}

/// For each of the first numbers of a row: the row without it, and how far it is from the page's place in the file.
fn page_number_keys(text: &str, index: usize) -> Vec<String> {
    let mut keys = Vec::new();
    let mut at = 0;
    while keys.len() < 4 {
        let Some(start) = text[at..].find(|c: char| c.is_ascii_digit()).map(|start| at + start) else { break };
        let end = text[start..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |end| start + end);
        if let Ok(number) = text[start..end].parse::<i64>()
            && end - start <= 5
        {
            keys.push(format!("{}#{}@{}", &text[..start], &text[end..], number - index as i64));
        }
        at = end;
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(text: &str, y: f64) -> Segment {
        Segment { text: text.to_owned(), x0: 0.0, x1: 100.0, y, size: 10.0, bold: false }
    }

    #[test]
    fn running_headers_and_page_numbers_go_and_figures_stay() {
        let page = |number: usize| {
            let amount = format!("{},00", (number * 7919) % 1000);
            let texts = [
                "Manual".to_owned(),
                format!("Page {number} of 5"),
                amount.clone(),
                "text".to_owned(),
                amount.clone(),
                amount,
            ];
            let places = [5.0, 15.0, 60.0, 72.0, 84.0, 114.0];
            let segments = texts.iter().zip(places).map(|(text, y)| segment(text, y)).collect();
            PageText { directions: vec![segments], height: 120.0 }
        };
        let mut pages: Vec<PageText> = (1..=5).map(page).collect();
        drop_frames(&mut pages);
        let left: Vec<usize> = pages.iter().map(|page| page.directions[0].len()).collect();
        assert_eq!(left, [5, 4, 4, 4, 4]);
        assert_eq!(pages[0].directions[0][0].text, "Manual");
    }

    #[test]
    fn a_page_of_one_row_keeps_it() {
        let mut pages: Vec<PageText> = (1..=5)
            .map(|number| PageText { directions: vec![vec![segment(&format!("Page {number}"), 0.0)]], height: 800.0 })
            .collect();
        drop_frames(&mut pages);
        assert!(pages.iter().all(|page| page.directions[0].len() == 1));
    }
}
