//! Prints how often a call of each framework allocates. A program of its own:
//! its allocator counts, and what is timed keeps the one that is shipped.
//!
//! `call_allocations`

use sealmoot_peers::calls::allocations::{Allocated, show};

fn main() {
    show(|work| {
        let counted = allocation_counter::measure(work);
        Allocated {
            count: counted.count_total,
            bytes: counted.bytes_total,
        }
    });
}
