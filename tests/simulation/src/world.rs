//! The simulated world: one thread, one queue of events in order of time, one seed.
//!
//! Nodes are the store's own machines ([`sealmoot_kv::replica`],
//! [`sealmoot_kv::coordinator`]), carried out here as the node's shell does it: what
//! they ask of their own replica goes straight there, records are written and synced
//! in batches, and an answer leaves when the machine lets it. Deliberately absent:
//! threads, real time, and every container whose order depends on anything but the
//! seed.

mod attesting;
mod change;
mod client;
mod damages;
mod directory;
mod faults;
mod meter;
mod network;
mod node;
mod probes;
mod queue;
mod settings;
mod shell;
mod storage;
mod telling;

use bytes::Bytes;
use sealmoot_kv::attest::{Attestations, Attested};
use sealmoot_kv::clock::Clock;
use sealmoot_kv::coordinator::{
    Answer, Command, Effect as CoordinatorEffect, Failure, FailureKind,
};
use sealmoot_kv::directory::DirectoryRecord;
use sealmoot_kv::message::{Reply, Request};
use sealmoot_kv::quorum::Quorums;
use sealmoot_kv::record::Record;
use sealmoot_kv::replica::{Effect as ReplicaEffect, Replay};

use crate::fault::{Fault, FaultCounts};
use crate::history::{History, Value};
use crate::invariants::Invariants;
use crate::plan::Plan;
use crate::random::{Digest, Random};

use attesting::{Attestation, Remembered};
pub use change::ChangeCounts;
use client::{AttemptId, Client, DEADLINE_LEAD_MS_MAX};
pub(crate) use meter::{Measured, ONE_WAY_US, SYNC_US};

use damages::Health;
use directory::{Directory, DirectoryEvent};
use meter::Meter;
use network::Network;
use node::{Asker, Call, Machines, Node, NodeClock};
use queue::Queue;
use shell::{Input, asked_promise};
use storage::Storage;
use telling::{digest_of, reply_summary, summary};

pub(crate) const EPOCH: u64 = 1;
/// Faults end when so many of a thousand operations are over.
const FAULTY_OPERATIONS: usize = 900;
/// Or at this time at the latest, in microseconds.
const FAULTY_US_MAX: u64 = 120_000_000;
/// How long after the faults, at least, all clocks have caught up with the furthest.
const SETTLE_US: u64 = 400_000_000;
/// By then everything has to be over.
const CALM_US_MAX: u64 = 1_200_000_000;
/// How often some node looks for deleted keys, in microseconds.
const SWEEP_EVERY_US: u64 = 20_000;
const SWEPT_KEYS_MAX: usize = 4;
const FORGET_WITHIN_MS: u64 = 300;
/// More events than any history has that gets anywhere.
const EVENTS_MAX: u64 = 5_000_000;

/// What is wrong with a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fall {
    /// The machines did what they must not.
    Invariant(String),
    /// Something does not end, or does not work again after the faults.
    Liveness(String),
}

/// What a run gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What clients asked and were told.
    pub history: History,
    /// What was seen to be wrong on the way.
    pub fall: Option<Fall>,
    /// A digest of every event; equal for equal seeds.
    pub trace: u64,
    /// How often each kind of fault happened.
    pub counts: FaultCounts,
    /// What happened to the members.
    pub changes: ChangeCounts,
    /// How many events there were.
    pub events: u64,
    /// How long the world lasted, in simulated milliseconds.
    pub simulated_ms: u64,
}

