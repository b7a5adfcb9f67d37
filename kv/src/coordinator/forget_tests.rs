//! Forgetting deleted keys, and all that must stop it.

use super::by_hand::*;
use super::*;
use crate::record::Record;
use crate::register::Change;

const SOON: u64 = WALL_MS + 1_000;
/// By now nobody may ask for the outcomes of [`write_and_delete`].
pub(super) const LATER: u64 = WALL_MS + 5_000;

/// A key that was written and deleted: revision 2.
pub(super) fn write_and_delete(replicas: &mut [Prompt], reach: &[usize]) -> Hand {
    let mut hand = Hand::new(0, WALL_MS);
    let change = Change::Put(Bytes::from_static(b"old"));
    hand.run(replicas, &ALL, asked(1, 1, SOON, change))
        .expect("written");
    hand.run(replicas, reach, asked(1, 2, SOON, Change::Delete))
        .expect("deleted");
    hand
}

/// One sweep over the key at `member`, with `reach` within reach.
pub(super) fn sweep(
    hand: &mut Hand,
    replicas: &mut [Prompt],
    reach: &[usize],
) -> Result<Answer, Failure> {
    hand.run(replicas, reach, Command::Forget { key: KEY })
}

fn forget(replicas: &mut [Prompt]) -> Hand {
    let mut hand = Hand::new(2, LATER);
    assert_eq!(
        sweep(&mut hand, replicas, &ALL),
        Ok(Answer::Forgotten(false))
    );
    assert_eq!(
        sweep(&mut hand, replicas, &ALL),
        Ok(Answer::Forgotten(true))
    );
    hand
}

fn counts(replicas: &[Prompt]) -> Vec<usize> {
    replicas
        .iter()
        .map(|replica| replica.replica.len())
        .collect()
}

#[test]
fn a_deleted_key_is_purged_then_forgotten_and_stays_so_after_a_restart() {
    let mut replicas = Prompt::three();
    write_and_delete(&mut replicas, &ALL);
    let mut hand = forget(&mut replicas);
    assert_eq!(counts(&replicas), [0, 0, 0]);
    for replica in &mut replicas {
        replica.restart();
    }
    assert_eq!(counts(&replicas), [0, 0, 0]);
    hand.now.wall_ms += 10_000;
    assert_eq!(text(hand.run(&mut replicas, &ALL, read())), None);
}

#[test]
fn a_key_that_is_written_again_goes_on_above_its_old_revision() {
    let mut replicas = Prompt::three();
    write_and_delete(&mut replicas, &ALL);
    let mut hand = forget(&mut replicas);
    assert_eq!(
        revision(hand.run(&mut replicas, &[1, 2], put(5, 1, "new"))),
        Some(3)
    );
    assert_eq!(
        text(Hand::new(0, LATER + 100).run(&mut replicas, &ALL, read())).as_deref(),
        Some("new")
    );
}

#[test]
fn nothing_is_forgotten_while_a_member_is_missing() {
    let mut replicas = Prompt::three();
    write_and_delete(&mut replicas, &[0, 1]);
    let mut hand = Hand::new(0, LATER);
    for _ in 0..3 {
        assert!(sweep(&mut hand, &mut replicas, &[0, 1]).is_err());
    }
    assert_eq!(counts(&replicas), [1, 1, 1]);
    // When it is back, it first learns of the deletion.
    assert_eq!(
        sweep(&mut hand, &mut replicas, &ALL),
        Ok(Answer::Forgotten(false))
    );
    assert_eq!(
        sweep(&mut hand, &mut replicas, &ALL),
        Ok(Answer::Forgotten(true))
    );
    assert_eq!(counts(&replicas), [0, 0, 0]);
}

#[test]
fn nothing_is_forgotten_while_its_outcomes_may_be_asked_for() {
    let mut replicas = Prompt::three();
    let mut hand = write_and_delete(&mut replicas, &ALL);
    for _ in 0..3 {
        assert_eq!(
            sweep(&mut hand, &mut replicas, &ALL),
            Ok(Answer::Forgotten(false))
        );
    }
    let before = replicas[1].appended.len();
    assert_eq!(counts(&replicas), [1, 1, 1]);
    assert!(
        !replicas[1].appended[..before]
            .iter()
            .any(|record| matches!(record, Record::Condemned { .. }))
    );
}

