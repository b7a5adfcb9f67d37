//! The encoding under all formats of this crate's own.

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use crate::kit::{Kit, ends_early, report, unknown};

/// Bytes enough for the longest text that these cases read.
const MAXIMUM: usize = 16;

#[test]
fn encoding() {
    report("encoding", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("encoding");
    numbers(&mut kit);
    strings(&mut kit);
    ends(&mut kit);
    kit.count()
}

fn numbers(kit: &mut Kit) {
    kit.accepted("a flag", Reader::new(&[1]).flag());
    kit.refused("a byte of nothing", Reader::new(&[]).u8(), |error| {
        ends_early(error, 0, 1)
    });
    kit.refused("a u16 of one byte", Reader::new(&[1]).u16(), |error| {
        ends_early(error, 0, 1)
    });
    kit.refused(
        "a u32 of three bytes",
        Reader::new(&[1; 3]).u32(),
        |error| ends_early(error, 0, 1),
    );
    kit.refused("a u64 of a u32", Reader::new(&[1; 4]).u64(), |error| {
        ends_early(error, 0, 4)
    });
    kit.refused("a flag of two", Reader::new(&[2]).flag(), |error| {
        unknown(error, "flag", 2)
    });
    kit.refused("a flag of all bits", Reader::new(&[255]).flag(), |error| {
        unknown(error, "flag", 255)
    });
    kit.refused("no flag", Reader::new(&[]).flag(), |error| {
        ends_early(error, 0, 1)
    });
    let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6]);
    kit.accepted("the first number", reader.u32());
    kit.refused("a second number cut off", reader.u32(), |error| {
        ends_early(error, 4, 2)
    });
    kit.refused(
        "an array too short",
        Reader::new(&[0; 31]).array::<32>(),
        |error| ends_early(error, 0, 1),
    );
}

fn strings(kit: &mut Kit) {
    let text = |bytes: &[u8]| Reader::new(bytes).text(MAXIMUM).map(str::to_owned);
    let bytes = |bytes: &[u8]| Reader::new(bytes).bytes(MAXIMUM).map(<[u8]>::to_vec);
    kit.accepted("a text", text(&[2, 0, 0, 0, 0xc3, 0xa4]));

    kit.refused("a length of one byte", bytes(&[2]), |error| {
        ends_early(error, 0, 3)
    });
    kit.refused(
        "a length above what is there",
        bytes(&[3, 0, 0, 0, 1, 2]),
        |error| ends_early(error, 4, 1),
    );
    kit.refused(
        "a length one above its maximum",
        bytes(&[17, 0, 0, 0]),
        |error| {
            matches!(
                error,
                EncodingError::TooLong {
                    offset: 0,
                    length: 17,
                    maximum: 16
                }
            )
        },
    );
    kit.refused("a length of 4 GiB", bytes(&[0xff; 4]), |error| {
        matches!(
            error,
            EncodingError::TooLong {
                length: 0xffff_ffff,
                maximum: 16,
                ..
            }
        )
    });
    // 2 in the other order of bytes: 32 MiB.
    kit.refused(
        "a length in big-endian",
        bytes(&[0, 0, 0, 2, 1, 2]),
        |error| {
            matches!(
                error,
                EncodingError::TooLong {
                    length: 0x0200_0000,
                    ..
                }
            )
        },
    );
    kit.refused(
        "a list longer than its maximum",
        Reader::new(&[5, 0, 0, 0]).count(4),
        |error| {
            matches!(
                error,
                EncodingError::TooLong {
                    length: 5,
                    maximum: 4,
                    ..
                }
            )
        },
    );
    let not_utf8 = |error: &EncodingError| matches!(error, EncodingError::NotUtf8 { offset: 0 });
    kit.refused("a text of Latin-1", text(&[1, 0, 0, 0, 0xe4]), not_utf8);
    kit.refused(
        "a text cut inside a letter",
        text(&[1, 0, 0, 0, 0xc3]),
        not_utf8,
    );
    kit.refused(
        "an overlong zero",
        text(&[2, 0, 0, 0, 0xc0, 0x80]),
        not_utf8,
    );
    kit.refused(
        "half a surrogate pair",
        text(&[3, 0, 0, 0, 0xed, 0xa0, 0x80]),
        not_utf8,
    );
    kit.refused(
        "a letter beyond Unicode",
        text(&[4, 0, 0, 0, 0xf4, 0x90, 0x80, 0x80]),
        not_utf8,
    );
    let mut writer = Writer::new();
    writer.u16(1);
    writer.bytes(&[0xff]);
    let sample = writer.finish();
    let mut reader = Reader::new(&sample);
    kit.accepted("what stands before the text", reader.u16());
    kit.refused("a later text that is none", reader.text(MAXIMUM), |error| {
        matches!(error, EncodingError::NotUtf8 { offset: 2 })
    });
}

fn ends(kit: &mut Kit) {
    kit.accepted("an end", Reader::new(&[]).finish());
    kit.refused(
        "one byte behind the end",
        Reader::new(&[0]).finish(),
        |error| matches!(error, EncodingError::TrailingBytes { count: 1 }),
    );
    let mut reader = Reader::new(&[1, 0, 0, 0, 1, 0, 0, 0]);
    kit.accepted("a number", reader.u32());
    kit.refused("a number twice", reader.finish(), |error| {
        matches!(error, EncodingError::TrailingBytes { count: 4 })
    });
}
