//! Two honest sides, and a program that decides what of their bytes arrives.
//!
//! After every operation must hold:
//!
//! - Where a side trusts the channel, both sides have taken nothing but what the other
//!   wrote in this handshake, byte for byte; the side names the other's key; and where
//!   both trust it, both name the same handshake.
//! - What a side hands on is a beginning of what the other said, in whole payloads.
//! - A side takes the end of the stream for an end only when the other has closed and
//!   all that it said is there.
//! - Sides that do not belong together never trust.

use super::program::{self, INITIATOR, Operation, RESPONDER};
use crate::Outcome;

/// One honest side of a channel, without I/O.
pub(super) trait Side {
    /// Lengths of the payloads that it says.
    const LENGTHS: [usize; 8];

    /// Takes bytes from the wire. Once it has failed, it takes nothing more.
    fn receive(&mut self, bytes: &[u8]);

    /// What it has written since it was asked last.
    fn take_output(&mut self) -> Vec<u8>;

    /// Sends a payload, or says that it cannot yet or no longer.
    fn say(&mut self, payload: &[u8]) -> bool;

    /// Takes its next key, now or with what it sends next.
    fn rekey(&mut self);

    /// Sends its close, or says that it cannot.
    fn close(&mut self) -> bool;

    /// Bytes of the wire that it has taken without objecting.
    fn consumed(&self) -> usize;

    /// Whom it trusts; remains when the channel fails later.
    fn trust(&self) -> Option<&Trust>;

    /// The payloads that it has handed on.
    fn delivered(&self) -> &[Vec<u8>];

    /// Whether the stream could end here and count as whole.
    fn ends_well(&self) -> bool;

    /// That part of a stream's beginning which the protocol authenticates.
    fn authenticated(stream: &[u8]) -> Vec<u8>;
}

/// What a side believes once its handshake has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trust {
    /// The other side's public key.
    pub(super) key: Vec<u8>,
    /// The same on both sides, and on no other channel.
    pub(super) binding: [u8; 32],
}

/// A session to be attacked.
pub(super) struct Session<S> {
    /// Initiator and responder.
    pub(super) sides: [S; 2],
    /// Their public keys.
    pub(super) keys: [Vec<u8>; 2],
    /// Whether they agree on what must be agreed on beforehand.
    pub(super) belong_together: bool,
}

/// What one side's bytes went through.
#[derive(Default)]
struct Wire {
    /// All that it wrote.
    written: Vec<u8>,
    /// Of these, those that were there when the last were delivered.
    settled: usize,
    /// What stands to be delivered, changed or not.
    pending: Vec<u8>,
    /// All that was.
    arrived: Vec<u8>,
    said: Vec<Vec<u8>>,
    closed: bool,
}

/// Bytes of one direction, written, pending and arrived together, beyond which a
/// program is not run further.
const WIRE_BYTES_MAX: usize = 1024 * 1024;

/// Operations of one program, so that one cannot take seconds.
const OPERATIONS_MAX: usize = 200;

/// Runs `program`; `recorded` is what either side wrote in another session. Accepted
/// is a program that ends where both sides have trusted, heard everything and closed.
pub(super) fn run<S: Side>(
    session: Session<S>,
    recorded: &[Vec<u8>; 2],
    program: &[u8],
) -> Outcome {
    let mut run = Run::new(session);
    let mut rest = program;
    let mut operations = 0;
    while !rest.is_empty() {
        operations += 1;
        if run.is_complete() || operations > OPERATIONS_MAX {
            return Outcome::Refused;
        }
        let Some((sender, operation)) = program::next(&mut rest) else {
            return Outcome::Refused;
        };
        if !run.apply(sender, operation, recorded) {
            return Outcome::Refused;
        }
        run.check();
    }
    if run.is_complete() {
        Outcome::Accepted
    } else {
        Outcome::Refused
    }
}

/// What both sides wrote when nobody disturbed them.
pub(super) fn record<S: Side>(session: Session<S>, program: &[u8]) -> [Vec<u8>; 2] {
    let mut run = Run::new(session);
    let mut rest = program;
    while let Some((sender, operation)) = program::next(&mut rest) {
        run.apply(sender, operation, &[Vec::new(), Vec::new()]);
    }
    run.wires.map(|wire| wire.written)
}

/// A program that delivers `flights` handshake messages in turn, and then payloads of
/// every length and a new key from both sides, to both closes.
pub(super) fn undisturbed(setup: u8, flights: usize) -> Vec<u8> {
    let mut program = vec![setup];
    for flight in 0..flights {
        program::push(&mut program, flight % 2, Operation::Deliver);
    }
    for sender in [INITIATOR, RESPONDER] {
        program::push(&mut program, sender, Operation::Say { length: 2 });
        program::push(&mut program, sender, Operation::Pieces { size: 50 });
        program::push(&mut program, sender, Operation::Rekey);
        program::push(&mut program, sender, Operation::Say { length: 0 });
        program::push(&mut program, sender, Operation::Say { length: 1 });
        program::push(&mut program, sender, Operation::Deliver);
    }
    for sender in [INITIATOR, RESPONDER] {
        program::push(&mut program, sender, Operation::Close);
        program::push(&mut program, sender, Operation::Deliver);
    }
    program
}

struct Run<S> {
    session: Session<S>,
    wires: [Wire; 2],
}

