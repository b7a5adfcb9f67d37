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
        /// The proposer's next ballot for the key, to be promised along with it
        /// (REPLICATION rule 2); none in a repair.
        next: Option<Ballot>,
        /// The asker's epoch; a repair sends ballots of former ones.
        epoch: u64,
    },
    /// Mark this tombstone: all members hold it.
    Condemn {
        /// The key.
        key: Bytes,
        /// The ballot of the tombstone.
        ballot: Ballot,
        /// The asker's epoch.
        epoch: u64,
    },
    /// Remove this tombstone: all members have marked it.
    Remove {
        /// The key.
        key: Bytes,
        /// The ballot of the tombstone.
        ballot: Ballot,
        /// Its revision.
        revision: u64,
        /// The asker's epoch.
        epoch: u64,
    },
    /// Say whether you have durably left all epochs before this one, and what your
    /// floors are (REPLICATION rule 7).
    Fence {
        /// The asker's epoch.
        epoch: u64,
    },
    /// Hold this state of the old members, unless a higher ballot is held already.
    Install {
        /// The key.
        key: Bytes,
        /// The ballot under which the old members hold it.
        ballot: Ballot,
        /// The state.
        state: Register,
        /// The asker's epoch.
        epoch: u64,
    },
    /// Raise the floors to those of the old members.
    RaiseFloors {
        /// Every ballot below it is refused, for every key.
        floor: Ballot,
        /// A key without a record goes on above this revision.
        revision_floor: u64,
        /// The asker's epoch.
        epoch: u64,
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
        /// Whether it is a tombstone that all members hold and that is being removed.
        condemned: bool,
        /// The highest revision of any key that was removed here.
        revision_floor: u64,
        /// What was accepted at or below this ballot, for any key, may have been
        /// removed here.
        floor: Ballot,
    },
    /// To `Condemn`: marked, durably, or removed before.
    Condemned,
    /// To `Remove`: removed, durably, and the floors are raised.
    Removed,
    /// To `Fence`: durably in that epoch.
    Fenced {
        /// The highest ballot of any key that was removed here, or above.
        floor: Ballot,
        /// The highest revision of any key that was removed here.
        revision_floor: u64,
    },
    /// To `Install`: that ballot or a higher one is held, durably.
    Installed,
    /// To `RaiseFloors`: they are that high, durably.
    FloorsRaised,
    /// To `Accept`: held, durably.
    Accepted {
        /// Whether the next ballot was promised while this state was held.
        promised: bool,
    },
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
    /// To anything of another epoch, and of a replica that is no member in its own:
    /// whoever knows the lower one has to look into the directory.
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
        /// As in [`Reply::Holds`].
        floor: Ballot,
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