/// Runs a plan; with `verbose`, tells every event on standard error.
#[must_use]
pub fn run(plan: &Plan, verbose: bool) -> Run {
    let mut world = World::new(plan, verbose);
    world.begin();
    while world.fall.is_none() && world.phase != Phase::Over {
        if !world.step() {
            world.stall("nothing is left to happen".to_owned());
            break;
        }
        if world.events > EVENTS_MAX {
            world.stall("it goes on and on".to_owned());
        }
    }
    Run {
        history: world.history,
        fall: world.fall,
        trace: world.trace.0,
        counts: world.counts,
        changes: world.changes,
        events: world.events,
        simulated_ms: world.now_us / 1000,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Faulty,
    /// No new faults; the clients finish.
    Calm,
    /// Every key is written once more and read at every node.
    Probing,
    Over,
}

enum Event {
    Request {
        from: usize,
        start: u64,
        to: usize,
        call: Call,
        request: Request,
    },
    Reply {
        from: usize,
        to: usize,
        start: u64,
        call: Call,
        reply: Reply,
        /// How far the log of the node that answers is.
        position: Option<Attested>,
    },
    Unreachable {
        node: usize,
        start: u64,
        member: usize,
        call: Call,
    },
    Synced {
        node: usize,
        start: u64,
    },
    Tick {
        node: usize,
        start: u64,
    },
    Restart(usize),
    Fault,
    ClientStep(AttemptId),
    ClientCall {
        id: AttemptId,
        node: usize,
        command: Command,
        timeout_ms: u64,
    },
    ClientReply(AttemptId, client::Reply, Clock),
    AttemptOver(AttemptId),
    Probe,
    /// A node looks for deleted keys that can be forgotten.
    Sweep,
    /// Somebody creates the namespace, for the n-th time.
    Create(u64),
    /// A node asks the others what they remember of it.
    Attest {
        node: usize,
        start: u64,
    },
    AttestAsked(Attestation),
    AttestAnswered(Remembered),
    Directory(DirectoryEvent),
}

pub(crate) struct World<'a> {
    plan: &'a Plan,
    verbose: bool,
    now_us: u64,
    queue: Queue<Event>,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    network: Network,
    quorums: Quorums,
    network_random: Random,
    disk_random: Random,
    fault_random: Random,
    client_random: Random,
    damage_random: Random,
    history: History,
    invariants: Invariants,
    counts: FaultCounts,
    changes: ChangeCounts,
    /// Absent where members do not change.
    directory: Option<Directory>,
    /// The record with which the cluster was formed.
    first: Option<DirectoryRecord>,
    change_random: Random,
    trace: Digest,
    phase: Phase,
    calm_since_us: u64,
    /// How long after that all clocks have caught up.
    settle_us: u64,
    fall: Option<Fall>,
    events: u64,
    starts: u64,
    operations_left: usize,
    operations_done: usize,
    client_numbers: u32,
    values: u64,
    /// Which probe comes next.
    probe: usize,
    /// What the nodes before answered to the probes of this key.
    probed: Option<(Option<Value>, u64)>,
    replica_effects: Vec<ReplicaEffect>,
    coordinator_effects: Vec<CoordinatorEffect>,
    /// Counts, in a world that is driven by hand.
    meter: Option<Meter>,
}

impl<'a> World<'a> {
    pub(crate) fn new(plan: &'a Plan, verbose: bool) -> Self {
        let quorums = Quorums::majority(plan.nodes);
        let machines = plan.machines();
        let directory = plan.changes.as_ref().map(|_| Directory::new(plan.nodes));
        let first = directory.as_ref().map(|directory| directory.record.clone());
        let mut invariants = Invariants::new(machines, Self::watched_keys(plan));
        match &first {
            None => {
                let quorums = plan.settings.quorums.scaled_to(plan.nodes);
                invariants.configured_for_ever(EPOCH, quorums);
            }
            Some(first) => invariants.configured(first),
        }
        let mut client_random = Random::stream(plan.seed, 4);
        let clients = (0..plan.clients)
            .map(|index| {
                let offset_ms = client_random.between(0, 400) as i64 - 200;
                let node = client_random.index(machines);
                Client::new(index as u32, node, machines, offset_ms)
            })
            .collect();
        Self {
            plan,
            verbose,
            now_us: 0,
            queue: Queue::new(),
            nodes: Vec::new(),
            clients,
            network: Network::new(machines),
            quorums,
            network_random: Random::stream(plan.seed, 1),
            disk_random: Random::stream(plan.seed, 2),
            fault_random: Random::stream(plan.seed, 3),
            client_random,
            damage_random: Random::stream(plan.seed, 42),
            history: History::default(),
            invariants,
            counts: FaultCounts::default(),
            changes: ChangeCounts::default(),
            directory,
            first,
            change_random: Random::stream(plan.seed, 6),
            trace: Digest::default(),
            phase: Phase::Faulty,
            calm_since_us: 0,
            settle_us: SETTLE_US,
            fall: None,
            events: 0,
            starts: 0,
            operations_left: plan.operations,
            operations_done: 0,
            client_numbers: plan.clients as u32,
            values: 0,
            probe: 0,
            probed: None,
            replica_effects: Vec::new(),
            coordinator_effects: Vec::new(),
            meter: None,
        }
    }

    fn begin(&mut self) {
        self.start_nodes();
        for client in 0..self.clients.len() {
            let at_us = self.client_random.below(2_000);
            let id = AttemptId { client, number: 0 };
            self.queue.push(at_us, Event::ClientStep(id));
        }
        self.queue.push(SWEEP_EVERY_US, Event::Sweep);
        self.begin_creation();
        self.begin_faults();
        self.next_operation_of_operator();
    }

