//! Any operations in any order, with reopening: what a plain map says, the engine says.

use super::*;

fn run(seed: u64, batches: usize) {
    let disk = MemoryDisk::new();
    let mut choices = Choices(seed);
    let mut storage = open(&disk);
    let mut model = PlainStorage::default();
    let mut merged = false;
    let mut before = storage.sizes();
    for step in 0..batches {
        let at = format!("seed {seed}, step {step}");
        match choices.below(40) {
            0 => {
                drop(storage);
                storage = open(&disk);
                assert_same(&storage, &model, &at);
            }
            1 => storage.flush().expect("flushes"),
            2 if choices.below(4) == 0 => {
                storage.compact().expect("merges");
                let sizes = storage.sizes();
                assert!(sizes.runs <= 1, "{at}");
                assert_eq!(sizes.entries, all(&model).len() as u64, "{at}");
            }
            3 => {
                let (prefix, after) = (
                    format!("{}/", choices.below(5)),
                    format!("{}", choices.below(5)),
                );
                let limit = choices.below(20);
                let found = storage.scan(prefix.as_bytes(), after.as_bytes(), limit);
                let expected = model.scan(prefix.as_bytes(), after.as_bytes(), limit);
                assert_eq!(found.expect("reads"), expected.expect("reads"), "{at}");
            }
            _ => {
                let batch = batch(&mut choices);
                storage.commit(&batch).expect("commits");
                model.commit(&batch).expect("commits");
                for change in &batch {
                    let found = storage.get(&change.key).expect("reads");
                    assert_eq!(found, model.get(&change.key).expect("reads"), "{at}");
                }
            }
        }
        let sizes = storage.sizes();
        merged |= sizes.runs < before.runs;
        before = sizes;
    }
    assert_same(&storage, &model, &format!("seed {seed}, the end"));
    assert!(storage.damages().is_empty());
    assert!(storage.verify().expect("reads").is_empty(), "seed {seed}");
    assert!(merged || batches < 300, "seed {seed}: nothing was merged");
}

#[test]
fn whatever_is_done_the_engine_says_what_a_plain_map_says() {
    for seed in 0..8 {
        run(seed, 400);
    }
}

#[test]
fn a_snapshot_stays_what_it_was_while_everything_changes_and_is_merged() {
    let disk = MemoryDisk::new();
    let mut choices = Choices(1);
    let mut storage = open(&disk);
    let mut model = PlainStorage::default();
    for _ in 0..60 {
        let batch = batch(&mut choices);
        storage.commit(&batch).expect("commits");
        model.commit(&batch).expect("commits");
    }
    let snapshot = storage.snapshot();
    for _ in 0..200 {
        storage.commit(&batch(&mut choices)).expect("commits");
    }
    storage.compact().expect("merges");
    let mut after = Vec::new();
    let mut found = Vec::new();
    loop {
        let page = snapshot.scan(b"", &after, 7).expect("reads");
        let Some((last, _)) = page.last() else {
            break;
        };
        after = last.to_vec();
        found.extend(page);
    }
    assert_eq!(found, all(&model));
    for (key, value) in model.pairs() {
        assert_eq!(snapshot.get(key).expect("reads").as_ref(), Some(value));
    }
}

#[test]
fn space_comes_back_of_the_log_and_of_what_was_replaced() {
    let disk = MemoryDisk::new();
    let mut storage = open(&disk);
    let bytes_of = |disk: &MemoryDisk| -> usize {
        let names = disk.names().expect("lists");
        names
            .iter()
            .filter_map(|name| disk.bytes(name))
            .map(|bytes| bytes.len())
            .sum()
    };
    let mut highest = 0;
    for round in 0..400_u32 {
        let key = format!("k{}", round % 10);
        let batch = [Change::put(key, vec![7; 300])];
        storage.commit(&batch).expect("commits");
        highest = highest.max(bytes_of(&disk));
    }
    // 120,000 bytes were written, and ten keys of 300 bytes are there.
    assert!(highest < 80_000, "{highest}");
    for round in 0..10 {
        storage
            .commit(&[Change::delete(format!("k{round}"))])
            .expect("commits");
    }
    storage.compact().expect("merges");
    let sizes = storage.sizes();
    assert_eq!((sizes.runs, sizes.entries, sizes.run_bytes), (0, 0, 0));
    let runs = disk.names().expect("lists");
    assert!(
        !runs.iter().any(|name| name.starts_with("run-")),
        "{runs:?}"
    );
    drop(storage);
    assert!(all(&open(&disk)).is_empty());
}

#[test]
fn a_scan_pages_through_everything_whatever_lies_where() {
    let disk = MemoryDisk::new();
    let mut storage = open(&disk);
    let mut model = PlainStorage::default();
    let mut choices = Choices(5);
    for _ in 0..150 {
        let batch = batch(&mut choices);
        storage.commit(&batch).expect("commits");
        model.commit(&batch).expect("commits");
    }
    for prefix in ["", "0/", "1/1", "3/", "x"] {
        let mut after = Vec::new();
        let mut found = Vec::new();
        loop {
            let page = storage.scan(prefix.as_bytes(), &after, 3).expect("reads");
            let Some((last, _)) = page.last() else {
                break;
            };
            after = last.to_vec();
            found.extend(page);
        }
        let expected = model.scan(prefix.as_bytes(), b"", usize::MAX);
        assert_eq!(found, expected.expect("reads"), "{prefix:?}");
    }
}
