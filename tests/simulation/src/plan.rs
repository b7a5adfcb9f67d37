//! What one history is made of, all of it drawn from its seed.

use crate::fault::{Fault, FaultSet};
use crate::random::Random;
use crate::settings::Settings;

/// Most operations of a history: those of one key must fit into the search.
pub const OPERATIONS_MAX: usize = 400;
/// One history of so many runs on the real log.
const REAL_LOG_EVERY: u64 = 50;
/// Of a thousand histories, in so many disks are damaged. In the others all members are
/// there in the end.
const DAMAGED: u64 = 250;
/// Of a thousand such histories, each kind of damage is on in so many.
const DAMAGE_KINDS: u64 = 600;
/// In one history of so many the members change.
const CHANGES_EVERY: u64 = 4;

/// What lies under the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// Records in memory, with what was synced told apart.
    Model,
    /// The store's own log on a disk in memory.
    Real,
}

/// A fault that the checker must notice: without it, its silence would prove nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Syncs are reported and not done.
    LyingSync,
    /// Answers leave before the sync that they rest on.
    AcknowledgedBeforeSync,
    /// A client uses the id of an operation whose outcome it does not know for
    /// another value.
    OperationIdReused,
    /// A node comes back with an empty disk and goes on as if nothing had happened.
    WipedInPlace,
    /// A node's disk is put back to an earlier state, and it votes without asking.
    RolledBackInPlace,
    /// A node's disk is put back to a state so young that the others may not remember
    /// more of it: what rule 9 does not notice.
    YoungRollback,
    /// Coordinators are never woken: what was refused or got no answer is not tried
    /// again, and nothing runs out of time.
    NeverRetries,
}

impl Control {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::LyingSync,
        Self::AcknowledgedBeforeSync,
        Self::OperationIdReused,
        Self::WipedInPlace,
        Self::RolledBackInPlace,
        Self::YoungRollback,
        Self::NeverRetries,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LyingSync => "lying-sync",
            Self::AcknowledgedBeforeSync => "acknowledged-before-sync",
            Self::OperationIdReused => "operation-id-reused",
            Self::WipedInPlace => "wiped-in-place",
            Self::RolledBackInPlace => "rolled-back-in-place",
            Self::YoungRollback => "young-rollback",
            Self::NeverRetries => "never-retries",
        }
    }
}

/// One history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The seed of every choice.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// By how many of them reads and writes go.
    pub settings: Settings,
    /// How many keys.
    pub keys: usize,
    /// How many clients at a time.
    pub clients: usize,
    /// How many operations they begin, the last probes not counted.
    pub operations: usize,
    /// What lies under the nodes.
    pub log: LogKind,
    /// What may go wrong.
    pub faults: FaultSet,
    /// A fault beyond what the protocol survives.
    pub control: Option<Control>,
    /// Whether and how the members change during the history.
    pub changes: Option<Changes>,
    /// Whether the machines are watched at every step, beside the history.
    pub invariants: bool,
    /// How likely and how bad.
    pub rates: Rates,
}

/// How members change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// How many machines there are beside the first members.
    pub spares: usize,
    /// How often somebody decides on a change, in microseconds, at most.
    pub every_us: u64,
    /// Whether members lose their disks.
    pub wipes: bool,
}

impl Changes {
    /// Those that a seed gives, where there are any.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let random = &mut Random::stream(seed, 5);
        Self {
            spares: random.between(1, 3) as usize,
            every_us: 1_000 * (1 << random.between(3, 9)),
            wipes: random.coin(),
        }
    }
}

/// How likely things are and how long they take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    /// Of a thousand messages, so many are lost.
    pub loss: u64,
    /// Of a thousand accepts, so many more.
    pub accept_loss: u64,
    /// Of a thousand messages, so many are late.
    pub delay: u64,
    /// By how many microseconds at most.
    pub delay_us_max: u64,
    /// Of a thousand requests, so many arrive twice.
    pub duplication: u64,
    /// Mean microseconds between two faults that last.
    pub fault_every_us: u64,
    /// How long they last at most, in microseconds.
    pub fault_us_max: u64,
    /// Effects between two crashes at an effect, at most.
    pub effects_between_crashes: u64,
    /// How far a clock jumps at most, in milliseconds.
    pub jump_ms_max: u64,
    /// Of a thousand, how much a clock's rate differs at most.
    pub drift: u64,
    /// How long a client gives one operation, in milliseconds.
    pub timeout_ms: u64,
    /// Of a thousand operations, so many are given a fraction of that.
    pub short_timeouts: u64,
    /// How long a client gives one attempt at one node, in milliseconds.
    pub attempt_ms: u64,
    /// Longest pause of a client between two operations, in microseconds.
    pub think_us_max: u64,
    /// Of a thousand operations, so many are plain writes.
    pub puts: u64,
    /// So many conditional writes.
    pub conditional: u64,
    /// So many deletions. The rest are reads.
    pub deletions: u64,
}

