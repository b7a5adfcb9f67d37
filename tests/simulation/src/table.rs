//! Each rule taken out in turn: how many histories until that is noticed.

use std::process::ExitCode;

use sealmoot_kv::mutant::Mutant;
use sealmoot_simulation::mutants::{DIRECTED, NOT_APPLICABLE};

use crate::campaign::Campaign;
use crate::options::Options;

/// Prints the table; fails when a mutant that is wired in goes unnoticed.
pub(crate) fn run(options: &Options) -> ExitCode {
    let mut missed = 0;
    println!(
        "{:<32} {:>10} {:>12} {:>8}  noticed by",
        "mutant", "histories", "first seed", "seconds"
    );
    for mutant in Mutant::ALL {
        let name = format!("{mutant:?}");
        if NOT_APPLICABLE.contains(mutant) {
            println!("{name:<32} not applicable: the rule is not there");
            continue;
        }
        let totals = Campaign::new(options, Some(*mutant)).run();
        match &totals.first {
            Some((seed, violation)) => println!(
                "{name:<32} {:>10} {seed:>12} {:>8.1}  {}",
                totals.histories,
                totals.seconds,
                violation.kind()
            ),
            None if DIRECTED.contains(mutant) => println!(
                "{name:<32} {:>10} {:>12} {:>8.1}  nobody here; a schedule of its own finds it",
                totals.histories, "-", totals.seconds
            ),
            None => {
                missed += 1;
                println!(
                    "{name:<32} {:>10} {:>12} {:>8.1}  NOBODY",
                    totals.histories, "-", totals.seconds
                );
            }
        }
    }
    if missed == 0 {
        ExitCode::SUCCESS
    } else {
        println!("{missed} unnoticed");
        ExitCode::FAILURE
    }
}
