//! The head of a chain, signed by whose chain it is.
//!
//! ```text
//! offset length
//!      0      1  version, 1
//!      1     32  realm id
//!     33     32  the signer's public key
//!     65     32  chain id
//!     97     42  head: how many events, and the last link
//!    139      8  when it was signed, milliseconds since 1970
//!    147     64  signature over bytes 0..147 in the domain `audit/head`
//! ```

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};
use sealmoot_crypto::hash_chain::{CHAIN_ID_LENGTH, Head};
use sealmoot_crypto::signature::{Signature, SigningKey, VerifyingKey};

use crate::realm_id::RealmId;

/// Length of a signed head in bytes; there is no other.
pub const HEAD_LENGTH_MAX: usize = 211;
const VERSION: u8 = 1;
const DOMAIN: &str = "audit/head";

/// Why a head was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The bytes are no signed head.
    #[error("not a signed head: {0}")]
    Malformed(#[from] EncodingError),
    /// It belongs to another realm.
    #[error("the head belongs to another realm")]
    WrongRealm,
    /// Somebody else signed it.
    #[error("the head was signed by somebody else")]
    WrongSigner,
    /// The signature does not verify.
    #[error("the signature of the head does not verify")]
    BadSignature,
}

/// The head of a node's chain at some moment, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    bytes: Vec<u8>,
    chain_id: [u8; CHAIN_ID_LENGTH],
    head: Head,
    time_ms: u64,
}

impl SignedHead {
    /// Signs the head of the chain of whoever holds `key`.
    #[must_use]
    pub fn sign(
        key: &SigningKey,
        realm: &RealmId,
        chain_id: [u8; CHAIN_ID_LENGTH],
        head: Head,
        time_ms: u64,
    ) -> Self {
        let mut writer = Writer::with_capacity(HEAD_LENGTH_MAX);
        writer.u8(VERSION);
        writer.fixed(realm.as_bytes());
        writer.fixed(&key.verifying_key().to_bytes());
        writer.fixed(&chain_id);
        writer.fixed(&head.to_bytes());
        writer.u64(time_ms);
        let mut bytes = writer.finish();
        let signature = key.sign(DOMAIN, &bytes);
        bytes.extend_from_slice(&signature.to_bytes());
        Self {
            bytes,
            chain_id,
            head,
            time_ms,
        }
    }

    /// Reads a head and believes it if `signer` signed it for `realm`.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn verify(bytes: &[u8], realm: &RealmId, signer: &VerifyingKey) -> Result<Self, HeadError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "audit head version",
                value: u64::from(version),
            }
            .into());
        }
        let found_realm: [u8; 32] = reader.array()?;
        let found_signer: [u8; 32] = reader.array()?;
        let chain_id = reader.array()?;
        let head = Head::from_bytes(reader.fixed(Head::LENGTH)?)?;
        let time_ms = reader.u64()?;
        let signature = Signature::from_bytes(reader.array()?);
        reader.finish()?;
        if found_realm != *realm.as_bytes() {
            return Err(HeadError::WrongRealm);
        }
        if found_signer != signer.to_bytes() {
            return Err(HeadError::WrongSigner);
        }
        signer
            .verify(DOMAIN, &bytes[..HEAD_LENGTH_MAX - 64], &signature)
            .map_err(|_| HeadError::BadSignature)?;
        Ok(Self {
            bytes: bytes.to_vec(),
            chain_id,
            head,
            time_ms,
        })
    }

    /// The signed bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Of which chain it is the head.
    #[must_use]
    pub fn chain_id(&self) -> [u8; CHAIN_ID_LENGTH] {
        self.chain_id
    }

    /// The head.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// When it was signed, in milliseconds since 1970 by the signer's clock.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use sealmoot_crypto::hash_chain::Chain;
    use sealmoot_crypto::secret::SecretArray;

    pub(crate) const REALM: [u8; 32] = [1; 32];

    /// The head after `records` events of the chain told from others by `seed`.
    pub(crate) fn head(key: &SigningKey, seed: u8, records: u64) -> SignedHead {
        let mut chain = Chain::start(&SecretArray::from_bytes([seed; 32]), [7; 32]);
        for _ in 0..records {
            chain.append(b"event").expect("room");
        }
        SignedHead::sign(key, &RealmId::from_bytes(REALM), [7; 32], chain.head(), 5)
    }

    #[test]
    fn a_head_is_believed_for_its_realm_and_signer_and_for_no_changed_byte() {
        let key = SigningKey::generate().expect("random");
        let realm = RealmId::from_bytes(REALM);
        let signed = head(&key, 1, 3);
        let bytes = signed.bytes();
        assert_eq!(bytes.len(), HEAD_LENGTH_MAX);
        let read = SignedHead::verify(bytes, &realm, &key.verifying_key()).expect("valid");
        assert_eq!(read, signed);
        let other = SigningKey::generate().expect("random").verifying_key();
        assert_eq!(
            SignedHead::verify(bytes, &realm, &other),
            Err(HeadError::WrongSigner)
        );
        assert_eq!(
            SignedHead::verify(bytes, &RealmId::from_bytes([2; 32]), &key.verifying_key()),
            Err(HeadError::WrongRealm)
        );
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            let refused = SignedHead::verify(&changed, &realm, &key.verifying_key());
            assert!(refused.is_err(), "{at}");
            if (65..97).contains(&at) || at >= 139 {
                assert_eq!(refused, Err(HeadError::BadSignature), "{at}");
            }
            assert!(SignedHead::verify(&bytes[..at], &realm, &key.verifying_key()).is_err());
        }
        let longer = [bytes, &[0]].concat();
        assert!(SignedHead::verify(&longer, &realm, &key.verifying_key()).is_err());
    }
}
