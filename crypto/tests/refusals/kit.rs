//! Records named refusals, and builds bad inputs and the keys that good ones are for.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::Range;

use pem_rfc7468::{Encoder, LineEnding};
use sealmoot_crypto::encoding::{EncodingError, Writer};
use sealmoot_crypto::hazmat::raw;
use sealmoot_crypto::keyset::Keyset;
use sealmoot_crypto::password::Cost;
use sealmoot_crypto::sealed_box::{Kem, PrivateKey};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;

/// The cases of one family.
pub(crate) struct Kit {
    family: &'static str,
    names: BTreeSet<&'static str>,
}

impl Kit {
    pub(crate) fn new(family: &'static str) -> Self {
        let names = BTreeSet::new();
        Self { family, names }
    }

    /// The sample that the cases after it are made from: without this, a decoder that
    /// refuses everything would pass.
    #[track_caller]
    pub(crate) fn accepted<T, E: Debug>(&self, sample: &str, result: Result<T, E>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => panic!("{}: {sample}: refused as {error:?}", self.family),
        }
    }

    /// One case: an input with the fault `name`, refused with the `expected` error.
    #[track_caller]
    pub(crate) fn refused<T, E: Debug>(
        &mut self,
        name: &'static str,
        result: Result<T, E>,
        expected: impl FnOnce(&E) -> bool,
    ) {
        let family = self.family;
        assert!(self.names.insert(name), "{family}: {name}: named twice");
        match result {
            Ok(_) => panic!("{family}: {name}: accepted"),
            Err(error) => assert!(expected(&error), "{family}: {name}: refused as {error:?}"),
        }
    }

    /// How many cases there were.
    pub(crate) fn count(self) -> usize {
        self.names.len()
    }
}

/// Tells how many cases a family has.
pub(crate) fn report(family: &str, cases: usize) {
    println!("refusals: {family}: {cases} named cases");
}

/// The sample with another byte at `offset`.
#[track_caller]
pub(crate) fn with_byte(sample: &[u8], offset: usize, value: u8) -> Vec<u8> {
    with(sample, offset, &[value])
}

/// The sample with other bytes from `offset` on.
#[track_caller]
pub(crate) fn with(sample: &[u8], offset: usize, bytes: &[u8]) -> Vec<u8> {
    spliced(sample, offset..offset + bytes.len(), bytes)
}

/// The sample with one bit changed at `offset`.
pub(crate) fn flipped(sample: &[u8], offset: usize) -> Vec<u8> {
    with_byte(sample, offset, sample[offset] ^ 1)
}

/// The sample with one bit changed so many bytes before its end.
pub(crate) fn flipped_from_end(sample: &[u8], distance: usize) -> Vec<u8> {
    flipped(sample, sample.len() - distance)
}

/// The sample with `bytes` instead of those in `range`.
#[track_caller]
pub(crate) fn spliced(sample: &[u8], range: Range<usize>, bytes: &[u8]) -> Vec<u8> {
    assert_ne!(&sample[range.clone()], bytes, "that is what stands there");
    [&sample[..range.start], bytes, &sample[range.end..]].concat()
}

/// The sample and `bytes` behind it.
pub(crate) fn longer(sample: &[u8], bytes: &[u8]) -> Vec<u8> {
    [sample, bytes].concat()
}

/// The sample without its last `count` bytes.
pub(crate) fn shorter(sample: &[u8], count: usize) -> Vec<u8> {
    sample[..sample.len() - count].to_vec()
}

/// The text with `to` in the one place where `from` stands.
#[track_caller]
pub(crate) fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} stands there once");
    text.replace(from, to)
}

/// The bytes of a hexadecimal literal.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("a hexadecimal literal"))
        .collect()
}

/// The 32 bytes of a hexadecimal literal.
pub(crate) fn unhex_32(text: &str) -> [u8; 32] {
    unhex(text).try_into().expect("32 bytes")
}

/// One element of DER.
pub(crate) fn element(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = u16::try_from(content.len()).expect("short");
    let [high, low] = length.to_be_bytes();
    let head = match length {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, content].concat()
}

/// PEM of lines of so many letters.
pub(crate) fn pem_lines(label: &'static str, width: usize, bytes: &[u8]) -> String {
    let mut text = vec![0; 2 * bytes.len() + 256];
    let mut encoder =
        Encoder::new_wrapped(label, width, LineEnding::LF, &mut text).expect("a width and room");
    encoder.encode(bytes).expect("room");
    let length = encoder.finish().expect("room");
    text.truncate(length);
    String::from_utf8(text).expect("PEM is ASCII")
}

/// PEM as RFC 7468 has it.
pub(crate) fn pem_text(label: &'static str, bytes: &[u8]) -> String {
    pem_lines(label, 64, bytes)
}

/// The refusal of a truncation of one of our own encodings.
pub(crate) fn ends_early(error: &EncodingError, offset: usize, missing: usize) -> bool {
    *error == EncodingError::EndsEarly { offset, missing }
}

/// The refusal of a number in one of our own encodings.
pub(crate) fn unknown(error: &EncodingError, what: &'static str, value: u64) -> bool {
    *error == EncodingError::Unknown { what, value }
}

/// The least that Argon2id takes.
pub(crate) const CHEAP: Cost = Cost {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};

/// A keyset of `count` keys with the ids 7, 8, .. and the ciphers alternating, the
/// last of them primary; its keys come of `seed`.
pub(crate) fn keyset_bytes(count: u8, seed: u8) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u16(1);
    writer.count(count.into());
    for index in 0..count {
        writer.u32(7 + u32::from(index));
        writer.u8(if index + 1 == count { 2 } else { 3 });
        writer.u8(1 + index % 2);
        writer.fixed(&[seed + index; 32]);
    }
    writer.finish()
}

pub(crate) fn keyset() -> Keyset {
    Keyset::from_secret_bytes(&keyset_bytes(2, 1)).expect("a keyset")
}

/// Other keys under the ids of [`keyset`].
pub(crate) fn other_keyset() -> Keyset {
    Keyset::from_secret_bytes(&keyset_bytes(2, 101)).expect("a keyset")
}

pub(crate) fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&SecretArray::from_bytes([seed; 32]))
}

pub(crate) fn box_key(kem: Kem, seed: u8) -> PrivateKey {
    raw::import_box_key(kem, &[seed; 32]).expect("32 bytes are a key")
}
