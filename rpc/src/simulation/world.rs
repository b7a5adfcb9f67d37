//! The simulated world: virtual time, what happens in it, and its faults.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sealmoot_crypto::signature::KeyId;

use super::client::{Call, Person};
use super::network::Wire;
use super::random::Random;
use super::server::Host;
use super::truth::{Promise, Truth};
use super::wire::{Conduct, Order};
use super::{Mutant, Verdict};
use crate::once::Bounds;
use crate::status::{Code, Execution, Status};

pub(super) const MILLISECOND: u64 = 1_000;
pub(super) const SECOND: u64 = 1_000 * MILLISECOND;

/// How long calls are made and faults happen.
const ACTIVE: u64 = 4 * SECOND;
/// Until both ends have noticed that a connection is gone, at most: keepalives.
pub(super) const NOTICED: u64 = 2_500 * MILLISECOND;
/// The longest that a call made among faults may take.
const DEADLINE_MAX: u64 = 4 * SECOND;

/// What kind of world this schedule has.
#[derive(Debug)]
pub(super) struct Nature {
    pub(super) latency: u64,
    pub(super) writer_rests_percent: u64,
    pub(super) bulk_percent: u64,
    /// Servers take few calls at a time.
    pub(super) is_overloaded: bool,
    /// Clients do not look how old an incarnation is.
    pub(super) is_careless: bool,
    pub(super) server_count: usize,
    pub(super) horizon: Duration,
}

/// What happens next somewhere.
#[derive(Debug)]
pub(super) enum Event {
    Deliver { wire: u32, is_upward: bool },
    Flush { wire: u32 },
    Lost { wire: u32, is_server: bool },
    Timer { wire: u32, is_server: bool },
    Dialed { client: usize, server: usize },
    Begin { call: usize },
    Again { call: usize, rest: u32 },
    Hedge { call: usize },
    Deadline { call: usize },
    Cancels { call: usize },
    Acts { server: usize, run: u64 },
    Ends { server: usize, run: u64 },
    RunsOut { server: usize, run: u64 },
    Fault,
    Up { server: usize },
    Unpaused { server: usize },
    Drained { server: usize },
    Heal,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) random: Random,
    pub(super) nature: Nature,
    pub(super) mutant: Option<Mutant>,
    pub(super) truth: Truth,
    pub(super) wires: BTreeMap<u32, Wire>,
    pub(super) wire_last: u32,
    pub(super) people: Vec<Person>,
    pub(super) servers: Vec<Host>,
    pub(super) calls: Vec<Call>,
    pub(super) run_last: u64,
    queue: BTreeMap<(u64, u64), Event>,
    order_last: u64,
    base: Instant,
    pub(super) heals_at: u64,
    trace: u64,
    pub(super) tells: bool,
}

impl World {
    pub(super) fn new(seed: u64, mutant: Option<Mutant>, tells: bool) -> Self {
        let mut random = Random::new(seed);
        let is_tight = random.chance(25);
        let nature = Nature {
            latency: [500, 5_000, 40_000][random.index(3)],
            writer_rests_percent: [0, 10, 40][random.index(3)],
            bulk_percent: [0, 0, 25][random.index(3)],
            is_overloaded: random.chance(20),
            is_careless: random.chance(30),
            server_count: 1 + random.index(2),
            horizon: if is_tight {
                Duration::from_secs(1)
            } else {
                crate::limits::ONCE_HORIZON
            },
        };
        let bounds = if is_tight {
            Bounds {
                incarnations_per_identity_max: 3,
                incarnations_max: 5,
                entries_max: 4,
                entries_all_max: 8,
                reply_bytes_per_identity_max: 4 * 1024,
                reply_bytes_max: 6 * 1024,
                waiters_max: 1,
                evictable_after: Duration::from_millis(500),
                kept: Duration::from_secs(2),
            }
        } else {
            Bounds {
                reply_bytes_per_identity_max: 8 * 1024,
                reply_bytes_max: 12 * 1024,
                ..Bounds::default()
            }
        };
        let base = Instant::now();
        let is_one_identity = random.chance(30);
        let servers = (0..nature.server_count)
            .map(|_| {
                let skew = random.below(100_000);
                Host::new(bounds.clone(), nature.is_overloaded, skew)
            })
            .collect();
        let people = (0..2)
            .map(|index| {
                let name = if is_one_identity { 0 } else { index };
                let identity = KeyId::from_bytes([name; 32]);
                Person::new(identity, base, &nature)
            })
            .collect();
        let mut world = Self {
            now: 0,
            random,
            nature,
            mutant,
            truth: Truth::default(),
            wires: BTreeMap::new(),
            wire_last: 0,
            people,
            servers,
            calls: Vec::new(),
            run_last: 0,
            queue: BTreeMap::new(),
            order_last: 0,
            base,
            heals_at: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            tells,
        };
        world.plan();
        world
    }

