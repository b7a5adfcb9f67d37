//! One key's state and what operations make of it, as pure functions.
//!
//! A register holds a value or none, a revision that rises with every change and
//! never repeats, and the *operation window*: what became of recent writes, so
//! that a retry finds its outcome and does not act a second time.

mod window;

use bytes::Bytes;

use crate::ballot::Ballot;
use crate::clock::Clock;
use crate::mutant::{Mutant, active};

pub use window::{Entry, OperationId, Outcome, WINDOW_ENTRIES_MAX, Window};

/// Longest key in bytes.
pub const KEY_LENGTH_MAX: usize = 4 * 1024;
/// Longest value in bytes.
pub const VALUE_LENGTH_MAX: usize = 1024 * 1024;

/// The state of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Register {
    /// The value; none when the key was never written or is deleted.
    pub value: Option<Bytes>,
    /// How many changes there were.
    pub revision: u64,
    /// What became of recent writes.
    pub window: Window,
}

impl Register {
    /// The revision that clients see: 0 for a key that does not exist.
    #[must_use]
    pub fn visible_revision(&self) -> u64 {
        if self.value.is_some() {
            self.revision
        } else {
            0
        }
    }
}

/// What a cas expects to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// The key does not exist.
    Absent,
    /// The key is at this revision.
    Revision(u64),
    /// The key has this value.
    Value(Bytes),
}

/// What a write does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets the value.
    Put(Bytes),
    /// Removes the value.
    Delete,
    /// Sets the value if the expectation holds.
    CompareAndSet(Expectation, Bytes),
}

/// A write as a client asked for it, the same at every retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Which one it is.
    pub id: OperationId,
    /// After this it is never applied any more.
    pub deadline: Clock,
    /// What it does.
    pub change: Change,
}

/// What an operation makes of a state, under a ballot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// A new state to be accepted; then this outcome is true.
    Changed(Register, Outcome),
    /// Nothing changes: a repeated operation, a failed expectation, a deletion of
    /// nothing. The outcome is true once the *old* state is known to be chosen.
    Unchanged(Outcome),
    /// The ballot is past the deadline and the outcome is not in the window.
    Expired,
    /// A later write of the same client was applied before: this one never will.
    Superseded,
    /// The window is full of entries that may still be asked for.
    WindowFull,
}

impl Register {
    /// Applies `operation` under `ballot`.
    #[must_use]
    pub fn apply(&self, operation: &Operation, ballot: Ballot) -> Applied {
        let remembers = !active(Mutant::NoOperationWindow);
        if let Some(entry) = self.window.entry_of(&operation.id.client)
            && remembers
        {
            if entry.sequence == operation.id.sequence {
                return Applied::Unchanged(entry.outcome);
            }
            if entry.sequence > operation.id.sequence {
                return Applied::Superseded;
            }
        }
        if ballot.clock > operation.deadline && !active(Mutant::WindowIgnoresDeadlines) {
            return Applied::Expired;
        }
        let outcome = match self.evaluate(&operation.change) {
            Ok(outcome) => outcome,
            Err(unchanged) => return Applied::Unchanged(unchanged),
        };
        let mut window = self.window.clone();
        window.evict_before(ballot.clock);
        let recorded = window.record(Entry {
            client: operation.id.client,
            sequence: operation.id.sequence,
            outcome,
            deadline: operation.deadline,
        });
        if !recorded {
            return Applied::WindowFull;
        }
        let value = match &operation.change {
            Change::Put(value) | Change::CompareAndSet(_, value) => Some(value.clone()),
            Change::Delete => None,
        };
        let changed = Self {
            value,
            revision: self.revision + 1,
            window,
        };
        Applied::Changed(changed, outcome)
    }

    /// The same state, which remembers that `operation` had this outcome and changed
    /// nothing; `None` when the window is full.
    ///
    /// A retry that is told "conflict" or "nothing to delete" ends the operation. An
    /// earlier attempt at another node may not know that, and would find the
    /// expectation true later.
    #[must_use]
    pub fn settle(&self, operation: &Operation, outcome: Outcome, ballot: Ballot) -> Option<Self> {
        let known = self.window.entry_of(&operation.id.client);
        if known.is_some_and(|entry| entry.sequence >= operation.id.sequence) {
            return Some(self.clone());
        }
        let mut window = self.window.clone();
        window.evict_before(ballot.clock);
        let recorded = window.record(Entry {
            client: operation.id.client,
            sequence: operation.id.sequence,
            outcome,
            deadline: operation.deadline,
        });
        recorded.then(|| Self {
            window,
            ..self.clone()
        })
    }