impl Plan {
    /// How many machines there are.
    #[must_use]
    pub fn machines(&self) -> usize {
        self.nodes + self.changes.as_ref().map_or(0, |changes| changes.spares)
    }

    /// The plan that a seed gives.
    #[must_use]
    pub fn of_seed(seed: u64, operations: usize) -> Self {
        let mut random = Random::stream(seed, 0);
        let random = &mut random;
        let calm = random.permille(80);
        let chance = if calm { 250 } else { 800 };
        let mut faults = FaultSet::default();
        for fault in Fault::ALL {
            if !Fault::DAMAGES.contains(&fault) && random.permille(chance) {
                faults = faults.with(fault);
            }
        }
        let faults = with_damages(faults, seed);
        let short = random.permille(750);
        let timeout_ms = if short {
            random.between(100, 1_000)
        } else {
            random.between(1_000, 10_000)
        };
        let far = random.permille(150);
        let nodes = if random.permille(200) { 5 } else { 3 };
        let mut plan = Self {
            seed,
            nodes,
            settings: Settings::of_seed(seed, nodes),
            keys: random.between(1, 3) as usize,
            clients: random.between(2, 6) as usize,
            operations: operations.min(OPERATIONS_MAX),
            log: if seed % REAL_LOG_EVERY == REAL_LOG_EVERY - 1 {
                LogKind::Real
            } else {
                LogKind::Model
            },
            faults,
            control: None,
            changes: seed
                .is_multiple_of(CHANGES_EVERY)
                .then(|| Changes::of_seed(seed)),
            invariants: true,
            rates: Rates {
                loss: random.between(2, 60),
                accept_loss: if random.coin() {
                    0
                } else {
                    random.between(20, 400)
                },
                delay: random.between(5, 150),
                delay_us_max: 1_000 << random.between(2, 11),
                duplication: random.between(5, 100),
                fault_every_us: 1_000 * random.between(8, 60),
                fault_us_max: 1_000 * random.between(5, 200),
                effects_between_crashes: random.between(100, 2_000),
                jump_ms_max: if far {
                    150_000
                } else {
                    1 << random.between(3, 12)
                },
                drift: random.between(1, 20),
                timeout_ms,
                short_timeouts: if random.coin() {
                    0
                } else {
                    random.between(50, 500)
                },
                attempt_ms: (timeout_ms / random.between(1, 5)).clamp(60, 2_500),
                think_us_max: 1 << random.between(6, 14),
                puts: random.between(200, 500),
                conditional: random.between(50, 250),
                deletions: random.between(20, 120),
            },
        };
        plan.leave_to_changes();
        plan
    }

    /// Where members change, the settings are the default's, which is scaled to each set,
    /// and disks are lost by the operator's doing alone.
    pub fn leave_to_changes(&mut self) {
        if self.changes.is_some() {
            self.settings = Settings::claimed(self.nodes);
            for fault in Fault::DAMAGES {
                self.faults = self.faults.without(fault);
            }
        }
    }

    /// Another number of nodes, with the settings that the seed gives for it.
    pub fn set_nodes(&mut self, nodes: usize) {
        if nodes != self.nodes {
            self.nodes = nodes;
            self.settings = Settings::of_seed(self.seed, nodes);
        }
        self.leave_to_changes();
    }
}

/// The kinds of damage that a seed adds, drawn apart from everything else.
fn with_damages(mut faults: FaultSet, seed: u64) -> FaultSet {
    let mut random = Random::stream(seed, 41);
    if random.permille(DAMAGED) {
        for fault in Fault::DAMAGES {
            if random.permille(DAMAGE_KINDS) {
                faults = faults.with(fault);
            }
        }
    }
    faults
}
