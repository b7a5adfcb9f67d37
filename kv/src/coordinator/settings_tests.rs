//! Namespaces: whose settings hold, and that nobody goes by others.

use super::by_hand::*;
use super::*;
use crate::namespace::{encode, register_key};
use crate::register::{Change, Expectation, Operation as Asked, OperationId, Outcome};

const NAME: &[u8] = b"hall";
const HALL_KEY: Bytes = Bytes::from_static(b"hall/1");

fn quorums(write: usize, read: usize) -> Quorums {
    Quorums::new(3, write, read).expect("they overlap")
}

fn write(key: Bytes, client: u8, change: Change) -> Command {
    Command::Write {
        key,
        operation: Asked {
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

fn put_in_hall(client: u8) -> Command {
    write(HALL_KEY, client, Change::Put(Bytes::from_static(b"v")))
}

fn read_in_hall(level: Level) -> Command {
    Command::Read {
        key: HALL_KEY,
        level,
    }
}

fn create(replicas: &mut [Prompt], settings: Quorums) -> Outcome {
    let change = Change::CompareAndSet(Expectation::Absent, encode(settings));
    let command = write(register_key(NAME), 99, change);
    match Hand::new(2, WALL_MS).run(replicas, &ALL, command) {
        Ok(Answer::Written { outcome, .. }) => outcome,
        other => panic!("{other:?}"),
    }
}

fn list(prefix: &'static str) -> Command {
    Command::List {
        prefix: Bytes::from_static(prefix.as_bytes()),
        after: Bytes::new(),
        limit: 10,
        level: Level::Linearizable,
    }
}

fn listed(answer: Result<Answer, Failure>) -> Vec<String> {
    match answer {
        Ok(Answer::Listed { entries, .. }) => entries
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.key).into_owned())
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn write_one_read_all_is_written_at_one_and_read_at_all() {
    let mut replicas = Prompt::three();
    create(&mut replicas, quorums(1, 3));
    let mut hand = Hand::new(0, WALL_MS + 10);
    hand.begin(put_in_hall(1));
    // The settings are read before anything is asked about the key.
    assert!(
        hand.outbox
            .iter()
            .all(|(_, _, request)| matches!(request, Request::Read { .. }))
    );
    hand.deliver(&mut replicas, &ALL, &CLOCKS);
    hand.deliver(&mut replicas, &ALL, &CLOCKS);
    hand.deliver_only(&mut replicas, &[2]);
    assert!(
        matches!(hand.finished[..], [Ok(Answer::Written { acks: 1, .. })]),
        "{:?}",
        hand.finished
    );
    let mut reader = Hand::new(1, WALL_MS + 20);
    let seen = reader.run(&mut replicas, &ALL, read_in_hall(Level::Linearizable));
    assert_eq!(text(seen).as_deref(), Some("v"));
    // One member missing, and the write could be at that one alone.
    let failure = reader
        .run(&mut replicas, &[0, 1], read_in_hall(Level::Quorum))
        .expect_err("refused");
    assert!(
        matches!(failure.kind, FailureKind::NoQuorum { needed: 3, .. }),
        "{failure:?}"
    );
}

#[test]
fn write_all_read_one_needs_all_to_write_and_one_for_a_quorum_read() {
    let mut replicas = Prompt::three();
    create(&mut replicas, quorums(3, 1));
    let mut hand = Hand::new(0, WALL_MS + 10);
    let failure = hand
        .run(&mut replicas, &[0, 1], put_in_hall(1))
        .expect_err("refused");
    // It is known before anything is proposed that one would be missing.
    let expected = FailureKind::NoQuorum {
        answered: 2,
        needed: 3,
    };
    assert_eq!(failure.kind, expected);
    let answer = hand.run(&mut replicas, &ALL, put_in_hall(1));
    assert!(
        matches!(answer, Ok(Answer::Written { acks: 3, .. })),
        "{answer:?}"
    );
    let mut reader = Hand::new(1, hand.now.wall_ms);
    reader
        .coordinator
        .know_namespace(Bytes::from_static(NAME), quorums(3, 1));
    let seen = reader.run(&mut replicas, &[1], read_in_hall(Level::Quorum));
    assert_eq!(text(seen).as_deref(), Some("v"));
}

#[test]
fn the_first_write_settles_the_default_and_later_creation_is_refused() {
    let mut replicas = Prompt::three();
    let mut hand = Hand::new(0, WALL_MS + 10);
    assert_eq!(
        revision(hand.run(&mut replicas, &ALL, put_in_hall(1))),
        Some(1)
    );
    assert_eq!(
        create(&mut replicas, quorums(1, 3)),
        Outcome::Conflict { revision: 1 }
    );
    let (_, register) = replicas[0].holds(&register_key(NAME));
    assert_eq!(register.value, Some(encode(Quorums::majority(3))));
}

#[test]
fn a_read_settles_nothing() {
    let mut replicas = Prompt::three();
    let mut hand = Hand::new(0, WALL_MS + 10);
    let seen = hand.run(&mut replicas, &ALL, read_in_hall(Level::Linearizable));
    assert_eq!(text(seen), None);
    assert_eq!(
        create(&mut replicas, quorums(1, 3)),
        Outcome::Written { revision: 1 }
    );
    // It does not go on by what held when it first looked.
    let failure = hand
        .run(&mut replicas, &[0, 1], read_in_hall(Level::Linearizable))
        .expect_err("refused");
    let expected = FailureKind::NoQuorum {
        answered: 2,
        needed: 3,
    };
    assert_eq!(failure.kind, expected);
}

/// Creation and the first write at once: whichever settles it first, both go by
/// the same.
#[test]
fn a_first_write_that_loses_the_race_goes_by_what_was_created() {
    let mut replicas = Prompt::three();
    let mut hand = Hand::new(0, WALL_MS + 10);
    hand.begin(put_in_hall(1));
    // It finds the register absent; then somebody creates the namespace.
    hand.deliver(&mut replicas, &ALL, &CLOCKS);
    assert_eq!(
        create(&mut replicas, quorums(3, 1)),
        Outcome::Written { revision: 1 }
    );
    for _ in 0..20 {
        hand.deliver(&mut replicas, &ALL, &[WALL_MS + 100; 3]);
        hand.pass(50);
    }
    let answer = hand.finished.first();
    assert!(
        matches!(answer, Some(Ok(Answer::Written { acks: 3, .. }))),
        "{answer:?}"
    );
}

#[test]
fn requests_that_wait_for_settings_share_one_look_up_and_end_by_their_own_time() {
    let mut replicas = Prompt::three();
    let mut hand = Hand::new(0, WALL_MS + 10);
    for client in 1..=3 {
        hand.begin(put_in_hall(client));
    }
    assert_eq!(hand.outbox.len(), 2);
    hand.deliver(&mut replicas, &[0], &CLOCKS);
    hand.deliver(&mut replicas, &[0], &CLOCKS);
    assert_eq!(hand.finished.len(), 3);
    for ended in hand.finished.drain(..) {
        let kind = ended.expect_err("no quorum").kind;
        assert!(matches!(kind, FailureKind::NoQuorum { .. }), "{kind:?}");
    }
    hand.begin(put_in_hall(4));
    hand.outbox.clear();
    // A look-up that gets no answer is made again.
    hand.pass(1_100);
    assert!(!hand.outbox.is_empty());
    hand.outbox.clear();
    hand.pass(60_001);
    let kind = hand.finished.remove(0).expect_err("too late").kind;
    assert_eq!(kind, FailureKind::TimedOut);
}

#[test]
fn settings_that_cannot_be_gone_by_stop_their_namespace_only() {
    let mut replicas = Prompt::three();
    let change = Change::Put(Bytes::from_static(b"\x09nonsense"));
    Hand::new(2, WALL_MS)
        .run(&mut replicas, &ALL, write(register_key(NAME), 99, change))
        .expect("written");
    let mut hand = Hand::new(0, WALL_MS + 10);
    let failure = hand
        .run(&mut replicas, &ALL, put_in_hall(1))
        .expect_err("refused");
    assert_eq!(failure.kind, FailureKind::SettingsUnusable);
    assert!(hand.run(&mut replicas, &ALL, put(1, 1, "v")).is_ok());
}

#[test]
fn a_list_across_namespaces_asks_enough_for_each_of_them() {
    let mut replicas = Prompt::three();
    create(&mut replicas, quorums(1, 3));
    let mut hand = Hand::new(0, WALL_MS + 10);
    hand.run(&mut replicas, &ALL, put_in_hall(1))
        .expect("written");
    hand.run(&mut replicas, &ALL, put(1, 1, "v"))
        .expect("written");
    let mut other = Hand::new(1, WALL_MS + 100);
    for (prefix, expected) in [
        ("", vec!["app/x", "hall/1"]),
        ("ha", vec!["hall/1"]),
        ("system", vec![]),
        ("hall/", vec!["hall/1"]),
    ] {
        assert_eq!(
            listed(other.run(&mut replicas, &ALL, list(prefix))),
            expected,
            "{prefix:?}"
        );
    }
    // The one that is missing could hold a key of the hall that nobody else does.
    let failure = other
        .run(&mut replicas, &[0, 1], list(""))
        .expect_err("refused");
    let expected = FailureKind::NoQuorum {
        answered: 2,
        needed: 3,
    };
    assert_eq!(failure.kind, expected);
    assert_eq!(
        listed(other.run(&mut replicas, &[0, 1], list("app/"))),
        ["app/x"]
    );
}

/// The reader found no settings and goes by the default; then the namespace is created
/// with W = 1, and two writes are acknowledged by one member each. The reader's repair is
/// refused until it writes the identity: by the default, two members' promises would
/// do, and those two have never heard of the newer write.
#[test]
fn a_read_that_turns_into_a_write_goes_by_the_settings_that_hold_then() {
    let mut replicas = Prompt::three();
    let mut reader = Hand::new(0, WALL_MS);
    reader.begin(read_in_hall(Level::Linearizable));
    reader.deliver(&mut replicas, &ALL, &CLOCKS);
    assert!(
        reader.outbox.iter().all(
            |(_, _, request)| matches!(request, Request::Read { key, .. } if *key == HALL_KEY)
        )
    );
    assert_eq!(
        create(&mut replicas, quorums(1, 3)),
        Outcome::Written { revision: 1 }
    );
    for (client, value, holder) in [(1, "old", 0), (2, "new", 2)] {
        let mut writer = Hand::new(holder, WALL_MS + 10 * u64::from(client));
        let change = Change::Put(Bytes::from_static(value.as_bytes()));
        writer.begin(write(HALL_KEY, client, change));
        // The settings, the prepare, and of the accepts the one to the holder.
        writer.deliver(&mut replicas, &ALL, &CLOCKS);
        writer.deliver(&mut replicas, &ALL, &CLOCKS);
        writer.deliver_only(&mut replicas, &[holder]);
        assert!(
            matches!(writer.finished[..], [Ok(Answer::Written { acks: 1, .. })]),
            "{:?}",
            writer.finished
        );
    }
    for _ in 0..100 {
        reader.deliver(&mut replicas, &ALL, &CLOCKS);
        if reader.finished.is_empty() && reader.outbox.is_empty() {
            reader.pass(60);
        }
    }
    assert_eq!(text(reader.finished.remove(0)).as_deref(), Some("new"));
    let mut later = Hand::new(1, WALL_MS + 20_000);
    let seen = later.run(&mut replicas, &ALL, read_in_hall(Level::Linearizable));
    assert_eq!(text(seen).as_deref(), Some("new"));
}

#[test]
fn a_list_reads_few_keys_at_once_however_many_are_disputed() {
    let mut replicas = Prompt::three();
    let mut hand = Hand::new(0, WALL_MS + 10);
    hand.coordinator
        .know_namespace(Bytes::from_static(NAME), Quorums::majority(3));
    for number in 0..100u8 {
        let key = Bytes::from(format!("hall/{number:03}"));
        let put = write(key, number, Change::Put(Bytes::from_static(b"v")));
        hand.run(&mut replicas, &[0, 1], put).expect("written");
    }
    let mut lister = Hand::new(2, WALL_MS + 1_000);
    lister
        .coordinator
        .know_namespace(Bytes::from_static(NAME), Quorums::majority(3));
    lister.begin(Command::List {
        prefix: Bytes::from_static(b"hall/"),
        after: Bytes::new(),
        limit: 1_000,
        level: Level::Linearizable,
    });
    let mut most = 0;
    while lister.finished.is_empty() {
        lister.deliver(&mut replicas, &[0, 2], &[WALL_MS + 1_000; 3]);
        most = most.max(lister.coordinator.in_progress());
    }
    assert_eq!(listed(lister.finished.remove(0)).len(), 100);
    assert_eq!(most, 33, "the list and its reads");
}
