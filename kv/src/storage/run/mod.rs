//! A run: a file of sorted entries that never changes, in sealed blocks.
//!
//! ```text
//! 0       4   "SMR1"
//! 4      16   id of the run, random; also in the file's name
//! 20      …   blocks, then the index, the filter and the footer, each sealed
//!
//! sealed      nonce 24 | ciphertext | tag 16: XAES-256-GCM under the run's own key (context
//!             `kv run` and the id, from the node's root key); associated data
//!             "kv run 1" | what it is u8 (1 block, 2 index, 3 filter, 4 footer) | number u32
//! block       entries in ascending order: key (u32 length, bytes), flag, and if it is set
//!             the value (u32 length, bytes); without it the key was deleted
//! index       first key of the run, count u32, each block: offset u64, length u32, last key
//! filter      a Bloom filter over the keys (`filter`)
//! footer      entries u64, offset of the index u64, its length u32, the filter's u32, length
//!             of the file u64
//! ```
//!
//! A run's id is drawn for it and never used again: a file that was half written is thrown
//! away, and its key with it. So under one key there is one content, and what authenticates
//! as block n of this run is what was written there: no other block, no other run and no
//! earlier state can stand in for it.

mod filter;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use sealmoot_crypto::aead::RecordKey;
use sealmoot_crypto::encoding::{EncodingError, Reader};

use super::StorageError;
use super::batch::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use super::cache::BlockCache;
use super::manifest::RunInfo;
use super::merge::{Entry, Source};
use super::options::StorageKeys;
use crate::disk::{Disk, DiskFile};
use filter::Filter;
pub(super) use filter::KeyHash;
pub(super) use writer::RunWriter;

/// What the names of runs begin with; no other file's name may.
pub(super) const RUN_PREFIX: &str = "run-";
const MAGIC: &[u8; 4] = b"SMR1";
const HEADER_BYTES: usize = 20;
const LABEL: &[u8] = b"kv run 1";
const FOOTER_PLAIN_BYTES: usize = 32;
const FOOTER_BYTES: usize = FOOTER_PLAIN_BYTES + RecordKey::OVERHEAD;
/// Longest sealed block in bytes: one block's worth and one entry.
const BLOCK_BYTES_MAX: usize =
    (1 << 20) + KEY_BYTES_MAX + VALUE_BYTES_MAX + 16 + RecordKey::OVERHEAD;
/// Longest sealed index or filter in bytes.
const PART_BYTES_MAX: usize = 1 << 30;
/// Most blocks of a run.
const BLOCKS_MAX: usize = 1 << 27;

/// What a sealed part is.
#[derive(Debug, Clone, Copy)]
enum Part {
    Block(u32),
    Index,
    Filter,
    Footer,
}

impl Part {
    fn associated_data(self) -> [u8; 13] {
        let (kind, number) = match self {
            Self::Block(number) => (1, number),
            Self::Index => (2, 0),
            Self::Filter => (3, 0),
            Self::Footer => (4, 0),
        };
        let mut data = [0; 13];
        data[..8].copy_from_slice(LABEL);
        data[8] = kind;
        data[9..].copy_from_slice(&u32::to_le_bytes(number));
        data
    }

    fn name(self) -> String {
        match self {
            Self::Block(number) => format!("block {number}"),
            Self::Index => "the index".to_owned(),
            Self::Filter => "the filter".to_owned(),
            Self::Footer => "the footer".to_owned(),
        }
    }
}

/// The name of a run's file.
pub(super) fn run_name(id: &[u8; 16]) -> String {
    format!("{RUN_PREFIX}{:032x}", u128::from_be_bytes(*id))
}

/// Entries of one block, opened.
#[derive(Debug)]
pub(super) struct Block {
    entries: Vec<Entry>,
    bytes: usize,
}

impl Block {
    #[cfg(test)]
    pub(super) fn of(entries: Vec<Entry>) -> Self {
        let bytes = entries.iter().map(|(key, _)| key.len()).sum();
        Self { entries, bytes }
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.entries.len() * size_of::<Entry>()
    }

