//! The decoders of `sealmoot-crypto`.

use std::sync::LazyLock;

use sealmoot_crypto::aead::RecordKey;
use sealmoot_crypto::encoding::Writer;
use sealmoot_crypto::keyset::Keyset;
use sealmoot_crypto::passphrase_box;
use sealmoot_crypto::password::{Cost, PasswordRecord};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::{SigningKey, VerifyingKey};

use crate::{Decoder, Outcome};

/// Every decoder of the crate.
pub const ALL: &[Decoder] = &[
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
        check: |bytes| Outcome::of(&KEYSET.open("context", b"data", bytes)),
    },
    Decoder {
        name: "keyset",
        authenticates: false,
        samples: || vec![keyset_bytes(1), keyset_bytes(3)],
        check: |bytes| match Keyset::from_secret_bytes(bytes) {
            Ok(keyset) => {
                assert_eq!(keyset.to_secret_bytes().expose(), bytes);
                Outcome::Accepted
            }
            Err(_) => Outcome::Refused,
        },
    },
    Decoder {
        name: "passphrase_box",
        authenticates: true,
        samples: || {
            vec![
                passphrase_box::seal(b"passphrase", "context", b"data", b"text", CHEAP)
                    .expect("sealed"),
            ]
        },
        check: |bytes| {
            // What an honest box may cost is the caller's patience, not a fault.
            let asks = |at: usize, most: u32| {
                bytes
                    .get(at..at + 4)
                    .and_then(|field| field.try_into().ok())
                    .is_some_and(|field| u32::from_le_bytes(field) > most)
            };
            if asks(6, 1024) || asks(10, 2) || asks(14, 4) {
                return Outcome::Refused;
            }
            Outcome::of(&passphrase_box::open(
                b"passphrase",
                "context",
                b"data",
                bytes,
            ))
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
        name: "verifying_key",
        authenticates: false,
        samples: || vec![signing_key().verifying_key().to_spki().to_vec()],
        check: |bytes| match VerifyingKey::from_spki(bytes) {
            Ok(key) => {
                assert_eq!(key.to_spki(), bytes);
                Outcome::Accepted
            }
            Err(_) => Outcome::Refused,
        },
    },
];

const CHEAP: Cost = Cost {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};

static RECORD_KEY: LazyLock<RecordKey> =
    LazyLock::new(|| RecordKey::from_secret(&SecretArray::from_bytes([1; 32])));

static KEYSET: LazyLock<Keyset> =
    LazyLock::new(|| Keyset::from_secret_bytes(&keyset_bytes(2)).expect("a keyset"));

/// A keyset of `count` keys, the last of them primary, the ciphers alternating.
fn keyset_bytes(count: u8) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u16(1);
    writer.count(count.into());
    for index in 0..count {
        writer.u32(7 + u32::from(index));
        writer.u8(if index + 1 == count { 2 } else { 3 });
        writer.u8(1 + index % 2);
        writer.fixed(&[index + 1; 32]);
    }
    writer.finish()
}

fn signing_key() -> SigningKey {
    SigningKey::from_seed(&SecretArray::from_bytes([3; 32]))
}