    /// The next thing happens, if there is one.
    fn step(&mut self) -> bool {
        let Some((at_us, event)) = self.queue.pop() else {
            return false;
        };
        self.now_us = self.now_us.max(at_us);
        self.events += 1;
        self.take(event);
        true
    }

    fn start_nodes(&mut self) {
        for index in 0..self.plan.machines() {
            self.starts += 1;
            let clock = NodeClock::default();
            let wall_ms = clock.now(0).wall_ms;
            let effects_left = self.effects_until_crash();
            let mut storage = Storage::new(self.plan.log, index);
            let (replay, incarnation) = self.form(index, &mut storage);
            let among = self
                .first
                .as_ref()
                .map(|first| (self.plan.machines(), first));
            let machines = Machines::start(
                index,
                self.starts,
                self.quorums,
                replay,
                storage.records(),
                wall_ms,
                among,
            );
            self.nodes.push(Node {
                machines: Some(machines),
                start: self.starts,
                storage,
                health: Health::new(self.plan.machines()),
                queued: Vec::new(),
                writing: Vec::new(),
                syncing: false,
                clock,
                tick_at_us: u64::MAX,
                paused_until_us: 0,
                slow_until_us: 0,
                failing: None,
                effects_left,
                incarnation,
                renewing: false,
                looking_until_us: 0,
                directory_cut_us: 0,
                change_due_us: u64::MAX,
            });
            self.note_started(index);
            self.begin_attesting(index, Attestations::default());
            self.next_look(index);
        }
    }

    /// What a node's log holds when the cluster is formed.
    fn form(&mut self, index: usize, storage: &mut Storage) -> (Replay, Option<u64>) {
        let mut replay = Replay::default();
        let mut records = self.first_records();
        let mut incarnation = None;
        if let Some(first) = &self.first
            && index < self.plan.nodes
        {
            let number = index as u64 + 1;
            incarnation = Some(number);
            records.push(Record::Incarnation(number));
            records.push(Record::Epoch {
                directory: first.clone(),
                retired: false,
            });
        }
        for record in &records {
            replay.record(record.clone());
            if self.plan.invariants && self.first.is_some() {
                let durable = self.invariants.durable(index, record);
                self.fall = durable.err().map(Fall::Invariant);
            }
        }
        if !records.is_empty() {
            let formed = storage.commit(&mut records, false).is_some();
            debug_assert!(formed, "a new disk without faults takes records");
        }
        (replay, incarnation)
    }

    /// What a node's shell does now and then, with younger tombstones.
    fn sweep(&mut self) {
        if self.phase == Phase::Probing {
            return;
        }
        self.queue.push(self.now_us + SWEEP_EVERY_US, Event::Sweep);
        let index = self.disk_random.index(self.nodes.len());
        if self.nodes[index].paused_until_us > self.now_us {
            return;
        }
        let now = self.nodes[index].clock.now(self.now_us);
        let Some(machines) = &self.nodes[index].machines else {
            return;
        };
        let clock = machines.coordinator.clock(now.wall_ms);
        let (keys, _) =
            machines
                .replica
                .forgettable(&Bytes::new(), clock, clock, |_| true, SWEPT_KEYS_MAX);
        for key in keys {
            self.note(15, [index as u64, 0, 0], || format!("node {index} forgets"));
            self.work(index, Input::Own(Command::Forget { key }, FORGET_WITHIN_MS));
        }
    }

    fn effects_until_crash(&mut self) -> u64 {
        if self.phase == Phase::Faulty && self.plan.faults.has(Fault::CrashAtEffect) {
            self.fault_random
                .between(1, self.plan.rates.effects_between_crashes)
        } else {
            u64::MAX
        }
    }

    /// Whether a kind of fault may happen now.
    fn faulty(&self, fault: Fault) -> bool {
        self.phase == Phase::Faulty && self.plan.faults.has(fault)
    }

    /// Takes an event into the trace.
    fn note(&mut self, kind: u64, numbers: [u64; 3], text: impl FnOnce() -> String) {
        self.trace.add(kind ^ self.now_us << 8);
        for number in numbers {
            self.trace.add(number);
        }
        if self.verbose {
            eprintln!("{:>10} us  {}", self.now_us, text());
        }
    }

    fn stall(&mut self, what: String) {
        self.fall.get_or_insert(Fall::Liveness(what));
    }

