//! HMAC (RFC 2104) over SHA-256 and SHA-512.

use alloc::boxed::Box;

use core::fmt;

use ::hmac::digest::block_api::EagerHash;
use ::hmac::{Hmac, KeyInit, Mac};

use crate::backend::Backend;
use crate::secret::{SecretArray, constant_time_equal, scrubbed, scrubbed_below};

/// Shortest key in bytes that is taken from another system: 128 bits, below which
/// a key can be searched for.
pub const MAC_KEY_LENGTH_MIN: usize = 16;

/// The key is shorter than [`MAC_KEY_LENGTH_MIN`].
///
/// ```
/// use sealmoot_crypto::digest::{KeyTooShort, MacKey};
/// assert_eq!(MacKey::from_bytes(b"hunter2").err(), Some(KeyTooShort { length: 7 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an HMAC key of {length} bytes is too short; {MAC_KEY_LENGTH_MIN} are the least")]
pub struct KeyTooShort {
    /// How many bytes it has.
    pub length: usize,
}

/// The tag is not the message's: changed bytes, another key or a shortened tag.
/// Which of them is not said.
///
/// ```
/// use sealmoot_crypto::{digest::{BadTag, MacKey}, secret::SecretArray};
/// let key = MacKey::from_secret(&SecretArray::random()?);
/// let tag = key.tag(&[b"user 7"]);
/// assert_eq!(key.verify(&[b"user 8"], &tag), Err(BadTag));
/// assert_eq!(key.verify(&[b"user 7"], &tag[..16]), Err(BadTag));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the authentication code does not fit")]
pub struct BadTag;

/// A key for HMAC-SHA-256, its pads computed once. A tag has 32 bytes.
///
/// ```
/// use sealmoot_crypto::{digest::MacKey, secret::SecretArray};
/// let key = MacKey::from_secret(&SecretArray::random()?);
/// let tag = key.tag(&[b"user 7", b"may read"]);
/// key.verify(&[b"user 7", b"may read"], &tag)?;
/// assert!(key.verify(&[b"user 8", b"may read"], &tag).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MacKey(Pads<sha2::Sha256>);

impl MacKey {
    /// Length of a tag in bytes.
    pub const TAG_LENGTH: usize = 32;

    /// The key with these 32 bytes, computed by the default backend.
    #[must_use]
    pub fn from_secret(secret: &SecretArray<32>) -> Self {
        Self::from_secret_on(Backend::default(), secret)
    }

    /// The key with these 32 bytes, computed by `backend`.
    #[must_use]
    pub fn from_secret_on(backend: Backend, secret: &SecretArray<32>) -> Self {
        scrubbed(|| Self(Pads::sha256(backend, secret.expose())))
    }

    /// The key with these bytes, of whatever length another system has given it.
    /// For our own keys use [`MacKey::from_secret`].
    ///
    /// # Errors
    /// [`KeyTooShort`].
    ///
    /// ```
    /// use sealmoot_crypto::digest::MacKey;
    /// assert!(MacKey::from_bytes(b"Jefe").is_err());
    /// let key = MacKey::from_bytes(b"a secret shared with a web service")?;
    /// # let _ = key;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyTooShort> {
        Self::from_bytes_on(Backend::default(), bytes)
    }

    /// As [`MacKey::from_bytes`], computed by `backend`.
    ///
    /// # Errors
    /// [`KeyTooShort`].
    pub fn from_bytes_on(backend: Backend, bytes: &[u8]) -> Result<Self, KeyTooShort> {
        let bytes = long_enough(bytes)?;
        Ok(scrubbed(|| Self(Pads::sha256(backend, bytes))))
    }

    /// `HMAC-SHA-256(self, parts, one after another)`. The caller makes the split
    /// unambiguous (fixed lengths or length prefixes).
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.0.tag(parts)
    }

    /// Whether `tag` is the tag over `parts`, in time that does not depend on where
    /// the two differ. A shortened tag is refused: it could be guessed.
    ///
    /// # Errors
    /// [`BadTag`].
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> Result<(), BadTag> {
        same(&self.tag(parts), tag)
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MacKey(redacted)")
    }
}

/// A key for HMAC-SHA-512, its pads computed once. A tag has 64 bytes.
///
/// ```
/// use sealmoot_crypto::{digest::MacKey512, secret::SecretArray};
/// let key = MacKey512::from_secret(&SecretArray::random()?);
/// let tag = key.tag(&[b"message"]);
/// key.verify(&[b"message"], &tag)?;
/// assert!(key.verify(&[b"message"], &tag[..32]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MacKey512(Pads<sha2::Sha512>);