#[test]
fn a_key_that_exists_is_not_forgotten() {
    let mut replicas = Prompt::three();
    let mut hand = Hand::new(0, WALL_MS);
    hand.run(&mut replicas, &ALL, put(1, 1, "v"))
        .expect("written");
    assert_eq!(
        sweep(&mut hand, &mut replicas, &ALL),
        Ok(Answer::Forgotten(false))
    );
    assert_eq!(
        text(hand.run(&mut replicas, &ALL, read())).as_deref(),
        Some("v")
    );
}

/// The driver dies between the removals: some members have nothing, others a
/// condemned tombstone. Readers see no key and repair nothing; a later sweep ends it.
#[test]
fn a_half_done_removal_reads_as_absent_and_is_finished_by_the_next_sweep() {
    let mut replicas = Prompt::three();
    write_and_delete(&mut replicas, &ALL);
    let mut hand = Hand::new(2, LATER);
    sweep(&mut hand, &mut replicas, &ALL).expect("purged");
    hand.begin(Command::Forget { key: KEY });
    // Reads, then marks; of the removals one arrives.
    hand.deliver(&mut replicas, &ALL, &[LATER; 3]);
    hand.deliver(&mut replicas, &ALL, &[LATER; 3]);
    assert!(
        hand.outbox
            .iter()
            .all(|(_, _, request)| matches!(request, Request::Remove { .. }))
    );
    hand.deliver_only(&mut replicas, &[0]);
    assert_eq!(counts(&replicas), [0, 1, 1]);
    let mut reader = Hand::new(0, LATER + 100);
    let sent = reader.sent;
    assert_eq!(text(reader.run(&mut replicas, &[0, 1], read())), None);
    assert_eq!(reader.sent - sent, 2, "two questions and no repair");
    assert_eq!(counts(&replicas), [0, 1, 1]);
    // The marks are durable.
    for replica in &mut replicas {
        replica.restart();
    }
    let mut next = Hand::new(0, LATER + 10_000);
    assert_eq!(
        sweep(&mut next, &mut replicas, &ALL),
        Ok(Answer::Forgotten(true))
    );
    assert_eq!(counts(&replicas), [0, 0, 0]);
}

/// A member that missed the deletion answers first, with what it still holds. Before
/// the next one answers the tombstone reaches all members and is forgotten: that one
/// has nothing. The deletion was acknowledged before the reader asked.
fn across_a_removal(question: Command, quorums: Quorums) -> Result<Answer, Failure> {
    let mut replicas = Prompt::three();
    write_and_delete(&mut replicas, &[0, 1]);
    let mut reader = Hand::with_quorums(2, LATER, quorums);
    reader.begin(question);
    let (own, others): (Vec<_>, Vec<_>) = std::mem::take(&mut reader.outbox)
        .into_iter()
        .partition(|(member, ..)| *member == 2);
    assert!(!own.is_empty() && !others.is_empty());
    reader.outbox = own;
    reader.deliver(&mut replicas, &ALL, &[LATER; 3]);
    forget(&mut replicas);
    assert_eq!(counts(&replicas), [0, 0, 0]);
    reader.now.wall_ms += 10_000;
    reader.outbox.extend(others);
    for _ in 0..20 {
        reader.deliver(&mut replicas, &ALL, &[reader.now.wall_ms; 3]);
        if let Some(result) = reader.finished.pop() {
            return result;
        }
        if reader.outbox.is_empty() {
            reader.pass(60);
        }
    }
    panic!("the question does not end");
}

/// With W = 1 a single member's old state looks chosen, too.
fn settings() -> [Quorums; 2] {
    [
        Quorums::majority(3),
        Quorums::new(3, 1, 3).expect("1 + 3 > 3"),
    ]
}

