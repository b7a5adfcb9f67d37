//! The multiplexers, fed by a peer that keeps no rules.
//!
//! A program is a sequence of operations, each a byte and its operands,
//! little-endian: frames of the peer, lawful or not; what handlers or callers do;
//! time that passes; writes that leave. All that the multiplexer sends is read as
//! the peer reads it, and must keep the rules of the wire, above all that of
//! credit; what it holds stays within its limits; every call ends. Accepted is a
//! program that ends with its own last operation and broke no rule.

mod client;
mod judge;
mod server;

use std::time::Duration;

use sealmoot_rpc::Limits;
use sealmoot_rpc::bytes::Bytes;
use sealmoot_rpc::frame::{Frame, Kind};

use crate::Decoder;

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "multiplexer_server",
        authenticates: false,
        samples: server::samples,
        check: server::check,
    },
    Decoder {
        name: "multiplexer_client",
        authenticates: false,
        samples: client::samples,
        check: client::check,
    },
];

/// Operations of one program, so that one cannot take seconds.
const OPERATIONS_MAX: usize = 400;

/// Small, so that programs reach them.
fn limits() -> Limits {
    Limits {
        message_bytes_max: 100_000,
        incoming_bytes_max: 150_000,
        outgoing_bytes_max: 300_000,
        outgoing_bytes_pause: 40_000,
        calls_in_flight_max: 6,
        call_duration_max: Duration::from_secs(5),
        stream_duration_max: Duration::from_secs(20),
        ..Limits::default()
    }
}

/// The operands of a program.
pub(super) struct Program<'a>(pub(super) &'a [u8]);

impl<'a> Program<'a> {
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    /// A length and as many bytes.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.u8()?);
        self.0.split_off(..length)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }
}

/// Appends a frame, cut to what its length can say and no further.
fn append(input: &mut Vec<u8>, kind: Kind, flags: u8, code: u16, call: u32, payload: &[u8]) {
    Frame {
        kind,
        flags,
        code,
        call,
        payload: &payload[..payload.len().min(kind.payload_bytes_max())],
    }
    .encode(input);
}

fn body(length: usize) -> Bytes {
    Bytes::from(vec![7; length])
}
