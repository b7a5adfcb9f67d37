//! Names under which services are found.

use std::fmt;
use std::str::FromStr;

use crate::limits::binding::NAME_BYTES_MAX;

/// A text that is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a name: parts separated by '/', each of a-z, 0-9, '-', '_' and '.', \
     beginning with a letter or digit; {NAME_BYTES_MAX} bytes at most"
)]
pub struct BadName(String);

/// A name, such as `store/eu-1`: parts separated by `/`, so that rights can be
/// given by prefix.
///
/// Lower-case ASCII, so that no two names look alike; no part is empty or begins
/// with a dot, so that one can be a file's name too.
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
        if text.len() > NAME_BYTES_MAX || !text.split('/').all(is_part) {
            // `{:?}` escapes what is shown; it may come from outside, so it is cut.
            return Err(BadName(text.chars().take(NAME_BYTES_MAX).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

fn is_part(part: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().is_some_and(|byte| first(*byte))
        && bytes
            .iter()
            .all(|byte| first(*byte) || b"-_.".contains(byte))
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
        for good in ["store", "a/b/c", "0", "eu-1/x_y.z", &"a".repeat(128)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a/.b",
            "-a",
            "a/_b",
            "Store",
            "a b",
            "a\n",
            "a\0",
            "ä",
            "a:b",
            "a\\b",
            &"a".repeat(129),
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refused_name_is_shown_escaped_and_cut() {
        let error = format!("\u{1b}[31m{}", "x".repeat(10_000))
            .parse::<Name>()
            .expect_err("no name")
            .to_string();
        assert!(error.starts_with("\"\\u{1b}[31m"), "{error}");
        assert!(error.len() < 400);
    }
}
