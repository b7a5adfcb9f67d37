//! RSA keys. The crate writes no private keys, so of these what was read must work.

use std::sync::LazyLock;

use pem_rfc7468::LineEnding;
use sealmoot_crypto::rsa::{KeyRejected, PrivateKey, PublicKey, Scheme};

use super::keys::one_line_end_less;
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "rsa_public_spki",
        authenticates: false,
        samples: || vec![SPKI.clone()],
        check: |bytes| match PublicKey::from_der_spki(bytes) {
            Ok(key) => {
                assert_eq!(key.to_der_spki(), bytes);
                Outcome::Accepted
            }
            Err(_) => Outcome::Refused,
        },
    },
    Decoder {
        name: "rsa_public_pkcs1",
        authenticates: false,
        samples: || vec![SPKI[SPKI_PREFIX_LENGTH..].to_vec()],
        check: |bytes| match PublicKey::from_der_pkcs1(bytes) {
            Ok(key) => {
                assert!(key.to_der_spki().ends_with(bytes));
                Outcome::Accepted
            }
            Err(_) => Outcome::Refused,
        },
    },
    Decoder {
        name: "rsa_public_pem",
        authenticates: false,
        samples: || {
            vec![
                text("PUBLIC KEY", &SPKI),
                text("RSA PUBLIC KEY", &SPKI[SPKI_PREFIX_LENGTH..]),
            ]
        },
        check: |bytes| {
            let Some(key) = utf8(bytes).and_then(|text| PublicKey::from_pem(text).ok()) else {
                return Outcome::Refused;
            };
            assert_eq!(PublicKey::from_der_spki(&key.to_der_spki()), Ok(key));
            Outcome::Accepted
        },
    },
    Decoder {
        name: "rsa_private_pkcs8",
        authenticates: false,
        samples: || vec![PKCS8.clone()],
        check: |bytes| works(PrivateKey::from_der_pkcs8(bytes)),
    },
    Decoder {
        name: "rsa_private_pkcs1",
        authenticates: false,
        samples: || vec![PKCS8[PKCS8_PREFIX_LENGTH..].to_vec()],
        check: |bytes| works(PrivateKey::from_der_pkcs1(bytes)),
    },
    Decoder {
        name: "rsa_private_pem",
        authenticates: false,
        samples: || {
            vec![
                text("PRIVATE KEY", &PKCS8),
                text("RSA PRIVATE KEY", &PKCS8[PKCS8_PREFIX_LENGTH..]),
            ]
        },
        check: |bytes| match utf8(bytes) {
            Some(text) => works(PrivateKey::from_pem(text)),
            None => Outcome::Refused,
        },
    },
    Decoder {
        name: "rsa_signature",
        authenticates: true,
        samples: || vec![KEY.sign(Scheme::PssSha256, b"message").expect("signed")],
        check: |bytes| {
            let verified = KEY
                .public_key()
                .verify(Scheme::PssSha256, b"message", bytes);
            Outcome::of(&verified)
        },
    },
];

/// What stands before PKCS #1 in a `PrivateKeyInfo` and a `SubjectPublicKeyInfo` of
/// 2048 bits.
const PKCS8_PREFIX_LENGTH: usize = 26;
const SPKI_PREFIX_LENGTH: usize = 24;

static PKCS8: LazyLock<Vec<u8>> =
    LazyLock::new(|| der(include_bytes!("../../../../crypto/src/rsa/test_key.pem")));
static SPKI: LazyLock<Vec<u8>> = LazyLock::new(|| {
    der(include_bytes!(
        "../../../../crypto/src/rsa/test_public_key.pem"
    ))
});
static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::from_der_pkcs8(&PKCS8).expect("a key"));

fn works(key: Result<PrivateKey, KeyRejected>) -> Outcome {
    if let Ok(key) = &key {
        let signature = key.sign(Scheme::Pkcs1Sha256, b"message").expect("signed");
        let public = PublicKey::from_der_spki(&key.public_key().to_der_spki()).expect("a key");
        let verified = public.verify(Scheme::Pkcs1Sha256, b"message", &signature);
        assert_eq!(verified, Ok(()));
    }
    Outcome::of(&key)
}

fn der(pem: &[u8]) -> Vec<u8> {
    pem_rfc7468::decode_vec(pem).expect("PEM").1
}

fn text(label: &str, der: &[u8]) -> Vec<u8> {
    let text = pem_rfc7468::encode_string(label, LineEnding::LF, der).expect("short");
    one_line_end_less(text.as_bytes())
}

fn utf8(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
