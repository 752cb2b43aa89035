//! Cleans text: Unicode NFC, no invisible characters, no ligatures, one kind of space.

use unicode_normalization::UnicodeNormalization;

/// Cleans running text: every stretch of white space becomes one space, a line feed that stands in it one line feed.
///
/// Readers put a line feed only where the document forces a line break; its own line ends they turn into spaces.
pub fn prose(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut space = false;
    let mut line = false;
    for c in visible(text) {
        if c == '\n' {
            line = true;
        } else if c.is_whitespace() {
            space = true;
        } else {
            if !out.is_empty() && (line || space) {
                out.push(if line { '\n' } else { ' ' });
            }
            (space, line) = (false, false);
            out.push(c);
        }
    }
    out
}

/// Cleans one line: all white space, line feeds included, becomes single spaces.
pub fn line(text: &str) -> String {
    prose(text).replace('\n', " ")
}

/// Cleans preformatted text: its spaces, tabs and lines stay, blank lines around it and spaces at line ends go.
pub fn code(text: &str) -> String {
    let text: String = visible(text).collect();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let first = lines.iter().position(|line| !line.is_empty()).unwrap_or(0);
    let last = lines.iter().rposition(|line| !line.is_empty()).map_or(first, |last| last + 1);
    lines[first..last.max(first)].join("\n")
}

/// NFC without characters that nobody sees; line ends of any kind become `\n`.
fn visible(text: &str) -> impl Iterator<Item = char> + '_ {
    text.split("\r\n")
        .enumerate()
        .flat_map(|(i, part)| (i > 0).then_some('\n').into_iter().chain(part.chars()))
        .flat_map(Expanded::of)
        .nfc()
}

/// What one character becomes: nothing, itself, or the letters of a ligature.
enum Expanded {
    Char(Option<char>),
    Letters(std::str::Chars<'static>),
}

impl Expanded {
    fn of(c: char) -> Self {
        let letters = match c {
            '\u{fb00}' => "ff",
            '\u{fb01}' => "fi",
            '\u{fb02}' => "fl",
            '\u{fb03}' => "ffi",
            '\u{fb04}' => "ffl",
            '\u{fb05}' | '\u{fb06}' => "st",
            '\r' | '\u{2028}' | '\u{2029}' | '\u{85}' => return Self::Char(Some('\n')),
            '\t' | '\n' => return Self::Char(Some(c)),
            '\u{b}' | '\u{c}' => return Self::Char(Some(' ')),
            // The private codes under which Symbol and Wingdings fonts keep their bullets.
            '\u{f0b7}' | '\u{f0a7}' | '\u{f076}' | '\u{f0d8}' | '\u{f0fc}' => return Self::Char(Some('•')),
            _ if c.is_control() || is_invisible(c) => return Self::Char(None),
            _ => return Self::Char(Some(c)),
        };
        Self::Letters(letters.chars())
    }
}

impl Iterator for Expanded {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Self::Char(c) => c.take(),
            Self::Letters(letters) => letters.next(),
        }
    }
}

/// Characters without width or shape: soft hyphens, zero-width and direction marks, tags, private use, non-characters.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}'
        | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
        || (c as u32 & 0xfffe) == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_composed_visible_and_evenly_spaced() {
        assert_eq!(prose("  cafe\u{301}\u{a0}\t con\u{ad}trato \n\n ofi\u{200b}cina "), "café con\u{74}rato\noficina");
        assert_eq!(prose("e\u{fb03}cient \u{fb01}n\u{0}"), "efficient fin");
        assert_eq!(prose("hidden\u{e0041}\u{202e}text"), "hiddentext");
        assert_eq!(line("a\nb\u{2028}c"), "a b c");
    }

    #[test]
    fn code_keeps_its_shape() {
        assert_eq!(code("\n\n  if a {\r\n\tb  \r\n  }\n\n"), "  if a {\n\tb\n  }");
        assert_eq!(code(" \n "), "");
    }
}