    /// The outcome of a change: `Ok` when the state changes, `Err` when it stays.
    fn evaluate(&self, change: &Change) -> Result<Outcome, Outcome> {
        let revision = self.revision + 1;
        match change {
            Change::Put(_) => Ok(Outcome::Written { revision }),
            Change::Delete if self.value.is_some() => Ok(Outcome::Deleted { revision }),
            Change::Delete => Err(Outcome::NothingToDelete),
            Change::CompareAndSet(expectation, _) => {
                let holds = match expectation {
                    Expectation::Absent => self.value.is_none(),
                    Expectation::Revision(expected) => self.visible_revision() == *expected,
                    Expectation::Value(expected) => self.value.as_ref() == Some(expected),
                };
                if holds {
                    Ok(Outcome::Written { revision })
                } else {
                    Err(Outcome::Conflict {
                        revision: self.visible_revision(),
                    })
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: [u8; 16] = [1; 16];

    fn operation(sequence: u64, change: Change) -> Operation {
        Operation {
            id: OperationId {
                client: CLIENT,
                sequence,
            },
            deadline: Clock(100),
            change,
        }
    }

    fn put(sequence: u64, value: &'static str) -> Operation {
        operation(sequence, Change::Put(Bytes::from_static(value.as_bytes())))
    }

    fn at(clock: u64) -> Ballot {
        Ballot {
            clock: Clock(clock),
            ..Ballot::ZERO
        }
    }

    fn changed(register: &Register, operation: &Operation, clock: u64) -> Register {
        match register.apply(operation, at(clock)) {
            Applied::Changed(register, _) => register,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn revisions_rise_through_deletion() {
        let register = changed(&Register::default(), &put(1, "a"), 1);
        let register = changed(&register, &operation(2, Change::Delete), 2);
        assert_eq!((register.revision, register.visible_revision()), (2, 0));
        let register = changed(&register, &put(3, "b"), 3);
        assert_eq!((register.revision, register.visible_revision()), (3, 3));
    }

    #[test]
    fn a_repeated_operation_finds_its_outcome_even_past_its_deadline() {
        let register = changed(&Register::default(), &put(1, "a"), 1);
        for clock in [2, 1000] {
            assert_eq!(
                register.apply(&put(1, "a"), at(clock)),
                Applied::Unchanged(Outcome::Written { revision: 1 })
            );
        }
    }

    #[test]
    fn an_operation_past_its_deadline_is_not_applied() {
        assert_eq!(
            Register::default().apply(&put(1, "a"), at(101)),
            Applied::Expired
        );
        let register = changed(&Register::default(), &put(1, "a"), 100);
        assert_eq!(register.apply(&put(2, "b"), at(101)), Applied::Expired);
    }

    #[test]
    fn an_earlier_write_of_the_same_client_comes_too_late() {
        let register = changed(&Register::default(), &put(2, "b"), 1);
        assert_eq!(register.apply(&put(1, "a"), at(2)), Applied::Superseded);
    }

    #[test]
    fn expectations_are_absence_revision_and_value() {
        let value = Bytes::from_static(b"v");
        let empty = Register::default();
        let full = changed(&empty, &put(1, "v"), 1);
        let cas = |expectation| {
            operation(
                9,
                Change::CompareAndSet(expectation, Bytes::from_static(b"n")),
            )
        };
        let cases = [
            (&empty, Expectation::Absent, true),
            (&full, Expectation::Absent, false),
            (&empty, Expectation::Revision(0), true),
            (&full, Expectation::Revision(1), true),
            (&full, Expectation::Revision(2), false),
            (&full, Expectation::Value(value.clone()), true),
            (&full, Expectation::Value(Bytes::new()), false),
            (&empty, Expectation::Value(value), false),
        ];
        for (register, expectation, holds) in cases {
            let applied = register.apply(&cas(expectation.clone()), at(5));
            match applied {
                Applied::Changed(_, Outcome::Written { revision }) => {
                    assert!(holds, "{expectation:?}");
                    assert_eq!(revision, register.revision + 1);
                }
                Applied::Unchanged(Outcome::Conflict { revision }) => {
                    assert!(!holds, "{expectation:?}");
                    assert_eq!(revision, register.visible_revision());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn deleting_nothing_changes_nothing() {
        assert_eq!(
            Register::default().apply(&operation(1, Change::Delete), at(1)),
            Applied::Unchanged(Outcome::NothingToDelete)
        );
    }

    #[test]
    fn a_full_window_refuses_until_deadlines_pass() {
        let mut register = Register::default();
        for client in 0..WINDOW_ENTRIES_MAX {
            let mut operation = put(1, "x");
            operation.id.client = (client as u128).to_le_bytes();
            operation.deadline = Clock(if client == 0 { 50 } else { 1000 });
            register = changed(&register, &operation, 1);
        }
        let mut late = put(1, "y");
        late.id.client = [0xff; 16];
        assert_eq!(register.apply(&late, at(50)), Applied::WindowFull);
        assert_eq!(
            changed(&register, &late, 51).window.len(),
            WINDOW_ENTRIES_MAX
        );
    }
}
