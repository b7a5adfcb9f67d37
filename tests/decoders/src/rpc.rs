//! The decoders of `sealmoot-rpc`, by family, whole sessions between two honest
//! sides with an attacker on the wire, and the multiplexers with a hostile peer.

mod frames;
mod identities;
mod multiplexers;
mod names;
mod noise;
mod noise_frames;
mod noise_records;
mod noise_session;
mod program;
mod session;
mod tls;
mod tls_hostile;
mod tls_session;

use crate::{Decoder, Outcome};

/// Every decoder of the crate.
pub(crate) const FAMILIES: &[&[Decoder]] = &[
    frames::ALL,
    identities::ALL,
    multiplexers::ALL,
    names::ALL,
    noise_frames::ALL,
    noise_records::ALL,
    noise_session::ALL,
    tls_hostile::ALL,
    tls_session::ALL,
];

/// `outcome`, of a decoder that authenticates and whose samples are the same in every
/// run: a fuzzer sees panics and no outcomes.
fn genuine(outcome: Outcome, bytes: &[u8], samples: &[Vec<u8>]) -> Outcome {
    let made = || samples.iter().any(|sample| sample == bytes);
    assert!(outcome == Outcome::Refused || made(), "nobody made that");
    outcome
}
