//! The files of a log: which there are, and the bytes of each.

use crate::disk::{Disk, DiskError, DiskFile, SECTOR_BYTES};

use super::damage::{Damage, DamageKind};
use super::layout::{SEGMENT_BYTES_MAX, SEGMENT_PREFIX, segment_name, segment_number};

/// What the directory lists of a log.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Numbers of the segments that are there, ascending.
    pub(super) numbers: Vec<u32>,
    /// Those before the first that has to be there: a crash kept them from being removed.
    pub(super) retired: Vec<u32>,
    /// Missing segments, and names that no segment has.
    pub(super) damages: Vec<Damage>,
}

/// Lists the segments. They count from `first` without a gap.
pub(super) fn list<D: Disk>(disk: &D, first: u32) -> Result<Listing, DiskError> {
    let mut listing = Listing::default();
    for name in disk.names()? {
        if !name.starts_with(SEGMENT_PREFIX) {
            continue;
        }
        match segment_number(&name) {
            Some(number) if number < first => listing.retired.push(number),
            Some(number) => listing.numbers.push(number),
            None => listing.damages.push(whole(name, DamageKind::UnknownFile)),
        }
    }
    listing.numbers.sort_unstable();
    let mut expected = first;
    for &number in &listing.numbers {
        // One report for a gap, however wide a planted name makes it.
        if number != expected {
            let missing = segment_name(expected);
            listing.damages.push(whole(missing, DamageKind::Missing));
        }
        expected = number.saturating_add(1);
    }
    Ok(listing)
}

/// Reading a segment failed, or its size is none that a segment can have.
#[derive(Debug)]
pub(super) enum ReadError {
    Disk(DiskError),
    Damaged(Damage),
}

impl From<DiskError> for ReadError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// All bytes of an open segment.
pub(super) fn read<F: DiskFile>(file: &F, number: u32) -> Result<Vec<u8>, ReadError> {
    let length = file.length()?;
    let wrong_size = |expected| {
        ReadError::Damaged(Damage {
            file: segment_name(number),
            offset: length.min(expected),
            length: length.abs_diff(expected),
            what: DamageKind::WrongSize { expected },
        })
    };
    let sector = SECTOR_BYTES as u64;
    // Before any memory is reserved.
    if length > SEGMENT_BYTES_MAX {
        return Err(wrong_size(SEGMENT_BYTES_MAX));
    }
    if length == 0 || !length.is_multiple_of(sector) {
        return Err(wrong_size((length + 1).next_multiple_of(sector)));
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| wrong_size(SEGMENT_BYTES_MAX))?];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

fn whole(file: String, what: DamageKind) -> Damage {
    Damage {
        file,
        offset: 0,
        length: 0,
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn gaps_and_unknown_names_are_damage() {
        let disk = MemoryDisk::new();
        for name in [
            "log-00000002",
            "log-00000003",
            "log-99999999",
            "log-x",
            "other",
        ] {
            disk.set_bytes(name, Vec::new());
        }
        let listing = list(&disk, 1).expect("lists");
        assert_eq!(listing.numbers, [2, 3, 99_999_999]);
        let found: Vec<_> = listing
            .damages
            .iter()
            .map(|damage| (damage.file.as_str(), damage.what))
            .collect();
        assert_eq!(
            found,
            [
                ("log-x", DamageKind::UnknownFile),
                ("log-00000001", DamageKind::Missing),
                ("log-00000004", DamageKind::Missing),
            ]
        );
    }

    #[test]
    fn segments_before_the_first_are_no_gap_and_a_missing_first_one_is_damage() {
        let disk = MemoryDisk::new();
        for name in ["log-00000002", "log-00000005", "log-00000006"] {
            disk.set_bytes(name, Vec::new());
        }
        let listing = list(&disk, 5).expect("lists");
        assert_eq!((listing.retired, listing.numbers), (vec![2], vec![5, 6]));
        assert!(listing.damages.is_empty());
        let listing = list(&disk, 4).expect("lists");
        assert_eq!(listing.damages[0].file, "log-00000004");
        assert_eq!(listing.damages[0].what, DamageKind::Missing);
    }

    #[test]
    fn impossible_sizes_are_refused_before_reading() {
        let disk = MemoryDisk::new();
        for length in [0, 1, 513] {
            disk.set_bytes("log-00000001", vec![0; length]);
            let file = disk.open("log-00000001").expect("opens");
            assert!(matches!(read(&file, 1), Err(ReadError::Damaged(_))));
        }
        let file = disk
            .create("huge", SEGMENT_BYTES_MAX + 512)
            .expect("creates");
        assert!(matches!(
            read(&file, 1),
            Err(ReadError::Damaged(Damage {
                what: DamageKind::WrongSize {
                    expected: SEGMENT_BYTES_MAX
                },
                ..
            }))
        ));
    }
}