    fn decode(plaintext: &[u8]) -> Result<Self, EncodingError> {
        let plaintext = Bytes::copy_from_slice(plaintext);
        let mut reader = Reader::new(&plaintext);
        let mut entries: Vec<Entry> = Vec::new();
        while !reader.is_empty() {
            let key = plaintext.slice_ref(reader.bytes(KEY_BYTES_MAX)?);
            let value = match reader.flag()? {
                true => Some(plaintext.slice_ref(reader.bytes(VALUE_BYTES_MAX)?)),
                false => None,
            };
            if entries.last().is_some_and(|(last, _)| *last >= key) {
                return Err(EncodingError::Invalid("keys out of order"));
            }
            entries.push((key, value));
        }
        Ok(Self {
            entries,
            bytes: plaintext.len(),
        })
    }
}

/// Where a block lies, and the last key in it.
#[derive(Debug)]
struct Placed {
    offset: u64,
    length: u32,
    last: Bytes,
}

/// A run, open for reading.
pub(super) struct Run<F> {
    file: F,
    info: RunInfo,
    key: RecordKey,
    /// Which run it is in this process.
    number: u64,
    first: Bytes,
    blocks: Vec<Placed>,
    filter: Filter,
}

impl<F: DiskFile> Run<F> {
    /// Opens a run that the manifest names.
    ///
    /// # Errors
    /// [`StorageError::Damaged`], [`StorageError::Disk`].
    pub(super) fn open<D: Disk<File = F>>(
        disk: &D,
        keys: &StorageKeys,
        info: RunInfo,
    ) -> Result<Self, StorageError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = run_name(&info.id);
        let file = disk.open(&name).map_err(|error| {
            if error.is_not_found() {
                return damaged(&info.id, "it is missing");
            }
            error.into()
        })?;
        let length = file.length()?;
        if length != info.bytes {
            let what = format!("it has {length} bytes and should have {}", info.bytes);
            return Err(damaged(&info.id, what));
        }
        let mut run = Self {
            file,
            info,
            key: keys.run(&info.id),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            first: Bytes::new(),
            blocks: Vec::new(),
            filter: Filter::none(),
        };
        run.read_header()?;
        let footer = run.read_footer()?;
        run.read_index(&footer)?;
        run.read_filter(&footer)?;
        Ok(run)
    }

    pub(super) fn info(&self) -> &RunInfo {
        &self.info
    }

    /// Which run it is in this process.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// What was last done with a key, as far as this run knows.
    pub(super) fn get(
        &self,
        key: &[u8],
        hash: &KeyHash,
        cache: &BlockCache,
    ) -> Result<Option<Option<Bytes>>, StorageError> {
        if key < &self.first[..] || !self.filter.may_contain(hash) {
            return Ok(None);
        }
        let at = self.blocks.partition_point(|block| &block.last[..] < key);
        let Some(block) = self.block(at, Some(cache))? else {
            return Ok(None);
        };
        let found = block
            .entries
            .binary_search_by(|(held, _)| held[..].cmp(key));
        Ok(found.ok().map(|index| block.entries[index].1.clone()))
    }

    /// Reads everything and checks that it is what the index says.
    pub(super) fn verify(&self) -> Result<(), StorageError> {
        let mut entries = 0;
        let mut last: Option<Bytes> = None;
        for at in 0..self.blocks.len() {
            let block = self.block(at, None)?.expect("it is one of them");
            let first = block.entries.first().map(|(key, _)| key.clone());
            let in_order = last.is_none() || last < first;
            let ends = block.entries.last().map(|(key, _)| key);
            if !in_order || ends != Some(&self.blocks[at].last) {
                return Err(self.damaged("the index does not fit the blocks"));
            }
            entries += block.entries.len() as u64;
            last = Some(self.blocks[at].last.clone());
        }
        if entries != self.info.entries {
            return Err(self.damaged("it has another number of entries"));
        }
        Ok(())
    }

    /// Authenticates the block at a place; how long it is, or none behind the last.
    pub(super) fn verify_block(&self, at: usize) -> Result<Option<u64>, StorageError> {
        let Some(block) = self.block(at, None)? else {
            return Ok(None);
        };
        let placed = &self.blocks[at];
        if block.entries.last().map(|(key, _)| key) != Some(&placed.last) {
            return Err(self.damaged("the index does not fit the blocks"));
        }
        Ok(Some(u64::from(placed.length)))
    }

    /// The block at a place; none behind the last.
    fn block(
        &self,
        at: usize,
        cache: Option<&BlockCache>,
    ) -> Result<Option<Arc<Block>>, StorageError> {
        let Some(placed) = self.blocks.get(at) else {
            return Ok(None);
        };
        let number = u32::try_from(at).expect("at most BLOCKS_MAX");
        let id = (self.number, number);
        if let Some(block) = cache.and_then(|cache| cache.get(id)) {
            return Ok(Some(block));
        }
        let part = Part::Block(number);
        let mut sealed = vec![0; placed.length as usize];
        self.file.read_at(placed.offset, &mut sealed)?;
        let plaintext = self.open_part(part, &mut sealed)?;
        let block = Block::decode(plaintext)
            .map_err(|error| self.damaged(format!("{}: {error}", part.name())))?;
        let block = Arc::new(block);
        if let Some(cache) = cache {
            cache.put(id, Arc::clone(&block));
        }
        Ok(Some(block))
    }

    fn read_header(&self) -> Result<(), StorageError> {
        if self.info.bytes < (HEADER_BYTES + FOOTER_BYTES) as u64 {
            return Err(self.damaged("it is too short"));
        }
        let mut header = [0; HEADER_BYTES];
        self.file.read_at(0, &mut header)?;
        if header[..4] != *MAGIC || header[4..] != self.info.id {
            return Err(self.damaged("it does not begin as this run does"));
        }
        Ok(())
    }

    fn read_footer(&self) -> Result<Footer, StorageError> {
        let mut sealed = vec![0; FOOTER_BYTES];
        let at = self.info.bytes - FOOTER_BYTES as u64;
        self.file.read_at(at, &mut sealed)?;
        let plaintext = self.open_part(Part::Footer, &mut sealed)?;
        let footer = Footer::decode(plaintext).map_err(|error| self.damaged(error.to_string()))?;
        let ends = [footer.index_bytes, footer.filter_bytes, FOOTER_BYTES as u32];
        let end = ends.iter().fold(footer.index_offset, |end, length| {
            end.saturating_add(u64::from(*length))
        });
        let fits = footer.file_bytes == self.info.bytes
            && end == self.info.bytes
            && footer.entries == self.info.entries
            && footer.index_bytes as usize <= PART_BYTES_MAX
            && footer.filter_bytes as usize <= PART_BYTES_MAX;
        if !fits {
            return Err(self.damaged("its footer does not fit it"));
        }
        Ok(footer)
    }

    fn read_index(&mut self, footer: &Footer) -> Result<(), StorageError> {
        let mut sealed = vec![0; footer.index_bytes as usize];
        self.file.read_at(footer.index_offset, &mut sealed)?;
        let plaintext = self.open_part(Part::Index, &mut sealed)?;
        let (first, blocks) = decode_index(plaintext, footer.index_offset)
            .map_err(|error| self.damaged(format!("the index: {error}")))?;
        self.first = first;
        self.blocks = blocks;
        Ok(())
    }

    fn read_filter(&mut self, footer: &Footer) -> Result<(), StorageError> {
        let mut sealed = vec![0; footer.filter_bytes as usize];
        let at = footer.index_offset + u64::from(footer.index_bytes);
        self.file.read_at(at, &mut sealed)?;
        let plaintext = self.open_part(Part::Filter, &mut sealed)?;
        self.filter = Filter::decode(plaintext)
            .map_err(|error| self.damaged(format!("the filter: {error}")))?;
        Ok(())
    }

    fn open_part<'a>(&self, part: Part, sealed: &'a mut [u8]) -> Result<&'a [u8], StorageError> {
        let opened = self.key.open(&part.associated_data(), sealed);
        let plaintext = opened
            .map_err(|_| self.damaged(format!("{} was altered, or is another's", part.name())))?;
        Ok(plaintext)
    }

    fn damaged(&self, what: impl Into<String>) -> StorageError {
        damaged(&self.info.id, what)
    }
}

