//! Ed25519 (RFC 8032), verified strictly, and the identity that rests on it.
//!
//! A weak public key (one of small order) verifies one fixed signature over any
//! message under lenient verifiers, so such keys are refused when they are
//! imported: a [`VerifyingKey`] that exists is neither weak nor encoded in more
//! than one way. Signatures name the domain they were made for, so that one made
//! for a statement can never pass for another kind of message.
//!
//! ```
//! use sealmoot_crypto::signature::{KeyId, SigningKey};
//! let key = SigningKey::generate()?;
//! let known: KeyId = key.verifying_key().key_id(); // who alice is, as others keep it
//!
//! let (public, signature) = (key.verifying_key(), key.sign("vote", b"yes"));
//! assert_eq!(public.key_id(), known);
//! public.verify("vote", b"yes", &signature)?;
//! assert!(public.verify("invitation", b"yes", &signature).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;

use core::fmt;
use core::str::FromStr;

use ed25519_dalek as dalek;

use crate::digest::sha256;
use crate::random::RandomError;
use crate::secret::{SecretArray, SecretBytes, scrubbed};

/// DER of `SubjectPublicKeyInfo` for Ed25519 up to the key's 32 bytes (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// DER of `PrivateKeyInfo` version 1 for Ed25519 up to the seed's 32 bytes (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Length of a [`VerifyingKey`] as `SubjectPublicKeyInfo`, in bytes.
pub const SPKI_LENGTH: usize = 44;

/// Why bytes were not taken for a public key.
///
/// ```
/// use sealmoot_crypto::signature::{KeyRejected, VerifyingKey};
/// let small_order = VerifyingKey::from_bytes(&[0; 32]);
/// assert_eq!(small_order, Err(KeyRejected::Weak));
/// let no_point = VerifyingKey::from_bytes(&[2; 32]);
/// assert_eq!(no_point, Err(KeyRejected::NotCanonical));
/// assert_eq!(VerifyingKey::from_spki(b"a letter"), Err(KeyRejected::Malformed));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRejected {
    /// Not `SubjectPublicKeyInfo` of an Ed25519 key, or not 32 bytes.
    #[error("not an Ed25519 public key")]
    Malformed,
    /// The bytes are no point of the curve, or not its one canonical encoding.
    #[error("the public key is not the canonical encoding of a curve point")]
    NotCanonical,
    /// A point of small order, under which forgeries verify.
    #[error("the public key is weak: a point of small order")]
    Weak,
}

/// A signature does not verify. Nothing more is said.
///
/// ```
/// use sealmoot_crypto::signature::{BadSignature, SigningKey};
/// let (alice, mallory) = (SigningKey::generate()?, SigningKey::generate()?);
/// let forged = mallory.sign("vote", b"yes");
/// assert_eq!(alice.verifying_key().verify("vote", b"yes", &forged), Err(BadSignature));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// An Ed25519 private key; wiped on drop. Boxed, because moves would copy it.
///
/// ```
/// use sealmoot_crypto::signature::SigningKey;
/// let key = SigningKey::generate()?;
/// let signature = key.sign("vote", b"yes");
/// key.verifying_key().verify("vote", b"yes", &signature)?;
/// // What is printed is the public identity.
/// assert_eq!(format!("{key:?}"), format!("SigningKey(of {})", key.verifying_key().key_id()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SigningKey(Box<dalek::SigningKey>);

