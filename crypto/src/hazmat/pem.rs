//! Keys as PEM text (RFC 7468), as `openssl` writes and reads it: "PRIVATE KEY" for
//! PKCS#8 and "PUBLIC KEY" for `SubjectPublicKeyInfo`, of Ed25519 and X25519.
//!
//! The text is one block and nothing else: lines of 64 characters, no headers, no
//! words before or after it. Encrypted files are recognised and refused.
//!
//! ```
//! use sealmoot_crypto::{hazmat::pem, signature::SigningKey};
//! // RFC 8410, section 10.3: the private key of section 10.1's public one.
//! let key = pem::signing_key_from_pem(b"-----BEGIN PRIVATE KEY-----
//! MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
//! -----END PRIVATE KEY-----
//! ")?;
//! assert_eq!(pem::verifying_key_to_pem(&key.verifying_key()), "-----BEGIN PUBLIC KEY-----
//! MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
//! -----END PUBLIC KEY-----
//! ");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use pem_rfc7468::{Decoder, Encoder, LineEnding};
use zeroize::Zeroizing;

use super::der::{self, DerError};
use crate::agreement::{AgreementKey, AgreementPublic};
use crate::secret::SecretBytes;
use crate::signature::{SigningKey, VerifyingKey};

/// Most bytes of PEM text that are looked at; a key has some 110 to 230.
pub const PEM_LENGTH_MAX: usize = 4096;

pub(crate) const LINE_WIDTH: usize = 64;
const PRIVATE_KEY: &str = "PRIVATE KEY";
const PUBLIC_KEY: &str = "PUBLIC KEY";
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// Why a text was not taken for a key.
///
/// ```
/// use sealmoot_crypto::{hazmat::pem::{self, PemError}, signature::SigningKey};
/// let public = pem::verifying_key_to_pem(&SigningKey::generate()?.verifying_key());
/// match pem::signing_key_from_pem(public.as_bytes()) {
///     Err(PemError::OtherLabel { found, expected }) => {
///         assert_eq!((found.as_str(), expected), ("PUBLIC KEY", "PRIVATE KEY"));
///     }
///     other => unreachable!("{other:?}"),
/// }
/// let two_blocks = [public.as_bytes(), public.as_bytes()].concat();
/// assert_eq!(pem::verifying_key_from_pem(&two_blocks), Err(PemError::Malformed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// More than [`PEM_LENGTH_MAX`] bytes.
    #[error("{length} bytes of PEM are more than the maximum of {PEM_LENGTH_MAX}")]
    TooLong {
        /// How many there are.
        length: usize,
    },
    /// Not exactly one block of PEM: the markers, the lines or the Base64 are not as
    /// RFC 7468 has them, or something stands before or after the block.
    #[error("not exactly one block of strict PEM")]
    Malformed,
    /// The private key is encrypted.
    #[error(
        "the private key is encrypted; `openssl pkey -in FILE -out NEW` removes the passphrase"
    )]
    Encrypted,
    /// The block is of another kind: "RSA PRIVATE KEY", "CERTIFICATE".
    #[error("the PEM block is {found:?}, not {expected:?}")]
    OtherLabel {
        /// What the block says that it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// What is inside is not the key.
    #[error(transparent)]
    Der(#[from] DerError),
}

/// The Ed25519 private key in a "PRIVATE KEY" block.
///
/// # Errors
/// [`PemError`].
///
/// ```
/// use sealmoot_crypto::{hazmat::pem, signature::SigningKey};
/// let key = SigningKey::generate()?;
/// let again = pem::signing_key_from_pem(pem::signing_key_to_pem(&key).expose())?;
/// assert_eq!(again.verifying_key(), key.verifying_key());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn signing_key_from_pem(text: &[u8]) -> Result<SigningKey, PemError> {
    Ok(der::signing_key_from_pkcs8(&decode(text, PRIVATE_KEY)?)?)
}

/// An Ed25519 private key as a "PRIVATE KEY" block (PKCS#8 version 1).
///
/// ```
/// use sealmoot_crypto::{hazmat::pem, signature::SigningKey};
/// let text = pem::signing_key_to_pem(&SigningKey::generate()?);
/// assert!(text.expose().starts_with(b"-----BEGIN PRIVATE KEY-----\n"));
/// assert_eq!(format!("{text:?}"), "SecretBytes(redacted)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn signing_key_to_pem(key: &SigningKey) -> SecretBytes {
    SecretBytes::new(encode(PRIVATE_KEY, key.to_pkcs8_der().expose()))
}

