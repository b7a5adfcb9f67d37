//! A change of members by hand: six nodes, every message delivered where a schedule
//! says. One schedule for each rule that can be taken out, beside those of
//! `coordinator/schedules.rs`.

use std::convert::Infallible;

use sealmoot_crypto::secret::SecretArray;

use super::*;
use crate::ballot::Proposer;
use crate::clock::Clock;
use crate::coordinator::{
    Answer, CallId, Command, Coordinator, Effect as Coordinated, Failure, FailureKind, Level,
    Membership, Now,
};
use crate::directory::Member;
use crate::disk::MemoryDisk;
use crate::log::{Log, LogKey, LogOptions};
use crate::record::Record;
use crate::register::{Change, Expectation, Operation, OperationId, Outcome};
use crate::replica::{Effect as Replicated, Replay, Replica};

const KEY: Bytes = Bytes::from_static(b"x");
const WALL_MS: u64 = 1_000_000;
const ALL: [u64; 6] = [1, 2, 3, 4, 5, 6];

type Verdict = Result<(), &'static str>;
type Schedule = fn() -> Verdict;

fn demand(holds: bool, what: &'static str) -> Verdict {
    holds.then_some(()).ok_or(what)
}

/// A node's replica, synced for every answer.
struct Node {
    number: u64,
    replica: Replica,
    log: Log<MemoryDisk>,
    disk: MemoryDisk,
}

impl Node {
    fn new(number: u64) -> Self {
        let disk = MemoryDisk::new();
        Self {
            number,
            replica: Replay::default().finish_in_directory(number, 0),
            log: Log::create(disk.clone(), log_key(number), 1, options()).expect("created"),
            disk,
        }
    }

    fn settle(&mut self, effects: &mut Vec<Replicated>) -> Option<Reply> {
        let mut answer = None;
        while !effects.is_empty() {
            let mut records = Vec::new();
            for effect in std::mem::take(effects) {
                match effect {
                    Replicated::Append(_, record) => records.push(record.encode()),
                    Replicated::Reply(_, reply) => answer = Some(reply),
                }
            }
            if !records.is_empty() {
                let durable = self.log.commit(&records).expect("committed");
                self.replica.synced(durable, effects);
            }
        }
        answer
    }

    fn ask(&mut self, wall_ms: u64, request: Request) -> Reply {
        let mut effects = Vec::new();
        self.replica.request(wall_ms, 0, request, &mut effects);
        self.settle(&mut effects).expect("everything was synced")
    }

    fn adopt(&mut self, record: &DirectoryRecord) {
        let mut effects = Vec::new();
        self.replica.adopt(record, &mut effects);
        self.settle(&mut effects);
    }

    fn become_incarnation(&mut self, incarnation: u64) {
        let mut effects = Vec::new();
        self.replica.become_incarnation(incarnation, &mut effects);
        self.settle(&mut effects);
    }

    /// The power goes and comes back.
    fn restart(&mut self) {
        self.disk = self.disk.crash(self.number);
        let mut replay = Replay::default();
        let mut take = |_: u64, bytes: &[u8]| -> Result<(), Infallible> {
            replay.record(Record::decode(bytes).expect("authenticated"));
            Ok(())
        };
        let key = log_key(self.number);
        self.log = Log::open(self.disk.clone(), key, options(), &mut take).expect("opens");
        let appended = self.log.position().records;
        self.replica = replay.finish_in_directory(self.number, appended);
    }
}

fn log_key(number: u64) -> LogKey {
    LogKey::from_root(&SecretArray::from_bytes([number as u8; 32]))
}

fn options() -> LogOptions {
    LogOptions::default()
        .with_segment_bytes(64 * 1024)
        .expect("a segment size")
        .without_helper()
}

/// Six nodes; the first three hold the keys.
struct Town {
    nodes: Vec<Node>,
    record: DirectoryRecord,
}

fn set(numbers: [u64; 3]) -> MemberSet {
    let members = numbers.map(|node| Member {
        node,
        incarnation: node,
    });
    MemberSet::new(members.to_vec(), 2, 2).expect("a set")
}

