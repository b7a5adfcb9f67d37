//! The engine: a log, what of it is not in a run yet, and runs.
//!
//! The order of every change on the disk is such that what is named is there and durable
//! before it is named, and what is not named any more is removed only behind that:
//!
//! 1. a run's content is synced, then the directory
//! 2. both copies of the manifest are replaced
//! 3. what neither of them names is removed: older runs, and segments of the log

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::{self, Change, NotABatch};
use super::cache::BlockCache;
use super::compaction::{self, Compaction, Stepped};
use super::manifest::{self, MANIFEST_NAMES, Manifest};
use super::merge::{Entry, Merge, Source, start};
use super::options::{StorageKeys, StorageOptions};
use super::run::{KeyHash, RUN_PREFIX, Run, RunEntries, RunWriter, run_name};
use super::{Pair, Storage, StorageError, StorageOpenError};
use crate::disk::{Disk, DiskFile, TEMPORARY_SUFFIX};
use crate::log::{self, Log, LogPosition};

/// What an entry takes in memory besides its bytes.
const ENTRY_OVERHEAD: usize = 96;
/// How many bytes are merged for each byte that is written: more than a merge of all runs
/// costs, so that merges come to their ends.
const MERGED_PER_WRITTEN: usize = 24;
/// What is merged at a commit at least.
const MERGED_MIN: usize = 4096;
/// With so many runs a commit waits for the merge.
const RUNS_MAX: usize = 32;
/// The incarnation of a log that is its own.
const INCARNATION: u64 = 1;

type Memory = BTreeMap<Bytes, Option<Bytes>>;

