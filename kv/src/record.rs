//! What a node writes to its log: one record for each thing that it must not
//! forget.
//!
//! ```text
//! offset length
//!      0      1  kind
//!      1      …  by kind, in the canonical encoding of sealmoot-crypto:
//!   1 accepted   ballot, key, register
//!   2 ceiling    clock
//!   3 roster     bytes of the roster
//!   4 signed     bytes of a record that the realm's root signed: a user, the roles,
//!                the revoked sessions
//!   5 throttle   bytes of a throttle record
//!   6 condemned  ballot, key
//!   7 removed    floor as a ballot, revision floor u64, key
//!   8 attested   node u64, incarnation u64, counter u64, chain 32 bytes
//!  12 incarnation  u64
//!  13 epoch      retired flag, bytes of the directory's record
//!  14 floors     floor as a ballot, revision floor u64
//!  18 refill     stage u8: 1 unfenced, 2 filling, 3 done
//!  16 time       milliseconds since 1970, u64
//!
//! ballot    epoch u64, clock u64, node u64, start u64
//! register  flag and value, revision u64, count of entries, each: client 16
//!           bytes, sequence u64, outcome u8 and revision u64, deadline u64
//! ```

use bytes::Bytes;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use crate::attest::Attested;
use crate::ballot::{Ballot, Proposer};
use crate::clock::Clock;
use crate::directory::{DIRECTORY_RECORD_LENGTH_MAX, DirectoryRecord};
use crate::register::{
    Entry, KEY_LENGTH_MAX, Outcome, Register, VALUE_LENGTH_MAX, WINDOW_ENTRIES_MAX, Window,
};
use sealmoot_authn::roots::ROOTS_LENGTH_MAX;

const ROSTER_LENGTH_MAX: usize = 64 * 1024;
const THROTTLE_RECORD_LENGTH_MAX: usize = sealmoot_authn::throttle::THROTTLE_RECORD_LENGTH_MAX;
const SIGNED_LENGTH_MAX: usize = sealmoot_authn::records::SIGNED_RECORD_LENGTH_MAX;

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// This state was accepted for this key.
    Accepted {
        /// The key.
        key: Bytes,
        /// The ballot.
        ballot: Ballot,
        /// The state.
        state: Register,
    },
    /// Promises up to this clock may have been given.
    Ceiling(Clock),
    /// The cluster was formed.
    Roster(Vec<u8>),
    /// A record that the root signed was learnt.
    Signed(Vec<u8>),
    /// The realm's roots were learnt: before what rests on them.
    Roots(Vec<u8>),
    /// Somebody tried to log in.
    Throttle(Vec<u8>),
    /// All members hold the tombstone of this key.
    Condemned {
        /// The key.
        key: Bytes,
        /// The ballot of the tombstone.
        ballot: Ballot,
    },
    /// The tombstone of this key was removed, and the floors are these or higher.
    Removed {
        /// The key.
        key: Bytes,
        /// Every ballot below it is refused, for every key.
        floor: Ballot,
        /// A key without a record goes on above this revision.
        revision_floor: u64,
    },
    /// How far the log of another node was.
    Attested {
        /// The first eight bytes of the node's identity.
        node: u64,
        /// How far.
        attested: Attested,
    },
    /// The node became this incarnation, and whatever it held before is wiped.
    Incarnation(u64),
    /// The replica left all earlier epochs for that of a record of the directory.
    Epoch {
        /// The record.
        directory: DirectoryRecord,
        /// Whether it is no member any more; then its data is dropped.
        retired: bool,
    },
    /// The floors are these or higher, as the old members had them.
    Floors {
        /// Every ballot below it is refused, for every key.
        floor: Ballot,
        /// A key without a record goes on above this revision.
        revision_floor: u64,
    },
    /// The replica lost what it held, and takes it from the others again.
    Refill(RefillStage),
    /// It has been this late: sessions that were over by then stay so. No ceiling,
    /// because a clock that once ran ahead must not keep the node from voting.
    Time(u64),
}

/// How far a replica is that lost what it held (see [`replica`](crate::replica)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefillStage {
    /// The others have not stopped yet what its former life may have granted.
    Unfenced,
    /// They have: it takes what they hold, key by key.
    Filling,
    /// It holds again whatever it may have acknowledged.
    Done,
}

impl RefillStage {
    fn decode(value: u8) -> Result<Self, EncodingError> {
        match value {
            1 => Ok(Self::Unfenced),
            2 => Ok(Self::Filling),
            3 => Ok(Self::Done),
            value => Err(EncodingError::Unknown {
                what: "stage of a refill",
                value: u64::from(value),
            }),
        }
    }
}

