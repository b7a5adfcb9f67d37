//! A node whose data is damaged, missing or older than what it voted on takes it from the
//! others again, while clients notice nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use sealmoot_tests::cluster::{Cluster, NAMES};
use sealmoot_tests::files::{Flipped, copy_directory, data_files};
use sealmoot_tests::random::{Random, volume};
use serde_json::{Value, json};

/// Keys that are written and read all the time, each by itself in order.
const LANES: usize = 32;
/// Rounds of damage, at volume 1.
const ROUNDS: usize = 3;

/// How long anything may take.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// One client that writes every lane's next number once its last one was acknowledged and
/// read again.
struct Load {
    ends: Arc<AtomicBool>,
    steps: Arc<AtomicU64>,
    thread: JoinHandle<BTreeMap<usize, u64>>,
}

fn lane(number: usize) -> String {
    format!("load/{number}")
}

fn put(number: usize, step: u64) -> String {
    let value = format!("{step} {}", "v".repeat(number * 7));
    json!({"id": number, "op": "put", "key": lane(number), "value": value}).to_string() + "\n"
}

fn get(number: usize) -> String {
    json!({"id": number, "op": "get", "key": lane(number)}).to_string() + "\n"
}

impl Load {
    fn start(cluster: &Cluster) -> Self {
        let mut command = cluster
            .kv_run(&format!("batch --concurrency {LANES} --timeout 20s"))
            .into_command();
        let errors = cluster.home.path("load.messages");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(errors).expect("a file"))
            .spawn()
            .expect("kv starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let (ends, steps) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (is_over, count) = (Arc::clone(&ends), Arc::clone(&steps));
        let thread = std::thread::spawn(move || {
            let mut steps: BTreeMap<usize, u64> = (0..LANES).map(|number| (number, 0)).collect();
            for number in 0..LANES {
                stdin
                    .write_all(put(number, 0).as_bytes())
                    .expect("it is taken");
            }
            let mut idle = 0;
            let mut lines = BufReader::new(stdout).lines();
            while idle < LANES {
                let line = lines.next().expect("an answer").expect("text");
                let answer: Value = serde_json::from_str(&line).expect("JSON");
                assert_eq!(answer["outcome"], "ok", "{line}");
                let number = answer["id"].as_u64().expect("the lane");
                let number = usize::try_from(number).expect("it is small");
                let step = steps.get_mut(&number).expect("a lane");
                let next = match answer.get("value") {
                    None => get(number),
                    Some(value) => {
                        let value = value.as_str().expect("there is a value");
                        let (read, _) = value.split_once(' ').expect("a step");
                        assert_eq!(read, step.to_string(), "lane {number}: {line}");
                        count.fetch_add(1, Ordering::Relaxed);
                        if is_over.load(Ordering::Relaxed) {
                            idle += 1;
                            continue;
                        }
                        *step += 1;
                        put(number, *step)
                    }
                };
                stdin.write_all(next.as_bytes()).expect("it is taken");
            }
            drop(stdin);
            assert!(child.wait().expect("it ends").success());
            steps
        });
        Self {
            ends,
            steps,
            thread,
        }
    }

    /// Waits until every lane has gone round once more.
    fn goes_on(&self) {
        let before = self.steps.load(Ordering::Relaxed);
        sealmoot_tests::poll::eventually(
            "the load goes on",
            std::time::Duration::from_secs(60),
            || {
                assert!(!self.thread.is_finished(), "the client failed");
                let now = self.steps.load(Ordering::Relaxed);
                (now > before + 3 * LANES as u64).then_some(())
            },
        );
    }

    /// Ends it; the last step of each lane.
    fn end(self) -> BTreeMap<usize, u64> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().expect("no wrong answer and no failure")
    }
}

/// What is done to a stopped node's data.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Flip,
    Cut,
    Remove,
    RemoveAll,
    Garbage,
    Older,
}

fn do_harm(cluster: &Cluster, victim: usize, harm: Harm, random: &mut Random) {
    let directory = cluster.data(victim);
    let mut files: Vec<String> = data_files(&directory)
        .into_iter()
        .filter(|file| file.starts_with("log-") || file.starts_with("run-"))
        .collect();
    // The newest segment may end where a kill left it: what is cut off there behind the
    // last group is no damage.
    files.retain(|file| fs::metadata(directory.join(file)).expect("there").len() > 0);
    let chosen = usize::try_from(random.below(files.len() as u64)).expect("small");
    let path = directory.join(&files[chosen]);
    match harm {
        Harm::Flip => {
            // Of the header of a segment, or the first block of a run, something is read.
            drop(Flipped::at(&path, random.below(64), 0x10));
        }
        Harm::Cut => {
            let file = fs::OpenOptions::new().write(true).open(&path);
            file.expect("it opens").set_len(100).expect("it is cut");
        }
        Harm::Remove => fs::remove_file(&path).expect("it is removed"),
        Harm::RemoveAll => {
            for file in data_files(&directory) {
                let is_data = ["log-", "run-", "manifest-", "spare"];
                if is_data.iter().any(|begin| file.starts_with(begin)) {
                    fs::remove_file(directory.join(file)).expect("it is removed");
                }
            }
        }
        Harm::Garbage => {
            for file in files {
                let path = directory.join(file);
                let length = fs::metadata(&path).expect("there").len();
                let garbage = vec![0xa5; usize::try_from(length).expect("it fits")];
                fs::write(&path, garbage).expect("it is written");
            }
        }
        Harm::Older => {
            fs::remove_dir_all(&directory).expect("it is removed");
            copy_directory(&cluster.home.path("older"), &directory);
        }
    }
}

