//! From glyphs to words, and from words to rows of segments.

use std::collections::HashSet;

use super::glyphs::Glyph;

/// A gap of this part of the font size ends a word (poppler breaks words at 0.1).
const WORD_GAP: f64 = 0.12;

/// A gap of this part of the font size ends a segment: it may be a column's gutter or a table's.
const SEGMENT_GAP: f64 = 1.0;

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
        if drawn.again(&glyph.text, (x0, y), (0.08 * glyph.size).min(0.15 * (x1 - x0))) {
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

/// Where each letter was drawn. Programs draw letters twice, a hair apart, to make them bold.
#[derive(Default)]
struct Drawn<'g>(HashSet<(&'g str, i64, i64)>);

impl<'g> Drawn<'g> {
    /// Notes a letter; whether the same one is already there.
    fn again(&mut self, text: &'g str, (x, y): (f64, f64), cell: f64) -> bool {
        if cell <= 0.0 {
            return false;
        }
        let (column, row) = ((x / cell).round() as i64, (y / cell).round() as i64);
        for near in -1..=1 {
            for above in -1..=1 {
                if self.0.contains(&(text, column + near, row + above)) {
                    return true;
                }
            }
        }
        self.0.insert((text, column, row));
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
