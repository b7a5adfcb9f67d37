//! Keys from keys: HKDF-SHA-256 (RFC 5869) with labels that keep uses apart.

use hkdf::Hkdf;
use sha2::Sha256;

use crate::secret::SecretArray;

/// A 256-bit key: `HKDF-SHA-256(salt = none, ikm = secret, info = label)`, where
/// the label is `"sealmoot/v1/" || len(context) || context || info`.
///
/// `context` names the use and is fixed in the code, `info` names the instance
/// (a file, a connection) and may be public. Different pairs give independent
/// keys, because the context carries its length.
///
/// # Panics
/// When `context` is longer than 255 bytes, which only a change of the code can
/// cause.
///
/// ```
/// let root = [7u8; 32];
/// let a = sealmoot_crypto::kdf::derive(&root, "log segment", b"1");
/// let b = sealmoot_crypto::kdf::derive(&root, "log segment", b"2");
/// assert!(!a.same_as(&b));
/// ```
#[must_use]
pub fn derive(secret: &[u8], context: &'static str, info: &[u8]) -> SecretArray<32> {
    let length = u8::try_from(context.len()).expect("contexts are short literals");
    let mut key = SecretArray::from_bytes([0u8; 32]);
    Hkdf::<Sha256>::new(None, secret)
        .expand_multi_info(
            &[b"sealmoot/v1/", &[length], context.as_bytes(), info],
            key.expose_mut(),
        )
        .expect("32 bytes are within HKDF's 255 blocks");
    key
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::testing::{hex, unhex};

    // RFC 5869 appendix A.1, A.2 (first bytes), A.3.
    #[test]
    fn rfc_5869_vectors() {
        let ikm = [0x0b; 22];
        let hkdf = Hkdf::<Sha256>::new(Some(&unhex("000102030405060708090a0b0c")), &ikm);
        let mut okm = [0u8; 42];
        hkdf.expand(&unhex("f0f1f2f3f4f5f6f7f8f9"), &mut okm)
            .expect("42 bytes");
        assert_eq!(
            hex(&okm),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
        let hkdf = Hkdf::<Sha256>::new(None, &ikm);
        let mut okm = [0u8; 42];
        hkdf.expand(&[], &mut okm).expect("42 bytes");
        assert_eq!(
            hex(&okm),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        );
    }

    #[test]
    fn context_and_info_do_not_run_into_each_other() {
        let root = [1u8; 32];
        assert!(!derive(&root, "ab", b"c").same_as(&derive(&root, "a", b"bc")));
    }
}
