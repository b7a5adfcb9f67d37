//! Every bit of every file of a small storage, changed one at a time: told, or without
//! effect; never a wrong answer, never a panic.

use bytes::Bytes;
use sealmoot_kv::disk::{Disk, MemoryDisk};
use sealmoot_kv::storage::{Pair, Storage, StorageError};

use crate::{Choices, batch, open};

/// What was found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found {
    /// How many bits were changed.
    pub flips: u64,
    /// How many of these the opening told.
    pub at_opening: u64,
    /// How many a read told, or what the opening made good.
    pub at_reading: u64,
    /// How many only a verification told.
    pub at_verifying: u64,
    /// How many had no effect: in a file of which nothing is ever read.
    pub without_effect: u64,
}

/// A small storage: its files, and its pairs.
pub struct Small {
    files: Vec<(String, Vec<u8>)>,
    pairs: Vec<Pair>,
}

impl Small {
    /// One with runs, what is in the log only, and both copies of the manifest.
    ///
    /// # Panics
    /// Never, on a disk in memory.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let disk = MemoryDisk::new();
        let mut storage = open(&disk).expect("a new one");
        let mut choices = Choices(seed);
        for step in 0..40 {
            storage.commit(&batch(&mut choices)).expect("commits");
            if step == 14 || step == 28 {
                storage.flush().expect("moves");
            }
        }
        let pairs = storage.scan(b"", b"", usize::MAX).expect("reads");
        drop(storage);
        let names = disk.names().expect("lists");
        let file = |name: String| (name.clone(), disk.bytes(&name).unwrap_or_default());
        Self {
            files: names.into_iter().map(file).collect(),
            pairs,
        }
    }

    /// Bits of all files.
    #[must_use]
    pub fn bits(&self) -> u64 {
        self.files
            .iter()
            .map(|(_, bytes)| 8 * bytes.len() as u64)
            .sum()
    }

    /// Changes the bits whose number is `first`, and every `step`-th behind it.
    ///
    /// # Panics
    /// With file, byte and bit, for a wrong answer and for what nobody told.
    #[must_use]
    pub fn flip(&self, first: u64, step: u64) -> Found {
        let mut found = Found::default();
        let mut number = 0;
        for (name, bytes) in &self.files {
            for offset in 0..bytes.len() {
                for bit in 0..8 {
                    if number % step == first {
                        self.flip_one(name, offset, bit, &mut found);
                    }
                    number += 1;
                }
            }
        }
        found
    }

    fn flip_one(&self, name: &str, offset: usize, bit: u32, found: &mut Found) {
        let at = || format!("bit {bit} of byte {offset} of {name}");
        let disk = MemoryDisk::new();
        for (name, bytes) in &self.files {
            disk.set_bytes(name, bytes.clone());
        }
        disk.flip(name, offset, 1 << bit);
        found.flips += 1;
        let Ok(storage) = open(&disk) else {
            found.at_opening += 1;
            return;
        };
        let mut told = !storage.damages().is_empty();
        let mut judge = |answer: Result<bool, StorageError>| match answer {
            Ok(right) => assert!(right, "{}: a wrong answer", at()),
            Err(StorageError::Damaged { .. }) => told = true,
            Err(error) => panic!("{}: {error}", at()),
        };
        judge(
            storage
                .scan(b"", b"", usize::MAX)
                .map(|pairs| pairs == self.pairs),
        );
        for (key, value) in self.pairs.iter().step_by(5) {
            judge(storage.get(key).map(|held| held.as_ref() == Some(value)));
        }
        judge(
            storage
                .get(b"no such key")
                .map(|held: Option<Bytes>| held.is_none()),
        );
        if told {
            found.at_reading += 1;
        } else if !storage.verify().expect("reads").is_empty() {
            found.at_verifying += 1;
        } else {
            assert!(name.starts_with("spare"), "{}: told by nobody", at());
            found.without_effect += 1;
        }
    }
}