impl Town {
    fn new() -> Self {
        let record = DirectoryRecord::first(1, set([1, 2, 3]));
        let mut nodes: Vec<Node> = ALL.map(Node::new).into();
        for node in &mut nodes {
            node.become_incarnation(node.number);
            node.adopt(&record);
        }
        Self { nodes, record }
    }

    fn node(&mut self, number: u64) -> &mut Node {
        &mut self.nodes[(number - 1) as usize]
    }

    fn joint_with_456(&self) -> DirectoryRecord {
        self.record.begin_change(set([4, 5, 6])).expect("a change")
    }

    /// A coordinator at a node that knows the present record.
    fn hand(&self, me: u64, wall_ms: u64) -> Hand {
        let proposer = Proposer { node: me, start: 1 };
        let members = members_of(&self.record);
        let me = (me - 1) as usize;
        Hand {
            coordinator: Coordinator::among(me, 6, members, proposer, Clock::ZERO, 1),
            now: Now {
                wall_ms,
                steady_ms: 0,
            },
            outbox: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// Carries a change to 4, 5, 6 through, with what `reach` says; nodes that are asked
    /// in an epoch that they do not know look into the directory.
    fn change(&mut self, reach: &[u64]) -> Option<Ended> {
        let mut effects = Vec::new();
        let record = self.record.clone();
        let mut change =
            Reconfiguration::begin(record, set([4, 5, 6]), 0, &mut effects).expect("a change");
        for step in 1..200u64 {
            for effect in std::mem::take(&mut effects) {
                let now_ms = step * 1_000;
                match effect {
                    Effect::Cas(next) => {
                        if next.follows(&self.record).is_ok() {
                            self.record = next;
                        }
                        change.directory(now_ms, &self.record.clone(), &mut effects);
                    }
                    Effect::Look => change.directory(now_ms, &self.record.clone(), &mut effects),
                    Effect::Ask(number, round, request) => {
                        if reach.contains(&number) {
                            let record = self.record.clone();
                            let node = self.node(number);
                            node.adopt(&record);
                            let reply = node.ask(WALL_MS, request);
                            change.reply(now_ms, round, number, reply, &mut effects);
                        }
                    }
                    Effect::Settle(round, key) => {
                        let mut hand = self.hand(6, WALL_MS + 5_000);
                        let settled = hand.run(self, reach, Command::Settle { key }).is_ok();
                        change.settled(now_ms, round, settled, &mut effects);
                    }
                    Effect::Over(ended) => return Some(ended),
                }
            }
            change.tick(step * 1_000 + 500, &mut effects);
        }
        None
    }

    fn adopt_everywhere(&mut self) {
        let record = self.record.clone();
        self.nodes.iter_mut().for_each(|node| node.adopt(&record));
    }

    /// What a reader of the present epoch sees among these nodes.
    fn read(&mut self, reach: &[u64]) -> Result<Option<Bytes>, FailureKind> {
        let command = Command::Read {
            key: KEY,
            level: Level::Linearizable,
        };
        let mut hand = self.hand(reach[0], WALL_MS + 50_000);
        match hand.run(self, reach, command) {
            Ok(Answer::Value(register)) => Ok(register.value),
            Ok(other) => panic!("{other:?}"),
            Err(failure) => Err(failure.kind),
        }
    }
}

fn members_of(record: &DirectoryRecord) -> Membership {
    Membership::of(record, |node| usize::try_from(node).ok()?.checked_sub(1))
}

/// A coordinator whose messages are delivered by hand.
struct Hand {
    coordinator: Coordinator,
    now: Now,
    outbox: Vec<(u64, CallId, Request)>,
    finished: Vec<Result<Answer, Failure>>,
}

impl Hand {
    fn take(&mut self, effects: Vec<Coordinated>) {
        for effect in effects {
            match effect {
                Coordinated::Send(index, call, request) => {
                    self.outbox.push((index as u64 + 1, call, request));
                }
                Coordinated::Finish(_, result) => self.finished.push(result),
            }
        }
    }

    fn begin(&mut self, command: Command) {
        let mut effects = Vec::new();
        self.coordinator
            .begin(self.now, 1, command, 60_000, &mut effects);
        self.take(effects);
    }

    /// Delivers what is there; who is not in `reach` cannot be asked.
    fn deliver(&mut self, town: &mut Town, reach: &[u64]) {
        for (number, call, request) in std::mem::take(&mut self.outbox) {
            let index = (number - 1) as usize;
            let mut effects = Vec::new();
            if reach.contains(&number) {
                let reply = town.node(number).ask(self.now.wall_ms, request);
                self.coordinator
                    .reply(self.now, call, index, reply, &mut effects);
            } else {
                self.coordinator
                    .unreachable(self.now, call, index, "cut off", &mut effects);
            }
            self.take(effects);
        }
    }

    /// Delivers to `reach`; the rest is lost without a word.
    fn deliver_only(&mut self, town: &mut Town, reach: &[u64]) {
        self.outbox.retain(|(number, ..)| reach.contains(number));
        self.deliver(town, reach);
    }

    fn run(&mut self, town: &mut Town, reach: &[u64], command: Command) -> Result<Answer, Failure> {
        self.begin(command);
        for _ in 0..2_000 {
            if let Some(result) = self.finished.pop() {
                return result;
            }
            self.deliver(town, reach);
            if self.outbox.is_empty() && self.finished.is_empty() {
                self.now.steady_ms += 60;
                self.now.wall_ms += 60;
                let mut effects = Vec::new();
                self.coordinator.tick(self.now, &mut effects);
                self.take(effects);
            }
        }
        panic!("the command does not end");
    }
}

fn write(client: u8, deadline_ms: u64, change: Change) -> Command {
    Command::Write {
        key: KEY,
        operation: Operation {
            id: OperationId {
                client: [client; 16],
                sequence: 1,
            },
            deadline: Clock::from_ms(deadline_ms),
            change,
        },
        fresh: true,
    }
}

fn put(client: u8, value: &'static str) -> Command {
    let change = Change::Put(Bytes::from_static(value.as_bytes()));
    write(client, 100 * WALL_MS, change)
}

fn is_written(answer: &Result<Answer, Failure>) -> bool {
    revision(answer).is_some()
}

fn revision(answer: &Result<Answer, Failure>) -> Option<u64> {
    match answer {
        Ok(Answer::Written {
            outcome: Outcome::Written { revision },
            ..
        }) => Some(*revision),
        _ => None,
    }
}

fn value(text: &'static str) -> Result<Option<Bytes>, FailureKind> {
    Ok(Some(Bytes::from_static(text.as_bytes())))
}

fn a_written_value_moves_to_the_new_members() -> Verdict {
    let mut town = Town::new();
    let written = town.hand(1, WALL_MS).run(&mut town, &[1, 2], put(1, "v"));
    assert!(is_written(&written), "{written:?}");
    assert_eq!(town.change(&ALL), Some(Ended::Completed));
    town.adopt_everywhere();
    demand(
        town.read(&[4, 5]) == value("v") && town.read(&[5, 6]) == value("v"),
        "an acknowledged write is not at the new members",
    )
}

fn one_of_the_old_members_is_dead() -> Verdict {
    let mut town = Town::new();
    let written = town.hand(1, WALL_MS).run(&mut town, &[1, 2], put(1, "v"));
    assert!(is_written(&written), "{written:?}");
    assert_eq!(town.change(&[2, 3, 4, 5]), Some(Ended::Completed));
    town.adopt_everywhere();
    demand(
        town.read(&[4, 5]) == value("v"),
        "a write that one reachable member held was lost",
    )
}

/// Who did not hear of the change writes among members that left its epoch.
fn a_writer_of_the_former_epoch() -> Verdict {
    let mut town = Town::new();
    let mut stale = town.hand(1, WALL_MS);
    let written = town.hand(2, WALL_MS).run(&mut town, &ALL, put(1, "v"));
    assert!(is_written(&written), "{written:?}");
    assert_eq!(town.change(&[1, 2, 4, 5, 6]), Some(Ended::Completed));
    stale.now.wall_ms += 10_000;
    stale.begin(put(2, "late"));
    for _ in 0..3 {
        stale.deliver_only(&mut town, &[1, 2]);
    }
    let acknowledged = stale
        .finished
        .pop()
        .is_some_and(|answer| is_written(&answer));
    for number in [4, 5, 6] {
        let record = town.record.clone();
        town.node(number).adopt(&record);
    }
    demand(
        !acknowledged || town.read(&[4, 5]) == value("late"),
        "a write was acknowledged by members that are none any more",
    )
}

fn members_that_restart_after_the_change() -> Verdict {
    let mut town = Town::new();
    let mut stale = town.hand(1, WALL_MS);
    assert_eq!(town.change(&ALL), Some(Ended::Completed));
    town.adopt_everywhere();
    town.node(1).restart();
    town.node(2).restart();
    stale.begin(put(2, "late"));
    for _ in 0..3 {
        stale.deliver_only(&mut town, &[1, 2]);
    }
    let acknowledged = stale
        .finished
        .pop()
        .is_some_and(|answer| is_written(&answer));
    demand(
        !acknowledged || town.read(&[4, 5]) == value("late"),
        "members came back into an epoch that they had left",
    )
}

/// A retry after its deadline, when its entry is evicted, at a node whose clock is behind.
fn a_retry_at_a_slow_clock_in_the_next_epoch() -> Verdict {
    let mut town = Town::new();
    let mine = || write(7, WALL_MS + 1_000, Change::Put(Bytes::from_static(b"mine")));
    let written = town.hand(1, WALL_MS).run(&mut town, &ALL, mine());
    assert!(is_written(&written), "{written:?}");
    let later = WALL_MS + 2_000;
    let written = town.hand(2, later).run(&mut town, &ALL, put(9, "theirs"));
    assert!(is_written(&written), "{written:?}");
    assert_eq!(town.change(&ALL), Some(Ended::Completed));
    town.adopt_everywhere();
    let retry = match mine() {
        Command::Write { key, operation, .. } => Command::Write {
            key,
            operation,
            fresh: false,
        },
        other => other,
    };
    let retried = town.hand(4, WALL_MS).run(&mut town, &ALL, retry);
    demand(
        retried.is_err() && town.read(&[4, 5]) == value("theirs"),
        "an operation acted twice, because clocks fell",
    )
}

/// A key is written, deleted and forgotten; then it is written by the new members.
fn a_key_that_was_forgotten_before_the_change() -> Verdict {
    let mut town = Town::new();
    let soon = WALL_MS + 1_000;
    let change = Change::Put(Bytes::from_static(b"v"));
    let first = town
        .hand(1, WALL_MS)
        .run(&mut town, &ALL, write(1, soon, change));
    assert_eq!(revision(&first), Some(1));
    let deleted = town
        .hand(1, WALL_MS + 10)
        .run(&mut town, &ALL, write(2, soon, Change::Delete));
    assert!(deleted.is_ok(), "{deleted:?}");
    let mut sweeper = town.hand(1, WALL_MS + 20_000);
    let mut forgotten = Vec::new();
    for _ in 0..2 {
        forgotten.push(sweeper.run(&mut town, &ALL, Command::Forget { key: KEY }));
    }
    assert_eq!(forgotten[1], Ok(Answer::Forgotten(true)));
    assert_eq!(town.change(&ALL), Some(Ended::Completed));
    town.adopt_everywhere();
    let again = town
        .hand(4, WALL_MS + 30_000)
        .run(&mut town, &ALL, put(3, "again"));
    demand(revision(&again) > Some(2), "a revision was given twice")
}

fn a_member_whose_disk_was_lost() -> Verdict {
    let mut town = Town::new();
    let written = town.hand(1, WALL_MS).run(&mut town, &[1, 2], put(1, "v"));
    assert!(is_written(&written), "{written:?}");
    let record = town.record.clone();
    *town.node(2) = Node::new(2);
    town.node(2).adopt(&record);
    demand(
        town.read(&[2, 3]) != Ok(None),
        "a wiped node voted for what it had lost",
    )
}

/// Two conditional writes lie at one old member each, and neither was chosen. Only one of
/// them may ever have happened.
fn two_states_that_know_nothing_of_each_other() -> Verdict {
    let mut town = Town::new();
    let cas = |client, text: &'static str| {
        let change =
            Change::CompareAndSet(Expectation::Absent, Bytes::from_static(text.as_bytes()));
        write(client, 100 * WALL_MS, change)
    };
    let mut low = town.hand(1, WALL_MS);
    low.begin(cas(1, "low"));
    low.deliver_only(&mut town, &[1, 3]);
    low.deliver_only(&mut town, &[1]);
    let mut high = town.hand(2, WALL_MS + 10);
    high.begin(cas(2, "high"));
    high.deliver_only(&mut town, &[2, 3]);
    high.deliver_only(&mut town, &[2]);
    // The change has begun, and a reader that finds the higher one carries it to 6.
    town.record = town.joint_with_456();
    town.adopt_everywhere();
    let mut reader = town.hand(6, WALL_MS + 20);
    reader.begin(Command::Read {
        key: KEY,
        level: Level::Linearizable,
    });
    reader
        .outbox
        .retain(|(number, ..)| ![1, 4].contains(number));
    for _ in 0..2 {
        let (now, mut effects) = (reader.now.steady_ms + 30, Vec::new());
        reader.now.steady_ms = now;
        reader.coordinator.tick(reader.now, &mut effects);
        reader.take(effects);
        reader.deliver_only(&mut town, &[2, 3, 5, 6]);
        reader.outbox.retain(|(number, _, request)| {
            *number == 6 && matches!(request, Request::Accept { .. })
        });
    }
    reader.deliver_only(&mut town, &[6]);
    // Whoever finishes the change sees the lower one only.
    let ended = town.change(&[1, 3, 4, 5]);
    assert_eq!(ended, Some(Ended::Completed));
    town.adopt_everywhere();
    let first = town.read(&[4, 5]);
    let second = town.read(&[5, 6]);
    demand(
        first == second,
        "two conditional writes that exclude each other were both seen",
    )
}

/// The new members have promised a ballot to a writer that did not see what one old member
/// holds. Then that is swept to them.
fn a_state_that_a_promise_of_the_new_members_stands_against() -> Verdict {
    let mut town = Town::new();
    let cas = |client, text: &'static str| {
        let change =
            Change::CompareAndSet(Expectation::Absent, Bytes::from_static(text.as_bytes()));
        write(client, 100 * WALL_MS, change)
    };
    let mut low = town.hand(1, WALL_MS);
    low.begin(cas(1, "low"));
    low.deliver_only(&mut town, &[1, 3]);
    low.deliver_only(&mut town, &[1]);
    town.record = town.joint_with_456();
    town.adopt_everywhere();
    let mut high = town.hand(2, WALL_MS + 10);
    high.begin(cas(2, "high"));
    high.deliver_only(&mut town, &[2, 3, 4, 5]);
    high.deliver_only(&mut town, &[2, 6]);
    assert_eq!(town.change(&[1, 3, 4, 5]), Some(Ended::Completed));
    town.adopt_everywhere();
    let first = town.read(&[4, 5]);
    let second = town.read(&[5, 6]);
    demand(
        first == second,
        "two conditional writes that exclude each other were both seen",
    )
}

