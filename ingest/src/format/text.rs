//! Plain text: paragraphs by blank lines, pages by form feeds, headings only where they are underlined.

use super::builder::Builder;
use super::{FormatError, decode};
use crate::document::{BlockKind, Extracted};

/// See [`super::fingerprint`].
pub const VERSION: u32 = 1;

/// Reads a plain text file.
pub fn read(bytes: &[u8]) -> Result<Extracted, FormatError> {
    let decoded = decode::decode(bytes, None, "text")?;
    let mut builder = Builder::default();
    if let Some(warning) = decoded.warning {
        builder.warn(warning);
    }
    // A form feed ends a page; one at the very end begins none.
    let text = decoded.text.trim_end_matches(|c: char| c.is_whitespace());
    let paged = text.contains('\u{c}');
    for page in text.split('\u{c}') {
        if paged {
            builder.page();
        }
        let lines: Vec<&str> = page.lines().map(str::trim_end).collect();
        for paragraph in lines.split(|line| line.trim().is_empty()) {
            add(&mut builder, paragraph);
        }
    }
    builder.finish("the file holds only white space")
}

/// Adds the lines between two blank ones.
fn add(builder: &mut Builder, lines: &[&str]) {
    let mut rest = lines;
    if let [first, second, after @ ..] = rest
        && let Some(level) = underline(first, second)
    {
        builder.heading(level, first);
        rest = after;
    }
    let mut paragraph = String::new();
    let mut in_item = false;
    for line in rest {
        if let Some((depth, marker, text)) = list_item(line) {
            builder.paragraph(&std::mem::take(&mut paragraph));
            builder.item(depth, &marker, text);
            in_item = true;
        } else if in_item && line.starts_with([' ', '\t']) {
            builder.continue_on_new_line(BlockKind::ListItem, line);
        } else {
            in_item = false;
            paragraph.push_str(line);
            paragraph.push('\n');
        }
    }
    builder.paragraph(&paragraph);
}

/// The level of a heading that the second line underlines over its whole width.
fn underline(heading: &str, line: &str) -> Option<u8> {
    let (width, marks) = (heading.trim().chars().count(), line.trim().chars().count());
    if marks < 3 || width.abs_diff(marks) > 3 || width > 100 {
        return None;
    }
    match line.trim() {
        line if line.chars().all(|c| c == '=') => Some(1),
        line if line.chars().all(|c| c == '-') => Some(2),
        _ => None,
    }
}

/// Splits a line that begins with a list marker: nesting depth, marker as the contract writes it, text.
fn list_item(line: &str) -> Option<(usize, String, &str)> {
    let text = line.trim_start();
    let depth = (line.len() - text.len()) / 2;
    let (marker, rest) = text.split_once([' ', '\t'])?;
    if matches!(marker, "-" | "*" | "•" | "·" | "–" | "o") && !(marker == "o" && depth == 0) {
        return Some((depth, "-".to_owned(), rest));
    }
    let number = marker.strip_suffix(['.', ')'])?;
    let is_number = !number.is_empty() && number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| (depth, format!("{number}."), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::BlockKind::{Heading, ListItem, Paragraph};

    #[test]
    fn structure_of_plain_text() {
        let out = read(
            b"Normas\r\n======\r\n\r\nPrimera l\xc3\xadnea\r\nsegunda.\r\n\r\n- uno\r\n  sigue\r\n- dos\r\n1) tres\n",
        )
        .unwrap();
        let blocks: Vec<_> = out.blocks.iter().map(|block| (block.kind, &out.text[block.range.clone()])).collect();
        let expected = [
            (Heading(1), "Normas"),
            (Paragraph, "Primera línea\nsegunda."),
            (ListItem, "- uno\nsigue"),
            (ListItem, "- dos"),
            (ListItem, "1. tres"),
        ];
        assert_eq!(blocks, expected);
        assert!(out.page_starts.is_empty());
    }

    #[test]
    fn form_feeds_are_pages() {
        let out = read(b"one\x0ctwo\x0c\n").unwrap();
        assert_eq!(out.page_starts.len(), 2);
        assert_eq!(out.page_at(out.text.find("two").unwrap()), Some(2));
    }

    #[test]
    fn white_space_is_no_text() {
        assert!(matches!(read(b" \n\t \x0c "), Err(FormatError::NoText { .. })));
    }
}
