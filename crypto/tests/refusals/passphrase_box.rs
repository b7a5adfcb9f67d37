//! Boxes under a passphrase.

use sealmoot_crypto::encoding::EncodingError;
use sealmoot_crypto::passphrase_box::{self, BoxOpenError};
use sealmoot_crypto::password::PasswordError;

use crate::kit::{
    CHEAP, Kit, flipped, flipped_from_end, keyset, longer, report, shorter, with, with_byte,
};

const VERSION_AT: usize = 4;
const MEMORY_KIB_AT: usize = 6;
const PASSES_AT: usize = 10;
const LANES_AT: usize = 14;
const SALT_AT: usize = 18;
const BOX_AT: usize = 34;
/// Of the box inside.
const NONCE_AT: usize = BOX_AT + 6;
const COMMITMENT_AT: usize = BOX_AT + 30;
const CIPHERTEXT_AT: usize = BOX_AT + 62;

const GIB: u32 = 1024 * 1024;

#[test]
fn passphrase_box_refusals() {
    report("passphrase_box", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("passphrase_box");
    let sample = seal(b"text");
    kit.accepted("a box", open(&sample));
    headers(&mut kit, &sample);
    costs(&mut kit, &sample);
    contents(&mut kit, &sample);
    kit.count()
}

fn seal(text: &[u8]) -> Vec<u8> {
    passphrase_box::seal(b"hip roast", "note", b"data", text, CHEAP).expect("sealed")
}

fn open(bytes: &[u8]) -> Result<Vec<u8>, BoxOpenError> {
    let opened = passphrase_box::open(b"hip roast", "note", b"data", bytes)?;
    Ok(opened.expose().to_vec())
}

fn headers(kit: &mut Kit, sample: &[u8]) {
    let magic = |error: &BoxOpenError| {
        matches!(
            error,
            BoxOpenError::Malformed(EncodingError::Invalid("it does not begin with SMPB"))
        )
    };
    let version = |found: u64| {
        move |error: &BoxOpenError| {
            matches!(
                error,
                BoxOpenError::Malformed(EncodingError::Unknown { what: "version", value })
                    if *value == found
            )
        }
    };
    kit.refused("empty", open(&[]), |error| {
        matches!(
            error,
            BoxOpenError::Malformed(EncodingError::EndsEarly {
                offset: 0,
                missing: 4
            })
        )
    });
    kit.refused(
        "a letter of the magic",
        open(&with_byte(sample, 3, b'C')),
        magic,
    );
    kit.refused(
        "the magic in lower case",
        open(&with(sample, 0, b"smpb")),
        magic,
    );
    let keyset_box = keyset().seal("note", b"data", b"text").expect("sealed");
    kit.refused("a keyset's box", open(&keyset_box), magic);
    kit.refused(
        "version 0",
        open(&with_byte(sample, VERSION_AT, 0)),
        version(0),
    );
    kit.refused(
        "version 2",
        open(&with_byte(sample, VERSION_AT, 2)),
        version(2),
    );
    let big_endian = with(sample, VERSION_AT, &[0, 1]);
    kit.refused("version in big-endian", open(&big_endian), version(0x100));
    kit.refused(
        "cut off in the salt",
        open(&sample[..BOX_AT - 1]),
        |error| {
            matches!(
                error,
                BoxOpenError::Malformed(EncodingError::EndsEarly {
                    offset: SALT_AT,
                    missing: 1
                })
            )
        },
    );
    kit.refused("cut off in the lanes", open(&sample[..LANES_AT]), |error| {
        matches!(
            error,
            BoxOpenError::Malformed(EncodingError::EndsEarly {
                offset: LANES_AT,
                missing: 4
            })
        )
    });
}

/// None of these may reserve memory or compute before it is refused.
fn costs(kit: &mut Kit, sample: &[u8]) {
    let set = |at, value: u32| with(sample, at, &value.to_le_bytes());
    let costly =
        |error: &BoxOpenError| matches!(error, BoxOpenError::Password(PasswordError::TooCostly));
    let invalid =
        |error: &BoxOpenError| matches!(error, BoxOpenError::Password(PasswordError::InvalidCost));
    kit.refused(
        "4 TiB of memory",
        open(&set(MEMORY_KIB_AT, u32::MAX)),
        costly,
    );
    kit.refused(
        "a KiB above 1 GiB",
        open(&set(MEMORY_KIB_AT, GIB + 1)),
        costly,
    );
    kit.refused("17 passes", open(&set(PASSES_AT, 17)), costly);
    kit.refused(
        "4 thousand million passes",
        open(&set(PASSES_AT, u32::MAX)),
        costly,
    );
    kit.refused("17 lanes", open(&set(LANES_AT, 17)), costly);
    kit.refused("2^24 lanes", open(&set(LANES_AT, 1 << 24)), costly);
    let work = with(&set(MEMORY_KIB_AT, GIB), PASSES_AT, &3u32.to_le_bytes());
    kit.refused("3 passes over 1 GiB", open(&work), costly);
    let everything = with(sample, MEMORY_KIB_AT, &[0xff; 12]);
    kit.refused("all of a cost at its most", open(&everything), costly);
    kit.refused("no memory", open(&set(MEMORY_KIB_AT, 0)), invalid);
    kit.refused("7 KiB", open(&set(MEMORY_KIB_AT, 7)), invalid);
    kit.refused("no pass", open(&set(PASSES_AT, 0)), invalid);
    kit.refused("no lane", open(&set(LANES_AT, 0)), invalid);
    kit.refused("4 KiB a lane", open(&set(LANES_AT, 2)), invalid);
}

fn contents(kit: &mut Kit, sample: &[u8]) {
    let closed = |error: &BoxOpenError| matches!(error, BoxOpenError::Closed);
    let another = seal(b"next");
    let dearer = with(sample, MEMORY_KIB_AT, &16u32.to_le_bytes());
    kit.refused("another cost than it was sealed at", open(&dearer), closed);
    kit.refused("salt changed", open(&flipped(sample, SALT_AT)), closed);
    kit.refused("nothing behind the salt", open(&sample[..BOX_AT]), closed);
    kit.refused(
        "inner version 2",
        open(&with_byte(sample, BOX_AT, 2)),
        closed,
    );
    kit.refused(
        "the other cipher",
        open(&with_byte(sample, BOX_AT + 1, 1)),
        closed,
    );
    kit.refused("a key id", open(&with_byte(sample, BOX_AT + 5, 1)), closed);
    kit.refused("nonce changed", open(&flipped(sample, NONCE_AT)), closed);
    kit.refused(
        "commitment changed",
        open(&flipped(sample, COMMITMENT_AT)),
        closed,
    );
    kit.refused(
        "ciphertext changed",
        open(&flipped(sample, CIPHERTEXT_AT)),
        closed,
    );
    kit.refused("tag changed", open(&flipped_from_end(sample, 1)), closed);
    kit.refused("tag cut off", open(&shorter(sample, 16)), closed);
    kit.refused("a byte more", open(&longer(sample, &[0])), closed);
    let mixed = with(sample, BOX_AT, &another[BOX_AT..]);
    kit.refused("salt of one, box of another", open(&mixed), closed);
    let mixed = with(sample, CIPHERTEXT_AT, &another[CIPHERTEXT_AT..]);
    kit.refused("header of one, ciphertext of another", open(&mixed), closed);

    let open = |passphrase, context, data| passphrase_box::open(passphrase, context, data, sample);
    kit.refused(
        "another passphrase",
        open(b"hip toast", "note", b"data"),
        closed,
    );
    kit.refused("no passphrase", open(b"", "note", b"data"), closed);
    kit.refused(
        "a NUL behind the passphrase",
        open(b"hip roast\0", "note", b"data"),
        closed,
    );
    kit.refused(
        "another context",
        open(b"hip roast", "other", b"data"),
        closed,
    );
    kit.refused(
        "other associated data",
        open(b"hip roast", "note", b"date"),
        closed,
    );
    kit.refused(
        "the data moved into the context",
        open(b"hip roast", "noted", b"ata"),
        closed,
    );
    kit.refused(
        "a passphrase of 1025 bytes",
        open(&[b'a'; 1025], "note", b"data"),
        |error| matches!(error, BoxOpenError::Password(PasswordError::TooLong)),
    );
}
