//! A machine of its own: a temporary directory with configuration, data and the
//! secrets of the tests. At its end no process is left that it started.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::binaries::{self, Program};
use crate::command::{Outcome, Running, send_signal};
use crate::files;

/// The passphrase of every realm.
pub const PASSPHRASE: &str = "walrus-passphrase-7c1e";
/// The password of every user, unless a test gives another.
pub const PASSWORD: &str = "walrus-password-90ab";

/// A temporary directory that stands for a machine.
pub struct Home {
    directory: TempDir,
    environment: Vec<(String, String)>,
}

impl Home {
    /// Nothing is set up but the files `pp` and `pw`, with [`PASSPHRASE`] and
    /// [`PASSWORD`].
    ///
    /// # Panics
    /// When there is no room for it.
    #[must_use]
    pub fn new() -> Self {
        Self::with_environment(&[])
    }

    /// The same, with these variables in the environment of all commands.
    ///
    /// # Panics
    /// When there is no room for it.
    #[must_use]
    pub fn with_environment(environment: &[(&str, &str)]) -> Self {
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let home = Self {
            directory: tempfile::Builder::new()
                .prefix("sealmoot-test-")
                .tempdir()
                .expect("a directory"),
            environment: environment.collect(),
        };
        home.secret("pp", PASSPHRASE);
        home.secret("pw", PASSWORD);
        home
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(below)
    }

    /// Writes a private file.
    pub fn secret(&self, name: &str, content: impl AsRef<[u8]>) {
        files::write_private(&self.path(name), content.as_ref());
    }

    /// A command with nothing of this machine's environment: it sees this
    /// directory, as its home and working directory, and the binaries under test.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut path = OsString::from(binaries::directory());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path)
            .env("LANG", "C.UTF-8")
            .env("HOME", self.directory.path())
            .env("SEALMOOT_CONFIG_DIR", self.path("config"))
            .env("SEALMOOT_DATA_DIR", self.path("share"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path());
        command
    }

    /// A run of `program` with these arguments, parted at spaces, to be added to.
    #[must_use]
    pub fn run(&self, program: Program, arguments: &str) -> Run {
        let mut command = self.command(program.path());
        command.args(arguments.split_whitespace());
        // A node on a busy machine may take long to have a change on its disk, and the test
        // goes by its having been told.
        if program == Program::Authctl && !arguments.contains("--timeout") {
            command.args(["--timeout", "60s"]);
        }
        Run {
            command,
            input: Vec::new(),
        }
    }

    /// Runs `authctl` to its end.
    #[must_use]
    pub fn authctl(&self, arguments: &str) -> Outcome {
        self.run(Program::Authctl, arguments).finish()
    }

    /// Runs `kvd` to its end.
    #[must_use]
    pub fn kvd(&self, arguments: &str) -> Outcome {
        self.run(Program::Kvd, arguments).finish()
    }

    /// Runs `kv` to its end.
    #[must_use]
    pub fn kv(&self, arguments: &str) -> Outcome {
        self.run(Program::Kv, arguments).finish()
    }

    /// Makes a realm; its id.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn realm(&self, name: &str) -> String {
        let made = self.authctl(&format!("realm init {name} --passphrase-file pp -o json"));
        let data = made.data("realm");
        data["id"].as_str().expect("an id").to_owned()
    }

    /// Adds a user with [`PASSWORD`].
    pub fn user(&self, name: &str, role: &str) {
        let secrets = "--passphrase-file pp --password-file pw";
        self.authctl(&format!("user add {name} --role {role} {secrets}"))
            .succeeded();
    }

    /// Kills every node in the background whose directory lies in this one.
    fn kill_daemons(&self) {
        for path in files::walk(self.directory.path()) {
            if path.file_name().is_none_or(|name| name != "kvd.pid") {
                continue;
            }
            let pid = fs::read_to_string(&path).unwrap_or_default();
            let Ok(pid) = pid.trim().parse::<u32>() else {
                continue;
            };
            // The number may belong to somebody else by now.
            // Its `exe` may be root's alone to read: it is not dumpable.
            let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if program.trim_end() == "kvd" {
                send_signal(pid, "KILL");
            }
        }
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.kill_daemons();
    }
}

/// A command that has not started.
pub struct Run {
    command: Command,
    input: Vec<u8>,
}

impl Run {
    /// Adds an argument that holds spaces, or is no text.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Gives it a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives it standard input; without, it has none.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Starts it.
    #[must_use]
    pub fn start(self) -> Running {
        Running::start(self.command, self.input)
    }

    /// Runs it to its end.
    #[must_use]
    pub fn finish(self) -> Outcome {
        self.start().finish()
    }

    /// The command itself, for what this does not cover.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command
    }
}
