//! Schedules by hand: the few steps that bring about what the simulation found.

use bytes::Bytes;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_kv::ballot::{Ballot, Proposer};
use sealmoot_kv::clock::Clock;
use sealmoot_kv::coordinator::{Answer, CallId, Command, Coordinator, Effect, Level, Now};
use sealmoot_kv::disk::MemoryDisk;
use sealmoot_kv::log::{Log, LogKey, LogOptions};
use sealmoot_kv::message::{Reply, Request};
use sealmoot_kv::quorum::Quorums;
use sealmoot_kv::record::Record;
use sealmoot_kv::register::{Change, Expectation, Operation, OperationId, Outcome, Register};
use sealmoot_kv::replica::{Effect as ReplicaEffect, Replay, Replica};

const KEY: Bytes = Bytes::from_static(b"sim/0");
const EPOCH: u64 = 1;
const NOW: Now = Now {
    wall_ms: 1_000_000,
    steady_ms: 0,
};

fn ballot() -> Ballot {
    Ballot {
        epoch: EPOCH,
        clock: Clock::from_ms(999_000),
        proposer: Proposer { node: 3, start: 1 },
    }
}

/// A replica that was started on these records.
fn replica(records: Vec<Record>) -> Replica {
    let mut replay = Replay::default();
    let appended = records.len() as u64;
    records.into_iter().for_each(|record| replay.record(record));
    replay.finish(EPOCH, appended)
}

fn answer(replica: &mut Replica, request: Request) -> Reply {
    let mut effects = Vec::new();
    replica.request(NOW.wall_ms, 0, request, &mut effects);
    let reply = effects.into_iter().find_map(|effect| match effect {
        ReplicaEffect::Reply(_, reply) => Some(reply),
        ReplicaEffect::Append(..) => None,
    });
    reply.expect("a read of what was replayed waits for nothing")
}

fn sent(effects: &[Effect]) -> Vec<(usize, CallId, Request)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(member, call, request) => Some((*member, *call, request.clone())),
            Effect::Finish(..) => None,
        })
        .collect()
}

/// The simulation found this at seed 3468: a request to one member arrives twice, is
/// answered twice, and a value that one of three members holds is returned as if two
/// did. The next reader may not see it.
#[test]
fn a_member_that_answers_a_read_twice_is_one_holder() {
    let mut coordinator = Coordinator::new(
        0,
        EPOCH,
        Proposer { node: 1, start: 2 },
        Quorums::majority(3),
        Clock::ZERO,
        1,
    );
    coordinator.know_namespace(Bytes::from_static(b"sim"), Quorums::majority(3));
    let mut holder = replica(vec![Record::Accepted {
        key: KEY,
        ballot: ballot(),
        state: Register {
            value: Some(Bytes::from_static(b"of a minority")),
            revision: 1,
            ..Register::default()
        },
    }]);
    let mut other = replica(Vec::new());
    let mut effects = Vec::new();
    let read = Command::Read {
        key: KEY,
        level: Level::Linearizable,
    };
    coordinator.begin(NOW, 1, read, 1_000, &mut effects);
    let asked = sent(&effects);
    let [(first, call, question), (second, ..)] = &asked[..] else {
        panic!("a read asks two of three: {asked:?}");
    };
    effects.clear();
    for _ in 0..2 {
        let reply = answer(&mut holder, question.clone());
        coordinator.reply(NOW, *call, *first, reply, &mut effects);
    }
    let reply = answer(&mut other, question.clone());
    coordinator.reply(NOW, *call, *second, reply, &mut effects);
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Finish(..))),
        "one member holds it, and it was returned: {effects:?}"
    );
    let repaired: Vec<usize> = sent(&effects)
        .into_iter()
        .filter(|(_, _, request)| matches!(request, Request::Accept { .. }))
        .map(|(member, ..)| member)
        .collect();
    assert_eq!(repaired, [1, 2]);
}

/// Three replicas that sync at once, and messages that all arrive.
struct Cluster(Vec<(Replica, Log<MemoryDisk>)>);

