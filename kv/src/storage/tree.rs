//! The runs of a storage and the manifest that names them: what moves from memory to the
//! disk is put on top, and merged below.
//!
//! The order of every change on the disk is such that what is named is there and durable
//! before it is named, and what is not named any more is removed only behind that:
//!
//! 1. a run's content is synced, then the directory
//! 2. both copies of the manifest are replaced
//! 3. what neither of them names is removed: older runs, and segments of the log

mod scrub;

pub(crate) use scrub::Scrub;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::cache::BlockCache;
use super::compaction::{self, Compaction, Stepped};
use super::manifest::{self, MANIFEST_NAMES, Manifest};
use super::merge::{Entry, Merge, Source, start};
use super::options::{StorageKeys, StorageOptions};
use super::run::{KeyHash, RUN_PREFIX, Run, RunEntries, RunWriter, run_name};
use super::{Pair, StorageError};
use crate::disk::{Disk, DiskFile, TEMPORARY_SUFFIX};
use crate::log::{LogBase, LogKey, Segments};

/// How many bytes are merged for each byte that is written: more than a merge of all runs
/// costs, so that merges come to their ends.
const MERGED_PER_WRITTEN: usize = 24;
/// What is merged in a step at least.
const MERGED_MIN: usize = 4096;
/// With so many runs a step waits for the merge.
const RUNS_MAX: usize = 32;

/// What is in no run: a key without a value was deleted.
pub(crate) type Memory = BTreeMap<Bytes, Option<Bytes>>;

/// The runs of one directory.
pub(crate) struct Tree<D: Disk> {
    disk: D,
    keys: StorageKeys,
    block_bytes: usize,
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
    /// Whether there was no manifest.
    is_new: bool,
    /// Whether both copies of the manifest have to be written again.
    differ: bool,
}

/// What a verification of the manifest and of all runs found.
pub(crate) struct Verified {
    pub(crate) damages: Vec<StorageError>,
    /// How many bytes were looked at.
    pub(crate) bytes: u64,
    /// Where the log begins; unknown when no manifest reads.
    pub(crate) base: Option<Option<LogBase>>,
    /// All records of the log up to this are in runs.
    pub(crate) flushed: u64,
}

/// Authenticates every byte of the manifest and of every run that it names.
///
/// # Errors
/// [`StorageError::Disk`]; damages are no error, they are the report.
pub(crate) fn verify<D: Disk>(disk: &D, keys: &StorageKeys) -> Result<Verified, StorageError> {
    let mut verified = Verified {
        damages: Vec::new(),
        bytes: 0,
        base: None,
        flushed: 0,
    };
    for name in MANIFEST_NAMES {
        verified.bytes += length(disk, name)?;
    }
    let found = match manifest::read(disk, &keys.manifest()) {
        Err(error @ StorageError::Damaged { .. }) => {
            verified.damages.push(error);
            return Ok(verified);
        }
        found => found?,
    };
    verified.damages.extend(found.damage);
    let Some(manifest) = found.manifest else {
        verified.damages.push(both_missing());
        return Ok(verified);
    };
    for info in &manifest.runs {
        verified.bytes += length(disk, &run_name(&info.id))?;
        match Run::open(disk, keys, *info).and_then(|run| run.verify()) {
            Err(error @ StorageError::Damaged { .. }) => verified.damages.push(error),
            outcome => outcome?,
        }
    }
    verified.base = Some(manifest.base);
    verified.flushed = manifest.flushed;
    Ok(verified)
}

