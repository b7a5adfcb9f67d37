//! A simulated network in which calls meet every failure there is, from a seed.
//!
//! One thread, virtual time, and the real values: the multiplexers, the table of
//! at-most-once calls, sessions, attempts, budgets. What is simulated is what
//! stands around them: connections whose bytes are cut anywhere, late, stalled,
//! lost in one direction or both; servers that crash, pause, drain and are
//! overloaded, with clocks that run fast; handlers that take their time, decline,
//! fail and panic; callers that lose patience.
//!
//! Handlers count what they really did ([`truth`]), and every call's report is
//! judged by it:
//!
//! - (a) an at-most-once or plain call has at most one effect;
//! - (b) what is reported not sent or not started never starts, by any attempt,
//!   also not later;
//! - (c) what is reported executed, or succeeds, has acted;
//! - (d) every call ends by its deadline and one tick, once;
//! - (e) a plain call is sent again only if no attempt before can have run;
//! - (f) when all faults are over, calls succeed;
//! - (g) tables stay within their bounds, and are empty in the end.
//!
//! `cargo test -p sealmoot-rpc --lib simulation` runs a share;
//! `SEALMOOT_SCHEDULES=100000` so many; `SEALMOOT_SEED=n` one, and tells it.

use std::collections::BTreeMap;
use std::time::Instant;

mod client;
mod faults;
mod link;
mod network;
mod random;
mod server;
mod truth;
mod wire;
mod world;

use world::World;

/// Schedules of one run, unless the environment says otherwise.
const SCHEDULES: u64 = 2_000;

/// Schedules in which a mutant has to be caught.
const MUTANT_SCHEDULES: u64 = 20_000;

/// What one schedule came to.
#[derive(Debug, Default)]
struct Verdict {
    broken: Vec<String>,
    counts: BTreeMap<String, u64>,
    trace: u64,
    steps: u64,
}

/// A fault put in on purpose: the judge must notice each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    /// The table keeps no outcome.
    TableForgets,
    /// It keeps none that is large, and says nothing of it.
    LargeRepliesForgotten,
    /// An attempt that should join runs beside.
    JoinRuns,
    /// What is settled runs again.
    FloorIgnored,
    /// What comes in an unknown incarnation runs.
    UnknownRuns,
    /// A lost connection drops its at-most-once handlers, and forgets them.
    LossForgets,
    /// So does a cancel.
    CancelForgets,
    /// A handler whose time was over is said not to have started.
    LateIsNotStarted,
    /// Plain calls are sent again as if they were idempotent.
    PlainRetried,
    /// A client takes a lost connection for a call that did not start.
    LossIsNotStarted,
    /// A client reports what its last attempt says, and not all of them.
    LastAttemptReported,
    /// A client sends an open twice when its incarnation was forgotten.
    OpensAgain,
    /// A client sends in another incarnation what may have run in a forgotten one.
    SentAnew,
    /// A client gives up when its incarnation was forgotten.
    NeverSentAnew,
    /// A client waits twice as long as it may.
    DeadlineIgnored,
}

const MUTANTS: [Mutant; 15] = [
    Mutant::TableForgets,
    Mutant::LargeRepliesForgotten,
    Mutant::JoinRuns,
    Mutant::FloorIgnored,
    Mutant::UnknownRuns,
    Mutant::LossForgets,
    Mutant::CancelForgets,
    Mutant::LateIsNotStarted,
    Mutant::PlainRetried,
    Mutant::LossIsNotStarted,
    Mutant::LastAttemptReported,
    Mutant::OpensAgain,
    Mutant::SentAnew,
    Mutant::NeverSentAnew,
    Mutant::DeadlineIgnored,
];

fn schedule(seed: u64, mutant: Option<Mutant>) -> Verdict {
    World::new(seed, mutant, false).run()
}

fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

/// Adds up what the schedules from `first` on, every `stride`-th, came to.
fn run_schedules(first: u64, stride: u64, end: u64) -> Verdict {
    let mut sum = Verdict::default();
    for seed in (first..end).step_by(usize::try_from(stride).expect("a small number")) {
        let verdict = schedule(seed, None);
        assert!(
            verdict.broken.is_empty(),
            "seed {seed}: {:#?}\nto see it: SEALMOOT_SEED={seed} \
             cargo test -p sealmoot-rpc --lib simulation::tests::promises -- --nocapture",
            verdict.broken
        );
        sum.steps += verdict.steps;
        for (what, count) in verdict.counts {
            *sum.counts.entry(what).or_default() += count;
        }
    }
    sum
}

