//! A list: scans of enough members, merged; keys about which they disagree are
//! read one by one.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Answer, Command, Coordinator, Effect, Failure, FailureKind, HEDGE_AFTER_MS, Kind, Level,
    ListEntry, Now, Operation, Owner,
};
use crate::ballot::Ballot;
use crate::message::{Reply, Request, SCAN_ENTRIES_MAX, ScanEntry};

#[derive(Debug)]
struct Merged {
    highest: ScanEntry,
    holders: usize,
}

#[derive(Debug)]
pub(super) struct List {
    prefix: Bytes,
    after: Bytes,
    limit: usize,
    level: Level,
    scans: Vec<(Vec<ScanEntry>, bool)>,
    /// What is known of each key, once the scans are merged.
    settled: BTreeMap<Bytes, Option<ListEntry>>,
    /// Where the scans end, and whether there is more.
    next: Option<Bytes>,
    children: usize,
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
            children: 0,
        }
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
        let Kind::List(list) = &operation.kind else {
            return;
        };
        let needed = self.replies_needed(list.level);
        let request = self.scan_request(list);
        operation.wake_ms = now.steady_ms + HEDGE_AFTER_MS;
        self.ask_more(id, operation, needed, &request, effects);
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
        let Reply::Scanned { entries, complete } = reply else {
            operation.round.fail(from, "answered something else");
            return self.on_list_failure(now, id, operation, effects);
        };
        operation.round.done(from);
        list.scans.push((entries, complete));
        if operation.round.count_done() < self.replies_needed(list.level) {
            return self.on_list_failure(now, id, operation, effects);
        }
        // Answers of members that were asked besides no longer count.
        operation.round.restart();
        operation.wake_ms = u64::MAX;
        let disputed = self.merge(list);
        list.children = disputed.len();
        if disputed.is_empty() {
            return Some(Ok(list.answer()));
        }
        // A read finishes with an answer, so none of these does before this list
        // is back in its place.
        for key in disputed {
            let command = Command::Read {
                key: key.clone(),
                level: Level::Linearizable,
            };
            let owner = Owner::List(id, key);
            self.start(now, owner, command, operation.expires_ms, effects);
        }
        None
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
        let needed = self.replies_needed(list.level);
        if !operation.round.is_out_of_reach(needed, self.me) {
            let request = self.scan_request(list);
            self.replace_failed(id, operation, needed, &request, effects);
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
            self.ask_more(id, operation, self.quorums.members(), &request, effects);
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
                (list.children == 0).then(|| Ok(list.answer()))
            }
        };
        self.settle(now, id, operation, ended, effects);
    }

    fn scan_request(&self, list: &List) -> Request {
        Request::Scan {
            prefix: list.prefix.clone(),
            after: list.after.clone(),
            limit: list.limit,
            epoch: self.epoch,
        }
    }

    /// Merges the scans up to where the shortest of them ends; returns the keys
    /// of which not enough members hold the highest state.
    fn merge(&self, list: &mut List) -> Vec<Bytes> {
        let end = list
            .scans
            .iter()
            .filter(|(_, complete)| !complete)
            .filter_map(|(entries, _)| entries.last().map(|entry| entry.key.clone()))
            .min();
        let mut merged: BTreeMap<Bytes, Merged> = BTreeMap::new();
        for (entries, _) in list.scans.drain(..) {
            for entry in entries {
                if end.as_ref().is_some_and(|end| entry.key > *end) {
                    break;
                }
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
            let chosen =
                list.level != Level::Linearizable || merged.holders >= self.quorums.write();
            if chosen {
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

fn merge_entry(merged: &mut BTreeMap<Bytes, Merged>, entry: ScanEntry) {
    let slot = merged.entry(entry.key.clone()).or_insert_with(|| Merged {
        highest: ScanEntry {
            accepted: Ballot::ZERO,
            ..entry.clone()
        },
        holders: 0,
    });
    if entry.accepted > slot.highest.accepted {
        slot.highest = entry;
        slot.holders = 1;
    } else if entry.accepted == slot.highest.accepted {
        slot.holders += 1;
    }
}