impl MacKey512 {
    /// Length of a tag in bytes.
    pub const TAG_LENGTH: usize = 64;

    /// The key with these 32 bytes, computed by the default backend. More would not
    /// make it stronger than the 256 bits that every other key here has.
    #[must_use]
    pub fn from_secret(secret: &SecretArray<32>) -> Self {
        Self::from_secret_on(Backend::default(), secret)
    }

    /// The key with these 32 bytes, computed by `backend`.
    #[must_use]
    pub fn from_secret_on(backend: Backend, secret: &SecretArray<32>) -> Self {
        scrubbed(|| Self(Pads::sha512(backend, secret.expose())))
    }

    /// The key with these bytes, of whatever length another system has given it.
    ///
    /// # Errors
    /// [`KeyTooShort`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyTooShort> {
        Self::from_bytes_on(Backend::default(), bytes)
    }

    /// As [`MacKey512::from_bytes`], computed by `backend`.
    ///
    /// # Errors
    /// [`KeyTooShort`].
    pub fn from_bytes_on(backend: Backend, bytes: &[u8]) -> Result<Self, KeyTooShort> {
        let bytes = long_enough(bytes)?;
        Ok(scrubbed(|| Self(Pads::sha512(backend, bytes))))
    }

    /// `HMAC-SHA-512(self, parts, one after another)`. The caller makes the split
    /// unambiguous (fixed lengths or length prefixes).
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 64] {
        self.0.tag(parts)
    }

    /// Whether `tag` is the tag over `parts`, in time that does not depend on where
    /// the two differ. A shortened tag is refused: it could be guessed.
    ///
    /// # Errors
    /// [`BadTag`].
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> Result<(), BadTag> {
        same(&self.tag(parts), tag)
    }
}

impl fmt::Debug for MacKey512 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MacKey512(redacted)")
    }
}

/// RustCrypto's HMAC by default: measured on short messages it takes three
/// quarters of ring's time, and it wipes itself. Boxed, because moves would copy it.
enum Pads<D: EagerHash> {
    RustCrypto(Box<Hmac<D>>),
    #[cfg(feature = "aws-lc")]
    AwsLc(Box<aws_lc_rs::hmac::Key>),
}

impl Pads<sha2::Sha256> {
    fn sha256(backend: Backend, key: &[u8]) -> Self {
        match backend {
            Backend::Ring => Self::rust_crypto(key),
            #[cfg(feature = "aws-lc")]
            Backend::AwsLc => Self::aws_lc(aws_lc_rs::hmac::HMAC_SHA256, key),
        }
    }
}

impl Pads<sha2::Sha512> {
    fn sha512(backend: Backend, key: &[u8]) -> Self {
        match backend {
            Backend::Ring => Self::rust_crypto(key),
            #[cfg(feature = "aws-lc")]
            Backend::AwsLc => Self::aws_lc(aws_lc_rs::hmac::HMAC_SHA512, key),
        }
    }
}

impl<D: EagerHash> Pads<D>
where
    Hmac<D>: Mac + KeyInit + Clone,
{
    fn rust_crypto(key: &[u8]) -> Self {
        let pads = <Hmac<D> as KeyInit>::new_from_slice(key);
        Self::RustCrypto(Box::new(pads.expect("HMAC takes keys of any length")))
    }

    #[cfg(feature = "aws-lc")]
    fn aws_lc(algorithm: aws_lc_rs::hmac::Algorithm, key: &[u8]) -> Self {
        Self::AwsLc(Box::new(aws_lc_rs::hmac::Key::new(algorithm, key)))
    }

    /// `N` is the hash's length: every caller is one of the two key types above.
    ///
    /// The library's state, of which a copy is made for each message, has room that it
    /// never initialised, and in which pieces of a padded key can stand.
    fn tag<const N: usize>(&self, parts: &[&[u8]]) -> [u8; N] {
        scrubbed_below::<2, _>(|| self.tag_unscrubbed(parts))
    }

    fn tag_unscrubbed<const N: usize>(&self, parts: &[&[u8]]) -> [u8; N] {
        let mut tag = [0u8; N];
        match self {
            Self::RustCrypto(key) => {
                let mut context = Hmac::clone(key);
                for part in parts {
                    context.update(part);
                }
                tag.copy_from_slice(&context.finalize().into_bytes());
            }
            #[cfg(feature = "aws-lc")]
            Self::AwsLc(key) => {
                let mut context = aws_lc_rs::hmac::Context::with_key(key);
                for part in parts {
                    context.update(part);
                }
                tag.copy_from_slice(context.sign().as_ref());
            }
        }
        tag
    }
}

