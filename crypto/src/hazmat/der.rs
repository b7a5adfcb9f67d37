//! Private keys as PKCS#8 (RFC 5958) and public keys as `SubjectPublicKeyInfo`, with
//! RFC 8410's algorithm identifiers for Ed25519 and X25519, in DER.
//!
//! Private keys are read in version 1 and in version 2, which adds the public key
//! and must then agree with it; written is version 1, which everybody reads.
//! `SigningKey::to_pkcs8_der`, `VerifyingKey::from_spki` and `to_spki` are the
//! Ed25519 counterparts of what is missing here.
//!
//! ```
//! use sealmoot_crypto::{hazmat::der, signature::SigningKey};
//! let key = SigningKey::generate()?;
//! let private = key.to_pkcs8_der(); // for a file that only its owner reads
//! let public = key.verifying_key().to_spki();
//! assert_eq!(der::verifying_key_from_spki(&public)?, key.verifying_key());
//! let read = der::signing_key_from_pkcs8(private.expose())?;
//! assert_eq!(read.verifying_key(), key.verifying_key());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;

use crate::agreement::{AgreementKey, AgreementPublic};
use crate::secret::{SecretArray, SecretBytes};
use crate::signature::{KeyRejected, SPKI_LENGTH, SigningKey, VerifyingKey};

/// Most bytes of DER that are looked at; a key has 44 to 85, and attributes may stand
/// beside it.
pub const DER_LENGTH_MAX: usize = 4096;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// `attributes [0]` of a PKCS#8 key.
const ATTRIBUTES: u8 = 0xa0;
/// `publicKey [1] IMPLICIT BIT STRING` of a PKCS#8 key of version 2.
const PUBLIC_KEY: u8 = 0x81;
/// The same, tagged explicitly: not RFC 5958, but what older versions of ring wrote
/// (github.com/briansmith/ring, issue 1464).
const PUBLIC_KEY_EXPLICIT: u8 = 0xa1;

/// Why bytes were not taken for a key.
///
/// ```
/// use sealmoot_crypto::{agreement::AgreementKey, hazmat::der::{self, DerError}};
/// let x25519 = der::agreement_key_to_pkcs8(&AgreementKey::generate()?);
/// let refused = der::signing_key_from_pkcs8(x25519.expose());
/// assert_eq!(refused.err(), Some(DerError::OtherAlgorithm));
/// let cut_off = der::agreement_key_from_pkcs8(&x25519.expose()[..47]);
/// assert_eq!(cut_off.err(), Some(DerError::Malformed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DerError {
    /// More than [`DER_LENGTH_MAX`] bytes.
    #[error("{length} bytes of DER are more than the maximum of {DER_LENGTH_MAX}")]
    TooLong {
        /// How many there are.
        length: usize,
    },
    /// Not DER, not of the expected structure, or bytes are missing or left over.
    #[error("not a key in DER of the expected structure")]
    Malformed,
    /// A version of PKCS#8 other than 1 and 2.
    #[error("a version of PKCS#8 that is not known")]
    UnknownVersion,
    /// A key for another algorithm: RSA, an elliptic curve of NIST's, X25519 where
    /// Ed25519 is expected or the reverse.
    #[error("the key is for another algorithm")]
    OtherAlgorithm,
    /// The private key carries a public key that is not its own.
    #[error("the public key in the file is not the private key's")]
    PublicKeyDiffers,
    /// The public key is weak or has a second encoding.
    #[error(transparent)]
    PublicKey(#[from] KeyRejected),
}

/// The Ed25519 private key in a PKCS#8 structure of version 1 or 2.
///
/// # Errors
/// [`DerError`].
///
/// ```
/// use sealmoot_crypto::{hazmat::der, signature::SigningKey};
/// let key = SigningKey::generate()?;
/// let again = der::signing_key_from_pkcs8(key.to_pkcs8_der().expose())?;
/// assert_eq!(again.verifying_key(), key.verifying_key());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn signing_key_from_pkcs8(der: &[u8]) -> Result<SigningKey, DerError> {
    let (seed, public) = private_key(der, Curve::Ed25519)?;
    let key = SigningKey::from_seed(&seed);
    check_public(public, &key.verifying_key().to_bytes())?;
    Ok(key)
}

