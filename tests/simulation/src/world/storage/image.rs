//! A disk as it was at some time, and what can become of one.

use sealmoot_kv::disk::{Disk, MemoryDisk, SECTOR_BYTES};
use sealmoot_kv::log::SEGMENT_PREFIX;
use sealmoot_kv::record::Record;

use super::{RealLog, Storage, replay};
use crate::random::Random;

/// The content of a disk.
#[derive(Clone)]
pub(in crate::world) enum Image {
    Model { records: Vec<Record>, life: u64 },
    Real(MemoryDisk),
}

impl Image {
    /// What a node that started on it would find.
    pub(in crate::world) fn records(&self, node: usize) -> Result<Vec<Record>, String> {
        match self {
            Self::Model { records, .. } => Ok(records.clone()),
            Self::Real(disk) => {
                let mut records = Vec::new();
                let taken = replay(disk.crash(0), node, &mut |record| records.push(record));
                taken.map(|_| records)
            }
        }
    }
}

impl Storage {
    /// The disk as it is.
    pub(in crate::world) fn image(&self) -> Image {
        match self {
            Self::Model { records, life, .. } => Image::Model {
                records: records.clone(),
                life: *life,
            },
            Self::Real(real) => Image::Real(real.disk.crash(0)),
        }
    }

    /// The disk becomes what it was.
    pub(in crate::world) fn restore(&mut self, image: Image) {
        match (self, image) {
            (
                Self::Model {
                    records,
                    safe,
                    life,
                },
                Image::Model {
                    records: former,
                    life: former_life,
                },
            ) => {
                *records = former;
                *safe = records.len();
                *life = former_life;
            }
            (Self::Real(real), Image::Real(disk)) => real.disk = disk.crash(0),
            _ => unreachable!("a node's images are of its own kind of log"),
        }
    }

    /// One bit of a segment is another.
    pub(in crate::world) fn flip_bit(&mut self, random: &mut Random) -> bool {
        self.change_segment(random, |bytes, _, random| {
            let at = random.index(written(bytes));
            bytes[at] ^= 1 << random.below(8);
        })
    }

    /// One sector of a segment is what it was before it was written: zeros.
    pub(in crate::world) fn make_stale(&mut self, random: &mut Random) -> bool {
        self.change_segment(random, |bytes, _, random| {
            let at = sector(bytes, random);
            bytes[at].fill(0);
        })
    }

    /// Where one sector of a segment is asked for, another one is read.
    pub(in crate::world) fn misdirect_read(&mut self, random: &mut Random) -> bool {
        self.change_segment(random, |bytes, other, random| {
            let from = sector(other, random);
            let to = sector(bytes, random);
            bytes[to].copy_from_slice(&other[from]);
        })
    }

    /// What belongs to one sector of a segment went to another place: it is not where
    /// it should be, and is where it should not.
    pub(in crate::world) fn misdirect_write(&mut self, random: &mut Random) -> bool {
        self.change_segment(random, |bytes, _, random| {
            let from = sector(bytes, random);
            let content = bytes[from.clone()].to_vec();
            let sectors = (bytes.len() / SECTOR_BYTES) as u64;
            let to = random.below(sectors) as usize * SECTOR_BYTES;
            bytes[from].fill(0);
            bytes[to..to + SECTOR_BYTES].copy_from_slice(&content);
        })
    }

    /// Some of what was written and synced since an image never got to the medium.
    pub(in crate::world) fn lose_writes_since(
        &mut self,
        image: &Image,
        random: &mut Random,
    ) -> bool {
        let (Self::Real(real), Image::Real(former)) = (self, image) else {
            return false;
        };
        let all = random.coin();
        let mut changed = false;
        for name in segments(&real.disk) {
            let (Some(mut bytes), Some(before)) = (real.disk.bytes(&name), former.bytes(&name))
            else {
                continue;
            };
            // One that was closed since is shorter than it was.
            let length = bytes.len().min(before.len());
            let whole = length / SECTOR_BYTES * SECTOR_BYTES;
            for at in (0..whole).step_by(SECTOR_BYTES) {
                let place = at..at + SECTOR_BYTES;
                if bytes[place.clone()] != before[place.clone()] && (all || random.coin()) {
                    bytes[place.clone()].copy_from_slice(&before[place]);
                    changed = true;
                }
            }
            real.disk.set_bytes(&name, bytes);
        }
        changed
    }

    /// Changes one segment; `change` is given it and another one, which may be the same.
    /// Says whether anything is different then.
    fn change_segment(
        &mut self,
        random: &mut Random,
        change: impl FnOnce(&mut [u8], &[u8], &mut Random),
    ) -> bool {
        let Self::Real(real) = self else {
            return false;
        };
        let names = segments(&real.disk);
        let content = |random: &mut Random, real: &RealLog| {
            let name = names.get(random.index(names.len()))?;
            let bytes = real.disk.bytes(name)?;
            (bytes.len() >= SECTOR_BYTES).then(|| (name.clone(), bytes))
        };
        let (Some((name, mut bytes)), Some((_, other))) =
            (content(random, real), content(random, real))
        else {
            return false;
        };
        let before = bytes.clone();
        change(&mut bytes, &other, random);
        let changed = bytes != before;
        if changed {
            real.disk.set_bytes(&name, bytes);
        }
        changed
    }
}

fn segments(disk: &MemoryDisk) -> Vec<String> {
    let mut names = disk.names().unwrap_or_default();
    names.retain(|name| name.starts_with(SEGMENT_PREFIX));
    names
}

/// How long the part of a segment is that was written, and a little more.
fn written(bytes: &[u8]) -> usize {
    let end = bytes.iter().rposition(|byte| *byte != 0);
    let end = end.map_or(0, |last| last / SECTOR_BYTES + 1) + 1;
    (end * SECTOR_BYTES).min(bytes.len())
}

/// One sector of the part that was written.
fn sector(bytes: &[u8], random: &mut Random) -> std::ops::Range<usize> {
    let start = random.index(written(bytes) / SECTOR_BYTES) * SECTOR_BYTES;
    start..start + SECTOR_BYTES
}
