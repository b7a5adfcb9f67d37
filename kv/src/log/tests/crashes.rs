//! Power cuts and failures at every effect, against a plain list of records.

use std::io;

use crate::disk::{Choices, MemoryDisk};
use crate::log::key::testing::key;
use crate::log::{CommitError, Log, OpenError, verify};

use super::{create, open, options, record};

const SEGMENT_BYTES: u64 = 4096;

#[derive(Debug)]
enum Action {
    Commit(Vec<Vec<u8>>),
    Reopen,
}

/// What a run had done when it ended.
#[derive(Default)]
struct Run {
    attempted: Vec<Vec<u8>>,
    acknowledged: usize,
}

fn actions(seed: u64) -> Vec<Action> {
    let mut choices = Choices(seed);
    (0..9)
        .map(|_| {
            if choices.below(5) == 0 {
                return Action::Reopen;
            }
            let count = 1 + choices.below(5);
            // Some batches are larger than a group, and some than a segment.
            let bytes_max = [40, 400, 1500][choices.below(3)];
            Action::Commit(
                (0..count)
                    .map(|_| record(&mut choices, bytes_max))
                    .collect(),
            )
        })
        .collect()
}

/// Runs the actions until the first one fails.
fn run(disk: &MemoryDisk, actions: &[Action]) -> Run {
    let mut run = Run::default();
    let Ok(mut log) = Log::create(disk.clone(), key(1), 7, options(SEGMENT_BYTES)) else {
        return run;
    };
    for action in actions {
        match action {
            Action::Commit(batch) => {
                run.attempted.extend_from_slice(batch);
                match log.commit(batch) {
                    Ok(durable) => {
                        run.acknowledged = run.attempted.len();
                        assert_eq!(durable.through(), run.acknowledged as u64);
                    }
                    Err(error) => {
                        assert!(matches!(error, CommitError::Append(_)), "{error}");
                        let again = log.commit(batch).expect_err("poisoned");
                        assert!(matches!(again, CommitError::Poisoned));
                        return run;
                    }
                }
            }
            Action::Reopen => {
                drop(log);
                match open(disk, SEGMENT_BYTES) {
                    Ok((opened, records)) => {
                        assert_eq!(records, run.attempted);
                        log = opened;
                    }
                    Err(OpenError::Disk(_) | OpenError::Append(_)) => return run,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    run
}

/// Opens what a crash left, and returns the records that were found; `None` when
/// the log had not come to exist.
fn recover(disk: &MemoryDisk, run: &Run, at: &str) -> Option<Vec<Vec<u8>>> {
    match verify(disk, &key(1)) {
        Ok(report) => assert_eq!(report.damages, [], "{at}"),
        Err(error) => assert_eq!(run.acknowledged, 0, "{at}: {error}"),
    }
    match open(disk, SEGMENT_BYTES) {
        Ok((mut log, records)) => {
            assert!(
                records.len() >= run.acknowledged,
                "{at}: {} of {} acknowledged records are left",
                records.len(),
                run.acknowledged
            );
            assert!(run.attempted.starts_with(&records), "{at}: other records");
            let through = log.commit(&[b"one more"]).expect("no faults are left");
            assert_eq!(through.through(), records.len() as u64 + 1, "{at}");
            Some(records)
        }
        Err(OpenError::Missing) => {
            assert_eq!(run.acknowledged, 0, "{at}");
            drop(create(disk, SEGMENT_BYTES));
            None
        }
        Err(error) => panic!("{at}: {error}"),
    }
}

/// A seed of its own for every crash: equal seeds draw equally however different
/// the disks are.
fn mixed(first: u64, second: u64, third: u64) -> u64 {
    (first * 1_000 + second) * 1_000 + third
}

#[test]
fn whatever_effect_the_power_goes_at_acknowledged_records_stay() {
    for seed in 0..6 {
        let actions = actions(seed);
        let healthy = MemoryDisk::new();
        let complete = run(&healthy, &actions);
        assert_eq!(complete.acknowledged, complete.attempted.len());
        for effect in 0..healthy.effects() {
            let disk = MemoryDisk::new();
            disk.cut_power_at(effect);
            let run = run(&disk, &actions);
            for outcome in 0..6 {
                let at = format!("seed {seed}, effect {effect}, outcome {outcome}");
                recover(&disk.crash(mixed(seed, effect, outcome)), &run, &at);
            }
        }
    }
}

#[test]
fn the_power_may_go_again_at_every_effect_of_a_recovery() {
    for seed in 0..3 {
        let actions = actions(seed);
        let healthy = MemoryDisk::new();
        run(&healthy, &actions);
        for effect in (0..healthy.effects()).step_by(3) {
            let disk = MemoryDisk::new();
            disk.cut_power_at(effect);
            let run = run(&disk, &actions);
            let first = disk.crash(mixed(seed, effect, 0));
            // Long enough for every effect of one recovery.
            for second_effect in 0..14 {
                let disk = first.crash(0);
                disk.cut_power_at(second_effect);
                let _ = open(&disk, SEGMENT_BYTES);
                for outcome in 0..2 {
                    let at = format!(
                        "seed {seed}, effects {effect} and {second_effect}, outcome {outcome}"
                    );
                    recover(
                        &disk.crash(mixed(effect, second_effect, outcome)),
                        &run,
                        &at,
                    );
                }
            }
        }
    }
}

/// The process dies after any failure, the machine does not: the cache still
/// shows what the medium may lack. Whatever the next process believes must
/// survive the power cut that comes then.
#[test]
fn what_a_restart_believes_after_a_failure_survives_a_power_cut() {
    for seed in 0..6 {
        let actions = actions(seed);
        let healthy = MemoryDisk::new();
        run(&healthy, &actions);
        for effect in 0..healthy.effects() {
            let disk = MemoryDisk::new();
            disk.fail_at(effect, io::ErrorKind::Other);
            let run = run(&disk, &actions);
            disk.clear_faults();
            let at = format!("seed {seed}, effect {effect}");
            let Some(mut believed) = recover(&disk, &run, &at) else {
                continue;
            };
            believed.push(b"one more".to_vec());
            for outcome in 0..3 {
                let left = disk.crash(mixed(seed, effect, outcome));
                let (_, records) = open(&left, SEGMENT_BYTES).expect("opens");
                assert_eq!(records, believed, "{at}, outcome {outcome}");
            }
        }
    }
}

#[test]
fn a_full_disk_poisons_the_log() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    let durable = log.commit(&[b"kept"]).expect("commits");
    disk.fail_at(disk.effects(), io::ErrorKind::StorageFull);
    let error = log.commit(&[b"lost"]).expect_err("planned");
    assert!(error.to_string().contains("log-00000001") || error.to_string().contains("spare"));
    assert!(log.is_poisoned());
    assert!(matches!(
        log.commit(&[b"later"]),
        Err(CommitError::Poisoned)
    ));
    assert_eq!(log.durable(), durable, "what was durable stays so");
}

#[test]
fn a_failed_sync_is_never_retried() {
    let disk = MemoryDisk::new();
    let mut log = create(&disk, SEGMENT_BYTES);
    disk.fail_at(disk.effects() + 1, io::ErrorKind::Other);
    assert!(matches!(
        log.commit(&[b"lost"]),
        Err(CommitError::Append(_))
    ));
    let effects = disk.effects();
    assert!(matches!(
        log.commit(&[b"later"]),
        Err(CommitError::Poisoned)
    ));
    drop(log);
    assert_eq!(disk.effects(), effects);
}
