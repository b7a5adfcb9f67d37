//! Bytes that nobody but their holder should see.
//!
//! Both types wipe themselves on drop, print nothing of their content, and
//! offer neither `Clone` nor `PartialEq`: a copy has to be made on purpose and a
//! comparison is in constant time. Both keep their bytes on the heap, because a
//! move copies what stands on the stack and wipes nothing.
//!
//! ```
//! use sealmoot_crypto::secret::{SecretArray, SecretBytes};
//! let (key, password) = (SecretArray::<32>::random()?, SecretBytes::new(b"hunter2".to_vec()));
//! let logged = format!("{key:?} {password:?}");
//! assert_eq!(logged, "SecretArray<32>(redacted) SecretBytes(redacted)");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;

use core::fmt;
use core::hint::black_box;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// A secret of a length known at run time: a password, a passphrase, a plaintext.
///
/// ```
/// use sealmoot_crypto::secret::SecretBytes;
/// let password = SecretBytes::from(b"hunter2".to_vec());
/// assert_eq!(password.expose(), b"hunter2");
/// assert!(!format!("{password:?}").contains("hunter2"));
/// ```
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes ownership of `bytes`; they are wiped when this value is dropped.
    ///
    /// ```
    /// use sealmoot_crypto::secret::SecretBytes;
    /// let typed = String::from("correct horse");
    /// let password = SecretBytes::new(typed.into_bytes()); // moved, not copied
    /// assert_eq!(password.len(), 13);
    /// ```
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes themselves, for the one operation that needs them.
    ///
    /// ```
    /// use sealmoot_crypto::{digest::sha256, secret::SecretBytes};
    /// let secret = SecretBytes::new(b"abc".to_vec());
    /// assert_eq!(sha256(secret.expose()), sha256(b"abc"));
    /// ```
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, for the one operation that changes them in place.
    pub(crate) fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Forgets all but the first `length` bytes; the rest is wiped on drop.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// How many bytes there are.
    ///
    /// ```
    /// use sealmoot_crypto::secret::SecretBytes;
    /// let password = SecretBytes::new("häßlich".as_bytes().to_vec());
    /// assert_eq!(password.len(), 9); // bytes, not letters
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes at all.
    ///
    /// ```
    /// use sealmoot_crypto::secret::SecretBytes;
    /// assert!(SecretBytes::new(Vec::new()).is_empty());
    /// assert!(!SecretBytes::new(vec![0]).is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Wipes `bytes` and the room behind them, in which an earlier, longer content may
/// have stood; as fast as memory is written, where `Vec`'s own wiping goes byte by
/// byte.
pub(crate) fn wipe(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.capacity(), 0);
    bytes.as_mut_slice().zeroize();
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretBytes(redacted)")
    }
}

/// A secret of exactly `N` bytes: a key, a seed.
///
/// ```
/// use sealmoot_crypto::secret::SecretArray;
/// let (key, other) = (SecretArray::<32>::random()?, SecretArray::<32>::random()?);
/// assert!(!key.same_as(&other));
/// assert_eq!(format!("{key:?}"), "SecretArray<32>(redacted)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SecretArray<const N: usize>(Box<Zeroizing<[u8; N]>>);

impl<const N: usize> SecretArray<N> {
    /// Takes the bytes; the caller's own copy is the caller's to wipe.
    ///
    /// ```
    /// use sealmoot_crypto::secret::SecretArray;
    /// let secret = SecretArray::from_bytes([7; 16]);
    /// assert_eq!(secret.expose(), &[7; 16]);
    /// ```
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; N]) -> Self {
        let secret = Self::copy_of(&bytes);
        // What was passed may itself be a copy that the compiler made.
        bytes.zeroize();
        secret
    }

    /// `N` bytes from a slice, or `None` when the length differs.
    ///
    /// ```
    /// use sealmoot_crypto::secret::SecretArray;
    /// let received = [7; 33];
    /// assert!(SecretArray::<32>::from_slice(&received).is_none());
    /// assert!(SecretArray::<32>::from_slice(&received[1..]).is_some());
    /// ```
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::copy_of)
    }

    /// Room for a secret, zeros until it is written.
    pub(crate) fn zeros() -> Self {
        Self(Box::new(Zeroizing::new([0u8; N])))
    }

    /// A copy of bytes that stay where they are.
    pub(crate) fn copy_of(bytes: &[u8; N]) -> Self {
        let mut secret = Self::zeros();
        secret.0.copy_from_slice(bytes);
        secret
    }

    /// A fresh secret from the operating system's random source.
    ///
    /// # Errors
    /// When that source fails.
    ///
    /// ```
    /// use sealmoot_crypto::secret::SecretArray;
    /// let key = SecretArray::<32>::random()?;
    /// assert_ne!(key.expose(), SecretArray::random()?.expose());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn random() -> Result<Self, crate::random::RandomError> {
        let mut secret = Self::zeros();
        crate::random::fill(secret.0.as_mut_slice())?;
        Ok(secret)
    }

    /// The bytes themselves, for the one operation that needs them.
    ///
    /// ```
    /// use sealmoot_crypto::{keyset::Keyset, secret::SecretArray};
    /// let (keyset, key) = (Keyset::generate()?, SecretArray::<32>::random()?);
    /// let stored = keyset.seal("session key", b"alice", key.expose())?;
    /// assert_eq!(keyset.open("session key", b"alice", &stored)?.expose(), key.expose());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// Room to write a secret into without a copy elsewhere.
    ///
    /// ```
    /// use sealmoot_crypto::secret::SecretArray;
    /// let file = b"SMXX0123456789abcdef"; // as from a reader
    /// let mut key = SecretArray::from_bytes([0; 16]);
    /// key.expose_mut().copy_from_slice(&file[4..]);
    /// assert_eq!(key.expose(), b"0123456789abcdef");
    /// ```
    pub fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }

    /// Whether both hold the same bytes, in time that does not depend on them.
    ///
    /// ```
    /// use sealmoot_crypto::secret::SecretArray;
    /// let token = SecretArray::<16>::random()?;
    /// let mut presented = SecretArray::from_bytes(*token.expose());
    /// assert!(token.same_as(&presented));
    /// presented.expose_mut()[15] ^= 1;
    /// assert!(!token.same_as(&presented));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        constant_time_equal(self.expose(), other.expose())
    }
}

