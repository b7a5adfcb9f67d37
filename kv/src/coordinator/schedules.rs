//! One schedule for each rule that can be taken out: the few steps after which its
//! absence shows. Each says whether the store kept its word; with the rule in place
//! it does, and in a build with mutants it does not without.

use super::by_hand::*;
use super::forget_tests::{LATER, sweep, write_and_delete};
use super::*;
use crate::mutant::Mutant;
use crate::register::{Change, Expectation, Register};

/// Whether the store kept its word, or in what it did not.
type Verdict = Result<(), &'static str>;

type Schedule = fn() -> Verdict;

fn demand(holds: bool, what: &'static str) -> Verdict {
    holds.then_some(()).ok_or(what)
}

/// Who reads at members 0 and 1, much later.
fn late_reader() -> Hand {
    Hand::new(1, WALL_MS + 50_000)
}

fn retry_after_another_write() -> Verdict {
    let mut replicas = Prompt::three();
    let (mut one, mut two) = (Hand::new(0, WALL_MS), Hand::new(1, WALL_MS + 10));
    one.run(&mut replicas, &ALL, put(7, 1, "mine"))
        .expect("written");
    two.run(&mut replicas, &ALL, put(9, 1, "theirs"))
        .expect("written");
    let retried = two.run(&mut replicas, &ALL, again(put(7, 1, "mine")));
    let now = text(late_reader().run(&mut replicas, &ALL, read()));
    demand(
        revision(retried) == Some(1) && now.as_deref() == Some("theirs"),
        "a retry acted a second time",
    )
}

fn retry_after_its_deadline() -> Verdict {
    let mut replicas = Prompt::three();
    let change = || Change::Put(Bytes::from_static(b"mine"));
    let mine = || asked(7, 1, WALL_MS + 1_000, change());
    Hand::new(0, WALL_MS)
        .run(&mut replicas, &ALL, mine())
        .expect("written");
    // By now its entry is evicted.
    let mut later = Hand::new(1, WALL_MS + 2_000);
    later
        .run(&mut replicas, &ALL, put(9, 1, "theirs"))
        .expect("written");
    let retried = later.run(&mut replicas, &ALL, again(mine()));
    let now = text(late_reader().run(&mut replicas, &ALL, read()));
    demand(
        retried.is_err() && now.as_deref() == Some("theirs"),
        "a retry past its deadline acted a second time",
    )
}

fn earlier_attempt_after_a_later_write() -> Verdict {
    let mut replicas = Prompt::three();
    let change = |value: &'static str| Change::Put(Bytes::from_static(value.as_bytes()));
    let first = || asked(7, 1, 100 * WALL_MS, change("first"));
    // The first attempt hangs on its way to its coordinator; a retry elsewhere
    // succeeds.
    let mut other = Hand::new(1, WALL_MS + 10);
    other
        .run(&mut replicas, &ALL, again(first()))
        .expect("written");
    let second = asked(7, 2, WALL_MS + 1_000, change("second"));
    other.run(&mut replicas, &ALL, second).expect("written");
    let mut third = Hand::new(2, WALL_MS + 2_000);
    third
        .run(&mut replicas, &ALL, put(9, 1, "third"))
        .expect("written");
    // Only now does the first attempt arrive, well within its deadline.
    let mut hanging = Hand::new(0, WALL_MS + 3_000);
    drop(hanging.run(&mut replicas, &ALL, first()));
    let now = text(late_reader().run(&mut replicas, &ALL, read()));
    demand(
        now.as_deref() == Some("third"),
        "an earlier write of a client acted after a later one",
    )
}

fn read_of_what_one_member_holds() -> Verdict {
    let mut replicas = Prompt::three();
    let mut lost = Hand::new(0, WALL_MS);
    lost.begin(put(9, 1, "one"));
    lost.deliver(&mut replicas, &ALL, &CLOCKS);
    lost.deliver_only(&mut replicas, &[2]);
    let seen = text(Hand::new(2, WALL_MS + 10).run(&mut replicas, &[0, 2], read()));
    let then = text(Hand::new(1, WALL_MS + 20).run(&mut replicas, &[0, 1], read()));
    demand(
        seen.is_none() || seen == then,
        "a later read saw less than an earlier one",
    )
}

fn read_at_a_member_that_missed_the_write() -> Verdict {
    let mut replicas = Prompt::three();
    let mut hand = Hand::new(0, WALL_MS);
    hand.run(&mut replicas, &[0, 1], put(9, 1, "one"))
        .expect("written");
    let seen = text(Hand::new(2, WALL_MS + 10).run(&mut replicas, &[1, 2], read()));
    demand(seen.is_some(), "a read missed an acknowledged write")
}