fn damaged(id: &[u8; 16], what: impl Into<String>) -> StorageError {
    StorageError::Damaged {
        file: run_name(id),
        what: what.into(),
    }
}

fn decode_index(
    plaintext: &[u8],
    index_offset: u64,
) -> Result<(Bytes, Vec<Placed>), EncodingError> {
    let plaintext = Bytes::copy_from_slice(plaintext);
    let mut reader = Reader::new(&plaintext);
    let first = plaintext.slice_ref(reader.bytes(KEY_BYTES_MAX)?);
    let count = reader.count(BLOCKS_MAX)?;
    let mut blocks: Vec<Placed> = Vec::with_capacity(count.min(1 << 16));
    let mut expected = HEADER_BYTES as u64;
    for _ in 0..count {
        let (offset, length) = (reader.u64()?, reader.u32()?);
        let last = plaintext.slice_ref(reader.bytes(KEY_BYTES_MAX)?);
        let follows = offset == expected
            && length as usize <= BLOCK_BYTES_MAX
            && blocks.last().is_none_or(|before| before.last < last);
        if !follows {
            return Err(EncodingError::Invalid("blocks out of order"));
        }
        expected = offset + u64::from(length);
        blocks.push(Placed {
            offset,
            length,
            last,
        });
    }
    reader.finish()?;
    if expected != index_offset {
        return Err(EncodingError::Invalid("a gap behind the blocks"));
    }
    Ok((first, blocks))
}

