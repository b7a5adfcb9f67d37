//! What lies under a node: a model of the log, or the log itself on a disk in memory.

mod image;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::ErrorKind;

use sealmoot_crypto::secret::SecretArray;
use sealmoot_kv::attest::Attested;
use sealmoot_kv::disk::MemoryDisk;
use sealmoot_kv::log::{Durable, Log, LogKey, LogOptions};
use sealmoot_kv::record::Record;

use crate::plan::LogKind;
use crate::random::Random;

pub(super) use image::Image;

/// Small, so that histories meet the ends of segments.
const SEGMENT_BYTES: u64 = 16 * 1024;

/// What becomes of the batch that was being written when the machine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Batch {
    Survives,
    Lost,
    /// Some sectors of it were written.
    Torn,
}

/// A node's log and disk.
pub(super) enum Storage {
    Model {
        records: Vec<Record>,
        /// How many of them would be there after a power cut; fewer than all only
        /// where syncs lie.
        safe: usize,
        /// Another one after the disk was wiped.
        life: u64,
    },
    Real(Box<RealLog>),
}

pub(super) struct RealLog {
    node: usize,
    disk: MemoryDisk,
    life: u64,
    /// Absent while the node is down.
    log: Option<Log<MemoryDisk>>,
}

impl Storage {
    pub(super) fn new(kind: LogKind, node: usize) -> Self {
        match kind {
            LogKind::Model => Self::Model {
                records: Vec::new(),
                safe: 0,
                life: 1,
            },
            LogKind::Real => {
                let disk = MemoryDisk::new();
                let log = Log::create(disk.clone(), log_key(node), 1, options())
                    .expect("a new disk without faults takes a log");
                Self::Real(Box::new(RealLog {
                    node,
                    disk,
                    life: 1,
                    log: Some(log),
                }))
            }
        }
    }

    /// The number of the last record that was committed.
    pub(super) fn records(&self) -> u64 {
        match self {
            Self::Model { records, .. } => records.len() as u64,
            Self::Real(real) => real.log.as_ref().map_or(0, |log| log.position().records),
        }
    }

    /// How far the log is, durably.
    pub(super) fn attested(&self) -> Attested {
        match self {
            Self::Model { records, life, .. } => Attested {
                incarnation: *life,
                counter: records.len() as u64,
                chain: [0; 32],
            },
            Self::Real(real) => real.log.as_ref().map_or(
                Attested {
                    incarnation: real.life,
                    counter: 0,
                    chain: [0; 32],
                },
                |log| log.position().into(),
            ),
        }
    }

    /// Writes and syncs a batch. A lying sync reports what it did not do.
    pub(super) fn commit(&mut self, batch: &mut Vec<Record>, lies: bool) -> Option<Durable> {
        match self {
            Self::Model { records, safe, .. } => {
                records.append(batch);
                if !lies {
                    *safe = records.len();
                }
                Some(durable_through(records.len()))
            }
            Self::Real(real) => {
                let encoded: Vec<Vec<u8>> = batch.drain(..).map(|record| record.encode()).collect();
                real.log.as_mut()?.commit(&encoded).ok()
            }
        }
    }

    /// Fails to commit a batch; parts of it may be there later.
    pub(super) fn fail(&mut self, batch: &mut Vec<Record>, kind: ErrorKind, random: &mut Random) {
        match self {
            Self::Model { records, safe, .. } => {
                if random.coin() {
                    records.append(batch);
                    *safe = records.len();
                }
                batch.clear();
            }
            Self::Real(real) => {
                real.disk
                    .fail_at(real.disk.effects() + random.below(2), kind);
                let encoded: Vec<Vec<u8>> = batch.drain(..).map(|record| record.encode()).collect();
                if let Some(mut log) = real.log.take() {
                    let refused = log.commit(&encoded).is_err();
                    debug_assert!(refused, "the planned fault was met");
                }
                real.disk.clear_faults();
            }
        }
    }

