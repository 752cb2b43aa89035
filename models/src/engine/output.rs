//! From the bytes of tokens to text that may be shown: whole characters, up to a stop text.

/// Collects the bytes of an answer and gives out what is certain.
pub struct Output {
    stops: Vec<String>,
    /// Bytes of a character that is not whole yet.
    bytes: Vec<u8>,
    /// Text that may be the beginning of a stop text.
    held: String,
}

/// What can be shown after some more bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    /// This much, perhaps nothing.
    Text(String),
    /// This much, and then came a stop text.
    Stopped(String),
}

impl Output {
    /// Ends at the first of some texts; empty ones are ignored.
    pub fn new(stops: Vec<String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            bytes: Vec::new(),
            held: String::new(),
        }
    }

    /// Takes the bytes of a token.
    pub fn push(&mut self, bytes: &[u8]) -> Shown {
        self.bytes.extend_from_slice(bytes);
        self.take_characters();
        let stop = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(start) = stop {
            self.held.truncate(start);
            return Shown::Stopped(std::mem::take(&mut self.held));
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        Shown::Text(std::mem::replace(&mut self.held, rest))
    }

    /// What was held back, when no more tokens come. Half a character is dropped.
    pub fn finish(self) -> String {
        self.held
    }

    /// Moves whole characters from `bytes` to `held`; what can never become a character becomes U+FFFD.
    fn take_characters(&mut self) {
        loop {
            match std::str::from_utf8(&self.bytes) {
                Ok(text) => {
                    self.held.push_str(text);
                    self.bytes.clear();
                    return;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    self.held.push_str(&String::from_utf8_lossy(&self.bytes[..valid]));
                    let Some(wrong) = error.error_len() else {
                        self.bytes.drain(..valid);
                        return;
                    };
                    self.held.push(char::REPLACEMENT_CHARACTER);
                    self.bytes.drain(..valid + wrong);
                }
            }
        }
    }
}

/// Length of the longest end of `text` that begins `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len() - 1);
    (1..=longest)
        .rev()
        .find(|length| stop.is_char_boundary(*length) && text.as_bytes().ends_with(&stop.as_bytes()[..*length]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shown: &str) -> Shown {
        Shown::Text(shown.into())
    }

    #[test]
    fn characters_stay_whole() {
        let mut output = Output::new(vec![]);
        assert_eq!(output.push(b"a\xc3"), text("a"));
        assert_eq!(output.push(b"\xb1o"), text("ño"));
        assert_eq!(output.push(b"\xff!\xf0\x9f"), text("\u{fffd}!"));
        assert_eq!(output.finish(), "");
    }

    #[test]
    fn a_stop_text_may_come_in_pieces() {
        let mut output = Output::new(vec!["\nUser:".into(), String::new()]);
        assert_eq!(output.push(b"yes\n"), text("yes"));
        assert_eq!(output.push(b"Us"), text(""));
        assert_eq!(output.push(b"ual\nUser"), text("\nUsual"));
        assert_eq!(output.push(b": more"), Shown::Stopped(String::new()));
    }

    #[test]
    fn the_first_of_several_stops_wins_and_what_is_held_comes_at_the_end() {
        let mut output = Output::new(vec!["END".into(), "b".into()]);
        assert_eq!(output.push(b"abEND"), Shown::Stopped("a".into()));
        let mut output = Output::new(vec!["ñandú".into()]);
        assert_eq!(output.push("un ñand".as_bytes()), text("un "));
        assert_eq!(output.finish(), "ñand");
    }
}
