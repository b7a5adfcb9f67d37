//! A changed byte anywhere on a node's disk is found, named, and never served.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use sealmoot_tests::binaries::Program;
use sealmoot_tests::cluster::{Cluster, NAMES};
use sealmoot_tests::files::{Flipped, copy_directory, data_files, write_private};
use sealmoot_tests::node::Node;
use sealmoot_tests::poll::eventually;
use sealmoot_tests::random::{Random, volume};
use serde_json::{Value, json};

/// Random places in each file, at volume 1.
const PLACES: usize = 60;
/// The node that is damaged.
const VICTIM: &str = "n1";
/// The file that becomes the next segment.
const SPARE: &str = "spare-segment";

/// Whether another copy stands in for the file, and it is made again.
fn has_a_copy(file: &str) -> bool {
    file.starts_with("manifest-")
}

/// The data files, those last without which a node starts: starting merges runs, and
/// retires segments.
fn files_to_harm(directory: &Path) -> Vec<String> {
    let mut files = data_files(directory);
    files.sort_by_key(|file| (file == SPARE, has_a_copy(file), !file.starts_with("run-")));
    assert!(files[0].starts_with("run-"), "{files:?}");
    files
}

/// A cluster whose first node is stopped, with what it must serve.
struct Scene {
    cluster: Cluster,
    expected: BTreeMap<String, String>,
}

impl Scene {
    fn set() -> Self {
        let mut cluster = Cluster::form();
        let mut expected = BTreeMap::new();
        // More than one life, so that there are finished segments too.
        for life in 0..2 {
            let mut lines = String::new();
            for number in 0..20 {
                let key = format!("damage/{number}");
                let value = format!("{life}-{number}-{}", "v".repeat(number * 200));
                lines += &json!({"op": "put", "key": key, "value": value}).to_string();
                lines.push('\n');
                expected.insert(key, value);
            }
            lines += &json!({"op": "del", "key": "damage/0"}).to_string();
            let batch = cluster
                .kv_run("batch --concurrency 1")
                .input(lines)
                .finish();
            assert_eq!(batch.succeeded().text().lines().count(), 21);
            expected.remove("damage/0");
            await_at_victim(&cluster, &expected);
            cluster.stop(0);
            if life == 0 {
                cluster.start(&[0]);
            }
        }
        let scene = Self { cluster, expected };
        scene.keep();
        scene.assert_sound();
        scene
    }

    fn directory(&self) -> std::path::PathBuf {
        self.cluster.data(0)
    }

    /// Keeps a copy of the directory as it should be.
    fn keep(&self) {
        let kept = self.cluster.home.path("kept");
        if kept.exists() {
            fs::remove_dir_all(&kept).expect("it is removed");
        }
        copy_directory(&self.directory(), &kept);
    }

    /// Puts the directory back as it was kept.
    fn put_back(&self) {
        fs::remove_dir_all(self.directory()).expect("it is removed");
        copy_directory(&self.cluster.home.path("kept"), &self.directory());
    }

    #[track_caller]
    fn assert_sound(&self) {
        let verified = self.cluster.home.kvd(&format!("verify {VICTIM} -o json"));
        assert_eq!(verified.data("verify"), json!({"ok": true, "damaged": []}));
    }

    /// What `kvd verify` finds, which must be something.
    #[track_caller]
    fn damages(&self, what: &str) -> Vec<Value> {
        let verified = self.cluster.home.kvd(&format!("verify {VICTIM} -o json"));
        assert_eq!(verified.exit, 9, "{what}: {verified:?}");
        verified.failed(9, "integrity");
        let data = verified.data_whatever_the_exit("verify");
        assert_eq!(data["ok"], false, "{what}: {data}");
        data["damaged"].as_array().expect("an array").clone()
    }

    /// Starts the node: it refuses, or what it serves is right. Says whether it
    /// refused.
    #[track_caller]
    fn refuses_or_serves_right(&self, what: &str) -> bool {
        let home = &self.cluster.home;
        let command = home
            .run(Program::Kvd, &format!("start --no-refetch --data {VICTIM}"))
            .into_command();
        let mut node = Node::run(command, home.path("victim.messages"));
        match node.ready_or_end() {
            Err(exit) => {
                assert_eq!(exit, 9, "{what}: {}", node.messages());
                true
            }
            Ok(_) => {
                self.assert_serves_right(what);
                // In order: what stands behind the end of a log that was cut off by a
                // kill may be what that left.
                assert_eq!(node.terminate(), 0, "{what}: {}", node.messages());
                false
            }
        }
    }

