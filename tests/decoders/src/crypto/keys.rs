//! Keys that come from outside: keysets, public keys, and the formats of other
//! software. Text formats have several forms of one value (line ends, a comment that
//! is empty or missing), so of these the value must come back instead of the bytes.

use sealmoot_crypto::agreement::{AgreementKey, AgreementPublic};
use sealmoot_crypto::hazmat::{der, openssh, pem, raw};
use sealmoot_crypto::kem::{Ciphertext, DecapsulationKey, EncapsulationKey};
use sealmoot_crypto::keyset::Keyset;
use sealmoot_crypto::sealed_box::{Kem, PublicKey};
use sealmoot_crypto::signature::{SigningKey, VerifyingKey};

use super::{box_key, keyset_bytes, signing_key};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "keyset",
        authenticates: false,
        samples: || vec![keyset_bytes(1), keyset_bytes(3)],
        check: |bytes| {
            canonical(bytes, Keyset::from_secret_bytes, |keyset| {
                keyset.to_secret_bytes().expose().to_vec()
            })
        },
    },
    Decoder {
        name: "verifying_key",
        authenticates: false,
        samples: || vec![signing_key().verifying_key().to_spki().to_vec()],
        check: |bytes| {
            let outcome = canonical(bytes, VerifyingKey::from_spki, |key| key.to_spki().into());
            // The same key, with another error, through the other door.
            assert_eq!(Outcome::of(&der::verifying_key_from_spki(bytes)), outcome);
            outcome
        },
    },
    Decoder {
        name: "box_public_key_x25519",
        authenticates: false,
        samples: || vec![box_key(Kem::X25519).public_key().to_bytes()],
        check: |bytes| box_public_key(Kem::X25519, bytes),
    },
    Decoder {
        name: "box_public_key_xwing",
        authenticates: false,
        samples: || vec![box_key(Kem::XWing).public_key().to_bytes()],
        check: |bytes| box_public_key(Kem::XWing, bytes),
    },
    Decoder {
        name: "encapsulation_key",
        authenticates: false,
        samples: || vec![decapsulation_key().encapsulation_key().to_bytes().into()],
        check: |bytes| {
            canonical(bytes, EncapsulationKey::from_bytes, |key| {
                key.encapsulate().expect("random");
                key.to_bytes().into()
            })
        },
    },
    Decoder {
        name: "kem_ciphertext",
        authenticates: false,
        samples: || {
            let key = decapsulation_key().encapsulation_key();
            let (ciphertext, _) = key.encapsulate().expect("random");
            vec![ciphertext.as_bytes().to_vec()]
        },
        check: |bytes| {
            canonical(bytes, Ciphertext::from_bytes, |ciphertext| {
                // Implicit rejection is a secret too, the same each time.
                let key = decapsulation_key();
                let secret = key.decapsulate(ciphertext);
                assert!(secret.same_as(&key.decapsulate(ciphertext)));
                ciphertext.as_bytes().to_vec()
            })
        },
    },
    Decoder {
        name: "signing_key_pkcs8",
        authenticates: false,
        samples: || {
            let key = signing_key();
            let version_1 = key.to_pkcs8_der().expose().to_vec();
            let version_2 = with_public_key(&version_1, &key.verifying_key().to_bytes());
            vec![version_1, version_2]
        },
        check: |bytes| {
            value(
                bytes,
                der::signing_key_from_pkcs8,
                |key| key.to_pkcs8_der().expose().to_vec(),
                SigningKey::verifying_key,
            )
        },
    },
    Decoder {
        name: "agreement_key_pkcs8",
        authenticates: false,
        samples: || {
            let key = agreement_key();
            let version_1 = der::agreement_key_to_pkcs8(&key).expose().to_vec();
            let version_2 = with_public_key(&version_1, key.public().as_bytes());
            vec![version_1, version_2]
        },
        check: |bytes| {
            value(
                bytes,
                der::agreement_key_from_pkcs8,
                |key| der::agreement_key_to_pkcs8(key).expose().to_vec(),
                AgreementKey::public,
            )
        },
    },
    Decoder {
        name: "agreement_public_spki",
        authenticates: false,
        samples: || vec![der::agreement_public_to_spki(&agreement_key().public()).to_vec()],
        check: |bytes| {
            canonical(bytes, der::agreement_public_from_spki, |key| {
                der::agreement_public_to_spki(key).to_vec()
            })
        },
    },
    Decoder {
        name: "signing_key_pem",
        authenticates: false,
        samples: || {
            vec![one_line_end_less(
                pem::signing_key_to_pem(&signing_key()).expose(),
            )]
        },
        check: |bytes| {
            value(
                bytes,
                pem::signing_key_from_pem,
                |key| pem::signing_key_to_pem(key).expose().to_vec(),
                SigningKey::verifying_key,
            )
        },
    },
    Decoder {
        name: "verifying_key_pem",
        authenticates: false,
        samples: || {
            let text = pem::verifying_key_to_pem(&signing_key().verifying_key());
            vec![one_line_end_less(text.as_bytes())]
        },
        check: |bytes| {
            value(
                bytes,
                pem::verifying_key_from_pem,
                |key| pem::verifying_key_to_pem(key).into_bytes(),
                VerifyingKey::to_bytes,
            )
        },
    },
    Decoder {
        name: "agreement_key_pem",
        authenticates: false,
        samples: || {
            vec![one_line_end_less(
                pem::agreement_key_to_pem(&agreement_key()).expose(),
            )]
        },
        check: |bytes| {
            value(
                bytes,
                pem::agreement_key_from_pem,
                |key| pem::agreement_key_to_pem(key).expose().to_vec(),
                AgreementKey::public,
            )
        },
    },
    Decoder {
        name: "agreement_public_pem",
        authenticates: false,
        samples: || {
            let text = pem::agreement_public_to_pem(&agreement_key().public());
            vec![one_line_end_less(text.as_bytes())]
        },
        check: |bytes| {
            value(
                bytes,
                pem::agreement_public_from_pem,
                |key| pem::agreement_public_to_pem(key).into_bytes(),
                |key: &AgreementPublic| *key,
            )
        },
    },
    Decoder {
        name: "openssh_public",
        authenticates: false,
        // Without a comment: one that is cut is another comment.
        samples: || {
            let line = openssh::public_to_line(&signing_key().verifying_key(), "");
            vec![line.expect("short").into_bytes()]
        },
        check: |bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else {
                return Outcome::Refused;
            };
            value(
                text,
                openssh::public_from_line,
                |(key, comment)| openssh::public_to_line(key, comment).expect("read before"),
                |(key, comment)| (*key, comment.clone()),
            )
        },
    },
    Decoder {
        name: "openssh_private",
        authenticates: false,
        samples: || {
            ["", "a comment"]
                .map(|comment| openssh::private_to_text(&signing_key(), comment).expect("random"))
                .map(|text| one_line_end_less(text.expose()))
                .into()
        },
        check: |bytes| {
            value(
                bytes,
                openssh::private_from_text,
                |(key, comment)| {
                    let text = openssh::private_to_text(key, comment).expect("read before");
                    text.expose().to_vec()
                },
                |(key, comment)| (key.verifying_key(), comment.clone()),
            )
        },
    },
];