impl SigningKey {
    /// A fresh key.
    ///
    /// # Errors
    /// When the random source fails.
    ///
    /// ```
    /// use sealmoot_crypto::signature::SigningKey;
    /// let (one, another) = (SigningKey::generate()?, SigningKey::generate()?);
    /// assert_ne!(one.verifying_key(), another.verifying_key());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self::from_seed(&SecretArray::random()?))
    }

    /// The key whose RFC 8032 seed is `seed`.
    ///
    /// ```
    /// use sealmoot_crypto::{kdf::{Label, derive_key}, secret::SecretArray, signature::SigningKey};
    /// const IDENTITY: Label = Label::new("node identity");
    /// let root = SecretArray::random()?;
    /// let key = SigningKey::from_seed(&derive_key(&root, IDENTITY, b"node 7"));
    /// let after_a_restart = SigningKey::from_seed(&derive_key(&root, IDENTITY, b"node 7"));
    /// assert_eq!(key.verifying_key(), after_a_restart.verifying_key());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_seed(seed: &SecretArray<32>) -> Self {
        scrubbed(|| Self(Box::new(dalek::SigningKey::from_bytes(seed.expose()))))
    }

    /// The RFC 8032 seed, for storing the key sealed.
    ///
    /// ```
    /// use sealmoot_crypto::{keyset::Keyset, secret::SecretArray, signature::SigningKey};
    /// let (keyset, key) = (Keyset::generate()?, SigningKey::generate()?);
    /// let stored = keyset.seal("signing key", b"alice", key.to_seed().expose())?;
    ///
    /// let opened = keyset.open("signing key", b"alice", &stored)?;
    /// let seed = SecretArray::from_slice(opened.expose()).expect("32 bytes were sealed");
    /// assert_eq!(SigningKey::from_seed(&seed).verifying_key(), key.verifying_key());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_seed(&self) -> SecretArray<32> {
        SecretArray::copy_of(self.0.as_bytes())
    }

    /// The key as PKCS#8 version 1 (RFC 8410), the form that TLS libraries take.
    ///
    /// ```
    /// use sealmoot_crypto::signature::SigningKey;
    /// let key = SigningKey::generate()?;
    /// let der = key.to_pkcs8_der();
    /// assert_eq!(der.len(), 48);
    /// assert!(der.expose().ends_with(key.to_seed().expose()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_pkcs8_der(&self) -> SecretBytes {
        let seed = self.to_seed();
        let mut der = Vec::with_capacity(PKCS8_PREFIX.len() + 32);
        der.extend_from_slice(&PKCS8_PREFIX);
        der.extend_from_slice(seed.expose());
        SecretBytes::new(der)
    }

    /// The public half.
    ///
    /// ```
    /// use sealmoot_crypto::{secret::SecretArray, signature::SigningKey};
    /// let seed = SecretArray::random()?;
    /// let (key, again) = (SigningKey::from_seed(&seed), SigningKey::from_seed(&seed));
    /// assert_eq!(key.verifying_key(), again.verifying_key());
    /// again.verifying_key().verify("vote", b"yes", &key.sign("vote", b"yes"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Signs `message` for `domain`: Ed25519 over
    /// `"sealmoot/v1/signature" || len(domain) || domain || message`.
    ///
    /// # Panics
    /// When `domain` is longer than 255 bytes, which only a change of the code
    /// can cause.
    ///
    /// ```
    /// use sealmoot_crypto::signature::SigningKey;
    /// let key = SigningKey::generate()?;
    /// let signature = key.sign("vote", b"yes");
    /// assert_eq!(key.sign("vote", b"yes"), signature); // nothing random is in it
    /// assert_ne!(key.sign("petition", b"yes"), signature);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sign(&self, domain: &'static str, message: &[u8]) -> Signature {
        use dalek::Signer;
        scrubbed(|| Signature(self.0.sign(&framed(domain, message)).to_bytes()))
    }

    /// Ed25519 over `message` alone: for [`crate::hazmat`].
    pub(crate) fn sign_unframed(&self, message: &[u8]) -> Signature {
        use dalek::Signer;
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "SigningKey(of {})",
            self.verifying_key().key_id()
        )
    }
}

/// An Ed25519 public key that is canonical and not weak.
///
/// ```
/// use sealmoot_crypto::signature::{SigningKey, VerifyingKey};
/// let key = SigningKey::generate()?;
/// let public = VerifyingKey::from_bytes(&key.verifying_key().to_bytes())?;
/// public.verify("vote", b"yes", &key.sign("vote", b"yes"))?;
/// assert!(public.verify("vote", b"no", &key.sign("vote", b"yes")).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifyingKey(dalek::VerifyingKey);

