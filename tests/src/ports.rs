//! Ports that nobody else takes: below those that the system gives to outgoing
//! connections, and locked against other tests, in this process or another, for
//! as long as they are held, also while no node listens on them.

use std::fs::{self, File};
use std::net::TcpListener;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

const RANGE: Range<u16> = 12_000..32_000;

/// Reserved ports on 127.0.0.1.
#[derive(Debug)]
pub struct Ports {
    numbers: Vec<u16>,
    _locks: Vec<File>,
}

impl Ports {
    /// Reserves `count` ports.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn reserve(count: usize) -> Self {
        // Every process begins elsewhere, so that few candidates are taken.
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let length = RANGE.end - RANGE.start;
        let begin = u16::try_from(std::process::id() % u32::from(length)).expect("it is below");
        let begin = begin.wrapping_add(NEXT.fetch_add(50, Ordering::Relaxed)) % length;
        let candidates = (0..length).map(|step| RANGE.start + (begin + step) % length);
        Self::among(candidates, count)
    }

    /// Reserves the first `count` free ports among `candidates`.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn among(candidates: impl Iterator<Item = u16>, count: usize) -> Self {
        let (numbers, locks): (Vec<u16>, Vec<File>) = candidates
            .filter_map(|number| Some((number, lock(number)?)))
            .take(count)
            .unzip();
        assert_eq!(numbers.len(), count, "too few free ports");
        Self {
            numbers,
            _locks: locks,
        }
    }

    /// The numbers.
    #[must_use]
    pub fn numbers(&self) -> &[u16] {
        &self.numbers
    }

    /// The address with the port of this index.
    #[must_use]
    pub fn address(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.numbers[index])
    }
}

/// The lock on a free port.
fn lock(port: u16) -> Option<File> {
    let directory = directory();
    fs::create_dir_all(&directory).expect("a directory for locks");
    let file = File::create(directory.join(port.to_string())).ok()?;
    file.try_lock().ok()?;
    TcpListener::bind(("127.0.0.1", port)).ok()?;
    Some(file)
}

fn directory() -> PathBuf {
    std::env::temp_dir().join("sealmoot-test-ports")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::poll::eventually;

    #[test]
    fn a_port_is_reserved_once() {
        let first = Ports::reserve(3);
        let again = Ports::among(first.numbers().iter().copied().chain(30_000..31_000), 2);
        for number in again.numbers() {
            assert!(!first.numbers().contains(number));
        }
    }

    #[test]
    fn a_port_that_is_listened_on_is_passed_over() {
        let ports = Ports::reserve(1);
        let number = ports.numbers()[0];
        drop(ports);
        let _listener = TcpListener::bind(("127.0.0.1", number)).expect("it was free");
        let others = Ports::among((number..).take(500), 1);
        assert_ne!(others.numbers()[0], number);
    }

    #[test]
    fn a_dropped_port_is_free_again() {
        let ports = Ports::reserve(1);
        let number = ports.numbers()[0];
        drop(ports);
        // A process that is just being started by another test holds copies of all files.
        eventually("it is free again", Duration::from_secs(60), || lock(number));
    }
}
