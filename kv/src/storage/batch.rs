//! Changes that are made together, and their bytes in the log.
//!
//! ```text
//! batch    u8 1, count u32, each change: key (u32 length, bytes), flag, and if it is set
//!          the value (u32 length, bytes); without it the key is deleted
//! ```

use bytes::Bytes;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use super::StorageError;
use crate::log::RECORD_BYTES_MAX;

/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 8 * 1024;
/// Longest value in bytes.
pub const VALUE_BYTES_MAX: usize = 1280 * 1024;
/// Longest batch in bytes, encoded: a record of the log.
pub const BATCH_BYTES_MAX: usize = RECORD_BYTES_MAX;
const VERSION: u8 = 1;
/// Bytes of a batch before its changes.
const HEAD_BYTES: usize = 5;
/// What a change adds to key and value at most.
const CHANGE_OVERHEAD: usize = 9;
const _: () =
    assert!(HEAD_BYTES + CHANGE_OVERHEAD + KEY_BYTES_MAX + VALUE_BYTES_MAX <= BATCH_BYTES_MAX);

/// What becomes of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// Its value; none deletes it.
    pub value: Option<Bytes>,
}

impl Change {
    /// Gives a key a value.
    #[must_use]
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: Some(value.into()),
        }
    }

    /// Deletes a key.
    #[must_use]
    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: None,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        CHANGE_OVERHEAD + self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// A record of the log that is no batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a batch of changes: {0}")]
pub struct NotABatch(#[from] EncodingError);

/// The bytes of a batch.
pub(super) fn encode(batch: &[Change]) -> Result<Vec<u8>, StorageError> {
    for change in batch {
        check("a key", change.key.len(), KEY_BYTES_MAX)?;
        let value = change.value.as_ref().map_or(0, Bytes::len);
        check("a value", value, VALUE_BYTES_MAX)?;
    }
    let length = HEAD_BYTES + batch.iter().map(Change::bytes).sum::<usize>();
    check("a batch", length, BATCH_BYTES_MAX)?;
    let mut writer = Writer::with_capacity(length);
    writer.u8(VERSION);
    writer.count(batch.len());
    for change in batch {
        writer.bytes(&change.key);
        writer.flag(change.value.is_some());
        if let Some(value) = &change.value {
            writer.bytes(value);
        }
    }
    Ok(writer.finish())
}

fn check(what: &'static str, length: usize, maximum: usize) -> Result<(), StorageError> {
    if length > maximum {
        return Err(StorageError::TooLong {
            what,
            length,
            maximum,
        });
    }
    Ok(())
}

/// The changes of a batch.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Change>, NotABatch> {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut reader = Reader::new(&bytes);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(NotABatch(EncodingError::Unknown {
            what: "batch version",
            value: u64::from(version),
        }));
    }
    // Each change has five bytes and more.
    let count = reader.count(BATCH_BYTES_MAX / 5)?;
    let mut changes = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        let key = reader.bytes(KEY_BYTES_MAX)?;
        let value = match reader.flag()? {
            true => Some(bytes.slice_ref(reader.bytes(VALUE_BYTES_MAX)?)),
            false => None,
        };
        changes.push(Change {
            key: bytes.slice_ref(key),
            value,
        });
    }
    reader.finish()?;
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_one_encoding_and_no_truncation_reads() {
        let batch = [
            Change::put("a", "1"),
            Change::delete("b"),
            Change::put("", ""),
        ];
        let bytes = encode(&batch).expect("short");
        assert_eq!(decode(&bytes).as_deref(), Ok(&batch[..]));
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
        assert!(decode(&[&bytes[..], b"x"].concat()).is_err());
        let mut other = bytes;
        other[0] = 2;
        assert!(decode(&other).is_err());
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let long = |length: usize| Bytes::from(vec![7; length]);
        let largest = [Change::put(long(KEY_BYTES_MAX), long(VALUE_BYTES_MAX))];
        assert!(encode(&largest).is_ok());
        for batch in [
            vec![Change::delete(long(KEY_BYTES_MAX + 1))],
            vec![Change::put("k", long(VALUE_BYTES_MAX + 1))],
            vec![Change::put("k", long(VALUE_BYTES_MAX)); 2],
        ] {
            assert!(matches!(encode(&batch), Err(StorageError::TooLong { .. })));
        }
    }
}