    #[track_caller]
    fn assert_serves_right(&self, what: &str) {
        for level in ["linearizable", "one"] {
            let gets = self.expected.keys().chain([&"damage/0".to_owned()]).fold(
                String::new(),
                |gets, key| {
                    let get = json!({"id": key, "op": "get", "key": key, "consistency": level});
                    format!("{gets}{get}\n")
                },
            );
            let endpoint = self.cluster.ports.address(0);
            let batch = self
                .cluster
                .kv_run(&format!("batch --endpoints {endpoint}"));
            let batch = batch.input(gets).finish();
            for line in batch.succeeded().text().lines() {
                let answer: Value = serde_json::from_str(line).expect("JSON");
                let key = answer["id"].as_str().expect("the key");
                let right = self
                    .expected
                    .get(key)
                    .map_or(Value::Null, |value| json!(value));
                assert_eq!(answer["outcome"], "ok", "{what}: {line}");
                assert!(answer["value"] == right, "{what}, {level}: {line}");
            }
        }
    }
}

/// Writes again what the victim does not hold yet, until it holds everything: two of
/// three are enough for a write, and what is wrong later must come from the damage.
fn await_at_victim(cluster: &Cluster, expected: &BTreeMap<String, String>) {
    let endpoint = cluster.ports.address(0);
    let all = || expected.keys().map(String::as_str).chain(["damage/0"]);
    eventually("everything at the victim", Duration::from_secs(60), || {
        let gets: String = all()
            .map(|key| json!({"id": key, "op": "get", "key": key, "consistency": "one"}))
            .map(|get| format!("{get}\n"))
            .collect();
        let batch = cluster.kv_run(&format!("batch --endpoints {endpoint}"));
        let batch = batch.input(gets).finish();
        let mut lines = String::new();
        for line in batch.succeeded().text().lines() {
            let answer: Value = serde_json::from_str(line).expect("JSON");
            let key = answer["id"].as_str().expect("the key");
            let write = match expected.get(key) {
                Some(value) if answer["value"] != **value => {
                    json!({"op": "put", "key": key, "value": value})
                }
                None if !answer["value"].is_null() => json!({"op": "put", "key": key, "value": ""}),
                _ => continue,
            };
            lines += &format!("{write}\n");
            if !expected.contains_key(key) {
                lines += &format!("{}\n", json!({"op": "del", "key": key}));
            }
        }
        if lines.is_empty() {
            return Some(());
        }
        let again = cluster
            .kv_run("batch --concurrency 1")
            .input(lines)
            .finish();
        again.succeeded();
        None
    });
}

/// Whether a damage covers the byte.
fn covers(damage: &Value, file: &str, offset: u64) -> bool {
    let begin = damage["offset"].as_u64().expect("an offset");
    let length = damage["length"].as_u64().expect("a length");
    damage["file"] == file && begin <= offset && offset - begin < length
}

/// First and last bytes, and random places, half of them where there is data:
/// files are made longer than what is in them.
fn places(path: &Path, random: &mut Random) -> Vec<u64> {
    let bytes = fs::read(path).expect("a data file");
    let length = bytes.len() as u64;
    assert!(length > 0, "{} is empty", path.display());
    let filled = bytes
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(1, |last| last as u64 + 1);
    let mut places: Vec<u64> = (0..8).chain(length.saturating_sub(8)..length).collect();
    places.extend([filled - 1, filled]);
    for _ in 0..PLACES * volume() / 2 {
        places.push(random.below(filled));
        places.push(random.below(length));
    }
    places.retain(|&place| place < length);
    places.sort_unstable();
    places.dedup();
    places
}

#[test]
fn every_flipped_byte_is_found_and_named_and_never_served() {
    let mut random = Random::of_test("damage");
    let scene = Scene::set();
    let files = files_to_harm(&scene.directory());
    assert!(files.len() >= 3, "{files:?}");
    let (mut flips, mut refusals) = (0, 0);
    let mut elsewhere = Vec::new();
    for file in &files {
        let path = scene.directory().join(file);
        for (step, offset) in places(&path, &mut random).into_iter().enumerate() {
            let mask = 1 << random.below(8);
            let what = format!("{file} byte {offset} xor {mask}");
            // It was written again, and may be shorter.
            if offset >= fs::metadata(&path).expect("there").len() {
                continue;
            }
            let flipped = Flipped::at(&path, offset, mask);
            let damages = scene.damages(&what);
            let named = damages.iter().any(|damage| covers(damage, file, offset));
            assert!(named, "{what} is not in {damages:?}");
            elsewhere.extend((damages.len() > 1).then(|| format!("{what}: {damages:?}")));
            flips += 1;
            // Nothing is read from a spare, and a manifest has a copy, so the node starts and
            // serves, which takes its time.
            let does_without = file == SPARE || has_a_copy(file);
            if does_without && step % 8 != 0 {
                flipped.restore();
            } else if scene.refuses_or_serves_right(&what) {
                refusals += 1;
                // Refusing has changed nothing: the right byte makes it whole.
                flipped.restore();
            } else if does_without {
                // It was made anew. What the node wrote since, its peers remember: put
                // back to the kept copy it would rightly refuse to vote.
                scene.assert_sound();
            } else {
                flipped.restore();
            }
        }
    }
    println!(
        "{} flips named intact places too: {elsewhere:#?}",
        elsewhere.len()
    );
    println!("{flips} flips in {files:?}: {refusals} refusals to start");
    assert!(refusals > 0, "nothing was refused");
    scene.assert_sound();
    assert!(
        !scene.refuses_or_serves_right("all restored"),
        "it does not start"
    );
}

