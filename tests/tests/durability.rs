//! What was acknowledged is there after every process was killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use sealmoot_tests::cluster::Cluster;
use sealmoot_tests::random::{Random, volume};
use serde_json::{Value, json};

const PUTS: usize = 10_000;

fn key(number: usize) -> String {
    format!("durable/{number:06}")
}

/// The value that belongs to a key, so that a mix-up shows.
fn value(number: usize) -> String {
    format!("value of {number} {}", "x".repeat(number % 97))
}

fn puts(numbers: impl Iterator<Item = usize>) -> String {
    numbers
        .map(|number| {
            let (key, value) = (key(number), value(number));
            json!({"id": number, "op": "put", "key": key, "value": value}).to_string() + "\n"
        })
        .collect()
}

/// A batch whose answers are read while it runs. It is killed when dropped.
struct Batch {
    child: Child,
    lines: Box<dyn Iterator<Item = String>>,
    outcomes: BTreeMap<usize, String>,
}

impl Batch {
    fn start(cluster: &Cluster, input: String) -> Self {
        let mut command = cluster
            .kv_run("batch --concurrency 64 --timeout 30s")
            .into_command();
        let errors = cluster.home.path("batch.messages");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(errors).expect("a file"))
            .spawn()
            .expect("kv starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let stdout = child.stdout.take().expect("it is piped");
        Self {
            child,
            lines: Box::new(BufReader::new(stdout).lines().map_while(Result::ok)),
            outcomes: BTreeMap::new(),
        }
    }

    /// Reads answers until there are `count`, or all.
    fn read_until(&mut self, count: usize) {
        while self.outcomes.len() < count {
            let Some(line) = self.lines.next() else {
                return;
            };
            // The last line of a killed process may be cut short.
            let Ok(answer) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            let number = answer["id"].as_u64().expect("the id");
            let outcome = answer["outcome"].as_str().expect("an outcome").to_owned();
            let number = usize::try_from(number).expect("it is small");
            assert_eq!(
                self.outcomes.insert(number, outcome),
                None,
                "answered twice: {line}"
            );
        }
    }

    /// Reads to the end and asserts that all went through; outcomes by number.
    fn finish(mut self, count: usize) -> BTreeMap<usize, String> {
        self.read_until(usize::MAX);
        assert!(self.child.wait().expect("it ends").success());
        assert_eq!(self.outcomes.len(), count);
        std::mem::take(&mut self.outcomes)
    }

    /// Kills it; what it had answered by then.
    fn kill(mut self) -> BTreeMap<usize, String> {
        self.child.kill().expect("it is killed");
        self.read_until(usize::MAX);
        std::mem::take(&mut self.outcomes)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asserts of every key what its line said.
fn assert_kept(cluster: &Cluster, outcomes: &BTreeMap<usize, String>) {
    let gets: String = (0..PUTS)
        .map(|number| json!({"id": number, "op": "get", "key": key(number)}).to_string() + "\n")
        .collect();
    let got = cluster
        .kv_run("batch --concurrency 64 --timeout 30s")
        .input(gets)
        .finish();
    let mut read = 0;
    for line in got.succeeded().text().lines() {
        let answer: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(answer["outcome"], "ok", "{line}");
        let number = usize::try_from(answer["id"].as_u64().expect("the id")).expect("small");
        let (found, right) = (&answer["value"], json!(value(number)));
        match outcomes.get(&number).map(String::as_str) {
            Some("ok") => assert_eq!(*found, right, "acknowledged and lost: {number}"),
            Some("fail") => assert!(found.is_null(), "failed and there: {line}"),
            Some("unknown") | None => assert!(found.is_null() || *found == right, "{line}"),
            Some(other) => panic!("an outcome called {other}"),
        }
        read += 1;
    }
    assert_eq!(read, PUTS);
}

fn count(outcomes: &BTreeMap<usize, String>, wanted: &str) -> usize {
    outcomes
        .values()
        .filter(|outcome| *outcome == wanted)
        .count()
}

/// All nodes are killed in the middle of a batch, three times, and the batch goes
/// on when they are back.
#[test]
fn puts_answered_ok_survive_the_death_of_all_nodes() {
    let mut random = Random::of_test("durability");
    for _ in 0..volume() {
        let mut cluster = Cluster::form();
        let mut batch = Batch::start(&cluster, puts(0..PUTS));
        for third in 0..3 {
            let reached =
                third * PUTS / 3 + 200 + usize::try_from(random.below(2500)).expect("small");
            batch.read_until(reached);
            cluster.kill(&[0, 1, 2]);
            cluster.start(&[0, 1, 2]);
        }
        let outcomes = batch.finish(PUTS);
        let ok = count(&outcomes, "ok");
        println!("ok {ok}, unknown {}", count(&outcomes, "unknown"));
        assert!(ok > PUTS / 2, "too little went through: {ok}");
        assert_kept(&cluster, &outcomes);

        // What was not acknowledged is tried again, and goes through.
        let left: Vec<usize> = (0..PUTS)
            .filter(|number| outcomes[number] != "ok")
            .collect();
        let again = Batch::start(&cluster, puts(left.iter().copied())).finish(left.len());
        assert_eq!(count(&again, "ok"), left.len());
        let all = (0..PUTS).map(|number| (number, "ok".to_owned())).collect();
        assert_kept(&cluster, &all);
        for index in 0..3 {
            cluster.stop(index);
            cluster
                .home
                .kvd(&format!("verify n{}", index + 1))
                .succeeded();
        }
    }
}

/// Everything is killed, the client too.
#[test]
fn puts_answered_ok_survive_the_death_of_everything() {
    let mut random = Random::of_test("durability of everything");
    for _ in 0..volume() {
        let mut cluster = Cluster::form();
        let mut batch = Batch::start(&cluster, puts(0..PUTS));
        batch.read_until(500 + usize::try_from(random.below(6000)).expect("small"));
        cluster.kill(&[0, 1, 2]);
        let outcomes = batch.kill();
        assert!(outcomes.len() < PUTS, "the batch was over too soon");
        for name in ["n1", "n2", "n3"] {
            // What an interrupted write leaves is no damage.
            cluster.home.kvd(&format!("verify {name}")).succeeded();
        }
        cluster.start(&[0, 1, 2]);
        assert_kept(&cluster, &outcomes);
    }
}

/// With a quorum left, nothing fails for good.
#[test]
fn a_batch_goes_on_while_one_node_dies_and_comes_back() {
    let mut cluster = Cluster::form();
    let mut batch = Batch::start(&cluster, puts(0..PUTS));
    for (index, reached) in [(0, 2000), (1, 5000), (2, 8000)] {
        batch.read_until(reached);
        cluster.kill(&[index]);
        cluster.start(&[index]);
    }
    let outcomes = batch.finish(PUTS);
    assert_eq!(count(&outcomes, "fail"), 0);
    assert!(
        count(&outcomes, "ok") > PUTS * 9 / 10,
        "{}",
        count(&outcomes, "ok")
    );
    assert_kept(&cluster, &outcomes);
}
