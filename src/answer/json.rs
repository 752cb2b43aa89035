//! The values and members of a JSON text with the places where they stand, so that one can be changed and the rest stays byte for byte.

use std::ops::Range;

/// Values within each other; deeper ones are not read, as most readers would not.
const DEEPEST: usize = 100;

/// A value that holds no others.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// Where it is in the document, as a JSON pointer (RFC 6901).
    pub path: String,
    /// What it is.
    pub value: Value,
    /// Its bytes in the text.
    pub range: Range<usize>,
    /// The same with its name, for a member of an object.
    pub whole: Range<usize>,
    /// Whether it is an item of a list.
    pub is_item: bool,
}

/// A member of an object, whatever its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Where its value is in the document, as a JSON pointer (RFC 6901).
    pub path: String,
    /// Without quotes and escapes.
    pub name: String,
    /// The bytes of name and value.
    pub whole: Range<usize>,
}

/// What stands in a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Without quotes and escapes.
    Text(String),
    /// As written.
    Number(String),
    /// `true` or `false`.
    Flag,
    /// `null`.
    Null,
}

/// The values of a text in their order, or nothing when it is no JSON or too deep.
pub fn leaves(text: &str) -> Option<Vec<Leaf>> {
    Some(read(text)?.leaves)
}

/// The members of all its objects, each before those within it.
pub fn members(text: &str) -> Option<Vec<Member>> {
    Some(read(text)?.members)
}

fn read(text: &str) -> Option<Reader<'_>> {
    let mut reader = Reader { text, at: 0, leaves: Vec::new(), members: Vec::new() };
    reader.value("", None, false, DEEPEST)?;
    reader.blanks();
    (reader.at == text.len()).then_some(reader)
}

/// A text without one of its members or items, the comma beside it included.
pub fn without(text: &str, whole: &Range<usize>) -> String {
    let Range { mut start, mut end } = *whole;
    if text[end..].starts_with(',') {
        end += 1;
    } else if text[..start].ends_with(',') {
        start -= 1;
    }
    format!("{}{}", &text[..start], &text[end..])
}