impl VerifyingKey {
    /// Imports 32 bytes.
    ///
    /// # Errors
    /// [`KeyRejected::NotCanonical`], [`KeyRejected::Weak`].
    ///
    /// ```
    /// use sealmoot_crypto::signature::{KeyRejected, SigningKey, VerifyingKey};
    /// let key = SigningKey::generate()?.verifying_key();
    /// assert_eq!(VerifyingKey::from_bytes(&key.to_bytes())?, key);
    /// let mut neutral = [0; 32]; // the neutral point: any message has a forgery
    /// neutral[0] = 1;
    /// assert_eq!(VerifyingKey::from_bytes(&neutral), Err(KeyRejected::Weak));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyRejected> {
        // RFC 8032 section 5.1.3 refuses y >= p, which dalek reduces, and the
        // negative zero, which only the two weak points with x = 0 can have: so
        // beside the check for those y decides, and no point need be encoded again.
        let key = dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyRejected::NotCanonical)?;
        if key.is_weak() {
            return Err(KeyRejected::Weak);
        }
        if !is_reduced(bytes) {
            return Err(KeyRejected::NotCanonical);
        }
        Ok(Self(key))
    }

    /// Imports a DER `SubjectPublicKeyInfo` (RFC 8410), the raw public key of TLS.
    ///
    /// # Errors
    /// [`KeyRejected`], whatever is wrong.
    ///
    /// ```
    /// use sealmoot_crypto::signature::{KeyRejected, SigningKey, VerifyingKey};
    /// let key = SigningKey::generate()?.verifying_key();
    /// let mut der = key.to_spki();
    /// assert_eq!(VerifyingKey::from_spki(&der)?, key);
    /// der[8] = 0x6e; // X25519's identifier
    /// assert_eq!(VerifyingKey::from_spki(&der), Err(KeyRejected::Malformed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyRejected> {
        let key = der
            .strip_prefix(&SPKI_PREFIX)
            .and_then(|key| <&[u8; 32]>::try_from(key).ok())
            .ok_or(KeyRejected::Malformed)?;
        Self::from_bytes(key)
    }

    /// The key's 32 bytes.
    ///
    /// ```
    /// use sealmoot_crypto::{digest::sha256, signature::SigningKey};
    /// let key = SigningKey::generate()?.verifying_key();
    /// assert_eq!(key.to_spki()[12..], key.to_bytes());
    /// assert_ne!(&sha256(&key.to_bytes()), key.key_id().as_bytes()); // an id is of the whole
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The key as DER `SubjectPublicKeyInfo`.
    ///
    /// ```
    /// use sealmoot_crypto::signature::{SPKI_LENGTH, SigningKey};
    /// let der = SigningKey::generate()?.verifying_key().to_spki();
    /// assert_eq!(der.len(), SPKI_LENGTH);
    /// assert_eq!(der[..2], [0x30, 42]); // a sequence of 42 bytes
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_spki(&self) -> [u8; SPKI_LENGTH] {
        let mut der = [0u8; SPKI_LENGTH];
        der[..SPKI_PREFIX.len()].copy_from_slice(&SPKI_PREFIX);
        der[SPKI_PREFIX.len()..].copy_from_slice(self.0.as_bytes());
        der
    }

    /// SHA-256 of the key's `SubjectPublicKeyInfo`: the identity of whoever
    /// holds the private half.
    ///
    /// ```
    /// use sealmoot_crypto::{digest::sha256, signature::SigningKey};
    /// let key = SigningKey::generate()?.verifying_key();
    /// assert_eq!(key.key_id().as_bytes(), &sha256(&key.to_spki()));
    /// assert_eq!(key.key_id().to_string().len(), 64); // in hexadecimal
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId(sha256(&self.to_spki()))
    }

    /// Verifies what [`SigningKey::sign`] made for the same domain.
    ///
    /// # Errors
    /// [`BadSignature`].
    ///
    /// # Panics
    /// When `domain` is longer than 255 bytes, which only a change of the code
    /// can cause.
    ///
    /// ```
    /// use sealmoot_crypto::signature::{BadSignature, SigningKey};
    /// let key = SigningKey::generate()?;
    /// let (public, signature) = (key.verifying_key(), key.sign("vote", b"yes"));
    /// public.verify("vote", b"yes", &signature)?;
    /// assert_eq!(public.verify("vote", b"no", &signature), Err(BadSignature));
    /// assert_eq!(public.verify("petition", b"yes", &signature), Err(BadSignature));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(
        &self,
        domain: &'static str,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        self.verify_unframed(&framed(domain, message), signature)
    }

    /// Verifies an Ed25519 signature over `message` itself (RFC 8032 section 5.1.7),
    /// strictly: `S` below the group's order, `R` canonical and not of small order,
    /// and `[S]B = R + [k]A` without the cofactor. The one place that verifies.
    pub(crate) fn verify_unframed(
        &self,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let signature = dalek::Signature::from_bytes(&signature.0);
        self.0
            .verify_strict(message, &signature)
            .map_err(|_| BadSignature)
    }
}

/// Whether the `y` of a point's encoding is below `p = 2^255 - 19`.
fn is_reduced(encoded: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = encoded;
    high & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff) || *low < 0xed
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VerifyingKey({})", self.key_id())
    }
}

