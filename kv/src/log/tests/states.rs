//! The states between two steps, made by hand and recovered from.

use crate::disk::{Disk, DiskFile, MemoryDisk, SECTOR_BYTES};
use crate::log::damage::DamageKind;
use crate::log::key::testing::key;
use crate::log::{CreateError, Log, OpenError, SPARE_NAME, exists, verify};

use super::{create, open, options, segment_names};

const SEGMENT_BYTES: u64 = 8192;

#[test]
fn an_empty_disk_has_no_log() {
    let disk = MemoryDisk::new();
    assert!(!exists(&disk).expect("lists"));
    assert!(matches!(
        open(&disk, SEGMENT_BYTES),
        Err(OpenError::Missing)
    ));
    assert!(verify(&disk, &key(1)).is_err());
}

#[test]
fn a_log_is_never_created_over_another() {
    let disk = MemoryDisk::new();
    drop(create(&disk, SEGMENT_BYTES));
    assert!(exists(&disk).expect("lists"));
    let refused = Log::create(disk, key(1), 7, options(SEGMENT_BYTES));
    assert!(matches!(refused, Err(CreateError::Exists { file }) if file == "log-00000001"));
}

#[test]
fn an_opened_log_leaves_the_earlier_segments_alone() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    let _ = log.commit(&[b"one"]).expect("commits");
    drop(log);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).expect("opens");
    let first = disk.bytes("log-00000001").expect("exists");
    assert_eq!(
        first.len(),
        3 * SECTOR_BYTES,
        "header, group, closing group"
    );
    let _ = log.commit(&[b"two"]).expect("commits");
    assert_eq!(log.position().segment, 2);
    assert_eq!(disk.bytes("log-00000001"), Some(first));
}

#[test]
fn positions_continue_and_openings_count() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    let created = log.position();
    assert_eq!(
        (created.records, created.opening, created.incarnation),
        (0, 1, 7)
    );
    let durable = log.commit(&[b"one", b"two"]).expect("commits");
    assert_eq!(durable.position(), log.position());
    drop(log);
    let (log, records) = open(&disk, SEGMENT_BYTES).expect("opens");
    assert_eq!(records, [b"one", b"two"]);
    let opened = log.position();
    assert_eq!(
        (opened.records, opened.opening, opened.incarnation),
        (2, 2, 7)
    );
    assert_eq!(opened.log_id, created.log_id);
    assert_eq!(log.durable().through(), 2);
}

#[test]
fn leftovers_of_a_spare_are_replaced() {
    for leftover in [vec![], vec![0; 700], vec![0; 8192], vec![9; 8192]] {
        let disk = MemoryDisk::new();
        let mut log = create(&disk, SEGMENT_BYTES);
        let _ = log.commit(&[b"one"]).expect("commits");
        drop(log);
        disk.set_bytes(SPARE_NAME, leftover);
        let (_, records) = open(&disk, SEGMENT_BYTES).expect("opens");
        assert_eq!(records, [b"one"]);
        assert_eq!(disk.bytes(SPARE_NAME), None, "it became the next segment");
    }
}

#[test]
fn a_changed_byte_of_a_spare_is_reported_where_it_is() {
    let disk = MemoryDisk::new();
    drop(create(&disk, SEGMENT_BYTES));
    disk.set_bytes(SPARE_NAME, vec![0; 8192]);
    assert_eq!(verify(&disk, &key(1)).expect("verifies").damages, []);
    for offset in [0, 1, 511, 512, 4000, 8191] {
        disk.set_bytes(SPARE_NAME, vec![0; 8192]);
        disk.flip(SPARE_NAME, offset, 0x40);
        let damages = verify(&disk, &key(1)).expect("verifies").damages;
        let place = damages.first().expect("reported");
        assert_eq!(place.file, SPARE_NAME);
        assert_eq!(place.offset, (offset / SECTOR_BYTES * SECTOR_BYTES) as u64);
    }
}

#[test]
fn a_spare_that_was_about_to_become_the_next_segment_is_sound() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    let _ = log.commit(&[b"one"]).expect("commits");
    drop(log);
    drop(open(&disk, SEGMENT_BYTES).expect("opens"));
    // The state before the rename that gave the second segment its name.
    disk.rename("log-00000002", SPARE_NAME).expect("renames");
    assert_eq!(verify(&disk, &key(1)).expect("verifies").damages, []);
}