    /// Lays out calls and faults.
    fn plan(&mut self) {
        let has_pause = self.random.chance(15);
        let starts = if has_pause {
            self.truth.count("fault: nothing for 700 s");
            vec![0, 700 * SECOND]
        } else {
            vec![0]
        };
        let calls = self.random.between(8, 48);
        let faults = self.random.below(14);
        for start in &starts {
            for _ in 0..calls / starts.len() as u64 {
                let at = start + self.random.below(ACTIVE);
                let timeout = self.random.between(20 * MILLISECOND, DEADLINE_MAX);
                let order = self.random_order();
                self.make_call(at, timeout, order, None);
            }
            for _ in 0..faults / starts.len() as u64 {
                let at = start + self.random.below(ACTIVE);
                self.at(at, Event::Fault);
            }
        }
        self.heals_at = starts.last().copied().unwrap_or(0) + ACTIVE;
        self.at(self.heals_at, Event::Heal);
        // Behind the last call made among faults, and what tight servers keep.
        let wave = self.heals_at + DEADLINE_MAX + NOTICED + SECOND;
        for client in 0..self.people.len() {
            for promise in [Promise::Plain, Promise::Idempotent, Promise::Once] {
                let at = wave + self.random.below(SECOND);
                let mut order = self.random_order();
                order.conduct = Conduct::Acts;
                order.takes = order.takes.min(100 * MILLISECOND);
                self.make_call(at, 10 * SECOND, order, Some((client, promise)));
            }
        }
    }

    fn random_order(&mut self) -> Order {
        let conduct = match self.random.below(10) {
            0 => Conduct::ActsAndFails,
            1 => Conduct::Declines,
            2 => Conduct::Panics,
            _ => Conduct::Acts,
        };
        let takes = match self.random.below(4) {
            0 => 0,
            1 => self.random.between(100, 5 * MILLISECOND),
            2 => self.random.between(100, 300 * MILLISECOND),
            _ => self.random.between(100, 2 * SECOND),
        };
        let is_bulk = self.random.chance(self.nature.bulk_percent);
        let body_bytes = if is_bulk {
            self.random.between(1, 120_000)
        } else {
            0
        };
        let reply_bytes = match self.random.below(10) {
            0..3 => self.random.between(1_000, 7_000),
            3 if is_bulk => self.random.between(10_000, 60_000),
            _ => 8,
        };
        Order {
            deed: 0,
            conduct,
            takes,
            reply_bytes,
            body_bytes,
        }
    }

    fn make_call(
        &mut self,
        at: u64,
        timeout: u64,
        mut order: Order,
        must: Option<(usize, Promise)>,
    ) {
        let (client, promise) = must.unwrap_or_else(|| {
            let promise = match self.random.below(10) {
                0..3 => Promise::Plain,
                3..5 => Promise::Idempotent,
                _ => Promise::Once,
            };
            (self.random.index(self.people.len()), promise)
        });
        let call = self.calls.len();
        order.deed = call as u64;
        let deadline = at + timeout;
        self.truth
            .begun(order.deed, promise, deadline, must.is_some());
        let instant = self.instant(deadline);
        self.calls
            .push(Call::new(client, promise, order, instant, self.mutant));
        self.at(at, Event::Begin { call });
        self.at(deadline, Event::Deadline { call });
        if must.is_none() && self.random.chance(8) {
            let when = at + self.random.below(timeout);
            self.at(when, Event::Cancels { call });
        }
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        self.order_last += 1;
        self.queue.insert((at, self.order_last), event);
    }

