//! The demonstration's directories and processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use sealmoot_authn::cli::{Code, Failure};
use sealmoot_authn::files;

use super::Talk;

/// How long a node may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A directory for everything, removed at the end unless it is to be kept.
pub(super) struct Workshop {
    directory: PathBuf,
    keep: bool,
}

impl Workshop {
    pub(super) fn new(keep: Option<&Path>) -> Result<Self, Failure> {
        let directory = match keep {
            Some(directory) => directory.to_owned(),
            None => {
                let random: [u8; 8] =
                    sealmoot_crypto::random::array().map_err(Failure::internal)?;
                let name = format!("sealmoot-demo-{:016x}", u64::from_le_bytes(random));
                std::env::temp_dir().join(name)
            }
        };
        files::create_directory(&directory)?;
        Ok(Self {
            directory,
            keep: keep.is_some(),
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(super) fn leave(&self, talk: &Talk<'_>) -> Result<(), Failure> {
        if self.keep {
            return talk.line(format!(
                "everything is kept in {}",
                self.directory.display()
            ));
        }
        fs::remove_dir_all(&self.directory)
            .map_err(|error| Failure::internal(format!("{}: {error}", self.directory.display())))
    }
}

/// A node, running or not.
pub(super) struct DemoNode {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) data: PathBuf,
    config: PathBuf,
    child: Option<Child>,
}

impl DemoNode {
    pub(super) fn new(workshop: &Workshop, number: usize, address: String) -> Self {
        let name = format!("n{number}");
        Self {
            data: workshop.path(&name),
            config: workshop.path("config"),
            name,
            address,
            child: None,
        }
    }

    /// Answers an invite, as `kvd join INVITE --data DIR`.
    pub(super) fn join(&mut self, invite: &Path) -> Result<Readiness, Failure> {
        let mut command = self.command()?;
        command
            .arg("join")
            .arg(invite)
            .arg("--data")
            .arg(&self.data);
        self.run(command)
    }

    /// Runs the node again, as `kvd start --data DIR`.
    pub(super) fn start(&mut self) -> Result<Readiness, Failure> {
        let mut command = self.command()?;
        command.arg("start").arg("--data").arg(&self.data);
        self.run(command)
    }

    /// Ends the process as `kill -9` does.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// The program with which `kvd` runs, with another configuration directory.
    pub(super) fn command_with_config(config: &Path) -> Result<Command, Failure> {
        let program = std::env::current_exe().map_err(Failure::internal)?;
        let mut command = Command::new(program);
        command
            .env("SEALMOOT_CONFIG_DIR", config)
            .env_remove("CREDENTIALS_DIRECTORY")
            .env_remove("SEALMOOT_OUTPUT")
            .stdin(Stdio::null());
        Ok(command)
    }

    fn command(&self) -> Result<Command, Failure> {
        let mut command = Self::command_with_config(&self.config)?;
        command.arg("--quiet");
        Ok(command)
    }

    fn run(&mut self, mut command: Command) -> Result<Readiness, Failure> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Failure::internal)?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            let sender = sender.clone();
            std::thread::spawn(move || forward(stdout, &sender, Said::Output));
        }
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || forward(stderr, &sender, Said::Error));
        }
        self.child = Some(child);
        Ok(Readiness {
            name: self.name.clone(),
            lines,
        })
    }
}

impl Drop for DemoNode {
    fn drop(&mut self) {
        self.kill();
    }
}

enum Said {
    Output(String),
    Error(String),
}

fn forward(source: impl std::io::Read, sender: &mpsc::Sender<Said>, kind: fn(String) -> Said) {
    for line in BufReader::new(source).lines().map_while(Result::ok) {
        if sender.send(kind(line)).is_err() {
            return;
        }
    }
}

/// A node that was started and is waited for.
pub(super) struct Readiness {
    name: String,
    lines: mpsc::Receiver<Said>,
}

impl Readiness {
    /// Waits for the line READY.
    pub(super) fn wait(self) -> Result<(), Failure> {
        let mut errors = String::new();
        loop {
            match self.lines.recv_timeout(READY_WITHIN) {
                Ok(Said::Output(line)) if line.starts_with("READY ") => return Ok(()),
                Ok(Said::Output(_)) => {}
                Ok(Said::Error(line)) => {
                    errors.push('\n');
                    errors.push_str(&line);
                }
                Err(_) => {
                    return Err(Failure::new(
                        Code::Internal,
                        format!("{} did not become ready{errors}", self.name),
                    ));
                }
            }
        }
    }
}

/// Addresses on this machine that nobody listens at just now.
pub(super) fn free_addresses(count: usize) -> Result<Vec<String>, Failure> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .map_err(Failure::internal)?;
    listeners
        .iter()
        .map(|listener| {
            let address = listener.local_addr().map_err(Failure::internal)?;
            Ok(address.to_string())
        })
        .collect()
}
