//! A child process that holds secrets and forgets them, and its memory as a
//! core.
//!
//! The child is this test program again. What it must know comes through a
//! Unix socket straight into its buffers: neither its arguments nor its
//! environment nor a buffered reader holds a copy. When it is done it waits for
//! a byte that never comes, and its parent takes the core.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::core::Core;

/// Names the socket, and so tells a process that it is a child.
const SOCKET: &str = "SEALMOOT_WIPED_SOCKET";
const PATIENCE: Duration = Duration::from_secs(60);
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Room between a child's own stack frames and those of what it tests, so that
/// talking to the parent does not overwrite what was left.
const ROOM: usize = 64 * 1024;

/// Messages between parent and child: a length of 32 bits and as many bytes.
pub(crate) struct Pipe(UnixStream);

impl Pipe {
    /// The parent's end, in a child; `None` in any other process.
    pub(crate) fn of_child() -> Option<Self> {
        let path = std::env::var_os(SOCKET)?;
        Some(Self(UnixStream::connect(path).expect("the parent listens")))
    }

    pub(crate) fn send(&mut self, message: &[u8]) {
        let length = u32::try_from(message.len()).expect("short");
        self.0.write_all(&length.to_le_bytes()).expect("a parent");
        self.0.write_all(message).expect("a parent");
    }

    /// One message of exactly `N` bytes, read into `buffer` and nowhere else.
    pub(crate) fn receive_into(&mut self, buffer: &mut [u8]) {
        let length = self.receive_length();
        assert_eq!(length, buffer.len(), "the length that belongs here");
        self.0.read_exact(buffer).expect("a parent");
    }

    /// One message, in memory of exactly its length.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        let mut buffer = vec![0; self.receive_length()];
        self.0.read_exact(&mut buffer).expect("a parent");
        buffer
    }

    fn receive_length(&mut self) -> usize {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("a parent");
        let length = usize::try_from(u32::from_le_bytes(length)).expect("32 bits");
        assert!(length <= MESSAGE_BYTES_MAX, "a message of {length} bytes");
        length
    }

    /// Tells the parent where this stack is, for a core, and waits until it
    /// says `on`.
    pub(crate) fn pause(&mut self) {
        self.tell_stack();
        assert_eq!(self.receive(), b"on");
    }

    /// The child's last words. It does nothing more; the parent ends it.
    pub(crate) fn done(mut self) {
        self.tell_stack();
        // Fails when the parent has gone, which is as good an end.
        let _ = self.0.read_exact(&mut [0]);
    }

    fn tell_stack(&mut self) {
        let here = 0u8;
        let address = std::hint::black_box(&here) as *const u8 as usize;
        self.send(&address.to_le_bytes());
    }
}

/// Runs `work` far down the stack; what it leaves there stays for the core.
#[inline(never)]
pub(crate) fn deep<T>(work: impl FnOnce() -> T) -> T {
    let mut room = [0u8; ROOM];
    std::hint::black_box(&mut room);
    let result = apart(work);
    std::hint::black_box(&mut room);
    result
}

#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// A child, as its parent sees it. Killed when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) pipe: Pipe,
}

impl Child {
    /// Runs the test `entry` of this program in a process of its own.
    pub(crate) fn start(entry: &str) -> Self {
        let socket = Socket::new();
        let listener = UnixListener::bind(&socket.0).expect("a socket");
        listener.set_nonblocking(true).expect("a socket");
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", entry, "--nocapture"])
            .env(SOCKET, &socket.0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("this program runs");
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("no child: {error}"),
            }
            let ended = process.try_wait().expect("a child");
            assert!(ended.is_none(), "the child `{entry}` ended: {ended:?}");
            assert!(Instant::now() < deadline, "the child says nothing");
            std::thread::sleep(Duration::from_millis(1));
        };
        stream.set_nonblocking(false).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self {
            process,
            pipe: Pipe(stream),
        }
    }

    /// Waits until the child pauses or is done, and takes its core.
    pub(crate) fn core(&mut self) -> Core {
        let mut address = [0; size_of::<usize>()];
        self.pipe.receive_into(&mut address);
        let stack = usize::from_le_bytes(address);
        Core::of(self.process.id(), stack)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A path in the system's temporary directory that no other test uses, removed
/// when dropped.
struct Socket(PathBuf);

impl Socket {
    fn new() -> Self {
        Self(temporary("socket"))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

pub(crate) fn temporary(what: &str) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    std::env::temp_dir().join(format!("sealmoot-{what}-{process}-{number}"))
}

pub(crate) fn remove(path: &Path) {
    // Not there is as good as removed.
    let _ = std::fs::remove_file(path);
}
