//! Servers of the simulated world: today's multiplexer, the table of at-most-once
//! calls, and handlers that count and take their time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Mutant;
use super::wire::{Conduct, OPEN, Order};
use super::world::{Event, World};
use crate::frame::Frame;
use crate::limits::Limits;
use crate::multiplexer::{self, Start};
use crate::once::{Begun, Bounds, CallKey, Outcome, Table, cancelled};
use crate::status::{Code, Execution, Status};

/// Where one attempt waits: its connection and its number there.
type Waiter = (u32, u32);

/// One server, and the process that is it at present.
pub(super) struct Host {
    is_up: bool,
    is_draining: bool,
    pub(super) paused_until: u64,
    /// Parts in a million by which its clock is fast.
    pub(super) skew: u64,
    calls_in_flight_max: usize,
    bounds: Bounds,
    table: Table<Waiter>,
    waiting: BTreeMap<Waiter, CallKey>,
    runs: BTreeMap<u64, Run>,
}

/// A handler that has started and not ended.
struct Run {
    caller: Caller,
    order: Order,
    declines: bool,
    /// It will act, and has not yet.
    acts: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Plain(Waiter),
    Once(CallKey),
}

impl Host {
    pub(super) fn new(bounds: Bounds, is_overloaded: bool, skew: u64) -> Self {
        Self {
            is_up: true,
            is_draining: false,
            paused_until: 0,
            skew,
            calls_in_flight_max: if is_overloaded { 2 } else { 1024 },
            table: Table::new(bounds.clone()),
            bounds,
            waiting: BTreeMap::new(),
            runs: BTreeMap::new(),
        }
    }

    pub(super) fn takes_connections(&self) -> bool {
        self.is_up && !self.is_draining
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            calls_in_flight_max: self.calls_in_flight_max,
            ..Limits::default()
        }
    }

    /// Whether it was up.
    pub(super) fn crash(&mut self) -> bool {
        let was_up = self.is_up;
        self.is_up = false;
        self.is_draining = false;
        self.table = Table::new(self.bounds.clone());
        self.waiting.clear();
        self.runs.clear();
        was_up
    }

    pub(super) fn come_up(&mut self) {
        self.is_up = true;
    }

    /// Takes as many calls as it should.
    pub(super) fn relax(&mut self) {
        self.calls_in_flight_max = 1024;
    }

    /// A bound that does not hold; `audits` also looks whether the sums are right.
    pub(super) fn exceeds(&self, audits: bool) -> Option<String> {
        let table = &self.table;
        let is_within = table.incarnation_count() <= self.bounds.incarnations_max
            && table.entry_count() <= self.bounds.entries_all_max
            && table.reply_bytes() <= self.bounds.reply_bytes_max;
        if !is_within {
            return Some(format!("the table is beyond its bounds: {table:?}"));
        }
        if audits { table.audit().err() } else { None }
    }

    /// What is left long after the last call.
    pub(super) fn remains(&mut self, now: Instant) -> Option<String> {
        self.table.expire(now);
        let table = &self.table;
        let is_empty = table.incarnation_count() == 0
            && table.entry_count() == 0
            && table.reply_bytes() == 0
            && self.runs.is_empty()
            && self.waiting.is_empty();
        (!is_empty).then(|| format!("a server kept: {table:?}, {:?}", self.waiting))
    }
}

impl World {
    pub(super) fn server_receives(&mut self, number: u32, frame: Frame<'_>) {
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        let server = wire.server;
        let now = self.server_instant(server);
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        let Some(callee) = &mut wire.callee else {
            return;
        };
        let mut events = Vec::new();
        if let Err(violation) = callee.receive(frame, now, &mut events) {
            self.truth
                .breach_of_world(format!("a client violates: {violation}"));
        }
        for event in events {
            match event {
                multiplexer::Event::Start(start) => self.start(server, number, start),
                multiplexer::Event::Abort(call) => self.cancel(server, (number, call)),
            }
        }
    }

    pub(super) fn server_timer(&mut self, number: u32) {
        let Some(wire) = self.wires.get(&number) else {
            return;
        };
        let server = wire.server;
        if self.servers[server].paused_until > self.now {
            let until = self.servers[server].paused_until;
            self.at(
                until,
                Event::Timer {
                    wire: number,
                    is_server: true,
                },
            );
            return;
        }
        let now = self.server_instant(server);
        let mut events = Vec::new();
        if let Some(wire) = self.wires.get_mut(&number) {
            wire.callee_timer = None;
            if let Some(callee) = &mut wire.callee {
                callee.expire(now, &mut events);
            }
        }
        for event in events {
            if let multiplexer::Event::Abort(call) = event {
                self.attempt_runs_out(server, (number, call));
            }
        }
        self.pump(number);
    }

