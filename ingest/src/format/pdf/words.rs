//! From glyphs to words, and from words to rows of segments.

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
    let mut spaced = true;
    let mut open = false;
    for glyph in glyphs {
        let (x0, y) = rotate(glyph.start.x, glyph.start.y);
        let (x1, _) = rotate(glyph.end.x, glyph.end.y);
        if glyph.text.chars().all(|c| c.is_whitespace() || c == '\u{200b}') {
            (open, spaced) = (false, true);
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
        words.push(Word { text: glyph.text.clone(), x0, x1: x1.max(x0), y, size: glyph.size, bold: glyph.bold, spaced });
        (open, spaced) = (true, false);
    }
    words
}

/// Groups words, sorted by baseline, into rows; raised and lowered words belong to the row they overlap.
fn rows(words: Vec<Word>) -> Vec<Vec<Word>> {
    let mut rows: Vec<Vec<Word>> = Vec::new();
    let mut lead = (0.0, 0.0);
    for word in words {
        let (y, size): (f64, f64) = lead;
        let near = (word.y - y).abs() < 0.25 * size.min(word.size)
            || ((word.y - y).abs() < 0.45 * size.max(word.size) && (word.size < 0.8 * size || size < 0.8 * word.size));
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
    let mut segments: Vec<Segment> = Vec::new();
    let mut last_size = 0.0;
    let mut last: Option<(f64, f64, String)> = None;
    for word in row {
        // The same word drawn again a hair away is how some programs make it bold.
        if let Some((x0, x1, text)) = &last
            && *text == word.text
            && (word.x0 - x0).abs() < 0.25 * word.size
            && (word.x1 - x1).abs() < 0.25 * word.size
        {
            continue;
        }
        last = Some((word.x0, word.x1, word.text.clone()));
        let size = word.size.min(if last_size > 0.0 { last_size } else { word.size });
        last_size = word.size;
        if let Some(segment) = segments.last_mut() {
            let gap = word.x0 - segment.x1;
            let reach = if is_marker(&segment.text) { 4.0 } else { SEGMENT_GAP };
            if gap < reach * word.size.max(size) {
                if (gap >= WORD_GAP * size || (word.spaced && gap > -0.2 * size)) && !segment.text.is_empty() {
                    segment.text.push(' ');
                }
                segment.text.push_str(&word.text);
                if word.size > 1.1 * segment.size {
                    segment.size = word.size;
                }
                segment.x1 = segment.x1.max(word.x1);
                segment.bold &= word.bold;
                continue;
            }
        }
        segments.push(Segment { text: word.text, x0: word.x0, x1: word.x1, y, size: word.size, bold: word.bold });
    }
    segments
}

/// Whether a text is only the bullet or number before a list item or heading.
pub fn is_marker(text: &str) -> bool {
    is_bullet(text) || is_number(text)
}

/// Whether a text is a bullet.
pub fn is_bullet(text: &str) -> bool {
    matches!(
        text.trim(),
        "•" | "●" | "○" | "◦" | "▪" | "■" | "□" | "‣" | "⁃" | "·" | "–" | "—" | "-" | "*" | "➢" | "✓" | "►" | "❖" | "\u{f0b7}"
            | "\u{f0a7}" | "\u{f0d8}" | "\u{f076}" | "\u{f0fc}"
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
    let numeric = parts.iter().all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()));
    let single = inner.len() == 1 && inner.bytes().all(|byte| byte.is_ascii_alphabetic());
    let roman = inner.len() <= 5 && inner.bytes().all(|byte| b"ivx".contains(&byte));
    (numeric && (closed || parts.len() > 1)) || ((single || roman) && closed)
}
