//! SHA-256 and SHA-512 (FIPS 180-4) by ring.

use ring::digest;

/// SHA-256 of `bytes` (FIPS 180-4, section 6.2).
///
/// ```
/// let digest = sealmoot_crypto::digest::sha256(b"abc");
/// assert_eq!(digest[..4], [0xba, 0x78, 0x16, 0xbf]);
/// ```
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    to_array(&digest::digest(&digest::SHA256, bytes))
}

/// SHA-512 of `bytes` (FIPS 180-4, section 6.4).
///
/// ```
/// let digest = sealmoot_crypto::digest::sha512(b"abc");
/// assert_eq!(digest[..4], [0xdd, 0xaf, 0x35, 0xa1]);
/// ```
#[must_use]
pub fn sha512(bytes: &[u8]) -> [u8; 64] {
    to_array(&digest::digest(&digest::SHA512, bytes))
}

/// SHA-256 over parts that arrive one after another.
///
/// ```
/// use sealmoot_crypto::digest::{Sha256, sha256};
/// let mut hasher = Sha256::new();
/// hasher.update(b"a");
/// hasher.update(b"bc");
/// assert_eq!(hasher.finish(), sha256(b"abc"));
/// ```
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
        to_array(&self.0.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

/// SHA-512 over parts that arrive one after another.
///
/// ```
/// use sealmoot_crypto::digest::{Sha512, sha512};
/// let mut hasher = Sha512::new();
/// hasher.update(b"a");
/// hasher.update(b"bc");
/// assert_eq!(hasher.finish(), sha512(b"abc"));
/// ```
#[derive(Clone)]
pub struct Sha512(digest::Context);

impl Sha512 {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA512))
    }

    /// Appends `bytes` to the message.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything appended.
    #[must_use]
    pub fn finish(self) -> [u8; 64] {
        to_array(&self.0.finish())
    }
}

impl Default for Sha512 {
    fn default() -> Self {
        Self::new()
    }
}

fn to_array<const N: usize>(digest: &digest::Digest) -> [u8; N] {
    let mut array = [0u8; N];
    array.copy_from_slice(digest.as_ref());
    array
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::testing::hex;

    // FIPS 180-4 examples (NIST, "Cryptographic Standards and Guidelines: Example
    // Values", SHA256.pdf and SHA512.pdf): one block, and two.
    #[test]
    fn fips_180_4_examples() {
        assert_eq!(
            hex(&sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex(&sha256(
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
            )),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        );
        assert_eq!(
            hex(&sha512(b"abc")),
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        );
        assert_eq!(
            hex(&sha512(
                b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn\
                  hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"
            )),
            "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018\
             501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"
        );
    }

    #[test]
    fn parts_hash_like_the_whole_wherever_they_are_cut() {
        let message: Vec<u8> = (0..300u16).map(|at| at as u8).collect();
        for cut in 0..message.len() {
            let (head, tail) = message.split_at(cut);
            let mut short = Sha256::new();
            let mut long = Sha512::new();
            for part in [head, tail] {
                short.update(part);
                long.update(part);
            }
            assert_eq!(short.finish(), sha256(&message));
            assert_eq!(long.finish(), sha512(&message));
        }
    }
}
