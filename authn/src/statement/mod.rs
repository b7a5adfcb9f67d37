//! Signed statements: who is what, said by whom.
//!
//! A statement is
//!
//! ```text
//! offset length
//!      0      1  kind
//!      1      1  version of the kind
//!      2     32  realm id
//!     34     32  issuer: Ed25519 public key
//!     66      8  issued, milliseconds since 1970
//!     74    4+n  body (length, then the kind's canonical encoding)
//!   78+n     64  signature by the issuer over bytes 0..78+n, in the domain of
//!                the kind
//! ```
//!
//! The bytes that were signed are the bytes that are kept: nothing is encoded
//! again. A decoded statement is only a [`Claim`]; checking who issued it makes
//! it a [`Verified`] one, and only that yields its content.

mod call;
mod delegation;
mod ended_session;
mod enrolled_key;
mod handover;
mod revocations;
mod revoked_nodes;
mod revoked_sessions;
mod roles;
mod session;
mod unlock;
mod unsigned;
mod user;

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::signature::{Signature, SigningKey, VerifyingKey};

use crate::realm_id::RealmId;

pub use call::{Call, CallMember, Enrolment, NODES_MAX, check_address};
pub use delegation::{
    DELEGATION_GRANTS_BYTES_MAX, DELEGATION_GRANTS_MAX, DELEGATION_LENGTH_MAX, Delegation, Powers,
};
pub use ended_session::EndedSession;
pub use enrolled_key::{
    CredentialId, EnrolledKey, KEYS_BYTES_MAX, KEYS_MAX, KeyUse, LABEL_LENGTH_MAX, Label,
    MalformedCredentialId, MalformedLabel,
};
pub(crate) use enrolled_key::{clashes, encoded_length};
pub use handover::{HANDOVER_CALLS_MAX, HANDOVER_LENGTH_MAX, HANDOVERS_MAX, Handover};
pub use revocations::{REASON_LENGTH_MAX, REVOCATIONS_MAX, Revocation, Revocations, is_reason};
pub use revoked_nodes::{REVOKED_NODES_MAX, RevokedNode, RevokedNodes, TooManyNodes};
pub use revoked_sessions::{REVOKED_KEYS_MAX, REVOKED_USERS_MAX, RevokedSessions, TooManyRevoked};
pub use roles::Roles;
pub use session::{Receipt, Session};
pub use unlock::Unlock;
pub use unsigned::Unsigned;
pub use user::{Credential, ROLES_MAX, User};

/// Longest body of a statement in bytes.
pub const BODY_LENGTH_MAX: usize = 32 * 1024;
/// Longest statement in bytes.
pub const STATEMENT_LENGTH_MAX: usize = BODY_LENGTH_MAX + 78 + 64;

/// Where the issuer stands in a statement.
const ISSUER: std::ops::Range<usize> = 34..66;

/// A kind of statement.
pub trait Body: Sized {
    /// The number of the kind.
    const KIND: u8;
    /// The domain of its signatures.
    const DOMAIN: &'static str;
    /// Version of its encoding.
    const VERSION: u8 = 1;

    /// Writes the canonical encoding.
    fn encode(&self, writer: &mut Writer);

    /// Reads the canonical encoding.
    ///
    /// # Errors
    /// When the bytes are anything else.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, EncodingError>;
}

/// Why a statement was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The bytes are no statement of this kind.
    #[error("not a statement: {0}")]
    Malformed(#[from] EncodingError),
    /// It is about another realm.
    #[error("the statement belongs to another realm")]
    WrongRealm,
    /// Somebody else issued it than who may.
    #[error("the statement was not issued by who may issue it")]
    WrongIssuer,
    /// The signature does not verify.
    #[error("the statement's signature does not verify")]
    BadSignature,
}

/// A statement as it was received: what it says is not to be believed yet.
#[derive(Clone)]
pub struct Claim<B> {
    bytes: Vec<u8>,
    realm: RealmId,
    issuer: VerifyingKey,
    issued_ms: u64,
    body: B,
    signature: Signature,
}

/// A statement whose issuer and signature were checked.
#[derive(Clone)]
pub struct Verified<B> {
    bytes: Vec<u8>,
    issued_ms: u64,
    body: B,
}

