//! What can go wrong, one enum for each operation.

use sealmoot_crypto::agreement::NotContributory;

use super::cipher::CipherError;
use super::hybrid::InvalidEncapsulationKey;
use super::suite::Suite;

/// A handshake that failed. Whatever held its state is gone: the connection is
/// closed without a word, and a new one starts from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The peer's frame is not as long as the one that belongs here.
    #[error("a handshake frame of the wrong length")]
    Length,
    /// The peer's first frame does not begin like one of ours.
    #[error("not a Sealmoot Noise handshake")]
    NotNoise,
    /// The initiator speaks another version of this channel.
    #[error("version {0} of the Noise channel is not known")]
    UnknownVersion(u8),
    /// The offer names a pattern, hash, hybrid or flag that this version lacks.
    #[error("the offer names what this version does not know")]
    UnknownOffer,
    /// The offer is understood, and this responder does not take it.
    #[error("the suite {0} is not accepted")]
    NotAccepted(Suite),
    /// The first message is not from anybody who knows the responder's key.
    #[error("the first message's tag does not fit")]
    FirstMessageTag,
    /// Something was not encrypted under the keys, in the order and for the
    /// roles that this handshake has.
    #[error("a handshake message does not authenticate")]
    Decrypt,
    /// A public key of low order: whoever sends one knows the "secret".
    #[error("a public key does not contribute to the secret")]
    NotContributory,
    /// An ML-KEM encapsulation key that fails the modulus check (FIPS 203,
    /// section 7.2).
    #[error("the ML-KEM encapsulation key is not valid")]
    EncapsulationKey,
    /// The responder proved a key, and not the one that was looked for.
    #[error("the responder holds another key")]
    WrongStatic,
    /// The other side holds our own static key: our bytes came back to us.
    #[error("the other side is this side")]
    OwnKey,
    /// The caller wrote when it should read, or the reverse, or went on after
    /// the last message.
    #[error("a handshake step out of turn")]
    OutOfTurn,
    /// The caller finished a handshake whose messages are not all done.
    #[error("the handshake has not ended")]
    Unfinished,
    /// The caller's payload does not fit a Noise message.
    #[error("the handshake payload is too long")]
    PayloadTooLong,
    /// The pattern needs the other side's static key beforehand.
    #[error("the pattern needs the other side's static key")]
    MissingKey,
    /// The caller went on after an error.
    #[error("the handshake has failed before")]
    Dead,
}

impl From<CipherError> for HandshakeError {
    fn from(_: CipherError) -> Self {
        Self::Decrypt
    }
}

impl From<NotContributory> for HandshakeError {
    fn from(_: NotContributory) -> Self {
        Self::NotContributory
    }
}

impl From<InvalidEncapsulationKey> for HandshakeError {
    fn from(_: InvalidEncapsulationKey) -> Self {
        Self::EncapsulationKey
    }
}

/// Why a payload was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Longer than the settings allow. Nothing was written and the channel
    /// goes on.
    #[error("the payload is longer than the channel carries")]
    PayloadTooLong,
    /// The counter of records has no further value; the channel is dead.
    #[error("the channel's counter is used up")]
    Exhausted,
    /// The channel failed before.
    #[error("the channel has failed before")]
    Dead,
}

/// Why a record was not taken. The channel receives nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// No record is that short.
    #[error("a record of impossible length")]
    Length,
    /// The record is not the one that the peer sent at this place.
    #[error("a record does not authenticate")]
    Decrypt,
    /// Flags that this version does not define.
    #[error("a record with unknown flags")]
    UnknownFlags,
    /// A fragment with more to follow that is not full. One payload has one
    /// form, and fragments of nothing cannot go on for ever.
    #[error("a fragment that is not the last is not full")]
    FragmentNotFull,
    /// More bytes than a payload may have.
    #[error("a payload is longer than allowed")]
    PayloadTooLong,
    /// A close with content, or in the middle of a payload.
    #[error("a malformed close")]
    Close,
    /// Bytes behind the peer's close.
    #[error("bytes behind the close")]
    AfterClose,
    /// More bytes under one key than any peer may send.
    #[error("the peer does not change its key")]
    RekeyOverdue,
    /// The channel failed before.
    #[error("the channel has failed before")]
    Dead,
}

/// The stream ended and the peer did not say so: what came last may be missing
/// its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream ended without the peer's close")]
pub struct Truncated;
