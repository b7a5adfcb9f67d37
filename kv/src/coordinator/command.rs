//! What clients ask and what they are told.

use bytes::Bytes;

use super::round::MemberReport;
use crate::clock::Clock;
use crate::register::{Operation, Outcome, Register};

/// How much a read promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// It sees every write that was acknowledged before it began, and no later
    /// read sees less.
    #[default]
    Linearizable,
    /// It sees every write that was acknowledged before it began, but two reads
    /// in a row may step back in time, and a write may be seen that never happens.
    Quorum,
    /// What one member holds, however old.
    One,
}

/// A client's request.
#[derive(Debug, Clone)]
pub enum Command {
    /// Change a key.
    Write {
        /// The key.
        key: Bytes,
        /// The operation.
        operation: Operation,
        /// Whether no earlier attempt of it can have been proposed anywhere.
        fresh: bool,
    },
    /// Read a key.
    Read {
        /// The key.
        key: Bytes,
        /// How much the read promises.
        level: Level,
    },
    /// Have P of the old and of the new members promise a ballot, and W of the new ones
    /// accept the highest state under it; a step of a change of members.
    Settle {
        /// The key.
        key: Bytes,
    },
    /// Forget a key that was deleted long ago; the node's own affair.
    Forget {
        /// The key.
        key: Bytes,
    },
    /// List keys.
    List {
        /// With what they begin.
        prefix: Bytes,
        /// After which key; empty for the first.
        after: Bytes,
        /// How many at most.
        limit: usize,
        /// How much the list promises, key by key.
        level: Level,
    },
}

/// What a request that ended well says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To a write.
    Written {
        /// What became of it.
        outcome: Outcome,
        /// How many members hold it, so far.
        acks: usize,
    },
    /// To `Settle`.
    Settled,
    /// To `Forget`: whether the key is gone everywhere; else it was too early, or
    /// somebody wrote it again.
    Forgotten(bool),
    /// To a read.
    Value(Register),
    /// To a list.
    Listed {
        /// In order of key.
        entries: Vec<ListEntry>,
        /// The key after which to go on; none at the end.
        next: Option<Bytes>,
    },
}

/// A key in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// The key.
    pub key: Bytes,
    /// Its revision.
    pub revision: u64,
    /// The length of its value.
    pub size: u64,
}

/// Why a request ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    /// Too few members could be asked; it had no effect.
    NoQuorum {
        /// How many answered.
        answered: usize,
        /// How many were needed.
        needed: usize,
    },
    /// The time ran out before anything was proposed; it had no effect.
    TimedOut,
    /// The operation's deadline is behind this coordinator's clock and nothing
    /// was proposed; with a new deadline it can be tried again.
    DeadlinePassed,
    /// Too much is going on; it was not begun.
    Busy,
    /// It was proposed and no quorum confirmed it in time: it may have happened
    /// once, or may still. A retry may find out.
    OutcomeUnknown,
    /// An earlier attempt may have been proposed, and whether it took effect can
    /// no longer be told: its deadline passed, or a later write of the same
    /// client was applied.
    OutcomeLost,
    /// The register of the key's namespace holds settings that this node cannot go
    /// by; nothing was begun.
    SettingsUnusable,
}

/// A request that ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub kind: FailureKind,
    /// The coordinator's clock, for new deadlines.
    pub clock: Clock,
    /// How each member took it, by index; empty when none was asked.
    pub nodes: Vec<MemberReport>,
}

impl Failure {
    /// A failure before any member was asked.
    #[must_use]
    pub fn new(kind: FailureKind, clock: Clock) -> Self {
        Self {
            kind,
            clock,
            nodes: Vec::new(),
        }
    }
}
