//! The engine against a plain map.

mod crashes;
mod damages;
mod model;

use sealmoot_crypto::secret::SecretArray;

use super::{Change, PlainStorage, SealedStorage, Storage, StorageKeys, StorageOptions};
use crate::disk::{Choices, Disk, MemoryDisk};
use crate::log::LogOptions;

pub(super) fn keys(number: u8) -> StorageKeys {
    StorageKeys::from_root(SecretArray::from_bytes([number; 32]))
}

/// So small that a few batches make several runs, merges and segments of the log.
pub(super) fn options() -> StorageOptions {
    let log = LogOptions::default()
        .with_segment_bytes(8192)
        .expect("admitted")
        .without_helper();
    StorageOptions::default()
        .with_log(log)
        .with_memory_bytes(2048)
        .and_then(|options| options.with_block_bytes(128))
        .and_then(|options| options.with_cache_bytes(4096))
        .expect("admitted")
}

pub(super) fn open(disk: &MemoryDisk) -> SealedStorage<MemoryDisk> {
    SealedStorage::open(disk.clone(), keys(1), options()).expect("opens")
}

/// A batch of a few changes to a few keys.
pub(super) fn batch(choices: &mut Choices) -> Vec<Change> {
    (0..1 + choices.below(6))
        .map(|_| {
            let key = format!("{}/{}", choices.below(4), choices.below(40));
            if choices.below(4) == 0 {
                return Change::delete(key);
            }
            let length = [0, 10, 60, 400][choices.below(4)];
            let byte = u8::try_from(choices.below(256)).expect("below");
            Change::put(key, vec![byte; length])
        })
        .collect()
}

/// All pairs of a storage.
pub(super) fn all(storage: &impl Storage) -> Vec<super::Pair> {
    storage.scan(b"", b"", usize::MAX).expect("reads")
}

/// The same keys with the same values, one by one and together.
#[track_caller]
pub(super) fn assert_same(storage: &impl Storage, model: &PlainStorage, at: &str) {
    let pairs = all(storage);
    let expected: Vec<_> = model
        .pairs()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    assert_eq!(pairs, expected, "{at}");
}