/// An Ed25519 signature, 64 bytes, verified or not.
///
/// ```
/// use sealmoot_crypto::signature::{Signature, SigningKey};
/// let key = SigningKey::generate()?;
/// let made_up = Signature::from_bytes([7; 64]); // exists, and does not verify
/// assert!(key.verifying_key().verify("vote", b"yes", &made_up).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Takes 64 bytes; whether they are a signature shows when they are verified.
    ///
    /// ```
    /// use sealmoot_crypto::signature::{Signature, SigningKey};
    /// let key = SigningKey::generate()?;
    /// let sent: [u8; 64] = key.sign("vote", b"yes").to_bytes();
    /// let received = Signature::from_bytes(sent);
    /// key.verifying_key().verify("vote", b"yes", &received)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    ///
    /// ```
    /// use sealmoot_crypto::signature::{Signature, SigningKey};
    /// let signature = SigningKey::generate()?.sign("vote", b"yes");
    /// let mut bytes = signature.to_bytes();
    /// assert_eq!(Signature::from_bytes(bytes), signature);
    /// bytes[63] ^= 1;
    /// assert_ne!(Signature::from_bytes(bytes), signature);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 64] {
        self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Signature")
    }
}

/// The identity of a key: SHA-256 of its `SubjectPublicKeyInfo`.
///
/// ```
/// use std::collections::BTreeMap;
/// use sealmoot_crypto::signature::{KeyId, SigningKey};
/// let key = SigningKey::generate()?.verifying_key();
/// let members: BTreeMap<KeyId, &str> = [(key.key_id(), "alice")].into();
/// assert_eq!(members.get(&key.key_id()), Some(&"alice"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 32]);

impl KeyId {
    /// Takes the 32 bytes of an identity.
    ///
    /// ```
    /// use sealmoot_crypto::signature::{KeyId, SigningKey};
    /// let key = SigningKey::generate()?.verifying_key();
    /// let stored: [u8; 32] = *key.key_id().as_bytes();
    /// assert_eq!(KeyId::from_bytes(stored), key.key_id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    ///
    /// ```
    /// use sealmoot_crypto::signature::KeyId;
    /// let id = KeyId::from_bytes([0xab; 32]);
    /// assert_eq!(id.as_bytes(), &[0xab; 32]);
    /// assert_eq!(id.to_string(), "ab".repeat(32));
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A text is no [`KeyId`]: 64 digits of 0 to 9 and a to f are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id has 64 hexadecimal digits in lower case")]
pub struct NotAKeyId;

/// Reads what [`KeyId`]'s `Display` writes, and no other form of it.
///
/// ```
/// use sealmoot_crypto::signature::KeyId;
/// let id: KeyId = "ab".repeat(32).parse()?;
/// assert_eq!(id, KeyId::from_bytes([0xab; 32]));
/// assert!("AB".repeat(32).parse::<KeyId>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| NotAKeyId)?;
        let (pairs, _) = digits.as_chunks::<2>();
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high).ok_or(NotAKeyId)? << 4 | digit(*low).ok_or(NotAKeyId)?;
        }
        Ok(Self(bytes))
    }
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyId({self})")
    }
}

/// The bytes over which [`SigningKey::sign`] makes its signature, for a key that is
/// held elsewhere: in an ssh-agent or a hardware token, which computes plain Ed25519.
///
/// # Panics
/// When `domain` is longer than 255 bytes, which only a change of the code
/// can cause.
///
/// ```
/// use sealmoot_crypto::signature::{SigningKey, to_be_signed};
/// let key = SigningKey::generate()?;
/// let bytes = to_be_signed("vote", b"yes");
/// assert!(bytes.starts_with(b"sealmoot/v1/signature") && bytes.ends_with(b"yes"));
/// assert_ne!(bytes, to_be_signed("petition", b"yes"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn to_be_signed(domain: &'static str, message: &[u8]) -> Vec<u8> {
    framed(domain, message)
}

