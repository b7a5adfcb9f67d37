//! Three real nodes, each on its host, with its data where the caller wants it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use sealmoot_tests::binaries::Program;
use sealmoot_tests::command::send_signal;
use sealmoot_tests::home::Home;
use sealmoot_tests::node::Node;

use crate::field::{CLIENTS, Field, NODES};

/// How long a node may take until it votes again.
const BACK_WITHIN: Duration = Duration::from_secs(60);
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// What nodes run under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Under {
    /// The system as it is.
    Nothing,
    /// A wall clock that can be set.
    FakeClock,
    /// Syncs that do nothing and say that they did.
    LyingSync,
}

/// The nodes of a cluster and whoever talks to it.
pub(crate) struct Nodes {
    nodes: [Option<Node>; NODES],
    /// Which were started and have not said yet that they vote.
    starting: [bool; NODES],
    /// Configuration, secrets, messages of the nodes.
    pub(crate) home: Home,
    field: Rc<Field>,
    directories: Vec<PathBuf>,
    under: Under,
}

impl Nodes {
    /// Forms a cluster whose nodes keep their data below `directories`.
    pub(crate) fn form(
        field: Rc<Field>,
        home: Home,
        directories: Vec<PathBuf>,
        under: Under,
    ) -> Result<Self, String> {
        let realm = home.realm("acme");
        home.user("alice", "admin");
        let members: Vec<String> = (0..NODES)
            .map(|host| format!("n{host}={}", Field::address(host)))
            .collect();
        let invite = format!(
            "node invite {} --passphrase-file pp --out .",
            members.join(" ")
        );
        home.authctl(&invite).succeeded();
        let mut nodes = Self {
            nodes: [None, None, None],
            starting: [false; NODES],
            home,
            field,
            directories,
            under,
        };
        for host in 0..NODES {
            nodes.set_clock(host, 0)?;
            let arguments = format!("join n{host}.invite --data");
            nodes.nodes[host] = Some(nodes.spawn(host, &arguments));
        }
        for node in nodes.nodes.iter_mut().flatten() {
            node.ready();
        }
        let login = format!(
            "login alice@{} --realm {realm} --password-file pw --context alice --timeout 60s",
            Field::address(0)
        );
        let mut command = nodes.client(&login);
        let output = command.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(nodes)
    }

    /// A command of `kv` on the clients' host, with words parted at spaces.
    pub(crate) fn client(&self, arguments: &str) -> Command {
        let mut command = self.on(CLIENTS, Program::Kv);
        command
            .args(arguments.split(' '))
            .env("SEALMOOT_CONTEXT", "alice");
        command
    }

    /// Starts a node; it may not get ready before others do.
    pub(crate) fn start(&mut self, host: usize) {
        self.nodes[host] = Some(self.spawn(host, "start --no-refetch --data"));
        self.starting[host] = true;
    }

    /// Stops all nodes in good order and starts them under something else.
    pub(crate) fn restart_all(&mut self, under: Under) -> Result<(), String> {
        for host in 0..NODES {
            self.signal(host, "TERM");
        }
        for node in self.nodes.iter_mut().flatten() {
            node.end();
        }
        self.under = under;
        (0..NODES).for_each(|host| self.start(host));
        self.await_ready()
    }

    /// Waits until all nodes that were started say that they vote.
    pub(crate) fn await_ready(&mut self) -> Result<(), String> {
        for (host, node) in self.nodes.iter_mut().enumerate() {
            let Some(node) = node else { continue };
            if self.starting[host] && !node.is_ready_within(BACK_WITHIN) {
                return Err(format!("n{host} is not ready:\n{}", node.messages()));
            }
            self.starting[host] = false;
        }
        Ok(())
    }

    /// Kills a node, if it runs.
    pub(crate) fn kill(&mut self, host: usize) {
        // The tracer of a lying sync goes first, and its tracee with it.
        if let Some(pid) = self.kvd_pid(host) {
            send_signal(pid, "KILL");
        }
        self.nodes[host] = None;
    }

    /// Sends a node a signal.
    pub(crate) fn signal(&self, host: usize, name: &str) {
        if let Some(pid) = self.kvd_pid(host) {
            send_signal(pid, name);
        }
    }

    /// Sets a node's wall clock to so many seconds from the real one.
    pub(crate) fn set_clock(&self, host: usize, seconds: i64) -> Result<(), String> {
        if self.under != Under::FakeClock {
            return Ok(());
        }
        let path = self.clock_file(host);
        let beside = path.with_extension("new");
        std::fs::write(&beside, format!("{seconds:+}\n"))
            .and_then(|()| std::fs::rename(&beside, &path))
            .map_err(|error| format!("the clock of n{host}: {error}"))
    }

    fn spawn(&self, host: usize, arguments: &str) -> Node {
        let mut command = match self.under {
            Under::LyingSync => {
                let mut command = self.tool_on(host, "strace");
                command.args(["-f", "-qq", "-o", "/dev/null"]);
                command.args(["-e", "trace=fsync,fdatasync,sync_file_range,syncfs,msync"]);
                command.args(["-e", "inject=fsync,fdatasync,syncfs:retval=0"]);
                command.arg(Program::Kvd.path());
                command
            }
            Under::FakeClock => {
                let mut command = self.on(host, Program::Kvd);
                command
                    .env("LD_PRELOAD", FAKETIME)
                    .env("FAKETIME_TIMESTAMP_FILE", self.clock_file(host))
                    .env("FAKETIME_NO_CACHE", "1")
                    .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                    .env("FAKETIME_XRESET", "1");
                command
            }
            Under::Nothing => self.on(host, Program::Kvd),
        };
        command
            .args(arguments.split(' '))
            .arg(self.directories[host].join("data"));
        Node::run(command, self.home.path(format!("n{host}.messages")))
    }

    /// The process of the node itself, whatever it runs under.
    fn kvd_pid(&self, host: usize) -> Option<u32> {
        let pid = self.nodes[host].as_ref()?.pid();
        if is_kvd(pid) {
            return Some(pid);
        }
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let mut pids = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        pids.find(|pid| is_kvd(*pid))
    }

    fn on(&self, host: usize, program: Program) -> Command {
        let path = program.path();
        self.tool_on(host, path.to_string_lossy().as_ref())
    }

    fn tool_on(&self, host: usize, tool: &str) -> Command {
        // Not `ip netns exec`: that gives each process mounts of its own, which would keep
        // a medium in use that has lost its power.
        let mut command = self.home.command("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.field.host(host)));
        command.arg(tool);
        command
    }

    fn clock_file(&self, host: usize) -> PathBuf {
        self.home.path(format!("n{host}.clock"))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for host in 0..NODES {
            self.signal(host, "CONT");
            self.kill(host);
        }
    }
}

/// Whether wall clocks can be faked here.
pub(crate) fn has_fake_clock() -> bool {
    Path::new(FAKETIME).exists()
}

fn is_kvd(pid: u32) -> bool {
    // Its `exe` may be root's alone to read: it is not dumpable.
    let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    program.trim_end() == "kvd"
}
