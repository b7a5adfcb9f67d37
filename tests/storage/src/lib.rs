//! The storage engine against a plain map and another database, in volume.
//!
//! [`model`] does any operations in any order, with power cuts, failing writes and
//! reopening, and compares every answer with both. [`flips`] changes every bit of every file
//! of a small storage, one at a time. [`mod@bench`] measures it beside another database. [`oracle`] is the other database behind the same trait.
//!
//! ```
//! let done = sealmoot_storage::model::run(1, 500);
//! assert!(done.operations >= 500);
//! ```

pub mod bench;
pub mod flips;
pub mod model;
pub mod oracle;

use sealmoot_crypto::secret::SecretArray;
use sealmoot_kv::disk::MemoryDisk;
use sealmoot_kv::log::LogOptions;
use sealmoot_kv::storage::{Change, SealedStorage, StorageKeys, StorageOpenError, StorageOptions};

/// Random choices that a seed repeats (SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Choices(pub u64);

impl Choices {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.number()) * bound as u128) >> 64) as usize
    }
}

/// Keys of a node that exists nowhere else.
#[must_use]
pub fn keys() -> StorageKeys {
    StorageKeys::from_root(SecretArray::from_bytes([7; 32]))
}

/// Sizes so small that a few batches make runs, merges and segments of the log.
///
/// # Panics
/// Never: they are admitted.
#[must_use]
pub fn options() -> StorageOptions {
    let log = LogOptions::default()
        .with_segment_bytes(16 * 1024)
        .expect("admitted")
        .without_helper();
    StorageOptions::default()
        .with_log(log)
        .with_memory_bytes(8 * 1024)
        .and_then(|options| options.with_block_bytes(512))
        .and_then(|options| options.with_cache_bytes(16 * 1024))
        .expect("admitted")
}

/// Opens the storage on a disk in memory.
///
/// # Errors
/// [`StorageOpenError`].
pub fn open(disk: &MemoryDisk) -> Result<SealedStorage<MemoryDisk>, StorageOpenError> {
    SealedStorage::open(disk.clone(), keys(), options())
}

/// A batch of a few changes to a few hundred keys.
pub fn batch(choices: &mut Choices) -> Vec<Change> {
    (0..1 + choices.below(8))
        .map(|_| {
            let key = format!("{:x}/{}", choices.below(16), choices.below(24));
            if choices.below(4) == 0 {
                return Change::delete(key);
            }
            let length = [0, 8, 40, 200, 1500][choices.below(5)];
            let byte = u8::try_from(choices.below(256)).unwrap_or_default();
            Change::put(key, vec![byte; length])
        })
        .collect()
}
