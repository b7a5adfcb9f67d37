//! What an attacker on the wire does, as bytes.
//!
//! A program is a sequence of operations, each a byte `2 * kind + sender` and its
//! operands, little-endian. The sender says which side's bytes are meant, those that
//! it has written and that have not been delivered: 0 the initiator's, 1 the
//! responder's.
//!
//! | kind | operands | |
//! |---|---|---|
//! | 0 deliver | | all of them, as they now are |
//! | 1 pieces | size u8 | the same, `size` bytes at a time |
//! | 2 flip | at u16, mask u8 | a byte is changed by the bits of `mask` |
//! | 3 truncate | bytes u16 | so many are cut off at the end |
//! | 4 duplicate | at u16, bytes u16 | a range stands twice |
//! | 5 drop | at u16, bytes u16 | a range is taken out |
//! | 6 inject | at u16, bytes u8, the bytes | |
//! | 7 splice | at u16, bytes u16 | a range as it was in a recorded session of the same keys |
//! | 8 reflect | | what the other side has written comes back to it |
//! | 9 say | length u8 | the sender itself writes a payload of a chosen length |
//! | 10 rekey | | the sender takes its next key |
//! | 11 close | | the sender writes its close |
//!
//! Positions count modulo what is there, so that most bytes do something.

/// What happens to one side's bytes, or is asked of the side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    Deliver,
    Pieces { size: u8 },
    Flip { at: u16, mask: u8 },
    Truncate { bytes: u16 },
    Duplicate { at: u16, bytes: u16 },
    Drop { at: u16, bytes: u16 },
    Inject { at: u16, bytes: &'a [u8] },
    Splice { at: u16, bytes: u16 },
    Reflect,
    Say { length: u8 },
    Rekey,
    Close,
}

/// The side that connects.
pub(super) const INITIATOR: usize = 0;
/// The side that is connected to.
pub(super) const RESPONDER: usize = 1;

/// Takes the first operation from `program`, and whose bytes it is about; nothing when
/// it is none or its operands are cut short.
pub(super) fn next<'a>(program: &mut &'a [u8]) -> Option<(usize, Operation<'a>)> {
    let first = u8::from_le_bytes(take(program)?);
    let operation = match first / 2 {
        0 => Operation::Deliver,
        1 => Operation::Pieces {
            size: byte(program)?,
        },
        2 => Operation::Flip {
            at: number(program)?,
            mask: byte(program)?,
        },
        3 => Operation::Truncate {
            bytes: number(program)?,
        },
        4 => Operation::Duplicate {
            at: number(program)?,
            bytes: number(program)?,
        },
        5 => Operation::Drop {
            at: number(program)?,
            bytes: number(program)?,
        },
        6 => Operation::Inject {
            at: number(program)?,
            bytes: {
                let length = byte(program)?;
                program.split_off(..usize::from(length))?
            },
        },
        7 => Operation::Splice {
            at: number(program)?,
            bytes: number(program)?,
        },
        8 => Operation::Reflect,
        9 => Operation::Say {
            length: byte(program)?,
        },
        10 => Operation::Rekey,
        11 => Operation::Close,
        _ => return None,
    };
    Some((usize::from(first % 2), operation))
}

/// Appends an operation to a program.
pub(super) fn push(program: &mut Vec<u8>, sender: usize, operation: Operation<'_>) {
    let (kind, numbers, bytes): (u8, &[u16], &[u8]) = match operation {
        Operation::Deliver => (0, &[], &[]),
        Operation::Pieces { size } => (1, &[], &[size]),
        Operation::Flip { at, mask } => (2, &[at], &[mask]),
        Operation::Truncate { bytes } => (3, &[bytes], &[]),
        Operation::Duplicate { at, bytes } => (4, &[at, bytes], &[]),
        Operation::Drop { at, bytes } => (5, &[at, bytes], &[]),
        Operation::Inject { at, bytes } => {
            let length = u8::try_from(bytes.len()).expect("samples inject little");
            (6, &[at], &[&[length], bytes].concat())
        }
        Operation::Splice { at, bytes } => (7, &[at, bytes], &[]),
        Operation::Reflect => (8, &[], &[]),
        Operation::Say { length } => (9, &[], &[length]),
        Operation::Rekey => (10, &[], &[]),
        Operation::Close => (11, &[], &[]),
    };
    program.push(2 * kind + u8::try_from(sender).expect("one of two"));
    for number in numbers {
        program.extend_from_slice(&number.to_le_bytes());
    }
    program.extend_from_slice(bytes);
}

fn byte(program: &mut &[u8]) -> Option<u8> {
    take(program).map(u8::from_le_bytes)
}

fn number(program: &mut &[u8]) -> Option<u16> {
    take(program).map(u16::from_le_bytes)
}

fn take<const N: usize>(program: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = program.split_first_chunk()?;
    *program = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_reads_back() {
        let operations = [
            Operation::Deliver,
            Operation::Pieces { size: 3 },
            Operation::Flip { at: 500, mask: 4 },
            Operation::Truncate { bytes: 600 },
            Operation::Duplicate { at: 1, bytes: 700 },
            Operation::Drop { at: 2, bytes: 800 },
            Operation::Inject {
                at: 3,
                bytes: b"injected",
            },
            Operation::Splice { at: 4, bytes: 900 },
            Operation::Reflect,
            Operation::Say { length: 5 },
            Operation::Rekey,
            Operation::Close,
        ];
        for sender in [INITIATOR, RESPONDER] {
            for operation in operations {
                let mut program = Vec::new();
                push(&mut program, sender, operation);
                for length in 0..program.len() {
                    assert_eq!(next(&mut &program[..length]), None);
                }
                let mut rest = &program[..];
                assert_eq!(next(&mut rest), Some((sender, operation)));
                assert_eq!(rest, b"");
            }
        }
        assert_eq!(next(&mut &[24, 0, 0, 0][..]), None);
    }
}
