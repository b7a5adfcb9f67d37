//! A read: ask, and when the members disagree, finish what somebody began.

use bytes::Bytes;

use super::gathered::Gathered;
use super::{
    Answer, Coordinator, Effect, Failure, FailureKind, HEDGE_AFTER_MS, Kind, Level, Now, Operation,
    Write,
};
use crate::message::{Reply, Request};
use crate::mutant::{Mutant, active};
use crate::quorum::Quorums;

/// After so many refused repairs a read prepares after all.
const REFUSALS_MAX: u32 = 3;

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Gathering,
    Repairing,
    /// Waits before it asks again.
    Paused,
}

#[derive(Debug)]
pub(super) struct Read {
    key: Bytes,
    level: Level,
    phase: Phase,
    /// What the members said in this round.
    gathered: Gathered,
    refusals: u32,
}

impl Read {
    pub(super) fn new(key: Bytes, level: Level) -> Self {
        Self {
            key,
            level,
            phase: Phase::Gathering,
            gathered: Gathered::default(),
            refusals: 0,
        }
    }

    pub(super) fn key(&self) -> &Bytes {
        &self.key
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Another epoch has begun: what was said so far counts for nothing.
    pub(super) fn pause(&mut self) {
        self.phase = Phase::Paused;
    }
}

/// How many members must answer a read of this level.
pub(super) fn replies_needed(level: Level, quorums: Quorums) -> usize {
    match level {
        Level::Linearizable if active(Mutant::MinorityRead) => 1,
        Level::Linearizable => quorums.linearizable_read(),
        Level::Quorum => quorums.read(),
        Level::One => 1,
    }
}

impl Coordinator {
    /// Asks as many members as must answer; the others are spared until one of
    /// these fails or is slow.
    pub(super) fn gather(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) {
        let Kind::Read(read) = &mut operation.kind else {
            return;
        };
        read.phase = Phase::Gathering;
        read.gathered = Gathered::default();
        let level = read.level;
        let request = self.read_request(&read.key);
        operation.unsettled = false;
        operation.round.restart_fully();
        operation.wake_ms = now.steady_ms + HEDGE_AFTER_MS;
        let need = |quorums| replies_needed(level, quorums);
        self.ask_for(id, operation, need, &request, effects);
    }

    pub(super) fn on_read_reply(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        from: usize,
        reply: Reply,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Read(read) = &mut operation.kind else {
            return None;
        };
        match (&read.phase, reply) {
            (
                Phase::Gathering,
                Reply::Holds {
                    accepted,
                    state,
                    condemned,
                    floor,
                    ..
                },
            ) => {
                operation.round.done(from);
                let gathered = &mut read.gathered;
                gathered.take(from, accepted, state, condemned, floor);
                self.warm.doubt(&read.key, accepted);
                let level = read.level;
                let need = |quorums| replies_needed(level, quorums);
                if !operation.electorate.is_done(&operation.round, need) {
                    return self.on_read_failure(now, id, operation, effects);
                }
                self.judge(now, id, operation, effects)
            }
            (Phase::Repairing, Reply::Accepted { .. }) => {
                operation.round.done(from);
                if !operation
                    .electorate
                    .is_done(&operation.round, Quorums::write)
                {
                    return self.on_read_failure(now, id, operation, effects);
                }
                Some(Ok(Answer::Value(std::mem::take(&mut read.gathered.state))))
            }
            _ => {
                operation.round.fail(from, "answered something else");
                self.on_read_failure(now, id, operation, effects)
            }
        }
    }

