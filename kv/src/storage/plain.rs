//! A map in memory: nothing survives, and nothing fails.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::{Change, Pair, Storage, StorageError, batch};

/// Ordered keys and values in memory alone.
#[derive(Debug, Clone, Default)]
pub struct PlainStorage {
    pairs: BTreeMap<Bytes, Bytes>,
}

impl PlainStorage {
    /// All pairs, in order of key.
    pub fn pairs(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.pairs.iter()
    }
}

impl Storage for PlainStorage {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.pairs.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Pair>, StorageError> {
        let from = super::merge::start(prefix, after);
        let from = from.as_ref().map(|key| Bytes::copy_from_slice(key));
        let pairs = self.pairs.range((from, Bound::Unbounded));
        let pairs = pairs.take_while(|(key, _)| key.starts_with(prefix));
        Ok(pairs
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn commit(&mut self, batch: &[Change]) -> Result<(), StorageError> {
        // The same limits as where a disk is behind it.
        batch::encode(batch)?;
        for change in batch {
            match &change.value {
                Some(value) => self.pairs.insert(change.key.clone(), value.clone()),
                None => self.pairs.remove(&change.key),
            };
        }
        Ok(())
    }
}
