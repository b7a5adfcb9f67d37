//! Filters of breached passwords, and the lists that they are made of.

use std::io::{self, Read};

use sealmoot_crypto::digest::sha256;
use sealmoot_crypto::password::breached::{
    BreachedFilter, BuildError, FilterError, LINE_LENGTH_MAX, ListError, PASSWORDS_MAX, Stats,
};

use crate::kit::{Kit, flipped, flipped_from_end, longer, report, shorter, with, with_byte};

const VERSION_AT: usize = 4;
const BLOCKS_AT: usize = 6;
const ADDED_AT: usize = 14;
const BLOCKS_BEGIN_AT: usize = 22;
const CHECKSUM_LENGTH: usize = 32;

#[test]
fn breached() {
    report("breached", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("breached");
    files(&mut kit);
    lists(&mut kit);
    sizes(&mut kit);
    kit.count()
}

/// Fails after its first bytes, as a disk may.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = room.len().min(self.0);
        room[..count].copy_from_slice(&b"SMBF"[..count]);
        self.0 -= count;
        match count {
            0 => Err(io::ErrorKind::TimedOut.into()),
            count => Ok(count),
        }
    }
}

fn files(kit: &mut Kit) {
    let mut builder = BreachedFilter::builder(32).expect("two blocks");
    builder.add_password(b"hunter2").expect("room");
    let mut sample = Vec::new();
    builder.finish().write_to(&mut sample).expect("memory");
    let read = |bytes: &[u8]| BreachedFilter::read_from(bytes);
    kit.accepted("a filter", read(&sample));
    let set = |at, value: u64| with(&sample, at, &value.to_le_bytes());
    // Damage that is meant comes with a checksum that fits.
    let summed = |bytes: &[u8]| {
        let body = shorter(bytes, CHECKSUM_LENGTH);
        longer(&body, &sha256(&body))
    };

    let ends_early = |error: &FilterError| matches!(error, FilterError::EndsEarly);
    let checksum = |error: &FilterError| matches!(error, FilterError::Checksum);
    kit.refused("empty", read(&[]), ends_early);
    kit.refused("cut off in the magic", read(&sample[..3]), ends_early);
    kit.refused(
        "cut off in the header",
        read(&sample[..BLOCKS_BEGIN_AT - 1]),
        ends_early,
    );
    kit.refused(
        "cut off in a block",
        read(&sample[..BLOCKS_BEGIN_AT + 100]),
        ends_early,
    );
    kit.refused(
        "no checksum",
        read(&shorter(&sample, CHECKSUM_LENGTH)),
        ends_early,
    );
    kit.refused(
        "a checksum of 31 bytes",
        read(&shorter(&sample, 1)),
        ends_early,
    );
    kit.refused(
        "a letter of the magic",
        read(&summed(&with_byte(&sample, 0, b's'))),
        |error| matches!(error, FilterError::NotAFilter),
    );
    kit.refused(
        "version 0",
        read(&summed(&with_byte(&sample, VERSION_AT, 0))),
        |error| matches!(error, FilterError::Version(0)),
    );
    kit.refused(
        "version 2",
        read(&summed(&with_byte(&sample, VERSION_AT, 2))),
        |error| matches!(error, FilterError::Version(2)),
    );
    kit.refused("no blocks", read(&summed(&set(BLOCKS_AT, 0))), |error| {
        matches!(error, FilterError::Blocks(0))
    });
    kit.refused(
        "2^26 + 1 blocks",
        read(&summed(&set(BLOCKS_AT, (1 << 26) + 1))),
        |error| matches!(error, FilterError::Blocks(0x0400_0001)),
    );
    kit.refused(
        "2^64 - 1 blocks",
        read(&summed(&set(BLOCKS_AT, u64::MAX))),
        |error| matches!(error, FilterError::Blocks(u64::MAX)),
    );
    kit.refused(
        "4 GiB of blocks that are not there",
        read(&set(BLOCKS_AT, 1 << 26)),
        ends_early,
    );
    kit.refused(
        "a block more than there is",
        read(&set(BLOCKS_AT, 3)),
        ends_early,
    );
    kit.refused(
        "a block less than there is",
        read(&set(BLOCKS_AT, 1)),
        checksum,
    );
    kit.refused(
        "more passwords than fit",
        read(&summed(&set(ADDED_AT, 33))),
        |error| {
            matches!(
                error,
                FilterError::Overfull {
                    added: 33,
                    blocks: 2
                }
            )
        },
    );
    kit.refused(
        "2^64 - 1 passwords",
        read(&summed(&set(ADDED_AT, u64::MAX))),
        |error| {
            matches!(
                error,
                FilterError::Overfull {
                    added: u64::MAX,
                    ..
                }
            )
        },
    );
    kit.refused(
        "another number of passwords",
        read(&set(ADDED_AT, 2)),
        checksum,
    );
    kit.refused(
        "a bit of a block",
        read(&flipped(&sample, BLOCKS_BEGIN_AT)),
        checksum,
    );
    kit.refused(
        "a bit of the last block",
        read(&flipped_from_end(&sample, 33)),
        checksum,
    );
    kit.refused(
        "a bit of the checksum",
        read(&flipped_from_end(&sample, 1)),
        checksum,
    );
    kit.refused(
        "a byte behind the checksum",
        read(&longer(&sample, &[0])),
        |error| matches!(error, FilterError::TrailingBytes),
    );
    kit.refused("two filters", read(&longer(&sample, &sample)), |error| {
        matches!(error, FilterError::TrailingBytes)
    });
    kit.refused(
        "a disk that fails",
        BreachedFilter::read_from(Failing(4)),
        |error| matches!(error, FilterError::Io(inner) if inner.kind() == io::ErrorKind::TimedOut),
    );
}