/// The Ed25519 public key in a `SubjectPublicKeyInfo`: as
/// [`VerifyingKey::from_spki`], with an error that tells another algorithm's key
/// from no key at all.
///
/// # Errors
/// [`DerError`].
///
/// ```
/// use sealmoot_crypto::hazmat::der::{self, DerError};
/// use sealmoot_crypto::{agreement::AgreementKey, signature::SigningKey};
/// let key = SigningKey::generate()?.verifying_key();
/// assert_eq!(der::verifying_key_from_spki(&key.to_spki())?, key);
/// let x25519 = der::agreement_public_to_spki(&AgreementKey::generate()?.public());
/// assert_eq!(der::verifying_key_from_spki(&x25519), Err(DerError::OtherAlgorithm));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verifying_key_from_spki(der: &[u8]) -> Result<VerifyingKey, DerError> {
    Ok(VerifyingKey::from_bytes(&public_key(der, Curve::Ed25519)?)?)
}

/// The X25519 private key in a PKCS#8 structure of version 1 or 2.
///
/// # Errors
/// [`DerError`].
///
/// ```
/// use sealmoot_crypto::{agreement::AgreementKey, hazmat::der};
/// let key = AgreementKey::generate()?;
/// let again = der::agreement_key_from_pkcs8(der::agreement_key_to_pkcs8(&key).expose())?;
/// assert_eq!(again.public(), key.public());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn agreement_key_from_pkcs8(der: &[u8]) -> Result<AgreementKey, DerError> {
    let (bytes, public) = private_key(der, Curve::X25519)?;
    let key = AgreementKey::from_bytes(&bytes);
    check_public(public, key.public().as_bytes())?;
    Ok(key)
}

/// An X25519 private key as PKCS#8 version 1.
///
/// ```
/// use sealmoot_crypto::{agreement::AgreementKey, hazmat::{der, raw}};
/// let key = AgreementKey::generate()?;
/// let pkcs8 = der::agreement_key_to_pkcs8(&key);
/// assert_eq!(pkcs8.len(), 48);
/// assert_eq!(&pkcs8.expose()[16..], raw::export_agreement_key(&key).expose());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn agreement_key_to_pkcs8(key: &AgreementKey) -> SecretBytes {
    let oid = Curve::X25519.object_identifier();
    let mut der = Vec::with_capacity(48);
    der.extend_from_slice(&[SEQUENCE, 46, INTEGER, 1, 0, SEQUENCE, 5]);
    der.extend_from_slice(&[OBJECT_IDENTIFIER, 3, oid[0], oid[1], oid[2]]);
    der.extend_from_slice(&[OCTET_STRING, 34, OCTET_STRING, 32]);
    der.extend_from_slice(key.to_secret().expose());
    SecretBytes::new(der)
}

/// The X25519 public key in a `SubjectPublicKeyInfo`. A point of low order shows when
/// it is used: see [`AgreementKey::agree`].
///
/// # Errors
/// [`DerError`].
///
/// ```
/// use sealmoot_crypto::{agreement::AgreementKey, hazmat::der};
/// let public = AgreementKey::generate()?.public();
/// let again = der::agreement_public_from_spki(&der::agreement_public_to_spki(&public))?;
/// assert_eq!(again, public);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn agreement_public_from_spki(der: &[u8]) -> Result<AgreementPublic, DerError> {
    Ok(AgreementPublic::from_bytes(public_key(der, Curve::X25519)?))
}

/// An X25519 public key as `SubjectPublicKeyInfo`.
///
/// ```
/// use sealmoot_crypto::{agreement::AgreementKey, hazmat::der};
/// let public = AgreementKey::generate()?.public();
/// let spki = der::agreement_public_to_spki(&public);
/// assert_eq!(&spki[12..], public.as_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn agreement_public_to_spki(key: &AgreementPublic) -> [u8; SPKI_LENGTH] {
    let oid = Curve::X25519.object_identifier();
    let mut der = [0u8; SPKI_LENGTH];
    der[..4].copy_from_slice(&[SEQUENCE, 42, SEQUENCE, 5]);
    der[4..9].copy_from_slice(&[OBJECT_IDENTIFIER, 3, oid[0], oid[1], oid[2]]);
    der[9..12].copy_from_slice(&[BIT_STRING, 33, 0]);
    der[12..].copy_from_slice(key.as_bytes());
    der
}

#[derive(Clone, Copy)]
enum Curve {
    Ed25519,
    X25519,
}

impl Curve {
    /// 1.3.101.112 and 1.3.101.110 (RFC 8410, section 3).
    fn object_identifier(self) -> [u8; 3] {
        match self {
            Self::Ed25519 => [0x2b, 0x65, 0x70],
            Self::X25519 => [0x2b, 0x65, 0x6e],
        }
    }
}

