//! SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104), both by ring.

use ring::{digest, hmac};

/// SHA-256 of `bytes`.
///
/// ```
/// let digest = sealmoot_crypto::digest::sha256(b"abc");
/// assert_eq!(digest[..4], [0xba, 0x78, 0x16, 0xbf]);
/// ```
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    to_array(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// SHA-256 over parts that arrive one after another.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Appends `bytes` to the message.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything appended.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        to_array(self.0.finish().as_ref())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

/// A key for HMAC-SHA-256, its pads computed once.
pub struct MacKey(hmac::Key);

impl MacKey {
    /// A key from at least 32 secret bytes.
    #[must_use]
    pub fn from_secret(secret: &crate::secret::SecretArray<32>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose()))
    }

    /// The tag over `parts`, one after another. The caller makes the split
    /// unambiguous (fixed lengths or length prefixes).
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        to_array(context.sign().as_ref())
    }
}

fn to_array(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0u8; 32];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretArray;

    #[test]
    fn parts_hash_like_the_whole() {
        let mut hasher = Sha256::new();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), sha256(b"abc"));
    }

    // FIPS 180-4 example, SHA256("abc").
    #[test]
    fn fips_180_4_abc() {
        assert_eq!(
            crate::testing::hex(&sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_tag_depends_on_key_and_message() {
        let key = MacKey::from_secret(&SecretArray::from_bytes([1; 32]));
        let other = MacKey::from_secret(&SecretArray::from_bytes([2; 32]));
        assert_eq!(key.tag(&[b"ab", b"c"]), key.tag(&[b"abc"]));
        assert_ne!(key.tag(&[b"abc"]), key.tag(&[b"abd"]));
        assert_ne!(key.tag(&[b"abc"]), other.tag(&[b"abc"]));
    }
}
