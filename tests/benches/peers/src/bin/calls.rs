//! Prints how calls of `sealmoot-rpc` compare with those of tonic and tarpc, and with
//! raw TLS and TCP.
//!
//! `calls [--quick] [--check] [unary] [ladder] [stream]`

use std::process::ExitCode;
use std::time::Duration;

use sealmoot_peers::calls::{bulk, ladder, unary};
use sealmoot_peers::measure::Effort;
use sealmoot_peers::table::Table;

const SECTIONS: [&str; 3] = ["unary", "ladder", "stream"];
const USAGE: &str = "usage: calls [--quick] [--check] [unary] [ladder] [stream]";

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
    table.begin("calls");
    if wanted("unary") {
        unary::compare(&mut table, effort);
    }
    if wanted("ladder") {
        ladder::compare(&mut table, effort);
    }
    if wanted("stream") {
        bulk::compare(&mut table, effort);
    }
    let missed = table.end();
    if check && missed > 0 {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
