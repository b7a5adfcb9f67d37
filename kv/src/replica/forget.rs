//! The replica's part in forgetting deleted keys (REPLICATION rule 6).

use std::ops::Bound;

use bytes::Bytes;

use super::{Effect, Replica, Slot};
use crate::ballot::Ballot;
use crate::clock::Clock;
use crate::message::Reply;
use crate::mutant::{Mutant, active};
use crate::record::Record;

/// Most keys looked at in one step of a sweep.
const SWEPT_MAX: usize = 2_000;

impl Replica {
    /// Some deleted keys whose tombstone is older than `before` and whose outcomes
    /// nobody may ask for any more at `now`, of those `wanted` that follow `after`; and
    /// where to go on, none at the end.
    #[must_use]
    pub fn forgettable(
        &self,
        after: &Bytes,
        before: Clock,
        now: Clock,
        wanted: impl Fn(&[u8]) -> bool,
        limit: usize,
    ) -> (Vec<Bytes>, Option<Bytes>) {
        let range = (Bound::Excluded(after.clone()), Bound::Unbounded);
        let mut found = Vec::new();
        for (looked_at, (key, slot)) in self.slots.range(range).enumerate() {
            let window = slot.state.window.entries();
            let old = slot.accepted != Ballot::ZERO
                && slot.state.value.is_none()
                && slot.accepted.clock < before
                && window.iter().all(|entry| entry.deadline < now);
            if old && wanted(key) {
                found.push(key.clone());
            }
            if found.len() == limit || looked_at + 1 == SWEPT_MAX {
                return (found, Some(key.clone()));
            }
        }
        (found, None)
    }

    /// Lets go of promises from before `before` for keys that hold nothing, of those
    /// keys that follow `after` up to `through`: whoever prepares keys that do not exist
    /// must not fill the memory. The floor takes their place, which is no record: a
    /// restart raises it to the ceiling, and that is above every promise.
    pub fn drop_promises(&mut self, after: &Bytes, through: Option<&Bytes>, before: Clock) {
        let end = through.map_or(Bound::Unbounded, |key| Bound::Included(key.clone()));
        let range = (Bound::Excluded(after.clone()), end);
        let mut dropped = Vec::new();
        for (key, slot) in self.slots.range(range) {
            if !slot.is_held() && slot.promise.clock < before {
                self.floor = self.floor.max(slot.promise);
                dropped.push(key.clone());
            }
        }
        for key in dropped {
            self.slots.remove(&key);
        }
    }

    /// Marks a tombstone, durably, as one that all members hold.
    pub(super) fn condemn(
        &mut self,
        key: Bytes,
        ballot: Ballot,
        effects: &mut Vec<Effect>,
    ) -> (u64, Reply) {
        let floor = self.floor;
        let Some(slot) = self.slots.get_mut(&key).filter(|slot| slot.is_held()) else {
            // It is gone, and what is up to the floor does not come back.
            return if ballot <= floor {
                (0, Reply::Condemned)
            } else {
                (0, Reply::Refused { standing: floor })
            };
        };
        let forgettable = slot.state.value.is_none() && slot.state.window.is_empty();
        if slot.accepted != ballot || !forgettable {
            let standing = slot.accepted;
            return (0, Reply::Refused { standing });
        }
        if !slot.condemned {
            self.appended += 1;
            slot.condemned = true;
            slot.record = self.appended;
            let record = Record::Condemned { key, ballot };
            effects.push(Effect::Append(self.appended, record));
        }
        (slot.record, Reply::Condemned)
    }

    /// Removes a condemned tombstone. The floors are raised by the same record, so
    /// neither is ever there without the other.
    pub(super) fn remove(
        &mut self,
        key: Bytes,
        ballot: Ballot,
        revision: u64,
        effects: &mut Vec<Effect>,
    ) -> (u64, Reply) {
        let slot = self.slots.get(&key);
        if let Some(slot) = slot.filter(|slot| slot.is_held())
            && (slot.accepted != ballot || !slot.condemned)
        {
            let standing = slot.accepted;
            return (0, Reply::Refused { standing });
        }
        let promise = slot.map_or(Ballot::ZERO, |slot| slot.promise);
        let revision = slot.map_or(revision, |slot| slot.state.revision.max(revision));
        let there = self.slots.remove(&key).is_some();
        // Above every promise of the key: a message under way that was promised
        // before must not find a key without a past.
        let mut floor = ballot.max(promise);
        if active(Mutant::NoFloorAtRemoval) {
            floor = Ballot::ZERO;
        }
        if !there && floor <= self.floor && revision <= self.revision_floor {
            return (self.floor_record, Reply::Removed);
        }
        self.appended += 1;
        let record = Record::Removed {
            key,
            floor,
            revision_floor: revision,
        };
        self.raise_floors(floor, revision);
        self.floor_record = self.appended;
        effects.push(Effect::Append(self.appended, record));
        (self.appended, Reply::Removed)
    }

    pub(super) fn raise_floors(&mut self, floor: Ballot, revision: u64) {
        self.floor = self.floor.max(floor);
        self.revision_floor = self.revision_floor.max(revision);
        self.clock.merge(floor.clock);
    }
}

impl Slot {
    /// Whether anything was ever accepted: else it holds a promise alone.
    fn is_held(&self) -> bool {
        self.accepted != Ballot::ZERO
    }
}
