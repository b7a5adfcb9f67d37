//! Ed25519 signatures for rustls by a key that wipes itself.
//!
//! ring's key pair does not: under an allocator that does not wipe either,
//! whoever reads freed memory could sign in our name.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey as TlsSigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use sealmoot_crypto::hazmat::sign_unframed;
use sealmoot_crypto::signature::SigningKey;

use crate::noise::scrub::{SIGNATURE_STACK_BYTES, scrubbed};

/// A key as rustls wants it. The same for every connection, and gone with the
/// last configuration and connection that use it.
pub(super) struct IdentityKey(Arc<SigningKey>);

impl IdentityKey {
    /// A copy of `key`, which stays its owner's.
    pub(super) fn new(key: &SigningKey) -> Self {
        Self(Arc::new(SigningKey::from_seed(&key.to_seed())))
    }
}

impl TlsSigningKey for IdentityKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ED25519)
            .then(|| Box::new(Self(Arc::clone(&self.0))) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let spki = self.0.verifying_key().to_spki();
        Some(SubjectPublicKeyInfoDer::from(spki.to_vec()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for IdentityKey {
    /// TLS has a frame of its own: 64 spaces and what is signed for (RFC 8446,
    /// section 4.4.3). Nothing that begins like our signatures is signed.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        scrubbed::<SIGNATURE_STACK_BYTES, _>(|| sign_unframed(&self.0, message))
            .map(|signature| signature.to_bytes().to_vec())
            .map_err(|refused| Error::General(refused.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("IdentityKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring;
    use rustls::pki_types::PrivatePkcs8KeyDer;

    use super::*;

    fn key() -> SigningKey {
        SigningKey::generate().expect("random source")
    }

    // Ed25519 is deterministic: the same key makes the same signature.
    #[test]
    fn signatures_are_those_of_ring() {
        let key = key();
        let pkcs8 = key.to_pkcs8_der();
        let theirs =
            ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.expose())).expect("a key");
        let ours = IdentityKey::new(&key);
        assert_eq!(ours.public_key(), theirs.public_key());
        assert_eq!(ours.algorithm(), theirs.algorithm());
        let offered = [SignatureScheme::ED25519];
        let sign = |key: &dyn TlsSigningKey| {
            let signer = key.choose_scheme(&offered).expect("offered");
            assert_eq!(signer.scheme(), SignatureScheme::ED25519);
            signer.sign(&[0x20; 130]).expect("a signature")
        };
        assert_eq!(sign(&ours), sign(&*theirs));
    }

    #[test]
    fn a_peer_that_does_not_take_ed25519_gets_no_signature() {
        let key = IdentityKey::new(&key());
        for offered in [&[][..], &[SignatureScheme::ECDSA_NISTP256_SHA256]] {
            assert!(key.choose_scheme(offered).is_none());
        }
    }

    #[test]
    fn a_message_framed_as_ours_is_not_signed() {
        let key = IdentityKey::new(&key());
        assert!(key.sign(b"sealmoot/v1/signature\x04vote").is_err());
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let key = IdentityKey::new(&key());
        assert_eq!(format!("{key:?}"), "IdentityKey(redacted)");
    }
}
