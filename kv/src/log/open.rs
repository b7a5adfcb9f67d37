//! Creating a log, and opening one: replay, then a new segment.
//!
//! A log that is opened never appends records to the segment it finds. It ends
//! that segment and begins another, in an order in which the power may go at any
//! step and the next opening goes on from there:
//!
//! 1. An unfinished write is turned back into zeros, and synced. Meanwhile any
//!    subset of its sectors may be zero, which is what it looked like before.
//! 2. The closing group is written and synced. It fills one sector, so it is
//!    there or not.
//! 3. The file is cut behind the closing group, and synced.
//! 4. A spare is made and synced, gets the header of the next segment, is synced
//!    again, and then gets the segment's name.
//!
//! A segment found closed enters at step 3, one found cut at step 4.

use std::collections::VecDeque;
use std::ops::Range;

use sealmoot_crypto::random::{self, RandomError};
use zeroize::Zeroizing;

use crate::disk::{Disk, DiskError, DiskFile};

use super::commit::Log;
use super::damage::{Damage, DamageKind};
use super::files::{self, ReadError};
use super::history::History;
use super::key::LogKey;
use super::layout::segment_name;
use super::options::LogOptions;
use super::position::{Cursor, LogBase, LogId};
use super::segment::{self, AppendError, Segment};
use super::verify::looks_sealed_with;
use super::walk::{Ending, SegmentWalk, Step};

/// A log could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There are files of a log already.
    #[error("{file} exists: a log is already here")]
    Exists {
        /// One of them.
        file: String,
    },
    /// No id could be drawn.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The first segment could not be written.
    #[error("cannot begin the log: {0}")]
    Append(#[from] AppendError),
}

/// A log could not be opened. `E` is the error of whoever takes the records.
#[derive(Debug, thiserror::Error)]
pub enum OpenError<E: std::error::Error + 'static> {
    /// There is no file of a log.
    #[error("there is no log here")]
    Missing,
    /// Not one group of any segment opens: most likely the key is another node's.
    #[error(
        "nothing in {file} or any other segment opens under this key: it is another node's, or all is damaged"
    )]
    NothingOpens {
        /// The first segment.
        file: String,
    },
    /// The bytes on disk are not what was written. They have to be set aside and
    /// the node refilled from its peers.
    #[error("the log is damaged: {0}")]
    Damaged(#[from] Damage),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The last segment could not be ended, or the next not begun.
    #[error("cannot end the last segment of the log and begin another: {0}")]
    Append(#[from] AppendError),
    /// The records' taker refused one.
    #[error("record {number} of the log was refused: {source}")]
    Record {
        /// The record's number.
        number: u64,
        /// Why.
        source: E,
    },
}

/// Takes a record's number and bytes during replay.
pub type OnRecord<'a, E> = dyn FnMut(u64, &[u8]) -> Result<(), E> + 'a;

/// Whether there is any file of a log.
///
/// # Errors
/// When the directory cannot be listed.
pub fn exists<D: Disk>(disk: &D) -> Result<bool, DiskError> {
    let listing = files::list(disk, 1)?;
    Ok(!listing.numbers.is_empty() || !listing.damages.is_empty())
}

impl<D: Disk> Log<D> {
    /// Begins a log on a disk that has none. `incarnation` is the creator's
    /// number for this life of the node; peers tell it from earlier ones.
    ///
    /// # Errors
    /// [`CreateError`]. After a crash either no segment or a whole one is there.
    pub fn create(
        disk: D,
        key: LogKey,
        incarnation: u64,
        options: LogOptions,
    ) -> Result<Self, CreateError> {
        let listing = files::list(&disk, 1)?;
        if let Some(&number) = listing.numbers.first() {
            return Err(CreateError::Exists {
                file: segment_name(number),
            });
        }
        if let Some(damage) = listing.damages.into_iter().next() {
            return Err(CreateError::Exists { file: damage.file });
        }
        let cursor = Cursor::before(LogId(random::array()?), incarnation);
        Ok(Self::start(
            disk,
            key,
            options,
            cursor,
            (0, VecDeque::new()),
        )?)
    }

    /// Replays every record in order, with its number, and makes the log ready
    /// for more. What an interrupted write left is dropped; it was never
    /// acknowledged. Records that were complete but not acknowledged appear.
    ///
    /// # Errors
    /// [`OpenError`]. Records may have been handed out before it shows; they are
    /// authentic, and must not be used as if they were all.
    pub fn open<E: std::error::Error + 'static>(
        disk: D,
        key: LogKey,
        options: LogOptions,
        on_record: &mut OnRecord<'_, E>,
    ) -> Result<Self, OpenError<E>> {
        Self::open_behind(disk, key, options, None, on_record)
    }

    /// The same of a log whose first segments were retired ([`Segments::retire`](super::Segments::retire)). Those that a
    /// crash kept from being removed are removed.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_behind<E: std::error::Error + 'static>(
        disk: D,
        key: LogKey,
        options: LogOptions,
        base: Option<&LogBase>,
        on_record: &mut OnRecord<'_, E>,
    ) -> Result<Self, OpenError<E>> {
        let first = base.map_or(1, LogBase::first_segment);
        let replayed = match replay(&disk, &key, base, on_record) {
            // Told apart only once something failed: it may read everything.
            Err(OpenError::Damaged(damage)) => {
                return Err(if looks_sealed_with(&disk, &key)? {
                    OpenError::Damaged(damage)
                } else {
                    OpenError::NothingOpens {
                        file: segment_name(first),
                    }
                });
            }
            other => other?,
        };
        let mut cursor = replayed.history.cursor();
        let end = replayed.last.end(&key, &mut cursor)?;
        cursor.position.opening = cursor.position.opening.saturating_add(1);
        for number in replayed.retired {
            disk.remove(&segment_name(number))?;
        }
        Ok(Self::start(
            disk,
            key,
            options,
            cursor,
            (end, replayed.bases),
        )?)
    }
}