impl Record {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(match self {
            Self::Accepted { key, state, .. } => {
                80 + key.len()
                    + state.value.as_ref().map_or(0, Bytes::len)
                    + state.window.len() * 41
            }
            Self::Ceiling(_) | Self::Time(_) | Self::Incarnation(_) => 9,
            Self::Refill(_) => 2,
            Self::Epoch { .. } => 256,
            Self::Floors { .. } => 41,
            Self::Condemned { key, .. } | Self::Removed { key, .. } => 64 + key.len(),
            Self::Attested { .. } => 57,
            Self::Roster(bytes)
            | Self::Signed(bytes)
            | Self::Roots(bytes)
            | Self::Throttle(bytes) => 8 + bytes.len(),
        });
        match self {
            Self::Accepted { key, ballot, state } => {
                writer.u8(1);
                write_ballot(&mut writer, ballot);
                writer.bytes(key);
                write_register(&mut writer, state);
            }
            Self::Ceiling(clock) => {
                writer.u8(2);
                writer.u64(clock.0);
            }
            Self::Roster(bytes) => {
                writer.u8(3);
                writer.bytes(bytes);
            }
            Self::Signed(bytes) => {
                writer.u8(4);
                writer.bytes(bytes);
            }
            Self::Roots(bytes) => {
                writer.u8(17);
                writer.bytes(bytes);
            }
            Self::Throttle(bytes) => {
                writer.u8(5);
                writer.bytes(bytes);
            }
            Self::Condemned { key, ballot } => {
                writer.u8(6);
                write_ballot(&mut writer, ballot);
                writer.bytes(key);
            }
            Self::Removed {
                key,
                floor,
                revision_floor,
            } => {
                writer.u8(7);
                write_ballot(&mut writer, floor);
                writer.u64(*revision_floor);
                writer.bytes(key);
            }
            Self::Attested { node, attested } => {
                writer.u8(8);
                writer.u64(*node);
                writer.u64(attested.incarnation);
                writer.u64(attested.counter);
                writer.fixed(&attested.chain);
            }
            Self::Incarnation(incarnation) => {
                writer.u8(12);
                writer.u64(*incarnation);
            }
            Self::Epoch { directory, retired } => {
                writer.u8(13);
                writer.flag(*retired);
                writer.bytes(&directory.encode());
            }
            Self::Floors {
                floor,
                revision_floor,
            } => {
                writer.u8(14);
                write_ballot(&mut writer, floor);
                writer.u64(*revision_floor);
            }
            Self::Refill(stage) => {
                writer.u8(18);
                writer.u8(match stage {
                    RefillStage::Unfenced => 1,
                    RefillStage::Filling => 2,
                    RefillStage::Done => 3,
                });
            }
            Self::Time(time_ms) => {
                writer.u8(16);
                writer.u64(*time_ms);
            }
        }
        writer.finish()
    }

    /// Takes a record apart.
    ///
    /// # Errors
    /// [`EncodingError`]; in a log that authenticated, a fault of the program or
    /// of another version of it.
    pub fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        let record = match reader.u8()? {
            1 => Self::Accepted {
                ballot: read_ballot(&mut reader)?,
                key: Bytes::copy_from_slice(reader.bytes(KEY_LENGTH_MAX)?),
                state: read_register(&mut reader)?,
            },
            2 => Self::Ceiling(Clock(reader.u64()?)),
            3 => Self::Roster(reader.bytes(ROSTER_LENGTH_MAX)?.to_vec()),
            4 => Self::Signed(reader.bytes(SIGNED_LENGTH_MAX)?.to_vec()),
            5 => Self::Throttle(reader.bytes(THROTTLE_RECORD_LENGTH_MAX)?.to_vec()),
            6 => Self::Condemned {
                ballot: read_ballot(&mut reader)?,
                key: Bytes::copy_from_slice(reader.bytes(KEY_LENGTH_MAX)?),
            },
            7 => Self::Removed {
                floor: read_ballot(&mut reader)?,
                revision_floor: read_revision(&mut reader)?,
                key: Bytes::copy_from_slice(reader.bytes(KEY_LENGTH_MAX)?),
            },
            8 => Self::Attested {
                node: reader.u64()?,
                attested: Attested {
                    incarnation: reader.u64()?,
                    counter: reader.u64()?,
                    chain: reader.array()?,
                },
            },
            12 => Self::Incarnation(reader.u64()?),
            13 => Self::Epoch {
                retired: reader.flag()?,
                directory: DirectoryRecord::decode(reader.bytes(DIRECTORY_RECORD_LENGTH_MAX)?)?,
            },
            14 => Self::Floors {
                floor: read_ballot(&mut reader)?,
                revision_floor: read_revision(&mut reader)?,
            },
            16 => Self::Time(reader.u64()?),
            18 => Self::Refill(RefillStage::decode(reader.u8()?)?),
            17 => Self::Roots(reader.bytes(ROOTS_LENGTH_MAX)?.to_vec()),
            value => {
                return Err(EncodingError::Unknown {
                    what: "record kind",
                    value: u64::from(value),
                });
            }
        };
        reader.finish()?;
        Ok(record)
    }
}

fn write_ballot(writer: &mut Writer, ballot: &Ballot) {
    writer.u64(ballot.epoch);
    writer.u64(ballot.clock.0);
    writer.u64(ballot.proposer.node);
    writer.u64(ballot.proposer.start);
}

fn read_ballot(reader: &mut Reader<'_>) -> Result<Ballot, EncodingError> {
    Ok(Ballot {
        epoch: reader.u64()?,
        clock: Clock(reader.u64()?),
        proposer: Proposer {
            node: reader.u64()?,
            start: reader.u64()?,
        },
    })
}

