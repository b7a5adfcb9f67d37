//! The decoders of `sealmoot-rpc` and its name service, by family, whole sessions
//! between two honest sides with an attacker on the wire, and multiplexers, tables
//! and name service with a hostile peer.

mod details;
mod frames;
mod identities;
mod multiplexers;
mod name_log;
mod name_requests;
mod names;
mod noise;
mod noise_frames;
mod noise_records;
mod noise_session;
mod once_table;
mod program;
mod served;
mod session;
mod strict;
mod tls;
mod tls_hostile;
mod tls_session;
mod trace;

use crate::{Decoder, Outcome};

/// Every decoder of the crate.
pub(crate) const FAMILIES: &[&[Decoder]] = &[
    details::ALL,
    frames::ALL,
    identities::ALL,
    multiplexers::ALL,
    name_log::ALL,
    name_requests::ALL,
    names::ALL,
    noise_frames::ALL,
    noise_records::ALL,
    noise_session::ALL,
    once_table::ALL,
    served::ALL,
    strict::ALL,
    tls_hostile::ALL,
    tls_session::ALL,
    trace::ALL,
];

/// `outcome`, of a decoder that authenticates and whose samples are the same in every
/// run: a fuzzer sees panics and no outcomes.
fn genuine(outcome: Outcome, bytes: &[u8], samples: &[Vec<u8>]) -> Outcome {
    let made = || samples.iter().any(|sample| sample == bytes);
    assert!(outcome == Outcome::Refused || made(), "nobody made that");
    outcome
}
