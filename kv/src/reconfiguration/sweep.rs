//! The sweep: every key of the old members is brought to the new ones.
//!
//! Keys are found by scans of P old members. All of those are in the new epoch, so
//! whatever was chosen in the old one is held by one of them, and nothing more will be.
//!
//! A key is *installed* at W of the new members under its original ballot if W of the
//! old members hold that ballot, and every member that stays has said what it holds and
//! holds nothing higher. One that holds a higher ballot by then holds a descendant.
//!
//! **Nothing else may be installed.** Two states that know nothing of each other may lie
//! at one old member each, proposed above what was chosen last and accepted by nobody
//! else. Among the old members only one of them can ever be chosen, because promises of
//! other old members stand against the other. The new members have given no such
//! promise: the lower one, spread among them, would count as chosen, and the higher one
//! would come up later. So a key of which this cannot be excluded is *settled*: a write
//! that changes nothing, under a ballot of the joint epoch that P of both sets have
//! promised, above all of them. Reads of the joint epoch heed the same rule when they
//! repair (`coordinator/read.rs`). A key is settled as well where promises refuse the
//! install.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use sealmoot_authn::policy::RESERVED_PREFIX;

use super::{count, new_set};
use crate::ballot::Ballot;
use crate::directory::SetInForce;
use crate::message::{Reply, Request, SCAN_ENTRIES_MAX};
use crate::mutant::{Mutant, active};
use crate::register::Register;

/// What a scan of one prefix leaves out is found by the scan of another.
const PREFIXES: [&[u8]; 2] = [b"", RESERVED_PREFIX];

/// What comes next.
#[derive(Debug)]
pub(super) enum Progress {
    Waits,
    AskOld(Request),
    AskNew(Request),
    Settle(Bytes),
    Swept,
}

#[derive(Debug)]
enum Step {
    Scanning {
        answered: BTreeSet<u64>,
        keys: BTreeSet<Bytes>,
        /// Where the shortest of the answers ends; none while all are complete.
        end: Option<Bytes>,
    },
    Reading {
        key: Bytes,
        held: BTreeMap<u64, Ballot>,
        highest: (Ballot, Register),
    },
    Installing {
        key: Bytes,
        done: BTreeSet<u64>,
        refused: BTreeSet<u64>,
    },
    Settling {
        key: Bytes,
        /// Whether it failed, and is tried again when some time has passed.
        failed: bool,
    },
}

#[derive(Debug)]
pub(super) struct Sweep {
    epoch: u64,
    /// Which of the prefixes is swept, and after which key it goes on.
    place: (usize, Bytes),
    /// Whether the page in hand is the last of its prefix.
    last_page: bool,
    page: VecDeque<Bytes>,
    step: Step,
}

impl Sweep {
    pub(super) fn begin(epoch: u64) -> (Self, Progress) {
        let mut sweep = Self {
            epoch,
            place: (0, Bytes::new()),
            last_page: false,
            page: VecDeque::new(),
            step: Step::Scanning {
                answered: BTreeSet::new(),
                keys: BTreeSet::new(),
                end: None,
            },
        };
        let progress = sweep.scan();
        (sweep, progress)
    }

    pub(super) fn reply(&mut self, sets: &[SetInForce], node: u64, reply: Reply) -> Progress {
        let (old, new) = (&sets[0], new_set(sets));
        match (&mut self.step, reply) {
            (
                Step::Scanning {
                    answered,
                    keys,
                    end,
                },
                Reply::Scanned {
                    entries, complete, ..
                },
            ) => {
                if !answered.insert(node) {
                    return Progress::Waits;
                }
                if let (false, Some(last)) = (complete, entries.last()) {
                    let earlier = end.as_ref().is_none_or(|end| last.key < *end);
                    *end = if earlier {
                        Some(last.key.clone())
                    } else {
                        end.take()
                    };
                }
                keys.extend(entries.into_iter().map(|entry| entry.key));
                if count(old, answered) < old.quorums.prepare() {
                    return Progress::Waits;
                }
                self.last_page = end.is_none();
                let end = end.take();
                let within = |key: &Bytes| end.as_ref().is_none_or(|end| key <= end);
                self.page = std::mem::take(keys).into_iter().filter(within).collect();
                if let Some(end) = end {
                    self.place.1 = end;
                }
                self.next_key()
            }
            (
                Step::Reading { held, highest, .. },
                Reply::Holds {
                    accepted, state, ..
                },
            ) => {
                held.insert(node, accepted);
                if accepted > highest.0 {
                    *highest = (accepted, state);
                }
                let enough = old.quorums.prepare().max(old.quorums.write());
                if held.len() < enough || !all_staying_said(held, sets) {
                    return Progress::Waits;
                }
                self.judge(sets)
            }
            (Step::Installing { done, .. }, Reply::Installed) => {
                done.insert(node);
                if count(new, done) < new.quorums.write() {
                    return Progress::Waits;
                }
                self.next_key()
            }
            (Step::Installing { key, refused, .. }, Reply::Refused { .. }) => {
                refused.insert(node);
                let left = new.nodes.len() - count(new, refused);
                if left >= new.quorums.write() {
                    return Progress::Waits;
                }
                let key = key.clone();
                self.settle(key)
            }
            _ => Progress::Waits,
        }
    }

