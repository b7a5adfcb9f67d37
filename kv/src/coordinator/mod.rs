//! The coordinator: carries a client's request through the members of a key.
//!
//! A state machine without socket, clock or randomness (its jitter comes from a
//! seed): requests, answers and failures go in with the time, messages and
//! results come out. Any node coordinates any key; nobody leads.
//!
//! - A **write** prepares a fresh ballot at P members, applies the operation to
//!   the highest state that they hold, and has the result accepted at W
//!   (REPLICATION rule 1). Writes of one key queue here instead of duelling.
//! - A **read** asks max(R, W) members; when W of them do not hold the highest
//!   state, it first has that very state accepted at W (rule 4).
//! - A **list** merges scans and reads each key about which they disagree.

mod command;
mod electorate;
mod epoch;
mod forget;
mod gathered;
mod list;
mod read;
mod round;
mod settings;
mod warm;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::ballot::{Ballot, Proposer};
use crate::clock::{Clock, HybridClock};
use crate::message::{Reply, Request};
use crate::quorum::Quorums;
use crate::replica::CLOCK_LEAD_MS_MAX;

pub use command::{Answer, Command, Failure, FailureKind, Level, ListEntry};
pub use electorate::Membership;
pub use round::MemberReport;

use electorate::Electorate;
use forget::Forget;
use list::List;
use read::Read;
use round::Round;
use settings::Namespaces;
use warm::WarmBallots;
use write::Write;

/// Most requests in progress at one coordinator.
pub const OPERATIONS_MAX: usize = 8192;
/// After this long without enough answers, the members that were spared are
/// asked too, in milliseconds.
const HEDGE_AFTER_MS: u64 = 25;
/// Longest pause between two attempts, in milliseconds.
const BACKOFF_MS_MAX: u64 = 64;

/// Names a client's request; the shell's affair.
pub type Token = u64;

/// The time, as the shell sees it.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds since 1970; may jump.
    pub wall_ms: u64,
    /// Milliseconds since some start; never jumps.
    pub steady_ms: u64,
}

/// Names a message and its answer: which operation, and which round of it.
/// Answers to former rounds are recognised and ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    operation: u64,
    round: u32,
}

/// What a coordinator wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this request to the member with this index.
    Send(usize, CallId, Request),
    /// The client's request is over.
    Finish(Token, Result<Answer, Failure>),
}

/// To whom a finished operation matters.
#[derive(Debug)]
enum Owner {
    Client(Token),
    /// A list that needs the read of this key.
    List(u64, Bytes),
    /// Whoever waits for the settings of this namespace.
    Settings(Bytes),
    /// Writes that wait until the default of this namespace is permanent.
    Claim(Bytes),
    /// A list that needs to know the namespaces that it spans.
    Spanning(u64),
}

enum Kind {
    Write(Write),
    Read(Read),
    List(List),
    Forget(Forget),
}

struct Operation {
    owner: Owner,
    expires_ms: u64,
    wake_ms: u64,
    round: Round,
    attempts: u32,
    /// Whether a member is in another epoch, so that the round proves nothing.
    unsettled: bool,
    electorate: Electorate,
    kind: Kind,
}

/// All requests in progress at one node.
pub struct Coordinator {
    me: usize,
    /// How many nodes the shell knows, members or not.
    nodes: usize,
    membership: Arc<Membership>,
    proposer: Proposer,
    clock: HybridClock,
    operations: BTreeMap<u64, Operation>,
    next_operation: u64,
    /// Writes by key; the first of each queue is in progress.
    queues: BTreeMap<Bytes, VecDeque<u64>>,
    /// Members that did not answer when last asked: asked last by reads.
    suspected: Vec<bool>,
    /// Members to which the shell knows that there is no connection.
    unconnected: Vec<bool>,
    warm: WarmBallots,
    namespaces: Namespaces,
    jitter: u64,
}

impl Coordinator {
    /// A coordinator at the member with index `me`, whose ballots carry `proposer`
    /// and begin above `clock`. `seed` only spreads pauses.
    #[must_use]
    pub fn new(
        me: usize,
        epoch: u64,
        proposer: Proposer,
        quorums: Quorums,
        clock: Clock,
        seed: u64,
    ) -> Self {
        let membership = Membership::stable(epoch, quorums);
        Self::among(me, quorums.members(), membership, proposer, clock, seed)
    }

    /// A coordinator at the node with index `me` of `nodes`, some of which are members.
    #[must_use]
    pub fn among(
        me: usize,
        nodes: usize,
        membership: Membership,
        proposer: Proposer,
        clock: Clock,
        seed: u64,
    ) -> Self {
        Self {
            me,
            nodes,
            membership: Arc::new(membership),
            proposer,
            clock: HybridClock::starting_at(clock),
            operations: BTreeMap::new(),
            next_operation: 1,
            queues: BTreeMap::new(),
            suspected: vec![false; nodes],
            unconnected: vec![false; nodes],
            warm: WarmBallots::default(),
            namespaces: Namespaces::default(),
            jitter: seed | 1,
        }
    }

