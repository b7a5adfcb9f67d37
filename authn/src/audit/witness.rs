//! What a node remembers of the others' chains: the newest head of each, and a few older
//! ones, ever further apart. With the newest alone, a chain that was cut and then
//! outgrew what it was before would pass.

use std::collections::BTreeMap;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::VerifyingKey;

use super::head::{HEAD_LENGTH_MAX, HeadError, SignedHead};
use crate::name::{NAME_LENGTH_MAX, Name};
use crate::realm_id::RealmId;
use crate::statement::NODES_MAX;

/// Longest encoding of what is remembered, in bytes.
pub const WITNESSED_BYTES_MAX: usize =
    8 + NODES_MAX * (8 + NAME_LENGTH_MAX + HEADS_MAX * (4 + HEAD_LENGTH_MAX));
/// Most heads of one node.
pub const HEADS_MAX: usize = 32;
const VERSION: u8 = 1;

/// What a head says against the one that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The chain grew, or is heard of for the first time. Whether the new head is one
    /// of the same chain shows to whoever verifies, not here.
    Newer,
    /// Nothing happened since.
    Same,
    /// Something is wrong.
    Alarm(Alarm),
}

/// How a chain does not go on as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// It has fewer events than before: its end was cut off, or an old copy put back.
    #[error("its audit log went back from {held} events to {told}")]
    WentBack {
        /// As many were witnessed.
        held: u64,
        /// As many it has now.
        told: u64,
    },
    /// It has as many events as before, and another last one.
    #[error("its audit log forked: two different events are number {records}")]
    Forked {
        /// How many events both have.
        records: u64,
    },
    /// It is another chain: it was begun anew.
    #[error("its audit log was replaced by another one after {held} events")]
    Replaced {
        /// How many events the old one had.
        held: u64,
    },
}

/// Heads by the name of the node, those of a node in order of growth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WitnessedHeads(BTreeMap<Name, Vec<SignedHead>>);

impl WitnessedHeads {
    /// Judges a believed head, and keeps it if it is newer. One that raises an alarm
    /// is not kept: the older one is the evidence.
    pub fn take(&mut self, node: &Name, told: SignedHead) -> Judgement {
        let judgement = judge(self.newest(node), &told);
        if judgement == Judgement::Newer {
            let heads = self.0.entry(node.clone()).or_default();
            heads.push(told);
            if heads.len() > HEADS_MAX {
                thin(heads);
            }
        }
        judgement
    }

    /// The newest head of a node.
    #[must_use]
    pub fn newest(&self, node: &Name) -> Option<&SignedHead> {
        self.0.get(node)?.last()
    }

    /// All of them, in order of name and growth.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &SignedHead)> {
        self.0
            .iter()
            .flat_map(|(name, heads)| heads.iter().map(move |head| (name, head)))
    }

    /// The encoding: version, number, and each name with its heads.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.count(self.0.len());
        for (name, heads) in &self.0 {
            writer.text(name.as_str());
            writer.count(heads.len());
            for head in heads {
                writer.bytes(head.bytes());
            }
        }
        writer.finish()
    }

    /// Reads the encoding. `key_of` tells the key of a node; heads of nodes that are
    /// no more are left out.
    ///
    /// # Errors
    /// When the bytes are anything else, or a head is not to be believed.
    pub fn decode(
        bytes: &[u8],
        realm: &RealmId,
        key_of: impl Fn(&Name) -> Option<VerifyingKey>,
    ) -> Result<Self, HeadError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "witnessed heads version",
                value: u64::from(version),
            }
            .into());
        }
        let mut heads = BTreeMap::new();
        for _ in 0..reader.count(NODES_MAX)? {
            let name: Name = reader
                .text(NAME_LENGTH_MAX)?
                .parse()
                .map_err(|_| EncodingError::Invalid("a name is malformed"))?;
            let key = key_of(&name);
            let mut of_node = Vec::new();
            for _ in 0..reader.count(HEADS_MAX)? {
                let head = reader.bytes(HEAD_LENGTH_MAX)?;
                if let Some(key) = &key {
                    of_node.push(SignedHead::verify(head, realm, key)?);
                }
            }
            if !of_node.is_empty() {
                heads.insert(name, of_node);
            }
        }
        reader.finish()?;
        Ok(Self(heads))
    }
}

/// Drops every second head of the older half, so that what is left reaches back far.
fn thin(heads: &mut Vec<SignedHead>) {
    let older = heads.len() / 2;
    let mut index = 0;
    heads.retain(|_| {
        index += 1;
        index > older || index % 2 == 1
    });
}

