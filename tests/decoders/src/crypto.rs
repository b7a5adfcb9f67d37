//! The decoders of `sealmoot-crypto`, by family.

mod boxes;
mod files;
mod keys;
mod passwords;
mod proofs;
mod rsa;

use std::sync::LazyLock;

use sealmoot_crypto::encoding::Writer;
use sealmoot_crypto::hazmat::raw;
use sealmoot_crypto::keyset::Keyset;
use sealmoot_crypto::password::Cost;
use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;

use crate::Decoder;

/// Every decoder of the crate.
pub(crate) const FAMILIES: &[&[Decoder]] = &[
    boxes::ALL,
    passwords::ALL,
    files::ALL,
    keys::ALL,
    rsa::ALL,
    proofs::ALL,
];

/// The least that Argon2id takes.
const CHEAP: Cost = Cost {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};

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

fn box_key(kem: Kem) -> PrivateKey {
    raw::import_box_key(kem, &[4; 32]).expect("32 bytes are a key")
}

fn sender_key() -> PrivateKey {
    raw::import_box_key(Kem::X25519, &[5; 32]).expect("32 bytes are a key")
}

/// Whether the passphrase box that these bytes begin with asks for more than a few
/// microseconds: what an honest box may cost is the caller's patience, not a fault.
fn asks_too_much(passphrase_box: &[u8]) -> bool {
    const MEMORY_KIB_AT: usize = 6;
    const PASSES_AT: usize = 10;
    const LANES_AT: usize = 14;
    [(MEMORY_KIB_AT, 1024), (PASSES_AT, 2), (LANES_AT, 4)]
        .into_iter()
        .any(|(at, most)| number_at(passphrase_box, at).is_some_and(|asked| asked > most))
}

fn number_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}
