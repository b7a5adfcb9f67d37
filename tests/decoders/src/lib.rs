//! What must hold of every decoder, for whatever bytes.
//!
//! A decoder here is anything that takes bytes from outside. Each has samples that
//! it accepts and one check: it never panics, never asks for more memory than its
//! limits, and when it accepts, what it read encodes to the same bytes again (of text
//! formats, which allow several forms: to the same value). Of a decoder that
//! authenticates, nothing but what was sealed is accepted.
//!
//! Whole sessions are decoders too: their bytes are a program that an attacker on the
//! wire runs between two honest sides, and accepted is a program after which both
//! have heard all that the other said, to its close.
//!
//! `tests/every_decoder.rs` runs the checks on samples flipped, cut and spliced, on
//! stable Rust; `tests/fuzz` hands the same checks to a coverage-guided fuzzer.
//!
//! ```
//! for decoder in sealmoot_decoders::all() {
//!     for sample in (decoder.samples)() {
//!         assert_eq!((decoder.check)(&sample), sealmoot_decoders::Outcome::Accepted);
//!     }
//! }
//! ```

mod authn;
mod crypto;
mod kv;
mod rpc;

/// What a decoder made of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// They are a value, and encode to themselves.
    Accepted,
    /// They are not.
    Refused,
}

impl Outcome {
    fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() {
            Self::Accepted
        } else {
            Self::Refused
        }
    }
}

/// One decoder under test.
pub struct Decoder {
    /// Its name, for `tests/fuzz/run` too.
    pub name: &'static str,
    /// Whether it takes only what a key holder made: any changed sample is refused.
    pub authenticates: bool,
    /// Encodings that it accepts, made with fixed keys.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// Decodes, and asserts what must hold.
    pub check: fn(&[u8]) -> Outcome,
}

/// Every decoder.
pub fn all() -> impl Iterator<Item = &'static Decoder> {
    crypto::FAMILIES
        .iter()
        .chain(rpc::FAMILIES)
        .chain(authn::FAMILIES)
        .chain(kv::FAMILIES)
        .copied()
        .flatten()
}

/// The decoder of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn named(name: &str) -> &'static Decoder {
    all()
        .find(|decoder| decoder.name == name)
        .expect("a decoder of this name")
}