struct Footer {
    entries: u64,
    index_offset: u64,
    index_bytes: u32,
    filter_bytes: u32,
    file_bytes: u64,
}

impl Footer {
    fn decode(plaintext: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(plaintext);
        let footer = Self {
            entries: reader.u64()?,
            index_offset: reader.u64()?,
            index_bytes: reader.u32()?,
            filter_bytes: reader.u32()?,
            file_bytes: reader.u64()?,
        };
        reader.finish()?;
        Ok(footer)
    }
}

/// The entries of a run from some key on.
pub(super) struct RunEntries<F> {
    run: Arc<Run<F>>,
    /// None where what is read is not read again, as in a merge.
    cache: Option<Arc<BlockCache>>,
    block: Option<Arc<Block>>,
    at: (usize, usize),
}

impl<F: DiskFile> RunEntries<F> {
    /// All of them.
    pub(super) fn all(run: Arc<Run<F>>) -> Self {
        Self {
            run,
            cache: None,
            block: None,
            at: (0, 0),
        }
    }

    /// Those from a bound on.
    pub(super) fn from(
        run: Arc<Run<F>>,
        cache: Arc<BlockCache>,
        start: std::ops::Bound<&[u8]>,
    ) -> Result<Self, StorageError> {
        use std::ops::Bound;
        let before = |key: &[u8]| match start {
            Bound::Included(start) => key < start,
            Bound::Excluded(start) => key <= start,
            Bound::Unbounded => false,
        };
        let block_at = run.blocks.partition_point(|block| before(&block.last));
        let block = run.block(block_at, Some(&cache))?;
        let entry_at = block.as_ref().map_or(0, |block| {
            block.entries.partition_point(|(key, _)| before(key))
        });
        Ok(Self {
            run,
            cache: Some(cache),
            block,
            at: (block_at, entry_at),
        })
    }
}

impl<F: DiskFile> Source for RunEntries<F> {
    fn next(&mut self) -> Result<Option<Entry>, StorageError> {
        loop {
            if self.block.is_none() {
                self.block = self.run.block(self.at.0, self.cache.as_deref())?;
            }
            let Some(block) = &self.block else {
                return Ok(None);
            };
            if let Some(entry) = block.entries.get(self.at.1) {
                self.at.1 += 1;
                return Ok(Some(entry.clone()));
            }
            self.block = None;
            self.at = (self.at.0 + 1, 0);
        }
    }
}
