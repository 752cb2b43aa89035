//! Who may read what: principals, the readers of a document, and the caller of a read.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One identity that can be given rights: `everyone`, `user:NAME` or `group:NAME`.
///
/// Names are compared exactly; they may not be empty or hold white space, commas or control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Principal {
    /// Every caller that is known at all.
    Everyone,
    /// One person.
    User(String),
    /// Everyone in a group.
    Group(String),
}

/// A text that is not a principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a principal: write `everyone`, `user:NAME` or `group:NAME` (names without spaces or commas)")]
pub struct InvalidPrincipal(pub String);

impl FromStr for Principal {
    type Err = InvalidPrincipal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPrincipal(text.to_owned());
        let name = |name: &str| {
            let bad = name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == ',');
            if bad { Err(invalid()) } else { Ok(name.to_owned()) }
        };
        match text.split_once(':') {
            None if text == "everyone" => Ok(Self::Everyone),
            Some(("user", rest)) => Ok(Self::User(name(rest)?)),
            Some(("group", rest)) => Ok(Self::Group(name(rest)?)),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("everyone"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
        }
    }
}

impl TryFrom<String> for Principal {
    type Error = InvalidPrincipal;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        principal.to_string()
    }
}

/// The readers of a document. An empty list means: the local administrator and nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Acl(BTreeSet<Principal>);

impl Acl {
    /// Readable by nobody but the local administrator.
    pub fn nobody() -> Self {
        Self::default()
    }

    /// The readers in their fixed order.
    pub fn readers(&self) -> impl Iterator<Item = &Principal> {
        self.0.iter()
    }

    /// Whether no principal at all may read.
    pub fn is_nobody(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Principal> for Acl {
    fn from_iter<T: IntoIterator<Item = Principal>>(readers: T) -> Self {
        Self(readers.into_iter().collect())
    }
}

/// Parses the comma-separated form of the command line, `group:legal,user:ana`.
impl FromStr for Acl {
    type Err = InvalidPrincipal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(|part| part.trim().parse()).collect()
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nobody");
        }
        for (i, reader) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{reader}")?;
        }
        Ok(())
    }
}

/// On whose behalf a read happens. Every read of documents, chunks or citations takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The owner of the data directory at the command line. No server request ever becomes this.
    LocalAdministrator,
    /// A known caller with these principals; [`Principal::Everyone`] is always among them.
    Principals(BTreeSet<Principal>),
}

impl Caller {
    /// A text that is the same for callers who may read the same, and for nobody else: what was computed for one of them may
    /// be used for another.
    pub fn scope(&self) -> String {
        match self {
            // No principal is written without a colon but `everyone`.
            Self::LocalAdministrator => "administrator".to_owned(),
            Self::Principals(principals) => principals.iter().map(Principal::to_string).collect::<Vec<_>>().join(","),
        }
    }

    /// A caller with the given principals; `everyone` is implied.
    pub fn new(principals: impl IntoIterator<Item = Principal>) -> Self {
        let mut set: BTreeSet<_> = principals.into_iter().collect();
        set.insert(Principal::Everyone);
        Self::Principals(set)
    }

    /// Whether this caller may read a document with these readers.
    pub fn may_read(&self, acl: &Acl) -> bool {
        match self {
            Self::LocalAdministrator => true,
            Self::Principals(own) => acl.readers().any(|reader| own.contains(reader)),
        }
    }

    /// The principals as the texts stored beside each chunk; `None` for the local administrator, who needs no filter.
    pub fn filter(&self) -> Option<Vec<String>> {
        match self {
            Self::LocalAdministrator => None,
            Self::Principals(own) => Some(own.iter().map(ToString::to_string).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_round_trip_and_bad_ones_name_the_forms() {
        for text in ["everyone", "user:ana", "group:legal"] {
            assert_eq!(text.parse::<Principal>().unwrap().to_string(), text);
        }
        for text in ["", "ana", "user:", "group: x", "User:ana", "user:a,b"] {
            let error = text.parse::<Principal>().unwrap_err().to_string();
            assert!(error.contains("group:NAME"), "{error}");
        }
    }

    #[test]
    fn only_a_shared_principal_opens_a_document() {
        let legal: Acl = "group:legal,user:ana".parse().unwrap();
        let caller = |text: &str| Caller::new([text.parse().unwrap()]);
        assert!(caller("user:ana").may_read(&legal));
        assert!(caller("group:legal").may_read(&legal));
        assert!(!caller("user:legal").may_read(&legal));
        assert!(!Caller::new([]).may_read(&legal));
        assert!(Caller::new([]).may_read(&"everyone".parse().unwrap()));
        assert!(!caller("user:ana").may_read(&Acl::nobody()));
        assert!(Caller::LocalAdministrator.may_read(&Acl::nobody()));
    }
}
