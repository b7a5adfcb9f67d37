//! A write: prepare, apply, accept.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Answer, CallId, Coordinator, Effect, Failure, FailureKind, Kind, Now, Operation};
use crate::ballot::Ballot;
use crate::message::{Reply, Request};
use crate::mutant::{Mutant, active};
use crate::quorum::Quorums;
use crate::register::{Applied, Change, Operation as Asked, Outcome, Register};

/// What is answered once the proposed state is held by W members.
#[derive(Debug, Clone)]
pub(super) enum Conclusion {
    Outcome(Outcome),
    /// The identity write of a read that was refused too often.
    Value,
    /// The window was purged.
    Purged,
}

#[derive(Debug)]
enum Phase {
    /// Waits for its turn or its next attempt.
    Idle,
    Preparing {
        ballot: Ballot,
        highest: Ballot,
        state: Register,
        /// The highest revision that any of the answers has forgotten.
        revision_floor: u64,
    },
    Accepting {
        ballot: Ballot,
        state: Register,
        conclusion: Conclusion,
        /// The ballot of the key's next write, and who has promised it.
        next: Ballot,
        granted: BTreeSet<usize>,
    },
}

#[derive(Debug)]
pub(super) struct Write {
    key: Bytes,
    /// None for the identity change.
    operation: Option<Asked>,
    /// Whether the identity change also evicts what nobody may ask for any more.
    purges: bool,
    /// Whether it is to be held by the members that stay, and they are enough.
    settles: bool,
    fresh: bool,
    /// Whether a state with the operation in it was ever sent to anybody.
    proposed: bool,
    phase: Phase,
}

impl Write {
    pub(super) fn new(key: Bytes, operation: Asked, fresh: bool) -> Self {
        Self {
            key,
            operation: Some(operation),
            purges: false,
            settles: false,
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
            purges: false,
            settles: false,
            fresh: true,
            proposed: false,
            phase: Phase::Idle,
        }
    }

    /// A write that changes nothing but the operation window, from which it evicts
    /// what its ballot has passed.
    pub(super) fn purge(key: Bytes) -> Self {
        Self {
            purges: true,
            ..Self::identity(key)
        }
    }

    /// A write that changes nothing and takes what the old members hold to the new
    /// ones (REPLICATION rule 7).
    ///
    /// P of the old members promise, so that it sees whatever was chosen and nothing
    /// else of theirs is chosen after it. That W of them accept is not needed: nobody
    /// who goes by the old members alone is answered any more. So it succeeds when all
    /// of them would have to accept and one is dead.
    pub(super) fn settle(key: Bytes) -> Self {
        Self {
            settles: true,
            ..Self::identity(key)
        }
    }

    /// Another epoch has begun: the attempt is void. Says whether there was one.
    pub(super) fn void_attempt(&mut self) -> bool {
        !matches!(std::mem::replace(&mut self.phase, Phase::Idle), Phase::Idle)
    }

    pub(super) fn key(&self) -> &Bytes {
        &self.key
    }

    pub(super) fn was_proposed(&self) -> bool {
        self.proposed
    }

    fn is_put(&self) -> bool {
        let change = self.operation.as_ref().map(|operation| &operation.change);
        matches!(change, Some(Change::Put(_)))
    }
}

/// How many members must promise before anything is proposed: P, and where W is more,
/// W, because whoever does not promise does not accept either. A write that cannot be
/// chosen then leaves no trace, and its failure is certain.
fn answers_before_proposing(settles: bool) -> impl Fn(Quorums) -> usize + Copy {
    move |quorums: Quorums| {
        if settles {
            quorums.prepare()
        } else {
            quorums.prepare().max(quorums.write())
        }
    }
}