/// The private key, and the public one when it stands beside it.
type PrivateKey<'a> = (SecretArray<32>, Option<&'a [u8; 32]>);

fn private_key(der: &[u8], curve: Curve) -> Result<PrivateKey<'_>, DerError> {
    let mut outer = Elements::new(der)?;
    let mut key = Elements(outer.take(SEQUENCE)?);
    outer.finish()?;
    let version = match key.take(INTEGER)? {
        [0] => 1,
        [1] => 2,
        _ => return Err(DerError::UnknownVersion),
    };
    algorithm(&mut key, curve)?;
    let mut wrapped = Elements(key.take(OCTET_STRING)?);
    let secret = SecretArray::from_slice(wrapped.take(OCTET_STRING)?);
    let secret = secret.ok_or(DerError::Malformed)?;
    wrapped.finish()?;
    // Attributes say nothing about the key; they are inside the maximum length.
    if key.next_is(ATTRIBUTES) {
        key.take(ATTRIBUTES)?;
    }
    let public = if key.next_is(PUBLIC_KEY) {
        Some(bit_string(key.take(PUBLIC_KEY)?)?)
    } else if key.next_is(PUBLIC_KEY_EXPLICIT) {
        let mut explicit = Elements(key.take(PUBLIC_KEY_EXPLICIT)?);
        let public = bit_string(explicit.take(BIT_STRING)?)?;
        explicit.finish()?;
        Some(public)
    } else {
        None
    };
    key.finish()?;
    // A public key is what makes version 2 (RFC 5958, section 2).
    if (version == 2) != public.is_some() {
        return Err(DerError::Malformed);
    }
    Ok((secret, public))
}

fn public_key(der: &[u8], curve: Curve) -> Result<[u8; 32], DerError> {
    let mut outer = Elements::new(der)?;
    let mut key = Elements(outer.take(SEQUENCE)?);
    outer.finish()?;
    algorithm(&mut key, curve)?;
    let public = *bit_string(key.take(BIT_STRING)?)?;
    key.finish()?;
    Ok(public)
}

/// The algorithm's identifier, without parameters: RFC 8410 forbids them.
fn algorithm(key: &mut Elements<'_>, curve: Curve) -> Result<(), DerError> {
    let mut algorithm = Elements(key.take(SEQUENCE)?);
    if algorithm.take(OBJECT_IDENTIFIER)? != curve.object_identifier() {
        return Err(DerError::OtherAlgorithm);
    }
    algorithm.finish()
}

/// 32 bytes behind the count of unused bits, which is zero.
fn bit_string(content: &[u8]) -> Result<&[u8; 32], DerError> {
    match content {
        [0, key @ ..] => key.try_into().map_err(|_| DerError::Malformed),
        _ => Err(DerError::Malformed),
    }
}

/// A file whose halves do not belong together was put together by somebody: using
/// the private half under the other's name has leaked keys.
fn check_public(claimed: Option<&[u8; 32]>, own: &[u8; 32]) -> Result<(), DerError> {
    match claimed {
        Some(claimed) if claimed != own => Err(DerError::PublicKeyDiffers),
        _ => Ok(()),
    }
}

