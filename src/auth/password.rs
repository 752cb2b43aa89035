//! Passwords: the rule for new ones, and their argon2id hashes.
//!
//! The rule is NIST SP 800-63B's: long, anything goes, not one that everybody tries first. Texts are compared in Unicode
//! normal form KC, so that an `ñ` is the same from every keyboard.

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// Characters of the shortest and the longest password.
pub const MIN_CHARS: usize = 10;
const MAX_CHARS: usize = 256;

/// Parts of the passwords that are tried first, longer ones before what they begin with.
const COMMON: &[&str] = &[
    "password",
    "contraseña",
    "contrasena",
    "qwertyuiop",
    "qwerty",
    "asdfghjkl",
    "zxcvbnm",
    "letmein",
    "welcome",
    "bienvenido",
    "administrator",
    "administrador",
    "admin",
    "iloveyou",
    "teamo",
    "changeme",
    "secreto",
    "secret",
    "intramuros",
];

/// A password that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too short.
    #[error("the password has {chars} characters and needs {MIN_CHARS} or more: a few words in a row do well")]
    Short {
        /// How many it has.
        chars: usize,
    },
    /// Too long.
    #[error("the password has {chars} characters and may have {MAX_CHARS}")]
    Long {
        /// How many it has.
        chars: usize,
    },
    /// Cannot be typed.
    #[error("the password holds a control character, which a sign-in form cannot send: type it again")]
    Control,
    /// Tried first by whoever guesses.
    #[error("the password is among those that are guessed first: a few words that do not belong together do well")]
    Common,
    /// The operating system gives no random numbers, or there is no memory.
    #[error("cannot hash the password: {0}")]
    Hash(password_hash::Error),
}

/// A stored password: argon2id in the PHC string format, which holds its own parameters.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(String);

impl PasswordHash {
    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Not even the hash belongs in a log.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = PasswordError;

    fn try_from(text: String) -> Result<Self, PasswordError> {
        argon2::PasswordHash::new(&text).map_err(|_| PasswordError::Hash(password_hash::Error::EncodingInvalid))?;
        Ok(Self(text))
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0
    }
}

/// Hashes a new password of a user, if it satisfies the rule. Takes some 20 ms and 19 MiB.
pub fn hash(user: &str, password: &str) -> Result<PasswordHash, PasswordError> {
    check(user, password)?;
    hash_unchecked(password)
}

/// Whether a password is that of the hash. Takes as long whatever the outcome.
pub fn verify(password: &str, hash: &PasswordHash) -> bool {
    Argon2::default().verify_password(normal(password).as_bytes(), hash.as_str()).is_ok()
}

/// A hash of a password that nobody knows: what a name without one is verified against, so that it takes as long.
pub(super) fn of_nobody() -> Result<PasswordHash, PasswordError> {
    let unknown = super::secret::random().map_err(|_| PasswordError::Hash(password_hash::Error::RngFailure))?;
    hash_unchecked(&unknown)
}

fn hash_unchecked(password: &str) -> Result<PasswordHash, PasswordError> {
    let hash = Argon2::default().hash_password(normal(password).as_bytes()).map_err(PasswordError::Hash)?;
    Ok(PasswordHash(hash.to_string()))
}

fn normal(password: &str) -> String {
    password.nfkc().collect()
}

fn check(user: &str, password: &str) -> Result<(), PasswordError> {
    let password = normal(password);
    let chars = password.chars().count();
    if chars < MIN_CHARS {
        return Err(PasswordError::Short { chars });
    }
    if chars > MAX_CHARS {
        return Err(PasswordError::Long { chars });
    }
    if password.chars().any(char::is_control) {
        return Err(PasswordError::Control);
    }
    if is_common(&user.to_lowercase(), &password.to_lowercase()) {
        return Err(PasswordError::Common);
    }
    Ok(())
}

/// One character over and over, digits only, or a word that is tried first (the user's own name among them) with digits
/// and signs around it.
fn is_common(user: &str, password: &str) -> bool {
    let first = password.chars().next();
    if password.chars().all(|c| Some(c) == first) {
        return true;
    }
    // Whatever stands twice as long is hard to guess again, even in digits.
    if password.chars().count() >= 2 * MIN_CHARS {
        return false;
    }
    let mut rest = password.to_owned();
    for word in COMMON.iter().copied().chain([user]).filter(|word| !word.is_empty()) {
        rest = rest.replace(word, "");
    }
    !rest.chars().any(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_takes_what_is_long_and_refuses_what_is_guessed_first() {
        for good in ["correct horse", "tres tristes tigres", "ññññññññññx", "xK9#qqPw2z", "mi-perro-come-higos"]
        {
            check("ana", good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        assert!(matches!(check("ana", "123456789"), Err(PasswordError::Short { chars: 9 })));
        assert!(matches!(check("ana", &"ab".repeat(200)), Err(PasswordError::Long { chars: 400 })));
        assert!(matches!(check("ana", "a password\u{1b}[A"), Err(PasswordError::Control)));
        for common in
            ["1234567890", "Password123", "aaaaaaaaaaaa", "AnaAna2026!", "Intramuros1", "Contraseña1!", "qwertyuiop"]
        {
            assert!(matches!(check("ana", common), Err(PasswordError::Common)), "{common}");
        }
    }

    #[test]
    fn a_hash_knows_its_password_in_either_normal_form_and_no_other() {
        let composed = hash("ana", "la señora come").unwrap();
        assert!(composed.as_str().starts_with("$argon2id$"));
        assert!(verify("la señora come", &composed));
        assert!(verify("la sen\u{303}ora come", &composed));
        assert!(!verify("la senora come", &composed));
        assert!(!verify("", &composed));
        let stored: PasswordHash = serde_json::from_value(serde_json::json!(composed)).unwrap();
        assert!(verify("la señora come", &stored));
        assert!(serde_json::from_str::<PasswordHash>("\"plain text\"").is_err());
        assert!(!format!("{stored:?}").contains("argon2"));
    }
}
