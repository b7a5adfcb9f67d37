//! The statement by which one root key hands the realm over to the next.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::{KeyId, VerifyingKey};

use super::{Body, read_key};

/// Most handovers of one realm: with their calls they fit a handshake.
pub const HANDOVERS_MAX: usize = 16;
/// Most calls of former roots that stay valid.
pub const HANDOVER_CALLS_MAX: usize = 16;
/// Longest statement of this kind in bytes.
pub const HANDOVER_LENGTH_MAX: usize = 78 + 8 + 32 + 32 + 4 + 32 * HANDOVER_CALLS_MAX + 64;

/// Kind *handover*: from now on another key speaks for the realm. The former root issues
/// it; the next one countersigns it, which is checked where the record is read
/// ([`crate::roots`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// 1 for the first handover, and so on.
    pub number: u64,
    /// The key that speaks for the realm from now on.
    pub root: VerifyingKey,
    /// The identity of the key after that one.
    pub heir: KeyId,
    /// The SHA-256 of the calls of former roots that stay valid, in ascending order. A
    /// call that is not named here is of no use to whoever signs it with a former key.
    pub calls: Vec<[u8; 32]>,
}

impl Body for Handover {
    const KIND: u8 = 12;
    const DOMAIN: &'static str = "statement/handover";

    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.number);
        writer.fixed(&self.root.to_bytes());
        writer.fixed(self.heir.as_bytes());
        writer.count(self.calls.len());
        for call in &self.calls {
            writer.fixed(call);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        let number = reader.u64()?;
        let root = read_key(reader)?;
        let heir = KeyId::from_bytes(reader.array()?);
        let count = reader.count(HANDOVER_CALLS_MAX)?;
        let mut calls: Vec<[u8; 32]> = Vec::with_capacity(count);
        for _ in 0..count {
            let call = reader.array()?;
            if calls.last().is_some_and(|last| *last >= call) {
                return Err(EncodingError::Invalid("the calls are out of order"));
            }
            calls.push(call);
        }
        Ok(Self {
            number,
            root,
            heir,
            calls,
        })
    }
}
