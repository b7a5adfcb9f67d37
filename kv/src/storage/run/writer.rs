//! Writing a run: entries in ascending order, then the file is sealed for good.

use bytes::Bytes;
use sealmoot_crypto::aead::RecordKey;
use sealmoot_crypto::encoding::Writer;
use sealmoot_crypto::random;

use super::filter::{Filter, KeyHash};
use super::{BLOCKS_MAX, HEADER_BYTES, MAGIC, PART_BYTES_MAX, Part, Placed, run_name};
use crate::disk::{Disk, DiskFile};
use crate::storage::StorageError;
use crate::storage::manifest::RunInfo;
use crate::storage::options::StorageKeys;

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 256 * 1024;

/// A run that is being written. Dropped before its end it is a file that nothing names, and
/// the next opening removes it.
pub(in crate::storage) struct RunWriter<F> {
    file: F,
    id: [u8; 16],
    key: RecordKey,
    block_bytes: usize,
    block: Writer,
    first: Option<Bytes>,
    last: Bytes,
    blocks: Vec<Placed>,
    hashes: Vec<KeyHash>,
    /// Sealed and not written yet.
    pending: Vec<u8>,
    /// Where `pending` begins.
    written: u64,
}

impl<F: DiskFile> RunWriter<F> {
    pub(in crate::storage) fn create<D: Disk<File = F>>(
        disk: &D,
        keys: &StorageKeys,
        block_bytes: usize,
    ) -> Result<Self, StorageError> {
        let id: [u8; 16] =
            random::array().map_err(|error| StorageError::Failed(error.to_string()))?;
        let file = disk
            .create(&run_name(&id), 0)
            .map_err(|error| StorageError::Failed(error.to_string()))?;
        let mut pending = Vec::with_capacity(WRITE_BYTES);
        pending.extend_from_slice(MAGIC);
        pending.extend_from_slice(&id);
        debug_assert_eq!(pending.len(), HEADER_BYTES);
        Ok(Self {
            file,
            id,
            key: keys.run(&id),
            block_bytes,
            block: Writer::new(),
            first: None,
            last: Bytes::new(),
            blocks: Vec::new(),
            hashes: Vec::new(),
            pending,
            written: 0,
        })
    }

    /// The run's id.
    pub(in crate::storage) fn id(&self) -> [u8; 16] {
        self.id
    }

    /// Adds an entry whose key is above all before.
    pub(in crate::storage) fn push(
        &mut self,
        key: &Bytes,
        value: Option<&Bytes>,
    ) -> Result<(), StorageError> {
        debug_assert!(self.first.is_none() || *key > self.last);
        self.first.get_or_insert_with(|| key.clone());
        self.last = key.clone();
        self.hashes.push(KeyHash::of(key));
        self.block.bytes(key);
        self.block.flag(value.is_some());
        if let Some(value) = value {
            self.block.bytes(value);
        }
        if self.block.len() >= self.block_bytes {
            self.end_block()?;
        }
        Ok(())
    }

    /// Ends the file and makes its content durable; its name is when the directory is synced
    /// next. None where nothing was pushed: then the file is for nobody.
    pub(in crate::storage) fn finish(mut self) -> Result<Option<RunInfo>, StorageError> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let Some(first) = self.first.take() else {
            return Ok(None);
        };
        let index_offset = self.written + self.pending.len() as u64;
        let mut index = Writer::new();
        index.bytes(&first);
        index.count(self.blocks.len());
        for block in &self.blocks {
            index.u64(block.offset);
            index.u32(block.length);
            index.bytes(&block.last);
        }
        let index_bytes = self.seal(Part::Index, &index.finish())?;
        let filter = Filter::of(&self.hashes).encode();
        let filter_bytes = self.seal(Part::Filter, &filter)?;
        let entries = self.hashes.len() as u64;
        let bytes = index_offset
            + u64::from(index_bytes)
            + u64::from(filter_bytes)
            + super::FOOTER_BYTES as u64;
        let mut footer = Writer::new();
        footer.u64(entries);
        footer.u64(index_offset);
        footer.u32(index_bytes);
        footer.u32(filter_bytes);
        footer.u64(bytes);
        self.seal(Part::Footer, &footer.finish())?;
        self.write_pending()?;
        self.file
            .sync_data()
            .map_err(|error| StorageError::Failed(error.to_string()))?;
        Ok(Some(RunInfo {
            id: self.id,
            bytes,
            entries,
        }))
    }

    fn end_block(&mut self) -> Result<(), StorageError> {
        if self.blocks.len() == BLOCKS_MAX {
            return Err(StorageError::Failed("a run has too many blocks".to_owned()));
        }
        let number = u32::try_from(self.blocks.len()).expect("at most BLOCKS_MAX");
        let plaintext = std::mem::take(&mut self.block).finish();
        let offset = self.written + self.pending.len() as u64;
        let length = self.seal(Part::Block(number), &plaintext)?;
        self.blocks.push(Placed {
            offset,
            length,
            last: self.last.clone(),
        });
        if self.pending.len() >= WRITE_BYTES {
            self.write_pending()?;
        }
        Ok(())
    }

    fn seal(&mut self, part: Part, plaintext: &[u8]) -> Result<u32, StorageError> {
        let sealed = self.key.seal(&part.associated_data(), plaintext);
        let sealed = sealed.map_err(|error| StorageError::Failed(error.to_string()))?;
        self.pending.extend_from_slice(&sealed);
        u32::try_from(sealed.len())
            .ok()
            .filter(|length| *length as usize <= PART_BYTES_MAX)
            .ok_or_else(|| StorageError::Failed("a run has too many keys".to_owned()))
    }

    fn write_pending(&mut self) -> Result<(), StorageError> {
        self.file
            .write_at(self.written, &self.pending)
            .map_err(|error| StorageError::Failed(error.to_string()))?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}
