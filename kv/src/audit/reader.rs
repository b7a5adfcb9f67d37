//! Reading a log that goes on being written.

use std::sync::Arc;

use sealmoot_authn::audit::{Entry, SignedHead};
use sealmoot_crypto::hash_chain::Head;
use tokio::sync::watch;

use super::frame::{self, Frame, FrameError, Place};
use super::{AuditKey, segment_name};
use crate::disk::{Disk, DiskError, DiskFile};

/// A segment and the head of the chain where it begins.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) beginning: SignedHead,
}

/// What of a log is durable.
#[derive(Clone, Debug)]
pub struct Published {
    /// The head.
    pub head: Head,
    /// The chain's id.
    pub chain_id: [u8; 32],
    /// The first key, sealed to the realm.
    pub sealed_first_key: Arc<[u8]>,
    pub(super) segments: Vec<Segment>,
    pub(super) end: u64,
}

impl Published {
    /// The head before the oldest event that is kept.
    #[must_use]
    pub fn oldest(&self) -> Option<&SignedHead> {
        self.segments.first().map(|segment| &segment.beginning)
    }
}

/// Why events were not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They are not what was written.
    #[error("{0}")]
    Damaged(String),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Reads a log. Clones are independent.
#[derive(Clone, Debug)]
pub struct AuditReader<D> {
    disk: D,
    key: Arc<AuditKey>,
    published: watch::Receiver<Published>,
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// The sequence of the next event.
    pub sequence: u64,
    /// Where the frame begins that may hold it; unknown at first.
    place: Option<Place>,
}

impl Cursor {
    /// Before the event with this sequence.
    #[must_use]
    pub fn at(sequence: u64) -> Self {
        Self {
            sequence,
            place: None,
        }
    }
}

impl<D: Disk> AuditReader<D> {
    /// Reads what is published.
    #[must_use]
    pub fn new(disk: D, key: Arc<AuditKey>, published: watch::Receiver<Published>) -> Self {
        Self {
            disk,
            key,
            published,
        }
    }

    /// What is durable now.
    #[must_use]
    pub fn published(&self) -> Published {
        self.published.borrow().clone()
    }

    /// A receiver that is told of every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Published> {
        self.published.clone()
    }

    /// The next events, in order, and where to go on; none at the end. Events older
    /// than the oldest one are passed over. It blocks on the disk.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, cursor: Cursor) -> Result<(Vec<Entry>, Cursor), ReadError> {
        let published = self.published();
        let mut cursor = cursor;
        while cursor.sequence < published.head.records() {
            let Some(place) = cursor
                .place
                .filter(|place| published.segments.iter().any(|s| s.number == place.segment))
                .or_else(|| find(&published, cursor.sequence))
            else {
                break;
            };
            let (frame, next) = match self.frame(place, &published)? {
                Some(read) => read,
                None => {
                    cursor.place = Some(Place {
                        segment: place.segment + 1,
                        offset: 0,
                    });
                    continue;
                }
            };
            cursor.place = Some(Place {
                offset: next,
                ..place
            });
            if let Frame::Entries(mut entries) = frame {
                entries.retain(|entry| entry.sequence >= cursor.sequence);
                if let Some(last) = entries.last() {
                    cursor.sequence = last.sequence + 1;
                    return Ok((entries, cursor));
                }
            }
        }
        Ok((Vec::new(), cursor))
    }

    /// The frame at a place, or nothing at the end of the segment.
    fn frame(
        &self,
        place: Place,
        published: &Published,
    ) -> Result<Option<(Frame, u64)>, ReadError> {
        let file = self.disk.open(&segment_name(place.segment))?;
        let newest = published
            .segments
            .last()
            .is_some_and(|segment| segment.number == place.segment);
        let end = if newest {
            published.end
        } else {
            file.length()?
        };
        if place.offset >= end {
            return Ok(None);
        }
        match frame::read::<D>(&file, &self.key, place, end) {
            Ok(read) => Ok(Some(read)),
            Err(FrameError::Disk(error)) => Err(error.into()),
            Err(error) => Err(ReadError::Damaged(error.to_string())),
        }
    }
}

/// The beginning of the segment that holds an event, or of the oldest one.
fn find(published: &Published, sequence: u64) -> Option<Place> {
    let after = published
        .segments
        .partition_point(|segment| segment.beginning.head().records() <= sequence);
    let segment = published.segments.get(after.saturating_sub(1))?;
    Some(Place {
        segment: segment.number,
        offset: 0,
    })
}
