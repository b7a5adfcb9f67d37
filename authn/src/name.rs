//! Names of realms, users and nodes.
//!
//! A name becomes a file name, part of a log line and part of a prompt, so it is
//! short, lower-case ASCII and begins with a letter or digit: no separators, no
//! control characters, nothing that looks like another name.

use std::fmt;
use std::str::FromStr;

/// Longest name in bytes.
pub const NAME_LENGTH_MAX: usize = 64;

/// A text that is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a name: 1 to 64 of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit"
)]
pub struct BadName(pub String);

/// A name of a realm, a user or a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let inner = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
        };
        let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let valid = bytes.len() <= NAME_LENGTH_MAX
            && bytes.first().is_some_and(|byte| first(*byte))
            && bytes.iter().all(|byte| inner(*byte));
        if !valid {
            // What is shown is escaped by `{:?}` and cut: it came from outside.
            return Err(BadName(text.chars().take(NAME_LENGTH_MAX).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["alice", "n1", "ci-bot_2.x", "0", &"a".repeat(64)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "Alice",
            "-x",
            ".x",
            "_x",
            "a/b",
            "a b",
            "a\n",
            "ä",
            "a:b",
            "a@b",
            "..",
            &"a".repeat(65),
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }
}
