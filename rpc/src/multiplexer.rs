//! Many calls over one ordered stream, decided without touching the stream.
//!
//! [`Client`] numbers calls, reassembles replies and says of every failure
//! whether the call may have run. [`Server`] reassembles requests, refuses
//! what exceeds a bound, and says which handlers to start and to abort. Both
//! take frames and the time, and leave bytes in an
//! [`Outgoing`](crate::outgoing::Outgoing): no socket, clock, task or
//! randomness, and no iteration over a hash map that shows outside.
//!
//! Frames for a call that is not in the table are ignored where a race
//! explains them (a reply that crossed a cancel, chunks behind a refused
//! call) and end the connection where none does.

mod client;
mod server;
mod stream;

use bytes::Bytes;

use crate::status::Status;

pub(crate) use client::{Client, Extras};
pub(crate) use server::{Event, Server, Start, StreamKey};
pub(crate) use stream::{Piece, Sender};

/// What a reader of a stream is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The next message.
    Message(Bytes),
    /// None yet.
    Wait,
    /// None follows, and all is well.
    End,
    /// None follows.
    Failed(Status),
}

/// Why a message was not queued.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// There is no credit; the message comes back.
    Wait(Bytes),
    /// There never will be.
    Over(Status),
}

/// Who of a stream's users is to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// Whoever takes messages.
    Reader,
    /// Whoever sends them.
    Writer,
}

/// Appends to a body that grows by chunks, never beyond `bytes_max`.
///
/// A chunk that would not fit is not stored, so what a message can reserve is
/// bounded by what was received of it.
fn extend_body(body: &mut Vec<u8>, chunk: &[u8], bytes_max: usize) -> Result<(), BodyTooLong> {
    if chunk.len() > bytes_max.saturating_sub(body.len()) {
        return Err(BodyTooLong);
    }
    body.extend_from_slice(chunk);
    Ok(())
}

/// A body beyond the limit for one message.
#[derive(Debug, PartialEq, Eq)]
struct BodyTooLong;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_never_exceeds_its_maximum() {
        let mut body = vec![0; 3];
        assert_eq!(extend_body(&mut body, &[1; 4], 6), Err(BodyTooLong));
        assert_eq!(body.len(), 3);
        assert_eq!(extend_body(&mut body, &[1; 3], 6), Ok(()));
        assert_eq!(extend_body(&mut body, &[], 6), Ok(()));
        assert_eq!(extend_body(&mut body, &[1], 6), Err(BodyTooLong));
    }
}