/// What is accepted encodes to the very bytes that it was read from.
fn canonical<V, E>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<V, E>,
    encode: impl Fn(&V) -> Vec<u8>,
) -> Outcome {
    let decoded = decode(bytes);
    if let Ok(value) = &decoded {
        assert_eq!(encode(value), bytes);
    }
    Outcome::of(&decoded)
}

/// What is accepted encodes to bytes that are the same value, as far as `shown`.
fn value<B: ?Sized, T: AsRef<B>, V, S: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(
    bytes: &B,
    decode: impl Fn(&B) -> Result<V, E>,
    encode: impl Fn(&V) -> T,
    shown: impl Fn(&V) -> S,
) -> Outcome {
    let decoded = decode(bytes);
    if let Ok(value) = &decoded {
        let again = decode(encode(value).as_ref()).expect("just encoded");
        assert_eq!(shown(&again), shown(value));
    }
    Outcome::of(&decoded)
}

fn box_public_key(kem: Kem, bytes: &[u8]) -> Outcome {
    canonical(
        bytes,
        |bytes| PublicKey::from_bytes(kem, bytes),
        PublicKey::to_bytes,
    )
}

fn agreement_key() -> AgreementKey {
    raw::import_agreement_key(&[4; 32]).expect("32 bytes are a key")
}

fn decapsulation_key() -> DecapsulationKey {
    raw::import_decapsulation_key(&[4; 64]).expect("64 bytes are a seed")
}

/// PKCS#8 of version 2: the version, then an attribute and the public key behind all
/// else.
fn with_public_key(version_1: &[u8], public: &[u8; 32]) -> Vec<u8> {
    const LENGTH_AT: usize = 1;
    const VERSION_AT: usize = 4;
    let mut der = version_1.to_vec();
    der[VERSION_AT] = 1;
    der.extend_from_slice(&[0xa0, 0x02, 0x05, 0x00]);
    der.extend_from_slice(&[0x81, 0x21, 0x00]);
    der.extend_from_slice(public);
    der[LENGTH_AT] = u8::try_from(der.len() - 2).expect("short");
    der
}

/// Text without its last line end, which may as well be missing: so that every
/// shorter text is refused.
pub(super) fn one_line_end_less(text: &[u8]) -> Vec<u8> {
    text.strip_suffix(b"\n").expect("a line").to_vec()
}
