//! Changed bytes, cut files, exchanged files: each is reported by its name, and
//! none is replayed as something else.

use crate::disk::{Choices, Disk, MemoryDisk, SECTOR_BYTES};
use crate::log::damage::{Damage, DamageKind};
use crate::log::key::testing::key;
use crate::log::{Log, OpenError, SEGMENT_BYTES_MIN, looks_sealed_with, verify};

use super::{create, open, options, record, segment_names};

const SEGMENT_BYTES: u64 = 4096;

/// Three segments: two closed and cut, one being written, with room behind.
fn store() -> (MemoryDisk, Vec<Vec<u8>>) {
    let disk = MemoryDisk::new();
    let mut choices = Choices(1);
    let mut log = create(&disk, SEGMENT_BYTES);
    let mut records = Vec::new();
    while segment_names(&disk).len() < 3 || log.position().records < 13 {
        let batch: Vec<_> = (0..2).map(|_| record(&mut choices, 500)).collect();
        let _ = log.commit(&batch).expect("commits");
        records.extend(batch);
        if records.len() == 8 {
            drop(log);
            log = open(&disk, SEGMENT_BYTES).expect("opens").0;
        }
    }
    (disk, records)
}

/// Opening refuses, or hands out exactly what was acknowledged.
fn refuses_or_has_all(disk: &MemoryDisk, records: &[Vec<u8>], at: &str) {
    match open(disk, SEGMENT_BYTES) {
        Ok((_, found)) => assert_eq!(found, records, "{at}"),
        Err(OpenError::Damaged(_)) => {}
        Err(error) => panic!("{at}: {error}"),
    }
}

fn damages(disk: &MemoryDisk) -> Vec<Damage> {
    verify(disk, &key(1)).expect("verifies").damages
}

