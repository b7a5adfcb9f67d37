//! Prints how `sealmoot-rpc`'s channels compare with what does the same work.
//!
//! `channel [--quick] [--check] [handshake] [connect] [record] [stream] [calls]`

use std::process::ExitCode;
use std::time::Duration;

use sealmoot_peers::channel::{calls, connect, handshake, record, stream};
use sealmoot_peers::measure::Effort;
use sealmoot_peers::table::Table;

const SECTIONS: [&str; 5] = ["handshake", "connect", "record", "stream", "calls"];
const USAGE: &str =
    "usage: channel [--quick] [--check] [handshake] [connect] [record] [stream] [calls]";

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
    let mut table = Table::default();
    table.begin("channel");
    if wanted("handshake") {
        handshake::compare(&mut table, effort);
    }
    if wanted("connect") {
        connect::compare(&mut table, effort);
    }
    if wanted("record") {
        record::compare(&mut table, effort);
    }
    if wanted("stream") {
        stream::compare(&mut table, effort);
    }
    if wanted("calls") {
        calls::compare(&mut table, effort);
    }
    let missed = table.end();
    if check && missed > 0 {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
