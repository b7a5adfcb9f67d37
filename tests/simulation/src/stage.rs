//! A world by hand: no clients of its own, no faults but those asked for, every
//! message and every sync equally long. What examples are shown on, and costs are
//! counted on.

use bytes::Bytes;
use sealmoot_kv::clock::Clock;
use sealmoot_kv::coordinator::{Answer, Command, Failure, FailureKind, Level};
use sealmoot_kv::quorum::Quorums;
use sealmoot_kv::register::{Change, Expectation, Operation, OperationId, Outcome};

use crate::fault::FaultSet;
use crate::keys::key_bytes;
use crate::plan::{LogKind, Plan};
use crate::settings::{Creation, Settings};
use crate::world::{Fall, Measured, ONE_WAY_US, SYNC_US, World};

/// Later than any request of a stage.
const DEADLINE: Clock = Clock(u64::MAX / 2);

/// What a request cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// How often its coordinator asked other nodes and waited for their answers, until
    /// it answered itself.
    pub trips: u64,
    /// How many syncs it waited for, one after the other, until it answered.
    pub sync_waits: u64,
    /// Messages between nodes, also those that nobody waited for.
    pub messages: u64,
    /// Records that were synced, at all replicas together.
    pub records: u64,
}

/// A few nodes, to be asked one request after the other.
pub struct Stage<'a> {
    world: World<'a>,
    requests: u64,
    timeout_ms: u64,
}

/// Lets `act` play on a stage of `members` nodes whose namespace has these quorums.
///
/// # Panics
/// When an invariant of the machines does not hold: see [`crate::examine`].
pub fn on<T>(members: usize, quorums: Quorums, act: impl FnOnce(&mut Stage<'_>) -> T) -> T {
    let mut plan = Plan::of_seed(1, 1);
    plan.nodes = members;
    plan.settings = Settings {
        quorums,
        creation: Creation::Before,
    };
    plan.faults = FaultSet::default();
    plan.log = LogKind::Real;
    plan.keys = 2;
    let mut world = World::new(&plan, false);
    world.begin_by_hand();
    let mut stage = Stage {
        world,
        requests: 0,
        timeout_ms: 1_000,
    };
    let result = act(&mut stage);
    let fallen: Option<&Fall> = stage.world.fallen();
    assert_eq!(fallen, None, "the machines did what they must not");
    result
}

impl Stage<'_> {
    /// From now on requests have so long.
    pub fn give_requests(&mut self, milliseconds: u64) {
        self.timeout_ms = milliseconds;
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// The coordinator's [`Failure`].
    pub fn put(&mut self, node: usize, key: usize, value: &str) -> Result<Outcome, Failure> {
        self.put_counted(node, key, value).0
    }

    /// The same, and what it cost.
    pub fn put_counted(
        &mut self,
        node: usize,
        key: usize,
        value: &str,
    ) -> (Result<Outcome, Failure>, Cost) {
        self.write(
            node,
            key,
            Change::Put(Bytes::copy_from_slice(value.as_bytes())),
        )
    }

    /// Sets the value of a key that has none, and what it cost.
    pub fn create_counted(
        &mut self,
        node: usize,
        key: usize,
        value: &str,
    ) -> (Result<Outcome, Failure>, Cost) {
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.write(node, key, Change::CompareAndSet(Expectation::Absent, value))
    }

    /// Sets the value of a key at this revision, and what it cost.
    pub fn compare_and_set_counted(
        &mut self,
        node: usize,
        key: usize,
        revision: u64,
        value: &str,
    ) -> (Result<Outcome, Failure>, Cost) {
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.write(
            node,
            key,
            Change::CompareAndSet(Expectation::Revision(revision), value),
        )
    }

    /// Reads a key.
    ///
    /// # Errors
    /// The coordinator's [`Failure`].
    pub fn get(
        &mut self,
        node: usize,
        key: usize,
        level: Level,
    ) -> Result<Option<String>, Failure> {
        self.get_counted(node, key, level).0
    }

    /// The same, and what it cost.
    pub fn get_counted(
        &mut self,
        node: usize,
        key: usize,
        level: Level,
    ) -> (Result<Option<String>, Failure>, Cost) {
        let key = key_bytes(key);
        let (answer, cost) = self.carry(node, Command::Read { key, level });
        let value = answer.map(|answer| match answer {
            Answer::Value(register) => register
                .value
                .map(|value| String::from_utf8_lossy(&value).into_owned()),
            _ => None,
        });
        (value, cost)
    }

    /// The process at a node ends; what it had synced stays.
    pub fn stop(&mut self, node: usize) {
        self.world.stop_by_hand(node);
    }

    /// It starts again.
    pub fn start(&mut self, node: usize) {
        self.world.start_by_hand(node);
    }

    /// Nothing from one node reaches another any more.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.world.cut_by_hand(from, to);
    }

    /// The same, where there are so many nodes.
    pub(crate) fn cut_if_there(&mut self, from: usize, to: usize) {
        if self.world.has_node(to) {
            self.cut(from, to);
        }
    }

    /// All cuts end.
    pub fn heal(&mut self) {
        self.world.heal_by_hand();
    }

    fn write(
        &mut self,
        node: usize,
        key: usize,
        change: Change,
    ) -> (Result<Outcome, Failure>, Cost) {
        let command = Command::Write {
            key: key_bytes(key),
            operation: Operation {
                id: OperationId {
                    client: [1; 16],
                    sequence: self.requests + 1,
                },
                deadline: DEADLINE,
                change,
            },
            fresh: true,
        };
        let (answer, cost) = self.carry(node, command);
        let outcome = answer.and_then(|answer| match answer {
            Answer::Written { outcome, .. } => Ok(outcome),
            _ => Err(Failure::new(FailureKind::OutcomeUnknown, Clock::ZERO)),
        });
        (outcome, cost)
    }

    fn carry(&mut self, node: usize, command: Command) -> (Result<Answer, Failure>, Cost) {
        self.requests += 1;
        let (answer, measured) = self.world.carry(node, command, self.timeout_ms);
        let answer = answer.unwrap_or_else(|| {
            let kind = FailureKind::OutcomeUnknown;
            Err(Failure::new(kind, Clock::ZERO))
        });
        (answer, Cost::of(&measured))
    }
}

impl Cost {
    /// Messages and pauses take whole milliseconds, syncs a hundredth of one.
    fn of(measured: &Measured) -> Self {
        Self {
            trips: measured.trips,
            sync_waits: measured.elapsed_us % ONE_WAY_US / SYNC_US,
            messages: measured.messages,
            records: measured.records,
        }
    }
}
