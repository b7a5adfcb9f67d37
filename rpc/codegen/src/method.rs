//! The number of a method on the wire.

use sha2::{Digest, Sha256};

/// The first eight bytes, little-endian, of SHA-256 of a path such as
/// `store.v1.Store/Put`.
///
/// A number instead of a name keeps small calls small; it is stable as long as
/// the name is.
pub fn method_number(path: &str) -> u64 {
    let digest = Sha256::digest(path.as_bytes());
    let mut number = 0;
    for (index, byte) in digest.iter().take(8).enumerate() {
        number |= u64::from(*byte) << (8 * index);
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_digest_read_little_endian() {
        // FIPS 180-4, example "abc": ba7816bf 8f01cfea ...
        assert_eq!(method_number("abc"), 0xeacf_018f_bf16_78ba);
        assert_ne!(
            method_number("store.v1.Store/Put"),
            method_number("store.v1.Store/Get")
        );
    }
}
