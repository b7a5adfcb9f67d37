//! Runs histories until they are over, the time is up, or one is wrong.

mod campaign;
mod options;
#[cfg(feature = "mutants")]
mod table;

use std::process::ExitCode;

use clap::Parser;
use sealmoot_simulation::costs;
use sealmoot_simulation::examine::{examine, shrink};
use sealmoot_simulation::fault::Fault;
use sealmoot_simulation::plan::Plan;

use campaign::{Campaign, Totals};
use options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    let complaint = match options.refuse() {
        Some(complaint) => complaint,
        None => return run(&options),
    };
    eprintln!("checker: error[usage]: {complaint}");
    ExitCode::from(2)
}

fn run(options: &Options) -> ExitCode {
    if options.costs {
        print!("{}", costs::rendered());
        return ExitCode::SUCCESS;
    }
    #[cfg(feature = "mutants")]
    if options.mutants {
        return table::run(options);
    }
    #[cfg(feature = "mutants")]
    sealmoot_simulation::mutants::choose(options.mutant());
    if let Some(seed) = options.trace {
        return trace(options, &options.plan(seed));
    }
    let campaign = Campaign::new(options, options.mutant());
    let totals = campaign.run();
    report(&totals);
    let Some((seed, violation)) = &totals.first else {
        return ExitCode::SUCCESS;
    };
    println!("\nseed {seed}: {violation}");
    println!("replay: checker {}", options.replay(&options.plan(*seed)));
    let plan = shrink(&options.plan(*seed));
    println!("smaller: checker {}", options.replay(&plan));
    if let (_, Some(violation)) = examine(&plan, false) {
        println!("{violation}");
    }
    ExitCode::FAILURE
}

/// Runs one history and tells every event.
fn trace(options: &Options, plan: &Plan) -> ExitCode {
    eprintln!("{plan:#?}");
    let (run, violation) = examine(plan, !options.quiet);
    for operation in run.history.operations() {
        println!("{operation}");
    }
    println!("trace {:016x}, {} events", run.trace, run.events);
    match violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
    }
}

fn report(totals: &Totals) {
    let seconds = totals.seconds.max(1e-9);
    println!(
        "{} histories in {seconds:.1} s ({:.0} a second), {} operations ({} answered, {} \
         failed, {} unknown), {} events, {} on the real log, {} by other W and R than the \
         majority, {} with at least 8 kinds of fault{}",
        totals.histories,
        totals.histories as f64 / seconds,
        totals.operations,
        totals.answered,
        totals.failed,
        totals.unknown,
        totals.events,
        totals.real_log,
        totals.other_settings,
        totals.many_kinds,
        if totals.twice { ", each run twice" } else { "" },
    );
    let changes = totals.changes;
    println!(
        "members changed in {} histories: {} changes begun, {} completed, {} taken up by \
         another, {} disks lost",
        totals.changing, changes.begun, changes.completed, changes.taken_up, changes.wiped,
    );
    for fault in Fault::ALL {
        println!("  {:<16} {}", fault.name(), totals.counts.of(fault));
    }
}
