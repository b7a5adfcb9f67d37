//! Events in their places: entries, and what names a chain.

use sealmoot_crypto::digest::Sha256;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::hash_chain::{CHAIN_ID_LENGTH, Chain, Head, LINK_LENGTH, Link};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::KeyId;

use super::event::EVENT_LENGTH_MAX;
use crate::realm_id::RealmId;

/// Most entries that are encoded together.
pub const ENTRIES_MAX: usize = 1024;
/// Most bytes that they have then.
pub const ENTRIES_BYTES_MAX: usize = 256 * 1024;

/// An event in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// How many events stand before it.
    pub sequence: u64,
    /// The event's canonical encoding, as it was linked. It is kept as bytes: a
    /// link is checked before anything is decoded.
    pub event: Vec<u8>,
    /// Its link.
    pub link: Link,
}

impl Entry {
    /// Bytes that the entry takes beside others.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        LINK_LENGTH + 4 + self.event.len()
    }
}

/// Several entries in a row.
///
/// ```text
///      8  sequence of the first
///      4  number of entries, then each:
///           32  link
///          4+n  event
/// ```
pub fn encode_entries(writer: &mut Writer, entries: &[Entry]) {
    writer.u64(entries.first().map_or(0, |entry| entry.sequence));
    writer.count(entries.len());
    for entry in entries {
        writer.fixed(entry.link.as_bytes());
        writer.bytes(&entry.event);
    }
}

/// Reads what [`encode_entries`] wrote.
///
/// # Errors
/// When the bytes are anything else.
pub fn decode_entries(reader: &mut Reader<'_>) -> Result<Vec<Entry>, EncodingError> {
    let first = reader.u64()?;
    let count = reader.count(ENTRIES_MAX)?;
    let mut entries = Vec::with_capacity(count);
    for number in 0..count as u64 {
        let sequence = first
            .checked_add(number)
            .ok_or(EncodingError::Invalid("a sequence is beyond the last"))?;
        entries.push(Entry {
            sequence,
            link: Link::from_bytes(reader.array()?),
            event: reader.bytes(EVENT_LENGTH_MAX)?.to_vec(),
        });
    }
    Ok(entries)
}

/// The id of a chain: SHA-256 of a label, the realm's id, the key id of whose chain it
/// is, and the sealed first key. So a chain with another first key is another chain,
/// and whoever remembers a head of it notices.
#[must_use]
pub fn chain_id(realm: &RealmId, owner: &KeyId, sealed_first_key: &[u8]) -> [u8; CHAIN_ID_LENGTH] {
    let mut hasher = Sha256::new();
    hasher.update(b"sealmoot/v1/audit chain");
    hasher.update(realm.as_bytes());
    hasher.update(owner.as_bytes());
    hasher.update(sealed_first_key);
    hasher.finish()
}

/// The key that follows `records` events on the first one. It depends on nothing but
/// their number, so a log whose oldest part was dropped can be verified still.
#[must_use]
pub fn key_after(first_key: &SecretArray<32>, records: u64) -> SecretArray<32> {
    let mut chain = Chain::resume(first_key, [0; CHAIN_ID_LENGTH], Head::EMPTY);
    for _ in 0..records {
        chain
            .append(b"")
            .expect("fewer records than the head of a chain counts");
    }
    SecretArray::from_bytes(*chain.key().expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_depends_on_the_number_of_records_only() {
        let first = SecretArray::from_bytes([1; 32]);
        let mut chain = Chain::start(&first, [9; 32]);
        for record in ["one", "two", "three"] {
            chain.append(record.as_bytes()).expect("room");
        }
        assert!(key_after(&first, 3).same_as(chain.key()));
        assert!(!key_after(&first, 2).same_as(chain.key()));
        assert!(key_after(&first, 0).same_as(&first));
    }

    #[test]
    fn too_many_entries_and_sequences_beyond_the_last_are_refused() {
        let entry = Entry {
            sequence: 7,
            event: vec![1],
            link: Link::from_bytes([2; 32]),
        };
        let mut writer = Writer::new();
        encode_entries(
            &mut writer,
            &[
                entry.clone(),
                Entry {
                    sequence: 8,
                    ..entry.clone()
                },
            ],
        );
        let bytes = writer.finish();
        let read = decode_entries(&mut Reader::new(&bytes)).expect("valid");
        assert_eq!((read[0].clone(), read[1].sequence), (entry, 8));
        for length in 0..bytes.len() {
            assert!(decode_entries(&mut Reader::new(&bytes[..length])).is_err());
        }
        let mut many = bytes.clone();
        many[8..12].copy_from_slice(&u32::try_from(ENTRIES_MAX + 1).expect("small").to_le_bytes());
        assert!(matches!(
            decode_entries(&mut Reader::new(&many)),
            Err(EncodingError::TooLong { .. } | EncodingError::Invalid(_))
        ));
        let mut last = bytes;
        last[..8].fill(0xff);
        assert!(decode_entries(&mut Reader::new(&last)).is_err());
    }
}
