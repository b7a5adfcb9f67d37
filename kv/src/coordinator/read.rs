//! A read: ask, and when the members disagree, finish what somebody began.

use bytes::Bytes;

use super::{
    Answer, Coordinator, Effect, Failure, FailureKind, HEDGE_AFTER_MS, Kind, Level, Now, Operation,
    Write,
};
use crate::ballot::Ballot;
use crate::message::{Reply, Request};
use crate::register::Register;

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
    highest: Ballot,
    state: Register,
    /// What each member said that it holds, in this round.
    held: Vec<(usize, Ballot)>,
    refusals: u32,
}

impl Read {
    pub(super) fn new(key: Bytes, level: Level) -> Self {
        Self {
            key,
            level,
            phase: Phase::Gathering,
            highest: Ballot::ZERO,
            state: Register::default(),
            held: Vec::new(),
            refusals: 0,
        }
    }
}

impl Coordinator {
    pub(super) fn replies_needed(&self, level: Level) -> usize {
        match level {
            Level::Linearizable => self.quorums.linearizable_read(),
            Level::Quorum => self.quorums.read(),
            Level::One => 1,
        }
    }

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
        read.highest = Ballot::ZERO;
        read.state = Register::default();
        read.held.clear();
        let needed = self.replies_needed(read.level);
        let request = self.read_request(&read.key);
        operation.round.restart_fully();
        operation.wake_ms = now.steady_ms + HEDGE_AFTER_MS;
        self.ask_more(id, operation, needed, &request, effects);
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
            (Phase::Gathering, Reply::Holds { accepted, state }) => {
                operation.round.done(from);
                read.held.push((from, accepted));
                if accepted > read.highest {
                    read.highest = accepted;
                    read.state = state;
                }
                if operation.round.count_done() < self.replies_needed(read.level) {
                    return self.on_read_failure(now, id, operation, effects);
                }
                self.judge(id, operation, effects)
            }
            (Phase::Repairing, Reply::Accepted) => {
                operation.round.done(from);
                if operation.round.count_done() < self.quorums.write() {
                    return self.on_read_failure(now, id, operation, effects);
                }
                Some(Ok(Answer::Value(std::mem::take(&mut read.state))))
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
        let needed = match read.phase {
            Phase::Paused => return None,
            Phase::Gathering => self.replies_needed(read.level),
            Phase::Repairing => self.quorums.write(),
        };
        if !operation.round.is_out_of_reach(needed, self.me) {
            if read.phase == Phase::Gathering {
                let request = self.read_request(&read.key);
                self.replace_failed(id, operation, needed, &request, effects);
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
                self.ask_more(id, operation, self.quorums.members(), &request, effects);
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
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Read(read) = &mut operation.kind else {
            return None;
        };
        let holders: Vec<usize> = read
            .held
            .iter()
            .filter(|(_, ballot)| *ballot == read.highest)
            .map(|(member, _)| *member)
            .collect();
        if read.level != Level::Linearizable || holders.len() >= self.quorums.write() {
            return Some(Ok(Answer::Value(std::mem::take(&mut read.state))));
        }
        read.phase = Phase::Repairing;
        let request = Request::Accept {
            key: read.key.clone(),
            ballot: read.highest,
            state: read.state.clone(),
        };
        operation.round.restart_fully();
        for member in 0..self.quorums.members() {
            if holders.contains(&member) {
                operation.round.done(member);
            } else {
                self.send(id, operation, member, request.clone(), effects);
            }
        }
        None
    }

    /// Higher promises refuse the repair again and again (a writer that died
    /// after preparing, a floor after a restart): rule 1 with the identity change.
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
        let key = read.key.clone();
        operation.kind = Kind::Write(Write::identity(key.clone()));
        operation.round.restart_fully();
        operation.wake_ms = u64::MAX;
        if self.enqueue(id, key) {
            self.prepare(now, id, operation, effects);
        }
        None
    }

    fn read_request(&self, key: &Bytes) -> Request {
        Request::Read {
            key: key.clone(),
            epoch: self.epoch,
        }
    }
}
