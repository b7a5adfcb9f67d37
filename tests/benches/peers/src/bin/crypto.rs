//! Prints how `sealmoot-crypto` compares with what does the same work.
//!
//! `crypto [--quick] [--check] [keyset] [record] [password] [file] [primitives]`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use sealmoot_peers::measure::Effort;
use sealmoot_peers::table::Table;
use sealmoot_peers::{file, password, primitives, record, sealing};

const SECTIONS: [&str; 5] = ["keyset", "record", "password", "file", "primitives"];
const USAGE: &str =
    "usage: crypto [--quick] [--check] [keyset] [record] [password] [file] [primitives]";

fn main() -> ExitCode {
    let mut quick = false;
    let mut check = false;
    let mut wanted = vec![];
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => quick = true,
            "--check" => check = true,
            section if SECTIONS.contains(&section) => wanted.push(argument),
            _ => {
                eprintln!("unknown argument {argument}\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let wanted = |section: &str| wanted.is_empty() || wanted.iter().any(|name| name == section);
    let effort = Effort {
        rounds: if quick { 15 } else { 80 },
        turn: Duration::from_micros(1500),
    };
    let scratch = scratch();
    if let Err(error) = std::fs::create_dir_all(&scratch) {
        eprintln!("{}: {error}", scratch.display());
        return ExitCode::FAILURE;
    }
    let mut table = Table::default();
    table.begin("crypto");
    if wanted("keyset") {
        sealing::compare(&mut table, effort);
    }
    if wanted("record") {
        record::compare(&mut table, effort);
    }
    if wanted("password") {
        password::compare(&mut table, if quick { 2 } else { 7 }, &scratch);
    }
    if wanted("file") {
        file::compare(&mut table, if quick { 2 } else { 9 }, &scratch);
    }
    if wanted("primitives") {
        primitives::compare(&mut table, effort);
    }
    let missed = table.end();
    if check && missed > 0 {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Where programs and files of a run are put: beside this binary.
fn scratch() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.parent()?.join("peers-scratch")))
        .unwrap_or_else(|| std::env::temp_dir().join("peers-scratch"))
}