/// Sealed keys and values in one directory.
pub struct SealedStorage<D: Disk> {
    disk: D,
    keys: StorageKeys,
    options: StorageOptions,
    log: Log<D>,
    /// What is in no run. Shared with snapshots: copied when one of them still holds it.
    memory: Arc<Memory>,
    memory_bytes: usize,
    /// The newest first.
    runs: Vec<Arc<Run<D::File>>>,
    manifest: Manifest,
    cache: Arc<BlockCache>,
    compaction: Option<Compaction<D::File>>,
    /// Not any more once a run could not be read: it would fail at the same place again.
    merging: bool,
    /// Why nothing is written any more.
    failed: Option<String>,
    /// What was found wrong and made good, or is in nobody's way yet.
    damages: Vec<StorageError>,
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
    runs: Vec<Arc<Run<F>>>,
    cache: Arc<BlockCache>,
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
        // The process before may have died of a failed sync of the directory: which manifest
        // has its name must be what the medium holds, before anything is removed that the
        // one before still names.
        disk.sync_directory()?;
        let found = manifest::read(&disk, &keys.manifest())?;
        let is_new = found.manifest.is_none();
        let manifest = found.manifest.unwrap_or_default();
        if is_new && has_runs(&disk)? {
            return Err(StorageError::Damaged {
                file: MANIFEST_NAMES[0].to_owned(),
                what: "both copies are missing".to_owned(),
            }
            .into());
        }
        let mut runs = Vec::with_capacity(manifest.runs.len());
        for info in &manifest.runs {
            runs.push(Arc::new(Run::open(&disk, &keys, *info)?));
        }
        let mut memory = Memory::new();
        let mut memory_bytes = 0;
        let log = if is_new && !log::exists(&disk)? {
            Log::create(disk.clone(), keys.log(), INCARNATION, options.log)?
        } else {
            let base = manifest.base.as_ref();
            Log::open_behind(
                disk.clone(),
                keys.log(),
                options.log,
                base,
                &mut |number, record| {
                    if number > manifest.flushed {
                        for change in batch::decode(record)? {
                            memory_bytes += put(&mut memory, change);
                        }
                    }
                    Ok::<(), NotABatch>(())
                },
            )?
        };
        let mut storage = Self {
            cache: Arc::new(BlockCache::new(options.cache_bytes)),
            disk,
            keys,
            options,
            log,
            memory: Arc::new(memory),
            memory_bytes,
            runs,
            manifest,
            compaction: None,
            merging: true,
            failed: None,
            damages: found.damage.into_iter().collect(),
        };
        if storage.manifest.flushed > storage.log.position().records {
            return Err(StorageError::Damaged {
                file: "the log".to_owned(),
                what: format!(
                    "it ends at record {}, and runs hold {}",
                    storage.log.position().records,
                    storage.manifest.flushed
                ),
            }
            .into());
        }
        if is_new {
            storage.replace_manifest(Manifest::default())?;
        } else if found.differ {
            // The same change once more: what says it already is no old one.
            storage
                .manifest
                .write(&storage.disk, &storage.keys.manifest())?;
        }
        storage.remove_unnamed()?;
        Ok(storage)
    }

    /// How large it is.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            memory_bytes: self.memory_bytes,
            runs: self.runs.len(),
            run_bytes: self.runs.iter().map(|run| run.info().bytes).sum(),
            entries: self.runs.iter().map(|run| run.info().entries).sum(),
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
        &self.damages
    }

    /// The state at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<D::File> {
        Snapshot {
            memory: Arc::clone(&self.memory),
            runs: self.runs.clone(),
            cache: Arc::clone(&self.cache),
        }
    }

    /// Moves what is in memory into a run, and gives back the space that the log took for it.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn flush(&mut self) -> Result<(), StorageError> {
        self.check_failed()?;
        let flushed = self.flush_memory();
        self.note_failed(flushed)
    }

    /// Merges all runs into one: what was replaced or deleted gives its space back.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn compact(&mut self) -> Result<(), StorageError> {
        self.flush()?;
        self.abandon_compaction();
        if self.runs.is_empty() {
            return Ok(());
        }
        let merged = self
            .begin_compaction(self.runs.len())
            .and_then(|()| self.go_on(usize::MAX));
        self.note_failed(merged)
    }

    /// Authenticates every byte of every run, the manifest and the log.
    ///
    /// # Errors
    /// [`StorageError::Disk`]; damages are no error, they are the report.
    pub fn verify(&self) -> Result<Vec<StorageError>, StorageError> {
        let mut damages = Vec::new();
        let mut note = |outcome: Result<(), StorageError>| match outcome {
            Err(error @ StorageError::Damaged { .. }) => {
                damages.push(error);
                Ok(())
            }
            outcome => outcome,
        };
        let found = manifest::read(&self.disk, &self.keys.manifest());
        note(found.and_then(|found| found.damage.map_or(Ok(()), Err)))?;
        for info in &self.manifest.runs {
            note(Run::open(&self.disk, &self.keys, *info).and_then(|run| run.verify()))?;
        }
        let base = self.manifest.base.as_ref();
        match log::verify_behind(&self.disk, &self.keys.log(), base) {
            Ok(report) => {
                damages.extend(report.damages.iter().map(|damage| StorageError::Damaged {
                    file: damage.file.clone(),
                    what: damage.to_string(),
                }))
            }
            Err(error) => damages.push(StorageError::Damaged {
                file: "the log".to_owned(),
                what: error.to_string(),
            }),
        }
        Ok(damages)
    }

    fn check_failed(&self) -> Result<(), StorageError> {
        match &self.failed {
            Some(why) => Err(StorageError::Failed(why.clone())),
            None => Ok(()),
        }
    }

    /// After a write that failed nothing is written any more. What cannot be read keeps runs
    /// from being merged and is told, and no commit is refused for it.
    fn note_failed(&mut self, outcome: Result<(), StorageError>) -> Result<(), StorageError> {
        if let Err(StorageError::Failed(why)) = &outcome {
            self.failed = Some(why.clone());
        }
        outcome
    }

    fn flush_memory(&mut self) -> Result<(), StorageError> {
        if self.memory.is_empty() {
            return Ok(());
        }
        let flushed = self.log.position().records;
        let mut writer = RunWriter::create(&self.disk, &self.keys, self.options.block_bytes)?;
        let is_first = self.runs.is_empty();
        let id = writer.id();
        for (key, value) in self.memory.iter() {
            // Nothing older is there that would come back.
            if value.is_some() || !is_first {
                writer.push(key, value.as_ref())?;
            }
        }
        let written = writer.finish()?;
        self.sync_directory()?;
        let base = self.log.base_behind(flushed);
        let mut manifest = self.manifest.clone();
        manifest.flushed = flushed;
        manifest.base = Some(base);
        let run = match written {
            Some(info) => {
                manifest.runs.insert(0, info);
                Some(Arc::new(self.open_own(info)?))
            }
            None => None,
        };
        self.replace_manifest(manifest)?;
        match run {
            Some(run) => self.runs.insert(0, run),
            None => self.remove_run(&id)?,
        }
        self.memory = Arc::default();
        self.memory_bytes = 0;
        self.log
            .retire(&base)
            .map_err(|error| StorageError::Failed(error.to_string()))
    }

    /// What was just written has to open.
    fn open_own(&self, info: manifest::RunInfo) -> Result<Run<D::File>, StorageError> {
        let opened = Run::open(&self.disk, &self.keys, info);
        opened.map_err(|error| StorageError::Failed(error.to_string()))
    }

    /// Goes on with merging, by as much as was written.
    fn tend(&mut self, written: usize) -> Result<(), StorageError> {
        if !self.merging {
            return Ok(());
        }
        if self.compaction.is_none() {
            let sizes: Vec<u64> = self.runs.iter().map(|run| run.info().bytes).collect();
            let Some(count) = compaction::due(&sizes) else {
                return Ok(());
            };
            self.begin_compaction(count)?;
        }
        let budget = if self.runs.len() > RUNS_MAX {
            usize::MAX
        } else {
            written.saturating_mul(MERGED_PER_WRITTEN).max(MERGED_MIN)
        };
        self.go_on(budget)
    }

    fn begin_compaction(&mut self, count: usize) -> Result<(), StorageError> {
        let is_all = count == self.runs.len();
        let compaction = Compaction::begin(
            &self.disk,
            &self.keys,
            self.options.block_bytes,
            &self.runs[..count],
            is_all,
        )?;
        self.compaction = Some(compaction);
        Ok(())
    }

    fn go_on(&mut self, budget: usize) -> Result<(), StorageError> {
        let Some(compaction) = self.compaction.take() else {
            return Ok(());
        };
        let (inputs, merged) = match compaction.step(budget)? {
            Stepped::On(compaction) => {
                self.compaction = Some(compaction);
                return Ok(());
            }
            Stepped::Done(inputs, merged) => (inputs, merged),
        };
        self.sync_directory()?;
        let at = self
            .runs
            .iter()
            .position(|run| inputs.first() == Some(&run.info().id));
        let at = at.ok_or_else(|| StorageError::Failed("a merged run is gone".to_owned()))?;
        let mut manifest = self.manifest.clone();
        manifest.runs.drain(at..at + inputs.len());
        let run = match merged {
            Some(info) => {
                manifest.runs.insert(at, info);
                Some(Arc::new(self.open_own(info)?))
            }
            None => None,
        };
        self.replace_manifest(manifest)?;
        let former: Vec<_> = self.runs.drain(at..at + inputs.len()).collect();
        if let Some(run) = run {
            self.runs.insert(at, run);
        }
        for run in former {
            self.cache.forget(run.number());
            self.remove_run(&run.info().id)?;
        }
        self.remove_unnamed()
    }

    fn abandon_compaction(&mut self) {
        if let Some(compaction) = self.compaction.take() {
            // If it cannot go now, the next opening takes it.
            let _ = self.disk.remove(&run_name(&compaction.output()));
        }
    }

    fn replace_manifest(&mut self, mut manifest: Manifest) -> Result<(), StorageError> {
        manifest.counter = self.manifest.counter.saturating_add(1);
        manifest.write(&self.disk, &self.keys.manifest())?;
        self.manifest = manifest;
        Ok(())
    }

    fn sync_directory(&self) -> Result<(), StorageError> {
        let synced = self.disk.sync_directory();
        synced.map_err(|error| StorageError::Failed(error.to_string()))
    }

    fn remove_run(&self, id: &[u8; 16]) -> Result<(), StorageError> {
        match self.disk.remove(&run_name(id)) {
            Err(error) if !error.is_not_found() => Err(StorageError::Failed(error.to_string())),
            _ => Ok(()),
        }
    }

    /// Removes files of runs that the manifest does not name: half written, or replaced.
    fn remove_unnamed(&self) -> Result<(), StorageError> {
        let named: Vec<String> = self
            .manifest
            .runs
            .iter()
            .map(|run| run_name(&run.id))
            .collect();
        let growing = self.compaction.as_ref().map(|one| run_name(&one.output()));
        for name in self.disk.names()? {
            let is_temporary = MANIFEST_NAMES
                .iter()
                .any(|copy| name == format!("{copy}{TEMPORARY_SUFFIX}"));
            let is_run = name.starts_with(RUN_PREFIX)
                && !named.contains(&name)
                && growing.as_ref() != Some(&name);
            if is_run || is_temporary {
                let removed = self.disk.remove(&name);
                removed.map_err(|error| StorageError::Failed(error.to_string()))?;
            }
        }
        Ok(())
    }
}