    /// Lets everything happen, and judges it.
    pub(super) fn run(mut self) -> Verdict {
        let mut steps = 0_u64;
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = self.now.max(at);
            steps += 1;
            if self.tells {
                eprintln!("{:>12} us  {event:?}", self.now);
            }
            self.mark(at);
            self.happen(event);
            self.check_bounds(steps);
            if steps > 200_000 {
                self.truth
                    .breach_of_world("the schedule does not end".to_owned());
                break;
            }
            if !self.truth.broken.is_empty() {
                break;
            }
        }
        if self.truth.broken.is_empty() {
            self.truth.judge();
            self.check_emptied();
        }
        Verdict {
            broken: self.truth.broken,
            counts: self.truth.counts,
            trace: self.trace,
            steps,
        }
    }

    /// FNV-1a over what happened.
    pub(super) fn mark(&mut self, word: u64) {
        for byte in word.to_le_bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { wire, is_upward } => self.deliver(wire, is_upward),
            Event::Flush { wire } => self.pump(wire),
            Event::Lost { wire, is_server } => self.lost(wire, is_server),
            Event::Timer {
                wire,
                is_server: false,
            } => self.client_timer(wire),
            Event::Timer {
                wire,
                is_server: true,
            } => self.server_timer(wire),
            Event::Dialed { client, server } => self.dialed(client, server),
            Event::Begin { call } => self.begin_call(call),
            Event::Again { call, rest } => self.again(call, rest),
            Event::Hedge { call } => self.hedge(call),
            Event::Deadline { call } => self.deadline(call),
            Event::Cancels { call } => self.caller_cancels(call),
            Event::Acts { server, run } => self.handler_acts(server, run),
            Event::Ends { server, run } => self.handler_ends(server, run),
            Event::RunsOut { server, run } => self.handler_runs_out(server, run),
            Event::Fault => self.fault(),
            Event::Up { server } => self.servers[server].come_up(),
            Event::Unpaused { server } => self.pump_server(server),
            Event::Drained { server } => {
                let is_quick = true;
                self.crash(server, is_quick);
            }
            Event::Heal => self.heal(),
        }
    }

    /// (g): a world of two clients must not outgrow what the bounds say.
    fn check_bounds(&mut self, steps: u64) {
        for host in &self.servers {
            if let Some(text) = host.exceeds(steps.is_multiple_of(64)) {
                self.truth.broken.push(text);
            }
        }
    }

    fn check_emptied(&mut self) {
        let late = self.now + 700 * SECOND;
        for server in 0..self.servers.len() {
            let now = self.server_instant_at(server, late);
            if let Some(text) = self.servers[server].remains(now) {
                self.truth.broken.push(text);
            }
        }
        for wire in self.wires.values() {
            let caller = wire
                .caller
                .as_ref()
                .map_or(0, |caller| caller.calls_in_flight());
            let callee = wire
                .callee
                .as_ref()
                .map_or(0, |callee| callee.calls_in_flight());
            if caller + callee > 0 {
                let text = format!("{caller} calls and {callee} handlers remain on a connection");
                self.truth.broken.push(text);
            }
        }
    }

    /// The clients' clock: the world's own.
    pub(super) fn instant(&self, at: u64) -> Instant {
        self.base + Duration::from_micros(at)
    }

    pub(super) fn virtual_of_client(&self, instant: Instant) -> u64 {
        let elapsed = instant.saturating_duration_since(self.base);
        u64::try_from(elapsed.as_nanos().div_ceil(1_000)).expect("a schedule is short")
    }

    /// A server's clock runs up to a tenth faster than the clients'.
    fn server_instant_at(&self, server: usize, at: u64) -> Instant {
        self.base + Duration::from_micros(at + at * self.servers[server].skew / 1_000_000)
    }

    pub(super) fn server_instant(&self, server: usize) -> Instant {
        self.server_instant_at(server, self.now)
    }

    pub(super) fn virtual_of_server(&self, server: usize, instant: Instant) -> u64 {
        let shown = self.virtual_of_client(instant);
        let skew = self.servers[server].skew;
        let mut at = shown * 1_000_000 / (1_000_000 + skew);
        // A timer that comes early by a rounding would be set again for ever.
        while self.server_instant_at(server, at) < instant {
            at += 1;
        }
        at
    }
}

/// What a connection that was lost, or never made, means.
pub(super) fn unavailable(message: &str) -> Status {
    Status::new(Code::Unavailable, Execution::NotSent, message)
}
