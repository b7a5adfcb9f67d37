//! Tells an unfinished write from damage, at the end of the last segment.
//!
//! **Problem.** A power cut during a write leaves any subset of its sectors.
//! That write was never acknowledged and must be dropped; an acknowledged group
//! that rotted must not be.
//!
//! **Idea.** Space is zeroed and synced before it is used, so a sector of an
//! unfinished write that did not arrive is all zeros, and ciphertext never holds
//! such a sector (a chance of 2^-4096). At most one group is unsynced at any
//! time, so an unfinished group is the last thing in its segment.
//!
//! **Rule**, at the sector where the walk over authentic groups ended:
//!
//! 1. The sector is zero: nothing was started here, or the first sector of a
//!    group was lost. Within one largest group every sector is zero or looks
//!    like ciphertext, and none is the head of a group; beyond it all are zero.
//! 2. It is the head of a group that does not open: at least one sector of the
//!    group is zero and the others look like ciphertext; behind it all are zero.
//! 3. Anything else is damage.
//!
//! The head carries a check of its own, so a rotten length never stretches a
//! group into the zeros behind it. What the rule cannot see is an acknowledged
//! last group of which whole sectors turned to zeros; that is a rollback, and
//! the peers who remember the chain value notice it.

use std::ops::Range;

use crate::disk::SECTOR_BYTES;

use super::damage::DamageKind;
use super::key::LogKey;
use super::layout::{GROUP_BYTES_MAX, Place, is_zero, parse_head};

/// Fewest bytes other than zero in a sector of ciphertext. The expected number is
/// 510; fewer than this has a chance below 2^-1000, and rot in a zero sector
/// stays far below it.
const CIPHERTEXT_NONZERO_BYTES_MIN: usize = 256;

/// What is wrong with the tail, and in which sectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TailFault {
    pub(super) place: Range<usize>,
    pub(super) what: DamageKind,
}

/// The bytes of an unfinished write behind `end`, possibly none: they have to
/// become zeros again. `segment` is the whole preallocated file.
pub(super) fn unfinished(
    key: &LogKey,
    number: u32,
    segment: &[u8],
    end: usize,
) -> Result<Range<usize>, TailFault> {
    // A segment keeps its last sector for the closing group.
    let room = segment.len().saturating_sub(SECTOR_BYTES);
    let head_at = |offset: usize| {
        let place = Place {
            segment: number,
            offset: offset as u64,
        };
        parse_head(key, place, &segment[offset..])
    };
    if end >= room {
        return check_zeros(segment, end).map(|()| end..end);
    }
    let first = &segment[end..end + SECTOR_BYTES];
    let (limit, first_lost) = if is_zero(first) {
        (room.min(end + GROUP_BYTES_MAX), true)
    } else {
        match head_at(end) {
            Some(length) if end + length <= room => (end + length, false),
            Some(length) => {
                return Err(TailFault {
                    place: end..segment.len().min(end + length),
                    what: DamageKind::BeyondEnd,
                });
            }
            None => {
                return Err(TailFault {
                    place: end..end + SECTOR_BYTES,
                    what: DamageKind::NoGroup,
                });
            }
        }
    };

    let mut last_written = end;
    let mut sector_missing = first_lost;
    for offset in (end..limit).step_by(SECTOR_BYTES) {
        let sector = &segment[offset..offset + SECTOR_BYTES];
        if is_zero(sector) {
            sector_missing = true;
            continue;
        }
        if offset > end && head_at(offset).is_some() {
            return Err(TailFault {
                place: end..offset,
                what: DamageKind::LostGroup,
            });
        }
        let nonzero = sector.iter().filter(|&&byte| byte != 0).count();
        if nonzero < CIPHERTEXT_NONZERO_BYTES_MIN {
            return Err(TailFault {
                place: offset..offset + SECTOR_BYTES,
                what: DamageKind::NotZero,
            });
        }
        last_written = offset + SECTOR_BYTES;
    }
    if !sector_missing {
        return Err(TailFault {
            place: end..limit,
            what: DamageKind::Unauthentic,
        });
    }
    check_zeros(segment, limit)?;
    Ok(end..last_written)
}

