//! How often a call asks the allocator for memory, both ends together.

use bytes::Bytes;

use super::all;
use super::place::{MEMORY, NAMES, NOISE, RAW_TLS, TARPC, TLS, TONIC};
use crate::channel::cores::Cores;
use crate::measure::data;

const CALLS: u32 = 10_000;
const WARM_UP_CALLS: u32 = 2_000;
const LINES: [usize; 6] = [TLS, NOISE, MEMORY, TONIC, TARPC, RAW_TLS];

/// What some work allocated.
#[derive(Debug, Clone, Copy)]
pub struct Allocated {
    /// How often.
    pub count: u64,
    /// How much.
    pub bytes: u64,
}

/// Prints allocations a call as `measure` counts them. Both ends are in the one
/// thread in which it is called, so a count by thread sees both.
///
/// # Panics
/// When the system gives no sockets.
pub fn show(measure: impl Fn(&mut dyn FnMut()) -> Allocated) {
    let cores = Cores::one();
    let mut lines = all(&cores);
    println!(
        "{:<20} {:>7} {:>9} {:>17} {:>13}",
        "allocations a call", "body", "in flight", "allocations", "bytes"
    );
    for (size_name, size) in [("64 B", 64), ("16 KiB", 1 << 14)] {
        let body = Bytes::from(data(size));
        for in_flight in [1, 64] {
            for line in LINES {
                let mut call = |calls: u32| {
                    lines[line].burst(&cores, &body, in_flight, calls / in_flight);
                };
                call(WARM_UP_CALLS);
                let allocated = measure(&mut || call(CALLS));
                let made = f64::from(CALLS / in_flight * in_flight);
                println!(
                    "{:<20} {size_name:>7} {in_flight:>9} {:>17.2} {:>13.0}",
                    NAMES[line],
                    allocated.count as f64 / made,
                    allocated.bytes as f64 / made,
                );
            }
        }
    }
}
