//! What schedules by hand are made of: replicas that answer at once, and a
//! coordinator whose messages are delivered one by one.

use super::*;
use crate::disk::MemoryDisk;
use crate::log::{Log, LogKey, LogOptions};
use crate::record::Record;
use crate::register::{Change, Operation as Asked, OperationId, Register};
use crate::replica::{Effect as ReplicaEffect, Replay, Replica};
use sealmoot_crypto::secret::SecretArray;
use std::convert::Infallible;

pub(super) const KEY: Bytes = Bytes::from_static(b"app/x");
pub(super) const EPOCH: u64 = 1;
pub(super) const WALL_MS: u64 = 1_000_000;
pub(super) const CLOCKS: [u64; 3] = [WALL_MS; 3];
pub(super) const ALL: [usize; 3] = [0, 1, 2];

/// A replica that answers at once, its log synced for every answer.
pub(super) struct Prompt {
    pub(super) replica: Replica,
    log: Log<MemoryDisk>,
    disk: MemoryDisk,
    key: u8,
    /// Every record that it ever appended.
    pub(super) appended: Vec<Record>,
    /// How many syncs it took.
    pub(super) syncs: usize,
}

impl Prompt {
    pub(super) fn three() -> Vec<Self> {
        (1..=3).map(Self::new).collect()
    }

    fn new(key: u8) -> Self {
        Self::with_replica(key, Replay::default())
    }

    /// What a replica of this past answers; its log is empty.
    pub(super) fn with_replica(key: u8, replay: Replay) -> Self {
        let disk = MemoryDisk::new();
        Self {
            replica: replay.finish(EPOCH, 0),
            log: Log::create(disk.clone(), log_key(key), 1, options()).expect("created"),
            disk,
            key,
            appended: Vec::new(),
            syncs: 0,
        }
    }

    pub(super) fn ask(&mut self, wall_ms: u64, request: Request) -> Reply {
        let mut effects = Vec::new();
        self.replica.request(wall_ms, 0, request, &mut effects);
        loop {
            if let Some(reply) = self.settle(&mut effects) {
                return reply;
            }
        }
    }

    /// Has the replica do something that no request asks for, and syncs what it appends.
    pub(super) fn work(&mut self, act: impl FnOnce(&mut Replica, &mut Vec<ReplicaEffect>)) {
        let mut effects = Vec::new();
        act(&mut self.replica, &mut effects);
        while !effects.is_empty() {
            self.settle(&mut effects);
        }
    }

    /// What leaves the replica without a sync; the records are lost.
    pub(super) fn ask_without_sync(&mut self, wall_ms: u64, request: Request) -> Option<Reply> {
        let mut effects = Vec::new();
        self.replica.request(wall_ms, 0, request, &mut effects);
        effects.into_iter().find_map(|effect| match effect {
            ReplicaEffect::Reply(_, reply) => Some(reply),
            ReplicaEffect::Append(..) => None,
        })
    }

    /// The power goes and comes back: what was not synced is gone.
    pub(super) fn restart(&mut self) {
        self.disk = self.disk.crash(u64::from(self.key));
        let mut replay = Replay::default();
        let mut take = |_: u64, bytes: &[u8]| -> Result<(), Infallible> {
            replay.record(Record::decode(bytes).expect("authenticated"));
            Ok(())
        };
        self.log =
            Log::open(self.disk.clone(), log_key(self.key), options(), &mut take).expect("opens");
        self.replica = replay.finish(EPOCH, self.log.position().records);
    }

    /// What it holds.
    pub(super) fn holds(&mut self, key: &Bytes) -> (Ballot, Register) {
        let request = Request::Read {
            key: key.clone(),
            epoch: EPOCH,
        };
        match self.ask(WALL_MS, request) {
            Reply::Holds {
                accepted, state, ..
            } => (accepted, state),
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, effects: &mut Vec<ReplicaEffect>) -> Option<Reply> {
        let mut records = Vec::new();
        let mut answer = None;
        for effect in std::mem::take(effects) {
            match effect {
                ReplicaEffect::Append(_, record) => {
                    records.push(record.encode());
                    self.appended.push(record);
                }
                ReplicaEffect::Reply(_, reply) => answer = Some(reply),
            }
        }
        assert!(
            answer.is_some() || !records.is_empty(),
            "nothing to wait for"
        );
        if !records.is_empty() {
            self.syncs += 1;
            let durable = self.log.commit(&records).expect("committed");
            self.replica.synced(durable, effects);
        }
        answer
    }
}

fn log_key(key: u8) -> LogKey {
    LogKey::from_root(&SecretArray::from_bytes([key; 32]))
}

fn options() -> LogOptions {
    LogOptions::default()
        .with_segment_bytes(64 * 1024)
        .expect("a segment size")
        .without_helper()
}

/// A coordinator whose messages are delivered by hand.
pub(super) struct Hand {
    pub(super) coordinator: Coordinator,
    pub(super) now: Now,
    pub(super) outbox: Vec<(usize, CallId, Request)>,
    pub(super) finished: Vec<Result<Answer, Failure>>,
    pub(super) sent: usize,
}

impl Hand {
    pub(super) fn new(me: usize, wall_ms: u64) -> Self {
        Self::with_quorums(me, wall_ms, Quorums::majority(3))
    }

