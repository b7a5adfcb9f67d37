//! ML-KEM-768 (FIPS 203): a shared secret out of a public key and one message.
//!
//! Whoever has the [`EncapsulationKey`] makes a secret and a [`Ciphertext`]; whoever
//! has the [`DecapsulationKey`] gets the same secret back. It withstands quantum
//! computers as far as anybody knows, and is young: use it beside X25519, as
//! [`crate::sealed_box`] does, and derive a key from both secrets.
//!
//! **A wrong ciphertext is no error.** Decapsulation then gives a secret that nobody
//! else has (implicit rejection, FIPS 203 section 6.3), in the same time, because
//! telling the two apart would hand the private key out bit by bit. So a caller
//! learns whether both sides agree from a key confirmation only: a tag, or a sealed
//! message, under a key derived from the secret. Nor does a ciphertext say for which
//! key it was made: derive from the public key and the ciphertext too.
//!
//! The default backend is the crate `ml-kem`; AWS-LC decapsulates under the feature
//! `aws-lc`. Encapsulation stays with `ml-kem` under either, because AWS-LC draws its
//! randomness itself and stops the process when there is none.
//!
//! ```
//! use sealmoot_crypto::{digest::MacKey, kem::DecapsulationKey};
//! let key = DecapsulationKey::generate()?;
//! let (ciphertext, theirs) = key.encapsulation_key().encapsulate()?;
//! let confirmation = MacKey::from_secret(&theirs).tag(&[ciphertext.as_bytes()]);
//!
//! let ours = key.decapsulate(&ciphertext);
//! MacKey::from_secret(&ours).verify(&[ciphertext.as_bytes()], &confirmation)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::boxed::Box;

use core::fmt;

use ml_kem::ml_kem_768;
use zeroize::Zeroize;

use crate::backend::Backend;
use crate::random::RandomError;
use crate::secret::SecretArray;

/// Length of an [`EncapsulationKey`] in bytes.
pub const ENCAPSULATION_KEY_LENGTH: usize = 1184;
/// Length of a [`Ciphertext`] in bytes.
pub const CIPHERTEXT_LENGTH: usize = 1088;
/// Length of the seed `d || z` of a [`DecapsulationKey`] in bytes.
pub(crate) const SEED_LENGTH: usize = 64;

/// Why bytes were not taken for an encapsulation key.
///
/// ```
/// use sealmoot_crypto::kem::{EncapsulationKey, KeyRejected};
/// let cut_off = EncapsulationKey::from_bytes(&[0; 1183]);
/// assert_eq!(cut_off, Err(KeyRejected::WrongLength { found: 1183 }));
/// let coefficients_too_large = EncapsulationKey::from_bytes(&[0xff; 1184]);
/// assert_eq!(coefficients_too_large, Err(KeyRejected::NotCanonical));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRejected {
    /// Not [`ENCAPSULATION_KEY_LENGTH`] bytes.
    #[error("an ML-KEM-768 key has {ENCAPSULATION_KEY_LENGTH} bytes, not {found}")]
    WrongLength {
        /// How many bytes there are.
        found: usize,
    },
    /// A coefficient is not below 3329: the modulus check of FIPS 203 section 7.2.
    #[error("the ML-KEM-768 key is not in canonical form")]
    NotCanonical,
}

/// Bytes are no ciphertext: there are not [`CIPHERTEXT_LENGTH`] of them.
///
/// ```
/// use sealmoot_crypto::kem::{Ciphertext, WrongCiphertextLength};
/// let refused = Ciphertext::from_bytes(&[7; 768]); // ML-KEM-512's length
/// assert_eq!(refused, Err(WrongCiphertextLength { found: 768 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an ML-KEM-768 ciphertext has {CIPHERTEXT_LENGTH} bytes, not {found}")]
pub struct WrongCiphertextLength {
    /// How many bytes there are.
    pub found: usize,
}

/// A private key; wiped on drop.
///
/// ```
/// use sealmoot_crypto::kem::{Ciphertext, DecapsulationKey, EncapsulationKey};
/// let key = DecapsulationKey::generate()?;
///
/// let received = EncapsulationKey::from_bytes(&key.encapsulation_key().to_bytes())?;
/// let (ciphertext, theirs) = received.encapsulate()?;
///
/// let ours = key.decapsulate(&Ciphertext::from_bytes(ciphertext.as_bytes())?);
/// assert!(ours.same_as(&theirs));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DecapsulationKey {
    key: Box<ml_kem_768::DecapsulationKey>,
    #[cfg(feature = "aws-lc")]
    aws_lc: Option<aws_lc_rs::kem::DecapsulationKey>,
}

