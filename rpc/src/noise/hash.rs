//! `HASH`, `HMAC-HASH` and `HKDF` (Noise revision 34, sections 4.3 and 5.1).

use blake2::Blake2s256;
use sha2::digest::Output;
use sha2::digest::block_api::BlockSizeUser;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::suite::Hash;

/// `HASHLEN` of both functions.
pub(super) const HASH_BYTES: usize = 32;

/// `BLOCKLEN` of both functions.
const BLOCK_BYTES: usize = 64;

/// `HASH(parts[0] || parts[1] || ...)`.
pub(super) fn hash(function: Hash, parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    let digest = match function {
        Hash::Sha256 => digest::<Sha256>(parts),
        Hash::Blake2s => digest::<Blake2s256>(parts),
    };
    *digest
}

/// `HKDF(chaining_key, input, 2)`.
pub(super) fn derive_two(
    function: Hash,
    chaining_key: &[u8; HASH_BYTES],
    input: &[u8],
) -> (Zeroizing<[u8; HASH_BYTES]>, Zeroizing<[u8; HASH_BYTES]>) {
    let temporary = hmac(function, chaining_key, &[input]);
    let first = hmac(function, &temporary, &[&[1]]);
    let second = hmac(function, &temporary, &[&*first, &[2]]);
    (first, second)
}

/// `HMAC-HASH(key, parts...)` (RFC 2104) for keys of one hash. Written out
/// because the generic form, which BLAKE2s needs, leaves its outer pad behind.
fn hmac(function: Hash, key: &[u8; HASH_BYTES], parts: &[&[u8]]) -> Zeroizing<[u8; HASH_BYTES]> {
    match function {
        Hash::Sha256 => hmac_with::<Sha256>(key, parts),
        Hash::Blake2s => hmac_with::<Blake2s256>(key, parts),
    }
}

fn hmac_with<D: Digest + BlockSizeUser>(
    key: &[u8; HASH_BYTES],
    parts: &[&[u8]],
) -> Zeroizing<[u8; HASH_BYTES]> {
    debug_assert_eq!(D::block_size(), BLOCK_BYTES);
    let mut pad = Zeroizing::new([0x36; BLOCK_BYTES]);
    for (pad, key) in pad.iter_mut().zip(key) {
        *pad ^= key;
    }
    let mut inner = D::new_with_prefix(pad.as_slice());
    for part in parts {
        inner.update(part);
    }
    let inner = finish(inner);
    for pad in pad.iter_mut() {
        *pad ^= 0x36 ^ 0x5c;
    }
    finish(D::new_with_prefix(pad.as_slice()).chain_update(inner.as_slice()))
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Zeroizing<[u8; HASH_BYTES]> {
    let mut context = D::new();
    for part in parts {
        context.update(part);
    }
    finish(context)
}

fn finish<D: Digest>(context: D) -> Zeroizing<[u8; HASH_BYTES]> {
    let mut output: Output<D> = context.finalize();
    let mut array = Zeroizing::new([0; HASH_BYTES]);
    array.copy_from_slice(&output);
    output.as_mut_slice().zeroize();
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::tests::{hex, unhex};

    // FIPS 180-4 example and RFC 7693 appendix B, of "abc".
    #[test]
    fn published_digests() {
        assert_eq!(
            hex(&hash(Hash::Sha256, &[b"a", b"bc"])),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex(&hash(Hash::Blake2s, &[b"abc"])),
            "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"
        );
    }

    // RFC 5869 appendix A.3 (SHA-256, zero-length salt and info): Noise's HKDF
    // is RFC 5869's with the chaining key as salt and empty info. A salt of
    // no bytes and one of 32 zeros are the same HMAC key.
    #[test]
    fn rfc_5869_case_3() {
        let input = unhex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
        let (first, second) = derive_two(Hash::Sha256, &[0; 32], &input);
        assert_eq!(
            hex(&*first),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
        );
        // The published output ends ten bytes into the second block.
        assert_eq!(hex(&second[..10]), "9d201395faa4b61a96c8");
    }
}
