//! What is refused, and as what: malformed and misused inputs of every format, each
//! named after its fault and built from a good sample that is accepted beside it.
//!
//! A case fails when the input is accepted, and when it is refused as something else.

#![cfg(feature = "std")]

mod kit;

mod breached;
mod der;
mod encoding;
mod hash_chain;
mod kem;
mod keyset;
mod merkle;
mod openssh;
mod passphrase_box;
mod password;
mod pem;
mod pepper;
mod public_keys;
mod raw;
mod rsa;
mod sealed_box;
mod sealed_file;
mod stream;

/// Fewer than these, and a family has been lost.
const CASES_MIN: usize = 1200;

const FAMILIES: [fn() -> usize; 18] = [
    breached::family,
    der::family,
    encoding::family,
    hash_chain::family,
    kem::family,
    keyset::family,
    merkle::family,
    openssh::family,
    passphrase_box::family,
    password::family,
    pem::family,
    pepper::family,
    public_keys::family,
    raw::family,
    rsa::family,
    sealed_box::family,
    sealed_file::family,
    stream::family,
];

#[test]
fn there_are_at_least_so_many_named_cases() {
    let cases: usize = FAMILIES.iter().map(|family| family()).sum();
    assert!(cases >= CASES_MIN, "{cases} cases");
    println!("refusals: in all: {cases} named cases");
}
