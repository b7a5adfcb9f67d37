//! What members said that they hold of one key.

use crate::ballot::Ballot;
use crate::register::Register;

/// The highest state among the answers so far, and who holds what.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// The ballot of the highest state; zero while nobody holds anything.
    pub(super) highest: Ballot,
    /// That state.
    pub(super) state: Register,
    /// Whether any member that holds it has condemned it.
    pub(super) condemned: bool,
    held: Vec<(usize, Ballot)>,
    /// The highest floor of the members that hold nothing.
    floor: Ballot,
}

impl Gathered {
    /// Takes the answer of `member`.
    pub(super) fn take(
        &mut self,
        member: usize,
        accepted: Ballot,
        state: Register,
        condemned: bool,
        floor: Ballot,
    ) {
        self.held.push((member, accepted));
        if accepted == Ballot::ZERO {
            self.floor = self.floor.max(floor);
        }
        if accepted > self.highest {
            self.highest = accepted;
            self.state = state;
            self.condemned = condemned;
        } else if accepted == self.highest {
            self.condemned |= condemned;
        }
    }

    /// Whether the key may have been removed while the answers came in: one member
    /// still told what it held before, as one that had missed the deletion, another
    /// has nothing any more. The deletion may then be older than the question, and
    /// the highest state no answer to it. A member that removed the key afterwards
    /// has a floor at or above every state that there was; a lower floor says that
    /// it never held the key. Of a condemned tombstone there is no doubt: either way
    /// there is no such key.
    pub(super) fn may_be_forgotten(&self) -> bool {
        self.highest != Ballot::ZERO && self.floor >= self.highest && !self.condemned
    }

    /// The members that answered and hold the highest state.
    pub(super) fn holders(&self) -> impl Iterator<Item = usize> {
        self.members(|ballot, highest| ballot == highest)
    }

    /// The members that answered and do not hold it.
    pub(super) fn laggards(&self) -> impl Iterator<Item = usize> {
        self.members(|ballot, highest| ballot != highest)
    }

    fn members(&self, wanted: fn(Ballot, Ballot) -> bool) -> impl Iterator<Item = usize> {
        let held = self.held.iter();
        held.filter(move |(_, ballot)| wanted(*ballot, self.highest))
            .map(|(member, _)| *member)
    }
}
