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
//!   4 user       bytes of a user record
//!
//! ballot    epoch u64, clock u64, node u64, start u64
//! register  flag and value, revision u64, count of entries, each: client 16
//!           bytes, sequence u64, outcome u8 and revision u64, deadline u64
//! ```

use bytes::Bytes;
use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use crate::ballot::{Ballot, Proposer};
use crate::clock::Clock;
use crate::register::{
    Entry, KEY_LENGTH_MAX, Outcome, Register, VALUE_LENGTH_MAX, WINDOW_ENTRIES_MAX, Window,
};

const ROSTER_LENGTH_MAX: usize = 64 * 1024;
const USER_RECORD_LENGTH_MAX: usize = sealmoot_authn::users::RECORD_LENGTH_MAX;

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
    /// A user record was learnt.
    User(Vec<u8>),
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
            Self::Ceiling(_) => 9,
            Self::Roster(bytes) | Self::User(bytes) => 8 + bytes.len(),
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
            Self::User(bytes) => {
                writer.u8(4);
                writer.bytes(bytes);
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
            4 => Self::User(reader.bytes(USER_RECORD_LENGTH_MAX)?.to_vec()),
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

/// Reads a register.
pub(crate) fn read_register(reader: &mut Reader<'_>) -> Result<Register, EncodingError> {
    let value = if reader.flag()? {
        Some(Bytes::copy_from_slice(reader.bytes(VALUE_LENGTH_MAX)?))
    } else {
        None
    };
    let revision = reader.u64()?;
    if revision == u64::MAX {
        return Err(EncodingError::Invalid("a revision has no successor"));
    }
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
            Record::User(vec![3]),
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
