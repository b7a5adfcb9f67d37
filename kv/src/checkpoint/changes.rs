//! What records of the log leave, in memory until it is on the disk.

use std::sync::Arc;

use bytes::Bytes;
use sealmoot_authn::ended::ENDED_TAG;
use sealmoot_authn::records::SignedRecord;
use sealmoot_authn::roots::Roots;
use sealmoot_authn::throttle;
use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::encoding::Writer;

use super::{MARK, SIGNED, SLOT, SMALL};
use crate::ballot::Ballot;
use crate::clock::Clock;
use crate::record::Record;
use crate::storage::Memory;

/// What an entry takes in memory besides its bytes.
const ENTRY_OVERHEAD: usize = 96;

/// What the records since the last checkpoint left.
#[derive(Debug)]
pub(crate) struct Changes {
    entries: Memory,
    bytes: usize,
    /// Whether no key from before is held any more.
    wiped: bool,
    /// The realm's roots, by which signed records are told apart.
    roots: Roots,
    epoch: u64,
    floor: Ballot,
    revision_floor: u64,
    ceiling: Clock,
    time_ms: u64,
    /// What was loaded that is written anew at a start, without what is over.
    passing: Vec<Bytes>,
}

/// What the records up to one left since the last checkpoint.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// The number of that record.
    pub(crate) through: u64,
    pub(crate) entries: Arc<Memory>,
    /// Whether no key from before is held any more.
    pub(crate) wiped: bool,
}

impl Frozen {
    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.wiped
    }
}

impl Changes {
    /// None yet, in a realm with these roots at least.
    pub(crate) fn new(roots: Roots) -> Self {
        Self {
            entries: Memory::new(),
            bytes: 0,
            wiped: false,
            roots,
            epoch: 0,
            floor: Ballot::ZERO,
            revision_floor: 0,
            ceiling: Clock::ZERO,
            time_ms: 0,
            passing: Vec::new(),
        }
    }

    /// How many bytes of memory they take, at most.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Takes note of what is on the disk.
    pub(super) fn learn(&mut self, key: Bytes, record: &Record) {
        match record {
            Record::Throttle(bytes) => {
                let parts = throttle::parts(bytes).unwrap_or_default();
                if parts.iter().all(|part| part.is_told) {
                    self.passing.push(key);
                }
            }
            Record::Signed(bytes) if bytes.first() == Some(&ENDED_TAG) => self.passing.push(key),
            _ => {
                self.rise(record);
            }
        }
    }

    /// Lets go of what was loaded and passes with time: ends of sessions and attempts to log
    /// in. What of it still counts is to be noted again.
    pub(crate) fn drop_passing(&mut self) {
        for key in std::mem::take(&mut self.passing) {
            self.put(key, None);
        }
    }

    /// Takes note of a record of the log, and of its bytes.
    pub(crate) fn note(&mut self, number: u64, record: &Record, bytes: &Bytes) {
        match record {
            Record::Accepted { key, .. } => self.put(named(SLOT, key), Some(bytes.clone())),
            Record::Condemned { key, .. } => {
                let value = [&self.epoch.to_le_bytes()[..], bytes].concat();
                self.put(named(MARK, key), Some(value.into()));
            }
            Record::Removed { key, .. } => {
                self.put(named(SLOT, key), None);
                self.put(named(MARK, key), None);
                self.rise(record);
                self.put_floors(number);
            }
            Record::Floors { .. } => {
                self.rise(record);
                self.put_floors(number);
            }
            Record::Ceiling(_) | Record::Time(_) => {
                if self.rise(record) {
                    self.put_small(number, bytes, &[]);
                }
            }
            Record::Incarnation(_) => {
                self.wipe();
                self.put_small(number, bytes, &[]);
            }
            Record::Epoch { retired, .. } => {
                if *retired {
                    self.wipe();
                }
                self.rise(record);
                self.put_small(number, bytes, &[]);
            }
            Record::Roster(_) | Record::Refill(_) => self.put_small(number, bytes, &[]),
            Record::Roots(roots) => {
                // They were verified before they were written.
                let _ = self.roots.take(roots);
                self.put_small(number, bytes, &[]);
            }
            Record::Attested { node, .. } => self.put_small(number, bytes, &node.to_le_bytes()),
            Record::Throttle(entries) => {
                // The node wrote it itself. One that does not decode is kept whole: what
                // starts from it has to refuse it, as it would in the log.
                let Ok(parts) = throttle::parts(entries) else {
                    return self.put_small(number, bytes, &sha256(entries));
                };
                for part in parts {
                    let record = Bytes::from(Record::Throttle(part.record).encode());
                    self.put_small(number, &record, &part.name);
                }
            }
            Record::Signed(signed) => {
                let name = self.name_of(signed);
                self.put(named(SIGNED, &name), Some(bytes.clone()));
            }
        }
    }

