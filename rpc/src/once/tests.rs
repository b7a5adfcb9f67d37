use super::*;

use crate::splitmix::SplitMix;

impl<W> Table<W> {
    /// Whether all sums are what they sum up, and no bound of a part is exceeded.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let mut shares: BTreeMap<KeyId, (usize, usize, usize)> = BTreeMap::new();
        let (mut entries, mut all_bytes) = (0, 0);
        for ((identity, incarnation), kept) in &self.incarnations {
            if !self.ages.contains(&(kept.used, *identity, *incarnation)) {
                return Err("an incarnation without its age".to_owned());
            }
            let running = kept
                .entries
                .values()
                .filter(|entry| matches!(entry.phase, Phase::Running(_)))
                .count();
            let bytes: usize = kept.entries.values().map(|entry| entry.bytes).sum();
            if running != kept.running || kept.entries.len() > self.bounds.entries_max {
                return Err(format!("{running} run, {} entries", kept.entries.len()));
            }
            entries += kept.entries.len();
            all_bytes += bytes;
            let share = shares.entry(*identity).or_default();
            share.0 += 1;
            share.1 += bytes;
            share.2 += kept.entries.len();
        }
        let kept: BTreeMap<KeyId, (usize, usize, usize)> = self
            .identities
            .iter()
            .map(|(identity, share)| {
                let sums = (share.incarnations, share.reply_bytes, share.entries);
                (*identity, sums)
            })
            .collect();
        let is_within = shares.values().all(|(incarnations, bytes, _)| {
            *incarnations <= self.bounds.incarnations_per_identity_max
                && *bytes <= self.bounds.reply_bytes_per_identity_max
        });
        let is_right = entries == self.entry_count
            && all_bytes == self.reply_bytes
            && self.ages.len() == self.incarnations.len()
            && kept == shares
            && is_within;
        if is_right {
            Ok(())
        } else {
            Err(format!("sums are wrong: {shares:?}, and kept are {kept:?}"))
        }
    }
}

const INCARNATION: Incarnation = [5; 16];

/// Who waits when nobody does.
const NOBODY: [u32; 0] = [];

fn identity(number: u8) -> KeyId {
    KeyId::from_bytes([number; 32])
}

fn id(sequence: u64, floor: u64) -> OnceId {
    OnceId {
        incarnation: INCARNATION,
        sequence,
        floor,
    }
}

fn key(sequence: u64) -> CallKey {
    id(sequence, 1).key(identity(1))
}

fn small() -> Bounds {
    Bounds {
        incarnations_per_identity_max: 2,
        incarnations_max: 3,
        entries_max: 3,
        entries_all_max: 8,
        reply_bytes_per_identity_max: 10,
        reply_bytes_max: 15,
        waiters_max: 2,
        evictable_after: ONCE_EVICTABLE_AFTER,
        kept: ONCE_KEPT,
    }
}

/// A table in which identity 1 has opened [`INCARNATION`].
fn table(now: Instant) -> Table<u32> {
    let mut table = Table::new(small());
    table.open(now, identity(1), INCARNATION).expect("empty");
    table
}

fn reply(bytes: usize) -> Outcome {
    Ok(Bytes::from(vec![9; bytes]))
}

fn failure(code: Code, execution: Execution) -> Outcome {
    Err(Status::new(code, execution, ""))
}

