//! Forgetting a deleted key: see that all members hold its tombstone, have all of
//! them condemn it, then have each remove it (REPLICATION rule 6).
//!
//! A tombstone keeps older values from coming back: a member that missed the
//! deletion still holds one, and so does a message under way. Only when *all*
//! members hold the tombstone is there no such member, and only a floor above
//! everything that was ever promised for the key stops such a message after the
//! record is gone. Less than all, or a timer, resurrects deleted data.

use bytes::Bytes;

use super::gathered::Gathered;
use super::{Answer, Coordinator, Effect, Failure, FailureKind, Kind, Now, Operation, Write};
use crate::ballot::Ballot;
use crate::message::{Reply, Request};
use crate::mutant::{Mutant, active};
use crate::quorum::Quorums;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Gathering,
    Spreading,
    Condemning,
    Removing,
}

#[derive(Debug)]
pub(super) struct Forget {
    key: Bytes,
    phase: Phase,
    gathered: Gathered,
}

impl Forget {
    pub(super) fn new(key: Bytes) -> Self {
        Self {
            key,
            phase: Phase::Gathering,
            gathered: Gathered::default(),
        }
    }

    pub(super) fn key(&self) -> &Bytes {
        &self.key
    }
}

impl Coordinator {
    /// Asks all members what they hold.
    pub(super) fn begin_forgetting(
        &mut self,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Forget(forget) = &operation.kind else {
            return None;
        };
        // "All members" has one meaning only while they do not change.
        if self.membership.is_joint() {
            return Some(Ok(Answer::Forgotten(false)));
        }
        let request = Request::Read {
            key: forget.key.clone(),
            epoch: self.epoch(),
        };
        self.ask_all(id, operation, &request, effects);
        None
    }

    pub(super) fn on_forget_reply(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        from: usize,
        reply: Reply,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Forget(forget) = &mut operation.kind else {
            return None;
        };
        match (forget.phase, reply) {
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
                let gathered = &mut forget.gathered;
                gathered.take(from, accepted, state, condemned, floor);
            }
            (Phase::Spreading, Reply::Accepted { .. })
            | (Phase::Condemning, Reply::Condemned)
            | (Phase::Removing, Reply::Removed) => {}
            _ => {
                operation.round.fail(from, "answered something else");
                return self.on_forget_failure(now, id, operation, effects);
            }
        }
        operation.round.done(from);
        // All of them: see the head of this file.
        let needed = if active(Mutant::RemovalAtQuorum) {
            Quorums::write
        } else {
            Quorums::members
        };
        if !operation.electorate.is_done(&operation.round, needed) {
            return self.on_forget_failure(now, id, operation, effects);
        }
        match forget.phase {
            Phase::Gathering => self.judge_tombstone(now, id, operation, effects),
            Phase::Spreading => self.condemn(id, operation, effects),
            Phase::Condemning => self.remove(id, operation, effects),
            Phase::Removing => Some(Ok(Answer::Forgotten(true))),
        }
    }

    /// One member that is missing or does not hold the tombstone any more ends it;
    /// nothing is lost, and a later sweep begins again.
    pub(super) fn on_forget_failure(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        if operation.round.any_refused() {
            let Kind::Forget(forget) = &operation.kind else {
                return None;
            };
            // A member that missed it has promised or removed something younger since,
            // of any key: it will never take this ballot. Under a younger one it will,
            // and the next sweep finds that all hold the same.
            if forget.phase == Phase::Spreading {
                let write = Write::purge(forget.key.clone());
                self.go_on_writing(now, id, operation, write, effects);
                return None;
            }
            return Some(Ok(Answer::Forgotten(false)));
        }
        let electorate = &operation.electorate;
        let needed = electorate.most(Quorums::members);
        if active(Mutant::RemovalAtQuorum)
            || !electorate.is_out_of_reach(&operation.round, Quorums::members, self.me)
        {
            return None;
        }
        let answered = operation.round.count_answered();
        let kind = FailureKind::NoQuorum { answered, needed };
        Some(Err(self.failure(now, kind, operation)))
    }

    fn judge_tombstone(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let clock = self.clock.peek(now.wall_ms);
        let Kind::Forget(forget) = &mut operation.kind else {
            return None;
        };
        if forget.gathered.highest == Ballot::ZERO || forget.gathered.state.value.is_some() {
            return Some(Ok(Answer::Forgotten(false)));
        }
        // An outcome that may still be asked for.
        let entries = forget.gathered.state.window.entries();
        if entries.iter().any(|entry| entry.deadline >= clock) {
            return Some(Ok(Answer::Forgotten(false)));
        }
        if !entries.is_empty() {
            // A write that only evicts what nobody may ask for any more. The next
            // sweep finds a tombstone without a window.
            let write = Write::purge(forget.key.clone());
            self.go_on_writing(now, id, operation, write, effects);
            return None;
        }
        // Whoever condemned it did so after all held it: a member that has nothing
        // now has removed it already.
        if forget.gathered.condemned {
            return self.condemn(id, operation, effects);
        }
        forget.phase = Phase::Spreading;
        let request = Request::Accept {
            key: forget.key.clone(),
            ballot: forget.gathered.highest,
            state: forget.gathered.state.clone(),
            next: None,
            epoch: self.epoch(),
        };
        let laggards: Vec<usize> = forget.gathered.laggards().collect();
        if laggards.is_empty() {
            return self.condemn(id, operation, effects);
        }
        operation.round.restart_fully();
        for member in operation.electorate.members() {
            if laggards.contains(&member) {
                self.send(id, operation, member, request.clone(), effects);
            } else {
                operation.round.done(member);
            }
        }
        None
    }

    fn condemn(
        &mut self,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Forget(forget) = &mut operation.kind else {
            return None;
        };
        forget.phase = Phase::Condemning;
        let request = Request::Condemn {
            key: forget.key.clone(),
            ballot: forget.gathered.highest,
            epoch: self.epoch(),
        };
        self.ask_all(id, operation, &request, effects);
        None
    }

    fn remove(
        &mut self,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Forget(forget) = &mut operation.kind else {
            return None;
        };
        forget.phase = Phase::Removing;
        let request = Request::Remove {
            key: forget.key.clone(),
            ballot: forget.gathered.highest,
            revision: forget.gathered.state.revision,
            epoch: self.epoch(),
        };
        self.ask_all(id, operation, &request, effects);
        None
    }

    fn ask_all(
        &self,
        id: u64,
        operation: &mut Operation,
        request: &Request,
        effects: &mut Vec<Effect>,
    ) {
        operation.round.restart_fully();
        for member in operation.electorate.members() {
            self.send(id, operation, member, request.clone(), effects);
        }
    }
}
