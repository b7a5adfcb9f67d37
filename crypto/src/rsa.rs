//! RSA signatures (RFC 8017), to work with whoever has RSA keys.
//!
//! For anything new use [`crate::signature`]: Ed25519 has keys of 32 bytes and
//! signatures of 64, where RSA-2048 has 256 of each, and leaves nothing to choose.
//! Of RSA's two paddings choose PSS (section 8.1); PKCS #1 v1.5 (section 8.2) is here
//! because much of the world speaks nothing else. A message is signed as it is,
//! without a domain: whoever signs several kinds of message makes them distinct.
//!
//! Keys are read strictly, as the one DER encoding of RFC 8017 appendix A.1, bare or
//! inside `SubjectPublicKeyInfo` (RFC 5280) and PKCS #8 version 1 without attributes
//! (RFC 5208), for the algorithm `rsaEncryption`; PEM as RFC 7468's strict grammar.
//! Public exponents are odd, at least 65,537 (FIPS 186-5 section 5.4) and below 2^33;
//! the exponent 3, which some old keys have and under which careless verifiers were
//! forged to, is refused. ring and AWS-LC hold private keys in memory that they may
//! not wipe; what this module itself reads into is wiped.
//!
//! ```
//! use sealmoot_crypto::rsa::{PrivateKey, PublicKey, Scheme};
//! # let private_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rsa/test_key.pem"));
//! # let public_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rsa/test_public_key.pem"));
//! let signature = PrivateKey::from_pem(private_pem)?.sign(Scheme::PssSha256, b"order: 7")?;
//!
//! let public = PublicKey::from_pem(public_pem)?;
//! public.verify(Scheme::PssSha256, b"order: 7", &signature)?;
//! assert!(public.verify(Scheme::PssSha256, b"order: 8", &signature).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod der;
mod private_key;
mod public_key;

use alloc::vec::Vec;

use zeroize::Zeroizing;

use self::der::NotDer;
pub use self::private_key::PrivateKey;
pub use self::public_key::PublicKey;
use crate::hazmat::pem::{LINE_WIDTH, decode_block};

/// Fewest bits of a modulus.
pub const MODULUS_BITS_MIN: usize = 2048;
/// Most bits of a modulus under which signatures are verified.
pub const VERIFY_BITS_MAX: usize = 8192;
/// Most bits of a modulus under which signatures are made: ring's limit.
pub const SIGN_BITS_MAX: usize = 4096;
/// Longest PEM text that is read, in bytes; a private key of [`SIGN_BITS_MAX`] bits
/// takes some 3,300.
pub const PEM_LENGTH_MAX: usize = 8192;

/// `AlgorithmIdentifier` of `rsaEncryption` with its NULL (RFC 3279 section 2.3.1),
/// without tag and length.
const RSA_ENCRYPTION: [u8; 13] = [
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
/// An exponent of five bytes may fill one bit of the first.
const EXPONENT_LENGTH_MAX: usize = 5;

/// Padding and hash of a signature. With PSS the mask comes from the same hash, and
/// the salt is as long as its digest.
///
/// ```
/// use sealmoot_crypto::rsa::{PrivateKey, Scheme};
/// # let private_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rsa/test_key.pem"));
/// let key = PrivateKey::from_pem(private_pem)?;
/// let signature = key.sign(Scheme::PssSha256, b"at noon")?;
/// // The verifier says which scheme it expects; the signature does not choose.
/// for scheme in Scheme::ALL {
///     let verified = key.public_key().verify(scheme, b"at noon", &signature).is_ok();
///     assert_eq!(verified, scheme == Scheme::PssSha256);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// RSASSA-PSS with SHA-256.
    PssSha256,
    /// RSASSA-PSS with SHA-384.
    PssSha384,
    /// RSASSA-PSS with SHA-512.
    PssSha512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Pkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Pkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Pkcs1Sha512,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 6] = [
        Self::PssSha256,
        Self::PssSha384,
        Self::PssSha512,
        Self::Pkcs1Sha256,
        Self::Pkcs1Sha384,
        Self::Pkcs1Sha512,
    ];
}

