//! Whole files: processes that read a cached file and write to nowhere.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::measure::{Samples, data};
use crate::table::{Goal, Table};

const GOAL: Goal = Goal::new(0.6, 0.35);
const FILE_LENGTH: usize = 256 << 20;
const SCRATCH_FILES: [&str; 7] = [
    "plain",
    "plain.age",
    "age.key",
    "plain.sealed",
    "ours.keys",
    "ours.key",
    "ours.pub",
];

/// Encryption and decryption.
pub fn compare(table: &mut Table, rounds: usize, scratch: &Path) {
    table.heading("file of 256 MiB, cached, to /dev/null; whole processes");
    if let Err(why) = compare_all(table, rounds, scratch) {
        table.skipped("file", &why);
    }
    remove_files(scratch);
}

fn remove_files(scratch: &Path) {
    for name in SCRATCH_FILES {
        let _ = std::fs::remove_file(scratch.join(name));
    }
}

fn compare_all(table: &mut Table, rounds: usize, scratch: &Path) -> Result<(), String> {
    remove_files(scratch);
    let plain = scratch.join("plain");
    std::fs::write(&plain, data(FILE_LENGTH)).map_err(|error| error.to_string())?;
    let ours = match Ours::prepare(scratch, &plain) {
        Ok(ours) => Some(ours),
        Err(why) => {
            table.skipped("ours", &why);
            None
        }
    };
    let age = match Age::prepare(scratch, &plain) {
        Ok(age) => Some(age),
        Err(why) => {
            table.skipped("against age", &why);
            None
        }
    };
    for verb in ["encrypt", "decrypt"] {
        let sealing = verb == "encrypt";
        let mut commands = vec![cat(&plain)];
        let mut add = |command: Option<Command>| {
            commands.extend(command);
            commands.len() - 1
        };
        let age_at = add(age.as_ref().map(|age| match sealing {
            true => age.encrypt(&plain),
            false => age.decrypt(),
        }));
        let ours_at = add(ours.as_ref().map(|ours| match sealing {
            true => ours.seal(&plain),
            false => ours.open(),
        }));
        let samples = processes_in_turns(&mut commands, rounds)?;
        let mut row = |what: &str, goal, left: usize, right: usize| {
            if left > 0 && left != right {
                table.row(
                    &format!("{verb}, {what}"),
                    goal,
                    &samples[left],
                    &samples[right],
                );
            }
        };
        if age.is_some() && ours.is_some() {
            row("age", GOAL, ours_at, age_at);
        }
        if ours.is_some() {
            row("cat", Goal::NONE, ours_at, 0);
        }
        row("age itself against cat", Goal::NONE, age_at, 0);
    }
    Ok(())
}

/// A file sealed by the example `seal_file` for one recipient's public key.
struct Ours {
    program: PathBuf,
    /// Where the keys are, without their extensions.
    name: PathBuf,
    sealed: PathBuf,
}

impl Ours {
    fn prepare(scratch: &Path, plain: &Path) -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        if !root.join("crypto/examples/seal_file.rs").exists() {
            return Err("there is no crypto/examples/seal_file.rs".to_owned());
        }
        // In the root's own profile, apart from the root's own builds.
        let target = scratch.join("root-target");
        let mut build = Command::new("cargo");
        build
            .args(["build", "--release", "--locked", "-p", "sealmoot-crypto"])
            .args(["--example", "seal_file", "--target-dir"])
            .arg(&target)
            .current_dir(&root);
        finish(&mut build)?;
        let ours = Self {
            program: target.join("release/examples/seal_file"),
            name: scratch.join("ours"),
            sealed: scratch.join("plain.sealed"),
        };
        finish(Command::new(&ours.program).arg("keygen").arg(&ours.name))?;
        finish(&mut ours.seal_into(plain, &ours.sealed))?;
        Ok(ours)
    }

    fn seal(&self, plain: &Path) -> Command {
        self.seal_into(plain, Path::new("/dev/null"))
    }

    fn seal_into(&self, plain: &Path, sealed: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("seal").arg("--to");
        command.arg(self.name.with_extension("pub"));
        command.arg(plain).arg(sealed);
        command
    }

    fn open(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("open").arg("--key").arg(&self.name);
        command.arg(&self.sealed).arg("/dev/null");
        command
    }
}

fn cat(plain: &Path) -> Command {
    let mut command = Command::new("cat");
    command.arg(plain);
    command
}

/// A file sealed by age for one X25519 recipient.
struct Age {
    key: PathBuf,
    recipient: String,
    sealed: PathBuf,
}

impl Age {
    fn prepare(scratch: &Path, plain: &Path) -> Result<Self, String> {
        let key = scratch.join("age.key");
        let _ = std::fs::remove_file(&key);
        let mut keygen = Command::new("age-keygen");
        keygen.arg("-o").arg(&key);
        finish(&mut keygen).map_err(|why| format!("no age (Debian: age): {why}"))?;
        let text = std::fs::read_to_string(&key).map_err(|error| error.to_string())?;
        let recipient = text
            .lines()
            .find_map(|line| line.strip_prefix("# public key: "))
            .ok_or("age-keygen names no public key")?
            .to_owned();
        let age = Self {
            key,
            recipient,
            sealed: scratch.join("plain.age"),
        };
        let mut seal = Command::new("age");
        seal.arg("-r").arg(&age.recipient);
        finish(seal.arg("-o").arg(&age.sealed).arg(plain))?;
        Ok(age)
    }

    fn encrypt(&self, plain: &Path) -> Command {
        let mut command = Command::new("age");
        command.arg("-r").arg(&self.recipient).arg(plain);
        command
    }

    fn decrypt(&self) -> Command {
        let mut command = Command::new("age");
        command.arg("-d").arg("-i").arg(&self.key).arg(&self.sealed);
        command
    }
}

fn finish(command: &mut Command) -> Result<(), String> {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed"))
}

/// From the start of a process to its end, in turns, after one round unmeasured.
fn processes_in_turns(commands: &mut [Command], rounds: usize) -> Result<Vec<Samples>, String> {
    let mut samples = vec![vec![]; commands.len()];
    for round in 0..=rounds {
        for turn in 0..commands.len() {
            let index = (round + turn) % commands.len();
            let started = Instant::now();
            finish(&mut commands[index])?;
            if round > 0 {
                samples[index].push(started.elapsed().as_nanos() as f64);
            }
        }
    }
    Ok(samples.into_iter().map(Samples::new).collect())
}
