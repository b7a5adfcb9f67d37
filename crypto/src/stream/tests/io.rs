//! Tests of streams: readers and writers.

use std::io::{self, BufRead, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};
use std::prelude::v1::*;

use proptest::prelude::*;

use super::{SEALED, SIZE, chunk, key, sealed, small_chunks, text};
use crate::stream::*;

/// What a stream refused with, inside the error of input and output.
fn inner(error: &io::Error) -> StreamOpenError {
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let inner = error.get_ref().expect("an inner error");
    *inner.downcast_ref().expect("a stream's refusal")
}

fn reader(sealed: &[u8]) -> io::Result<OpenReader<&[u8]>> {
    OpenReader::new(&key(), "test", b"data", sealed)
}

fn seek_reader(sealed: &[u8]) -> io::Result<OpenSeekReader<Cursor<&[u8]>>> {
    OpenSeekReader::new(&key(), "test", b"data", Cursor::new(sealed))
}

fn writer() -> SealWriter<Vec<u8>> {
    SealWriter::new(&key(), "test", b"data", small_chunks(), Vec::new()).expect("begins")
}

/// Gives or takes a byte at a time, and is interrupted before each.
struct Trickle<T>(T, bool);

impl<R: Read> Read for Trickle<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(ErrorKind::Interrupted.into());
        }
        let end = room.len().min(1);
        self.0.read(&mut room[..end])
    }
}

impl<W: Write> Write for Trickle<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(ErrorKind::Interrupted.into());
        }
        self.0.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Fails once so many bytes went through, and then works again.
struct Failing<T> {
    inner: T,
    left: usize,
    failed: bool,
}

impl<T> Failing<T> {
    fn after(left: usize, inner: T) -> Self {
        Self {
            inner,
            left,
            failed: false,
        }
    }

    fn take(&mut self, wanted: usize) -> io::Result<usize> {
        if self.left == 0 && !self.failed {
            self.failed = true;
            return Err(io::Error::other("the disk is on fire"));
        }
        let taken = if self.failed {
            wanted
        } else {
            wanted.min(self.left)
        };
        self.left -= taken.min(self.left);
        Ok(taken)
    }
}

impl<R: Read> Read for Failing<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let taken = self.take(room.len())?;
        self.inner.read(&mut room[..taken])
    }
}

impl<W: Write> Write for Failing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.take(bytes.len())?;
        self.inner.write(&bytes[..taken])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[test]
fn what_is_written_piece_by_piece_is_one_stream() {
    for length in [0, 1, SIZE, SIZE + 1, 2 * SIZE, 3 * SIZE - 1] {
        for piece in [1, 100, SIZE, SIZE + 7, 5 * SIZE] {
            let mut writer = writer();
            for piece in text(length).chunks(piece) {
                writer.write_all(piece).expect("written");
            }
            let sealed = writer.finish().expect("finished");
            let opened = open(&key(), "test", b"data", &sealed).expect("opens");
            assert_eq!(opened.expose(), text(length));
            assert_eq!(
                Some(sealed.len() as u64),
                sealed_length(length as u64, ChunkSize::MIN)
            );
        }
    }
}

#[test]
fn a_writer_dropped_before_its_end_leaves_what_does_not_open() {
    for length in [0, 1, SIZE, SIZE + 1, 2 * SIZE, 2 * SIZE + 1] {
        let mut written = Vec::new();
        let mut writer =
            SealWriter::new(&key(), "test", b"data", small_chunks(), &mut written).expect("begins");
        writer.write_all(&text(length)).expect("written");
        writer.flush().expect("flushed");
        drop(writer);
        let error = reader(&written)
            .and_then(|mut reader| reader.read_to_end(&mut Vec::new()))
            .expect_err("refused");
        let expected = match length {
            0..=SIZE => StreamOpenError::Truncated,
            _ => StreamOpenError::Closed,
        };
        assert_eq!(inner(&error), expected);
    }
}

#[test]
fn after_a_failed_write_nothing_more_is_written() {
    let failing = Failing::after(HEADER_LENGTH + 10, Vec::new());
    let mut writer =
        SealWriter::new(&key(), "test", b"data", small_chunks(), failing).expect("begins");
    let error = writer.write_all(&text(2 * SIZE)).expect_err("failed");
    assert_eq!(error.to_string(), "the disk is on fire");
    let later = [
        writer.write(b"x").expect_err("poisoned"),
        writer.flush().expect_err("poisoned"),
        writer.finish().map(|_| ()).expect_err("poisoned"),
    ];
    for error in later {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        assert_eq!(inner, Some(&StreamSealError::FailedBefore));
    }
}

