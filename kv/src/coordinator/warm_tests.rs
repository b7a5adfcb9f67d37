//! Writes that skip their prepare, and all that must make them prepare again.

use super::by_hand::*;
use super::*;
use crate::record::Record;

/// A coordinator whose next write of [`KEY`] is warm.
fn warmed(replicas: &mut [Prompt]) -> Hand {
    let mut hand = Hand::new(0, WALL_MS);
    assert_eq!(
        revision(hand.run(replicas, &ALL, put(1, 1, "one"))),
        Some(1)
    );
    assert_eq!(hand.coordinator.warm_keys(), 1);
    hand
}

fn all_are(outbox: &[(usize, CallId, Request)], matches: impl Fn(&Request) -> bool) -> bool {
    outbox.len() == 3 && outbox.iter().all(|(_, _, request)| matches(request))
}

fn is_accept(request: &Request) -> bool {
    matches!(request, Request::Accept { .. })
}

fn is_prepare(request: &Request) -> bool {
    matches!(request, Request::Prepare { .. })
}

#[test]
fn a_warm_put_takes_one_round_trip_one_record_and_one_sync() {
    let mut replicas = Prompt::three();
    let mut hand = warmed(&mut replicas);
    for (sequence, value) in [(2, "two"), (3, "three"), (4, "four")] {
        let (sent, before) = (hand.sent, replicas[1].appended.len());
        let syncs = replicas[1].syncs;
        hand.begin(put(1, sequence, value));
        assert!(all_are(&hand.outbox, is_accept));
        hand.deliver(&mut replicas, &ALL, &CLOCKS);
        assert_eq!(revision(hand.finished.remove(0)), Some(sequence));
        assert_eq!(hand.sent - sent, 3, "one message to each member");
        let appended = &replicas[1].appended[before..];
        assert!(
            matches!(appended, [Record::Accepted { .. }]),
            "{appended:?}"
        );
        assert_eq!(replicas[1].syncs - syncs, 1);
    }
    let mut elsewhere = Hand::new(2, WALL_MS + 10);
    assert_eq!(
        text(elsewhere.run(&mut replicas, &ALL, read())).as_deref(),
        Some("four")
    );
}

#[test]
fn a_cold_put_takes_two_round_trips() {
    let mut replicas = Prompt::three();
    let mut hand = Hand::new(0, WALL_MS);
    hand.run(&mut replicas, &ALL, put(1, 1, "one"))
        .expect("written");
    assert_eq!(hand.sent, 6);
}

#[test]
fn another_coordinator_in_between_makes_the_next_write_prepare() {
    let mut replicas = Prompt::three();
    let mut hand = warmed(&mut replicas);
    let mut other = Hand::new(1, WALL_MS + 10);
    assert_eq!(
        revision(other.run(&mut replicas, &ALL, put(2, 1, "theirs"))),
        Some(2)
    );
    // The warm attempt is refused, the next prepares and sees what came between.
    assert_eq!(
        revision(hand.run(&mut replicas, &ALL, put(1, 2, "mine"))),
        Some(3)
    );
    assert_eq!(
        text(other.run(&mut replicas, &ALL, read())).as_deref(),
        Some("mine")
    );
}

#[test]
fn a_read_that_sees_something_newer_drops_the_ballot() {
    let mut replicas = Prompt::three();
    let mut hand = warmed(&mut replicas);
    let mut other = Hand::new(1, WALL_MS + 10);
    other
        .run(&mut replicas, &ALL, put(2, 1, "theirs"))
        .expect("written");
    hand.run(&mut replicas, &ALL, read()).expect("read");
    assert_eq!(hand.coordinator.warm_keys(), 0);
}

#[test]
fn a_member_that_restarted_refuses_what_it_had_promised() {
    let mut replicas = Prompt::three();
    let mut hand = warmed(&mut replicas);
    for replica in &mut replicas {
        replica.restart();
    }
    hand.begin(put(1, 2, "two"));
    assert!(all_are(&hand.outbox, is_accept));
    hand.deliver(&mut replicas, &ALL, &CLOCKS);
    assert!(hand.finished.is_empty(), "{:?}", hand.finished);
    hand.now.wall_ms += 10_000;
    for _ in 0..20 {
        hand.pass(100);
        let clocks = [hand.now.wall_ms; 3];
        hand.deliver(&mut replicas, &ALL, &clocks);
    }
    assert_eq!(revision(hand.finished.remove(0)), Some(2));
}