impl DecapsulationKey {
    /// A fresh key, computed by the default backend.
    ///
    /// # Errors
    /// When the random source fails.
    ///
    /// ```
    /// use sealmoot_crypto::kem::DecapsulationKey;
    /// let (one, another) = (DecapsulationKey::generate()?, DecapsulationKey::generate()?);
    /// assert_ne!(one.encapsulation_key(), another.encapsulation_key());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generate() -> Result<Self, RandomError> {
        Self::generate_on(Backend::default())
    }

    /// A fresh key, computed by `backend`.
    ///
    /// # Errors
    /// When the random source fails.
    ///
    /// ```
    /// use sealmoot_crypto::{backend::Backend, kem::DecapsulationKey};
    /// for backend in Backend::ALL {
    ///     let key = DecapsulationKey::generate_on(*backend)?;
    ///     let (ciphertext, secret) = key.encapsulation_key().encapsulate()?;
    ///     assert!(key.decapsulate(&ciphertext).same_as(&secret));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generate_on(backend: Backend) -> Result<Self, RandomError> {
        Ok(Self::from_seed_on(backend, &SecretArray::random()?))
    }

    /// `ML-KEM.KeyGen_internal(d, z)` of the seed `d || z` (FIPS 203 section 6.1).
    pub(crate) fn from_seed_on(backend: Backend, seed: &SecretArray<SEED_LENGTH>) -> Self {
        let mut copy = ml_kem::Seed::from(*seed.expose());
        let key = Box::new(ml_kem_768::DecapsulationKey::from_seed(copy));
        copy.as_mut_slice().zeroize();
        match backend {
            Backend::Ring => Self {
                key,
                #[cfg(feature = "aws-lc")]
                aws_lc: None,
            },
            #[cfg(feature = "aws-lc")]
            Backend::AwsLc => Self {
                aws_lc: Some(expanded_by_aws_lc(&key)),
                key,
            },
        }
    }

    /// The seed `d || z`, for storing the key sealed.
    pub(crate) fn to_seed(&self) -> SecretArray<SEED_LENGTH> {
        let mut copy = self.key.to_seed().expect("made from a seed");
        let seed = SecretArray::from_slice(&copy).expect("a seed has 64 bytes");
        copy.as_mut_slice().zeroize();
        seed
    }

    /// The public half.
    ///
    /// ```
    /// use sealmoot_crypto::kem::{DecapsulationKey, ENCAPSULATION_KEY_LENGTH};
    /// let key = DecapsulationKey::generate()?;
    /// let published = key.encapsulation_key().to_bytes();
    /// assert_eq!(published.len(), ENCAPSULATION_KEY_LENGTH);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn encapsulation_key(&self) -> EncapsulationKey {
        EncapsulationKey(Box::new(self.key.encapsulation_key().clone()))
    }

    /// The secret that came with `ciphertext`, or, when it was made for another key
    /// or changed, one that nobody else has: see the [module](self).
    ///
    /// ```
    /// use sealmoot_crypto::kem::DecapsulationKey;
    /// let (key, other) = (DecapsulationKey::generate()?, DecapsulationKey::generate()?);
    /// let (ciphertext, secret) = key.encapsulation_key().encapsulate()?;
    /// assert!(key.decapsulate(&ciphertext).same_as(&secret));
    /// // No error: a secret that nobody else has.
    /// assert!(!other.decapsulate(&ciphertext).same_as(&secret));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn decapsulate(&self, ciphertext: &Ciphertext) -> SecretArray<32> {
        #[cfg(feature = "aws-lc")]
        if let Some(key) = &self.aws_lc {
            let secret = key
                .decapsulate(ciphertext.0.as_slice().into())
                .expect("decapsulation fails for a wrong length only");
            return SecretArray::from_slice(secret.as_ref()).expect("a secret has 32 bytes");
        }
        use ml_kem::Decapsulate;
        let mut shared = self.key.decapsulate((&*ciphertext.0).into());
        let secret = SecretArray::from_slice(&shared).expect("a secret has 32 bytes");
        shared.as_mut_slice().zeroize();
        secret
    }
}

impl fmt::Debug for DecapsulationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DecapsulationKey(redacted)")
    }
}

/// A public key whose coefficients are all in range.
///
/// ```
/// use sealmoot_crypto::kem::{DecapsulationKey, EncapsulationKey};
/// let key = DecapsulationKey::generate()?;
/// let received = EncapsulationKey::from_bytes(&key.encapsulation_key().to_bytes())?;
/// let (ciphertext, secret) = received.encapsulate()?;
/// assert!(key.decapsulate(&ciphertext).same_as(&secret));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct EncapsulationKey(Box<ml_kem_768::EncapsulationKey>);

