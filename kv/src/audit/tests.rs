//! The log on a disk that fails, loses its power, and is tampered with.

use std::io::ErrorKind;
use std::sync::Arc;

use sealmoot_authn::audit::check::{Fault, Report, Walk};
use sealmoot_authn::audit::{AuditRefused, Entry, Event, Subject, What, Who, first_key, queue};
use sealmoot_authn::realm_id::RealmId;
use sealmoot_crypto::hash_chain::Head;
use sealmoot_crypto::secret::SecretArray;
use sealmoot_crypto::signature::SigningKey;
use tokio::sync::watch;

use super::*;
use crate::disk::{Disk, MemoryDisk, SECTOR_BYTES};

const REALM: [u8; 32] = [5; 32];

fn storage_key() -> SecretArray<32> {
    SecretArray::from_bytes([6; 32])
}

fn owner() -> Owner {
    Owner {
        realm: RealmId::from_bytes(REALM),
        key: SigningKey::from_seed(&SecretArray::from_bytes([7; 32])),
    }
}

fn key() -> Arc<AuditKey> {
    Arc::new(AuditKey::from_root(&SecretArray::from_bytes([8; 32])))
}

fn event(number: u64) -> Event {
    Event::done(number, What::Login, Who::Node, Subject::Nothing).detail(format!("e{number}"))
}

fn create(disk: &MemoryDisk) -> AuditLog<MemoryDisk> {
    let audit_key = first_key::audit_key(&storage_key(), &RealmId::from_bytes(REALM));
    AuditLog::create(disk.clone(), key(), owner(), &audit_key.public_key(), 1).expect("created")
}

fn open(disk: &MemoryDisk) -> AuditLog<MemoryDisk> {
    AuditLog::open(disk.clone(), key(), owner()).expect("opens")
}

fn append(log: &mut AuditLog<MemoryDisk>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        log.append(&[event(number)], 9).expect("appended");
    }
}

fn read(log: &AuditLog<MemoryDisk>, disk: &MemoryDisk, from: u64) -> Vec<Entry> {
    let (_sender, published) = watch::channel(log.published());
    let reader = AuditReader::new(disk.clone(), key(), published);
    let (mut cursor, mut all) = (Cursor::at(from), Vec::new());
    loop {
        let (entries, next) = reader.read(cursor).expect("reads");
        if entries.is_empty() {
            return all;
        }
        all.extend(entries);
        cursor = next;
    }
}

fn details(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|entry| Event::decode(&entry.event).expect("an event").detail)
        .collect()
}

/// What the holder of the realm finds.
fn walk(log: &AuditLog<MemoryDisk>, disk: &MemoryDisk) -> Report {
    let published = log.published();
    let realm = RealmId::from_bytes(REALM);
    let audit_key = first_key::audit_key(&storage_key(), &realm);
    let key_id = owner().key.verifying_key().key_id();
    let first = first_key::open(&audit_key, &realm, &key_id, &published.sealed_first_key)
        .expect("the holder of the realm opens it");
    let oldest = published.oldest().expect("a segment").head();
    let mut walk = Walk::begin(&first, published.chain_id, oldest, published.head, &[]);
    for entry in read(log, disk, 0) {
        walk.entry(&entry);
    }
    walk.finish()
}

fn damages(disk: &MemoryDisk) -> Vec<AuditDamage> {
    verify(disk, &key()).expect("the disk works").0
}

fn a_log(events: u64) -> (MemoryDisk, AuditLog<MemoryDisk>) {
    let disk = MemoryDisk::new();
    let mut log = create(&disk);
    append(&mut log, 0..events);
    (disk, log)
}

#[test]
fn what_was_recorded_is_there_after_a_restart_and_verifies() {
    let (disk, log) = a_log(5);
    assert_eq!(log.published().head.records(), 5);
    drop(log);
    let mut log = open(&disk);
    log.append(&[event(5), event(6)], 9).expect("appended");
    assert_eq!(details(&read(&log, &disk, 4)), ["e4", "e5", "e6"]);
    let report = walk(&log, &disk);
    assert_eq!((report.events, report.faults), (7, vec![]));
    assert_eq!(damages(&disk), []);
}

#[test]
fn nothing_of_an_event_and_no_key_lies_open_on_the_disk() {
    let (disk, log) = a_log(3);
    let link = *log.published().head.link().as_bytes();
    for name in disk.names().expect("names") {
        let bytes = disk.bytes(&name).expect("there");
        for secret in [&b"e1"[..], &link] {
            // Two bytes may stand anywhere by chance, the word that holds them not.
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found || secret.len() == 2, "{name}");
        }
    }
    let bytes = disk.bytes("audit-00000001").expect("there");
    assert!(bytes.len().is_multiple_of(SECTOR_BYTES));
}

