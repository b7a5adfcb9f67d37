//! A home of its own for each test, and one realm made once and copied.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

/// Secrets that no output may ever contain.
pub(crate) const PASSPHRASE: &str = "zebra-passphrase-1";
pub(crate) const PASSWORD: &str = "zebra-password-2";

/// What a run of `authctl` came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Asserts success; the JSON data.
    #[track_caller]
    pub(crate) fn data(&self, kind: &str) -> Value {
        assert_eq!(self.exit, 0, "{self:?}");
        let envelope = self.envelope();
        assert_eq!(envelope["kind"], kind, "{self:?}");
        envelope["data"].clone()
    }

    /// The result's whole JSON document.
    #[track_caller]
    pub(crate) fn envelope(&self) -> Value {
        let envelope: Value = serde_json::from_str(&self.stdout).expect("JSON on stdout");
        assert_eq!(envelope["v"], 1);
        assert!(envelope["warnings"].is_array());
        assert_eq!(envelope.as_object().map(serde_json::Map::len), Some(4));
        envelope
    }

    #[track_caller]
    pub(crate) fn succeeded(&self) -> &Self {
        assert_eq!(self.exit, 0, "{self:?}");
        self
    }

    /// Asserts a refusal in text: its status, its code in brackets, nothing on
    /// standard output.
    #[track_caller]
    pub(crate) fn refused(&self, exit: i32, code: &str) -> &Self {
        assert_eq!(self.exit, exit, "{self:?}");
        let begins = format!("authctl: error[{code}]: ");
        assert!(self.stderr.starts_with(&begins), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        self
    }

    /// Asserts that standard error says `text`.
    #[track_caller]
    pub(crate) fn saying(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "{text:?} is not in {self:?}");
        self
    }

    /// Asserts that standard output says `text`.
    #[track_caller]
    pub(crate) fn saying_out(&self, text: &str) -> &Self {
        assert!(self.stdout.contains(text), "{text:?} is not in {self:?}");
        self
    }
}

/// A home directory with configuration and data of its own.
pub(crate) struct Home {
    directory: TempDir,
}

impl Home {
    /// Nothing is set up.
    pub(crate) fn empty() -> Self {
        let home = Self {
            directory: tempfile::tempdir().expect("a directory"),
        };
        home.secret("pp", PASSPHRASE);
        home.secret("pw", PASSWORD);
        home
    }

    /// A realm `acme` with alice, an administrator, ci, who may read and write
    /// below `app/`, and gone, who was deleted.
    pub(crate) fn with_realm() -> Self {
        static TEMPLATE: OnceLock<Home> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| {
            let home = Self::empty();
            home.run("realm init acme --passphrase-file pp").succeeded();
            let add = "--passphrase-file pp --password-file pw";
            for user in ["alice --role admin", "ci --role app/*:rw", "gone"] {
                home.run(&format!("user add {user} {add}")).succeeded();
            }
            home.run("user delete gone --passphrase-file pp --yes")
                .succeeded();
            home
        });
        let home = Self::empty();
        copy(&template.path("data"), &home.path("data"));
        home
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    /// Writes a private file.
    pub(crate) fn secret(&self, name: &str, content: &str) {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path(name))
            .expect("a file");
        file.write_all(content.as_bytes()).expect("written");
    }

    /// `authctl` with nothing of this machine's environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_authctl"));
        command
            .env_clear()
            .env("HOME", self.directory.path())
            .env("SEALMOOT_CONFIG_DIR", self.path("config"))
            .env("SEALMOOT_DATA_DIR", self.path("data"))
            .current_dir(self.directory.path());
        command
    }

    /// Runs `authctl` with these arguments, parted at spaces, without any input.
    pub(crate) fn run(&self, arguments: &str) -> Outcome {
        self.run_with("", arguments)
    }

    /// The same with `input` on standard input.
    pub(crate) fn run_with(&self, input: &str, arguments: &str) -> Outcome {
        let mut command = self.command();
        command.args(arguments.split_whitespace());
        finish(command, input)
    }

    /// Names of all files below the data directory, with their content.
    pub(crate) fn data(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        for path in walk(&self.path("data")) {
            if path.is_file() {
                files.push((path.clone(), fs::read(&path).expect("readable")));
            }
        }
        files
    }
}

/// Runs a command to its end; no secret of these tests may appear.
pub(crate) fn finish(mut command: Command, input: &str) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("authctl starts");
    let mut stdin = child.stdin.take().expect("piped");
    // A command that does not read its input may be gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("authctl ends");
    let outcome = Outcome {
        exit: output.status.code().expect("no signal"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    };
    for secret in [PASSPHRASE, PASSWORD] {
        let shown = outcome.stdout.contains(secret) || outcome.stderr.contains(secret);
        assert!(!shown, "a secret was shown: {outcome:?}");
    }
    outcome
}

/// Permission bits.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").mode() & 0o777
}

/// Everything below a directory, and it itself.
pub(crate) fn walk(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if let Ok(entries) = fs::read_dir(path) {
        let mut entries: Vec<_> = entries.map(|entry| entry.expect("listed").path()).collect();
        entries.sort();
        found.extend(entries.iter().flat_map(|entry| walk(entry)));
    }
    found.retain(|found| found.exists());
    found
}

/// Copies a directory with its modes.
pub(crate) fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).expect("copied");
        return;
    }
    fs::DirBuilder::new()
        .mode(0o700)
        .create(to)
        .expect("a directory");
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("listed");
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// Changes one byte of a file.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("written");
}