/// Each schedule, and the rules without which it ends badly.
const SCHEDULES: &[(Schedule, &[Mutant])] = &[
    (
        a_written_value_moves_to_the_new_members,
        &[Mutant::NoSweep, Mutant::RetiredDropsEarly],
    ),
    (one_of_the_old_members_is_dead, &[Mutant::NoSweep]),
    (a_writer_of_the_former_epoch, &[Mutant::NoFence]),
    (
        members_that_restart_after_the_change,
        &[Mutant::EpochLostAtCrash],
    ),
    (
        a_retry_at_a_slow_clock_in_the_next_epoch,
        &[Mutant::ClockFallsAcrossEpochs],
    ),
    (
        a_key_that_was_forgotten_before_the_change,
        &[Mutant::FloorNotCarriedOver],
    ),
    (
        a_member_whose_disk_was_lost,
        &[Mutant::WipedRefilledInPlace],
    ),
    (
        two_states_that_know_nothing_of_each_other,
        &[Mutant::SweepInstallsUnchosen],
    ),
    (
        a_state_that_a_promise_of_the_new_members_stands_against,
        &[Mutant::InstallBypassesPromises],
    ),
];

#[test]
fn every_schedule_ends_well_with_all_rules_in_place() {
    for (schedule, mutants) in SCHEDULES {
        assert_eq!(schedule(), Ok(()), "{mutants:?}");
    }
}