    pub(super) fn server_lost(&mut self, number: u32) {
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        let server = wire.server;
        if wire.callee.take().is_none() {
            return;
        }
        wire.upward.is_cut = true;
        let host = &mut self.servers[server];
        host.runs
            .retain(|_, run| !matches!(run.caller, Caller::Plain((wire, _)) if wire == number));
        let waiters: Vec<(Waiter, CallKey)> = host
            .waiting
            .iter()
            .filter(|((wire, _), _)| *wire == number)
            .map(|(waiter, key)| (*waiter, *key))
            .collect();
        let now = self.server_instant(server);
        for (waiter, key) in waiters {
            let host = &mut self.servers[server];
            host.waiting.remove(&waiter);
            if self.mutant == Some(Mutant::LossForgets) {
                host.runs.retain(|_, run| run.caller != Caller::Once(key));
                let _ = host.table.finish(now, &key, &Err(not_started()));
            } else {
                host.table.leave(&key, &waiter);
                self.truth
                    .count("once: a handler goes on without its connection");
            }
        }
    }

    pub(super) fn drain(&mut self, server: usize) {
        self.servers[server].is_draining = true;
        let reason = Status::new(Code::Unavailable, Execution::NotStarted, "draining");
        for wire in self.wires.values_mut() {
            if wire.server == server
                && let Some(callee) = &mut wire.callee
                && !callee.is_draining()
            {
                callee.goaway(reason.clone());
            }
        }
        self.pump_server(server);
    }

    pub(super) fn pump_server(&mut self, server: usize) {
        let numbers: Vec<u32> = self.wires.keys().copied().collect();
        for number in numbers {
            if self
                .wires
                .get(&number)
                .is_some_and(|wire| wire.server == server)
            {
                self.pump(number);
            }
        }
    }

    fn start(&mut self, server: usize, number: u32, start: Start) {
        let waiter = (number, start.key.call);
        let body = start.body;
        let Some(id) = start.once else {
            self.run_handler(server, Caller::Plain(waiter), &body, start.deadline);
            return;
        };
        let now = self.server_instant(server);
        let client = self.wires.get(&number).map_or(0, |wire| wire.client);
        let identity = self.people[client].identity;
        let host = &mut self.servers[server];
        if start.method == OPEN {
            let evicted = host.table.evicted_count();
            let opened = host.table.open(now, identity, id.incarnation);
            if host.table.evicted_count() > evicted {
                self.truth.count("once: another incarnation evicted");
            }
            let outcome = opened.map(|()| body);
            self.truth.count(if outcome.is_ok() {
                "once: opened"
            } else {
                "once: open refused"
            });
            self.answer(server, waiter, outcome);
            return;
        }
        let key = id.key(identity);
        let begun = host.table.begin(now, identity, id, waiter);
        match begun {
            Begun::Run => {
                self.truth.count("once: run");
                self.servers[server].waiting.insert(waiter, key);
                self.run_handler(server, Caller::Once(key), &body, start.deadline);
            }
            Begun::Joined => {
                self.truth.count("once: joined");
                self.servers[server].waiting.insert(waiter, key);
                if self.mutant == Some(Mutant::JoinRuns) {
                    self.run_handler(server, Caller::Once(key), &body, start.deadline);
                }
            }
            Begun::Replay(_, outcome) => {
                self.truth.count(match &outcome {
                    Err(status) if status.code() == Code::DataLoss => "once: reply not held",
                    _ => "once: replayed",
                });
                self.answer(server, waiter, outcome);
            }
            Begun::Refuse(_, status) => {
                self.truth
                    .count(&format!("once: refused, {}", status.message()));
                let is_settled = status.code() == Code::Cancelled;
                let is_unknown = crate::once::is_unknown_incarnation(&status);
                if is_settled && self.mutant == Some(Mutant::FloorIgnored)
                    || is_unknown && self.mutant == Some(Mutant::UnknownRuns)
                {
                    self.run_handler(server, Caller::Plain(waiter), &body, start.deadline);
                } else {
                    self.answer(server, waiter, Err(status));
                }
            }
        }
    }

    fn run_handler(&mut self, server: usize, caller: Caller, body: &[u8], deadline: Instant) {
        let order = Order::decode(body);
        self.truth.started(order.deed);
        self.run_last += 1;
        let run = self.run_last;
        let is_even = self.random.chance(50);
        let kept = Run {
            caller,
            order,
            declines: order.conduct == Conduct::Declines && is_even,
            acts: match order.conduct {
                Conduct::Acts | Conduct::ActsAndFails => true,
                Conduct::Declines => !is_even,
                Conduct::Panics => is_even,
            },
        };
        self.servers[server].runs.insert(run, kept);
        if order.takes == 0 {
            self.handler_acts(server, run);
            self.handler_ends(server, run);
            return;
        }
        let acts_at = self.now + self.random.below(order.takes);
        self.at(acts_at, Event::Acts { server, run });
        self.at(self.now + order.takes, Event::Ends { server, run });
        if matches!(caller, Caller::Once(_)) {
            let at = self.virtual_of_server(server, deadline).max(self.now);
            self.at(at, Event::RunsOut { server, run });
        }
    }

