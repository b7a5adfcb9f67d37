//! Ordered keys and values on one disk: what a node keeps beyond its memory.
//!
//! [`Storage`] has three sides. [`SealedStorage`] is the engine: a log of batches, sorted
//! in memory, moved to immutable sealed *runs* that are merged as they grow. [`PlainStorage`]
//! is a map in memory, for machines that are tested without a disk. The tests add one over
//! another database, as an oracle.
//!
//! What `commit` acknowledged is on the medium, whole or not at all: a batch is one record of
//! the log. What is read was authenticated, or it is an error that names the place.
//!
//! From the outside in: `engine` commits and reads; `tree` moves what is in memory to runs and
//! names them; `compaction` merges runs in small steps; `manifest` says which runs and which part of the log there are; `run` is a
//! file of sorted, sealed blocks; `cache` keeps opened blocks. Formats and the reasons for
//! them: `kv/DESIGN.md`.

mod batch;
mod cache;
mod compaction;
mod engine;
mod manifest;
mod merge;
mod options;
mod plain;
mod run;
mod tree;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::disk::DiskError;
use crate::log::{CommitError, CreateError, OpenError};
use batch::NotABatch;

pub use batch::{BATCH_BYTES_MAX, Change, KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use engine::{SealedStorage, Sizes, Snapshot};
pub use options::{OptionsError, StorageKeys, StorageOptions};
pub use plain::PlainStorage;
pub(crate) use tree::{Memory, Scrub, Tree, View, both_missing, verify};

/// A key and its value.
pub type Pair = (Bytes, Bytes);

/// Whether a file of this name is the storage's.
pub(crate) fn is_file(name: &str) -> bool {
    name.starts_with(run::RUN_PREFIX) || manifest::MANIFEST_NAMES.contains(&name)
}

/// Ordered keys and values.
pub trait Storage {
    /// The value of a key.
    ///
    /// # Errors
    /// [`StorageError`].
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// The pairs behind `after` whose keys begin with `prefix`, in order of key, at most
    /// `limit` of them.
    ///
    /// # Errors
    /// [`StorageError`].
    fn scan(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Pair>, StorageError>;

    /// Makes all changes of a batch, or none; of several of one key the last counts. On
    /// return they survive a power cut.
    ///
    /// # Errors
    /// [`StorageError`]. After [`StorageError::Failed`] nothing is written any more, and the
    /// batch may turn out to be there.
    fn commit(&mut self, batch: &[Change]) -> Result<(), StorageError>;
}

/// Something was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A key, a value or the batch is too long. Nothing was written.
    #[error("{what} of {length} bytes; at most {maximum} are allowed")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The most.
        maximum: usize,
    },
    /// Bytes on the disk are not what was written.
    #[error("{file} is damaged: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// Which part of it, and what is wrong.
        what: String,
    },
    /// The disk could not be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A write or a sync failed, now or before: what the medium holds is not known until the
    /// storage is opened again.
    #[error("a write failed, so nothing is written any more: {0}")]
    Failed(String),
}

/// Storage was not opened.
#[derive(Debug, thiserror::Error)]
pub enum StorageOpenError {
    /// The log did not open.
    #[error(transparent)]
    Log(#[from] OpenError<NotABatch>),
    /// A new log was not made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The rest did not open.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<CommitError> for StorageError {
    fn from(error: CommitError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<DiskError> for StorageOpenError {
    fn from(error: DiskError) -> Self {
        Self::Storage(error.into())
    }
}