/// What an attempt is refused with.
fn refused(begun: Begun<u32>) -> (Code, Execution) {
    match begun {
        Begun::Refuse(_, status) => (status.code(), status.execution()),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn an_unknown_incarnation_is_refused_so_that_it_can_be_recognised() {
    let now = Instant::now();
    let mut table: Table<u32> = Table::new(small());
    let begun = table.begin(now, identity(1), id(1, 1), 7);
    let Begun::Refuse(7, status) = begun else {
        panic!("not refused: {begun:?}");
    };
    assert!(is_unknown_incarnation(&status));
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.execution(), Execution::NotStarted);
}

#[test]
fn only_a_refusal_before_the_handler_says_unknown_incarnation() {
    let status =
        |code, execution| Status::new(code, execution, "").with_details(UNKNOWN_INCARNATION);
    let not_started = Execution::NotStarted;
    assert!(is_unknown_incarnation(&status(
        Code::FailedPrecondition,
        not_started
    )));
    assert!(!is_unknown_incarnation(&status(
        Code::Unavailable,
        not_started
    )));
    let executed = status(Code::FailedPrecondition, Execution::Executed);
    assert!(!is_unknown_incarnation(&executed));
    let without = Status::new(Code::FailedPrecondition, not_started, "unknown incarnation");
    assert!(!is_unknown_incarnation(&without));
}

#[test]
fn an_incarnation_of_another_identity_is_unknown() {
    let now = Instant::now();
    let mut table = table(now);
    let begun = table.begin(now, identity(2), id(1, 1), 7);
    assert_eq!(
        refused(begun),
        (Code::FailedPrecondition, Execution::NotStarted)
    );
}

#[test]
fn an_incarnation_is_not_opened_twice() {
    let now = Instant::now();
    let mut table = table(now);
    let status = table
        .open(now, identity(1), INCARNATION)
        .expect_err("known");
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(status.execution(), Execution::NotStarted);
    table.audit().expect("sound");
}

#[test]
fn one_identity_cannot_take_all_incarnations() {
    let now = Instant::now();
    let mut table = table(now);
    table.open(now, identity(1), [6; 16]).expect("room");
    let status = table
        .open(now, identity(1), [7; 16])
        .expect_err("its share is full");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.execution(), Execution::NotStarted);
    table
        .open(now, identity(2), [7; 16])
        .expect("room for another");
    let status = table
        .open(now, identity(3), [8; 16])
        .expect_err("all are taken");
    assert_eq!(status.code(), Code::ResourceExhausted);
    table.audit().expect("sound");
}

#[test]
fn a_call_that_runs_is_joined_and_its_outcome_goes_to_all() {
    let now = Instant::now();
    let mut table = table(now);
    assert_eq!(table.begin(now, identity(1), id(1, 1), 7), Begun::Run);
    assert_eq!(table.begin(now, identity(1), id(1, 1), 8), Begun::Joined);
    assert_eq!(table.finish(now, &key(1), &reply(3)), [7, 8]);
    assert_eq!(
        table.begin(now, identity(1), id(1, 1), 9),
        Begun::Replay(9, reply(3))
    );
    table.audit().expect("sound");
}

#[test]
fn too_many_attempts_for_one_call_are_refused() {
    let now = Instant::now();
    let mut table = table(now);
    assert_eq!(table.begin(now, identity(1), id(1, 1), 7), Begun::Run);
    assert_eq!(table.begin(now, identity(1), id(1, 1), 8), Begun::Joined);
    let begun = table.begin(now, identity(1), id(1, 1), 9);
    assert_eq!(
        refused(begun),
        (Code::ResourceExhausted, Execution::NotStarted)
    );
    table.leave(&key(1), &7);
    assert_eq!(table.begin(now, identity(1), id(1, 1), 9), Begun::Joined);
    assert_eq!(table.finish(now, &key(1), &reply(0)), [8, 9]);
}

#[test]
fn a_call_that_nobody_waits_for_runs_on_and_is_remembered() {
    let now = Instant::now();
    let mut table = table(now);
    assert_eq!(table.begin(now, identity(1), id(1, 1), 7), Begun::Run);
    table.leave(&key(1), &7);
    assert_eq!(table.finish(now, &key(1), &reply(1)), NOBODY);
    assert_eq!(
        table.begin(now, identity(1), id(1, 1), 8),
        Begun::Replay(8, reply(1))
    );
}

#[test]
fn a_settled_call_is_refused_and_forgotten() {
    let now = Instant::now();
    let mut table = table(now);
    assert_eq!(table.begin(now, identity(1), id(1, 1), 7), Begun::Run);
    assert_eq!(table.finish(now, &key(1), &reply(4)), [7]);
    assert_eq!(table.begin(now, identity(1), id(2, 2), 8), Begun::Run);
    assert_eq!(table.entry_count(), 1);
    assert_eq!(table.reply_bytes(), 0);
    let begun = table.begin(now, identity(1), id(1, 1), 9);
    assert_eq!(refused(begun), (Code::Cancelled, Execution::NotStarted));
    table.audit().expect("sound");
}

#[test]
fn a_late_attempt_lowers_no_floor() {
    let now = Instant::now();
    let mut table = table(now);
    assert_eq!(table.begin(now, identity(1), id(5, 5), 7), Begun::Run);
    let begun = table.begin(now, identity(1), id(4, 1), 8);
    assert_eq!(refused(begun), (Code::Cancelled, Execution::NotStarted));
}

