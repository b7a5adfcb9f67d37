//! Putting a node into the background: this process starts another one, listens
//! to its events until it is known to work, and leaves it.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sealmoot_authn::cli::{Code, Failure, Output};
use sealmoot_authn::files;
use sealmoot_authn::realm_id::RealmId;
use sealmoot_kv::node::{self, OpenFailure};
use serde_json::{Value, json};

use crate::failures;

/// How long a node may take until it listens.
const LISTENING_WITHIN: Duration = Duration::from_secs(30);
/// How long is waited for a node that takes everything from the others.
const REFETCHED_WITHIN: Duration = Duration::from_secs(60);
/// How long is waited for a quorum, which may or may not be there.
const NEWS_WITHIN: Duration = Duration::from_secs(5);

/// What the node in the background tells whoever started it, a line each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// It answers at its address.
    Listening,
    /// So many of so many nodes have enrolled, and which have not.
    Enrolled(usize, usize, Vec<String>),
    /// The cluster has formed.
    Formed,
    /// It serves, and so many of so many nodes are within its reach.
    Ready(String, usize, usize),
    /// What was wrong with its data, and where that is now.
    Quarantined(String),
    /// It has taken from others what it lost.
    Refetched(String),
    /// It gives up, and why.
    Failed(Value),
}

impl Event {
    /// Tells it. Nobody may be listening any more.
    pub(crate) fn emit(&self) {
        let line = match self {
            Self::Listening => json!({"event": "listening"}),
            Self::Enrolled(enrolled, total, missing) => json!({
                "event": "enrolled", "enrolled": enrolled, "total": total, "missing": missing,
            }),
            Self::Formed => json!({"event": "formed"}),
            Self::Ready(name, up, total) => {
                json!({"event": "ready", "name": name, "up": up, "total": total})
            }
            Self::Quarantined(what) => json!({"event": "quarantined", "what": what}),
            Self::Refetched(what) => json!({"event": "refetched", "what": what}),
            Self::Failed(error) => json!({"event": "failed", "failure": error}),
        };
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{line}");
        let _ = stdout.flush();
    }

    fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let number = |name: &str| Some(usize::try_from(value[name].as_u64()?).unwrap_or(0));
        match value["event"].as_str()? {
            "listening" => Some(Self::Listening),
            "enrolled" => {
                let missing = value["missing"].as_array()?.iter();
                let missing = missing.filter_map(|name| Some(name.as_str()?.to_owned()));
                Some(Self::Enrolled(
                    number("enrolled")?,
                    number("total")?,
                    missing.collect(),
                ))
            }
            "formed" => Some(Self::Formed),
            "ready" => {
                let name = value["name"].as_str()?.to_owned();
                Some(Self::Ready(name, number("up")?, number("total")?))
            }
            "quarantined" => Some(Self::Quarantined(value["what"].as_str()?.to_owned())),
            "refetched" => Some(Self::Refetched(value["what"].as_str()?.to_owned())),
            "failed" => Some(Self::Failed(value["failure"].clone())),
            _ => None,
        }
    }
}

/// Joins in the background.
pub(crate) fn join(
    data: &Path,
    name: &str,
    address: &str,
    realm: &RealmId,
    output: &Output,
) -> Result<(), Failure> {
    let mut node = Background::spawn(data)?;
    node.await_listening(|_| {})?;
    // Who has enrolled comes in any case, and that it formed when all have.
    let deadline = Instant::now() + LISTENING_WITHIN;
    let mut told = (1, 1);
    let mut waited_for = Vec::new();
    while let Some(event) = node.next(deadline)? {
        match event {
            Event::Enrolled(enrolled, total, missing) => {
                told = (enrolled, total);
                waited_for = missing;
                // The others are not there yet; nothing to wait for.
                if enrolled < total {
                    break;
                }
            }
            Event::Formed | Event::Ready(..) => {
                output.notice(format!(
                    "✓ {name} enrolled  {address}  cluster formed {0}/{0}",
                    told.1
                ));
                hint_login(address, realm, output);
                return Ok(());
            }
            Event::Listening | Event::Quarantined(_) | Event::Refetched(_) | Event::Failed(_) => {}
        }
    }
    output.notice(format!(
        "✓ {name} enrolled (key made here, never sent)  {address}  {}/{}",
        told.0, told.1
    ));
    hint_others(&waited_for, output);
    Ok(())
}

/// What there is to do once the cluster has formed.
pub(crate) fn hint_login(address: &str, realm: &RealmId, output: &Output) {
    output.hint(format!("kv login USER@{address} --realm {realm}"));
}

