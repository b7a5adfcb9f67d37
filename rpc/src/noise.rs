//! A channel by the Noise Protocol Framework (revision 34), without I/O.
//!
//! Patterns XX, IK and KK over X25519 and ChaCha20-Poly1305, with SHA-256 or
//! BLAKE2s, and with hybrid forward secrecy by ML-KEM-768 unless it is
//! switched off. Frames go in and come out as bytes; time and randomness are
//! parameters. Every byte on the wire is drawn in `rpc/DESIGN.md`.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use sealmoot_rpc::noise::{
//!     Acceptance, Answered, Event, HandshakeRandomness, Initiator, Options, Responder, StaticKey,
//!     Target,
//! };
//!
//! let (client_key, server_key) = (
//!     Arc::new(StaticKey::generate()?),
//!     Arc::new(StaticKey::generate()?),
//! );
//! let now = Instant::now();
//!
//! let target = Target::Ik { responder: server_key.public() };
//! let (initiator, first) = Initiator::start(
//!     &client_key,
//!     &target,
//!     &Options::default(),
//!     HandshakeRandomness::generate()?,
//! )?;
//!
//! let responder = Responder::new(&server_key, Acceptance::default());
//! let (answered, second) = responder.accept(&first, HandshakeRandomness::generate()?, now)?;
//! let Answered::Established(mut server) = answered else { panic!("IK ends here") };
//! let (mut client, third) = initiator.finish(&second, now)?;
//! assert!(third.is_none());
//! assert_eq!(client.handshake_hash(), server.handshake_hash());
//!
//! let mut wire = Vec::new();
//! client.seal(b"a payload", now, &mut wire)?;
//! let received = server.receive(&mut wire)?;
//! assert_eq!(received.event, Event::Payload(b"a payload"));
//!
//! // The first record, not the handshake, shows an IK responder that its
//! // initiator is there and not a recording.
//! assert_eq!(server.remote_static(), Some(client_key.public()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it refuses to do
//!
//! - No payload travels in a handshake message: a first message can be
//!   replayed, and the message that answers it goes to whoever sent it. Each
//!   message of a suite therefore has exactly one length.
//! - It negotiates nothing. The initiator names one suite; the responder takes
//!   it or closes. So there is no weaker suite to be talked into.
//! - It says nothing to a peer that failed: not why, and not that.
//! - It never goes on after an error.
//!
//! # What is wiped, and what is not
//!
//! Ephemeral and static secrets, chaining keys, temporary keys, cipher keys, the
//! seeds of ML-KEM and its shared secrets are wiped when they are dropped, and
//! so are payloads that were put together from several records. The stack is
//! overwritten behind each step of a handshake and each record. Tests search
//! the core of a process for all of it, under any allocator.
//!
//! What the caller hands in or is handed - buffers with payloads, bytes that
//! [`HandshakeRandomness::danger_from_bytes`] was made from - is the caller's to
//! wipe.
//!
//! # Where things are
//!
//! | Module | Holds |
//! |---|---|
//! | `suite` | [`Suite`], the offer before the first message, protocol names |
//! | `key` | [`StaticKey`], [`HandshakeRandomness`] |
//! | `initiator`, `responder` | the handshakes as Sealmoot uses them |
//! | `transport` | [`Transport`], its halves, fragments, rekeying, closing |
//! | `handshake` | the machine of the specification, section 5.3 |
//! | `symmetric`, `cipher`, `hash` | sections 5.2, 5.1 and 4.3 |
//! | `pattern` | tokens of each message, and the lengths that follow |
//! | `hybrid` | ML-KEM-768 |
//! | `first_message` | the tag that makes floods cheap to refuse |
//! | `scrub` | overwriting the stack |
//! | [`limits`] | every bound, kept with those of the crate |
//! | `error` | what can go wrong |

mod cipher;
mod error;
mod first_message;
mod handshake;
mod hash;
pub(crate) mod hybrid;
mod initiator;
mod key;
mod pattern;
mod responder;
pub(crate) mod scrub;
mod suite;
mod symmetric;
mod transport;

#[cfg(test)]
mod tests;

pub use crate::limits::noise as limits;
pub use error::{HandshakeError, ReceiveError, SendError, Truncated};
pub use initiator::{Initiator, Options, Target};
pub use key::{HandshakeRandomness, StaticKey};
pub use responder::{Acceptance, Answered, AwaitingInitiator, Responder};
pub use suite::{Hash, Hybrid, OFFER_BYTES, Pattern, Suite};
pub use transport::{Event, ReceiveHalf, Received, SendHalf, Transport, TransportSettings};

pub use sealmoot_crypto::agreement::AgreementPublic;

/// How many bytes a handshake frame has in all, from its first two bytes; so
/// that a shell reads exactly one frame and never a byte of what follows.
///
/// # Errors
/// [`HandshakeError::Length`] when no handshake frame is that long: no memory
/// need be reserved for it.
///
/// ```
/// use sealmoot_rpc::noise::handshake_frame_bytes;
/// assert_eq!(handshake_frame_bytes([0x00, 0x60])?, 2 + 0x60);
/// assert!(handshake_frame_bytes([0xff, 0xff]).is_err());
/// # Ok::<(), sealmoot_rpc::noise::HandshakeError>(())
/// ```
pub fn handshake_frame_bytes(prefix: [u8; limits::PREFIX_BYTES]) -> Result<usize, HandshakeError> {
    let bytes = limits::PREFIX_BYTES + usize::from(u16::from_be_bytes(prefix));
    if bytes > limits::HANDSHAKE_FRAME_BYTES_MAX {
        return Err(HandshakeError::Length);
    }
    Ok(bytes)
}
