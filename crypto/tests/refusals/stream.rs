//! Sealed streams: opened from memory, read, read in parts, and chunk by chunk.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::stream::{
    self, ChunkSize, Cipher, HEADER_LENGTH, OpenReader, OpenSeekReader, Opener, Options, Sealer,
    StreamKey, StreamOpenError, StreamSealError, TAG_LENGTH,
};

use crate::kit::{
    Kit, flipped, flipped_from_end, longer, report, shorter, spliced, with, with_byte,
};

const VERSION_AT: usize = 4;
const CIPHER_AT: usize = 5;
const CHUNK_SIZE_AT: usize = 6;
const SALT_AT: usize = 7;
const COMMITMENT_AT: usize = 39;

const CHUNK: usize = ChunkSize::MIN.bytes();
const SEALED_CHUNK: usize = CHUNK + TAG_LENGTH;
const OPTIONS: Options = Options {
    chunk_size: ChunkSize::MIN,
    cipher: Cipher::ChaCha20Poly1305,
};

#[test]
fn stream_refusals() {
    report("stream", family());
}

pub(crate) fn family() -> usize {
    let mut kit = Kit::new("stream");
    headers(&mut kit);
    chunks(&mut kit);
    readers(&mut kit);
    machines(&mut kit);
    kit.count()
}

fn key() -> StreamKey {
    StreamKey::from_secret(&SecretArray::from_bytes([6; 32]))
}

/// Chunks of the letters a, b, c, ..; the last one is of `length % CHUNK` bytes.
fn seal(length: usize) -> Vec<u8> {
    let text: Vec<u8> = (0..length).map(|at| b'a' + (at / CHUNK) as u8).collect();
    stream::seal(&key(), "backup", b"data", OPTIONS, &text).expect("sealed")
}

fn open(bytes: &[u8]) -> Result<Vec<u8>, StreamOpenError> {
    let opened = stream::open(&key(), "backup", b"data", bytes)?;
    Ok(opened.expose().to_vec())
}

fn closed(error: &StreamOpenError) -> bool {
    matches!(error, StreamOpenError::Closed)
}

fn truncated(error: &StreamOpenError) -> bool {
    matches!(error, StreamOpenError::Truncated)
}

fn trailing(error: &StreamOpenError) -> bool {
    matches!(error, StreamOpenError::Trailing)
}

fn headers(kit: &mut Kit) {
    let sample = seal(5);
    let not_a_stream = |error: &StreamOpenError| matches!(error, StreamOpenError::NotAStream);
    kit.accepted("a stream", open(&sample));
    kit.refused("empty", open(&[]), truncated);
    kit.refused("cut off in the magic", open(b"SMS"), truncated);
    kit.refused(
        "cut off in the salt",
        open(&sample[..COMMITMENT_AT - 1]),
        truncated,
    );
    kit.refused(
        "cut off in the commitment",
        open(&sample[..HEADER_LENGTH - 1]),
        truncated,
    );
    kit.refused(
        "a letter of the magic",
        open(&with_byte(&sample, 3, b'F')),
        not_a_stream,
    );
    kit.refused(
        "something else that is short",
        open(b"\x7fELF"),
        not_a_stream,
    );
    kit.refused(
        "the magic in the other order",
        open(&with(&sample, 0, b"TSMS")),
        not_a_stream,
    );
    kit.refused(
        "version 0",
        open(&with_byte(&sample, VERSION_AT, 0)),
        |error| matches!(error, StreamOpenError::UnknownVersion(0)),
    );
    kit.refused(
        "version 2",
        open(&with_byte(&sample, VERSION_AT, 2)),
        |error| matches!(error, StreamOpenError::UnknownVersion(2)),
    );
    kit.refused(
        "cipher 0",
        open(&with_byte(&sample, CIPHER_AT, 0)),
        |error| matches!(error, StreamOpenError::UnknownCipher(0)),
    );
    kit.refused(
        "cipher 3",
        open(&with_byte(&sample, CIPHER_AT, 3)),
        |error| matches!(error, StreamOpenError::UnknownCipher(3)),
    );
    kit.refused(
        "the other cipher",
        open(&with_byte(&sample, CIPHER_AT, 1)),
        closed,
    );
    let size = |log2| open(&with_byte(&sample, CHUNK_SIZE_AT, log2));
    kit.refused("chunks of 2 KiB", size(11), |error| {
        matches!(error, StreamOpenError::UnknownChunkSize(11))
    });
    kit.refused("chunks of 2 MiB", size(21), |error| {
        matches!(error, StreamOpenError::UnknownChunkSize(21))
    });
    kit.refused("chunks of a byte", size(0), |error| {
        matches!(error, StreamOpenError::UnknownChunkSize(0))
    });
    // Shifted by that many bits without a check, a size would be anything.
    kit.refused("chunks of 2^64 bytes", size(64), |error| {
        matches!(error, StreamOpenError::UnknownChunkSize(64))
    });
    kit.refused("another chunk size", size(13), closed);
    kit.refused("salt changed", open(&flipped(&sample, SALT_AT)), closed);
    kit.refused(
        "commitment changed",
        open(&flipped(&sample, COMMITMENT_AT)),
        closed,
    );
    let zeros = with(&sample, COMMITMENT_AT, &[0; 32]);
    kit.refused("a commitment of zeros", open(&zeros), closed);
    let another = seal(5);
    let mixed = with(&sample, SALT_AT, &another[SALT_AT..COMMITMENT_AT]);
    kit.refused("salt of another stream", open(&mixed), closed);
    let mixed = with(&sample, 0, &another[..HEADER_LENGTH]);
    kit.refused("header of another stream", open(&mixed), closed);

    let open = |key: &StreamKey, context, data| stream::open(key, context, data, &sample);
    let other = StreamKey::from_secret(&SecretArray::from_bytes([7; 32]));
    kit.refused("another key", open(&other, "backup", b"data"), closed);
    kit.refused("another context", open(&key(), "letter", b"data"), closed);
    kit.refused("other associated data", open(&key(), "backup", b""), closed);
    kit.refused(
        "the data moved into the context",
        open(&key(), "backupd", b"ata"),
        closed,
    );
}

