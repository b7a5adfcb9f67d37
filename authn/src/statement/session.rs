//! Sessions: a key of the user says that a session key speaks for the user, and a
//! node says that the user proved a password or that key. It takes both.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::VerifyingKey;

use super::{Body, read_key, read_name};
use crate::name::Name;

/// Kind *session*, issued by the user's own key or by one that is enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// For whom the session key speaks.
    pub user: Name,
    /// The key that the client made.
    pub session_key: VerifyingKey,
    /// Until when, in milliseconds since 1970.
    pub expires_ms: u64,
    /// How long it may go unused before that, in milliseconds; 0 without end.
    pub idle_ms: u64,
}

impl Body for Session {
    const KIND: u8 = 5;
    const DOMAIN: &'static str = "statement/session";
    // Version 1 had no idle limit.
    const VERSION: u8 = 2;

    fn encode(&self, writer: &mut Writer) {
        writer.text(self.user.as_str());
        writer.fixed(&self.session_key.to_bytes());
        writer.u64(self.expires_ms);
        writer.u64(self.idle_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError> {
        Ok(Self {
            user: read_name(reader)?,
            session_key: read_key(reader)?,
            expires_ms: reader.u64()?,
            idle_ms: reader.u64()?,
        })
    }
}

/// Kind *receipt*, issued by a node: the holder of this session key proved this
/// user's password, which opens this key, or proved this enrolled key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Who was proved to be there.
    pub user: Name,
    /// The user's own key at that time, or the enrolled key that was proved: a
    /// changed password or a revoked key voids the receipt, and a receipt for one key
    /// makes no session of another.
    pub user_key: VerifyingKey,
    /// The key of the channel in which that was.
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