#[test]
fn a_reader_releases_whole_chunks_that_are_good_and_nothing_after() {
    let whole = sealed(4 * SIZE - 1);
    let last = whole.len() - 1;
    for (bad, released) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
        for at in [
            chunk(bad).start,
            chunk(bad).start + SIZE / 2,
            (chunk(bad).end - 1).min(last),
        ] {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            let mut reader = reader(&changed).expect("begins");
            let mut out = Vec::new();
            let error = reader.read_to_end(&mut out).expect_err("refused");
            assert_eq!(inner(&error), StreamOpenError::Closed);
            assert_eq!(out, text(released * SIZE));
            for _ in 0..3 {
                let again = reader.read(&mut [0; 9]).expect_err("poisoned");
                assert_eq!(inner(&again), StreamOpenError::Closed);
                assert!(reader.fill_buf().is_err());
            }
        }
    }
}

#[test]
fn a_stream_cut_at_a_chunks_end_does_not_release_that_chunk() {
    let whole = sealed(3 * SIZE);
    for chunks in 1..3 {
        let mut reader = reader(&whole[..chunk(chunks).start]).expect("begins");
        let mut out = Vec::new();
        let error = reader.read_to_end(&mut out).expect_err("refused");
        assert_eq!(inner(&error), StreamOpenError::Closed);
        assert_eq!(out, text((chunks - 1) * SIZE));
    }
}

#[test]
fn a_header_is_refused_before_anything_is_read() {
    let whole = sealed(10);
    let cases: [(usize, u8, StreamOpenError); 5] = [
        (0, b'X', StreamOpenError::NotAStream),
        (4, 2, StreamOpenError::UnknownVersion(2)),
        (5, 3, StreamOpenError::UnknownCipher(3)),
        (6, 63, StreamOpenError::UnknownChunkSize(63)),
        (70, whole[70] ^ 1, StreamOpenError::Closed),
    ];
    for (at, value, expected) in cases {
        let mut changed = whole.clone();
        changed[at] = value;
        assert_eq!(inner(&reader(&changed).expect_err("refused")), expected);
        assert_eq!(
            inner(&seek_reader(&changed).expect_err("refused")),
            expected
        );
    }
    for length in 0..HEADER_LENGTH {
        let error = reader(&whole[..length]).expect_err("refused");
        assert_eq!(inner(&error), StreamOpenError::Truncated);
    }
}

#[test]
fn a_failed_read_keeps_its_source_and_ends_the_stream() {
    let whole = sealed(3 * SIZE);
    let failing = Failing::after(HEADER_LENGTH + SEALED + 5, &whole[..]);
    let mut reader = OpenReader::new(&key(), "test", b"data", failing).expect("begins");
    let mut out = Vec::new();
    let error = reader.read_to_end(&mut out).expect_err("failed");
    assert_eq!(error.to_string(), "the disk is on fire");
    assert_eq!(out, text(SIZE));
    let error = reader.read(&mut [0; 9]).expect_err("poisoned");
    assert_eq!(inner(&error), StreamOpenError::FailedBefore);
}

#[test]
fn slow_readers_and_writers_make_the_same_stream() {
    let text = text(2 * SIZE + 3);
    let mut sealed = Trickle(Vec::new(), false);
    let input = (Trickle(&text[..], false), None);
    let (key, options) = (key(), small_chunks());
    seal_all(&key, "test", b"data", options, input, &mut sealed, |_| {}).expect("sealed");
    let mut opened = Trickle(Vec::new(), false);
    let input = (Trickle(&sealed.0[..], false), None);
    open_all(&key, "test", b"data", input, &mut opened, |_| {}).expect("opens");
    assert_eq!(opened.0, text);
}

#[test]
fn progress_comes_once_a_chunk() {
    for (length, expected) in [
        (0, vec![0]),
        (SIZE, vec![SIZE]),
        (2 * SIZE + 3, vec![SIZE, 2 * SIZE, 2 * SIZE + 3]),
    ] {
        let expected: Vec<Progress> = expected
            .into_iter()
            .map(|bytes| Progress {
                bytes_done: bytes as u64,
                bytes_total: Some(length as u64),
            })
            .collect();
        let (key, options, text) = (key(), small_chunks(), text(length));
        let (mut sealed, mut opened) = (Vec::new(), Vec::new());
        let mut seen = Vec::new();
        let input = (&text[..], Some(length as u64));
        let note = |progress| seen.push(progress);
        let done = seal_all(&key, "test", b"", options, input, &mut sealed, note).expect("sealed");
        assert_eq!((done, &seen), (length as u64, &expected));

        let mut seen = Vec::new();
        let input = (&sealed[..], Some(length as u64));
        let note = |progress| seen.push(progress);
        let done = open_all(&key, "test", b"", input, &mut opened, note).expect("opens");
        assert_eq!((done, &seen), (length as u64, &expected));
        assert_eq!(opened, text);
    }
}

#[test]
fn copying_stops_at_the_first_bad_chunk() {
    let mut changed = sealed(3 * SIZE);
    changed[chunk(1).start] ^= 1;
    let mut out = Vec::new();
    let input = (&changed[..], None);
    let error = open_all(&key(), "test", b"data", input, &mut out, |_| {}).expect_err("refused");
    assert_eq!(inner(&error), StreamOpenError::Closed);
    assert_eq!(out, text(SIZE));
}

