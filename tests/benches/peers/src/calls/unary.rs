//! Many calls in flight over one connection, each end on a core of its own.

use std::time::Duration;

use bytes::Bytes;

use super::line::Line;
use super::place::{MEMORY, NAMES, NOISE, RAW_TCP, RAW_TLS, TARPC, TLS, TONIC, UNIX};
use super::{all, load};
use crate::channel::cores::Cores;
use crate::measure::{Effort, Subject, data, in_turns};
use crate::table::{Goal, Table};

const SIZES: [(&str, usize); 3] = [("64 B", 64), ("1 KiB", 1 << 10), ("16 KiB", 1 << 14)];
/// How many calls are in flight, and how many follow each other in each of those:
/// enough that what starts them is not seen.
const IN_FLIGHT: [(u32, u32); 4] = [(1, 64), (16, 32), (64, 8), (256, 4)];
/// The least of a turn. Of the slowest subject one burst takes as long; were the
/// others' turns shorter, whatever disturbs would miss them more often.
const TURN: Duration = Duration::from_millis(8);

/// At least so many times the peer's calls a second, as times.
const TONIC_GOAL: Goal = Goal::new(1.0 / 8.0, 1.0 / 15.0);
const TARPC_GOAL: Goal = Goal::new(1.0 / 2.0, 1.0 / 3.5);
pub(super) const NOISE_GOAL: Goal = Goal {
    bar: Some(1.0 / 0.7),
    aim: None,
};

/// Each end on its own core; 64 B also with both in one thread, where nobody
/// else's work comes between the two.
///
/// # Panics
/// When the system gives no sockets.
pub fn compare(table: &mut Table, effort: Effort) {
    let effort = Effort {
        turn: TURN,
        ..effort
    };
    match Cores::two() {
        Some(cores) => {
            let place = "each end on its own core";
            on(table, effort, &cores, &SIZES, &IN_FLIGHT, place, true);
        }
        None => table.skipped("each end on its own core", "there is only one"),
    }
    let place = "both ends in one thread (information)";
    on(
        table,
        effort,
        &Cores::one(),
        &SIZES[..1],
        &IN_FLIGHT[2..3],
        place,
        false,
    );
}

fn on(
    table: &mut Table,
    effort: Effort,
    cores: &Cores,
    sizes: &[(&str, usize)],
    in_flight: &[(u32, u32)],
    place: &str,
    is_judged: bool,
) {
    let mut lines = all(cores);
    for (size_name, size) in sizes {
        let body = Bytes::from(data(*size));
        for &(in_flight, each) in in_flight {
            table.title(&format!(
                "unary echo of {size_name}, {in_flight} in flight; {place}; load {}",
                load()
            ));
            let mut subjects: Vec<_> = lines
                .iter_mut()
                .map(|line| calling(cores, line.as_mut(), &body, in_flight, each))
                .collect();
            let samples = in_turns(effort, &mut subjects);
            for (name, samples) in NAMES.iter().zip(&samples) {
                table.speed(name, samples, 0);
            }
            let is_64_bytes = is_judged && *size == 64;
            let is_bar = is_64_bytes && in_flight == 64;
            table.columns();
            for (ours, peer, goal) in [
                (TLS, TONIC, TONIC_GOAL.when(is_bar)),
                (TLS, TARPC, TARPC_GOAL.when(is_bar)),
                (NOISE, TLS, NOISE_GOAL.when(is_64_bytes && in_flight > 1)),
                (UNIX, TLS, Goal::NONE),
                (MEMORY, TLS, Goal::NONE),
                (TLS, RAW_TLS, Goal::NONE),
                (TLS, RAW_TCP, Goal::NONE),
            ] {
                let row = format!("{}, {}", NAMES[ours], NAMES[peer]);
                table.row(&row, goal, &samples[ours], &samples[peer]);
            }
        }
    }
}

fn calling<'a>(
    cores: &'a Cores,
    line: &'a mut dyn Line,
    body: &'a Bytes,
    in_flight: u32,
    each: u32,
) -> Subject<'a> {
    Subject::prepared(in_flight * each, move || {
        line.burst(cores, body, in_flight, each)
    })
}