    pub(super) fn with_quorums(me: usize, wall_ms: u64, quorums: Quorums) -> Self {
        let proposer = Proposer {
            node: me as u64 + 1,
            start: 1,
        };
        let mut coordinator = Coordinator::new(me, EPOCH, proposer, quorums, Clock::ZERO, 1);
        coordinator.know_namespace(Bytes::from_static(b"app"), quorums);
        Self {
            coordinator,
            now: Now {
                wall_ms,
                steady_ms: 0,
            },
            outbox: Vec::new(),
            finished: Vec::new(),
            sent: 0,
        }
    }

    pub(super) fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(member, call, request) => {
                    self.sent += 1;
                    self.outbox.push((member, call, request));
                }
                Effect::Finish(_, result) => self.finished.push(result),
            }
        }
    }

    pub(super) fn begin(&mut self, command: Command) {
        let mut effects = Vec::new();
        self.coordinator
            .begin(self.now, 1, command, 60_000, &mut effects);
        self.take(effects);
    }

    /// Delivers what is in the outbox, in order; members beyond `reach` are cut off.
    pub(super) fn deliver(&mut self, replicas: &mut [Prompt], reach: &[usize], clocks: &[u64; 3]) {
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

    /// Delivers to `reach` what is there for them; the rest is lost without a word.
    pub(super) fn deliver_only(&mut self, replicas: &mut [Prompt], reach: &[usize]) {
        self.outbox.retain(|(member, _, _)| reach.contains(member));
        self.deliver(replicas, reach, &CLOCKS);
    }

    pub(super) fn pass(&mut self, milliseconds: u64) {
        self.now.steady_ms += milliseconds;
        self.now.wall_ms += milliseconds;
        let mut effects = Vec::new();
        self.coordinator.tick(self.now, &mut effects);
        self.take(effects);
    }

    /// Carries one command through the members within reach.
    pub(super) fn run(
        &mut self,
        replicas: &mut [Prompt],
        reach: &[usize],
        command: Command,
    ) -> Result<Answer, Failure> {
        let before = self.finished.len();
        self.begin(command);
        for _ in 0..100 {
            if self.finished.len() > before {
                return self.finished.remove(before);
            }
            let clocks = [self.now.wall_ms; 3];
            self.deliver(replicas, reach, &clocks);
            if self.outbox.is_empty() && self.finished.len() == before {
                self.pass(60);
            }
        }
        panic!("the command does not end");
    }
}

/// A first attempt of a write of [`KEY`].
pub(super) fn asked(client: u8, sequence: u64, deadline_ms: u64, change: Change) -> Command {
    Command::Write {
        key: KEY,
        operation: Asked {
            id: OperationId {
                client: [client; 16],
                sequence,
            },
            deadline: Clock::from_ms(deadline_ms),
            change,
        },
        fresh: true,
    }
}

/// The same, but not the first.
pub(super) fn again(command: Command) -> Command {
    match command {
        Command::Write { key, operation, .. } => Command::Write {
            key,
            operation,
            fresh: false,
        },
        other => other,
    }
}

pub(super) fn put(client: u8, sequence: u64, value: &'static str) -> Command {
    let change = Change::Put(Bytes::from_static(value.as_bytes()));
    asked(client, sequence, 100 * WALL_MS, change)
}

pub(super) fn read() -> Command {
    Command::Read {
        key: KEY,
        level: Level::Linearizable,
    }
}

/// The value that a read answered.
pub(super) fn text(answer: Result<Answer, Failure>) -> Option<String> {
    match answer {
        Ok(Answer::Value(register)) => register
            .value
            .map(|value| String::from_utf8_lossy(&value).into_owned()),
        other => panic!("{other:?}"),
    }
}

/// The revision that a write made, or none when it made none.
pub(super) fn revision(answer: Result<Answer, Failure>) -> Option<u64> {
    match answer {
        Ok(Answer::Written {
            outcome: crate::register::Outcome::Written { revision },
            ..
        }) => Some(revision),
        _ => None,
    }
}