fn long_enough(bytes: &[u8]) -> Result<&[u8], KeyTooShort> {
    match bytes.len() {
        length if length < MAC_KEY_LENGTH_MIN => Err(KeyTooShort { length }),
        _ => Ok(bytes),
    }
}

/// A tag of another length is unequal, whatever its bytes are.
fn same(expected: &[u8], tag: &[u8]) -> Result<(), BadTag> {
    match constant_time_equal(expected, tag) {
        true => Ok(()),
        false => Err(BadTag),
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;

    #[test]
    fn a_tag_depends_on_key_and_message() {
        let key = MacKey::from_secret(&SecretArray::from_bytes([1; 32]));
        let other = MacKey::from_secret(&SecretArray::from_bytes([2; 32]));
        assert_eq!(key.tag(&[b"ab", b"c"]), key.tag(&[b"abc"]));
        assert_ne!(key.tag(&[b"abc"]), key.tag(&[b"abd"]));
        assert_ne!(key.tag(&[b"abc"]), other.tag(&[b"abc"]));
        let key = MacKey512::from_secret(&SecretArray::from_bytes([1; 32]));
        let other = MacKey512::from_secret(&SecretArray::from_bytes([2; 32]));
        assert_eq!(key.tag(&[b"ab", b"c"]), key.tag(&[b"abc"]));
        assert_ne!(key.tag(&[b"abc"]), key.tag(&[b"abd"]));
        assert_ne!(key.tag(&[b"abc"]), other.tag(&[b"abc"]));
    }

    #[test]
    fn every_flip_every_truncation_and_every_longer_tag_is_refused() {
        for backend in Backend::ALL {
            let secret = SecretArray::from_bytes([1; 32]);
            let short = MacKey::from_secret_on(*backend, &secret);
            let long = MacKey512::from_secret_on(*backend, &secret);
            let check = |verify: &dyn Fn(&[u8]) -> Result<(), BadTag>, tag: &[u8]| {
                assert_eq!(verify(tag), Ok(()));
                for bit in 0..tag.len() * 8 {
                    let mut flipped = tag.to_vec();
                    flipped[bit / 8] ^= 1 << (bit % 8);
                    assert_eq!(verify(&flipped), Err(BadTag), "bit {bit}");
                }
                for length in 0..tag.len() {
                    assert_eq!(verify(&tag[..length]), Err(BadTag), "length {length}");
                }
                assert_eq!(verify(&[tag, &[0]].concat()), Err(BadTag));
            };
            check(&|tag| short.verify(&[b"abc"], tag), &short.tag(&[b"abc"]));
            check(&|tag| long.verify(&[b"abc"], tag), &long.tag(&[b"abc"]));
        }
    }

    #[test]
    fn a_key_below_128_bits_is_refused() {
        for length in 0..MAC_KEY_LENGTH_MIN {
            let bytes = vec![7; length];
            let refused = KeyTooShort { length };
            assert_eq!(MacKey::from_bytes(&bytes).err(), Some(refused));
            assert_eq!(MacKey512::from_bytes(&bytes).err(), Some(refused));
        }
        assert!(MacKey::from_bytes(&[7; MAC_KEY_LENGTH_MIN]).is_ok());
        assert!(MacKey512::from_bytes(&[7; MAC_KEY_LENGTH_MIN]).is_ok());
    }

    #[test]
    fn a_secret_and_its_bytes_are_one_key() {
        let secret = SecretArray::from_bytes([9; 32]);
        let from_bytes = MacKey::from_bytes(secret.expose()).expect("long enough");
        assert_eq!(
            MacKey::from_secret(&secret).tag(&[b"x"]),
            from_bytes.tag(&[b"x"])
        );
    }

    #[test]
    fn debug_is_redacted() {
        let secret = SecretArray::from_bytes([0x41; 32]);
        assert_eq!(
            format!(
                "{:?} {:?}",
                MacKey::from_secret(&secret),
                MacKey512::from_secret(&secret)
            ),
            "MacKey(redacted) MacKey512(redacted)"
        );
    }
}