    /// What there is so far, up to this record; from now on it is for others to keep.
    pub(crate) fn freeze(&mut self, through: u64) -> Frozen {
        self.bytes = 0;
        Frozen {
            through,
            entries: Arc::new(std::mem::take(&mut self.entries)),
            wiped: std::mem::take(&mut self.wiped),
        }
    }

    /// Raises what only rises; says whether it did.
    fn rise(&mut self, record: &Record) -> bool {
        match record {
            Record::Removed {
                floor,
                revision_floor,
                ..
            }
            | Record::Floors {
                floor,
                revision_floor,
            } => {
                let rises = *floor > self.floor || *revision_floor > self.revision_floor;
                self.floor = self.floor.max(*floor);
                self.revision_floor = self.revision_floor.max(*revision_floor);
                rises
            }
            Record::Ceiling(clock) => rise(&mut self.ceiling, *clock),
            Record::Time(time_ms) => rise(&mut self.time_ms, *time_ms),
            Record::Epoch { directory, .. } => rise(&mut self.epoch, directory.epoch()),
            Record::Roots(roots) => self.roots.take(roots).unwrap_or(false),
            _ => false,
        }
    }

    fn wipe(&mut self) {
        self.wiped = true;
        self.entries
            .retain(|key, _| !matches!(key.first(), Some(&(SLOT | MARK))));
    }

    fn put_floors(&mut self, number: u64) {
        let floors = Record::Floors {
            floor: self.floor,
            revision_floor: self.revision_floor,
        };
        self.put_small(number, &floors.encode().into(), &[]);
    }

    /// Puts what the last one of its kind, and of this thing, replaces.
    fn put_small(&mut self, number: u64, record: &Bytes, of: &[u8]) {
        let kind = record.first().copied().unwrap_or_default();
        let key = [&[SMALL, kind][..], of].concat();
        let value = [&number.to_le_bytes()[..], record].concat();
        self.put(key.into(), Some(value.into()));
    }

    fn put(&mut self, key: Bytes, value: Option<Bytes>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len) + ENTRY_OVERHEAD;
        self.entries.insert(key, value);
    }

    /// What a signed record is about: a later one of the same name, under the same
    /// delegations, replaces it. Which of several delegates' counts depends on what else is
    /// there, so all of them are kept.
    fn name_of(&self, signed: &[u8]) -> Vec<u8> {
        let of_its_own = || [&[0][..], &sha256(signed)].concat();
        if signed.first() == Some(&ENDED_TAG) {
            return of_its_own();
        }
        // It was verified before it was written.
        let Ok((name, standing)) = SignedRecord::claimed(signed, &self.roots) else {
            return of_its_own();
        };
        let mut writer = Writer::new();
        writer.u8(1);
        writer.bytes(name.to_string().as_bytes());
        writer.bytes(standing.path().to_string().as_bytes());
        for version in standing.delegations() {
            writer.u64(*version);
        }
        let long = writer.finish();
        [&[1][..], &sha256(&long)].concat()
    }
}

fn named(space: u8, name: &[u8]) -> Bytes {
    [&[space][..], name].concat().into()
}

fn rise<T: PartialOrd>(held: &mut T, new: T) -> bool {
    let rises = new > *held;
    if rises {
        *held = new;
    }
    rises
}
