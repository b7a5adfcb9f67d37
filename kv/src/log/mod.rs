//! The store's log: encrypted, hash-chained, append-only, synced in groups.
//!
//! Whoever holds the files but not the key learns sizes and times. Whoever
//! changes, cuts, swaps or replays any byte of them is noticed: by
//! [`Log::open`], which refuses, and by [`verify()`], which names every place. What
//! no log can notice by itself is that it was put back to an earlier state as a
//! whole; peers remember its [`LogPosition`] for that.
//!
//! What was acknowledged is on the medium: [`Durable`] is made by a completed
//! sync and by nothing else, and after a failed write or sync the log refuses
//! everything.
//!
//! Deliberately absent: what records mean (they are opaque bytes), clocks,
//! retries, and appending to a segment that an earlier process began.
//!
//! Formats and the reasons for them: `kv/DESIGN.md`. From the outside in:
//! `commit` and `writer` append; `open` creates and recovers; `verify` examines;
//! `walk`, `history` and `tail` judge what is on disk; `segment` and `spare`
//! write it; `body`, `layout` and `key` are the format.

mod body;
mod commit;
mod damage;
mod files;
mod history;
mod key;
mod layout;
mod open;
mod options;
mod position;
pub mod sealed_file;
mod segment;
mod segments;
mod spare;
mod tail;
mod verify;
mod walk;
mod writer;

#[cfg(test)]
mod tests;

pub use commit::{CommitError, Log};
pub use damage::{Damage, DamageKind};
pub use key::LogKey;
pub use layout::{
    GROUP_BYTES_MAX, RECORD_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_NUMBER_MAX,
    SEGMENT_PREFIX, SPARE_NAME,
};
pub use open::{CreateError, OnRecord, OpenError, exists};
pub use options::{LogOptions, SegmentSizeError};
pub use position::{Chain, Durable, LogBase, LogId, LogPosition};
pub use segment::AppendError;
pub use segments::Segments;
pub use verify::{Report, Unfinished, VerifyError, looks_sealed_with, verify, verify_behind};
pub use writer::{AppendRefused, CloseError, LogWriter, QUEUED_BYTES_MAX, QUEUED_RECORD_OVERHEAD};