#[test]
fn a_closed_last_segment_may_be_cut_or_whole_and_nothing_between() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    let _ = log.commit(&[b"one"]).expect("commits");
    drop(log);
    drop(open(&disk, SEGMENT_BYTES).expect("opens"));
    disk.remove("log-00000002").expect("removes");
    let cut = disk.bytes("log-00000001").expect("exists");
    for length in (cut.len()..=8192).step_by(SECTOR_BYTES) {
        let disk = MemoryDisk::new();
        let mut bytes = cut.clone();
        bytes.resize(length, 0);
        disk.set_bytes("log-00000001", bytes.clone());
        let opened = open(&disk, SEGMENT_BYTES);
        if length == cut.len() || length == 8192 {
            assert_eq!(opened.expect("opens").1, [b"one"]);
            assert_eq!(disk.bytes("log-00000001").as_ref(), Some(&cut));
        } else {
            let Err(OpenError::Damaged(damage)) = opened else {
                panic!("not refused: {opened:?}");
            };
            let expected = cut.len() as u64;
            assert_eq!(damage.what, DamageKind::WrongSize { expected });
        }
    }
    // Nothing was ever written behind a closing group.
    let mut bytes = cut;
    bytes.resize(8192, 0);
    bytes[5000] = 1;
    disk.set_bytes("log-00000001", bytes);
    let Err(OpenError::Damaged(damage)) = open(&disk, SEGMENT_BYTES) else {
        panic!("not refused");
    };
    assert_eq!((damage.offset, damage.what), (4608, DamageKind::NotZero));
}

#[test]
fn a_segment_that_is_not_closed_has_no_successor() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    let _ = log.commit(&[b"one"]).expect("commits");
    let unclosed = disk.bytes("log-00000001").expect("exists");
    drop(log);
    drop(open(&disk, SEGMENT_BYTES).expect("opens"));
    for length in [unclosed.len(), 2 * SECTOR_BYTES] {
        let disk = disk.crash(0);
        disk.set_bytes("log-00000001", unclosed[..length].to_vec());
        let Err(OpenError::Damaged(damage)) = open(&disk, SEGMENT_BYTES) else {
            panic!("not refused");
        };
        assert_eq!(damage.file, "log-00000001");
    }
}

#[test]
fn an_unfinished_write_is_dropped_and_reported_as_such() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    let _ = log.commit(&[b"kept"]).expect("commits");
    let _ = log.commit(&[[7; 2000]]).expect("commits");
    drop(log);
    let whole = disk.bytes("log-00000001").expect("exists");
    for lost in 2..7 {
        let mut bytes = whole.clone();
        let sector = lost * SECTOR_BYTES..(lost + 1) * SECTOR_BYTES;
        let was_written = bytes[sector.clone()].iter().any(|&byte| byte != 0);
        bytes[sector].fill(0);
        let disk = MemoryDisk::new();
        disk.set_bytes("log-00000001", bytes);
        let report = verify(&disk, &key(1)).expect("verifies");
        assert_eq!(report.damages, []);
        if was_written {
            let unfinished = report.unfinished.expect("a part is there");
            assert_eq!(unfinished.offset, 2 * SECTOR_BYTES as u64);
            assert_eq!(open(&disk, SEGMENT_BYTES).expect("opens").1, [b"kept"]);
        } else {
            assert_eq!(open(&disk, SEGMENT_BYTES).expect("opens").1.len(), 2);
        }
        assert_eq!(verify(&disk, &key(1)).expect("verifies").unfinished, None);
    }
}

#[test]
fn the_segment_size_may_change_between_openings() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, 2048);
    for _ in 0..5 {
        let _ = log.commit(&[[1; 400]]).expect("commits");
    }
    drop(log);
    let (mut log, records) = open(&disk, 16384).expect("opens");
    assert_eq!(records.len(), 5);
    for _ in 0..9 {
        let _ = log.commit(&[[2; 1500]]).expect("commits");
    }
    drop(log);
    let (_, records) = open(&disk, 2048).expect("opens");
    assert_eq!(records.len(), 14);
    assert_eq!(verify(&disk, &key(1)).expect("verifies").damages, []);
}

#[test]
fn a_real_directory_keeps_a_log() {
    let directory = crate::disk::private_directory();
    let mut expected = Vec::new();
    for round in 0..3u8 {
        let disk = crate::disk::DirectoryDisk::open(directory.path()).expect("opens");
        let mut log = if round == 0 {
            // With the helper, as in production.
            let options = crate::log::LogOptions::default()
                .with_segment_bytes(SEGMENT_BYTES)
                .expect("possible");
            Log::create(disk, key(1), 7, options).expect("creates")
        } else {
            let (log, records) = open(&disk, SEGMENT_BYTES).expect("opens");
            assert_eq!(records, expected);
            log
        };
        for number in 0..30 {
            expected.push(vec![round, number, 0]);
            expected.push(vec![number; 300]);
            let durable = log
                .commit(&expected[expected.len() - 2..])
                .expect("commits");
            assert_eq!(durable.through(), expected.len() as u64);
        }
    }
    let disk = crate::disk::DirectoryDisk::open(directory.path()).expect("opens");
    assert_eq!(verify(&disk, &key(1)).expect("verifies").damages, []);
    // Rot on the real disk.
    let file = disk.open("log-00000002").expect("opens");
    let mut byte = [0];
    file.read_at(600, &mut byte).expect("reads");
    file.write_at(600, &[byte[0] ^ 1]).expect("writes");
    let damages = verify(&disk, &key(1)).expect("verifies").damages;
    assert_eq!(damages.len(), 1);
    assert_eq!(damages[0].file, "log-00000002");
}

#[test]
fn the_disk_shows_no_record() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    let _ = log.commit(&[b"a very secret record"]).expect("commits");
    for name in segment_names(&disk) {
        let bytes = disk.bytes(&name).expect("exists");
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
    }
}
