//! Records with a counter for a nonce, one key a connection or file, against the
//! bare cipher; and records that draw their nonce.

use std::hint::black_box;
use std::time::Instant;

use sealmoot_crypto::aead::{NONCE_LENGTH, RecordKey};
use sealmoot_crypto::backend::Backend;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::stream::{self, ChunkSize, Opener, Options, Sealer, StreamKey};

use crate::measure::{Effort, SIZES, Subject, data, in_turns};
use crate::raw::{ASSOCIATED_DATA, Cipher, copies, opening, operations};
use crate::sealing::{name, raw_open, raw_seal};
use crate::table::{Goal, Table};

/// At every size. Held by what has one key and counts.
pub const GOAL: Goal = Goal::new(1.15, 1.05);

/// Every size and backend.
pub fn compare(table: &mut Table, effort: Effort) {
    table.heading("channel record and storage block, against the bare cipher in place");
    table.skipped(
        "chunk 1 KiB",
        "a stream's chunks begin at 4 KiB, which is measured",
    );
    for (size_name, size) in [("4 KiB", 1 << 12), SIZES[1], SIZES[2]] {
        for backend in Backend::ALL {
            let secret = SecretArray::from_slice(&data(32)).expect("32 bytes");
            let key = StreamKey::from_secret_on(*backend, &secret);
            for (cipher, of_stream) in [
                (Cipher::Aes256Gcm, stream::Cipher::Aes256Gcm),
                (Cipher::ChaCha20Poly1305, stream::Cipher::ChaCha20Poly1305),
            ] {
                let options = Options {
                    chunk_size: ChunkSize::from_log2(size.trailing_zeros() as u8)
                        .expect("a power of two within the bounds"),
                    cipher: of_stream,
                };
                let seal = vec![
                    raw_seal(*backend, cipher, size, b""),
                    seal_chunk(&key, options, size),
                ];
                let open = vec![
                    raw_open(*backend, cipher, size, b""),
                    open_chunk(&key, options, size),
                ];
                for (verb, mut subjects) in [("seal", seal), ("open", open)] {
                    let samples = in_turns(effort, &mut subjects);
                    let row = format!("chunk {verb} {size_name}, {} {cipher:?}", name(*backend));
                    table.row(&row, GOAL, &samples[1], &samples[0]);
                }
            }
        }
    }
    table.heading("XAES-256-GCM record, a key derived for each (information)");
    for (size_name, size) in SIZES {
        for backend in Backend::ALL {
            let secret = SecretArray::from_slice(&data(32)).expect("32 bytes");
            let key = RecordKey::from_secret_on(*backend, &secret);
            let seal = vec![
                raw_seal(*backend, Cipher::Aes256Gcm, size, ASSOCIATED_DATA),
                seal_in_place(&key, size),
            ];
            let open = vec![
                raw_open(*backend, Cipher::Aes256Gcm, size, ASSOCIATED_DATA),
                open_in_place(&key, size),
            ];
            for (verb, mut subjects) in [("seal", seal), ("open", open)] {
                let samples = in_turns(effort, &mut subjects);
                let row = format!("{verb} {size_name}, raw {}", name(*backend));
                table.row(&row, Goal::NONE, &samples[1], &samples[0]);
            }
        }
    }
}

fn seal_chunk(key: &StreamKey, options: Options, size: usize) -> Subject<'static> {
    let (mut sealer, _) = Sealer::new(key, "measured", b"", options).expect("randomness");
    let mut chunk = data(size);
    Subject::plain(operations(size), move || {
        black_box(sealer.seal_chunk(&mut chunk, false).expect("sealed"));
    })
}

fn open_chunk(key: &StreamKey, options: Options, size: usize) -> Subject<'_> {
    let (mut sealer, header) = Sealer::new(key, "measured", b"", options).expect("randomness");
    let sealed: Vec<Vec<u8>> = (0..copies(size))
        .map(|_| {
            let mut chunk = data(size);
            let tag = sealer.seal_chunk(&mut chunk, false).expect("sealed");
            chunk.extend_from_slice(&tag);
            chunk
        })
        .collect();
    let mut chunks = sealed.clone();
    Subject::prepared(operations(size), move || {
        let mut opener = Opener::new(key, "measured", b"", &header).expect("its header");
        for (chunk, sealed) in chunks.iter_mut().zip(&sealed) {
            chunk.copy_from_slice(sealed);
        }
        let started = Instant::now();
        for chunk in &mut chunks {
            black_box(opener.open_chunk(chunk, false).expect("it opens"));
        }
        started.elapsed()
    })
}

fn seal_in_place(key: &RecordKey, size: usize) -> Subject<'_> {
    let length = NONCE_LENGTH + size;
    let mut buffer = data(length);
    Subject::plain(operations(size), move || {
        buffer.truncate(length);
        key.seal_in_place(ASSOCIATED_DATA, &mut buffer, 0)
            .expect("sealed");
        black_box(&buffer);
    })
}

fn open_in_place(key: &RecordKey, size: usize) -> Subject<'_> {
    let sealed = key.seal(ASSOCIATED_DATA, &data(size)).expect("sealed");
    opening(sealed, size, move |record| {
        black_box(key.open(ASSOCIATED_DATA, record).expect("it opens"));
    })
}
