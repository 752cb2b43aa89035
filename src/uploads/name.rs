//! File names from outside, made safe to be names in the source.

use intramuros_ingest::document::ContentHash;
use intramuros_ingest::format;
use unicode_normalization::UnicodeNormalization;

/// Bytes of a name; the file systems in use take 255.
const MOST_BYTES: usize = 200;

/// Why a file cannot be taken under its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing is left of it.
    #[error("a `file` part has no usable file name: send `filename=\"…\"` in its Content-Disposition")]
    Empty,
    /// No reader knows its ending.
    #[error("`{name}` is of a kind that cannot be read: its name must end in one of {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Endings, comma-separated.
        known: String,
    },
}

/// The last part of a name that a client gives, without what steers terminals, hides files or leads elsewhere. Names
/// that differ only in Unicode composition become one.
pub fn file_name(given: &str) -> Result<String, BadName> {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last.nfc().filter(|&c| !c.is_control() && !is_invisible(c)).collect();
    let trimmed = kept.trim().trim_start_matches('.').trim();
    let name = shortened(trimmed);
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    let known = format::known_endings();
    if ending(&name).is_some_and(|ending| known.contains(&ending.as_str())) {
        return Ok(name);
    }
    Err(BadName::Unknown { name, known: known.join(", ") })
}

/// The ending of a file name in lower case.
pub fn ending(name: &str) -> Option<String> {
    let (stem, ending) = name.rsplit_once('.')?;
    (!stem.is_empty() && !ending.is_empty()).then(|| ending.to_lowercase())
}

/// What is not seen, with which one name can be made to look like another: the general category Cf of Unicode 17 (marks of
/// direction, joiners, soft hyphens, tags), and separators of lines.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// Shortens the stem, never the ending, and says by a hash which of the names with this beginning it was.
fn shortened(name: &str) -> String {
    if name.len() <= MOST_BYTES {
        return name.to_owned();
    }
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if ending.len() < 20 => (stem, format!(".{ending}")),
        _ => (name, String::new()),
    };
    let hash = &ContentHash::of(name.as_bytes()).0[..8];
    let most = stem.floor_char_boundary(MOST_BYTES - ending.len() - hash.len() - 1);
    format!("{}~{hash}{ending}", stem[..most].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_and_hide_nothing() {
        let good = |given: &str| file_name(given).unwrap();
        assert_eq!(good("../../etc/Política de viajes.MD"), "Política de viajes.MD");
        assert_eq!(good("C:\\docs\\a.pdf"), "a.pdf");
        assert_eq!(good("..hidden.md"), "hidden.md");
        assert_eq!(good(" a\u{202e}fdp\n.txt "), "afdp.txt");
        assert_eq!(good("Poli\u{301}tica.md"), "Política.md");
        assert_eq!(good("abc\u{61c}fdp\u{ad}\u{180e}.md"), "abcfdp.md");
        let long = |last: &str| good(&format!("{}{last}.docx", "ñ".repeat(300)));
        assert!(long("1").len() <= MOST_BYTES && long("1").starts_with("ñññ") && long("1").ends_with(".docx"));
        assert_ne!(long("1"), long("2"));
        for given in ["", "..", "/", "a/", "\u{200b}", " . "] {
            assert_eq!(file_name(given), Err(BadName::Empty), "{given:?}");
        }
    }

    #[test]
    fn a_kind_that_cannot_be_read_lists_those_that_can() {
        let error = file_name("a/plan.xlsx").unwrap_err().to_string();
        assert!(file_name("README").unwrap_err().to_string().contains("`README`"));
        assert!(error.contains("`plan.xlsx`") && error.contains("pdf") && error.contains("docx"), "{error}");
    }
}
