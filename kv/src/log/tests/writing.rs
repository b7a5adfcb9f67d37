//! Commits and the group-commit thread.

use std::io;
use std::sync::mpsc;

use proptest::prelude::*;

use crate::disk::MemoryDisk;
use crate::log::key::testing::key;
use crate::log::{
    AppendRefused, CommitError, Log, LogOptions, LogWriter, QUEUED_BYTES_MAX, RECORD_BYTES_MAX,
};

use super::{create, open};

const SEGMENT_BYTES: u64 = 8192;

#[test]
fn a_batch_is_one_write_and_one_sync() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    let before = disk.effects();
    let durable = log.commit(&[b"one", b"two", b"six"]).expect("commits");
    assert_eq!(disk.effects(), before + 2);
    assert_eq!(durable.through(), 3);
}

#[test]
fn an_empty_batch_does_nothing() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    let before = disk.effects();
    let durable = log.commit::<&[u8]>(&[]).expect("nothing to do");
    assert_eq!((durable.through(), disk.effects()), (0, before));
}

#[test]
fn records_over_the_maximum_are_refused_before_anything_is_written() {
    let disk = MemoryDisk::new();
    let options = LogOptions::default().without_helper();
    let mut log = Log::create(disk.clone(), key(1), 7, options).expect("creates");
    let before = disk.effects();
    let refused = log.commit(&[vec![], vec![0; RECORD_BYTES_MAX + 1]]);
    assert!(matches!(
        refused,
        Err(CommitError::RecordTooLong { index: 1, length, maximum })
            if maximum == RECORD_BYTES_MAX && length == maximum + 1
    ));
    assert_eq!(disk.effects(), before);
    let durable = log
        .commit(&[vec![0; RECORD_BYTES_MAX]])
        .expect("the largest");
    assert_eq!(durable.through(), 1, "a refusal does not poison");
}

#[test]
fn a_batch_larger_than_a_segment_is_split() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    let maximum = log.record_bytes_max();
    let batch: Vec<Vec<u8>> = (0..5u8).map(|byte| vec![byte; maximum]).collect();
    assert_eq!(log.commit(&batch).expect("commits").through(), 5);
    drop(log);
    assert_eq!(open(&disk, SEGMENT_BYTES).expect("opens").1, batch);
}

#[test]
fn a_refused_record_ends_the_replay() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    let _ = log.commit(&[b"one", b"two"]).expect("commits");
    drop(log);
    let refused = Log::open(
        disk,
        key(1),
        LogOptions::default().without_helper(),
        &mut |number, _| match number {
            2 => Err(io::Error::other("unknown kind")),
            _ => Ok(()),
        },
    );
    assert!(matches!(
        refused,
        Err(crate::log::OpenError::Record { number: 2, .. })
    ));
}

#[test]
fn the_writer_makes_everything_durable_in_order() {
    let disk = MemoryDisk::new();
    let (sender, tokens) = mpsc::channel();
    let writer = LogWriter::spawn(create(&disk, SEGMENT_BYTES), move |outcome| {
        sender
            .send(outcome.expect("no faults").through())
            .expect("heard");
    })
    .expect("starts");
    let records: Vec<Vec<u8>> = (0..200u8).map(|byte| vec![byte; 50]).collect();
    for (index, record) in records.iter().enumerate() {
        assert_eq!(writer.append(record.clone()), Ok(index as u64 + 1));
    }
    writer.close().expect("flushes");
    let tokens: Vec<u64> = tokens.iter().collect();
    assert!(tokens.is_sorted() && tokens.last() == Some(&200));
    let (log, found) = open(&disk, SEGMENT_BYTES).expect("opens");
    assert_eq!(found, records);
    let writer = LogWriter::spawn(log, |_| {}).expect("starts");
    assert_eq!(writer.append(b"next".to_vec()), Ok(201));
}

#[test]
fn what_arrives_during_a_sync_is_the_next_group() {
    let disk = MemoryDisk::new();
    let (entered_sender, entered) = mpsc::channel();
    let (release, held) = mpsc::channel::<()>();
    let writer = LogWriter::spawn(create(&disk, 65536), move |outcome| {
        let _ = entered_sender.send(outcome.expect("no faults").through());
        let _ = held.recv();
    })
    .expect("starts");
    writer.append(b"first".to_vec()).expect("queues");
    assert_eq!(entered.recv(), Ok(1));
    for _ in 0..100 {
        writer.append(b"more".to_vec()).expect("queues");
    }
    let before = disk.effects();
    release.send(()).expect("held");
    assert_eq!(entered.recv(), Ok(101));
    assert_eq!(disk.effects(), before + 2);
    drop(release);
    writer.close().expect("closes");
}

