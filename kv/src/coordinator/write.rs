//! A write: prepare, apply, accept.

use bytes::Bytes;

use super::{Answer, Coordinator, Effect, Failure, FailureKind, Kind, Now, Operation};
use crate::ballot::Ballot;
use crate::message::{Reply, Request};
use crate::register::{Applied, Operation as Change, Outcome, Register};

/// What is answered once the proposed state is held by W members.
#[derive(Debug, Clone)]
pub(super) enum Conclusion {
    Outcome(Outcome),
    /// The identity write of a read that was refused too often.
    Value,
}

#[derive(Debug)]
enum Phase {
    /// Waits for its turn or its next attempt.
    Idle,
    Preparing {
        ballot: Ballot,
        highest: Ballot,
        state: Register,
    },
    Accepting {
        state: Register,
        conclusion: Conclusion,
    },
}

#[derive(Debug)]
pub(super) struct Write {
    key: Bytes,
    /// None for the identity change.
    operation: Option<Change>,
    fresh: bool,
    /// Whether a state with the operation in it was ever sent to anybody.
    proposed: bool,
    phase: Phase,
}

impl Write {
    pub(super) fn new(key: Bytes, operation: Change, fresh: bool) -> Self {
        Self {
            key,
            operation: Some(operation),
            fresh,
            proposed: false,
            phase: Phase::Idle,
        }
    }

    /// A write that changes nothing, so that what a read saw is chosen.
    pub(super) fn identity(key: Bytes) -> Self {
        Self {
            key,
            operation: None,
            fresh: true,
            proposed: false,
            phase: Phase::Idle,
        }
    }

    pub(super) fn key(&self) -> &Bytes {
        &self.key
    }

    pub(super) fn was_proposed(&self) -> bool {
        self.proposed
    }
}

impl Coordinator {
    /// Begins an attempt with a ballot of its own. A ballot is used for one
    /// attempt and never again, whatever became of it.
    pub(super) fn prepare(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) {
        let ballot = self.fresh_ballot(now);
        let Kind::Write(write) = &mut operation.kind else {
            return;
        };
        write.phase = Phase::Preparing {
            ballot,
            highest: Ballot::ZERO,
            state: Register::default(),
        };
        let request = Request::Prepare {
            key: write.key.clone(),
            ballot,
        };
        operation.round.restart_fully();
        for member in 0..self.quorums.members() {
            self.send(id, operation, member, request.clone(), effects);
        }
    }

    pub(super) fn on_write_reply(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        from: usize,
        reply: Reply,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Write(write) = &mut operation.kind else {
            return None;
        };
        match (&mut write.phase, reply) {
            (
                Phase::Preparing { highest, state, .. },
                Reply::Holds {
                    accepted,
                    state: held,
                },
            ) => {
                operation.round.done(from);
                if accepted > *highest {
                    *highest = accepted;
                    *state = held;
                }
                if operation.round.count_done() < self.quorums.prepare() {
                    return self.on_write_failure(now, operation);
                }
                self.propose(now, id, operation, effects)
            }
            (Phase::Accepting { .. }, Reply::Accepted) => {
                operation.round.done(from);
                if operation.round.count_done() < self.quorums.write() {
                    return self.on_write_failure(now, operation);
                }
                self.conclude(operation)
            }
            // An answer of another kind than asked for: as if there were none.
            _ => {
                operation.round.fail(from, "answered something else");
                self.on_write_failure(now, operation)
            }
        }
    }

    /// Ends the attempt if its quorum is out of reach.
    pub(super) fn on_write_failure(
        &mut self,
        now: Now,
        operation: &mut Operation,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Write(write) = &mut operation.kind else {
            return None;
        };
        let needed = match write.phase {
            Phase::Idle => return None,
            Phase::Preparing { .. } => self.quorums.prepare(),
            Phase::Accepting { .. } => self.quorums.write(),
        };
        if !operation.round.is_out_of_reach(needed, self.me) {
            return None;
        }
        let answered = operation.round.count_answered();
        let contended = operation.round.any_refused();
        if contended || write.proposed {
            // Either somebody else was faster, or the operation may have been
            // taken by some: only another attempt can tell what became of it.
            write.phase = Phase::Idle;
            self.back_off(now, operation);
            return None;
        }
        let kind = FailureKind::NoQuorum { answered, needed };
        Some(Err(self.failure(now, kind, operation)))
    }

    /// P members have promised: applies the operation to the highest state that
    /// they hold and asks all to accept the result.
    fn propose(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Write(write) = &mut operation.kind else {
            return None;
        };
        let Phase::Preparing {
            ballot,
            highest,
            state,
        } = std::mem::replace(&mut write.phase, Phase::Idle)
        else {
            return None;
        };
        let (state, conclusion) = match &write.operation {
            None => (state, Conclusion::Value),
            Some(change) => match state.apply(change, ballot) {
                Applied::Changed(changed, outcome) => {
                    write.proposed = true;
                    (changed, Conclusion::Outcome(outcome))
                }
                // None of P members holds anything, and they have promised to
                // accept nothing older: nothing older is or will be chosen, so
                // "there is none" is true now. A minority's older state may still
                // be taken up under a newer ballot later; that is a later write,
                // unless it carries this very operation, which only a first
                // attempt cannot have left anywhere.
                Applied::Unchanged(outcome)
                    if highest == Ballot::ZERO && write.fresh && !write.proposed =>
                {
                    return Some(Ok(Answer::Written {
                        outcome,
                        acks: operation.round.count_done(),
                    }));
                }
                Applied::Unchanged(outcome) => (state, Conclusion::Outcome(outcome)),
                Applied::Expired if write.fresh && !write.proposed => {
                    let kind = FailureKind::DeadlinePassed;
                    return Some(Err(self.failure(now, kind, operation)));
                }
                Applied::Expired | Applied::Superseded => {
                    let kind = FailureKind::OutcomeLost;
                    return Some(Err(self.failure(now, kind, operation)));
                }
                Applied::WindowFull if write.fresh && !write.proposed => {
                    return Some(Err(self.failure(now, FailureKind::Busy, operation)));
                }
                Applied::WindowFull => {
                    let kind = FailureKind::OutcomeUnknown;
                    return Some(Err(self.failure(now, kind, operation)));
                }
            },
        };
        let request = Request::Accept {
            key: write.key.clone(),
            ballot,
            state: state.clone(),
        };
        write.phase = Phase::Accepting { state, conclusion };
        operation.round.restart_fully();
        for member in 0..self.quorums.members() {
            self.send(id, operation, member, request.clone(), effects);
        }
        None
    }

    fn conclude(&self, operation: &mut Operation) -> Option<Result<Answer, Failure>> {
        let acks = operation.round.count_done();
        let Kind::Write(write) = &mut operation.kind else {
            return None;
        };
        let Phase::Accepting { state, conclusion } = &mut write.phase else {
            return None;
        };
        Some(Ok(match conclusion {
            Conclusion::Outcome(outcome) => Answer::Written {
                outcome: *outcome,
                acks,
            },
            Conclusion::Value => Answer::Value(std::mem::take(state)),
        }))
    }
}
