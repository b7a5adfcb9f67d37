//! What is left when it is told to end in the middle: hosts, their processes, mounted
//! disks and directories. It takes all of it away before it ends, and at its start
//! whatever another one left that was killed outright.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use crate::tool::{run, said};

/// What the names of all its hosts begin with, before the number of its process.
const PREFIX: &str = "moot";
/// A host of a probe that the start makes.
const PROBE: &str = "moot-probe-";

/// The directory of the run that is under way.
static DIRECTORY: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Told to end: whatever fails from then on is of its own making.
static TOLD: AtomicBool = AtomicBool::new(false);
/// Held while hosts are made, and for good once they are taken away.
static HOSTS: Mutex<()> = Mutex::new(());

/// No hosts are taken away as long as this is held.
pub(crate) fn making_hosts() -> MutexGuard<'static, ()> {
    HOSTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns unless it was told to end; then the thread that heard it ends the process.
pub(crate) fn give_way() {
    while TOLD.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// What the names of the hosts of this process begin with.
pub(crate) fn prefix() -> String {
    format!("{PREFIX}{}", std::process::id())
}

/// The host of this process's probe.
pub(crate) fn probe() -> String {
    format!("{PROBE}{}", std::process::id())
}

/// From now on the run's files are below this directory.
pub(crate) fn remember_directory(directory: PathBuf) {
    *DIRECTORY.lock().unwrap_or_else(PoisonError::into_inner) = Some(directory);
}

/// Waits beside everything else for the signals that ask a process to end, and then
/// leaves nothing behind.
///
/// # Errors
/// When the signals cannot be waited for.
pub(crate) fn watch_signals() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let entered = runtime.enter();
    // From here on they do not end the process by themselves.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    drop(entered);
    thread::spawn(move || {
        let number = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
                _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
            }
        });
        TOLD.store(true, Ordering::SeqCst);
        let _hosts = making_hosts();
        eprintln!("nemesis: told to end; the hosts are taken away");
        take_away(&prefix());
        let directory = DIRECTORY.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = &*directory {
            unmount_below(directory);
            let _ = std::fs::remove_dir_all(directory);
        }
        std::process::exit(128 + number);
    });
    Ok(())
}

/// Takes away the hosts of processes that are no more.
pub(crate) fn clean_leftovers() {
    let is_running = |process: u32| Path::new(&format!("/proc/{process}")).exists();
    for prefix in left_behind(&hosts(), is_running) {
        eprintln!("nemesis: {prefix}... were left behind, and are taken away");
        take_away(&prefix);
    }
}

/// What the names of the hosts begin with whose process does not run.
fn left_behind(hosts: &[String], is_running: impl Fn(u32) -> bool) -> BTreeSet<String> {
    let owner = |host: &String| {
        let (kind, rest) = match host.strip_prefix(PROBE) {
            Some(rest) => (PROBE, rest),
            None => (PREFIX, host.strip_prefix(PREFIX)?),
        };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, place) = rest.split_at(digits);
        let is_ours = match kind {
            PROBE => place.is_empty(),
            _ => place == "s" || place.strip_prefix('h').is_some_and(is_number),
        };
        let process = number.parse().ok().filter(|_| is_ours)?;
        (!is_running(process)).then(|| format!("{kind}{number}"))
    };
    hosts.iter().filter_map(owner).collect()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Takes away all hosts of one process, and first whatever runs on them.
fn take_away(prefix: &str) {
    let of_prefix = |host: &String| {
        host.strip_prefix(prefix)
            .is_some_and(|place| !place.starts_with(|first: char| first.is_ascii_digit()))
    };
    for host in hosts().iter().filter(|host| of_prefix(host)) {
        let processes = said("ip", &["netns", "pids", host]).unwrap_or_default();
        for process in processes.split_whitespace() {
            let _ = run("kill", &["-KILL", process]);
        }
        let _ = run("ip", &["netns", "delete", host]);
    }
}

/// The names of all hosts of this machine.
fn hosts() -> Vec<String> {
    let list = said("ip", &["netns", "list"]).unwrap_or_default();
    list.lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

fn unmount_below(directory: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for place in places.filter(|place| Path::new(place).starts_with(directory)) {
        let _ = run("umount", &["--lazy", place]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_processes_left_that_are_no_more_is_found_and_nothing_else() {
        let hosts = [
            "moot12s",
            "moot12h0",
            "moot12h3",
            "moot7h1",
            "moot-probe-12",
            "moot-probe-7",
            "moot12",
            "moot12x",
            "moot12h",
            "moothouse",
            "moot12h1b",
            "other12s",
            "moot99999999999999999999s",
        ];
        let hosts: Vec<String> = hosts.map(str::to_owned).to_vec();
        let found = left_behind(&hosts, |process| process == 7);
        let expected = ["moot-probe-12", "moot12"].map(str::to_owned);
        assert_eq!(found, BTreeSet::from(expected));
    }
}
