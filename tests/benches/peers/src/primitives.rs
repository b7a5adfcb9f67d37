//! Hashes, signatures and agreement against the bare libraries: to be known, not
//! to be met.

use std::hint::black_box;

use sealmoot_crypto::agreement::AgreementKey;
use sealmoot_crypto::backend::Backend;
use sealmoot_crypto::digest::{self, MacKey};
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;

use crate::measure::{Effort, SIZES, Subject, data, in_turns};
use crate::raw::operations;
use crate::sealing::name;
use crate::table::{Goal, Table};

/// The domain of the measured signatures; raw ones sign as many bytes more.
const DOMAIN: &str = "measured";
const MESSAGE_LENGTH: usize = 256;

/// The one call that differs between the two.
macro_rules! agree_by_ring {
    ($key:ident, $peer:ident) => {
        ring::agreement::agree_ephemeral($key, &$peer, |shared| {
            black_box(shared);
        })
        .expect("it contributes")
    };
}

#[cfg(feature = "aws-lc")]
macro_rules! agree_by_aws_lc {
    ($key:ident, $peer:ident) => {
        aws_lc_rs::agreement::agree_ephemeral($key, &$peer, (), |shared| {
            black_box(shared);
            Ok(())
        })
        .expect("it contributes")
    };
}

/// ring and aws-lc-rs offer the same names.
macro_rules! backend {
    ($name:ident, $library:ident, $agree:ident) => {
        mod $name {
            use $library::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519};
            use $library::rand::SystemRandom;
            use $library::signature::{ED25519, Ed25519KeyPair, KeyPair};
            use $library::{digest, hmac};

            use super::*;

            pub(super) fn sha256(size: usize) -> Subject<'static> {
                let bytes = data(size);
                Subject::plain(operations(size), move || {
                    black_box(digest::digest(&digest::SHA256, &bytes));
                })
            }

            pub(super) fn mac(size: usize) -> Subject<'static> {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &data(32));
                let bytes = data(size);
                Subject::plain(operations(size), move || {
                    black_box(hmac::sign(&key, &bytes));
                })
            }

            pub(super) fn sign(length: usize) -> Subject<'static> {
                let pair = pair();
                let bytes = data(length);
                Subject::plain(1, move || {
                    black_box(pair.sign(&bytes));
                })
            }

            pub(super) fn verify(length: usize) -> Subject<'static> {
                let pair = pair();
                let bytes = data(length);
                let signature = pair.sign(&bytes);
                let key = $library::signature::UnparsedPublicKey::new(
                    &ED25519,
                    pair.public_key().as_ref().to_vec(),
                );
                Subject::plain(1, move || {
                    key.verify(&bytes, signature.as_ref()).expect("it verifies");
                })
            }

            pub(super) fn agree() -> Subject<'static> {
                let random = SystemRandom::new();
                let peer = EphemeralPrivateKey::generate(&X25519, &random).expect("randomness");
                let peer = peer.compute_public_key().expect("a public key");
                let peer = UnparsedPublicKey::new(&X25519, peer.as_ref().to_vec());
                Subject::plain(1, move || {
                    let key = EphemeralPrivateKey::generate(&X25519, &random).expect("randomness");
                    black_box(key.compute_public_key().expect("a public key"));
                    $agree!(key, peer);
                })
            }

            fn pair() -> Ed25519KeyPair {
                Ed25519KeyPair::from_seed_unchecked(&data(32)).expect("32 bytes are a seed")
            }
        }
    };
}

backend!(by_ring, ring, agree_by_ring);
#[cfg(feature = "aws-lc")]
backend!(by_aws_lc, aws_lc_rs, agree_by_aws_lc);