/// A text with `null` in the place of one of its values.
pub fn with_null(text: &str, leaf: &Leaf) -> String {
    format!("{}null{}", &text[..leaf.range.start], &text[leaf.range.end..])
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    leaves: Vec<Leaf>,
    members: Vec<Member>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn takes(&mut self, sign: char) -> bool {
        self.blanks();
        let found = self.rest().starts_with(sign);
        self.at += usize::from(found);
        found
    }

    /// Reads a value; `name` is where its name begins.
    fn value(&mut self, path: &str, name: Option<usize>, is_item: bool, deeper: usize) -> Option<()> {
        let deeper = deeper.checked_sub(1)?;
        self.blanks();
        match self.rest().chars().next()? {
            '{' => self.members(path, deeper),
            '[' => self.items(path, deeper),
            _ => {
                let start = self.at;
                let value = self.leaf()?;
                let range = start..self.at;
                let whole = name.unwrap_or(start)..self.at;
                self.leaves.push(Leaf { path: path.to_owned(), value, range, whole, is_item });
                Some(())
            }
        }
    }

    fn members(&mut self, path: &str, deeper: usize) -> Option<()> {
        self.at += 1;
        if self.takes('}') {
            return Some(());
        }
        loop {
            self.blanks();
            let start = self.at;
            let name = self.string()?;
            if !self.takes(':') {
                return None;
            }
            let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
            let index = self.members.len();
            self.members.push(Member { path: path.clone(), name, whole: start..start });
            self.value(&path, Some(start), false, deeper)?;
            self.members[index].whole.end = self.at;
            if self.takes('}') {
                return Some(());
            }
            if !self.takes(',') {
                return None;
            }
        }
    }

    fn items(&mut self, path: &str, deeper: usize) -> Option<()> {
        self.at += 1;
        if self.takes(']') {
            return Some(());
        }
        for index in 0.. {
            self.value(&format!("{path}/{index}"), None, true, deeper)?;
            if self.takes(']') {
                return Some(());
            }
            if !self.takes(',') {
                return None;
            }
        }
        None
    }

    fn leaf(&mut self) -> Option<Value> {
        if self.rest().starts_with('"') {
            return self.string().map(Value::Text);
        }
        let rest = self.rest();
        let length = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        let word = &rest[..length];
        let value = match word {
            "null" => Value::Null,
            "true" | "false" => Value::Flag,
            number => {
                number.parse::<serde_json::Number>().ok()?;
                Value::Number(number.to_owned())
            }
        };
        self.at += length;
        Some(value)
    }

    fn string(&mut self) -> Option<String> {
        let inside = self.rest().strip_prefix('"')?;
        let mut escaped = false;
        let end = inside.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        let quoted = &self.rest()[..end + 2];
        let text = serde_json::from_str(quoted).ok()?;
        self.at += quoted.len();
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"a/b":{"n":-1.50,"on":true},"list":["x \"y\\",null,"ñ"],"none":[],"last":"z"}"#;

    #[test]
    fn values_are_found_with_their_places() {
        let leaves = leaves(TEXT).unwrap();
        let told: Vec<(&str, &str)> =
            leaves.iter().map(|leaf| (leaf.path.as_str(), &TEXT[leaf.range.clone()])).collect();
        assert_eq!(
            told,
            [
                ("/a~1b/n", "-1.50"),
                ("/a~1b/on", "true"),
                ("/list/0", r#""x \"y\\""#),
                ("/list/1", "null"),
                ("/list/2", r#""ñ""#),
                ("/last", r#""z""#),
            ]
        );
        assert_eq!(leaves[0].value, Value::Number("-1.50".into()));
        assert_eq!(leaves[2].value, Value::Text("x \"y\\".into()));
        assert!(leaves[3].is_item && !leaves[5].is_item);
        assert_eq!(super::leaves("\"\\u00e1\"").unwrap()[0].value, Value::Text("á".into()));
        assert_eq!(super::leaves(" [ 1 , 2 ] ").unwrap().len(), 2);
    }

    #[test]
    fn members_are_found_with_all_that_is_in_them() {
        let members = members(TEXT).unwrap();
        let told: Vec<(&str, &str)> =
            members.iter().map(|member| (member.path.as_str(), member.name.as_str())).collect();
        assert_eq!(
            told,
            [
                ("/a~1b", "a/b"),
                ("/a~1b/n", "n"),
                ("/a~1b/on", "on"),
                ("/list", "list"),
                ("/none", "none"),
                ("/last", "last")
            ]
        );
        assert!(without(TEXT, &members[0].whole).starts_with(r#"{"list":["#));
        assert!(without(TEXT, &members[3].whole).contains(r#"},"none":[]"#));
    }

    #[test]
    fn what_is_no_json_is_not_read() {
        for text in ["", "{", "[1", "{\"a\" 1}", "{\"a\":1,}", "[1 2]", "tru", "\"a", "1 2", "{a:1}", "01x"] {
            assert_eq!(leaves(text), None, "{text}");
        }
        assert_eq!(leaves(&"[".repeat(100_000)), None);
    }

    #[test]
    fn one_value_is_changed_and_the_others_stay() {
        let cut = |path: &str| {
            let leaves = leaves(TEXT).unwrap();
            let leaf = leaves.iter().find(|leaf| leaf.path == path).unwrap();
            for changed in [without(TEXT, &leaf.whole), with_null(TEXT, leaf)] {
                assert!(serde_json::from_str::<serde_json::Value>(&changed).is_ok(), "{changed}");
            }
            without(TEXT, &leaf.whole)
        };
        assert!(cut("/a~1b/n").starts_with(r#"{"a/b":{"on":true},"#));
        assert!(cut("/a~1b/on").starts_with(r#"{"a/b":{"n":-1.50},"#));
        assert!(cut("/list/2").contains(r#",null],"none""#));
        assert!(cut("/last").ends_with(r#""none":[]}"#));
        let alone = &leaves("[5]").unwrap()[0];
        assert_eq!((without("[5]", &alone.whole), with_null("[5]", alone)), ("[]".into(), "[null]".into()));
    }
}
