//! Tests of streams: the machines, and bytes at hand.

#[cfg(feature = "std")]
mod io;

use std::prelude::v1::*;

use super::*;
use crate::secret::SecretArray;

const SIZE: usize = ChunkSize::MIN.bytes();
const SEALED: usize = SIZE + TAG_LENGTH;

fn key() -> StreamKey {
    StreamKey::from_secret(&SecretArray::from_bytes([7; 32]))
}

fn small_chunks() -> Options {
    Options {
        chunk_size: ChunkSize::MIN,
        ..Options::default()
    }
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// A stream of 4 KiB chunks.
fn sealed(length: usize) -> Vec<u8> {
    seal(&key(), "test", b"data", small_chunks(), &text(length)).expect("sealed")
}

fn refusal(sealed: &[u8]) -> StreamOpenError {
    open(&key(), "test", b"data", sealed).expect_err("refused")
}

/// Where chunk `index` stands.
fn chunk(index: usize) -> core::ops::Range<usize> {
    HEADER_LENGTH + index * SEALED..HEADER_LENGTH + (index + 1) * SEALED
}

#[test]
fn every_length_opens_under_every_cipher_and_backend() {
    let secret = SecretArray::from_bytes([7; 32]);
    for length in [0, 1, SIZE - 1, SIZE, SIZE + 1, 2 * SIZE, 3 * SIZE + 5] {
        for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
            let options = Options {
                cipher,
                ..small_chunks()
            };
            for sealing in Backend::ALL {
                let key = StreamKey::from_secret_on(*sealing, &secret);
                let sealed = seal(&key, "test", b"", options, &text(length)).expect("sealed");
                assert_eq!(
                    Some(sealed.len() as u64),
                    sealed_length(length as u64, ChunkSize::MIN)
                );
                for opening in Backend::ALL {
                    let key = StreamKey::from_secret_on(*opening, &secret);
                    let opened = open(&key, "test", b"", &sealed).expect("opens");
                    assert_eq!(opened.expose(), text(length));
                }
            }
        }
    }
}

// The format by other code: HKDF and HMAC by hand, chunks by the `chacha20poly1305`
// crate.
#[test]
fn a_stream_is_what_its_drawing_says() {
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit, aead::Aead};
    use hmac::Mac;

    let options = Options {
        cipher: Cipher::ChaCha20Poly1305,
        ..small_chunks()
    };
    let text = text(2 * SIZE + 3);
    let sealed = seal(&key(), "test", b"data", options, &text).expect("sealed");
    assert_eq!(sealed[..7], *b"SMST\x01\x02\x0c");

    let derive = |context: &str, info: &[u8]| {
        let mut okm = [0u8; 32];
        let label = [
            b"sealmoot/v1/",
            &[context.len() as u8][..],
            context.as_bytes(),
            info,
        ];
        hkdf::Hkdf::<sha2::Sha256>::new(None, &[7; 32])
            .expand(&label.concat(), &mut okm)
            .expect("32 bytes");
        okm
    };
    let mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&derive("stream commitment", &[]))
        .expect("any length")
        .chain_update(&sealed[..39])
        .chain_update(4u64.to_le_bytes())
        .chain_update(b"testdata");
    assert_eq!(mac.finalize().into_bytes()[..], sealed[39..71]);

    let cipher = ChaCha20Poly1305::new(&derive("stream chunks", &sealed[..71]).into());
    let mut opened = Vec::new();
    for (index, chunk) in sealed[71..].chunks(4096 + 16).enumerate() {
        let mut nonce = [0u8; 12];
        nonce[10] = index as u8;
        nonce[11] = u8::from(index == 2);
        opened.extend(cipher.decrypt(&nonce.into(), chunk).expect("opens"));
    }
    assert_eq!(opened, text);
}

#[test]
fn every_flip_is_refused_for_its_reason() {
    for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
        let options = Options {
            cipher,
            ..Options::default()
        };
        let sealed = seal(&key(), "test", b"data", options, b"a short text").expect("sealed");
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let value = flipped[bit / 8];
            let expected = match bit / 8 {
                0..4 => StreamOpenError::NotAStream,
                4 => StreamOpenError::UnknownVersion(value),
                5 => StreamOpenError::UnknownCipher(value),
                6 if ChunkSize::from_log2(value).is_none() => {
                    StreamOpenError::UnknownChunkSize(value)
                }
                _ => StreamOpenError::Closed,
            };
            assert_eq!(refusal(&flipped), expected, "bit {bit}");
        }
    }
}

#[test]
fn every_truncation_of_a_short_stream_is_refused() {
    let sealed = sealed(12);
    for length in 0..sealed.len() {
        let expected = if length < HEADER_LENGTH + TAG_LENGTH {
            StreamOpenError::Truncated
        } else {
            StreamOpenError::Closed
        };
        assert_eq!(refusal(&sealed[..length]), expected, "{length}");
    }
    assert_eq!(refusal(b"SMS"), StreamOpenError::Truncated);
    assert_eq!(refusal(b"SMX"), StreamOpenError::NotAStream);
}