impl EncapsulationKey {
    /// Imports a key, with the checks of FIPS 203 section 7.2.
    ///
    /// # Errors
    /// [`KeyRejected`].
    ///
    /// ```
    /// use sealmoot_crypto::kem::{EncapsulationKey, KeyRejected};
    /// let outcome = EncapsulationKey::from_bytes(&[0xff; 1184]);
    /// assert_eq!(outcome, Err(KeyRejected::NotCanonical));
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyRejected> {
        let bytes: &[u8; ENCAPSULATION_KEY_LENGTH] = bytes
            .try_into()
            .map_err(|_| KeyRejected::WrongLength { found: bytes.len() })?;
        let key = ml_kem_768::EncapsulationKey::new(bytes.into())
            .map_err(|_| KeyRejected::NotCanonical)?;
        Ok(Self(Box::new(key)))
    }

    /// The key's bytes (FIPS 203 section 5.1).
    ///
    /// ```
    /// use sealmoot_crypto::kem::{DecapsulationKey, EncapsulationKey};
    /// let key = DecapsulationKey::generate()?.encapsulation_key();
    /// let mut bytes = key.to_bytes();
    /// assert_eq!(EncapsulationKey::from_bytes(&bytes)?, key);
    /// bytes[1183] ^= 1; // the seed of the matrix: any 32 bytes, but another key
    /// assert_ne!(EncapsulationKey::from_bytes(&bytes)?, key);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ENCAPSULATION_KEY_LENGTH] {
        use ml_kem::KeyExport;
        self.0.to_bytes().into()
    }

    /// A fresh secret, and the ciphertext that carries it to the private key's holder.
    ///
    /// # Errors
    /// When the random source fails.
    ///
    /// ```
    /// use sealmoot_crypto::{kdf, kem::DecapsulationKey};
    /// let key = DecapsulationKey::generate()?;
    /// let public = key.encapsulation_key();
    /// let (ciphertext, secret) = public.encapsulate()?;
    /// let bound = [&public.to_bytes()[..], ciphertext.as_bytes()].concat();
    /// let theirs = kdf::derive(secret.expose(), "example", &bound);
    /// let ours = kdf::derive(key.decapsulate(&ciphertext).expose(), "example", &bound);
    /// assert!(ours.same_as(&theirs));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn encapsulate(&self) -> Result<(Ciphertext, SecretArray<32>), RandomError> {
        Ok(self.encapsulate_with(&SecretArray::random()?))
    }

    /// `ML-KEM.Encaps_internal(ek, m)` (FIPS 203 section 6.2).
    pub(crate) fn encapsulate_with(
        &self,
        message: &SecretArray<32>,
    ) -> (Ciphertext, SecretArray<32>) {
        let (ciphertext, mut shared) = self.0.encapsulate_deterministic(message.expose().into());
        let secret = SecretArray::from_slice(&shared).expect("a secret has 32 bytes");
        shared.as_mut_slice().zeroize();
        (Ciphertext(Box::new(ciphertext.into())), secret)
    }
}

impl fmt::Debug for EncapsulationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("EncapsulationKey(ML-KEM-768)")
    }
}

/// What carries a secret to the holder of a [`DecapsulationKey`]; any 1088 bytes are
/// one.
///
/// ```
/// use sealmoot_crypto::kem::{Ciphertext, DecapsulationKey};
/// let key = DecapsulationKey::generate()?;
/// let (ciphertext, secret) = key.encapsulation_key().encapsulate()?;
/// let mut changed = *ciphertext.as_bytes();
/// changed[0] ^= 1;
/// let changed = Ciphertext::from_bytes(&changed)?; // still a ciphertext
/// assert!(!key.decapsulate(&changed).same_as(&secret));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Ciphertext(Box<[u8; CIPHERTEXT_LENGTH]>);

impl Ciphertext {
    /// Takes [`CIPHERTEXT_LENGTH`] bytes.
    ///
    /// # Errors
    /// [`WrongCiphertextLength`].
    ///
    /// ```
    /// use sealmoot_crypto::kem::Ciphertext;
    /// assert!(Ciphertext::from_bytes(&[0; 1088]).is_ok());
    /// assert!(Ciphertext::from_bytes(&[0; 1087]).is_err());
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WrongCiphertextLength> {
        let array = bytes
            .try_into()
            .map_err(|_| WrongCiphertextLength { found: bytes.len() })?;
        Ok(Self(Box::new(array)))
    }

    /// The bytes.
    ///
    /// ```
    /// use sealmoot_crypto::kem::{CIPHERTEXT_LENGTH, Ciphertext, DecapsulationKey};
    /// let (ciphertext, _) = DecapsulationKey::generate()?.encapsulation_key().encapsulate()?;
    /// let sent = ciphertext.as_bytes();
    /// assert_eq!(sent.len(), CIPHERTEXT_LENGTH);
    /// assert_eq!(Ciphertext::from_bytes(sent)?, ciphertext);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; CIPHERTEXT_LENGTH] {
        &self.0
    }
}

