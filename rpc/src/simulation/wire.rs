//! What the simulated calls carry.

use bytes::Bytes;

use crate::multiplexer::Extras;
use crate::once::OnceId;

/// Method that opens an incarnation.
pub(super) const OPEN: u64 = 0;
/// Counts, and must not run twice.
pub(super) const PLAIN: u64 = 1;
/// Counts, and may run twice.
pub(super) const IDEMPOTENT: u64 = 2;
/// Counts, and the server sees to it that it does not run twice.
pub(super) const ONCE: u64 = 3;

/// A call that is known as at most once, or not.
pub(super) fn extras(once: Option<OnceId>) -> Extras {
    Extras {
        once,
        ..Extras::default()
    }
}

/// What a handler is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Which logical call this is, over all its attempts.
    pub(super) deed: u64,
    pub(super) conduct: Conduct,
    /// Virtual microseconds.
    pub(super) takes: u64,
    pub(super) reply_bytes: u64,
    /// Length of the request's body.
    pub(super) body_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Conduct {
    /// Acts and answers.
    Acts = 0,
    /// Acts, and answers with an error.
    ActsAndFails = 1,
    /// Says, half the time, that it has not started, and does nothing then.
    Declines = 2,
    /// Panics, half the time before it acts.
    Panics = 3,
}

const ORDER_BYTES: usize = 40;

impl Order {
    pub(super) fn encode(&self) -> Vec<u8> {
        let length = usize::try_from(self.body_bytes).expect("a small number");
        let mut bytes = Vec::with_capacity(length.max(ORDER_BYTES));
        for number in [
            self.deed,
            self.conduct as u64,
            self.takes,
            self.reply_bytes,
            self.body_bytes,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.resize(length.max(ORDER_BYTES), 7);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        let body_bytes = word(bytes, 32);
        assert_eq!(
            bytes.len() as u64,
            body_bytes.max(ORDER_BYTES as u64),
            "a body is whole"
        );
        Self {
            deed: word(bytes, 0),
            conduct: match word(bytes, 8) {
                0 => Conduct::Acts,
                1 => Conduct::ActsAndFails,
                2 => Conduct::Declines,
                _ => Conduct::Panics,
            },
            takes: word(bytes, 16),
            reply_bytes: word(bytes, 24),
            body_bytes,
        }
    }

    /// Names the call, so that a reply to another one is noticed.
    pub(super) fn reply(&self) -> Bytes {
        let length = usize::try_from(self.reply_bytes).expect("a small number");
        let mut bytes = self.deed.to_le_bytes().to_vec();
        bytes.resize(length.max(8), 9);
        Bytes::from(bytes)
    }
}

pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes[at..at + 8].try_into().expect("eight bytes");
    u64::from_le_bytes(bytes)
}