impl<D: Disk> Storage for SealedStorage<D> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        get(&self.memory, &self.runs, &self.cache, key)
    }

    fn scan(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Pair>, StorageError> {
        scan(
            &self.memory,
            &self.runs,
            &self.cache,
            (prefix, after),
            limit,
        )
    }

    fn commit(&mut self, batch: &[Change]) -> Result<(), StorageError> {
        self.check_failed()?;
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
        self.note_failed(committed.map_err(StorageError::from))?;
        let memory = Arc::make_mut(&mut self.memory);
        for change in batch {
            self.memory_bytes += put(memory, change.clone());
        }
        // The batch is durable: what goes wrong from here on is told by the next one.
        let tended = if self.memory_bytes >= self.options.memory_bytes {
            self.flush_memory().and_then(|()| self.tend(bytes))
        } else {
            self.tend(bytes)
        };
        if let Err(error @ (StorageError::Damaged { .. } | StorageError::Disk(_))) =
            self.note_failed(tended)
        {
            self.abandon_compaction();
            self.merging = false;
            self.damages.push(error);
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
        get(&self.memory, &self.runs, &self.cache, key)
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
        scan(
            &self.memory,
            &self.runs,
            &self.cache,
            (prefix, after),
            limit,
        )
    }
}

/// Puts a change among others; how many bytes more it takes, at most.
fn put(memory: &mut Memory, change: Change) -> usize {
    let bytes = change.bytes() + ENTRY_OVERHEAD;
    memory.insert(change.key, change.value);
    bytes
}

fn get<F: DiskFile>(
    memory: &Memory,
    runs: &[Arc<Run<F>>],
    cache: &BlockCache,
    key: &[u8],
) -> Result<Option<Bytes>, StorageError> {
    if let Some(value) = memory.get(key) {
        return Ok(value.clone());
    }
    let hash = KeyHash::of(key);
    for run in runs {
        if let Some(value) = run.get(key, &hash, cache)? {
            return Ok(value);
        }
    }
    Ok(None)
}

fn scan<F: DiskFile>(
    memory: &Memory,
    runs: &[Arc<Run<F>>],
    cache: &Arc<BlockCache>,
    (prefix, after): (&[u8], &[u8]),
    limit: usize,
) -> Result<Vec<Pair>, StorageError> {
    let from = start(prefix, after);
    let mut sources = Vec::with_capacity(runs.len() + 1);
    let range = memory.range::<[u8], _>((from, std::ops::Bound::Unbounded));
    sources.push(Either::Memory(range));
    for run in runs {
        let entries = RunEntries::from(Arc::clone(run), Arc::clone(cache), from)?;
        sources.push(Either::Run(entries));
    }
    let mut merge = Merge::new(sources)?;
    let mut pairs = Vec::new();
    while pairs.len() < limit {
        match merge.next()? {
            Some((key, _)) if !key.starts_with(prefix) => break,
            Some((key, Some(value))) => pairs.push((key, value)),
            Some((_, None)) => {}
            None => break,
        }
    }
    Ok(pairs)
}

/// Where entries of a scan come from.
enum Either<'a, F> {
    Memory(std::collections::btree_map::Range<'a, Bytes, Option<Bytes>>),
    Run(RunEntries<F>),
}

impl<F: DiskFile> Source for Either<'_, F> {
    fn next(&mut self) -> Result<Option<Entry>, StorageError> {
        match self {
            Self::Memory(range) => Ok(range
                .next()
                .map(|(key, value)| (key.clone(), value.clone()))),
            Self::Run(entries) => entries.next(),
        }
    }
}

fn has_runs<D: Disk>(disk: &D) -> Result<bool, StorageError> {
    Ok(disk
        .names()?
        .iter()
        .any(|name| name.starts_with(RUN_PREFIX)))
}