#[cfg(feature = "mutants")]
#[test]
fn every_schedule_ends_badly_without_its_rule() {
    for (schedule, mutants) in SCHEDULES {
        for mutant in *mutants {
            crate::mutant::choose(Some(*mutant));
            let verdict = schedule();
            crate::mutant::choose(None);
            assert!(verdict.is_err(), "{mutant:?} goes unnoticed");
        }
    }
}

#[test]
fn a_change_that_somebody_else_began_is_finished_whatever_was_wanted() {
    let mut town = Town::new();
    town.record = town.joint_with_456();
    let mut effects = Vec::new();
    let record = town.record.clone();
    let change = Reconfiguration::begin(record, set([1, 2, 4]), 0, &mut effects);
    assert!(change.is_some_and(|change| change.epoch() == 2));
    let asked = |effect: &Effect| matches!(effect, Effect::Ask(_, _, Request::Fence { epoch: 2 }));
    assert_eq!(effects.iter().filter(|effect| asked(effect)).count(), 6);
}

#[test]
fn the_second_of_two_changes_is_overtaken_and_does_no_harm() {
    let mut town = Town::new();
    let mut effects = Vec::new();
    let record = town.record.clone();
    let mut second =
        Reconfiguration::begin(record, set([1, 2, 4]), 0, &mut effects).expect("a change");
    effects.clear();
    assert_eq!(town.change(&ALL), Some(Ended::Completed));
    second.tick(10_000, &mut effects);
    let Some(Effect::Cas(next)) = effects.first().cloned() else {
        panic!("{effects:?}");
    };
    assert!(next.follows(&town.record).is_err());
    effects.clear();
    second.directory(10_001, &town.record, &mut effects);
    assert_eq!(effects, [Effect::Over(Ended::Overtaken)]);
}

