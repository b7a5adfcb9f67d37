//! The bytes of a log: frames, each with one signed record.
//!
//! The signature protects what a record says. The checksum tells a whole record
//! from a torn or damaged one without knowing whose word counts, and the marker
//! finds the next frame behind damage. Drawn in `rpc/names/DESIGN.md`.

use sealmoot_rpc::limits::binding::RECORD_BYTES_MAX;
use sha2::{Digest, Sha256};

/// Begins each frame, and says which version of the format it has.
const MARKER: [u8; 4] = *b"SMN1";

const CHECKSUM_BYTES: usize = 8;

/// Bytes of a frame before its record.
pub const HEADER_BYTES: usize = MARKER.len() + 4 + 4 + CHECKSUM_BYTES;

/// A stretch of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stretch<'a> {
    /// A whole frame.
    Record {
        /// Where the frame begins.
        offset: usize,
        /// The signed record, as it was written.
        bytes: &'a [u8],
    },
    /// No frame begins here, nor before the next stretch.
    Damaged {
        /// Where it begins.
        offset: usize,
        /// How long it is.
        length: usize,
    },
    /// The beginning of a frame, up to the end of the log, with no whole frame in
    /// it: a write that did not come to its end, and so was never acknowledged.
    Torn {
        /// Where it begins.
        offset: usize,
        /// How long it is.
        length: usize,
    },
}

/// Appends a frame.
///
/// # Panics
///
/// If the record is longer than any is.
pub fn write(record: &[u8], log: &mut Vec<u8>) {
    assert!(record.len() <= RECORD_BYTES_MAX, "records are bounded");
    let length = u32::try_from(record.len()).expect("records are short");
    log.extend_from_slice(&MARKER);
    log.extend_from_slice(&length.to_le_bytes());
    log.extend_from_slice(&(!length).to_le_bytes());
    log.extend_from_slice(&checksum(record));
    log.extend_from_slice(record);
}

/// Takes a log apart, to its last byte.
#[must_use]
pub fn read(log: &[u8]) -> Vec<Stretch<'_>> {
    let mut stretches = Vec::new();
    let mut offset = 0;
    while offset < log.len() {
        let rest = &log[offset..];
        let (stretch, length) = match first(rest) {
            First::Whole(bytes) => (
                Stretch::Record { offset, bytes },
                HEADER_BYTES + bytes.len(),
            ),
            first => {
                let next = next_frame(rest);
                let length = next.unwrap_or(rest.len());
                let stretch = match first {
                    First::Cut if next.is_none() => Stretch::Torn { offset, length },
                    // Behind a write that was torn nothing was written: where a
                    // whole frame follows, a length was damaged or bytes are gone.
                    _ => Stretch::Damaged { offset, length },
                };
                (stretch, length)
            }
        };
        stretches.push(stretch);
        offset += length;
    }
    stretches
}

/// What a log begins with.
enum First<'a> {
    Whole(&'a [u8]),
    /// A frame whose end is missing.
    Cut,
    None,
}

fn first(log: &[u8]) -> First<'_> {
    let Some((header, rest)) = log.split_first_chunk::<HEADER_BYTES>() else {
        // Too short to tell more. Some file systems lengthen a file before they
        // fill it, hence the zeros.
        let is_cut = log.iter().zip(&MARKER).all(|(byte, wanted)| byte == wanted);
        return if is_cut || is_zero(log) {
            First::Cut
        } else {
            First::None
        };
    };
    let [
        m0,
        m1,
        m2,
        m3,
        l0,
        l1,
        l2,
        l3,
        i0,
        i1,
        i2,
        i3,
        checksum @ ..,
    ] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let inverted = u32::from_le_bytes([i0, i1, i2, i3]);
    // The length is there twice, so that a flipped bit in it is not taken for a
    // frame whose end is missing.
    if [m0, m1, m2, m3] != MARKER || inverted != !length {
        return if is_zero(log) {
            First::Cut
        } else {
            First::None
        };
    }
    let length = length as usize;
    if length > RECORD_BYTES_MAX {
        return First::None;
    }
    match rest.get(..length) {
        None => First::Cut,
        Some(record) if self::checksum(record) == checksum => First::Whole(record),
        Some(_) if is_zero(rest) => First::Cut,
        Some(_) => First::None,
    }
}

/// Where the first whole frame begins behind the beginning of this.
fn next_frame(log: &[u8]) -> Option<usize> {
    let begins = |offset: &usize| matches!(first(&log[*offset..]), First::Whole(_));
    let mut markers = (1..log.len()).filter(|offset| log[*offset..].starts_with(&MARKER));
    markers.find(begins)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// The first bytes of SHA-256 (FIPS 180-4).
fn checksum(record: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest: [u8; 32] = Sha256::digest(record).into();
    *digest.first_chunk().expect("a digest is longer")
}