/// A log whose records were all handed out.
struct Replayed<F> {
    history: History,
    last: LastSegment<F>,
    /// In front of each segment.
    bases: VecDeque<LogBase>,
    /// What is left of segments before the first.
    retired: Vec<u32>,
}

struct LastSegment<F> {
    file: F,
    bytes: u64,
    ending: Ending,
}

fn replay<D: Disk, E: std::error::Error + 'static>(
    disk: &D,
    key: &LogKey,
    base: Option<&LogBase>,
    on_record: &mut OnRecord<'_, E>,
) -> Result<Replayed<D::File>, OpenError<E>> {
    let listing = files::list(disk, base.map_or(1, LogBase::first_segment))?;
    if let Some(damage) = listing.damages.into_iter().next() {
        return Err(OpenError::Damaged(damage));
    }
    let last_number = *listing.numbers.last().ok_or(OpenError::Missing)?;
    let mut history = base.map_or_else(History::unread, History::after);
    let mut previous_end = base.map_or(0, |base| base.previous_bytes);
    let mut bases = VecDeque::with_capacity(listing.numbers.len());
    let mut scratch = Zeroizing::new(Vec::new());
    for number in listing.numbers {
        let is_last = number == last_number;
        let file = disk.open(&segment_name(number))?;
        if is_last {
            // The process before may have died between a write and its sync, or
            // after a failed sync. What is believed below must be what the
            // medium holds, not what a cache remembers.
            file.sync_data()?;
            file.forget_cached()?;
        }
        let bytes = files::read(&file, number).map_err(|error| match error {
            ReadError::Disk(error) => OpenError::Disk(error),
            ReadError::Damaged(damage) => OpenError::Damaged(damage),
        })?;
        bases.push_back(LogBase {
            cursor: history.cursor(),
            previous_bytes: previous_end,
        });
        let mut walk = SegmentWalk::new(key, number, &bytes, is_last);
        let ending = loop {
            match walk.step(&mut history, &mut scratch)? {
                Step::Header(header) if header.previous_bytes != previous_end => {
                    return Err(OpenError::Damaged(wrong_end(
                        number,
                        previous_end,
                        header.previous_bytes,
                    )));
                }
                Step::Header(_) => {}
                Step::Records(records) => {
                    for (number, record) in records.iter() {
                        on_record(number, record)
                            .map_err(|source| OpenError::Record { number, source })?;
                    }
                }
                Step::End(ending) => break ending,
            }
        };
        if is_last {
            let last = LastSegment {
                file,
                bytes: bytes.len() as u64,
                ending,
            };
            return Ok(Replayed {
                history,
                last,
                bases,
                retired: listing.retired,
            });
        }
        previous_end = ending.end() as u64;
    }
    Err(OpenError::Missing)
}

/// A segment whose successor says that it ends elsewhere.
pub(super) fn wrong_end(number: u32, found: u64, expected: u64) -> Damage {
    Damage {
        file: segment_name(number.saturating_sub(1)),
        offset: found.min(expected),
        length: found.abs_diff(expected),
        what: DamageKind::WrongSize { expected },
    }
}

impl<F: DiskFile> LastSegment<F> {
    /// Ends it, from whatever step an earlier opening left it at, and returns its final
    /// length.
    fn end(self, key: &LogKey, cursor: &mut Cursor) -> Result<u64, AppendError> {
        let LastSegment {
            file,
            bytes,
            ending,
        } = self;
        match ending {
            Ending::Open { end, unfinished } => {
                erase(&file, unfinished)?;
                let number = cursor.position.segment;
                Segment::resume(file, number, end as u64, bytes).close(key, cursor)
            }
            Ending::Closed { end } => {
                let end = end as u64;
                if end < bytes {
                    segment::cut(&file, end)?;
                }
                Ok(end)
            }
        }
    }
}

fn erase<F: DiskFile>(file: &F, unfinished: Range<usize>) -> Result<(), DiskError> {
    if unfinished.is_empty() {
        return Ok(());
    }
    file.write_at(unfinished.start as u64, &vec![0; unfinished.len()])?;
    file.sync_data()
}
