//! Clients that put, read, set and remove a few keys, and write down what they were
//! told.
//!
//! Each is a `kv batch` of its own, fed by a thread that keeps few lines outstanding.
//! Keys are used for two seconds and then left, so that a key's part of the history
//! stays short enough to be judged.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sealmoot_simulation::history::{Action, Expected, History, ReadLevel, Response, Value};
use sealmoot_tests::random::Random;
use serde_json::json;

const KEYS_AT_A_TIME: u64 = 4;
const KEYS_USED_FOR: Duration = Duration::from_secs(2);
const OUTSTANDING: usize = 2;
/// A client waits up to so long between two operations.
const PAUSE_MS_MAX: u64 = 25;

/// What a client asked, and what it was told if it was.
#[derive(Debug, Clone)]
struct Told {
    client: u32,
    key: u64,
    action: Action,
    invoked_ns: u64,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Ok(Response, u64),
    Failed,
    Unknown,
}

/// What all clients were told.
#[derive(Debug, Default)]
pub(crate) struct Record(Vec<Told>);

impl Record {
    /// In the order of the clock that all clients share.
    pub(crate) fn history(&self) -> History {
        let mut keys: Vec<u64> = self.0.iter().map(|told| told.key).collect();
        keys.sort_unstable();
        keys.dedup();
        // Of what happened in one nanosecond, questions go first: then the two overlap,
        // which forbids less.
        let mut instants: Vec<(u64, bool, usize)> = Vec::new();
        for (index, told) in self.0.iter().enumerate() {
            instants.push((told.invoked_ns, false, index));
            if let End::Ok(_, returned_ns) = told.end {
                instants.push((returned_ns, true, index));
            }
        }
        instants.sort_unstable();
        let mut history = History::default();
        let mut numbers = vec![0; self.0.len()];
        for (_, is_answer, index) in instants {
            let told = &self.0[index];
            if is_answer {
                if let End::Ok(response, _) = told.end {
                    history.respond(numbers[index], response);
                }
                continue;
            }
            let key = keys.binary_search(&told.key).expect("it is one of them");
            numbers[index] = history.invoke(told.client, key, told.action);
            if told.end == End::Failed {
                history.fail(numbers[index]);
            }
        }
        history
    }