impl Cluster {
    fn new() -> Self {
        let node = |number: u8| {
            let key = LogKey::from_root(&SecretArray::from_bytes([number; 32]));
            let options = LogOptions::default().without_helper();
            let options = options
                .with_segment_bytes(64 * 1024)
                .expect("a segment size");
            let log = Log::create(MemoryDisk::new(), key, 1, options).expect("created");
            (replica(Vec::new()), log)
        };
        Self((1..=3).map(node).collect())
    }

    fn ask(&mut self, member: usize, request: Request) -> Reply {
        let (replica, log) = &mut self.0[member];
        let mut effects = Vec::new();
        replica.request(NOW.wall_ms, 0, request, &mut effects);
        let mut answer = None;
        while !effects.is_empty() {
            let mut records = Vec::new();
            for effect in effects.drain(..) {
                match effect {
                    ReplicaEffect::Append(_, record) => records.push(record.encode()),
                    ReplicaEffect::Reply(_, reply) => answer = Some(reply),
                }
            }
            if !records.is_empty() {
                let durable = log.commit(&records).expect("committed");
                replica.synced(durable, &mut effects);
            }
        }
        answer.expect("everything it waits for was synced")
    }

    fn run(&mut self, coordinator: &mut Coordinator, command: Command) -> Answer {
        let mut effects = Vec::new();
        coordinator.begin(NOW, 1, command, 1_000, &mut effects);
        let mut result = None;
        while !effects.is_empty() {
            for effect in std::mem::take(&mut effects) {
                match effect {
                    Effect::Send(member, call, request) => {
                        let reply = self.ask(member, request);
                        coordinator.reply(NOW, call, member, reply, &mut effects);
                    }
                    Effect::Finish(_, finished) => result = Some(finished),
                }
            }
        }
        result.expect("it ends").expect("all answer")
    }
}

fn coordinator_of(node: usize, clock: Clock) -> Coordinator {
    let proposer = Proposer {
        node: node as u64 + 1,
        start: 2,
    };
    Coordinator::new(node, EPOCH, proposer, Quorums::majority(3), clock, 1)
}

fn write(client: u8, sequence: u64, change: Change, fresh: bool) -> Command {
    Command::Write {
        key: KEY,
        operation: Operation {
            id: OperationId {
                client: [client; 16],
                sequence,
            },
            deadline: Clock::from_ms(NOW.wall_ms + 10_000),
            change,
        },
        fresh,
    }
}

/// The simulation found this at seed 11302: a client's first attempt stays behind at a
/// node that stands still, the retry at another node is told that the expectation does
/// not hold, and later, when it holds, the first attempt takes effect after all.
#[test]
fn an_attempt_that_stayed_behind_does_not_overturn_what_the_retry_was_told() {
    let value = Bytes::from_static(b"v");
    let cases = [
        (
            Some(Change::Put(value.clone())),
            Change::CompareAndSet(Expectation::Absent, value.clone()),
            Change::Delete,
            Outcome::Conflict { revision: 1 },
        ),
        (
            None,
            Change::Delete,
            Change::Put(value.clone()),
            Outcome::NothingToDelete,
        ),
    ];
    for (before, change, between, told) in cases {
        let mut cluster = Cluster::new();
        // Its ballots are above, so that none of its prepares is refused.
        let mut slow = coordinator_of(0, Clock::from_ms(NOW.wall_ms + 1_000));
        let mut quick = coordinator_of(1, Clock::ZERO);
        if let Some(before) = before {
            cluster.run(&mut quick, write(8, 1, before, true));
        }
        let retry = cluster.run(&mut quick, write(7, 1, change.clone(), false));
        assert!(matches!(retry, Answer::Written { outcome, .. } if outcome == told));
        cluster.run(&mut quick, write(8, 2, between, true));
        let first = cluster.run(&mut slow, write(7, 1, change, true));
        assert!(
            matches!(first, Answer::Written { outcome, .. } if outcome == told),
            "{first:?}"
        );
    }
}