    fn demand(&mut self, result: Result<(), String>) {
        if let Err(what) = result {
            self.note(8, [0; 3], || what.clone());
            self.fall.get_or_insert(Fall::Invariant(what));
        }
    }

    fn take(&mut self, event: Event) {
        if let Some(node) = node_of(&event)
            && self.nodes[node].paused_until_us > self.now_us
        {
            let until_us = self.nodes[node].paused_until_us;
            self.queue.push(until_us, event);
            return;
        }
        match event {
            Event::Request {
                from,
                start,
                to,
                call,
                request,
            } => {
                if self.nodes[to].machines.is_none() {
                    self.send_unreachable(from, start, to, call);
                    return;
                }
                self.look_for_epoch_of(to, &request);
                self.note(10, [from as u64, to as u64, 0], || {
                    format!("{from} -> {to} {}", summary(&request))
                });
                self.ask(from, start, to, call, request);
            }
            Event::Reply {
                from,
                to,
                start,
                call,
                reply,
                position,
            } => {
                if self.is_running(to, start) {
                    self.note_attested(to, from, position);
                    if let Reply::WrongEpoch { epoch } = reply
                        && epoch > self.nodes[to].epoch()
                    {
                        self.look(to);
                    }
                    self.note(11, [from as u64, to as u64, digest_of(&reply)], || {
                        format!("{from} -> {to} {}", reply_summary(&reply))
                    });
                    if let Some(meter) = &mut self.meter {
                        meter.answered(to, call);
                    }
                    self.work(to, Input::Reply(call, from, reply));
                }
            }
            Event::Unreachable {
                node,
                start,
                member,
                call,
            } => {
                if self.is_running(node, start) {
                    self.note(12, [node as u64, member as u64, 0], || {
                        format!("{node} gives up on {member}")
                    });
                    self.work(node, Input::Unreachable(call, member));
                }
            }
            Event::Synced { node, start } => self.synced(node, start),
            Event::Tick { node, start } => {
                if self.is_running(node, start) && self.nodes[node].tick_at_us <= self.now_us {
                    self.nodes[node].tick_at_us = u64::MAX;
                    self.work(node, Input::Tick);
                }
            }
            Event::Restart(node) => self.restart(node),
            Event::Fault => self.fault(),
            Event::ClientStep(id) => {
                self.maybe_end_faults();
                self.client_step(id);
            }
            Event::ClientCall {
                id,
                node,
                command,
                timeout_ms,
            } => self.client_call(id, node, command, timeout_ms),
            Event::ClientReply(id, reply, clock) => self.client_reply(id, reply, clock),
            Event::AttemptOver(id) => self.attempt_over(id),
            Event::Probe => self.next_probe(),
            Event::Sweep => self.sweep(),
            Event::Create(attempt) => self.create_namespace(attempt),
            Event::Attest { node, start } => self.attest(node, start),
            Event::AttestAsked(question) => self.attest_asked(question),
            Event::AttestAnswered(answer) => self.attest_answered(answer),
            Event::Directory(event) => self.directory_event(event),
        }
        if self.phase != Phase::Faulty
            && self.now_us > self.calm_since_us + CALM_US_MAX.max(3 * self.settle_us)
        {
            self.stall("requests do not end after the faults have ended".to_owned());
        }
    }

    fn maybe_end_faults(&mut self) {
        let enough = self.operations_done * 1000 >= self.plan.operations * FAULTY_OPERATIONS;
        if self.phase == Phase::Faulty && (enough || self.now_us > FAULTY_US_MAX) {
            self.end_faults();
        }
    }

    fn is_running(&self, node: usize, start: u64) -> bool {
        self.nodes[node].start == start && self.nodes[node].machines.is_some()
    }

