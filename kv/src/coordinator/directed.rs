//! Directed schedules: the few steps that bring a rare fault about, in order.

use super::*;
use crate::disk::MemoryDisk;
use crate::log::{Log, LogKey, LogOptions};
use crate::register::{Change, Expectation, Operation as Write, OperationId, Outcome};
use crate::replica::{Effect as ReplicaEffect, Replay, Replica};
use sealmoot_crypto::secret::SecretArray;

const KEY: Bytes = Bytes::from_static(b"app/x");
const EPOCH: u64 = 1;
const WALL_MS: u64 = 1_000_000;

/// A replica that answers at once, its log synced for every answer.
struct Prompt {
    replica: Replica,
    log: Log<MemoryDisk>,
}

impl Prompt {
    fn three() -> Vec<Self> {
        (1..=3)
            .map(|number| {
                let key = LogKey::from_root(&SecretArray::from_bytes([number; 32]));
                let options = LogOptions::default()
                    .with_segment_bytes(64 * 1024)
                    .expect("a segment size")
                    .without_helper();
                Self {
                    replica: Replay::default().finish(EPOCH, 0),
                    log: Log::create(MemoryDisk::new(), key, 1, options).expect("created"),
                }
            })
            .collect()
    }

    fn ask(&mut self, wall_ms: u64, request: Request) -> Reply {
        let mut effects = Vec::new();
        self.replica.request(wall_ms, 0, request, &mut effects);
        let mut answer = None;
        while answer.is_none() {
            let mut records = Vec::new();
            for effect in std::mem::take(&mut effects) {
                match effect {
                    ReplicaEffect::Append(_, record) => records.push(record.encode()),
                    ReplicaEffect::Reply(_, reply) => answer = Some(reply),
                }
            }
            assert!(
                answer.is_some() || !records.is_empty(),
                "nothing to wait for"
            );
            let durable = self.log.commit(&records).expect("committed");
            self.replica.synced(durable, &mut effects);
        }
        answer.expect("the loop ends with an answer")
    }
}

/// A coordinator whose messages are delivered by hand.
struct Hand {
    coordinator: Coordinator,
    now: Now,
    outbox: Vec<(usize, CallId, Request)>,
    finished: Vec<Result<Answer, Failure>>,
}

impl Hand {
    fn new(me: usize, wall_ms: u64) -> Self {
        let proposer = Proposer {
            node: me as u64 + 1,
            start: 1,
        };
        Self {
            coordinator: Coordinator::new(
                me,
                EPOCH,
                proposer,
                Quorums::majority(3),
                Clock::ZERO,
                1,
            ),
            now: Now {
                wall_ms,
                steady_ms: 0,
            },
            outbox: Vec::new(),
            finished: Vec::new(),
        }
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(member, call, request) => self.outbox.push((member, call, request)),
                Effect::Finish(_, result) => self.finished.push(result),
            }
        }
    }

    fn begin(&mut self, command: Command) {
        let mut effects = Vec::new();
        self.coordinator
            .begin(self.now, 1, command, 60_000, &mut effects);
        self.take(effects);
    }

    /// Delivers what is in the outbox, in order; members beyond `reach` are cut off.
    fn deliver(&mut self, replicas: &mut [Prompt], reach: &[usize], clocks: &[u64; 3]) {
        for (member, call, request) in std::mem::take(&mut self.outbox) {
            let mut effects = Vec::new();
            if reach.contains(&member) {
                let reply = replicas[member].ask(clocks[member], request);
                self.coordinator
                    .reply(self.now, call, member, reply, &mut effects);
            } else {
                self.coordinator
                    .unreachable(self.now, call, member, "cut off", &mut effects);
            }
            self.take(effects);
        }
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now.steady_ms += milliseconds;
        self.now.wall_ms += milliseconds;
        let mut effects = Vec::new();
        self.coordinator.tick(self.now, &mut effects);
        self.take(effects);
    }
}

fn write(key: Bytes, client: u8, change: Change) -> Command {
    Command::Write {
        key,
        operation: Write {
            id: OperationId {
                client: [client; 16],
                sequence: 1,
            },
            deadline: Clock::from_ms(100 * WALL_MS),
            change,
        },
        fresh: true,
    }
}