#[test]
fn files_cut_short_or_made_longer_are_found() {
    let scene = Scene::set();
    for file in files_to_harm(&scene.directory()) {
        // A spare may be of any length: it is made while the node runs, and a
        // crash may come before it is whole.
        if file == SPARE {
            continue;
        }
        let path = scene.directory().join(&file);
        let lengths: [fn(u64) -> u64; 6] = [
            |_| 0,
            |_| 1,
            |length| length / 2,
            |length| length - 1,
            |length| length + 1,
            |length| length + 4096,
        ];
        for changed in lengths {
            // A segment goes when a start without its end has come to a checkpoint.
            let Ok(found) = fs::metadata(&path) else {
                break;
            };
            let length = found.len();
            let to = changed(length);
            let what = format!("{file} of {length} bytes made {to}");
            let opened = File::options()
                .write(true)
                .open(&path)
                .expect("a data file");
            opened.set_len(to).expect("its length is set");
            drop(opened);
            let damages = scene.damages(&what);
            assert!(
                damages.iter().any(|damage| damage["file"] == *file),
                "{what}: {damages:?}"
            );
            if scene.refuses_or_serves_right(&what) {
                scene.put_back();
            } else {
                // What it wrote since its peers remember: put back to the kept copy, it
                // would rightly refuse to vote.
                scene.assert_sound();
                scene.keep();
            }
        }
    }
    scene.assert_sound();
}

#[test]
fn missing_files_are_found() {
    let scene = Scene::set();
    let files = files_to_harm(&scene.directory());
    for file in files {
        fs::remove_file(scene.directory().join(&file)).expect("it is removed");
        let what = format!("{file} is missing");
        match file.as_str() {
            // Nothing says any more that this was a node.
            "identity" => {
                let verified = scene.cluster.home.kvd(&format!("verify {VICTIM} -o json"));
                assert!([9, 10].contains(&verified.exit), "{verified:?}");
                let started = scene
                    .cluster
                    .home
                    .kvd(&format!("start --data {VICTIM} -o json"));
                assert!([9, 10].contains(&started.exit), "{started:?}");
            }
            // It is made anew; nothing is lost with it.
            SPARE => {
                scene.assert_sound();
                assert!(!scene.refuses_or_serves_right(&what), "it does not start");
            }
            _ => {
                let damages = scene.damages(&what);
                let named = damages.iter().any(|damage| damage["file"] == *file);
                assert!(named, "{file} is not in {damages:?}");
                if has_a_copy(&file) {
                    assert!(!scene.refuses_or_serves_right(&what), "it does not start");
                    scene.assert_sound();
                    // What the node wrote since its peers remember.
                    scene.keep();
                    continue;
                }
                assert!(scene.refuses_or_serves_right(&what), "it starts");
            }
        }
        scene.put_back();
    }
    scene.assert_sound();
}

#[test]
fn both_manifests_and_old_ones_are_missed() {
    let mut scene = Scene::set();
    let manifests = ["manifest-a", "manifest-b"];
    for name in manifests {
        fs::remove_file(scene.directory().join(name)).expect("it is removed");
    }
    let damages = scene.damages("no manifest");
    // Which segments should be there nobody knows then.
    assert!(
        damages.len() == 1 && damages[0]["file"] == "manifest-a",
        "{damages:?}"
    );
    assert!(
        scene.refuses_or_serves_right("no manifest"),
        "it starts without"
    );
    scene.put_back();
    // Another life, and the files of the one before in the place of the new ones, one at a
    // time and both.
    let former = scene.cluster.home.path("former");
    copy_directory(&scene.directory(), &former);
    scene.cluster.start(&[0]);
    scene.cluster.stop(0);
    scene.keep();
    for names in [&manifests[..], &manifests[..1], &manifests[1..]] {
        let what = format!("an old {}", names.join(" and "));
        for name in names {
            fs::copy(former.join(name), scene.directory().join(name)).expect("it is copied");
        }
        assert!(!scene.damages(&what).is_empty());
        if names.len() == 2 {
            assert!(scene.refuses_or_serves_right(&what), "{what}: it starts");
            scene.put_back();
        } else {
            assert!(!scene.refuses_or_serves_right(&what), "{what}: refused");
            scene.assert_sound();
        }
    }
}

