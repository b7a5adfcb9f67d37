//! The segments of a log, for whoever decides how far back it has to reach.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskError};

use super::layout::segment_name;
use super::position::LogBase;

/// The segments that a log has, shared with it: they are retired while it is written to.
#[derive(Clone, Debug)]
pub struct Segments<D> {
    disk: D,
    /// In front of each segment that is there, the one that is being written last.
    bases: Arc<Mutex<VecDeque<LogBase>>>,
}

impl<D: Disk> Segments<D> {
    pub(super) fn new(disk: D, bases: VecDeque<LogBase>) -> Self {
        Self {
            disk,
            bases: Arc::new(Mutex::new(bases)),
        }
    }

    pub(super) fn begin(&self, base: LogBase) {
        self.lock().push_back(base);
    }

    /// Where the log may begin when nobody needs the records up to `through` any more: in
    /// front of the last segment all of whose predecessors hold no others.
    ///
    /// # Panics
    /// Never: a log has a segment.
    #[must_use]
    pub fn base_behind(&self, through: u64) -> LogBase {
        let bases = self.lock();
        let base = bases.iter().rev().find(|base| base.records() <= through);
        *base.or(bases.front()).expect("one is being written")
    }

    /// Removes the segments in front of `base`, which has to be kept durably before: from
    /// now on the log opens with it only. A crash may bring some of them back, and the next
    /// opening removes them.
    ///
    /// # Errors
    /// [`DiskError`]. What was not removed is removed by the next opening.
    pub fn retire(&self, base: &LogBase) -> Result<(), DiskError> {
        loop {
            let oldest = self.lock().front().map(LogBase::first_segment);
            let Some(oldest) = oldest.filter(|oldest| *oldest < base.first_segment()) else {
                return Ok(());
            };
            // Without the lock: a commit must not wait for a large file to go.
            self.disk.remove(&segment_name(oldest))?;
            self.lock().pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<LogBase>> {
        self.bases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
