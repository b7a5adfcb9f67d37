//! One history, run and judged; and a failing one made smaller.

use std::fmt;

use crate::fault::Fault;
use crate::linearizable::{self, NotLinearizable};
use crate::model::Revisions;
use crate::plan::{Changes, LogKind, Plan};
use crate::settings::Settings;
use crate::weak_reads;
use crate::world::{self, Fall, Run};

/// How revisions go on: a key that was forgotten continues above.
pub const REVISIONS: Revisions = Revisions::MayJump;
/// Most runs that making a history smaller may take.
const SHRINK_RUNS_MAX: u32 = 6_000;
/// Lengths at which a violation is looked for under other seeds.
const SHORTER: [usize; 4] = [6, 12, 25, 50];
const OTHER_SEEDS: u64 = 400;

/// What is wrong with a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The machines did what they must not.
    Invariant(String),
    /// The answers have no order that explains them.
    NotLinearizable(NotLinearizable),
    /// A weaker read returned what it must not.
    WeakRead(String),
    /// Something does not end, or does not work again after the faults.
    Liveness(String),
}

impl Violation {
    /// Who noticed.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Invariant(_) => "invariant",
            Self::NotLinearizable(_) => "history",
            Self::WeakRead(_) => "weak read",
            Self::Liveness(_) => "liveness",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invariant(what) | Self::WeakRead(what) | Self::Liveness(what) => {
                write!(formatter, "{}: {what}", self.kind())
            }
            Self::NotLinearizable(refused) => write!(formatter, "{}: {refused}", self.kind()),
        }
    }
}

/// Runs a plan and judges what came of it.
#[must_use]
pub fn examine(plan: &Plan, verbose: bool) -> (Run, Option<Violation>) {
    let run = world::run(plan, verbose);
    let violation = match &run.fall {
        Some(Fall::Invariant(what)) => Some(Violation::Invariant(what.clone())),
        _ => judge(&run).or_else(|| {
            run.fall.as_ref().map(|fall| match fall {
                Fall::Invariant(what) => Violation::Invariant(what.clone()),
                Fall::Liveness(what) => Violation::Liveness(what.clone()),
            })
        }),
    };
    (run, violation)
}

fn judge(run: &Run) -> Option<Violation> {
    if let Err(refused) = linearizable::check(&run.history, REVISIONS) {
        return Some(Violation::NotLinearizable(refused));
    }
    weak_reads::check(&run.history, REVISIONS)
        .err()
        .map(Violation::WeakRead)
}

/// A plan that fails too, with fewer kinds of fault, clients, keys and operations as
/// far as that was found. It may have another seed.
#[must_use]
pub fn shrink(plan: &Plan) -> Plan {
    let mut runs = 0;
    let mut fails = |plan: &Plan| {
        runs += 1;
        runs <= SHRINK_RUNS_MAX && examine(plan, false).1.is_some()
    };
    let mut smallest = shorter(plan, &mut fails).unwrap_or_else(|| plan.clone());
    loop {
        let before = smallest.clone();
        for fault in Fault::ALL {
            if smallest.faults.has(fault) {
                let mut fewer = smallest.clone();
                fewer.faults = fewer.faults.without(fault);
                if fails(&fewer) {
                    smallest = fewer;
                }
            }
        }
        for simplify in SIMPLER {
            let mut fewer = smallest.clone();
            simplify(&mut fewer);
            if fewer != smallest && fewer.operations > 0 && fails(&fewer) {
                smallest = fewer;
            }
        }
        if smallest == before {
            return smallest;
        }
    }
}

/// What makes a plan smaller, the largest steps first.
const SIMPLER: [fn(&mut Plan); 10] = [
    |plan| plan.changes = None,
    |plan| plan.set_nodes(3),
    |plan| plan.settings = Settings::claimed(plan.nodes),
    |plan| plan.rates.deletions = 0,
    |plan| plan.keys = 1,
    |plan| plan.log = LogKind::Model,
    |plan| plan.clients = plan.clients.saturating_sub(1).max(1),
    |plan| plan.operations /= 2,
    |plan| plan.operations -= plan.operations / 4,
    |plan| plan.operations -= 1,
];

/// A shorter history of another seed that fails as well: what a long one met by chance
/// in its middle, some short one often meets at once.
fn shorter(plan: &Plan, fails: &mut impl FnMut(&Plan) -> bool) -> Option<Plan> {
    let lengths = SHORTER
        .into_iter()
        .filter(|length| *length < plan.operations);
    for operations in lengths {
        for nth in 0..OTHER_SEEDS {
            let mut other = Plan::of_seed(plan.seed.wrapping_add(nth), operations);
            other.faults = other.faults.among(plan.faults);
            other.control = plan.control;
            other.set_nodes(plan.nodes);
            other.settings = plan.settings;
            if plan.rates.deletions == 0 {
                other.rates.deletions = 0;
            }
            other.invariants = plan.invariants;
            other.changes = plan.changes.as_ref().map(|_| Changes::of_seed(other.seed));
            other.leave_to_changes();
            if fails(&other) {
                return Some(other);
            }
        }
    }
    None
}
