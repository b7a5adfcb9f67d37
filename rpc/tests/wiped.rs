//! Secrets are gone from memory after their last use, under the system's
//! allocator: see `wiped/mod.rs`. Linux only.
#![allow(missing_docs)]

#[cfg(target_os = "linux")]
#[path = "wiped/sessions.rs"]
mod sessions;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "the test of logs uses the rest")]
#[path = "wiped/mod.rs"]
mod wiped;

#[cfg(not(target_os = "linux"))]
#[test]
fn secrets_are_wiped() {
    eprintln!("SKIPPED secrets_are_wiped: only Linux shows a process's memory");
}

#[cfg(target_os = "linux")]
mod tests {
    use super::wiped::core::Place;
    use super::wiped::noise::controls;
    use super::wiped::table::{Bound, judge};
    use super::wiped::tls::Side;

    // What freed memory still holds is found, so that its absence means something.
    #[test]
    fn the_search_finds_what_was_freed() {
        let [_, freed, ..] = controls();
        assert!(
            matches!(freed[..], [(Place::Heap, 64..)]),
            "the allocator overwrites the beginning: {freed:?}"
        );
    }

    const BOUNDS: [Bound; 3] = [
        Bound::new("AEAD key", 6, 20),
        Bound::new("traffic secret", 14, 30),
        Bound::new("exporter secret", 6, 12),
    ];

    #[test]
    fn a_connector_leaves_nothing_of_its_own() {
        judge(Side::Client, &BOUNDS);
    }

    #[test]
    fn a_server_leaves_nothing_of_its_own() {
        judge(Side::Server, &BOUNDS);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn child_process() {
    wiped::child();
}