/// On all processors: schedules have nothing to do with each other.
fn run_all(schedules: u64) -> Verdict {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let threads: Vec<_> = (0..threads)
        .map(|first| std::thread::spawn(move || run_schedules(first, threads, schedules)))
        .collect();
    let mut sum = Verdict::default();
    for thread in threads {
        let verdict = thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sum.steps += verdict.steps;
        for (what, count) in verdict.counts {
            *sum.counts.entry(what).or_default() += count;
        }
    }
    sum
}

mod tests {
    use super::*;

    /// What must have happened so often in 1,000 schedules, or they show little.
    const HAPPENED: [(&str, u64); 42] = [
        ("fault: crash and restart", 300),
        ("fault: cut downwards", 300),
        ("fault: cut in both directions", 300),
        ("fault: cut upwards", 300),
        ("fault: drain and restart", 300),
        ("fault: nothing for 700 s", 70),
        ("fault: reset seen by the client first", 300),
        ("fault: reset seen by the server first", 300),
        ("fault: server pauses", 300),
        ("fault: stall", 300),
        ("fault: the caller cancels", 300),
        ("network: a piece lost behind a cut", 3_000),
        ("once: a handler goes on without its connection", 100),
        ("once: cancelled while it ran", 100),
        ("once: joined", 80),
        ("once: open failed", 200),
        ("once: another incarnation evicted", 15),
        ("once: open refused", 5),
        ("once: opened", 1_500),
        ("once: refused, the call was settled", 1),
        ("once: refused, too many attempts wait for this call", 5),
        ("once: refused, too many calls are not settled", 50),
        ("once: refused, unknown incarnation", 500),
        ("once: replayed", 300),
        ("once: reply not held", 3),
        ("once: run", 5_000),
        ("outcome Idempotent: maybe executed, unavailable", 50),
        ("outcome Idempotent: not sent, unavailable", 80),
        ("outcome Idempotent: not started, unavailable", 10),
        ("outcome Idempotent: ok", 2_000),
        ("outcome Once: executed, data loss", 3),
        ("outcome Once: maybe executed, outcome unknown", 150),
        ("outcome Once: not sent, unavailable", 250),
        ("outcome Once: not started, unavailable", 50),
        ("outcome Once: ok", 3_000),
        ("outcome Plain: maybe executed, unavailable", 500),
        ("outcome Plain: not sent, unavailable", 120),
        ("outcome Plain: not started, unavailable", 15),
        ("outcome Plain: ok", 2_000),
        ("retry: after maybe executed", 2_000),
        ("retry: hedged", 700),
        ("retry: in another incarnation", 250),
    ];

    #[test]
    fn promises_hold_in_every_schedule() {
        if let Some(seed) = number_from_environment("SEALMOOT_SEED") {
            let verdict = World::new(seed, None, true).run();
            assert!(
                verdict.broken.is_empty(),
                "seed {seed}: {:#?}",
                verdict.broken
            );
            return;
        }
        let schedules = number_from_environment("SEALMOOT_SCHEDULES").unwrap_or(SCHEDULES);
        let begun = Instant::now();
        let sum = run_all(schedules);
        println!(
            "{schedules} schedules, {} steps, {:.1} s",
            sum.steps,
            begun.elapsed().as_secs_f64()
        );
        for (what, count) in &sum.counts {
            println!("{count:>10}  {what}");
        }
        for (what, in_thousand) in HAPPENED {
            let count = sum.counts.get(what).copied().unwrap_or(0);
            let least = in_thousand * schedules / 1_000;
            assert!(
                count >= least,
                "{what}: {count}, and at least {least} expected"
            );
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_trace() {
        let traces: Vec<u64> = (0..50).map(|seed| schedule(seed, None).trace).collect();
        for (seed, trace) in (0..).zip(&traces) {
            assert_eq!(schedule(seed, None).trace, *trace, "seed {seed}");
        }
        let distinct: std::collections::BTreeSet<_> = traces.iter().collect();
        assert_eq!(distinct.len(), traces.len());
    }

    #[test]
    fn every_mutant_is_caught() {
        for mutant in MUTANTS {
            let caught = (0..MUTANT_SCHEDULES).find_map(|seed| {
                let broken = schedule(seed, Some(mutant)).broken;
                Some((seed, broken.into_iter().next()?))
            });
            match caught {
                Some((seed, how)) => println!("{mutant:?}: schedule {}: {how}", seed + 1),
                None => panic!("{mutant:?} was not noticed in {MUTANT_SCHEDULES} schedules"),
            }
        }
    }
}
