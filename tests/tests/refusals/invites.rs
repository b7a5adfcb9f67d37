//! Invites that are forged, foreign, used or too old.

use std::fs;

use sealmoot_tests::binaries::Program;
use sealmoot_tests::cluster::{Cluster, invite};
use sealmoot_tests::command::Outcome;
use sealmoot_tests::files::Flipped;
use sealmoot_tests::home::Home;
use sealmoot_tests::ports::Ports;
use sealmoot_tests::random::Random;

use crate::assert_serves;

/// Answers the invite in this file as another machine would.
fn join_elsewhere(invite: &std::path::Path) -> (Home, Outcome) {
    let elsewhere = Home::new();
    elsewhere.secret("x.invite", fs::read(invite).expect("an invite"));
    let outcome = elsewhere.kvd("join x.invite --data x -o json");
    (elsewhere, outcome)
}

#[test]
fn a_changed_invite_is_refused_wherever_it_is_changed() {
    let home = Home::new();
    let _ = home.realm("acme");
    let ports = Ports::reserve(3);
    invite(&home, &ports, "").succeeded();
    let path = home.path("n1.invite");
    let length = fs::metadata(&path).expect("there").len();
    let mut random = Random::of_test("invites");
    for step in 0..60 {
        let offset = if step < 10 {
            step
        } else {
            random.below(length)
        };
        let flipped = Flipped::at(&path, offset, 1 << random.below(8));
        let outcome = home.kvd("join n1.invite --data n1 -o json");
        assert_eq!(outcome.exit, 4, "byte {offset} changed: {outcome:?}");
        outcome.refused(4, "invite_invalid");
        flipped.restore();
    }
    for content in [&b""[..], b"no invite", &[0xff; 300]] {
        home.secret("bad.invite", content);
        home.kvd("join bad.invite --data n1 -o json")
            .refused(4, "invite_invalid");
    }
    let whole = fs::read(&path).expect("there");
    for length in [1, whole.len() / 2, whole.len() - 1] {
        home.secret("bad.invite", &whole[..length]);
        home.kvd("join bad.invite --data n1 -o json")
            .refused(4, "invite_invalid");
    }
    let missing = home.kvd("join none.invite --data n1 -o json");
    assert!([2, 3].contains(&missing.exit), "{missing:?}");
    assert!(
        !home.path("n1/identity").exists(),
        "a refused invite made a node"
    );
    assert!(
        !home.path("config/nodes").exists(),
        "a refused invite made a key"
    );
}

#[test]
fn an_invite_of_another_realm_than_the_pinned_one_is_refused() {
    let home = Home::new();
    let _ = home.realm("acme");
    let ports = Ports::reserve(3);
    invite(&home, &ports, "").succeeded();
    let other = Home::new().realm("acme");
    let join = format!("join n1.invite --data n1 --realm {other} -o json");
    home.kvd(&join).refused(4, "wrong_realm");
    assert!(home.path("n1.invite").exists(), "the invite is gone");
}

#[test]
fn a_used_invite_is_refused_and_the_cluster_goes_on() {
    let mut cluster = Cluster::form();
    let copy = cluster.home.path("n1.copy");
    // While the rightful node runs, its address is taken.
    let (_elsewhere, outcome) = join_elsewhere(&copy);
    assert!([2, 4].contains(&outcome.exit), "{outcome:?}");
    assert_serves(&cluster, "invites/x");

    cluster.stop(0);
    let (_elsewhere, outcome) = join_elsewhere(&copy);
    outcome.refused(4, "invite_used");
    let (_elsewhere, again) = join_elsewhere(&copy);
    again.refused(4, "invite_used");

    cluster.start(&[0]);
    assert_serves(&cluster, "invites/x");
}

#[test]
fn an_invite_of_another_realm_with_the_same_addresses_is_refused() {
    let mut cluster = Cluster::form();
    let impostor = Home::new();
    let _ = impostor.realm("acme");
    invite(&impostor, &cluster.ports, "").succeeded();
    cluster.stop(0);
    impostor
        .kvd("join n1.invite --data n1 -o json")
        .refused(4, "invite_invalid");
    cluster.start(&[0]);
    assert_serves(&cluster, "invites/y");
}

#[test]
fn a_newer_call_to_the_same_addresses_does_not_reach_the_formed_cluster() {
    let mut cluster = Cluster::form();
    cluster.invite("--out again").succeeded();
    cluster.stop(0);
    let again = cluster.home.path("again/n1.invite");
    let (_elsewhere, outcome) = join_elsewhere(&again);
    outcome.refused(4, "invite_invalid");
    cluster.start(&[0]);
    assert_serves(&cluster, "invites/z");
}

#[test]
fn an_expired_invite_is_refused() {
    let home = Home::new();
    let _ = home.realm("acme");
    let ports = Ports::reserve(3);
    invite(&home, &ports, "--ttl 1s").succeeded();
    // A node that came in time waits for the others until the time is up.
    let waiting = home
        .run(Program::Kvd, "join n2.invite --data n2 -o json")
        .start();
    waiting.finish().failed(4, "invite_expired");
    home.kvd("join n1.invite --data n1 -o json")
        .refused(4, "invite_expired");
    let again = home.kvd("join n3.invite --data n3 -o json");
    again.refused(4, "invite_expired");
    assert!(
        !home.path("n3/identity").exists(),
        "an expired invite made a node"
    );
    for ttl in ["0s", "-1s", "soon"] {
        let refused = invite(&home, &ports, &format!("--out x --ttl={ttl} -o json"));
        refused.refused(2, "usage");
    }
}

#[test]
fn a_directory_that_holds_a_node_is_not_joined_again() {
    let mut cluster = Cluster::form();
    cluster.stop(0);
    cluster.home.secret(
        "n1.invite",
        fs::read(cluster.home.path("n1.copy")).expect("a copy"),
    );
    cluster
        .home
        .kvd("join n1.invite --data n1 -o json")
        .refused(8, "exists");
    cluster.start(&[0]);
    assert_serves(&cluster, "invites/again");
}
