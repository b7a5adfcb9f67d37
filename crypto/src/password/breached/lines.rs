//! Lists of breached passwords, a line each, from any reader.

use std::io::{self, BufRead, BufReader, Read};

use alloc::vec::Vec;

use super::{BreachedFilterBuilder, BuildError};

/// Longest line of a list, in bytes, without its end.
pub const LINE_LENGTH_MAX: usize = 4096;

/// Why a list was not read to its end. What stood before is in the filter.
///
/// ```
/// use sealmoot_crypto::password::breached::{BreachedFilter, BuildError, ListError};
/// let mut builder = BreachedFilter::builder(1)?;
/// let list = builder.add_sha1_hex_lines("letmein\n".as_bytes());
/// assert!(matches!(list, Err(ListError::Malformed { line: 1 })));
/// let list = builder.add_password_lines("letmein\n123456\n".as_bytes());
/// let full = BuildError::Full(1);
/// assert!(matches!(list, Err(ListError::Build { line: 2, source }) if source == full));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A line is not 40 hexadecimal digits, alone or with `:` and a decimal number
    /// behind.
    #[error("line {line} is not a SHA-1 digest with a count")]
    Malformed {
        /// Which, counted from 1.
        line: u64,
    },
    /// A line is longer than [`LINE_LENGTH_MAX`] bytes.
    #[error("line {line} is longer than {LINE_LENGTH_MAX} bytes")]
    TooLong {
        /// Which, counted from 1.
        line: u64,
    },
    /// The filter took no more.
    #[error("line {line}: {source}")]
    Build {
        /// Which, counted from 1.
        line: u64,
        /// Why.
        source: BuildError,
    },
    /// The list could not be read.
    #[error("the list could not be read: {0}")]
    Io(#[from] io::Error),
}

/// What a list had.
///
/// ```
/// use sealmoot_crypto::password::breached::BreachedFilter;
/// let mut builder = BreachedFilter::builder(100)?;
/// let stats = builder.add_password_lines("letmein\n\nletmein\n".as_bytes())?;
/// let doubled = stats.lines - stats.empty - stats.added;
/// assert_eq!(doubled, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Lines read.
    pub lines: u64,
    /// Passwords that were new to the filter.
    pub added: u64,
    /// Empty lines passed over.
    pub empty: u64,
}

impl BreachedFilterBuilder {
    /// Adds the passwords of a list of SHA-1 digests, in the form of the "Pwned
    /// Passwords" download: 40 hexadecimal digits of either case, then `:` and how often
    /// it was seen, or nothing. The order does not matter, nor does the number. Lines
    /// end with a line feed, with or without a carriage return before it.
    ///
    /// # Errors
    /// [`ListError`].
    ///
    /// ```
    /// use sealmoot_crypto::password::breached::BreachedFilter;
    /// let list = "A9993E364706816ABA3E25717850C26C9CD0D89D:42\r\n";
    /// let mut builder = BreachedFilter::builder(1)?;
    /// assert_eq!(builder.add_sha1_hex_lines(list.as_bytes())?.added, 1);
    /// assert!(builder.finish().contains(b"abc"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_sha1_hex_lines(&mut self, list: impl Read) -> Result<Stats, ListError> {
        for_each_line(list, |line, bytes, stats| {
            let digest = parse_digest(bytes).ok_or(ListError::Malformed { line })?;
            let added = self.add_sha1(&digest);
            stats.added += u64::from(added.map_err(|source| ListError::Build { line, source })?);
            Ok(())
        })
    }

    /// Adds the passwords of a list that has one a line, as SecLists has them: the exact
    /// bytes of the line, whatever their encoding, without its line feed and one carriage
    /// return before that. Empty lines are passed over.
    ///
    /// # Errors
    /// [`ListError`].
    ///
    /// ```
    /// use sealmoot_crypto::password::breached::{BreachedFilter, Stats};
    /// let mut builder = BreachedFilter::builder(100)?;
    /// let stats = builder.add_password_lines("123456\r\n\nlet me in \n123456\n".as_bytes())?;
    /// assert_eq!(stats, Stats { lines: 4, added: 2, empty: 1 });
    /// let filter = builder.finish();
    /// assert!(filter.contains(b"let me in ") && !filter.contains(b"let me in"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_password_lines(&mut self, list: impl Read) -> Result<Stats, ListError> {
        for_each_line(list, |line, bytes, stats| {
            if bytes.is_empty() {
                stats.empty += 1;
                return Ok(());
            }
            let added = self.add_password(bytes);
            stats.added += u64::from(added.map_err(|source| ListError::Build { line, source })?);
            Ok(())
        })
    }
}

/// Calls `take` for each line; a line feed at the very end begins no further one. No
/// more than a buffer and a line are in memory.
fn for_each_line(
    list: impl Read,
    mut take: impl FnMut(u64, &[u8], &mut Stats) -> Result<(), ListError>,
) -> Result<Stats, ListError> {
    let mut list = BufReader::with_capacity(1 << 16, list);
    let mut stats = Stats::default();
    let mut bytes = Vec::with_capacity(LINE_LENGTH_MAX + 2);
    loop {
        bytes.clear();
        // Room for both bytes of the line's end, so that the longest line fits.
        let mut line = list.by_ref().take(LINE_LENGTH_MAX as u64 + 2);
        if line.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(stats);
        }
        stats.lines += 1;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.len() > LINE_LENGTH_MAX {
            return Err(ListError::TooLong { line: stats.lines });
        }
        take(stats.lines, &bytes, &mut stats)?;
    }
}