#[test]
fn a_read_across_a_removal_does_not_return_what_was_deleted_before() {
    for quorums in settings() {
        for level in [Level::Linearizable, Level::Quorum] {
            let answer = across_a_removal(Command::Read { key: KEY, level }, quorums);
            assert_eq!(text(answer), None, "{level:?} {quorums:?}");
        }
    }
}

#[test]
fn a_list_across_a_removal_does_not_show_what_was_deleted_before() {
    for quorums in settings() {
        for level in [Level::Linearizable, Level::Quorum] {
            let list = Command::List {
                prefix: Bytes::from_static(b"app/"),
                after: Bytes::new(),
                limit: 10,
                level,
            };
            match across_a_removal(list, quorums) {
                Ok(Answer::Listed { entries, .. }) => {
                    assert_eq!(entries, [], "{level:?} {quorums:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A member that was away when a key was written holds nothing of it. That another
/// key was removed since says nothing of this one while the state is above the floor.
#[test]
fn a_member_that_never_held_a_key_costs_a_quorum_read_nothing() {
    let mut replicas = Prompt::three();
    write_and_delete(&mut replicas, &ALL);
    forget(&mut replicas);
    let mut writer = Hand::new(0, LATER + 10_000);
    let written = revision(writer.run(&mut replicas, &[0, 1], put(5, 1, "new")));
    assert_eq!(written, Some(3));
    let mut reader = Hand::new(2, LATER + 10_100);
    let quorum = Command::Read {
        key: KEY,
        level: Level::Quorum,
    };
    let answer = reader.run(&mut replicas, &ALL, quorum);
    assert_eq!(text(answer).as_deref(), Some("new"));
    assert_eq!(reader.sent, 2, "two questions");
    assert_eq!(counts(&replicas), [1, 1, 0]);
}

#[test]
fn a_write_between_mark_and_removal_clears_the_mark() {
    let mut replicas = Prompt::three();
    write_and_delete(&mut replicas, &ALL);
    let mut hand = Hand::new(2, LATER);
    sweep(&mut hand, &mut replicas, &ALL).expect("purged");
    hand.begin(Command::Forget { key: KEY });
    hand.deliver(&mut replicas, &ALL, &[LATER; 3]);
    hand.deliver(&mut replicas, &ALL, &[LATER; 3]);
    // Now the removals are under way, and somebody writes at two members.
    let mut writer = Hand::new(0, LATER + 100);
    assert_eq!(
        revision(writer.run(&mut replicas, &[0, 1], put(5, 1, "new"))),
        Some(3)
    );
    hand.deliver(&mut replicas, &ALL, &[LATER; 3]);
    assert_eq!(hand.finished.pop(), Some(Ok(Answer::Forgotten(false))));
    for reach in [[0, 2], [1, 2], [0, 1]] {
        let mut reader = Hand::new(reach[0], LATER + 200);
        assert_eq!(
            text(reader.run(&mut replicas, &reach, read())).as_deref(),
            Some("new")
        );
    }
}

#[test]
fn a_tombstone_that_is_not_condemned_is_not_removed() {
    let mut replicas = Prompt::three();
    write_and_delete(&mut replicas, &ALL);
    let (ballot, register) = replicas[0].holds(&KEY);
    let remove = Request::Remove {
        key: KEY,
        ballot,
        revision: register.revision,
        epoch: EPOCH,
    };
    assert!(matches!(
        replicas[0].ask(WALL_MS, remove),
        Reply::Refused { .. }
    ));
    // Nor is one condemned whose window is not empty, or that is no tombstone.
    let condemn = Request::Condemn {
        key: KEY,
        ballot,
        epoch: EPOCH,
    };
    assert!(matches!(
        replicas[0].ask(WALL_MS, condemn),
        Reply::Refused { .. }
    ));
}

/// A member was away when the window was purged, and something younger was removed there
/// since: its floor is above the tombstone, which it will not take any more.
#[test]
fn a_tombstone_that_a_member_cannot_take_any_more_gets_a_younger_ballot() {
    let mut replicas = Prompt::three();
    write_and_delete(&mut replicas, &ALL);
    let mut hand = Hand::new(0, LATER);
    assert!(sweep(&mut hand, &mut replicas, &ALL).is_ok());
    let purged = replicas[0].holds(&KEY).0;
    // The third has an older state, as if it had been away, and a high floor: it
    // restarted.
    let mut third = Prompt::three().remove(2);
    let prepared = Ballot {
        clock: purged.clock.plus_ms(1_000),
        ..purged
    };
    third.ask(
        LATER,
        Request::Prepare {
            key: Bytes::from_static(b"app/other"),
            ballot: prepared,
        },
    );
    third.restart();
    replicas[2] = third;
    hand.now.wall_ms += 10_000;
    let mut ends = Vec::new();
    for _ in 0..2 {
        ends.push(sweep(&mut hand, &mut replicas, &ALL));
    }
    assert_eq!(
        ends,
        [Ok(Answer::Forgotten(false)), Ok(Answer::Forgotten(true))]
    );
    assert_eq!(counts(&replicas), [0, 0, 0]);
}

/// Deleting keys that do not exist leaves a promise for each at every member.
#[test]
fn promises_for_keys_that_hold_nothing_are_let_go() {
    let mut replicas = Prompt::three();
    let mut hand = Hand::new(0, WALL_MS);
    let absent = hand.run(
        &mut replicas,
        &ALL,
        asked(1, 1, 100 * WALL_MS, Change::Delete),
    );
    assert!(matches!(absent, Ok(Answer::Written { .. })), "{absent:?}");
    assert_eq!(counts(&replicas), [1, 1, 1]);
    let young = hand.coordinator.clock(WALL_MS);
    for (before, left) in [(Clock::from_ms(WALL_MS - 1), 1), (young.plus_ms(1), 0)] {
        let replica = &mut replicas[1].replica;
        replica.drop_promises(&Bytes::new(), None, before);
        assert_eq!(replica.len(), left);
    }
    // What was promised still stands.
    let ballot = Ballot {
        epoch: EPOCH,
        clock: Clock::from_ms(WALL_MS - 1),
        proposer: Proposer { node: 1, start: 1 },
    };
    let accept = Request::Accept {
        key: KEY,
        ballot,
        state: crate::register::Register::default(),
        next: None,
        epoch: EPOCH,
    };
    assert!(matches!(
        replicas[1].ask(WALL_MS, accept),
        Reply::Refused { .. }
    ));
    // Those that hold something stay.
    hand.run(&mut replicas, &ALL, put(5, 1, "v")).expect("put");
    let replica = &mut replicas[1].replica;
    replica.drop_promises(&Bytes::new(), None, young.plus_ms(60_000));
    assert_eq!(replica.len(), 1);
}

#[test]
fn marks_and_removals_far_ahead_of_the_clock_are_refused() {
    let mut replicas = Prompt::three();
    let wild = Ballot {
        epoch: EPOCH,
        clock: Clock(u64::MAX),
        proposer: Proposer { node: 9, start: 9 },
    };
    for request in [
        Request::Condemn {
            key: KEY,
            ballot: wild,
            epoch: EPOCH,
        },
        Request::Remove {
            key: KEY,
            ballot: wild,
            revision: 1,
            epoch: EPOCH,
        },
    ] {
        let reply = replicas[0].ask(WALL_MS, request);
        assert!(matches!(reply, Reply::ClockTooFar { .. }), "{reply:?}");
    }
    let written = Hand::new(0, WALL_MS).run(&mut replicas, &ALL, put(5, 1, "v"));
    assert_eq!(revision(written), Some(1));
}

#[test]
fn a_replica_offers_old_tombstones_only() {
    let mut replicas = Prompt::three();
    write_and_delete(&mut replicas, &ALL);
    let offered = |before, now| {
        let (keys, next) = replicas[0].replica.forgettable(
            &Bytes::new(),
            Clock::from_ms(before),
            Clock::from_ms(now),
            |_| true,
            10,
        );
        assert_eq!(next, None);
        keys
    };
    assert!(
        offered(LATER, WALL_MS).is_empty(),
        "outcomes may be asked for"
    );
    assert!(offered(WALL_MS - 1, LATER).is_empty(), "too young");
    assert_eq!(offered(LATER, LATER), [KEY]);
}
