//! What the libraries leave when every freed piece of heap is wiped, as in the
//! project's binaries.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "the other test program uses the rest")]
#[path = "zeroization/libraries.rs"]
mod libraries;
#[allow(dead_code, reason = "the other test program uses the rest")]
#[path = "zeroization/memory.rs"]
mod memory;

use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

#[test]
fn helper_process() {
    libraries::help();
}

#[test]
fn nothing_is_left_on_the_heap() {
    let lines = libraries::table("left in memory, by an allocator that wipes:");
    for line in lines {
        assert_eq!(
            line.residue.elsewhere, 0,
            "{}: {:?}",
            line.what, line.residue
        );
    }
}