#[test]
fn what_runs_below_the_floor_is_neither_joined_nor_remembered() {
    let now = Instant::now();
    let mut table = table(now);
    assert_eq!(table.begin(now, identity(1), id(1, 1), 7), Begun::Run);
    assert_eq!(table.begin(now, identity(1), id(2, 2), 8), Begun::Run);
    let begun = table.begin(now, identity(1), id(1, 1), 9);
    assert_eq!(refused(begun), (Code::Cancelled, Execution::NotStarted));
    assert_eq!(table.entry_count(), 2, "it still runs");
    assert_eq!(table.finish(now, &key(1), &reply(1)), [7]);
    assert_eq!(table.entry_count(), 1);
    table.audit().expect("sound");
}

#[test]
fn what_did_not_start_may_be_tried_again() {
    let now = Instant::now();
    let mut table = table(now);
    for execution in [Execution::NotStarted, Execution::NotSent] {
        assert_eq!(table.begin(now, identity(1), id(1, 1), 7), Begun::Run);
        let outcome = failure(Code::Unavailable, execution);
        assert_eq!(table.finish(now, &key(1), &outcome), [7]);
    }
    assert_eq!(table.entry_count(), 0);
    for execution in [Execution::MaybeExecuted, Execution::Executed] {
        let sequence = if execution == Execution::Executed {
            2
        } else {
            1
        };
        let id = id(sequence, 1);
        assert_eq!(table.begin(now, identity(1), id, 7), Begun::Run);
        let outcome = failure(Code::Unavailable, execution);
        assert_eq!(table.finish(now, &key(sequence), &outcome), [7]);
        assert_eq!(
            table.begin(now, identity(1), id, 8),
            Begun::Replay(8, outcome)
        );
    }
}

#[test]
fn a_cancelled_call_does_not_run_again_and_no_late_answer_changes_that() {
    let now = Instant::now();
    let mut table = table(now);
    assert_eq!(table.begin(now, identity(1), id(1, 1), 7), Begun::Run);
    assert_eq!(table.cancel(now, &key(1)), [7]);
    assert_eq!(table.finish(now, &key(1), &reply(2)), NOBODY);
    let Begun::Replay(8, Err(status)) = table.begin(now, identity(1), id(1, 1), 8) else {
        panic!("not replayed");
    };
    assert_eq!(status.code(), Code::Cancelled);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
}

#[test]
fn a_cancel_of_what_has_ended_or_never_began_changes_nothing() {
    let now = Instant::now();
    let mut table = table(now);
    assert_eq!(table.cancel(now, &key(1)), NOBODY);
    assert_eq!(table.begin(now, identity(1), id(1, 1), 7), Begun::Run);
    assert_eq!(table.finish(now, &key(1), &reply(2)), [7]);
    assert_eq!(table.cancel(now, &key(1)), NOBODY);
    assert_eq!(
        table.begin(now, identity(1), id(1, 1), 8),
        Begun::Replay(8, reply(2))
    );
    assert_eq!(table.cancel(now, &key(9)), NOBODY);
    table.audit().expect("sound");
}

#[test]
fn a_reply_beyond_the_bytes_of_its_identity_is_known_to_have_run() {
    let now = Instant::now();
    let mut table = table(now);
    assert_eq!(table.begin(now, identity(1), id(1, 1), 7), Begun::Run);
    assert_eq!(table.finish(now, &key(1), &reply(11)), [7]);
    let begun = table.begin(now, identity(1), id(1, 1), 8);
    let Begun::Replay(8, Err(status)) = begun else {
        panic!("not replayed: {begun:?}");
    };
    assert_eq!(status.code(), Code::DataLoss);
    assert_eq!(status.execution(), Execution::Executed);
    assert_eq!(table.reply_bytes(), 0);
}

#[test]
fn the_bytes_of_all_bound_what_each_may_keep() {
    let now = Instant::now();
    let mut table = table(now);
    table.open(now, identity(2), INCARNATION).expect("room");
    for (number, bytes) in [(1, 7), (2, 5)] {
        let id = id(1, 1);
        assert_eq!(table.begin(now, identity(number), id, 7), Begun::Run);
        assert_eq!(
            table.finish(now, &id.key(identity(number)), &reply(bytes)),
            [7]
        );
    }
    assert_eq!(
        table.reply_bytes(),
        7,
        "five would be more than half of the rest"
    );
    table.audit().expect("sound");
}

