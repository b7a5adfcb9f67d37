//! A small share of what runs as a release binary in volume.

use std::process::Command;

fn nemesis(arguments: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_nemesis"))
        .args(arguments.split(' '))
        .output()
        .expect("it starts");
    let told = String::from_utf8_lossy(&output.stdout);
    for line in told.lines().filter(|line| line.starts_with("SKIPPED")) {
        eprintln!("{line}");
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}:\n{told}\n{errors}");
}

#[test]
fn a_history_under_faults_is_linearizable() {
    nemesis("histories --count 1 --seconds 4");
}

#[test]
fn a_power_cut_of_one_two_and_three_nodes_loses_nothing() {
    nemesis("power --count 3");
}
