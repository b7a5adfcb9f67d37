//! ```text
//! storage model --operations N [--seed S] [--jobs J]
//! storage flips [--every N] [--seed S] [--jobs J]
//! storage bench [--tenths T]          each turn takes so many tenths of a second
//! ```
//!
//! Exit code 101 with seed and place when something is wrong.

use std::process::ExitCode;
use std::time::Instant;

use sealmoot_storage::{bench, flips, model};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| -> Option<u64> {
        match arguments.iter().position(|argument| argument == name) {
            Some(at) => arguments.get(at + 1)?.parse().ok(),
            None => Some(default),
        }
    };
    let (Some(seed), Some(jobs)) = (number("--seed", 1), number("--jobs", 2)) else {
        return usage();
    };
    let started = Instant::now();
    match arguments.first().map(String::as_str) {
        Some("model") => {
            let Some(operations) = number("--operations", 1_000_000) else {
                return usage();
            };
            in_parallel(jobs, |job| {
                let done = model::run(seed.wrapping_add(job), operations / jobs.max(1));
                println!("seed {}: {done:?}", seed.wrapping_add(job));
            });
        }
        Some("flips") => {
            let Some(every) = number("--every", 1) else {
                return usage();
            };
            let small = flips::Small::new(seed);
            println!("{} bits of a small storage", small.bits());
            in_parallel(jobs, |job| {
                let found = small.flip(job * every, jobs * every);
                println!("job {job}: {found:?}");
            });
        }
        Some("bench") => {
            let Some(tenths) = number("--tenths", 10) else {
                return usage();
            };
            if let Err(error) = measure(tenths as f64 / 10.0) {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
        _ => return usage(),
    }
    println!("in {:.1} s", started.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn measure(seconds: f64) -> Result<(), bench::Failed> {
    let place = std::env::current_dir()?;
    println!("values a second, each batch durable; medians of turns of {seconds} s");
    println!("batch   value     engine       redb   raw sync   of redb  of raw");
    for value in [256, 1024, 64 * 1024] {
        for batch in [1, 64, 512] {
            let rates = bench::writes(&place, batch, value, seconds)?;
            println!(
                "{batch:5} {value:7} {:10.0} {:10.0} {:10.0}   {:6.2}x {:6.2}x",
                rates.engine,
                rates.redb,
                rates.raw,
                rates.engine / rates.redb,
                rates.engine / rates.raw,
            );
        }
    }
    for value in [256, 1024] {
        let (engine, redb) = bench::reads(&place, value, seconds)?;
        println!(
            "reads {value:7} {engine:10.0} {redb:10.0}              {:6.2}x",
            engine / redb
        );
    }
    Ok(())
}

fn usage() -> ExitCode {
    eprintln!(
        "storage model --operations N | flips --every N | bench --tenths T   [--seed S] [--jobs J]"
    );
    ExitCode::from(2)
}

fn in_parallel(jobs: u64, work: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        for job in 0..jobs {
            let work = &work;
            scope.spawn(move || work(job));
        }
    });
}
