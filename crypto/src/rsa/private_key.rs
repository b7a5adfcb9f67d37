//! RSA private keys, which sign.

use alloc::boxed::Box;
use alloc::vec::Vec;

use core::fmt;

use super::der::{OCTET_STRING, Reader, SEQUENCE};
use super::{KeyRejected, PublicKey, RSA_ENCRYPTION, SIGN_BITS_MAX, Scheme, SignError, decode_pem};
use crate::backend::Backend;

/// An RSA private key of 2048 to 4096 bits and two primes.
///
/// ```
/// use sealmoot_crypto::rsa::{PrivateKey, PublicKey, Scheme};
/// # let private_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rsa/test_key.pem"));
/// # let public_pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rsa/test_public_key.pem"));
/// let key = PrivateKey::from_pem(private_pem)?; // "-----BEGIN PRIVATE KEY-----..."
/// let signature = key.sign(Scheme::PssSha256, b"at noon")?;
///
/// let public = PublicKey::from_pem(public_pem)?;
/// assert_eq!(&public, key.public_key());
/// public.verify(Scheme::PssSha256, b"at noon", &signature)?;
/// assert!(public.verify(Scheme::PssSha256, b"at moon", &signature).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PrivateKey {
    key: Key,
    public: PublicKey,
}

enum Key {
    // Boxed for its size.
    Ring(Box<ring::rsa::KeyPair>),
    #[cfg(feature = "aws-lc")]
    AwsLc(aws_lc_rs::rsa::KeyPair),
}

impl PrivateKey {
    /// Reads PEM: `PRIVATE KEY` (PKCS #8) or `RSA PRIVATE KEY` (PKCS #1), neither of
    /// them under a passphrase. The text itself is the caller's to wipe.
    ///
    /// # Errors
    /// [`KeyRejected`], whatever is wrong.
    ///
    /// ```
    /// use sealmoot_crypto::rsa::{KeyRejected, PrivateKey};
    /// let outcome = PrivateKey::from_pem("-----BEGIN PUBLIC KEY-----");
    /// assert_eq!(outcome.err(), Some(KeyRejected::NotPem));
    /// ```
    pub fn from_pem(pem: &str) -> Result<Self, KeyRejected> {
        Self::from_pem_on(Backend::default(), pem)
    }

    /// As [`PrivateKey::from_pem`], computed by `backend`.
    ///
    /// # Errors
    /// [`KeyRejected`], whatever is wrong.
    pub fn from_pem_on(backend: Backend, pem: &str) -> Result<Self, KeyRejected> {
        let (label, der) = decode_pem(pem)?;
        match label {
            "PRIVATE KEY" => Self::from_der_pkcs8_on(backend, &der),
            "RSA PRIVATE KEY" => Self::from_der_pkcs1_on(backend, &der),
            _ => Err(KeyRejected::OtherLabel),
        }
    }

    /// Reads a DER `PrivateKeyInfo` (PKCS #8 version 1, RFC 5208 section 5) without
    /// attributes.
    ///
    /// # Errors
    /// [`KeyRejected`], whatever is wrong.
    pub fn from_der_pkcs8(der: &[u8]) -> Result<Self, KeyRejected> {
        Self::from_der_pkcs8_on(Backend::default(), der)
    }

    /// As [`PrivateKey::from_der_pkcs8`], computed by `backend`.
    ///
    /// # Errors
    /// [`KeyRejected`], whatever is wrong.
    pub fn from_der_pkcs8_on(backend: Backend, der: &[u8]) -> Result<Self, KeyRejected> {
        let mut outer = Reader::new(der);
        let mut info = outer.sequence()?;
        outer.finish()?;
        info.zero()?;
        let algorithm = info.element(SEQUENCE)?;
        let key = info.element(OCTET_STRING)?;
        info.finish()?;
        if algorithm != RSA_ENCRYPTION {
            return Err(KeyRejected::NotRsa);
        }
        Self::from_der_pkcs1_on(backend, key)
    }

