//! Nodes whose keys are believed no more.

use std::collections::BTreeMap;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::KeyId;

use super::{BODY_LENGTH_MAX, Body, read_name};
use crate::name::{NAME_LENGTH_MAX, Name};

/// Most nodes that one realm revokes: each stays on the list for good, and the list is
/// shown with the roster in every handshake.
pub const REVOKED_NODES_MAX: usize = 128;

const _: () = assert!(
    8 + 4 + REVOKED_NODES_MAX * (32 + 4 + NAME_LENGTH_MAX + 8) <= BODY_LENGTH_MAX,
    "the fullest body fits a statement"
);

/// More nodes than one statement holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a realm revokes at most {REVOKED_NODES_MAX} nodes")]
pub struct TooManyNodes;

/// Kind *revoked nodes*: the root says which nodes' keys are believed no more, all of
/// them in one statement. Of two the higher version holds.
///
/// ```text
/// version u64 | count | each: KeyId of the node's key 32, name, revoked u64
/// ```
///
/// Key ids are in ascending order. It is the key that is revoked, not the name: another
/// machine may bear the name later. And it is revoked for all that it ever signed,
/// because whoever has it dates what it signs as he likes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevokedNodes {
    /// Rises with every change.
    pub version: u64,
    nodes: BTreeMap<KeyId, RevokedNode>,
}

/// A node that is believed no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedNode {
    /// What it was called, for people.
    pub name: Name,
    /// When it was revoked, in milliseconds since 1970, for people.
    pub revoked_ms: u64,
}

impl RevokedNodes {
    /// Whether this key is believed no more.
    #[must_use]
    pub fn revokes(&self, key: &KeyId) -> bool {
        self.nodes.contains_key(key)
    }

    /// Revokes a key; says whether that was new.
    ///
    /// # Errors
    /// [`TooManyNodes`].
    pub fn revoke(&mut self, key: KeyId, name: Name, now_ms: u64) -> Result<bool, TooManyNodes> {
        if self.revokes(&key) {
            return Ok(false);
        }
        if self.nodes.len() >= REVOKED_NODES_MAX {
            return Err(TooManyNodes);
        }
        let revoked_ms = now_ms;
        self.nodes.insert(key, RevokedNode { name, revoked_ms });
        Ok(true)
    }

    /// The revoked keys in ascending order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&KeyId, &RevokedNode)> {
        self.nodes.iter()
    }
}

impl Body for RevokedNodes {
    const KIND: u8 = 14;
    const DOMAIN: &'static str = "statement/revoked-nodes";

    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.version);
        writer.count(self.nodes.len());
        for (key, node) in &self.nodes {
            writer.fixed(key.as_bytes());
            writer.text(node.name.as_str());
            writer.u64(node.revoked_ms);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        let mut revoked = Self {
            version: reader.u64()?,
            ..Self::default()
        };
        for _ in 0..reader.count(REVOKED_NODES_MAX)? {
            let key = KeyId::from_bytes(reader.array()?);
            let last = revoked.nodes.last_key_value();
            if last.is_some_and(|(last, _)| *last >= key) {
                return Err(EncodingError::Invalid("revoked nodes are out of order"));
            }
            let node = RevokedNode {
                name: read_name(reader)?,
                revoked_ms: reader.u64()?,
            };
            revoked.nodes.insert(key, node);
        }
        Ok(revoked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u16) -> KeyId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        KeyId::from_bytes(bytes)
    }

    fn name() -> Name {
        "n1".parse().expect("a name")
    }

    fn written(keys: &[u16], name: &str) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u64(1);
        writer.count(keys.len());
        for number in keys {
            writer.fixed(key(*number).as_bytes());
            writer.text(name);
            writer.u64(5);
        }
        writer.finish()
    }

    fn decode(bytes: &[u8]) -> Result<RevokedNodes, EncodingError> {
        let mut reader = Reader::new(bytes);
        let revoked = RevokedNodes::decode(&mut reader)?;
        reader.finish()?;
        Ok(revoked)
    }

    #[test]
    fn what_is_revoked_survives_its_bytes_and_no_truncation_does() {
        let mut revoked = RevokedNodes {
            version: 3,
            ..RevokedNodes::default()
        };
        assert_eq!(revoked.revoke(key(7), name(), 10), Ok(true));
        assert_eq!(revoked.revoke(key(2), name(), 20), Ok(true));
        assert_eq!(revoked.revoke(key(7), name(), 30), Ok(false));
        assert!(revoked.revokes(&key(2)) && !revoked.revokes(&key(3)));
        let mut writer = Writer::new();
        revoked.encode(&mut writer);
        let bytes = writer.finish();
        assert_eq!(decode(&bytes).expect("valid"), revoked);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn nodes_out_of_order_twice_or_without_a_name_are_refused() {
        assert!(decode(&written(&[1, 2], "n1")).is_ok());
        for keys in [&[2, 1][..], &[1, 1]] {
            assert!(decode(&written(keys, "n1")).is_err(), "{keys:?}");
        }
        assert!(decode(&written(&[1], "No Name")).is_err());
        let many: Vec<u16> = (0..=REVOKED_NODES_MAX as u16).collect();
        assert!(matches!(
            decode(&written(&many, "n1")),
            Err(EncodingError::TooLong { .. })
        ));
    }

    #[test]
    fn one_more_than_fits_is_refused() {
        let mut revoked = RevokedNodes::default();
        for number in 0..REVOKED_NODES_MAX as u16 {
            assert_eq!(revoked.revoke(key(number), name(), 1), Ok(true));
        }
        let more = key(REVOKED_NODES_MAX as u16);
        assert_eq!(revoked.revoke(more, name(), 1), Err(TooManyNodes));
        assert_eq!(revoked.revoke(key(0), name(), 1), Ok(false));
    }
}
