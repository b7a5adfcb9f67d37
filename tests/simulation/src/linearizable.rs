//! Whether a history is linearizable, key by key: is there one order of the
//! operations, compatible with which of them ended before which began, in which a
//! sequential register would have given these very answers?
//!
//! The search is that of Wing and Gong ("Testing and verifying concurrent objects",
//! JPDC 1993) with the memory of Lowe ("Testing for linearizability", CCPE 2017): it
//! takes any operation that no other one precedes, tries whether the state allows its
//! answer, goes on, and steps back; a set of operations and a state that failed once
//! are not tried again. Operations whose outcome is unknown precede nothing, and may
//! be left out. Keys are judged one by one, which is enough: linearizability is local
//! (Herlihy and Wing, TOPLAS 1990).
//!
//! Three shortcuts, which change no verdict. An operation that leaves the state as it is
//! and fits is taken at once: whatever may follow it may follow it now. Since no
//! revision repeats, an unknown write cannot have made a revision that another write
//! was told. And unknown writes of values that nobody mentions are all alike: of those
//! that ask for the same, one is tried.

mod explain;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use crate::history::{Action, Expected, History, Operation, Outcome, ReadLevel, Response, Value};
use crate::model::{Revisions, State};
use crate::random::mix;

/// Most operations of one key in one history.
pub const OPERATIONS_PER_KEY_MAX: usize = 64 * WORDS;
const WORDS: usize = 8;
/// Stands for any value that nobody asks about. Histories do not use it.
const NOBODY: Value = Value(u64::MAX);

/// A key's answers have no order that explains them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotLinearizable {
    /// The key, by index.
    pub key: usize,
    /// As few operations as were found to contradict each other. The outcome of some
    /// was made unknown, where the contradiction stands without their answer.
    pub operations: Vec<Operation>,
}

/// Judges every key of a history.
///
/// # Errors
/// [`NotLinearizable`], for the first key that is not.
///
/// # Panics
/// When a key has more than [`OPERATIONS_PER_KEY_MAX`] operations.
pub fn check(history: &History, revisions: Revisions) -> Result<(), NotLinearizable> {
    let keys = history.operations().iter().map(|operation| operation.key);
    for key in 0..=keys.max().unwrap_or(0) {
        let mut operations: Vec<Operation> = history
            .operations()
            .iter()
            .filter(|operation| operation.key == key && is_judged(operation))
            .copied()
            .collect();
        operations.sort_unstable_by_key(|operation| operation.invoked);
        if judge(&operations, revisions, u64::MAX) == Verdict::NotLinearizable {
            return Err(NotLinearizable {
                key,
                operations: explain::smallest(operations, revisions),
            });
        }
    }
    Ok(())
}

