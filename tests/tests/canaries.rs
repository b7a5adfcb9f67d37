//! Nothing of what clients store can be found in what nodes leave on their disks.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::command::send_signals;
use sealmoot_tests::files::{data_files, walk, write_private};
use sealmoot_tests::poll::eventually;
use sealmoot_tests::random::Random;
use serde_json::json;

/// How many keys, each with a value.
const PAIRS: usize = 10_000;
/// In so many lives of the nodes, so that there are runs to be merged.
const LIVES: usize = 4;
/// A part of this length gives a canary away.
const PART: usize = 8;

static ZEROS: [u8; 4096] = [0; 4096];

/// Looks for many needles at once.
struct Search {
    /// Which first three bytes any of them has.
    first: Vec<bool>,
    parts: BTreeSet<[u8; PART]>,
}

impl Search {
    fn of(canaries: &[String]) -> Self {
        let mut search = Self {
            first: vec![false; 1 << 24],
            parts: BTreeSet::new(),
        };
        for canary in canaries {
            // Any two places in a row that are cut out of it, by blocks or by sectors.
            for at in [0, canary.len() / 2 - PART / 2, canary.len() - PART] {
                let part = &canary.as_bytes()[at..at + PART];
                search.first[first(part)] = true;
                search.parts.insert(part.try_into().expect("its length"));
            }
        }
        search
    }

    /// The places in a file where a part of a canary stands.
    fn found_in(&self, path: &Path) -> Vec<usize> {
        let bytes = fs::read(path).expect("a file");
        let mut found = Vec::new();
        for begin in (0..bytes.len()).step_by(ZEROS.len()) {
            let end = bytes.len().min(begin + ZEROS.len());
            // Files are made longer than what is in them.
            if bytes[begin..end] == ZEROS[..end - begin] {
                continue;
            }
            for at in begin..end.min(bytes.len().saturating_sub(PART - 1)) {
                let window = &bytes[at..at + PART];
                if self.first[first(window)] && self.parts.contains(window) {
                    found.push(at);
                }
            }
        }
        found
    }

    #[track_caller]
    fn assert_nowhere_below(&self, directory: &Path, when: &str) {
        let files = walk(directory);
        assert!(!files.is_empty());
        for file in files {
            let found = self.found_in(&file);
            assert!(found.is_empty(), "{when}: {} {found:?}", file.display());
        }
    }
}

fn first(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) | usize::from(bytes[1]) << 8 | usize::from(bytes[2]) << 16
}

fn word(random: &mut Random) -> String {
    (0..24)
        .map(|_| char::from(b'a' + random.below(26) as u8))
        .collect()
}

#[test]
fn keys_and_values_are_not_to_be_found_in_what_nodes_leave() {
    let mut random = Random::of_test("canaries");
    let mut cluster = Cluster::form();
    let canaries: Vec<String> = (0..2 * PAIRS).map(|_| word(&mut random)).collect();
    let search = Search::of(&canaries);
    for portion in canaries.chunks(2 * PAIRS / LIVES) {
        let lines: String = portion
            .chunks(2)
            .map(|pair| json!({"op": "put", "key": format!("c/{}", pair[0]), "value": pair[1]}))
            .map(|line| format!("{line}\n"))
            .collect();
        let batch = cluster.kv_run("batch --concurrency 64").input(lines);
        assert_eq!(
            batch.finish().succeeded().text().lines().count(),
            portion.len() / 2
        );
        for node in 0..3 {
            search.assert_nowhere_below(&cluster.data(node), "running");
            cluster.stop(node);
            search.assert_nowhere_below(&cluster.data(node), "stopped");
        }
        cluster.start(&[0, 1, 2]);
    }
    let runs = |node| {
        let mut files = data_files(&cluster.data(node));
        files.retain(|file| file.starts_with("run-"));
        files.len()
    };
    for node in 0..3 {
        let merged = || (runs(node) < LIVES).then_some(());
        eventually("runs are merged", Duration::from_secs(60), merged);
        search.assert_nowhere_below(&cluster.data(node), "merged");
    }
    // The nodes have all of them in memory now.
    for pair in canaries.chunks(2).step_by(1_999) {
        let got = cluster.kv(&format!("get c/{}", pair[0]));
        assert_eq!(got.succeeded().text(), pair[1]);
    }
    send_signals(&[cluster.pid(0)], "ABRT");
    eventually("it ended", Duration::from_secs(10), || {
        let dead = fs::read_to_string(format!("/proc/{}/status", cluster.pid(0)));
        dead.map_or(Some(()), |status| {
            status.contains("State:\tZ").then_some(())
        })
    });
    search.assert_nowhere_below(
        &cluster.home.path("."),
        "after a core would have been written",
    );
    // It is found where it is.
    let plain = cluster.home.path("plain");
    write_private(&plain, format!("x{}x", canaries[7]).as_bytes());
    assert_eq!(search.found_in(&plain), [1, 9, 17]);
}