/// DER elements that follow each other.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    fn new(der: &'a [u8]) -> Result<Self, DerError> {
        match der.len() {
            length if length > DER_LENGTH_MAX => Err(DerError::TooLong { length }),
            _ => Ok(Self(der)),
        }
    }

    fn next_is(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// The content of the next element, which has this tag and the shortest form of
    /// its length.
    fn take(&mut self, tag: u8) -> Result<&'a [u8], DerError> {
        let (length, rest) = match *self.0 {
            [found, ..] if found != tag => return Err(DerError::Malformed),
            [_, length @ 0..=0x7f, ref rest @ ..] => (usize::from(length), rest),
            [_, 0x81, length @ 0x80..=0xff, ref rest @ ..] => (usize::from(length), rest),
            [_, 0x82, high @ 1..=0xff, low, ref rest @ ..] => {
                (usize::from(u16::from_be_bytes([high, low])), rest)
            }
            _ => return Err(DerError::Malformed),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(DerError::Malformed)?;
        self.0 = rest;
        Ok(content)
    }

    fn finish(self) -> Result<(), DerError> {
        match self.0 {
            [] => Ok(()),
            _ => Err(DerError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::hazmat::raw;
    use crate::testing::{hex, unhex};

    // RFC 8410, section 10.3: the same key in both versions, decoded from their PEM,
    // and its public key, section 10.1.
    const VERSION_1: &str = "302e020100300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
    const VERSION_2: &str = "3072020101300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842\
         a01f301d060a2a864886f70d01090914310f0c0d437572646c6520436861697273\
         81210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
    const PUBLIC: &str =
        "302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";

    fn refused(der: &[u8]) -> DerError {
        signing_key_from_pkcs8(der).expect_err("refused")
    }

    #[test]
    fn rfc_8410_keys() {
        let public = verifying_key_from_spki(&unhex(PUBLIC)).expect("a key");
        for text in [VERSION_1, VERSION_2] {
            let key = signing_key_from_pkcs8(&unhex(text)).expect("a key");
            assert_eq!(key.verifying_key(), public);
            assert_eq!(hex(key.to_pkcs8_der().expose()), VERSION_1);
        }
    }

    // github.com/briansmith/ring, issue 1299 (2021): a key that ring made then.
    #[test]
    fn old_rings_version_2_with_its_explicit_tag_is_read() {
        let der = unhex(
            "3053020101300506032b6570042204203a133dabada2aa9ce54b0961cc3f1576b0943dc86ebf72a56e052c43f30fa3a5\
             a123032100a3a7eae3a8373830bc47e1167bc50e1db551999651e0e2dc587623438eac3f31",
        );
        let key = signing_key_from_pkcs8(&der).expect("a key");
        assert_eq!(key.verifying_key().to_bytes(), der[53..]);
        let mut changed = der.clone();
        changed[84] ^= 1;
        assert_eq!(refused(&changed), DerError::PublicKeyDiffers);
    }

    #[test]
    fn rings_own_version_2_is_read() {
        use ring::signature::{Ed25519KeyPair, KeyPair};
        let random = ring::rand::SystemRandom::new();
        let der = Ed25519KeyPair::generate_pkcs8(&random).expect("generated");
        let key = signing_key_from_pkcs8(der.as_ref()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).expect("its own");
        assert_eq!(pair.public_key().as_ref(), key.verifying_key().to_bytes());
    }

    #[test]
    fn every_truncation_and_every_byte_more_is_refused() {
        for text in [VERSION_1, VERSION_2] {
            let der = unhex(text);
            for length in 0..der.len() {
                assert_eq!(refused(&der[..length]), DerError::Malformed, "{length}");
            }
            assert_eq!(
                refused(&[der.as_slice(), &[0]].concat()),
                DerError::Malformed
            );
        }
        let der = unhex(PUBLIC);
        for length in 0..der.len() {
            assert_eq!(
                verifying_key_from_spki(&der[..length]),
                Err(DerError::Malformed)
            );
        }
        assert_eq!(
            verifying_key_from_spki(&[der.as_slice(), &[0]].concat()),
            Err(DerError::Malformed)
        );
    }

    #[test]
    fn every_flip_is_refused_or_is_another_key() {
        let original = signing_key_from_pkcs8(&unhex(VERSION_2)).expect("a key");
        let der = unhex(VERSION_2);
        for bit in 0..der.len() * 8 {
            let mut flipped = der.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Of version 2 only the attributes' content is free to change.
            match signing_key_from_pkcs8(&flipped) {
                Ok(key) => {
                    assert_eq!(key.verifying_key(), original.verifying_key());
                    assert!((50..81).contains(&(bit / 8)), "byte {}", bit / 8);
                }
                Err(error) => {
                    if (16..48).contains(&(bit / 8)) {
                        assert_eq!(error, DerError::PublicKeyDiffers);
                    }
                }
            }
        }
        let der = unhex(VERSION_1);
        for bit in 0..16 * 8 {
            let mut flipped = der.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(signing_key_from_pkcs8(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_public_key_of_another_private_key_is_refused() {
        let mut der = unhex(VERSION_2);
        let last = der.len() - 1;
        der[last] ^= 1;
        assert_eq!(refused(&der), DerError::PublicKeyDiffers);
    }

    #[test]
    fn version_and_public_key_go_together() {
        let mut der = unhex(VERSION_1);
        der[4] = 1;
        assert_eq!(refused(&der), DerError::Malformed);
        let mut der = unhex(VERSION_2);
        der[4] = 0;
        assert_eq!(refused(&der), DerError::Malformed);
        der[4] = 2;
        assert_eq!(refused(&der), DerError::UnknownVersion);
    }

    #[test]
    fn a_length_in_a_longer_form_is_refused() {
        // 30 81 2e, and 30 82 00 2e, say what 30 2e says.
        let der = unhex(VERSION_1);
        for length in [&[0x81, 0x2e][..], &[0x82, 0, 0x2e], &[0x80]] {
            let longer = [&der[..1], length, &der[2..]].concat();
            assert_eq!(refused(&longer), DerError::Malformed);
        }
    }

    #[test]
    fn bytes_behind_an_inner_element_are_refused() {
        // Behind the seed, inside the octet string that wraps it.
        let mut der = unhex(VERSION_1);
        der.push(0);
        for length in [1, 13] {
            der[length] += 1;
        }
        assert_eq!(refused(&der), DerError::Malformed);
        // Behind the public key, inside old ring's explicit tag.
        let seed = SecretArray::from_bytes([7; 32]);
        let public = SigningKey::from_seed(&seed).verifying_key().to_bytes();
        let explicit = |behind: &[u8]| {
            let mut der = vec![SEQUENCE, 83 + behind.len() as u8, INTEGER, 1, 1];
            der.extend_from_slice(&unhex(VERSION_1)[5..16]);
            der.extend_from_slice(seed.expose());
            der.extend_from_slice(&[PUBLIC_KEY_EXPLICIT, 35 + behind.len() as u8]);
            der.extend_from_slice(&[BIT_STRING, 33, 0]);
            der.extend_from_slice(&public);
            der.extend_from_slice(behind);
            der
        };
        assert!(signing_key_from_pkcs8(&explicit(&[])).is_ok());
        assert_eq!(refused(&explicit(&[0])), DerError::Malformed);
    }

    #[test]
    fn parameters_beside_the_algorithm_are_refused() {
        let der = unhex(
            "3030020100300706032b6570050004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842",
        );
        assert_eq!(refused(&der), DerError::Malformed);
    }

    #[test]
    fn other_algorithms_are_named_as_such() {
        let key = raw::import_agreement_key(&[7; 32]).expect("a key");
        let der = agreement_key_to_pkcs8(&key);
        assert_eq!(refused(der.expose()), DerError::OtherAlgorithm);
        assert_eq!(
            agreement_key_from_pkcs8(&unhex(VERSION_1)).err(),
            Some(DerError::OtherAlgorithm)
        );
        assert_eq!(
            verifying_key_from_spki(&agreement_public_to_spki(&key.public())),
            Err(DerError::OtherAlgorithm)
        );
        assert_eq!(
            agreement_public_from_spki(&unhex(PUBLIC)),
            Err(DerError::OtherAlgorithm)
        );
    }

    #[test]
    fn weak_and_second_encodings_of_public_keys_are_refused() {
        let with = |point: [u8; 32]| [&unhex(PUBLIC)[..12], &point].concat();
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(
            verifying_key_from_spki(&with(identity)),
            Err(DerError::PublicKey(KeyRejected::Weak))
        );
        // y = p + 3.
        let mut second = [0xff; 32];
        second[0] = 0xf0;
        second[31] = 0x7f;
        assert_eq!(
            verifying_key_from_spki(&with(second)),
            Err(DerError::PublicKey(KeyRejected::NotCanonical))
        );
    }

    #[test]
    fn an_agreement_key_comes_back_unclamped() {
        let key = raw::import_agreement_key(&[0xff; 32]).expect("a key");
        let der = agreement_key_to_pkcs8(&key);
        let again = agreement_key_from_pkcs8(der.expose()).expect("a key");
        assert_eq!(raw::export_agreement_key(&again).expose(), &[0xff; 32]);
        let spki = agreement_public_to_spki(&key.public());
        assert_eq!(agreement_public_from_spki(&spki), Ok(key.public()));
    }

    #[test]
    fn more_than_the_maximum_is_not_looked_at() {
        let bytes = vec![SEQUENCE; DER_LENGTH_MAX + 1];
        let refused = DerError::TooLong { length: 4097 };
        assert_eq!(signing_key_from_pkcs8(&bytes).err(), Some(refused));
        assert_eq!(agreement_key_from_pkcs8(&bytes).err(), Some(refused));
        assert_eq!(verifying_key_from_spki(&bytes), Err(refused));
        assert_eq!(agreement_public_from_spki(&bytes), Err(refused));
    }
}
