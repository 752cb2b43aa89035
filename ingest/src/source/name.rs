//! File names as text, without loss: two different names never give the same path.

use std::ffi::{OsStr, OsString};

/// The text of one file name. Names in UTF-8 are kept as they are, but for `\`, which is doubled; every byte of another
/// encoding becomes `\xHH`. `None` where the system gives no bytes to escape.
#[cfg(unix)]
pub(super) fn to_text(name: &OsStr) -> Option<String> {
    use std::os::unix::ffi::OsStrExt;
    let mut text = String::with_capacity(name.len());
    for piece in name.as_bytes().utf8_chunks() {
        text.push_str(&piece.valid().replace('\\', "\\\\"));
        for byte in piece.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Some(text)
}

/// The text of one file name.
#[cfg(not(unix))]
pub(super) fn to_text(name: &OsStr) -> Option<String> {
    name.to_str().map(str::to_owned)
}

/// The file name that [`to_text`] made this text of. `None` for a text that it never makes, such as `..`.
#[cfg(unix)]
pub(super) fn from_text(text: &str) -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt;
    if matches!(text, "" | "." | "..") || text.contains(['/', '\0']) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first != b'\\' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        match after {
            [b'\\', after @ ..] => {
                bytes.push(b'\\');
                rest = after;
            }
            [b'x', high, low, after @ ..] => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after;
            }
            _ => return None,
        }
    }
    let name = OsString::from_vec(bytes);
    // Escapes that were not needed could spell `..` or a separator.
    (to_text(&name).as_deref() == Some(text)).then_some(name)
}

/// The file name that [`to_text`] made this text of.
#[cfg(not(unix))]
pub(super) fn from_text(text: &str) -> Option<OsString> {
    let unusable = matches!(text, "" | "." | "..") || text.contains(['/', '\\', ':', '\0']);
    (!unusable).then(|| OsString::from(text))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn every_name_comes_back_and_no_two_share_a_text() {
        let names: [&[u8]; 7] =
            [b"a.md", "año.md".as_bytes(), b"a\xf1o.md", b"a\\xf1o.md", b"\\", b"\xff\xfe", b"x\\\xff"];
        let mut texts = Vec::new();
        for name in names {
            let text = to_text(OsStr::from_bytes(name)).unwrap();
            assert_eq!(from_text(&text).unwrap().as_bytes(), name);
            texts.push(text);
        }
        assert_eq!(texts[1], "año.md");
        assert_eq!(texts[2], "a\\xf1o.md");
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), names.len());
    }

    #[test]
    fn texts_that_lead_elsewhere_are_no_names() {
        for text in ["", ".", "..", "a/b", "\\", "\\x", "\\xg0", "\\x+f", "a\0", "\\x2e\\x2e", "a\\x2fb"] {
            assert_eq!(from_text(text), None, "{text:?}");
        }
    }
}
