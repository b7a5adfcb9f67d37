//! The operation window: what became of recent writes of a key.

use crate::clock::Clock;
use crate::mutant::{Mutant, active};

/// Most entries that stand in one window.
pub const WINDOW_ENTRIES_MAX: usize = 256;

/// Names one write of one client. A client has one write of a key outstanding and
/// numbers its writes upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationId {
    /// Drawn at random when the client starts.
    pub client: [u8; 16],
    /// Rises with every write of that client.
    pub sequence: u64,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The value was set; the key is at this revision now.
    Written {
        /// The new revision.
        revision: u64,
    },
    /// The value was removed, which made this revision.
    Deleted {
        /// The new revision.
        revision: u64,
    },
    /// There was no value to remove.
    NothingToDelete,
    /// The expectation did not hold; the key was at this revision.
    Conflict {
        /// The current revision, 0 for none.
        revision: u64,
    },
}

/// A write that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Whose.
    pub client: [u8; 16],
    /// Which one.
    pub sequence: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Until when a retry may ask.
    pub deadline: Clock,
}

/// Entries in order of client, at most one for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window(Vec<Entry>);

impl Window {
    /// Makes a window of entries that are in order, or `None` when they are not,
    /// or too many.
    #[must_use]
    pub fn from_entries(entries: Vec<Entry>) -> Option<Self> {
        let ordered = entries
            .windows(2)
            .all(|pair| pair[0].client < pair[1].client);
        (ordered && entries.len() <= WINDOW_ENTRIES_MAX).then_some(Self(entries))
    }

    /// The entry of a client.
    #[must_use]
    pub fn entry_of(&self, client: &[u8; 16]) -> Option<&Entry> {
        self.position(client).ok().map(|at| &self.0[at])
    }

    /// Forgets entries whose deadline `clock` has passed: no proposer applies
    /// those operations any more.
    pub fn evict_before(&mut self, clock: Clock) {
        self.0.retain(|entry| entry.deadline >= clock);
    }

    /// Records a write in place of the same client's former one; says whether
    /// there was room. The later of both deadlines is kept: the former write may
    /// still be proposed until its own has passed, and only this entry's higher
    /// sequence number stops it.
    #[must_use]
    pub fn record(&mut self, mut entry: Entry) -> bool {
        match self.position(&entry.client) {
            Ok(at) => {
                if !active(Mutant::ReplacedEntryKeepsOwnDeadline) {
                    entry.deadline = entry.deadline.max(self.0[at].deadline);
                }
                self.0[at] = entry;
                true
            }
            Err(_) if self.0.len() >= WINDOW_ENTRIES_MAX => false,
            Err(at) => {
                self.0.insert(at, entry);
                true
            }
        }
    }

    /// The entries, in order of client.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, client: &[u8; 16]) -> Result<usize, usize> {
        self.0.binary_search_by(|entry| entry.client.cmp(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(client: u8, sequence: u64, deadline: u64) -> Entry {
        Entry {
            client: [client; 16],
            sequence,
            outcome: Outcome::Written { revision: sequence },
            deadline: Clock(deadline),
        }
    }

    #[test]
    fn a_replaced_entry_keeps_the_later_deadline() {
        let mut window = Window::default();
        assert!(window.record(entry(1, 1, 90)));
        assert!(window.record(entry(1, 2, 50)));
        let held = window.entry_of(&[1; 16]).expect("recorded");
        assert_eq!((held.sequence, held.deadline), (2, Clock(90)));
    }

    #[test]
    fn an_entry_stands_until_its_deadline_has_passed() {
        let mut window = Window::default();
        assert!(window.record(entry(1, 1, 50)) && window.record(entry(2, 1, 60)));
        window.evict_before(Clock(50));
        assert_eq!(window.len(), 2);
        window.evict_before(Clock(51));
        assert_eq!(window.len(), 1);
    }

    #[test]
    fn entries_out_of_order_or_twice_are_no_window() {
        assert!(Window::from_entries(vec![entry(1, 1, 1), entry(2, 1, 1)]).is_some());
        assert!(Window::from_entries(vec![entry(2, 1, 1), entry(1, 1, 1)]).is_none());
        assert!(Window::from_entries(vec![entry(1, 1, 1), entry(1, 2, 1)]).is_none());
    }
}