/// Writes a register; the same form serves the log and the wire.
pub(crate) fn write_register(writer: &mut Writer, register: &Register) {
    writer.flag(register.value.is_some());
    if let Some(value) = &register.value {
        writer.bytes(value);
    }
    writer.u64(register.revision);
    writer.count(register.window.len());
    for entry in register.window.entries() {
        writer.fixed(&entry.client);
        writer.u64(entry.sequence);
        let (kind, revision) = match entry.outcome {
            Outcome::Written { revision } => (1, revision),
            Outcome::Deleted { revision } => (2, revision),
            Outcome::NothingToDelete => (3, 0),
            Outcome::Conflict { revision } => (4, revision),
        };
        writer.u8(kind);
        writer.u64(revision);
        writer.u64(entry.deadline.0);
    }
}

/// Reads a revision that has a successor.
fn read_revision(reader: &mut Reader<'_>) -> Result<u64, EncodingError> {
    let revision = reader.u64()?;
    if revision == u64::MAX {
        return Err(EncodingError::Invalid("a revision has no successor"));
    }
    Ok(revision)
}

/// Reads a register.
pub(crate) fn read_register(reader: &mut Reader<'_>) -> Result<Register, EncodingError> {
    let value = if reader.flag()? {
        Some(Bytes::copy_from_slice(reader.bytes(VALUE_LENGTH_MAX)?))
    } else {
        None
    };
    let revision = read_revision(reader)?;
    let count = reader.count(WINDOW_ENTRIES_MAX)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let client = reader.array()?;
        let sequence = reader.u64()?;
        let kind = reader.u8()?;
        let revision = reader.u64()?;
        let outcome = match kind {
            1 => Outcome::Written { revision },
            2 => Outcome::Deleted { revision },
            3 if revision == 0 => Outcome::NothingToDelete,
            4 => Outcome::Conflict { revision },
            value => {
                return Err(EncodingError::Unknown {
                    what: "outcome",
                    value: u64::from(value),
                });
            }
        };
        entries.push(Entry {
            client,
            sequence,
            outcome,
            deadline: Clock(reader.u64()?),
        });
    }
    let window = Window::from_entries(entries).ok_or(EncodingError::Invalid(
        "a window's entries are out of order",
    ))?;
    Ok(Register {
        value,
        revision,
        window,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Member, MemberSet};

    fn directory() -> DirectoryRecord {
        let member = |node| Member {
            node,
            incarnation: 7,
        };
        let members = MemberSet::new(vec![member(1), member(2)], 2, 1);
        DirectoryRecord::first(3, members.expect("a set"))
    }

    fn samples() -> Vec<Record> {
        let mut window = Window::default();
        for client in 0..3u8 {
            assert!(window.record(Entry {
                client: [client; 16],
                sequence: 7,
                outcome: match client {
                    0 => Outcome::Written { revision: 3 },
                    1 => Outcome::Deleted { revision: 4 },
                    _ => Outcome::Conflict { revision: 5 },
                },
                deadline: Clock(9),
            }));
        }
        let ballot = Ballot {
            epoch: 1,
            clock: Clock(2),
            proposer: Proposer { node: 3, start: 4 },
        };
        let accepted = |value: Option<&'static [u8]>| Record::Accepted {
            key: Bytes::from_static(b"app/x"),
            ballot,
            state: Register {
                value: value.map(Bytes::from_static),
                revision: 5,
                window: window.clone(),
            },
        };
        vec![
            accepted(Some(b"value")),
            accepted(Some(b"")),
            accepted(None),
            Record::Ceiling(Clock(77)),
            Record::Roster(vec![1, 2]),
            Record::Signed(vec![3]),
            Record::Roots(vec![6]),
            Record::Throttle(vec![4]),
            Record::Condemned {
                key: Bytes::from_static(b"app/x"),
                ballot,
            },
            Record::Removed {
                key: Bytes::from_static(b"app/x"),
                floor: ballot,
                revision_floor: 9,
            },
            Record::Attested {
                node: 5,
                attested: Attested {
                    incarnation: 6,
                    counter: 7,
                    chain: [8; 32],
                },
            },
            Record::Incarnation(6),
            Record::Epoch {
                directory: directory(),
                retired: true,
            },
            Record::Floors {
                floor: ballot,
                revision_floor: 9,
            },
            Record::Refill(RefillStage::Unfenced),
            Record::Refill(RefillStage::Filling),
            Record::Refill(RefillStage::Done),
            Record::Time(5),
        ]
    }

    #[test]
    fn records_survive_their_bytes_and_no_truncation_does() {
        for record in samples() {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Ok(record));
            for length in 0..bytes.len() {
                assert!(Record::decode(&bytes[..length]).is_err());
            }
        }
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes() {
        for record in samples() {
            let bytes = record.encode();
            for index in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[index] ^= 1;
                if let Ok(other) = Record::decode(&changed) {
                    assert_eq!(other.encode(), changed, "{index}");
                }
            }
        }
    }
}