fn length<D: Disk>(disk: &D, name: &str) -> Result<u64, StorageError> {
    match disk.open(name) {
        Ok(file) => Ok(file.length()?),
        Err(error) if error.is_not_found() => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// What is said of a storage whose manifest is gone.
pub(crate) fn both_missing() -> StorageError {
    StorageError::Damaged {
        file: MANIFEST_NAMES[0].to_owned(),
        what: "both copies are missing".to_owned(),
    }
}

/// The runs at one moment, to be read while changes go on.
pub(crate) struct View<F> {
    runs: Vec<Arc<Run<F>>>,
    cache: Arc<BlockCache>,
}

impl<D: Disk> Tree<D> {
    /// Reads the manifest and opens the runs; where there is nothing of it, it is empty.
    /// Nothing is written before [`Tree::settle`].
    ///
    /// # Errors
    /// [`StorageError`]. Damage is an error where nothing makes it good.
    pub(crate) fn open(
        disk: D,
        keys: StorageKeys,
        options: &StorageOptions,
    ) -> Result<Self, StorageError> {
        // The process before may have died of a failed sync of the directory: which manifest
        // has its name must be what the medium holds, before anything is removed that the
        // one before still names.
        disk.sync_directory()?;
        let found = manifest::read(&disk, &keys.manifest())?;
        let is_new = found.manifest.is_none();
        let manifest = found.manifest.unwrap_or_default();
        if is_new && has_runs(&disk)? {
            return Err(both_missing());
        }
        let mut runs = Vec::with_capacity(manifest.runs.len());
        for info in &manifest.runs {
            runs.push(Arc::new(Run::open(&disk, &keys, *info)?));
        }
        Ok(Self {
            cache: Arc::new(BlockCache::new(options.cache_bytes)),
            block_bytes: options.block_bytes,
            disk,
            keys,
            runs,
            manifest,
            compaction: None,
            merging: true,
            failed: None,
            damages: found.damage.into_iter().collect(),
            is_new,
            differ: found.differ,
        })
    }

    /// Its keys.
    pub(crate) fn keys(&self) -> &StorageKeys {
        &self.keys
    }

    /// Whether there was no manifest.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// The key of the log whose records it takes.
    pub(crate) fn log_key(&self) -> LogKey {
        self.keys.log()
    }

    /// All records of the log up to this are in runs.
    pub(crate) fn flushed(&self) -> u64 {
        self.manifest.flushed
    }

    /// Where the log begins; at its first segment without.
    pub(crate) fn base(&self) -> Option<&LogBase> {
        self.manifest.base.as_ref()
    }

    /// Makes good what opening found, once the log is known to end at record `end`, and
    /// removes what nothing names.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when runs hold more than the log ever had.
    pub(crate) fn settle(&mut self, end: u64) -> Result<(), StorageError> {
        if self.manifest.flushed > end {
            return Err(StorageError::Damaged {
                file: "the log".to_owned(),
                what: format!(
                    "it ends at record {end}, and runs hold {}",
                    self.manifest.flushed
                ),
            });
        }
        if self.is_new {
            self.replace_manifest(Manifest::default())?;
        } else if self.differ {
            // The same change once more: what says it already is no old one.
            self.manifest.write(&self.disk, &self.keys.manifest())?;
        }
        self.remove_unnamed()
    }

    /// The runs as they are now.
    pub(crate) fn view(&self) -> View<D::File> {
        View {
            runs: self.runs.clone(),
            cache: Arc::clone(&self.cache),
        }
    }

    /// As [`View::get`].
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn get(&self, memory: &Memory, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        get(memory, &self.runs, &self.cache, key)
    }

    /// As [`View::scan`].
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn scan(
        &self,
        memory: &Memory,
        bounds: (&[u8], &[u8]),
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        scan(memory, &self.runs, &self.cache, bounds, limit)
    }

    /// How many runs there are, the bytes of their files, and their entries.
    pub(crate) fn sizes(&self) -> (usize, u64, u64) {
        let infos = || self.runs.iter().map(|run| run.info());
        (
            self.runs.len(),
            infos().map(|info| info.bytes).sum(),
            infos().map(|info| info.entries).sum(),
        )
    }

    /// What was found wrong and made good, or keeps runs from being merged.
    pub(crate) fn damages(&self) -> &[StorageError] {
        &self.damages
    }

    /// # Errors
    /// [`StorageError::Failed`] after a write that failed.
    pub(crate) fn check_failed(&self) -> Result<(), StorageError> {
        match &self.failed {
            Some(why) => Err(StorageError::Failed(why.clone())),
            None => Ok(()),
        }
    }

    /// After a write that failed nothing is written any more. What cannot be read keeps runs
    /// from being merged and is told, and nothing is refused for it.
    pub(crate) fn note_failed<T>(
        &mut self,
        outcome: Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if let Err(StorageError::Failed(why)) = &outcome {
            self.failed = Some(why.clone());
        }
        outcome
    }

    /// Puts a run on top that holds all that records of the log up to `flushed` changed
    /// since the last one, and retires the segments that nobody needs any more.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn put_on_top(
        &mut self,
        memory: &Memory,
        flushed: u64,
        segments: &Segments<D>,
    ) -> Result<(), StorageError> {
        self.check_failed()?;
        let put = self.write_on_top(memory, flushed, segments);
        self.note_failed(put)
    }

    fn write_on_top(
        &mut self,
        memory: &Memory,
        flushed: u64,
        segments: &Segments<D>,
    ) -> Result<(), StorageError> {
        let mut writer = RunWriter::create(&self.disk, &self.keys, self.block_bytes)?;
        let is_first = self.runs.is_empty();
        let id = writer.id();
        for (key, value) in memory {
            // Nothing older is there that would come back.
            if value.is_some() || !is_first {
                writer.push(key, value.as_ref())?;
            }
        }
        let written = writer.finish()?;
        self.sync_directory()?;
        let base = segments.base_behind(flushed);
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
        segments
            .retire(&base)
            .map_err(|error| StorageError::Failed(error.to_string()))
    }

    /// Merges all runs into one: what was replaced or deleted gives its space back.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn merge_all(&mut self) -> Result<(), StorageError> {
        self.abandon_compaction();
        if self.runs.is_empty() {
            return Ok(());
        }
        let merged = self
            .begin_compaction(self.runs.len())
            .and_then(|()| self.go_on(usize::MAX));
        self.note_failed(merged)
    }

    /// Goes on with merging, by as much as was written. What cannot be read ends merging,
    /// and is among the damages.
    ///
    /// # Errors
    /// [`StorageError::Failed`].
    pub(crate) fn tend(&mut self, written: usize) -> Result<(), StorageError> {
        let tended = self.merge_some(written);
        match self.note_failed(tended) {
            Err(error @ (StorageError::Damaged { .. } | StorageError::Disk(_))) => {
                self.end_merging(error);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Merges no more, because of this.
    pub(crate) fn end_merging(&mut self, error: StorageError) {
        self.abandon_compaction();
        self.merging = false;
        self.damages.push(error);
    }

    /// Whether a merge is under way.
    pub(crate) fn is_merging(&self) -> bool {
        self.compaction.is_some()
    }

    /// What was just written has to open.
    fn open_own(&self, info: manifest::RunInfo) -> Result<Run<D::File>, StorageError> {
        let opened = Run::open(&self.disk, &self.keys, info);
        opened.map_err(|error| StorageError::Failed(error.to_string()))
    }

    fn merge_some(&mut self, written: usize) -> Result<(), StorageError> {
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
            self.block_bytes,
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

impl<F: DiskFile> View<F> {
    /// The value of a key that has none in `memory`.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn get(&self, memory: &Memory, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        get(memory, &self.runs, &self.cache, key)
    }

    /// The pairs behind `after` whose keys begin with `prefix`, at most `limit`; what is in
    /// `memory` counts first.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn scan(
        &self,
        memory: &Memory,
        bounds: (&[u8], &[u8]),
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        scan(memory, &self.runs, &self.cache, bounds, limit)
    }
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