#[test]
fn a_failure_without_room_keeps_its_code_and_stays_uncertain() {
    let now = Instant::now();
    let mut table = table(now);
    assert_eq!(table.begin(now, identity(1), id(1, 1), 7), Begun::Run);
    let outcome = Err(Status::new(
        Code::Internal,
        Execution::MaybeExecuted,
        "longer than ten bytes",
    ));
    assert_eq!(table.finish(now, &key(1), &outcome), [7]);
    let begun = table.begin(now, identity(1), id(1, 1), 8);
    let Begun::Replay(8, Err(status)) = begun else {
        panic!("not replayed: {begun:?}");
    };
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.execution(), Execution::MaybeExecuted);
    assert_eq!(table.reply_bytes(), 0);
}

#[test]
fn calls_beyond_those_of_one_incarnation_are_refused() {
    let now = Instant::now();
    let mut table = table(now);
    for sequence in 1..=3 {
        assert_eq!(
            table.begin(now, identity(1), id(sequence, 1), 7),
            Begun::Run
        );
    }
    let begun = table.begin(now, identity(1), id(4, 1), 7);
    assert_eq!(
        refused(begun),
        (Code::ResourceExhausted, Execution::NotStarted)
    );
    assert_eq!(table.begin(now, identity(1), id(3, 1), 8), Begun::Joined);
    table.audit().expect("sound");
}

/// Begins calls of an identity in its incarnation until one is refused; how many
/// there were.
fn begin_all(table: &mut Table<u32>, now: Instant, identity: KeyId, incarnation: u8) -> u64 {
    let incarnation = [incarnation; 16];
    table.open(now, identity, incarnation).expect("room");
    for sequence in 1.. {
        let id = OnceId {
            incarnation,
            sequence,
            floor: 1,
        };
        match table.begin(now, identity, id, 7) {
            Begun::Run => {}
            Begun::Refuse(_, status) => {
                let refused = (status.code(), status.execution());
                assert_eq!(refused, (Code::ResourceExhausted, Execution::NotStarted));
                return sequence - 1;
            }
            other => panic!("{other:?}"),
        }
    }
    unreachable!("some sequence is refused")
}

#[test]
fn calls_beyond_those_of_all_are_refused() {
    let now = Instant::now();
    let mut table = Table::new(Bounds {
        entries_all_max: 1,
        ..small()
    });
    assert_eq!(begin_all(&mut table, now, identity(1), 1), 1);
    assert_eq!(begin_all(&mut table, now, identity(2), 1), 0);
    table.audit().expect("sound");
}

#[test]
fn a_few_identities_cannot_have_all_calls() {
    let now = Instant::now();
    let mut table = Table::new(Bounds {
        incarnations_max: 1_000,
        entries_max: 2_048,
        entries_all_max: 4_096,
        ..small()
    });
    let had: Vec<u64> = (1..=12)
        .map(|number| begin_all(&mut table, now, identity(number), 1))
        .collect();
    // Each of them as much as it leaves to those that follow.
    assert_eq!(had[..4], [2_048, 1_024, 512, 256]);
    assert!(had.iter().all(|had| *had > 0), "{had:?}");
    // In another incarnation no more.
    assert_eq!(begin_all(&mut table, now, identity(1), 2), 0);
    table.audit().expect("sound");
    // What ends is there for all again.
    for sequence in 1..=2_048 {
        let id = OnceId {
            incarnation: [1; 16],
            ..id(sequence, 1)
        };
        let not_started = failure(Code::Unavailable, Execution::NotStarted);
        let told = table.finish(now, &id.key(identity(1)), &not_started);
        assert_eq!(told, [7]);
    }
    assert!(begin_all(&mut table, now, identity(99), 1) >= 1_024);
    table.audit().expect("sound");
}

#[test]
fn a_few_identities_cannot_have_all_bytes_of_replies() {
    let now = Instant::now();
    let mut table: Table<u32> = Table::new(Bounds {
        incarnations_max: 1_000,
        entries_max: 100,
        entries_all_max: 10_000,
        reply_bytes_per_identity_max: 1_000,
        reply_bytes_max: 1_000,
        ..small()
    });
    let mut kept = Vec::new();
    for number in 1..=5 {
        let identity = identity(number);
        table.open(now, identity, INCARNATION).expect("room");
        let before = table.reply_bytes();
        for sequence in 1..=100 {
            let id = id(sequence, 1);
            assert_eq!(table.begin(now, identity, id, 7), Begun::Run);
            assert_eq!(table.finish(now, &id.key(identity), &reply(10)), [7]);
        }
        kept.push(table.reply_bytes() - before);
        table.audit().expect("sound");
    }
    assert_eq!(kept, [500, 250, 120, 60, 30]);
}

