//! Told to end, it leaves nothing behind.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The binaries may have to be built first.
const PATIENCE: Duration = Duration::from_secs(400);

fn hosts_of(process: u32) -> Vec<String> {
    let listed = Command::new("ip").args(["netns", "list"]).output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    let prefix = format!("moot{process}");
    String::from_utf8_lossy(&listed)
        .lines()
        .filter(|line| line.starts_with(&prefix))
        .map(str::to_owned)
        .collect()
}

/// Whether anything runs on the first host.
fn is_host_in_use(process: u32) -> bool {
    let host = format!("moot{process}h0");
    let listed = Command::new("ip").args(["netns", "pids", &host]).output();
    listed.is_ok_and(|output| !output.stdout.is_empty())
}

#[test]
fn a_signal_ends_it_without_hosts_left_behind() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut nemesis = Command::new(env!("CARGO_BIN_EXE_nemesis"))
            .args(["histories", "--count", "1", "--seconds", "60"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it was built");
        let began = Instant::now();
        while !is_host_in_use(nemesis.id()) && began.elapsed() < PATIENCE {
            if nemesis.try_wait().expect("its own child").is_some() {
                let output = nemesis.wait_with_output().expect("it ended");
                let told = String::from_utf8_lossy(&output.stdout);
                assert!(told.contains("SKIPPED"), "{told}");
                eprintln!(
                    "SKIPPED a_signal_ends_it_without_hosts_left_behind: no hosts can be made here"
                );
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let killed = Command::new("kill")
            .args([&format!("-{signal}"), &nemesis.id().to_string()])
            .status();
        assert!(killed.is_ok_and(|status| status.success()));
        let status = nemesis.wait().expect("its own child");
        assert_eq!(status.code(), Some(code), "{signal}");
        assert_eq!(hosts_of(nemesis.id()), Vec::<String>::new(), "{signal}");
    }
}
