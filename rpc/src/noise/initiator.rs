//! The side that connects.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use sealmoot_crypto::agreement::AgreementPublic;

use super::error::HandshakeError;
use super::first_message::{FIRST_MESSAGE_TAG_BYTES, FirstMessageKey};
use super::handshake::{Handshake, Role};
use super::key::{HandshakeRandomness, StaticKey};
use super::limits::PREFIX_BYTES;
use super::pattern::message_bytes;
use super::suite::{Hash, Hybrid, OFFER_BYTES, Offer, Pattern, Suite};
use super::transport::{Transport, TransportSettings};

/// What stands first in every prologue: nothing that another protocol hashes
/// is ever taken for ours.
pub(super) const PROLOGUE_LABEL: &[u8] = b"sealmoot noise channel";

/// Whom to connect to, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// By XX: neither side need know the other. A responder whose key is given
    /// must prove that one, and gets the tag that spares it floods.
    Xx {
        /// When it is known.
        responder: Option<AgreementPublic>,
    },
    /// By IK, one message less. Whoever records the first message and later
    /// learns the responder's key, or builds a quantum computer, sees who
    /// connected.
    Ik {
        /// Known beforehand.
        responder: AgreementPublic,
    },
    /// By KK, to a responder that knows us too; no static key is sent.
    Kk {
        /// Known beforehand.
        responder: AgreementPublic,
    },
}

impl Target {
    fn pattern(&self) -> Pattern {
        match self {
            Self::Xx { .. } => Pattern::Xx,
            Self::Ik { .. } => Pattern::Ik,
            Self::Kk { .. } => Pattern::Kk,
        }
    }

    fn responder(&self) -> Option<AgreementPublic> {
        match self {
            Self::Xx { responder } => *responder,
            Self::Ik { responder } | Self::Kk { responder } => Some(*responder),
        }
    }
}

/// What the initiator chooses besides its target.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The hash function.
    pub hash: Hash,
    /// With ML-KEM-768 unless switched off.
    pub hybrid: Hybrid,
    /// What both sides must agree on without sending it, in addition to the
    /// offer: any difference fails the handshake.
    pub prologue: Vec<u8>,
    /// For the channel that follows.
    pub transport: TransportSettings,
}

/// An initiator that has written its first frame and waits for the answer.
///
/// ```text
/// start -> first frame      finish(answer) -> Transport, and XX's third frame
/// ```
pub struct Initiator {
    handshake: Handshake,
    suite: Suite,
    own: AgreementPublic,
    /// Whom XX must find, when that was known.
    expected: Option<AgreementPublic>,
    transport: TransportSettings,
}

impl Initiator {
    /// The initiator and its first frame.
    ///
    /// # Errors
    /// [`HandshakeError::NotContributory`] when the responder's key is of low
    /// order, [`HandshakeError::OwnKey`] when it is our own.
    pub fn start(
        key: &Arc<StaticKey>,
        target: &Target,
        options: &Options,
        randomness: HandshakeRandomness,
    ) -> Result<(Self, Vec<u8>), HandshakeError> {
        let responder = target.responder();
        if responder == Some(key.public()) {
            return Err(HandshakeError::OwnKey);
        }
        let suite = Suite {
            pattern: target.pattern(),
            hash: options.hash,
            hybrid: options.hybrid,
        };
        let offer = Offer {
            suite,
            tagged: responder.is_some(),
        }
        .encode();
        let beforehand = match target {
            Target::Xx { .. } => None,
            Target::Ik { responder } | Target::Kk { responder } => Some(*responder),
        };
        let mut handshake = Handshake::new(
            suite,
            Role::Initiator,
            &[PROLOGUE_LABEL, &offer, &options.prologue],
            key,
            beforehand,
            randomness,
        )?;
        let mut frame = Frame::with_room_for(suite, 0);
        frame.0.extend_from_slice(&offer);
        handshake.write_message(&[], &mut frame.0)?;
        if let Some(responder) = &responder {
            let tag = FirstMessageKey::new(responder).tag(&frame.0[PREFIX_BYTES..]);
            frame.0.extend_from_slice(&tag);
        }
        let initiator = Self {
            handshake,
            suite,
            own: key.public(),
            expected: responder,
            transport: options.transport,
        };
        Ok((initiator, frame.finish()))
    }

    /// What was offered.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Bytes of the responder's frame, its two of length included: what to
    /// read, and not one more.
    #[must_use]
    pub fn answer_bytes(&self) -> usize {
        frame_bytes(self.suite, 1)
    }

    /// Takes the responder's frame. With XX a third frame is to be sent before
    /// anything else.
    ///
    /// # Errors
    /// [`HandshakeError`]; nothing of the attempt is left then.
    pub fn finish(
        self,
        answer: &[u8],
        now: Instant,
    ) -> Result<(Transport, Option<Vec<u8>>), HandshakeError> {
        let Self {
            mut handshake,
            suite,
            own,
            expected,
            transport,
        } = self;
        read_empty(&mut handshake, suite, 1, answer)?;
        let third = match message_bytes(suite.pattern, suite.hybrid, 2) {
            None => None,
            Some(_) => {
                let mut frame = Frame::with_room_for(suite, 2);
                handshake.write_message(&[], &mut frame.0)?;
                Some(frame.finish())
            }
        };
        let finished = handshake.finish()?;
        // Before the third frame leaves: it would show the wrong responder who
        // we are.
        if expected.is_some_and(|expected| expected != finished.remote_static) {
            return Err(HandshakeError::WrongStatic);
        }
        if finished.remote_static == own {
            return Err(HandshakeError::OwnKey);
        }
        // The answer was encrypted under keys that only the holder of the
        // responder's static key has, from an ephemeral of this handshake.
        let transport = Transport::new(finished, transport, true, now);
        Ok((transport, third))
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Initiator")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

/// A handshake frame being written: two bytes of length, then the rest.
pub(super) struct Frame(pub(super) Vec<u8>);

impl Frame {
    pub(super) fn with_room_for(suite: Suite, index: usize) -> Self {
        let room = frame_bytes(suite, index) + OFFER_BYTES + FIRST_MESSAGE_TAG_BYTES;
        let mut bytes = Vec::with_capacity(room);
        bytes.extend_from_slice(&[0; PREFIX_BYTES]);
        Self(bytes)
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = u16::try_from(self.0.len() - PREFIX_BYTES)
            .expect("handshake frames have fixed lengths, all short");
        self.0[..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

/// Bytes of the frame around message `index`, for all but the first.
pub(super) fn frame_bytes(suite: Suite, index: usize) -> usize {
    PREFIX_BYTES
        + message_bytes(suite.pattern, suite.hybrid, index)
            .expect("callers name a message of the pattern")
}

/// The body of a frame that is exactly `bytes` long and says so.
pub(super) fn body(frame: &[u8], bytes: usize) -> Result<&[u8], HandshakeError> {
    let (prefix, body) = frame
        .split_first_chunk::<PREFIX_BYTES>()
        .ok_or(HandshakeError::Length)?;
    if frame.len() != bytes || usize::from(u16::from_be_bytes(*prefix)) != body.len() {
        return Err(HandshakeError::Length);
    }
    Ok(body)
}

/// Reads message `index`, whose length leaves no room for a payload.
pub(super) fn read_empty(
    handshake: &mut Handshake,
    suite: Suite,
    index: usize,
    frame: &[u8],
) -> Result<(), HandshakeError> {
    let message = body(frame, frame_bytes(suite, index))?;
    let payload = handshake.read_message(message)?;
    debug_assert!(payload.is_empty());
    Ok(())
}