#[test]
fn segments_follow_each_other_and_the_oldest_go() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk).bounded(4 * SECTOR_BYTES as u64, 3);
    append(&mut log, 0..20);
    let kept: Vec<String> = disk
        .names()
        .expect("names")
        .into_iter()
        .filter(|name| name.starts_with(SEGMENT_PREFIX))
        .collect();
    assert_eq!(kept.len(), 3, "{kept:?}");
    let oldest = log.published().oldest().expect("one").head().records();
    assert!(oldest > 0);
    let entries = read(&log, &disk, 0);
    assert_eq!(entries[0].sequence, oldest);
    assert_eq!(entries.last().expect("some").sequence, 19);
    assert_eq!(read(&log, &disk, 17).len(), 3);
    assert_eq!(walk(&log, &disk).faults, []);
    assert_eq!(damages(&disk), []);
    let log = open(&disk);
    assert_eq!(walk(&log, &disk).faults, []);
    // A segment in the middle that is gone.
    disk.remove(&kept[1]).expect("removed");
    assert!(matches!(
        AuditLog::open(disk.clone(), key(), owner()),
        Err(OpenError::Damaged { file, .. }) if file == kept[1]
    ));
    assert_eq!(damages(&disk)[0].file, kept[1]);
}

#[test]
fn every_flipped_byte_is_named_by_a_verification() {
    let (disk, log) = a_log(3);
    drop(log);
    for name in ["audit-00000001", STATE_FILE] {
        let length = disk.bytes(name).expect("there").len();
        for at in (0..length).step_by(3) {
            disk.flip(name, at, 0x10);
            let found = damages(&disk);
            let named = found.iter().any(|damage| {
                let end = damage.offset + damage.length;
                damage.file == name && (damage.offset..end).contains(&(at as u64))
            });
            assert!(named, "{name} byte {at}: {found:?}");
            assert!(
                matches!(
                    AuditLog::open(disk.clone(), key(), owner()),
                    Err(OpenError::Damaged { .. })
                ),
                "{name} byte {at}"
            );
            disk.flip(name, at, 0x10);
        }
    }
    assert_eq!(damages(&disk), []);
}

#[test]
fn a_segment_that_was_cut_and_a_missing_file_are_damage() {
    let (disk, log) = a_log(3);
    drop(log);
    let bytes = disk.bytes("audit-00000001").expect("there");
    disk.set_bytes(
        "audit-00000001",
        bytes[..bytes.len() - SECTOR_BYTES].to_vec(),
    );
    assert!(matches!(
        AuditLog::open(disk.clone(), key(), owner()),
        Err(OpenError::Damaged {
            what: "its end is missing",
            ..
        })
    ));
    assert!(!damages(&disk).is_empty());
    disk.set_bytes("audit-00000001", bytes);
    disk.remove(STATE_FILE).expect("removed");
    assert!(matches!(
        AuditLog::open(disk.clone(), key(), owner()),
        Err(OpenError::Damaged { file, what: "it is missing", .. }) if file == STATE_FILE
    ));
    assert_eq!(damages(&disk)[0].file, STATE_FILE);
}

#[test]
fn what_stands_behind_the_end_is_a_crashs_unless_the_node_stopped_in_order() {
    let (disk, log) = a_log(3);
    let longer = |by: usize| {
        let mut bytes = disk.bytes("audit-00000001").expect("there");
        bytes.resize(bytes.len() + by, 0xff);
        disk.set_bytes("audit-00000001", bytes);
    };
    longer(1);
    assert_eq!(damages(&disk), []);
    drop(log);
    let mut log = open(&disk);
    let stopped = Event::done(5, What::NodeStopped, Who::Node, Subject::Nothing);
    log.append(&[event(3), stopped.clone()], 9)
        .expect("appended");
    assert_eq!(damages(&disk), []);
    let length = disk.bytes("audit-00000001").expect("there").len() as u64;
    for by in [1, SECTOR_BYTES - 1] {
        longer(by);
        let found = damages(&disk);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].offset, found[0].file.as_str()),
            (length, "audit-00000001")
        );
    }
    drop(log);
    let mut log = open(&disk);
    assert_eq!(damages(&disk), []);
    // It goes on: what stopped once says nothing of its end any more.
    append(&mut log, 4..5);
    longer(1);
    assert_eq!(damages(&disk), []);
}