impl Coordinator {
    /// Begins the first attempt of a write: with the accept where P members have
    /// promised a ballot already, else with a prepare.
    pub(super) fn begin_write(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Write(write) = &mut operation.kind else {
            return None;
        };
        if active(Mutant::BlindPutWithoutPrepare) && write.is_put() {
            let ballot = self.fresh_ballot(now);
            return self.propose(
                now,
                id,
                operation,
                (ballot, Ballot::ZERO, Register::default()),
                effects,
            );
        }
        // Taken out before anything else: it serves this attempt or none.
        let warm = self.warm.take(&write.key);
        // The ballot's clock has stood still since it was promised. Deadlines are
        // judged by the present one, as they would be in a prepare.
        let clock = self.clock.peek(now.wall_ms);
        let in_time = write
            .operation
            .as_ref()
            .is_none_or(|asked| asked.deadline >= clock);
        match warm {
            Some(warm)
                if in_time
                    && operation
                        .electorate
                        .reaches(|member| self.is_connected(member), Quorums::write) =>
            {
                self.propose(
                    now,
                    id,
                    operation,
                    (warm.ballot, warm.accepted, warm.state),
                    effects,
                )
            }
            _ => {
                self.prepare(now, id, operation, effects);
                None
            }
        }
    }

    /// Turns a request that turned out to need a write into one. It goes by what the
    /// namespace's settings are *now*: a read of a namespace that nobody had created
    /// began by the default, and a write by the default after its creation with others
    /// would propose what a write by those has replaced.
    pub(super) fn go_on_writing(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        write: Write,
        effects: &mut Vec<Effect>,
    ) {
        let key = write.key.clone();
        operation.kind = Kind::Write(write);
        operation.round.restart_fully();
        operation.wake_ms = u64::MAX;
        // Otherwise it waits, and begins when they are known.
        if self.look_up(now, id, operation, effects) && self.enqueue(id, key) {
            self.prepare(now, id, operation, effects);
        }
    }

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
            revision_floor: 0,
        };
        let request = Request::Prepare {
            key: write.key.clone(),
            ballot,
        };
        operation.unsettled = false;
        operation.round.restart_fully();
        for member in operation.electorate.members() {
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
                Phase::Preparing {
                    ballot,
                    highest,
                    state,
                    revision_floor,
                },
                Reply::Holds {
                    accepted,
                    state: held,
                    revision_floor: forgotten,
                    ..
                },
            ) => {
                operation.round.done(from);
                if accepted > *highest {
                    *highest = accepted;
                    *state = held;
                }
                *revision_floor = (*revision_floor).max(forgotten);
                let need = answers_before_proposing(write.settles);
                if !operation.electorate.is_done(&operation.round, need) {
                    return self.on_write_failure(now, operation);
                }
                // A key that was forgotten goes on above what it may have been, so
                // that no revision comes twice.
                if *highest == Ballot::ZERO && !active(Mutant::RevisionsRestart) {
                    state.revision = *revision_floor;
                }
                let shown = (*ballot, *highest, std::mem::take(state));
                self.propose(now, id, operation, shown, effects)
            }
            (Phase::Accepting { granted, .. }, Reply::Accepted { promised }) => {
                if promised {
                    granted.insert(from);
                }
                operation.round.done(from);
                let accepted = |member| operation.round.is_done(member);
                let chosen = if write.settles {
                    operation
                        .electorate
                        .new_set_reaches(accepted, Quorums::write)
                } else {
                    operation.electorate.reaches(accepted, Quorums::write)
                };
                if !chosen {
                    return self.on_write_failure(now, operation);
                }
                self.conclude(id, operation)
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
        let (round, electorate) = (&operation.round, &operation.electorate);
        let possible = |member| round.may_do(member);
        let (possible, needed) = match write.phase {
            Phase::Idle => return None,
            Phase::Preparing { .. } => {
                let need = answers_before_proposing(write.settles);
                (electorate.reaches(possible, need), electorate.most(need))
            }
            Phase::Accepting { .. } => {
                let reaches = if write.settles {
                    electorate.new_set_reaches(possible, Quorums::write)
                } else {
                    electorate.reaches(possible, Quorums::write)
                };
                (reaches, electorate.most(Quorums::write))
            }
        };
        // The answer of this node's own replica always comes.
        if possible || round.is_asked(self.me) {
            return None;
        }
        let answered = operation.round.count_answered();
        let contended = operation.round.any_refused();
        if contended || write.proposed || operation.unsettled {
            // Either somebody else was faster, or the operation may have been
            // taken by some: only another attempt can tell what became of it.
            write.phase = Phase::Idle;
            self.back_off(now, operation);
            return None;
        }
        let kind = FailureKind::NoQuorum { answered, needed };
        Some(Err(self.failure(now, kind, operation)))
    }

    /// P members have promised `ballot`, and `state` is the highest that they hold,
    /// accepted under `highest`: applies the operation to it and asks all to accept
    /// the result.
    fn propose(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        (ballot, highest, state): (Ballot, Ballot, Register),
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        let Kind::Write(write) = &mut operation.kind else {
            return None;
        };
        write.phase = Phase::Idle;
        let (state, conclusion) = match &write.operation {
            None if write.purges => {
                let mut purged = state;
                purged.window.evict_before(ballot.clock);
                (purged, Conclusion::Purged)
            }
            None => (state, Conclusion::Value),
            Some(asked) => match state.apply(asked, ballot) {
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
                Applied::Unchanged(outcome) if active(Mutant::OutcomeBeforeAccept) => {
                    return Some(Ok(Answer::Written { outcome, acks: 0 }));
                }
                // A first attempt is the only one; of a retry there may be others.
                Applied::Unchanged(outcome) if write.fresh => (state, Conclusion::Outcome(outcome)),
                Applied::Unchanged(outcome) => match state.settle(asked, outcome, ballot) {
                    Some(settled) => (settled, Conclusion::Outcome(outcome)),
                    None => {
                        let kind = FailureKind::OutcomeUnknown;
                        return Some(Err(self.failure(now, kind, operation)));
                    }
                },
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
        let next = Ballot {
            epoch: self.membership.epoch(),
            clock: self.clock.tick(now.wall_ms),
            proposer: self.proposer,
        };
        // Nobody is about to write a key that is being forgotten; and while members
        // change, ballots grow old before they are used.
        let offered = (!write.purges && !self.membership.is_joint()).then_some(next);
        let request = Request::Accept {
            key: write.key.clone(),
            ballot,
            state: state.clone(),
            next: offered,
            epoch: self.membership.epoch(),
        };
        write.phase = Phase::Accepting {
            ballot,
            state,
            conclusion,
            next,
            granted: BTreeSet::new(),
        };
        operation.round.restart_fully();
        for member in operation.electorate.members() {
            self.send(id, operation, member, request.clone(), effects);
        }
        None
    }

    /// W members hold the state: it is chosen. Whoever promised the next ballot
    /// along with it has made that one warm.
    fn conclude(&mut self, id: u64, operation: &mut Operation) -> Option<Result<Answer, Failure>> {
        let acks = operation.round.count_done();
        let Kind::Write(write) = &mut operation.kind else {
            return None;
        };
        let settles = write.settles;
        let Phase::Accepting {
            ballot,
            state,
            conclusion,
            next,
            granted,
        } = &mut write.phase
        else {
            return None;
        };
        let call = CallId {
            operation: id,
            round: operation.round.number(),
        };
        if !operation.electorate.is_joint() {
            self.warm.keep(
                call,
                write.key.clone(),
                *next,
                *ballot,
                state.clone(),
                std::mem::take(granted),
                operation.electorate.quorums().prepare(),
            );
        }
        Some(Ok(match conclusion {
            Conclusion::Outcome(outcome) => Answer::Written {
                outcome: *outcome,
                acks,
            },
            Conclusion::Value if settles => Answer::Settled,
            Conclusion::Value => Answer::Value(std::mem::take(state)),
            Conclusion::Purged => Answer::Forgotten(false),
        }))
    }
}