#[test]
fn a_change_to_the_same_members_is_none() {
    let mut effects = Vec::new();
    let record = Town::new().record;
    assert!(Reconfiguration::begin(record, set([1, 2, 3]), 0, &mut effects).is_none());
    assert!(effects.is_empty());
}

#[test]
fn without_a_quorum_of_the_old_members_nothing_changes() {
    let mut town = Town::new();
    assert_eq!(town.change(&[3, 4, 5, 6]), None);
    assert!(town.record.is_joint());
}

#[test]
fn a_replica_answers_no_epoch_but_its_own_and_never_returns() {
    let mut town = Town::new();
    let joint = town.joint_with_456();
    let read = |epoch| Request::Read { key: KEY, epoch };
    let wrong = |epoch| Reply::WrongEpoch { epoch };
    assert_eq!(town.node(1).ask(WALL_MS, read(2)), wrong(1));
    assert_eq!(town.node(4).ask(WALL_MS, read(1)), wrong(1), "no member");
    town.node(1).adopt(&joint);
    let former = town.record.clone();
    town.node(1).adopt(&former);
    assert_eq!(town.node(1).ask(WALL_MS, read(1)), wrong(2));
    town.node(1).restart();
    assert_eq!(town.node(1).ask(WALL_MS, read(1)), wrong(2));
    let holds = town.node(1).ask(WALL_MS, read(2));
    assert!(matches!(holds, Reply::Holds { .. }));
}

