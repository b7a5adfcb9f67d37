//! Sessions: a user's key says that a session key speaks for the user, and a
//! node says that the user proved a password. It takes both.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::VerifyingKey;

use super::{Body, read_key, read_name};
use crate::name::Name;

/// Kind *session*, issued by the user's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// For whom the session key speaks.
    pub user: Name,
    /// The key that the client made.
    pub session_key: VerifyingKey,
    /// Until when, in milliseconds since 1970.
    pub expires_ms: u64,
}

impl Body for Session {
    const KIND: u8 = 5;
    const DOMAIN: &'static str = "statement/session";

    fn encode(&self, writer: &mut Writer) {
        writer.text(self.user.as_str());
        writer.fixed(&self.session_key.to_bytes());
        writer.u64(self.expires_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        Ok(Self {
            user: read_name(reader)?,
            session_key: read_key(reader)?,
            expires_ms: reader.u64()?,
        })
    }
}

/// Kind *receipt*, issued by a node: the holder of this session key proved the
/// password of this user, whose key was this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Whose password was proved.
    pub user: Name,
    /// The user's key at that time: a changed password voids the receipt.
    pub user_key: VerifyingKey,
    /// The key of the channel in which it was proved.
    pub session_key: VerifyingKey,
    /// Until when the receipt counts, in milliseconds since 1970.
    pub expires_ms: u64,
}

impl Body for Receipt {
    const KIND: u8 = 6;
    const DOMAIN: &'static str = "statement/receipt";

    fn encode(&self, writer: &mut Writer) {
        writer.text(self.user.as_str());
        writer.fixed(&self.user_key.to_bytes());
        writer.fixed(&self.session_key.to_bytes());
        writer.u64(self.expires_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        Ok(Self {
            user: read_name(reader)?,
            user_key: read_key(reader)?,
            session_key: read_key(reader)?,
            expires_ms: reader.u64()?,
        })
    }
}
