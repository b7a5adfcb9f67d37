//! What coordinators ask replicas, and what those answer.

use bytes::Bytes;

use crate::ballot::Ballot;
use crate::clock::Clock;
use crate::register::Register;

/// Most entries in one answer to a scan.
pub const SCAN_ENTRIES_MAX: usize = 1000;
/// Most bytes of keys in one answer to a scan.
pub const SCAN_BYTES_MAX: usize = 512 * 1024;

/// What a coordinator asks of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Promise to accept nothing below `ballot` for `key`, and say what you hold.
    Prepare {
        /// The key.
        key: Bytes,
        /// The ballot.
        ballot: Ballot,
    },
    /// Hold this state.
    Accept {
        /// The key.
        key: Bytes,
        /// The ballot under which it was proposed.
        ballot: Ballot,
        /// The state.
        state: Register,
    },
    /// Say what you hold for `key`.
    Read {
        /// The key.
        key: Bytes,
        /// The asker's epoch.
        epoch: u64,
    },
    /// Say what you hold for the keys that begin with `prefix` and follow `after`.
    Scan {
        /// The prefix.
        prefix: Bytes,
        /// The key after which to begin; empty for the first.
        after: Bytes,
        /// How many entries at most.
        limit: usize,
        /// The asker's epoch.
        epoch: u64,
    },
}

/// What a replica answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To `Prepare`: promised; and to `Read`. What the replica holds, durably.
    Holds {
        /// The ballot of the state; zero for none.
        accepted: Ballot,
        /// The state.
        state: Register,
    },
    /// To `Accept`: held, durably.
    Accepted,
    /// To `Prepare` and `Accept`: `standing` is in the way.
    Refused {
        /// The ballot in the way.
        standing: Ballot,
    },
    /// To anything whose ballot is too far ahead of this replica's clocks.
    ClockTooFar {
        /// The replica's own clock.
        clock: Clock,
    },
    /// To anything of another epoch.
    WrongEpoch {
        /// The replica's epoch.
        epoch: u64,
    },
    /// To `Scan`.
    Scanned {
        /// In order of key, deleted ones included.
        entries: Vec<ScanEntry>,
        /// Whether there are no more.
        complete: bool,
    },
}

/// One key in an answer to a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanEntry {
    /// The key.
    pub key: Bytes,
    /// The ballot of its state.
    pub accepted: Ballot,
    /// Its revision.
    pub revision: u64,
    /// The length of its value; none when it is deleted.
    pub size: Option<u64>,
}
