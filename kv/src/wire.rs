//! Between the messages of the protocol and those of the wire. Whatever comes
//! from a peer is checked here, once.

use bytes::Bytes;
use sealmoot_crypto::encoding::{Reader, Writer};

use crate::attest::Attested;
use crate::ballot::{Ballot, Proposer};
use crate::clock::Clock;
use crate::coordinator::Level;
use crate::message::{Reply, Request, SCAN_ENTRIES_MAX, ScanEntry};
use crate::proto;
use crate::record::{read_register, write_register};
use crate::register::{KEY_LENGTH_MAX, Register};

/// A message that breaks a rule of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct Malformed(pub &'static str);

impl From<Ballot> for proto::Ballot {
    fn from(ballot: Ballot) -> Self {
        Self {
            epoch: ballot.epoch,
            clock: ballot.clock.0,
            node: ballot.proposer.node,
            start: ballot.proposer.start,
        }
    }
}

impl From<proto::Ballot> for Ballot {
    fn from(ballot: proto::Ballot) -> Self {
        Self {
            epoch: ballot.epoch,
            clock: Clock(ballot.clock),
            proposer: Proposer {
                node: ballot.node,
                start: ballot.start,
            },
        }
    }
}

impl From<proto::Level> for Level {
    fn from(level: proto::Level) -> Self {
        match level {
            proto::Level::Linearizable => Self::Linearizable,
            proto::Level::Quorum => Self::Quorum,
            proto::Level::One => Self::One,
        }
    }
}

impl From<Level> for proto::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Linearizable => Self::Linearizable,
            Level::Quorum => Self::Quorum,
            Level::One => Self::One,
        }
    }
}

impl From<Attested> for proto::Position {
    fn from(attested: Attested) -> Self {
        Self {
            incarnation: attested.incarnation,
            counter: attested.counter,
            chain: Bytes::copy_from_slice(&attested.chain),
        }
    }
}

/// How far a node says that its log is.
///
/// # Errors
/// [`Malformed`].
pub fn attested_from_wire(position: &proto::Position) -> Result<Attested, Malformed> {
    let chain = <[u8; 32]>::try_from(&*position.chain)
        .map_err(|_| Malformed("a chain value has 32 bytes"))?;
    Ok(Attested {
        incarnation: position.incarnation,
        counter: position.counter,
        chain,
    })
}

/// A request as it travels.
#[must_use]
pub fn request_to_wire(request: Request) -> proto::ReplicaRequest {
    use proto::replica_request::Message;
    let message = match request {
        Request::Prepare { key, ballot } => Message::Prepare(proto::Prepare {
            key,
            ballot: Some(ballot.into()),
        }),
        Request::Accept {
            key,
            ballot,
            state,
            next,
            epoch,
        } => Message::Accept(proto::Accept {
            key,
            ballot: Some(ballot.into()),
            state: register_to_wire(&state),
            next: next.map(proto::Ballot::from),
            epoch,
        }),
        Request::Condemn { key, ballot, epoch } => Message::Condemn(proto::Condemn {
            key,
            ballot: Some(ballot.into()),
            epoch,
        }),
        Request::Remove {
            key,
            ballot,
            revision,
            epoch,
        } => Message::Remove(proto::Remove {
            key,
            ballot: Some(ballot.into()),
            revision,
            epoch,
        }),
        Request::Fence { epoch } => Message::Fence(proto::Fence { epoch }),
        Request::Install {
            key,
            ballot,
            state,
            epoch,
        } => Message::Install(proto::Install {
            key,
            ballot: Some(ballot.into()),
            state: register_to_wire(&state),
            epoch,
        }),
        Request::RaiseFloors {
            floor,
            revision_floor,
            epoch,
        } => Message::RaiseFloors(proto::RaiseFloors {
            floor: Some(floor.into()),
            revision_floor,
            epoch,
        }),
        Request::Read { key, epoch } => Message::Read(proto::Read { key, epoch }),
        Request::Scan {
            prefix,
            after,
            limit,
            epoch,
        } => Message::Scan(proto::Scan {
            prefix,
            after,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            epoch,
        }),
    };
    proto::ReplicaRequest {
        message: Some(message),
    }
}

