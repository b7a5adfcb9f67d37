//! Flipped bits, cuts, swaps and old files: told, or without effect; never a wrong answer.

use super::*;
use crate::storage::StorageError;

/// A small storage with a run of everything, what is in memory, and its state.
fn small() -> (MemoryDisk, PlainStorage) {
    let disk = MemoryDisk::new();
    let mut storage = open(&disk);
    let mut model = PlainStorage::default();
    let mut choices = Choices(3);
    for step in 0..14 {
        let batch = batch(&mut choices);
        storage.commit(&batch).expect("commits");
        model.commit(&batch).expect("commits");
        if step == 6 || step == 10 {
            storage.flush().expect("flushes");
        }
    }
    drop(storage);
    (disk, model)
}

fn copy(disk: &MemoryDisk) -> MemoryDisk {
    let other = MemoryDisk::new();
    for name in disk.names().expect("lists") {
        other.set_bytes(&name, disk.bytes(&name).expect("there"));
    }
    other
}

/// Opens and reads everything: the right answers, or an error. Whether anything was told.
#[track_caller]
fn told(disk: &MemoryDisk, model: &PlainStorage, at: &str) -> bool {
    let storage = match SealedStorage::open(disk.clone(), keys(1), options()) {
        Ok(storage) => storage,
        Err(_) => return true,
    };
    let mut told = !storage.damages().is_empty();
    for (key, value) in model.pairs() {
        match storage.get(key) {
            Ok(found) => assert_eq!(found.as_ref(), Some(value), "{at}"),
            Err(StorageError::Damaged { .. }) => told = true,
            Err(error) => panic!("{at}: {error}"),
        }
    }
    match storage.scan(b"", b"", usize::MAX) {
        Ok(found) => assert_eq!(found, all(model), "{at}"),
        Err(StorageError::Damaged { .. }) => told = true,
        Err(error) => panic!("{at}: {error}"),
    }
    told || !storage.verify().expect("reads").is_empty()
}

#[test]
fn a_flipped_bit_anywhere_is_told() {
    let (disk, model) = small();
    let mut flips = 0;
    for name in disk.names().expect("lists") {
        let length = disk.bytes(&name).expect("there").len();
        // The log has tests of its own, and much of it is zeros.
        let step = if name.starts_with("log-") || name.starts_with("spare") {
            97
        } else {
            3
        };
        for offset in (0..length).step_by(step) {
            let other = copy(&disk);
            other.flip(&name, offset, 1 << (offset % 8));
            let at = format!("{name} at {offset}");
            // Of a spare nothing is ever read; it is made anew.
            let told = told(&other, &model, &at);
            assert!(told || name.starts_with("spare"), "{at}: not told");
            flips += 1;
        }
    }
    assert!(flips > 1000, "{flips}");
}

#[test]
fn damage_in_a_run_stops_its_merging_and_no_commit() {
    let disk = MemoryDisk::new();
    let mut storage = open(&disk);
    let mut model = PlainStorage::default();
    for round in 0..2 {
        let batch: Vec<Change> = (0..10)
            .map(|key| Change::put(format!("a{round}{key}"), vec![7; 100]))
            .collect();
        storage.commit(&batch).expect("commits");
        model.commit(&batch).expect("commits");
        storage.flush().expect("flushes");
    }
    let names = disk.names().expect("lists");
    let run = names.iter().find(|name| name.starts_with("run-"));
    drop(storage);
    disk.flip(run.expect("two"), 60, 1);
    let mut storage = open(&disk);
    for key in 0..200 {
        let batch = [Change::put(format!("b{key:03}"), vec![7; 100])];
        storage.commit(&batch).expect("commits");
        model.commit(&batch).expect("commits");
    }
    let [StorageError::Damaged { file, .. }] = storage.damages() else {
        panic!("{:?}", storage.damages());
    };
    assert_eq!(Some(file), run);
    // What is not in the damaged block is there, now and after a restart.
    drop(storage);
    let storage = open(&disk);
    for (key, value) in model.pairs().filter(|(key, _)| key.starts_with(b"b")) {
        assert_eq!(storage.get(key).expect("reads").as_ref(), Some(value));
    }
    assert!(!storage.verify().expect("reads").is_empty());
}

