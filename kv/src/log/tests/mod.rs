//! The log as a whole, over a disk in memory.

mod crashes;
mod damages;
mod forged;
mod states;
mod writing;

use std::convert::Infallible;

use crate::disk::{Choices, Disk, MemoryDisk};

use super::key::testing::key;
use super::{Log, LogOptions, OpenError};

/// Small segments, and the same effects every time.
fn options(segment_bytes: u64) -> LogOptions {
    LogOptions::default()
        .with_segment_bytes(segment_bytes)
        .expect("a possible size")
        .without_helper()
}

fn create<D: Disk>(disk: &D, segment_bytes: u64) -> Log<D> {
    Log::create(disk.clone(), key(1), 7, options(segment_bytes)).expect("creates")
}

type Opened<D> = Result<(Log<D>, Vec<Vec<u8>>), OpenError<Infallible>>;

/// Opens a log and collects its records, which must count from one.
fn open<D: Disk>(disk: &D, segment_bytes: u64) -> Opened<D> {
    let mut records = Vec::new();
    let log = Log::open(
        disk.clone(),
        key(1),
        options(segment_bytes),
        &mut |number, record| {
            records.push(record.to_vec());
            assert_eq!(number, records.len() as u64);
            Ok(())
        },
    )?;
    Ok((log, records))
}

/// A record of up to `bytes_max` bytes that differs from every other.
fn record(choices: &mut Choices, bytes_max: usize) -> Vec<u8> {
    let length = choices.below(bytes_max + 1);
    (0..length)
        .map(|_| u8::try_from(choices.below(256)).expect("below 256"))
        .collect()
}

fn segment_names(disk: &MemoryDisk) -> Vec<String> {
    let mut names = disk.names().expect("lists");
    names.retain(|name| name.starts_with("log-"));
    names
}