#[test]
fn a_log_of_another_node_or_under_another_key_is_not_taken() {
    let (disk, log) = a_log(3);
    drop(log);
    let mut stranger = owner();
    stranger.key = SigningKey::from_seed(&SecretArray::from_bytes([9; 32]));
    assert!(matches!(
        AuditLog::open(disk.clone(), key(), stranger),
        Err(OpenError::Damaged {
            what: "its beginning is of another log",
            ..
        })
    ));
    let other = Arc::new(AuditKey::from_root(&SecretArray::from_bytes([1; 32])));
    assert!(AuditLog::open(disk, other, owner()).is_err());
}

#[test]
fn a_power_cut_at_any_effect_loses_nothing_that_was_acknowledged() {
    for cut in 0..60 {
        for seed in 0..6 {
            let disk = MemoryDisk::new();
            let mut log = create(&disk).bounded(4 * SECTOR_BYTES as u64, 3);
            append(&mut log, 0..2);
            disk.cut_power_at(disk.effects() + cut);
            let mut acknowledged = 2;
            while acknowledged < 12 && log.append(&[event(acknowledged)], 9).is_ok() {
                acknowledged += 1;
            }
            drop(log);
            let disk = disk.crash(seed);
            let mut log = open(&disk).bounded(4 * SECTOR_BYTES as u64, 3);
            let records = log.published().head.records();
            // At most the one that was on its way when the power went.
            let expected = [acknowledged, acknowledged + 1];
            assert!(
                expected.contains(&records),
                "cut {cut} seed {seed}: {records}"
            );
            append(&mut log, records..records + 3);
            let report = walk(&log, &disk);
            assert_eq!(report.faults, [], "cut {cut} seed {seed}");
            assert_eq!(report.events, records + 3, "cut {cut} seed {seed}");
            assert_eq!(damages(&disk), [], "cut {cut} seed {seed}");
        }
    }
}

#[test]
fn a_full_disk_refuses_and_leaves_the_chain_as_it_was() {
    for effect in 0..4 {
        let disk = MemoryDisk::new();
        let mut log = create(&disk).bounded(4 * SECTOR_BYTES as u64, 3);
        append(&mut log, 0..1);
        // Far enough that the next segment is begun in between.
        let mut refused = 0;
        for number in 1..6 {
            disk.fail_at(disk.effects() + effect, ErrorKind::StorageFull);
            match log.append(&[event(number)], 9) {
                Err(AppendError::NoRoom(_)) => refused += 1,
                Err(AppendError::Failed(_)) => {
                    // A sync that failed: nothing more until it is opened again.
                    disk.clear_faults();
                    assert!(matches!(
                        log.append(&[event(number)], 9),
                        Err(AppendError::Failed(_))
                    ));
                    log = open(&disk).bounded(4 * SECTOR_BYTES as u64, 3);
                }
                Ok(()) => continue,
            }
            disk.clear_faults();
            log.append(&[event(number)], 9)
                .expect("there is room again");
        }
        assert!(refused > 0 || effect > 0, "effect {effect}");
        let report = walk(&log, &disk);
        assert_eq!(report.faults, [], "effect {effect}");
        assert!(report.events >= 6, "effect {effect}: {}", report.events);
    }
}

/// A group of several sectors breaks off half way, and the next goes to a new segment:
/// nothing of the first may stand behind the end of the old one.
#[test]
fn a_group_that_found_no_room_leaves_nothing_behind() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk).bounded(64 * SECTOR_BYTES as u64, 8);
    append(&mut log, 0..1);
    let many: Vec<_> = (1..12).map(event).collect();
    let before = disk.bytes("audit-00000001").expect("there").len();
    disk.fail_at(disk.effects(), ErrorKind::StorageFull);
    assert!(matches!(log.append(&many, 9), Err(AppendError::NoRoom(_))));
    disk.clear_faults();
    assert_eq!(disk.bytes("audit-00000001").expect("there").len(), before);
    log.append(&many, 9).expect("there is room again");
    assert_eq!(walk(&log, &disk).faults, []);
}

/// Somebody puts back the state of an hour ago, and nothing else. Both of its sectors
/// authenticate; opening by it would cut off what was recorded since.
#[test]
fn an_older_state_beside_newer_events_is_damage() {
    for newer in [2, 9] {
        let disk = MemoryDisk::new();
        let mut log = create(&disk).bounded(8 * SECTOR_BYTES as u64, 9);
        append(&mut log, 0..3);
        let state = disk.bytes(STATE_FILE).expect("there");
        append(&mut log, 3..3 + newer);
        drop(log);
        disk.set_bytes(STATE_FILE, state);
        let key = key();
        assert!(
            matches!(
                AuditLog::open(disk.clone(), key, owner()),
                Err(OpenError::Damaged { .. })
            ),
            "{newer} newer events"
        );
    }
}