#[test]
fn truncations_about_every_boundary_of_a_long_stream_are_refused() {
    let sealed = sealed(3 * SIZE);
    for index in 1..=3 {
        for length in chunk(index).start - 20..chunk(index).start + 20 {
            if length >= sealed.len() {
                continue;
            }
            let into = (length - HEADER_LENGTH) % SEALED;
            let expected = if (1..=TAG_LENGTH).contains(&into) {
                StreamOpenError::Truncated
            } else {
                StreamOpenError::Closed
            };
            assert_eq!(refusal(&sealed[..length]), expected, "{length}");
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    for length in [0, 12, SIZE, SIZE + 1, 2 * SIZE] {
        let sealed = sealed(length);
        for added in [1, TAG_LENGTH, TAG_LENGTH + 1, SEALED] {
            let longer = [&sealed[..], &vec![0; added]].concat();
            // Where the last chunk was full, the added bytes are a chunk of their
            // own, but the last chunk does not open as one that is not the last.
            assert_eq!(refusal(&longer), StreamOpenError::Closed);
        }
        let twice = [&sealed[..], &sealed].concat();
        assert_eq!(refusal(&twice), StreamOpenError::Closed);
    }
}

#[test]
fn chunks_moved_doubled_or_dropped_are_refused() {
    let sealed = sealed(4 * SIZE);
    let rebuilt = |order: &[usize]| {
        let chunks = order.iter().flat_map(|index| &sealed[chunk(*index)]);
        let bytes: Vec<u8> = sealed[..HEADER_LENGTH]
            .iter()
            .chain(chunks)
            .copied()
            .collect();
        open(&key(), "test", b"data", &bytes)
    };
    assert!(rebuilt(&[0, 1, 2, 3]).is_ok());
    let wrong: [&[usize]; 9] = [
        &[1, 0, 2, 3],
        &[0, 2, 1, 3],
        &[0, 1, 3, 2],
        &[0, 0, 1, 2, 3],
        &[0, 1, 2, 3, 3],
        &[1, 2, 3],
        &[0, 1, 3],
        &[0, 1, 2],
        &[3],
    ];
    for order in wrong {
        assert_eq!(
            rebuilt(order).expect_err("refused"),
            StreamOpenError::Closed,
            "{order:?}"
        );
    }
}

#[test]
fn two_streams_of_one_key_do_not_mix() {
    let (first, second) = (sealed(3 * SIZE), sealed(3 * SIZE));
    for index in 0..3 {
        let mut spliced = first.clone();
        spliced[chunk(index)].copy_from_slice(&second[chunk(index)]);
        assert_eq!(refusal(&spliced), StreamOpenError::Closed);
    }
    let other_content = [&first[..HEADER_LENGTH], &second[HEADER_LENGTH..]].concat();
    assert_eq!(refusal(&other_content), StreamOpenError::Closed);
    // A salt without its commitment, a commitment without its salt.
    for at in [7..39, 39..71] {
        let mut mixed = first.clone();
        mixed[at.clone()].copy_from_slice(&second[at]);
        assert_eq!(refusal(&mixed), StreamOpenError::Closed);
    }
}

#[test]
fn key_context_and_data_bind() {
    let sealed = seal(&key(), "ab", b"c", Options::default(), b"x").expect("sealed");
    assert!(open(&key(), "ab", b"c", &sealed).is_ok());
    for (context, data) in [("a", &b"bc"[..]), ("abc", b""), ("ab", b"d"), ("", b"abc")] {
        let outcome = open(&key(), context, data, &sealed);
        assert!(matches!(outcome, Err(StreamOpenError::Closed)));
    }
    let other = StreamKey::from_secret(&SecretArray::from_bytes([8; 32]));
    let outcome = open(&other, "ab", b"c", &sealed);
    assert!(matches!(outcome, Err(StreamOpenError::Closed)));
}

#[test]
fn the_flag_of_the_last_chunk_is_authentic() {
    let sealed = sealed(2 * SIZE);
    let header = sealed.first_chunk().expect("long enough");
    let begin = || Opener::new(&key(), "test", b"data", header).expect("begins");
    let (first, last) = (&sealed[chunk(0)], &sealed[chunk(1)]);

    let first_as_last = begin().open_chunk(&mut first.to_vec(), true).map(|_| ());
    assert_eq!(first_as_last, Err(StreamOpenError::Closed));
    let mut opener = begin();
    assert!(opener.open_chunk(&mut first.to_vec(), false).is_ok());
    let last_as_first = opener.open_chunk(&mut last.to_vec(), false).map(|_| ());
    assert_eq!(last_as_first, Err(StreamOpenError::Closed));

    let mut opener = begin();
    assert!(opener.open_chunk(&mut first.to_vec(), false).is_ok());
    assert_eq!(opener.finish(), Err(StreamOpenError::Truncated));
}

#[test]
fn an_extra_empty_last_chunk_is_refused_even_when_it_is_authentic() {
    // Made under the right key: two streams would otherwise say the same.
    let (mut sealer, header) =
        Sealer::new(&key(), "test", b"data", small_chunks()).expect("begins");
    let mut full = text(SIZE);
    let tag = sealer.seal_chunk(&mut full, false).expect("sealed");
    assert_eq!(
        sealer.seal_chunk(&mut [], true),
        Err(StreamSealError::ChunkLength)
    );
    let (cipher, key) = (small_chunks().cipher, key());
    let mut nonce = [0; 12];
    nonce[10..].copy_from_slice(&[1, 1]);
    let empty = key
        .chunk_key(cipher, &header)
        .seal(&nonce, &[], &mut [])
        .expect("short");
    let sealed = [&header[..], &full, &tag, &empty].concat();
    assert_eq!(refusal(&sealed), StreamOpenError::Truncated);
}

#[test]
fn after_one_refusal_all_is_refused_and_nothing_released() {
    let sealed = sealed(3 * SIZE);
    let header = sealed.first_chunk().expect("long enough");
    let mut opener = Opener::new(&key(), "test", b"data", header).expect("begins");
    let mut bad = sealed[chunk(0)].to_vec();
    bad[SIZE] ^= 1;
    let outcome = opener.open_chunk(&mut bad, false).map(|_| ());
    assert_eq!(outcome, Err(StreamOpenError::Closed));
    assert!(bad.iter().all(|byte| *byte == 0));
    let mut good = sealed[chunk(0)].to_vec();
    let outcome = opener.open_chunk(&mut good, false).map(|_| ());
    assert_eq!(outcome, Err(StreamOpenError::Closed));
    assert!(good.iter().all(|byte| *byte == 0));
    assert_eq!(opener.finish(), Err(StreamOpenError::Closed));
}

#[test]
fn chunks_of_a_wrong_length_are_refused() {
    let sealed = sealed(2 * SIZE);
    let header = sealed.first_chunk().expect("long enough");
    let lengths = [
        (0, StreamOpenError::Truncated),
        (TAG_LENGTH - 1, StreamOpenError::Truncated),
        (SEALED - 1, StreamOpenError::Truncated),
        (SEALED + 1, StreamOpenError::Trailing),
    ];
    for (length, expected) in lengths {
        let mut opener = Opener::new(&key(), "test", b"data", header).expect("begins");
        let outcome = opener.open_chunk(&mut vec![0; length], false).map(|_| ());
        assert_eq!(outcome, Err(expected), "{length}");
    }
    let mut opener = Opener::new(&key(), "test", b"data", header).expect("begins");
    for (index, last) in [(0, false), (1, true)] {
        let mut chunk = sealed[chunk(index)].to_vec();
        assert!(opener.open_chunk(&mut chunk, last).is_ok());
    }
    let mut again = sealed[chunk(1)].to_vec();
    let outcome = opener.open_chunk(&mut again, true).map(|_| ());
    assert_eq!(outcome, Err(StreamOpenError::Trailing));
}

#[test]
fn a_sealer_makes_no_stream_that_would_be_refused() {
    let begin = || {
        let (sealer, _) = Sealer::new(&key(), "test", b"", small_chunks()).expect("begins");
        sealer
    };
    for (length, last) in [
        (0, false),
        (SIZE - 1, false),
        (SIZE + 1, false),
        (SIZE + 1, true),
    ] {
        let outcome = begin().seal_chunk(&mut vec![0; length], last);
        assert_eq!(outcome, Err(StreamSealError::ChunkLength), "{length}");
    }
    let mut sealer = begin();
    assert!(sealer.seal_chunk(&mut [], true).is_ok());
    assert_eq!(
        sealer.seal_chunk(&mut [1], true),
        Err(StreamSealError::Ended)
    );
}

#[test]
fn the_counter_ends_and_does_not_wrap() {
    let (mut sealer, header) = Sealer::new(&key(), "test", b"", small_chunks()).expect("begins");
    let mut opener = Opener::new(&key(), "test", b"", &header).expect("begins");
    sealer.skip_to(CHUNKS_MAX - 1);
    opener.skip_to(CHUNKS_MAX - 1);
    let mut chunk = vec![0; SIZE];
    let tag = sealer.seal_chunk(&mut chunk, false).expect("the last one");
    chunk.extend_from_slice(&tag);
    assert!(opener.open_chunk(&mut chunk, false).is_ok());
    let plain = vec![3; SIZE];
    let mut chunk = plain.clone();
    for last in [false, true] {
        let outcome = sealer.seal_chunk(&mut chunk, last);
        assert_eq!(outcome, Err(StreamSealError::TooLong));
        assert_eq!(chunk, plain);
    }
    let outcome = opener.open_chunk(&mut vec![0; SEALED], false).map(|_| ());
    assert_eq!(outcome, Err(StreamOpenError::TooLong));
}

#[test]
fn debug_is_redacted() {
    let (sealer, header) = Sealer::new(&key(), "test", b"", small_chunks()).expect("begins");
    let opener = Opener::new(&key(), "test", b"", &header).expect("begins");
    let shown = format!("{:?} {sealer:?} {opener:?}", key());
    assert_eq!(
        shown,
        "StreamKey(redacted) Sealer(chunk 0, redacted) Opener(chunk 0, redacted)"
    );
}
