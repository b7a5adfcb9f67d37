//! ML-KEM-768 (FIPS 203), for Noise's `hfs` extension and for the TLS group
//! X25519MLKEM768.
//!
//! Randomness is a parameter, so that the machines stay without any of their
//! own and generation can fail where it happens.

use std::fmt;

use ml_kem::array::Array;
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::{DecapsulationKey768, EncapsulationKey768};
use sealmoot_crypto::secret::SecretArray;

use super::scrub::{KEM_STACK_BYTES, scrubbed};

/// Bytes of an encapsulation key (FIPS 203, table 3).
pub(crate) const ENCAPSULATION_KEY_BYTES: usize = 1184;
/// Bytes of a ciphertext.
pub(crate) const CIPHERTEXT_BYTES: usize = 1088;
/// Bytes of the shared secret.
pub(crate) const SHARED_SECRET_BYTES: usize = 32;
/// Bytes of the seed that a key pair follows from: `d || z`.
pub(crate) const SEED_BYTES: usize = 64;
/// Bytes of randomness in one encapsulation: `m`.
pub(crate) const ENCAPSULATION_RANDOMNESS_BYTES: usize = 32;

/// The peer's encapsulation key holds a coefficient outside the field (FIPS
/// 203, section 7.2, modulus check).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the encapsulation key is not canonical")]
pub(crate) struct InvalidEncapsulationKey;

/// An ephemeral ML-KEM-768 key pair; wiped on drop.
pub(crate) struct DecapsulationKey(Box<DecapsulationKey768>);

impl DecapsulationKey {
    pub(crate) fn from_seed(seed: &SecretArray<SEED_BYTES>) -> Self {
        scrubbed::<KEM_STACK_BYTES, _>(|| {
            Self(Box::new(DecapsulationKey768::from_seed(Array(
                *seed.expose(),
            ))))
        })
    }

    pub(crate) fn encapsulation_key(&self) -> [u8; ENCAPSULATION_KEY_BYTES] {
        self.0.encapsulation_key().to_bytes().into()
    }

    /// `ML-KEM.Decaps`. Never fails: a ciphertext that was not made for this
    /// key gives a secret that nobody else has.
    pub(crate) fn decapsulate(
        &self,
        ciphertext: &[u8; CIPHERTEXT_BYTES],
    ) -> SecretArray<SHARED_SECRET_BYTES> {
        scrubbed::<KEM_STACK_BYTES, _>(|| {
            SecretArray::from_bytes(self.0.decapsulate(&Array(*ciphertext)).0)
        })
    }
}

impl fmt::Debug for DecapsulationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DecapsulationKey(redacted)")
    }
}

/// `ML-KEM.Encaps(key)` with `randomness` as its `m`, which must be fresh.
pub(crate) fn encapsulate(
    key: &[u8; ENCAPSULATION_KEY_BYTES],
    randomness: &SecretArray<ENCAPSULATION_RANDOMNESS_BYTES>,
) -> Result<([u8; CIPHERTEXT_BYTES], SecretArray<SHARED_SECRET_BYTES>), InvalidEncapsulationKey> {
    let key = EncapsulationKey768::new(&Array(*key)).map_err(|_| InvalidEncapsulationKey)?;
    Ok(scrubbed::<KEM_STACK_BYTES, _>(|| {
        let (ciphertext, secret) = key.encapsulate_deterministic(&Array(*randomness.expose()));
        (ciphertext.into(), SecretArray::from_bytes(secret.0))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> DecapsulationKey {
        DecapsulationKey::from_seed(&SecretArray::from_bytes([3; SEED_BYTES]))
    }

    #[test]
    fn both_sides_share_a_secret() {
        let key = key();
        let (ciphertext, sent) = encapsulate(
            &key.encapsulation_key(),
            &SecretArray::random().expect("random source"),
        )
        .expect("canonical");
        assert!(key.decapsulate(&ciphertext).same_as(&sent));
    }

    #[test]
    fn a_changed_ciphertext_gives_another_secret() {
        let key = key();
        let (mut ciphertext, sent) = encapsulate(
            &key.encapsulation_key(),
            &SecretArray::from_bytes([4; ENCAPSULATION_RANDOMNESS_BYTES]),
        )
        .expect("canonical");
        ciphertext[CIPHERTEXT_BYTES - 1] ^= 1;
        assert!(!key.decapsulate(&ciphertext).same_as(&sent));
    }

    // FIPS 203 section 7.2: each of the 768 coefficients, given as q = 3329,
    // the least value outside the field.
    #[test]
    fn every_coefficient_outside_the_field_is_refused() {
        let good = key().encapsulation_key();
        let randomness = SecretArray::from_bytes([4; ENCAPSULATION_RANDOMNESS_BYTES]);
        for coefficient in 0..768 {
            let mut bytes = good;
            let place = &mut bytes[coefficient / 2 * 3..][..3];
            if coefficient % 2 == 0 {
                place[0] = 0x01;
                place[1] = (place[1] & 0xf0) | 0x0d;
            } else {
                place[1] = (place[1] & 0x0f) | 0x10;
                place[2] = 0xd0;
            }
            assert!(
                encapsulate(&bytes, &randomness).is_err(),
                "coefficient {coefficient}"
            );
        }
        assert!(encapsulate(&good, &randomness).is_ok());
    }

    #[test]
    fn debug_is_redacted() {
        assert_eq!(format!("{:?}", key()), "DecapsulationKey(redacted)");
    }
}
