//! Keys that boxes are sealed to.

use alloc::boxed::Box;
use alloc::vec::Vec;

use core::fmt;

use hpke::{Deserializable, Kem as _, Serializable};

use super::suite::{X25519, XWing};
use crate::digest::Sha256;
use crate::random::RandomError;
use crate::secret::{SecretArray, SecretBytes, scrubbed, scrubbed_below};
use crate::signature::KeyId;

/// How many KiB of stack are overwritten below the expansion of an X-Wing seed: ML-KEM
/// keeps its matrix and vectors there.
const EXPANSION_KIB: usize = 64;
/// Length of every private key in bytes: a scalar, or the seed of X-Wing's draft.
const PRIVATE_KEY_LENGTH: usize = 32;
/// Length of an X25519 public key in bytes.
const POINT_LENGTH: usize = 32;

/// How the key of a box is encapsulated to its recipient.
///
/// ```
/// use sealmoot_crypto::sealed_box::Kem;
/// assert_eq!((Kem::X25519.number(), Kem::XWing.number()), (0x0020, 0x647a));
/// assert_eq!(Kem::XWing.public_key_length(), 1216);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kem {
    /// DHKEM(X25519, HKDF-SHA256), RFC 9180 section 4.1: small and fast, and opened
    /// by whoever records it today and owns a quantum computer later.
    X25519,
    /// X-Wing (draft-connolly-cfrg-xwing-kem): ML-KEM-768 and X25519, safe while
    /// either is.
    XWing,
}

impl Kem {
    /// Every KEM.
    pub const ALL: [Self; 2] = [Self::X25519, Self::XWing];

    /// The number of the HPKE registry.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::X25519 => 0x0020,
            Self::XWing => 0x647a,
        }
    }

    pub(crate) fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kem| kem.number() == number)
    }

    /// Length of a [`PublicKey`] in bytes.
    #[must_use]
    pub const fn public_key_length(self) -> usize {
        match self {
            Self::X25519 => POINT_LENGTH,
            Self::XWing => 1216,
        }
    }

    /// Length of an encapsulation, the sender's share in a box, in bytes.
    #[must_use]
    pub const fn encapsulation_length(self) -> usize {
        match self {
            Self::X25519 => POINT_LENGTH,
            Self::XWing => 1120,
        }
    }
}

impl fmt::Display for Kem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::X25519 => "X25519",
            Self::XWing => "X-Wing",
        })
    }
}

/// Why bytes were not taken for a key.
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, KeyRejected, PublicKey};
/// let other_kem = PublicKey::from_bytes(Kem::XWing, &[9; 32]);
/// let wrong_length = KeyRejected::WrongLength { expected: 1216, found: 32 };
/// assert_eq!(other_kem, Err(wrong_length));
/// let low_order = PublicKey::from_bytes(Kem::X25519, &[0; 32]);
/// assert_eq!(low_order, Err(KeyRejected::NotContributory));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRejected {
    /// Another number of bytes than a key of this KEM has.
    #[error("a key of {expected} bytes is expected, not of {found}")]
    WrongLength {
        /// How many bytes such a key has.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The X25519 point, alone or inside X-Wing, is of low order: with it the shared
    /// secret is zero whatever the other side's key is.
    #[error("the public key does not contribute to the shared secret")]
    NotContributory,
    /// Not the one encoding of a key: an ML-KEM coefficient is not below 3329
    /// (FIPS 203 section 7.2), or an X25519 coordinate not below 2^255 - 19. HPKE
    /// hashes a key as it is written, so a second encoding seals what nobody opens.
    #[error("the public key is not in canonical form")]
    NotCanonical,
}

/// A private key, which opens boxes; wiped on drop.
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
/// let key = PrivateKey::generate(Kem::XWing)?;
/// assert_eq!(key.kem(), Kem::XWing);
/// assert_eq!(key.public_key().to_bytes().len(), 1216);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PrivateKey(pub(super) Private);

pub(super) enum Private {
    // Boxed, because moves would copy them.
    X25519(Box<<X25519 as hpke::Kem>::PrivateKey>),
    XWing(Box<<XWing as hpke::Kem>::PrivateKey>),
}

