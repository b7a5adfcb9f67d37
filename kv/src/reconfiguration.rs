//! Drives a change of members from one set to another (REPLICATION rule 7).
//!
//! A state machine without sockets, clock or disk. Whoever runs it may die at any step:
//! the directory says that the change has begun, and every step can be done again, by
//! anybody. Two that run at the same time do no harm, because each cas of the directory
//! replaces one exact record, and everything between is idempotent.
//!
//! 1. **Joint**: a cas of the directory from `Stable(e)` to `Joint(e+1)`.
//! 2. **Fence**: max(P, N-R+1) members of each set say that they are durably in e+1.
//!    From then on nothing is promised, accepted or read in e any more.
//! 3. **Sweep**: every key that P of the old members know is brought to W of the new
//!    ones (`sweep.rs`).
//! 4. **Floors**: the highest floors that the fence found are durable at P of the new
//!    members.
//! 5. **Stable**: a cas of the directory to `Stable(e+2)`.
//!
//! Whoever has leases or callbacks would wait for them before step 5; there are none
//! yet.

mod sweep;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::ballot::Ballot;
use crate::directory::{DirectoryRecord, MemberSet, SetInForce};
use crate::message::{Reply, Request};
use crate::mutant::{Mutant, active};
use crate::quorum::Quorums;

use sweep::{Progress, Sweep};

/// After this long without enough answers, everybody who has not answered is asked
/// again, in milliseconds.
const ASK_AGAIN_MS: u64 = 100;

/// Names a round of questions: answers to former ones count for nothing.
pub type RoundNumber = u64;

/// What a change wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Replace the directory's record by this one, if it follows the present one; and
    /// report the record that is there afterwards.
    Cas(DirectoryRecord),
    /// Report the record that is there now.
    Look,
    /// Ask this node.
    Ask(u64, RoundNumber, Request),
    /// Have a coordinator that is in the change's epoch, or a later one, carry out
    /// [`Settle`](crate::coordinator::Command::Settle) for this key, and report whether
    /// it did.
    Settle(RoundNumber, Bytes),
    /// The change is over.
    Over(Ended),
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The new members hold the keys.
    Completed,
    /// Somebody else began another change first, or has ended this one.
    Overtaken,
}

#[derive(Debug)]
enum Step {
    /// Waits for the directory to hold this record.
    Proposing(DirectoryRecord),
    Fencing,
    Sweeping(Sweep),
    RaisingFloors,
    Completing(DirectoryRecord),
    Over,
}

/// A change of members.
#[derive(Debug)]
pub struct Reconfiguration {
    /// The directory's record, as far as it is known.
    record: DirectoryRecord,
    step: Step,
    round: Round,
    floor: Ballot,
    revision_floor: u64,
}

/// Who was asked the same question, and who has done what it asks.
#[derive(Debug)]
struct Round {
    number: RoundNumber,
    request: Option<Request>,
    asked: BTreeSet<u64>,
    done: BTreeSet<u64>,
    /// When those who have not answered are asked again.
    again_ms: u64,
}

impl Reconfiguration {
    /// Begins to replace the members of `record` by `new`, or takes up the change that
    /// `record` shows to be under way, whatever its new members are.
    ///
    /// None when there is nothing to change.
    #[must_use]
    pub fn begin(
        record: DirectoryRecord,
        new: MemberSet,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) -> Option<Self> {
        let mut change = Self {
            step: Step::Fencing,
            round: Round::new(),
            floor: Ballot::ZERO,
            revision_floor: 0,
            record,
        };
        if change.record.is_joint() {
            change.fence(now_ms, effects);
        } else {
            let next = change.record.begin_change(new).ok()?;
            effects.push(Effect::Cas(next.clone()));
            change.step = Step::Proposing(next);
            change.round.begin(now_ms, None);
        }
        Some(change)
    }