/// A request that arrived.
///
/// # Errors
/// [`Malformed`].
pub fn request_from_wire(request: proto::ReplicaRequest) -> Result<Request, Malformed> {
    use proto::replica_request::Message;
    match request.message.ok_or(Malformed("no message"))? {
        Message::Prepare(prepare) => Ok(Request::Prepare {
            key: checked_key(prepare.key)?,
            ballot: checked_ballot(prepare.ballot)?,
        }),
        Message::Accept(accept) => Ok(Request::Accept {
            key: checked_key(accept.key)?,
            ballot: checked_ballot(accept.ballot)?,
            state: register_from_wire(&accept.state)?,
            next: accept.next.map(Ballot::from),
            epoch: accept.epoch,
        }),
        Message::Condemn(condemn) => Ok(Request::Condemn {
            key: checked_key(condemn.key)?,
            ballot: checked_ballot(condemn.ballot)?,
            epoch: condemn.epoch,
        }),
        Message::Remove(remove) => Ok(Request::Remove {
            key: checked_key(remove.key)?,
            ballot: checked_ballot(remove.ballot)?,
            revision: checked_floor(remove.revision)?,
            epoch: remove.epoch,
        }),
        Message::Fence(fence) => Ok(Request::Fence { epoch: fence.epoch }),
        Message::Install(install) => Ok(Request::Install {
            key: checked_key(install.key)?,
            ballot: checked_ballot(install.ballot)?,
            state: register_from_wire(&install.state)?,
            epoch: install.epoch,
        }),
        Message::RaiseFloors(floors) => Ok(Request::RaiseFloors {
            floor: checked_ballot(floors.floor)?,
            revision_floor: checked_floor(floors.revision_floor)?,
            epoch: floors.epoch,
        }),
        Message::Read(read) => Ok(Request::Read {
            key: checked_key(read.key)?,
            epoch: read.epoch,
        }),
        Message::Scan(scan) => {
            if scan.prefix.len() > KEY_LENGTH_MAX || scan.after.len() > KEY_LENGTH_MAX {
                return Err(Malformed("a prefix is too long"));
            }
            Ok(Request::Scan {
                prefix: scan.prefix,
                after: scan.after,
                limit: (scan.limit as usize).min(SCAN_ENTRIES_MAX),
                epoch: scan.epoch,
            })
        }
    }
}

/// An answer as it travels.
#[must_use]
pub fn reply_to_wire(reply: Reply) -> proto::ReplicaReply {
    use proto::replica_reply::Message;
    let message = match reply {
        Reply::Condemned => Message::Condemned(proto::Condemned {}),
        Reply::Removed => Message::Removed(proto::Removed {}),
        Reply::Fenced {
            floor,
            revision_floor,
        } => Message::Fenced(proto::Fenced {
            floor: Some(floor.into()),
            revision_floor,
        }),
        Reply::Installed => Message::Installed(proto::Installed {}),
        Reply::FloorsRaised => Message::FloorsRaised(proto::FloorsRaised {}),
        Reply::Holds {
            accepted,
            state,
            condemned,
            revision_floor,
            floor,
        } => Message::Holds(proto::Holds {
            accepted: Some(accepted.into()),
            state: register_to_wire(&state),
            condemned,
            revision_floor,
            floor: floor_to_wire(floor),
        }),
        Reply::Accepted { promised } => Message::Accepted(proto::Accepted { promised }),
        Reply::Refused { standing } => Message::Refused(standing.into()),
        Reply::ClockTooFar { clock } => Message::ClockTooFar(clock.0),
        Reply::WrongEpoch { epoch } => Message::WrongEpoch(epoch),
        Reply::Scanned {
            entries,
            complete,
            floor,
        } => Message::Scanned(proto::Scanned {
            entries: entries
                .into_iter()
                .map(|entry| proto::ScanEntry {
                    key: entry.key,
                    accepted: Some(entry.accepted.into()),
                    revision: entry.revision,
                    deleted: entry.size.is_none(),
                    size: entry.size.unwrap_or(0),
                })
                .collect(),
            complete,
            floor: floor_to_wire(floor),
        }),
    };
    proto::ReplicaReply {
        position: None,
        message: Some(message),
    }
}

