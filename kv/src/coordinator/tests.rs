//! Whole clusters in one thread: coordinators, replicas and real logs on disks of
//! memory, with messages lost, repeated and reordered, and nodes that crash.

use std::convert::Infallible;

use super::*;
use crate::disk::MemoryDisk;
use crate::log::{Log, LogKey, LogOptions};
use crate::record::Record;
use crate::register::{Change, Expectation, Operation as Write, OperationId, Outcome, Register};
use crate::replica::{Effect as ReplicaEffect, Replay, Replica};
use sealmoot_crypto::secret::SecretArray;

const KEY: Bytes = Bytes::from_static(b"app/counter");
const EPOCH: u64 = 1;

/// A small deterministic source of choices.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        // splitmix64 (Steele, Lea and Flood, 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

struct Node {
    disk: MemoryDisk,
    log: Log<MemoryDisk>,
    replica: Replica,
    coordinator: Coordinator,
    unsynced: Vec<Vec<u8>>,
    up: bool,
}

fn log_key(node: usize) -> LogKey {
    LogKey::from_root(&SecretArray::from_bytes([node as u8 + 1; 32]))
}

fn options() -> LogOptions {
    LogOptions::default()
        .with_segment_bytes(64 * 1024)
        .expect("a segment size")
        .without_helper()
}

impl Node {
    fn new(index: usize) -> Self {
        let disk = MemoryDisk::new();
        let log = Log::create(disk.clone(), log_key(index), 1, options()).expect("created");
        let replica = Replay::default().finish(EPOCH, 0);
        let coordinator = Self::coordinator(index, 1, Clock::ZERO);
        Self {
            disk,
            log,
            replica,
            coordinator,
            unsynced: Vec::new(),
            up: true,
        }
    }

    fn coordinator(index: usize, start: u64, clock: Clock) -> Coordinator {
        let proposer = Proposer {
            node: index as u64 + 1,
            start,
        };
        Coordinator::new(index, EPOCH, proposer, Quorums::majority(3), clock, start)
    }

    fn restart(&mut self, index: usize, start: u64, wall_ms: u64, dice: &mut Dice) {
        self.unsynced.clear();
        self.disk = self.disk.crash(dice.below(u64::MAX));
        let mut replay = Replay::default();
        let mut take = |_: u64, bytes: &[u8]| -> Result<(), Infallible> {
            replay.record(Record::decode(bytes).expect("authenticated"));
            Ok(())
        };
        self.log =
            Log::open(self.disk.clone(), log_key(index), options(), &mut take).expect("opens");
        self.replica = replay.finish(EPOCH, self.log.position().records);
        self.coordinator = Self::coordinator(index, start, self.replica.clock(wall_ms));
        self.up = true;
    }
}

enum Message {
    Request(usize, usize, CallId, Request),
    Reply(usize, usize, CallId, Reply),
}

