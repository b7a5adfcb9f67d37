//! X25519 key agreement (RFC 7748) that refuses non-contributory results.
//!
//! A public key of low order makes the shared secret zero whatever the private
//! key is: whoever sent it knows the "secret". Such an agreement is an error.
//!
//! ```
//! use sealmoot_crypto::{agreement::AgreementKey, kdf};
//! let (alice, bob) = (AgreementKey::generate()?, AgreementKey::generate()?);
//! // Each side has its own private key and the other's public one.
//! let hers = kdf::derive(alice.agree(&bob.public())?.expose(), "chat", b"alice, bob");
//! let his = kdf::derive(bob.agree(&alice.public())?.expose(), "chat", b"alice, bob");
//! assert!(hers.same_as(&his));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::boxed::Box;

use core::fmt;

use x25519_dalek as dalek;

use crate::backend::Backend;
use crate::random::RandomError;
#[cfg(feature = "aws-lc")]
use crate::secret::constant_time_equal;
use crate::secret::{SecretArray, scrubbed};

/// The other side's public key is of low order.
///
/// ```
/// use sealmoot_crypto::agreement::{AgreementKey, AgreementPublic, NotContributory};
/// let key = AgreementKey::generate()?;
/// let low_order = AgreementPublic::from_bytes([0; 32]);
/// assert_eq!(key.agree(&low_order).err(), Some(NotContributory));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer's public key does not contribute to the shared secret")]
pub struct NotContributory;

/// An X25519 private key; wiped on drop. Boxed, because moves would copy it.
///
/// ```
/// use sealmoot_crypto::agreement::AgreementKey;
/// let (alice, bob) = (AgreementKey::generate()?, AgreementKey::generate()?);
/// let eve = AgreementKey::generate()?;
/// let shared = alice.agree(&bob.public())?;
/// assert!(!shared.same_as(&eve.agree(&bob.public())?));
/// assert_eq!(format!("{alice:?}"), "AgreementKey(redacted)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AgreementKey(Key);

enum Key {
    Dalek(Box<dalek::StaticSecret>),
    /// With the bytes that it was made from, which AWS-LC does not hand out.
    #[cfg(feature = "aws-lc")]
    AwsLc(aws_lc_rs::agreement::PrivateKey, SecretArray<32>),
}

impl AgreementKey {
    /// A fresh key, computed by the default backend.
    ///
    /// # Errors
    /// When the random source fails.
    ///
    /// ```
    /// use sealmoot_crypto::agreement::AgreementKey;
    /// let (one, another) = (AgreementKey::generate()?, AgreementKey::generate()?);
    /// assert_ne!(one.public(), another.public());
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
    /// use sealmoot_crypto::{agreement::AgreementKey, backend::Backend};
    /// let peer = AgreementKey::generate()?;
    /// for backend in Backend::ALL {
    ///     let key = AgreementKey::generate_on(*backend)?;
    ///     assert!(key.agree(&peer.public())?.same_as(&peer.agree(&key.public())?));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generate_on(backend: Backend) -> Result<Self, RandomError> {
        Ok(Self::from_bytes_on(backend, &SecretArray::random()?))
    }

    /// The key with these 32 bytes, clamped as RFC 7748 says, computed by the default
    /// backend.
    ///
    /// ```
    /// use sealmoot_crypto::{agreement::AgreementKey, secret::SecretArray};
    /// let mut bytes = SecretArray::random()?;
    /// let key = AgreementKey::from_bytes(&bytes);
    /// bytes.expose_mut()[0] ^= 1; // a bit that clamping clears
    /// assert_eq!(AgreementKey::from_bytes(&bytes).public(), key.public());
    /// bytes.expose_mut()[1] ^= 1; // and one that counts
    /// assert_ne!(AgreementKey::from_bytes(&bytes).public(), key.public());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: &SecretArray<32>) -> Self {
        Self::from_bytes_on(Backend::default(), bytes)
    }

    /// The key with these 32 bytes, clamped as RFC 7748 says, computed by `backend`:
    /// x25519-dalek for ring, which cannot keep X25519 keys.
    ///
    /// ```
    /// use sealmoot_crypto::{agreement::AgreementKey, backend::Backend, secret::SecretArray};
    /// let (bytes, other) = (SecretArray::random()?, AgreementKey::generate()?);
    /// for backend in Backend::ALL {
    ///     let key = AgreementKey::from_bytes_on(*backend, &bytes);
    ///     assert!(key.agree(&other.public())?.same_as(&other.agree(&key.public())?));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_bytes_on(backend: Backend, bytes: &SecretArray<32>) -> Self {
        scrubbed(|| {
            Self(match backend {
                Backend::Ring => Key::Dalek(Box::new(dalek::StaticSecret::from(*bytes.expose()))),
                #[cfg(feature = "aws-lc")]
                Backend::AwsLc => {
                    use aws_lc_rs::agreement::{PrivateKey, X25519};
                    let key = PrivateKey::from_private_key(&X25519, bytes.expose())
                        .expect("any 32 bytes are an X25519 key");
                    Key::AwsLc(key, SecretArray::copy_of(bytes.expose()))
                }
            })
        })
    }

    /// The public half.
    ///
    /// ```
    /// use sealmoot_crypto::agreement::{AgreementKey, AgreementPublic};
    /// let (alice, bob) = (AgreementKey::generate()?, AgreementKey::generate()?);
    /// let sent: [u8; 32] = *alice.public().as_bytes();
    /// let shared = bob.agree(&AgreementPublic::from_bytes(sent))?;
    /// assert!(shared.same_as(&alice.agree(&bob.public())?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn public(&self) -> AgreementPublic {
        scrubbed(|| {
            AgreementPublic(match &self.0 {
                Key::Dalek(key) => dalek::PublicKey::from(&**key).to_bytes(),
                #[cfg(feature = "aws-lc")]
                Key::AwsLc(key, _) => {
                    let public = key
                        .compute_public_key()
                        .expect("every X25519 key has a public half");
                    let mut bytes = [0u8; 32];
                    bytes.copy_from_slice(public.as_ref());
                    bytes
                }
            })
        })
    }

    /// `X25519(self, other)`, to be fed to a key derivation and never used as a
    /// key itself.
    ///
    /// # Errors
    /// [`NotContributory`].
    ///
    /// ```
    /// use sealmoot_crypto::agreement::AgreementKey;
    /// let (a, b) = (AgreementKey::generate()?, AgreementKey::generate()?);
    /// assert!(a.agree(&b.public())?.same_as(&b.agree(&a.public())?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn agree(&self, other: &AgreementPublic) -> Result<SecretArray<32>, NotContributory> {
        scrubbed(|| match &self.0 {
            Key::Dalek(key) => {
                let shared = key.diffie_hellman(&dalek::PublicKey::from(other.0));
                if !shared.was_contributory() {
                    return Err(NotContributory);
                }
                Ok(SecretArray::copy_of(shared.as_bytes()))
            }
            #[cfg(feature = "aws-lc")]
            Key::AwsLc(key, _) => {
                use aws_lc_rs::agreement::{UnparsedPublicKey, X25519, agree};
                // AWS-LC itself fails when the result is zero; seen again here, so
                // that another release cannot change it unnoticed.
                let public = UnparsedPublicKey::new(&X25519, &other.0);
                agree(key, public, NotContributory, |shared| {
                    SecretArray::from_slice(shared)
                        .filter(|shared| !constant_time_equal(shared.expose(), &[0; 32]))
                        .ok_or(NotContributory)
                })
            }
        })
    }

    /// The 32 bytes, as they came: for [`crate::hazmat`].
    pub(crate) fn to_secret(&self) -> SecretArray<32> {
        SecretArray::copy_of(match &self.0 {
            Key::Dalek(key) => key.as_bytes(),
            #[cfg(feature = "aws-lc")]
            Key::AwsLc(_, kept) => kept.expose(),
        })
    }
}

