//! What travels beside a request: few, small entries for whoever stands between
//! caller and handler, such as a trace context.

use std::fmt;

use bytes::Bytes;

use crate::frame::Violation;
use crate::limits::{METADATA_BYTES_MAX, METADATA_ENTRIES_MAX, METADATA_KEY_BYTES_MAX};

/// Bytes of an entry around key and value: their lengths.
const ENTRY_FIXED_BYTES: usize = 3;

/// Keys and values beside a request, sorted by key, each key once.
///
/// A key has 1 to 64 bytes of `a-z 0-9 . _ -`; a value is any bytes. There are
/// at most 32 entries and 4096 bytes of them as they travel: `key length u8 ||
/// key || value length u16 || value` each, drawn in `rpc/DESIGN.md`. Empty
/// metadata costs no allocation, and clones share their memory.
///
/// Whoever may read calls may read it: a secret in it is as safe as one in a
/// request, but interceptors and logs are nearer. `Debug` shows keys alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// As they travel; always in the one form that decoding accepts.
    entries: Bytes,
}

impl Metadata {
    /// No entries.
    pub const fn new() -> Self {
        Self {
            entries: Bytes::new(),
        }
    }

    /// Adds an entry, or replaces the value of its key.
    ///
    /// # Errors
    ///
    /// The bound or rule that would be broken; then nothing has changed.
    pub fn insert(&mut self, key: &str, value: impl AsRef<[u8]>) -> Result<(), MetadataError> {
        let value = value.as_ref();
        check_key(key.as_bytes())?;
        let value_length =
            u16::try_from(value.len()).map_err(|_| MetadataError::TooLong(value.len()))?;
        let mut entries =
            Vec::with_capacity(self.entries.len() + ENTRY_FIXED_BYTES + key.len() + value.len());
        let mut count = 1;
        let mut others = self.iter().filter(|(other, _)| *other != key).peekable();
        while let Some((other, kept)) = others.next_if(|(other, _)| *other < key) {
            append_entry(&mut entries, other, kept);
            count += 1;
        }
        debug_assert_eq!(usize::from(value_length), value.len());
        append_entry(&mut entries, key, value);
        for (other, kept) in others {
            append_entry(&mut entries, other, kept);
            count += 1;
        }
        if count > METADATA_ENTRIES_MAX {
            return Err(MetadataError::TooManyEntries);
        }
        if entries.len() > METADATA_BYTES_MAX {
            return Err(MetadataError::TooLong(entries.len()));
        }
        self.entries = Bytes::from(entries);
        Ok(())
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(other, _)| *other == key)
            .map(|(_, value)| value)
    }

    /// Keys and values, by ascending key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = &self.entries[..];
        std::iter::from_fn(move || {
            let (key, value, behind) = split_entry(rest)?;
            rest = behind;
            Some((str::from_utf8(key).ok()?, value))
        })
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries as they travel, without the length before them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.entries
    }

    /// Entries as they travelled. Takes one form alone, so that bytes and value
    /// say the same.
    ///
    /// # Errors
    ///
    /// [`Violation::Malformed`]: no entries, too many or too long, cut short,
    /// keys that are not sound or not ascending.
    pub fn decode(block: &[u8]) -> Result<Self, Violation> {
        let malformed = |why| Err(Violation::Malformed(why));
        if block.is_empty() {
            return malformed("empty metadata");
        }
        if block.len() > METADATA_BYTES_MAX {
            return malformed("metadata is too long");
        }
        let mut rest = block;
        let mut last: &[u8] = &[];
        let mut count = 0;
        while !rest.is_empty() {
            let Some((key, _, behind)) = split_entry(rest) else {
                return malformed("metadata entry is cut short");
            };
            if check_key(key).is_err() {
                return malformed("metadata key is not sound");
            }
            // The first key is never empty, so it is above "nothing yet".
            if key <= last {
                return malformed("metadata keys do not ascend");
            }
            last = key;
            count += 1;
            rest = behind;
        }
        if count > METADATA_ENTRIES_MAX {
            return malformed("too many metadata entries");
        }
        Ok(Self {
            entries: Bytes::copy_from_slice(block),
        })
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.iter().map(|(key, _)| key);
        formatter.debug_set().entries(keys).finish()
    }
}

/// Why an entry was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Not 1 to [`METADATA_KEY_BYTES_MAX`] bytes.
    #[error("a metadata key of {0} bytes; 1 to {METADATA_KEY_BYTES_MAX} are allowed")]
    KeyLength(usize),
    /// A byte that is none of `a-z 0-9 . _ -`.
    #[error("a metadata key with a byte {0:#04x}: a-z, 0-9, '.', '_' and '-' are allowed")]
    KeyByte(u8),
    /// More than [`METADATA_ENTRIES_MAX`] entries.
    #[error("more than {METADATA_ENTRIES_MAX} metadata entries")]
    TooManyEntries,
    /// So many bytes where [`METADATA_BYTES_MAX`] are allowed.
    #[error("{0} bytes of metadata; {METADATA_BYTES_MAX} are allowed")]
    TooLong(usize),
}

fn check_key(key: &[u8]) -> Result<(), MetadataError> {
    if key.is_empty() || key.len() > METADATA_KEY_BYTES_MAX {
        return Err(MetadataError::KeyLength(key.len()));
    }
    let is_allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    match key.iter().find(|byte| !is_allowed(byte)) {
        Some(byte) => Err(MetadataError::KeyByte(*byte)),
        None => Ok(()),
    }
}