impl PrivateKey {
    /// A fresh key.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn generate(kem: Kem) -> Result<Self, RandomError> {
        let bytes = SecretArray::<PRIVATE_KEY_LENGTH>::random()?;
        Ok(Self::from_secret_bytes(kem, bytes.expose()).expect("a private key has 32 bytes"))
    }

    /// The key with these 32 bytes: of X25519 a scalar, clamped as RFC 9180 section
    /// 7.1.2 says, of X-Wing the seed.
    pub(crate) fn from_secret_bytes(kem: Kem, bytes: &[u8]) -> Result<Self, KeyRejected> {
        let wrong_length = |_| KeyRejected::WrongLength {
            expected: PRIVATE_KEY_LENGTH,
            found: bytes.len(),
        };
        scrubbed_below::<EXPANSION_KIB, _>(|| {
            Ok(Self(match kem {
                Kem::X25519 => Private::X25519(Box::new(
                    Deserializable::from_bytes(bytes).map_err(wrong_length)?,
                )),
                Kem::XWing => Private::XWing(Box::new(
                    Deserializable::from_bytes(bytes).map_err(wrong_length)?,
                )),
            }))
        })
    }

    /// The 32 bytes that [`PrivateKey::from_secret_bytes`] takes.
    pub(crate) fn to_secret_bytes(&self) -> SecretBytes {
        let mut bytes = vec![0u8; PRIVATE_KEY_LENGTH];
        scrubbed(|| match &self.0 {
            Private::X25519(key) => key.write_exact(&mut bytes),
            Private::XWing(key) => key.write_exact(&mut bytes),
        });
        SecretBytes::new(bytes)
    }

    /// Which KEM the key is for.
    #[must_use]
    pub fn kem(&self) -> Kem {
        match &self.0 {
            Private::X25519(_) => Kem::X25519,
            Private::XWing(_) => Kem::XWing,
        }
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(match &self.0 {
            Private::X25519(key) => Public::X25519(X25519::sk_to_pk(key)),
            Private::XWing(key) => Public::XWing(Box::new(XWing::sk_to_pk(key))),
        })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = self.public_key();
        write!(
            formatter,
            "PrivateKey({}, of {})",
            self.kem(),
            public.key_id()
        )
    }
}

/// A public key, to which boxes are sealed: canonical, and contributing to every
/// shared secret.
///
/// ```
/// use sealmoot_crypto::sealed_box::{Kem, KeyRejected, PrivateKey, PublicKey};
/// let key = PrivateKey::generate(Kem::X25519)?.public_key();
/// assert_eq!(PublicKey::from_bytes(Kem::X25519, &key.to_bytes())?, key);
/// let weak = PublicKey::from_bytes(Kem::X25519, &[0; 32]);
/// assert_eq!(weak, Err(KeyRejected::NotContributory));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(pub(super) Public);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Public {
    X25519(<X25519 as hpke::Kem>::PublicKey),
    XWing(Box<<XWing as hpke::Kem>::PublicKey>),
}

impl PublicKey {
    /// Imports a key of [`Kem::public_key_length`] bytes, as HPKE serializes it.
    ///
    /// # Errors
    /// [`KeyRejected`], whatever is wrong.
    pub fn from_bytes(kem: Kem, bytes: &[u8]) -> Result<Self, KeyRejected> {
        let expected = kem.public_key_length();
        if bytes.len() != expected {
            return Err(KeyRejected::WrongLength {
                expected,
                found: bytes.len(),
            });
        }
        // X-Wing's X25519 point stands at the end, X25519's is the whole key.
        let point: &[u8; POINT_LENGTH] = bytes
            .last_chunk()
            .expect("every public key holds a point of 32 bytes");
        if !contributes(point) {
            return Err(KeyRejected::NotContributory);
        }
        if !is_canonical(point) {
            return Err(KeyRejected::NotCanonical);
        }
        let not_canonical = |_| KeyRejected::NotCanonical;
        Ok(Self(match kem {
            Kem::X25519 => {
                Public::X25519(Deserializable::from_bytes(bytes).map_err(not_canonical)?)
            }
            Kem::XWing => Public::XWing(Box::new(
                Deserializable::from_bytes(bytes).map_err(not_canonical)?,
            )),
        }))
    }

    /// The key's bytes, as HPKE serializes it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Public::X25519(key) => key.to_bytes().to_vec(),
            Public::XWing(key) => key.to_bytes().to_vec(),
        }
    }

    /// Which KEM the key is for.
    #[must_use]
    pub fn kem(&self) -> Kem {
        match &self.0 {
            Public::X25519(_) => Kem::X25519,
            Public::XWing(_) => Kem::XWing,
        }
    }

    /// `SHA-256("sealmoot/v1/recipient" || KEM number, u16 || key bytes)`, little-endian.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        let mut hasher = Sha256::new();
        hasher.update(b"sealmoot/v1/recipient");
        hasher.update(&self.kem().number().to_le_bytes());
        hasher.update(&self.to_bytes());
        KeyId::from_bytes(hasher.finish())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({}, {})", self.kem(), self.key_id())
    }
}

/// Whether some private key gives a shared secret other than zero with `point`.
///
/// X25519 clamps the zero scalar to 2^254. That is a multiple of every order that
/// low-order points have on the curve and on its twist (1, 2, 4, 8), and of no
/// prime order: so the product is zero exactly for points of low order.
pub(super) fn contributes(point: &[u8; POINT_LENGTH]) -> bool {
    x25519_dalek::x25519([0; 32], *point) != [0; 32]
}

/// Whether `point` is the one encoding of its coordinate: below 2^255 - 19. X25519
/// itself ignores the highest bit and reduces the rest (RFC 7748 section 5).
fn is_canonical(point: &[u8; POINT_LENGTH]) -> bool {
    let all_ones = point[31] == 0x7f && point[1..31].iter().all(|byte| *byte == 0xff);
    point[31] < 0x80 && !(all_ones && point[0] >= 0xed)
}
