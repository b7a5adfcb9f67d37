//! A node in the foreground, as a child of the test.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::command::{exit_of, send_signal};
use crate::poll::eventually;

/// How long a node may take to be ready, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
const END_WITHIN: Duration = Duration::from_secs(60);

/// A running node. Dropping it kills it.
pub struct Node {
    child: Child,
    // Only so that a cluster can be shared between threads.
    lines: Mutex<Receiver<String>>,
    stderr: PathBuf,
}

impl Node {
    /// Runs `command`, its standard error into the file `stderr`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn run(mut command: Command, stderr: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&stderr);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file.expect("a file for messages"))
            .spawn()
            .expect("kvd starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines: Mutex::new(lines),
            stderr,
        }
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first line on standard output, or the status with which it ended
    /// before there was one.
    ///
    /// # Panics
    /// When neither comes.
    #[track_caller]
    pub fn ready_or_end(&mut self) -> Result<String, i32> {
        match self.line_within(READY_WITHIN) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Disconnected) => Err(self.end()),
            Err(RecvTimeoutError::Timeout) => {
                panic!("neither ready nor ended:\n{}", self.messages())
            }
        }
    }

    /// Whether it gets ready within `limit`.
    pub fn is_ready_within(&mut self, limit: Duration) -> bool {
        self.line_within(limit).is_ok()
    }

    /// Asserts that it gets ready.
    #[track_caller]
    pub fn ready(&mut self) -> String {
        self.ready_or_end()
            .unwrap_or_else(|exit| panic!("it ended with {exit}:\n{}", self.messages()))
    }

    /// Waits for its end; the status.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn end(&mut self) -> i32 {
        let messages = self.stderr.clone();
        let status = eventually("the node's end", END_WITHIN, || {
            self.child.try_wait().expect("a child can be waited for")
        });
        let exit = exit_of(status);
        if exit == 101 {
            let told = std::fs::read_to_string(messages).unwrap_or_default();
            panic!("the node panicked:\n{told}");
        }
        exit
    }

    /// Asks it to end; the status.
    #[track_caller]
    pub fn terminate(&mut self) -> i32 {
        send_signal(self.pid(), "TERM");
        self.end()
    }

    /// Ends it as a power cut would end the process.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The lines that are left on standard output of a node that has ended.
    #[must_use]
    pub fn rest_of_stdout(&self) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        std::iter::from_fn(|| {
            let left = deadline.saturating_duration_since(Instant::now());
            self.line_within(left).ok()
        })
        .collect()
    }

    fn line_within(&self, limit: Duration) -> Result<String, RecvTimeoutError> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.recv_timeout(limit)
    }

    /// What it wrote to standard error.
    #[must_use]
    pub fn messages(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