    pub(super) fn handler_acts(&mut self, server: usize, run: u64) {
        if self.is_paused(server, Event::Acts { server, run }) {
            return;
        }
        if let Some(kept) = self.servers[server].runs.get_mut(&run)
            && std::mem::take(&mut kept.acts)
        {
            self.truth.acted(kept.order.deed);
        }
    }

    pub(super) fn handler_ends(&mut self, server: usize, run: u64) {
        if self.is_paused(server, Event::Ends { server, run }) {
            return;
        }
        // A pause may have held back the one event and not the other.
        self.handler_acts(server, run);
        let Some(kept) = self.servers[server].runs.remove(&run) else {
            return;
        };
        let outcome = if kept.declines {
            self.truth.declined(kept.order.deed);
            Err(not_started())
        } else {
            match kept.order.conduct {
                Conduct::Acts | Conduct::Declines => Ok(kept.order.reply()),
                Conduct::ActsAndFails => {
                    let code = Code::FailedPrecondition;
                    Err(Status::new(code, Execution::Executed, "as ordered"))
                }
                Conduct::Panics => Err(Status::new(
                    Code::Internal,
                    Execution::MaybeExecuted,
                    "the handler failed",
                )),
            }
        };
        self.end(server, kept.caller, outcome);
    }

    /// The time of an at-most-once handler is over.
    pub(super) fn handler_runs_out(&mut self, server: usize, run: u64) {
        if self.is_paused(server, Event::RunsOut { server, run }) {
            return;
        }
        let Some(kept) = self.servers[server].runs.remove(&run) else {
            return;
        };
        let execution = if self.mutant == Some(Mutant::LateIsNotStarted) {
            Execution::NotStarted
        } else {
            Execution::MaybeExecuted
        };
        let status = Status::new(Code::DeadlineExceeded, execution, "the call took too long");
        self.end(server, kept.caller, Err(status));
    }

    fn end(&mut self, server: usize, caller: Caller, outcome: Outcome) {
        let key = match caller {
            Caller::Plain(waiter) => return self.answer(server, waiter, outcome),
            Caller::Once(key) => key,
        };
        let now = self.server_instant(server);
        let host = &mut self.servers[server];
        let is_large = outcome.as_ref().is_ok_and(|reply| reply.len() > 1_000);
        let waiters = match self.mutant {
            Some(Mutant::TableForgets) => host.table.finish(now, &key, &Err(not_started())),
            Some(Mutant::LargeRepliesForgotten) if is_large => {
                host.table.finish(now, &key, &Err(not_started()))
            }
            _ => host.table.finish(now, &key, &outcome),
        };
        for waiter in waiters {
            self.servers[server].waiting.remove(&waiter);
            self.answer(server, waiter, outcome.clone());
        }
    }

    /// The client has sent a cancel frame.
    fn cancel(&mut self, server: usize, waiter: Waiter) {
        let now = self.server_instant(server);
        let host = &mut self.servers[server];
        match host.waiting.remove(&waiter) {
            None => host
                .runs
                .retain(|_, run| run.caller != Caller::Plain(waiter)),
            Some(key) => {
                self.truth.count("once: cancelled while it ran");
                host.runs.retain(|_, run| run.caller != Caller::Once(key));
                let waiters = if self.mutant == Some(Mutant::CancelForgets) {
                    host.table.finish(now, &key, &Err(not_started()))
                } else {
                    host.table.cancel(now, &key)
                };
                for other in waiters.into_iter().filter(|other| *other != waiter) {
                    self.servers[server].waiting.remove(&other);
                    self.answer(server, other, Err(cancelled()));
                }
            }
        }
        self.abandon(waiter);
    }

    /// The multiplexer has answered an attempt whose time is over.
    fn attempt_runs_out(&mut self, server: usize, waiter: Waiter) {
        let host = &mut self.servers[server];
        match host.waiting.remove(&waiter) {
            None => host
                .runs
                .retain(|_, run| run.caller != Caller::Plain(waiter)),
            Some(key) => host.table.leave(&key, &waiter),
        }
        self.abandon(waiter);
    }

    fn abandon(&mut self, (number, call): Waiter) {
        if let Some(wire) = self.wires.get_mut(&number)
            && let Some(callee) = &mut wire.callee
        {
            callee.abandon(call);
        }
    }

    fn answer(&mut self, server: usize, (number, call): Waiter, outcome: Outcome) {
        if let Some(wire) = self.wires.get_mut(&number)
            && wire.server == server
            && let Some(callee) = &mut wire.callee
        {
            callee.reply(call, outcome);
        }
        self.pump(number);
    }

    /// A paused server does nothing; what it would have done, it does then.
    fn is_paused(&mut self, server: usize, event: Event) -> bool {
        let until = self.servers[server].paused_until;
        let is_paused = until > self.now;
        if is_paused {
            self.at(until, event);
        }
        is_paused
    }
}

fn not_started() -> Status {
    Status::new(Code::Unavailable, Execution::NotStarted, "not now")
}

/// The longest that an attempt to open an incarnation waits.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(1);