    /// Reads a DER `RSAPrivateKey` (RFC 8017 appendix A.1.2) of two primes.
    ///
    /// # Errors
    /// [`KeyRejected`], whatever is wrong.
    pub fn from_der_pkcs1(der: &[u8]) -> Result<Self, KeyRejected> {
        Self::from_der_pkcs1_on(Backend::default(), der)
    }

    /// As [`PrivateKey::from_der_pkcs1`], computed by `backend`.
    ///
    /// # Errors
    /// [`KeyRejected`], whatever is wrong.
    pub fn from_der_pkcs1_on(backend: Backend, der: &[u8]) -> Result<Self, KeyRejected> {
        let mut outer = Reader::new(der);
        let mut key = outer.sequence()?;
        outer.finish()?;
        key.zero()?;
        let (modulus, exponent) = (key.positive()?, key.positive()?);
        // d, p, q, d mod (p-1), d mod (q-1), q^-1 mod p.
        for _ in 0..6 {
            key.positive()?;
        }
        key.finish()?;
        let public = PublicKey::checked(modulus, exponent, SIGN_BITS_MAX)?.on(backend);
        let inconsistent = KeyRejected::Inconsistent;
        let key = match backend {
            Backend::Ring => Key::Ring(Box::new(
                ring::rsa::KeyPair::from_der(der).map_err(|_| inconsistent)?,
            )),
            #[cfg(feature = "aws-lc")]
            Backend::AwsLc => {
                Key::AwsLc(aws_lc_rs::rsa::KeyPair::from_der(der).map_err(|_| inconsistent)?)
            }
        };
        let key = Self { key, public };
        // Some contradictions show only when the key is used: both backends verify what
        // they sign, because a signature made with one wrong part gives the primes
        // away. So the key is used once, here.
        key.sign(Scheme::Pkcs1Sha256, b"")
            .map_err(|_| inconsistent)?;
        Ok(key)
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// A signature over `message`, as long as the modulus.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0u8; self.public.modulus.len()];
        match &self.key {
            Key::Ring(key) => {
                use ring::signature::{self, RsaEncoding};
                let encoding: &'static dyn RsaEncoding = match scheme {
                    Scheme::PssSha256 => &signature::RSA_PSS_SHA256,
                    Scheme::PssSha384 => &signature::RSA_PSS_SHA384,
                    Scheme::PssSha512 => &signature::RSA_PSS_SHA512,
                    Scheme::Pkcs1Sha256 => &signature::RSA_PKCS1_SHA256,
                    Scheme::Pkcs1Sha384 => &signature::RSA_PKCS1_SHA384,
                    Scheme::Pkcs1Sha512 => &signature::RSA_PKCS1_SHA512,
                };
                // ring takes no other source for the salt; it is the system's too.
                let random = ring::rand::SystemRandom::new();
                key.sign(encoding, &random, message, &mut signature)
                    .map_err(|_| SignError)?;
            }
            #[cfg(feature = "aws-lc")]
            Key::AwsLc(key) => {
                use aws_lc_rs::signature::{self, RsaEncoding};
                let encoding: &'static dyn RsaEncoding = match scheme {
                    Scheme::PssSha256 => &signature::RSA_PSS_SHA256,
                    Scheme::PssSha384 => &signature::RSA_PSS_SHA384,
                    Scheme::PssSha512 => &signature::RSA_PSS_SHA512,
                    Scheme::Pkcs1Sha256 => &signature::RSA_PKCS1_SHA256,
                    Scheme::Pkcs1Sha384 => &signature::RSA_PKCS1_SHA384,
                    Scheme::Pkcs1Sha512 => &signature::RSA_PKCS1_SHA512,
                };
                let random = aws_lc_rs::rand::SystemRandom::new();
                key.sign(encoding, &random, message, &mut signature)
                    .map_err(|_| SignError)?;
            }
        }
        Ok(signature)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PrivateKey(RSA, {} bits)", self.public.bits())
    }
}
