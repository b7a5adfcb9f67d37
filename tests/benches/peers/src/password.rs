//! Argon2id against the reference library in C and against libsodium.
//!
//! Both C programs are compiled when they are needed, linked with the machine's
//! own libraries, and time their own hashes; one call of such a program is one
//! turn. All sides hash the same password under the same salt, and a side whose
//! hash differs is not compared.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use sealmoot_crypto::password::{Arena, Cost, stretch, stretch_in};

use crate::measure::Samples;
use crate::table::{Goal, Table};

const PASSWORD: &[u8] = b"correct horse battery staple";
const SALT: [u8; 16] = [7; 16];
const HASHES_A_TURN: usize = 3;

/// A program that hashes as another library does.
struct Peer {
    name: &'static str,
    source: &'static str,
    libraries: &'static [&'static str],
    package: &'static str,
}

const REFERENCE: Peer = Peer {
    name: "argon2_reference",
    source: include_str!("argon2_reference.c"),
    libraries: &["-largon2", "-lpthread"],
    package: "libargon2-dev",
};
const LIBSODIUM: Peer = Peer {
    name: "argon2_libsodium",
    source: include_str!("argon2_libsodium.c"),
    libraries: &["-lsodium"],
    package: "libsodium-dev",
};

/// Nanoseconds of each hash of a turn, and the hash; or why there are none.
type Turn = Result<(Vec<f64>, String), String>;

/// One contestant and what it took.
struct Contestant<'a> {
    /// Does [`HASHES_A_TURN`] hashes.
    turn: Box<dyn FnMut() -> Turn + 'a>,
    nanoseconds: Vec<f64>,
    hash: String,
}

/// Both costs.
pub fn compare(table: &mut Table, rounds: usize, scratch: &Path) {
    let reference = REFERENCE.build(scratch);
    let libsodium = LIBSODIUM.build(scratch);
    let small = Goal {
        bar: Some(0.8),
        aim: None,
    };
    let large = Goal {
        bar: Some(0.5),
        aim: None,
    };
    let sodium = Goal {
        bar: None,
        aim: Some(1.0),
    };
    for (title, cost, goal) in [
        ("19 MiB t=2 p=1", Cost::OWASP, small),
        ("64 MiB t=3 p=4", Cost::RFC_9106_LOW_MEMORY, large),
    ] {
        table.heading(&format!(
            "Argon2id {title}, against the reference in C, and libsodium"
        ));
        let mut arena = Arena::default();
        let mut contestants = vec![
            ours(move || {
                let hash = stretch_in(PASSWORD, &SALT, cost, &mut arena).expect("a valid cost");
                hex(hash.expose())
            }),
            ours(move || {
                hex(stretch(PASSWORD, &SALT, cost)
                    .expect("a valid cost")
                    .expose())
            }),
        ];
        let mut peers = vec![];
        match &reference {
            Ok(program) => peers.push(("the reference", goal, program)),
            Err(why) => table.skipped("against the reference", why),
        }
        match &libsodium {
            _ if cost.lanes != 1 => table.skipped("against libsodium", "it has one lane only"),
            Ok(program) => peers.push(("libsodium", sodium, program)),
            Err(why) => table.skipped("against libsodium", why),
        }
        contestants.extend(peers.iter().map(|(_, _, program)| theirs(program, cost)));
        if let Err(why) = take_turns(&mut contestants, rounds) {
            table.skipped("all", &why);
            continue;
        }
        let samples: Vec<Samples> = contestants
            .iter()
            .map(|contestant| Samples::new(contestant.nanoseconds.clone()))
            .collect();
        for ((name, goal, _), (theirs, samples_of_peer)) in
            peers.iter().zip(contestants[2..].iter().zip(&samples[2..]))
        {
            if theirs.hash != contestants[0].hash {
                table.skipped(name, "its hash differs from ours");
                continue;
            }
            // A service keeps its arenas: the goal is set to that.
            table.row(
                &format!("kept arena, {name}"),
                *goal,
                &samples[0],
                samples_of_peer,
            );
            table.row(
                &format!("fresh memory, {name}"),
                *goal,
                &samples[1],
                samples_of_peer,
            );
        }
        table.figure("kept arena", &samples[0]);
        table.figure("fresh memory", &samples[1]);
    }
}

fn take_turns(contestants: &mut [Contestant<'_>], rounds: usize) -> Result<(), String> {
    for round in 0..=rounds {
        for turn in 0..contestants.len() {
            let contestant = {
                let index = (round + turn) % contestants.len();
                &mut contestants[index]
            };
            let (nanoseconds, hash) = (contestant.turn)()?;
            contestant.hash = hash;
            // The first round warms up.
            if round > 0 {
                contestant.nanoseconds.extend(nanoseconds);
            }
        }
    }
    Ok(())
}

fn ours<'a>(mut hash: impl FnMut() -> String + 'a) -> Contestant<'a> {
    Contestant {
        turn: Box::new(move || {
            let mut nanoseconds = vec![];
            let mut last = String::new();
            for _ in 0..HASHES_A_TURN {
                let started = Instant::now();
                last = hash();
                nanoseconds.push(started.elapsed().as_nanos() as f64);
            }
            Ok((nanoseconds, last))
        }),
        nanoseconds: vec![],
        hash: String::new(),
    }
}

fn theirs(program: &Path, cost: Cost) -> Contestant<'_> {
    let arguments = [
        cost.memory_kib.to_string(),
        cost.passes.to_string(),
        cost.lanes.to_string(),
        HASHES_A_TURN.to_string(),
    ];
    Contestant {
        turn: Box::new(move || {
            let output = Command::new(program)
                .args(&arguments)
                .output()
                .map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&output.stdout);
            let mut lines: Vec<&str> = text.lines().collect();
            let hash = lines.pop().filter(|_| output.status.success());
            let hash = hash.ok_or("the program failed")?.to_owned();
            let nanoseconds = lines
                .iter()
                .map(|line| line.parse().map_err(|_| format!("it printed {line}")))
                .collect::<Result<_, _>>()?;
            Ok((nanoseconds, hash))
        }),
        nanoseconds: vec![],
        hash: String::new(),
    }
}

impl Peer {
    fn build(&self, scratch: &Path) -> Result<PathBuf, String> {
        let source = scratch.join(self.name).with_extension("c");
        let program = scratch.join(self.name);
        std::fs::write(&source, self.source).map_err(|error| error.to_string())?;
        let output = Command::new("cc")
            .arg("-O2")
            .arg(&source)
            .arg("-o")
            .arg(&program)
            .args(self.libraries)
            .output()
            .map_err(|error| format!("no C compiler: {error}"))?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            let first = message.lines().next().unwrap_or("").to_owned();
            return Err(format!(
                "does not build (Debian: {}): {first}",
                self.package
            ));
        }
        Ok(program)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
