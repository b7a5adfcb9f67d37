//! `kv batch`: many operations, one JSON object a line, answered in the order in
//! which they end.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use sealmoot_authn::cli::{Code, CommonArgs, Failure, Output, bytes_fields};
use sealmoot_kv::client::{Client, Level, Write};
use sealmoot_kv::register::{Expectation, VALUE_LENGTH_MAX};
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, mpsc};

use crate::keys::{key, value};
use crate::session::{SessionArgs, block_on, client};

/// Longest line: a value in base64 and what stands around it.
const LINE_LENGTH_MAX: u64 = 4 * VALUE_LENGTH_MAX as u64;
/// Most operations at a time.
const CONCURRENCY_MAX: usize = 4096;

/// `kv batch`.
#[derive(Debug, clap::Args)]
pub(crate) struct BatchArgs {
    /// How many operations run at a time
    #[arg(long, value_name = "N", default_value_t = 16)]
    concurrency: usize,
}

enum Operation {
    Get(Bytes, Level),
    Write(Bytes, Write),
}

struct Line {
    id: Value,
    operation: Operation,
}

pub(crate) fn batch(
    args: &BatchArgs,
    session: &SessionArgs,
    common: &CommonArgs,
    output: &Output,
) -> Result<(), Failure> {
    if !(1..=CONCURRENCY_MAX).contains(&args.concurrency) {
        return Err(Failure::usage(format!(
            "--concurrency is 1 to {CONCURRENCY_MAX}"
        )));
    }
    let client = Arc::new(client(session, common)?);
    block_on(async {
        let places = Arc::new(Semaphore::new(args.concurrency));
        let (answers, mut answered) = mpsc::channel::<String>(args.concurrency);
        let mut lines = read_lines();
        let mut running = tokio::task::JoinSet::new();
        let mut malformed = None;
        loop {
            tokio::select! {
                biased;
                Some(answer) = answered.recv() => output.bytes(answer.as_bytes())?,
                line = lines.recv(), if malformed.is_none() => match line {
                    None => break,
                    Some(Err(failure)) => malformed = Some(failure),
                    Some(Ok(line)) => {
                        let place = loop {
                            tokio::select! {
                                biased;
                                Some(answer) = answered.recv() => {
                                    output.bytes(answer.as_bytes())?;
                                }
                                place = Arc::clone(&places).acquire_owned() => {
                                    break place.map_err(Failure::internal)?;
                                }
                            }
                        };
                        let (client, answers) = (Arc::clone(&client), answers.clone());
                        running.spawn(async move {
                            let answer = run(&client, line).await;
                            let _ = answers.send(format!("{answer}\n")).await;
                            drop(place);
                        });
                    }
                },
                else => break,
            }
            if malformed.is_some() {
                break;
            }
        }
        // What was begun is answered, whatever came after it.
        drop(answers);
        while let Some(answer) = answered.recv().await {
            output.bytes(answer.as_bytes())?;
        }
        malformed.map_or(Ok(()), Err)
    })
}

/// Reads lines on a thread of their own, because standard input blocks.
fn read_lines() -> mpsc::Receiver<Result<Line, Failure>> {
    let (sender, receiver) = mpsc::channel(64);
    std::thread::spawn(move || {
        let mut input = BufReader::new(std::io::stdin());
        for number in 1u64.. {
            let mut text = Vec::new();
            let read = input
                .by_ref()
                .take(LINE_LENGTH_MAX)
                .read_until(b'\n', &mut text);
            let line = match read {
                Ok(0) => return,
                Ok(_) if text.iter().all(u8::is_ascii_whitespace) => continue,
                Ok(_) if text.len() as u64 == LINE_LENGTH_MAX => Err("it is too long".to_owned()),
                Ok(_) => parse(&text),
                Err(error) => Err(error.to_string()),
            };
            let line = line.map_err(|what| Failure::usage(format!("line {number}: {what}")));
            let stop = line.is_err();
            if sender.blocking_send(line).is_err() || stop {
                return;
            }
        }
    });
    receiver
}

