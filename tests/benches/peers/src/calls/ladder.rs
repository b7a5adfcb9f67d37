//! What one call at a time costs, from a procedure to everybody's TLS, on one
//! core: the middle of 64 calls each timed, so this is their p50.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;

use super::place::{NAMES, NOISE, RAW_TCP, RAW_TLS, TARPC, TLS, TONIC, UNIX};
use super::sealmoot::Echo;
use super::unary::NOISE_GOAL;
use super::{all, load};
use crate::channel::cores::Cores;
use crate::measure::{Effort, Subject, data, in_turns};
use crate::table::{Goal, Table};

const BODY_BYTES: usize = 64;
/// Calls between two readings.
const CALLS: u32 = 64;
/// The same of the procedure, which is not slower than the clock.
const PROCEDURES: u32 = 10_000;

const RAW_GOAL: Goal = Goal::new(1.5, 1.15);

/// Two threads on one core, then both ends in one.
///
/// # Panics
/// When the system gives no sockets.
pub fn compare(table: &mut Table, effort: Effort) {
    match Cores::sharing() {
        Some(cores) => on(table, effort, &cores, "a thread each, both on one core"),
        None => table.skipped("a thread each, both on one core", "no core is known"),
    }
    on(table, effort, &Cores::one(), "both ends in one thread");
}

fn on(table: &mut Table, effort: Effort, cores: &Cores, place: &str) {
    let mut lines = all(cores);
    let body = Bytes::from(data(BODY_BYTES));
    table.title(&format!(
        "p50 of one call of 64 B at a time; {place}; load {}",
        load()
    ));
    let mut subjects = vec![procedure(cores, &body)];
    subjects.extend(
        lines
            .iter_mut()
            .map(|line| Subject::prepared(CALLS, || line.one_at_a_time(cores, &body, CALLS))),
    );
    let samples = in_turns(effort, &mut subjects);
    let (procedure, samples) = samples.split_first().expect("the procedure is one");
    table.speed("procedure", procedure, 0);
    for (name, samples) in NAMES.iter().zip(samples) {
        table.speed(name, samples, 0);
    }
    table.columns();
    for (ours, peer, goal) in [
        (TLS, RAW_TLS, RAW_GOAL),
        (NOISE, RAW_TLS, Goal::NONE),
        (NOISE, TLS, NOISE_GOAL),
        (UNIX, RAW_TCP, Goal::NONE),
        (TLS, TONIC, Goal::NONE),
        (TLS, TARPC, Goal::NONE),
        (RAW_TLS, RAW_TCP, Goal::NONE),
    ] {
        let row = format!("{}, {}", NAMES[ours], NAMES[peer]);
        table.row(&row, goal, &samples[ours], &samples[peer]);
    }
}

/// The handler as a boxed future, as a table of handlers would hold it.
fn procedure<'a>(cores: &'a Cores, body: &'a Bytes) -> Subject<'a> {
    Subject::prepared(PROCEDURES, move || {
        cores.run(async {
            let started = Instant::now();
            for _ in 0..PROCEDURES {
                let answer = Box::pin(Echo.answer(body.clone()));
                black_box(black_box(answer).await);
            }
            started.elapsed()
        })
    })
}
