//! Noise: nothing is left, under any allocator.

use sealmoot_rpc::noise::{Hash, Pattern, Suite};

use crate::wiped::core::Place;
use crate::wiped::noise::{Side, Spoiled, controls, patterns, session, suites};

fn nothing_is_left(suite: Suite, side: Side, spoiled: Option<Spoiled>) {
    let mut found = session(suite, side, spoiled);
    // What the child itself moves into place goes through registers, and stays
    // there when nothing is computed afterwards.
    let moved = ["static key", "ephemeral key", "KEM randomness"];
    found.retain(|finding| {
        let is_input = moved.iter().any(|name| finding.name.ends_with(name));
        finding.place != Place::Registers || !is_input
    });
    assert!(
        found.is_empty(),
        "{suite}, {side:?}, {spoiled:?}: {} places {found:#?}",
        found.len()
    );
}

// The one control that an allocator changes is its own binary's.
#[test]
fn the_search_finds_what_is_kept_and_what_is_left_on_the_stack() {
    let [kept, _freed, wiped, left] = controls();
    assert_eq!(kept, [(Place::Heap, 32)]);
    assert_eq!(wiped, []);
    assert_eq!(left, [(Place::Stack, 32)]);
}

#[test]
fn a_whole_session_leaves_nothing_with_its_initiator() {
    for suite in suites() {
        nothing_is_left(suite, Side::Initiator, None);
    }
}

#[test]
fn a_whole_session_leaves_nothing_with_its_responder() {
    for suite in suites() {
        nothing_is_left(suite, Side::Responder, None);
    }
}

#[test]
fn a_handshake_that_is_refused_leaves_nothing_with_its_initiator() {
    for &pattern in patterns() {
        for spoiled in [Spoiled::Tag, Spoiled::Truncated] {
            nothing_is_left(Suite::new(pattern), Side::Initiator, Some(spoiled));
        }
    }
    let blake2s = Suite {
        hash: Hash::Blake2s,
        ..Suite::new(Pattern::Ik)
    };
    nothing_is_left(blake2s, Side::Initiator, Some(Spoiled::Tag));
}

#[test]
fn a_handshake_that_is_refused_leaves_nothing_with_its_responder() {
    for &pattern in patterns() {
        for spoiled in [Spoiled::Tag, Spoiled::Truncated] {
            nothing_is_left(Suite::new(pattern), Side::Responder, Some(spoiled));
        }
    }
    for pattern in [Pattern::Ik, Pattern::Kk] {
        nothing_is_left(
            Suite::new(pattern),
            Side::Responder,
            Some(Spoiled::Retagged),
        );
    }
}

#[test]
fn a_responder_with_another_key_than_the_one_looked_for_leaves_nothing() {
    let suite = Suite::new(Pattern::Xx);
    nothing_is_left(suite, Side::Initiator, Some(Spoiled::WrongStatic));
}

#[test]
fn a_handshake_that_is_dropped_half_way_leaves_nothing() {
    for &pattern in patterns() {
        nothing_is_left(Suite::new(pattern), Side::Initiator, Some(Spoiled::Dropped));
    }
    let xx = Suite::new(Pattern::Xx);
    nothing_is_left(xx, Side::Responder, Some(Spoiled::Dropped));
}
