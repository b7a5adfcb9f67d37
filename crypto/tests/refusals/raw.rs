//! Raw keys, raw HKDF, and records under a raw key.

use sealmoot_crypto::aead::{OpenError, RecordKey};
use sealmoot_crypto::hazmat::raw::{self, RawKeyError};
use sealmoot_crypto::hazmat::standard;
use sealmoot_crypto::kdf::{self, ExpandTooLong, Label};
use sealmoot_crypto::keyset::{Algorithm, KEYS_MAX, KeysetError};
use sealmoot_crypto::sealed_box::Kem;
use sealmoot_crypto::secret::SecretArray;

use crate::kit::{Kit, flipped, flipped_from_end, keyset, longer, report, shorter, with};

#[test]
fn raw_keys() {
    report("raw", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("raw");
    keys(&mut kit);
    keysets(&mut kit);
    derivation(&mut kit);
    records(&mut kit);
    kit.count()
}

fn length(found: usize) -> impl Fn(&RawKeyError) -> bool {
    move |error| matches!(error, RawKeyError::WrongLength { expected: 32, length } if *length == found)
}

fn all_zero(error: &RawKeyError) -> bool {
    matches!(error, RawKeyError::AllZero)
}

fn keys(kit: &mut Kit) {
    let zeros = [0; 32];
    kit.accepted("a secret", raw::import_secret(&[1; 32]));
    kit.refused("a secret of nothing", raw::import_secret(&[]), length(0));
    kit.refused(
        "a secret of 128 bits",
        raw::import_secret(&[1; 16]),
        length(16),
    );
    kit.refused(
        "a secret of 31 bytes",
        raw::import_secret(&[1; 31]),
        length(31),
    );
    kit.refused(
        "a secret and a line end",
        raw::import_secret(&[1; 33]),
        length(33),
    );
    kit.refused(
        "a secret in hexadecimal",
        raw::import_secret(&[b'a'; 64]),
        length(64),
    );
    kit.refused(
        "a secret that was never filled",
        raw::import_secret(&zeros),
        all_zero,
    );
    kit.refused(
        "a record key of zeros",
        raw::import_record_key(&zeros),
        all_zero,
    );
    kit.refused(
        "an agreement key of zeros",
        raw::import_agreement_key(&zeros),
        all_zero,
    );
    kit.refused(
        "a signing key of zeros",
        raw::import_signing_key(&zeros),
        all_zero,
    );
    // The form that libsodium writes.
    kit.refused(
        "a signing key with its public key",
        raw::import_signing_key(&[1; 64]),
        length(64),
    );
    kit.refused(
        "an X25519 key of zeros",
        raw::import_box_key(Kem::X25519, &zeros),
        all_zero,
    );
    kit.refused(
        "an X-Wing key of zeros",
        raw::import_box_key(Kem::XWing, &zeros),
        all_zero,
    );
    kit.refused(
        "an X-Wing key of 96 bytes",
        raw::import_box_key(Kem::XWing, &[1; 96]),
        length(96),
    );
}

fn keysets(kit: &mut Kit) {
    let mut keyset = keyset();
    let algorithm = Algorithm::Xaes256Gcm;
    let mut import =
        |id, bytes: &[u8]| raw::import_keyset_key_with_id(&mut keyset, id, algorithm, bytes);
    kit.refused("an id that is taken", import(8, &[1; 32]), |error| {
        matches!(error, RawKeyError::IdTaken(8))
    });
    kit.refused("a keyset's key of zeros", import(99, &[0; 32]), all_zero);
    kit.refused(
        "a keyset's key of 33 bytes",
        import(99, &[1; 33]),
        length(33),
    );
    for id in 100..98 + KEYS_MAX as u32 {
        kit.accepted("a further key", import(id, &[1; 32]));
    }
    kit.refused("a key for a full keyset", import(99, &[1; 32]), |error| {
        matches!(error, RawKeyError::Full)
    });
    let drawn = raw::import_keyset_key(&mut keyset, algorithm, &[1; 32]);
    kit.refused("a key with any id for a full keyset", drawn, |error| {
        matches!(error, RawKeyError::Full)
    });
    kit.refused(
        "the export of no key",
        raw::export_keyset_key(&keyset, 99),
        |error| matches!(error, KeysetError::NoSuchKey(99)),
    );
}

fn derivation(kit: &mut Kit) {
    const LABEL: Label = Label::new("refusals");
    let mut output = vec![1; 16_321];
    let (short, long) = (
        SecretArray::from_bytes([1; 32]),
        SecretArray::from_bytes([1; 64]),
    );
    let too_long = |length, maximum| {
        let expected = ExpandTooLong { length, maximum };
        move |error: &ExpandTooLong| *error == expected
    };
    let expanded = kdf::expand_into(&short, LABEL, b"", &mut output[..8161]);
    kit.refused("a byte above 255 blocks", expanded, too_long(8161, 8160));
    let expanded = standard::expand_sha256(&short, b"", &mut output[..8161]);
    kit.refused(
        "a byte above 255 blocks of SHA-256",
        expanded,
        too_long(8161, 8160),
    );
    let expanded = standard::expand_sha512(&long, b"", &mut output);
    kit.refused(
        "a byte above 255 blocks of SHA-512",
        expanded,
        too_long(16_321, 16_320),
    );
    assert_eq!(
        output,
        vec![0; 16_321],
        "what was not derived is not left standing"
    );
}

fn records(kit: &mut Kit) {
    let key = raw::import_record_key(&[1; 32]).expect("a key");
    let sample = key.seal(b"block 3", b"text").expect("sealed");
    let another = key.seal(b"block 3", b"next").expect("sealed");
    let open =
        |key: &RecordKey, place: &[u8], mut bytes: Vec<u8>| key.open(place, &mut bytes).map(|_| ());
    let opened = |bytes: Vec<u8>| open(&key, b"block 3", bytes);
    let closed = |error: &OpenError| matches!(error, OpenError);
    kit.accepted("a record", opened(sample.clone()));
    kit.refused("record: empty", opened(Vec::new()), closed);
    kit.refused(
        "record: only a nonce",
        opened(sample[..24].to_vec()),
        closed,
    );
    kit.refused(
        "record: shorter than a nonce and a tag",
        opened(sample[..39].to_vec()),
        closed,
    );
    kit.refused("record: zeros", opened(vec![0; 44]), closed);
    kit.refused(
        "record: first half of the nonce",
        opened(flipped(&sample, 0)),
        closed,
    );
    kit.refused(
        "record: second half of the nonce",
        opened(flipped(&sample, 23)),
        closed,
    );
    kit.refused(
        "record: nonce of another",
        opened(with(&sample, 0, &another[..24])),
        closed,
    );
    kit.refused(
        "record: ciphertext changed",
        opened(flipped(&sample, 24)),
        closed,
    );
    kit.refused(
        "record: tag changed",
        opened(flipped_from_end(&sample, 1)),
        closed,
    );
    kit.refused("record: tag cut off", opened(shorter(&sample, 16)), closed);
    kit.refused(
        "record: tag cut to 12 bytes",
        opened(shorter(&sample, 4)),
        closed,
    );
    kit.refused("record: a byte more", opened(longer(&sample, &[0])), closed);
    kit.refused(
        "record: at another place",
        open(&key, b"block 4", sample.clone()),
        closed,
    );
    let other = raw::import_record_key(&[2; 32]).expect("a key");
    kit.refused(
        "record: under another key",
        open(&other, b"block 3", sample),
        closed,
    );
}