/// The Ed25519 public key in a "PUBLIC KEY" block.
///
/// # Errors
/// [`PemError`].
///
/// ```
/// use sealmoot_crypto::hazmat::pem;
/// // RFC 8410, section 10.1.
/// let key = pem::verifying_key_from_pem(b"-----BEGIN PUBLIC KEY-----
/// MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
/// -----END PUBLIC KEY-----
/// ")?;
/// # let _ = key;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verifying_key_from_pem(text: &[u8]) -> Result<VerifyingKey, PemError> {
    Ok(der::verifying_key_from_spki(&decode(text, PUBLIC_KEY)?)?)
}

/// An Ed25519 public key as a "PUBLIC KEY" block.
///
/// ```
/// use sealmoot_crypto::{hazmat::pem, signature::SigningKey};
/// let key = SigningKey::generate()?.verifying_key();
/// let text = pem::verifying_key_to_pem(&key);
/// assert!(text.starts_with("-----BEGIN PUBLIC KEY-----\n"));
/// assert_eq!(pem::verifying_key_from_pem(text.as_bytes())?, key);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn verifying_key_to_pem(key: &VerifyingKey) -> String {
    public_text(&key.to_spki())
}

/// The X25519 private key in a "PRIVATE KEY" block.
///
/// # Errors
/// [`PemError`].
///
/// ```
/// use sealmoot_crypto::{agreement::AgreementKey, hazmat::pem};
/// let key = AgreementKey::generate()?;
/// let again = pem::agreement_key_from_pem(pem::agreement_key_to_pem(&key).expose())?;
/// assert_eq!(again.public(), key.public());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn agreement_key_from_pem(text: &[u8]) -> Result<AgreementKey, PemError> {
    Ok(der::agreement_key_from_pkcs8(&decode(text, PRIVATE_KEY)?)?)
}

/// An X25519 private key as a "PRIVATE KEY" block (PKCS#8 version 1).
///
/// ```
/// use sealmoot_crypto::{agreement::AgreementKey, hazmat::pem};
/// let text = pem::agreement_key_to_pem(&AgreementKey::generate()?);
/// assert!(pem::agreement_key_from_pem(text.expose()).is_ok());
/// // Nobody signs with it by mistake.
/// assert!(pem::signing_key_from_pem(text.expose()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn agreement_key_to_pem(key: &AgreementKey) -> SecretBytes {
    SecretBytes::new(encode(
        PRIVATE_KEY,
        der::agreement_key_to_pkcs8(key).expose(),
    ))
}

/// The X25519 public key in a "PUBLIC KEY" block.
///
/// # Errors
/// [`PemError`].
///
/// ```
/// use sealmoot_crypto::{agreement::AgreementKey, hazmat::pem};
/// let public = AgreementKey::generate()?.public();
/// let text = pem::agreement_public_to_pem(&public);
/// assert_eq!(pem::agreement_public_from_pem(text.as_bytes())?, public);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn agreement_public_from_pem(text: &[u8]) -> Result<AgreementPublic, PemError> {
    Ok(der::agreement_public_from_spki(&decode(text, PUBLIC_KEY)?)?)
}

/// An X25519 public key as a "PUBLIC KEY" block.
///
/// ```
/// use sealmoot_crypto::{agreement::AgreementKey, hazmat::pem};
/// let text = pem::agreement_public_to_pem(&AgreementKey::generate()?.public());
/// assert!(text.ends_with("\n-----END PUBLIC KEY-----\n"));
/// assert!(pem::verifying_key_from_pem(text.as_bytes()).is_err()); // not Ed25519
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn agreement_public_to_pem(key: &AgreementPublic) -> String {
    public_text(&der::agreement_public_to_spki(key))
}

