//! The same when every freed piece of heap is wiped, as in the project's
//! binaries: what rustls and ring leave is then on the stack alone.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

#[path = "wiped/sessions.rs"]
mod sessions;
#[allow(dead_code, reason = "the test of logs uses the rest")]
#[path = "wiped/mod.rs"]
mod wiped;

#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

mod tests {
    use super::wiped::noise::controls;
    use super::wiped::table::{Bound, judge};
    use super::wiped::tls::Side;

    #[test]
    fn the_allocator_wipes_what_is_freed() {
        let [_, freed, ..] = controls();
        assert_eq!(freed, []);
    }

    const BOUNDS: [Bound; 3] = [
        Bound::new("AEAD key", 0, 20),
        Bound::new("traffic secret", 0, 30),
        Bound::new("exporter secret", 0, 12),
    ];

    #[test]
    fn a_connector_leaves_nothing_on_the_heap() {
        judge(Side::Client, &BOUNDS);
    }

    #[test]
    fn a_server_leaves_nothing_on_the_heap() {
        judge(Side::Server, &BOUNDS);
    }
}

#[test]
fn child_process() {
    wiped::child();
}
