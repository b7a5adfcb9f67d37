//! Clients of the simulated world: today's multiplexer, sessions of at-most-once
//! calls, and the policy that sends failed calls again.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sealmoot_crypto::signature::KeyId;

use super::Mutant;
use super::link::{Link, Place};
use super::truth::Promise;
use super::wire::{IDEMPOTENT, ONCE, Order, PLAIN, extras, word};
use super::world::{Event, Nature, World};
use crate::frame::Frame;
use crate::once::{Incarnation, Outcome, is_unknown_incarnation};
use crate::retry::{Attempts, Budget, Decision, Guard, Idempotency, Latencies, RetryPolicy};
use crate::status::{Code, Execution, Status};

/// One client process.
pub(super) struct Person {
    pub(super) identity: KeyId,
    budget: Budget,
    latencies: Latencies,
    policy: RetryPolicy,
    pub(super) links: Vec<Link>,
}

/// Whose answer a number on a connection is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waits {
    Attempt { call: usize, attempt: usize },
    Open { incarnation: Incarnation },
}

/// One logical call.
pub(super) struct Call {
    pub(super) client: usize,
    promise: Promise,
    order: Order,
    pub(super) attempts: Attempts,
    under_way: Vec<UnderWay>,
    pub(super) once: Option<Place>,
    rests: u32,
    is_over: bool,
}

/// One attempt that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnderWay {
    attempt: usize,
    wire: u32,
    number: u32,
    pub(super) server: usize,
    pub(super) sent: Instant,
}

impl Person {
    pub(super) fn new(identity: KeyId, now: Instant, nature: &Nature) -> Self {
        let mut latencies = Latencies::default();
        // So that hedging has something to go by from the first call on.
        for _ in 0..crate::limits::HEDGE_SAMPLES_MIN {
            latencies.record(Duration::from_micros(20 * nature.latency));
        }
        Self {
            identity,
            budget: Budget::new(now),
            latencies,
            policy: RetryPolicy {
                once_horizon: nature.horizon,
                ..RetryPolicy::default()
            },
            links: (0..nature.server_count).map(|_| Link::default()).collect(),
        }
    }
}

impl Call {
    pub(super) fn new(
        client: usize,
        promise: Promise,
        order: Order,
        deadline: Instant,
        mutant: Option<Mutant>,
    ) -> Self {
        let guard = match promise {
            Promise::Plain if mutant == Some(Mutant::PlainRetried) => {
                Guard::Method(Idempotency::Idempotent)
            }
            Promise::Plain => Guard::Method(Idempotency::Unknown),
            Promise::Idempotent => Guard::Method(Idempotency::Idempotent),
            Promise::Once => Guard::Once,
        };
        Self {
            client,
            promise,
            order,
            attempts: Attempts::new(guard, deadline),
            under_way: Vec::new(),
            once: None,
            rests: 0,
            is_over: false,
        }
    }

    fn method(&self) -> u64 {
        match self.promise {
            Promise::Plain => PLAIN,
            Promise::Idempotent => IDEMPOTENT,
            Promise::Once => ONCE,
        }
    }
}

impl World {
    pub(super) fn begin_call(&mut self, call: usize) {
        let client = self.calls[call].client;
        self.people[client].budget.deposit();
        self.start_attempt(call);
    }

    pub(super) fn again(&mut self, call: usize, rest: u32) {
        if self.calls[call].rests == rest {
            self.start_attempt(call);
        }
    }

    pub(super) fn hedge(&mut self, call: usize) {
        let now = self.instant(self.now);
        let kept = &mut self.calls[call];
        if kept.is_over || kept.under_way.len() != 1 {
            return;
        }
        let person = &mut self.people[kept.client];
        if kept.attempts.hedge(now, &person.policy, &mut person.budget) {
            self.truth.count("retry: hedged");
            self.start_attempt(call);
        }
    }

    pub(super) fn deadline(&mut self, call: usize) {
        if self.mutant == Some(Mutant::DeadlineIgnored) {
            return;
        }
        let mut numbers: Vec<u32> = self.calls[call]
            .under_way
            .iter()
            .map(|under_way| under_way.wire)
            .collect();
        numbers.dedup();
        for number in numbers {
            self.client_timer(number);
        }
        let kept = &self.calls[call];
        if !kept.is_over {
            let status = Status::new(
                Code::DeadlineExceeded,
                Execution::NotSent,
                "no time left to call",
            );
            let status = kept.attempts.report(&status);
            self.report(call, Err(status));
        }
    }