    /// Begins a client's request, which ends within `timeout_ms`.
    pub fn begin(
        &mut self,
        now: Now,
        token: Token,
        command: Command,
        timeout_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        if self.operations.len() >= OPERATIONS_MAX {
            let failure = Failure::new(FailureKind::Busy, self.clock.peek(now.wall_ms));
            effects.push(Effect::Finish(token, Err(failure)));
            return;
        }
        let expires_ms = now.steady_ms.saturating_add(timeout_ms);
        self.start(now, Owner::Client(token), command, expires_ms, effects);
    }

    /// Takes a member's answer.
    pub fn reply(
        &mut self,
        now: Now,
        call: CallId,
        from: usize,
        reply: Reply,
        effects: &mut Vec<Effect>,
    ) {
        self.suspected[from] = false;
        match &reply {
            Reply::Refused { standing } => self.follow(now, standing.clock),
            Reply::Holds { accepted, .. } => self.follow(now, accepted.clock),
            _ => {}
        }
        // A promise is worth the same when the write has ended without it.
        if let Reply::Accepted { promised: true } = reply {
            self.warm.grant(call, from);
        }
        self.advance(now, call, effects, |coordinator, id, operation, effects| {
            coordinator.on_reply(now, id, operation, from, reply, effects)
        });
    }

    /// Takes note that a member could not be asked or did not answer, and why.
    pub fn unreachable(
        &mut self,
        now: Now,
        call: CallId,
        from: usize,
        cause: &str,
        effects: &mut Vec<Effect>,
    ) {
        self.suspected[from] = true;
        self.advance(now, call, effects, |coordinator, id, operation, effects| {
            operation.round.fail(from, cause);
            coordinator.on_failure(now, id, operation, effects)
        });
    }

    /// Takes note of whether there is a connection to a member. A write that would
    /// reach too few begins with a prepare, which leaves no trace, and so ends with
    /// certainty; without this note every member counts as connected.
    pub fn connected(&mut self, member: usize, connected: bool) {
        self.unconnected[member] = !connected;
    }