fn decode(text: &[u8], expected: &'static str) -> Result<Zeroizing<Vec<u8>>, PemError> {
    if text.len() > PEM_LENGTH_MAX {
        return Err(PemError::TooLong { length: text.len() });
    }
    let (label, bytes) = decode_block(text, LINE_WIDTH).ok_or(PemError::Malformed)?;
    match label {
        found if found == expected => Ok(bytes),
        ENCRYPTED => Err(PemError::Encrypted),
        found => Err(PemError::OtherLabel {
            found: found.to_string(),
            expected,
        }),
    }
}

/// Label and content of a text that is one block of PEM, in lines of `width`
/// characters, and nothing else. The caller has capped the text's length.
pub(crate) fn decode_block(text: &[u8], width: usize) -> Option<(&str, Zeroizing<Vec<u8>>)> {
    // RFC 7468 lets words stand before a block; a second key there, overlooked, would
    // be worse than a refusal.
    if !text.starts_with(b"-----BEGIN ") {
        return None;
    }
    // Nor do its strict lines hold an empty one, which the decoder takes before the last.
    let empty_line = [b"\n\n", b"\n\r", b"\r\r"];
    if text
        .windows(2)
        .any(|pair| empty_line.iter().any(|line| pair == *line))
    {
        return None;
    }
    let mut decoder = Decoder::new_wrapped(text, width).ok()?;
    // One allocation of the final size: a growing one would leave copies behind.
    let mut bytes = Zeroizing::new(vec![0; decoder.remaining_len()]);
    decoder.decode(&mut bytes).ok()?;
    // An empty block, or one whose Base64 goes on behind its padding.
    (!bytes.is_empty() && decoder.is_finished()).then(|| (decoder.type_label(), bytes))
}

/// One block of PEM in lines of 64 characters.
fn encode(label: &'static str, bytes: &[u8]) -> Vec<u8> {
    encode_block(label, LINE_WIDTH, bytes)
}

/// One block of PEM in lines of `width` characters.
pub(super) fn encode_block(label: &'static str, width: usize, bytes: &[u8]) -> Vec<u8> {
    const FITS: &str = "the room is computed from the same input";
    let room = pem_rfc7468::encapsulated_len_wrapped(label, width, LineEnding::LF, bytes.len());
    // A line's worth more, because that length is computed without the padding.
    let mut text = vec![0; room.expect(FITS) + width];
    let mut encoder = Encoder::new_wrapped(label, width, LineEnding::LF, &mut text).expect(FITS);
    encoder.encode(bytes).expect(FITS);
    let length = encoder.finish().expect(FITS);
    text.truncate(length);
    text
}

