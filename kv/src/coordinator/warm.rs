//! Warm ballots: what lets the next write of a key skip its prepare.
//!
//! An accept carries the proposer's next ballot. Once P members have promised it
//! while they held that very state, they have said all that a prepare would ask:
//! the highest state is the one that was just accepted, and nothing older will be.
//! One attempt may then begin with the accept (REPLICATION rule 2).
//!
//! **Attack on it**: a ballot that is used for two different states, one after a
//! timeout, lets two members hold different values under one ballot, and both count
//! as holding it. So a ballot is *taken out* when it is used, whatever becomes of
//! the attempt, and the whole entry is dropped as soon as anything contradicts it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::CallId;
use crate::ballot::Ballot;
use crate::mutant::{Mutant, active};
use crate::register::Register;

/// Most keys with a warm ballot at one coordinator.
const ENTRIES_MAX: usize = 8192;
/// Most bytes of their keys and states. The values are shared with the answers that
/// they came from, so this bounds what is kept alive.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// What an entry of the operation window takes, roughly.
const WINDOW_ENTRY_BYTES: usize = 64;

/// A promised ballot and the state that its promisers hold.
#[derive(Debug, Clone)]
pub(super) struct Warm {
    /// The ballot to use.
    pub(super) ballot: Ballot,
    /// The ballot under which the state was accepted.
    pub(super) accepted: Ballot,
    /// The state.
    pub(super) state: Register,
    granted: BTreeSet<usize>,
    needed: usize,
    call: CallId,
}

/// The warm ballots of one coordinator.
#[derive(Debug, Default)]
pub(super) struct WarmBallots {
    by_key: BTreeMap<Bytes, Warm>,
    /// Keys by the round of accepts that left the ballot: the oldest is first, and is
    /// forgotten first.
    by_call: BTreeMap<CallId, Bytes>,
    bytes: usize,
}

impl WarmBallots {
    /// Keeps the ballot that the accepts of `call` leave behind for `key`, promised so far by
    /// `granted`; it may be used once `needed` have promised.
    #[expect(clippy::too_many_arguments, reason = "the parts of one entry")]
    pub(super) fn keep(
        &mut self,
        call: CallId,
        key: Bytes,
        ballot: Ballot,
        accepted: Ballot,
        state: Register,
        granted: BTreeSet<usize>,
        needed: usize,
    ) {
        self.drop_key(&key);
        let warm = Warm {
            ballot,
            accepted,
            state,
            granted,
            needed,
            call,
        };
        self.bytes += size(&key, &warm);
        self.by_call.insert(call, key.clone());
        self.by_key.insert(key, warm);
        while self.by_key.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.by_call.first_key_value() else {
                return;
            };
            let oldest = oldest.clone();
            self.drop_key(&oldest);
        }
    }

    /// A promise that came after the write was over. One of another round is for
    /// another ballot and counts for nothing.
    pub(super) fn grant(&mut self, call: CallId, member: usize) {
        let key = self.by_call.get(&call);
        if let Some(warm) = key.and_then(|key| self.by_key.get_mut(key)) {
            warm.granted.insert(member);
        }
    }

    /// Takes the ballot out, for one attempt; none when too few have promised it.
    pub(super) fn take(&mut self, key: &Bytes) -> Option<Warm> {
        if active(Mutant::CachedBallotReused) {
            let warm = self.by_key.get(key)?.clone();
            return (warm.granted.len() >= warm.needed).then_some(warm);
        }
        let warm = self.drop_key(key)?;
        (warm.granted.len() >= warm.needed).then_some(warm)
    }

    /// Forgets the ballot of `key` when something newer than its state is about.
    pub(super) fn doubt(&mut self, key: &Bytes, seen: Ballot) {
        if active(Mutant::CachedBallotReused) {
            return;
        }
        if self
            .by_key
            .get(key)
            .is_some_and(|warm| seen > warm.accepted)
        {
            self.drop_key(key);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    fn drop_key(&mut self, key: &Bytes) -> Option<Warm> {
        let warm = self.by_key.remove(key)?;
        self.by_call.remove(&warm.call);
        self.bytes -= size(key, &warm);
        Some(warm)
    }
}

fn size(key: &Bytes, warm: &Warm) -> usize {
    let value = warm.state.value.as_ref().map_or(0, Bytes::len);
    key.len() + value + warm.state.window.len() * WINDOW_ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn ballot(clock: u64) -> Ballot {
        Ballot {
            clock: Clock(clock),
            ..Ballot::ZERO
        }
    }

    fn call(operation: u64, round: u32) -> CallId {
        CallId { operation, round }
    }

    fn key(number: u64) -> Bytes {
        Bytes::from(format!("app/{number}"))
    }

    fn keep(warm: &mut WarmBallots, operation: u64, number: u64, length: usize, members: usize) {
        let state = Register {
            value: Some(Bytes::from(vec![0; length])),
            ..Register::default()
        };
        warm.keep(
            call(operation, 7),
            key(number),
            ballot(operation + 1),
            ballot(operation),
            state,
            (0..members).collect(),
            2,
        );
    }

    #[test]
    fn a_ballot_is_taken_once() {
        let mut warm = WarmBallots::default();
        keep(&mut warm, 1, 1, 10, 2);
        assert!(warm.take(&key(1)).is_some());
        assert!(warm.take(&key(1)).is_none());
        assert_eq!((warm.len(), warm.bytes), (0, 0));
    }

    #[test]
    fn a_ballot_that_too_few_promised_is_not_used_until_another_promise_comes() {
        let mut warm = WarmBallots::default();
        keep(&mut warm, 1, 1, 10, 1);
        assert!(warm.take(&key(1)).is_none());
        keep(&mut warm, 2, 1, 10, 1);
        warm.grant(call(2, 7), 0);
        warm.grant(call(1, 7), 2);
        // The same write, an earlier attempt: that promise was of another ballot.
        warm.grant(call(2, 5), 2);
        assert!(warm.take(&key(1)).is_none());
        keep(&mut warm, 3, 1, 10, 1);
        warm.grant(call(3, 7), 2);
        assert!(warm.take(&key(1)).is_some());
    }

    #[test]
    fn what_is_newer_than_the_state_drops_the_ballot() {
        let mut warm = WarmBallots::default();
        keep(&mut warm, 5, 1, 10, 2);
        warm.doubt(&key(1), ballot(5));
        assert_eq!(warm.len(), 1);
        warm.doubt(&key(1), ballot(6));
        assert_eq!(warm.len(), 0);
    }

    #[test]
    fn the_oldest_go_first_when_there_are_too_many_entries_or_bytes() {
        let mut warm = WarmBallots::default();
        let many = ENTRIES_MAX as u64 + 3;
        for operation in 0..many {
            keep(&mut warm, operation, operation, 1, 2);
        }
        assert_eq!(warm.len(), ENTRIES_MAX);
        assert!(warm.take(&key(2)).is_none() && warm.take(&key(3)).is_some());
        for operation in many..many + 40 {
            keep(&mut warm, operation, operation, 1024 * 1024, 2);
        }
        assert!(warm.bytes <= BYTES_MAX && warm.len() < 40);
        assert!(warm.take(&key(many + 39)).is_some());
    }
}
