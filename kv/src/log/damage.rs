//! What can be wrong with the bytes of a log, and where.

use std::io;

/// One damaged place of one file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, {length} bytes at offset {offset}: {what}")]
pub struct Damage {
    /// The file's name.
    pub file: String,
    /// Where the damage starts, in bytes.
    pub offset: u64,
    /// How many bytes are unusable because of it.
    pub length: u64,
    /// What is wrong.
    pub what: DamageKind,
}

/// What is wrong with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DamageKind {
    /// The file is not there, although later ones are.
    #[error("the segment is missing")]
    Missing,
    /// The name begins like a segment's and is none.
    #[error("no segment has such a name")]
    UnknownFile,
    /// The file is shorter or longer than it was made.
    #[error("the file should have {expected} bytes")]
    WrongSize {
        /// Its length as authenticated elsewhere, or the nearest limit.
        expected: u64,
    },
    /// A group should start here.
    #[error("no group of this log starts here")]
    NoGroup,
    /// A group starts here and does not open.
    #[error("the group was altered, or sealed under another key")]
    Unauthentic,
    /// The group reaches beyond the end of the file or into its last sector.
    #[error("the group is longer than the file allows")]
    BeyondEnd,
    /// The group is authentic, and what it says is not what a log writes.
    #[error("the group is authentic and its content invalid")]
    Malformed,
    /// The group is authentic, and continues another history than this one.
    #[error("the group belongs to another log or to another time")]
    OtherHistory,
    /// Something stands where nothing was ever written.
    #[error("unwritten space is not zero")]
    NotZero,
    /// A group was lost although a later one, which is written only after it was
    /// synced, is there.
    #[error("a group is gone although a later one is there")]
    LostGroup,
    /// A segment that has a successor has no closing group.
    #[error("the segment ends without a closing group")]
    Unclosed,
    /// The medium does not return the bytes.
    #[error("the file cannot be read ({0})")]
    Unreadable(io::ErrorKind),
}