#[test]
fn a_few_identities_cannot_have_all_incarnations() {
    let now = Instant::now();
    let mut table: Table<u32> = Table::new(Bounds {
        incarnations_per_identity_max: 100,
        incarnations_max: 32,
        ..small()
    });
    let mut had = Vec::new();
    for number in 1..=5 {
        let opened = (0..100_u8)
            .take_while(|index| table.open(now, identity(number), [*index; 16]).is_ok())
            .count();
        had.push(opened);
    }
    assert_eq!(had, [16, 8, 4, 2, 1]);
    table.audit().expect("sound");
}

#[test]
fn the_last_room_is_for_who_has_none() {
    assert_eq!(room(0, 9, 9, 10), 1);
    assert_eq!(room(1, 9, 9, 10), 0);
    assert_eq!(room(0, 9, 10, 10), 0);
    assert_eq!(room(0, 9, 11, 10), 0);
    assert_eq!(room(3, 3, 3, 100), 0, "its own bound");
    assert_eq!(room(0, usize::MAX, 0, usize::MAX), usize::MAX / 2 + 1);
}

#[test]
fn nothing_younger_than_what_is_kept_is_forgotten_for_another_even_when_all_is_full() {
    let opened = Instant::now();
    let mut table = table(opened);
    for (number, incarnation) in [(1, 6), (2, 7)] {
        let opened = table.open(opened, identity(number), [incarnation; 16]);
        opened.expect("room");
    }
    let nearly = opened + ONCE_KEPT - Duration::from_nanos(1);
    assert_eq!(table.expire(nearly), 0);
    let status = table.open(nearly, identity(3), [8; 16]);
    let status = status.expect_err("all are taken");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!((table.incarnation_count(), table.evicted_count()), (3, 0));
    table
        .open(opened + ONCE_KEPT, identity(3), [8; 16])
        .expect("the others are forgotten");
    assert_eq!(table.incarnation_count(), 1);
    table.audit().expect("sound");
}

#[test]
fn a_client_that_starts_over_and_over_always_has_an_incarnation() {
    let start = Instant::now();
    let mut table: Table<u32> = Table::new(Bounds::default());
    for round in 0..200_u8 {
        let now = start + ONCE_EVICTABLE_AFTER * u32::from(round) / 16;
        let incarnation = [round; 16];
        table
            .open(now, identity(1), incarnation)
            .unwrap_or_else(|status| panic!("{round}: {status}"));
        let first = OnceId {
            incarnation,
            ..id(1, 1)
        };
        assert_eq!(table.begin(now, identity(1), first, 7), Begun::Run);
        let key = first.key(identity(1));
        assert_eq!(table.finish(now, &key, &reply(100)), [7]);
        assert!(table.incarnation_count() <= ONCE_INCARNATIONS_PER_IDENTITY_MAX);
        table.audit().expect("sound");
    }
    assert_eq!(table.evicted_count(), 200 - 32);
}

#[test]
fn what_comes_in_an_evicted_incarnation_is_refused_and_never_runs_again() {
    let opened = Instant::now();
    let mut table = table(opened);
    assert_eq!(table.begin(opened, identity(1), id(1, 1), 7), Begun::Run);
    assert_eq!(table.finish(opened, &key(1), &reply(3)), [7]);
    let later = opened + ONCE_EVICTABLE_AFTER;
    table.open(later, identity(1), [6; 16]).expect("room");
    table
        .open(later, identity(1), [7; 16])
        .expect("an eviction");
    assert_eq!((table.evicted_count(), table.reply_bytes()), (1, 0));
    for sequence in [1, 2] {
        let Begun::Refuse(8, status) = table.begin(later, identity(1), id(sequence, 1), 8) else {
            panic!("not refused");
        };
        assert!(is_unknown_incarnation(&status));
    }
    // A late answer changes nothing.
    assert_eq!(table.finish(later, &key(1), &reply(3)), NOBODY);
    table.audit().expect("sound");
}

