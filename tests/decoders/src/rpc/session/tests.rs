//! That programs do to real sides what they say, and that the checks notice sides which
//! let it happen.

use super::super::program::{self, INITIATOR, Operation, RESPONDER};
use super::*;
use crate::named;

/// A setup of `noise_session` or `tls_session` in which nothing disagrees, and how many
/// handshake messages it has.
const LAWFUL: [(&str, u8, usize); 9] = [
    ("noise_session", 0, 3),
    ("noise_session", 1, 3),
    ("noise_session", 2, 2),
    ("noise_session", 3, 2),
    ("noise_session", 4, 3),
    ("noise_session", 5, 2),
    ("noise_session", 6, 2),
    ("tls_session", 0, 3),
    ("tls_session", 1, 3),
];

fn operations(program: &[u8]) -> Vec<(usize, Operation<'_>)> {
    let mut rest = &program[1..];
    let mut operations = Vec::new();
    while let Some(operation) = program::next(&mut rest) {
        operations.push(operation);
    }
    assert_eq!(rest, b"");
    operations
}

fn assemble(setup: u8, operations: &[(usize, Operation<'_>)]) -> Vec<u8> {
    let mut program = vec![setup];
    for (sender, operation) in operations {
        program::push(&mut program, *sender, *operation);
    }
    program
}

fn is_delivery(operation: Operation<'_>) -> bool {
    matches!(operation, Operation::Deliver | Operation::Pieces { .. })
}

/// `attack`, on each message and record in turn.
fn attacked(setup: u8, flights: usize, attack: Operation<'_>) -> Vec<Vec<u8>> {
    let program = undisturbed(setup, flights);
    let operations = operations(&program);
    let deliveries = (0..operations.len()).filter(|at| is_delivery(operations[*at].1));
    deliveries
        .map(|at| {
            let mut operations = operations.clone();
            operations.insert(at, (operations[at].0, attack));
            assemble(setup, &operations)
        })
        .collect()
}

#[test]
fn an_attack_on_any_message_or_record_keeps_the_session_from_its_end() {
    let whole = u16::MAX;
    let attacks = [
        Operation::Flip { at: 0, mask: 1 },
        Operation::Flip { at: 5, mask: 0x80 },
        Operation::Flip { at: 47, mask: 4 },
        Operation::Truncate { bytes: 1 },
        Operation::Drop { at: 0, bytes: 1 },
        Operation::Drop {
            at: 0,
            bytes: whole,
        },
        Operation::Inject { at: 0, bytes: b"x" },
        Operation::Splice {
            at: 0,
            bytes: whole,
        },
        Operation::Reflect,
        Operation::Duplicate {
            at: 0,
            bytes: whole,
        },
    ];
    let mut attacked_sessions = 0;
    for (name, setup, flights) in LAWFUL {
        for attack in attacks {
            for (delivery, program) in attacked(setup, flights, attack).into_iter().enumerate() {
                // TLS ignores what stands behind a close (RFC 8446, section 6.1), and
                // rustls the type of a record that it can decrypt.
                let unseen = match attack {
                    Operation::Duplicate { .. } => delivery >= flights + 4,
                    Operation::Flip { at: 0, .. } => delivery >= flights,
                    _ => false,
                };
                if name == "tls_session" && unseen {
                    continue;
                }
                let outcome = (named(name).check)(&program);
                let what = format!("{name} {setup}, {attack:?} before delivery {delivery}");
                assert_eq!(outcome, Outcome::Refused, "{what}");
                attacked_sessions += 1;
            }
        }
    }
    println!("{attacked_sessions} attacks");
}

#[test]
fn how_bytes_are_cut_on_the_way_changes_nothing() {
    for (name, setup, flights) in LAWFUL {
        for size in [1, 2, 7, 255] {
            let program = undisturbed(setup, flights);
            let mut operations = operations(&program);
            for (_, operation) in &mut operations {
                if is_delivery(*operation) {
                    *operation = Operation::Pieces { size };
                }
            }
            let outcome = (named(name).check)(&assemble(setup, &operations));
            assert_eq!(outcome, Outcome::Accepted, "{name} {setup} by {size}");
        }
    }
}

#[test]
fn what_stands_behind_the_end_is_refused() {
    for (name, setup, flights) in LAWFUL {
        let mut program = undisturbed(setup, flights);
        program::push(&mut program, RESPONDER, Operation::Say { length: 1 });
        let outcome = (named(name).check)(&program);
        assert_eq!(outcome, Outcome::Refused, "{name} {setup}");
    }
}

#[test]
fn sides_that_disagree_never_trust() {
    for (name, setup) in [
        ("noise_session", 7),
        ("noise_session", 8),
        ("noise_session", 9),
        ("noise_session", 10),
        ("noise_session", 11),
        ("tls_session", 2),
    ] {
        for flights in [2, 3] {
            let outcome = (named(name).check)(&undisturbed(setup, flights));
            assert_eq!(outcome, Outcome::Refused, "{name} {setup}");
        }
        assert_eq!(
            (named(name).check)(&[setup]),
            Outcome::Refused,
            "{name} {setup}"
        );
    }
    assert_eq!((named("noise_session").check)(&[12]), Outcome::Refused);
    assert_eq!((named("tls_session").check)(&[3]), Outcome::Refused);
}

/// A channel that protects nothing: a byte of handshake, then a payload for each byte,
/// then zero for the close.
#[derive(Default)]
struct Gullible {
    consumed: usize,
    output: Vec<u8>,
    trust: Option<Trust>,
    delivered: Vec<Vec<u8>>,
    ended: bool,
}

const SHAKE: u8 = 7;

impl Side for Gullible {
    const LENGTHS: [usize; 8] = [1; 8];

    fn receive(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.consumed += 1;
            if self.trust.is_none() {
                self.trust = Some(Trust {
                    key: vec![*byte],
                    binding: [*byte; 32],
                });
            } else if *byte == 0 {
                self.ended = true;
            } else {
                self.delivered.push(vec![*byte - 1]);
            }
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn say(&mut self, payload: &[u8]) -> bool {
        self.output.extend(payload.iter().map(|byte| byte + 1));
        true
    }

    fn rekey(&mut self) {}

    fn close(&mut self) -> bool {
        self.output.push(0);
        true
    }

    fn consumed(&self) -> usize {
        self.consumed
    }

    fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    fn delivered(&self) -> &[Vec<u8>] {
        &self.delivered
    }

    fn ends_well(&self) -> bool {
        self.ended
    }

    fn authenticated(stream: &[u8]) -> Vec<u8> {
        stream.to_vec()
    }
}

fn gullible(operations: &[(usize, Operation<'_>)]) -> Outcome {
    let side = || Gullible {
        output: vec![SHAKE],
        ..Gullible::default()
    };
    let session = Session {
        sides: [side(), side()],
        keys: [vec![SHAKE], vec![SHAKE]],
        belong_together: true,
    };
    let recorded = [vec![SHAKE, 9], vec![SHAKE, 9]];
    run(session, &recorded, &assemble(0, operations)[1..])
}

const HANDSHAKE: [(usize, Operation<'_>); 2] = [
    (INITIATOR, Operation::Deliver),
    (RESPONDER, Operation::Deliver),
];

/// Behind the handshake the initiator says two payloads and closes, and `attack` is what
/// happens to them.
fn gullible_attacked(attack: Operation<'_>) -> Outcome {
    let said = [
        (INITIATOR, Operation::Say { length: 0 }),
        (INITIATOR, Operation::Say { length: 0 }),
        (INITIATOR, Operation::Close),
        (INITIATOR, attack),
        (INITIATOR, Operation::Deliver),
        (RESPONDER, Operation::Close),
        (RESPONDER, Operation::Deliver),
    ];
    gullible(&[&HANDSHAKE[..], &said].concat())
}

#[test]
fn the_gullible_side_is_lawful_when_nobody_attacks() {
    let nothing = Operation::Flip { at: 0, mask: 0 };
    assert_eq!(gullible_attacked(nothing), Outcome::Accepted);
}

#[test]
#[should_panic(expected = "took what nobody wrote")]
fn a_side_that_takes_a_changed_record_is_noticed() {
    gullible_attacked(Operation::Flip { at: 0, mask: 8 });
}

#[test]
#[should_panic(expected = "took what nobody wrote")]
fn a_side_that_takes_a_record_twice_is_noticed() {
    gullible_attacked(Operation::Duplicate { at: 1, bytes: 1 });
}

#[test]
#[should_panic(expected = "took what nobody wrote")]
fn a_side_that_misses_a_record_is_noticed() {
    gullible_attacked(Operation::Drop { at: 0, bytes: 1 });
}

#[test]
#[should_panic(expected = "took what nobody wrote")]
fn a_side_that_takes_a_recorded_record_is_noticed() {
    gullible_attacked(Operation::Splice { at: 0, bytes: 1 });
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn a_side_that_trusts_another_key_is_noticed() {
    let flip = (INITIATOR, Operation::Flip { at: 0, mask: 1 });
    gullible(&[&[flip], &HANDSHAKE[..]].concat());
}
