//! Keysets against the bare cipher with its key at hand.

use std::hint::black_box;

use sealmoot_crypto::backend::Backend;
use sealmoot_crypto::keyset::{Algorithm, Keyset};

use crate::measure::{Effort, SIZES, Subject, data, in_turns};
#[cfg(feature = "aws-lc")]
use crate::raw;
use crate::raw::{ASSOCIATED_DATA, Cipher, by_ring, by_rustcrypto, opening, operations};
use crate::table::{Goal, Table};

/// At 1 KiB, 16 KiB, 1 MiB.
const GOALS: [Goal; 3] = [
    Goal::new(4.5, 2.5),
    Goal::new(1.5, 1.15),
    Goal::new(1.05, 1.02),
];
const CONTEXT: &str = "row";

/// Every size, algorithm and backend.
///
/// # Panics
/// When the operating system has no randomness.
pub fn compare(table: &mut Table, effort: Effort) {
    for (cipher, algorithm, title) in [
        (
            Cipher::Aes256Gcm,
            Algorithm::Xaes256Gcm,
            "XAES-256-GCM keyset",
        ),
        (
            Cipher::ChaCha20Poly1305,
            Algorithm::XChaCha20Poly1305,
            "XChaCha20-Poly1305 keyset",
        ),
    ] {
        table.heading(&format!("{title}, against the bare cipher in place"));
        for ((size_name, size), goal) in SIZES.into_iter().zip(GOALS) {
            for backend in Backend::ALL {
                let keyset = Keyset::generate_with(algorithm)
                    .expect("randomness")
                    .on(*backend);
                let seal = vec![
                    raw_seal(*backend, cipher, size, ASSOCIATED_DATA),
                    seal(&keyset, size),
                    seal_in_place(&keyset, size),
                ];
                let open = vec![
                    raw_open(*backend, cipher, size, ASSOCIATED_DATA),
                    open(&keyset, size),
                    open_in_place(&keyset, size),
                ];
                for (verb, mut subjects) in [("seal", seal), ("open", open)] {
                    let samples = in_turns(effort, &mut subjects);
                    let name = name(*backend);
                    for (row, ours) in [
                        format!("{verb} {size_name}"),
                        format!("{verb}_in_place {size_name}"),
                    ]
                    .iter()
                    .zip(&samples[1..])
                    {
                        table.row(&format!("{row}, raw {name}"), goal, ours, &samples[0]);
                    }
                }
            }
        }
    }
    portable(table, effort);
}

/// The keyset of the cipher that needs no instructions, and ring's own, against
/// the crate `chacha20poly1305`.
fn portable(table: &mut Table, effort: Effort) {
    table.heading("ChaCha20 against the crate chacha20poly1305 in place (information)");
    for (size_name, size) in SIZES {
        let keyset = Keyset::generate_with(Algorithm::XChaCha20Poly1305).expect("randomness");
        let seal = vec![
            by_rustcrypto::seal_extended(size),
            by_rustcrypto::seal(size),
            by_ring::seal(Cipher::ChaCha20Poly1305, size, ASSOCIATED_DATA),
            seal_in_place(&keyset, size),
        ];
        let open = vec![
            by_rustcrypto::open_extended(size),
            by_rustcrypto::open(size),
            by_ring::open(Cipher::ChaCha20Poly1305, size, ASSOCIATED_DATA),
            open_in_place(&keyset, size),
        ];
        for (verb, mut subjects) in [("seal", seal), ("open", open)] {
            let samples = in_turns(effort, &mut subjects);
            let row = format!("keyset {verb} {size_name}, its XChaCha20");
            table.row(&row, Goal::NONE, &samples[3], &samples[0]);
            let row = format!("raw ring {verb} {size_name}, its ChaCha20");
            table.row(&row, Goal::NONE, &samples[2], &samples[1]);
        }
    }
}

/// The backend's name in a row.
#[must_use]
pub fn name(backend: Backend) -> &'static str {
    match backend {
        Backend::Ring => "ring",
        _ => "aws-lc",
    }
}

/// The bare cipher of the library that `backend` stands for.
#[must_use]
pub fn raw_seal(
    backend: Backend,
    cipher: Cipher,
    size: usize,
    associated_data: &'static [u8],
) -> Subject<'static> {
    match backend {
        #[cfg(feature = "aws-lc")]
        Backend::AwsLc => raw::by_aws_lc::seal(cipher, size, associated_data),
        _ => by_ring::seal(cipher, size, associated_data),
    }
}

/// As [`raw_seal`].
#[must_use]
pub fn raw_open(
    backend: Backend,
    cipher: Cipher,
    size: usize,
    associated_data: &'static [u8],
) -> Subject<'static> {
    match backend {
        #[cfg(feature = "aws-lc")]
        Backend::AwsLc => raw::by_aws_lc::open(cipher, size, associated_data),
        _ => by_ring::open(cipher, size, associated_data),
    }
}

fn seal(keyset: &Keyset, size: usize) -> Subject<'_> {
    let text = data(size);
    Subject::plain(operations(size), move || {
        let sealed = keyset.seal(CONTEXT, ASSOCIATED_DATA, &text);
        black_box(sealed.expect("sealed"));
    })
}

fn seal_in_place(keyset: &Keyset, size: usize) -> Subject<'_> {
    let length = Keyset::HEADER_LENGTH + size;
    let mut buffer = data(length);
    Subject::plain(operations(size), move || {
        buffer.truncate(length);
        keyset
            .seal_in_place(CONTEXT, ASSOCIATED_DATA, &mut buffer, 0)
            .expect("sealed");
        black_box(&buffer);
    })
}

fn open(keyset: &Keyset, size: usize) -> Subject<'_> {
    let sealed = keyset
        .seal(CONTEXT, ASSOCIATED_DATA, &data(size))
        .expect("sealed");
    Subject::plain(operations(size), move || {
        let text = keyset.open(CONTEXT, ASSOCIATED_DATA, &sealed);
        black_box(text.expect("it opens"));
    })
}

fn open_in_place(keyset: &Keyset, size: usize) -> Subject<'_> {
    let sealed = keyset
        .seal(CONTEXT, ASSOCIATED_DATA, &data(size))
        .expect("sealed");
    opening(sealed, size, move |sealed| {
        let text = keyset.open_in_place(CONTEXT, ASSOCIATED_DATA, sealed);
        black_box(text.expect("it opens"));
    })
}