fn power_cut_right_after_the_accept() -> Verdict {
    let mut replicas = Prompt::three();
    let mut hand = Hand::new(0, WALL_MS);
    hand.begin(put(9, 1, "one"));
    hand.deliver(&mut replicas, &ALL, &CLOCKS);
    for (member, call, request) in std::mem::take(&mut hand.outbox) {
        let mut effects = Vec::new();
        if let Some(reply) = replicas[member].ask_without_sync(WALL_MS, request) {
            hand.coordinator
                .reply(hand.now, call, member, reply, &mut effects);
        }
        hand.take(effects);
    }
    for replica in &mut replicas {
        replica.restart();
    }
    let acknowledged = hand.finished.first().is_some_and(Result::is_ok);
    let seen = text(late_reader().run(&mut replicas, &ALL, read()));
    demand(
        !acknowledged || seen.is_some(),
        "an acknowledged write was lost",
    )
}

fn cas_that_fails_by_what_was_never_chosen() -> Verdict {
    let mut replicas = Prompt::three();
    let mut lost = Hand::new(0, WALL_MS);
    lost.begin(put(9, 1, "one"));
    lost.deliver(&mut replicas, &ALL, &CLOCKS);
    lost.deliver_only(&mut replicas, &[2]);
    let change = Change::CompareAndSet(Expectation::Absent, Bytes::from_static(b"two"));
    let mut hand = Hand::new(2, WALL_MS + 10);
    let answer = hand.run(&mut replicas, &[0, 2], asked(7, 1, 100 * WALL_MS, change));
    let conflict = matches!(answer, Ok(Answer::Written { .. })) && revision(answer).is_none();
    let then = text(Hand::new(1, WALL_MS + 20).run(&mut replicas, &[0, 1], read()));
    demand(
        !conflict || then.is_some(),
        "a cas failed by a value that no later read sees",
    )
}

fn two_cas_across_a_restart() -> Verdict {
    let mut replicas = Prompt::three();
    Hand::new(2, WALL_MS)
        .run(&mut replicas, &ALL, put(9, 1, "zero"))
        .expect("written");
    let cas = |client| {
        let change = Change::CompareAndSet(Expectation::Revision(1), Bytes::from_static(b"n"));
        asked(client, 1, 100 * WALL_MS, change)
    };
    // The earlier one prepares at 0 and 2, the later one at 0 and 1.
    let (mut early, mut late) = (Hand::new(1, WALL_MS + 10), Hand::new(0, WALL_MS + 20));
    early.begin(cas(1));
    early.deliver_only(&mut replicas, &[0, 2]);
    late.begin(cas(2));
    late.deliver_only(&mut replicas, &[0, 1]);
    // Member 0 forgets both promises, and must not take the earlier accept.
    replicas[0].restart();
    early.deliver_only(&mut replicas, &[0, 2]);
    late.deliver_only(&mut replicas, &[0, 1]);
    let won = |hand: &Hand| {
        matches!(
            hand.finished.first(),
            Some(Ok(Answer::Written {
                outcome: crate::register::Outcome::Written { .. },
                ..
            }))
        )
    };
    demand(
        !(won(&early) && won(&late)),
        "two cas of one revision both won",
    )
}

fn two_puts_by_two_clients() -> Verdict {
    let mut replicas = Prompt::three();
    let mut hand = Hand::new(0, WALL_MS);
    let first = revision(hand.run(&mut replicas, &ALL, put(1, 1, "one")));
    let mut other = Hand::new(1, WALL_MS + 10);
    let second = revision(other.run(&mut replicas, &ALL, put(2, 1, "two")));
    demand(first < second, "a revision was given twice")
}

fn warm_attempt_without_answer() -> Verdict {
    let mut replicas = Prompt::three();
    let mut hand = Hand::new(0, WALL_MS);
    hand.run(&mut replicas, &ALL, put(1, 1, "one"))
        .expect("written");
    hand.begin(put(1, 2, "lost"));
    // Member 0 takes it, and nobody hears of that.
    for (member, _, request) in std::mem::take(&mut hand.outbox) {
        if member == 0 {
            let _ = replicas[0].ask(WALL_MS, request);
        }
    }
    hand.pass(61_000);
    hand.begin(put(2, 1, "next"));
    for _ in 0..6 {
        hand.deliver(&mut replicas, &[0, 1], &[hand.now.wall_ms; 3]);
        hand.pass(100);
    }
    let held: Vec<(Ballot, Register)> = ALL
        .iter()
        .map(|member| replicas[*member].holds(&KEY))
        .collect();
    let same =
        |one: &(Ballot, Register), other: &(Ballot, Register)| one.0 != other.0 || one.1 == other.1;
    let agree = held
        .iter()
        .all(|one| held.iter().all(|other| same(one, other)));
    demand(agree, "two members hold different states under one ballot")
}