fn chunks(kit: &mut Kit) {
    // Three chunks, of which the last is short; two, both full; none.
    let (sample, full, none) = (seal(2 * CHUNK + 5), seal(2 * CHUNK), seal(0));
    let at = |index: usize| HEADER_LENGTH + index * SEALED_CHUNK;
    let chunk = |index: usize| &sample[at(index)..sample.len().min(at(index + 1))];
    let header = &sample[..HEADER_LENGTH];
    let of = |chunks: &[&[u8]]| open(&[header, &chunks.concat()].concat());
    kit.accepted(
        "a stream of three chunks",
        of(&[chunk(0), chunk(1), chunk(2)]),
    );
    kit.accepted("a stream of full chunks", open(&full));
    kit.accepted("a stream of nothing", open(&none));

    kit.refused("no chunks", of(&[]), truncated);
    kit.refused("a lone tag of zeros", of(&[&[0; TAG_LENGTH]]), closed);
    kit.refused(
        "chunks swapped",
        of(&[chunk(1), chunk(0), chunk(2)]),
        closed,
    );
    kit.refused(
        "a chunk twice",
        of(&[chunk(0), chunk(0), chunk(1), chunk(2)]),
        closed,
    );
    kit.refused(
        "the first chunk left out",
        of(&[chunk(1), chunk(2)]),
        closed,
    );
    kit.refused("a middle chunk left out", of(&[chunk(0), chunk(2)]), closed);
    kit.refused("the last chunk left out", of(&[chunk(0), chunk(1)]), closed);
    kit.refused("the last chunk only", of(&[chunk(2)]), closed);
    kit.refused(
        "the last chunk twice",
        of(&[chunk(0), chunk(1), chunk(2), chunk(2)]),
        closed,
    );
    kit.refused(
        "a chunk of zeros for one",
        of(&[chunk(0), &[0; SEALED_CHUNK], chunk(2)]),
        closed,
    );
    kit.refused(
        "first bit of a chunk",
        open(&flipped(&sample, at(1))),
        closed,
    );
    kit.refused("tag of a chunk", open(&flipped(&sample, at(1) - 1)), closed);
    kit.refused(
        "tag of the last chunk",
        open(&flipped_from_end(&sample, 1)),
        closed,
    );
    let tag = &sample[at(2) - TAG_LENGTH..at(2)];
    kit.refused(
        "tag of another chunk",
        open(&with(&sample, at(1) - TAG_LENGTH, tag)),
        closed,
    );
    let shifted = spliced(&sample, at(1) - 1..at(1), &[]);
    kit.refused("a byte left out between chunks", open(&shifted), closed);
    let shifted = spliced(&sample, at(1)..at(1), &[0]);
    kit.refused("a byte put between chunks", open(&shifted), closed);
    kit.refused(
        "a byte behind the last chunk",
        open(&longer(&sample, &[0])),
        closed,
    );
    kit.refused("the last byte left out", open(&shorter(&sample, 1)), closed);
    kit.refused(
        "cut off in the last tag",
        open(&sample[..at(2) + TAG_LENGTH - 1]),
        truncated,
    );
    kit.refused("cut off in a chunk", open(&sample[..at(1) + 100]), closed);
    kit.refused(
        "cut off at the end of a full chunk",
        open(&full[..at(1)]),
        closed,
    );
    kit.refused(
        "a byte behind full chunks",
        open(&longer(&full, &[0])),
        closed,
    );
    kit.refused(
        "a tag behind full chunks",
        open(&longer(&full, &[0; TAG_LENGTH])),
        closed,
    );
    kit.refused(
        "a chunk behind nothing",
        open(&longer(&none, chunk(0))),
        closed,
    );
    kit.refused(
        "nothing, behind chunks",
        open(&longer(&full, &none[HEADER_LENGTH..])),
        closed,
    );
    kit.refused("two streams", open(&longer(&sample, &sample)), closed);
    let another = seal(2 * CHUNK + 5);
    let spliced = with(&sample, at(1), &another[at(1)..at(2)]);
    kit.refused("a chunk of another stream", open(&spliced), closed);
    let spliced = with(&sample, at(2), &another[at(2)..]);
    kit.refused("the end of another stream", open(&spliced), closed);
}

