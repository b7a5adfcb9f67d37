//! What of a log is believed, as a value.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use sealmoot_rpc::binding::RecordError;
use sealmoot_rpc::binding::record::Claim;

use super::frame::{self, Stretch};
use crate::book::{Book, PublishError};
use crate::policy::Policy;

/// What was found when a directory was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Recovery {
    /// Names whose newest record was read back, expired ones included.
    pub names: usize,
    /// What was not, in the order of the log.
    pub faults: Vec<Fault>,
    /// Where the log is kept that had damage in it.
    pub kept_aside: Option<PathBuf>,
}

/// A stretch of a log that gave no record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The last write did not come to its end, and was never acknowledged.
    Torn {
        /// Where it begins.
        offset: usize,
        /// How long it is.
        length: usize,
    },
    /// Bytes that are no frame. What was acknowledged may be lost with them, and an
    /// older record of its name may have come in its place.
    Damaged {
        /// Where they begin.
        offset: usize,
        /// How many.
        length: usize,
    },
    /// A record that is whole and not believed: the policy has changed, or somebody
    /// wrote it who may not.
    NotBelieved {
        /// Where its frame begins.
        offset: usize,
        /// Why not.
        error: RecordError,
    },
    /// A record that has no place.
    NotTaken {
        /// Where its frame begins.
        offset: usize,
        /// Why not.
        error: PublishError,
    },
}

impl Recovery {
    /// Whether anything is missing that may have been acknowledged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.faults
            .iter()
            .any(|fault| !matches!(fault, Fault::Torn { .. }))
    }

    pub(crate) fn torn_at(&self) -> Option<usize> {
        match self.faults.last()? {
            Fault::Torn { offset, .. } => Some(*offset),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn { offset, length } => {
                write!(formatter, "offset {offset}: {length} bytes of a torn write")
            }
            Self::Damaged { offset, length } => {
                write!(formatter, "offset {offset}: {length} damaged bytes")
            }
            Self::NotBelieved { offset, error } => write!(formatter, "offset {offset}: {error}"),
            Self::NotTaken { offset, error } => write!(formatter, "offset {offset}: {error}"),
        }
    }
}

/// Reads a log back. From its end: what a newer record has replaced need not be
/// verified.
#[doc(hidden)]
pub fn recover(log: &[u8], policy: &Policy) -> (Book, Recovery) {
    let mut book = Book::new();
    let mut newest = std::collections::BTreeMap::new();
    let mut faults = Vec::new();
    for stretch in frame::read(log).into_iter().rev() {
        let (offset, bytes) = match stretch {
            Stretch::Record { offset, bytes } => (offset, bytes),
            Stretch::Damaged { offset, length } => {
                faults.push(Fault::Damaged { offset, length });
                continue;
            }
            Stretch::Torn { offset, length } => {
                faults.push(Fault::Torn { offset, length });
                continue;
            }
        };
        let claim = match Claim::decode(bytes) {
            Ok(claim) => claim,
            Err(error) => {
                faults.push(Fault::NotBelieved { offset, error });
                continue;
            }
        };
        let claimed = claim.claimed();
        let (name, serial) = (claimed.name.clone(), claimed.serial);
        if newest.get(&name).is_some_and(|newest| *newest >= serial) {
            continue;
        }
        let record = match claim.believe_signer(policy.signers(&name)) {
            Ok(record) => Arc::new(record),
            Err(error) => {
                faults.push(Fault::NotBelieved { offset, error });
                continue;
            }
        };
        match book.restore(record) {
            Ok(_) => {
                newest.insert(name, serial);
            }
            Err(error) => faults.push(Fault::NotTaken { offset, error }),
        }
    }
    faults.reverse();
    let recovery = Recovery {
        names: book.len(),
        faults,
        kept_aside: None,
    };
    (book, recovery)
}