#[test]
fn a_full_queue_is_busy_and_recovers() {
    let (entered_sender, entered) = mpsc::channel();
    let (release, held) = mpsc::channel::<()>();
    let options = LogOptions::default().without_helper();
    let log = Log::create(MemoryDisk::new(), key(1), 7, options).expect("creates");
    let writer = LogWriter::spawn(log, move |outcome| {
        let _ = entered_sender.send(outcome.expect("no faults").through());
        let _ = held.recv();
    })
    .expect("starts");
    writer.append(Vec::new()).expect("queues");
    assert_eq!(entered.recv(), Ok(1));
    let mut queued = 1;
    let refused = loop {
        match writer.append(vec![0; RECORD_BYTES_MAX]) {
            Ok(number) => queued = number,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, AppendRefused::Busy);
    assert!(queued as usize >= QUEUED_BYTES_MAX / RECORD_BYTES_MAX - 1);
    assert_eq!(
        writer.append(vec![0; RECORD_BYTES_MAX + 1]),
        Err(AppendRefused::TooLong {
            length: RECORD_BYTES_MAX + 1,
            maximum: RECORD_BYTES_MAX,
        })
    );
    drop(release);
    while entered.recv().expect("goes on") < queued {}
    assert_eq!(writer.append(vec![0; RECORD_BYTES_MAX]), Ok(queued + 1));
    writer.close().expect("closes");
}

#[test]
fn the_writer_stops_at_the_first_failure_and_says_so_once() {
    let disk = MemoryDisk::new();
    let (sender, outcomes) = mpsc::channel();
    let (release, held) = mpsc::channel::<()>();
    let log = create(&disk, SEGMENT_BYTES);
    let writer = LogWriter::spawn(log, move |outcome| {
        let _ = sender.send(outcome.is_ok());
        let _ = held.recv();
    })
    .expect("starts");
    writer.append(b"kept".to_vec()).expect("queues");
    assert_eq!(outcomes.recv(), Ok(true));
    // Two groups wait when the first of them fails.
    disk.fail_at(disk.effects() + 1, io::ErrorKind::Other);
    writer.append(vec![1; 5000]).expect("queues");
    writer.append(vec![2; 5000]).expect("queues");
    drop(release);
    assert_eq!(outcomes.recv(), Ok(false));
    assert_eq!(
        writer.append(b"later".to_vec()),
        Err(AppendRefused::Stopped)
    );
    assert!(writer.close().is_err());
    assert!(outcomes.recv().is_err(), "one call only");
}

#[test]
fn a_panicking_callback_stops_the_writer() {
    let writer = LogWriter::spawn(create(&MemoryDisk::new(), SEGMENT_BYTES), |_| {
        std::panic::resume_unwind(Box::new("planned"));
    })
    .expect("starts");
    writer.append(b"one".to_vec()).expect("queues");
    while writer.append(Vec::new()).is_ok() {
        std::thread::yield_now();
    }
    assert!(writer.close().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Random batches over random segment sizes, with openings between, against
    /// a plain list.
    #[test]
    fn a_log_is_a_list(
        sectors in 4u64..40,
        batches in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..900), 0..6),
            0..8,
        ),
        reopen_every in 1usize..5,
    ) {
        let disk = MemoryDisk::new();
        let mut log = create(&disk, sectors * 512);
        let maximum = log.record_bytes_max();
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for (index, mut batch) in batches.into_iter().enumerate() {
            batch.iter_mut().for_each(|record| record.truncate(maximum));
            let durable = log.commit(&batch).expect("commits");
            expected.extend(batch);
            prop_assert_eq!(durable.through(), expected.len() as u64);
            if index % reopen_every == 0 {
                drop(log);
                let (opened, found) = open(&disk, sectors * 512).expect("opens");
                prop_assert_eq!(&found, &expected);
                log = opened;
            }
        }
    }
}
