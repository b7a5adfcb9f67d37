//! Keysets in the clear, their boxes, and changes of a keyset.

use sealmoot_crypto::aead::OpenError;
use sealmoot_crypto::encoding::EncodingError;
use sealmoot_crypto::keyset::{KEYS_MAX, Keyset, KeysetError};

use crate::kit::{
    Kit, ends_early, flipped, flipped_from_end, keyset, keyset_bytes, longer, other_keyset, report,
    shorter, spliced, unknown, with, with_byte,
};

const COUNT_AT: usize = 2;
const FIRST_KEY_AT: usize = 6;
const SECOND_KEY_AT: usize = FIRST_KEY_AT + KEY_LENGTH;
const KEY_LENGTH: usize = 38;
/// Inside a key.
const STATE_AT: usize = 4;
const ALGORITHM_AT: usize = 5;

/// Of a box.
const KEY_ID_AT: usize = 2;
const NONCE_AT: usize = 6;
const COMMITMENT_AT: usize = 30;
const CIPHERTEXT_AT: usize = 62;

#[test]
fn keyset_refusals() {
    report("keyset", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("keyset");
    in_the_clear(&mut kit);
    boxes(&mut kit);
    changes(&mut kit);
    kit.count()
}

fn in_the_clear(kit: &mut Kit) {
    let sample = keyset_bytes(2, 1);
    let read = |bytes: &[u8]| Keyset::from_secret_bytes(bytes);
    kit.accepted("a keyset", read(&sample));
    let count = |count: u32| with(&sample, COUNT_AT, &count.to_le_bytes());
    let one_primary = |error: &EncodingError| {
        matches!(
            error,
            EncodingError::Invalid("a keyset has exactly one primary key")
        )
    };

    kit.refused("empty", read(&[]), |error| ends_early(error, 0, 2));
    kit.refused("version 0", read(&with_byte(&sample, 0, 0)), |error| {
        unknown(error, "keyset version", 0)
    });
    kit.refused("version 2", read(&with_byte(&sample, 0, 2)), |error| {
        unknown(error, "keyset version", 2)
    });
    kit.refused(
        "version in big-endian",
        read(&with(&sample, 0, &[0, 1])),
        |error| unknown(error, "keyset version", 0x100),
    );
    kit.refused("cut off in the count", read(&sample[..5]), |error| {
        ends_early(error, COUNT_AT, 1)
    });
    kit.refused("no keys", read(&count(0)[..FIRST_KEY_AT]), one_primary);
    kit.refused("a count of 0 before keys", read(&count(0)), |error| {
        matches!(error, EncodingError::TrailingBytes { count: 76 })
    });
    kit.refused("a count of one less", read(&count(1)), |error| {
        matches!(error, EncodingError::TrailingBytes { count: 38 })
    });
    kit.refused("a count of one more", read(&count(3)), |error| {
        ends_early(error, FIRST_KEY_AT + 2 * KEY_LENGTH, 4)
    });
    kit.refused("257 keys", read(&count(257)), |error| {
        matches!(
            error,
            EncodingError::TooLong {
                offset: COUNT_AT,
                length: 257,
                maximum: 256
            }
        )
    });
    kit.refused("4 thousand million keys", read(&count(u32::MAX)), |error| {
        matches!(error, EncodingError::TooLong { maximum: 256, .. })
    });

    let state = |key: usize, state| with_byte(&sample, key + STATE_AT, state);
    kit.refused("state 0", read(&state(FIRST_KEY_AT, 0)), |error| {
        unknown(error, "key state", 0)
    });
    kit.refused("state 5", read(&state(FIRST_KEY_AT, 5)), |error| {
        unknown(error, "key state", 5)
    });
    kit.refused("two primaries", read(&state(FIRST_KEY_AT, 2)), one_primary);
    kit.refused(
        "the primary disabled",
        read(&state(SECOND_KEY_AT, 4)),
        one_primary,
    );
    kit.refused(
        "the primary not yet active",
        read(&state(SECOND_KEY_AT, 1)),
        one_primary,
    );

    let algorithm = |value| with_byte(&sample, FIRST_KEY_AT + ALGORITHM_AT, value);
    kit.refused("algorithm 0", read(&algorithm(0)), |error| {
        unknown(error, "algorithm", 0)
    });
    kit.refused("algorithm 3", read(&algorithm(3)), |error| {
        unknown(error, "algorithm", 3)
    });
    let twice = with(&sample, SECOND_KEY_AT, &sample[FIRST_KEY_AT..][..4]);
    kit.refused("an id twice", read(&twice), |error| {
        matches!(
            error,
            EncodingError::Invalid("a key id stands twice in the keyset")
        )
    });
    kit.refused(
        "a master key of 31 bytes",
        read(&shorter(&sample, 1)),
        |error| ends_early(error, SECOND_KEY_AT + 6, 1),
    );
    kit.refused(
        "a byte behind the last key",
        read(&longer(&sample, &[0])),
        |error| matches!(error, EncodingError::TrailingBytes { count: 1 }),
    );
    kit.refused("two keysets", read(&longer(&sample, &sample)), |error| {
        matches!(error, EncodingError::TrailingBytes { count: 82 })
    });
}

fn boxes(kit: &mut Kit) {
    let keyset = keyset();
    let seal = |keyset: &Keyset, text| keyset.seal("invoice", b"customer 7", text).expect("sealed");
    let open = |bytes: &[u8]| keyset.open("invoice", b"customer 7", bytes);
    let closed = |error: &OpenError| matches!(error, OpenError);
    let sample = seal(&keyset, b"42 EUR");
    let another = seal(&keyset, b"43 EUR");
    kit.accepted("a box", open(&sample));

    kit.refused("box: empty", open(&[]), closed);
    kit.refused(
        "box: cut off in the key id",
        open(&sample[..KEY_ID_AT + 2]),
        closed,
    );
    kit.refused("box: only a header", open(&sample[..CIPHERTEXT_AT]), closed);
    kit.refused("box: tag cut off", open(&shorter(&sample, 16)), closed);
    kit.refused("box: a byte more", open(&longer(&sample, &[0])), closed);
    kit.refused("box: version 2", open(&with_byte(&sample, 0, 2)), closed);
    kit.refused(
        "box: the other algorithm",
        open(&with_byte(&sample, 1, 1)),
        closed,
    );
    kit.refused("box: algorithm 3", open(&with_byte(&sample, 1, 3)), closed);
    let unknown_id = with(&sample, KEY_ID_AT, &[0, 0, 0, 99]);
    kit.refused("box: the id of no key", open(&unknown_id), closed);
    let other_id = with(&sample, KEY_ID_AT, &[0, 0, 0, 7]);
    kit.refused("box: the id of another key", open(&other_id), closed);
    let little_endian = with(&sample, KEY_ID_AT, &[8, 0, 0, 0]);
    kit.refused("box: the id in little-endian", open(&little_endian), closed);
    kit.refused(
        "box: nonce changed",
        open(&flipped(&sample, NONCE_AT)),
        closed,
    );
    kit.refused(
        "box: commitment changed",
        open(&flipped(&sample, COMMITMENT_AT)),
        closed,
    );
    let blank = with(&sample, COMMITMENT_AT, &[0; 32]);
    kit.refused("box: commitment of zeros", open(&blank), closed);
    kit.refused(
        "box: ciphertext changed",
        open(&flipped(&sample, CIPHERTEXT_AT)),
        closed,
    );
    kit.refused(
        "box: tag changed",
        open(&flipped_from_end(&sample, 1)),
        closed,
    );
    let body = with(&sample, CIPHERTEXT_AT, &another[CIPHERTEXT_AT..]);
    kit.refused(
        "box: header of one, ciphertext of another",
        open(&body),
        closed,
    );
    let commitment = with(
        &sample,
        COMMITMENT_AT,
        &another[COMMITMENT_AT..CIPHERTEXT_AT],
    );
    kit.refused("box: commitment of another", open(&commitment), closed);
    let nonce = with(&sample, NONCE_AT, &another[NONCE_AT..COMMITMENT_AT]);
    kit.refused("box: nonce of another", open(&nonce), closed);
    let cut = spliced(&sample, CIPHERTEXT_AT..CIPHERTEXT_AT + 1, &[]);
    kit.refused("box: the first letter left out", open(&cut), closed);

    let other = keyset.open("receipt", b"customer 7", &sample);
    kit.refused("box: for another context", other, closed);
    let other = keyset.open("invoice", b"customer 8", &sample);
    kit.refused("box: for another associated data", other, closed);
    let other = keyset.open("invoicec", b"ustomer 7", &sample);
    kit.refused("box: the data moved into the context", other, closed);
    let other = other_keyset().open("invoice", b"customer 7", &sample);
    kit.refused("box: another key under the id", other, closed);
    let in_place = |mut bytes: Vec<u8>| {
        let opened = keyset.open_in_place("invoice", b"customer 7", &mut bytes);
        opened.map(|_| ())
    };
    kit.refused(
        "box: changed, opened in place",
        in_place(flipped(&sample, CIPHERTEXT_AT)),
        closed,
    );
    kit.refused(
        "box: cut off, opened in place",
        in_place(shorter(&sample, 17)),
        closed,
    );

    let mut rotated = Keyset::from_secret_bytes(&keyset_bytes(2, 1)).expect("a keyset");
    rotated.promote(7).expect("there");
    rotated.disable(8).expect("not primary");
    let opened = rotated.open("invoice", b"customer 7", &sample);
    kit.refused("box: of a disabled key", opened, closed);
    rotated.destroy(8).expect("not primary");
    let opened = rotated.open("invoice", b"customer 7", &sample);
    kit.refused("box: of a destroyed key", opened, closed);
}

fn changes(kit: &mut Kit) {
    let mut keyset = keyset();
    let no_such_key = |error: &KeysetError| matches!(error, KeysetError::NoSuchKey(99));
    let is_primary = |error: &KeysetError| matches!(error, KeysetError::IsPrimary(8));
    kit.refused("promoting no key", keyset.promote(99), no_such_key);
    kit.refused("disabling no key", keyset.disable(99), no_such_key);
    kit.refused("enabling no key", keyset.enable(99), no_such_key);
    kit.refused("destroying no key", keyset.destroy(99), no_such_key);
    kit.refused("disabling the primary", keyset.disable(8), is_primary);
    kit.refused("destroying the primary", keyset.destroy(8), is_primary);
    kit.refused("enabling an enabled key", keyset.enable(7), |error| {
        matches!(error, KeysetError::NotDisabled(7))
    });
    for _ in 2..KEYS_MAX {
        kit.accepted("a further key", keyset.add());
    }
    kit.refused("the 257th key", keyset.add(), |error| {
        matches!(error, KeysetError::Full)
    });
    kit.refused("rotating a full keyset", keyset.rotate(), |error| {
        matches!(error, KeysetError::Full)
    });
}