impl<B: Body> Claim<B> {
    /// Takes a statement of kind `B` apart without believing it.
    ///
    /// # Errors
    /// [`StatementError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        let mut reader = Reader::new(bytes);
        for (what, expected) in [
            ("statement kind", B::KIND),
            ("statement version", B::VERSION),
        ] {
            let value = reader.u8()?;
            if value != expected {
                return Err(EncodingError::Unknown {
                    what,
                    value: u64::from(value),
                }
                .into());
            }
        }
        let realm = RealmId::from_bytes(reader.array()?);
        let issuer = read_key(&mut reader)?;
        let issued_ms = reader.u64()?;
        let mut inner = Reader::new(reader.bytes(BODY_LENGTH_MAX)?);
        let signature = Signature::from_bytes(reader.array()?);
        reader.finish()?;
        let body = B::decode(&mut inner)?;
        inner.finish()?;
        Ok(Self {
            bytes: bytes.to_vec(),
            realm,
            issuer,
            issued_ms,
            body,
            signature,
        })
    }

    /// What the statement says, unbelieved: to find out whom to ask about it.
    #[must_use]
    pub fn claimed(&self) -> &B {
        &self.body
    }

    /// Who claims to have issued it, unbelieved.
    #[must_use]
    pub fn issuer(&self) -> &VerifyingKey {
        &self.issuer
    }

    /// Believes the statement if `issuer` issued it for `realm`.
    ///
    /// # Errors
    /// [`StatementError`] for another realm or issuer, or a bad signature.
    pub fn verify(
        self,
        realm: &RealmId,
        issuer: &VerifyingKey,
    ) -> Result<Verified<B>, StatementError> {
        if self.realm != *realm {
            return Err(StatementError::WrongRealm);
        }
        if self.issuer != *issuer {
            return Err(StatementError::WrongIssuer);
        }
        let signed = &self.bytes[..self.bytes.len() - 64];
        issuer
            .verify(B::DOMAIN, signed, &self.signature)
            .map_err(|_| StatementError::BadSignature)?;
        Ok(Verified {
            bytes: self.bytes,
            issued_ms: self.issued_ms,
            body: self.body,
        })
    }
}

impl<B: Body> Verified<B> {
    /// Issues a statement.
    #[must_use]
    pub fn issue(realm: &RealmId, issuer: &SigningKey, issued_ms: u64, body: B) -> Self {
        let unsigned = Unsigned::new(realm, &issuer.verifying_key(), issued_ms, body);
        let signature = issuer.sign(B::DOMAIN, unsigned.bytes());
        unsigned.danger_attach(&signature)
    }

    /// What the statement says.
    #[must_use]
    pub fn body(&self) -> &B {
        &self.body
    }

    /// What the statement says, for good.
    #[must_use]
    pub fn into_body(self) -> B {
        self.body
    }

    /// When it was issued, in milliseconds since 1970 by the issuer's clock.
    #[must_use]
    pub fn issued_ms(&self) -> u64 {
        self.issued_ms
    }

    /// The public key of who issued it.
    ///
    /// # Panics
    /// Never: no statement is shorter than its front.
    #[must_use]
    pub fn issuer_bytes(&self) -> [u8; 32] {
        let issuer = self.bytes[ISSUER].first_chunk();
        *issuer.expect("every statement has an issuer")
    }

    /// The statement's bytes, to be stored or sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads and strictly imports a public key.
pub(crate) fn read_key(reader: &mut Reader<'_>) -> Result<VerifyingKey, EncodingError> {
    VerifyingKey::from_bytes(&reader.array()?)
        .map_err(|_| EncodingError::Invalid("a public key is malformed or weak"))
}

/// Reads a name.
pub(crate) fn read_name(reader: &mut Reader<'_>) -> Result<crate::name::Name, EncodingError> {
    reader
        .text(crate::name::NAME_LENGTH_MAX)?
        .parse()
        .map_err(|_| EncodingError::Invalid("a name is malformed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::generate().expect("random")
    }

    fn session(user_key: &SigningKey, realm: &RealmId) -> Verified<Session> {
        Verified::issue(
            realm,
            user_key,
            1,
            Session {
                user: "alice".parse().expect("a name"),
                session_key: key().verifying_key(),
                expires_ms: 2,
                idle_ms: 0,
            },
        )
    }

    #[test]
    fn a_statement_is_believed_from_its_issuer_in_its_realm_only() {
        let root = key();
        let realm = RealmId::without_heir(&root.verifying_key());
        let user_key = key();
        let bytes = session(&user_key, &realm).bytes().to_vec();
        let claim = || Claim::<Session>::decode(&bytes).expect("well formed");
        let verified = claim()
            .verify(&realm, &user_key.verifying_key())
            .expect("verifies");
        assert_eq!(verified.bytes(), bytes);
        assert_eq!(
            claim().verify(&realm, &root.verifying_key()).err(),
            Some(StatementError::WrongIssuer)
        );
        assert_eq!(
            claim()
                .verify(&RealmId::from_bytes([1; 32]), &user_key.verifying_key())
                .err(),
            Some(StatementError::WrongRealm)
        );
    }

    #[test]
    fn no_changed_bit_and_no_truncation_is_believed() {
        let root = key();
        let realm = RealmId::without_heir(&root.verifying_key());
        let user_key = key();
        let bytes = session(&user_key, &realm).bytes().to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let believed = Claim::<Session>::decode(&flipped)
                .and_then(|claim| claim.verify(&realm, &user_key.verifying_key()));
            assert!(believed.is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Claim::<Session>::decode(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn one_kind_never_passes_for_another() {
        let root = key();
        let realm = RealmId::without_heir(&root.verifying_key());
        let mut bytes = session(&root, &realm).bytes().to_vec();
        assert!(Claim::<Receipt>::decode(&bytes).is_err());
        bytes[0] = Receipt::KIND;
        let believed = Claim::<Receipt>::decode(&bytes)
            .and_then(|claim| claim.verify(&realm, &root.verifying_key()));
        assert!(believed.is_err());
    }
}
