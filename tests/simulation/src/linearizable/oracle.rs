//! The same question answered the slow way, by trying every order, with a sequential
//! register of its own; and the proof that both agree.

use crate::history::{Action, Expected, Operation, Outcome, ReadLevel, Response, Value};
use crate::model::Revisions;
use crate::random::Random;

use super::{Verdict, judge};

/// How far a forgotten key's revision jumps at most, in the oracle's world.
const JUMP_MAX: u64 = 3;

/// A concrete register: nothing about it is uncertain.
#[derive(Clone, Copy)]
struct Register {
    value: Option<Value>,
    revision: u64,
}

impl Register {
    fn visible(self) -> u64 {
        if self.value.is_some() {
            self.revision
        } else {
            0
        }
    }

    /// Carries out an action; a change makes revision `next`.
    fn act(&mut self, action: Action, next: u64) -> Response {
        let (applies, value) = match action {
            Action::Get(_) => {
                return Response::Got {
                    value: self.value,
                    revision: self.visible(),
                };
            }
            Action::Put(value) => (true, Some(value)),
            Action::Delete => (self.value.is_some(), None),
            Action::CompareAndSet(expected, value) => {
                let applies = match expected {
                    Expected::Absent => self.value.is_none(),
                    Expected::Revision(revision) => self.visible() == revision,
                    Expected::Value(expected) => self.value == Some(expected),
                };
                (applies, Some(value))
            }
        };
        match (applies, value) {
            (true, value) => {
                *self = Self {
                    value,
                    revision: next,
                };
                match value {
                    Some(_) => Response::Written { revision: next },
                    None => Response::Deleted { revision: next },
                }
            }
            (false, None) => Response::NothingToDelete,
            (false, Some(_)) => Response::Conflict {
                revision: self.visible(),
            },
        }
    }
}

/// Every order of the operations, every choice of which unknown ones happen, and
/// every jump of a revision.
fn some_order(operations: &[Operation], register: Register, revisions: Revisions) -> bool {
    let answered = |operation: &Operation| matches!(operation.outcome, Outcome::Ok(..));
    if !operations.iter().any(answered) {
        return true;
    }
    (0..operations.len()).any(|at| {
        let operation = operations[at];
        let preceded = operations.iter().any(
            |other| matches!(other.outcome, Outcome::Ok(_, returned) if returned < operation.invoked),
        );
        if preceded {
            return false;
        }
        let mut rest = operations.to_vec();
        rest.remove(at);
        let jumps = if register.value.is_none() && revisions == Revisions::MayJump {
            JUMP_MAX
        } else {
            0
        };
        (0..=jumps).any(|jump| {
            let mut register = register;
            let response = register.act(operation.action, register.revision + 1 + jump);
            let fits = match operation.outcome {
                Outcome::Ok(expected, _) => expected == response,
                Outcome::Unknown => true,
                Outcome::Failed => false,
            };
            fits && some_order(&rest, register, revisions)
        })
    })
}

/// A history that some register gave, with instants that overlap, and with a lie in
/// it now and then.
fn random_history(random: &mut Random, revisions: Revisions) -> Vec<Operation> {
    let count = random.between(1, 6) as usize;
    let mut register = Register {
        value: None,
        revision: 0,
    };
    let mut operations = Vec::new();
    for at in 0..count {
        let guess = Value(random.between(1, count as u64));
        let value = Value(at as u64 + 1);
        let action = match random.below(10) {
            0..=2 => Action::Put(value),
            3..=4 => Action::Delete,
            5 => Action::CompareAndSet(Expected::Absent, value),
            6 => Action::CompareAndSet(Expected::Revision(random.below(4)), value),
            7 => Action::CompareAndSet(Expected::Value(guess), value),
            _ => Action::Get(ReadLevel::Linearizable),
        };
        let jumps = register.value.is_none() && revisions == Revisions::MayJump;
        let jump = if jumps { random.below(2) } else { 0 };
        let mut next = register;
        let mut response = next.act(action, register.revision + 1 + jump);
        let unknown = !matches!(action, Action::Get(_)) && random.permille(300);
        if !unknown || random.coin() {
            register = next;
        }
        if random.permille(80) {
            response = lie(random, response, guess);
        }
        // It takes effect at 100 * at; it began before and ended after, by chance.
        let middle = 1000 + 100 * at as u64;
        let invoked = middle - random.between(1, 250) * 2;
        let returned = middle + random.between(1, 250) * 2 + 1;
        operations.push(Operation {
            client: at as u32,
            key: 0,
            action,
            invoked,
            outcome: if unknown {
                Outcome::Unknown
            } else {
                Outcome::Ok(response, returned)
            },
        });
    }
    operations.sort_by_key(|operation| operation.invoked);
    operations
}

fn lie(random: &mut Random, response: Response, guess: Value) -> Response {
    let shift = |revision: u64| {
        if revision > 1 {
            revision - 1
        } else {
            revision + 1
        }
    };
    match response {
        Response::Written { revision } => Response::Written {
            revision: shift(revision),
        },
        Response::Deleted { revision } if random.coin() => Response::Deleted {
            revision: shift(revision),
        },
        Response::Deleted { .. } => Response::NothingToDelete,
        Response::NothingToDelete => Response::Deleted { revision: 1 },
        Response::Conflict { revision } => Response::Conflict {
            revision: revision + 1,
        },
        Response::Got { revision, .. } if random.coin() => Response::Got {
            value: Some(guess),
            revision,
        },
        Response::Got { .. } => Response::Got {
            value: None,
            revision: 0,
        },
    }
}

#[test]
fn the_search_agrees_with_trying_every_order() {
    for revisions in [Revisions::Consecutive, Revisions::MayJump] {
        let mut verdicts = [0; 2];
        for seed in 0..6_000 {
            let operations = random_history(&mut Random::new(seed), revisions);
            let register = Register {
                value: None,
                revision: 0,
            };
            let expected = some_order(&operations, register, revisions);
            verdicts[usize::from(expected)] += 1;
            assert_eq!(
                judge(&operations, revisions, u64::MAX) == Verdict::Linearizable,
                expected,
                "seed {seed}, {revisions:?}: {operations:#?}"
            );
        }
        // Neither verdict is given always.
        assert!(verdicts.iter().all(|count| *count > 500), "{verdicts:?}");
    }
}
