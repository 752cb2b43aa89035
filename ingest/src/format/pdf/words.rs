//! From glyphs to words, and from words to rows of segments.

use std::collections::HashMap;

use super::glyphs::Glyph;

/// A gap of this part of the font size ends a word (poppler breaks words at 0.1).
const WORD_GAP: f64 = 0.12;

/// A gap of this part of the font size ends a segment: it may be a column's gutter or a table's.
const SEGMENT_GAP: f64 = 1.0;

/// Side of the squares by which letters are looked up again, in points, and the most that a letter drawn twice slips.
const SQUARE: f64 = 4.0;

/// The most letters compared in a square; it bounds the time for a page of odd content.
const MAX_IN_SQUARE: usize = 64;

/// Words that share a baseline and are not far apart. Coordinates as if its text ran from left to right.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its words with single spaces.
    pub text: String,
    /// Left edge.
    pub x0: f64,
    /// Right edge.
    pub x1: f64,
    /// Baseline, growing downwards.
    pub y: f64,
    /// Size of most of its text.
    pub size: f64,
    /// Whether all of it is bold.
    pub bold: bool,
}

/// A word, or a part of one, before it is joined to its neighbours.
#[derive(Clone, Debug)]
struct Word {
    text: String,
    x0: f64,
    x1: f64,
    y: f64,
    size: f64,
    bold: bool,
    /// Whether white space was drawn before it.
    spaced: bool,
}

/// Puts the glyphs of one direction together into segments, sorted by baseline, then from left to right.
///
/// `turn` is the angle of their baseline in radians.
pub fn segments(glyphs: &[Glyph], turn: f64) -> Vec<Segment> {
    let mut words = words(glyphs, turn);
    words.sort_by(|a, b| a.y.total_cmp(&b.y));
    let mut out = Vec::new();
    for row in rows(words) {
        out.extend(join(row));
    }
    out.sort_by(|a: &Segment, b: &Segment| a.y.total_cmp(&b.y).then(a.x0.total_cmp(&b.x0)));
    out
}

/// Cuts the stream of glyphs at spaces and jumps.
fn words(glyphs: &[Glyph], turn: f64) -> Vec<Word> {
    let (sin, cos) = turn.sin_cos();
    let rotate = |x: f64, y: f64| (x * cos + y * sin, y * cos - x * sin);
    let mut words: Vec<Word> = Vec::new();
    let mut drawn = Drawn::default();
    let mut spaced = true;
    let mut open = false;
    for glyph in glyphs {
        let (x0, y) = rotate(glyph.start.x, glyph.start.y);
        let (x1, _) = rotate(glyph.end.x, glyph.end.y);
        if glyph.text.chars().all(|c| c.is_whitespace() || c == '\u{200b}') {
            (open, spaced) = (false, true);
            continue;
        }
        if drawn.again(&glyph.text, (x0, y), (0.12 * glyph.size).min(0.22 * (x1 - x0))) {
            continue;
        }
        if open && let Some(word) = words.last_mut() {
            let same_line = (y - word.y).abs() < 0.15 * word.size.min(glyph.size);
            let same_size = (glyph.size - word.size).abs() < 0.3 * word.size.max(glyph.size);
            let gap = x0 - word.x1;
            if same_line && same_size && gap > -0.35 * glyph.size && gap < WORD_GAP * glyph.size {
                word.text.push_str(&glyph.text);
                word.x1 = word.x1.max(x1);
                word.bold &= glyph.bold;
                continue;
            }
        }
        words.push(Word {
            text: glyph.text.clone(),
            x0,
            x1: x1.max(x0),
            y,
            size: glyph.size,
            bold: glyph.bold,
            spaced,
        });
        (open, spaced) = (true, false);
    }
    words
}

/// Where each letter was drawn, by squares of one grid for all. Programs draw letters twice, a hair apart, to make them
/// bold.
#[derive(Default)]
struct Drawn<'g>(HashMap<Square<'g>, Vec<(f64, f64)>>);

/// A letter, and column and row of the grid.
type Square<'g> = (&'g str, i64, i64);

