//! A key for records that carry their own random nonce: XAES-256-GCM (C2SP).
//!
//! AES-256-GCM alone has a 96-bit nonce, too short to be drawn at random under
//! one key for long. XAES-256-GCM draws 192 bits and derives, from the key and
//! the first half, the AES-256-GCM key that the second half is the nonce of; so
//! neither a restart, nor a cloned directory, nor a restored machine can repeat
//! one. Callers pass no nonce.
//!
//! A record key commits to nothing: whoever holds two keys can make one record
//! that opens under both. Where a key may come from an attacker (a passphrase, a
//! keyset handed around) use [`crate::keyset`], which commits.
//!
//! ```
//! use sealmoot_crypto::{aead::RecordKey, secret::SecretArray};
//! let key = RecordKey::from_secret(&SecretArray::random()?);
//! let mut disk = [key.seal(b"block 0", b"one")?, key.seal(b"block 1", b"two")?];
//! assert_eq!(key.open(b"block 0", &mut disk[0].clone())?, b"one");
//! disk.swap(0, 1); // as whoever writes the disk can
//! assert!(key.open(b"block 0", &mut disk[0]).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;

use core::fmt;

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use zeroize::{Zeroize, Zeroizing};

use crate::backend::Backend;
use crate::backend::aead::{AeadKey, Cipher};
use crate::random::{self, RandomError};
use crate::secret::{SecretArray, scrubbed, wipe};

/// Length of a nonce in bytes.
pub const NONCE_LENGTH: usize = 24;
/// Length of an authentication tag in bytes.
pub const TAG_LENGTH: usize = 16;

/// Sealing failed; nothing was encrypted.
///
/// ```
/// use sealmoot_crypto::aead::SealError;
/// // The random source may work again; a plaintext does not get shorter.
/// fn retry_helps(error: &SealError) -> bool {
///     matches!(error, SealError::Random(_))
/// }
/// assert!(!retry_helps(&SealError::TooLong));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No nonce could be drawn.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The plaintext is longer than AES-GCM's limit of 2^36 - 32 bytes.
    #[error("the plaintext is too long for one record")]
    TooLong,
}

/// The record does not open: wrong key, wrong associated data or changed bytes.
/// Which of them is not said, because the difference would help an attacker only.
///
/// ```
/// use sealmoot_crypto::{aead::{OpenError, RecordKey}, secret::SecretArray};
/// let key = RecordKey::from_secret(&SecretArray::random()?);
/// let other_key = RecordKey::from_secret(&SecretArray::random()?);
/// let record = key.seal(b"block 3", b"text")?;
/// assert_eq!(key.open(b"block 4", &mut record.clone()), Err(OpenError));
/// assert_eq!(other_key.open(b"block 3", &mut record.clone()), Err(OpenError));
/// assert_eq!(key.open(b"block 3", &mut record.clone()[1..]), Err(OpenError));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed")]
pub struct OpenError;

/// A 256-bit key for records of the form `nonce(24) || ciphertext || tag(16)`.
///
/// ```
/// use sealmoot_crypto::{aead::RecordKey, secret::SecretArray};
/// let key = RecordKey::from_secret(&SecretArray::random()?);
/// let record = key.seal(b"block 3", b"text")?;
/// assert_eq!(record.len(), 24 + 4 + 16);
/// // The nonce is drawn anew each time.
/// assert_ne!(key.seal(b"block 3", b"text")?, record);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RecordKey {
    backend: Backend,
    /// Boxed, because moves would copy it.
    derivation: Box<Derivation>,
}

/// What keys of records are derived by.
struct Derivation {
    block_cipher: Aes256,
    /// CMAC's first subkey (NIST SP 800-38B), which masks the derivation blocks.
    subkey: Zeroizing<[u8; 16]>,
}

impl RecordKey {
    /// How many bytes longer a record is than its plaintext.
    pub const OVERHEAD: usize = NONCE_LENGTH + TAG_LENGTH;

