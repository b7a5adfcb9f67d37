//! Checks every byte of a log without changing any.

use zeroize::Zeroizing;

use crate::disk::{Disk, DiskError, SECTOR_BYTES};

use super::damage::{Damage, DamageKind};
use super::files::{self, ReadError};
use super::history::History;
use super::key::LogKey;
use super::layout::{Place, SEGMENT_BYTES_MAX, SPARE_NAME, is_zero, parse_head, segment_name};
use super::open::wrong_end;
use super::position::LogBase;
use super::walk::{Ending, SegmentWalk, Step};

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many segments there are.
    pub segments: u64,
    /// How many groups are authentic.
    pub groups: u64,
    /// How many records they hold.
    pub records: u64,
    /// How many bytes were examined.
    pub bytes: u64,
    /// What an interrupted write left in the last segment. Not a damage: it was
    /// never acknowledged, and the next opening drops it.
    pub unfinished: Option<Unfinished>,
    /// Everything that is damaged, by segment and offset.
    pub damages: Vec<Damage>,
}

/// Bytes of a write that never completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The file's name.
    pub file: String,
    /// Where the write started.
    pub offset: u64,
    /// How many bytes from there may be other than zero.
    pub length: u64,
}

/// A log could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no file of a log.
    #[error("there is no log here")]
    Missing,
    /// The directory or a file in it could not be opened.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Authenticates every group of every segment and looks at every byte outside
/// them. Behind a damaged place it goes on at the next group that has a valid
/// head, so that one damage does not hide another.
///
/// A spare segment must be all zeros, or begin with the header of the segment that
/// it was about to become: nothing is ever read from it, but a byte that changed
/// by itself there is the mark of a medium that changes bytes.
///
/// # Errors
/// [`VerifyError`]; damages are no error, they are the report.
pub fn verify<D: Disk>(disk: &D, key: &LogKey) -> Result<Report, VerifyError> {
    verify_behind(disk, key, None)
}

/// The same of a log whose first segments were retired.
///
/// # Errors
/// [`VerifyError`].
pub fn verify_behind<D: Disk>(
    disk: &D,
    key: &LogKey,
    base: Option<&LogBase>,
) -> Result<Report, VerifyError> {
    let first = base.map_or(1, LogBase::first_segment);
    let listing = files::list(disk, first)?;
    let mut report = Report {
        damages: listing.damages,
        ..Report::default()
    };
    let last_number = match listing.numbers.last() {
        Some(&last_number) => last_number,
        None if report.damages.is_empty() => return Err(VerifyError::Missing),
        None => return Ok(report),
    };
    let mut history = base.map_or_else(History::unread, History::after);
    let mut expected_number = first;
    let mut previous_end = Some(base.map_or(0, |base| base.previous_bytes));
    for number in listing.numbers {
        report.segments += 1;
        if number != expected_number {
            history.lose();
            previous_end = None;
        }
        expected_number = number.saturating_add(1);
        let bytes = match read(disk, number)? {
            Ok(bytes) => bytes,
            Err(damage) => {
                report.damages.push(damage);
                history.lose();
                previous_end = None;
                continue;
            }
        };
        report.bytes += bytes.len() as u64;
        let is_last = number == last_number;
        let walk = SegmentWalk::new(key, number, &bytes, is_last);
        previous_end = verify_segment(walk, number, previous_end, &mut history, &mut report);
        if previous_end.is_none() {
            history.lose();
        }
    }
    verify_spare(disk, key, last_number, &mut report)?;
    Ok(report)
}

fn verify_spare<D: Disk>(
    disk: &D,
    key: &LogKey,
    last_number: u32,
    report: &mut Report,
) -> Result<(), DiskError> {
    let bytes_max = usize::try_from(SEGMENT_BYTES_MAX).unwrap_or(usize::MAX);
    let bytes = match disk.read_small(SPARE_NAME, bytes_max) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(DiskError::TooLong { length, .. }) => {
            report.damages.push(Damage {
                file: SPARE_NAME.to_owned(),
                offset: SEGMENT_BYTES_MAX,
                length: length.saturating_sub(SEGMENT_BYTES_MAX),
                what: DamageKind::WrongSize {
                    expected: SEGMENT_BYTES_MAX,
                },
            });
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    report.bytes += bytes.len() as u64;
    // It was about to become a segment; and a name that was removed or renamed
    // comes back when the power goes before the directory is synced, so the
    // segment may long exist.
    let header_bytes = (1..=last_number.saturating_add(1))
        .rev()
        .find_map(|segment| {
            let place = Place { segment, offset: 0 };
            let length = parse_head(key, place, &bytes)?;
            let mut scratch = Zeroizing::new(bytes.get(..length)?.to_vec());
            key.open(place, &mut scratch).ok()?;
            Some(length)
        })
        .unwrap_or(0);
    for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
        let offset = index * SECTOR_BYTES;
        if offset >= header_bytes && !is_zero(sector) {
            report.damages.push(Damage {
                file: SPARE_NAME.to_owned(),
                offset: offset as u64,
                length: sector.len() as u64,
                what: DamageKind::NotZero,
            });
        }
    }
    Ok(())
}