fn framed(domain: &'static str, message: &[u8]) -> Vec<u8> {
    const TAG: &[u8] = b"sealmoot/v1/signature";
    let length = u8::try_from(domain.len()).expect("domains are short literals");
    let mut framed = Vec::with_capacity(TAG.len() + 1 + domain.len() + message.len());
    framed.extend_from_slice(TAG);
    framed.push(length);
    framed.extend_from_slice(domain.as_bytes());
    framed.extend_from_slice(message);
    framed
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::testing::unhex;

    #[test]
    fn a_key_id_has_one_form() {
        let id = KeyId::from_bytes(std::array::from_fn(|index| 7 * index as u8));
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        let long = format!("{text}0");
        let prefixed = format!("0x{}", &text[2..]);
        let spaced = format!(" {}", &text[1..]);
        let signed = format!("+{}", &text[1..]);
        let wide = format!("\u{ff10}{}", &text[3..]);
        assert_eq!(wide.len(), 64);
        for refused in ["", &text[1..], &long, &prefixed, &spaced, &signed, &wide] {
            assert_eq!(refused.parse::<KeyId>(), Err(NotAKeyId), "{refused:?}");
        }
        assert_eq!("AB".repeat(32).parse::<KeyId>(), Err(NotAKeyId));
        assert_eq!("ag".repeat(32).parse::<KeyId>(), Err(NotAKeyId));
    }

    #[test]
    fn encodings_at_and_above_the_prime_are_not_reduced() {
        let mut prime = [0xff; 32];
        (prime[0], prime[31]) = (0xed, 0x7f);
        for sign in [0, 0x80] {
            for (low, reduced) in [(0xec, true), (0xed, false), (0xee, false), (0xff, false)] {
                let mut encoded = prime;
                encoded[0] = low;
                encoded[31] |= sign;
                assert_eq!(super::is_reduced(&encoded), reduced, "{low:x} {sign:x}");
            }
            for byte in 1..32 {
                let mut encoded = prime;
                encoded[31] |= sign;
                encoded[byte] -= 1;
                assert!(super::is_reduced(&encoded), "byte {byte}");
            }
        }
    }

    #[test]
    fn every_key_that_is_taken_is_its_own_encoding() {
        // A walk over points: half of all encodings are on the curve.
        let mut taken = 0;
        for counter in 0..2_000_u32 {
            let bytes = crate::digest::sha256(&counter.to_le_bytes());
            if let Ok(key) = super::VerifyingKey::from_bytes(&bytes) {
                assert_eq!(key.0.to_edwards().compress().to_bytes(), bytes);
                taken += 1;
            }
        }
        assert!(taken > 800, "{taken}");
    }

    #[test]
    fn the_eight_points_of_small_order_are_refused() {
        // "Taming the many EdDSAs" (2020), table 6(a): small-order points.
        let points = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        ];
        for point in points {
            let bytes: [u8; 32] = unhex(point).try_into().expect("32 bytes");
            assert_eq!(VerifyingKey::from_bytes(&bytes), Err(KeyRejected::Weak));
        }
    }

    #[test]
    fn a_second_encoding_of_a_point_is_refused() {
        // y = p + 3 encodes the point with y = 3 a second time.
        let mut bytes = [0xff; 32];
        bytes[0] = 0xf0;
        bytes[31] = 0x7f;
        let outcome = VerifyingKey::from_bytes(&bytes);
        assert!(outcome.is_err(), "{outcome:?}");
    }

    #[test]
    fn a_signature_is_good_for_its_domain_message_and_key_only() {
        let key = SigningKey::generate().expect("random");
        let other = SigningKey::generate().expect("random").verifying_key();
        let public = key.verifying_key();
        let signature = key.sign("invite", b"message");
        assert_eq!(public.verify("invite", b"message", &signature), Ok(()));
        assert_eq!(
            public.verify("session", b"message", &signature),
            Err(BadSignature)
        );
        assert_eq!(
            public.verify("invite", b"messagf", &signature),
            Err(BadSignature)
        );
        assert_eq!(
            other.verify("invite", b"message", &signature),
            Err(BadSignature)
        );
        for bit in 0..512 {
            let mut bytes = signature.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                public.verify("invite", b"message", &Signature::from_bytes(bytes)),
                Err(BadSignature)
            );
        }
    }

    #[test]
    fn spki_is_the_one_form_of_a_key() {
        let key = SigningKey::generate().expect("random").verifying_key();
        let spki = key.to_spki();
        assert_eq!(VerifyingKey::from_spki(&spki), Ok(key));
        assert_eq!(
            VerifyingKey::from_spki(&spki[..43]),
            Err(KeyRejected::Malformed)
        );
        let mut longer = spki.to_vec();
        longer.push(0);
        assert_eq!(
            VerifyingKey::from_spki(&longer),
            Err(KeyRejected::Malformed)
        );
        let mut other_curve = spki;
        other_curve[8] = 0x6e; // X25519's object identifier
        assert_eq!(
            VerifyingKey::from_spki(&other_curve),
            Err(KeyRejected::Malformed)
        );
    }
}