/// How often a node has set data aside.
fn aside(cluster: &Cluster, node: usize) -> usize {
    let entries = fs::read_dir(cluster.data(node)).expect("a directory");
    let names = entries.map(|entry| entry.expect("listed").file_name());
    let aside = names.filter(|name| name.to_string_lossy().starts_with("quarantined-"));
    aside.count()
}

#[test]
fn a_scrub_finds_damage_of_a_running_node_and_the_node_repairs_it() {
    let mut random = Random::of_test("scrub");
    let mut cluster = Cluster::form();
    let load = Load::start(&cluster);
    load.goes_on();
    // Stopping writes a checkpoint.
    cluster.stop(1);
    cluster.start_with(1, "--scrub-every 200ms");
    cluster.await_whole();
    let directory = cluster.data(1);
    let before = load.steps.load(Ordering::Relaxed);
    let runs: Vec<String> = data_files(&directory)
        .into_iter()
        .filter(|file| file.starts_with("run-"))
        .collect();
    for manifest in ["manifest-a", "manifest-b"] {
        let path = directory.join(manifest);
        let kept = fs::read(&path).expect("a manifest");
        drop(Flipped::at(&path, random.below(kept.len() as u64), 0x40));
        let flipped = fs::read(&path).expect("a manifest");
        sealmoot_tests::poll::eventually("it is written again", WITHIN, || {
            (fs::read(&path).ok()? != flipped).then_some(())
        });
    }
    assert_eq!(
        aside(&cluster, 1),
        0,
        "a manifest is written again from memory"
    );
    let path = directory.join(&runs[0]);
    let length = fs::metadata(&path).expect("there").len();
    drop(Flipped::at(&path, random.below(length), 0x40));
    sealmoot_tests::poll::eventually("it is set aside", WITHIN, || {
        (aside(&cluster, 1) == 1).then_some(())
    });
    cluster.await_whole();
    load.goes_on();
    assert!(load.steps.load(Ordering::Relaxed) > before);
    let steps = load.end();
    // It holds what it did: with the others' help alone it could not be asked.
    cluster.stop(0);
    for (number, step) in steps {
        let got = cluster.kv(&format!("get {} -o raw", lane(number)));
        let right = format!("{step} {}", "v".repeat(number * 7));
        assert_eq!(got.succeeded().text(), right);
    }
    cluster.stop(1);
    let verified = cluster.home.kvd(&format!("verify {} -o json", NAMES[1]));
    assert_eq!(verified.data("verify")["ok"], true);
}

#[test]
fn whatever_happens_to_one_nodes_data_clients_notice_nothing() {
    let mut random = Random::of_test("refetch");
    let mut cluster = Cluster::form();
    // More than the load: keys that nobody touches any more, and deleted ones.
    let mut quiet = String::new();
    for number in 0..300 {
        let key = format!("quiet/{number}");
        quiet += &(json!({"op": "put", "key": key, "value": format!("quiet {number}")})
            .to_string()
            + "\n");
        if number % 10 == 0 {
            quiet += &(json!({"op": "del", "key": key}).to_string() + "\n");
        }
    }
    let written = cluster
        .kv_run("batch --concurrency 1")
        .input(quiet)
        .finish();
    assert_eq!(written.succeeded().text().lines().count(), 330);
    let load = Load::start(&cluster);
    load.goes_on();
    let mut harms = [
        Harm::Flip,
        Harm::Older,
        Harm::Cut,
        Harm::RemoveAll,
        Harm::Garbage,
        Harm::Remove,
    ];
    for last in (1..harms.len()).rev() {
        let other = random.below(last as u64 + 1);
        harms.swap(last, usize::try_from(other).expect("it is small"));
    }
    for round in 0..ROUNDS * volume() {
        let victim = round % NAMES.len();
        let harm = harms[round % harms.len()];
        println!("{harm:?} at {}", NAMES[victim]);
        if let Harm::Older = harm {
            cluster.stop(victim);
            let older = cluster.home.path("older");
            let _ = fs::remove_dir_all(&older);
            copy_directory(&cluster.data(victim), &older);
            cluster.start(&[victim]);
            cluster.await_whole();
            load.goes_on();
        }
        cluster.kill(&[victim]);
        do_harm(&cluster, victim, harm, &mut random);
        load.goes_on();
        cluster.start(&[victim]);
        cluster.await_whole();
        load.goes_on();
        assert!(aside(&cluster, victim) >= 1, "{harm:?} went unnoticed");
    }
    let steps = load.end();
    println!("{} rounds of the lanes", steps.values().sum::<u64>());
    // Each alone, and each pair of them, holds what was acknowledged.
    for (absent, name) in NAMES.into_iter().enumerate() {
        cluster.stop(absent);
        let mut gets = String::new();
        for number in 0..LANES {
            gets += &get(number);
        }
        for number in 0..300 {
            let key = format!("quiet/{number}");
            let id = LANES + number;
            gets += &(json!({"id": id, "op": "get", "key": key}).to_string() + "\n");
        }
        let got = cluster
            .kv_run("batch --concurrency 16")
            .input(gets)
            .finish();
        let mut read = 0;
        for line in got.succeeded().text().lines() {
            let answer: Value = serde_json::from_str(line).expect("JSON");
            let id = usize::try_from(answer["id"].as_u64().expect("an id")).expect("small");
            let right = match id.checked_sub(LANES) {
                None => json!(format!("{} {}", steps[&id], "v".repeat(id * 7))),
                Some(number) if number % 10 == 0 => Value::Null,
                Some(number) => json!(format!("quiet {number}")),
            };
            assert_eq!(answer["value"], right, "without {name}: {line}");
            read += 1;
        }
        assert_eq!(read, LANES + 300);
        cluster.start(&[absent]);
        cluster.await_whole();
    }
}