impl<const N: usize> fmt::Debug for SecretArray<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SecretArray<{N}>(redacted)")
    }
}

impl<const N: usize> Zeroize for SecretArray<N> {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// What `work` returns, when the stack on which it ran is overwritten: libraries
/// return keys by value, spill registers and keep key schedules in variables, and
/// leave it all behind. `work` returns secrets in boxes, or they are on the stack
/// again. 16 KiB are more than a key operation of this crate uses.
pub(crate) fn scrubbed<T>(work: impl FnOnce() -> T) -> T {
    scrubbed_below::<16, T>(work)
}

/// As [`scrubbed`], for work that goes `KIB` KiB down the stack.
pub(crate) fn scrubbed_below<const KIB: usize, T>(work: impl FnOnce() -> T) -> T {
    // Both calls begin where this frame ends.
    let result = further_down(work);
    overwrite::<KIB>();
    result
}

/// Begins the frame of `work` below where that of [`overwrite`] begins to be filled:
/// above that stand registers that it saved, and there bytes would be left.
#[inline(never)]
fn further_down<T>(work: impl FnOnce() -> T) -> T {
    let mut margin = [0u8; 128];
    black_box(&mut margin);
    let result = apart(work);
    black_box(&mut margin);
    result
}

#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// One frame, because between two there are gaps that nothing fills.
#[inline(never)]
fn overwrite<const KIB: usize>() {
    let mut frame = [[0u8; 1024]; KIB];
    black_box(&mut frame);
}

/// Whether two byte strings are equal, in time that depends on their lengths only.
///
/// ```
/// use sealmoot_crypto::secret::constant_time_equal;
/// assert!(constant_time_equal(b"tag", b"tag"));
/// assert!(!constant_time_equal(b"tag", b"tga"));
/// ```
#[must_use]
pub fn constant_time_equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;

    #[test]
    fn scrubbing_returns_what_the_work_returned() {
        let secret = scrubbed(|| SecretArray::<4>::copy_of(b"abcd"));
        assert_eq!(secret.expose(), b"abcd");
        assert_eq!(SecretArray::<4>::zeros().expose(), &[0; 4]);
    }

    #[test]
    fn debug_shows_no_byte_of_a_secret() {
        let text = format!(
            "{:?} {:?}",
            SecretBytes::new(b"hunter2".to_vec()),
            SecretArray::<4>::from_bytes([0x41; 4])
        );
        assert!(!text.contains("hunter2") && !text.contains("65") && !text.contains("41"));
    }

    #[test]
    fn a_slice_of_another_length_is_refused() {
        assert!(SecretArray::<4>::from_slice(b"abc").is_none());
        assert!(SecretArray::<4>::from_slice(b"abcde").is_none());
        assert!(SecretArray::<4>::from_slice(b"abcd").is_some());
    }

    #[test]
    fn equality_sees_every_byte() {
        let left = SecretArray::<3>::from_bytes(*b"abc");
        assert!(left.same_as(&SecretArray::from_bytes(*b"abc")));
        for other in [*b"xbc", *b"axc", *b"abx"] {
            assert!(!left.same_as(&SecretArray::from_bytes(other)));
        }
        assert!(!constant_time_equal(b"abc", b"abcd"));
    }
}