/// A cluster under faults.
struct Cluster {
    nodes: Vec<Node>,
    messages: Vec<Message>,
    /// Requests that a replica holds until a sync: token to (from, call).
    tokens: Vec<(usize, usize, CallId)>,
    finished: Vec<(Token, Result<Answer, Failure>)>,
    dice: Dice,
    now: Now,
    starts: u64,
    loss: u64,
    duplication: u64,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        Self {
            nodes: (0..3).map(Node::new).collect(),
            messages: Vec::new(),
            tokens: Vec::new(),
            finished: Vec::new(),
            dice: Dice(seed),
            now: Now {
                wall_ms: 1_000_000,
                steady_ms: 0,
            },
            starts: 1,
            loss: 0,
            duplication: 0,
        }
    }

    fn begin(&mut self, node: usize, token: Token, command: Command, timeout_ms: u64) {
        let mut effects = Vec::new();
        let now = self.now;
        self.nodes[node]
            .coordinator
            .begin(now, token, command, timeout_ms, &mut effects);
        self.carry_out(node, effects);
    }

    fn carry_out(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(to, call, request) => {
                    self.messages
                        .push(Message::Request(node, to, call, request));
                }
                Effect::Finish(token, result) => self.finished.push((token, result)),
            }
        }
    }

    fn replica_effects(&mut self, node: usize, effects: Vec<ReplicaEffect>) {
        for effect in effects {
            match effect {
                ReplicaEffect::Append(number, record) => {
                    let node = &mut self.nodes[node];
                    node.unsynced.push(record.encode());
                    let expected = node.log.position().records + node.unsynced.len() as u64;
                    assert_eq!(number, expected);
                }
                ReplicaEffect::Reply(token, reply) => {
                    let (from, to, call) = self.tokens[token as usize];
                    self.messages.push(Message::Reply(to, from, call, reply));
                }
            }
        }
    }

    fn sync(&mut self, node: usize) {
        let records = std::mem::take(&mut self.nodes[node].unsynced);
        if records.is_empty() {
            return;
        }
        let durable = self.nodes[node].log.commit(&records).expect("committed");
        let mut effects = Vec::new();
        self.nodes[node].replica.synced(durable, &mut effects);
        self.replica_effects(node, effects);
    }

    fn crash(&mut self, node: usize) {
        self.nodes[node].up = false;
    }

    fn restart(&mut self, node: usize) {
        self.starts += 1;
        let (start, wall_ms) = (self.starts, self.now.wall_ms);
        let mut dice = Dice(self.dice.below(u64::MAX));
        self.nodes[node].restart(node, start, wall_ms, &mut dice);
    }

    /// Delivers one message, syncs one node, or lets time pass.
    fn step(&mut self) {
        let choice = self.dice.below(100);
        if choice < 70 && !self.messages.is_empty() {
            let at = self.dice.below(self.messages.len() as u64) as usize;
            let message = self.messages.swap_remove(at);
            if self.dice.percent(self.duplication) {
                self.messages.push(match &message {
                    Message::Request(from, to, call, request) => {
                        Message::Request(*from, *to, *call, request.clone())
                    }
                    Message::Reply(from, to, call, reply) => {
                        Message::Reply(*from, *to, *call, reply.clone())
                    }
                });
            }
            if !self.dice.percent(self.loss) {
                self.deliver(message);
            }
        } else if choice < 90 {
            let node = self.dice.below(3) as usize;
            if self.nodes[node].up {
                self.sync(node);
            }
        } else {
            let milliseconds = self.dice.below(20);
            self.pass(milliseconds);
        }
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now.wall_ms += milliseconds;
        self.now.steady_ms += milliseconds;
        for node in 0..3 {
            if self.nodes[node].up {
                let mut effects = Vec::new();
                self.nodes[node].coordinator.tick(self.now, &mut effects);
                self.carry_out(node, effects);
            }
        }
    }

    fn deliver(&mut self, message: Message) {
        let now = self.now;
        match message {
            Message::Request(from, to, call, request) => {
                if !self.nodes[to].up {
                    if self.nodes[from].up {
                        let mut effects = Vec::new();
                        self.nodes[from].coordinator.unreachable(
                            now,
                            call,
                            to,
                            "connection refused",
                            &mut effects,
                        );
                        self.carry_out(from, effects);
                    }
                    return;
                }
                self.tokens.push((from, to, call));
                let token = self.tokens.len() as u64 - 1;
                let mut effects = Vec::new();
                self.nodes[to]
                    .replica
                    .request(now.wall_ms, token, request, &mut effects);
                self.replica_effects(to, effects);
            }
            Message::Reply(from, to, call, reply) => {
                if self.nodes[to].up {
                    let mut effects = Vec::new();
                    self.nodes[to]
                        .coordinator
                        .reply(now, call, from, reply, &mut effects);
                    self.carry_out(to, effects);
                }
            }
        }
    }

    /// Runs until the request with this token is over.
    fn finish(&mut self, token: Token) -> Result<Answer, Failure> {
        for _ in 0..200_000 {
            if let Some(at) = self.finished.iter().position(|(done, _)| *done == token) {
                return self.finished.swap_remove(at).1;
            }
            self.step();
        }
        panic!("request {token} does not end");
    }

    fn run(&mut self, node: usize, token: Token, command: Command) -> Result<Answer, Failure> {
        self.begin(node, token, command, 5_000);
        self.finish(token)
    }
}

fn operation(client: u8, sequence: u64, deadline: Clock, change: Change) -> Command {
    Command::Write {
        key: KEY,
        operation: Write {
            id: OperationId {
                client: [client; 16],
                sequence,
            },
            deadline,
            change,
        },
        fresh: true,
    }
}

fn put(sequence: u64, value: &'static [u8]) -> Command {
    let deadline = Clock::from_ms(2_000_000);
    operation(
        1,
        sequence,
        deadline,
        Change::Put(Bytes::from_static(value)),
    )
}

