//! The keys of a log: one seals groups, one marks where they start.

use sealmoot_crypto::aead::{OpenError, RecordKey, SealError};
use sealmoot_crypto::digest::MacKey;
use sealmoot_crypto::kdf;
use sealmoot_crypto::secret::SecretArray;

use super::layout::{HEAD_BYTES, Place};

/// What opens a log. Made from the node's root key, which lives outside the
/// data directory.
#[derive(Debug)]
pub struct LogKey {
    groups: RecordKey,
    heads: Heads,
}

impl LogKey {
    /// The keys of the log of the node with this root key.
    #[must_use]
    pub fn from_root(root: &SecretArray<32>) -> Self {
        Self {
            groups: RecordKey::from_secret(&kdf::derive(root.expose(), "kv log group", b"")),
            heads: Heads(MacKey::from_secret(&kdf::derive(
                root.expose(),
                "kv log head",
                b"",
            ))),
        }
    }

    /// Eight bytes that only this key puts before a group of this length at
    /// this place.
    pub(super) fn head_check(&self, place: Place, length: u32) -> [u8; 8] {
        let tag = self.heads.0.tag(&[
            &place.segment.to_le_bytes(),
            &place.offset.to_le_bytes(),
            &length.to_le_bytes(),
        ]);
        let mut check = [0; 8];
        check.copy_from_slice(&tag[..8]);
        check
    }

    /// Seals what stands behind the head in `buffer`: room for the nonce, then
    /// the plaintext.
    pub(super) fn seal(&self, place: Place, buffer: &mut Vec<u8>) -> Result<(), SealError> {
        let bound = associated_data(place, &buffer[..HEAD_BYTES]);
        self.groups.seal_in_place(&bound, buffer, HEAD_BYTES)
    }

    /// Opens a whole group in place and returns its plaintext.
    pub(super) fn open<'a>(
        &self,
        place: Place,
        group: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        let (head, sealed) = group.split_at_mut_checked(HEAD_BYTES).ok_or(OpenError)?;
        self.groups.open(&associated_data(place, head), sealed)
    }
}

struct Heads(MacKey);

impl std::fmt::Debug for Heads {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Heads(redacted)")
    }
}

const LABEL: &[u8; 14] = b"kv log group 1";

/// Label, place and head, all of fixed length. Sequence number, previous chain
/// value and, through the chain, the log's id are bound from inside the sealed
/// body (see `body`), so that any group opens without its predecessors and a
/// verification can go on behind a damaged one.
fn associated_data(place: Place, head: &[u8]) -> [u8; 26 + HEAD_BYTES] {
    let mut bound = [0; 26 + HEAD_BYTES];
    bound[..14].copy_from_slice(LABEL);
    bound[14..18].copy_from_slice(&place.segment.to_le_bytes());
    bound[18..26].copy_from_slice(&place.offset.to_le_bytes());
    bound[26..].copy_from_slice(&head[..HEAD_BYTES]);
    bound
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A log key told from others by one byte.
    pub(in super::super) fn key(seed: u8) -> LogKey {
        LogKey::from_root(&SecretArray::from_bytes([seed; 32]))
    }
}

#[cfg(test)]
mod tests {
    use super::testing::key;
    use super::*;

    const PLACE: Place = Place {
        segment: 1,
        offset: 512,
    };

    fn sealed() -> Vec<u8> {
        let mut buffer = vec![7; HEAD_BYTES];
        buffer.extend_from_slice(&[0; 24]);
        buffer.extend_from_slice(b"text");
        key(1).seal(PLACE, &mut buffer).expect("seals");
        buffer
    }

    #[test]
    fn a_group_opens_only_at_its_place_under_its_key() {
        assert_eq!(key(1).open(PLACE, &mut sealed()).expect("opens"), b"text");
        assert!(key(2).open(PLACE, &mut sealed()).is_err());
        let moved = Place {
            offset: 1024,
            ..PLACE
        };
        assert!(key(1).open(moved, &mut sealed()).is_err());
        let moved = Place {
            segment: 2,
            ..PLACE
        };
        assert!(key(1).open(moved, &mut sealed()).is_err());
    }

    #[test]
    fn the_head_is_authenticated() {
        let mut group = sealed();
        group[0] ^= 1;
        assert!(key(1).open(PLACE, &mut group).is_err());
        assert!(key(1).open(PLACE, &mut [1, 2, 3]).is_err(), "too short");
    }
}
