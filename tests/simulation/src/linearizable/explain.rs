//! Makes a contradiction small enough to be read.
//!
//! Only steps that weaken what is claimed are taken: what still contradicts itself
//! after them did so before. Operations without effect may go; of a write only the
//! answer, and when it began, may be forgotten, because what it wrote may be needed.

use crate::history::{Action, Operation, Outcome, Response};
use crate::model::Revisions;

use super::{Verdict, judge};

/// Longest search for one step; what takes longer is not made smaller.
const STEPS_MAX: u64 = 20_000;

/// A contradiction within `operations`, which are one.
pub(super) fn smallest(mut operations: Vec<Operation>, revisions: Revisions) -> Vec<Operation> {
    cut_end(&mut operations, revisions);
    loop {
        let before = operations.clone();
        let mut at = operations.len();
        while at > 0 {
            at -= 1;
            weaken(&mut operations, at, revisions);
        }
        if operations == before {
            break;
        }
    }
    operations
}

/// Forgets the answers behind the earliest instant that contradicts the rest.
fn cut_end(operations: &mut Vec<Operation>, revisions: Revisions) {
    let mut returns: Vec<u64> = operations.iter().filter_map(returned).collect();
    returns.sort_unstable();
    let until = |instant: u64| -> Vec<Operation> {
        let began = operations
            .iter()
            .filter(|operation| operation.invoked < instant);
        began
            .map(|operation| match returned(operation) {
                Some(returned) if returned > instant => Operation {
                    outcome: Outcome::Unknown,
                    ..*operation
                },
                _ => *operation,
            })
            .collect()
    };
    // A longer beginning contradicts itself whenever a shorter one does.
    let (mut least, mut most) = (0, returns.len().saturating_sub(1));
    while least < most {
        let middle = (least + most) / 2;
        if !contradicts(&until(returns[middle]), revisions) {
            least = middle + 1;
        } else {
            most = middle;
        }
    }
    if let Some(&instant) = returns.get(least) {
        let beginning = until(instant);
        if contradicts(&beginning, revisions) {
            *operations = beginning;
        }
    }
}

fn weaken(operations: &mut Vec<Operation>, at: usize, revisions: Revisions) {
    let operation = operations[at];
    let without_effect = matches!(
        (operation.action, operation.outcome),
        (Action::Get(_), _)
            | (
                _,
                Outcome::Ok(Response::Conflict { .. } | Response::NothingToDelete, _)
            )
    );
    if without_effect {
        operations.remove(at);
        if !contradicts(operations, revisions) {
            operations.insert(at, operation);
        }
    } else if operation.outcome != Outcome::Unknown {
        operations[at].outcome = Outcome::Unknown;
        if !contradicts(operations, revisions) {
            operations[at] = operation;
        }
    }
}

fn contradicts(operations: &[Operation], revisions: Revisions) -> bool {
    judge(operations, revisions, STEPS_MAX) == Verdict::NotLinearizable
}

fn returned(operation: &Operation) -> Option<u64> {
    match operation.outcome {
        Outcome::Ok(_, returned) => Some(returned),
        Outcome::Failed | Outcome::Unknown => None,
    }
}