    /// The machine stops while `batch` is being written.
    pub(super) fn crash(&mut self, batch: &mut Vec<Record>, fate: Batch, random: &mut Random) {
        let seed = random.bits();
        match self {
            Self::Model { records, safe, .. } => {
                records.truncate(*safe);
                if fate == Batch::Survives {
                    records.append(batch);
                }
                *safe = records.len();
                batch.clear();
            }
            Self::Real(real) => {
                let encoded: Vec<Vec<u8>> = batch.drain(..).map(|record| record.encode()).collect();
                if let Some(mut log) = real.log.take()
                    && !encoded.is_empty()
                    && fate != Batch::Lost
                {
                    if fate == Batch::Torn {
                        // The write, then the sync; or a step of the rotation before.
                        real.disk
                            .cut_power_at(real.disk.effects() + random.below(2));
                    }
                    // Whether it succeeds is what the cut decides.
                    let _ = log.commit(&encoded);
                }
                real.disk = real.disk.crash(seed);
            }
        }
    }

    /// Nothing is left of the disk.
    pub(super) fn wipe(&mut self) {
        match self {
            Self::Model {
                records,
                safe,
                life,
            } => {
                records.clear();
                *safe = 0;
                *life += 1;
            }
            Self::Real(real) => {
                real.disk = MemoryDisk::new();
                real.life += 1;
                let key = log_key(real.node);
                let log = Log::create(real.disk.clone(), key, real.life, options());
                drop(log.expect("a new disk without faults takes a log"));
            }
        }
    }

    /// Starts again: hands out what is there, in order.
    pub(super) fn open(&mut self, take: &mut dyn FnMut(Record)) -> Result<(), String> {
        match self {
            Self::Model { records, .. } => {
                records.iter().for_each(|record| take(record.clone()));
                Ok(())
            }
            Self::Real(real) => {
                real.log = Some(replay(real.disk.clone(), real.node, take)?);
                Ok(())
            }
        }
    }
}

fn replay(
    disk: MemoryDisk,
    node: usize,
    take: &mut dyn FnMut(Record),
) -> Result<Log<MemoryDisk>, String> {
    let mut on_record = |_: u64, bytes: &[u8]| -> Result<(), Infallible> {
        take(Record::decode(bytes).expect("what was encoded here decodes"));
        Ok(())
    };
    let log = Log::open(disk, log_key(node), options(), &mut on_record);
    log.map_err(|error| error.to_string())
}

fn log_key(node: usize) -> LogKey {
    LogKey::from_root(&SecretArray::from_bytes([node as u8 + 1; 32]))
}

fn options() -> LogOptions {
    LogOptions::default()
        .with_segment_bytes(SEGMENT_BYTES)
        .expect("whole sectors between the bounds")
        .without_helper()
}

/// The proof that records up to a number are durable, for a log that is only a model.
///
/// Only a real log makes such proofs. So each thread keeps one, on a disk of its own,
/// with as many records as any model has reached, and the proofs of all its syncs.
fn durable_through(records: usize) -> Durable {
    thread_local! {
        static PROOFS: RefCell<Option<(Log<MemoryDisk>, Vec<Durable>)>> = const { RefCell::new(None) };
    }
    PROOFS.with_borrow_mut(|proofs| {
        let (log, proofs) = proofs.get_or_insert_with(|| {
            let options = LogOptions::default()
                .with_segment_bytes(256 * 1024)
                .expect("whole sectors between the bounds")
                .without_helper();
            let log = Log::create(MemoryDisk::new(), log_key(0), 1, options)
                .expect("a new disk without faults takes a log");
            let none = log.durable();
            (log, vec![none])
        });
        while proofs.len() <= records {
            let durable = log.commit(&[[0_u8; 1]]);
            proofs.push(durable.expect("a disk in memory without faults takes every record"));
        }
        proofs[records]
    })
}
