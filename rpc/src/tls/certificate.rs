//! The self-signed X.509 certificate (RFC 5280) that stands for a bare Ed25519
//! key where a TLS library knows no raw public keys.
//!
//! It is an envelope: the key inside is the identity, the same [`KeyId`] as the
//! raw form's. Ours are 230 bytes and a function of the key alone:
//!
//! ```text
//! offset
//!      0  30 81 e3                                Certificate
//!      3    30 81 96                              TBSCertificate
//!      6      a0 03 02 01 02                      version 3
//!     11      02 10 serial (16)                   of the key's id: its first 16 bytes,
//!                                                 the first byte's upper bits made 01
//!     29      30 05 06 03 2b 65 70                Ed25519 (RFC 8410)
//!     36      30 13 31 11 30 0f 06 03 55 04 03
//!               0c 08 "sealmoot"                  issuer CN=sealmoot
//!     57      30 20 17 0d "700101000000Z"         from 1970
//!               18 0f "99991231235959Z"           without a known end
//!     91      30 13 .. "sealmoot"                 subject, as the issuer
//!    112      30 2a 30 05 06 03 2b 65 70
//!               03 21 00 key (32)                 SubjectPublicKeyInfo (RFC 8410)
//!    156    30 05 06 03 2b 65 70                  Ed25519
//!    163    03 41 00 signature (64)               over TBSCertificate
//! ```
//!
//! - The dates are the widest that can be said (RFC 5280, section 4.1.2.5): no
//!   clock has a part in who somebody is.
//! - The serial number is positive and of fixed length, and differs from key to
//!   key, because some libraries refuse two certificates of one issuer with one
//!   number.
//! - There are no extensions: each would claim something.
//!
//! # What is believed of a peer's certificate
//!
//! Any tool's certificate is taken, not only ours; nothing in it but the key is
//! believed. Names, dates, serial number, usages and other extensions mean
//! nothing. It must be well-formed nevertheless: strict DER of an X.509 version
//! 3 certificate without a byte behind it and without a critical extension that
//! is unknown (RFC 5280, section 4.2, demands their refusal), of at most
//! [`CERTIFICATE_BYTES_MAX`], whose key
//! passes [`VerifyingKey::from_spki`].
//!
//! The certificate's own signature is *not* verified. It would prove that the
//! holder of the key once signed these bytes; the handshake's signature proves
//! that the holder is here now, and covers the certificate besides. Since
//! nothing in the certificate is believed, a forged one gains nothing either:
//! whoever changes one on the way breaks the handshake, and whoever sends a
//! changed one of its own still proves just its own key. Verifying it would add
//! a second place where signatures by unknown keys are looked at.

use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
#[cfg(doc)]
use sealmoot_crypto::signature::KeyId;
use sealmoot_crypto::signature::{SigningKey, VerifyingKey};

use super::verifier::PeerKeyRejected;
use crate::limits::CERTIFICATE_BYTES_MAX;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT`, around the version.
const VERSION: u8 = 0xa0;

/// `INTEGER 2`: X.509 version 3.
const VERSION_3: &[u8] = &[INTEGER, 1, 2];
/// `AlgorithmIdentifier` of Ed25519 (RFC 8410, section 3): no parameters.
const ED25519: &[u8] = &[SEQUENCE, 5, 0x06, 3, 0x2b, 0x65, 0x70];
/// `OBJECT IDENTIFIER 2.5.4.3`, a common name.
const COMMON_NAME: &[u8] = &[0x06, 3, 0x55, 0x04, 0x03];
const NAME: &[u8] = b"sealmoot";
const NOT_BEFORE: &[u8] = b"700101000000Z";
const NOT_AFTER: &[u8] = b"99991231235959Z";
/// A bit string begins with how many bits of its last byte are unused.
const NO_UNUSED_BITS: &[u8] = &[0];
const SERIAL_BYTES: usize = 16;

/// The self-signed certificate of `key`, as DER: the same bytes every time.
///
/// For a client whose TLS library has no raw public keys. To a server it is
/// the same peer as the raw key. RFC 5280, RFC 8410; the module's source draws
/// the bytes.
///
/// ```
/// use sealmoot_crypto::signature::SigningKey;
/// use sealmoot_rpc::tls::{peer_key, self_signed_certificate};
/// let key = SigningKey::generate()?;
/// let certificate = self_signed_certificate(&key);
/// assert_eq!(certificate.len(), 230);
/// assert_eq!(certificate, self_signed_certificate(&key));
/// assert_eq!(peer_key(Some(&[certificate])), Some(key.verifying_key()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn self_signed_certificate(key: &SigningKey) -> CertificateDer<'static> {
    let public = key.verifying_key();
    let name = element(
        SEQUENCE,
        &[&element(
            SET,
            &[&element(
                SEQUENCE,
                &[COMMON_NAME, &element(UTF8_STRING, &[NAME])],
            )],
        )],
    );
    let validity = element(
        SEQUENCE,
        &[
            &element(UTC_TIME, &[NOT_BEFORE]),
            &element(GENERALIZED_TIME, &[NOT_AFTER]),
        ],
    );
    let to_be_signed = element(
        SEQUENCE,
        &[
            &element(VERSION, &[VERSION_3]),
            &element(INTEGER, &[&serial(&public)]),
            ED25519,
            &name,
            &validity,
            &name,
            &public.to_spki(),
        ],
    );
    let signature = sealmoot_crypto::hazmat::sign_unframed(key, &to_be_signed)
        .expect("a DER sequence is no message framed for a domain");
    let signature = element(BIT_STRING, &[NO_UNUSED_BITS, &signature.to_bytes()]);
    element(SEQUENCE, &[&to_be_signed, ED25519, &signature]).into()
}

/// The key of a peer's certificate, imported strictly.
pub(super) fn key_of(certificate: &CertificateDer<'_>) -> Result<VerifyingKey, PeerKeyRejected> {
    if certificate.len() > CERTIFICATE_BYTES_MAX {
        return Err(PeerKeyRejected::CertificateTooLong);
    }
    let parsed = ParsedCertificate::try_from(certificate)
        .map_err(|_| PeerKeyRejected::CertificateMalformed)?;
    VerifyingKey::from_spki(&parsed.subject_public_key_info()).map_err(PeerKeyRejected::Key)
}

/// Positive, and its first byte never zero: always [`SERIAL_BYTES`] long.
fn serial(public: &VerifyingKey) -> [u8; SERIAL_BYTES] {
    let id = public.key_id();
    let mut serial: [u8; SERIAL_BYTES] = *id
        .as_bytes()
        .first_chunk()
        .expect("an id is longer than a serial number");
    serial[0] = serial[0] & 0x3f | 0x40;
    serial
}

/// One element of DER: tag, length in its shortest form, content.
fn element(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = u8::try_from(content.len()).expect("the longest element has 227 bytes");
    let mut element = vec![tag];
    if length >= 0x80 {
        // The number of bytes that say the length.
        element.push(0x81);
    }
    element.push(length);
    element.extend_from_slice(&content);
    element
}

#[cfg(test)]
mod tests;
