//! The engine: a log of batches, what of them is not in a run yet, and the runs.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::{self, Change, NotABatch};
use super::options::{StorageKeys, StorageOptions};
use super::tree::{self, Memory, Tree, View};
use super::{Pair, Storage, StorageError, StorageOpenError};
use crate::disk::{Disk, DiskFile};
use crate::log::{self, Log, LogPosition};

/// What an entry takes in memory besides its bytes.
const ENTRY_OVERHEAD: usize = 96;
/// The incarnation of a log that is its own.
const INCARNATION: u64 = 1;

/// Sealed keys and values in one directory.
pub struct SealedStorage<D: Disk> {
    disk: D,
    options: StorageOptions,
    log: Log<D>,
    /// What is in no run. Shared with snapshots: copied when one of them still holds it.
    memory: Arc<Memory>,
    memory_bytes: usize,
    tree: Tree<D>,
}

/// How large a storage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of keys and values that are in memory and in the log only.
    pub memory_bytes: usize,
    /// How many runs there are.
    pub runs: usize,
    /// Bytes of their files.
    pub run_bytes: u64,
    /// Their entries, replaced and deleted ones included.
    pub entries: u64,
}

/// The state at one moment, to be read while changes go on.
pub struct Snapshot<F> {
    memory: Arc<Memory>,
    runs: View<F>,
}

impl<D: Disk> SealedStorage<D> {
    /// Opens the storage on a disk, or makes one where there is nothing of it.
    ///
    /// # Errors
    /// [`StorageOpenError`]. Damage is an error where nothing makes it good.
    pub fn open(
        disk: D,
        keys: StorageKeys,
        options: StorageOptions,
    ) -> Result<Self, StorageOpenError> {
        let mut tree = Tree::open(disk.clone(), keys, &options)?;
        let mut memory = Memory::new();
        let mut memory_bytes = 0;
        let log = if tree.is_new() && !log::exists(&disk)? {
            Log::create(disk.clone(), tree.log_key(), INCARNATION, options.log)?
        } else {
            Log::open_behind(
                disk.clone(),
                tree.log_key(),
                options.log,
                tree.base(),
                &mut |number, record| {
                    if number > tree.flushed() {
                        for change in batch::decode(record)? {
                            memory_bytes += put(&mut memory, change);
                        }
                    }
                    Ok::<(), NotABatch>(())
                },
            )?
        };
        tree.settle(log.position().records)?;
        Ok(Self {
            disk,
            options,
            log,
            memory: Arc::new(memory),
            memory_bytes,
            tree,
        })
    }

    /// How large it is.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let (runs, run_bytes, entries) = self.tree.sizes();
        Sizes {
            memory_bytes: self.memory_bytes,
            runs,
            run_bytes,
            entries,
        }
    }

    /// How far its log has come.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        self.log.position()
    }

    /// What was found wrong and made good, or keeps runs from being merged.
    #[must_use]
    pub fn damages(&self) -> &[StorageError] {
        self.tree.damages()
    }

    /// The state at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<D::File> {
        Snapshot {
            memory: Arc::clone(&self.memory),
            runs: self.tree.view(),
        }
    }

    /// Moves what is in memory into a run, and gives back the space that the log took for it.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn flush(&mut self) -> Result<(), StorageError> {
        self.tree.check_failed()?;
        if self.memory.is_empty() {
            return Ok(());
        }
        let flushed = self.log.position().records;
        self.tree
            .put_on_top(&self.memory, flushed, self.log.segments())?;
        self.memory = Arc::default();
        self.memory_bytes = 0;
        Ok(())
    }

    /// Merges all runs into one: what was replaced or deleted gives its space back.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn compact(&mut self) -> Result<(), StorageError> {
        self.flush()?;
        self.tree.merge_all()
    }

    /// Authenticates every byte of every run, the manifest and the log.
    ///
    /// # Errors
    /// [`StorageError::Disk`]; damages are no error, they are the report.
    pub fn verify(&self) -> Result<Vec<StorageError>, StorageError> {
        let mut damages = tree::verify(&self.disk, self.tree.keys())?.damages;
        match log::verify_behind(&self.disk, &self.tree.log_key(), self.tree.base()) {
            Ok(report) => {
                damages.extend(report.damages.iter().map(|damage| StorageError::Damaged {
                    file: damage.file.clone(),
                    what: damage.to_string(),
                }));
            }
            Err(error) => damages.push(StorageError::Damaged {
                file: "the log".to_owned(),
                what: error.to_string(),
            }),
        }
        Ok(damages)
    }
}

impl<D: Disk> Storage for SealedStorage<D> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.tree.get(&self.memory, key)
    }

    fn scan(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Pair>, StorageError> {
        self.tree.scan(&self.memory, (prefix, after), limit)
    }

    fn commit(&mut self, batch: &[Change]) -> Result<(), StorageError> {
        self.tree.check_failed()?;
        let record = batch::encode(batch)?;
        let bytes = record.len();
        if bytes > self.log.record_bytes_max() {
            return Err(StorageError::TooLong {
                what: "a batch",
                length: bytes,
                maximum: self.log.record_bytes_max(),
            });
        }
        if batch.is_empty() {
            return Ok(());
        }
        let committed = self.log.commit(&[record]).map(drop);
        self.tree
            .note_failed(committed.map_err(StorageError::from))?;
        let memory = Arc::make_mut(&mut self.memory);
        for change in batch {
            self.memory_bytes += put(memory, change.clone());
        }
        // The batch is durable: what goes wrong from here on is told by the next one.
        if self.memory_bytes >= self.options.memory_bytes
            && let Err(error @ (StorageError::Damaged { .. } | StorageError::Disk(_))) =
                self.flush()
        {
            self.tree.end_merging(error);
        } else {
            let _told_by_the_next = self.tree.tend(bytes);
        }
        Ok(())
    }
}

impl<F: DiskFile> Snapshot<F> {
    /// The value of a key.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.runs.get(&self.memory, key)
    }

    /// As [`Storage::scan`].
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn scan(
        &self,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        self.runs.scan(&self.memory, (prefix, after), limit)
    }
}

/// Puts a change among others; how many bytes more it takes, at most.
fn put(memory: &mut Memory, change: Change) -> usize {
    let bytes = change.bytes() + ENTRY_OVERHEAD;
    memory.insert(change.key, change.value);
    bytes
}
