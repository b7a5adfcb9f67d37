//! A person at a terminal: waits for questions, and types where nothing is shown.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Plays the terminal of the program in its arguments. It is told line by line what to
/// do, and answers each with a line; it gives up on anything after a minute.
const PLAYER: &str = r#"
import os, pty, select, signal, sys, termios, time

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
print(pid, flush=True)
seen = b""

def wait(what, until):
    global seen
    deadline = time.monotonic() + 60
    while not until():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within a minute: {what}; seen: {seen!r}")
        if select.select([terminal], [], [], 0.01)[0]:
            seen += os.read(terminal, 4096)

def shows(text):
    global seen
    if text not in seen:
        return False
    seen = seen.split(text, 1)[1]
    return True

def hides():
    return not termios.tcgetattr(terminal)[3] & termios.ECHO

try:
    for line in sys.stdin:
        order, text = line.rstrip("\n").split(" ", 1)
        if order == "await":
            wait(text, lambda: shows(text.encode()))
        else:
            wait("a hidden prompt", hides)
            os.write(terminal, text.encode() + b"\r")
        print("done", flush=True)
finally:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"#;

/// A program at a terminal of its own. It is killed when this is dropped.
pub struct Terminal {
    player: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pid: u32,
}

impl Terminal {
    /// Whether there can be one: it takes Python and its module of terminals.
    #[must_use]
    pub fn is_possible() -> bool {
        let found = Command::new("python3")
            .args(["-c", "import pty, termios"])
            .stderr(Stdio::null())
            .status();
        found.is_ok_and(|status| status.success())
    }

    /// Starts a program by a `python` that [`crate::home::Home::command`] made.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(mut python: Command, program: &[&str]) -> Self {
        let mut player = python
            .args(["-c", PLAYER])
            .args(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut answers = BufReader::new(player.stdout.take().expect("a pipe"));
        let mut pid = String::new();
        answers.read_line(&mut pid).expect("it answers");
        Self {
            orders: player.stdin.take(),
            answers,
            pid: pid.trim().parse().expect("a process"),
            player,
        }
    }

    /// The program's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the program says `text`, behind what was awaited before.
    #[track_caller]
    pub fn awaits(&mut self, text: &str) {
        self.order("await", text);
    }

    /// Types `text` and Enter once the program hides what is typed.
    #[track_caller]
    pub fn types_hidden(&mut self, text: &str) {
        self.order("type", text);
    }

    #[track_caller]
    fn order(&mut self, order: &str, text: &str) {
        let orders = self.orders.as_mut().expect("open until dropped");
        writeln!(orders, "{order} {text}").expect("the player is there");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("text");
        assert_eq!(answer, "done\n", "{order} {text:?}: the player gave up");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The player kills the program when it is told nothing more.
        drop(self.orders.take());
        let _ = self.player.wait();
    }
}