fn judge(held: Option<&SignedHead>, told: &SignedHead) -> Judgement {
    let Some(held) = held else {
        return Judgement::Newer;
    };
    let (held_records, told_records) = (held.head().records(), told.head().records());
    if held.chain_id() != told.chain_id() {
        return Judgement::Alarm(Alarm::Replaced { held: held_records });
    }
    match told_records.cmp(&held_records) {
        std::cmp::Ordering::Greater => Judgement::Newer,
        std::cmp::Ordering::Equal if told.head() == held.head() => Judgement::Same,
        std::cmp::Ordering::Equal => Judgement::Alarm(Alarm::Forked {
            records: held_records,
        }),
        std::cmp::Ordering::Less => Judgement::Alarm(Alarm::WentBack {
            held: held_records,
            told: told_records,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::tests::{REALM, head};
    use super::*;
    use sealmoot_crypto::hash_chain::Head;
    use sealmoot_crypto::signature::SigningKey;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    #[test]
    fn a_chain_that_grows_is_followed_and_any_other_raises_an_alarm() {
        let key = SigningKey::generate().expect("random");
        let n1 = name("n1");
        let mut heads = WitnessedHeads::default();
        assert_eq!(heads.take(&n1, head(&key, 1, 2)), Judgement::Newer);
        assert_eq!(heads.take(&n1, head(&key, 1, 5)), Judgement::Newer);
        assert_eq!(heads.take(&n1, head(&key, 1, 5)), Judgement::Same);
        assert_eq!(
            heads.take(&n1, head(&key, 1, 4)),
            Judgement::Alarm(Alarm::WentBack { held: 5, told: 4 })
        );
        assert_eq!(
            heads.take(&n1, head(&key, 2, 5)),
            Judgement::Alarm(Alarm::Forked { records: 5 })
        );
        let realm = RealmId::from_bytes(REALM);
        let other = SignedHead::sign(&key, &realm, [8; 32], Head::EMPTY, 9);
        assert_eq!(
            heads.take(&n1, other),
            Judgement::Alarm(Alarm::Replaced { held: 5 })
        );
        // The evidence stays.
        assert_eq!(heads.newest(&n1), Some(&head(&key, 1, 5)));
        assert_eq!(heads.take(&name("n2"), head(&key, 2, 1)), Judgement::Newer);
    }

    #[test]
    fn older_heads_are_kept_ever_further_apart() {
        let key = SigningKey::generate().expect("random");
        let n1 = name("n1");
        let mut heads = WitnessedHeads::default();
        for records in 1..=500 {
            assert_eq!(heads.take(&n1, head(&key, 1, records)), Judgement::Newer);
        }
        let kept: Vec<u64> = heads
            .iter()
            .map(|(_, head)| head.head().records())
            .collect();
        assert!(
            kept.len() <= HEADS_MAX && kept.len() > HEADS_MAX / 2,
            "{kept:?}"
        );
        assert!(kept.is_sorted(), "{kept:?}");
        assert_eq!((kept.first(), kept.last()), (Some(&1), Some(&500)));
        let last_gap = kept[kept.len() - 1] - kept[kept.len() - 2];
        assert!(kept[2] - kept[1] > last_gap, "{kept:?}");
        let bytes = heads.encode();
        assert!(bytes.len() <= WITNESSED_BYTES_MAX);
        let realm = RealmId::from_bytes(REALM);
        let read = WitnessedHeads::decode(&bytes, &realm, |_| Some(key.verifying_key()));
        assert_eq!(read, Ok(heads));
    }

    #[test]
    fn remembered_heads_come_back_and_forged_ones_do_not() {
        let (key, other) = (
            SigningKey::generate().expect("random"),
            SigningKey::generate().expect("random"),
        );
        let realm = RealmId::from_bytes(REALM);
        let mut heads = WitnessedHeads::default();
        heads.take(&name("n1"), head(&key, 1, 2));
        heads.take(&name("n2"), head(&key, 2, 3));
        let bytes = heads.encode();
        let read = WitnessedHeads::decode(&bytes, &realm, |_| Some(key.verifying_key()));
        assert_eq!(read, Ok(heads));
        let forged = WitnessedHeads::decode(&bytes, &realm, |_| Some(other.verifying_key()));
        assert_eq!(forged, Err(HeadError::WrongSigner));
        let gone = WitnessedHeads::decode(&bytes, &realm, |_| None).expect("valid");
        assert_eq!(gone, WitnessedHeads::default());
        for length in 0..bytes.len() {
            let cut = WitnessedHeads::decode(&bytes[..length], &realm, |_| None);
            assert!(matches!(cut, Err(HeadError::Malformed(_))), "{length}");
        }
    }
}