impl<'g> Drawn<'g> {
    /// Whether the same letter was drawn less than `slip` from here; else notes it.
    fn again(&mut self, text: &'g str, (x, y): (f64, f64), slip: f64) -> bool {
        let slip = slip.min(SQUARE);
        if slip <= 0.0 {
            return false;
        }
        let square = |at: f64| (at / SQUARE).floor() as i64;
        let near = |&(other_x, other_y): &(f64, f64)| (other_x - x).abs() < slip && (other_y - y).abs() < slip;
        for column in square(x - slip)..=square(x + slip) {
            for row in square(y - slip)..=square(y + slip) {
                let drawn = self.0.get(&(text, column, row));
                if drawn.is_some_and(|places| places.iter().rev().take(MAX_IN_SQUARE).any(near)) {
                    return true;
                }
            }
        }
        self.0.entry((text, square(x), square(y))).or_default().push((x, y));
        false
    }
}

/// Groups words, sorted by baseline, into rows; raised and lowered words belong to the row they overlap.
fn rows(words: Vec<Word>) -> Vec<Vec<Word>> {
    let mut rows: Vec<Vec<Word>> = Vec::new();
    let mut lead = (0.0, 0.0);
    for word in words {
        let (y, size): (f64, f64) = lead;
        let apart = (word.y - y).abs();
        let script = apart < 0.45 * size.max(word.size) && (word.size < 0.8 * size || size < 0.8 * word.size);
        let free = |row: &Vec<Word>| row.iter().all(|other| other.x1 < word.x0 + 1.0 || other.x0 > word.x1 - 1.0);
        let near = apart < 0.25 * size.min(word.size) || (script && rows.last().is_some_and(free));
        match rows.last_mut().filter(|_| near) {
            Some(row) => {
                // The largest word of a row says where its baseline is.
                if word.size > 1.1 * size {
                    lead = (word.y, word.size);
                }
                row.push(word);
            }
            None => {
                lead = (word.y, word.size);
                rows.push(vec![word]);
            }
        }
    }
    rows
}

/// Joins the words of one row, from left to right, into segments.
fn join(mut row: Vec<Word>) -> Vec<Segment> {
    // Stable: parts of words drawn at the same place stay in the order they were drawn in.
    row.sort_by(|a, b| a.x0.total_cmp(&b.x0));
    let largest = row.iter().map(|word| word.size).fold(0.0, f64::max);
    let y = row.iter().find(|word| word.size >= 0.9 * largest).map_or(0.0, |word| word.y);
    let letter_gap = letter_spacing(&row);
    let mut segments: Vec<Segment> = Vec::new();
    let mut sizes: Vec<Sizes> = Vec::new();
    let mut last_size = 0.0;
    for word in row {
        let size = word.size.min(if last_size > 0.0 { last_size } else { word.size });
        last_size = word.size;
        let letters = word.text.chars().count();
        if let Some(segment) = segments.last_mut() {
            let gap = word.x0 - segment.x1;
            let reach = if is_marker(&segment.text) { 4.0 } else { SEGMENT_GAP };
            if gap < reach * word.size.max(size) {
                let apart = gap >= letter_gap.unwrap_or(WORD_GAP * size);
                if apart || (word.spaced && gap > -0.2 * size) {
                    segment.text.push(' ');
                }
                segment.text.push_str(&word.text);
                // Most letters decide, so that a large bullet or a footnote's number does not.
                if let Some(sizes) = sizes.last_mut() {
                    segment.size = sizes.add(word.size, letters);
                }
                segment.x1 = segment.x1.max(word.x1);
                segment.bold &= word.bold;
                continue;
            }
        }
        let mut counts = Sizes::default();
        counts.add(word.size, letters);
        sizes.push(counts);
        segments.push(Segment { text: word.text, x0: word.x0, x1: word.x1, y, size: word.size, bold: word.bold });
    }
    segments
}

/// How many letters of a segment have which size.
#[derive(Default)]
struct Sizes(Vec<(f64, usize)>);

impl Sizes {
    /// Adds a word; returns the size that most letters have so far.
    fn add(&mut self, size: f64, letters: usize) -> f64 {
        match self.0.iter_mut().find(|(known, _)| (known - size).abs() < 0.25) {
            Some((_, count)) => *count += letters,
            None => self.0.push((size, letters)),
        }
        self.0.iter().max_by_key(|(_, count)| *count).map_or(size, |(size, _)| *size)
    }
}

