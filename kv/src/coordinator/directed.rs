//! Directed schedules: the few steps that bring a rare fault about, in order.

use super::by_hand::*;
use super::*;
use crate::register::{Change, Expectation, Operation as Write, OperationId, Outcome};
use crate::replica::{Effect as ReplicaEffect, Replay};

fn write(key: Bytes, client: u8, change: Change) -> Command {
    Command::Write {
        key,
        operation: Write {
            id: OperationId {
                client: [client; 16],
                sequence: 1,
            },
            deadline: Clock::from_ms(100 * WALL_MS),
            change,
        },
        fresh: true,
    }
}

/// A cas is proposed to a minority; the next attempt sees none of it. Whatever is
/// answered then must stay true when the minority's state is taken up later.
#[test]
fn a_cas_that_was_answered_conflict_never_happens() {
    let clocks = [WALL_MS; 3];
    let mut replicas = Prompt::three();
    // A put reaches member 2 only, and its coordinator is never heard of again.
    let mut lost = Hand::new(0, WALL_MS);
    lost.begin(write(KEY, 9, Change::Put(Bytes::from_static(b"one"))));
    lost.deliver(&mut replicas, &[0, 1, 2], &clocks);
    lost.outbox.retain(|(member, _, _)| *member == 2);
    lost.deliver(&mut replicas, &[2], &clocks);

    // The first attempt sees it and proposes; only member 2 takes that.
    let mut hand = Hand::new(0, WALL_MS + 100);
    let expectation = Expectation::Revision(1);
    let change = Change::CompareAndSet(expectation, Bytes::from_static(b"two"));
    hand.begin(write(KEY, 7, change));
    hand.outbox.reverse();
    hand.deliver(&mut replicas, &[0, 2], &clocks);
    hand.deliver(&mut replicas, &[2], &clocks);
    // The next attempts see members 0 and 1, which hold nothing.
    for _ in 0..6 {
        hand.pass(100);
        hand.deliver(&mut replicas, &[0, 1], &clocks);
    }
    let Some(Ok(Answer::Written { outcome, .. })) = hand.finished.first() else {
        panic!("{:?}", hand.finished);
    };
    assert_eq!(*outcome, Outcome::Conflict { revision: 0 });

    let mut reader = Hand::new(2, WALL_MS + 1_000);
    reader.begin(Command::Read {
        key: KEY,
        level: Level::Linearizable,
    });
    for _ in 0..12 {
        reader.deliver(&mut replicas, &[1, 2], &clocks);
        reader.pass(100);
    }
    let Some(Ok(Answer::Value(register))) = reader.finished.first() else {
        panic!("{:?}", reader.finished);
    };
    assert_eq!(register.value, None);
}

/// A member whose clock is an hour ahead promised its own ballot of a key. Nobody
/// follows it, and the other two go on.
#[test]
fn a_wild_clock_stops_no_other_coordinator() {
    let wild = WALL_MS + 3_600_000;
    let clocks = [WALL_MS, WALL_MS, wild];
    let mut replicas = Prompt::three();
    let mut ahead = Hand::new(2, wild);
    ahead.begin(write(KEY, 9, Change::Put(Bytes::from_static(b"x"))));
    ahead.deliver(&mut replicas, &[0, 1, 2], &clocks);

    let mut hand = Hand::new(0, WALL_MS + 10);
    for key in [KEY, Bytes::from_static(b"app/y")] {
        hand.begin(write(key, 8, Change::Put(Bytes::from_static(b"y"))));
        for _ in 0..8 {
            hand.deliver(&mut replicas, &[0, 1, 2], &clocks);
            hand.pass(50);
        }
    }
    assert_eq!(hand.finished.len(), 2);
    assert!(
        hand.finished.iter().all(Result::is_ok),
        "{:?}",
        hand.finished
    );
}

/// After a restart every ballot that may have been promised is refused, although
/// no single promise was written.
#[test]
fn a_restart_forgets_no_promise() {
    let mut replica = Prompt::three().remove(0);
    let ballot = |clock| Ballot {
        epoch: EPOCH,
        clock: Clock::from_ms(clock),
        proposer: Proposer { node: 2, start: 2 },
    };
    let prepare = |clock| Request::Prepare {
        key: KEY,
        ballot: ballot(clock),
    };
    assert!(matches!(
        replica.ask(WALL_MS, prepare(WALL_MS + 5)),
        Reply::Holds { .. }
    ));
    // What a log that was replayed says: one ceiling, and no promise.
    let mut effects = Vec::new();
    let mut fresh = Replay::default().finish(EPOCH, 0);
    fresh.request(WALL_MS, 1, prepare(WALL_MS + 5), &mut effects);
    let Some(ReplicaEffect::Append(1, ceiling)) = effects.pop() else {
        panic!("{effects:?}");
    };
    let mut replay = Replay::default();
    replay.record(ceiling);
    let mut restarted = replay.finish(EPOCH, 1);
    for clock in [WALL_MS, WALL_MS + 5, WALL_MS + 6] {
        let accept = Request::Accept {
            key: KEY,
            ballot: ballot(clock),
            state: crate::register::Register::default(),
            next: None,
            epoch: EPOCH,
        };
        for request in [prepare(clock), accept] {
            let mut effects = Vec::new();
            restarted.request(WALL_MS, 1, request, &mut effects);
            assert!(
                matches!(
                    effects[..],
                    [ReplicaEffect::Reply(1, Reply::Refused { .. })]
                ),
                "{effects:?}"
            );
        }
    }
}
