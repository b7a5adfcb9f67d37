//! RSA public keys, which verify.

use alloc::vec::Vec;

use core::fmt;

use super::der::{self, BIT_STRING, Reader, SEQUENCE};
use super::{
    BadSignature, EXPONENT_LENGTH_MAX, KeyRejected, MODULUS_BITS_MIN, RSA_ENCRYPTION, Scheme,
    VERIFY_BITS_MAX, decode_pem,
};
use crate::backend::Backend;

/// An RSA public key of 2048 to 8192 bits.
///
/// ```
/// use sealmoot_crypto::{backend::Backend, rsa::PublicKey};
/// # let pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rsa/test_public_key.pem"));
/// let key = PublicKey::from_pem(pem)?; // "-----BEGIN PUBLIC KEY-----..."
/// assert_eq!(key.bits(), 2048);
/// assert_eq!(PublicKey::from_der_spki(&key.to_der_spki())?, key.on(Backend::Ring));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PublicKey {
    backend: Backend,
    /// Big-endian, without leading zeros; and the exponent too.
    pub(super) modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl PublicKey {
    /// Reads PEM: `PUBLIC KEY` or `RSA PUBLIC KEY`.
    ///
    /// # Errors
    /// [`KeyRejected`], whatever is wrong.
    pub fn from_pem(pem: &str) -> Result<Self, KeyRejected> {
        let (label, der) = decode_pem(pem)?;
        match label {
            "PUBLIC KEY" => Self::from_der_spki(&der),
            "RSA PUBLIC KEY" => Self::from_der_pkcs1(&der),
            _ => Err(KeyRejected::OtherLabel),
        }
    }

    /// Reads a DER `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7).
    ///
    /// # Errors
    /// [`KeyRejected`], whatever is wrong.
    ///
    /// ```
    /// use sealmoot_crypto::rsa::{KeyRejected, PublicKey};
    /// assert_eq!(PublicKey::from_der_spki(b"no DER"), Err(KeyRejected::Malformed));
    /// ```
    pub fn from_der_spki(der: &[u8]) -> Result<Self, KeyRejected> {
        let mut outer = Reader::new(der);
        let mut info = outer.sequence()?;
        outer.finish()?;
        let algorithm = info.element(SEQUENCE)?;
        let key = info.bit_string()?;
        info.finish()?;
        if algorithm != RSA_ENCRYPTION {
            return Err(KeyRejected::NotRsa);
        }
        Self::from_der_pkcs1(key)
    }

    /// Reads a DER `RSAPublicKey` (RFC 8017 appendix A.1.1).
    ///
    /// # Errors
    /// [`KeyRejected`], whatever is wrong.
    pub fn from_der_pkcs1(der: &[u8]) -> Result<Self, KeyRejected> {
        let mut outer = Reader::new(der);
        let mut key = outer.sequence()?;
        outer.finish()?;
        let (modulus, exponent) = (key.positive()?, key.positive()?);
        key.finish()?;
        Self::checked(modulus, exponent, VERIFY_BITS_MAX)
    }

    pub(super) fn checked(
        modulus: &[u8],
        exponent: &[u8],
        maximum: usize,
    ) -> Result<Self, KeyRejected> {
        let bits = bits(modulus);
        if bits < MODULUS_BITS_MIN {
            return Err(KeyRejected::TooSmall { bits });
        }
        if bits > maximum {
            return Err(KeyRejected::TooLarge { bits, maximum });
        }
        if !is_odd(modulus) {
            return Err(KeyRejected::ModulusRefused);
        }
        if exponent.len() > EXPONENT_LENGTH_MAX {
            return Err(KeyRejected::ExponentRefused);
        }
        let value = exponent
            .iter()
            .fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        if !is_odd(exponent) || !(65_537..1 << 33).contains(&value) {
            return Err(KeyRejected::ExponentRefused);
        }
        Ok(Self {
            backend: Backend::default(),
            modulus: modulus.to_vec(),
            exponent: exponent.to_vec(),
        })
    }

    /// The same key, computed by `backend`.
    #[must_use]
    pub fn on(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// How many bits the modulus has.
    #[must_use]
    pub fn bits(&self) -> usize {
        bits(&self.modulus)
    }

    /// The key as DER `SubjectPublicKeyInfo`, the one encoding that
    /// [`PublicKey::from_der_spki`] takes for it.
    #[must_use]
    pub fn to_der_spki(&self) -> Vec<u8> {
        let numbers = [der::positive(&self.modulus), der::positive(&self.exponent)];
        let key = der::element(SEQUENCE, &[&numbers[0], &numbers[1]]);
        let algorithm = der::element(SEQUENCE, &[&RSA_ENCRYPTION]);
        let key = der::element(BIT_STRING, &[&[0], &key]);
        der::element(SEQUENCE, &[&algorithm, &key])
    }

    /// Verifies a signature over `message`.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(
        &self,
        scheme: Scheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let (n, e) = (&self.modulus, &self.exponent);
        match self.backend {
            Backend::Ring => {
                use ring::signature::{self, RsaPublicKeyComponents};
                let parameters = match scheme {
                    Scheme::PssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Scheme::PssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Scheme::PssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
                    Scheme::Pkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Scheme::Pkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Scheme::Pkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                };
                RsaPublicKeyComponents { n, e }
                    .verify(parameters, message, signature)
                    .map_err(|_| BadSignature)
            }
            #[cfg(feature = "aws-lc")]
            Backend::AwsLc => {
                use aws_lc_rs::signature::{self, RsaPublicKeyComponents};
                let parameters = match scheme {
                    Scheme::PssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Scheme::PssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Scheme::PssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
                    Scheme::Pkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Scheme::Pkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Scheme::Pkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                };
                RsaPublicKeyComponents { n, e }
                    .verify(parameters, message, signature)
                    .map_err(|_| BadSignature)
            }
        }
    }
}

impl PartialEq for PublicKey {
    /// Whether it is the same key; by which backend it computes is no part of it.
    fn eq(&self, other: &Self) -> bool {
        (&self.modulus, &self.exponent) == (&other.modulus, &other.exponent)
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey(RSA, {} bits)", self.bits())
    }
}

/// How many bits a number has that begins without a zero byte.
fn bits(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |byte| byte.leading_zeros());
    number.len() * 8 - unused as usize
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|byte| byte & 1 == 1)
}