/// An answer that arrived.
///
/// # Errors
/// [`Malformed`].
pub fn reply_from_wire(reply: proto::ReplicaReply) -> Result<Reply, Malformed> {
    use proto::replica_reply::Message;
    match reply.message.ok_or(Malformed("no message"))? {
        Message::Holds(holds) => Ok(Reply::Holds {
            accepted: checked_ballot(holds.accepted)?,
            state: register_from_wire(&holds.state)?,
            condemned: holds.condemned,
            revision_floor: checked_floor(holds.revision_floor)?,
            floor: holds.floor.map_or(Ballot::ZERO, Ballot::from),
        }),
        Message::Condemned(_) => Ok(Reply::Condemned),
        Message::Removed(_) => Ok(Reply::Removed),
        Message::Fenced(fenced) => Ok(Reply::Fenced {
            floor: checked_ballot(fenced.floor)?,
            revision_floor: checked_floor(fenced.revision_floor)?,
        }),
        Message::Installed(_) => Ok(Reply::Installed),
        Message::FloorsRaised(_) => Ok(Reply::FloorsRaised),
        Message::Accepted(accepted) => Ok(Reply::Accepted {
            promised: accepted.promised,
        }),
        Message::Refused(standing) => Ok(Reply::Refused {
            standing: standing.into(),
        }),
        Message::ClockTooFar(clock) => Ok(Reply::ClockTooFar {
            clock: Clock(clock),
        }),
        Message::WrongEpoch(epoch) => Ok(Reply::WrongEpoch { epoch }),
        Message::Scanned(scanned) => {
            let mut entries = Vec::new();
            for entry in scanned.entries {
                entries.push(ScanEntry {
                    key: checked_key(entry.key)?,
                    accepted: checked_ballot(entry.accepted)?,
                    revision: entry.revision,
                    size: (!entry.deleted).then_some(entry.size),
                });
            }
            if entries.windows(2).any(|pair| pair[0].key >= pair[1].key) {
                return Err(Malformed("keys out of order"));
            }
            Ok(Reply::Scanned {
                entries,
                complete: scanned.complete,
                floor: scanned.floor.map_or(Ballot::ZERO, Ballot::from),
            })
        }
    }
}

/// A key of permitted length.
///
/// # Errors
/// [`Malformed`].
pub fn checked_key(key: Bytes) -> Result<Bytes, Malformed> {
    if key.is_empty() || key.len() > KEY_LENGTH_MAX {
        return Err(Malformed("a key has 1 to 4096 bytes"));
    }
    // A body is one allocation that all its fields share; a key that is kept must
    // not keep the value that came with it.
    Ok(Bytes::copy_from_slice(&key))
}

fn checked_ballot(ballot: Option<proto::Ballot>) -> Result<Ballot, Malformed> {
    ballot.map(Ballot::from).ok_or(Malformed("no ballot"))
}

/// Most that a key's revision may be, as a member tells it. Revisions count changes one
/// by one; a higher one would leave no room for those that follow it in the log.
const REVISION_MAX: u64 = 1 << 63;
/// Most that a floor may be which a member tells: whatever goes on above it still counts
/// as a revision of its own.
const REVISION_FLOOR_MAX: u64 = 1 << 62;

fn checked_floor(revision: u64) -> Result<u64, Malformed> {
    if revision > REVISION_FLOOR_MAX {
        return Err(Malformed("a revision floor is too high"));
    }
    Ok(revision)
}

/// Most nodes never removed anything, or not for long.
fn floor_to_wire(floor: Ballot) -> Option<proto::Ballot> {
    (floor != Ballot::ZERO).then(|| floor.into())
}

fn register_to_wire(register: &Register) -> Bytes {
    let capacity = 32 + register.value.as_ref().map_or(0, Bytes::len) + register.window.len() * 41;
    let mut writer = Writer::with_capacity(capacity);
    write_register(&mut writer, register);
    writer.finish().into()
}