#[test]
fn what_is_remembered_for_a_dead_incarnation_keeps_nobody_from_calling() {
    let opened = Instant::now();
    let mut table: Table<u32> = Table::new(Bounds {
        entries_all_max: 8,
        ..Bounds::default()
    });
    let of = |incarnation: u8, sequence| OnceId {
        incarnation: [incarnation; 16],
        ..id(sequence, 1)
    };
    table.open(opened, identity(1), [1; 16]).expect("room");
    // All that one identity may have of eight, answered and never settled.
    for sequence in 1..=4 {
        let call = of(1, sequence);
        assert_eq!(table.begin(opened, identity(1), call, 7), Begun::Run);
        assert_eq!(table.finish(opened, &call.key(identity(1)), &reply(1)), [7]);
    }
    table.open(opened, identity(1), [2; 16]).expect("room");
    let nearly = opened + ONCE_EVICTABLE_AFTER - Duration::from_nanos(1);
    let refused = table.begin(nearly, identity(1), of(2, 1), 8);
    assert!(matches!(refused, Begun::Refuse(8, _)), "{refused:?}");
    let later = opened + ONCE_EVICTABLE_AFTER;
    assert_eq!(table.begin(later, identity(1), of(2, 1), 8), Begun::Run);
    assert_eq!((table.evicted_count(), table.incarnation_count()), (1, 1));
    table.audit().expect("sound");
}

#[test]
fn an_attempt_that_takes_no_room_makes_the_table_forget_nothing() {
    let opened = Instant::now();
    let mut table: Table<u32> = Table::new(Bounds {
        entries_all_max: 8,
        ..Bounds::default()
    });
    let of = |incarnation: u8, sequence, floor| OnceId {
        incarnation: [incarnation; 16],
        ..id(sequence, floor)
    };
    let finish = |table: &mut Table<u32>, call: OnceId| {
        let waiters = table.finish(opened, &call.key(identity(1)), &reply(1));
        assert_eq!(waiters, [7]);
    };
    // All that one identity may have of eight: two answered in an incarnation that
    // nobody uses any more, and in another one answered and one that runs.
    for incarnation in [1, 2] {
        let opened = table.open(opened, identity(1), [incarnation; 16]);
        opened.expect("room");
    }
    for call in [of(1, 1, 1), of(1, 2, 1), of(2, 2, 2), of(2, 3, 2)] {
        assert_eq!(table.begin(opened, identity(1), call, 7), Begun::Run);
        if call != of(2, 2, 2) {
            finish(&mut table, call);
        }
    }
    let later = opened + ONCE_EVICTABLE_AFTER;
    let mut begin = |call| table.begin(later, identity(1), call, 8);
    assert_eq!(begin(of(2, 3, 2)), Begun::Replay(8, reply(1)));
    assert_eq!(begin(of(2, 2, 2)), Begun::Joined);
    let (code, _) = refused(begin(of(2, 1, 1)));
    assert_eq!(code, Code::Cancelled, "settled");
    let (code, _) = refused(begin(of(9, 1, 1)));
    assert_eq!(code, Code::FailedPrecondition, "an unknown incarnation");
    assert_eq!((table.evicted_count(), table.entry_count()), (0, 4));
    // A call that is new does.
    let begun = table.begin(later, identity(1), of(2, 4, 2), 8);
    assert_eq!(begun, Begun::Run);
    assert_eq!((table.evicted_count(), table.entry_count()), (1, 3));
    table.audit().expect("sound");
}

#[test]
fn nothing_is_forgotten_for_a_call_that_has_no_room_even_then() {
    let opened = Instant::now();
    let mut table: Table<u32> = Table::new(Bounds {
        entries_all_max: 8,
        ..Bounds::default()
    });
    let of = |incarnation: u8, sequence| OnceId {
        incarnation: [incarnation; 16],
        ..id(sequence, 1)
    };
    for (owner, incarnation) in [(1, 1), (1, 2), (2, 3), (3, 4)] {
        let opened = table.open(opened, identity(owner), [incarnation; 16]);
        opened.expect("room");
    }
    let calls = [
        (1, of(1, 1)),
        (1, of(2, 1)),
        (1, of(2, 2)),
        (1, of(2, 3)),
        (2, of(3, 1)),
        (2, of(3, 2)),
        (3, of(4, 1)),
    ];
    for (owner, call) in calls {
        let begun = table.begin(opened, identity(owner), call, 7);
        assert_eq!(begun, Begun::Run, "{owner}: {call:?}");
    }
    let answered = of(1, 1).key(identity(1));
    assert_eq!(table.finish(opened, &answered, &reply(1)), [7]);
    // Three of the first one's run. With those alone it would have more than is
    // left free.
    let later = opened + ONCE_EVICTABLE_AFTER;
    let (code, execution) = refused(table.begin(later, identity(1), of(2, 4), 8));
    assert_eq!(
        (code, execution),
        (Code::ResourceExhausted, Execution::NotStarted)
    );
    assert_eq!((table.evicted_count(), table.entry_count()), (0, 7));
    let begun = table.begin(later, identity(1), of(1, 1), 8);
    assert_eq!(begun, Begun::Replay(8, reply(1)));
    table.audit().expect("sound");
}

