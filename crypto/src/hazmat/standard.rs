//! HKDF (RFC 5869) with raw salt and info, as other systems' protocols prescribe it.
//!
//! For our own keys use [`crate::kdf`], whose labels keep uses apart. Here the caller
//! answers for that: no two uses of one pseudorandom key with the same `info`, and
//! `info` fields that cannot run into each other. Extraction is for secrets of high
//! entropy (the result of a key agreement), never for passwords.
//!
//! ```
//! use sealmoot_crypto::agreement::AgreementKey;
//! use sealmoot_crypto::hazmat::standard::{expand_sha256, extract_sha256};
//! let (alice, bob) = (AgreementKey::generate()?, AgreementKey::generate()?);
//! let key = extract_sha256(b"protocol X", alice.agree(&bob.public())?.expose());
//! let (mut sending, mut receiving) = ([0u8; 16], [0u8; 16]);
//! expand_sha256(&key, b"client to server", &mut sending)?;
//! expand_sha256(&key, b"server to client", &mut receiving)?;
//! assert_ne!(sending, receiving);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use hkdf::Hkdf;
use hkdf::hmac::EagerHash;
use zeroize::Zeroize;

pub use crate::kdf::ExpandTooLong;
use crate::secret::SecretArray;

/// `HKDF-Extract(salt, input)` with SHA-256 (RFC 5869, section 2.2). An empty salt is
/// the same as none.
///
/// ```
/// use sealmoot_crypto::hazmat::standard::{expand_sha256, extract_sha256};
/// let key = extract_sha256(b"salt", b"the result of a key agreement");
/// let mut output = [0u8; 16];
/// expand_sha256(&key, b"protocol X, client to server", &mut output)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn extract_sha256(salt: &[u8], input: &[u8]) -> SecretArray<32> {
    extract::<sha2::Sha256, 32>(salt, input)
}

/// `HKDF-Expand(key, info)` with SHA-256 (RFC 5869, section 2.3). A short output is
/// the beginning of a longer one with the same `info`.
///
/// # Errors
/// [`ExpandTooLong`] above 8160 bytes; `output` is then wiped.
///
/// ```
/// use sealmoot_crypto::hazmat::standard::{expand_sha256, extract_sha256};
/// let key = extract_sha256(b"salt", b"the result of a key agreement");
/// let (mut short, mut long) = ([0u8; 16], [0u8; 64]);
/// expand_sha256(&key, b"protocol X", &mut short)?;
/// expand_sha256(&key, b"protocol X", &mut long)?;
/// assert_eq!(short, long[..16]); // so give two lengths two infos
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn expand_sha256(
    key: &SecretArray<32>,
    info: &[u8],
    output: &mut [u8],
) -> Result<(), ExpandTooLong> {
    expand::<sha2::Sha256, 32>(key, info, output)
}

/// `HKDF-Extract(salt, input)` with SHA-512 (RFC 5869, section 2.2). An empty salt is
/// the same as none.
///
/// ```
/// use sealmoot_crypto::hazmat::standard::{expand_sha512, extract_sha512};
/// let key = extract_sha512(b"salt", b"the result of a key agreement");
/// let mut output = [0u8; 64];
/// expand_sha512(&key, b"protocol X, client to server", &mut output)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn extract_sha512(salt: &[u8], input: &[u8]) -> SecretArray<64> {
    extract::<sha2::Sha512, 64>(salt, input)
}

/// `HKDF-Expand(key, info)` with SHA-512 (RFC 5869, section 2.3). A short output is
/// the beginning of a longer one with the same `info`.
///
/// # Errors
/// [`ExpandTooLong`] above 16320 bytes; `output` is then wiped.
///
/// ```
/// use sealmoot_crypto::hazmat::standard::{ExpandTooLong, expand_sha512, extract_sha512};
/// let key = extract_sha512(b"salt", b"the result of a key agreement");
/// let mut output = vec![7; 255 * 64 + 1];
/// let refused = ExpandTooLong { length: 16_321, maximum: 16_320 };
/// assert_eq!(expand_sha512(&key, b"protocol X", &mut output), Err(refused));
/// assert!(output.iter().all(|byte| *byte == 0));
/// ```
pub fn expand_sha512(
    key: &SecretArray<64>,
    info: &[u8],
    output: &mut [u8],
) -> Result<(), ExpandTooLong> {
    expand::<sha2::Sha512, 64>(key, info, output)
}

fn extract<D: EagerHash, const N: usize>(salt: &[u8], input: &[u8]) -> SecretArray<N> {
    let (mut bytes, _) = Hkdf::<D>::extract(Some(salt), input);
    let key = SecretArray::from_slice(&bytes).expect("N is the hash's length");
    bytes.as_mut_slice().zeroize();
    key
}

fn expand<D: EagerHash, const N: usize>(
    key: &SecretArray<N>,
    info: &[u8],
    output: &mut [u8],
) -> Result<(), ExpandTooLong> {
    Hkdf::<D>::from_prk(key.expose())
        .expect("N is the hash's length, the least that HKDF takes")
        .expand(info, output)
        .map_err(|_| {
            // A caller who overlooks the error must not go on with what stood there.
            output.zeroize();
            ExpandTooLong {
                length: output.len(),
                maximum: 255 * N,
            }
        })
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;

    #[test]
    fn more_than_255_blocks_are_refused_and_wiped() {
        let short = extract_sha256(b"", b"input");
        let long = extract_sha512(b"", b"input");
        let mut output = vec![0xff; 16_321];
        assert_eq!(expand_sha256(&short, b"", &mut output[..8160]), Ok(()));
        assert_eq!(
            expand_sha256(&short, b"", &mut output[..8161]),
            Err(ExpandTooLong {
                length: 8161,
                maximum: 8160
            })
        );
        assert!(output[..8161].iter().all(|byte| *byte == 0));
        assert_eq!(expand_sha512(&long, b"", &mut output[..16_320]), Ok(()));
        assert_eq!(
            expand_sha512(&long, b"", &mut output),
            Err(ExpandTooLong {
                length: 16_321,
                maximum: 16_320
            })
        );
        assert!(output.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn every_input_counts() {
        let expanded = |salt: &[u8], input: &[u8], info: &[u8]| {
            let mut output = [0u8; 32];
            expand_sha256(&extract_sha256(salt, input), info, &mut output).expect("short");
            output
        };
        let one = expanded(b"salt", b"input", b"info");
        assert_ne!(one, expanded(b"salu", b"input", b"info"));
        assert_ne!(one, expanded(b"salt", b"inpuu", b"info"));
        assert_ne!(one, expanded(b"salt", b"input", b"infp"));
    }
}