fn parse(text: &[u8]) -> Result<Line, String> {
    let object: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let object = object.as_object().ok_or("it is no JSON object")?;
    let id = object.get("id").cloned().unwrap_or(Value::Null);
    let op = object
        .get("op")
        .and_then(Value::as_str)
        .ok_or("\"op\" is missing")?;
    let allowed: &[&str] = match op {
        "get" => &["consistency"],
        "put" => &["value", "value_b64"],
        "del" => &[],
        "cas" => &["value", "value_b64", "expect", "expect_b64", "expect_rev"],
        other => return Err(format!("unknown op {other:?}")),
    };
    let common = ["id", "op", "key", "key_b64"];
    if let Some(unknown) = object
        .keys()
        .find(|name| !common.contains(&name.as_str()) && !allowed.contains(&name.as_str()))
    {
        return Err(format!("{op} takes no {unknown:?}"));
    }
    let name = bytes_of(object, "key")?.ok_or("\"key\" is missing")?;
    let name = key(&name).map_err(|failure| failure.message)?;
    let new_value = || {
        let bytes = bytes_of(object, "value")?.ok_or("\"value\" is missing")?;
        value(bytes).map_err(|failure| failure.message)
    };
    let operation = match op {
        "get" => Operation::Get(name, level_of(object)?),
        "put" => Operation::Write(name, Write::Put(new_value()?)),
        "del" => Operation::Write(name, Write::Delete),
        _ => {
            let expectation = expectation_of(object)?;
            Operation::Write(name, Write::CompareAndSet(expectation, new_value()?))
        }
    };
    Ok(Line { id, operation })
}

fn level_of(object: &Map<String, Value>) -> Result<Level, String> {
    match object.get("consistency") {
        None => Ok(Level::Linearizable),
        Some(Value::String(text)) => match text.as_str() {
            "linearizable" => Ok(Level::Linearizable),
            "quorum" => Ok(Level::Quorum),
            "one" => Ok(Level::One),
            other => Err(format!("unknown consistency {other:?}")),
        },
        Some(_) => Err("\"consistency\" is no text".to_owned()),
    }
}

fn expectation_of(object: &Map<String, Value>) -> Result<Expectation, String> {
    let given = ["expect", "expect_b64", "expect_rev"]
        .iter()
        .filter(|name| object.contains_key(**name))
        .count();
    if given != 1 {
        return Err("cas takes one of \"expect\", \"expect_b64\" and \"expect_rev\"".to_owned());
    }
    if let Some(revision) = object.get("expect_rev") {
        return match revision.as_u64() {
            Some(0) => Ok(Expectation::Absent),
            Some(revision) => Ok(Expectation::Revision(revision)),
            None => Err("\"expect_rev\" is no revision".to_owned()),
        };
    }
    if object.get("expect").is_some_and(Value::is_null) {
        return Ok(Expectation::Absent);
    }
    let bytes = bytes_of(object, "expect")?.ok_or("\"expect\" is missing")?;
    value(bytes)
        .map(Expectation::Value)
        .map_err(|failure| failure.message)
}

/// The bytes of `NAME` (text) or `NAME_b64` (base64), never both.
fn bytes_of(object: &Map<String, Value>, name: &str) -> Result<Option<Vec<u8>>, String> {
    let encoded_name = format!("{name}_b64");
    match (object.get(name), object.get(&encoded_name)) {
        (Some(_), Some(_)) => Err(format!("both {name:?} and {encoded_name:?}")),
        (Some(Value::String(text)), None) => Ok(Some(text.clone().into_bytes())),
        (None, Some(Value::String(text))) => STANDARD
            .decode(text)
            .map(Some)
            .map_err(|error| format!("{encoded_name:?}: {error}")),
        (None, None) => Ok(None),
        _ => Err(format!("{name:?} is no text")),
    }
}