    /// The epoch that the change goes through.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        match &self.step {
            Step::Proposing(next) => next.epoch(),
            _ => self.record.epoch(),
        }
    }

    /// Takes note of the record that the directory holds.
    pub fn directory(&mut self, now_ms: u64, record: &DirectoryRecord, effects: &mut Vec<Effect>) {
        match &self.step {
            Step::Proposing(next) if record == next => {
                self.record = record.clone();
                self.fence(now_ms, effects);
            }
            Step::Completing(next) if record == next => self.end(Ended::Completed, effects),
            Step::Over => {}
            // Not replaced yet: the next tick tries again.
            _ if *record == self.record => {}
            _ if record.epoch() >= self.record.epoch() => self.end(Ended::Overtaken, effects),
            _ => {}
        }
    }

    /// Takes a node's answer.
    pub fn reply(
        &mut self,
        now_ms: u64,
        round: RoundNumber,
        node: u64,
        reply: Reply,
        effects: &mut Vec<Effect>,
    ) {
        if round != self.round.number {
            return;
        }
        if let Reply::WrongEpoch { epoch } = reply {
            if epoch > self.record.epoch() {
                effects.push(Effect::Look);
            }
            return;
        }
        let sets = self.record.in_force();
        match (&mut self.step, reply) {
            (
                Step::Fencing,
                Reply::Fenced {
                    floor,
                    revision_floor,
                },
            ) => {
                self.floor = self.floor.max(floor);
                self.revision_floor = self.revision_floor.max(revision_floor);
                self.round.done.insert(node);
                let fenced = |set| self.round.has(set, Quorums::fence);
                if sets.iter().all(fenced) {
                    self.sweep(now_ms, effects);
                }
            }
            (Step::Sweeping(sweep), reply) => {
                let progress = sweep.reply(&sets, node, reply);
                self.go_on(now_ms, progress, effects);
            }
            (Step::RaisingFloors, Reply::FloorsRaised) => {
                self.round.done.insert(node);
                if self.round.has(new_set(&sets), Quorums::prepare) {
                    self.complete(now_ms, effects);
                }
            }
            _ => {}
        }
    }

    /// Takes what came of [`Effect::Settle`].
    pub fn settled(
        &mut self,
        now_ms: u64,
        round: RoundNumber,
        settled: bool,
        effects: &mut Vec<Effect>,
    ) {
        if round != self.round.number {
            return;
        }
        if let Step::Sweeping(sweep) = &mut self.step {
            let progress = sweep.settled(settled);
            self.go_on(now_ms, progress, effects);
        }
    }

    /// Asks again what was not answered.
    pub fn tick(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if now_ms < self.round.again_ms {
            return;
        }
        self.round.again_ms = now_ms + ASK_AGAIN_MS;
        match &mut self.step {
            Step::Proposing(next) | Step::Completing(next) => {
                effects.push(Effect::Cas(next.clone()));
            }
            Step::Sweeping(sweep) => {
                if let Some(progress) = sweep.time_passed(&self.record.in_force()) {
                    return self.go_on(now_ms, progress, effects);
                }
            }
            Step::Over => return,
            Step::Fencing | Step::RaisingFloors => {}
        }
        // Somebody else may have gone on.
        effects.push(Effect::Look);
        self.round.ask(effects);
    }

    /// When [`Self::tick`] is next due.
    #[must_use]
    pub fn next_tick_ms(&self) -> u64 {
        self.round.again_ms
    }

    fn fence(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        self.step = Step::Fencing;
        let request = Request::Fence {
            epoch: self.record.epoch(),
        };
        let sets = self.record.in_force();
        let everybody = sets.iter().flat_map(|set| set.nodes.iter().copied());
        self.round
            .begin(now_ms, Some((request, everybody.collect())));
        self.round.ask(effects);
    }

    fn sweep(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if active(Mutant::NoSweep) {
            return self.raise_floors(now_ms, effects);
        }
        let (sweep, progress) = Sweep::begin(self.record.epoch());
        self.step = Step::Sweeping(sweep);
        self.go_on(now_ms, progress, effects);
    }

    fn go_on(&mut self, now_ms: u64, progress: Progress, effects: &mut Vec<Effect>) {
        let sets = self.record.in_force();
        match progress {
            Progress::Waits => {}
            Progress::AskOld(request) => {
                let old = sets.first().map_or(&[][..], |set| &set.nodes);
                let asked = old.iter().copied().collect();
                self.round.begin(now_ms, Some((request, asked)));
                self.round.ask(effects);
            }
            Progress::AskNew(request) => {
                let asked = new_set(&sets).nodes.iter().copied().collect();
                self.round.begin(now_ms, Some((request, asked)));
                self.round.ask(effects);
            }
            Progress::Settle(key) => {
                self.round.begin(now_ms, None);
                effects.push(Effect::Settle(self.round.number, key));
            }
            Progress::Swept => self.raise_floors(now_ms, effects),
        }
    }

    /// Not before the sweep: a floor refuses installs of ballots below it.
    fn raise_floors(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if active(Mutant::FloorNotCarriedOver) {
            return self.complete(now_ms, effects);
        }
        self.step = Step::RaisingFloors;
        let request = Request::RaiseFloors {
            floor: self.floor,
            revision_floor: self.revision_floor,
            epoch: self.record.epoch(),
        };
        let sets = self.record.in_force();
        let asked = new_set(&sets).nodes.iter().copied().collect();
        self.round.begin(now_ms, Some((request, asked)));
        self.round.ask(effects);
    }

    fn complete(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let Ok(next) = self.record.complete_change() else {
            return self.end(Ended::Overtaken, effects);
        };
        effects.push(Effect::Cas(next.clone()));
        self.step = Step::Completing(next);
        self.round.begin(now_ms, None);
    }

    fn end(&mut self, ended: Ended, effects: &mut Vec<Effect>) {
        self.step = Step::Over;
        self.round.again_ms = u64::MAX;
        effects.push(Effect::Over(ended));
    }
}

impl Round {
    fn new() -> Self {
        Self {
            number: 0,
            request: None,
            asked: BTreeSet::new(),
            done: BTreeSet::new(),
            again_ms: 0,
        }
    }

    fn begin(&mut self, now_ms: u64, question: Option<(Request, BTreeSet<u64>)>) {
        let (request, asked) = question.unzip();
        *self = Self {
            number: self.number + 1,
            request,
            asked: asked.unwrap_or_default(),
            done: BTreeSet::new(),
            again_ms: now_ms + ASK_AGAIN_MS,
        };
    }

    /// Asks those who have not answered.
    fn ask(&self, effects: &mut Vec<Effect>) {
        let Some(request) = &self.request else {
            return;
        };
        for node in self.asked.difference(&self.done) {
            effects.push(Effect::Ask(*node, self.number, request.clone()));
        }
    }

    fn has(&self, set: &SetInForce, need: fn(Quorums) -> usize) -> bool {
        count(set, &self.done) >= need(set.quorums)
    }
}

/// How many of the nodes count for a set.
fn count(set: &SetInForce, nodes: &BTreeSet<u64>) -> usize {
    let counts = |node: &&u64| nodes.contains(node);
    set.nodes.iter().filter(counts).count()
}

fn new_set(sets: &[SetInForce]) -> &SetInForce {
    sets.last().expect("a record has a set in force")
}
