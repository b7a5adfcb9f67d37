//! Tests of sealed files: readers and writers.

use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};
use std::prelude::v1::*;

use super::{CHEAP, Cast, header_length};
use crate::sealed_file::*;
use crate::stream::{ChunkSize, Options, StreamOpenError};

fn small_chunks() -> Options {
    Options {
        chunk_size: ChunkSize::MIN,
        ..Options::default()
    }
}

fn text() -> Vec<u8> {
    (0..10_000u32).map(|at| at as u8).collect()
}

#[test]
fn every_way_of_sealing_opens_in_every_way() {
    let cast = Cast::new();
    let recipients = Recipients::new()
        .keyset(&cast.keyset)
        .options(small_chunks());
    let (opener, text) = (Opener::keyset(&cast.keyset), text());

    let at_once = seal(&recipients, "test", &text).expect("sealed");
    let mut copied = Vec::new();
    let input = (&text[..], Some(10_000));
    let mut steps = Vec::new();
    let note = |progress: stream::Progress| steps.push(progress.bytes_done);
    seal_stream(&recipients, "test", input, &mut copied, note).expect("sealed");
    assert_eq!(steps, [4096, 8192, 10_000]);
    let mut writer = seal_writer(&recipients, "test", Vec::new()).expect("begins");
    writer.write_all(&text).expect("written");
    let written = writer.finish().expect("finished");

    for sealed in [at_once, copied, written] {
        let opened = open(&opener, "test", &sealed).expect("opens");
        assert_eq!(opened.expose(), text);
        let mut out = Vec::new();
        open_stream(&opener, "test", (&sealed[..], None), &mut out, |_| {}).expect("opens");
        assert_eq!(out, text);
        let mut out = Vec::new();
        let mut reader = open_reader(&opener, "test", &sealed[..]).expect("opens");
        reader.read_to_end(&mut out).expect("reads");
        assert_eq!(out, text);
        let mut out = Vec::new();
        let mut reader = open_seekable(&opener, "test", Cursor::new(&sealed)).expect("opens");
        reader.seek(SeekFrom::Start(9_000)).expect("within");
        reader.read_to_end(&mut out).expect("reads");
        assert_eq!(out, text[9_000..]);
    }
}

#[test]
fn readers_refuse_what_bytes_at_hand_refuse() {
    let cast = Cast::new();
    let recipients = Recipients::new()
        .keyset(&cast.keyset)
        .options(small_chunks());
    let opener = Opener::keyset(&cast.keyset);
    let sealed = seal(&recipients, "test", b"text").expect("sealed");
    let header = header_length(&sealed);
    let kind = |outcome: Result<(), FileOpenError>| format!("{:?}", outcome.expect_err("refused"));
    let mut samples: Vec<Vec<u8>> = (0..sealed.len()).map(|n| sealed[..n].to_vec()).collect();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        samples.push(changed);
    }
    samples.push([&sealed[..], &[0]].concat());
    for sample in samples {
        let expected = kind(open(&opener, "test", &sample).map(|_| ()));
        let input = (&sample[..], None);
        let copied = open_stream(&opener, "test", input, io::sink(), |_| {}).map(|_| ());
        assert_eq!(kind(copied), expected);
        let seekable = open_seekable(&opener, "test", Cursor::new(&sample)).map(|_| ());
        assert_eq!(kind(seekable), expected);
        // What stands in the header shows at once, the rest when it is read.
        match open_reader(&opener, "test", &sample[..]) {
            Err(error) => assert_eq!(kind(Err(error)), expected),
            Ok(mut reader) => {
                assert!(sample.len() > header);
                let error = reader.read(&mut [0; 9]).expect_err("refused");
                assert_eq!(error.kind(), ErrorKind::InvalidData);
            }
        }
    }
}

#[test]
fn an_unfinished_file_does_not_open() {
    let cast = Cast::new();
    let recipients = Recipients::new().keyset(&cast.keyset);
    let mut sealed = Vec::new();
    let mut writer = seal_writer(&recipients, "test", &mut sealed).expect("begins");
    writer.write_all(b"text").expect("written");
    drop(writer);
    assert!(matches!(
        open(&Opener::keyset(&cast.keyset), "test", &sealed),
        Err(FileOpenError::Stream(StreamOpenError::Truncated))
    ));
}

#[test]
fn errors_of_readers_and_writers_keep_their_source() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is on fire"))
        }
    }
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is full"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let recipients = Recipients::new().passphrase(b"hip roast", CHEAP);
    let opener = Opener::passphrase(b"hip roast");
    let errors = [
        open_reader(&opener, "test", Broken).expect_err("fails"),
        open_stream(&opener, "test", (Broken, None), io::sink(), |_| {}).expect_err("fails"),
    ];
    for error in errors {
        assert_eq!(error.to_string(), "the disk is on fire");
    }
    let sealed = seal(&recipients, "test", b"text").expect("sealed");
    let error =
        open_stream(&opener, "test", (&sealed[..], None), Broken, |_| {}).expect_err("fails");
    assert!(matches!(error, FileOpenError::Io(_)));
    assert_eq!(error.to_string(), "the disk is full");
    let error =
        seal_stream(&recipients, "test", (Broken, None), io::sink(), |_| {}).expect_err("fails");
    assert_eq!(error.to_string(), "the disk is on fire");
    let error = seal_writer(&recipients, "test", Broken).expect_err("fails");
    assert_eq!(error.to_string(), "the disk is full");
}
