//! How much memory an attack made this process take. Resident memory, because an
//! allocator that counts would need unsafe code.

//!
//! What one attack has freed the next would take without anything to show for it.
//! So a test that counts runs itself again in a process of its own.

use std::env;
use std::fs;
use std::process::Command;

/// Set in such a process.
const ALONE: &str = "SEALMOOT_HOSTILE_ALONE";

/// Whether the test has run in a process of its own: it is then over. To be asked
/// on the thread of the test, which has its name.
pub fn ran_alone() -> bool {
    if env::var_os(ALONE).is_some() {
        return false;
    }
    let name = std::thread::current().name().expect("a test").to_owned();
    let child = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", &name, "--nocapture", "--include-ignored"])
        .env(ALONE, "1")
        .output()
        .expect("this program runs");
    let (stdout, stderr) = (child.stdout, child.stderr);
    let stdout = String::from_utf8_lossy(&stdout);
    eprintln!("{}", String::from_utf8_lossy(&stderr));
    assert!(child.status.success(), "{stdout}");
    assert!(stdout.contains("1 passed"), "{name}: {stdout}");
    true
}

/// What was resident when the attack began.
pub struct Before(Option<u64>);

/// Forgets the peak so far.
pub fn before() -> Before {
    // 5 resets the peak (Linux, proc(5), clear_refs).
    let is_reset = fs::write("/proc/self/clear_refs", "5").is_ok();
    Before(read(if is_reset { "VmRSS:" } else { "VmHWM:" }))
}

impl Before {
    /// That no more than so many MiB came to it at any time since.
    pub fn assert_grew_at_most(&self, mebibytes: u64, what: &str) {
        let (Some(before), Some(peak)) = (self.0, read("VmHWM:")) else {
            eprintln!("SKIPPED memory of {what}: the system does not tell");
            return;
        };
        let grown = peak.saturating_sub(before) / 1024;
        eprintln!("{what}: {grown} MiB");
        assert!(grown <= mebibytes, "{what} took {grown} MiB");
    }
}

/// In KiB.
fn read(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
