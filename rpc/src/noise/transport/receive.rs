//! Records into payloads.

use std::fmt;

use sealmoot_crypto::agreement::AgreementPublic;

use super::super::cipher::CipherKey;
use super::super::error::{ReceiveError, Truncated};
use super::super::limits::{
    FLAGS_BYTES, FRAGMENT_BYTES_MAX, PREFIX_BYTES, REKEY_BYTES_MAX, TAG_BYTES,
};
use super::assembly::Assembly;
use super::{FLAG_CLOSE, FLAG_LAST, FLAG_REKEY, TransportSettings};

const RECORD_BYTES_MIN: usize = FLAGS_BYTES + TAG_BYTES;

/// The receiving direction of a channel.
pub struct ReceiveHalf {
    state: State,
    settings: TransportSettings,
    remote_static: AgreementPublic,
    /// Whether a message of the peer's has shown that it is there now.
    confirmed: bool,
    /// Fragments of a payload whose last has not come, or what was delivered
    /// by the call before.
    assembly: Assembly,
    delivered: bool,
    /// Bytes of Noise messages under the present key.
    bytes: u64,
}

enum State {
    Open(CipherKey),
    Closed,
    Dead,
}

/// What one call took from the front of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Bytes done with; what follows them is the next record.
    pub consumed: usize,
    /// What they were.
    pub event: Event<'a>,
}

/// What a record was. `Debug` shows how long a payload is, not the payload.
#[derive(PartialEq, Eq)]
pub enum Event<'a> {
    /// Not whole yet: the buffer must hold this many bytes first.
    Incomplete {
        /// From the beginning of the record.
        needed: usize,
    },
    /// Part of a payload, kept here until the rest has come.
    Fragment,
    /// A whole payload.
    Payload(&'a [u8]),
    /// The peer is done; all that it sent has been received.
    Closed,
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete { needed } => write!(formatter, "Incomplete({needed} bytes)"),
            Self::Fragment => formatter.write_str("Fragment"),
            Self::Payload(payload) => write!(formatter, "Payload({} bytes)", payload.len()),
            Self::Closed => formatter.write_str("Closed"),
        }
    }
}

impl ReceiveHalf {
    pub(super) fn new(
        key: CipherKey,
        settings: TransportSettings,
        remote_static: AgreementPublic,
        confirmed: bool,
    ) -> Self {
        Self {
            state: State::Open(key),
            settings,
            remote_static,
            confirmed,
            assembly: Assembly::default(),
            delivered: false,
            bytes: 0,
        }
    }

    /// The peer's static key, once it has proved to hold it in this handshake.
    ///
    /// A responder of IK or KK has the key before that: the first message is
    /// authentic and may be a recording. Only the first record shows that its
    /// sender knows an answer made today.
    #[must_use]
    pub fn remote_static(&self) -> Option<AgreementPublic> {
        self.confirmed.then_some(self.remote_static)
    }

    /// Takes one record from the front of `buffer`, decrypting in place.
    /// Nothing is ever delivered of a payload that is not whole.
    ///
    /// # Errors
    /// [`ReceiveError`]; the direction is dead then and the connection is to
    /// be closed.
    pub fn receive<'a>(&'a mut self, buffer: &'a mut [u8]) -> Result<Received<'a>, ReceiveError> {
        let empty = buffer.is_empty();
        let Some((prefix, rest)) = buffer.split_first_chunk_mut::<PREFIX_BYTES>() else {
            return match self.state {
                State::Dead => Err(ReceiveError::Dead),
                State::Closed if !empty => Err(self.fail(ReceiveError::AfterClose)),
                _ => Ok(Received {
                    consumed: 0,
                    event: Event::Incomplete {
                        needed: PREFIX_BYTES,
                    },
                }),
            };
        };
        let mut key = match std::mem::replace(&mut self.state, State::Dead) {
            State::Open(key) => key,
            State::Closed => return Err(ReceiveError::AfterClose),
            State::Dead => return Err(ReceiveError::Dead),
        };
        let length = usize::from(u16::from_be_bytes(*prefix));
        if length < RECORD_BYTES_MIN {
            return Err(ReceiveError::Length);
        }
        let consumed = PREFIX_BYTES + length;
        let Some(message) = rest.get_mut(..length) else {
            self.state = State::Open(key);
            return Ok(Received {
                consumed: 0,
                event: Event::Incomplete { needed: consumed },
            });
        };
        self.forget_delivered();
        key.open(&[], message).map_err(|_| ReceiveError::Decrypt)?;
        self.confirmed = true;
        let flags = message[0];
        let fragment = &message[FLAGS_BYTES..length - TAG_BYTES];
        self.bytes += length as u64;

        if flags == FLAG_CLOSE {
            if !fragment.is_empty() || !self.assembly.bytes().is_empty() {
                return Err(ReceiveError::Close);
            }
            self.state = State::Closed;
            return Ok(Received {
                consumed,
                event: Event::Closed,
            });
        }
        if flags & !(FLAG_LAST | FLAG_REKEY) != 0 {
            return Err(ReceiveError::UnknownFlags);
        }
        let last = flags & FLAG_LAST != 0;
        if !last && fragment.len() != FRAGMENT_BYTES_MAX {
            return Err(ReceiveError::FragmentNotFull);
        }
        // A last fragment of nothing behind others would be a second form of
        // the same payload.
        if last && fragment.is_empty() && !self.assembly.bytes().is_empty() {
            return Err(ReceiveError::FragmentNotFull);
        }
        // Before a byte is kept.
        if fragment.len() > self.settings.payload_bytes_max - self.assembly.bytes().len() {
            return Err(ReceiveError::PayloadTooLong);
        }
        if flags & FLAG_REKEY != 0 {
            key.rekey();
            self.bytes = 0;
        } else if self.bytes >= REKEY_BYTES_MAX {
            return Err(ReceiveError::RekeyOverdue);
        }
        self.state = State::Open(key);

        let event = if !last {
            self.assembly.append(fragment);
            Event::Fragment
        } else if self.assembly.bytes().is_empty() {
            Event::Payload(fragment)
        } else {
            self.assembly.append(fragment);
            self.delivered = true;
            Event::Payload(self.assembly.bytes())
        };
        Ok(Received { consumed, event })
    }

    /// What the end of the stream means: the end of what the peer sent, or a
    /// piece missing.
    ///
    /// # Errors
    /// [`Truncated`] unless the peer's close came before.
    pub fn end_of_stream(&self) -> Result<(), Truncated> {
        match self.state {
            State::Closed => Ok(()),
            State::Open(_) | State::Dead => Err(Truncated),
        }
    }

    fn fail(&mut self, error: ReceiveError) -> ReceiveError {
        self.state = State::Dead;
        error
    }

    fn forget_delivered(&mut self) {
        if std::mem::take(&mut self.delivered) {
            self.assembly.clear();
        }
    }

    #[cfg(test)]
    pub(in super::super) fn count_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }
}

impl fmt::Debug for ReceiveHalf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.state {
            State::Open(_) => "ReceiveHalf(open)",
            State::Closed => "ReceiveHalf(closed)",
            State::Dead => "ReceiveHalf(dead)",
        })
    }
}