fn read() -> Command {
    Command::Read {
        key: KEY,
        level: Level::Linearizable,
    }
}

fn value(result: Result<Answer, Failure>) -> Register {
    match result {
        Ok(Answer::Value(register)) => register,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_write_is_read_at_every_node() {
    let mut cluster = Cluster::new(1);
    let written = cluster.run(0, 1, put(1, b"v"));
    assert_eq!(
        written,
        Ok(Answer::Written {
            outcome: Outcome::Written { revision: 1 },
            acks: 2
        })
    );
    for node in 0..3 {
        let register = value(cluster.run(node, 10 + node as u64, read()));
        assert_eq!(register.value.as_deref(), Some(&b"v"[..]));
    }
}

#[test]
fn any_one_node_can_be_down() {
    for down in 0..3 {
        let mut cluster = Cluster::new(2);
        cluster.crash(down);
        let at = (down + 1) % 3;
        assert!(cluster.run(at, 1, put(1, b"v")).is_ok());
        assert_eq!(value(cluster.run(at, 2, read())).revision, 1);
    }
}

#[test]
fn without_a_quorum_nothing_happens_and_it_is_said() {
    let mut cluster = Cluster::new(3);
    cluster.crash(1);
    cluster.crash(2);
    for (token, command) in [(1, put(1, b"v")), (2, read())] {
        let failure = cluster.run(0, token, command).expect_err("refused");
        let expected = FailureKind::NoQuorum {
            answered: 1,
            needed: 2,
        };
        assert_eq!(failure.kind, expected);
        assert_eq!(failure.nodes[1].cause, "connection refused");
    }
    cluster.restart(1);
    assert_eq!(value(cluster.run(0, 3, read())).value, None);
}

#[test]
fn a_value_outlives_a_restart_of_all_nodes() {
    let mut cluster = Cluster::new(4);
    assert!(cluster.run(0, 1, put(1, b"v")).is_ok());
    for node in 0..3 {
        cluster.crash(node);
    }
    cluster.messages.clear();
    for node in 0..3 {
        cluster.restart(node);
    }
    let register = value(cluster.run(2, 2, read()));
    assert_eq!(register.value.as_deref(), Some(&b"v"[..]));
    let again = cluster.run(1, 3, put(2, b"w"));
    assert!(matches!(
        again,
        Ok(Answer::Written {
            outcome: Outcome::Written { revision: 2 },
            ..
        })
    ));
}

#[test]
fn a_retry_through_another_node_acts_once() {
    let mut cluster = Cluster::new(5);
    let first = cluster.run(0, 1, put(7, b"v"));
    let second = cluster.run(1, 2, put(7, b"v"));
    assert_eq!(first, second);
    assert_eq!(value(cluster.run(2, 3, read())).revision, 1);
}

#[test]
fn an_operation_past_its_deadline_is_refused_and_can_be_tried_anew() {
    let mut cluster = Cluster::new(6);
    let late = operation(
        1,
        1,
        Clock::from_ms(1),
        Change::Put(Bytes::from_static(b"v")),
    );
    let failure = cluster.run(0, 1, late).expect_err("refused");
    assert_eq!(failure.kind, FailureKind::DeadlinePassed);
    assert!(failure.clock >= Clock::from_ms(1_000_000));
    assert_eq!(value(cluster.run(0, 2, read())).value, None);
}

#[test]
fn a_cas_that_does_not_match_changes_nothing() {
    let mut cluster = Cluster::new(7);
    let cas = |sequence, expectation| {
        let change = Change::CompareAndSet(expectation, Bytes::from_static(b"n"));
        operation(2, sequence, Clock::from_ms(2_000_000), change)
    };
    let outcome = |result| match result {
        Ok(Answer::Written { outcome, .. }) => outcome,
        other => panic!("{other:?}"),
    };
    let refused = cluster.run(0, 1, cas(1, Expectation::Revision(4)));
    assert_eq!(outcome(refused), Outcome::Conflict { revision: 0 });
    let done = cluster.run(0, 2, cas(2, Expectation::Absent));
    assert_eq!(outcome(done), Outcome::Written { revision: 1 });
    let refused = cluster.run(1, 3, cas(3, Expectation::Absent));
    assert_eq!(outcome(refused), Outcome::Conflict { revision: 1 });
}

#[test]
fn a_member_with_a_wild_clock_does_not_carry_a_coordinator_away() {
    let mut cluster = Cluster::new(9);
    cluster.begin(0, 1, put(1, b"v"), 5_000);
    let Some(Message::Request(_, _, call, _)) = cluster.messages.first() else {
        panic!("nothing was sent");
    };
    let refusal = Reply::Refused {
        standing: Ballot::ceiling_of(EPOCH, Clock(u64::MAX)),
    };
    cluster.messages.push(Message::Reply(2, 0, *call, refusal));
    assert!(cluster.finish(1).is_ok());
    assert!(cluster.nodes[0].coordinator.clock(0) < Clock::from_ms(2_000_000));
}

#[test]
fn a_list_shows_what_exists_in_order_and_in_pages() {
    let mut cluster = Cluster::new(8);
    let deadline = Clock::from_ms(2_000_000);
    for (sequence, key) in ["b/2", "a/1", "a/3", "a/2"].iter().enumerate() {
        let command = Command::Write {
            key: Bytes::from_static(key.as_bytes()),
            operation: Write {
                id: OperationId {
                    client: [1; 16],
                    sequence: sequence as u64,
                },
                deadline,
                change: Change::Put(Bytes::from_static(b"xyz")),
            },
            fresh: true,
        };
        assert!(cluster.run(sequence % 3, sequence as u64, command).is_ok());
    }
    let mut after = Bytes::new();
    let mut keys = Vec::new();
    for token in 100.. {
        let command = Command::List {
            prefix: Bytes::from_static(b"a/"),
            after: after.clone(),
            limit: 2,
            level: Level::Linearizable,
        };
        let Ok(Answer::Listed { entries, next }) = cluster.run(0, token, command) else {
            panic!("no list");
        };
        keys.extend(entries.iter().map(|entry| entry.key.clone()));
        assert!(entries.iter().all(|entry| entry.size == 3));
        match next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(keys, ["a/1", "a/2", "a/3"]);
}

/// Clients add to one counter by cas through random nodes while messages are
/// lost, repeated and reordered and nodes crash. Every acknowledged addition is in
/// the final value, and nothing else than those and the unknown ones.
#[test]
fn acknowledged_additions_are_never_lost_and_never_made_twice() {
    for seed in 0..200 {
        count_under_faults(seed);
    }
}

fn count_under_faults(seed: u64) {
    let mut cluster = Cluster::new(seed);
    cluster.loss = cluster.dice.below(8);
    cluster.duplication = cluster.dice.below(8);
    let (mut acknowledged, mut unknown) = (0u64, 0u64);
    let mut token = 0;
    let mut down: Option<usize> = None;
    let mut node = 0;
    for round in 0..20u64 {
        match (down, cluster.dice.below(6)) {
            (None, 0) => {
                let node = cluster.dice.below(3) as usize;
                cluster.crash(node);
                down = Some(node);
            }
            (Some(node), 0..3) => {
                cluster.restart(node);
                down = None;
            }
            _ => {}
        }
        // Mostly at the same node, so that ballots are warm when something happens.
        if cluster.dice.percent(30) {
            node = cluster.dice.below(3) as usize;
        }
        if down == Some(node) {
            node = (node + 1) % 3;
        }
        token += 1;
        let Ok(Answer::Value(register)) = cluster.run(node, token, read()) else {
            continue;
        };
        let current: u64 = register.value.as_deref().map_or(0, |bytes| {
            std::str::from_utf8(bytes)
                .expect("digits")
                .parse()
                .expect("a number")
        });
        let next = Bytes::from((current + 1).to_string());
        let expectation = Expectation::Revision(register.visible_revision());
        let change = Change::CompareAndSet(expectation, next);
        let deadline = Clock::from_ms(cluster.now.wall_ms + 60_000);
        let client = (round % 3) as u8;
        token += 1;
        match cluster.run(node, token, operation(client, round, deadline, change)) {
            Ok(Answer::Written { outcome, .. }) => {
                if let Outcome::Written { .. } = outcome {
                    acknowledged += 1;
                }
            }
            Ok(other) => panic!("seed {seed}: {other:?}"),
            Err(failure) => {
                if failure.kind == FailureKind::OutcomeUnknown {
                    unknown += 1;
                }
            }
        }
    }
    // Faults end and what is under way arrives. An unknown write that one member
    // holds may still happen, when a read of that member repairs it: so every
    // node reads twice, and the second time all read the same.
    cluster.loss = 0;
    if let Some(node) = down {
        cluster.restart(node);
    }
    while !cluster.messages.is_empty() {
        cluster.step();
    }
    for node in 0..3 {
        token += 1;
        let _ = value(cluster.run(node, token, read()));
    }
    let mut seen = Vec::new();
    for node in 0..3 {
        token += 1;
        let register = value(cluster.run(node, token, read()));
        let text = register.value.unwrap_or(Bytes::from_static(b"0"));
        seen.push(
            std::str::from_utf8(&text)
                .expect("digits")
                .parse::<u64>()
                .expect("a number"),
        );
        assert_eq!(seen[0], register.revision, "seed {seed}");
    }
    assert!(
        seen.iter().all(|value| *value == seen[0])
            && (acknowledged..=acknowledged + unknown).contains(&seen[0]),
        "seed {seed}: {seen:?}, acknowledged {acknowledged}, unknown {unknown}"
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let trace = |seed| {
        let mut cluster = Cluster::new(seed);
        cluster.loss = 5;
        let result = format!("{:?}", cluster.run(0, 1, put(1, b"v")));
        (result, cluster.now.steady_ms, cluster.tokens.len())
    };
    assert_eq!(trace(42), trace(42));
}

/// One client puts, deletes and reads while the key is swept again and again and
/// nodes crash: whatever is answered fits the order of what was answered before, and
/// no revision comes twice, although the key is forgotten in between.
#[test]
fn a_key_that_is_forgotten_again_and_again_keeps_its_order_and_its_revisions() {
    let mut forgotten = 0;
    for seed in 0..150 {
        forgotten += forget_under_faults(seed);
    }
    assert!(forgotten > 100, "only {forgotten} keys were forgotten");
}

fn forget_under_faults(seed: u64) -> u64 {
    let mut cluster = Cluster::new(seed);
    cluster.duplication = cluster.dice.below(10);
    let (mut last_revision, mut forgotten, mut token) = (0, 0, 0);
    // What a read may see; none from a write of unknown outcome, which may still
    // happen, until the next one that changed something.
    let mut expected: Option<Option<u64>> = Some(None);
    let mut down: Option<usize> = None;
    for round in 0..40u64 {
        match (down, cluster.dice.below(10)) {
            (None, 0) => {
                let node = cluster.dice.below(3) as usize;
                cluster.crash(node);
                down = Some(node);
            }
            (Some(node), 0..5) => {
                cluster.restart(node);
                down = None;
            }
            _ => {}
        }
        let mut node = cluster.dice.below(3) as usize;
        if down == Some(node) {
            node = (node + 1) % 3;
        }
        token += 1;
        let deadline = Clock::from_ms(cluster.now.wall_ms + 400);
        let change = match cluster.dice.below(5) {
            0 => Change::Put(Bytes::from(round.to_string())),
            1 => Change::Delete,
            2 => {
                if let Ok(Answer::Value(register)) = cluster.run(node, token, read()) {
                    let seen = register.value.is_some().then_some(register.revision);
                    if let Some(expected) = expected {
                        assert_eq!(seen, expected, "seed {seed} round {round}");
                    }
                }
                continue;
            }
            _ => {
                // Past every deadline, and past the floor that a restart raises.
                cluster.pass(3_000);
                let command = Command::Forget { key: KEY };
                if cluster.run(node, token, command) == Ok(Answer::Forgotten(true)) {
                    forgotten += 1;
                }
                continue;
            }
        };
        match cluster.run(node, token, operation(1, round, deadline, change)) {
            Ok(Answer::Written { outcome, .. }) => {
                let (revision, now) = match outcome {
                    Outcome::Written { revision } => (revision, Some(revision)),
                    Outcome::Deleted { revision } => (revision, None),
                    Outcome::NothingToDelete => {
                        assert!(
                            expected.is_none_or(|expected| expected.is_none()),
                            "seed {seed} round {round}"
                        );
                        continue;
                    }
                    Outcome::Conflict { .. } => panic!("seed {seed}: no cas"),
                };
                assert!(
                    revision > last_revision,
                    "seed {seed} round {round}: {revision} after {last_revision}"
                );
                last_revision = revision;
                expected = Some(now);
            }
            Ok(other) => panic!("seed {seed}: {other:?}"),
            Err(failure) => match failure.kind {
                FailureKind::OutcomeUnknown | FailureKind::OutcomeLost => expected = None,
                _ => {}
            },
        }
    }
    forgotten
}
