//! How a log uses its disk.

use crate::disk::SECTOR_BYTES;

use super::body::{RECORD_PREFIX_BYTES, RECORDS_OVERHEAD};
use super::layout::{GROUP_BYTES_MAX, RECORD_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

/// How a log uses its disk. Applies to segments that are begun from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    segment_bytes: u64,
    ahead: bool,
}

/// A segment size that no log can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a segment of {segment_bytes} bytes is impossible: it needs whole sectors of {SECTOR_BYTES}, \
     {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX} in all"
)]
pub struct SegmentSizeError {
    /// The refused size.
    pub segment_bytes: u64,
}

impl LogOptions {
    /// The same with segments of this size: a multiple of
    /// [`SECTOR_BYTES`](crate::disk::SECTOR_BYTES) from [`SEGMENT_BYTES_MIN`] to
    /// [`SEGMENT_BYTES_MAX`].
    ///
    /// # Errors
    /// [`SegmentSizeError`] for any other.
    pub fn with_segment_bytes(self, segment_bytes: u64) -> Result<Self, SegmentSizeError> {
        let fits = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_bytes);
        if fits && segment_bytes.is_multiple_of(SECTOR_BYTES as u64) {
            Ok(Self {
                segment_bytes,
                ..self
            })
        } else {
            Err(SegmentSizeError { segment_bytes })
        }
    }

    /// The same, but making each segment only when it is needed, without a
    /// helper thread: slower, and the same sequence of effects every time.
    #[must_use]
    pub fn without_helper(self) -> Self {
        Self {
            ahead: false,
            ..self
        }
    }

    /// Size of a segment in bytes.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Largest record that such a log takes, in bytes.
    #[must_use]
    pub fn record_bytes_max(&self) -> usize {
        (self.group_bytes_max() - RECORDS_OVERHEAD - RECORD_PREFIX_BYTES).min(RECORD_BYTES_MAX)
    }

    pub(super) fn makes_segments_ahead(&self) -> bool {
        self.ahead
    }

    /// Largest group: all of a segment but its header and its closing group.
    pub(super) fn group_bytes_max(&self) -> usize {
        let room = self.segment_bytes - 2 * SECTOR_BYTES as u64;
        usize::try_from(room).map_or(GROUP_BYTES_MAX, |room| room.min(GROUP_BYTES_MAX))
    }
}

impl Default for LogOptions {
    /// Segments of 16 MiB, made ahead of need.
    fn default() -> Self {
        Self {
            segment_bytes: 16 * 1024 * 1024,
            ahead: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_segment_sizes_are_refused() {
        for size in [0, 512, SEGMENT_BYTES_MIN + 1, SEGMENT_BYTES_MAX + 512] {
            let refused = LogOptions::default().with_segment_bytes(size);
            assert_eq!(
                refused,
                Err(SegmentSizeError {
                    segment_bytes: size
                })
            );
        }
    }

    #[test]
    fn records_are_bounded_by_their_maximum_or_the_segment() {
        assert_eq!(LogOptions::default().record_bytes_max(), RECORD_BYTES_MAX);
        let small = LogOptions::default()
            .with_segment_bytes(SEGMENT_BYTES_MIN)
            .expect("the least size");
        assert_eq!(small.record_bytes_max(), 2 * SECTOR_BYTES - 56 - 53 - 4);
    }
}
