//! Secrets are gone from this process's memory when their holders are.
//!
//! Each case makes a secret, uses it and drops it, deep down the stack; then the
//! whole memory of the process is searched. Linux only, because only there a
//! process can read its own memory as a file; elsewhere the test says that it was
//! skipped.

#[cfg(target_os = "linux")]
#[path = "zeroization/cases.rs"]
mod cases;
#[cfg(target_os = "linux")]
#[path = "zeroization/libraries.rs"]
mod libraries;
#[cfg(target_os = "linux")]
#[path = "zeroization/memory.rs"]
mod memory;

#[cfg(target_os = "linux")]
#[test]
fn helper_process() {
    libraries::help();
}

#[cfg(not(target_os = "linux"))]
#[test]
fn secrets_are_wiped() {
    eprintln!("SKIPPED secrets_are_wiped: only Linux shows a process its memory");
}
