//! Roles as child processes; their memory and processor time.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::field::FIELD;

/// Clock ticks a second in `/proc/PID/stat`: 100 on every Linux that is common.
const TICKS_PER_SECOND: u64 = 100;

/// This program in another role. Killed when dropped.
pub(crate) struct Role {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Role {
    /// Starts it; `field` is where the server is, when there is one already.
    pub(crate) fn start(arguments: &[&str], field: &str) -> Self {
        let program = std::env::current_exe().expect("the program knows where it is");
        let mut child = Command::new(program)
            .args(arguments)
            .env(FIELD, field)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts itself");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            child,
            input,
            output,
        }
    }

    /// Its next line; empty when it has ended.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line
    }

    /// Its next line as JSON; nothing when it has ended.
    pub(crate) fn report(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap_or(Value::Null)
    }

    /// Writes it a line.
    pub(crate) fn ask(&mut self) {
        let input = self.input.as_mut().expect("open until dropped");
        // A role that has died shows by its missing answer.
        let _ = input.write_all(b"\n").and_then(|()| input.flush());
    }

    /// Waits until it has ended by itself.
    pub(crate) fn join(mut self) {
        self.input = None;
        let _ = self.child.wait();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time that process `id` has used; zero when it is gone.
pub(crate) fn cpu_time(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    parse_cpu_time(&stat).unwrap_or_default()
}

fn parse_cpu_time(stat: &str) -> Option<Duration> {
    // The name, in brackets, may hold anything.
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(
        (user + system) * 1000 / TICKS_PER_SECOND,
    ))
}

/// Time that the host of a virtual machine took from all its processors so far,
/// in clock ticks; zero where the kernel does not say.
pub(crate) fn stolen_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    parse_stolen_ticks(&stat).unwrap_or(0)
}

fn parse_stolen_ticks(stat: &str) -> Option<u64> {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    all.split_whitespace().nth(7)?.parse().ok()
}

/// Resident memory of process `id` in KiB: now (`VmRSS`) and at most (`VmHWM`).
pub(crate) fn memory_kib(id: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    (
        parse_memory(&status, "VmRSS:").unwrap_or(0),
        parse_memory(&status, "VmHWM:").unwrap_or(0),
    )
}

fn parse_memory(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Lets the peak begin anew, so that each siege has its own. Without the right
/// to do so the peaks are those since the start, which judges more strictly.
pub(crate) fn forget_peak(id: u32) {
    let _ = fs::write(format!("/proc/{id}/clear_refs"), "5");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_cpu_time("7 (x) S 1"), None);
        assert_eq!(parse_cpu_time(""), None);
    }

    #[test]
    fn stolen_time_is_that_of_all_processors() {
        let stat = "cpu  1 2 3 4 5 6 7 88 0 0\ncpu0 0 0 0 0 0 0 0 44 0 0\n";
        assert_eq!(parse_stolen_ticks(stat), Some(88));
        assert_eq!(parse_stolen_ticks("cpu  1 2 3\n"), None);
        assert_eq!(parse_stolen_ticks(""), None);
    }

    #[test]
    fn memory_is_found_by_its_name() {
        let status = "VmPeak:\t 9 kB\nVmHWM:\t    1234 kB\nVmRSS:\t  99 kB\n";
        assert_eq!(parse_memory(status, "VmHWM:"), Some(1234));
        assert_eq!(parse_memory(status, "VmRSS:"), Some(99));
        assert_eq!(parse_memory(status, "VmData:"), None);
    }

    #[test]
    fn a_process_reads_its_own() {
        let (now, most) = memory_kib(std::process::id());
        assert!(now > 0 && most >= now, "{now} {most}");
    }
}
