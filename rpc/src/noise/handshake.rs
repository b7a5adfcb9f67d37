//! `HandshakeState` (Noise revision 34, section 5.3), with the KEM tokens of
//! the `hfs` extension.
//!
//! This is the machine as specified, payloads and all, against which the
//! published vectors run. [`Initiator`](super::Initiator) and
//! [`Responder`](super::Responder) are how Sealmoot uses it.

use std::fmt;
use std::sync::Arc;

use sealmoot_crypto::agreement::{AgreementKey, AgreementPublic};
use sealmoot_crypto::secret::SecretArray;

use super::error::HandshakeError;
use super::hybrid::{CIPHERTEXT_BYTES, DecapsulationKey, ENCAPSULATION_KEY_BYTES, encapsulate};
use super::key::{HandshakeRandomness, StaticKey};
use super::limits::{MESSAGE_BYTES_MAX, TAG_BYTES};
use super::pattern::{DH_BYTES, Token, initiator_known, messages, responder_known};
use super::scrub::{HANDSHAKE_STACK_BYTES, scrubbed};
use super::suite::Suite;
use super::symmetric::{Split, Symmetric};

/// Which side of a handshake this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Initiator,
    Responder,
}

/// A handshake in progress, or a dead one: its state is taken out before each
/// step and put back only when the step succeeded, so an error wipes it. What a
/// step leaves on the stack is overwritten.
pub(super) struct Handshake {
    alive: Option<Box<State>>,
}

struct State {
    role: Role,
    messages: &'static [&'static [Token]],
    /// Messages written and read.
    position: usize,
    symmetric: Symmetric,
    static_key: Arc<StaticKey>,
    randomness: HandshakeRandomness,
    ephemeral: Option<AgreementKey>,
    kem: Option<DecapsulationKey>,
    remote_static: Option<AgreementPublic>,
    remote_ephemeral: Option<AgreementPublic>,
    remote_kem: Option<Box<[u8; ENCAPSULATION_KEY_BYTES]>>,
}

/// A handshake that has ended well.
pub(super) struct Finished {
    pub(super) role: Role,
    pub(super) remote_static: AgreementPublic,
    pub(super) split: Split,
}

impl Handshake {
    /// `Initialize()`. `remote_static` must be given exactly where the pattern
    /// has it before the first message.
    pub(super) fn new(
        suite: Suite,
        role: Role,
        prologue: &[&[u8]],
        static_key: &Arc<StaticKey>,
        remote_static: Option<AgreementPublic>,
        randomness: HandshakeRandomness,
    ) -> Result<Self, HandshakeError> {
        let remote_known = match role {
            Role::Initiator => responder_known(suite.pattern),
            Role::Responder => initiator_known(suite.pattern),
        };
        if remote_known != remote_static.is_some() {
            return Err(HandshakeError::MissingKey);
        }
        let mut symmetric = Symmetric::new(suite);
        symmetric.mix_hash(&prologue.concat());
        let own = Some(static_key.public());
        let (initiator, responder) = match role {
            Role::Initiator => (own, remote_static),
            Role::Responder => (remote_static, own),
        };
        // Pre-messages, the initiator's first.
        for (known, key) in [
            (initiator_known(suite.pattern), initiator),
            (responder_known(suite.pattern), responder),
        ] {
            if let (true, Some(key)) = (known, key) {
                symmetric.mix_hash(key.as_bytes());
            }
        }
        Ok(Self {
            alive: Some(Box::new(State {
                role,
                messages: messages(suite.pattern, suite.hybrid),
                position: 0,
                symmetric,
                static_key: Arc::clone(static_key),
                randomness,
                ephemeral: None,
                kem: None,
                remote_static,
                remote_ephemeral: None,
                remote_kem: None,
            })),
        })
    }

    /// `WriteMessage(payload, out)`, appended to `out`; which after an error
    /// holds bytes that must not be sent.
    pub(super) fn write_message(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), HandshakeError> {
        scrubbed::<HANDSHAKE_STACK_BYTES, _>(|| {
            let mut state = self.alive.take().ok_or(HandshakeError::Dead)?;
            state.write_message(payload, out)?;
            self.alive = Some(state);
            Ok(())
        })
    }

    /// `ReadMessage(message)`: the payload.
    pub(super) fn read_message(&mut self, message: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        scrubbed::<HANDSHAKE_STACK_BYTES, _>(|| {
            let mut state = self.alive.take().ok_or(HandshakeError::Dead)?;
            let payload = state.read_message(message)?;
            self.alive = Some(state);
            Ok(payload)
        })
    }

    /// `Split()`, once every message is done.
    pub(super) fn finish(mut self) -> Result<Finished, HandshakeError> {
        let state = self.alive.take().ok_or(HandshakeError::Dead)?;
        if state.position != state.messages.len() {
            return Err(HandshakeError::Unfinished);
        }
        Ok(Finished {
            role: state.role,
            remote_static: state
                .remote_static
                .expect("every pattern here transmits both static keys or has them beforehand"),
            split: scrubbed::<HANDSHAKE_STACK_BYTES, _>(|| state.symmetric.split()),
        })
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.alive {
            Some(_) => "Handshake(redacted)",
            None => "Handshake(dead)",
        })
    }
}