fn open_damage(disk: &MemoryDisk) -> Damage {
    match open(disk, SEGMENT_BYTES) {
        Err(OpenError::Damaged(damage)) => damage,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn an_untouched_store_is_clean() {
    let (disk, records) = store();
    let report = verify(&disk, &key(1)).expect("verifies");
    assert_eq!(report.damages, []);
    assert_eq!(report.unfinished, None);
    assert_eq!(report.records, records.len() as u64);
    assert_eq!(report.segments, segment_names(&disk).len() as u64);
    let effects = disk.effects();
    let _ = verify(&disk, &key(1));
    assert_eq!(disk.effects(), effects, "a verification changes nothing");
}

#[test]
fn every_flipped_byte_is_reported_where_it_is() {
    let (pristine, records) = store();
    let bits: &[u8] = if cfg!(debug_assertions) {
        &[0, 6]
    } else {
        &[0, 1, 2, 3, 4, 5, 6, 7]
    };
    for name in segment_names(&pristine) {
        for offset in 0..pristine.bytes(&name).expect("exists").len() {
            for bit in bits {
                let at = format!("bit {bit} of byte {offset} of {name}");
                let disk = pristine.crash(0);
                disk.flip(&name, offset, 1 << bit);
                let damages = damages(&disk);
                let offset = offset as u64;
                let covered = damages.iter().any(|damage| {
                    damage.file == name
                        && (damage.offset..damage.offset + damage.length).contains(&offset)
                });
                assert!(covered, "{at}: {damages:?}");
                assert!(damages.iter().all(|damage| damage.file == name), "{at}");
                refuses_or_has_all(&disk, &records, &at);
            }
        }
    }
}

#[test]
fn every_truncation_is_reported() {
    let (pristine, records) = store();
    for name in segment_names(&pristine) {
        let whole = pristine.bytes(&name).expect("exists");
        for length in 0..whole.len() {
            let at = format!("{name} cut to {length}");
            let disk = pristine.crash(0);
            disk.set_bytes(&name, whole[..length].to_vec());
            assert!(
                damages(&disk).iter().any(|damage| damage.file == name),
                "{at}"
            );
            assert!(open(&disk, SEGMENT_BYTES).is_err(), "{at}");
            refuses_or_has_all(&disk, &records, &at);
        }
    }
}

#[test]
fn every_extension_is_reported() {
    let (pristine, _) = store();
    for name in segment_names(&pristine) {
        let bytes = pristine.bytes(&name).expect("exists");
        // Up to the full size too: with a successor, a segment stays cut.
        let full = SEGMENT_BYTES as usize - bytes.len();
        for more in [1, SECTOR_BYTES, full, SEGMENT_BYTES as usize] {
            if more == 0 {
                continue;
            }
            let disk = pristine.crash(0);
            let mut bytes = bytes.clone();
            bytes.resize(bytes.len() + more, 0);
            disk.set_bytes(&name, bytes);
            assert!(damages(&disk).iter().any(|damage| damage.file == name));
            assert_eq!(open_damage(&disk).file, name);
        }
    }
}

#[test]
fn a_sector_turned_to_zeros_drops_the_last_group_at_most() {
    let (pristine, records) = store();
    for name in segment_names(&pristine) {
        let whole = pristine.bytes(&name).expect("exists");
        for start in (0..whole.len()).step_by(SECTOR_BYTES) {
            let mut bytes = whole.clone();
            bytes[start..start + SECTOR_BYTES].fill(0);
            if bytes == whole {
                continue;
            }
            let disk = pristine.crash(0);
            disk.set_bytes(&name, bytes);
            match open(&disk, SEGMENT_BYTES) {
                // Groups of the store hold two records each.
                Ok((_, found)) => assert_eq!(found, records[..records.len() - 2]),
                Err(OpenError::Damaged(damage)) => assert_eq!(damage.file, name),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn one_damage_does_not_hide_another() {
    let (disk, _) = store();
    let names = segment_names(&disk);
    let last = names.last().expect("three");
    let tail = disk.bytes(last).expect("exists").len();
    // The header and a record group of the first, a group of the second, and two
    // sectors of the zeros in the last, at the end of its groups and behind.
    for (name, offset) in [
        (&names[0], 3),
        (&names[0], SECTOR_BYTES + 100),
        (&names[1], SECTOR_BYTES + 100),
        (last, tail - 10),
        (last, tail - 3 * SECTOR_BYTES),
    ] {
        disk.flip(name, offset, 1);
    }
    let damages = damages(&disk);
    let places: Vec<_> = damages
        .iter()
        .map(|damage| (damage.file.as_str(), damage.offset, damage.what))
        .collect();
    assert_eq!(
        places,
        [
            (names[0].as_str(), 0, DamageKind::NoGroup),
            (names[0].as_str(), 512, DamageKind::Unauthentic),
            (names[1].as_str(), 512, DamageKind::Unauthentic),
            (last.as_str(), tail as u64 - 1536, DamageKind::NoGroup),
            (last.as_str(), tail as u64 - 512, DamageKind::NotZero),
        ]
    );
}

#[test]
fn a_group_without_its_head_is_reported_up_to_the_next() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    for length in [1700, 10] {
        let _ = log.commit(&[vec![7; length]]).expect("commits");
    }
    drop(log);
    disk.flip("log-00000001", SECTOR_BYTES, 1);
    let report = verify(&disk, &key(1)).expect("verifies");
    let expected = Damage {
        file: "log-00000001".to_owned(),
        offset: 512,
        length: 4 * 512,
        what: DamageKind::NoGroup,
    };
    assert_eq!(report.damages, [expected]);
    assert_eq!(report.records, 1, "the group behind it is counted");
}

#[test]
fn a_missing_segment_is_named() {
    let (pristine, _) = store();
    let names = segment_names(&pristine);
    for name in &names[..names.len() - 1] {
        let disk = pristine.crash(0);
        disk.remove(name).expect("removes");
        let damage = open_damage(&disk);
        assert_eq!((&damage.file, damage.what), (name, DamageKind::Missing));
        assert_eq!(damages(&disk), [damage]);
    }
}

#[test]
fn a_missing_last_segment_is_a_rollback_that_the_position_shows() {
    let (disk, records) = store();
    let names = segment_names(&disk);
    let position = open(&disk.crash(0), SEGMENT_BYTES)
        .expect("opens")
        .0
        .position();
    disk.remove(names.last().expect("three")).expect("removes");
    let (log, found) = open(&disk, SEGMENT_BYTES).expect("an earlier state");
    assert!(found.len() < records.len() && records.starts_with(&found));
    assert!(log.position().records < position.records);
    assert_ne!(log.position().chain, position.chain);
}

#[test]
fn exchanged_segments_are_refused() {
    let (disk, _) = store();
    let names = segment_names(&disk);
    let (one, two) = (disk.bytes(&names[0]), disk.bytes(&names[1]));
    disk.set_bytes(&names[0], two.expect("exists"));
    disk.set_bytes(&names[1], one.expect("exists"));
    let found = damages(&disk);
    assert!(
        names[..2]
            .iter()
            .all(|name| found.iter().any(|damage| damage.file == **name))
    );
    // Not even a head is valid elsewhere, so both look like another key's.
    assert_eq!(open_damage(&disk).file, names[0]);
}

#[test]
fn a_segment_of_another_log_is_refused() {
    for seed in [1, 2] {
        let (disk, _) = store();
        let names = segment_names(&disk);
        let other = MemoryDisk::new();
        // The same key, and another one.
        let mut log =
            Log::create(other.clone(), key(seed), 7, options(SEGMENT_BYTES)).expect("creates");
        while segment_names(&other).len() < 3 {
            let _ = log.commit(&[[7; 700]]).expect("commits");
        }
        disk.set_bytes(&names[1], other.bytes(&names[1]).expect("exists"));
        let damage = open_damage(&disk);
        let expected = if seed == 1 {
            DamageKind::OtherHistory
        } else {
            DamageKind::NoGroup
        };
        assert_eq!((&damage.file, damage.what), (&names[1], expected));
        assert!(damages(&disk).iter().any(|damage| damage.file == names[1]));
    }
}

#[test]
fn a_segment_of_a_cloned_directory_is_refused() {
    let (disk, _) = store();
    let clone = disk.crash(0);
    for (disk, text) in [(&disk, "here"), (&clone, "there")] {
        let (mut log, _) = open(disk, SEGMENT_BYTES).expect("opens");
        let _ = log.commit(&[text]).expect("commits");
        drop(log);
        let _ = open(disk, SEGMENT_BYTES).expect("opens");
    }
    let names = segment_names(&disk);
    let name = &names[names.len() - 2];
    disk.set_bytes(name, clone.bytes(name).expect("exists"));
    let damage = open_damage(&disk);
    assert_eq!(
        (&damage.file, damage.what),
        (name, DamageKind::OtherHistory)
    );
}

#[test]
fn a_group_of_another_time_is_refused() {
    // The same place of the same segment, in a clone that went another way.
    let (disk, _) = store();
    let (mut log, _) = open(&disk, SEGMENT_BYTES).expect("opens");
    let before = disk.crash(0);
    let _ = log.commit(&[b"here"]).expect("commits");
    let name = segment_names(&disk).last().expect("exists").clone();
    let ours = disk.bytes(&name).expect("exists");
    let clone = before.crash(0);
    let (mut log, _) = open(&clone, SEGMENT_BYTES).expect("opens");
    let _ = log.commit(&[b"there"]).expect("commits");
    let closed = clone.bytes(&name).expect("exists");
    // Ours, with the clone's closing group where our group stood.
    let mut mixed = ours.clone();
    mixed[SECTOR_BYTES..2 * SECTOR_BYTES].copy_from_slice(&closed[SECTOR_BYTES..]);
    disk.set_bytes(&name, mixed);
    // It is authentic and continues the header: an earlier state of this file.
    assert!(open(&disk.crash(0), SEGMENT_BYTES).is_ok());
    // Behind our group it continues nothing.
    let place = ours.iter().rposition(|&byte| byte != 0).expect("written");
    assert!(place > SECTOR_BYTES && place < 2 * SECTOR_BYTES);
    let mut mixed = ours;
    mixed[2 * SECTOR_BYTES..3 * SECTOR_BYTES].copy_from_slice(&closed[SECTOR_BYTES..]);
    disk.set_bytes(&name, mixed);
    assert_eq!(open_damage(&disk).what, DamageKind::NoGroup);
}

#[test]
fn a_wrong_key_is_told_from_damage() {
    let (disk, _) = store();
    let refused = Log::open::<std::convert::Infallible>(
        disk.clone(),
        key(2),
        options(SEGMENT_BYTES),
        &mut |_, _| panic!("nothing opens"),
    );
    assert!(matches!(refused, Err(OpenError::NothingOpens { .. })));
    assert!(!looks_sealed_with(&disk, &key(2)).expect("reads"));
    assert!(looks_sealed_with(&disk, &key(1)).expect("reads"));
    // A damaged first header is no wrong key.
    disk.flip("log-00000001", 40, 1);
    assert!(looks_sealed_with(&disk, &key(1)).expect("reads"));
    assert_eq!(open_damage(&disk).what, DamageKind::Unauthentic);
}

#[test]
fn unknown_names_are_refused() {
    for name in ["log-1", "log-00000001.tmp", "log-"] {
        let (disk, _) = store();
        disk.set_bytes(name, Vec::new());
        let damage = open_damage(&disk);
        assert_eq!(
            (damage.file.as_str(), damage.what),
            (name, DamageKind::UnknownFile)
        );
        assert_eq!(damages(&disk), [damage]);
    }
}

#[test]
fn noise_is_refused_and_never_panics() {
    let (pristine, records) = store();
    let names = segment_names(&pristine);
    for seed in 0..300 {
        let disk = pristine.crash(0);
        let mut choices = Choices(seed);
        let name = &names[choices.below(names.len())];
        let mut bytes = disk.bytes(name).expect("exists");
        let start = choices.below(bytes.len());
        let length = 1 + choices.below(bytes.len() - start);
        for byte in &mut bytes[start..start + length] {
            *byte = u8::try_from(choices.below(256)).expect("below 256");
        }
        disk.set_bytes(name, bytes);
        let _ = verify(&disk, &key(1)).expect("verifies");
        refuses_or_has_all(&disk, &records, &format!("seed {seed}"));
    }
    let least = usize::try_from(SEGMENT_BYTES_MIN).expect("small");
    for filler in [0, 0xa5, 0xff] {
        let disk = MemoryDisk::new();
        disk.set_bytes("log-00000001", vec![filler; least]);
        assert!(matches!(
            open(&disk, SEGMENT_BYTES),
            Err(OpenError::NothingOpens { .. })
        ));
    }
}
