//! Where bytes lie: sizes, file names, and the plain head of a group.
//!
//! `kv/DESIGN.md` draws the format byte by byte.

use sealmoot_crypto::aead::RecordKey;

use crate::disk::SECTOR_BYTES;

use super::key::LogKey;

/// Largest group, in bytes on disk. At most one group is ever unsynced, so this
/// also bounds what an interrupted write can leave behind.
pub const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Smallest segment, in bytes: header, one sector of records, closing group, and
/// one to spare.
pub const SEGMENT_BYTES_MIN: u64 = 4 * SECTOR_BYTES as u64;

/// Largest segment, in bytes; recovery holds one segment in memory.
pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Highest number of a segment: eight decimal digits.
pub const SEGMENT_NUMBER_MAX: u32 = 99_999_999;

/// What all names of segments begin with; no other file's name may.
pub const SEGMENT_PREFIX: &str = "log-";

/// The file that is being made ready to become the next segment. It never holds
/// anything that was acknowledged.
pub const SPARE_NAME: &str = "spare-segment";

/// Format and version, the first four bytes of every group.
pub(super) const MAGIC: [u8; 4] = *b"SML1";

/// Plain bytes before the nonce: magic, length, check.
pub(super) const HEAD_BYTES: usize = 16;

/// What a group adds to its plaintext.
pub(super) const GROUP_OVERHEAD: usize = HEAD_BYTES + RecordKey::OVERHEAD;

/// Where a group stands; part of everything that authenticates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u64,
}

/// The name of a segment's file.
pub(super) fn segment_name(number: u32) -> String {
    format!("{SEGMENT_PREFIX}{number:08}")
}

/// The number in a segment's name, or `None` when no segment has this name.
pub(super) fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(SEGMENT_PREFIX)?;
    let number = digits.parse().ok()?;
    // Only the one spelling that `segment_name` produces.
    ((1..=SEGMENT_NUMBER_MAX).contains(&number) && segment_name(number) == name).then_some(number)
}

/// The head of a group of `length` bytes.
///
/// Its check makes the length trustworthy before the group is: a length that rot
/// had enlarged would reach into the zeros behind the group and make an
/// acknowledged group look like an unfinished one.
pub(super) fn head(key: &LogKey, place: Place, length: u32) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&MAGIC);
    head[4..8].copy_from_slice(&length.to_le_bytes());
    let check = key.head_check(place, length);
    head[8..].copy_from_slice(&check);
    head
}

/// The length of the group whose head this sector begins with, or `None` when
/// no group of this log starts at this place.
pub(super) fn parse_head(key: &LogKey, place: Place, sector: &[u8]) -> Option<usize> {
    let found = sector.get(..HEAD_BYTES)?;
    if found[..4] != MAGIC {
        return None;
    }
    let length = u32::from_le_bytes([found[4], found[5], found[6], found[7]]);
    let bytes = usize::try_from(length).ok()?;
    let valid = (SECTOR_BYTES..=GROUP_BYTES_MAX).contains(&bytes)
        && bytes.is_multiple_of(SECTOR_BYTES)
        && found == head(key, place, length);
    valid.then_some(bytes)
}

/// Whether every byte is zero.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::super::key::testing::key;
    use super::*;

    const PLACE: Place = Place {
        segment: 3,
        offset: 1024,
    };

    #[test]
    fn names_have_one_spelling() {
        assert_eq!(segment_number("log-00000001"), Some(1));
        assert_eq!(segment_number("log-99999999"), Some(SEGMENT_NUMBER_MAX));
        for name in [
            "log-1",
            "log-00000000",
            "log-000000001",
            "log-100000000",
            "log-+0000001",
            "log-0000000a",
            "log-",
            "log-00000001.tmp",
            "spare-segment",
        ] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }

    #[test]
    fn a_head_is_known_only_at_its_place_and_under_its_key() {
        let sealed = head(&key(1), PLACE, 1024);
        assert_eq!(parse_head(&key(1), PLACE, &sealed), Some(1024));
        assert_eq!(parse_head(&key(2), PLACE, &sealed), None);
        let elsewhere = Place {
            offset: 512,
            ..PLACE
        };
        assert_eq!(parse_head(&key(1), elsewhere, &sealed), None);
        let elsewhere = Place {
            segment: 4,
            ..PLACE
        };
        assert_eq!(parse_head(&key(1), elsewhere, &sealed), None);
    }

    #[test]
    fn every_flipped_bit_of_a_head_is_noticed() {
        let sealed = head(&key(1), PLACE, 1024);
        for bit in 0..HEAD_BYTES * 8 {
            let mut flipped = sealed;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse_head(&key(1), PLACE, &flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn lengths_outside_the_bounds_are_refused() {
        for length in [0, 511, 513, GROUP_BYTES_MAX as u32 + 512, u32::MAX - 511] {
            let sealed = head(&key(1), PLACE, length);
            assert_eq!(parse_head(&key(1), PLACE, &sealed), None, "{length}");
        }
        assert_eq!(parse_head(&key(1), PLACE, &[]), None);
    }
}
