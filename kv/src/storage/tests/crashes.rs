//! Power cuts and failures at every effect on the disk.

use std::io;

use super::*;
use crate::storage::{StorageError, StorageOpenError};

/// What a run had done when it ended.
struct Run {
    /// The state after each batch, the empty one first.
    states: Vec<PlainStorage>,
    /// How many batches were acknowledged.
    acknowledged: usize,
}

fn run(disk: &MemoryDisk, seed: u64, batches: usize) -> Run {
    let mut choices = Choices(seed);
    let mut run = Run {
        states: vec![PlainStorage::default()],
        acknowledged: 0,
    };
    let Ok(mut storage) = SealedStorage::open(disk.clone(), keys(1), options()) else {
        return run;
    };
    for _ in 0..batches {
        if choices.below(12) == 0 {
            drop(storage);
            match SealedStorage::open(disk.clone(), keys(1), options()) {
                Ok(opened) => storage = opened,
                Err(_) => return run,
            }
            continue;
        }
        if choices.below(30) == 0 && storage.compact().is_err() {
            return run;
        }
        let batch = batch(&mut choices);
        let mut next = run.states.last().expect("one").clone();
        next.commit(&batch).expect("admitted");
        run.states.push(next);
        if storage.commit(&batch).is_err() {
            // Nothing is written any more, and what was read stays true.
            let again = storage.commit(&[Change::put("late", "x")]);
            assert!(matches!(again, Err(StorageError::Failed(_))), "{again:?}");
            return run;
        }
        run.acknowledged = run.states.len() - 1;
    }
    run
}

/// Opens what a crash left: everything acknowledged is there, and nothing else but what was
/// being written. Which state it is.
fn recover(disk: &MemoryDisk, run: &Run, at: &str) -> usize {
    let mut storage = match SealedStorage::open(disk.clone(), keys(1), options()) {
        Ok(storage) => storage,
        Err(error) => panic!("{at}: {error}"),
    };
    let found = all(&storage);
    let state = (run.acknowledged..run.states.len())
        .find(|index| all(&run.states[*index]) == found)
        .unwrap_or_else(|| {
            panic!(
                "{at}: none of the states after {} batches",
                run.acknowledged
            )
        });
    assert!(
        storage.damages().is_empty(),
        "{at}: {:?}",
        storage.damages()
    );
    assert_eq!(storage.verify().expect("reads").len(), 0, "{at}");
    // And it goes on.
    storage
        .commit(&[Change::put("one", "more")])
        .unwrap_or_else(|error| panic!("{at}: {error}"));
    assert_eq!(
        storage.get(b"one").expect("reads").as_deref(),
        Some(&b"more"[..])
    );
    state
}

fn mixed(first: u64, second: u64, third: u64) -> u64 {
    (first * 1_000 + second) * 1_000 + third
}

#[test]
fn whatever_effect_the_power_goes_at_what_was_acknowledged_is_there_and_nothing_else() {
    let mut cuts = 0;
    for seed in 0..3 {
        let healthy = MemoryDisk::new();
        let complete = run(&healthy, seed, 60);
        assert_eq!(complete.acknowledged + 1, complete.states.len());
        let effects = healthy.effects();
        for effect in (seed..effects).step_by(2) {
            let disk = MemoryDisk::new();
            disk.cut_power_at(effect);
            let run = run(&disk, seed, 60);
            for outcome in 0..2 {
                let at = format!("seed {seed}, effect {effect}, outcome {outcome}");
                recover(&disk.crash(mixed(seed, effect, outcome)), &run, &at);
                cuts += 1;
            }
        }
    }
    assert!(cuts > 300, "{cuts}");
}

#[test]
fn the_power_may_go_again_at_every_effect_of_an_opening() {
    let seed = 7;
    let healthy = MemoryDisk::new();
    run(&healthy, seed, 50);
    for effect in (0..healthy.effects()).step_by(17) {
        let disk = MemoryDisk::new();
        disk.cut_power_at(effect);
        let run = run(&disk, seed, 50);
        let first = disk.crash(mixed(seed, effect, 0));
        for second in 0..24 {
            let disk = first.crash(0);
            disk.cut_power_at(second);
            drop(SealedStorage::open(disk.clone(), keys(1), options()));
            let at = format!("effects {effect} and {second}");
            recover(&disk.crash(mixed(effect, second, 1)), &run, &at);
        }
    }
}

/// The process dies after a failure, the machine does not: what the next process believes
/// must survive the power cut that comes then.
#[test]
fn what_a_restart_believes_after_a_failure_survives_a_power_cut() {
    let seed = 11;
    let healthy = MemoryDisk::new();
    run(&healthy, seed, 50);
    for effect in (0..healthy.effects()).step_by(3) {
        for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
            let disk = MemoryDisk::new();
            disk.fail_at(effect, kind);
            let run = run(&disk, seed, 50);
            disk.clear_faults();
            let at = format!("effect {effect}, {kind:?}");
            let state = recover(&disk, &run, &at);
            let left = disk.crash(mixed(seed, effect, 2));
            let storage = open(&left);
            let mut expected = run.states[state].clone();
            expected
                .commit(&[Change::put("one", "more")])
                .expect("admitted");
            assert_same(&storage, &expected, &at);
        }
    }
}

#[test]
fn with_another_key_nothing_opens_and_nothing_is_changed() {
    let disk = MemoryDisk::new();
    run(&disk, 1, 60);
    let files = |disk: &MemoryDisk| -> Vec<_> {
        let names = disk.names().expect("lists");
        names
            .into_iter()
            .map(|name| (disk.bytes(&name), name))
            .collect()
    };
    let before = files(&disk);
    let refused = SealedStorage::open(disk.clone(), keys(2), options());
    assert!(matches!(
        refused.err(),
        Some(StorageOpenError::Storage(StorageError::Damaged { .. }))
    ));
    assert_eq!(files(&disk), before);
}
