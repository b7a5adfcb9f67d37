//! The examples that explain N, W and R, on the machines themselves.

use sealmoot_kv::coordinator::{FailureKind, Level};
use sealmoot_kv::namespace::{BadSettings, decode};
use sealmoot_kv::quorum::{BadQuorum, Quorums};
use sealmoot_kv::register::Outcome;
use sealmoot_simulation::costs::{Request, Situation, count, settings};
use sealmoot_simulation::stage::{self, Cost, Stage};

const KEY: usize = 0;

fn quorums(members: usize, write: usize, read: usize) -> Quorums {
    Quorums::new(members, write, read).expect("they overlap")
}

fn of_three<T>(write: usize, read: usize, act: impl FnOnce(&mut Stage<'_>) -> T) -> T {
    stage::on(3, quorums(3, write, read), act)
}

fn seen(stage: &mut Stage<'_>, node: usize, level: Level) -> Option<String> {
    stage.get(node, KEY, level).expect("enough members answer")
}

fn refusal<T: std::fmt::Debug>(
    result: Result<T, sealmoot_kv::coordinator::Failure>,
) -> FailureKind {
    result.expect_err("too few members").kind
}

/// A write that reaches the replica of node 0, which coordinates it, and no other.
fn put_at_node_0_alone(stage: &mut Stage<'_>, value: &str) -> Result<Outcome, FailureKind> {
    for node in 1..3 {
        stage.cut(0, node);
    }
    stage.give_requests(60);
    let outcome = stage.put(0, KEY, value).map_err(|failure| failure.kind);
    stage.give_requests(1_000);
    stage.heal();
    outcome
}

#[test]
fn two_of_three_write_and_read_while_any_one_is_down() {
    for down in 0..3 {
        of_three(2, 2, |stage| {
            stage.put(0, KEY, "before").expect("all are there");
            stage.stop(down);
            let (one, other) = ((down + 1) % 3, (down + 2) % 3);
            let written = stage.put(one, KEY, "while one is down");
            assert_eq!(written, Ok(Outcome::Written { revision: 2 }));
            for level in [Level::Linearizable, Level::Quorum] {
                for node in [one, other] {
                    let value = seen(stage, node, level);
                    assert_eq!(value.as_deref(), Some("while one is down"));
                }
            }
            stage.start(down);
            // Started again it still lacks the write, and says so to whom one is enough.
            assert_eq!(seen(stage, down, Level::One).as_deref(), Some("before"));
            let value = seen(stage, down, Level::Linearizable);
            assert_eq!(value.as_deref(), Some("while one is down"));
        });
    }
}

#[test]
fn two_of_three_do_nothing_while_two_are_down() {
    of_three(2, 2, |stage| {
        stage.put(0, KEY, "before").expect("all are there");
        stage.stop(1);
        stage.stop(2);
        let no_quorum = FailureKind::NoQuorum {
            answered: 1,
            needed: 2,
        };
        for level in [Level::Linearizable, Level::Quorum] {
            assert_eq!(refusal(stage.get(0, KEY, level)), no_quorum);
        }
        assert_eq!(seen(stage, 0, Level::One).as_deref(), Some("before"));
        stage.give_requests(100);
        // Its ballot was warm: some may hold it, and nobody can say that none does.
        let unknown = refusal(stage.put(0, KEY, "lost"));
        assert_eq!(unknown, FailureKind::OutcomeUnknown);
        assert_eq!(refusal(stage.put(0, KEY, "lost")), no_quorum);
    });
}

#[test]
fn write_all_read_one_reads_alone_and_writes_with_everybody() {
    of_three(3, 1, |stage| {
        stage.put(0, KEY, "one").expect("all are there");
        stage.stop(1);
        stage.stop(2);
        let (value, cost) = stage.get_counted(0, KEY, Level::Quorum);
        assert_eq!(value, Ok(Some("one".to_owned())));
        assert_eq!((cost.trips, cost.messages), (0, 0));
        stage.start(2);
        stage.give_requests(100);
        assert!(stage.put(2, KEY, "two").is_err());
        // A linearizable read has to know that W hold what it returns.
        let read = refusal(stage.get(0, KEY, Level::Linearizable));
        assert!(matches!(read, FailureKind::NoQuorum { needed: 3, .. }));
        stage.start(1);
        assert_eq!(seen(stage, 1, Level::Linearizable).as_deref(), Some("one"));
        let written = stage.put(2, KEY, "two");
        assert_eq!(written, Ok(Outcome::Written { revision: 2 }));
    });
}

#[test]
fn write_all_read_one_steps_back_in_time_at_quorum_and_never_when_linearizable() {
    for level in [Level::Quorum, Level::Linearizable] {
        of_three(3, 1, |stage| {
            stage.put(0, KEY, "old").expect("all are there");
            let outcome = put_at_node_0_alone(stage, "new");
            assert_eq!(outcome, Err(FailureKind::OutcomeUnknown));
            // The write is nowhere acknowledged, and there for whoever asks node 0.
            assert_eq!(seen(stage, 0, level).as_deref(), Some("new"));
            let then = seen(stage, 1, level);
            if level == Level::Quorum {
                assert_eq!(then.as_deref(), Some("old"));
            } else {
                assert_eq!(then.as_deref(), Some("new"));
                assert_eq!(seen(stage, 2, Level::One).as_deref(), Some("new"));
            }
        });
    }
}

#[test]
fn two_of_three_step_back_in_time_at_quorum_and_never_when_linearizable() {
    for level in [Level::Quorum, Level::Linearizable] {
        of_three(2, 2, |stage| {
            stage.put(0, KEY, "old").expect("all are there");
            let outcome = put_at_node_0_alone(stage, "new");
            assert_eq!(outcome, Err(FailureKind::OutcomeUnknown));
            assert_eq!(seen(stage, 0, level).as_deref(), Some("new"));
            let then = seen(stage, 1, level);
            let expected = if level == Level::Quorum { "old" } else { "new" };
            assert_eq!(then.as_deref(), Some(expected));
        });
    }
}

#[test]
fn write_one_read_all_is_acknowledged_by_one_and_seen_by_every_reader() {
    for level in [Level::Quorum, Level::Linearizable] {
        of_three(1, 3, |stage| {
            stage.put(0, KEY, "old").expect("all are there");
            for node in 0..3 {
                // From now on every node knows the settings.
                seen(stage, node, level);
            }
            let outcome = put_at_node_0_alone(stage, "new");
            assert_eq!(outcome, Ok(Outcome::Written { revision: 2 }));
            for node in 0..3 {
                let (value, cost) = stage.get_counted(node, KEY, level);
                assert_eq!(value, Ok(Some("new".to_owned())));
                // One holder is W: nothing is to be repaired at either level.
                assert_eq!((cost.trips, cost.records), (1, 0));
            }
            assert_eq!(seen(stage, 1, Level::One).as_deref(), Some("old"));
        });
    }
}

/// The two levels ask equally many here. What sets them apart is who may be missing:
/// nobody for either, while `one` asks one; and a new coordinator cannot write at all.
#[test]
fn write_one_read_all_reads_nothing_but_one_while_a_member_is_down() {
    of_three(1, 3, |stage| {
        stage.put(0, KEY, "value").expect("all are there");
        stage.stop(2);
        let no_quorum = FailureKind::NoQuorum {
            answered: 2,
            needed: 3,
        };
        for level in [Level::Quorum, Level::Linearizable] {
            assert_eq!(refusal(stage.get(1, KEY, level)), no_quorum);
        }
        assert_eq!(seen(stage, 1, Level::One).as_deref(), Some("value"));
        // A ballot that all have promised before lets its holder write once more.
        let written = stage.put(0, KEY, "warm");
        assert_eq!(written, Ok(Outcome::Written { revision: 2 }));
        for node in [0, 1] {
            assert_eq!(refusal(stage.put(node, KEY, "cold")), no_quorum);
        }
    });
}

#[test]
fn settings_that_are_no_quorum_system_are_refused_each_with_its_reason() {
    let cases = [
        (3, 0, 3, BadQuorum::OutOfRange, "between 1 and N"),
        (3, 3, 0, BadQuorum::OutOfRange, "between 1 and N"),
        (3, 4, 1, BadQuorum::OutOfRange, "between 1 and N"),
        (3, 1, 4, BadQuorum::OutOfRange, "between 1 and N"),
        (0, 1, 1, BadQuorum::OutOfRange, "between 1 and N"),
        (3, 1, 1, BadQuorum::NoOverlap, "miss the last write"),
        (3, 1, 2, BadQuorum::NoOverlap, "miss the last write"),
        (3, 2, 1, BadQuorum::NoOverlap, "miss the last write"),
        (5, 2, 3, BadQuorum::NoOverlap, "miss the last write"),
    ];
    for (members, write, read, bad, reason) in cases {
        assert_eq!(Quorums::new(members, write, read), Err(bad));
        assert!(bad.to_string().contains(reason), "{bad}");
        // Nor does a register that holds them make them settings.
        let mut bytes = vec![1];
        for number in [members, write, read] {
            bytes.extend_from_slice(&(number as u32).to_le_bytes());
        }
        assert_eq!(decode(&bytes), Err(BadSettings::Quorum(bad)));
    }
}

/// The members of a partition may have changed since its namespace was created.
#[test]
fn settings_of_another_number_of_members_keep_their_proportions() {
    let no_quorum = |answered, needed| FailureKind::NoQuorum { answered, needed };
    // A majority of five is a majority of three.
    stage::on(3, quorums(5, 3, 3), |stage| {
        stage.stop(2);
        stage.put(1, KEY, "value").expect("two are there");
        stage.stop(1);
        let alone = refusal(stage.put(0, KEY, "another"));
        assert_eq!(alone, no_quorum(1, 2));
    });
    // All of five are all of three, and one is enough for a read.
    stage::on(3, quorums(5, 5, 1), |stage| {
        stage.put(1, KEY, "value").expect("all are there");
        stage.stop(2);
        let missing = refusal(stage.put(0, KEY, "another"));
        assert_eq!(missing, no_quorum(2, 3));
        stage.stop(1);
        assert_eq!(seen(stage, 0, Level::Quorum).as_deref(), Some("value"));
    });
}

#[test]
fn a_quiet_request_costs_what_the_design_says() {
    for quorums in settings() {
        let members = quorums.members() as u64;
        let asks_others = |replies: usize| u64::from(replies > 1);
        let put = count(quorums, Request::Put, Situation::Quiet);
        let expected = Cost {
            trips: asks_others(quorums.write()),
            sync_waits: 1,
            messages: 2 * (members - 1),
            records: members,
        };
        assert_eq!(put, Some(expected), "{quorums:?}");
        let cold = count(quorums, Request::Put, Situation::Cold);
        let expected = Cost {
            trips: 1 + asks_others(quorums.write()),
            messages: 4 * (members - 1),
            ..expected
        };
        assert_eq!(cold, Some(expected), "{quorums:?}");
        for (level, replies) in [
            (Level::Linearizable, quorums.linearizable_read()),
            (Level::Quorum, quorums.read()),
            (Level::One, 1),
        ] {
            let get = count(quorums, Request::Get(level), Situation::Quiet);
            let expected = Cost {
                trips: asks_others(replies),
                sync_waits: 0,
                messages: 2 * (replies as u64 - 1),
                records: 0,
            };
            assert_eq!(get, Some(expected), "{quorums:?} {level:?}");
        }
    }
}

#[test]
fn contention_costs_a_put_its_warm_ballot_and_a_read_its_repair() {
    let majority = quorums(3, 2, 2);
    let cost = |request, situation| count(majority, request, situation).expect("a quorum");
    let put = cost(Request::Put, Situation::Contended);
    assert_eq!((put.trips, put.sync_waits), (3, 1));
    let get = cost(Request::Get(Level::Linearizable), Situation::Contended);
    assert_eq!((get.trips, get.sync_waits, get.records), (2, 1, 2));
    let get = cost(Request::Get(Level::Quorum), Situation::Contended);
    assert_eq!((get.trips, get.sync_waits, get.records), (1, 0, 0));
}
