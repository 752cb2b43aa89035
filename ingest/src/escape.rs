//! Text made safe for the place where it is shown: a terminal, a URI.

use std::fmt::Write;

/// What stands for itself in a URI besides letters and digits (RFC 3986, section 2.3).
pub const UNRESERVED: &[u8] = b"-._~";

/// The same and the separator, for whole paths.
pub const PATH: &[u8] = b"-._~/";

/// Escapes what would steer a terminal or hide what a text is: control characters, line breaks and marks that reorder it
/// (Unicode TR36, «bidirectional text spoofing»). For names, titles and whatever else is one line.
pub fn printable(text: &str) -> String {
    escaped(text, |_| false)
}

/// As [`printable`], for text of several lines: line feeds and tabs stay.
pub fn printable_lines(text: &str) -> String {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_steering(c) && !stays(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn is_steering(c: char) -> bool {
    // Line and paragraph separator, embeddings and overrides, isolates.
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Percent-encodes all bytes but ASCII letters, digits and those in `plain`, such as [`UNRESERVED`] or [`PATH`].
pub fn percent(bytes: &[u8], plain: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len() * 2);
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_words_are_not() {
        let text = "Año\t«ﺍﻟ» 👩\u{200d}👧\n\u{1b}[2J\r\u{9b}\u{202e}fdp\u{2066}\u{2028}";
        let steering = "\\u{1b}[2J\\u{d}\\u{9b}\\u{202e}fdp\\u{2066}\\u{2028}";
        assert_eq!(printable(text), format!("Año\\u{{9}}«ﺍﻟ» 👩\u{200d}👧\\u{{a}}{steering}"));
        assert_eq!(printable_lines(text), format!("Año\t«ﺍﻟ» 👩\u{200d}👧\n{steering}"));
    }

    #[test]
    fn what_is_not_plain_is_percent_encoded() {
        assert_eq!(percent("a-b/ñ 50%".as_bytes(), PATH), "a-b/%C3%B1%2050%25");
        assert_eq!(percent(b"a-b/_~.", UNRESERVED), "a-b%2F_~.");
        assert_eq!(percent(b"a-b_~.", b"._~"), "a%2Db_~.");
    }
}
