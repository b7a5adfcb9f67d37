//! Ballots: the order in which proposals for a key stand.

use std::fmt;

use crate::clock::Clock;

/// Who proposes: a node, and which of its starts. Fresh at every start, so that
/// no two proposals ever share a ballot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Proposer {
    /// The first eight bytes of the node's identity.
    pub node: u64,
    /// A random number drawn at the start.
    pub start: u64,
}

/// A ballot; compared by epoch, then clock, then proposer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ballot {
    /// The epoch of the members.
    pub epoch: u64,
    /// The proposer's hybrid clock.
    pub clock: Clock,
    /// Who proposes.
    pub proposer: Proposer,
}

impl Ballot {
    /// Below every ballot that anybody proposes.
    pub const ZERO: Self = Self {
        epoch: 0,
        clock: Clock::ZERO,
        proposer: Proposer { node: 0, start: 0 },
    };

    /// The highest ballot of a clock reading: as a floor it refuses all of them.
    #[must_use]
    pub fn ceiling_of(epoch: u64, clock: Clock) -> Self {
        Self {
            epoch,
            clock,
            proposer: Proposer {
                node: u64::MAX,
                start: u64::MAX,
            },
        }
    }
}

impl fmt::Debug for Ballot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}/{:?}/{:x}.{:x}",
            self.epoch, self.clock, self.proposer.node, self.proposer.start
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_goes_before_clock_and_clock_before_proposer() {
        let ballot = |epoch, clock, node| Ballot {
            epoch,
            clock: Clock(clock),
            proposer: Proposer { node, start: 0 },
        };
        assert!(ballot(1, 9, 9) < ballot(2, 1, 1));
        assert!(ballot(1, 1, 9) < ballot(1, 2, 1));
        assert!(ballot(1, 1, 1) < ballot(1, 1, 2));
        assert!(Ballot::ZERO < ballot(0, 0, 1));
        assert!(ballot(1, 5, u64::MAX) <= Ballot::ceiling_of(1, Clock(5)));
        assert!(ballot(1, 6, 0) > Ballot::ceiling_of(1, Clock(5)));
    }
}
