//! What one side of a channel shows the other about its key.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use crate::name::NAME_LENGTH_MAX;
use crate::roots::{Inception, ROOTS_LENGTH_MAX};
use crate::statement::{REVOKED_NODES_MAX, STATEMENT_LENGTH_MAX};

// Version 1 did not tell which nodes were revoked, version 2 no roots.
const VERSION: u8 = 3;
/// Longest encoded roster in bytes.
pub(crate) const ROSTER_LENGTH_MAX: usize = 32 * 1024;
/// Longest record of revoked nodes in bytes; with the roster it fits a handshake.
const REVOKED_NODES_LENGTH_MAX: usize = 15 * 1024;
const _: () = assert!(
    256 + REVOKED_NODES_MAX * (32 + 4 + NAME_LENGTH_MAX + 8) <= REVOKED_NODES_LENGTH_MAX
        && ROSTER_LENGTH_MAX + REVOKED_NODES_LENGTH_MAX + ROOTS_LENGTH_MAX + 64 <= 64 * 1024
);

/// The statements that accompany a key. They travel as bytes and are believed by
/// whoever receives them only after verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presentation {
    /// Nothing: a client before it logs in.
    Anonymous,
    /// A node of a formed cluster: its roster, and whom of it nobody is to believe.
    Member {
        /// The encoded roster.
        roster: Vec<u8>,
        /// The record of the nodes that are believed no more; empty before the first.
        revoked_nodes: Vec<u8>,
        /// The record of the realm's roots; empty before the first handover.
        roots: Vec<u8>,
    },
    /// A node that answers a call.
    Candidate {
        /// What the realm began with.
        inception: Box<Inception>,
        /// The record of the realm's roots; empty before the first handover.
        roots: Vec<u8>,
        /// The call.
        call: Vec<u8>,
        /// The node's own enrolment.
        enrolment: Vec<u8>,
    },
    /// A client with a session.
    Session {
        /// The session statement.
        session: Vec<u8>,
        /// The receipt of a node.
        receipt: Vec<u8>,
    },
}

impl Presentation {
    /// The presentation's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        match self {
            Self::Anonymous => writer.u8(0),
            Self::Member {
                roster,
                revoked_nodes,
                roots,
            } => {
                writer.u8(1);
                writer.bytes(roster);
                writer.bytes(revoked_nodes);
                writer.bytes(roots);
            }
            Self::Candidate {
                inception,
                roots,
                call,
                enrolment,
            } => {
                writer.u8(2);
                inception.write(&mut writer);
                writer.bytes(roots);
                writer.bytes(call);
                writer.bytes(enrolment);
            }
            Self::Session { session, receipt } => {
                writer.u8(3);
                writer.bytes(session);
                writer.bytes(receipt);
            }
        }
        writer.finish()
    }

    /// Takes a presentation apart.
    ///
    /// # Errors
    /// [`EncodingError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "presentation version",
                value: u64::from(version),
            });
        }
        let presentation = match reader.u8()? {
            0 => Self::Anonymous,
            1 => Self::Member {
                roster: reader.bytes(ROSTER_LENGTH_MAX)?.to_vec(),
                revoked_nodes: reader.bytes(REVOKED_NODES_LENGTH_MAX)?.to_vec(),
                roots: reader.bytes(ROOTS_LENGTH_MAX)?.to_vec(),
            },
            2 => Self::Candidate {
                inception: Box::new(Inception::read(&mut reader)?),
                roots: reader.bytes(ROOTS_LENGTH_MAX)?.to_vec(),
                call: reader.bytes(STATEMENT_LENGTH_MAX)?.to_vec(),
                enrolment: reader.bytes(STATEMENT_LENGTH_MAX)?.to_vec(),
            },
            3 => Self::Session {
                session: reader.bytes(STATEMENT_LENGTH_MAX)?.to_vec(),
                receipt: reader.bytes(STATEMENT_LENGTH_MAX)?.to_vec(),
            },
            value => {
                return Err(EncodingError::Unknown {
                    what: "presentation",
                    value: u64::from(value),
                });
            }
        };
        reader.finish()?;
        Ok(presentation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmoot_crypto::signature::SigningKey;

    #[test]
    fn presentations_survive_their_bytes_and_no_truncation_does() {
        let presentations = [
            Presentation::Anonymous,
            Presentation::Member {
                roster: vec![1, 2, 3],
                revoked_nodes: vec![4],
                roots: vec![10],
            },
            Presentation::Candidate {
                inception: Box::new(Inception::without_heir(
                    SigningKey::generate().expect("random").verifying_key(),
                )),
                roots: vec![11],
                call: vec![4],
                enrolment: vec![5, 6],
            },
            Presentation::Session {
                session: vec![7],
                receipt: vec![8, 9],
            },
        ];
        for presentation in presentations {
            let bytes = presentation.encode();
            assert_eq!(Presentation::decode(&bytes), Ok(presentation));
            for length in 0..bytes.len() {
                assert!(Presentation::decode(&bytes[..length]).is_err());
            }
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(Presentation::decode(&longer).is_err());
        }
    }

    #[test]
    fn an_unknown_kind_or_version_is_refused() {
        assert!(Presentation::decode(&[VERSION, 9]).is_err());
        for version in [0, 1, 2, 4] {
            assert!(Presentation::decode(&[version, 0]).is_err());
        }
    }
}