    /// How many operations ended well, without effect, and unknown.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let count = |wanted: fn(&End) -> bool| {
            let ends = self.0.iter().map(|told| &told.end);
            ends.filter(|end| wanted(end)).count()
        };
        (
            count(|end| matches!(end, End::Ok(..))),
            count(|end| *end == End::Failed),
            count(|end| *end == End::Unknown),
        )
    }

    /// Takes in what another record holds.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Every key that was used, with a prefix.
    pub(crate) fn keys(&self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.0.iter().map(|told| told.key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// A client at work.
pub(crate) struct Client {
    thread: JoinHandle<Record>,
}

/// What the clients of one history have in common.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// Before the number of every key.
    pub(crate) prefix: String,
    /// When it began.
    pub(crate) began: Instant,
    /// No operation begins after this.
    pub(crate) ends: Instant,
    /// Values that no operation had yet.
    pub(crate) values: Arc<AtomicU64>,
}

impl Client {
    /// Starts `batch`, a command of `kv batch`, and feeds it until the workload ends.
    pub(crate) fn start(number: u32, batch: Command, workload: Workload, seed: u64) -> Self {
        let thread = std::thread::spawn(move || work(number, batch, &workload, Random::new(seed)));
        Self { thread }
    }

    /// Waits for the last answer.
    pub(crate) fn finish(self) -> Result<Record, String> {
        self.thread
            .join()
            .map_err(|_| "a client panicked".to_owned())
    }
}

/// Reads each key once with a new client; for the end of a history.
pub(crate) fn read_all(batch: Command, prefix: &str, keys: &[u64]) -> Result<Record, String> {
    let mut running = Running::start(u32::MAX, batch);
    for key in keys {
        running.ask(prefix, *key, Action::Get(ReadLevel::Linearizable));
    }
    let record = running.finish();
    let (answered, ..) = record.counts();
    if answered != keys.len() {
        return Err(format!(
            "{answered} of {} keys could be read at the end",
            keys.len()
        ));
    }
    Ok(record)
}

fn work(number: u32, batch: Command, workload: &Workload, mut random: Random) -> Record {
    let mut running = Running::start(number, batch);
    // What this client saw last of each key, for conditional writes.
    while Instant::now() < workload.ends {
        running.await_place(workload.ends);
        let generation = workload.began.elapsed().as_secs() / KEYS_USED_FOR.as_secs();
        let key = generation * KEYS_AT_A_TIME + random.below(KEYS_AT_A_TIME);
        let value = || Value(workload.values.fetch_add(1, Ordering::Relaxed));
        let action = match random.below(10) {
            0..4 => Action::Get(ReadLevel::Linearizable),
            4..7 => Action::Put(value()),
            7 => Action::Delete,
            _ => match running.seen(key) {
                Some((Some(_), revision)) if random.below(2) == 0 => {
                    Action::CompareAndSet(Expected::Revision(revision), value())
                }
                Some((Some(seen), _)) => Action::CompareAndSet(Expected::Value(seen), value()),
                _ => Action::CompareAndSet(Expected::Absent, value()),
            },
        };
        running.ask(&workload.prefix, key, action);
        std::thread::sleep(Duration::from_millis(random.below(PAUSE_MS_MAX)));
    }
    running.finish()
}

/// A `kv batch` and what it was asked.
struct Running {
    number: u32,
    child: Child,
    asked: Vec<Told>,
    shared: Arc<Mutex<Answers>>,
    answered: mpsc::Receiver<()>,
    outstanding: usize,
    reader: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Answers(BTreeMap<usize, serde_json::Value>);

impl Running {
    fn start(number: u32, mut batch: Command) -> Self {
        let mut child = batch
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("kv starts");
        let stdout = child.stdout.take().expect("it is piped");
        let shared = Arc::new(Mutex::new(Answers::default()));
        let (sender, answered) = mpsc::channel();
        let answers = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(answer) = serde_json::from_str::<serde_json::Value>(&line) else {
                    continue;
                };
                let Some(id) = answer["id"]
                    .as_u64()
                    .and_then(|id| usize::try_from(id).ok())
                else {
                    continue;
                };
                let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                assert!(
                    answers.0.insert(id, answer).is_none(),
                    "answered twice: {line}"
                );
                if sender.send(()).is_err() {
                    return;
                }
            }
        });
        Self {
            number,
            child,
            asked: Vec::new(),
            shared,
            answered,
            outstanding: 0,
            reader,
        }
    }

    fn ask(&mut self, prefix: &str, key: u64, action: Action) {
        let name = format!("{prefix}{key}");
        let id = self.asked.len();
        let line = match action {
            Action::Get(_) => json!({"id": id, "op": "get", "key": name}),
            Action::Put(value) => {
                json!({"id": id, "op": "put", "key": name, "value": value.0.to_string()})
            }
            Action::Delete => json!({"id": id, "op": "del", "key": name}),
            Action::CompareAndSet(expected, value) => {
                let value = value.0.to_string();
                match expected {
                    Expected::Absent => {
                        json!({"id": id, "op": "cas", "key": name, "value": value, "expect": null})
                    }
                    Expected::Revision(revision) => {
                        json!({"id": id, "op": "cas", "key": name, "value": value, "expect_rev": revision})
                    }
                    Expected::Value(expected) => {
                        let expected = expected.0.to_string();
                        json!({"id": id, "op": "cas", "key": name, "value": value, "expect": expected})
                    }
                }
            }
        };
        self.asked.push(Told {
            client: self.number,
            key,
            action,
            // Only a bound below what the answer will say.
            invoked_ns: 0,
            end: End::Unknown,
        });
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        if writeln!(stdin, "{line}")
            .and_then(|()| stdin.flush())
            .is_ok()
        {
            self.outstanding += 1;
        }
    }

    fn await_place(&mut self, until: Instant) {
        while self.answered.try_recv().is_ok() {
            self.outstanding -= 1;
        }
        while self.outstanding >= OUTSTANDING {
            let left = until.saturating_duration_since(Instant::now());
            match self.answered.recv_timeout(left) {
                Ok(()) => self.outstanding -= 1,
                Err(_) => return,
            }
        }
    }

    /// The newest state of a key that this client was told.
    fn seen(&self, key: u64) -> Option<(Option<Value>, u64)> {
        let answers = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        answers.0.iter().rev().find_map(|(id, answer)| {
            let told = &self.asked[*id];
            if told.key != key || answer["outcome"] != "ok" {
                return None;
            }
            match response(told.action, answer)? {
                Response::Got { value, revision } => Some((value, revision)),
                Response::Written { revision } => match told.action {
                    Action::Put(value) | Action::CompareAndSet(_, value) => {
                        Some((Some(value), revision))
                    }
                    _ => None,
                },
                _ => None,
            }
        })
    }

    /// Ends the input, waits for the answers and puts them to the questions.
    fn finish(mut self) -> Record {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("it ends");
        self.reader.join().expect("the reader ends");
        let answers = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if status.success() {
            assert_eq!(answers.0.len(), self.asked.len(), "every line is answered");
        }
        for (id, answer) in &answers.0 {
            let told = &mut self.asked[*id];
            told.invoked_ns = answer["invoke_ns"].as_u64().expect("an instant");
            let returned_ns = answer["return_ns"].as_u64().expect("an instant");
            let is_conflict = answer["error"]["code"] == "conflict";
            told.end = match answer["outcome"].as_str() {
                Some("ok") => {
                    let response = response(told.action, answer).expect("an answer to it");
                    End::Ok(response, returned_ns)
                }
                Some("fail") if is_conflict => {
                    let revision = answer["rev"].as_u64().expect("a revision");
                    End::Ok(Response::Conflict { revision }, returned_ns)
                }
                Some("fail") => End::Failed,
                Some("unknown") => End::Unknown,
                other => panic!("an outcome called {other:?}"),
            };
        }
        Record(self.asked)
    }
}