#[test]
fn a_seekable_stream_of_a_false_length_is_refused_when_it_is_opened() {
    for length in [0, 1, SIZE, SIZE + 1, 3 * SIZE] {
        let whole = sealed(length);
        assert_eq!(seek_reader(&whole).expect("opens").length(), length as u64);
        for cut in [1, 15, 16, 17, SEALED] {
            if let Some(shorter) = whole.len().checked_sub(cut)
                && shorter >= HEADER_LENGTH
            {
                let error = seek_reader(&whole[..shorter]).expect_err("refused");
                let refused = inner(&error);
                assert!([StreamOpenError::Closed, StreamOpenError::Truncated].contains(&refused));
            }
        }
        for added in [1, 16, 17, SEALED] {
            let longer = [&whole[..], &vec![0; added]].concat();
            let refused = inner(&seek_reader(&longer).expect_err("refused"));
            assert!([StreamOpenError::Closed, StreamOpenError::Truncated].contains(&refused));
        }
    }
}

#[test]
fn a_seekable_stream_refuses_the_bad_chunk_and_then_all() {
    let mut changed = sealed(3 * SIZE);
    changed[chunk(1).start + 9] ^= 1;
    let mut reader = seek_reader(&changed).expect("the last chunk is good");
    let mut room = [0; 8];
    reader.read_exact(&mut room).expect("the first is good");
    assert_eq!(room, text(8)[..]);
    reader.seek(SeekFrom::Start(SIZE as u64)).expect("within");
    let error = reader.read(&mut room).expect_err("refused");
    assert_eq!(inner(&error), StreamOpenError::Closed);
    assert_eq!(room, text(8)[..], "nothing was released");
    reader.seek(SeekFrom::Start(0)).expect("within");
    let error = reader.read(&mut room).expect_err("poisoned");
    assert_eq!(inner(&error), StreamOpenError::Closed);
}

#[test]
fn a_seekable_stream_has_no_moved_chunks() {
    let mut moved = sealed(3 * SIZE);
    let first = moved[chunk(0)].to_vec();
    moved.copy_within(chunk(1), HEADER_LENGTH);
    moved[chunk(1)].copy_from_slice(&first);
    for at in [0, SIZE as u64] {
        let mut reader = seek_reader(&moved).expect("the last chunk is good");
        reader.seek(SeekFrom::Start(at)).expect("within");
        let error = reader.read(&mut [0; 8]).expect_err("refused");
        assert_eq!(inner(&error), StreamOpenError::Closed);
    }
}

#[test]
fn a_place_before_the_beginning_is_refused_and_one_behind_the_end_is_empty() {
    let whole = sealed(SIZE + 5);
    let mut reader = seek_reader(&whole).expect("opens");
    for to in [SeekFrom::Current(-1), SeekFrom::End(-(SIZE as i64) - 6)] {
        let error = reader.seek(to).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    reader.seek(SeekFrom::Start(u64::MAX)).expect("allowed");
    assert_eq!(reader.read(&mut [0; 8]).expect("at the end"), 0);
    assert!(reader.seek(SeekFrom::Current(1)).is_err());
}

#[test]
fn a_seekable_stream_may_stand_behind_other_bytes() {
    let whole = [b"before", &sealed(SIZE + 5)[..]].concat();
    let mut input = Cursor::new(&whole[..]);
    input.seek(SeekFrom::Start(6)).expect("within");
    let mut reader = OpenSeekReader::new(&key(), "test", b"data", input).expect("opens");
    let mut out = Vec::new();
    reader.read_to_end(&mut out).expect("reads");
    assert_eq!(out, text(SIZE + 5));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_reads_agree_with_a_plain_slice(
        length in 0usize..4 * SIZE,
        steps in proptest::collection::vec((0u8..3, -5000i64..20_000, 0usize..6000), 1..20),
    ) {
        let plain = text(length);
        let whole = sealed(length);
        let mut reader = seek_reader(&whole).expect("opens");
        let mut oracle = Cursor::new(&plain[..]);
        for (from, offset, count) in steps {
            let to = match from {
                0 => SeekFrom::Start(offset.unsigned_abs()),
                1 => SeekFrom::Current(offset),
                _ => SeekFrom::End(offset - 10_000),
            };
            let (mine, its) = (reader.seek(to).ok(), oracle.seek(to).ok());
            prop_assert_eq!(mine, its);
            let (mut mine, mut its) = (Vec::new(), Vec::new());
            (&mut reader).take(count as u64).read_to_end(&mut mine).expect("reads");
            (&mut oracle).take(count as u64).read_to_end(&mut its).expect("reads");
            prop_assert_eq!(mine, its);
        }
    }
}