impl fmt::Debug for AgreementKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AgreementKey(redacted)")
    }
}

/// An X25519 public key: any 32 bytes; a bad one shows when it is used.
///
/// ```
/// use sealmoot_crypto::agreement::{AgreementKey, AgreementPublic};
/// let key = AgreementKey::generate()?;
/// let of_low_order = AgreementPublic::from_bytes([0; 32]); // taken,
/// assert!(key.agree(&of_low_order).is_err()); // and refused here
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AgreementPublic([u8; 32]);

impl AgreementPublic {
    /// Takes 32 bytes.
    ///
    /// ```
    /// use sealmoot_crypto::agreement::{AgreementKey, AgreementPublic};
    /// let key = AgreementKey::generate()?;
    /// let received = *key.public().as_bytes();
    /// assert_eq!(AgreementPublic::from_bytes(received), key.public());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    ///
    /// ```
    /// use sealmoot_crypto::agreement::AgreementPublic;
    /// let public = AgreementPublic::from_bytes([9; 32]);
    /// assert_eq!(public.as_bytes(), &[9; 32]);
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::testing::{hex, unhex};

    fn array(text: &str) -> [u8; 32] {
        unhex(text).try_into().expect("32 bytes")
    }

    // RFC 7748 section 6.1.
    #[test]
    fn rfc_7748_diffie_hellman() {
        for backend in Backend::ALL {
            rfc_7748_diffie_hellman_on(*backend);
        }
    }

    fn rfc_7748_diffie_hellman_on(backend: Backend) {
        let key =
            |text| AgreementKey::from_bytes_on(backend, &SecretArray::from_bytes(array(text)));
        let alice = key("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let bob = key("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        assert_eq!(
            hex(alice.public().as_bytes()),
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
        );
        assert_eq!(
            hex(bob.public().as_bytes()),
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
        );
        let shared = alice.agree(&bob.public()).expect("contributory");
        assert_eq!(
            hex(shared.expose()),
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
        );
    }

    // Points of low order, from Bernstein's list at cr.yp.to/ecdh.html.
    #[test]
    fn low_order_points_are_refused() {
        let points = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ];
        for backend in Backend::ALL {
            let key = AgreementKey::generate_on(*backend).expect("random");
            for point in points {
                let mut bytes = array(point);
                for high_bit in [0, 0x80] {
                    // X25519 ignores the highest bit (RFC 7748 section 5).
                    bytes[31] |= high_bit;
                    let public = AgreementPublic::from_bytes(bytes);
                    assert!(
                        matches!(key.agree(&public), Err(NotContributory)),
                        "{backend:?} {point}"
                    );
                }
            }
        }
    }

    #[test]
    fn one_key_agrees_alike_under_every_backend() {
        let bytes = SecretArray::random().expect("random");
        let other = AgreementKey::generate().expect("random");
        let expected = other.agree(&AgreementKey::from_bytes(&bytes).public());
        let expected = expected.expect("contributory");
        for backend in Backend::ALL {
            let key = AgreementKey::from_bytes_on(*backend, &bytes);
            let shared = key.agree(&other.public()).expect("contributory");
            assert!(shared.same_as(&expected), "{backend:?}");
        }
    }

    #[test]
    fn debug_is_redacted() {
        for backend in Backend::ALL {
            let key = AgreementKey::from_bytes_on(*backend, &SecretArray::from_bytes([0x48; 32]));
            assert!(!format!("{key:?}").contains("48"));
        }
    }
}