/// The gap that ends a word in a row of letters set apart, `L I K E  T H I S`; `None` for a usual row.
fn letter_spacing(row: &[Word]) -> Option<f64> {
    let single =
        row.iter().filter(|word| word.text.chars().count() == 1 && !word.text.contains(char::is_numeric)).count();
    if row.len() < 6 || single * 10 < row.len() * 7 {
        return None;
    }
    let mut gaps: Vec<f64> =
        row.windows(2).filter(|pair| !pair[1].spaced).map(|pair| pair[1].x0 - pair[0].x1).collect();
    gaps.sort_by(f64::total_cmp);
    let middle = *gaps.get(gaps.len() / 2)?;
    let size = row[0].size;
    (gaps.len() >= 5 && (WORD_GAP * size..0.4 * size).contains(&middle)).then_some((1.8 * middle).max(WORD_GAP * size))
}

/// Whether a text is only the bullet or number before a list item or heading.
pub fn is_marker(text: &str) -> bool {
    is_bullet(text) || is_number(text)
}

/// Whether a text is a bullet.
pub fn is_bullet(text: &str) -> bool {
    matches!(
        text.trim(),
        "•" | "●"
            | "○"
            | "◦"
            | "▪"
            | "■"
            | "□"
            | "‣"
            | "⁃"
            | "·"
            | "–"
            | "—"
            | "-"
            | "*"
            | "➢"
            | "✓"
            | "►"
            | "❖"
            | "\u{f0b7}"
            | "\u{f0a7}"
            | "\u{f0d8}"
            | "\u{f076}"
            | "\u{f0fc}"
    )
}

/// Whether a text is an item's number: `1.`, `2)`, `(a)`, `3.1.2`, `iv.`
pub fn is_number(text: &str) -> bool {
    let text = text.trim();
    let inner = text.trim_start_matches('(').trim_end_matches([')', '.']);
    let closed = inner.len() < text.len();
    if inner.is_empty() || inner.len() > 8 {
        return false;
    }
    let parts: Vec<&str> = inner.split('.').collect();
    let numeric =
        parts.iter().all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()));
    let single = inner.len() == 1 && inner.bytes().all(|byte| byte.is_ascii_alphabetic());
    let roman = inner.len() <= 5 && inner.bytes().all(|byte| b"ivx".contains(&byte));
    (numeric && (closed || parts.len() > 1)) || ((single || roman) && closed)
}

#[cfg(test)]
mod tests {
    use hayro_interpret::kurbo::Point;

    use super::*;

    /// The letters of a line with their widths as parts of the font size; each is drawn once for each offset.
    fn line(letters: &str, (left, y): (f64, f64), size: f64, offsets: &[f64]) -> Vec<Glyph> {
        let mut glyphs = Vec::new();
        for &offset in offsets {
            let mut x = left;
            for (i, letter) in letters.chars().enumerate() {
                let width = size * (0.23 + f64::from(u32::from(letter) % 7) * 0.09 + 0.001 * (i % 5) as f64);
                let (start, end) = (Point::new(x + offset, y), Point::new(x + offset + width, y));
                glyphs.push(Glyph { text: letter.to_string(), start, end, size, bold: false });
                x += width;
            }
        }
        glyphs
    }

    fn text(glyphs: &[Glyph]) -> String {
        segments(glyphs, 0.0).into_iter().map(|segment| segment.text).collect()
    }

    #[test]
    fn no_letter_is_taken_for_another_elsewhere_on_the_page() {
        // In each line every letter stands where it stood in the first, measured in its own widths.
        let letters = "enhorabuenasafetyretrasadaexpresa100206";
        let mut glyphs = Vec::new();
        for scale in [1.0, 1.25, 1.5, 2.0, 2.5] {
            glyphs.extend(line(letters, (40.0 * scale, 60.0 * scale), 8.0 * scale, &[0.0]));
        }
        assert_eq!(text(&glyphs), letters.repeat(5));
    }

    #[test]
    fn letters_drawn_twice_to_make_them_bold_count_once() {
        for size in [6.0, 10.0, 24.0, 72.0] {
            for slip in [0.0, 0.01, 0.03] {
                let glyphs = line("Contrato", (50.0, 99.3), size, &[0.0, slip * size, slip * size / 2.0]);
                assert_eq!(text(&glyphs), "Contrato", "{size} {slip}");
            }
        }
        // Letter after letter, as other programs do it, and double letters stay double.
        let mut glyphs = Vec::new();
        for glyph in line("llamaa 1100", (50.0, 99.3), 10.0, &[0.0]) {
            let moved = |point: Point| Point::new(point.x + 0.3, point.y);
            glyphs.push(glyph.clone());
            glyphs.push(Glyph { start: moved(glyph.start), end: moved(glyph.end), ..glyph });
        }
        assert_eq!(text(&glyphs), "llamaa 1100");
    }
}