    /// Does what has become due: pauses that end, requests that run out of time,
    /// members to be asked after all.
    pub fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let due: Vec<u64> = self
            .operations
            .iter()
            .filter(|(_, operation)| operation.wake_ms.min(operation.expires_ms) <= now.steady_ms)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(mut operation) = self.operations.remove(&id) else {
                continue;
            };
            if operation.expires_ms <= now.steady_ms {
                let failure = self.expired(now, &operation);
                self.finish(now, id, operation, Err(failure), effects);
                continue;
            }
            operation.wake_ms = u64::MAX;
            let ended = self.on_wake(now, id, &mut operation, effects);
            self.settle(now, id, operation, ended, effects);
        }
    }

    /// When [`Coordinator::tick`] is next due, on the steady clock.
    #[must_use]
    pub fn next_wake_ms(&self) -> Option<u64> {
        self.operations
            .values()
            .map(|operation| operation.wake_ms.min(operation.expires_ms))
            .min()
    }

    /// How many requests are in progress.
    #[must_use]
    pub fn in_progress(&self) -> usize {
        self.operations.len()
    }

    /// For how many keys the next write can skip its prepare.
    #[must_use]
    pub fn warm_keys(&self) -> usize {
        self.warm.len()
    }

    /// The coordinator's clock.
    #[must_use]
    pub fn clock(&self, wall_ms: u64) -> Clock {
        self.clock.peek(wall_ms)
    }

    fn start(
        &mut self,
        now: Now,
        owner: Owner,
        command: Command,
        expires_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let id = self.next_operation;
        self.next_operation += 1;
        let kind = match command {
            Command::Write {
                key,
                operation,
                fresh,
            } => Kind::Write(Write::new(key, operation, fresh)),
            Command::Read { key, level } => Kind::Read(Read::new(key, level)),
            Command::List {
                prefix,
                after,
                limit,
                level,
            } => Kind::List(List::new(prefix, after, limit, level)),
            Command::Settle { key } => Kind::Write(Write::settle(key)),
            Command::Forget { key } => Kind::Forget(Forget::new(key)),
        };
        let mut operation = Operation {
            owner,
            expires_ms,
            wake_ms: u64::MAX,
            round: Round::new(self.nodes),
            attempts: 0,
            unsettled: false,
            electorate: Electorate::new(Arc::clone(&self.membership)),
            kind,
        };
        if !self.look_up(now, id, &mut operation, effects) {
            // What was looked up answers by message, so not before this is here.
            self.operations.insert(id, operation);
            return;
        }
        self.launch_first(now, id, operation, effects);
    }

    /// Begins a request whose settings are known, or puts it in its key's queue.
    fn launch_first(
        &mut self,
        now: Now,
        id: u64,
        mut operation: Operation,
        effects: &mut Vec<Effect>,
    ) {
        if let Kind::Write(write) = &operation.kind
            && !self.enqueue(id, write.key().clone())
        {
            self.operations.insert(id, operation);
            return;
        }
        let ended = self.launch(now, id, &mut operation, effects);
        self.settle(now, id, operation, ended, effects);
    }

    /// Puts a write at the end of its key's queue; says whether it is its turn.
    fn enqueue(&mut self, id: u64, key: Bytes) -> bool {
        let queue = self.queues.entry(key).or_default();
        queue.push_back(id);
        queue.len() == 1
    }

    fn launch(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        match &operation.kind {
            Kind::Write(_) => return self.begin_write(now, id, operation, effects),
            Kind::Read(_) => self.gather(now, id, operation, effects),
            Kind::List(_) => self.scan(now, id, operation, effects),
            Kind::Forget(_) => return self.begin_forgetting(id, operation, effects),
        }
        None
    }

    fn on_reply(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        from: usize,
        reply: Reply,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        // A message that arrives twice is answered twice. Counted again, one holder
        // would pass for two, and a read would return what too few hold.
        if operation.round.is_done(from) {
            return None;
        }
        match reply {
            Reply::ClockTooFar { .. } => operation.round.fail(from, "clock too far ahead"),
            Reply::WrongEpoch { epoch } => {
                // In its own epoch a node says so when it is no member.
                operation.unsettled |= epoch != self.epoch();
                operation.round.fail(from, &format!("in epoch {epoch}"));
            }
            Reply::Refused { standing } if !self.can_follow(now, standing.clock) => {
                operation.round.fail(from, "its clock is far ahead");
            }
            Reply::Refused { .. } => operation.round.refuse(from),
            reply => {
                return match &operation.kind {
                    Kind::Write(_) => self.on_write_reply(now, id, operation, from, reply, effects),
                    Kind::Read(_) => self.on_read_reply(now, id, operation, from, reply, effects),
                    Kind::List(_) => self.on_list_reply(now, id, operation, from, reply, effects),
                    Kind::Forget(_) => {
                        self.on_forget_reply(now, id, operation, from, reply, effects)
                    }
                };
            }
        }
        self.on_failure(now, id, operation, effects)
    }

    /// A member refused or could not be asked: is the quorum still possible?
    fn on_failure(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        match &operation.kind {
            Kind::Write(_) => self.on_write_failure(now, operation),
            Kind::Read(_) => self.on_read_failure(now, id, operation, effects),
            Kind::List(_) => self.on_list_failure(now, id, operation, effects),
            Kind::Forget(_) => self.on_forget_failure(now, id, operation, effects),
        }
    }

    fn on_wake(
        &mut self,
        now: Now,
        id: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<Answer, Failure>> {
        match &operation.kind {
            Kind::Write(_) => {
                self.prepare(now, id, operation, effects);
                None
            }
            Kind::Read(_) => self.on_read_wake(now, id, operation, effects),
            Kind::List(_) => self.on_list_wake(now, id, operation, effects),
            Kind::Forget(_) => None,
        }
    }

    /// Lets `step` act on the operation that `call` belongs to, if its round is
    /// still the current one.
    fn advance(
        &mut self,
        now: Now,
        call: CallId,
        effects: &mut Vec<Effect>,
        step: impl FnOnce(
            &mut Self,
            u64,
            &mut Operation,
            &mut Vec<Effect>,
        ) -> Option<Result<Answer, Failure>>,
    ) {
        let Some(mut operation) = self.operations.remove(&call.operation) else {
            return;
        };
        if operation.round.number() != call.round {
            self.operations.insert(call.operation, operation);
            return;
        }
        let ended = step(self, call.operation, &mut operation, effects);
        self.settle(now, call.operation, operation, ended, effects);
    }

    fn settle(
        &mut self,
        now: Now,
        id: u64,
        operation: Operation,
        ended: Option<Result<Answer, Failure>>,
        effects: &mut Vec<Effect>,
    ) {
        match ended {
            None => {
                self.operations.insert(id, operation);
            }
            Some(result) => self.finish(now, id, operation, result, effects),
        }
    }

    fn finish(
        &mut self,
        now: Now,
        id: u64,
        operation: Operation,
        result: Result<Answer, Failure>,
        effects: &mut Vec<Effect>,
    ) {
        if let Kind::Write(write) = &operation.kind {
            self.leave_queue(now, id, &write.key().clone(), effects);
        }
        match operation.owner {
            Owner::Client(token) => effects.push(Effect::Finish(token, result)),
            Owner::List(list, key) => self.on_list_child(now, list, key, result, effects),
            Owner::Settings(name) => self.on_settings(now, name, result, effects),
            Owner::Claim(name) => self.on_claim(now, name, result, effects),
            Owner::Spanning(list) => self.on_namespaces_listed(now, list, result, effects),
        }
    }

    /// Takes a write out of its key's queue and begins the next one.
    fn leave_queue(&mut self, now: Now, id: u64, key: &Bytes, effects: &mut Vec<Effect>) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let was_first = queue.front() == Some(&id);
        queue.retain(|waiting| *waiting != id);
        let next = queue.front().copied();
        if queue.is_empty() {
            self.queues.remove(key);
        }
        if let (true, Some(next)) = (was_first, next)
            && let Some(mut operation) = self.operations.remove(&next)
        {
            let ended = self.launch(now, next, &mut operation, effects);
            self.settle(now, next, operation, ended, effects);
        }
    }

    fn expired(&self, now: Now, operation: &Operation) -> Failure {
        let proposed = matches!(&operation.kind, Kind::Write(write) if write.was_proposed());
        let kind = if proposed {
            FailureKind::OutcomeUnknown
        } else {
            FailureKind::TimedOut
        };
        self.failure(now, kind, operation)
    }

    fn failure(&self, now: Now, kind: FailureKind, operation: &Operation) -> Failure {
        Failure {
            kind,
            clock: self.clock.peek(now.wall_ms),
            nodes: operation.round.reports(),
        }
    }

    /// Moves the clock above a reading from elsewhere, within the lead that
    /// replicas follow: one member must not make this node's ballots unacceptable
    /// to all others.
    fn follow(&mut self, now: Now, reading: Clock) {
        if self.can_follow(now, reading) {
            self.clock.merge(reading);
        }
    }

    fn can_follow(&self, now: Now, reading: Clock) -> bool {
        reading <= self.clock.peek(now.wall_ms).plus_ms(CLOCK_LEAD_MS_MAX)
    }

    fn is_connected(&self, member: usize) -> bool {
        !self.unconnected[member]
    }

    fn fresh_ballot(&mut self, now: Now) -> Ballot {
        Ballot {
            epoch: self.epoch(),
            clock: self.clock.tick(now.wall_ms),
            proposer: self.proposer,
        }
    }

    /// A pause before another attempt: full jitter under a doubling bound, so
    /// that two proposers do not meet again and again.
    fn back_off(&mut self, now: Now, operation: &mut Operation) {
        let bound = (1u64 << operation.attempts.min(6)).min(BACKOFF_MS_MAX);
        operation.attempts = operation.attempts.saturating_add(1);
        // xorshift64 (Marsaglia, 2003); never zero, as its seed is not.
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        operation.wake_ms = now.steady_ms + 1 + self.jitter % bound;
        operation.round.restart();
    }

    /// Members in the order in which reads ask them: this node, then those that
    /// answered when last asked, then the others.
    fn preferred_members(&self) -> Vec<usize> {
        let mut members: Vec<usize> = self.membership.all().to_vec();
        members.sort_by_key(|member| (*member + self.nodes - self.me) % self.nodes);
        members.sort_by_key(|member| *member != self.me && self.suspected[*member]);
        members
    }

    /// Sends a request to the most preferred members that were not asked in this
    /// round, so that as many as `need` says may answer: at first, and in place of
    /// those that failed.
    fn ask_for(
        &self,
        id: u64,
        operation: &mut Operation,
        need: impl Fn(Quorums) -> usize,
        request: &Request,
        effects: &mut Vec<Effect>,
    ) {
        let preferred = self.preferred_members();
        let chosen = operation
            .electorate
            .to_ask(&operation.round, &preferred, need);
        for member in chosen {
            self.send(id, operation, member, request.clone(), effects);
        }
    }

    /// Sends a request to everybody that was not asked in this round.
    fn ask_rest(
        &self,
        id: u64,
        operation: &mut Operation,
        request: &Request,
        effects: &mut Vec<Effect>,
    ) {
        for member in self.preferred_members() {
            if operation.round.is_spared(member) {
                self.send(id, operation, member, request.clone(), effects);
            }
        }
    }

    fn send(
        &self,
        id: u64,
        operation: &mut Operation,
        member: usize,
        request: Request,
        effects: &mut Vec<Effect>,
    ) {
        operation.round.ask(member);
        let call = CallId {
            operation: id,
            round: operation.round.number(),
        };
        effects.push(Effect::Send(member, call, request));
    }
}

#[cfg(test)]
mod by_hand;
#[cfg(test)]
mod directed;
#[cfg(test)]
mod forget_tests;
#[cfg(test)]
mod refill_tests;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod settings_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod warm_tests;
