//! Any operations in any order, with power cuts, failing writes and reopening.

use std::io;

use sealmoot_kv::disk::MemoryDisk;
use sealmoot_kv::storage::{Change, PlainStorage, SealedStorage, Storage, StorageError};

use crate::oracle::Oracle;
use crate::{Choices, batch, open};

/// What a run came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// Changes, reads and scans.
    pub operations: u64,
    /// How often the power went, or a write failed.
    pub crashes: u64,
    /// How often a batch that was not acknowledged was there all the same.
    pub unacknowledged: u64,
    /// How often the storage was opened.
    pub openings: u64,
    /// The most runs that there were at a time.
    pub runs_max: usize,
}

/// The engine and what it is compared with.
struct World {
    choices: Choices,
    disk: MemoryDisk,
    engine: SealedStorage<MemoryDisk>,
    plain: PlainStorage,
    oracle: Oracle,
    done: Done,
    seed: u64,
}

/// Does so many operations, or a few more.
///
/// # Panics
/// With seed and step, where the engine says something else than the other two.
#[must_use]
pub fn run(seed: u64, operations: u64) -> Done {
    let disk = MemoryDisk::new();
    let mut world = World {
        choices: Choices(seed),
        engine: open(&disk).expect("a new one"),
        disk,
        plain: PlainStorage::default(),
        oracle: Oracle::new().expect("in memory"),
        done: Done::default(),
        seed,
    };
    while world.done.operations < operations {
        match world.choices.below(400) {
            0 => world.reopen(),
            1 => world.crash(),
            2 if world.choices.below(4) == 0 => {
                world.engine.compact().expect("merges");
                assert!(world.engine.sizes().runs <= 1, "{}", world.at());
            }
            3 => world.compare_all(),
            4..60 => world.scan(),
            60..200 => world.read(),
            _ => world.change(),
        }
        world.done.runs_max = world.done.runs_max.max(world.engine.sizes().runs);
    }
    world.compare_all();
    let damages = world.engine.verify().expect("reads");
    assert!(damages.is_empty(), "{}: {damages:?}", world.at());
    world.done
}

impl World {
    fn at(&self) -> String {
        format!("seed {}, operation {}", self.seed, self.done.operations)
    }

    fn change(&mut self) {
        let batch = batch(&mut self.choices);
        self.done.operations += batch.len() as u64;
        if let Err(error) = self.engine.commit(&batch) {
            panic!("{}: {error}", self.at());
        }
        self.agree_on(&batch);
    }

    fn agree_on(&mut self, batch: &[Change]) {
        self.plain.commit(batch).expect("admitted");
        self.oracle.commit(batch).expect("in memory");
    }

    fn read(&mut self) {
        let batch = batch(&mut self.choices);
        for change in batch {
            self.done.operations += 1;
            let found = self.engine.get(&change.key).expect("reads");
            assert_eq!(
                found,
                self.plain.get(&change.key).expect("reads"),
                "{}",
                self.at()
            );
            assert_eq!(
                found,
                self.oracle.get(&change.key).expect("reads"),
                "{}",
                self.at()
            );
        }
    }

    fn scan(&mut self) {
        self.done.operations += 1;
        let prefix = match self.choices.below(4) {
            0 => String::new(),
            _ => format!("{:x}/", self.choices.below(17)),
        };
        let after = match self.choices.below(2) {
            0 => String::new(),
            _ => format!("{:x}/{}", self.choices.below(17), self.choices.below(24)),
        };
        let limit = self.choices.below(30);
        let (prefix, after) = (prefix.as_bytes(), after.as_bytes());
        let found = self.engine.scan(prefix, after, limit).expect("reads");
        let expected = self.plain.scan(prefix, after, limit).expect("reads");
        assert_eq!(found, expected, "{}", self.at());
        let expected = self.oracle.scan(prefix, after, limit).expect("reads");
        assert_eq!(found, expected, "{}", self.at());
    }

    fn compare_all(&self) {
        let found = self.engine.scan(b"", b"", usize::MAX).expect("reads");
        let expected = self.plain.scan(b"", b"", usize::MAX).expect("reads");
        assert!(
            found == expected,
            "{}: other pairs than the map's",
            self.at()
        );
        let expected = self.oracle.scan(b"", b"", usize::MAX).expect("reads");
        assert!(
            found == expected,
            "{}: other pairs than the oracle's",
            self.at()
        );
    }

    fn reopen(&mut self) {
        self.done.openings += 1;
        self.engine = match open(&self.disk) {
            Ok(engine) => engine,
            Err(error) => panic!("{}: {error}", self.at()),
        };
        self.compare_all();
    }

    /// Lets a write fail, or the power go, at some effect that is to come; what was being
    /// committed then is there or not, and all before it is.
    fn crash(&mut self) {
        let ahead = self.choices.below(60) as u64;
        let at = self.disk.effects() + ahead;
        let power = self.choices.below(2) == 0;
        match power {
            true => self.disk.cut_power_at(at),
            false => self.disk.fail_at(at, io::ErrorKind::StorageFull),
        }
        let pending = self.until_it_fails();
        self.done.crashes += 1;
        let seed = self.choices.number();
        if power {
            self.disk = self.disk.crash(seed);
        } else {
            // The machine stays up: its cache shows what the medium may not have.
            self.disk.clear_faults();
        }
        // And sometimes again while it opens.
        if self.choices.below(3) == 0 {
            let soon = self.disk.effects() + self.choices.below(20) as u64;
            self.disk.cut_power_at(soon);
            drop(open(&self.disk));
            self.disk = self.disk.crash(seed.wrapping_add(1));
        }
        self.done.openings += 1;
        self.engine = match open(&self.disk) {
            Ok(engine) => engine,
            Err(error) => panic!("{}: {error}", self.at()),
        };
        let damages = self.engine.damages();
        assert!(damages.is_empty(), "{}: {damages:?}", self.at());
        let found = self.engine.scan(b"", b"", usize::MAX).expect("reads");
        if found != self.plain.scan(b"", b"", usize::MAX).expect("reads") {
            self.done.unacknowledged += 1;
            self.agree_on(&pending);
        }
        self.compare_all();
    }

    /// Commits until one is not acknowledged, and returns it.
    fn until_it_fails(&mut self) -> Vec<Change> {
        loop {
            let batch = batch(&mut self.choices);
            self.done.operations += batch.len() as u64;
            match self.engine.commit(&batch) {
                Ok(()) => self.agree_on(&batch),
                Err(StorageError::Failed(_)) => return batch,
                Err(error) => panic!("{}: {error}", self.at()),
            }
        }
    }
}