fn append_entry(entries: &mut Vec<u8>, key: &str, value: &[u8]) {
    let key_length = u8::try_from(key.len()).expect("a checked key is short");
    let value_length = u16::try_from(value.len()).expect("a checked value is short");
    entries.push(key_length);
    entries.extend_from_slice(key.as_bytes());
    entries.extend_from_slice(&value_length.to_le_bytes());
    entries.extend_from_slice(value);
}

/// Key, value and what stands behind the first entry, when it is whole.
fn split_entry(rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (key_length, rest) = rest.split_first()?;
    let (key, rest) = rest.split_at_checked(usize::from(*key_length))?;
    let (value_length, rest) = rest.split_first_chunk::<2>()?;
    let value_length = usize::from(u16::from_le_bytes(*value_length));
    let (value, rest) = rest.split_at_checked(value_length)?;
    Some((key, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(block: &[u8]) {
        assert!(matches!(
            Metadata::decode(block),
            Err(Violation::Malformed(_))
        ));
    }

    #[test]
    fn entries_are_sorted_whatever_the_order_of_insertion() {
        let mut metadata = Metadata::new();
        for key in ["b", "a", "c.d", "ab"] {
            metadata.insert(key, key.to_uppercase()).expect("sound");
        }
        let keys: Vec<_> = metadata.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "ab", "b", "c.d"]);
        assert_eq!(metadata.get("ab"), Some(&b"AB"[..]));
        assert_eq!(metadata.get("abc"), None);
        assert_eq!(Metadata::decode(metadata.as_bytes()), Ok(metadata));
    }

    #[test]
    fn the_layout_is_the_drawn_one() {
        let mut metadata = Metadata::new();
        metadata.insert("b", b"").expect("sound");
        metadata.insert("a", b"xy").expect("sound");
        assert_eq!(metadata.as_bytes(), b"\x01a\x02\x00xy\x01b\x00\x00");
    }

    #[test]
    fn a_key_inserted_again_has_the_new_value() {
        let mut metadata = Metadata::new();
        metadata.insert("a", b"1").expect("sound");
        metadata.insert("a", b"2").expect("sound");
        assert_eq!(metadata.iter().collect::<Vec<_>>(), [("a", &b"2"[..])]);
    }

    #[test]
    fn an_unsound_key_is_not_inserted() {
        let mut metadata = Metadata::new();
        let long = "k".repeat(METADATA_KEY_BYTES_MAX + 1);
        assert_eq!(metadata.insert("", b""), Err(MetadataError::KeyLength(0)));
        assert_eq!(
            metadata.insert(&long, b""),
            Err(MetadataError::KeyLength(65))
        );
        for key in ["A", "a b", "a\0", "ä", "a:b"] {
            assert!(
                matches!(metadata.insert(key, b""), Err(MetadataError::KeyByte(_))),
                "{key}"
            );
        }
        assert!(metadata.is_empty());
        metadata.insert(&long[1..], b"").expect("64 bytes");
    }

    #[test]
    fn what_exceeds_a_bound_is_not_inserted() {
        let mut metadata = Metadata::new();
        for index in 0..METADATA_ENTRIES_MAX {
            metadata.insert(&format!("k{index}"), b"").expect("room");
        }
        let full = metadata.clone();
        assert_eq!(
            metadata.insert("more", b""),
            Err(MetadataError::TooManyEntries)
        );
        assert_eq!(metadata, full);
        metadata.insert("k3", b"again").expect("replaces");

        let mut metadata = Metadata::new();
        let value = vec![0; METADATA_BYTES_MAX - ENTRY_FIXED_BYTES - 1];
        metadata.insert("a", &value).expect("just fits");
        assert_eq!(
            metadata.insert("b", b""),
            Err(MetadataError::TooLong(METADATA_BYTES_MAX + 4))
        );
        assert!(matches!(
            metadata.insert("a", vec![0; 70_000]),
            Err(MetadataError::TooLong(70_000))
        ));
    }

    #[test]
    fn no_entries_are_not_sent_as_none() {
        refused(b"");
    }

    #[test]
    fn keys_out_of_order_and_twice_are_refused() {
        assert!(Metadata::decode(b"\x01a\x00\x00\x01b\x00\x00").is_ok());
        refused(b"\x01b\x00\x00\x01a\x00\x00");
        refused(b"\x01a\x00\x00\x01a\x00\x00");
    }

    #[test]
    fn unsound_keys_are_refused() {
        refused(b"\x00\x00\x00");
        refused(b"\x01A\x00\x00");
        refused(b"\x01\xff\x00\x00");
        let long = [&[65][..], &[b'k'; 65], &[0, 0]].concat();
        refused(&long);
    }

    #[test]
    fn entries_cut_short_are_refused() {
        let block = b"\x02ab\x03\x00xyz";
        assert!(Metadata::decode(block).is_ok());
        for length in 0..block.len() {
            refused(&block[..length]);
        }
        refused(b"\x02ab\x03\x00xyz!");
    }

    #[test]
    fn too_many_or_too_long_are_refused() {
        let mut block = Vec::new();
        for index in 0..METADATA_ENTRIES_MAX as u8 {
            append_entry(&mut block, &format!("k{index:03}"), b"");
        }
        assert!(Metadata::decode(&block).is_ok());
        append_entry(&mut block, "z", b"");
        refused(&block);
        let mut block = Vec::new();
        append_entry(&mut block, "a", &[0; METADATA_BYTES_MAX - 4]);
        assert!(Metadata::decode(&block).is_ok());
        block.clear();
        append_entry(&mut block, "a", &[0; METADATA_BYTES_MAX - 3]);
        refused(&block);
    }

    #[test]
    fn values_do_not_show_in_logs() {
        let mut metadata = Metadata::new();
        metadata.insert("token", b"hunter2").expect("sound");
        assert_eq!(format!("{metadata:?}"), "{\"token\"}");
    }
}
