//! What an engine is told: its keys and its sizes.

use sealmoot_crypto::aead::RecordKey;
use sealmoot_crypto::kdf;
use sealmoot_crypto::secret::SecretArray;

use crate::log::sealed_file::SealedFileKey;
use crate::log::{LogKey, LogOptions};

/// The keys of an engine, all from one root key that lies on another disk.
pub struct StorageKeys {
    root: SecretArray<32>,
}

impl StorageKeys {
    /// Those of the node with this root key.
    #[must_use]
    pub fn from_root(root: SecretArray<32>) -> Self {
        Self { root }
    }

    pub(super) fn log(&self) -> LogKey {
        LogKey::from_root(&self.root)
    }

    pub(super) fn manifest(&self) -> SealedFileKey {
        SealedFileKey::from_root(&self.root)
    }

    /// The key of one run: no two runs share one, since no two have the same id.
    pub(super) fn run(&self, id: &[u8; 16]) -> RecordKey {
        RecordKey::from_secret(&kdf::derive(self.root.expose(), "kv run", id))
    }
}

/// A size that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} has to be {least} bytes at least and {most} at most")]
pub struct OptionsError {
    what: &'static str,
    least: usize,
    most: usize,
}

/// Sizes of an engine.
#[derive(Debug, Clone, Copy)]
pub struct StorageOptions {
    pub(super) log: LogOptions,
    pub(super) memory_bytes: usize,
    pub(super) block_bytes: usize,
    pub(super) cache_bytes: usize,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self {
            log: LogOptions::default(),
            memory_bytes: 32 * 1024 * 1024,
            block_bytes: 16 * 1024,
            cache_bytes: 64 * 1024 * 1024,
        }
    }
}

impl StorageOptions {
    /// With these of the log.
    #[must_use]
    pub fn with_log(self, log: LogOptions) -> Self {
        Self { log, ..self }
    }

    /// With so many bytes of keys and values in memory before they become a run.
    ///
    /// # Errors
    /// [`OptionsError`] for less than 1 KiB or more than 1 GiB.
    pub fn with_memory_bytes(self, memory_bytes: usize) -> Result<Self, OptionsError> {
        check("memory", memory_bytes, 1024, 1 << 30)?;
        Ok(Self {
            memory_bytes,
            ..self
        })
    }

    /// With blocks of about so many bytes. A block has one pair at least.
    ///
    /// # Errors
    /// [`OptionsError`] for less than 64 bytes or more than 1 MiB.
    pub fn with_block_bytes(self, block_bytes: usize) -> Result<Self, OptionsError> {
        check("a block", block_bytes, 64, 1 << 20)?;
        Ok(Self {
            block_bytes,
            ..self
        })
    }

    /// With a cache of so many bytes of opened blocks; 0 for none.
    ///
    /// # Errors
    /// [`OptionsError`] for more than 64 GiB.
    pub fn with_cache_bytes(self, cache_bytes: usize) -> Result<Self, OptionsError> {
        check("the cache", cache_bytes, 0, 64 << 30)?;
        Ok(Self {
            cache_bytes,
            ..self
        })
    }
}

fn check(what: &'static str, value: usize, least: usize, most: usize) -> Result<(), OptionsError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(OptionsError { what, least, most })
}