#[test]
fn a_ballot_is_not_used_again_after_an_attempt_that_got_no_answer() {
    let mut replicas = Prompt::three();
    let mut hand = warmed(&mut replicas);
    hand.begin(put(1, 2, "lost"));
    assert!(all_are(&hand.outbox, is_accept));
    hand.outbox.clear();
    hand.pass(61_000);
    assert_eq!(
        hand.finished.remove(0).expect_err("unknown").kind,
        FailureKind::OutcomeUnknown
    );
    hand.begin(put(2, 1, "next"));
    assert!(all_are(&hand.outbox, is_prepare));
}

#[test]
fn a_write_that_would_reach_too_few_prepares_and_ends_with_certainty() {
    let mut replicas = Prompt::three();
    let mut hand = warmed(&mut replicas);
    hand.coordinator.connected(1, false);
    hand.coordinator.connected(2, false);
    let failure = hand
        .run(&mut replicas, &[0], put(1, 2, "two"))
        .expect_err("refused");
    let expected = FailureKind::NoQuorum {
        answered: 1,
        needed: 2,
    };
    assert_eq!(failure.kind, expected);
}

#[test]
fn a_deadline_is_judged_by_the_present_clock_not_by_the_ballot() {
    let mut replicas = Prompt::three();
    let mut hand = warmed(&mut replicas);
    hand.pass(5_000);
    let change = crate::register::Change::Put(Bytes::from_static(b"late"));
    let late = asked(1, 2, WALL_MS + 1_000, change);
    let failure = hand.run(&mut replicas, &ALL, late).expect_err("refused");
    assert_eq!(failure.kind, FailureKind::DeadlinePassed);
}

#[test]
fn fewer_promises_than_a_prepare_needs_leave_no_warm_ballot() {
    let mut replicas = Prompt::three();
    // W = 1: a write is over with one answer, but P = 3 must promise.
    let quorums = Quorums::new(3, 1, 3).expect("they overlap");
    let mut hand = Hand::with_quorums(0, WALL_MS, quorums);
    hand.begin(put(1, 1, "one"));
    hand.deliver(&mut replicas, &ALL, &CLOCKS);
    hand.deliver_only(&mut replicas, &[0, 1]);
    assert_eq!(hand.finished.len(), 1);
    hand.begin(put(1, 2, "two"));
    assert!(all_are(&hand.outbox, is_prepare));
}

#[test]
fn promises_that_come_after_the_answer_still_count() {
    let mut replicas = Prompt::three();
    let quorums = Quorums::new(3, 1, 3).expect("they overlap");
    let mut hand = Hand::with_quorums(0, WALL_MS, quorums);
    hand.run(&mut replicas, &ALL, put(1, 1, "one"))
        .expect("written");
    hand.deliver(&mut replicas, &ALL, &CLOCKS);
    hand.begin(put(1, 2, "two"));
    assert!(all_are(&hand.outbox, is_accept));
}

#[test]
fn a_cas_that_fails_on_a_warm_ballot_is_answered_after_one_round_of_accepts() {
    let mut replicas = Prompt::three();
    let mut hand = warmed(&mut replicas);
    let expectation = crate::register::Expectation::Absent;
    let change = crate::register::Change::CompareAndSet(expectation, Bytes::new());
    hand.begin(asked(3, 1, 100 * WALL_MS, change));
    assert!(all_are(&hand.outbox, is_accept) && hand.finished.is_empty());
    hand.deliver(&mut replicas, &ALL, &CLOCKS);
    let Some(Ok(Answer::Written { outcome, .. })) = hand.finished.first() else {
        panic!("{:?}", hand.finished);
    };
    assert_eq!(*outcome, crate::register::Outcome::Conflict { revision: 1 });
}