/// A cas is proposed to a minority; the next attempt sees none of it. Whatever is
/// answered then must stay true when the minority's state is taken up later.
#[test]
fn a_cas_that_was_answered_conflict_never_happens() {
    let clocks = [WALL_MS; 3];
    let mut replicas = Prompt::three();
    // A put reaches member 2 only, and its coordinator is never heard of again.
    let mut lost = Hand::new(0, WALL_MS);
    lost.begin(write(KEY, 9, Change::Put(Bytes::from_static(b"one"))));
    lost.deliver(&mut replicas, &[0, 1, 2], &clocks);
    lost.outbox.retain(|(member, _, _)| *member == 2);
    lost.deliver(&mut replicas, &[2], &clocks);

    // The first attempt sees it and proposes; only member 2 takes that.
    let mut hand = Hand::new(0, WALL_MS + 100);
    let expectation = Expectation::Revision(1);
    let change = Change::CompareAndSet(expectation, Bytes::from_static(b"two"));
    hand.begin(write(KEY, 7, change));
    hand.outbox.reverse();
    hand.deliver(&mut replicas, &[0, 2], &clocks);
    hand.deliver(&mut replicas, &[2], &clocks);
    // The next attempts see members 0 and 1, which hold nothing.
    for _ in 0..6 {
        hand.pass(100);
        hand.deliver(&mut replicas, &[0, 1], &clocks);
    }
    let Some(Ok(Answer::Written { outcome, .. })) = hand.finished.first() else {
        panic!("{:?}", hand.finished);
    };
    assert_eq!(*outcome, Outcome::Conflict { revision: 0 });

    let mut reader = Hand::new(2, WALL_MS + 1_000);
    reader.begin(Command::Read {
        key: KEY,
        level: Level::Linearizable,
    });
    for _ in 0..12 {
        reader.deliver(&mut replicas, &[1, 2], &clocks);
        reader.pass(100);
    }
    let Some(Ok(Answer::Value(register))) = reader.finished.first() else {
        panic!("{:?}", reader.finished);
    };
    assert_eq!(register.value, None);
}

/// A member whose clock is an hour ahead promised its own ballot of a key. Nobody
/// follows it, and the other two go on.
#[test]
fn a_wild_clock_stops_no_other_coordinator() {
    let wild = WALL_MS + 3_600_000;
    let clocks = [WALL_MS, WALL_MS, wild];
    let mut replicas = Prompt::three();
    let mut ahead = Hand::new(2, wild);
    ahead.begin(write(KEY, 9, Change::Put(Bytes::from_static(b"x"))));
    ahead.deliver(&mut replicas, &[0, 1, 2], &clocks);

    let mut hand = Hand::new(0, WALL_MS + 10);
    for key in [KEY, Bytes::from_static(b"app/y")] {
        hand.begin(write(key, 8, Change::Put(Bytes::from_static(b"y"))));
        for _ in 0..8 {
            hand.deliver(&mut replicas, &[0, 1, 2], &clocks);
            hand.pass(50);
        }
    }
    assert_eq!(hand.finished.len(), 2);
    assert!(
        hand.finished.iter().all(Result::is_ok),
        "{:?}",
        hand.finished
    );
}

/// After a restart every ballot that may have been promised is refused, although
/// no single promise was written.
#[test]
fn a_restart_forgets_no_promise() {
    let mut replica = Prompt::three().remove(0);
    let ballot = |clock| Ballot {
        epoch: EPOCH,
        clock: Clock::from_ms(clock),
        proposer: Proposer { node: 2, start: 2 },
    };
    let prepare = |clock| Request::Prepare {
        key: KEY,
        ballot: ballot(clock),
    };
    assert!(matches!(
        replica.ask(WALL_MS, prepare(WALL_MS + 5)),
        Reply::Holds { .. }
    ));
    // What a log that was replayed says: one ceiling, and no promise.
    let mut effects = Vec::new();
    let mut fresh = Replay::default().finish(EPOCH, 0);
    fresh.request(WALL_MS, 1, prepare(WALL_MS + 5), &mut effects);
    let Some(ReplicaEffect::Append(1, ceiling)) = effects.pop() else {
        panic!("{effects:?}");
    };
    let mut replay = Replay::default();
    replay.record(ceiling);
    let mut restarted = replay.finish(EPOCH, 1);
    for clock in [WALL_MS, WALL_MS + 5, WALL_MS + 6] {
        let accept = Request::Accept {
            key: KEY,
            ballot: ballot(clock),
            state: crate::register::Register::default(),
        };
        for request in [prepare(clock), accept] {
            let mut effects = Vec::new();
            restarted.request(WALL_MS, 1, request, &mut effects);
            assert!(
                matches!(
                    effects[..],
                    [ReplicaEffect::Reply(1, Reply::Refused { .. })]
                ),
                "{effects:?}"
            );
        }
    }
}
