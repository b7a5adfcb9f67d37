//! What is written to the log and told to peers; drawn in `authn/DESIGN.md`.

use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use super::bucket::Bucket;
use super::limits::RECORD_ENTRIES_MAX;
use super::names::{AccountHash, Kind, Slot, SlotHash};
use super::proven::ProvenKey;
use crate::second_factor::Used;

// Version 1 knew no second factor; version 2 neither delegates nor what a proven key had
// proved.
const VERSION: u8 = 3;
const PROVEN: u8 = 8;
const UNLOCKED: u8 = 9;
const USED: u8 = 10;

/// One thing that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// The bucket is like this now.
    Bucket(Slot, Bucket),
    /// The key is proven.
    Proven(SlotHash, ProvenKey),
    /// The account's unlocking of that time was taken.
    Unlocked(AccountHash, u64),
    /// These codes of the account's enrolment were used.
    Used(SlotHash, Used),
}

/// Writes entries. Buckets are written as times from now on: short, and right for a
/// peer whose clock differs.
pub(super) fn encode(entries: &[Entry], now_ms: u64) -> Vec<u8> {
    let mut writer = Writer::with_capacity(13 + entries.len() * 25);
    writer.u8(VERSION);
    writer.u64(now_ms);
    writer.count(entries.len());
    for entry in entries {
        match entry {
            Entry::Bucket(Slot(kind, hash), bucket) => {
                writer.u8(*kind as u8);
                writer.fixed(hash);
                writer.u32(from_now(bucket.empty_at_ms, now_ms));
                writer.u32(from_now(bucket.not_before_ms, now_ms));
            }
            Entry::Proven(hash, key) => {
                writer.u8(PROVEN);
                writer.fixed(hash);
                writer.u64(key.until_ms);
                writer.fixed(&key.password);
                writer.fixed(&key.enrolment);
            }
            Entry::Unlocked(account, issued_ms) => {
                writer.u8(UNLOCKED);
                writer.fixed(account);
                writer.u64(*issued_ms);
            }
            Entry::Used(slot, used) => {
                writer.u8(USED);
                writer.fixed(slot);
                used.encode(&mut writer);
            }
        }
    }
    writer.finish()
}

/// Reads entries; their buckets' times count from `now_ms`, or from when the record
/// was written.
///
/// # Errors
/// When the bytes are anything else.
pub(super) fn decode(
    bytes: &[u8],
    now_ms: Option<u64>,
) -> Result<(u64, Vec<Entry>), EncodingError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(EncodingError::Unknown {
            what: "version of a throttle record",
            value: u64::from(version),
        });
    }
    let written_ms = reader.u64()?;
    let now_ms = now_ms.unwrap_or(written_ms);
    let count = reader.count(RECORD_ENTRIES_MAX)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(match reader.u8()? {
            PROVEN => {
                let hash = reader.array()?;
                let key = ProvenKey {
                    until_ms: reader.u64()?,
                    password: reader.array()?,
                    enrolment: reader.array()?,
                };
                Entry::Proven(hash, key)
            }
            UNLOCKED => Entry::Unlocked(reader.array()?, reader.u64()?),
            USED => Entry::Used(reader.array()?, Used::decode(&mut reader)?),
            kind => {
                let slot = Slot(kind_of(kind)?, reader.array()?);
                let mut time = || -> Result<u64, EncodingError> {
                    Ok(now_ms.saturating_add(u64::from(reader.u32()?)))
                };
                let bucket = Bucket {
                    empty_at_ms: time()?,
                    not_before_ms: time()?,
                };
                Entry::Bucket(slot, bucket)
            }
        });
    }
    reader.finish()?;
    Ok((now_ms, entries))
}

/// One entry of a record, as a record of its own, and what a later one of its kind replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThrottlePart {
    /// Parts of one name are about the same thing; the last one counts.
    pub name: Vec<u8>,
    /// The record.
    pub record: Vec<u8>,
    /// Whether [`Throttle::all`](super::Throttle::all) tells it too.
    pub is_told: bool,
}

/// Takes a record apart, for who keeps the last of each thing only.
///
/// # Errors
/// [`EncodingError`] when the bytes are no record.
pub fn parts(bytes: &[u8]) -> Result<Vec<ThrottlePart>, EncodingError> {
    let (written_ms, entries) = decode(bytes, None)?;
    let part = |entry: Entry| {
        let record = encode(&[entry], written_ms);
        let (kind, hash): (u8, &[u8]) = match &entry {
            Entry::Bucket(Slot(kind, hash), _) => (*kind as u8, hash),
            Entry::Proven(hash, _) => (PROVEN, hash),
            Entry::Unlocked(account, _) => (UNLOCKED, account),
            Entry::Used(hash, _) => (USED, hash),
        };
        let mut name = vec![kind];
        name.extend_from_slice(hash);
        // They add up: none replaces another.
        if let Entry::Used(..) = entry {
            name.extend_from_slice(&sha256(&record));
        }
        ThrottlePart {
            name,
            record,
            is_told: !matches!(entry, Entry::Unlocked(..)),
        }
    };
    Ok(entries.into_iter().map(part).collect())
}

fn kind_of(byte: u8) -> Result<Kind, EncodingError> {
    Kind::ALL
        .into_iter()
        .find(|kind| *kind as u8 == byte)
        .ok_or(EncodingError::Unknown {
            what: "kind of a throttle entry",
            value: u64::from(byte),
        })
}

/// At most 49 days, longer than any default rule reaches.
fn from_now(time_ms: u64, now_ms: u64) -> u32 {
    u32::try_from(time_ms.saturating_sub(now_ms)).unwrap_or(u32::MAX)
}
