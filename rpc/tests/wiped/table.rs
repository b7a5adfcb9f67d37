//! What rustls and ring leave of a TLS connection, counted.

use std::collections::BTreeMap;

use super::core::{Finding, Place};
use super::tls::{Side, connection};

/// Our own keys, and what both ends agreed on: gone.
const OURS: [&str; 5] = [
    "Ed25519 seed",
    "Ed25519 scalar",
    "Ed25519 prefix",
    "ML-KEM secret",
    "X25519 secret",
];

/// In how many places what is called `name` may be left, at most: about half
/// as many more as were counted, so that a change is noticed.
pub(crate) struct Bound {
    name: &'static str,
    heap: usize,
    stack: usize,
}

impl Bound {
    pub(crate) const fn new(name: &'static str, heap: usize, stack: usize) -> Self {
        Self { name, heap, stack }
    }
}

/// One connection of a client or a server: prints what is left, asserts that
/// nothing is ours, and that the rest is not more than it was.
pub(crate) fn judge(side: Side, bounds: &[Bound]) {
    let measured = connection(side);
    // The search sees a connection's keys while it is open.
    for name in ["AEAD key", "traffic secret", "exporter secret"] {
        let is_there = |finding: &Finding| finding.name == name && finding.place == Place::Heap;
        assert!(measured.open.iter().any(is_there), "{side:?}: no {name}");
    }
    let seed = |finding: &Finding| finding.name == "Ed25519 seed";
    assert!(measured.open.iter().any(seed), "{side:?}: no key");

    let mut counts: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for finding in &measured.closed {
        let count = counts.entry(&finding.name).or_default();
        count[finding.place as usize] += 1;
    }
    println!("{side:?}, after everything is dropped: stack, heap, elsewhere, registers");
    for (name, count) in &counts {
        println!("  {name:<16} {count:?}");
    }
    for name in OURS {
        assert!(
            !counts.contains_key(name),
            "{side:?} left {name}: {:#?}",
            measured.closed
        );
    }
    for (name, [stack, heap, elsewhere, _]) in counts {
        let bound = bounds
            .iter()
            .find(|bound| bound.name == name)
            .unwrap_or_else(|| panic!("{side:?} left {name}: {:#?}", measured.closed));
        assert!(heap <= bound.heap, "{side:?}: {name} on the heap: {heap}");
        assert!(
            stack <= bound.stack,
            "{side:?}: {name} on the stack: {stack}"
        );
        assert_eq!(elsewhere, 0, "{side:?}: {name}");
    }
}
