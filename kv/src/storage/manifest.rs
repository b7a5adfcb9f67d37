//! Which runs and which part of the log a storage is made of.
//!
//! It lies in two copies, `manifest-a` and `manifest-b`, each a small sealed file that is
//! replaced as a whole, the first before the second. What the former content needs is removed
//! only when both say the new one. So whichever copy is lost or damaged, the other one is
//! enough: at worst it is the content before, whose runs are still there, and whose part of
//! the log still holds what the lost run would have.
//!
//! ```text
//! u8 1 | counter u64 | records that are in runs, u64 | whether the log begins behind its
//! first segment, and then its base | count of runs u32, the newest first, each:
//! id 16 | length of the file u64 | entries u64
//! ```

use sealmoot_crypto::encoding::{EncodingError, Reader, Writer};

use super::StorageError;
use crate::disk::Disk;
use crate::log::LogBase;
use crate::log::sealed_file::{self, SEALED_FILE_BYTES_MAX, SealedFileKey, SealedFileReadError};

/// The names of the two copies, in the order in which they are written.
pub(super) const MANIFEST_NAMES: [&str; 2] = ["manifest-a", "manifest-b"];
const VERSION: u8 = 1;
const RUNS_MAX: usize = 16_384;
const _: () = assert!(256 + RUNS_MAX * 32 <= SEALED_FILE_BYTES_MAX);

/// One run as the manifest names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunInfo {
    pub(super) id: [u8; 16],
    /// Length of the file in bytes.
    pub(super) bytes: u64,
    /// Keys in it, deleted ones included.
    pub(super) entries: u64,
}

/// What a storage is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Manifest {
    /// Rises with every change.
    pub(super) counter: u64,
    /// All records of the log up to this are in runs.
    pub(super) flushed: u64,
    /// Where the log begins; at its first segment without.
    pub(super) base: Option<LogBase>,
    /// The newest first.
    pub(super) runs: Vec<RunInfo>,
}

impl Manifest {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.u64(self.counter);
        writer.u64(self.flushed);
        writer.flag(self.base.is_some());
        if let Some(base) = &self.base {
            base.write(&mut writer);
        }
        writer.count(self.runs.len());
        for run in &self.runs {
            writer.fixed(&run.id);
            writer.u64(run.bytes);
            writer.u64(run.entries);
        }
        writer.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(EncodingError::Unknown {
                what: "manifest version",
                value: u64::from(version),
            });
        }
        let counter = reader.u64()?;
        let flushed = reader.u64()?;
        let base = match reader.flag()? {
            true => Some(LogBase::read(&mut reader)?),
            false => None,
        };
        let count = reader.count(RUNS_MAX)?;
        let mut runs = Vec::with_capacity(count);
        for _ in 0..count {
            runs.push(RunInfo {
                id: reader.array()?,
                bytes: reader.u64()?,
                entries: reader.u64()?,
            });
        }
        reader.finish()?;
        Ok(Self {
            counter,
            flushed,
            base,
            runs,
        })
    }

    /// Puts it in the place of the one before, in both copies.
    pub(super) fn write<D: Disk>(&self, disk: &D, key: &SealedFileKey) -> Result<(), StorageError> {
        for name in MANIFEST_NAMES {
            sealed_file::write(disk, key, name, &self.encode())
                .map_err(|error| StorageError::Failed(error.to_string()))?;
        }
        Ok(())
    }
}

/// What the two copies say.
pub(super) struct Found {
    /// The newest that is there; none in a new directory.
    pub(super) manifest: Option<Manifest>,
    /// Whether both have to be written again.
    pub(super) differ: bool,
    /// What is wrong with a copy that the other one made good.
    pub(super) damage: Option<StorageError>,
}

/// Reads both copies.
///
/// # Errors
/// [`StorageError::Damaged`] when there is one and none reads.
pub(super) fn read<D: Disk>(disk: &D, key: &SealedFileKey) -> Result<Found, StorageError> {
    let [first, second] = MANIFEST_NAMES.map(|name| read_copy(disk, key, name));
    Ok(match (first, second) {
        (Err(error @ StorageError::Disk(_)), _) | (_, Err(error @ StorageError::Disk(_))) => {
            return Err(error);
        }
        (Err(error), Err(_) | Ok(None)) | (Ok(None), Err(error)) => return Err(error),
        (Err(error), Ok(Some(manifest))) | (Ok(Some(manifest)), Err(error)) => Found {
            manifest: Some(manifest),
            differ: true,
            damage: Some(error),
        },
        (Ok(None), Ok(None)) => Found {
            manifest: None,
            differ: false,
            damage: None,
        },
        // The power went between the first two files of a new directory.
        (Ok(Some(first)), Ok(None)) if first.counter == 1 => Found {
            manifest: Some(first),
            differ: true,
            damage: None,
        },
        (Ok(Some(manifest)), Ok(None)) => Found {
            manifest: Some(manifest),
            differ: true,
            damage: Some(missing(MANIFEST_NAMES[1])),
        },
        (Ok(None), Ok(Some(manifest))) => Found {
            manifest: Some(manifest),
            differ: true,
            damage: Some(missing(MANIFEST_NAMES[0])),
        },
        (Ok(Some(first)), Ok(Some(second))) => of_two(first, second),
    })
}