fn parse_digest(line: &[u8]) -> Option<[u8; 20]> {
    let (hex, behind) = line.split_at_checked(40)?;
    if let [colon, number @ ..] = behind
        && (*colon != b':'
            || !(1..=20).contains(&number.len())
            || !number.iter().all(u8::is_ascii_digit))
    {
        return None;
    }
    let mut digest = [0u8; 20];
    for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::super::BreachedFilter;
    use super::*;

    /// SHA-1 of "abc".
    const ABC: &str = "A9993E364706816ABA3E25717850C26C9CD0D89D";

    fn builder() -> BreachedFilterBuilder {
        BreachedFilter::builder(1000).expect("small")
    }

    fn digests(list: &str) -> Result<Stats, ListError> {
        builder().add_sha1_hex_lines(list.as_bytes())
    }

    #[test]
    fn digests_are_read_in_either_case_with_and_without_counts() {
        let other = ABC.replace('A', "B");
        let list = format!(
            "{ABC}:3\r\n{}:7\n{other}\n{other}:18446744073709551615",
            ABC.to_lowercase()
        );
        let mut builder = builder();
        let stats = builder.add_sha1_hex_lines(list.as_bytes()).expect("a list");
        assert_eq!((stats.lines, stats.added, stats.empty), (4, 2, 0));
        assert!(builder.finish().contains(b"abc"));
        assert_eq!(digests("").expect("an empty list"), Stats::default());
    }

    #[test]
    fn malformed_lines_of_digests_are_refused_with_their_number() {
        let cases = [
            ("an empty line", String::new()),
            ("only a carriage return", "\r".to_owned()),
            ("a digit short", ABC[1..].to_owned()),
            ("a digit more", format!("{ABC}0")),
            ("no hexadecimal digit", ABC.replace('E', "G")),
            ("a space before", format!(" {ABC}")),
            ("a space behind", format!("{ABC} ")),
            ("another separator", format!("{ABC};3")),
            ("no number", format!("{ABC}:")),
            ("a negative number", format!("{ABC}:-3")),
            ("a hexadecimal number", format!("{ABC}:0x3")),
            ("a number of 21 digits", format!("{ABC}:{}", "1".repeat(21))),
            ("two numbers", format!("{ABC}:3:4")),
            ("only a number", "3".to_owned()),
            (
                "only a suffix, as the range service has it",
                ABC[5..].to_owned() + ":3",
            ),
            ("a password", "hunter2".to_owned()),
            ("not ASCII", ABC.replace("A9", "\u{c1}9")),
            ("a carriage return inside", format!("{ABC}\r:3")),
            ("two carriage returns", format!("{ABC}\r\r")),
            ("a null byte", format!("{ABC}\0")),
        ];
        for (name, text) in cases {
            for list in [
                format!("{ABC}:1\n{text}\n{ABC}:1\n"),
                format!("{ABC}\r\n{text}\n"),
            ] {
                assert!(
                    matches!(digests(&list), Err(ListError::Malformed { line: 2 })),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn passwords_are_read_as_exact_bytes() {
        let mut builder = builder();
        let list = b" a \nb\r\n\n\r\nc\xff\nd:1\ne";
        let stats = builder.add_password_lines(&list[..]).expect("a list");
        assert_eq!((stats.lines, stats.added, stats.empty), (7, 5, 2));
        let filter = builder.finish();
        for password in [b" a ".as_slice(), b"b", b"c\xff", b"d:1", b"e"] {
            assert!(filter.contains(password), "{password:?}");
        }
        for other in [b"a".as_slice(), b"b\r", b"", b"d", b"e\n"] {
            assert!(!filter.contains(other), "{other:?}");
        }
    }

    #[test]
    fn the_longest_line_is_taken_and_a_longer_one_refused() {
        for (end, name) in [("", "none"), ("\n", "feed"), ("\r\n", "both")] {
            let longest = format!("{}{end}", "a".repeat(LINE_LENGTH_MAX));
            let stats = builder()
                .add_password_lines(longest.as_bytes())
                .expect(name);
            assert_eq!((stats.lines, stats.added), (1, 1), "{name}");
            let longer = format!("x\n{}{end}", "a".repeat(LINE_LENGTH_MAX + 1));
            assert!(
                matches!(
                    builder().add_password_lines(longer.as_bytes()),
                    Err(ListError::TooLong { line: 2 })
                ),
                "{name}"
            );
        }
    }

    #[test]
    fn an_endless_line_is_refused_without_being_held() {
        let endless = io::repeat(b'a');
        assert!(matches!(
            builder().add_password_lines(endless),
            Err(ListError::TooLong { line: 1 })
        ));
    }

    #[test]
    fn a_full_filter_says_at_which_line() {
        let mut builder = BreachedFilter::builder(2).expect("small");
        assert!(matches!(
            builder.add_password_lines("a\nb\na\nc\n".as_bytes()),
            Err(ListError::Build {
                line: 4,
                source: BuildError::Full(2)
            })
        ));
    }

    #[test]
    fn a_failing_reader_is_reported() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        assert!(matches!(
            builder().add_password_lines(Broken),
            Err(ListError::Io(_))
        ));
    }
}