impl fmt::Debug for Ciphertext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ciphertext(ML-KEM-768)")
    }
}

/// AWS-LC takes no seed, only the 2400 bytes that the seed expands to.
#[cfg(feature = "aws-lc")]
fn expanded_by_aws_lc(key: &ml_kem_768::DecapsulationKey) -> aws_lc_rs::kem::DecapsulationKey {
    #[expect(
        deprecated,
        reason = "deprecated for storing keys; this form is passed on"
    )]
    use ml_kem::ExpandedKeyEncoding;
    #[expect(
        deprecated,
        reason = "deprecated for storing keys; this form is passed on"
    )]
    let mut expanded = key.to_expanded_bytes();
    let key = aws_lc_rs::kem::DecapsulationKey::new(&aws_lc_rs::kem::ML_KEM_768, &expanded)
        .expect("expanded from a seed");
    expanded.as_mut_slice().zeroize();
    key
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::testing::hex;

    fn generate(backend: Backend) -> DecapsulationKey {
        DecapsulationKey::generate_on(backend).expect("random")
    }

    #[test]
    fn both_sides_get_one_secret_under_every_backend() {
        for backend in Backend::ALL {
            let key = generate(*backend);
            let (ciphertext, secret) = key.encapsulation_key().encapsulate().expect("random");
            for other in Backend::ALL {
                let same = DecapsulationKey::from_seed_on(*other, &key.to_seed());
                assert_eq!(same.encapsulation_key(), key.encapsulation_key());
                assert!(same.decapsulate(&ciphertext).same_as(&secret));
            }
        }
    }

    #[test]
    fn a_changed_ciphertext_gives_another_secret_and_the_same_one_each_time() {
        let key = generate(Backend::default());
        let (ciphertext, secret) = key.encapsulation_key().encapsulate().expect("random");
        for byte in (0..CIPHERTEXT_LENGTH).step_by(37).chain([1087]) {
            let mut changed = ciphertext.clone();
            changed.0[byte] ^= 1 << (byte % 8);
            let rejected = key.decapsulate(&changed);
            assert!(!rejected.same_as(&secret), "byte {byte}");
            for other in Backend::ALL {
                let same = DecapsulationKey::from_seed_on(*other, &key.to_seed());
                assert!(same.decapsulate(&changed).same_as(&rejected));
            }
        }
    }

    #[test]
    fn another_key_gets_another_secret() {
        let (key, other) = (generate(Backend::default()), generate(Backend::default()));
        let (ciphertext, secret) = key.encapsulation_key().encapsulate().expect("random");
        assert!(!other.decapsulate(&ciphertext).same_as(&secret));
    }

    #[test]
    fn encapsulating_twice_gives_two_secrets() {
        let key = generate(Backend::default()).encapsulation_key();
        let (first, first_secret) = key.encapsulate().expect("random");
        let (second, second_secret) = key.encapsulate().expect("random");
        assert!(first != second && !first_secret.same_as(&second_secret));
    }

    #[test]
    fn keys_and_ciphertexts_of_another_length_are_refused() {
        let bytes = generate(Backend::default()).encapsulation_key().to_bytes();
        for found in [0, 1183, 1185, 1568] {
            let mut wrong = bytes.to_vec();
            wrong.resize(found, 0);
            assert_eq!(
                EncapsulationKey::from_bytes(&wrong),
                Err(KeyRejected::WrongLength { found })
            );
        }
        for found in [0, 1087, 1089, 1568] {
            assert_eq!(
                Ciphertext::from_bytes(&vec![0; found]),
                Err(WrongCiphertextLength { found })
            );
        }
    }

    #[test]
    fn a_coefficient_of_3329_is_refused_wherever_it_stands() {
        let good = generate(Backend::default()).encapsulation_key().to_bytes();
        // Two coefficients of 12 bits share three bytes; 768 of them come before rho.
        for pair in [0, 1, 191, 383] {
            let at = pair * 3;
            let mut first = good;
            first[at] = 0x01;
            first[at + 1] = (first[at + 1] & 0xf0) | 0x0d;
            let mut second = good;
            second[at + 1] = (second[at + 1] & 0x0f) | 0x10;
            second[at + 2] = 0xd0;
            for key in [first, second] {
                assert_eq!(
                    EncapsulationKey::from_bytes(&key),
                    Err(KeyRejected::NotCanonical)
                );
            }
        }
    }

    #[test]
    fn debug_shows_no_byte_of_a_private_key() {
        let key = generate(Backend::default());
        assert!(!format!("{key:?}").contains(&hex(&key.to_seed().expose()[..4])));
    }
}