/// Whether an operation says or changes anything. A read without an answer does not.
fn is_judged(operation: &Operation) -> bool {
    match (operation.action, operation.outcome) {
        (_, Outcome::Failed) => false,
        (Action::Get(level), Outcome::Ok(..)) => level == ReadLevel::Linearizable,
        (Action::Get(_), Outcome::Unknown) => false,
        _ => true,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Linearizable,
    NotLinearizable,
    /// The search was longer than it was allowed to be.
    Undecided,
}

/// Judges the operations of one key, which are in order of invocation, in at most
/// `steps_max` steps.
fn judge(operations: &[Operation], revisions: Revisions, steps_max: u64) -> Verdict {
    assert!(
        operations.len() <= OPERATIONS_PER_KEY_MAX,
        "the plan bounds the operations of a history"
    );
    let mut told: Vec<u64> = operations.iter().filter_map(revision_made).collect();
    told.sort_unstable();
    if told.windows(2).any(|pair| pair[0] == pair[1]) {
        return Verdict::NotLinearizable;
    }
    let mut search = Search {
        operations: without_names(operations),
        revisions,
        told,
        failed: HashSet::default(),
        steps: steps_max,
    };
    if search.run(Taken::default(), State::initial(revisions)) {
        Verdict::Linearizable
    } else if search.steps == 0 {
        Verdict::Undecided
    } else {
        Verdict::NotLinearizable
    }
}

/// The same operations, where unknown writes of values that nothing else mentions all
/// write the same one.
fn without_names(operations: &[Operation]) -> Vec<Operation> {
    let mut mentioned: Vec<Value> = operations.iter().filter_map(mentions).collect();
    mentioned.extend(operations.iter().filter_map(|operation| {
        let Outcome::Ok(Response::Got { value, .. }, _) = operation.outcome else {
            return None;
        };
        value
    }));
    mentioned.sort_unstable();
    let mut operations = operations.to_vec();
    for operation in &mut operations {
        if operation.outcome != Outcome::Unknown {
            continue;
        }
        if let Action::Put(value) | Action::CompareAndSet(_, value) = &mut operation.action
            && mentioned.binary_search(value).is_err()
        {
            *value = NOBODY;
        }
    }
    operations
}

/// The value that a conditional write expects.
fn mentions(operation: &Operation) -> Option<Value> {
    match operation.action {
        Action::CompareAndSet(Expected::Value(value), _) => Some(value),
        _ => None,
    }
}

/// The revision that an answered operation made.
fn revision_made(operation: &Operation) -> Option<u64> {
    match operation.outcome {
        Outcome::Ok(Response::Written { revision } | Response::Deleted { revision }, _) => {
            Some(revision)
        }
        _ => None,
    }
}

struct Search {
    operations: Vec<Operation>,
    revisions: Revisions,
    /// Revisions that answered writes made, ascending.
    told: Vec<u64>,
    /// What led nowhere.
    failed: HashSet<(Taken, State), BuildHasherDefault<Mixing>>,
    /// How many steps are left.
    steps: u64,
}

impl Search {
    fn run(&mut self, mut taken: Taken, state: State) -> bool {
        if self.steps == 0 {
            return false;
        }
        self.steps -= 1;
        let mut candidates = Vec::new();
        loop {
            if self.collect_candidates(&taken, &mut candidates) {
                return true;
            }
            let mut quiet = false;
            for &at in &candidates {
                let operation = &self.operations[at];
                let Outcome::Ok(response, _) = operation.outcome else {
                    continue;
                };
                let after = state.after(operation.action, Some(response), self.revisions);
                if after == Some(state) {
                    taken.insert(at);
                    quiet = true;
                }
            }
            if !quiet {
                break;
            }
        }
        if self.failed.contains(&(taken, state)) {
            return false;
        }
        // Answered ones first: they decide soonest whether this leads anywhere.
        for answered in [true, false] {
            for (nth, &at) in candidates.iter().enumerate() {
                let operation = self.operations[at];
                let response = match operation.outcome {
                    Outcome::Ok(response, _) => Some(response),
                    Outcome::Failed | Outcome::Unknown => None,
                };
                if response.is_some() != answered {
                    continue;
                }
                if response.is_none() && self.has_alike(operation.action, &candidates[..nth]) {
                    continue;
                }
                let Some(after) = state.after(operation.action, response, self.revisions) else {
                    continue;
                };
                let useless = response.is_none() && after == state;
                if useless || (response.is_none() && self.is_taken_by_another(after)) {
                    continue;
                }
                let mut then = taken;
                then.insert(at);
                if self.run(then, after) {
                    return true;
                }
            }
        }
        self.failed.insert((taken, state));
        false
    }

    /// Whether an unknown operation among these asks for the same.
    fn has_alike(&self, action: Action, among: &[usize]) -> bool {
        among.iter().any(|at| {
            let other = &self.operations[*at];
            other.outcome == Outcome::Unknown && other.action == action
        })
    }

    /// Whether the revision that an unknown write would make was told to another one.
    fn is_taken_by_another(&self, after: State) -> bool {
        after.exact && self.told.binary_search(&after.revision).is_ok()
    }

    /// Fills in the operations that may come next: those that began before any other
    /// remaining one ended. Says whether no answered one remains.
    fn collect_candidates(&self, taken: &Taken, candidates: &mut Vec<usize>) -> bool {
        candidates.clear();
        let mut horizon = u64::MAX;
        let mut answered = false;
        for (at, operation) in self.operations.iter().enumerate().skip(taken.first_free()) {
            if operation.invoked > horizon {
                break;
            }
            if taken.contains(at) {
                continue;
            }
            candidates.push(at);
            if let Outcome::Ok(_, returned) = operation.outcome {
                answered = true;
                horizon = horizon.min(returned);
            }
        }
        candidates.retain(|at| self.operations[*at].invoked < horizon);
        !answered
    }
}

/// A set of operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Taken([u64; WORDS]);

impl Taken {
    fn insert(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    fn contains(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    /// The least that is not in it.
    fn first_free(&self) -> usize {
        let word = self.0.iter().position(|word| *word != u64::MAX);
        word.map_or(64 * WORDS, |word| {
            64 * word + self.0[word].trailing_ones() as usize
        })
    }
}

/// A fast hash for the memory; nobody chooses its input to harm it.
#[derive(Default)]
struct Mixing(u64);

impl Hasher for Mixing {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0.rotate_left(7) ^ number);
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }
}

impl fmt::Display for NotLinearizable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "key {} is not linearizable; these contradict each other:",
            self.key
        )?;
        for operation in &self.operations {
            writeln!(formatter, "  {operation}")?;
        }
        Ok(())
    }
}
