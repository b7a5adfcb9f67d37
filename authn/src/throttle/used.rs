//! Which codes of second factors were used.

use std::collections::BTreeMap;

use super::limits::{
    UNCONFIRMED_PER_PEER_MAX, USED_ENROLMENTS_MAX, USED_ENROLMENTS_PER_ACCOUNT_MAX,
};
use super::names::SlotHash;
use crate::second_factor::Used;

/// What is known of each enrolment whose codes were ever used. Its name begins with
/// the account's hash, so that the enrolments of an account lie side by side.
///
/// An entry that is gone would let its codes count again. So entries stay; a newcomer
/// to a full table finds no room, and his codes are refused. Only of one account the
/// enrolment that was used least lately makes room, and that one was revoked long ago:
/// each needs a statement of the root.
#[derive(Debug)]
pub(super) struct UsedCodes {
    held: BTreeMap<SlotHash, Used>,
    capacity: usize,
}

impl Default for UsedCodes {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            capacity: USED_ENROLMENTS_MAX,
        }
    }
}

impl UsedCodes {
    /// What was used of an enrolment.
    pub(super) fn get(&self, slot: &SlotHash) -> Used {
        self.held.get(slot).copied().unwrap_or_default()
    }

    /// Whether anything is known of an enrolment.
    pub(super) fn holds(&self, slot: &SlotHash) -> bool {
        self.held.contains_key(slot)
    }

    /// Forgets the enrolments of which `wanted` says so.
    pub(super) fn retain(&mut self, wanted: impl Fn(&SlotHash) -> bool) {
        self.held.retain(|slot, _| wanted(slot));
    }

    /// Adds to what was used of an enrolment; says whether it was news, or nothing when
    /// there is no room.
    pub(super) fn merge(&mut self, slot: SlotHash, used: &Used) -> Option<bool> {
        if let Some(held) = self.held.get_mut(&slot) {
            return Some(held.merge(used));
        }
        let (mut first, mut last) = (slot, slot);
        first[8..].fill(0);
        last[8..].fill(0xff);
        let of_account = self.held.range(first..=last);
        if of_account.clone().count() >= USED_ENROLMENTS_PER_ACCOUNT_MAX {
            let oldest = of_account.min_by_key(|(_, used)| used.step());
            let oldest = oldest.map(|(slot, _)| *slot);
            oldest.and_then(|oldest| self.held.remove(&oldest));
        }
        if self.held.len() >= self.capacity {
            return None;
        }
        self.held.insert(slot, *used);
        Some(true)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotHash, Used)> {
        self.held.iter().map(|(slot, used)| (*slot, *used))
    }

    /// For tests: a table that is full sooner.
    #[cfg(test)]
    pub(super) fn hold_at_most(&mut self, capacity: usize) {
        self.capacity = capacity;
    }
}

/// What one peer told of enrolments that no record here knows yet: a peer may get a record
/// and see a code used before this node has the record. They count for who is asked a code,
/// and are neither kept durably nor told on, so a peer that makes enrolments up fills its
/// own share of memory and nothing else.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed(BTreeMap<SlotHash, Used>);

impl Unconfirmed {
    /// Adds what was told, if there is room.
    pub(super) fn merge(&mut self, slot: SlotHash, used: &Used) {
        if self.0.len() < UNCONFIRMED_PER_PEER_MAX || self.0.contains_key(&slot) {
            self.0.entry(slot).or_default().merge(used);
        }
    }

    pub(super) fn get(&self, slot: &SlotHash) -> Option<&Used> {
        self.0.get(slot)
    }

    pub(super) fn take(&mut self, slot: &SlotHash) -> Option<Used> {
        self.0.remove(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::second_factor::Proven;

    fn slot(account: u8, enrolment: u8) -> SlotHash {
        let mut slot = [account; 16];
        slot[8..].fill(enrolment);
        slot
    }

    fn step(step: u64) -> Used {
        let mut used = Used::default();
        used.take(
            Proven::Step(step),
            step * crate::second_factor::totp::STEP_MS,
        );
        used
    }

    #[test]
    fn a_newcomer_to_a_full_table_finds_no_room_and_pushes_nobody_out() {
        let mut codes = UsedCodes::default();
        codes.hold_at_most(2);
        assert_eq!(codes.merge(slot(1, 1), &step(5)), Some(true));
        assert_eq!(codes.merge(slot(2, 1), &step(6)), Some(true));
        assert_eq!(codes.merge(slot(3, 1), &step(7)), None);
        assert_eq!(codes.merge(slot(1, 2), &step(7)), None);
        // What is held goes on.
        assert_eq!(codes.merge(slot(1, 1), &step(8)), Some(true));
        assert_eq!(codes.merge(slot(1, 1), &step(8)), Some(false));
        assert_eq!(codes.get(&slot(1, 1)), step(8));
        assert_eq!(codes.get(&slot(2, 1)), step(6));
    }

    #[test]
    fn of_one_account_the_enrolment_used_least_lately_makes_room() {
        let mut codes = UsedCodes::default();
        for enrolment in 0..USED_ENROLMENTS_PER_ACCOUNT_MAX as u8 {
            let lately = step(100 + u64::from(enrolment));
            assert_eq!(codes.merge(slot(1, enrolment), &lately), Some(true));
        }
        codes.merge(slot(2, 0), &step(1));
        assert_eq!(codes.merge(slot(1, 99), &step(500)), Some(true));
        assert_eq!(codes.get(&slot(1, 0)), Used::default());
        assert_eq!(codes.get(&slot(1, 1)), step(101));
        assert_eq!(codes.get(&slot(2, 0)), step(1));
    }
}