    pub(super) fn caller_cancels(&mut self, call: usize) {
        let kept = &self.calls[call];
        if kept.is_over {
            return;
        }
        self.truth.count("fault: the caller cancels");
        let execution = if kept.under_way.is_empty() {
            Execution::NotSent
        } else {
            Execution::MaybeExecuted
        };
        let status = Status::new(Code::Cancelled, execution, "cancelled");
        let status = kept.attempts.report(&status);
        self.report(call, Err(status));
    }

    pub(super) fn client_timer(&mut self, number: u32) {
        let now = self.instant(self.now);
        let mut outcomes = Vec::new();
        if let Some(wire) = self.wires.get_mut(&number) {
            wire.caller_timer = None;
            if let Some(caller) = &mut wire.caller {
                caller.expire(now, &mut outcomes);
            }
        }
        self.take_outcomes(number, outcomes);
        self.pump(number);
    }

    pub(super) fn client_receives(&mut self, number: u32, frame: Frame<'_>) {
        let mut outcomes = Vec::new();
        if let Some(wire) = self.wires.get_mut(&number)
            && let Some(caller) = &mut wire.caller
            && let Err(violation) = caller.receive(frame, &mut outcomes)
        {
            self.truth
                .breach_of_world(format!("a server violates: {violation}"));
        }
        self.take_outcomes(number, outcomes);
    }

    pub(super) fn take_outcomes(&mut self, number: u32, outcomes: Vec<(Waits, Outcome)>) {
        for (waits, outcome) in outcomes {
            match waits {
                Waits::Attempt { call, attempt } => self.attempt_ended(call, attempt, outcome),
                Waits::Open { incarnation } => self.opened(number, incarnation, outcome),
            }
        }
    }

    fn start_attempt(&mut self, call: usize) {
        let now = self.instant(self.now);
        if !self.calls[call].is_over {
            self.calls[call].attempts.begin(now);
            self.attempt(call);
        }
    }

    /// Sends the attempt that has begun, or gets what it needs first.
    pub(super) fn attempt(&mut self, call: usize) {
        let now = self.instant(self.now);
        let kept = &self.calls[call];
        if kept.is_over || now >= kept.attempts.deadline() {
            // The deadline reports what is not over.
            return;
        }
        let (client, promise) = (kept.client, kept.promise);
        let server = self.choose_server(call);
        let Some(number) = self.usable_wire(client, server) else {
            self.people[client].links[server].waiting.push(call);
            self.dial(client, server);
            return;
        };
        if promise == Promise::Once && self.calls[call].once.is_none() {
            match self.place(client, server) {
                Some(place) => self.calls[call].once = Some(place),
                None => {
                    self.people[client].links[server].waiting.push(call);
                    self.open(client, server, number);
                    return;
                }
            }
        }
        let kept = &self.calls[call];
        let id = kept.once.and_then(|place| {
            let sessions = &self.people[client].links[place.server].sessions;
            let session = sessions
                .iter()
                .find(|session| session.incarnation() == place.incarnation)?;
            Some(session.id(place.sequence))
        });
        assert_eq!(
            id.is_some(),
            promise == Promise::Once,
            "a session stays while it is used"
        );
        let body = Bytes::from(kept.order.encode());
        let method = kept.method();
        let mut timeout = kept.attempts.deadline() - now;
        if self.mutant == Some(Mutant::DeadlineIgnored) {
            timeout *= 2;
        }
        let attempt = self.truth.attempted(call as u64);
        let waits = Waits::Attempt { call, attempt };
        let begun = self
            .wires
            .get_mut(&number)
            .and_then(|wire| wire.caller.as_mut())
            .expect("the connection is usable")
            .begin_with(now, method, body, timeout, &extras(id), waits);
        match begun {
            Ok(sent_as) => {
                let kept = &mut self.calls[call];
                kept.under_way.push(UnderWay {
                    attempt,
                    wire: number,
                    number: sent_as,
                    server,
                    sent: now,
                });
                let person = &self.people[client];
                let at = kept
                    .attempts
                    .hedge_at(now, &person.latencies, &person.policy);
                if let Some(at) = at {
                    let at = self.virtual_of_client(at);
                    self.at(at, Event::Hedge { call });
                }
                self.pump(number);
            }
            Err(status) => {
                self.truth
                    .attempt_failed(call as u64, attempt, status.execution());
                self.attempt_failed(call, &status);
            }
        }
    }

