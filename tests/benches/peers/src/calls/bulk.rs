//! 64 MiB one way in one stream of messages of 16 KiB.

use bytes::Bytes;

use super::place::{NAMES, NOISE, RAW_TCP, RAW_TLS, TLS, TONIC};
use super::{all, load};
use crate::channel::cores::Cores;
use crate::measure::{Effort, Subject, data, in_turns};
use crate::table::{Goal, Table};

const MESSAGE_BYTES: usize = 1 << 14;
const MESSAGES: u32 = 4096;
const LINES: [usize; 5] = [TLS, NOISE, TONIC, RAW_TLS, RAW_TCP];

/// Each end on its own core, then both in one thread.
///
/// # Panics
/// When the system gives no sockets.
pub fn compare(table: &mut Table, effort: Effort) {
    // One turn is 64 MiB, many times a turn of the others.
    let effort = Effort {
        rounds: (effort.rounds / 4).max(5),
        ..effort
    };
    match Cores::two() {
        Some(cores) => on(table, effort, &cores, "each end on its own core"),
        None => table.skipped("each end on its own core", "there is only one"),
    }
    on(table, effort, &Cores::one(), "both ends in one thread");
}

fn on(table: &mut Table, effort: Effort, cores: &Cores, place: &str) {
    let lines = all(cores);
    let body = Bytes::from(data(MESSAGE_BYTES));
    table.title(&format!(
        "stream of 64 MiB in messages of 16 KiB, one way; {place}; load {} (information)",
        load()
    ));
    let mut subjects: Vec<_> = lines
        .into_iter()
        .enumerate()
        .filter(|(place, _)| LINES.contains(place))
        .map(|(_, mut line)| {
            let body = &body;
            Subject::prepared(MESSAGES, move || {
                let time = line.stream(cores, body, MESSAGES);
                time.expect("it has streams")
            })
        })
        .collect();
    let samples = in_turns(effort, &mut subjects);
    for (line, samples) in LINES.iter().zip(&samples) {
        table.speed(NAMES[*line], samples, MESSAGE_BYTES);
    }
    let of = |wanted: usize| {
        let at = LINES.iter().position(|line| *line == wanted);
        &samples[at.expect("measured")]
    };
    table.columns();
    for (ours, peer) in [
        (TLS, TONIC),
        (NOISE, TONIC),
        (TLS, RAW_TLS),
        (TLS, RAW_TCP),
        (NOISE, TLS),
    ] {
        let row = format!("{}, {}", NAMES[ours], NAMES[peer]);
        table.row(&row, Goal::NONE, of(ours), of(peer));
    }
}