/// The refusal inside what a reader reports.
fn inside(error: &io::Error) -> Option<StreamOpenError> {
    error.get_ref()?.downcast_ref().copied()
}

/// Ends with an error, as a disk may.
struct Failing(Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self.0.read(room)? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            count => Ok(count),
        }
    }
}

fn readers(kit: &mut Kit) {
    let sample = seal(2 * CHUNK + 5);
    let at = |index: usize| HEADER_LENGTH + index * SEALED_CHUNK;
    let changed = flipped(&sample, at(1));
    let is = |expected: StreamOpenError| move |error: &io::Error| inside(error) == Some(expected);

    let read = |bytes: &[u8]| {
        let mut text = Vec::new();
        let mut reader = OpenReader::new(&key(), "backup", b"data", bytes)?;
        reader.read_to_end(&mut text).map(|_| text)
    };
    kit.accepted("a stream that is read", read(&sample));
    kit.refused("read: empty", read(&[]), is(StreamOpenError::Truncated));
    kit.refused(
        "read: something else",
        read(b"<html>"),
        is(StreamOpenError::NotAStream),
    );
    kit.refused(
        "read: a chunk changed",
        read(&changed),
        is(StreamOpenError::Closed),
    );
    kit.refused(
        "read: the end left out",
        read(&sample[..at(2)]),
        is(StreamOpenError::Closed),
    );
    let mut reader = OpenReader::new(&key(), "backup", b"data", &changed[..]).expect("begins");
    let mut chunk = vec![0; CHUNK];
    kit.accepted(
        "the chunk before the changed one",
        reader.read_exact(&mut chunk),
    );
    kit.refused(
        "read: up to a changed chunk",
        reader.read(&mut chunk),
        is(StreamOpenError::Closed),
    );
    kit.refused(
        "read: on behind a changed chunk",
        reader.read(&mut chunk),
        is(StreamOpenError::Closed),
    );
    let failing = Failing(Cursor::new(sample[..at(1)].to_vec()));
    let mut reader = OpenReader::new(&key(), "backup", b"data", failing).expect("begins");
    kit.refused(
        "read: from a disk that fails",
        reader.read(&mut chunk),
        |error| error.kind() == io::ErrorKind::TimedOut,
    );
    kit.refused(
        "read: on when the disk had failed",
        reader.read(&mut chunk),
        is(StreamOpenError::FailedBefore),
    );

    let copy = |bytes: &[u8]| {
        stream::open_all(&key(), "backup", b"data", (bytes, None), io::sink(), |_| {})
    };
    kit.accepted("a stream that is copied", copy(&sample));
    kit.refused(
        "copied: a chunk changed",
        copy(&changed),
        is(StreamOpenError::Closed),
    );
    kit.refused(
        "copied: only a header",
        copy(&sample[..HEADER_LENGTH]),
        is(StreamOpenError::Truncated),
    );

    let seek =
        |bytes: &[u8]| OpenSeekReader::new(&key(), "backup", b"data", Cursor::new(bytes.to_vec()));
    kit.accepted("a stream that is sought in", seek(&sample));
    kit.refused(
        "sought: only a header",
        seek(&sample[..HEADER_LENGTH]),
        is(StreamOpenError::Truncated),
    );
    kit.refused(
        "sought: the end left out",
        seek(&sample[..at(2)]),
        is(StreamOpenError::Closed),
    );
    kit.refused(
        "sought: cut off in the last tag",
        seek(&sample[..at(2) + 15]),
        is(StreamOpenError::Truncated),
    );
    kit.refused(
        "sought: a byte behind the end",
        seek(&longer(&sample, &[0])),
        is(StreamOpenError::Closed),
    );
    kit.refused(
        "sought: header changed",
        seek(&flipped(&sample, SALT_AT)),
        is(StreamOpenError::Closed),
    );
    let mut reader = kit.accepted("changed where it is not read", seek(&changed));
    kit.refused(
        "sought: before the beginning",
        reader.seek(SeekFrom::Current(-1)),
        |error| error.kind() == io::ErrorKind::InvalidInput,
    );
    kit.accepted(
        "the place of the change",
        reader.seek(SeekFrom::Start(CHUNK as u64)),
    );
    kit.refused(
        "sought: into a changed chunk",
        reader.read(&mut chunk),
        is(StreamOpenError::Closed),
    );
    kit.accepted("a chunk that is good", reader.seek(SeekFrom::Start(0)));
    kit.refused(
        "sought: on behind a changed chunk",
        reader.read(&mut chunk),
        is(StreamOpenError::Closed),
    );
}

