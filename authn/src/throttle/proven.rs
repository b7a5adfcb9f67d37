//! Keys that have proved an account's password.

use std::collections::{BTreeMap, BTreeSet};

use super::accounts::Tag;
use super::limits::{PROVEN_KEYS_MAX, PROVEN_KEYS_PER_ACCOUNT_MAX};
use super::names::SlotHash;

/// Until when a key is known, and what it proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProvenKey {
    /// In milliseconds since 1970.
    pub(super) until_ms: u64,
    /// Which password: of another one the key has proved nothing.
    pub(super) password: Tag,
    /// Of which enrolment a code; zeros where none was asked for.
    pub(super) enrolment: Tag,
}

/// Which keys are known, and until when. A slot's hash begins with the account's, so
/// the keys of an account lie side by side.
///
/// Only somebody who knows an account's password brings a key in, so nobody pushes
/// out keys of others; who has an account pushes out his own, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Proven {
    keys: BTreeMap<SlotHash, ProvenKey>,
    by_time: BTreeSet<(u64, SlotHash)>,
}

impl Proven {
    /// The key, if it counts now and proved this password.
    pub(super) fn holding(
        &self,
        slot: &SlotHash,
        password: &Tag,
        now_ms: u64,
    ) -> Option<&ProvenKey> {
        let held = self.keys.get(slot)?;
        (held.until_ms > now_ms && held.password == *password).then_some(held)
    }

    /// Remembers a key; an earlier time than the one held changes nothing. Says whether it
    /// did.
    pub(super) fn remember(&mut self, slot: SlotHash, key: ProvenKey) -> bool {
        if self.keys.get(&slot).is_some_and(|held| *held >= key) {
            return false;
        }
        self.forget(&slot);
        let (mut first, mut last) = (slot, slot);
        first[8..].fill(0);
        last[8..].fill(0xff);
        let of_account = self.keys.range(first..=last);
        let oldest = of_account.clone().min_by_key(|(_, held)| held.until_ms);
        let oldest = oldest.map(|(slot, _)| *slot);
        if of_account.count() >= PROVEN_KEYS_PER_ACCOUNT_MAX
            && let Some(oldest) = oldest
        {
            self.forget(&oldest);
        }
        if self.keys.len() >= PROVEN_KEYS_MAX
            && let Some((_, oldest)) = self.by_time.first().copied()
        {
            self.forget(&oldest);
        }
        self.keys.insert(slot, key);
        self.by_time.insert((key.until_ms, slot));
        true
    }

    pub(super) fn forget_expired(&mut self, now_ms: u64) {
        while let Some((until, slot)) = self.by_time.first().copied()
            && until <= now_ms
        {
            self.forget(&slot);
        }
    }

    pub(super) fn get(&self, slot: &SlotHash) -> Option<ProvenKey> {
        self.keys.get(slot).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotHash, ProvenKey)> {
        self.keys.iter().map(|(slot, key)| (*slot, *key))
    }

    fn forget(&mut self, slot: &SlotHash) {
        if let Some(key) = self.keys.remove(slot) {
            self.by_time.remove(&(key.until_ms, *slot));
        }
    }
}