/// Whether at least one group of any segment opens under this key. Tells a wrong
/// key, under which none does, from damage.
///
/// # Errors
/// When a file cannot be opened.
pub fn looks_sealed_with<D: Disk>(disk: &D, key: &LogKey) -> Result<bool, DiskError> {
    for number in files::list(disk, 1)?.numbers {
        let Ok(bytes) = read(disk, number)? else {
            continue;
        };
        for offset in (0..bytes.len()).step_by(SECTOR_BYTES) {
            let place = Place {
                segment: number,
                offset: offset as u64,
            };
            let rest = &bytes[offset..];
            let group = parse_head(key, place, rest).and_then(|length| rest.get(..length));
            let Some(group) = group else { continue };
            let mut scratch = Zeroizing::new(group.to_vec());
            if key.open(place, &mut scratch).is_ok() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn read<D: Disk>(disk: &D, number: u32) -> Result<Result<Vec<u8>, Damage>, DiskError> {
    let name = segment_name(number);
    let file = disk.open(&name)?;
    match files::read(&file, number) {
        Ok(bytes) => Ok(Ok(bytes)),
        Err(ReadError::Damaged(damage)) => Ok(Err(damage)),
        Err(ReadError::Disk(error)) => match error {
            // The medium's own answer to rot is a failing read.
            DiskError::At {
                offset,
                length,
                source,
                ..
            } => Ok(Err(Damage {
                file: name,
                offset,
                length,
                what: DamageKind::Unreadable(source.kind()),
            })),
            other => Err(other),
        },
    }
}

/// Returns where the segment ends, if that is known.
fn verify_segment(
    mut walk: SegmentWalk<'_>,
    number: u32,
    previous_end: Option<u64>,
    history: &mut History,
    report: &mut Report,
) -> Option<u64> {
    let mut scratch = Zeroizing::new(Vec::new());
    loop {
        match walk.step(history, &mut scratch) {
            Ok(Step::Header(header)) => {
                report.groups += 1;
                if let Some(end) = previous_end.filter(|&end| end != header.previous_bytes) {
                    let damage = wrong_end(number, end, header.previous_bytes);
                    report.damages.push(damage);
                }
            }
            Ok(Step::Records(records)) => {
                report.groups += 1;
                report.records += u64::from(records.count);
            }
            Ok(Step::End(ending)) => {
                let Ending::Open { unfinished, .. } = &ending else {
                    report.groups += 1;
                    return Some(ending.end() as u64);
                };
                report.unfinished = (!unfinished.is_empty()).then(|| Unfinished {
                    file: segment_name(number),
                    offset: unfinished.start as u64,
                    length: unfinished.len() as u64,
                });
                return None;
            }
            Err(mut damage) => {
                history.lose();
                let Some(lost) = walk.resume() else {
                    note_rest(walk.bytes(), damage, &mut report.damages);
                    return None;
                };
                // Up to the next group nothing can be told apart.
                let reach = (lost.end as u64).saturating_sub(damage.offset);
                damage.length = damage.length.max(reach);
                report.damages.push(damage);
            }
        }
    }
}

/// Notes a damage behind which no group follows, and every later sector that is
/// not zero, adjoining ones as one place.
fn note_rest(bytes: &[u8], damage: Damage, damages: &mut Vec<Damage>) {
    let mut current = damage;
    let start = usize::try_from(current.offset + current.length).unwrap_or(usize::MAX);
    let start = start.next_multiple_of(SECTOR_BYTES);
    for offset in (start..bytes.len()).step_by(SECTOR_BYTES) {
        let sector = &bytes[offset..bytes.len().min(offset + SECTOR_BYTES)];
        if is_zero(sector) {
            continue;
        }
        let (offset, length) = (offset as u64, sector.len() as u64);
        if current.offset + current.length == offset {
            current.length += length;
        } else {
            let next = Damage {
                offset,
                length,
                what: DamageKind::NotZero,
                ..current.clone()
            };
            damages.push(std::mem::replace(&mut current, next));
        }
    }
    damages.push(current);
}