#[test]
fn nothing_of_a_change_is_taken_in_a_stable_epoch_and_nothing_is_forgotten_in_a_joint_one() {
    let mut town = Town::new();
    let ballot = Ballot {
        epoch: 1,
        ..Ballot::ZERO
    };
    let install = |epoch| Request::Install {
        key: KEY,
        ballot,
        state: crate::register::Register::default(),
        epoch,
    };
    let floors = |epoch| Request::RaiseFloors {
        floor: ballot,
        revision_floor: 9,
        epoch,
    };
    let condemn = |epoch| Request::Condemn {
        key: KEY,
        ballot,
        epoch,
    };
    for request in [install(1), floors(1), Request::Fence { epoch: 1 }] {
        let reply = town.node(1).ask(WALL_MS, request);
        assert_eq!(reply, Reply::WrongEpoch { epoch: 1 });
    }
    let joint = town.joint_with_456();
    town.node(1).adopt(&joint);
    let reply = town.node(1).ask(WALL_MS, condemn(2));
    assert_eq!(reply, Reply::WrongEpoch { epoch: 2 });
    for request in [install(2), floors(2), Request::Fence { epoch: 2 }] {
        let reply = town.node(1).ask(WALL_MS, request);
        assert!(!matches!(reply, Reply::WrongEpoch { .. }), "{reply:?}");
    }
}