fn register_from_wire(bytes: &[u8]) -> Result<Register, Malformed> {
    let mut reader = Reader::new(bytes);
    let register = read_register(&mut reader)
        .and_then(|register| reader.finish().map(|()| register))
        .map_err(|_| Malformed("a register does not decode"))?;
    if register.revision > REVISION_MAX {
        return Err(Malformed("a revision is too high"));
    }
    Ok(register)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ballot() -> Ballot {
        Ballot {
            epoch: 1,
            clock: Clock(2),
            proposer: Proposer { node: 3, start: 4 },
        }
    }

    fn register() -> Register {
        Register {
            value: Some(Bytes::from_static(b"v")),
            revision: 7,
            ..Register::default()
        }
    }

    #[test]
    fn requests_and_replies_survive_the_wire() {
        let key = Bytes::from_static(b"k");
        let requests = [
            Request::Prepare {
                key: key.clone(),
                ballot: ballot(),
            },
            Request::Accept {
                key: key.clone(),
                ballot: ballot(),
                state: register(),
                next: Some(ballot()),
                epoch: 2,
            },
            Request::Accept {
                key: key.clone(),
                ballot: ballot(),
                state: register(),
                next: None,
                epoch: 2,
            },
            Request::Read {
                key: key.clone(),
                epoch: 1,
            },
            Request::Condemn {
                key: key.clone(),
                ballot: ballot(),
                epoch: 2,
            },
            Request::Fence { epoch: 2 },
            Request::Install {
                key: key.clone(),
                ballot: ballot(),
                state: register(),
                epoch: 2,
            },
            Request::RaiseFloors {
                floor: ballot(),
                revision_floor: 9,
                epoch: 2,
            },
            Request::Remove {
                key: key.clone(),
                ballot: ballot(),
                revision: 3,
                epoch: 2,
            },
            Request::Scan {
                prefix: key.clone(),
                after: Bytes::new(),
                limit: 10,
                epoch: 1,
            },
        ];
        for request in requests {
            assert_eq!(
                request_from_wire(request_to_wire(request.clone())),
                Ok(request)
            );
        }
        let entry = |size| ScanEntry {
            key: if size == Some(0) {
                key.clone()
            } else {
                Bytes::from_static(b"l")
            },
            accepted: ballot(),
            revision: 1,
            size,
        };
        let replies = [
            Reply::Holds {
                accepted: ballot(),
                state: register(),
                condemned: true,
                revision_floor: 8,
                floor: ballot(),
            },
            Reply::Condemned,
            Reply::Removed,
            Reply::Fenced {
                floor: ballot(),
                revision_floor: 4,
            },
            Reply::Installed,
            Reply::FloorsRaised,
            Reply::Accepted { promised: true },
            Reply::Accepted { promised: false },
            Reply::Refused { standing: ballot() },
            Reply::ClockTooFar { clock: Clock(9) },
            Reply::WrongEpoch { epoch: 2 },
            Reply::Scanned {
                entries: vec![entry(Some(0)), entry(None)],
                complete: true,
                floor: Ballot::ZERO,
            },
        ];
        for reply in replies {
            assert_eq!(reply_from_wire(reply_to_wire(reply.clone())), Ok(reply));
        }
    }

    #[test]
    fn malformed_messages_are_refused() {
        use proto::replica_request::Message;
        let read = |key: Bytes| proto::ReplicaRequest {
            message: Some(Message::Read(proto::Read { key, epoch: 1 })),
        };
        let accept = |state: &'static [u8], ballot| proto::ReplicaRequest {
            message: Some(Message::Accept(proto::Accept {
                key: Bytes::from_static(b"k"),
                ballot,
                state: Bytes::from_static(state),
                next: None,
                epoch: 1,
            })),
        };
        let some = Some(proto::Ballot::from(ballot()));
        let cases = [
            proto::ReplicaRequest { message: None },
            read(Bytes::new()),
            read(Bytes::from(vec![0; KEY_LENGTH_MAX + 1])),
            accept(b"", some),
            accept(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], some),
            accept(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], None),
        ];
        for case in cases {
            assert!(request_from_wire(case.clone()).is_err(), "{case:?}");
        }
    }

    #[test]
    fn revisions_that_leave_no_room_are_refused() {
        let remove = |revision| proto::ReplicaRequest {
            message: Some(proto::replica_request::Message::Remove(proto::Remove {
                key: Bytes::from_static(b"k"),
                ballot: Some(ballot().into()),
                revision,
                epoch: 1,
            })),
        };
        assert!(request_from_wire(remove(REVISION_FLOOR_MAX)).is_ok());
        for revision in [REVISION_FLOOR_MAX + 1, u64::MAX - 1, u64::MAX] {
            assert!(request_from_wire(remove(revision)).is_err(), "{revision}");
        }
        let holds = |revision, revision_floor| {
            reply_to_wire(Reply::Holds {
                accepted: ballot(),
                state: Register {
                    revision,
                    ..register()
                },
                condemned: false,
                revision_floor,
                floor: Ballot::ZERO,
            })
        };
        assert!(reply_from_wire(holds(REVISION_MAX, REVISION_FLOOR_MAX)).is_ok());
        assert!(reply_from_wire(holds(REVISION_MAX + 1, 0)).is_err());
        assert!(reply_from_wire(holds(0, REVISION_FLOOR_MAX + 1)).is_err());
    }

    #[test]
    fn a_scan_out_of_order_is_refused() {
        let entry = |key: &'static [u8]| proto::ScanEntry {
            key: Bytes::from_static(key),
            accepted: Some(ballot().into()),
            revision: 1,
            deleted: false,
            size: 1,
        };
        let reply = proto::ReplicaReply {
            position: None,
            message: Some(proto::replica_reply::Message::Scanned(proto::Scanned {
                entries: vec![entry(b"b"), entry(b"a")],
                complete: true,
                floor: None,
            })),
        };
        assert!(reply_from_wire(reply).is_err());
    }
}