/// What the answer to `action` says.
fn response(action: Action, answer: &serde_json::Value) -> Option<Response> {
    let revision = answer["rev"].as_u64()?;
    Some(match action {
        Action::Get(_) => {
            let value = match &answer["value"] {
                serde_json::Value::Null => None,
                value => Some(Value(value.as_str()?.parse().ok()?)),
            };
            Response::Got { value, revision }
        }
        Action::Delete if answer["existed"] == false => Response::NothingToDelete,
        Action::Delete => Response::Deleted { revision },
        Action::Put(_) | Action::CompareAndSet(..) => Response::Written { revision },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(key: u64, action: Action, invoked_ns: u64, end: End) -> Told {
        Told {
            client: 0,
            key,
            action,
            invoked_ns,
            end,
        }
    }

    #[test]
    fn a_history_is_put_together_by_the_shared_clock() {
        let written = End::Ok(Response::Written { revision: 1 }, 20);
        let got = |value, revision, at| End::Ok(Response::Got { value, revision }, at);
        let read = Action::Get(ReadLevel::Linearizable);
        let record = |read_at| {
            Record(vec![
                told(7, read, read_at, got(None, 0, 40)),
                told(7, Action::Put(Value(1)), 10, written),
            ])
        };
        let judge = |record: &Record| {
            use sealmoot_simulation::linearizable::check;
            use sealmoot_simulation::model::Revisions;
            check(&record.history(), Revisions::MayJump).is_ok()
        };
        assert!(judge(&record(15)), "they overlap");
        assert!(judge(&record(20)), "they touch");
        assert!(!judge(&record(21)), "the value was written before");
    }
}