/// One of the two sectors of the state put back alone.
#[test]
fn sectors_of_the_state_that_were_not_written_in_turn_are_damage() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk);
    append(&mut log, 0..3);
    let older = disk.bytes(STATE_FILE).expect("there");
    append(&mut log, 3..7);
    drop(log);
    for sector in 0..2 {
        let newer = disk.bytes(STATE_FILE).expect("there");
        let mut mixed = newer.clone();
        let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
        mixed[range.clone()].copy_from_slice(&older[range]);
        disk.set_bytes(STATE_FILE, mixed);
        assert!(
            AuditLog::open(disk.clone(), key(), owner()).is_err(),
            "sector {sector}"
        );
        disk.set_bytes(STATE_FILE, newer);
    }
    assert!(AuditLog::open(disk.clone(), key(), owner()).is_ok());
}

#[test]
fn a_thief_with_all_keys_of_the_node_cannot_change_what_was() {
    let (disk, mut log) = a_log(6);
    let frames_of = |disk: &MemoryDisk| disk.bytes("audit-00000001").expect("there");
    let before = frames_of(&disk);
    // Everything a running node holds: the storage key, the node's key, the current key
    // of the chain. Event 2 is replaced by another one under the same link.
    let entries = read(&log, &disk, 0);
    let mut forged = entries[2].clone();
    forged.event = event(99).encode();
    let place = frame::Place {
        segment: 1,
        offset: before.len() as u64 - 4 * SECTOR_BYTES as u64,
    };
    let sealed = frame::seal(&key(), place, &frame::Frame::Entries(vec![forged])).expect("sealed");
    let mut bytes = before.clone();
    let at = usize::try_from(place.offset).expect("small");
    bytes[at..at + sealed.len()].copy_from_slice(&sealed);
    disk.set_bytes("audit-00000001", bytes);
    // The node itself does not notice; the holder of the realm does.
    assert_eq!(damages(&disk), []);
    log = open(&disk);
    assert_eq!(walk(&log, &disk).faults, [Fault::Broken { sequence: 2 }]);
}

#[test]
fn a_log_that_was_put_back_verifies_alone() {
    // Which is why heads are witnessed.
    let (disk, mut log) = a_log(4);
    let copy = disk.crash(0);
    append(&mut log, 4..8);
    let witnessed = log.published().head;
    let old = open(&copy);
    assert_eq!(walk(&old, &copy).faults, []);
    assert!(old.published().head.records() < witnessed.records());
    assert_ne!(old.published().head, Head::EMPTY);
}

#[tokio::test]
async fn the_writer_answers_when_events_are_durable_and_refuses_when_there_is_no_room() {
    let (disk, log) = a_log(0);
    let (auditor, submissions) = queue(names_key(&SecretArray::from_bytes([8; 32])));
    let published = spawn(log, submissions, || 9).expect("a thread");
    let reader = AuditReader::new(disk.clone(), key(), published);
    auditor.record(event(0)).await.expect("recorded");
    assert_eq!(reader.published().head.records(), 1);

    disk.fail_at(disk.effects(), ErrorKind::StorageFull);
    assert_eq!(auditor.record(event(1)).await, Err(AuditRefused::NoRoom));
    disk.fail_at(disk.effects(), ErrorKind::StorageFull);
    auditor.note(event(2)).expect("taken");
    // What nobody waited for is told as soon as there is room.
    let mut recorded = auditor.record(event(3)).await;
    if recorded == Err(AuditRefused::NoRoom) {
        recorded = auditor.record(event(3)).await;
    }
    recorded.expect("there is room again");
    let (mut cursor, mut found) = (Cursor::at(0), Vec::new());
    loop {
        let (entries, next) = reader.read(cursor).expect("reads");
        if entries.is_empty() {
            break;
        }
        found.extend(entries);
        cursor = next;
    }
    let lost = found
        .iter()
        .any(|entry| Event::decode(&entry.event).expect("an event").what == What::EventsLost);
    assert!(lost, "{:?}", details(&found));
    assert!(!details(&found).contains(&"e1".to_owned()));

    disk.fail_at(disk.effects() + 1, ErrorKind::Other);
    assert_eq!(auditor.record(event(4)).await, Err(AuditRefused::Failed));
    disk.clear_faults();
    assert_eq!(auditor.record(event(5)).await, Err(AuditRefused::Failed));
}
