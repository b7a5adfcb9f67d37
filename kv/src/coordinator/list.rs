//! A list: scans of enough members, merged; keys about which they disagree are
//! read one by one.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::read::replies_needed;
use super::{
    Answer, Command, Coordinator, Effect, Failure, FailureKind, HEDGE_AFTER_MS, Kind, Level,
    ListEntry, Now, Operation, Owner,
};
use crate::ballot::Ballot;
use crate::message::{Reply, Request, SCAN_ENTRIES_MAX, ScanEntry};
use crate::quorum::Quorums;

/// Most keys of one list that are read at once: a list is one request of a client, and
/// must not become a thousand at once.
const CHILDREN_MAX: usize = 32;

#[derive(Debug)]
struct Merged {
    highest: ScanEntry,
    holders: usize,
    /// How many scans had the key at all.
    told: usize,
}

/// What one member answered.
#[derive(Debug)]
struct Scan {
    entries: Vec<ScanEntry>,
    complete: bool,
    floor: Ballot,
}

impl Scan {
    /// Whether this member may have removed the key whose state was accepted under
    /// `accepted`: see [`Gathered::may_be_forgotten`](super::gathered::Gathered).
    fn may_have_forgotten(&self, key: &Bytes, accepted: Ballot) -> bool {
        let held = self.entries.binary_search_by(|entry| entry.key.cmp(key));
        held.is_err() && self.floor >= accepted
    }
}

#[derive(Debug)]
pub(super) struct List {
    prefix: Bytes,
    after: Bytes,
    limit: usize,
    level: Level,
    scans: Vec<Scan>,
    /// What is known of each key, once the scans are merged.
    settled: BTreeMap<Bytes, Option<ListEntry>>,
    /// Where the scans end, and whether there is more.
    next: Option<Bytes>,
    /// Keys still to be read.
    disputed: Vec<Bytes>,
    /// How many reads of keys are under way.
    children: usize,
    /// The settings of the namespaces that it spans, none for the members' own: the
    /// most demanding says how many must answer the scans.
    demands: Vec<Option<Quorums>>,
    /// How many namespaces that it spans are not known yet.
    settings_missing: usize,
}

impl List {
    pub(super) fn new(prefix: Bytes, after: Bytes, limit: usize, level: Level) -> Self {
        Self {
            prefix,
            after,
            limit: limit.clamp(1, SCAN_ENTRIES_MAX),
            level,
            scans: Vec::new(),
            settled: BTreeMap::new(),
            next: None,
            disputed: Vec::new(),
            children: 0,
            demands: Vec::new(),
            settings_missing: 0,
        }
    }

    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Whether keys of more than one namespace may begin with the prefix.
    pub(super) fn spans_namespaces(&self) -> bool {
        !self.prefix.contains(&b'/')
    }

    /// Lets enough members answer for the keys of a namespace with these settings.
    pub(super) fn heed(&mut self, settings: Option<Quorums>) {
        if !self.demands.contains(&settings) {
            self.demands.push(settings);
        }
    }

    /// How many members of a set must answer the scans.
    fn needed(&self) -> impl Fn(Quorums) -> usize + use<> {
        let (level, demands) = (self.level, self.demands.clone());
        move |quorums: Quorums| {
            let settings = demands.iter().map(|settings| {
                settings.map_or(quorums, |settings| settings.scaled_to(quorums.members()))
            });
            let needs = settings.map(|settings| replies_needed(level, settings));
            needs.max().unwrap_or(0)
        }
    }

    /// Whether the scans are merged.
    pub(super) fn is_merged(&self) -> bool {
        self.children > 0
    }

    /// The list waits for one more thing about the namespaces that it spans.
    pub(super) fn await_settings(&mut self) {
        self.settings_missing += 1;
    }

    /// One of them has come; says whether that was the last.
    pub(super) fn settings_arrived(&mut self) -> bool {
        self.settings_missing = self.settings_missing.saturating_sub(1);
        self.settings_missing == 0
    }

    fn answer(&mut self) -> Answer {
        Answer::Listed {
            entries: std::mem::take(&mut self.settled)
                .into_values()
                .flatten()
                .collect(),
            next: self.next.take(),
        }
    }
}

impl Coordinator {
    pub(super) fn scan(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) {
        let Kind::List(list) = &mut operation.kind else {
            return;
        };
        list.heed(operation.electorate.settings());
        operation.electorate.heed(None);
        list.scans.clear();
        let need = list.needed();
        let request = self.scan_request(list);
        operation.wake_ms = now.steady_ms + HEDGE_AFTER_MS;
        self.ask_for(id, operation, need, &request, effects);
    }

    pub(super) fn on_list_reply(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        from: usize,
        reply: Reply,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::List(list) = &mut operation.kind else {
            return None;
        };
        let Reply::Scanned {
            entries,
            complete,
            floor,
        } = reply
        else {
            operation.round.fail(from, "answered something else");
            return self.on_list_failure(now, id, operation, effects);
        };
        operation.round.done(from);
        list.scans.push(Scan {
            entries,
            complete,
            floor,
        });
        if !operation
            .electorate
            .is_done(&operation.round, list.needed())
        {
            return self.on_list_failure(now, id, operation, effects);
        }
        // Answers of members that were asked besides no longer count.
        operation.round.restart();
        operation.wake_ms = u64::MAX;
        list.disputed = self.merge(list);
        if list.disputed.is_empty() {
            return Some(Ok(list.answer()));
        }
        let first = list.disputed.len().saturating_sub(CHILDREN_MAX);
        let first = list.disputed.split_off(first);
        list.children = first.len();
        let level = list.level;
        for key in first {
            self.read_for_list(now, id, level, key, operation.expires_ms, effects);
        }
        None
    }