/// For whom a node waits.
pub(crate) fn hint_others(missing: &[String], output: &Output) {
    if let Some(first) = missing.first() {
        let missing = missing.join(", ");
        output.hint(format!(
            "this one waits for {missing}: kvd join {first}.invite --data DIR"
        ));
    }
}

/// Starts in the background.
pub(crate) fn start(data: &Path, output: &Output) -> Result<(), Failure> {
    // Before the log is begun: a mistyped path must not be made.
    if !data.join(node::IDENTITY_FILE).exists() {
        return Err(failures::open(OpenFailure::NotInitialised(data.to_owned())));
    }
    let mut node = Background::spawn(data)?;
    let notice = |event: &Event| match event {
        Event::Quarantined(what) => output.notice(format!("! {what}")),
        Event::Refetched(what) => output.notice(format!("✓ {what}")),
        _ => {}
    };
    let mut deadline = node.await_listening(notice)?;
    while let Some(event) = node.next(deadline)? {
        notice(&event);
        match event {
            Event::Ready(name, up, total) => {
                output.notice(format!("✓ {name} up, {up}/{total}"));
                return Ok(());
            }
            // Taking everything from the others takes its time.
            Event::Quarantined(_) => deadline = Instant::now() + REFETCHED_WITHIN,
            _ => {}
        }
    }
    output.notice(format!(
        "✓ {} listens and waits for a quorum",
        data.display()
    ));
    Ok(())
}

struct Background {
    child: Child,
    events: mpsc::Receiver<Event>,
}

impl Background {
    /// Runs this very command again, without a terminal, its log in the data
    /// directory.
    fn spawn(data: &Path) -> Result<Self, Failure> {
        files::ensure_directory(data)?;
        let path = data.join("kvd.log");
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Failure::new(Code::Config, format!("{}: {error}", path.display())))?;
        let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        arguments.push("--background".into());
        let program = std::env::current_exe().map_err(Failure::internal)?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // Of a group of its own, so that keys typed at the terminal do not
            // reach it.
            .process_group(0)
            .spawn()
            .map_err(Failure::internal)?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| Failure::internal("no pipe"))?;
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(event) = Event::parse(&line)
                    && sender.send(event).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { child, events })
    }

    /// Returns until when further news are worth waiting for. `notice` is told what came
    /// before.
    fn await_listening(&mut self, notice: impl Fn(&Event)) -> Result<Instant, Failure> {
        let deadline = Instant::now() + LISTENING_WITHIN;
        let mut patience = NEWS_WITHIN;
        while let Some(event) = self.next(deadline)? {
            notice(&event);
            match event {
                Event::Listening => return Ok(Instant::now() + patience),
                Event::Quarantined(_) => patience = REFETCHED_WITHIN,
                _ => {}
            }
        }
        let _ = self.child.kill();
        Err(Failure::new(Code::Timeout, "the node does not listen"))
    }

    /// The next event, or none when the deadline passes. A node that failed or
    /// ended is a failure.
    fn next(&mut self, deadline: Instant) -> Result<Option<Event>, Failure> {
        let patience = deadline.saturating_duration_since(Instant::now());
        match self.events.recv_timeout(patience) {
            Ok(Event::Failed(error)) => Err(failure_of(&error)),
            Ok(event) => Ok(Some(event)),
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().map_err(Failure::internal)?;
                Err(Failure::internal(format!(
                    "the node ended ({status}); see kvd.log in its data directory"
                )))
            }
        }
    }
}

/// The failure that a node told in its last event.
fn failure_of(error: &Value) -> Failure {
    let error = &error["error"];
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    let code = Code::parse(&text("code")).unwrap_or(Code::Internal);
    Failure::new(code, text("message")).hint(text("hint"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_are_none_are_passed_over() {
        assert_eq!(
            Event::parse("{\"event\":\"listening\"}"),
            Some(Event::Listening)
        );
        assert_eq!(
            Event::parse(
                "{\"event\":\"enrolled\",\"enrolled\":2,\"total\":3,\"missing\":[\"n3\"]}"
            ),
            Some(Event::Enrolled(2, 3, vec!["n3".to_owned()]))
        );
        for other in [
            "",
            "READY",
            "{}",
            "{\"event\":\"x\"}",
            "{\"event\":\"enrolled\"}",
        ] {
            assert_eq!(Event::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_failure_keeps_its_code() {
        let failure = Failure::new(Code::InviteUsed, "used").hint("make new ones");
        let again = failure_of(&failure.to_json());
        assert_eq!(again.code, Code::InviteUsed);
        assert_eq!(again.hint, "make new ones");
    }
}
