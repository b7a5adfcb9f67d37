//! Password records sealed under a pepper.

use sealmoot_crypto::encoding::{EncodingError, Writer};
use sealmoot_crypto::keyset::Keyset;
use sealmoot_crypto::password::pepper::{PepperError, PepperedRecord, USER_LENGTH_MAX};
use sealmoot_crypto::password::{PasswordError, PhcFault};

use crate::kit::{
    CHEAP, Kit, ends_early, flipped, flipped_from_end, keyset, longer, other_keyset, report,
    shorter, spliced, unknown, with, with_byte,
};

const CONTEXT: &str = "password pepper";
const VERSION_AT: usize = 4;
const LENGTH_AT: usize = 6;
const BOX_AT: usize = 10;

#[test]
fn pepper() {
    report("pepper", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("pepper");
    let sample = PepperedRecord::hash(b"password", CHEAP, &keyset(), b"alice", 3)
        .expect("hashed")
        .to_bytes();
    framing(&mut kit, &sample);
    boxes(&mut kit, &sample);
    contents(&mut kit);
    kit.count()
}

fn framing(kit: &mut Kit, sample: &[u8]) {
    let read = PepperedRecord::from_bytes;
    kit.accepted("a record", read(sample));
    let magic = |error: &EncodingError| {
        matches!(error, EncodingError::Invalid("it does not begin with SMPR"))
    };
    let length = |length: u32| with(sample, LENGTH_AT, &length.to_le_bytes());
    let body = u32::try_from(sample.len() - BOX_AT).expect("short");
    kit.refused("empty", read(&[]), |error| ends_early(error, 0, 4));
    kit.refused(
        "a letter of the magic",
        read(&with_byte(sample, 3, b'B')),
        magic,
    );
    kit.refused(
        "the record without its seal",
        read(b"$argon2id$v=19$m=8,t=1,p=1$"),
        magic,
    );
    kit.refused(
        "version 0",
        read(&with_byte(sample, VERSION_AT, 0)),
        |error| unknown(error, "peppered record version", 0),
    );
    kit.refused(
        "version 258",
        read(&with(sample, VERSION_AT, &[2, 1])),
        |error| unknown(error, "peppered record version", 258),
    );
    kit.refused(
        "cut off in the length",
        read(&sample[..BOX_AT - 1]),
        |error| ends_early(error, LENGTH_AT, 1),
    );
    kit.refused("a box of 591 bytes", read(&length(591)), |error| {
        matches!(
            error,
            EncodingError::TooLong {
                offset: LENGTH_AT,
                length: 591,
                maximum: 590
            }
        )
    });
    kit.refused("a box of 4 GiB", read(&length(u32::MAX)), |error| {
        matches!(error, EncodingError::TooLong { maximum: 590, .. })
    });
    kit.refused("a length of one more", read(&length(body + 1)), |error| {
        ends_early(error, BOX_AT, 1)
    });
    kit.refused("a length of one less", read(&length(body - 1)), |error| {
        matches!(error, EncodingError::TrailingBytes { count: 1 })
    });
    kit.refused(
        "a byte behind the box",
        read(&longer(sample, &[0])),
        |error| matches!(error, EncodingError::TrailingBytes { count: 1 }),
    );
    let too_short = |error: &EncodingError| {
        matches!(
            error,
            EncodingError::Invalid("its box is too short for a record")
        )
    };
    kit.refused("no box", read(&length(0)[..BOX_AT]), too_short);
    let of_nothing = keyset().seal(CONTEXT, &bound(), b"").expect("sealed");
    kit.refused("a box of nothing", read(&framed(&of_nothing)), too_short);
}

fn boxes(kit: &mut Kit, sample: &[u8]) {
    let closed = |error: &PepperError| matches!(error, PepperError::Closed(_));
    let opened = |bytes: &[u8], keyset: &Keyset, user: &[u8], version| {
        let record = PepperedRecord::from_bytes(bytes).expect("well framed");
        record.open(keyset, user, version)
    };
    let open = |bytes: &[u8]| opened(bytes, &keyset(), b"alice", 3);
    kit.accepted("a record that opens", open(sample));
    kit.refused(
        "inner version changed",
        open(&flipped(sample, BOX_AT)),
        closed,
    );
    kit.refused(
        "pepper's id changed",
        open(&flipped(sample, BOX_AT + 5)),
        closed,
    );
    kit.refused(
        "commitment changed",
        open(&flipped(sample, BOX_AT + 30)),
        closed,
    );
    kit.refused(
        "record changed",
        open(&flipped(sample, BOX_AT + 62)),
        closed,
    );
    kit.refused("tag changed", open(&flipped_from_end(sample, 1)), closed);
    let body = shorter(&sample[BOX_AT..], 1);
    kit.refused(
        "the last byte of the box left out",
        open(&framed(&body)),
        closed,
    );
    kit.refused(
        "of another user",
        opened(sample, &keyset(), b"bob", 3),
        closed,
    );
    kit.refused("of nobody", opened(sample, &keyset(), b"", 3), closed);
    kit.refused(
        "of the version before",
        opened(sample, &keyset(), b"alice", 2),
        closed,
    );
    kit.refused(
        "under another pepper",
        opened(sample, &other_keyset(), b"alice", 3),
        closed,
    );
    let user = [b'a'; USER_LENGTH_MAX + 1];
    kit.refused(
        "a user of 1025 bytes",
        opened(sample, &keyset(), &user, 3),
        |error| matches!(error, PepperError::UserTooLong),
    );
    let hashed = PepperedRecord::hash(b"password", CHEAP, &keyset(), &user, 3);
    kit.refused("sealing for a user of 1025 bytes", hashed, |error| {
        matches!(error, PepperError::UserTooLong)
    });
    let hashed = PepperedRecord::hash(&[b'a'; 1025], CHEAP, &keyset(), b"alice", 3);
    kit.refused("sealing a password of 1025 bytes", hashed, |error| {
        matches!(error, PepperError::Password(PasswordError::TooLong))
    });
    let token = keyset().seal("token", &bound(), PHC).expect("sealed");
    kit.refused("a box for another context", open(&framed(&token)), closed);
    // The user is "alice" and its length 4: the version begins with the last letter.
    let shifted = spliced(&bound(), 0..1, &[4]);
    let shifted = keyset().seal(CONTEXT, &shifted, PHC).expect("sealed");
    kit.refused(
        "a letter moved from user to version",
        open(&framed(&shifted)),
        closed,
    );
}

/// What only a holder of the pepper can have sealed.
fn contents(kit: &mut Kit) {
    let open = |text: &[u8]| {
        let sealed = keyset().seal(CONTEXT, &bound(), text).expect("sealed");
        let record = PepperedRecord::from_bytes(&framed(&sealed)).expect("well framed");
        record.open(&keyset(), b"alice", 3)
    };
    kit.accepted("a record sealed by hand", open(PHC));
    kit.refused("a password in the clear", open(b"password"), |error| {
        matches!(
            error,
            PepperError::Password(PasswordError::Malformed(PhcFault::Fields))
        )
    });
    kit.refused(
        "a record with a line end",
        open(&longer(PHC, b"\n")),
        |error| {
            matches!(
                error,
                PepperError::Password(PasswordError::Malformed(PhcFault::Hash))
            )
        },
    );
    kit.refused("no text", open(&[0xff; 8]), |error| {
        matches!(error, PepperError::Closed(_))
    });
    let costly = String::from_utf8(PHC.to_vec()).expect("ASCII");
    let costly = costly.replace("m=8", "m=2097153");
    kit.refused("a record above 2 GiB", open(costly.as_bytes()), |error| {
        matches!(error, PepperError::Password(PasswordError::TooCostly))
    });
}

const PHC: &[u8] =
    b"$argon2id$v=19$m=8,t=1,p=1$AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// What the record of alice in version 3 is bound to.
fn bound() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.bytes(b"alice");
    writer.u64(3);
    writer.finish()
}

fn framed(sealed: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.fixed(b"SMPR");
    writer.u16(1);
    writer.bytes(sealed);
    writer.finish()
}
