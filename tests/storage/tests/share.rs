//! A small share of what runs in volume as a release binary.

use sealmoot_storage::{flips, model};

#[test]
fn the_engine_agrees_with_a_map_and_another_database_through_crashes() {
    for seed in 0..4 {
        let done = model::run(seed, 6_000);
        assert!(done.crashes > 0 && done.openings > done.crashes, "{done:?}");
    }
}

#[test]
fn a_changed_bit_is_told_or_has_no_effect() {
    let small = flips::Small::new(1);
    let found = small.flip(17, 997);
    assert!(found.flips > 100, "{found:?}");
    assert!(found.at_opening > 0 && found.at_reading > 0, "{found:?}");
}
