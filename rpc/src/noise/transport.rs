//! The channel after the handshake: records, payloads, rekeying, the close.
//!
//! A record is a length and one Noise message. The first byte of its plaintext
//! are flags, so everything that they say is authenticated: whether the
//! payload is whole, whether the sender changes its key behind this record,
//! whether it is done.

mod assembly;
mod receive;
mod send;

use std::fmt;
use std::time::{Duration, Instant};

use sealmoot_crypto::agreement::AgreementPublic;

use super::error::{ReceiveError, SendError};
use super::handshake::{Finished, Role};
use super::limits::{
    PAYLOAD_BYTES_MAX, REKEY_AGE, REKEY_BYTES, REKEY_BYTES_MAX, STREAM_RECORD_BYTES_MAX,
};
use super::symmetric::Split;
use crate::limits::Limits;
use crate::peer::ChannelBinding;

pub use receive::{Event, ReceiveHalf, Received};
pub use send::SendHalf;

/// The payload ends with this record.
const FLAG_LAST: u8 = 0b0000_0001;
/// The sender's next record is under its next key.
const FLAG_REKEY: u8 = 0b0000_0010;
/// The sender sends nothing more.
const FLAG_CLOSE: u8 = 0b0000_0100;

/// One side's choices for a channel; none is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportSettings {
    /// The longest payload, sent or received.
    pub payload_bytes_max: usize,
    /// Bytes of records under one key before this side changes its own. Values
    /// above [`REKEY_BYTES_MAX`] count as that: no peer takes more.
    pub rekey_bytes: u64,
    /// Age of a key at which the next record is the last under it.
    pub rekey_age: Duration,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            rekey_bytes: REKEY_BYTES,
            rekey_age: REKEY_AGE,
        }
    }
}

impl TransportSettings {
    /// For a channel that carries a stream: one record is one payload, and not a
    /// full one. The shell refuses longer records by their length.
    pub(crate) fn of_a_stream(limits: &Limits) -> Self {
        Self {
            payload_bytes_max: STREAM_RECORD_BYTES_MAX,
            rekey_bytes: limits.noise_rekey_bytes,
            rekey_age: limits.noise_rekey_age,
        }
    }
}

/// An established channel, both directions.
pub struct Transport {
    send: SendHalf,
    receive: ReceiveHalf,
    handshake_hash: [u8; 32],
}

impl Transport {
    /// `confirmed` says whether the handshake's last message came from the
    /// other side, so that it is there now and no recording.
    pub(super) fn new(
        finished: Finished,
        settings: TransportSettings,
        confirmed: bool,
        now: Instant,
    ) -> Self {
        let Split {
            initiator_to_responder,
            responder_to_initiator,
            handshake_hash,
        } = finished.split;
        let (sending, receiving) = match finished.role {
            Role::Initiator => (initiator_to_responder, responder_to_initiator),
            Role::Responder => (responder_to_initiator, initiator_to_responder),
        };
        let settings = TransportSettings {
            rekey_bytes: settings.rekey_bytes.min(REKEY_BYTES_MAX),
            ..settings
        };
        Self {
            send: SendHalf::new(sending, settings, now),
            receive: ReceiveHalf::new(receiving, settings, finished.remote_static, confirmed),
            handshake_hash,
        }
    }

    /// The hash of the whole handshake, equal on both sides and on no other
    /// channel: what a proof of identity is bound to.
    #[must_use]
    pub fn handshake_hash(&self) -> &[u8; 32] {
        &self.handshake_hash
    }

    /// The handshake hash as a channel binding.
    #[must_use]
    pub fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::from_bytes(self.handshake_hash)
    }

    /// See [`ReceiveHalf::remote_static`].
    #[must_use]
    pub fn remote_static(&self) -> Option<AgreementPublic> {
        self.receive.remote_static()
    }

    /// See [`SendHalf::seal`].
    ///
    /// # Errors
    /// [`SendError`].
    pub fn seal(
        &mut self,
        payload: &[u8],
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.send.seal(payload, now, out)
    }

    /// See [`ReceiveHalf::receive`].
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn receive<'a>(&'a mut self, buffer: &'a mut [u8]) -> Result<Received<'a>, ReceiveError> {
        self.receive.receive(buffer)
    }

    /// See [`SendHalf::close`]; the peer may still be heard to its own close.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn close(self, now: Instant, out: &mut Vec<u8>) -> Result<ReceiveHalf, SendError> {
        self.send.close(now, out)?;
        Ok(self.receive)
    }

    /// The two directions, for two tasks.
    #[must_use]
    pub fn split(self) -> (SendHalf, ReceiveHalf) {
        (self.send, self.receive)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Transport(redacted)")
    }
}