#[test]
fn a_cut_or_longer_file_is_told() {
    let (disk, model) = small();
    for name in disk.names().expect("lists") {
        if name.starts_with("spare") {
            continue;
        }
        let bytes = disk.bytes(&name).expect("there");
        for length in (0..bytes.len()).step_by(bytes.len() / 40 + 1) {
            let other = copy(&disk);
            other.set_bytes(&name, bytes[..length].to_vec());
            let at = format!("{name} cut to {length}");
            assert!(told(&other, &model, &at), "{at}: not told");
        }
        let other = copy(&disk);
        other.set_bytes(&name, [&bytes[..], b"x"].concat());
        assert!(
            told(&other, &model, &name),
            "{name} with a byte more: not told"
        );
    }
}

#[test]
fn a_missing_file_is_told() {
    let (disk, model) = small();
    let names = disk.names().expect("lists");
    let newest = names.iter().rev().find(|name| name.starts_with("log-"));
    for name in &names {
        // Without its newest segment the log is what it was before that: a rollback, which
        // only the peers can tell.
        if name.starts_with("spare") || Some(name) == newest {
            continue;
        }
        let other = copy(&disk);
        other.remove(name).expect("removed");
        assert!(told(&other, &model, name), "{name}: not told");
    }
}

#[test]
fn files_and_blocks_that_are_swapped_are_told() {
    let (disk, model) = small();
    let (elsewhere, _) = small();
    let names = disk.names().expect("lists");
    for one in &names {
        for two in &names {
            if one == two || one.starts_with("spare") {
                continue;
            }
            // The two copies of the manifest say the same, and are sealed to their names.
            let other = copy(&disk);
            other.set_bytes(one, disk.bytes(two).expect("there"));
            assert!(told(&other, &model, one), "{two} as {one}: not told");
        }
    }
    // Of another storage under the same key: a clone of the node's, or its past.
    for name in names
        .iter()
        .filter(|name| !name.starts_with("run-") && !name.starts_with("spare"))
    {
        if let Some(bytes) = elsewhere.bytes(name) {
            let other = copy(&disk);
            other.set_bytes(name, bytes);
            assert!(told(&other, &model, name), "another's {name}: not told");
        }
    }
    // Blocks within a run: each place has its own number.
    for name in names.iter().filter(|name| name.starts_with("run-")) {
        let bytes = disk.bytes(name).expect("there");
        let other = copy(&disk);
        let mut swapped = bytes.clone();
        swapped[20..120].copy_from_slice(&bytes[220..320]);
        other.set_bytes(name, swapped);
        assert!(told(&other, &model, name), "{name}: not told");
    }
}

#[test]
fn an_old_version_of_one_file_is_told_or_has_no_effect() {
    let disk = MemoryDisk::new();
    let mut storage = open(&disk);
    let mut model = PlainStorage::default();
    let mut choices = Choices(9);
    let mut pasts = Vec::new();
    for step in 0..40 {
        let batch = batch(&mut choices);
        storage.commit(&batch).expect("commits");
        model.commit(&batch).expect("commits");
        if step % 8 == 7 {
            storage.flush().expect("flushes");
            pasts.push(copy(&disk));
        }
    }
    drop(storage);
    pasts.pop();
    let mut replayed = 0;
    for past in &pasts {
        for name in past.names().expect("lists") {
            let old = past.bytes(&name).expect("there");
            if name.starts_with("spare") || disk.bytes(&name) == Some(old.clone()) {
                continue;
            }
            let other = copy(&disk);
            let is_gone = disk.bytes(&name).is_none();
            other.set_bytes(&name, old);
            // What is not named any more is removed, and has no effect.
            let told = told(&other, &model, &name);
            assert!(told || is_gone, "old {name}: not told");
            replayed += 1;
        }
    }
    assert!(replayed > 10, "{replayed}");
}