fn public_text(spki: &[u8]) -> String {
    String::from_utf8(encode(PUBLIC_KEY, spki)).expect("PEM is ASCII")
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;

    // RFC 8410, sections 10.3 (both versions) and 10.1.
    const VERSION_1: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const VERSION_2: &str = "-----BEGIN PRIVATE KEY-----\n\
        MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\n\
        Z9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    fn refused(text: &str) -> PemError {
        signing_key_from_pem(text.as_bytes()).expect_err("refused")
    }

    #[test]
    fn an_empty_line_is_refused() {
        for (from, to) in [
            ("\n-----END", "\n\n-----END"),
            ("\n-----END", "\n\r\n-----END"),
        ] {
            let text = VERSION_1.replace(from, to);
            assert_eq!(refused(&text), PemError::Malformed, "{text:?}");
        }
    }

    #[test]
    fn rfc_8410_texts() {
        let public = verifying_key_from_pem(PUBLIC.as_bytes()).expect("a key");
        assert_eq!(verifying_key_to_pem(&public), PUBLIC);
        for text in [VERSION_1, VERSION_2] {
            let key = signing_key_from_pem(text.as_bytes()).expect("a key");
            assert_eq!(key.verifying_key(), public);
            assert_eq!(signing_key_to_pem(&key).expose(), VERSION_1.as_bytes());
        }
    }

    #[test]
    fn windows_line_ends_and_a_missing_last_one_are_read() {
        for text in [VERSION_1.replace('\n', "\r\n"), VERSION_1.trim_end().into()] {
            assert!(signing_key_from_pem(text.as_bytes()).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn anything_beside_the_one_block_is_refused() {
        for text in [
            format!("a word\n{VERSION_1}"),
            format!("\n{VERSION_1}"),
            format!("{VERSION_1}a word\n"),
            format!("{VERSION_1}\n"),
            format!("{VERSION_1}{VERSION_1}"),
            format!("{VERSION_1}{PUBLIC}"),
            format!("{PUBLIC}{VERSION_1}"),
        ] {
            assert_eq!(refused(&text), PemError::Malformed, "{text:?}");
        }
    }

    #[test]
    fn headers_other_line_widths_and_bad_base64_are_refused() {
        let (first, rest) = VERSION_1.split_at(40);
        for text in [
            VERSION_1.replace("KEY-----\nMC4", "KEY-----\nProc-Type: 4,ENCRYPTED\n\nMC4"),
            format!("{first}\n{rest}"),
            VERSION_1.replace("MC4C", "MC4*"),
            VERSION_1.replace("MC4C", "MC4 "),
            VERSION_1.replace("dVhC", "dVh"),
            VERSION_1.replace("dVhC", "dVhC===="),
            VERSION_1.replace("-----END PRIVATE", "-----END PUBLIC"),
            VERSION_1.replace("-----BEGIN", "----BEGIN"),
            "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n".into(),
            String::new(),
        ] {
            assert_eq!(refused(&text), PemError::Malformed, "{text:?}");
        }
    }

    #[test]
    fn base64_with_bits_behind_its_end_is_refused() {
        // "ZuE=" and "ZuF=" decode to the same two bytes for lenient decoders.
        let text = PUBLIC.replace("ZuE=", "ZuF=");
        assert_eq!(
            verifying_key_from_pem(text.as_bytes()),
            Err(PemError::Malformed)
        );
    }

    #[test]
    fn every_truncation_is_refused() {
        for length in 0..VERSION_1.len() - 1 {
            assert_eq!(refused(&VERSION_1[..length]), PemError::Malformed);
        }
    }

    #[test]
    fn every_flipped_bit_is_refused_or_gives_another_key() {
        let own = signing_key_from_pem(VERSION_1.as_bytes()).expect("a key");
        for bit in 0..VERSION_1.len() * 8 {
            let mut flipped = VERSION_1.as_bytes().to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(key) = signing_key_from_pem(&flipped) {
                assert_ne!(key.verifying_key(), own.verifying_key(), "bit {bit}");
            }
        }
    }

    #[test]
    fn an_encrypted_key_is_named_as_such() {
        let text = VERSION_1.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert_eq!(refused(&text), PemError::Encrypted);
        let told = refused(&text).to_string();
        assert!(told.contains("openssl pkey"), "{told}");
    }

    #[test]
    fn another_kind_of_block_is_named() {
        assert_eq!(
            refused(PUBLIC),
            PemError::OtherLabel {
                found: "PUBLIC KEY".into(),
                expected: "PRIVATE KEY"
            }
        );
        assert_eq!(
            refused(&VERSION_1.replace("PRIVATE KEY", "RSA PRIVATE KEY")),
            PemError::OtherLabel {
                found: "RSA PRIVATE KEY".into(),
                expected: "PRIVATE KEY"
            }
        );
        assert_eq!(
            verifying_key_from_pem(VERSION_1.as_bytes()),
            Err(PemError::OtherLabel {
                found: "PRIVATE KEY".into(),
                expected: "PUBLIC KEY"
            })
        );
    }

    #[test]
    fn a_key_of_another_algorithm_is_named_as_such() {
        assert!(matches!(
            agreement_key_from_pem(VERSION_1.as_bytes()),
            Err(PemError::Der(DerError::OtherAlgorithm))
        ));
        assert_eq!(
            agreement_public_from_pem(PUBLIC.as_bytes()),
            Err(PemError::Der(DerError::OtherAlgorithm))
        );
    }

    #[test]
    fn more_than_the_maximum_is_not_looked_at() {
        let text = vec![b'-'; PEM_LENGTH_MAX + 1];
        let refused = PemError::TooLong { length: 4097 };
        assert_eq!(signing_key_from_pem(&text).err(), Some(refused.clone()));
        assert_eq!(agreement_key_from_pem(&text).err(), Some(refused.clone()));
        assert_eq!(verifying_key_from_pem(&text), Err(refused.clone()));
        assert_eq!(agreement_public_from_pem(&text), Err(refused));
    }
}
