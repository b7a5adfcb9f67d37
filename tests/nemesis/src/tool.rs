//! Running the system's tools.

use std::process::Command;

/// Runs a tool to its end; of a failure tells what it said.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> Result<(), String> {
    said(tool, arguments).map(|_| ())
}

/// The same, and what it said.
pub(crate) fn said(tool: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(tool)
        .args(arguments)
        .output()
        .map_err(|error| format!("{tool}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{tool} {}: {}", arguments.join(" "), said.trim()))
}

/// The same of one line whose words are parted at spaces.
pub(crate) fn run_line(line: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    let tool = words.next().unwrap_or_default();
    run(tool, &words.collect::<Vec<_>>())
}