    /// The record key with these 32 bytes, computed by the default backend.
    ///
    /// ```
    /// use sealmoot_crypto::{aead::RecordKey, kdf::{Label, derive_key}, secret::SecretArray};
    /// const BLOCKS: Label = Label::new("blocks of a file");
    /// let root = SecretArray::random()?;
    /// let key = RecordKey::from_secret(&derive_key(&root, BLOCKS, b"file 7"));
    /// let mut record = key.seal(b"block 3", b"text")?;
    ///
    /// let after_a_restart = RecordKey::from_secret(&derive_key(&root, BLOCKS, b"file 7"));
    /// assert_eq!(after_a_restart.open(b"block 3", &mut record)?, b"text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_secret(secret: &SecretArray<32>) -> Self {
        Self::from_secret_on(Backend::default(), secret)
    }

    /// The record key with these 32 bytes, computed by `backend`.
    ///
    /// ```
    /// use sealmoot_crypto::{aead::RecordKey, backend::Backend, secret::SecretArray};
    /// let secret = SecretArray::random()?;
    /// let mut record = RecordKey::from_secret(&secret).seal(b"block 3", b"text")?;
    /// for backend in Backend::ALL {
    ///     let key = RecordKey::from_secret_on(*backend, &secret);
    ///     assert_eq!(key.open(b"block 3", &mut record.clone())?, b"text");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_secret_on(backend: Backend, secret: &SecretArray<32>) -> Self {
        let derivation = scrubbed(|| Box::new(Derivation::new(secret)));
        Self {
            backend,
            derivation,
        }
    }

    /// A record of `plaintext`, bound to `associated_data`.
    ///
    /// # Errors
    /// [`SealError`].
    ///
    /// ```
    /// use sealmoot_crypto::{aead::RecordKey, secret::SecretArray};
    /// let key = RecordKey::from_secret(&SecretArray::random()?);
    /// let mut record = key.seal(b"file 7, block 3", b"text")?;
    /// assert_eq!(key.open(b"file 7, block 3", &mut record)?, b"text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seal(&self, associated_data: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut record = Vec::with_capacity(plaintext.len() + Self::OVERHEAD);
        record.resize(NONCE_LENGTH, 0);
        record.extend_from_slice(plaintext);
        match self.seal_in_place(associated_data, &mut record, 0) {
            Ok(()) => Ok(record),
            Err(error) => {
                wipe(&mut record);
                Err(error)
            }
        }
    }

    /// Turns `buffer[start..]`, which is room for the nonce and then the
    /// plaintext, into a record; the tag is appended.
    ///
    /// # Errors
    /// [`SealError`]; the plaintext is then still plain.
    ///
    /// # Panics
    /// When `buffer[start..]` is shorter than a nonce.
    ///
    /// ```
    /// use sealmoot_crypto::{aead::{NONCE_LENGTH, RecordKey}, secret::SecretArray};
    /// let key = RecordKey::from_secret(&SecretArray::random()?);
    /// let mut buffer = b"head".to_vec(); // stays as it is
    /// buffer.resize(4 + NONCE_LENGTH, 0);
    /// buffer.extend_from_slice(b"text");
    /// key.seal_in_place(b"block 3", &mut buffer, 4)?;
    /// assert_eq!(&buffer[..4], b"head");
    /// assert_eq!(key.open(b"block 3", &mut buffer[4..])?, b"text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seal_in_place(
        &self,
        associated_data: &[u8],
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), SealError> {
        let nonce: [u8; NONCE_LENGTH] = random::array()?;
        self.seal_with_nonce(&nonce, associated_data, buffer, start)
    }

    pub(crate) fn seal_with_nonce(
        &self,
        nonce: &[u8; NONCE_LENGTH],
        associated_data: &[u8],
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), SealError> {
        let (key, short_nonce) = self.derive(nonce);
        let body = start + NONCE_LENGTH;
        let tag = key
            .seal(&short_nonce, associated_data, &mut buffer[body..])
            .map_err(|_| SealError::TooLong)?;
        buffer[start..body].copy_from_slice(nonce);
        buffer.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens a record in place and returns its plaintext.
    ///
    /// # Errors
    /// [`OpenError`]; the content of `record` is then unspecified.
    ///
    /// ```
    /// use sealmoot_crypto::{aead::RecordKey, secret::SecretArray};
    /// let key = RecordKey::from_secret(&SecretArray::random()?);
    /// let mut record = key.seal(b"block 3", b"text")?;
    /// let mut changed = record.clone();
    /// changed[24] ^= 1;
    /// assert_eq!(key.open(b"block 3", &mut record)?, b"text");
    /// assert!(key.open(b"block 3", &mut changed).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open<'a>(
        &self,
        associated_data: &[u8],
        record: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        if record.len() < Self::OVERHEAD {
            return Err(OpenError);
        }
        let (nonce, body) = record.split_at_mut(NONCE_LENGTH);
        let nonce: &[u8; NONCE_LENGTH] = (&*nonce).try_into().map_err(|_| OpenError)?;
        let (key, short_nonce) = self.derive(nonce);
        key.open(&short_nonce, associated_data, body)
            .map_err(|_| OpenError)
    }

    /// The AES-256-GCM key and nonce that go with `nonce`: C2SP, XAES-256-GCM.
    pub(crate) fn derive(&self, nonce: &[u8; NONCE_LENGTH]) -> (AeadKey, [u8; 12]) {
        let mut blocks = [aes::Block::default(); 2];
        for (block, counter) in blocks.iter_mut().zip([1u8, 2]) {
            block[1] = counter;
            block[2] = b'X';
            block[4..].copy_from_slice(&nonce[..12]);
            for (byte, mask) in block.iter_mut().zip(self.derivation.subkey.iter()) {
                *byte ^= mask;
            }
        }
        self.derivation.block_cipher.encrypt_blocks(&mut blocks);
        let mut key = Zeroizing::new([0u8; 32]);
        for (half, block) in key.chunks_exact_mut(16).zip(&mut blocks) {
            half.copy_from_slice(block);
            block.zeroize();
        }
        let mut short_nonce = [0u8; 12];
        short_nonce.copy_from_slice(&nonce[12..]);
        let key = AeadKey::new(self.backend, Cipher::Aes256Gcm, &key);
        (key, short_nonce)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RecordKey(redacted)")
    }
}