/// Every primitive.
///
/// # Panics
/// When the operating system has no randomness.
pub fn compare(table: &mut Table, effort: Effort) {
    table.heading("primitives, against the bare libraries (information)");
    for (size_name, size) in SIZES {
        against_libraries(
            table,
            effort,
            &format!("SHA-256 {size_name}"),
            ours_sha256(size),
            &|library| bare(library, Primitive::Sha256, size),
        );
    }
    for (size_name, size) in SIZES {
        for backend in Backend::ALL {
            against_libraries(
                table,
                effort,
                &format!("HMAC on {} {size_name}", name(*backend)),
                ours_mac(*backend, size),
                &|library| bare(library, Primitive::Mac, size),
            );
        }
    }
    let size = 64 * 1024;
    let bytes = data(size);
    let blake3 = Subject::plain(1, || {
        black_box(blake3::hash(&bytes));
    });
    against_libraries(
        table,
        effort,
        "crate blake3 64 KiB, SHA-256 of",
        blake3,
        &|library| bare(library, Primitive::Sha256, size),
    );
    let signing = signing_key();
    let message = data(MESSAGE_LENGTH);
    let sign = Subject::plain(1, || {
        black_box(signing.sign(DOMAIN, &message));
    });
    // What is signed of a message in a domain is that much longer.
    let framed = MESSAGE_LENGTH + 21 + 1 + DOMAIN.len();
    against_libraries(table, effort, "Ed25519 sign 256 B", sign, &|library| {
        bare(library, Primitive::Sign, framed)
    });
    let signature = signing.sign(DOMAIN, &message);
    let public = signing.verifying_key();
    let verify = Subject::plain(1, || {
        public
            .verify(DOMAIN, &message, &signature)
            .expect("it verifies");
    });
    against_libraries(
        table,
        effort,
        "Ed25519 verify 256 B, strictly",
        verify,
        &|library| bare(library, Primitive::Verify, framed),
    );
    let peer = AgreementKey::generate().expect("randomness").public();
    let agree = Subject::plain(1, || {
        let key = AgreementKey::generate().expect("randomness");
        black_box(key.public());
        black_box(key.agree(&peer).expect("it contributes"));
    });
    against_libraries(
        table,
        effort,
        "X25519 new key and agreement",
        agree,
        &|library| bare(library, Primitive::Agree, 0),
    );
}

#[derive(Clone, Copy)]
enum Primitive {
    Sha256,
    Mac,
    Sign,
    Verify,
    Agree,
}

fn bare(library: Backend, primitive: Primitive, size: usize) -> Subject<'static> {
    match library {
        #[cfg(feature = "aws-lc")]
        Backend::AwsLc => match primitive {
            Primitive::Sha256 => by_aws_lc::sha256(size),
            Primitive::Mac => by_aws_lc::mac(size),
            Primitive::Sign => by_aws_lc::sign(size),
            Primitive::Verify => by_aws_lc::verify(size),
            Primitive::Agree => by_aws_lc::agree(),
        },
        _ => match primitive {
            Primitive::Sha256 => by_ring::sha256(size),
            Primitive::Mac => by_ring::mac(size),
            Primitive::Sign => by_ring::sign(size),
            Primitive::Verify => by_ring::verify(size),
            Primitive::Agree => by_ring::agree(),
        },
    }
}

fn against_libraries(
    table: &mut Table,
    effort: Effort,
    what: &str,
    ours: Subject<'_>,
    bare: &dyn Fn(Backend) -> Subject<'static>,
) {
    let mut subjects = vec![ours];
    subjects.extend(Backend::ALL.iter().map(|library| bare(*library)));
    let samples = in_turns(effort, &mut subjects);
    for (library, peer) in Backend::ALL.iter().zip(&samples[1..]) {
        let row = format!("{what}, raw {}", name(*library));
        table.row(&row, Goal::NONE, &samples[0], peer);
    }
}

fn ours_sha256(size: usize) -> Subject<'static> {
    let bytes = data(size);
    Subject::plain(operations(size), move || {
        black_box(digest::sha256(&bytes));
    })
}

fn ours_mac(backend: Backend, size: usize) -> Subject<'static> {
    let key = MacKey::from_secret_on(backend, &secret());
    let bytes = data(size);
    Subject::plain(operations(size), move || {
        black_box(key.tag(&[&bytes]));
    })
}

fn signing_key() -> SigningKey {
    SigningKey::from_seed(&secret())
}

fn secret() -> SecretArray<32> {
    SecretArray::from_slice(&data(32)).expect("32 bytes")
}