    fn choose_server(&mut self, call: usize) -> usize {
        let chosen = self.random.index(self.servers.len());
        let kept = &self.calls[call];
        let Some(place) = kept.once else {
            return chosen;
        };
        if place.server == chosen || !kept.attempts.may_move() {
            return place.server;
        }
        self.settle(call);
        chosen
    }

    fn attempt_ended(&mut self, call: usize, attempt: usize, outcome: Outcome) {
        let kept = &mut self.calls[call];
        if kept.is_over {
            return;
        }
        let Some(index) = kept
            .under_way
            .iter()
            .position(|under_way| under_way.attempt == attempt)
        else {
            return;
        };
        let under_way = kept.under_way.remove(index);
        self.hear(call, &under_way, &outcome);
        match outcome {
            Ok(reply) => self.succeeded(call, &under_way, &reply),
            Err(mut status) => {
                if self.mutant == Some(Mutant::LossIsNotStarted)
                    && status.code() == Code::Unavailable
                {
                    status = Status::new(status.code(), Execution::NotStarted, "never ran");
                }
                self.truth
                    .attempt_failed(call as u64, attempt, status.execution());
                self.attempt_failed(call, &status);
            }
        }
    }

    fn succeeded(&mut self, call: usize, under_way: &UnderWay, reply: &Bytes) {
        if word(reply, 0) != call as u64 {
            self.truth
                .breach(call as u64, "got the reply to another call");
        }
        let latency = self.instant(self.now) - under_way.sent;
        let client = self.calls[call].client;
        self.people[client].latencies.record(latency);
        self.report(call, Ok(()));
    }

    pub(super) fn attempt_failed(&mut self, call: usize, status: &Status) {
        let now = self.instant(self.now);
        let random = self.random.next();
        let kept = &mut self.calls[call];
        if kept.is_over {
            return;
        }
        let person = &mut self.people[kept.client];
        let is_unknown = kept.promise == Promise::Once && is_unknown_incarnation(status);
        let has_run = !kept.attempts.execution().is_safe_to_retry();
        let mut decision =
            kept.attempts
                .failed(now, status, &person.policy, &mut person.budget, random);
        if is_unknown && has_run && now < kept.attempts.deadline() {
            match self.mutant {
                Some(Mutant::SentAnew) => decision = Decision::Anew,
                Some(Mutant::OpensAgain) => return self.open_again(call),
                _ => {}
            }
        }
        if let Decision::Anew = &decision
            && self.mutant == Some(Mutant::NeverSentAnew)
        {
            decision = Decision::Report(status.clone());
        }
        match decision {
            Decision::Again(rest) => {
                self.truth.count(&format!(
                    "retry: after {}",
                    self.calls[call].attempts.execution()
                ));
                self.rest(call, rest);
            }
            Decision::Wait => self.truth.count("retry: the other attempt decides"),
            Decision::Anew => {
                self.truth.count("retry: in another incarnation");
                self.settle(call);
                self.rest(call, Duration::ZERO);
            }
            Decision::Report(mut combined) => {
                if self.mutant == Some(Mutant::LastAttemptReported) {
                    combined = status.clone();
                }
                self.report(call, Err(combined));
            }
        }
    }

    pub(super) fn rest(&mut self, call: usize, rest: Duration) {
        let kept = &mut self.calls[call];
        kept.rests += 1;
        let rests = kept.rests;
        let micros = u64::try_from(rest.as_micros()).expect("a rest is short");
        self.at(self.now + micros, Event::Again { call, rest: rests });
    }

    fn report(&mut self, call: usize, outcome: Result<(), Status>) {
        self.calls[call].is_over = true;
        let under_way = std::mem::take(&mut self.calls[call].under_way);
        for other in under_way {
            if let Some(wire) = self.wires.get_mut(&other.wire)
                && let Some(caller) = &mut wire.caller
            {
                caller.cancel(other.number);
            }
            self.pump(other.wire);
        }
        self.settle(call);
        self.mark(call as u64);
        self.mark(
            outcome
                .as_ref()
                .map_or_else(|status| u64::from(status.code().number()), |()| 0),
        );
        self.truth
            .reported(call as u64, self.now, outcome.as_ref().copied());
        if self.tells {
            eprintln!("{:>12} us  call {call}: {outcome:?}", self.now);
        }
    }
}