    pub(super) fn on_read_failure(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Read(read) = &mut operation.kind else {
            return None;
        };
        let (level, repairing) = (read.level, read.phase == Phase::Repairing);
        if read.phase == Phase::Paused {
            return None;
        }
        let need = |quorums: Quorums| {
            if repairing {
                quorums.write()
            } else {
                replies_needed(level, quorums)
            }
        };
        let electorate = &operation.electorate;
        let needed = electorate.most(need);
        if !electorate.is_out_of_reach(&operation.round, need, self.me) {
            if !repairing {
                let request = self.read_request(&read.key);
                self.ask_for(id, operation, need, &request, effects);
            }
            return None;
        }
        if operation.round.any_refused() {
            read.refusals += 1;
            if read.refusals >= REFUSALS_MAX {
                return self.read_by_writing(now, id, operation, effects);
            }
            read.phase = Phase::Paused;
            self.back_off(now, operation);
            return None;
        }
        if operation.unsettled {
            read.phase = Phase::Paused;
            self.back_off(now, operation);
            return None;
        }
        let answered = operation.round.count_answered();
        let kind = FailureKind::NoQuorum { answered, needed };
        Some(Err(self.failure(now, kind, operation)))
    }

    pub(super) fn on_read_wake(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Read(read) = &operation.kind else {
            return None;
        };
        match read.phase {
            Phase::Paused => self.gather(now, id, operation, effects),
            Phase::Gathering => {
                let request = self.read_request(&read.key);
                self.ask_rest(id, operation, &request, effects);
            }
            Phase::Repairing => {}
        }
        None
    }

    /// Enough members have answered: returns the highest state if W of them hold
    /// it, else sends that very accept to the others first. What only some hold
    /// may never have been chosen; returned without repair, a later read could
    /// miss it.
    fn judge(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Read(read) = &mut operation.kind else {
            return None;
        };
        // Neither is the state known to be the latest, nor can the others be made to
        // hold it. A ballot of its own tells; with it the others hold the key again.
        if read.level != Level::One && read.gathered.may_be_forgotten() {
            return self.read_by_writing(now, id, operation, effects);
        }
        let holders: Vec<usize> = read.gathered.holders().collect();
        // All members held it when it was condemned; to repair it would bring it back
        // where it is removed.
        let chosen = read.gathered.condemned
            || operation
                .electorate
                .reaches(|member| holders.contains(&member), Quorums::write)
            || active(Mutant::ReadWithoutWriteBack)
            || active(Mutant::MinorityRead);
        if read.level != Level::Linearizable || chosen {
            return Some(Ok(Answer::Value(std::mem::take(&mut read.gathered.state))));
        }
        // A state of the epoch before that the old members have not chosen: the new ones
        // have not made the promises that keep another one from being chosen instead
        // (`reconfiguration/sweep.rs`). Such a state is never spread, only written anew.
        let of_old_members =
            operation.electorate.is_joint() && read.gathered.highest.epoch < self.epoch();
        let chosen_by_them = operation
            .electorate
            .old_set_reaches(|member| holders.contains(&member), Quorums::write);
        if of_old_members && !chosen_by_them && !active(Mutant::SweepInstallsUnchosen) {
            return self.read_by_writing(now, id, operation, effects);
        }
        read.phase = Phase::Repairing;
        let request = Request::Accept {
            key: read.key.clone(),
            ballot: read.gathered.highest,
            state: read.gathered.state.clone(),
            next: None,
            epoch: self.epoch(),
        };
        operation.round.restart_fully();
        for member in operation.electorate.members() {
            if holders.contains(&member) {
                operation.round.done(member);
            } else {
                self.send(id, operation, member, request.clone(), effects);
            }
        }
        None
    }

    /// Rule 1 with the identity change: higher promises refuse the repair again and
    /// again (a writer that died after preparing, a floor after a restart), or the
    /// key may be forgotten.
    fn read_by_writing(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Read(read) = &operation.kind else {
            return None;
        };
        let write = Write::identity(read.key.clone());
        self.go_on_writing(now, id, operation, write, effects);
        None
    }

    fn read_request(&self, key: &Bytes) -> Request {
        Request::Read {
            key: key.clone(),
            epoch: self.epoch(),
        }
    }
}