    /// Reads a key for a list. A read finishes with a message, so not before the list
    /// is back in its place.
    fn read_for_list(
        &mut self,
        now: Now,
        id: u64,
        level: Level,
        key: Bytes,
        expires_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let command = Command::Read {
            key: key.clone(),
            level,
        };
        self.start(now, Owner::List(id, key), command, expires_ms, effects);
    }

    pub(super) fn on_list_failure(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::List(list) = &operation.kind else {
            return None;
        };
        let need = list.needed();
        let needed = operation.electorate.most(&need);
        let electorate = &operation.electorate;
        if !electorate.is_out_of_reach(&operation.round, &need, self.me) {
            let request = self.scan_request(list);
            self.ask_for(id, operation, need, &request, effects);
            return None;
        }
        let answered = operation.round.count_answered();
        let kind = FailureKind::NoQuorum { answered, needed };
        Some(Err(self.failure(now, kind, operation)))
    }

    pub(super) fn on_list_wake(
        &mut self,
        _now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::List(list) = &operation.kind else {
            return None;
        };
        if list.children == 0 {
            let request = self.scan_request(list);
            self.ask_rest(id, operation, &request, effects);
        }
        None
    }

    /// A read that the list needed is over.
    pub(super) fn on_list_child(
        &mut self,
        now: Now,
        id: u64,
        key: Bytes,
        result: Result<Answer, Failure>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut operation) = self.operations.remove(&id) else {
            return;
        };
        let Kind::List(list) = &mut operation.kind else {
            self.operations.insert(id, operation);
            return;
        };
        list.children -= 1;
        let ended = match result {
            Err(failure) => Some(Err(failure)),
            Ok(answer) => {
                if let Answer::Value(register) = answer {
                    let entry = register.value.as_ref().map(|value| ListEntry {
                        key: key.clone(),
                        revision: register.revision,
                        size: value.len() as u64,
                    });
                    list.settled.insert(key, entry);
                }
                let over = list.children == 0 && list.disputed.is_empty();
                over.then(|| Ok(list.answer()))
            }
        };
        let next = if ended.is_none() {
            list.disputed.pop()
        } else {
            None
        };
        list.children += usize::from(next.is_some());
        let (level, expires_ms) = (list.level, operation.expires_ms);
        self.settle(now, id, operation, ended, effects);
        if let Some(key) = next {
            self.read_for_list(now, id, level, key, expires_ms, effects);
        }
    }

    fn scan_request(&self, list: &List) -> Request {
        Request::Scan {
            prefix: list.prefix.clone(),
            after: list.after.clone(),
            limit: list.limit,
            epoch: self.epoch(),
        }
    }

    /// Merges the scans up to where the shortest of them ends; returns the keys
    /// of which not enough members hold the highest state, or which may be forgotten.
    fn merge(&self, list: &mut List) -> Vec<Bytes> {
        let scans = std::mem::take(&mut list.scans);
        let end = scans
            .iter()
            .filter(|scan| !scan.complete)
            .filter_map(|scan| scan.entries.last().map(|entry| entry.key.clone()))
            .min();
        let mut merged: BTreeMap<Bytes, Merged> = BTreeMap::new();
        for entry in scans.iter().flat_map(|scan| &scan.entries) {
            if end.as_ref().is_none_or(|end| entry.key <= *end) {
                merge_entry(&mut merged, entry);
            }
        }
        list.next = end;
        if merged.len() > list.limit {
            let kept = merged.len() - list.limit;
            for _ in 0..kept {
                merged.pop_last();
            }
            list.next = merged.last_key_value().map(|(key, _)| key.clone());
        }
        let mut disputed = Vec::new();
        for (key, merged) in merged {
            // The namespace of a key that is not known was created just now.
            // While two sets are in force, a count of holders says nothing.
            let write = self.quorums_of(&key).map(Quorums::write);
            let joint = self.membership.is_joint();
            let chosen = !joint && write.is_some_and(|write| merged.holders >= write);
            let accepted = merged.highest.accepted;
            let doubtful = merged.told < scans.len()
                && scans
                    .iter()
                    .any(|scan| scan.may_have_forgotten(&key, accepted));
            let settled = !doubtful && (chosen || list.level == Level::Quorum);
            if settled || list.level == Level::One {
                let entry = merged.highest.size.map(|size| ListEntry {
                    key: key.clone(),
                    revision: merged.highest.revision,
                    size,
                });
                list.settled.insert(key, entry);
            } else {
                disputed.push(key);
            }
        }
        disputed
    }
}

fn merge_entry(merged: &mut BTreeMap<Bytes, Merged>, entry: &ScanEntry) {
    let slot = merged.entry(entry.key.clone()).or_insert_with(|| Merged {
        highest: ScanEntry {
            accepted: Ballot::ZERO,
            ..entry.clone()
        },
        holders: 0,
        told: 0,
    });
    slot.told += 1;
    if entry.accepted > slot.highest.accepted {
        slot.highest = entry.clone();
        slot.holders = 1;
    } else if entry.accepted == slot.highest.accepted {
        slot.holders += 1;
    }
}
