//! Namespaces: how many members accept and answer for the keys below one.
//!
//! The namespace of a key is the part before its first `/`. Its settings are the
//! value of the register `system/namespace/NAME`, which is written once and never
//! changes: two coordinators that went by different settings would let a read miss
//! a write (REPLICATION rule 8).
//!
//! ```text
//! offset length
//!      0      1  version, 1
//!      1      4  N, how many members hold a key
//!      5      4  W, how many must hold a write
//!      9      4  R, how many answer a quorum read
//! ```

use bytes::Bytes;
use sealmoot_authn::policy::RESERVED_PREFIX;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use crate::quorum::{BadQuorum, Quorums};

/// What the keys of the registers of namespaces begin with.
pub const NAMESPACE_PREFIX: &[u8] = b"system/namespace/";
/// Longest name of a namespace in bytes. Keys with a longer first part have the
/// default settings for ever.
pub const NAMESPACE_NAME_LENGTH_MAX: usize = 255;

const VERSION: u8 = 1;

/// Settings that cannot be gone by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// The bytes do not decode.
    #[error("the settings of a namespace do not decode: {0}")]
    Malformed(#[from] EncodingError),
    /// The numbers are no quorum system.
    #[error(transparent)]
    Quorum(#[from] BadQuorum),
}

/// The namespace of `key`, if it is one that can have settings: a key without `/`,
/// one below `system/` and one with an overlong first part have the default.
#[must_use]
pub fn namespace_of(key: &[u8]) -> Option<&[u8]> {
    let length = key.iter().position(|byte| *byte == b'/')?;
    let name = &key[..length];
    is_name(name).then_some(name)
}

/// Whether a namespace can have this name.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    let reserved = &RESERVED_PREFIX[..RESERVED_PREFIX.len() - 1];
    (1..=NAMESPACE_NAME_LENGTH_MAX).contains(&name.len())
        && !name.contains(&b'/')
        && name != reserved
}

/// The key of the register that holds the settings of `name`.
#[must_use]
pub fn register_key(name: &[u8]) -> Bytes {
    [NAMESPACE_PREFIX, name].concat().into()
}

/// The settings as the register's value.
#[must_use]
pub fn encode(quorums: Quorums) -> Bytes {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let mut writer = Writer::new();
    writer.u8(VERSION);
    writer.u32(number(quorums.members()));
    writer.u32(number(quorums.write()));
    writer.u32(number(quorums.read()));
    writer.finish().into()
}

/// The settings that a register holds.
///
/// # Errors
/// [`BadSettings`].
pub fn decode(value: &[u8]) -> Result<Quorums, BadSettings> {
    let mut reader = Reader::new(value);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(BadSettings::Malformed(EncodingError::Unknown {
            what: "version of a namespace's settings",
            value: u64::from(version),
        }));
    }
    let (members, write, read) = (reader.u32()?, reader.u32()?, reader.u32()?);
    reader.finish()?;
    let quorums = Quorums::new(members as usize, write as usize, read as usize)?;
    Ok(quorums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_the_part_before_the_first_slash() {
        assert_eq!(namespace_of(b"app/x/y"), Some(&b"app"[..]));
        for none in [&b"app"[..], b"/x", b"system/namespace/app", b""] {
            assert_eq!(namespace_of(none), None);
        }
        let mut long = vec![b'a'; NAMESPACE_NAME_LENGTH_MAX + 1];
        long.push(b'/');
        assert_eq!(namespace_of(&long), None);
        assert!(namespace_of(&long[1..]).is_some());
    }

    #[test]
    fn settings_survive_their_bytes_and_nothing_else_decodes() {
        let quorums = Quorums::new(5, 4, 2).expect("they overlap");
        let bytes = encode(quorums);
        assert_eq!(decode(&bytes), Ok(quorums));
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err());
        }
        let no_overlap = [1, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0];
        let decoded = decode(&no_overlap);
        assert_eq!(decoded, Err(BadSettings::Quorum(BadQuorum::NoOverlap)));
        let mut other_version = bytes.to_vec();
        other_version[0] = 2;
        assert!(decode(&other_version).is_err());
    }
}
