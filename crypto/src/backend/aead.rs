//! AES-256-GCM (NIST SP 800-38D) and ChaCha20-Poly1305 (RFC 8439) by either backend.
//!
//! Private to the crate, because it takes nonces: whoever calls it has to show
//! that none repeats under one key.

use core::fmt;

use super::Backend;

/// Length of a key in bytes, for both ciphers.
pub(crate) const KEY_LENGTH: usize = 32;
/// Length of a nonce in bytes, for both ciphers.
pub(crate) const NONCE_LENGTH: usize = 12;
/// Length of a tag in bytes, for both ciphers.
pub(crate) const TAG_LENGTH: usize = 16;

/// The input is longer than the cipher allows (2^36 - 32 bytes for AES-256-GCM).
#[derive(Debug)]
pub(crate) struct TooLong;

/// The tag does not fit: the bytes in the buffer are then unspecified.
#[derive(Debug)]
pub(crate) struct BadTag;

/// A cipher with a 256-bit key, a 96-bit nonce and a 128-bit tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    Aes256Gcm,
    ChaCha20Poly1305,
}

#[cfg_attr(
    feature = "aws-lc",
    expect(
        clippy::large_enum_variant,
        reason = "keysets make one for every message, where an allocation would show"
    )
)]
enum Key {
    Ring(ring::aead::LessSafeKey),
    #[cfg(feature = "aws-lc")]
    AwsLc(aws_lc_rs::aead::LessSafeKey),
}

/// A key of one cipher, expanded by one backend.
pub(crate) struct AeadKey(Key);

impl AeadKey {
    pub(crate) fn new(backend: Backend, cipher: Cipher, key: &[u8; KEY_LENGTH]) -> Self {
        const LENGTH: &str = "both ciphers take keys of 32 bytes";
        Self(match backend {
            Backend::Ring => {
                use ring::aead::{AES_256_GCM, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
                let algorithm = match cipher {
                    Cipher::Aes256Gcm => &AES_256_GCM,
                    Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
                };
                Key::Ring(LessSafeKey::new(
                    UnboundKey::new(algorithm, key).expect(LENGTH),
                ))
            }
            #[cfg(feature = "aws-lc")]
            Backend::AwsLc => {
                use aws_lc_rs::aead::{AES_256_GCM, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
                let algorithm = match cipher {
                    Cipher::Aes256Gcm => &AES_256_GCM,
                    Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
                };
                Key::AwsLc(LessSafeKey::new(
                    UnboundKey::new(algorithm, key).expect(LENGTH),
                ))
            }
        })
    }

    /// Encrypts `in_out` and returns the tag over it and `associated_data`.
    /// `nonce` must never have been used with this key.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        associated_data: &[u8],
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LENGTH], TooLong> {
        let mut tag = [0u8; TAG_LENGTH];
        match &self.0 {
            Key::Ring(key) => {
                use ring::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let made = key
                    .seal_in_place_separate_tag(nonce, Aad::from(associated_data), in_out)
                    .map_err(|_| TooLong)?;
                tag.copy_from_slice(made.as_ref());
            }
            #[cfg(feature = "aws-lc")]
            Key::AwsLc(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let made = key
                    .seal_in_place_separate_tag(nonce, Aad::from(associated_data), in_out)
                    .map_err(|_| TooLong)?;
                tag.copy_from_slice(made.as_ref());
            }
        }
        Ok(tag)
    }

    /// Decrypts `in_out`, ciphertext and then tag, and returns the plaintext's
    /// place: its first `in_out.len() - TAG_LENGTH` bytes.
    pub(crate) fn open<'a>(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        associated_data: &[u8],
        in_out: &'a mut [u8],
    ) -> Result<&'a mut [u8], BadTag> {
        match &self.0 {
            Key::Ring(key) => {
                use ring::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(*nonce);
                key.open_in_place(nonce, Aad::from(associated_data), in_out)
                    .map_err(|_| BadTag)
            }
            #[cfg(feature = "aws-lc")]
            Key::AwsLc(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(*nonce);
                key.open_in_place(nonce, Aad::from(associated_data), in_out)
                    .map_err(|_| BadTag)
            }
        }
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AeadKey(redacted)")
    }
}
