//! What is sealed at once: records, keyset's and passphrase boxes, boxes sealed to
//! public keys, and the password records beside them.

use std::sync::LazyLock;

use sealmoot_crypto::aead::RecordKey;
use sealmoot_crypto::passphrase_box;
use sealmoot_crypto::password::PasswordRecord;
use sealmoot_crypto::sealed_box::{self, Kem};
use sealmoot_crypto::secret::SecretArray;

use super::{CHEAP, KEYSET, asks_too_much, box_key, sender_key, signing_key};
use crate::{Decoder, Outcome};

pub(super) const ALL: &[Decoder] = &[
    Decoder {
        name: "record",
        authenticates: true,
        samples: || vec![RECORD_KEY.seal(b"place", b"text").expect("sealed")],
        check: |bytes| Outcome::of(&RECORD_KEY.open(b"place", &mut bytes.to_vec())),
    },
    Decoder {
        name: "keyset_box",
        authenticates: true,
        samples: || vec![KEYSET.seal("context", b"data", b"text").expect("sealed")],
        check: |bytes| {
            let outcome = Outcome::of(&KEYSET.open("context", b"data", bytes));
            let mut copy = bytes.to_vec();
            let in_place = KEYSET.open_in_place("context", b"data", &mut copy);
            assert_eq!(Outcome::of(&in_place), outcome);
            outcome
        },
    },
    Decoder {
        name: "passphrase_box",
        authenticates: true,
        samples: || {
            let sealed = passphrase_box::seal(b"passphrase", "context", b"data", b"text", CHEAP);
            vec![sealed.expect("sealed")]
        },
        check: |bytes| {
            if asks_too_much(bytes) {
                return Outcome::Refused;
            }
            let opened = passphrase_box::open(b"passphrase", "context", b"data", bytes);
            Outcome::of(&opened)
        },
    },
    Decoder {
        name: "password_record",
        authenticates: false,
        samples: || {
            let record = PasswordRecord::hash(b"password", CHEAP).expect("hashed");
            vec![record.to_phc().into_bytes()]
        },
        check: |bytes| {
            let Some(record) = std::str::from_utf8(bytes)
                .ok()
                .and_then(|text| PasswordRecord::from_phc(text).ok())
            else {
                return Outcome::Refused;
            };
            assert_eq!(record.to_phc().as_bytes(), bytes);
            Outcome::Accepted
        },
    },
    Decoder {
        name: "sealed_box_x25519",
        authenticates: true,
        samples: || sealed_boxes(Kem::X25519),
        check: |bytes| open_box(Kem::X25519, bytes),
    },
    Decoder {
        name: "sealed_box_xwing",
        authenticates: true,
        samples: || sealed_boxes(Kem::XWing),
        check: |bytes| open_box(Kem::XWing, bytes),
    },
    Decoder {
        name: "sealed_box_authenticated",
        authenticates: true,
        samples: || {
            let (sender, recipient) = (sender_key(), box_key(Kem::X25519).public_key());
            let sealed = sealed_box::seal_from(&sender, &recipient, "context", b"data", b"text");
            vec![sealed.expect("sealed")]
        },
        check: |bytes| {
            let (sender, recipient) = (sender_key().public_key(), box_key(Kem::X25519));
            let opened = sealed_box::open_from(&sender, &recipient, "context", b"data", bytes);
            Outcome::of(&opened)
        },
    },
    Decoder {
        name: "sealed_box_signed_x25519",
        authenticates: true,
        samples: || signed_boxes(Kem::X25519),
        check: |bytes| open_signed(Kem::X25519, bytes),
    },
    Decoder {
        name: "sealed_box_signed_xwing",
        authenticates: true,
        samples: || signed_boxes(Kem::XWing),
        check: |bytes| open_signed(Kem::XWing, bytes),
    },
];

static RECORD_KEY: LazyLock<RecordKey> =
    LazyLock::new(|| RecordKey::from_secret(&SecretArray::from_bytes([1; 32])));

fn sealed_boxes(kem: Kem) -> Vec<Vec<u8>> {
    let recipient = box_key(kem).public_key();
    [&b"text"[..], b""]
        .map(|text| sealed_box::seal(&recipient, "context", b"data", text).expect("sealed"))
        .into()
}

fn open_box(kem: Kem, bytes: &[u8]) -> Outcome {
    Outcome::of(&sealed_box::open(&box_key(kem), "context", b"data", bytes))
}

fn signed_boxes(kem: Kem) -> Vec<Vec<u8>> {
    let recipient = box_key(kem).public_key();
    let sealed = sealed_box::seal_signed(&signing_key(), &recipient, "context", b"data", b"text");
    vec![sealed.expect("sealed")]
}

fn open_signed(kem: Kem, bytes: &[u8]) -> Outcome {
    let sender = signing_key().verifying_key();
    let opened = sealed_box::open_signed(&sender, &box_key(kem), "context", b"data", bytes);
    Outcome::of(&opened)
}