/// Forgets the key as far as the members within reach allow.
fn forget(replicas: &mut [Prompt], reach: &[usize]) {
    let mut hand = Hand::new(reach[0], LATER);
    for _ in 0..2 {
        drop(sweep(&mut hand, replicas, reach));
    }
}

fn cas_that_arrives_after_the_key_was_forgotten() -> Verdict {
    let mut replicas = Prompt::three();
    let soon = WALL_MS + 1_000;
    let change = Change::Put(Bytes::from_static(b"old"));
    let mut hand = Hand::new(0, WALL_MS);
    hand.run(&mut replicas, &ALL, asked(1, 1, soon, change))
        .expect("written");
    // A cas of revision 1 is promised everywhere, and its accepts are delayed.
    let change = Change::CompareAndSet(Expectation::Revision(1), Bytes::from_static(b"cas"));
    let mut delayed = Hand::new(1, WALL_MS + 10);
    delayed.begin(asked(2, 1, soon, change));
    delayed.deliver(&mut replicas, &ALL, &CLOCKS);
    let change = Change::Put(Bytes::from_static(b"newer"));
    let mut hand = Hand::new(0, WALL_MS + 20);
    hand.run(&mut replicas, &ALL, asked(1, 2, soon, change))
        .expect("written");
    hand.run(&mut replicas, &ALL, asked(1, 3, soon, Change::Delete))
        .expect("deleted");
    forget(&mut replicas, &ALL);
    delayed.deliver(&mut replicas, &ALL, &[LATER; 3]);
    let won = delayed
        .finished
        .pop()
        .is_some_and(|answer| revision(answer).is_some());
    let seen = text(late_reader().run(&mut replicas, &ALL, read()));
    demand(
        !won && seen.is_none(),
        "a message of before the removal brought a deleted key back",
    )
}

fn forgetting_without_one_member() -> Verdict {
    let mut replicas = Prompt::three();
    write_and_delete(&mut replicas, &[0, 1]);
    forget(&mut replicas, &[0, 1]);
    let seen = text(late_reader().run(&mut replicas, &[1, 2], read()));
    demand(seen.is_none(), "a deleted value came back")
}

fn writing_again_after_forgetting() -> Verdict {
    let mut replicas = Prompt::three();
    write_and_delete(&mut replicas, &ALL);
    forget(&mut replicas, &ALL);
    let again = revision(late_reader().run(&mut replicas, &ALL, put(5, 1, "new")));
    demand(again > Some(2), "a revision was given twice")
}

/// Each schedule, and the rules without which it ends badly.
const SCHEDULES: &[(Schedule, &[Mutant])] = &[
    (retry_after_another_write, &[Mutant::NoOperationWindow]),
    (retry_after_its_deadline, &[Mutant::WindowIgnoresDeadlines]),
    (
        earlier_attempt_after_a_later_write,
        &[Mutant::ReplacedEntryKeepsOwnDeadline],
    ),
    (
        read_of_what_one_member_holds,
        &[Mutant::ReadWithoutWriteBack],
    ),
    (
        read_at_a_member_that_missed_the_write,
        &[Mutant::MinorityRead],
    ),
    (
        power_cut_right_after_the_accept,
        &[Mutant::AcknowledgedBeforeSync],
    ),
    (
        cas_that_fails_by_what_was_never_chosen,
        &[Mutant::OutcomeBeforeAccept],
    ),
    (
        two_cas_across_a_restart,
        &[Mutant::NoPromiseCeiling, Mutant::RecordIgnoresFloor],
    ),
    (two_puts_by_two_clients, &[Mutant::BlindPutWithoutPrepare]),
    (warm_attempt_without_answer, &[Mutant::CachedBallotReused]),
    (
        cas_that_arrives_after_the_key_was_forgotten,
        &[Mutant::NoFloorAtRemoval],
    ),
    (forgetting_without_one_member, &[Mutant::RemovalAtQuorum]),
    (writing_again_after_forgetting, &[Mutant::RevisionsRestart]),
];

#[test]
fn every_schedule_ends_well_with_all_rules_in_place() {
    for (schedule, mutants) in SCHEDULES {
        assert_eq!(schedule(), Ok(()), "{mutants:?}");
    }
}

#[cfg(feature = "mutants")]
#[test]
fn every_schedule_ends_badly_without_its_rule() {
    for (schedule, mutants) in SCHEDULES {
        for mutant in *mutants {
            crate::mutant::choose(Some(*mutant));
            let verdict = schedule();
            crate::mutant::choose(None);
            assert!(verdict.is_err(), "{mutant:?} goes unnoticed");
        }
    }
}