/// Refuses the first sector from `start` on that is not zero.
pub(super) fn check_zeros(segment: &[u8], start: usize) -> Result<(), TailFault> {
    for offset in (start..segment.len()).step_by(SECTOR_BYTES) {
        let end = segment.len().min(offset + SECTOR_BYTES);
        if !is_zero(&segment[offset..end]) {
            return Err(TailFault {
                place: offset..end,
                what: DamageKind::NotZero,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::key::testing::key;
    use super::super::layout::head;
    use super::*;

    const SECTORS: usize = 16;

    /// A segment of zeros in which sectors of ciphertext stand.
    fn segment(written: &[usize]) -> Vec<u8> {
        let mut segment = vec![0; SECTORS * SECTOR_BYTES];
        for &sector in written {
            segment[sector * SECTOR_BYTES..][..SECTOR_BYTES].fill(0xa5);
        }
        segment
    }

    fn put_head(segment: &mut [u8], sector: usize, sectors: usize) {
        let place = Place {
            segment: 1,
            offset: (sector * SECTOR_BYTES) as u64,
        };
        let head = head(&key(1), place, (sectors * SECTOR_BYTES) as u32);
        segment[sector * SECTOR_BYTES..][..head.len()].copy_from_slice(&head);
    }

    fn judge(segment: &[u8], sector: usize) -> Result<(usize, usize), (usize, DamageKind)> {
        match unfinished(&key(1), 1, segment, sector * SECTOR_BYTES) {
            Ok(range) => Ok((range.start / SECTOR_BYTES, range.end / SECTOR_BYTES)),
            Err(fault) => Err((fault.place.start / SECTOR_BYTES, fault.what)),
        }
    }

    #[test]
    fn zeros_to_the_end_are_a_clean_end() {
        assert_eq!(judge(&segment(&[]), 3), Ok((3, 3)));
        assert_eq!(judge(&segment(&[]), SECTORS - 1), Ok((15, 15)));
        assert_eq!(judge(&segment(&[]), SECTORS), Ok((16, 16)));
    }

    #[test]
    fn a_group_without_its_first_sector_is_unfinished() {
        assert_eq!(judge(&segment(&[5, 7]), 4), Ok((4, 8)));
    }

    #[test]
    fn a_group_with_a_zero_sector_is_unfinished() {
        let mut bytes = segment(&[4, 6]);
        put_head(&mut bytes, 4, 3);
        assert_eq!(judge(&bytes, 4), Ok((4, 7)));
    }

    #[test]
    fn a_group_without_a_zero_sector_is_damage() {
        let mut bytes = segment(&[4, 5, 6]);
        put_head(&mut bytes, 4, 3);
        assert_eq!(judge(&bytes, 4), Err((4, DamageKind::Unauthentic)));
    }

    #[test]
    fn a_stretched_length_is_damage() {
        let mut bytes = segment(&[4, 5, 6]);
        put_head(&mut bytes, 4, 3);
        bytes[4 * SECTOR_BYTES + 5] ^= 2;
        assert_eq!(judge(&bytes, 4), Err((4, DamageKind::NoGroup)));
    }

    #[test]
    fn anything_behind_an_unfinished_group_is_damage() {
        let mut bytes = segment(&[4, 6, 9]);
        put_head(&mut bytes, 4, 3);
        assert_eq!(judge(&bytes, 4), Err((9, DamageKind::NotZero)));
    }

    #[test]
    fn a_lost_group_before_another_is_damage() {
        let mut bytes = segment(&[5]);
        put_head(&mut bytes, 5, 1);
        assert_eq!(judge(&bytes, 4), Err((4, DamageKind::LostGroup)));
        // The same head elsewhere is only ciphertext.
        let copy = bytes[5 * SECTOR_BYTES..6 * SECTOR_BYTES].to_vec();
        let mut bytes = segment(&[]);
        bytes[6 * SECTOR_BYTES..7 * SECTOR_BYTES].copy_from_slice(&copy);
        assert_eq!(judge(&bytes, 4), Ok((4, 7)));
    }

    #[test]
    fn a_flipped_bit_in_the_zeros_is_damage() {
        for sector in [5, SECTORS - 1] {
            let mut bytes = segment(&[]);
            bytes[sector * SECTOR_BYTES + 17] = 4;
            assert_eq!(judge(&bytes, 4), Err((sector, DamageKind::NotZero)));
        }
        let mut bytes = segment(&[]);
        bytes[4 * SECTOR_BYTES + 17] = 4;
        assert_eq!(judge(&bytes, 4), Err((4, DamageKind::NoGroup)));
    }

    #[test]
    fn the_last_sector_belongs_to_the_closing_group() {
        assert_eq!(
            judge(&segment(&[SECTORS - 1]), 4),
            Err((SECTORS - 1, DamageKind::NotZero))
        );
        let mut bytes = segment(&[]);
        bytes[13 * SECTOR_BYTES..].fill(0xa5);
        put_head(&mut bytes, 13, 3);
        assert_eq!(judge(&bytes, 13), Err((13, DamageKind::BeyondEnd)));
    }

    #[test]
    fn beyond_one_largest_group_all_must_be_zero() {
        let far = GROUP_BYTES_MAX + 2 * SECTOR_BYTES;
        let mut bytes = vec![0; far + 3 * SECTOR_BYTES];
        bytes[far - SECTOR_BYTES..far].fill(0xa5);
        assert!(unfinished(&key(1), 1, &bytes, 2 * SECTOR_BYTES).is_ok());
        bytes[far..far + SECTOR_BYTES].fill(0xa5);
        let fault = unfinished(&key(1), 1, &bytes, 2 * SECTOR_BYTES).expect_err("too far");
        assert_eq!(fault.place.start, far);
    }
}