impl Derivation {
    fn new(secret: &SecretArray<32>) -> Self {
        let block_cipher = Aes256::new(secret.expose().into());
        let mut block = aes::Block::default();
        block_cipher.encrypt_block(&mut block);
        let mut subkey = Zeroizing::new([0u8; 16]);
        // Doubling in GF(2^128): shift left, fold the carry back with x^7+x^2+x+1.
        let mut carry = 0u8;
        for index in (0..16).rev() {
            subkey[index] = (block[index] << 1) | carry;
            carry = block[index] >> 7;
        }
        subkey[15] ^= 0x87 & carry.wrapping_neg();
        Self {
            block_cipher,
            subkey,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::testing::hex;

    fn sealed(key: u8, associated_data: &[u8]) -> String {
        let key = RecordKey::from_secret(&SecretArray::from_bytes([key; 32]));
        let mut buffer = vec![0; NONCE_LENGTH];
        buffer.extend_from_slice(b"XAES-256-GCM");
        key.seal_with_nonce(b"ABCDEFGHIJKLMNOPQRSTUVWX", associated_data, &mut buffer, 0)
            .expect("short");
        hex(&buffer[NONCE_LENGTH..])
    }

    // C2SP, XAES-256-GCM, "Test vectors": one key for each value of the doubling's carry.
    #[test]
    fn c2sp_vectors() {
        assert_eq!(
            sealed(1, b""),
            "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"
        );
        assert_eq!(
            sealed(3, b"c2sp.org/XAES-256-GCM"),
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"
        );
    }

    #[test]
    fn every_flip_and_every_truncation_is_refused() {
        let key = RecordKey::from_secret(&SecretArray::from_bytes([5; 32]));
        let record = key.seal(b"context", b"plaintext").expect("sealed");
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(b"context", &mut flipped), Err(OpenError));
        }
        for length in 0..record.len() {
            let mut shorter = record[..length].to_vec();
            assert_eq!(key.open(b"context", &mut shorter), Err(OpenError));
        }
        assert_eq!(key.open(b"contexu", &mut record.clone()), Err(OpenError));
        let other = RecordKey::from_secret(&SecretArray::from_bytes([6; 32]));
        assert_eq!(other.open(b"context", &mut record.clone()), Err(OpenError));
        assert_eq!(
            key.open(b"context", &mut record.clone()).expect("opens"),
            b"plaintext"
        );
    }

    #[test]
    fn two_records_of_one_plaintext_differ() {
        let key = RecordKey::from_secret(&SecretArray::from_bytes([5; 32]));
        let first = key.seal(b"", b"same").expect("sealed");
        let second = key.seal(b"", b"same").expect("sealed");
        assert_ne!(first, second);
    }
}
