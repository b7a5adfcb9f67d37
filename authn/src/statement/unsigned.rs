//! A statement that waits for its signature, by a key that may be held elsewhere.

use sealmoot_crypto::encoding::Writer;
use sealmoot_crypto::signature::{Signature, VerifyingKey};

use super::{Body, StatementError, Verified};
use crate::realm_id::RealmId;

/// A statement up to its signature.
pub struct Unsigned<B> {
    bytes: Vec<u8>,
    issuer: VerifyingKey,
    issued_ms: u64,
    body: B,
}

impl<B: Body> Unsigned<B> {
    /// The statement that `issuer` is to sign.
    #[must_use]
    pub fn new(realm: &RealmId, issuer: &VerifyingKey, issued_ms: u64, body: B) -> Self {
        let mut inner = Writer::new();
        body.encode(&mut inner);
        let mut writer = Writer::new();
        writer.u8(B::KIND);
        writer.u8(B::VERSION);
        writer.fixed(realm.as_bytes());
        writer.fixed(&issuer.to_bytes());
        writer.u64(issued_ms);
        writer.bytes(&inner.finish());
        Self {
            bytes: writer.finish(),
            issuer: *issuer,
            issued_ms,
            body,
        }
    }

    /// What is signed, in the domain of the kind.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The statement with its signature.
    ///
    /// # Errors
    /// [`StatementError::BadSignature`] when it is not the issuer's over these bytes.
    pub fn attach(self, signature: &Signature) -> Result<Verified<B>, StatementError> {
        self.issuer
            .verify(B::DOMAIN, &self.bytes, signature)
            .map_err(|_| StatementError::BadSignature)?;
        Ok(self.danger_attach(signature))
    }

    /// The same for a signature that the issuer's key made just now.
    pub(super) fn danger_attach(self, signature: &Signature) -> Verified<B> {
        let mut bytes = self.bytes;
        bytes.extend_from_slice(&signature.to_bytes());
        Verified {
            bytes,
            issued_ms: self.issued_ms,
            body: self.body,
        }
    }
}
