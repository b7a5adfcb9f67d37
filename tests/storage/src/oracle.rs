//! Another embedded database behind the engine's trait. Its own tests are its own affair:
//! what two that share no code agree on is believed.

use bytes::Bytes;
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, TableDefinition};
use sealmoot_kv::storage::{Change, Pair, Storage, StorageError};

const PAIRS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("pairs");

/// A database in memory.
pub struct Oracle(Database);

impl Oracle {
    /// An empty one.
    ///
    /// # Errors
    /// [`StorageError::Failed`].
    pub fn new() -> Result<Self, StorageError> {
        let database = Database::builder()
            .create_with_backend(InMemoryBackend::new())
            .map_err(|error| failed(&error))?;
        let begun = database.begin_write().map_err(|error| failed(&error))?;
        begun.open_table(PAIRS).map_err(|error| failed(&error))?;
        begun.commit().map_err(|error| failed(&error))?;
        Ok(Self(database))
    }
}

fn failed(error: &dyn std::error::Error) -> StorageError {
    StorageError::Failed(error.to_string())
}

impl Storage for Oracle {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let begun = self.0.begin_read().map_err(|error| failed(&error))?;
        let table = begun.open_table(PAIRS).map_err(|error| failed(&error))?;
        let found = table.get(key).map_err(|error| failed(&error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn scan(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Pair>, StorageError> {
        let begun = self.0.begin_read().map_err(|error| failed(&error))?;
        let table = begun.open_table(PAIRS).map_err(|error| failed(&error))?;
        let from = if after > prefix { after } else { prefix };
        let range = table.range(from..).map_err(|error| failed(&error))?;
        let mut pairs = Vec::new();
        for entry in range {
            let (key, value) = entry.map_err(|error| failed(&error))?;
            let is_last = !after.is_empty() && key.value() == after;
            if pairs.len() == limit || !key.value().starts_with(prefix) {
                break;
            }
            if !is_last {
                pairs.push((
                    Bytes::copy_from_slice(key.value()),
                    Bytes::copy_from_slice(value.value()),
                ));
            }
        }
        Ok(pairs)
    }

    fn commit(&mut self, batch: &[Change]) -> Result<(), StorageError> {
        let begun = self.0.begin_write().map_err(|error| failed(&error))?;
        {
            let mut table = begun.open_table(PAIRS).map_err(|error| failed(&error))?;
            for change in batch {
                match &change.value {
                    Some(value) => table.insert(&change.key[..], &value[..]).map(drop),
                    None => table.remove(&change.key[..]).map(drop),
                }
                .map_err(|error| failed(&error))?;
            }
        }
        begun.commit().map_err(|error| failed(&error))
    }
}