impl State {
    fn write_message(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), HandshakeError> {
        let tokens = self.turn(Role::Initiator)?;
        let start = out.len();
        for token in tokens {
            match token {
                Token::Ephemeral => {
                    let ephemeral = self.randomness.ephemeral();
                    let public = ephemeral.public();
                    out.extend_from_slice(public.as_bytes());
                    self.symmetric.mix_hash(public.as_bytes());
                    self.ephemeral = Some(ephemeral);
                }
                Token::Static => {
                    let public = self.static_key.public();
                    self.symmetric.encrypt_and_hash(public.as_bytes(), out)?;
                }
                Token::KemKey => {
                    let kem = self.randomness.decapsulation_key();
                    self.symmetric
                        .encrypt_and_hash(&kem.encapsulation_key(), out)?;
                    self.kem = Some(kem);
                }
                Token::KemCiphertext => {
                    let key = self.remote_kem.take().expect("ekem1 follows the peer's e1");
                    let (ciphertext, secret) = encapsulate(&key, &self.randomness.encapsulation())?;
                    self.symmetric.encrypt_and_hash(&ciphertext, out)?;
                    self.symmetric.mix_key(secret.expose());
                }
                agreement => self.agree(*agreement)?,
            }
        }
        // The payload and whatever stands before it make one Noise message.
        let overhead = out.len() - start + TAG_BYTES;
        if payload.len() > MESSAGE_BYTES_MAX - overhead {
            return Err(HandshakeError::PayloadTooLong);
        }
        self.symmetric.encrypt_and_hash(payload, out)?;
        self.position += 1;
        Ok(())
    }

    fn read_message(&mut self, message: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let tokens = self.turn(Role::Responder)?;
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(HandshakeError::Length);
        }
        let mut rest = message;
        for token in tokens {
            match token {
                Token::Ephemeral => {
                    let public = *take::<DH_BYTES>(&mut rest)?;
                    self.symmetric.mix_hash(&public);
                    self.remote_ephemeral = Some(AgreementPublic::from_bytes(public));
                }
                Token::Static => {
                    let public = self.decrypt::<DH_BYTES>(&mut rest)?;
                    self.remote_static = Some(AgreementPublic::from_bytes(public));
                }
                Token::KemKey => {
                    let key = self.decrypt::<ENCAPSULATION_KEY_BYTES>(&mut rest)?;
                    self.remote_kem = Some(Box::new(key));
                }
                Token::KemCiphertext => {
                    let ciphertext = self.decrypt::<CIPHERTEXT_BYTES>(&mut rest)?;
                    let kem = self.kem.take().expect("ekem1 follows our own e1");
                    let secret = kem.decapsulate(&ciphertext);
                    self.symmetric.mix_key(secret.expose());
                }
                agreement => self.agree(*agreement)?,
            }
        }
        let payload = self.symmetric.decrypt_and_hash(rest)?;
        self.position += 1;
        Ok(payload)
    }

    /// The tokens of the message that is due, when `even` is this side's role
    /// for messages 0, 2 and so on.
    fn turn(&self, even: Role) -> Result<&'static [Token], HandshakeError> {
        let tokens = self
            .messages
            .get(self.position)
            .ok_or(HandshakeError::OutOfTurn)?;
        if (self.position.is_multiple_of(2)) != (self.role == even) {
            return Err(HandshakeError::OutOfTurn);
        }
        Ok(tokens)
    }

    fn decrypt<const N: usize>(&mut self, rest: &mut &[u8]) -> Result<[u8; N], HandshakeError> {
        let length = if self.symmetric.has_key() {
            N + TAG_BYTES
        } else {
            N
        };
        let ciphertext = rest.split_off(..length).ok_or(HandshakeError::Length)?;
        let plaintext = self.symmetric.decrypt_and_hash(ciphertext)?;
        plaintext.try_into().map_err(|_| HandshakeError::Decrypt)
    }

    fn agree(&mut self, token: Token) -> Result<(), HandshakeError> {
        let own_static = match (token, self.role) {
            (Token::EphemeralEphemeral, _) => false,
            (Token::StaticStatic, _) => true,
            (Token::StaticEphemeral, role) => role == Role::Initiator,
            (_, role) => role == Role::Responder,
        };
        let remote_static = match (token, self.role) {
            (Token::EphemeralEphemeral, _) => false,
            (Token::StaticStatic, _) => true,
            (Token::StaticEphemeral, role) => role == Role::Responder,
            (_, role) => role == Role::Initiator,
        };
        const ORDER: &str = "patterns use a key only after its own token";
        let own = if own_static {
            self.static_key.agreement()
        } else {
            self.ephemeral.as_ref().expect(ORDER)
        };
        let remote = if remote_static {
            self.remote_static
        } else {
            self.remote_ephemeral
        };
        let secret: SecretArray<DH_BYTES> = own.agree(&remote.expect(ORDER))?;
        self.symmetric.mix_key(secret.expose());
        Ok(())
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], HandshakeError> {
    let (head, tail) = rest.split_first_chunk().ok_or(HandshakeError::Length)?;
    *rest = tail;
    Ok(head)
}
