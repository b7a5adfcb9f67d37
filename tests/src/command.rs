//! One run of a binary: its input, and what it came to.

use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// How long any command may take. Reached only by a fault.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run came to.
#[derive(Clone)]
pub struct Outcome {
    /// Exit status; that of a shell where a signal ended it.
    pub exit: i32,
    /// Standard output, whole.
    pub stdout: Vec<u8>,
    /// Standard error, whole.
    pub stderr: String,
    shown: String,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout);
        let stdout: String = stdout.chars().take(2000).collect();
        write!(
            formatter,
            "{}\n  exit {}\n  stdout {stdout:?}\n  stderr {:?}",
            self.shown, self.exit, self.stderr
        )
    }
}

impl Outcome {
    /// Asserts success.
    #[track_caller]
    pub fn succeeded(&self) -> &Self {
        assert_eq!(self.exit, 0, "{self:?}");
        self
    }

    /// Standard output as text.
    #[track_caller]
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap_or_else(|_| panic!("not UTF-8: {self:?}"))
    }

    /// Asserts success with one JSON document of this kind; its data.
    #[track_caller]
    #[must_use]
    pub fn data(&self, kind: &str) -> Value {
        assert_eq!(self.exit, 0, "{self:?}");
        self.data_whatever_the_exit(kind)
    }

    /// The same for commands that print a result and fail all the same.
    #[track_caller]
    #[must_use]
    pub fn data_whatever_the_exit(&self, kind: &str) -> Value {
        let document = self.document();
        assert_eq!(document["kind"], kind, "{self:?}");
        document["data"].clone()
    }

    /// The whole JSON document on standard output.
    #[track_caller]
    #[must_use]
    pub fn document(&self) -> Value {
        let document: Value = serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON on stdout ({error}): {self:?}"));
        assert_eq!(fields(&document), ["data", "kind", "v", "warnings"]);
        assert_eq!(document["v"], 1, "{self:?}");
        assert!(document["warnings"].is_array(), "{self:?}");
        document
    }

    /// Asserts a refusal with nothing on standard output.
    #[track_caller]
    pub fn refused(&self, exit: i32, code: &str) -> &Self {
        assert_eq!(self.stdout, b"", "{self:?}");
        self.failed(exit, code)
    }

    /// Asserts a failure: its exit status, its code, a message, and what to do next.
    #[track_caller]
    pub fn failed(&self, exit: i32, code: &str) -> &Self {
        assert_eq!(self.exit, exit, "{self:?}");
        let Some(error) = self.error() else {
            let mark = format!("error[{code}]: ");
            assert!(self.stderr.contains(&mark), "{self:?}");
            return self;
        };
        assert_eq!(
            fields(&error),
            ["code", "exit", "hint", "message", "nodes"],
            "{self:?}"
        );
        assert_eq!(error["code"], code, "{self:?}");
        assert_eq!(error["exit"], exit, "{self:?}");
        assert_ne!(error["message"], "", "{self:?}");
        for node in error["nodes"].as_array().expect("an array of nodes") {
            assert_eq!(fields(node), ["addr", "cause", "name", "outcome"]);
        }
        self
    }

    /// The JSON error on standard error, where there is one.
    #[must_use]
    pub fn error(&self) -> Option<Value> {
        let line = self.stderr.lines().find(|line| line.starts_with('{'))?;
        let document: Value = serde_json::from_str(line).ok()?;
        let is_error = fields(&document) == ["error", "kind", "v"] && document["kind"] == "error";
        is_error.then(|| document["error"].clone())
    }

    /// Asserts that standard error says `text`.
    #[track_caller]
    pub fn saying(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "{text:?} is not in {self:?}");
        self
    }
}

/// Names of an object's fields, in order; none of anything else.
#[must_use]
pub fn fields(value: &Value) -> Vec<&str> {
    let object = value.as_object();
    let mut names: Vec<&str> = object
        .into_iter()
        .flat_map(|object| object.keys().map(String::as_str))
        .collect();
    names.sort_unstable();
    names
}

/// A run in progress. It is killed when dropped before its end.
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    shown: String,
}

impl Running {
    /// Starts `command` with `input` on its standard input.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(mut command: Command, input: Vec<u8>) -> Self {
        let shown = shown(&command);
        command.stdin(if input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        });
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{shown}: {error}"));
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read its input may be gone already.
            std::thread::spawn(move || stdin.write_all(&input));
        }
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        Self {
            child,
            stdout,
            stderr,
            shown,
        }
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it; what it wrote until then is in the outcome.
    #[must_use]
    pub fn kill(mut self) -> Outcome {
        let _ = self.child.kill();
        self.finish()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in any reasonable time.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        let (ended, end) = mpsc::channel::<()>();
        let pid = self.child.id();
        let shown = self.shown.clone();
        let watchdog = std::thread::spawn(move || {
            let late = end.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                send_signal(pid, "KILL");
            }
            late
        });
        let joined = |handle: Option<JoinHandle<Vec<u8>>>| {
            handle.map_or_else(Vec::new, |handle| handle.join().expect("it only reads"))
        };
        let stdout = joined(self.stdout.take());
        let stderr = joined(self.stderr.take());
        let status = self.child.wait().expect("a child can be waited for");
        drop(ended);
        let late = watchdog.join().expect("it only waits");
        assert!(!late, "{shown}: no end after {PATIENCE:?}");
        Outcome {
            exit: exit_of(status),
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            shown,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status as a shell would say it.
#[must_use]
pub fn exit_of(status: ExitStatus) -> i32 {
    let signalled = || status.signal().map_or(-1, |signal| 128 + signal);
    status.code().unwrap_or_else(signalled)
}

/// Sends a signal such as `TERM` to a process that may be gone.
pub fn send_signal(pid: u32, signal: &str) {
    send_signals(&[pid], signal);
}

/// Sends a signal to several processes in one go.
pub fn send_signals(pids: &[u32], signal: &str) {
    let _ = Command::new("kill")
        .arg(format!("-{signal}"))
        .args(pids.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status();
}

fn collect(mut source: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = source.read_to_end(&mut bytes);
        bytes
    })
}

/// The command line for people; long arguments shortened.
fn shown(command: &Command) -> String {
    let short = |text: &OsStr| {
        let text = text.to_string_lossy();
        text.chars().take(80).collect::<String>()
    };
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(short)
        .collect();
    format!("$ {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, input: &str) -> Outcome {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Running::start(command, input.as_bytes().to_vec()).finish()
    }

    #[test]
    fn everything_of_a_run_is_kept() {
        let outcome = shell("cat; echo no >&2; exit 3", "yes");
        assert_eq!(outcome.exit, 3);
        assert_eq!(outcome.stdout, b"yes");
        assert_eq!(outcome.stderr, "no\n");
    }

    #[test]
    fn a_signal_shows_as_in_a_shell() {
        assert_eq!(shell("kill -9 $$", "").exit, 137);
    }

    #[test]
    #[should_panic(expected = "exit 1")]
    fn a_failure_is_no_success() {
        shell("exit 1", "").succeeded();
    }

    #[test]
    #[should_panic(expected = "no JSON")]
    fn text_is_no_document() {
        let _ = shell("echo text", "").document();
    }
}