fn lists(kit: &mut Kit) {
    const DIGEST: &str = "F3BBBD66A63D4BF1747940578EC3D0103530E21D";
    let read = |text: &[u8]| -> Result<Stats, ListError> {
        let mut builder = BreachedFilter::builder(8).expect("small");
        builder.add_sha1_hex_lines(text)
    };
    let malformed = |error: &ListError| matches!(error, ListError::Malformed { line: 1 });
    kit.accepted("a list", read(format!("{DIGEST}:17\r\n").as_bytes()));

    let mut bad = |name, text: String| kit.refused(name, read(text.as_bytes()), malformed);
    bad("list: an empty line", "\n".into());
    bad("list: a digest of 39 digits", DIGEST[1..].into());
    bad("list: a digest of 41 digits", format!("{DIGEST}0"));
    bad("list: a digest of MD4", DIGEST[..32].into());
    bad("list: a letter that is no digit", DIGEST.replace('F', "G"));
    bad("list: a sign among the digits", DIGEST.replace("F3", "+3"));
    bad("list: a colon without a count", format!("{DIGEST}:"));
    bad("list: a count that is no number", format!("{DIGEST}:many"));
    bad("list: a count below zero", format!("{DIGEST}:-1"));
    bad(
        "list: a count of 21 digits",
        format!("{DIGEST}:{}", "1".repeat(21)),
    );
    bad("list: a semicolon before the count", format!("{DIGEST};17"));
    bad("list: a space before the digest", format!(" {DIGEST}:17"));
    bad("list: a space behind the count", format!("{DIGEST}:17 "));
    bad("list: a byte order mark", format!("\u{feff}{DIGEST}:17"));
    let line = format!("{DIGEST}:{}", "1".repeat(LINE_LENGTH_MAX));
    kit.refused(
        "list: a line without an end",
        read(line.as_bytes()),
        |error| matches!(error, ListError::TooLong { line: 1 }),
    );
    let second = format!("{DIGEST}:17\npassword\n");
    kit.refused(
        "list: a password among the digests",
        read(second.as_bytes()),
        |error| matches!(error, ListError::Malformed { line: 2 }),
    );
    kit.refused(
        "list: a disk that fails",
        BreachedFilter::builder(8)
            .expect("small")
            .add_password_lines(Failing(4)),
        |error| matches!(error, ListError::Io(inner) if inner.kind() == io::ErrorKind::TimedOut),
    );
    let passwords = BreachedFilter::builder(1)
        .expect("small")
        .add_password_lines(&b"a\nb\nc"[..]);
    kit.refused("list: more passwords than room", passwords, |error| {
        matches!(
            error,
            ListError::Build {
                line: 2,
                source: BuildError::Full(1)
            }
        )
    });
}

fn sizes(kit: &mut Kit) {
    let size = |error: &BuildError| matches!(error, BuildError::Size);
    kit.refused("a filter for nothing", BreachedFilter::builder(0), size);
    kit.refused(
        "a filter for 2^30 + 1",
        BreachedFilter::builder(PASSWORDS_MAX + 1),
        size,
    );
    kit.refused(
        "a filter for 2^64 - 1",
        BreachedFilter::builder(u64::MAX),
        size,
    );
    let mut builder = BreachedFilter::builder(1).expect("small");
    kit.accepted("the one password", builder.add_password(b"a"));
    kit.refused(
        "a second password for one",
        builder.add_password(b"b"),
        |error| matches!(error, BuildError::Full(1)),
    );
}