#[test]
fn an_answer_in_a_new_epoch_waits_until_the_epoch_is_durable() {
    let mut town = Town::new();
    let joint = town.joint_with_456();
    let mut effects = Vec::new();
    let replica = &mut town.node(1).replica;
    assert!(replica.adopt(&joint, &mut effects));
    replica.request(WALL_MS, 5, Request::Fence { epoch: 2 }, &mut effects);
    let told = |effect: &Replicated| matches!(effect, Replicated::Reply(..));
    assert!(!effects.iter().any(told), "{effects:?}");
    let reply = town.node(1).settle(&mut effects);
    assert!(matches!(reply, Some(Reply::Fenced { .. })));
}

#[test]
fn a_retired_replica_has_nothing_left_and_keeps_its_floors() {
    let mut town = Town::new();
    let written = town.hand(1, WALL_MS).run(&mut town, &ALL, put(1, "v"));
    assert!(is_written(&written), "{written:?}");
    assert_eq!(town.change(&ALL), Some(Ended::Completed));
    town.adopt_everywhere();
    for restarted in [false, true] {
        if restarted {
            town.node(1).restart();
        }
        let node = town.node(1);
        assert!(node.replica.is_empty() && !node.replica.is_member());
        assert_eq!(node.replica.epoch(), 3);
    }
}

#[test]
fn operations_under_way_begin_again_among_the_new_members() {
    let mut town = Town::new();
    let mut hand = town.hand(1, WALL_MS);
    hand.begin(put(1, "v"));
    hand.deliver_only(&mut town, &[1, 2]);
    hand.deliver_only(&mut town, &[1]);
    assert!(hand.finished.is_empty());
    assert_eq!(town.change(&[1, 2, 4, 5, 6]), Some(Ended::Completed));
    town.adopt_everywhere();
    let mut effects = Vec::new();
    let members = members_of(&town.record);
    hand.coordinator
        .reconfigure(hand.now, members, &mut effects);
    hand.take(effects);
    for _ in 0..6 {
        hand.deliver(&mut town, &ALL);
        hand.now.steady_ms += 100;
        hand.now.wall_ms += 100;
        let mut effects = Vec::new();
        hand.coordinator.tick(hand.now, &mut effects);
        hand.take(effects);
    }
    let answer = hand.finished.pop().expect("it ends");
    assert_eq!(revision(&answer), Some(1), "{answer:?}");
    assert_eq!(town.read(&[4, 5]), value("v"));
}
