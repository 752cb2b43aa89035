//! Random secrets: API keys, cookies and tokens. Only their hashes are stored; they are too long to be guessed, so a plain
//! SHA-256 does.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What API keys begin with, so that a leaked one is recognised.
pub const KEY_PREFIX: &str = "im_";

/// Characters of 32 bytes in base64.
const SECRET_CHARS: usize = 43;

/// 32 random bytes of the operating system, as 43 characters that need no escaping anywhere.
pub fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Whether a text has the form of an API key.
pub fn is_key(text: &str) -> bool {
    text.strip_prefix(KEY_PREFIX).is_some_and(|rest| rest.len() == SECRET_CHARS)
}

/// What is stored of a secret: its SHA-256 in hexadecimal.
pub fn hash(secret: &str) -> String {
    format!("{:x}", Sha256::digest(secret.as_bytes()))
}

/// Compares without telling by its time where the difference is.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    // The digests of unequal texts differ anywhere, whatever the texts have in common.
    Sha256::digest(a) == Sha256::digest(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_differ_and_are_stored_as_a_hash() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_ne!(one, other);
        assert!(is_key(&format!("{KEY_PREFIX}{one}")) && !is_key(&one) && !is_key("im_x"));
        // https://www.di-mgt.com.au/sha_testvectors.html
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(equal(b"abc", b"abc") && !equal(b"abc", b"abd") && !equal(b"", b"abc"));
    }
}
