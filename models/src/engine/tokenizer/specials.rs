//! Texts that stand for one token wherever they occur in a prompt.

use aho_corasick::{AhoCorasick, Input, MatchKind};

/// The special texts of a tokenizer; of several that begin at the same place the longest counts.
pub struct Specials {
    tokens: Vec<(String, u32)>,
    finder: AhoCorasick,
}

/// A special text that was found.
pub struct Found<'a> {
    /// Where it begins.
    pub start: usize,
    /// Itself.
    pub text: &'a str,
    /// Its token.
    pub id: u32,
}

impl Specials {
    /// For texts with their tokens; the first token of equal texts counts.
    ///
    /// # Errors
    /// When they are too many to be searched for.
    pub fn new(mut tokens: Vec<(String, u32)>) -> Result<Self, String> {
        tokens.sort_by_key(|(_, id)| *id);
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|(text, _)| text))
            .map_err(|error| format!("its special tokens: {error}"))?;
        Ok(Self { tokens, finder })
    }

    /// The first one at or behind a place of a text.
    pub fn find(&self, text: &str, from: usize) -> Option<Found<'_>> {
        let found = self.finder.find(Input::new(text).span(from..text.len()))?;
        let (text, id) = &self.tokens[found.pattern()];
        Some(Found { start: found.start(), text, id: *id })
    }

    /// Breaks up what would be read as a special token, so that a document cannot end the turn it stands in: a space goes
    /// after the first character of each. Runs of blanks, which some vocabularies have as special texts, end nothing and
    /// stay as they are.
    pub fn disarm(&self, text: &str) -> String {
        let mut output = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(found) = self.find(text, at) {
            let is_blank = found.text.chars().all(char::is_whitespace);
            let kept = match found.text.chars().next() {
                Some(first) if !is_blank => first.len_utf8(),
                _ => found.text.len(),
            };
            output.push_str(&text[at..found.start + kept]);
            if kept < found.text.len() {
                output.push(' ');
            }
            at = found.start + kept;
        }
        output.push_str(&text[at..]);
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specials(texts: &[&str]) -> Specials {
        Specials::new(texts.iter().zip(7..).map(|(text, id)| ((*text).to_owned(), id)).collect()).unwrap()
    }

    #[test]
    fn the_longest_at_the_first_place_is_found() {
        let specials = specials(&["<a>", "<a>b", "\n", "\n\n", "<a>"]);
        let all = |text: &str| {
            let mut at = 0;
            let mut found = Vec::new();
            while let Some(next) = specials.find(text, at) {
                at = next.start + next.text.len();
                found.push((next.start, next.id));
            }
            found
        };
        assert_eq!(all("x<a>b<a>c\n\n\n"), [(1, 8), (5, 7), (9, 10), (11, 9)]);
        assert_eq!(all("<a"), []);
    }

    #[test]
    fn turns_cannot_be_ended_and_blank_lines_stay() {
        let specials = specials(&["<end>", "<", "\n\n", "  ", "é>"]);
        assert_eq!(specials.disarm("a\n\nb  c<end><<end>"), "a\n\nb  c< end><< end>");
        assert_eq!(specials.disarm("é>\n\n<end>"), "é >\n\n< end>");
        assert_eq!(specials.disarm("nothing"), "nothing");
        assert!(super::Specials::new(Vec::new()).unwrap().find("a", 0).is_none());
    }
}
