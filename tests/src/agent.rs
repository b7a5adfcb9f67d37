//! A real ssh-agent, and keys that the tools of OpenSSH make.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::home::Home;
use crate::poll::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the tools of OpenSSH are here; says so if not.
#[must_use]
pub fn has_openssh(test: &str) -> bool {
    let found = ["ssh-agent", "ssh-add", "ssh-keygen"].iter().all(|tool| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(tool).is_file())
    });
    if !found {
        eprintln!("SKIPPED {test}: OpenSSH's tools are not installed");
    }
    found
}

/// Makes a key in the home with `ssh-keygen`: `NAME` and `NAME.pub`.
///
/// # Panics
/// When that fails.
pub fn make_key(home: &Home, name: &str, key_type: &str, passphrase: &str) {
    let mut command = home.command("ssh-keygen");
    command.args([
        "-q", "-t", key_type, "-C", name, "-N", passphrase, "-f", name,
    ]);
    succeed(&mut command);
}

/// An agent of the home's; it ends with this.
pub struct SshAgent {
    child: Child,
    socket: PathBuf,
}

impl SshAgent {
    /// Starts one without keys.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(home: &Home, name: &str) -> Self {
        let socket = home.path(name);
        let child = home
            .command("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ssh-agent starts");
        eventually("the agent listens", PATIENCE, || {
            UnixStream::connect(&socket).is_ok().then_some(())
        });
        Self { child, socket }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Runs `ssh-add` with these arguments, parted at spaces.
    ///
    /// # Panics
    /// When it fails.
    pub fn add(&self, home: &Home, arguments: &str) {
        let mut command = home.command("ssh-add");
        command
            .args(arguments.split_whitespace())
            .env("SSH_AUTH_SOCK", &self.socket)
            .stderr(Stdio::null());
        succeed(&mut command);
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn succeed(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?}");
}