#[test]
fn files_of_another_node_or_place_are_found() {
    let mut scene = Scene::set();
    scene.cluster.stop(1);
    let files = data_files(&scene.directory());
    let other = scene.cluster.data(1);
    let mut swapped: Vec<(String, std::path::PathBuf)> = data_files(&other)
        .into_iter()
        // Every spare is like every other, or not verified as a node's own.
        .filter(|file| files.contains(file) && file != SPARE)
        // Last, since the node starts without one of them.
        .filter(|file| !has_a_copy(file))
        .map(|file| (file.clone(), other.join(file)))
        .collect();
    assert!(swapped.len() >= 2, "{swapped:?}");
    // A segment in the place of another of the same node.
    let kept = scene.cluster.home.path("kept");
    let segments: Vec<&String> = files
        .iter()
        .filter(|file| file.starts_with("log-"))
        .collect();
    for pair in segments.windows(2) {
        swapped.push((pair[0].clone(), kept.join(pair[1])));
        swapped.push((pair[1].clone(), kept.join(pair[0])));
    }
    // So with runs, whose names are their own.
    let runs: Vec<&String> = files
        .iter()
        .filter(|file| file.starts_with("run-"))
        .collect();
    for run in data_files(&other)
        .iter()
        .filter(|file| file.starts_with("run-"))
    {
        swapped.push((runs[0].clone(), other.join(run)));
    }
    for pair in runs.windows(2) {
        swapped.push((pair[0].clone(), kept.join(pair[1])));
        swapped.push((pair[1].clone(), kept.join(pair[0])));
    }
    let foreign = fs::read(other.join("manifest-b")).expect("a manifest");
    scene.cluster.start(&[1]);
    // Everything of the node of the same name in another cluster.
    let stranger = Scene::set();
    let theirs = stranger.directory();
    for file in data_files(&theirs) {
        let source = theirs.join(&file);
        if file.starts_with("run-") {
            swapped.push((runs[0].clone(), source));
        } else if files.contains(&file) && file != SPARE && !has_a_copy(&file) {
            swapped.push((file, source));
        }
    }
    for (file, source) in swapped {
        let what = format!("{} as {file}", source.display());
        fs::copy(&source, scene.directory().join(&file)).expect("it is copied");
        let verified = scene.cluster.home.kvd(&format!("verify {VICTIM} -o json"));
        // With the identity of another node nothing opens under this one's key.
        if file != "identity" || verified.exit == 9 {
            let damages = scene.damages(&what);
            assert!(
                damages.iter().any(|damage| damage["file"] == *file),
                "{what}: {damages:?}"
            );
            assert!(scene.refuses_or_serves_right(&what), "{what}: it starts");
        } else {
            verified.refused(10, "locked");
        }
        scene.put_back();
    }
    let strange = fs::read(theirs.join("manifest-b")).expect("a manifest");
    for (name, foreign) in ["manifest-a", "manifest-b"]
        .into_iter()
        .flat_map(|name| [(name, &foreign), (name, &strange)])
    {
        write_private(&scene.directory().join(name), foreign);
        let damages = scene.damages(name);
        assert!(
            damages.iter().any(|damage| damage["file"] == *name),
            "{damages:?}"
        );
        assert!(!scene.refuses_or_serves_right(name), "it does not start");
        scene.assert_sound();
    }
    assert_eq!(
        scene
            .cluster
            .home
            .kvd(&format!("status --data {} -o json", NAMES[1]))
            .exit,
        0
    );
}

#[test]
fn a_foreign_file_is_not_taken_for_data() {
    let scene = Scene::set();
    for name in ["log-00000099", "log-1", "notes.txt"] {
        let path = scene.directory().join(name);
        write_private(&path, b"what is this?");
        let verified = scene.cluster.home.kvd(&format!("verify {VICTIM} -o json"));
        assert!([0, 9].contains(&verified.exit), "{verified:?}");
        let _ = scene.refuses_or_serves_right(name);
        scene.put_back();
    }
}
