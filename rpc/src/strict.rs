//! Decoding that takes one encoding of a message and no other.
//!
//! Protocol Buffers lets many byte strings stand for one message: fields in any
//! order and more than once, numbers padded, defaults written out, lists packed
//! or not, fields that nobody knows. Where bytes are hashed, signed or compared,
//! two of them for one message are an attack. The one form that is taken here
//! has ascending tags, minimal varints, defaults omitted, packed numbers, nothing
//! unknown, and no maps, whose order is nobody's.
//!
//! What was decoded is encoded again and compared: bytes are taken exactly when
//! they are what this side would have written for the message that it has read.
//! That misses nothing. Encoding is a function of the decoded value; what a
//! decoder passes over or merges (unknown fields, repetitions of a singular
//! field, other members of a oneof, padding, order, upper bits of a number too
//! large for its type) is not in the value, so it is not in the second encoding.
//! Floating-point numbers keep their bits, those of NaN too; but a negative zero
//! in a field without presence is left out as if it were the default, so one
//! that is written out is refused.

use bytes::Bytes;
use prost::{DecodeError, Message};

/// A message whose encoding is one: no map in it or in what it holds, and no
/// oneof whose numbers enclose those of other fields.
///
/// Written by the code generator for the messages of which it is so. Implemented
/// by hand for another, it would let [`decode_strict`] refuse what lawful peers
/// send.
pub trait Deterministic: Message {}

/// The empty message.
impl Deterministic for () {}

/// The message of which `bytes` are the deterministic encoding.
///
/// # Errors
///
/// [`StrictError`].
pub fn decode_strict<M>(bytes: Bytes) -> Result<M, StrictError>
where
    M: Deterministic + Default,
{
    let message = M::decode(bytes.clone())?;
    if message.encoded_len() == bytes.len() && message.encode_to_vec() == bytes {
        Ok(message)
    } else {
        Err(StrictError::NotDeterministic)
    }
}

/// Why bytes were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StrictError {
    /// They are no such message in any encoding.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// They are the message in another encoding than its own.
    #[error("not the deterministic encoding")]
    NotDeterministic,
}
