//! Power cuts of one, two and all nodes while clients write: what was acknowledged is
//! there. As a control the same with syncs that lie, where it must not be.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sealmoot_tests::home::Home;
use sealmoot_tests::random::Random;
use serde_json::{Value, json};

use crate::field::{Field, NODES};
use crate::medium::Medium;
use crate::nodes::{Nodes, Under};

/// How long clients write before the power goes, in milliseconds.
const LOAD_MS: std::ops::Range<u64> = 60..400;
/// Fewer acknowledged writes than this before a cut say nothing.
const ACKNOWLEDGED_MIN: usize = 10;

/// Cuts the power `count` times; what was acknowledged must be there.
pub(crate) fn run(count: u64, seed: u64) -> Result<(), String> {
    let began = Instant::now();
    let mut machines = Machines::start(Under::Nothing)?;
    let mut random = Random::new(seed);
    let mut acknowledged = 0;
    let mut lost = 0;
    for number in 0..count {
        let victims = usize::try_from(number).unwrap_or(0) % NODES + 1;
        let first = usize::try_from(random.below(NODES as u64)).unwrap_or(0);
        let hosts: Vec<usize> = (0..victims).map(|step| (first + step) % NODES).collect();
        let cut = machines.load_and_cut(number, &hosts, &mut random)?;
        machines.restore(&hosts)?;
        machines.nodes.await_ready()?;
        let missing = machines.missing(&cut)?;
        acknowledged += cut.len();
        lost += missing.len();
        if !missing.is_empty() {
            println!("power cut {number} of {hosts:?}: lost {missing:?}");
        }
    }
    println!(
        "power: {count} cuts of one, two and three nodes; {acknowledged} acknowledged writes, {lost} lost; {:.0} s",
        began.elapsed().as_secs_f64()
    );
    match lost {
        0 => Ok(()),
        _ => Err(format!("{lost} acknowledged writes were lost")),
    }
}

/// The control: with syncs that lie, a cut of all three must show.
pub(crate) fn run_lying(count: u64, seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let mut noticed = 0;
    for number in 0..count {
        // The cluster itself is formed honestly.
        let mut machines = Machines::start(Under::Nothing)?;
        machines.nodes.restart_all(Under::LyingSync)?;
        let cut = machines.load_and_cut(number, &[0, 1, 2], &mut random)?;
        let outcome = machines
            .restore(&[0, 1, 2])
            .and_then(|()| machines.nodes.await_ready());
        let said = match outcome {
            Err(why) => {
                let last = why.lines().rfind(|line| !line.is_empty());
                format!("the nodes did not come back: {}", last.unwrap_or_default())
            }
            Ok(()) => {
                let missing = machines.missing(&cut)?;
                format!(
                    "{} of {} acknowledged writes lost",
                    missing.len(),
                    cut.len()
                )
            }
        };
        println!("lying sync, cut {number}: {said}");
        if !said.starts_with("0 of") {
            noticed += 1;
        }
    }
    if noticed == 0 {
        return Err("syncs lied and nothing was lost: the cuts cut nothing".to_owned());
    }
    println!("power: syncs that lie were noticed in {noticed} of {count} cuts");
    Ok(())
}

struct Machines {
    // Nodes end before their media go.
    nodes: Nodes,
    media: Vec<Medium>,
}

/// What was acknowledged before a cut: key and value.
type Acknowledged = BTreeMap<String, String>;

impl Machines {
    fn start(under: Under) -> Result<Self, String> {
        let field = Rc::new(Field::lay()?);
        let home = Home::new();
        crate::ended::remember_directory(home.path(""));
        let media = (0..NODES)
            .map(|host| {
                Medium::make(
                    home.path(format!("disk{host}")),
                    home.path(format!("host{host}")),
                )
            })
            .collect::<Result<Vec<_>, _>>()?;
        let places = media
            .iter()
            .map(|medium| medium.place().to_owned())
            .collect();
        let nodes = Nodes::form(field, home, places, under)?;
        Ok(Self { nodes, media })
    }

