//! The side that is connected to.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use sealmoot_crypto::agreement::AgreementPublic;

use super::error::HandshakeError;
use super::first_message::FIRST_MESSAGE_TAG_BYTES;
use super::handshake::{Handshake, Role};
use super::initiator::{Frame, PROLOGUE_LABEL, body, frame_bytes, read_empty};
use super::key::{HandshakeRandomness, StaticKey};
use super::pattern::message_bytes;
use super::suite::{OFFER_BYTES, Offer, Pattern, Suite};
use super::transport::{Transport, TransportSettings};

/// What a responder takes. Whatever is not listed is refused before any key
/// agreement.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// The suites, in no order: the initiator chooses. One without the hybrid
    /// belongs here only while initiators exist that lack it.
    pub suites: Vec<Suite>,
    /// Whether XX is open to initiators that do not know our key. Anyone may
    /// then make us agree on keys: for pairing, not for always.
    pub untagged_xx: bool,
    /// The one initiator that KK is for. Without it, no KK.
    pub kk_initiator: Option<AgreementPublic>,
    /// What both sides must agree on without sending it.
    pub prologue: Vec<u8>,
    /// For the channels that follow.
    pub transport: TransportSettings,
}

impl Default for Acceptance {
    /// XX and IK with SHA-256 and the hybrid, from those who know our key.
    fn default() -> Self {
        Self {
            suites: vec![Suite::new(Pattern::Xx), Suite::new(Pattern::Ik)],
            untagged_xx: false,
            kk_initiator: None,
            prologue: Vec::new(),
            transport: TransportSettings::default(),
        }
    }
}

impl Acceptance {
    fn takes(&self, offer: &Offer) -> bool {
        let tagged = match offer.suite.pattern {
            // Its initiator knows our key: no tag, no honest initiator.
            Pattern::Ik | Pattern::Kk => offer.tagged,
            Pattern::Xx => offer.tagged || self.untagged_xx,
        };
        let known = offer.suite.pattern != Pattern::Kk || self.kk_initiator.is_some();
        tagged && known && self.suites.contains(&offer.suite)
    }
}

/// One key and what it takes; holds nothing of any connection.
pub struct Responder {
    key: Arc<StaticKey>,
    acceptance: Acceptance,
}

/// A responder after its answer.
#[derive(Debug)]
pub enum Answered {
    /// IK and KK end here. The initiator shows that it is there, and not a
    /// recording, with its first record.
    Established(Transport),
    /// XX goes on.
    AwaitingInitiator(AwaitingInitiator),
}

/// XX's responder, who has answered and waits to learn who it answered.
pub struct AwaitingInitiator {
    handshake: Handshake,
    suite: Suite,
    own: AgreementPublic,
    transport: TransportSettings,
}

impl Responder {
    /// A responder for any number of connections.
    #[must_use]
    pub fn new(key: &Arc<StaticKey>, acceptance: Acceptance) -> Self {
        Self {
            key: Arc::clone(key),
            acceptance,
        }
    }

    /// Takes an initiator's first frame; the answer is to be sent.
    ///
    /// The order is the defence: length, offer, acceptance, exact length and
    /// tag cost one hash together, and only what passes them costs a key
    /// agreement.
    ///
    /// # Errors
    /// [`HandshakeError`]; the connection is to be closed without a word.
    pub fn accept(
        &self,
        frame: &[u8],
        randomness: HandshakeRandomness,
        now: Instant,
    ) -> Result<(Answered, Vec<u8>), HandshakeError> {
        let (offer, message) = self.admit(frame)?;
        let suite = offer.suite;
        let initiator = match suite.pattern {
            Pattern::Kk => self.acceptance.kk_initiator,
            Pattern::Xx | Pattern::Ik => None,
        };
        let own = self.key.public();
        let mut handshake = Handshake::new(
            suite,
            Role::Responder,
            &[PROLOGUE_LABEL, &offer.encode(), &self.acceptance.prologue],
            &self.key,
            initiator,
            randomness,
        )?;
        handshake.read_message(message)?;
        let mut answer = Frame::with_room_for(suite, 1);
        handshake.write_message(&[], &mut answer.0)?;
        let transport = self.acceptance.transport;
        let answered = if message_bytes(suite.pattern, suite.hybrid, 2).is_some() {
            Answered::AwaitingInitiator(AwaitingInitiator {
                handshake,
                suite,
                own,
                transport,
            })
        } else {
            let finished = handshake.finish()?;
            if finished.remote_static == own {
                return Err(HandshakeError::OwnKey);
            }
            Answered::Established(Transport::new(finished, transport, false, now))
        };
        Ok((answered, answer.finish()))
    }

    /// All that can be told without a key agreement.
    fn admit<'a>(&self, frame: &'a [u8]) -> Result<(Offer, &'a [u8]), HandshakeError> {
        let body = body(frame, frame.len())?;
        let (offer, rest) = body
            .split_first_chunk::<OFFER_BYTES>()
            .ok_or(HandshakeError::Length)?;
        let offer = Offer::decode(offer)?;
        if !self.acceptance.takes(&offer) {
            return Err(HandshakeError::NotAccepted(offer.suite));
        }
        let message_bytes = message_bytes(offer.suite.pattern, offer.suite.hybrid, 0)
            .expect("every pattern has a first message");
        let tag_bytes = if offer.tagged {
            FIRST_MESSAGE_TAG_BYTES
        } else {
            0
        };
        if rest.len() != message_bytes + tag_bytes {
            return Err(HandshakeError::Length);
        }
        let (message, tag) = rest.split_at(message_bytes);
        if offer.tagged {
            let offered = &body[..OFFER_BYTES + message_bytes];
            if !self.key.first_message().fits(offered, tag) {
                return Err(HandshakeError::FirstMessageTag);
            }
        }
        Ok((offer, message))
    }
}

impl AwaitingInitiator {
    /// Bytes of the initiator's last frame, its two of length included.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        frame_bytes(self.suite, 2)
    }

    /// Takes XX's third frame, in which the initiator proves its key.
    ///
    /// # Errors
    /// [`HandshakeError`]; nothing of the attempt is left then.
    pub fn finish(self, frame: &[u8], now: Instant) -> Result<Transport, HandshakeError> {
        let Self {
            mut handshake,
            suite,
            own,
            transport,
        } = self;
        read_empty(&mut handshake, suite, 2, frame)?;
        let finished = handshake.finish()?;
        if finished.remote_static == own {
            return Err(HandshakeError::OwnKey);
        }
        Ok(Transport::new(finished, transport, true, now))
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Responder")
            .field("acceptance", &self.acceptance)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AwaitingInitiator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AwaitingInitiator")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}
