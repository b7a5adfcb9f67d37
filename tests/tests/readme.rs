//! The README's transcripts, run as they stand.

use std::fs;
use std::path::Path;

use sealmoot_tests::console::{self, Step};
use sealmoot_tests::home::Home;
use sealmoot_tests::ports::Ports;

/// Where the transcripts' nodes listen.
const WRITTEN_PORTS: [u16; 3] = [7401, 7402, 7403];

#[test]
fn transcripts_of_the_readme_are_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let page = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("there is no README.md to test: {error}"));
    // Where a port is taken, another with as many digits stands in for it.
    let candidates = WRITTEN_PORTS.into_iter().chain(7404..10_000);
    let ports = Ports::among(candidates, WRITTEN_PORTS.len());
    let page = WRITTEN_PORTS
        .iter()
        .zip(ports.numbers())
        .rev()
        .fold(page, |page, (written, taken)| {
            page.replace(&format!(":{written}"), &format!(":{taken}"))
        });

    let (steps, skipped): (Vec<Step>, Vec<Step>) =
        console::steps(&page).into_iter().partition(Step::is_run);
    for step in skipped {
        println!("not run: {}", step.command);
    }
    assert!(
        !steps.is_empty(),
        "README.md has no block tagged `console` with a command to run"
    );
    let home = Home::new();
    let mut shell = home.command("bash");
    // The README's reader has nothing set: everything is below the home.
    shell
        .env_remove("SEALMOOT_CONFIG_DIR")
        .env_remove("SEALMOOT_DATA_DIR");
    let printed = console::run(shell, &steps);
    let wrong: Vec<String> = steps
        .iter()
        .zip(&printed)
        .filter_map(|(step, printed)| console::compare(step, printed).err())
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
