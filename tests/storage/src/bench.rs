//! The engine beside another database and beside the least that any log does: append, sync.
//!
//! All on the disk of one directory, in one run, one after the other in turns, so that what the
//! machine does besides falls on all alike. Rates are medians of the turns; ratios are what
//! counts.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use redb::{Database, ReadableDatabase, TableDefinition};
use sealmoot_kv::disk::DirectoryDisk;
use sealmoot_kv::storage::{Change, SealedStorage, Storage, StorageOptions};

use crate::{Choices, keys};

const PAIRS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("pairs");
/// Turns of each.
const TURNS: usize = 5;
/// Keys are drawn from so many.
const KEYS: usize = 100_000;

/// What went wrong with the disk or the database.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What one load came to, in values a second.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Values in a batch.
    pub batch: usize,
    /// Bytes of a value.
    pub value: usize,
    /// The engine's.
    pub engine: f64,
    /// The other database's, which encrypts nothing.
    pub redb: f64,
    /// Appending as many bytes to a file that has them already, and one sync a batch.
    pub raw: f64,
}

fn key(choices: &mut Choices) -> Vec<u8> {
    format!("app/user/{:08}", choices.below(KEYS)).into_bytes()
}

fn pairs(choices: &mut Choices, batch: usize, value: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..batch)
        .map(|_| {
            let mut bytes = vec![0; value];
            for part in bytes.chunks_mut(8) {
                let number = choices.number().to_le_bytes();
                part.copy_from_slice(&number[..part.len()]);
            }
            (key(choices), bytes)
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Writes batches, each durable before the next, for about `seconds` a turn and a side.
///
/// # Errors
/// [`Failed`].
pub fn writes(place: &Path, batch: usize, value: usize, seconds: f64) -> Result<Rates, Failed> {
    let directory = private(place)?;
    let disk = DirectoryDisk::open(directory.path())?;
    let mut engine = SealedStorage::open(disk, keys(), StorageOptions::default())?;
    let elsewhere = private(place)?;
    let database = Database::create(elsewhere.path().join("redb"))?;
    let raw = elsewhere.path().join("raw");
    // The space is there before: a sync has no size to write.
    std::fs::write(&raw, vec![0; 64 << 20])?;
    let mut raw = File::options().write(true).open(&raw)?;
    let mut at = 0;
    let mut choices = Choices(1);
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        let rate = turn(seconds, batch, || {
            let pairs = pairs(&mut choices, batch, value);
            let changes: Vec<Change> = pairs
                .into_iter()
                .map(|(key, value)| Change::put(key, value))
                .collect();
            // As many changes as one record takes: the engine's own limit.
            let most = (1 << 20) / (value + 64);
            for part in changes.chunks(most.max(1)) {
                engine.commit(part)?;
            }
            Ok(())
        })?;
        rates[0].push(rate);
        let rate = turn(seconds, batch, || {
            let begun = database.begin_write()?;
            {
                let mut table = begun.open_table(PAIRS)?;
                for (key, value) in pairs(&mut choices, batch, value) {
                    table.insert(&key[..], &value[..])?;
                }
            }
            Ok(begun.commit()?)
        })?;
        rates[1].push(rate);
        let rate = turn(seconds, batch, || {
            use std::os::unix::fs::FileExt;
            let bytes: Vec<u8> = pairs(&mut choices, batch, value)
                .into_iter()
                .flat_map(|(key, value)| [key, value].concat())
                .collect();
            if at + bytes.len() as u64 > 64 << 20 {
                at = 0;
            }
            raw.write_all_at(&bytes, at)?;
            raw.flush()?;
            at += bytes.len() as u64;
            Ok(raw.sync_data()?)
        })?;
        rates[2].push(rate);
    }
    let [engine, redb, raw] = rates.map(median);
    Ok(Rates {
        batch,
        value,
        engine,
        redb,
        raw,
    })
}

/// Reads of random keys among many, a second: the engine's and the other's.
///
/// # Errors
/// [`Failed`].
pub fn reads(place: &Path, value: usize, seconds: f64) -> Result<(f64, f64), Failed> {
    let directory = private(place)?;
    let disk = DirectoryDisk::open(directory.path())?;
    let mut engine = SealedStorage::open(disk, keys(), StorageOptions::default())?;
    let elsewhere = private(place)?;
    let database = Database::create(elsewhere.path().join("redb"))?;
    let mut choices = Choices(2);
    for _ in 0..KEYS / 500 {
        let pairs = pairs(&mut choices, 500, value);
        let changes: Vec<Change> = pairs
            .iter()
            .map(|(key, value)| Change::put(key.clone(), value.clone()))
            .collect();
        engine.commit(&changes)?;
        let begun = database.begin_write()?;
        {
            let mut table = begun.open_table(PAIRS)?;
            for (key, value) in &pairs {
                table.insert(&key[..], &value[..])?;
            }
        }
        begun.commit()?;
    }
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        rates[0].push(turn(seconds, 1, || {
            std::hint::black_box(engine.get(&key(&mut choices))?);
            Ok(())
        })?);
        rates[1].push(turn(seconds, 1, || {
            let begun = database.begin_read()?;
            let table = begun.open_table(PAIRS)?;
            let found = table.get(&key(&mut choices)[..])?;
            std::hint::black_box(found.map(|value| value.value().to_vec()));
            Ok(())
        })?);
    }
    let [engine, redb] = rates.map(median);
    Ok((engine, redb))
}

/// How often `work` is done in a second, times `count`.
fn turn(
    seconds: f64,
    count: usize,
    mut work: impl FnMut() -> Result<(), Failed>,
) -> Result<f64, Failed> {
    let started = Instant::now();
    let mut done = 0;
    while started.elapsed().as_secs_f64() < seconds {
        work()?;
        done += count;
    }
    Ok(done as f64 / started.elapsed().as_secs_f64())
}

fn private(place: &Path) -> std::io::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(place)
}
