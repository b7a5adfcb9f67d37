//! Merging runs, a little at a time.
//!
//! The newest runs are merged as soon as several of them are about as large as the one that
//! is older: sizes then at least double from run to run, so there are few of them however
//! large the storage, and each entry is written again about once a doubling.
//!
//! A merge that was interrupted leaves a file that nothing names.

use std::sync::Arc;

use super::merge::Merge;
use super::options::StorageKeys;
use super::run::{Run, RunEntries, RunWriter};
use super::{StorageError, manifest::RunInfo};
use crate::disk::{Disk, DiskFile};

/// Fewer runs are not merged: each merge writes everything again.
const RUNS_MIN: usize = 4;

/// How many of the newest runs are to be merged now, by their sizes, the newest first.
pub(super) fn due(sizes: &[u64]) -> Option<usize> {
    let mut total: u64 = 0;
    let mut count = 0;
    for size in sizes {
        if count > 0 && *size > total.saturating_mul(2) {
            break;
        }
        total = total.saturating_add(*size);
        count += 1;
    }
    (count >= RUNS_MIN).then_some(count)
}

/// A merge that goes on.
pub(super) struct Compaction<F> {
    /// The ids of the runs that it replaces, the newest first.
    inputs: Vec<[u8; 16]>,
    merge: Merge<RunEntries<F>>,
    writer: RunWriter<F>,
    /// Whether no older run is left that could hold what was deleted.
    drops_deleted: bool,
}

/// What a step came to.
pub(super) enum Stepped<F> {
    /// There is more to do.
    On(Compaction<F>),
    /// These runs are replaced by this one, if anything is left of them.
    Done(Vec<[u8; 16]>, Option<RunInfo>),
}

impl<F: DiskFile> Compaction<F> {
    pub(super) fn begin<D: Disk<File = F>>(
        disk: &D,
        keys: &StorageKeys,
        block_bytes: usize,
        runs: &[Arc<Run<F>>],
        is_all: bool,
    ) -> Result<Self, StorageError> {
        let sources = runs.iter().map(|run| RunEntries::all(Arc::clone(run)));
        Ok(Self {
            inputs: runs.iter().map(|run| run.info().id).collect(),
            merge: Merge::new(sources.collect())?,
            writer: RunWriter::create(disk, keys, block_bytes)?,
            drops_deleted: is_all,
        })
    }

    /// Merges about so many bytes more.
    pub(super) fn step(mut self, budget: usize) -> Result<Stepped<F>, StorageError> {
        let mut done = 0;
        while done < budget {
            let Some((key, value)) = self.merge.next()? else {
                let run = self.writer.finish()?;
                return Ok(Stepped::Done(self.inputs, run));
            };
            done += key.len() + value.as_ref().map_or(0, bytes::Bytes::len) + 16;
            if value.is_some() || !self.drops_deleted {
                self.writer.push(&key, value.as_ref())?;
            }
        }
        Ok(Stepped::On(self))
    }

    /// The id of the run that is being written.
    pub(super) fn output(&self) -> [u8; 16] {
        self.writer.id()
    }
}

#[cfg(test)]
mod tests {
    use super::due;

    #[test]
    fn runs_of_about_one_size_are_merged_and_a_large_old_one_is_left() {
        assert_eq!(due(&[]), None);
        assert_eq!(due(&[5, 5, 5]), None);
        assert_eq!(due(&[5, 5, 5, 5]), Some(4));
        assert_eq!(due(&[5, 5, 5, 5, 1000]), Some(4));
        assert_eq!(due(&[5, 5, 5, 1000, 5]), None);
        assert_eq!(due(&[5, 10, 20, 60, 100, 1000]), Some(5));
    }

    #[test]
    fn however_many_runs_come_few_stay() {
        let mut sizes: Vec<u64> = Vec::new();
        for _ in 0..10_000 {
            sizes.insert(0, 1);
            if let Some(count) = due(&sizes) {
                let merged = sizes.drain(..count).sum();
                sizes.insert(0, merged);
            }
            assert!(sizes.len() < 24, "{sizes:?}");
        }
    }
}