    fn restart(&mut self, index: usize) {
        if self.nodes[index].machines.is_some() || self.nodes[index].health.is_out {
            return;
        }
        self.starts += 1;
        let start = self.starts;
        let effects_left = self.effects_until_crash();
        if self.is_wiped() {
            self.nodes[index].storage.wipe();
        }
        if self.loses_disk() {
            self.changes.wiped += 1;
            self.nodes[index].storage.wipe();
            self.nodes[index].incarnation = None;
            self.invariants.wiped(index);
            self.note(21, [index as u64, 0, 0], || {
                format!("node {index} has lost its disk")
            });
        }
        let damaged = self.maybe_damage(index);
        self.demand(damaged);
        let is_behind = self.nodes[index].health.is_behind;
        let mut replay = Replay::default();
        let mut attestations = Attestations::default();
        let mut records: Result<(), String> = Ok(());
        let watched = self.plan.invariants && !is_behind;
        if watched {
            self.invariants.replays(index);
        }
        let mut incarnation = None;
        let among = self
            .first
            .as_ref()
            .map(|first| (self.plan.machines(), first));
        let invariants = &mut self.invariants;
        let node = &mut self.nodes[index];
        let opened = node.storage.open(&mut |record| {
            if watched && records.is_ok() {
                records = invariants.replayed(index, &record);
            }
            if let Record::Attested { node, attested } = &record {
                attestations.replay(*node, *attested);
            }
            if let Record::Incarnation(number) = &record {
                incarnation = Some(*number);
            }
            replay.record(record);
        });
        if let Err(error) = opened {
            if is_behind {
                self.refuse_to_start(index, &error);
                return;
            }
            self.demand(Err(format!("node {index} does not start: {error}")));
            return;
        }
        let wall_ms = node.clock.now(self.now_us).wall_ms;
        let appended = node.storage.records();
        node.machines = Some(Machines::start(
            index,
            start,
            self.quorums,
            replay,
            appended,
            wall_ms,
            among,
        ));
        node.incarnation = incarnation;
        node.renewing = false;
        node.looking_until_us = 0;
        node.change_due_us = u64::MAX;
        node.start = start;
        node.effects_left = effects_left;
        node.failing = None;
        self.note(13, [index as u64, start, appended], || {
            format!("node {index} starts with {appended} records")
        });
        self.demand(records);
        self.note_started(index);
        self.begin_attesting(index, attestations);
        self.look(index);
        self.next_look(index);
        if watched {
            let started = self.invariants.started(index);
            self.demand(started);
        }
    }

    fn ask(&mut self, from: usize, start: u64, to: usize, call: Call, request: Request) {
        if !self.votes(to) {
            self.send_unreachable(from, start, to, call);
            return;
        }
        let promise = asked_promise(&request);
        let asker = Asker {
            node: from,
            start,
            call,
            promise,
        };
        self.work(to, Input::Ask(asker, request));
    }

    fn client_call(&mut self, id: AttemptId, node: usize, command: Command, timeout_ms: u64) {
        if self.nodes[node].machines.is_none() {
            let reply = Event::ClientReply(id, client::Reply::Broken, Clock::ZERO);
            self.queue.push(self.now_us + 100, reply);
            return;
        }
        if let Command::Write { operation, .. } = &command {
            let clock = self.clock_of(node);
            if operation.deadline > clock.plus_ms(DEADLINE_LEAD_MS_MAX) {
                let failure = Failure::new(FailureKind::DeadlinePassed, clock);
                self.answer_client(node, id, Err(failure));
                return;
            }
        }
        self.work(node, Input::Begin(id, command, timeout_ms));
    }

    fn clock_of(&self, node: usize) -> Clock {
        let node = &self.nodes[node];
        let wall_ms = node.clock.now(self.now_us).wall_ms;
        node.machines
            .as_ref()
            .map_or(Clock::ZERO, |machines| machines.coordinator.clock(wall_ms))
    }

    fn answer_client(&mut self, node: usize, id: AttemptId, result: Result<Answer, Failure>) {
        if let Some(meter) = &mut self.meter {
            meter.ended(self.now_us, result);
            return;
        }
        if self.clients[id.client].cut_until_us[node] > self.now_us {
            return;
        }
        let (reply, clock) = match result {
            Ok(answer) => (client::Reply::Answer(answer), self.clock_of(node)),
            Err(failure) => (client::Reply::Refused(failure.kind), failure.clock),
        };
        self.send_client_reply(id, reply, clock);
    }
}

/// Which node an event happens at, and waits for while that is paused.
fn node_of(event: &Event) -> Option<usize> {
    match event {
        Event::Request { to, .. } | Event::Reply { to, .. } => Some(*to),
        Event::Unreachable { node, .. }
        | Event::Synced { node, .. }
        | Event::Tick { node, .. }
        | Event::Attest { node, .. }
        | Event::ClientCall { node, .. }
        | Event::Directory(
            DirectoryEvent::Told { node, .. }
            | DirectoryEvent::Look { node, .. }
            | DirectoryEvent::ChangeDue { node, .. },
        ) => Some(*node),
        Event::AttestAsked(question) => Some(question.at()),
        Event::AttestAnswered(answer) => Some(answer.at()),
        _ => None,
    }
}