/// The first is written first: it says the same as the second, or the next.
fn of_two(first: Manifest, second: Manifest) -> Found {
    let differ = first != second;
    let interrupted = second.counter.checked_add(1) == Some(first.counter);
    let stale = |name: &str, counter: u64| StorageError::Damaged {
        file: name.to_owned(),
        what: format!("it is an old one, change {counter}"),
    };
    let damage = match () {
        () if !differ || interrupted => None,
        () if first.counter <= second.counter => Some(stale(MANIFEST_NAMES[0], first.counter)),
        () => Some(stale(MANIFEST_NAMES[1], second.counter)),
    };
    let manifest = if first.counter >= second.counter {
        first
    } else {
        second
    };
    Found {
        manifest: Some(manifest),
        differ,
        damage,
    }
}

fn missing(name: &str) -> StorageError {
    StorageError::Damaged {
        file: name.to_owned(),
        what: "it is missing".to_owned(),
    }
}

fn read_copy<D: Disk>(
    disk: &D,
    key: &SealedFileKey,
    name: &str,
) -> Result<Option<Manifest>, StorageError> {
    let damaged = |what: &dyn std::fmt::Display| StorageError::Damaged {
        file: name.to_owned(),
        what: what.to_string(),
    };
    match sealed_file::read(disk, key, name, SEALED_FILE_BYTES_MAX) {
        Ok(content) => Manifest::decode(content.expose())
            .map(Some)
            .map_err(|error| damaged(&error)),
        Err(SealedFileReadError::Missing { .. }) => Ok(None),
        Err(SealedFileReadError::Disk(error @ crate::disk::DiskError::TooLong { .. })) => {
            Err(damaged(&error))
        }
        Err(SealedFileReadError::Disk(error)) => Err(error.into()),
        Err(error) => Err(damaged(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use sealmoot_crypto::secret::SecretArray;

    fn key() -> SealedFileKey {
        SealedFileKey::from_root(&SecretArray::from_bytes([3; 32]))
    }

    fn manifest(counter: u64) -> Manifest {
        Manifest {
            counter,
            flushed: 2 * counter,
            base: None,
            runs: vec![RunInfo {
                id: [counter as u8; 16],
                bytes: 5,
                entries: 6,
            }],
        }
    }

    /// A disk whose copies are these two.
    fn disk(first: Option<u64>, second: Option<u64>) -> MemoryDisk {
        let disk = MemoryDisk::new();
        for (name, counter) in MANIFEST_NAMES.iter().zip([first, second]) {
            if let Some(counter) = counter {
                let content = manifest(counter).encode();
                sealed_file::write(&disk, &key(), name, &content).expect("written");
            }
        }
        disk
    }

    #[test]
    fn every_truncation_and_what_comes_behind_is_refused() {
        let bytes = manifest(3).encode();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest(3)));
        for length in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..length]).is_err(), "{length}");
        }
        assert!(Manifest::decode(&[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn of_two_copies_the_newer_counts_and_what_no_crash_leaves_is_told() {
        for (first, second, counts, told) in [
            (Some(5), Some(5), 5, false),
            // A crash between the two.
            (Some(6), Some(5), 6, false),
            (Some(1), None, 1, false),
            // An old one was put back, or one was taken away.
            (Some(5), Some(6), 6, true),
            (Some(7), Some(5), 7, true),
            (Some(6), None, 6, true),
            (None, Some(6), 6, true),
        ] {
            let found = read(&disk(first, second), &key()).expect("read");
            let counter = found.manifest.expect("one").counter;
            assert_eq!(counter, counts, "{first:?} {second:?}");
            assert_eq!(found.damage.is_some(), told, "{first:?} {second:?}");
            assert_eq!(found.differ, first != second);
        }
        assert!(
            read(&disk(None, None), &key())
                .expect("read")
                .manifest
                .is_none()
        );
    }

    #[test]
    fn one_damaged_copy_is_made_good_and_told_and_two_are_refused() {
        for name in MANIFEST_NAMES {
            let disk = disk(Some(5), Some(5));
            disk.flip(name, 30, 1);
            let found = read(&disk, &key()).expect("read");
            assert_eq!(found.manifest, Some(manifest(5)));
            assert!(
                matches!(&found.damage, Some(StorageError::Damaged { file, .. }) if file == name)
            );
            assert!(found.differ);
        }
        let disk = disk(Some(5), Some(5));
        for name in MANIFEST_NAMES {
            disk.flip(name, 30, 1);
        }
        assert!(matches!(
            read(&disk, &key()),
            Err(StorageError::Damaged { .. })
        ));
    }
}
