//! One direction of one call as the peer sees it on the wire.

use sealmoot_rpc::frame::{Frame, HEADER_BYTES, Kind};
use sealmoot_rpc::limits::STREAM_WINDOW_BYTES;

/// What of a direction has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Nothing.
    Nothing,
    /// The beginning of a body.
    Part,
    /// A stream has begun; inside a message or not.
    Stream { is_inside: bool },
    /// All of it.
    Everything,
}

/// A direction that the multiplexer under test sends: it must keep the rules.
#[derive(Debug)]
pub(super) struct Outward {
    pub(super) sent: Sent,
    /// What it may still send of a stream.
    credit: usize,
}

impl Outward {
    pub(super) fn new() -> Self {
        Self {
            sent: Sent::Nothing,
            credit: STREAM_WINDOW_BYTES,
        }
    }

    /// The peer gave credit, which was not refused.
    pub(super) fn grant(&mut self, bytes: u32) {
        self.credit += usize::try_from(bytes).expect("32 bits");
    }

    /// A chunk or an end leaves.
    pub(super) fn part(&mut self, frame: &Frame<'_>) {
        let is_end = frame.kind == Kind::End;
        self.sent = match self.sent {
            Sent::Part => {
                assert!(!frame.payload.is_empty(), "an empty part");
                assert!(!frame.is_last(), "a message in a body");
                if is_end { Sent::Everything } else { Sent::Part }
            }
            Sent::Stream { is_inside } if is_end => {
                assert!(frame.payload.is_empty(), "an end with a payload");
                assert!(!is_inside, "an end inside a message");
                Sent::Everything
            }
            Sent::Stream { is_inside } => {
                let is_whole = frame.is_last() && !is_inside;
                assert!(!frame.payload.is_empty() || is_whole, "an empty part");
                let cost = HEADER_BYTES + frame.payload.len();
                let credit = self.credit.checked_sub(cost);
                self.credit = credit.expect("a stream within its credit");
                Sent::Stream {
                    is_inside: !frame.is_last(),
                }
            }
            Sent::Nothing | Sent::Everything => panic!("{frame:?} where nothing is"),
        };
    }
}

/// A stream that the multiplexer under test receives: it must not give more
/// credit than it was sent.
#[derive(Debug)]
pub(super) struct Inward {
    /// Negative while the peer has used credit that has not left yet.
    unspent: i64,
}

impl Inward {
    pub(super) fn new() -> Self {
        Self { unspent: WINDOW }
    }

    /// A chunk arrived and was not refused.
    pub(super) fn chunk(&mut self, payload_bytes: usize) {
        let cost = HEADER_BYTES + payload_bytes;
        self.unspent -= i64::try_from(cost).expect("a frame is short");
    }

    /// Credit leaves.
    pub(super) fn credit(&mut self, bytes: u32) {
        assert_ne!(bytes, 0, "credit of nothing");
        self.unspent += i64::from(bytes);
        let unspent = self.unspent;
        assert!(unspent <= WINDOW, "a window of {unspent}");
    }
}

const WINDOW: i64 = STREAM_WINDOW_BYTES as i64;
