//! Authenticating every byte of a stopped node's audit log.
//!
//! The links of the chain cannot be checked here: that takes the first key, which only
//! the holder of the realm has (`authctl audit verify`).

use sealmoot_authn::audit::{Event, What};

use super::frame::{self, Frame, Place};
use super::log::{
    OpenError, check_behind, continued, open_segment, read_beginning, read_place, read_state,
    segments,
};
use super::{AuditKey, STATE_FILE, segment_name};
use crate::disk::{Disk, DiskError, DiskFile, SECTOR_BYTES};

/// A damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditDamage {
    /// The file.
    pub file: String,
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
    /// What is wrong.
    pub what: &'static str,
}

/// All damage that is found, and how many bytes were looked at. Behind a damaged frame
/// the rest of its segment is not looked at, and counts as damaged.
///
/// # Errors
/// When the disk fails.
pub fn verify<D: Disk>(disk: &D, key: &AuditKey) -> Result<(Vec<AuditDamage>, u64), DiskError> {
    let mut damages = Vec::new();
    let mut bytes = 0;
    let state = match read_state(disk, key) {
        Ok((file, state)) => {
            bytes += file.length()?;
            state
        }
        Err(OpenError::Disk(error)) => return Err(error),
        Err(error) => {
            note(&mut damages, error)?;
            return Ok((other_place(disk, key, damages), bytes));
        }
    };
    let numbers = match segments(disk, &state) {
        Ok(numbers) => numbers.kept,
        Err(error) => {
            note(&mut damages, error)?;
            return Ok((damages, bytes));
        }
    };
    let mut head = None;
    for number in numbers {
        let file = match open_segment(disk, number) {
            Ok(file) => file,
            Err(error) => {
                note(&mut damages, error)?;
                continue;
            }
        };
        let length = file.length()?;
        bytes += length;
        let end = if number == state.segment {
            state.offset
        } else {
            length
        };
        if length < end {
            damages.push(AuditDamage {
                file: segment_name(number),
                offset: length,
                length: end - length,
                what: "its end is missing",
            });
        }
        match verify_segment(disk, &file, key, number, end.min(length)) {
            Ok(segment) => {
                // What a crash left behind the end was never answered for, and goes at
                // the next start. A node that stopped in order left nothing.
                if number == state.segment && segment.stopped && length > end {
                    damages.push(AuditDamage {
                        file: segment_name(number),
                        offset: end,
                        length: length - end,
                        what: "something stands behind its end",
                    });
                }
                if number == state.segment
                    && let Err(error) = check_behind::<D>(&file, key, &state)
                {
                    note(&mut damages, error)?;
                }
                if head.is_some_and(|head| head != segment.begin) {
                    damages.push(whole(number, length, "it does not follow the one before"));
                }
                head = Some(segment.end);
            }
            Err(OpenError::Damaged {
                file, offset, what, ..
            }) => {
                damages.push(AuditDamage {
                    file,
                    offset,
                    length: length - offset,
                    what,
                });
                head = None;
            }
            Err(OpenError::Disk(error)) => return Err(error),
        }
        if number == state.segment && head.is_some_and(|head| head != state.head) {
            damages.push(whole(number, length, "it does not lead to its head"));
        }
    }
    Ok((damages, bytes))
}

struct Ends {
    begin: sealmoot_crypto::hash_chain::Head,
    end: sealmoot_crypto::hash_chain::Head,
    /// Whether the last event is that the node stopped.
    stopped: bool,
}

fn verify_segment<D: Disk>(
    disk: &D,
    file: &D::File,
    key: &AuditKey,
    number: u32,
    end: u64,
) -> Result<Ends, OpenError> {
    let (beginning, next) = read_beginning(disk, file, key, number)?;
    // Authenticated with the frame; whose it is, is checked when the node starts.
    let begin = sealmoot_crypto::hash_chain::Head::from_bytes(
        beginning.head.get(97..139).unwrap_or_default(),
    )
    .map_err(|_| OpenError::Damaged {
        file: segment_name(number),
        offset: 0,
        length: next,
        what: "its head does not decode",
    })?;
    let mut head = begin;
    let mut place = Place {
        segment: number,
        offset: next,
    };
    let mut stopped = false;
    while place.offset < end {
        let (frame, next) = frame::read::<D>(file, key, place, end)?;
        head = continued(head, &frame, place, next)?;
        stopped = ends_with_a_stop(&frame);
        place.offset = next;
    }
    Ok(Ends {
        begin,
        end: head,
        stopped,
    })
}

fn ends_with_a_stop(frame: &Frame) -> bool {
    let Frame::Entries(entries) = frame else {
        return false;
    };
    let last = entries.last().map(|entry| Event::decode(&entry.event));
    matches!(last, Some(Ok(event)) if event.what == What::NodeStopped)
}

/// When one place of the state is damaged, the other may be too.
fn other_place<D: Disk>(
    disk: &D,
    key: &AuditKey,
    mut damages: Vec<AuditDamage>,
) -> Vec<AuditDamage> {
    let second = SECTOR_BYTES as u64;
    if let Ok(file) = disk.open(STATE_FILE)
        && damages.iter().all(|damage| damage.offset != second)
        && let Err(error) = read_place::<D>(&file, key, second)
    {
        // A disk that fails here has been reported before.
        let _ = note(&mut damages, error);
    }
    damages
}

fn note(damages: &mut Vec<AuditDamage>, error: OpenError) -> Result<(), DiskError> {
    match error {
        OpenError::Damaged {
            file,
            offset,
            length,
            what,
        } => {
            damages.push(AuditDamage {
                file,
                offset,
                length,
                what,
            });
            Ok(())
        }
        OpenError::Disk(error) => Err(error),
    }
}

fn whole(number: u32, length: u64, what: &'static str) -> AuditDamage {
    AuditDamage {
        file: segment_name(number),
        offset: 0,
        length,
        what,
    }
}