/// Why bytes were not taken for a key.
///
/// ```
/// use sealmoot_crypto::rsa::{KeyRejected, PrivateKey, PublicKey};
/// # let public_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rsa/test_public_key.pem"));
/// let halves_mixed_up = PrivateKey::from_pem(public_pem).err();
/// assert_eq!(halves_mixed_up, Some(KeyRejected::OtherLabel));
/// assert_eq!(PublicKey::from_pem("my key").err(), Some(KeyRejected::NotPem));
/// let der = PublicKey::from_pem(public_pem)?.to_der_spki();
/// assert_eq!(PublicKey::from_der_spki(&der[1..]).err(), Some(KeyRejected::Malformed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRejected {
    /// Not PEM by RFC 7468's strict grammar, or longer than [`PEM_LENGTH_MAX`].
    #[error("not a PEM text of at most {PEM_LENGTH_MAX} bytes")]
    NotPem,
    /// PEM of something else: another kind of key, or one under a passphrase.
    #[error("the PEM text holds no such RSA key")]
    OtherLabel,
    /// Not the DER of such a key.
    #[error("not the DER encoding of an RSA key")]
    Malformed,
    /// A key of another algorithm than `rsaEncryption`.
    #[error("a key of another algorithm than rsaEncryption")]
    NotRsa,
    /// The modulus has fewer than [`MODULUS_BITS_MIN`] bits.
    #[error("{bits} bits are too few; {MODULUS_BITS_MIN} is the least")]
    TooSmall {
        /// How many it has.
        bits: usize,
    },
    /// The modulus has more than [`VERIFY_BITS_MAX`] bits, or [`SIGN_BITS_MAX`] of a
    /// private key.
    #[error("{bits} bits are too many; {maximum} is the most")]
    TooLarge {
        /// How many it has.
        bits: usize,
        /// How many it may have.
        maximum: usize,
    },
    /// The modulus is even.
    #[error("the modulus is even")]
    ModulusRefused,
    /// The public exponent is even, below 65,537, or not below 2^33.
    #[error("the public exponent is not an odd number from 65537 to 2^33 - 1")]
    ExponentRefused,
    /// The parts of the private key contradict each other. Of the private exponent
    /// little is checked: signatures are made from the primes, and one is tried.
    #[error("the parts of the private key contradict each other")]
    Inconsistent,
}

impl From<NotDer> for KeyRejected {
    fn from(_: NotDer) -> Self {
        Self::Malformed
    }
}

/// A signature does not verify. Nothing more is said.
///
/// ```
/// use sealmoot_crypto::rsa::{BadSignature, PublicKey, Scheme};
/// # let public_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rsa/test_public_key.pem"));
/// let key = PublicKey::from_pem(public_pem)?;
/// let forged = key.verify(Scheme::PssSha256, b"at noon", &[7; 256]);
/// let too_short = key.verify(Scheme::PssSha256, b"at noon", &[7; 255]);
/// assert_eq!((forged, too_short), (Err(BadSignature), Err(BadSignature)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// Nothing was signed: the random source, which PSS takes its salt from, failed.
/// AWS-LC, whose generator is its own, stops the process instead.
///
/// A key whose parts contradict each other would be another cause; it is found by a
/// trial signature when the key is read.
///
/// ```
/// use sealmoot_crypto::rsa::{PrivateKey, Scheme, SignError};
/// # let private_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rsa/test_key.pem"));
/// let key = PrivateKey::from_pem(private_pem)?;
/// // No message is at fault for it: try again, or stop.
/// let outcome = key.sign(Scheme::PssSha256, b"");
/// assert_ne!(outcome, Err(SignError));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no signature could be made: the random source failed")]
pub struct SignError;

/// Label and content, the content wiped when it is dropped.
fn decode_pem(pem: &str) -> Result<(&str, Zeroizing<Vec<u8>>), KeyRejected> {
    if pem.len() > PEM_LENGTH_MAX {
        return Err(KeyRejected::NotPem);
    }
    decode_block(pem.as_bytes(), LINE_WIDTH).ok_or(KeyRejected::NotPem)
}

#[cfg(test)]
mod tests;
