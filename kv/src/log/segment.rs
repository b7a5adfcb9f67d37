//! The segment that is being written: one group, one write, one sync.

use sealmoot_crypto::aead::{RecordKey, SealError};

use crate::disk::{Disk, DiskError, DiskFile, SECTOR_BYTES};

use super::body::{self, SegmentHeader};
use super::key::LogKey;
use super::layout::{
    GROUP_OVERHEAD, HEAD_BYTES, Place, SEGMENT_NUMBER_MAX, SPARE_NAME, head, segment_name,
};
use super::position::Cursor;

/// A group could not be brought onto the medium.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The group could not be sealed.
    #[error("cannot seal a group of the log")]
    Seal(#[from] SealError),
    /// The log has as many segments as their names can count.
    #[error("the log has {SEGMENT_NUMBER_MAX} segments, and no name for another")]
    NoNumberLeft,
}

/// An open segment, positioned behind its last group.
#[derive(Debug)]
pub(super) struct Segment<F> {
    file: F,
    number: u32,
    offset: u64,
    bytes: u64,
    buffer: Vec<u8>,
}

impl<F: DiskFile> Segment<F> {
    /// Turns the spare into segment `number`, whose header continues `cursor`.
    ///
    /// The order must not change: the header is synced before the name exists,
    /// and the name before any group can be acknowledged.
    pub(super) fn start<D: Disk<File = F>>(
        disk: &D,
        spare: F,
        key: &LogKey,
        cursor: &mut Cursor,
        sizes: Sizes,
    ) -> Result<Self, AppendError> {
        let number = cursor
            .position
            .segment
            .checked_add(1)
            .filter(|&number| number <= SEGMENT_NUMBER_MAX)
            .ok_or(AppendError::NoNumberLeft)?;
        let header = SegmentHeader {
            log_id: cursor.position.log_id,
            incarnation: cursor.position.incarnation,
            opening: cursor.position.opening,
            segment_bytes: sizes.this,
            previous_bytes: sizes.previous,
            records: cursor.position.records,
        };
        let mut segment = Self::resume(spare, number, 0, sizes.this);
        let link = cursor.link();
        segment.append(key, cursor, |plaintext| {
            body::encode_header(link, &header, plaintext);
        })?;
        disk.rename(SPARE_NAME, &segment_name(number))?;
        disk.sync_directory()?;
        cursor.position.segment = number;
        Ok(segment)
    }

    /// A segment whose next group stands at `offset`.
    pub(super) fn resume(file: F, number: u32, offset: u64, bytes: u64) -> Self {
        Self {
            file,
            number,
            offset,
            bytes,
            buffer: Vec::new(),
        }
    }

    /// Writes and syncs one group whose plaintext `encode` appends, and moves
    /// `cursor` behind it. After an error nothing is known about the medium.
    pub(super) fn append(
        &mut self,
        key: &LogKey,
        cursor: &mut Cursor,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), AppendError> {
        self.buffer.clear();
        self.buffer
            .resize(GROUP_OVERHEAD - sealmoot_crypto::aead::TAG_LENGTH, 0);
        let start = self.buffer.len();
        encode(&mut self.buffer);
        let total = body::group_bytes(self.buffer.len() - start);
        self.buffer
            .resize(total - sealmoot_crypto::aead::TAG_LENGTH, 0);
        let place = Place {
            segment: self.number,
            offset: self.offset,
        };
        let length = u32::try_from(total).expect("callers keep to GROUP_BYTES_MAX");
        self.buffer[..HEAD_BYTES].copy_from_slice(&head(key, place, length));
        key.seal(place, &mut self.buffer)?;
        self.file.write_at(self.offset, &self.buffer)?;
        self.file.sync_data()?;
        self.offset += total as u64;
        cursor.advance(&self.buffer);
        Ok(())
    }

    /// Ends the segment for ever and returns its final length.
    ///
    /// The closing group is synced before the file is cut, so that a cut file
    /// without one is always a damaged file; the cut is synced before a
    /// successor can name the length.
    pub(super) fn close(mut self, key: &LogKey, cursor: &mut Cursor) -> Result<u64, AppendError> {
        let link = cursor.link();
        let records = cursor.position.records;
        self.append(key, cursor, |plaintext| {
            body::encode_close(link, records, plaintext);
        })?;
        cut(&self.file, self.offset)?;
        Ok(self.offset)
    }

    /// Bytes left for groups of records; the closing group keeps its sector.
    pub(super) fn room(&self) -> u64 {
        (self.bytes - self.offset).saturating_sub(SECTOR_BYTES as u64)
    }
}

/// Sizes that a header names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) this: u64,
    pub(super) previous: u64,
}

/// Cuts a closed segment behind its closing group.
pub(super) fn cut<F: DiskFile>(file: &F, end: u64) -> Result<(), DiskError> {
    file.truncate(end)?;
    file.sync_data()
}

const _: () = assert!(GROUP_OVERHEAD == HEAD_BYTES + RecordKey::OVERHEAD);