#[test]
fn an_incarnation_used_just_now_is_not_evicted() {
    let opened = Instant::now();
    let mut table = table(opened);
    table.open(opened, identity(1), [6; 16]).expect("room");
    let nearly = opened + ONCE_EVICTABLE_AFTER - Duration::from_nanos(1);
    let status = table.open(nearly, identity(1), [7; 16]).expect_err("full");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "too many incarnations of this identity");
    // The first is used, so the second goes.
    let later = opened + ONCE_EVICTABLE_AFTER;
    assert_eq!(table.begin(later, identity(1), id(1, 1), 7), Begun::Run);
    table
        .open(later, identity(1), [7; 16])
        .expect("an eviction");
    assert_eq!(table.begin(later, identity(1), id(1, 1), 8), Begun::Joined);
    table.audit().expect("sound");
}

#[test]
fn an_incarnation_in_which_a_call_runs_is_not_evicted() {
    let opened = Instant::now();
    let mut table = table(opened);
    table.open(opened, identity(1), [6; 16]).expect("room");
    for incarnation in [INCARNATION, [6; 16]] {
        let id = OnceId {
            incarnation,
            ..id(1, 1)
        };
        assert_eq!(table.begin(opened, identity(1), id, 7), Begun::Run);
    }
    // Too soon for them to be looked at because of their age.
    let later = opened + 2 * ONCE_EVICTABLE_AFTER;
    assert!(table.open(later, identity(1), [7; 16]).is_err());
    assert_eq!(table.finish(later, &key(1), &reply(1)), [7]);
    assert!(
        table.open(later, identity(1), [7; 16]).is_err(),
        "just used"
    );
    let later = later + ONCE_EVICTABLE_AFTER;
    table
        .open(later, identity(1), [7; 16])
        .expect("it has ended");
    assert!(matches!(
        table.begin(later, identity(1), id(1, 1), 8),
        Begun::Refuse(..)
    ));
    table.audit().expect("sound");
}

#[test]
fn an_incarnation_that_remembers_no_call_goes_before_an_older_one_that_does() {
    let opened = Instant::now();
    let mut table = table(opened);
    assert_eq!(table.begin(opened, identity(1), id(1, 1), 7), Begun::Run);
    assert_eq!(table.finish(opened, &key(1), &reply(3)), [7]);
    let second = opened + Duration::from_secs(1);
    table.open(second, identity(1), [6; 16]).expect("room");
    let later = second + ONCE_EVICTABLE_AFTER;
    table
        .open(later, identity(1), [7; 16])
        .expect("an eviction");
    assert_eq!(
        table.begin(later, identity(1), id(1, 1), 8),
        Begun::Replay(8, reply(3))
    );
    table.audit().expect("sound");
}

#[test]
fn nothing_of_another_identity_is_evicted() {
    let opened = Instant::now();
    let mut table = Table::new(Bounds {
        incarnations_max: 9,
        ..small()
    });
    table.open(opened, identity(1), INCARNATION).expect("room");
    for incarnation in [6, 7] {
        let opened = table.open(opened, identity(2), [incarnation; 16]);
        opened.expect("room");
    }
    let later = opened + ONCE_KEPT / 2;
    table.open(later, identity(2), [8; 16]).expect("its own");
    assert_eq!(table.evicted_count(), 1);
    assert_eq!(table.begin(later, identity(1), id(1, 1), 8), Begun::Run);
    table.audit().expect("sound");
}

