//! Finds the character encoding of a text file and decodes it.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::FormatError;

/// A decoded text and, where its encoding had to be guessed or did not fit, a note about that.
#[derive(Debug)]
pub struct Decoded {
    /// The text.
    pub text: String,
    /// What an administrator may want to know.
    pub warning: Option<String>,
}

/// Decodes: a byte order mark decides, then valid UTF-8, then what the file declares, then what the bytes look like.
///
/// # Errors
/// [`FormatError::Damaged`] for content with NUL characters, which no text has.
pub fn decode(bytes: &[u8], declared: Option<&'static Encoding>, format: &str) -> Result<Decoded, FormatError> {
    let (encoding, guessed) = choose(bytes, declared);
    let (text, _, malformed) = encoding.decode(bytes);
    if text.contains('\0') {
        let reason = "it holds binary data, not text".to_owned();
        return Err(FormatError::Damaged { format: format.to_owned(), reason });
    }
    let warning = match (malformed, guessed) {
        (true, _) => Some(format!("some bytes are not valid {}: they became replacement characters", encoding.name())),
        (false, true) => Some(format!("no encoding declared: read as {}", encoding.name())),
        (false, false) => None,
    };
    Ok(Decoded { text: text.into_owned(), warning })
}

/// Decodes a part of an XML package: UTF-8, or UTF-16 with its mark, as OPC requires.
pub fn xml(bytes: &[u8]) -> String {
    let (encoding, _) = Encoding::for_bom(bytes).unwrap_or((UTF_8, 0));
    encoding.decode(bytes).0.into_owned()
}

/// The encoding, and whether it is a guess.
fn choose(bytes: &[u8], declared: Option<&'static Encoding>) -> (&'static Encoding, bool) {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return (encoding, false);
    }
    if let Some(encoding) = utf16_without_mark(bytes) {
        return (encoding, true);
    }
    if std::str::from_utf8(bytes).is_ok() {
        return (UTF_8, false);
    }
    // UTF-8 that stops in the middle of a character, or has one bad byte in a long text, is still UTF-8.
    if mostly_utf8(bytes) {
        return (UTF_8, false);
    }
    if let Some(encoding) = declared.filter(|encoding| *encoding != UTF_8) {
        return (encoding, false);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    (detector.guess(None, Utf8Detection::Deny), true)
}

/// UTF-16 of mostly Latin text shows as a NUL in every other byte.
fn utf16_without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    let sample = &bytes[..bytes.len().min(4096) & !1];
    let pairs = sample.len() / 2;
    let nul = |offset: usize| sample.iter().skip(offset).step_by(2).filter(|&&byte| byte == 0).count();
    let (even, odd) = (nul(0), nul(1));
    if pairs >= 2 && odd * 10 >= pairs * 7 && even * 10 < pairs {
        Some(UTF_16LE)
    } else if pairs >= 2 && even * 10 >= pairs * 7 && odd * 10 < pairs {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// Whether valid multi-byte characters outnumber bad sequences by far.
fn mostly_utf8(bytes: &[u8]) -> bool {
    let (mut good, mut bad) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        good += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    good > bad * 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        decode(bytes, None, "text").unwrap().text
    }

    #[test]
    fn spanish_survives_every_encoding() {
        let words = "El año pasado la compañía pagó la indemnización según lo pactado en la cláusula décima.";
        assert_eq!(text(words.as_bytes()), words);
        assert_eq!(text(&[b"\xef\xbb\xbf", words.as_bytes()].concat()), words);
        let latin: Vec<u8> = words.chars().map(|c| c as u8).collect();
        assert_eq!(text(&latin), words);
        let utf16: Vec<u8> = words.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(text(&utf16), words);
        assert_eq!(text(&[b"\xff\xfe".as_slice(), &utf16].concat()), words);
    }

    #[test]
    fn what_is_declared_counts_unless_the_bytes_are_utf8() {
        let declared = Encoding::for_label(b"iso-8859-2");
        assert_eq!(decode(b"\xb1", declared, "HTML").unwrap().text, "ą");
        assert_eq!(decode("ñ".as_bytes(), declared, "HTML").unwrap().text, "ñ");
    }

    #[test]
    fn a_cut_character_does_not_change_the_encoding() {
        let decoded = decode(&"ñandú, camión, jamás, óbice, ácido, época ñ".as_bytes()[..48], None, "text").unwrap();
        assert!(decoded.text.starts_with("ñandú"), "{}", decoded.text);
    }

    #[test]
    fn binary_is_not_text() {
        assert!(matches!(decode(b"ab\0cd\0\0e", None, "text"), Err(FormatError::Damaged { .. })));
    }
}