async fn run(client: &Client, line: Line) -> Value {
    let invoked = nanoseconds();
    let mut answer = Map::new();
    answer.insert("id".to_owned(), line.id);
    let failure = match line.operation {
        Operation::Get(key, level) => match client.get(&key, level).await {
            Ok(reply) => {
                answer.insert("outcome".to_owned(), json!("ok"));
                if reply.freshness_unknown {
                    answer.insert("freshness".to_owned(), json!("unknown"));
                }
                answer.insert("rev".to_owned(), json!(reply.revision));
                if reply.found {
                    bytes_fields(&mut answer, "value", &reply.value);
                } else {
                    answer.insert("value".to_owned(), Value::Null);
                }
                None
            }
            Err(failure) => Some(failure),
        },
        Operation::Write(key, write) => {
            let is_cas = matches!(write, Write::CompareAndSet(..));
            let is_delete = matches!(write, Write::Delete);
            match client.write(&key, write).await {
                Ok(reply) => {
                    answer.insert("rev".to_owned(), json!(reply.revision));
                    if is_cas && !reply.changed {
                        answer.insert("outcome".to_owned(), json!("fail"));
                        let code = Code::Conflict.as_str();
                        answer.insert("error".to_owned(), json!({"code": code}));
                    } else {
                        answer.insert("outcome".to_owned(), json!("ok"));
                    }
                    if is_delete {
                        answer.insert("existed".to_owned(), json!(reply.changed));
                    }
                    None
                }
                Err(failure) => Some(failure),
            }
        }
    };
    if let Some(failure) = failure {
        let outcome = match failure.code {
            Code::OutcomeUnknown => "unknown",
            _ => "fail",
        };
        answer.insert("outcome".to_owned(), json!(outcome));
        let code = failure.code.as_str();
        answer.insert(
            "error".to_owned(),
            json!({"code": code, "message": failure.message}),
        );
    }
    answer.insert("invoke_ns".to_owned(), json!(invoked));
    answer.insert("return_ns".to_owned(), json!(nanoseconds()));
    Value::Object(answer)
}

/// The monotonic clock of the machine: the same for every process, so that what several
/// batches were told can be put in order.
fn nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let rest = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        match parse(text.as_bytes()) {
            Ok(_) => panic!("accepted: {text}"),
            Err(what) => what,
        }
    }

    #[test]
    fn lines_of_every_operation_are_understood() {
        for text in [
            r#"{"id":1,"op":"put","key":"a","value":"x"}"#,
            r#"{"id":"two","op":"put","key_b64":"/w==","value_b64":"/w=="}"#,
            r#"{"op":"get","key":"a"}"#,
            r#"{"op":"get","key":"a","consistency":"one"}"#,
            r#"{"op":"del","key":"a"}"#,
            r#"{"op":"cas","key":"a","value":"x","expect_rev":3}"#,
            r#"{"op":"cas","key":"a","value":"x","expect":"y"}"#,
            r#"{"op":"cas","key":"a","value":"x","expect":null}"#,
            r#"{"op":"cas","key":"a","value":"x","expect_b64":"/w=="}"#,
        ] {
            assert!(parse(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn malformed_lines_are_refused() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"op":"put","key":"a"}"#,
            r#"{"op":"put","value":"a"}"#,
            r#"{"key":"a","value":"a"}"#,
            r#"{"op":"push","key":"a"}"#,
            r#"{"op":"get","key":""}"#,
            r#"{"op":"get","key":"system/x"}"#,
            r#"{"op":"get","key":1}"#,
            r#"{"op":"get","key":"a","key_b64":"YQ=="}"#,
            r#"{"op":"get","key_b64":"*"}"#,
            r#"{"op":"get","key":"a","consistency":"none"}"#,
            r#"{"op":"get","key":"a","value":"x"}"#,
            r#"{"op":"cas","key":"a","value":"x"}"#,
            r#"{"op":"cas","key":"a","value":"x","expect":"y","expect_rev":1}"#,
            r#"{"op":"cas","key":"a","value":"x","expect_rev":-1}"#,
        ] {
            assert!(!refused(text).is_empty(), "{text}");
        }
    }
}