/// Random openings, calls, ends and floors of several identities, with the sums
/// made anew after each step.
#[test]
fn whatever_is_done_the_sums_are_right_and_nobody_is_locked_out() {
    for seed in 0..200_u64 {
        let mut random = SplitMix::new(seed);
        let mut below = |end: u64| random.below(end);
        let mut now = Instant::now();
        let mut table: Table<u32> = Table::new(Bounds {
            incarnations_max: 12,
            entries_all_max: 20,
            reply_bytes_max: 64,
            entries_max: 9,
            incarnations_per_identity_max: 4,
            ..small()
        });
        for _ in 0..300 {
            let identity = identity(u8::try_from(below(3)).expect("small"));
            let incarnation = [u8::try_from(below(8)).expect("small"); 16];
            let sequence = 1 + below(12);
            let floor = 1 + below(sequence);
            let id = OnceId {
                incarnation,
                sequence,
                floor,
            };
            match below(8) {
                0 | 1 => drop(table.open(now, identity, incarnation)),
                2..=4 => drop(table.begin(now, identity, id, 7)),
                5 => drop(table.finish(now, &id.key(identity), &reply(5))),
                6 => drop(table.cancel(now, &id.key(identity))),
                _ => now += Duration::from_secs(below(8)),
            }
            table
                .audit()
                .unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
        }
        // Whatever the three have, a fourth has room.
        let fourth = self::identity(9);
        let opened = table.open(now, fourth, INCARNATION);
        opened.unwrap_or_else(|status| panic!("seed {seed}: {status}"));
        let begun = table.begin(now, fourth, self::id(1, 1), 7);
        assert_eq!(begun, Begun::Run, "seed {seed}");
    }
}

#[test]
fn raising_the_floor_looks_at_no_entry_twice() {
    let mut incarnated: Incarnated<u32> = Incarnated::new(Instant::now());
    for sequence in 1..=1_000 {
        incarnated.entries.insert(sequence, Entry::running(7));
    }
    let mut looked_at = 0;
    for floor in (1..=1_001).chain([1, 500, 1_001, u64::MAX]) {
        looked_at += incarnated.passed_by(floor).count();
        let removed = incarnated.raise_floor(floor);
        assert_eq!(removed.entries, 0, "what runs stays");
    }
    // However often the floor rises over what runs on.
    assert_eq!(looked_at, 1_000);
}

#[test]
fn use_keeps_an_incarnation_and_what_it_remembers() {
    let opened = Instant::now();
    let mut table = table(opened);
    assert_eq!(table.begin(opened, identity(1), id(1, 1), 7), Begun::Run);
    assert_eq!(table.finish(opened, &key(1), &reply(1)), [7]);
    let used = opened + ONCE_KEPT / 2;
    assert_eq!(
        table.begin(used, identity(1), id(1, 1), 8),
        Begun::Replay(8, reply(1))
    );
    assert_eq!(table.expire(opened + ONCE_KEPT), 0);
    assert_eq!(table.expire(used + ONCE_KEPT), 1);
    assert_eq!(table.entry_count() + table.reply_bytes(), 0);
    let begun = table.begin(used + ONCE_KEPT, identity(1), id(1, 1), 9);
    assert_eq!(
        refused(begun),
        (Code::FailedPrecondition, Execution::NotStarted)
    );
    table.audit().expect("sound");
}

#[test]
fn an_incarnation_in_which_a_call_runs_is_not_forgotten() {
    let opened = Instant::now();
    let mut table = table(opened);
    assert_eq!(table.begin(opened, identity(1), id(1, 1), 7), Begun::Run);
    let late = opened + 3 * ONCE_KEPT;
    assert_eq!(table.expire(late), 0);
    assert_eq!(table.begin(late, identity(1), id(1, 1), 8), Begun::Joined);
    assert_eq!(table.finish(late, &key(1), &reply(1)), [7, 8]);
    assert_eq!(table.expire(late + ONCE_KEPT), 1);
    table.audit().expect("sound");
}

#[test]
fn an_answer_to_what_was_forgotten_goes_nowhere() {
    let now = Instant::now();
    let mut table: Table<u32> = Table::new(small());
    assert_eq!(table.finish(now, &key(1), &reply(1)), NOBODY);
    table.leave(&key(1), &7);
    table.audit().expect("sound");
}

#[test]
fn a_kept_reply_is_no_view_into_something_larger() {
    let now = Instant::now();
    let mut table = table(now);
    assert_eq!(table.begin(now, identity(1), id(1, 1), 7), Begun::Run);
    let large = Bytes::from(vec![9; 1 << 20]);
    let view = large.slice(..4);
    assert_eq!(table.finish(now, &key(1), &Ok(view.clone())), [7]);
    let Begun::Replay(_, Ok(kept)) = table.begin(now, identity(1), id(1, 1), 8) else {
        panic!("not replayed");
    };
    assert_ne!(kept.as_ptr(), view.as_ptr());
}

#[test]
fn the_defaults_are_the_named_limits() {
    let bounds = Bounds::default();
    assert_eq!(bounds.kept, 2 * crate::limits::ONCE_HORIZON);
    assert!(bounds.incarnations_per_identity_max < bounds.incarnations_max);
    assert!(bounds.reply_bytes_per_identity_max < bounds.reply_bytes_max);
}
