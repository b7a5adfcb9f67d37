//! BLAKE3 (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020), plain and keyed.

use core::fmt;

use zeroize::{Zeroize, Zeroizing};

use crate::secret::SecretArray;

/// BLAKE3 of `bytes`, 256 bits (the BLAKE3 paper, section 2).
///
/// ```
/// let digest = sealmoot_crypto::digest::blake3(b"");
/// assert_eq!(digest[..4], [0xaf, 0x13, 0x49, 0xb9]);
/// ```
#[must_use]
pub fn blake3(bytes: &[u8]) -> [u8; 32] {
    *::blake3::hash(bytes).as_bytes()
}

/// BLAKE3 of `bytes` in its keyed mode: an authentication code of 256 bits.
/// Compare two of them with [`crate::secret::constant_time_equal`], never by `==`.
///
/// ```
/// use sealmoot_crypto::{digest::blake3_keyed, secret::{SecretArray, constant_time_equal}};
/// let key = SecretArray::random()?;
/// let tag = blake3_keyed(&key, b"message");
/// assert!(constant_time_equal(&tag, &blake3_keyed(&key, b"message")));
/// assert!(!constant_time_equal(&tag, &blake3_keyed(&key, b"messagf")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn blake3_keyed(key: &SecretArray<32>, bytes: &[u8]) -> [u8; 32] {
    let mut hasher = Blake3Keyed::new(key);
    hasher.update(bytes);
    hasher.finish()
}

/// BLAKE3 over parts that arrive one after another.
///
/// ```
/// use sealmoot_crypto::digest::{Blake3, blake3};
/// let mut hasher = Blake3::new();
/// hasher.update(b"a");
/// hasher.update(b"bc");
/// assert_eq!(hasher.finish(), blake3(b"abc"));
/// ```
#[derive(Clone, Default)]
pub struct Blake3(::blake3::Hasher);

impl Blake3 {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `bytes` to the message.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything appended.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// Keyed BLAKE3 over parts that arrive one after another; wiped on drop.
///
/// ```
/// use sealmoot_crypto::{digest::{Blake3Keyed, blake3_keyed}, secret::SecretArray};
/// let key = SecretArray::random()?;
/// let mut hasher = Blake3Keyed::new(&key);
/// hasher.update(b"a");
/// hasher.update(b"bc");
/// assert_eq!(hasher.finish(), blake3_keyed(&key, b"abc"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Blake3Keyed(Zeroizing<::blake3::Hasher>);

impl Blake3Keyed {
    /// An empty message under `key`.
    #[must_use]
    pub fn new(key: &SecretArray<32>) -> Self {
        Self(Zeroizing::new(::blake3::Hasher::new_keyed(key.expose())))
    }

    /// Appends `bytes` to the message.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The authentication code of everything appended; compare it in constant time.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        let mut tag = self.0.finalize();
        let bytes = *tag.as_bytes();
        tag.zeroize();
        bytes
    }
}

impl fmt::Debug for Blake3Keyed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Blake3Keyed(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;

    #[test]
    fn a_tag_depends_on_key_and_message() {
        let key = SecretArray::from_bytes([1; 32]);
        let other = SecretArray::from_bytes([2; 32]);
        assert_ne!(blake3_keyed(&key, b"abc"), blake3_keyed(&key, b"abd"));
        assert_ne!(blake3_keyed(&key, b"abc"), blake3_keyed(&other, b"abc"));
        assert_ne!(blake3_keyed(&key, b"abc"), blake3(b"abc"));
    }

    #[test]
    fn parts_hash_like_the_whole_across_a_chunk() {
        // BLAKE3 works in chunks of 1024 bytes.
        let message: Vec<u8> = (0..2100u32).map(|at| (at % 251) as u8).collect();
        let key = SecretArray::from_bytes([7; 32]);
        for cut in [0, 1, 63, 64, 1023, 1024, 1025, 2048, 2100] {
            let (head, tail) = message.split_at(cut);
            let mut plain = Blake3::new();
            let mut keyed = Blake3Keyed::new(&key);
            for part in [head, tail] {
                plain.update(part);
                keyed.update(part);
            }
            assert_eq!(plain.finish(), blake3(&message));
            assert_eq!(keyed.finish(), blake3_keyed(&key, &message));
        }
    }

    #[test]
    fn debug_is_redacted() {
        let hasher = Blake3Keyed::new(&SecretArray::from_bytes([0x41; 32]));
        assert_eq!(format!("{hasher:?}"), "Blake3Keyed(redacted)");
    }
}