    /// Writes until the power of `hosts` goes; what was acknowledged by then.
    fn load_and_cut(
        &mut self,
        number: u64,
        hosts: &[usize],
        random: &mut Random,
    ) -> Result<Acknowledged, String> {
        let mut batch = self
            .nodes
            .client("batch --concurrency 16 --timeout 60s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut stdin = batch.stdin.take().expect("it is piped");
        let stdout = batch.stdout.take().expect("it is piped");
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let count = Arc::new(AtomicUsize::new(0));
        let (answers, counted) = (Arc::clone(&acknowledged), Arc::clone(&count));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(answer) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                if answer["outcome"] == "ok"
                    && let Some(id) = answer["id"].as_u64()
                {
                    answers
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(id);
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let writer = std::thread::spawn(move || {
            for id in 0u64.. {
                let line = json!({"id": id, "op": "put", "key": key(number, id), "value": value(number, id)});
                if writeln!(stdin, "{line}").is_err() {
                    return;
                }
            }
        });
        let limit = Instant::now() + Duration::from_secs(60);
        while count.load(Ordering::Relaxed) < ACKNOWLEDGED_MIN {
            if Instant::now() > limit {
                return Err(format!("cut {number}: nothing was acknowledged in 60 s"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(
            LOAD_MS.start + random.below(LOAD_MS.end - LOAD_MS.start),
        ));
        // All at once, as when a room loses power.
        std::thread::scope(|scope| {
            let cuts: Vec<_> = hosts
                .iter()
                .map(|host| scope.spawn(|| self.media[*host].cut_power()))
                .collect();
            cuts.into_iter().try_for_each(|cut| {
                cut.join()
                    .unwrap_or_else(|_| Err("a cut panicked".to_owned()))
            })
        })?;
        // What is acknowledged from now on counts too, whoever does it.
        std::thread::sleep(Duration::from_millis(30));
        hosts.iter().for_each(|host| self.nodes.kill(*host));
        let _ = batch.kill();
        let _ = batch.wait();
        let _ = writer.join();
        let _ = reader.join();
        let ids = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(ids
            .iter()
            .map(|id| (key(number, *id), value(number, *id)))
            .collect())
    }

    fn restore(&mut self, hosts: &[usize]) -> Result<(), String> {
        for &host in hosts {
            self.media[host].restore_power()?;
            self.nodes.start(host);
        }
        Ok(())
    }

    /// Which acknowledged writes are not there.
    fn missing(&self, acknowledged: &Acknowledged) -> Result<Vec<String>, String> {
        let keys: Vec<&String> = acknowledged.keys().collect();
        let input: String = keys
            .iter()
            .enumerate()
            .map(|(id, key)| json!({"id": id, "op": "get", "key": key}).to_string() + "\n")
            .collect();
        let mut batch = self
            .nodes
            .client("batch --concurrency 64 --timeout 60s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut stdin = batch.stdin.take().expect("it is piped");
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = batch
            .wait_with_output()
            .map_err(|error| error.to_string())?;
        let _ = writer.join();
        let mut missing = Vec::new();
        let mut read = 0;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let answer: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
            let id = answer["id"]
                .as_u64()
                .and_then(|id| usize::try_from(id).ok());
            let key = keys[id.expect("an id")];
            if answer["outcome"] != "ok" {
                return Err(format!("a key could not be read: {line}"));
            }
            read += 1;
            if answer["value"].as_str() != acknowledged.get(key).map(String::as_str) {
                missing.push(key.clone());
            }
        }
        if read != keys.len() {
            return Err(format!("{read} of {} keys were read", keys.len()));
        }
        Ok(missing)
    }
}

fn key(number: u64, id: u64) -> String {
    format!("power/{number}/{id}")
}

fn value(number: u64, id: u64) -> String {
    format!(
        "{number} {id} {}",
        "x".repeat(usize::try_from(id % 300).unwrap_or(0))
    )
}
