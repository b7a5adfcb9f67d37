//! The door through which raw keys come and go.
//!
//! The rest of this crate makes its keys itself and lets no secret out unsealed. What
//! other systems made has to come in all the same, and what they need has to go out:
//! through here, and under a name that a reader of the calling code stumbles over.
//!
//! What a caller takes upon itself:
//!
//! | With | the caller answers for |
//! |---|---|
//! | [`raw`], in | that the bytes are random, whole and secret, and used for nothing else |
//! | [`raw`], out | wiping, sealing and counting the copies; nothing here can any more |
//! | [`pem`], [`der`], [`openssh`], in | who wrote the file, and who else has read it: it is not encrypted |
//! | [`pem`], [`der`], [`openssh`], out | file modes (0600), and that the text is wiped and never logged |
//! | [`standard`] | salts, and infos that no second protocol uses under the same key |
//! | [`sign_unframed`] | that no two kinds of message share a form: one key, one format |
//! | [`verify_unframed`] | the same, for whoever signed |
//!
//! Bytes from outside are checked as everywhere: lengths against named maxima before
//! memory is reserved, one encoding only, weak public keys refused.
//!
//! Not offered: encrypted key files (each format has its own way from passphrase to
//! key, most of them weak; [`crate::passphrase_box`] is ours), and exporting a
//! [`crate::aead::RecordKey`], which keeps no copy of the bytes that it was made from.
//!
//! ```
//! use sealmoot_crypto::{hazmat::{pem, raw}, signature::SigningKey};
//! let made_elsewhere = raw::import_signing_key(&[7; 32])?;
//! let text = pem::signing_key_to_pem(&made_elsewhere); // for another system
//! let again: SigningKey = pem::signing_key_from_pem(text.expose())?;
//! assert_eq!(again.verifying_key(), made_elsewhere.verifying_key());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod der;
#[cfg(all(test, feature = "std"))]
mod interop;
pub mod openssh;
pub mod pem;
pub mod raw;
pub mod standard;

use crate::signature::{BadSignature, Signature, SigningKey, VerifyingKey};

/// What every message signed by [`SigningKey::sign`] begins with.
const FRAME: &[u8] = b"sealmoot/v1/signature";

/// The message has the beginning of those that [`SigningKey::sign`] signs: its
/// signature would pass for a signature within some domain.
///
/// ```
/// use sealmoot_crypto::{hazmat::{self, FramedMessage}, signature::SigningKey};
/// let key = SigningKey::generate()?;
/// // With this signature the key would have invited somebody.
/// let trap = b"sealmoot/v1/signature\x06invitemallory";
/// assert_eq!(hazmat::sign_unframed(&key, trap), Err(FramedMessage));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message looks like one framed for a domain; it is not signed unframed")]
pub struct FramedMessage;

/// Ed25519 (RFC 8032, section 5.1.6) over `message` alone, without a domain, for the
/// formats of other systems.
///
/// A signature made so is good wherever the same bytes mean something else. A key
/// that signs unframed should sign one format only, and its owner should never let
/// others choose the bytes.
///
/// # Errors
/// [`FramedMessage`] when the message begins like those of [`SigningKey::sign`].
///
/// ```
/// use sealmoot_crypto::{hazmat, signature::SigningKey};
/// let key = SigningKey::generate()?;
/// let signature = hazmat::sign_unframed(&key, b"another system's format")?;
/// hazmat::verify_unframed(&key.verifying_key(), b"another system's format", &signature)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sign_unframed(key: &SigningKey, message: &[u8]) -> Result<Signature, FramedMessage> {
    if message.starts_with(FRAME) {
        return Err(FramedMessage);
    }
    Ok(key.sign_unframed(message))
}

/// Verifies an Ed25519 signature over `message` alone, strictly: `S` reduced, `R` and
/// key not of small order, no cofactor. Some signatures that lenient verifiers accept
/// are refused.
///
/// # Errors
/// [`BadSignature`].
///
/// ```
/// use sealmoot_crypto::{hazmat, signature::SigningKey};
/// let key = SigningKey::generate()?;
/// let framed = key.sign("invite", b"message");
/// assert!(hazmat::verify_unframed(&key.verifying_key(), b"message", &framed).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify_unframed(
    key: &VerifyingKey,
    message: &[u8],
    signature: &Signature,
) -> Result<(), BadSignature> {
    key.verify_unframed(message, signature)
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::secret::SecretArray;
    use crate::testing::{hex, unhex};

    // RFC 8032 section 7.1, test 3.
    #[test]
    fn rfc_8032_vector() {
        let seed = unhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
        let key = SigningKey::from_seed(&SecretArray::from_slice(&seed).expect("32 bytes"));
        let message = unhex("af82");
        let signature = sign_unframed(&key, &message).expect("not framed");
        assert_eq!(
            hex(&signature.to_bytes()),
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        );
        let public = key.verifying_key();
        assert_eq!(verify_unframed(&public, &message, &signature), Ok(()));
        for bit in 0..512 {
            let mut bytes = signature.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = Signature::from_bytes(bytes);
            assert_eq!(
                verify_unframed(&public, &message, &flipped),
                Err(BadSignature)
            );
        }
        assert_eq!(
            verify_unframed(&public, b"other", &signature),
            Err(BadSignature)
        );
    }

    #[test]
    fn a_framed_message_is_not_signed_unframed() {
        let key = SigningKey::generate().expect("random");
        // These are the bytes that a signature within the domain "d" covers.
        let framed = [FRAME, b"\x01d", b"message"].concat();
        assert_eq!(
            verify_unframed(&key.verifying_key(), &framed, &key.sign("d", b"message")),
            Ok(())
        );
        assert_eq!(sign_unframed(&key, &framed), Err(FramedMessage));
        assert_eq!(sign_unframed(&key, FRAME), Err(FramedMessage));
        assert!(sign_unframed(&key, &FRAME[1..]).is_ok());
    }

    #[test]
    fn framed_and_unframed_signatures_do_not_stand_for_each_other() {
        let key = SigningKey::generate().expect("random");
        let unframed = sign_unframed(&key, b"message").expect("not framed");
        assert_eq!(
            key.verifying_key().verify("d", b"message", &unframed),
            Err(BadSignature)
        );
    }
}
