//! Bounded tables of buckets.

use std::collections::HashMap;

use super::bucket::Bucket;
use super::limits::{TABLE_ENTRIES_MAX, ThrottleLimits};
use super::names::{AccountHash, Kind, Slot, SlotHash};

/// How often a full table is searched for empty buckets, in milliseconds.
const SWEEP_EVERY_MS: u64 = 1000;

/// The buckets that one node filled, kind by kind.
///
/// A bucket is forgotten only when it is empty. Where a table is full of others, no
/// newcomer pushes one out: an attacker could else wash his own charges away, or let
/// a victim's account be guessed afresh. Newcomers share a bucket then.
#[derive(Debug, Default)]
pub(super) struct Tables([Table; Kind::ALL.len()]);

#[derive(Debug, Default)]
struct Table {
    buckets: HashMap<SlotHash, Bucket>,
    swept_ms: u64,
}

impl Tables {
    /// The bucket of a slot, empty where there is none.
    pub(super) fn get(&self, slot: Slot) -> Bucket {
        let Slot(kind, hash) = slot;
        self.0[kind.index()]
            .buckets
            .get(&hash)
            .copied()
            .unwrap_or_default()
    }

    /// Where `slot` is counted: in its own bucket, or in the shared one of its kind
    /// while the table is full.
    pub(super) fn resolve(&mut self, slot: Slot, now_ms: u64) -> Slot {
        let Slot(kind, hash) = slot;
        if self.0[kind.index()].has_room_for(&hash, now_ms) {
            slot
        } else {
            Slot::overflow(kind)
        }
    }

    /// Sets a bucket; one that finds no room is dropped, and one that is empty is
    /// forgotten.
    pub(super) fn set(&mut self, slot: Slot, bucket: Bucket, now_ms: u64) {
        let Slot(kind, hash) = slot;
        let table = &mut self.0[kind.index()];
        if bucket.is_empty(now_ms) {
            table.buckets.remove(&hash);
        } else if table.has_room_for(&hash, now_ms) {
            table.buckets.insert(hash, bucket);
        }
    }

    /// Forgets the buckets of an account and returns their slots.
    pub(super) fn clear_account(&mut self, account: AccountHash) -> Vec<Slot> {
        let mut cleared = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_of_an_account()) {
            self.0[kind.index()].buckets.retain(|hash, _| {
                let kept = hash[..8] != account;
                if !kept {
                    cleared.push(Slot(kind, *hash));
                }
                kept
            });
        }
        cleared
    }

    /// Brings all buckets within the rules and forgets the empty ones.
    pub(super) fn settle(&mut self, limits: &ThrottleLimits, now_ms: u64) {
        for kind in Kind::ALL {
            let rule = kind.rule(limits);
            self.0[kind.index()].buckets.retain(|_, bucket| {
                *bucket = bucket.within(&rule, now_ms);
                !bucket.is_empty(now_ms)
            });
        }
    }

    /// All buckets.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, Bucket)> {
        Kind::ALL.into_iter().flat_map(|kind| {
            self.0[kind.index()]
                .buckets
                .iter()
                .map(move |(hash, bucket)| (Slot(kind, *hash), *bucket))
        })
    }
}

impl Table {
    fn has_room_for(&mut self, hash: &SlotHash, now_ms: u64) -> bool {
        if self.buckets.len() < TABLE_ENTRIES_MAX || self.buckets.contains_key(hash) {
            return true;
        }
        // Also when the clock was set back.
        if now_ms.abs_diff(self.swept_ms) >= SWEEP_EVERY_MS {
            self.swept_ms = now_ms;
            self.buckets.retain(|_, bucket| !bucket.is_empty(now_ms));
        }
        self.buckets.len() < TABLE_ENTRIES_MAX
    }
}
