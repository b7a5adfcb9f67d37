//! Between the messages of the protocol and those of the wire. Whatever comes
//! from a peer is checked here, once.

use bytes::Bytes;
use sealmoot_crypto::encoding::{Reader, Writer};

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

/// A request as it travels.
#[must_use]
pub fn request_to_wire(request: Request) -> proto::ReplicaRequest {
    use proto::replica_request::Message;
    let message = match request {
        Request::Prepare { key, ballot } => Message::Prepare(proto::Prepare {
            key,
            ballot: Some(ballot.into()),
        }),
        Request::Accept { key, ballot, state } => Message::Accept(proto::Accept {
            key,
            ballot: Some(ballot.into()),
            state: register_to_wire(&state),
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
        Reply::Holds { accepted, state } => Message::Holds(proto::Holds {
            accepted: Some(accepted.into()),
            state: register_to_wire(&state),
        }),
        Reply::Accepted => Message::Accepted(proto::Accepted {}),
        Reply::Refused { standing } => Message::Refused(standing.into()),
        Reply::ClockTooFar { clock } => Message::ClockTooFar(clock.0),
        Reply::WrongEpoch { epoch } => Message::WrongEpoch(epoch),
        Reply::Scanned { entries, complete } => Message::Scanned(proto::Scanned {
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
        }),
    };
    proto::ReplicaReply {
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
        }),
        Message::Accepted(_) => Ok(Reply::Accepted),
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

fn register_to_wire(register: &Register) -> Bytes {
    let capacity = 32 + register.value.as_ref().map_or(0, Bytes::len) + register.window.len() * 41;
    let mut writer = Writer::with_capacity(capacity);
    write_register(&mut writer, register);
    writer.finish().into()
}

fn register_from_wire(bytes: &[u8]) -> Result<Register, Malformed> {
    let mut reader = Reader::new(bytes);
    read_register(&mut reader)
        .and_then(|register| reader.finish().map(|()| register))
        .map_err(|_| Malformed("a register does not decode"))
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
            },
            Request::Read {
                key: key.clone(),
                epoch: 1,
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
            },
            Reply::Accepted,
            Reply::Refused { standing: ballot() },
            Reply::ClockTooFar { clock: Clock(9) },
            Reply::WrongEpoch { epoch: 2 },
            Reply::Scanned {
                entries: vec![entry(Some(0)), entry(None)],
                complete: true,
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
    fn a_scan_out_of_order_is_refused() {
        let entry = |key: &'static [u8]| proto::ScanEntry {
            key: Bytes::from_static(key),
            accepted: Some(ballot().into()),
            revision: 1,
            deleted: false,
            size: 1,
        };
        let reply = proto::ReplicaReply {
            message: Some(proto::replica_reply::Message::Scanned(proto::Scanned {
                entries: vec![entry(b"b"), entry(b"a")],
                complete: true,
            })),
        };
        assert!(reply_from_wire(reply).is_err());
    }
}