fn machines(kit: &mut Kit) {
    let begin = || {
        let (sealer, header) = Sealer::new(&key(), "backup", b"", OPTIONS).expect("random");
        let opener = Opener::new(&key(), "backup", b"", &header).expect("just made");
        (sealer, opener)
    };
    let length = |error: &StreamSealError| matches!(error, StreamSealError::ChunkLength);
    let (mut sealer, mut opener) = begin();
    let mut seal = |length: usize, last: bool| {
        let mut chunk = vec![b'a'; length];
        let tag = sealer.seal_chunk(&mut chunk, last)?;
        Ok::<_, StreamSealError>([&chunk[..], &tag].concat())
    };
    kit.refused(
        "sealing: a short chunk that is not the last",
        seal(CHUNK - 1, false),
        length,
    );
    kit.refused("sealing: a chunk too long", seal(CHUNK + 1, false), length);
    kit.refused(
        "sealing: a last chunk too long",
        seal(CHUNK + 1, true),
        length,
    );
    kit.refused(
        "sealing: an empty chunk that is not the last",
        seal(0, false),
        length,
    );
    let mut first = kit.accepted("a chunk", seal(CHUNK, false));
    kit.refused(
        "sealing: an empty chunk behind another",
        seal(0, true),
        length,
    );
    let mut last = kit.accepted("the last chunk", seal(5, true));
    kit.refused("sealing: behind the last", seal(5, true), |error| {
        matches!(error, StreamSealError::Ended)
    });

    let mut open = |chunk: &mut [u8], last| opener.open_chunk(chunk, last).map(|text| text.len());
    kit.accepted("the first chunk opened", open(&mut first, false));
    kit.accepted("the last chunk opened", open(&mut last, true));
    kit.refused(
        "opening: behind the last",
        open(&mut first.clone(), false),
        trailing,
    );

    let one = |length: usize, last| begin().1.open_chunk(&mut vec![0; length], last).map(|_| ());
    kit.refused(
        "opening: a chunk too long",
        one(SEALED_CHUNK + 1, true),
        trailing,
    );
    kit.refused(
        "opening: a short chunk that is not the last",
        one(SEALED_CHUNK - 1, false),
        truncated,
    );
    kit.refused(
        "opening: a chunk without room for a tag",
        one(TAG_LENGTH - 1, true),
        truncated,
    );
    let (mut sealer, mut opener) = begin();
    let mut chunk = vec![b'a'; CHUNK];
    let tag = sealer.seal_chunk(&mut chunk, false).expect("full");
    chunk.extend_from_slice(&tag);
    kit.refused(
        "opening: said to be the last",
        begin().1.open_chunk(&mut chunk.clone(), true).map(|_| ()),
        closed,
    );
    kit.accepted(
        "a full chunk opened",
        opener.open_chunk(&mut chunk, false).map(|_| ()),
    );
    let empty = opener.open_chunk(&mut [0; TAG_LENGTH], true).map(|_| ());
    kit.refused("opening: an empty chunk behind another", empty, truncated);
    kit.refused(
        "ending: when a chunk was refused",
        opener.finish(),
        truncated,
    );
    kit.refused(
        "ending: before the last chunk",
        begin().1.finish(),
        truncated,
    );
}