    /// What came of a settling write.
    pub(super) fn settled(&mut self, settled: bool) -> Progress {
        match &mut self.step {
            Step::Settling { .. } if settled => self.next_key(),
            Step::Settling { failed, .. } => {
                *failed = true;
                Progress::Waits
            }
            _ => Progress::Waits,
        }
    }

    /// Enough time has passed for all who can to answer: P of the old members are
    /// enough to settle a key, and whoever has not taken an install may never.
    pub(super) fn time_passed(&mut self, sets: &[SetInForce]) -> Option<Progress> {
        let old = &sets[0];
        match &self.step {
            Step::Reading { held, .. } if held.len() >= old.quorums.prepare() => {
                Some(self.judge(sets))
            }
            Step::Installing { key, refused, .. } if !refused.is_empty() => {
                let key = key.clone();
                Some(self.settle(key))
            }
            Step::Settling { key, failed: true } => {
                let key = key.clone();
                Some(self.settle(key))
            }
            _ => None,
        }
    }

    fn scan(&mut self) -> Progress {
        self.step = Step::Scanning {
            answered: BTreeSet::new(),
            keys: BTreeSet::new(),
            end: None,
        };
        let (prefix, after) = &self.place;
        Progress::AskOld(Request::Scan {
            prefix: Bytes::from_static(PREFIXES[*prefix]),
            after: after.clone(),
            limit: SCAN_ENTRIES_MAX,
            epoch: self.epoch,
        })
    }

    fn next_key(&mut self) -> Progress {
        if let Some(key) = self.page.pop_front() {
            let request = Request::Read {
                key: key.clone(),
                epoch: self.epoch,
            };
            self.step = Step::Reading {
                key,
                held: BTreeMap::new(),
                highest: (Ballot::ZERO, Register::default()),
            };
            return Progress::AskOld(request);
        }
        if self.last_page {
            if self.place.0 + 1 == PREFIXES.len() {
                return Progress::Swept;
            }
            self.place = (self.place.0 + 1, Bytes::new());
        }
        self.scan()
    }

    /// P of the old members or more have said what they hold.
    fn judge(&mut self, sets: &[SetInForce]) -> Progress {
        let Step::Reading { key, held, highest } = &mut self.step else {
            return Progress::Waits;
        };
        let holds = |ballot: &&Ballot| **ballot == highest.0;
        let holders = held.values().filter(holds).count();
        let safe = holders >= sets[0].quorums.write() && all_staying_said(held, sets);
        let key = key.clone();
        let (ballot, state) = std::mem::take(highest);
        if ballot == Ballot::ZERO {
            return self.next_key();
        }
        // That an install respects promises follows from what it installs: whoever was
        // promised a ballot above a chosen one has seen it. To take the one rule out
        // without the other would change nothing.
        let whatever =
            active(Mutant::SweepInstallsUnchosen) || active(Mutant::InstallBypassesPromises);
        if !safe && !whatever {
            return self.settle(key);
        }
        self.step = Step::Installing {
            key: key.clone(),
            done: BTreeSet::new(),
            refused: BTreeSet::new(),
        };
        Progress::AskNew(Request::Install {
            key,
            ballot,
            state,
            epoch: self.epoch,
        })
    }

    fn settle(&mut self, key: Bytes) -> Progress {
        self.step = Step::Settling {
            key: key.clone(),
            failed: false,
        };
        Progress::Settle(key)
    }
}

/// Whether every old member that is a new one too has said what it holds.
fn all_staying_said(held: &BTreeMap<u64, Ballot>, sets: &[SetInForce]) -> bool {
    let stays = |node: &&u64| new_set(sets).nodes.contains(node);
    let mut staying = sets[0].nodes.iter().filter(stays);
    staying.all(|node| held.contains_key(node))
}
