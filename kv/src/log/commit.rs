//! The log, open for appending: a batch of records in, a proof of durability out.

use std::collections::VecDeque;

use crate::disk::{Disk, SECTOR_BYTES};

use super::body::{self, RECORD_PREFIX_BYTES, RECORDS_OVERHEAD};
use super::key::LogKey;
use super::options::LogOptions;
use super::position::{Cursor, Durable, LogBase, LogPosition};
use super::segment::{AppendError, Segment, Sizes};
use super::segments::Segments;
use super::spare::Spare;

/// Records were not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// An earlier write or sync failed, so the medium's content is unknown. The
    /// process has to stop, and recover from the log and from its peers.
    #[error("an earlier commit failed; nothing can be written before the log is opened again")]
    Poisoned,
    /// A record is longer than the log takes. Nothing was written.
    #[error("record {index} of the batch has {length} bytes, and at most {maximum} are allowed")]
    RecordTooLong {
        /// Which record of the batch.
        index: usize,
        /// Its length in bytes.
        length: usize,
        /// The maximum, see [`LogOptions::record_bytes_max`].
        maximum: usize,
    },
    /// The write or the sync failed; the log is poisoned from now on. Part of
    /// the batch may turn out to be durable.
    #[error("cannot append to the log: {0}")]
    Append(#[source] AppendError),
}

/// A log that is open for appending. Nothing is buffered: dropping it loses
/// nothing that was acknowledged, and the next opening closes its last segment.
#[derive(Debug)]
pub struct Log<D: Disk> {
    disk: D,
    key: LogKey,
    options: LogOptions,
    cursor: Cursor,
    segments: Segments<D>,
    /// Absent once poisoned.
    segment: Option<Segment<D::File>>,
    spare: Spare<D>,
}

impl<D: Disk> Log<D> {
    /// Starts the segment behind `cursor`, and with it the log's active life.
    pub(super) fn start(
        disk: D,
        key: LogKey,
        options: LogOptions,
        mut cursor: Cursor,
        (previous_bytes, mut bases): (u64, VecDeque<LogBase>),
    ) -> Result<Self, AppendError> {
        bases.push_back(LogBase {
            cursor,
            previous_bytes,
        });
        let made = Spare::begin(&disk, &options.without_helper()).take()?;
        let sizes = Sizes {
            this: options.segment_bytes(),
            previous: previous_bytes,
        };
        let segment = Segment::start(&disk, made, &key, &mut cursor, sizes)?;
        let spare = Spare::begin(&disk, &options);
        Ok(Self {
            segments: Segments::new(disk.clone(), bases),
            disk,
            key,
            options,
            cursor,
            segment: Some(segment),
            spare,
        })
    }

    /// Makes records durable, in order, and returns the proof.
    ///
    /// A batch that fits into one group (4 MiB) costs one write and one sync. A
    /// larger one becomes several groups, each synced before the next is
    /// written, because recovery relies on at most one group being unsynced. An
    /// empty batch costs nothing.
    ///
    /// # Errors
    /// [`CommitError`]. After [`CommitError::Append`] every further commit fails.
    pub fn commit<R: AsRef<[u8]>>(&mut self, records: &[R]) -> Result<Durable, CommitError> {
        if self.segment.is_none() {
            return Err(CommitError::Poisoned);
        }
        let maximum = self.options.record_bytes_max();
        for (index, record) in records.iter().enumerate() {
            let length = record.as_ref().len();
            if length > maximum {
                return Err(CommitError::RecordTooLong {
                    index,
                    length,
                    maximum,
                });
            }
        }
        let mut rest = records;
        while !rest.is_empty() {
            let (group, behind) = rest.split_at(self.fitting(rest));
            // Taken out while it is written, so that whatever goes wrong, and
            // be it a panic, leaves the log poisoned.
            let segment = self.segment.take().ok_or(CommitError::Poisoned)?;
            let segment = self.append(segment, group).map_err(CommitError::Append)?;
            self.segment = Some(segment);
            rest = behind;
        }
        Ok(self.durable())
    }

    /// How far the log has come; everything up to here is durable.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        self.cursor.position
    }

    /// The proof of the last sync, which covers everything that was replayed or
    /// committed.
    pub fn durable(&self) -> Durable {
        Durable::after_sync(self.cursor.position)
    }

    /// Its segments, to be retired while it goes on.
    #[must_use]
    pub fn segments(&self) -> &Segments<D> {
        &self.segments
    }

    /// Whether an earlier commit failed.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.segment.is_none()
    }

    /// Largest record that this log takes, in bytes.
    #[must_use]
    pub fn record_bytes_max(&self) -> usize {
        self.options.record_bytes_max()
    }

    /// Whether records with these many bytes in all fit into one group.
    pub(super) fn fits_one_group(&self, count: usize, bytes: usize) -> bool {
        bytes
            .saturating_add(count.saturating_mul(RECORD_PREFIX_BYTES))
            .saturating_add(RECORDS_OVERHEAD)
            <= self.options.group_bytes_max()
    }

    /// How many of the first records fit into one group: at least one, because
    /// none is longer than the maximum.
    fn fitting<R: AsRef<[u8]>>(&self, records: &[R]) -> usize {
        let mut bytes = 0;
        for (count, record) in records.iter().enumerate() {
            bytes += record.as_ref().len();
            if !self.fits_one_group(count + 1, bytes) {
                return count.max(1);
            }
        }
        records.len()
    }

    fn append<R: AsRef<[u8]>>(
        &mut self,
        segment: Segment<D::File>,
        records: &[R],
    ) -> Result<Segment<D::File>, AppendError> {
        let bytes: usize = records
            .iter()
            .map(|record| RECORD_PREFIX_BYTES + record.as_ref().len())
            .sum();
        let group_bytes = (RECORDS_OVERHEAD + bytes).next_multiple_of(SECTOR_BYTES) as u64;
        // The cursor moves only with the whole step: a position is never shown
        // that was not synced.
        let mut cursor = self.cursor;
        let mut segment = if group_bytes <= segment.room() {
            segment
        } else {
            self.rotate(segment, &mut cursor)?
        };
        let link = cursor.link();
        let first = cursor.position.records + 1;
        segment.append(&self.key, &mut cursor, |plaintext| {
            body::encode_records(link, first, records, plaintext);
        })?;
        cursor.position.records += records.len() as u64;
        self.cursor = cursor;
        Ok(segment)
    }

    fn rotate(
        &mut self,
        segment: Segment<D::File>,
        cursor: &mut Cursor,
    ) -> Result<Segment<D::File>, AppendError> {
        let sizes = Sizes {
            previous: segment.close(&self.key, cursor)?,
            this: self.options.segment_bytes(),
        };
        let base = LogBase {
            cursor: *cursor,
            previous_bytes: sizes.previous,
        };
        let made = self.spare.take()?;
        let segment = Segment::start(&self.disk, made, &self.key, cursor, sizes)?;
        self.segments.begin(base);
        self.spare = Spare::begin(&self.disk, &self.options);
        Ok(segment)
    }
}
