//! Authentic groups that no log writes, made with the key by hand: a fault in a
//! writer must not become a wrong history.

use crate::disk::{Disk, MemoryDisk};
use crate::log::body;
use crate::log::damage::{Damage, DamageKind};
use crate::log::key::testing::key;
use crate::log::layout::SPARE_NAME;
use crate::log::position::{Cursor, LogId};
use crate::log::segment::{Segment, Sizes};
use crate::log::{OpenError, verify};

use super::open;

const SEGMENT_BYTES: u64 = 4096;

const SIZES: Sizes = Sizes {
    this: SEGMENT_BYTES,
    previous: 0,
};

fn start(
    disk: &MemoryDisk,
    cursor: &mut Cursor,
    sizes: Sizes,
) -> Segment<<MemoryDisk as Disk>::File> {
    let spare = disk.create(SPARE_NAME, SEGMENT_BYTES).expect("creates");
    Segment::start(disk, spare, &key(1), cursor, sizes).expect("starts")
}

fn refused(disk: &MemoryDisk) -> Damage {
    let Err(OpenError::Damaged(damage)) = open(disk, SEGMENT_BYTES) else {
        panic!("not refused");
    };
    let report = verify(disk, &key(1)).expect("verifies");
    assert_eq!(report.damages, std::slice::from_ref(&damage));
    damage
}

#[test]
fn a_header_that_names_another_end_of_its_predecessor_is_refused() {
    for wrong in [-512i64, 0, 512] {
        let disk = MemoryDisk::new();
        let mut cursor = Cursor::before(LogId([1; 16]), 7);
        let end = start(&disk, &mut cursor, SIZES)
            .close(&key(1), &mut cursor)
            .expect("closes");
        let previous = end.checked_add_signed(wrong).expect("small");
        start(&disk, &mut cursor, Sizes { previous, ..SIZES });
        if wrong == 0 {
            assert!(open(&disk, SEGMENT_BYTES).is_ok());
            continue;
        }
        let damage = refused(&disk);
        assert_eq!(damage.file, "log-00000001");
        assert_eq!(damage.what, DamageKind::WrongSize { expected: previous });
    }
}

#[test]
fn a_segment_without_a_header_is_refused() {
    let disk = MemoryDisk::new();
    let mut cursor = Cursor::before(LogId([1; 16]), 7);
    let file = disk.create("log-00000001", SEGMENT_BYTES).expect("creates");
    let link = cursor.link();
    Segment::resume(file, 1, 0, SEGMENT_BYTES)
        .append(&key(1), &mut cursor, |plaintext| {
            body::encode_records(link, 1, &[b"one"], plaintext);
        })
        .expect("appends");
    assert_eq!(refused(&disk).what, DamageKind::Malformed);
}

#[test]
fn a_second_header_is_refused() {
    let disk = MemoryDisk::new();
    let mut cursor = Cursor::before(LogId([1; 16]), 7);
    let mut segment = start(&disk, &mut cursor, SIZES);
    let header = body::SegmentHeader {
        log_id: LogId([1; 16]),
        incarnation: 7,
        opening: 1,
        segment_bytes: SEGMENT_BYTES,
        previous_bytes: 0,
        records: 0,
    };
    let link = cursor.link();
    segment
        .append(&key(1), &mut cursor, |plaintext| {
            body::encode_header(link, &header, plaintext);
        })
        .expect("appends");
    assert_eq!(refused(&disk).what, DamageKind::Malformed);
}

#[test]
fn record_numbers_with_a_gap_are_refused() {
    for first in [2, 4] {
        let disk = MemoryDisk::new();
        let mut cursor = Cursor::before(LogId([1; 16]), 7);
        let mut segment = start(&disk, &mut cursor, SIZES);
        for first in [1, first] {
            let link = cursor.link();
            segment
                .append(&key(1), &mut cursor, |plaintext| {
                    body::encode_records(link, first, &[b"one", b"two"], plaintext);
                })
                .expect("appends");
        }
        assert_eq!(refused(&disk).what, DamageKind::OtherHistory);
    }
}
