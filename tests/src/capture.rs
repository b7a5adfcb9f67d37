//! Packets on the loopback, by `tcpdump`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::command::send_signal;
use crate::poll::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// A capture in progress. Dropping it ends it.
pub struct Capture {
    child: Child,
    path: PathBuf,
}

impl Capture {
    /// Captures everything from and to these ports into a file. `None` when
    /// `tcpdump` is missing or not permitted, with the reason on standard error.
    #[must_use]
    pub fn start(path: &Path, ports: &[u16]) -> Option<Self> {
        let ports: Vec<String> = ports
            .iter()
            .map(|port| format!("tcp port {port}"))
            .collect();
        let child = Command::new("tcpdump")
            .args([
                "-i", "lo", "-s", "0", "-U", "-B", "65536", "-Z", "root", "-w",
            ])
            .arg(path)
            .arg(ports.join(" or "))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                eprintln!("tcpdump: {error}");
                return None;
            }
        };
        let stderr = child.stderr.take().expect("it is piped");
        let mut told = String::new();
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let listens = lines.by_ref().any(|line| {
            told = line;
            told.contains("listening on")
        });
        if !listens {
            eprintln!("tcpdump: {told}");
            let _ = child.wait();
            return None;
        }
        // What it says at its end must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self {
            child,
            path: path.to_owned(),
        })
    }

    /// Whether the capture holds these bytes by now.
    #[must_use]
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let captured = std::fs::read(&self.path).unwrap_or_default();
        crate::files::contains(&captured, bytes)
    }

    /// Ends the capture; its bytes, headers and all.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        send_signal(self.child.id(), "INT");
        eventually("the end of tcpdump", PATIENCE, || {
            self.child.try_wait().expect("a child can be waited for")
        });
        std::fs::read(&self.path).expect("a capture")
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