impl<S: Side> Run<S> {
    fn new(session: Session<S>) -> Self {
        let mut run = Self {
            session,
            wires: Default::default(),
        };
        run.collect();
        run
    }

    /// Whether there was room to go on.
    fn apply(&mut self, sender: usize, operation: Operation<'_>, recorded: &[Vec<u8>; 2]) -> bool {
        match operation {
            Operation::Deliver => self.deliver(sender, usize::MAX),
            Operation::Pieces { size } => self.deliver(sender, usize::from(size).max(1)),
            Operation::Say { length } => {
                let length = S::LENGTHS[usize::from(length) % S::LENGTHS.len()];
                let number = self.wires[sender].said.len() % 251;
                let payload = vec![u8::try_from(number).expect("below 251"); length];
                if self.session.sides[sender].say(&payload) {
                    self.wires[sender].said.push(payload);
                }
            }
            Operation::Rekey => self.session.sides[sender].rekey(),
            Operation::Close => self.wires[sender].closed |= self.session.sides[sender].close(),
            Operation::Reflect => {
                let other = self.wires[1 - sender].written.clone();
                self.wires[sender].pending = other;
            }
            edit => self.wires[sender].edit(edit, &recorded[sender]),
        }
        self.collect();
        self.wires.iter().all(|wire| wire.bytes() <= WIRE_BYTES_MAX)
    }

    fn deliver(&mut self, sender: usize, size: usize) {
        let wire = &mut self.wires[sender];
        wire.settled = wire.written.len();
        let pending = std::mem::take(&mut wire.pending);
        wire.arrived.extend_from_slice(&pending);
        for piece in pending.chunks(size) {
            self.session.sides[1 - sender].receive(piece);
        }
    }

    /// What the sides write goes on the wire.
    fn collect(&mut self) {
        for (side, wire) in self.session.sides.iter_mut().zip(&mut self.wires) {
            let output = side.take_output();
            wire.written.extend_from_slice(&output);
            wire.pending.extend_from_slice(&output);
        }
    }

    fn check(&self) {
        let [initiator, responder] = &self.session.sides;
        let trusts = [initiator.trust(), responder.trust()];
        if trusts.iter().any(Option::is_some) {
            assert!(self.session.belong_together, "strangers trust each other");
        }
        if let [Some(initiator), Some(responder)] = trusts {
            assert_eq!(initiator.binding, responder.binding);
        }
        for (receiver, trust) in trusts.into_iter().enumerate() {
            let sender = 1 - receiver;
            let (side, wire) = (&self.session.sides[receiver], &self.wires[sender]);
            if let Some(trust) = trust {
                assert_eq!(trust.key, self.session.keys[sender]);
            } else {
                assert!(side.delivered().is_empty(), "handed on what nobody proved");
                assert!(!side.ends_well(), "ended before it began");
            }
            if trusts.iter().any(Option::is_some) {
                let taken = S::authenticated(&wire.arrived[..side.consumed()]);
                let written = S::authenticated(&wire.written);
                assert!(written.starts_with(&taken), "took what nobody wrote");
            }
            assert!(wire.said.starts_with(side.delivered()), "not what was said");
            if side.ends_well() {
                assert!(wire.closed, "an end that nobody wrote");
                assert_eq!(
                    side.delivered().len(),
                    wire.said.len(),
                    "a part as the whole"
                );
            }
        }
    }

    /// Whether both sides have heard the other to its close.
    fn is_complete(&self) -> bool {
        self.session.sides.iter().all(Side::ends_well)
    }
}

impl Wire {
    fn bytes(&self) -> usize {
        self.written.len() + self.pending.len() + self.arrived.len()
    }

    fn edit(&mut self, operation: Operation<'_>, recorded: &[u8]) {
        let pending = &mut self.pending;
        let position = |at: u16| usize::from(at) % pending.len().max(1);
        match operation {
            Operation::Flip { at, mask } => {
                let at = position(at);
                if let Some(byte) = pending.get_mut(at) {
                    *byte ^= mask;
                }
            }
            Operation::Truncate { bytes } => {
                pending.truncate(pending.len().saturating_sub(usize::from(bytes)));
            }
            Operation::Duplicate { at, bytes } => {
                let range = range(position(at), bytes, pending.len());
                let copy = pending[range.clone()].to_vec();
                pending.splice(range.end..range.end, copy);
            }
            Operation::Drop { at, bytes } => {
                let range = range(position(at), bytes, pending.len());
                pending.drain(range);
            }
            Operation::Inject { at, bytes } => {
                let at = position(at);
                pending.splice(at..at, bytes.iter().copied());
            }
            Operation::Splice { at, bytes } => {
                // Where the recorded session had what stands here.
                let range = range(position(at), bytes, pending.len());
                let from = (self.settled + range.start).min(recorded.len());
                let to = (self.settled + range.end).min(recorded.len());
                pending.splice(range, recorded[from..to].iter().copied());
            }
            Operation::Deliver
            | Operation::Pieces { .. }
            | Operation::Reflect
            | Operation::Say { .. }
            | Operation::Rekey
            | Operation::Close => {}
        }
    }
}

fn range(start: usize, bytes: u16, length: usize) -> std::ops::Range<usize> {
    start..(start + usize::from(bytes)).min(length)
}

#[cfg(test)]
mod tests;
