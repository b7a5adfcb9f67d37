//! Reads again what was written long ago, a little at a time, so that damage is found
//! while there are peers to repair it from.

use std::collections::VecDeque;

use super::{Disk, Run, StorageError, Tree, manifest};
use crate::storage::manifest::RunInfo;

/// One pass over manifest and runs.
pub(crate) struct Scrub<F> {
    left: VecDeque<RunInfo>,
    run: Option<(Run<F>, usize)>,
    bytes: u64,
}

impl<F> Scrub<F> {
    /// How many bytes were read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl<D: Disk> Tree<D> {
    /// Begins a pass with the manifest. A damaged copy of it is written again, and both are:
    /// what they say is known here. Returns what was wrong too.
    ///
    /// # Errors
    /// [`StorageError`]
    pub(crate) fn begin_scrub(
        &self,
    ) -> Result<(Scrub<D::File>, Option<StorageError>), StorageError> {
        let damage = match manifest::read(&self.disk, &self.keys.manifest()) {
            Err(error @ StorageError::Damaged { .. }) => Some(error),
            Err(error) => return Err(error),
            Ok(found) if found.manifest.is_none() => Some(super::both_missing()),
            Ok(found) if found.manifest.as_ref() != Some(&self.manifest) => {
                Some(StorageError::Damaged {
                    file: super::MANIFEST_NAMES[0].to_owned(),
                    what: "it is an older one".to_owned(),
                })
            }
            Ok(found) => found.damage,
        };
        if damage.is_some() {
            self.manifest.write(&self.disk, &self.keys.manifest())?;
        }
        let scrub = Scrub {
            left: self.manifest.runs.iter().copied().collect(),
            run: None,
            bytes: 0,
        };
        Ok((scrub, damage))
    }

    /// Reads on, about `budget` bytes; says whether the pass is over. Runs that were merged
    /// since it began are left out. Files are opened anew: a name that is gone is damage,
    /// though the file is still held open.
    ///
    /// # Errors
    /// [`StorageError`]; after damage it goes on with the next run.
    pub(crate) fn scrub(
        &self,
        scrub: &mut Scrub<D::File>,
        budget: u64,
    ) -> Result<bool, StorageError> {
        let end = scrub.bytes.saturating_add(budget);
        while scrub.bytes < end {
            let (run, at) = match scrub.run.take() {
                Some(reading) => reading,
                None => {
                    let Some(info) = scrub.left.pop_front() else {
                        return Ok(true);
                    };
                    if !self.manifest.runs.iter().any(|run| run.id == info.id) {
                        continue;
                    }
                    (Run::open(&self.disk, &self.keys, info)?, 0)
                }
            };
            if let Some(bytes) = run.verify_block(at)? {
                scrub.bytes += bytes;
                scrub.run = Some((run, at + 1));
            }
        }
        Ok(false)
    }
}
