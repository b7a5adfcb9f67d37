//! A command held where it tells its result: all it had to do is done, and it lives as
//! long as the test looks at it.

use std::fs;
use std::io::{self, PipeReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::command::{exit_of, send_signal};
use crate::poll::eventually;

/// Reached only by a fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that waits until somebody reads its standard output. It is killed when
/// dropped.
pub struct Held {
    child: Child,
    _unread: PipeReader,
}

impl Held {
    /// Starts `command` with `input` on its standard input, and waits until it tells its
    /// result. That is seen in `/proc/PID/syscall`, which root may read.
    ///
    /// # Panics
    /// When it does not start, or does not come so far.
    #[track_caller]
    #[must_use]
    pub fn start(mut command: Command, input: &[u8]) -> Self {
        let (unread, full) = full_pipe().expect("a pipe");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(full)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // It holds the other end of the pipe.
        drop(command);
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input).expect("it reads or is there");
        drop(stdin);
        let mut held = Self {
            child,
            _unread: unread,
        };
        eventually("it tells its result", PATIENCE, || {
            if let Some(status) = held.child.try_wait().expect("a child") {
                panic!("it ended with {}", exit_of(status));
            }
            let path = format!("/proc/{}/syscall", held.pid());
            let call = fs::read_to_string(path).unwrap_or_default();
            // The number of `write` is the machine's; its first argument is not.
            (call.split(' ').nth(1) == Some("0x1")).then_some(())
        });
        held
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by a signal such as `ABRT`.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn ended_by(mut self, signal: &str) -> ExitStatus {
        eventually("it ends", PATIENCE, || {
            // The handler of Rust's runtime takes the first SEGV, and is gone with it.
            send_signal(self.pid(), signal);
            self.child.try_wait().expect("a child")
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pipe that takes no further byte.
fn full_pipe() -> io::Result<(PipeReader, Stdio)> {
    let (reader, mut writer) = io::pipe()?;
    let room = rustix::pipe::fcntl_getpipe_size(&writer)?;
    writer.write_all(&vec![b' '; room])?;
    Ok((reader, writer.into()))
}
