//! What clients asked and what they were told, in the order in which it happened.

use std::fmt;

/// A value of a history: every write has one of its own, so that a value tells who
/// wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub u64);

/// What a conditional write expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The key does not exist.
    Absent,
    /// The key is at this revision; 0 for a key that does not exist.
    Revision(u64),
    /// The key has this value.
    Value(Value),
}

/// How much a read promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadLevel {
    /// Judged with the writes.
    Linearizable,
    /// Sees every write that was acknowledged before, and may step back.
    Quorum,
    /// Something that some operation wrote.
    One,
}

/// What a client asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Sets the value.
    Put(Value),
    /// Removes the value.
    Delete,
    /// Sets the value if the expectation holds.
    CompareAndSet(Expected, Value),
    /// Reads.
    Get(ReadLevel),
}

/// What a client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// The value was set, which made this revision.
    Written {
        /// The new revision.
        revision: u64,
    },
    /// The value was removed, which made this revision.
    Deleted {
        /// The new revision.
        revision: u64,
    },
    /// There was nothing to remove.
    NothingToDelete,
    /// The expectation did not hold; the key was at this revision, 0 for none.
    Conflict {
        /// The revision found.
        revision: u64,
    },
    /// To a read.
    Got {
        /// The value, if there is one.
        value: Option<Value>,
        /// Its revision, 0 for none.
        revision: u64,
    },
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, at this instant.
    Ok(Response, u64),
    /// It had no effect and never will.
    Failed,
    /// It may have taken effect once, may still at any time, or never will. Also
    /// the outcome of what has not ended yet.
    Unknown,
}

/// One operation of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Which client.
    pub client: u32,
    /// Which key, by index.
    pub key: usize,
    /// What was asked.
    pub action: Action,
    /// When; instants only order.
    pub invoked: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// All operations, in the order of their invocations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    operations: Vec<Operation>,
    instant: u64,
}

impl History {
    /// Records that `client` asks for `action` now; returns the operation's number.
    pub fn invoke(&mut self, client: u32, key: usize, action: Action) -> usize {
        self.instant += 1;
        self.operations.push(Operation {
            client,
            key,
            action,
            invoked: self.instant,
            outcome: Outcome::Unknown,
        });
        self.operations.len() - 1
    }

    /// Records that the operation is answered now.
    pub fn respond(&mut self, number: usize, response: Response) {
        self.instant += 1;
        self.operations[number].outcome = Outcome::Ok(response, self.instant);
    }

    /// Records that the operation certainly has no effect.
    pub fn fail(&mut self, number: usize) {
        self.operations[number].outcome = Outcome::Failed;
    }

    /// The operations, in the order of their invocations.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "client {:<3} key {}  {:<44} ",
            self.client,
            self.key,
            self.action.to_string()
        )?;
        match self.outcome {
            Outcome::Ok(response, returned) => {
                write!(formatter, "[{}, {returned}] {response}", self.invoked)
            }
            Outcome::Failed => write!(formatter, "[{}] failed", self.invoked),
            Outcome::Unknown => write!(formatter, "[{}, ...] unknown", self.invoked),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(value) => write!(formatter, "put {}", value.0),
            Self::Delete => write!(formatter, "delete"),
            Self::CompareAndSet(expected, value) => {
                write!(formatter, "set {} if {expected}", value.0)
            }
            Self::Get(level) => write!(formatter, "get ({level:?})"),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => write!(formatter, "absent"),
            Self::Revision(revision) => write!(formatter, "at revision {revision}"),
            Self::Value(value) => write!(formatter, "equal to {}", value.0),
        }
    }
}

impl fmt::Display for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written { revision } => write!(formatter, "written, revision {revision}"),
            Self::Deleted { revision } => write!(formatter, "deleted, revision {revision}"),
            Self::NothingToDelete => write!(formatter, "nothing to delete"),
            Self::Conflict { revision } => write!(formatter, "conflict at revision {revision}"),
            Self::Got {
                value: Some(value),
                revision,
            } => write!(formatter, "{} at revision {revision}", value.0),
            Self::Got { value: None, .. } => write!(formatter, "absent"),
        }
    }
}
