use super::*;

impl<W> Table<W> {
    /// Whether all sums are what they sum up, and no bound of a part is exceeded.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let mut shares: BTreeMap<KeyId, (usize, usize)> = BTreeMap::new();
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
        }
        let kept: BTreeMap<KeyId, (usize, usize)> = self
            .identities
            .iter()
            .map(|(identity, share)| (*identity, (share.incarnations, share.reply_bytes)))
            .collect();
        let is_within = shares.values().all(|(incarnations, bytes)| {
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
        entries_all_max: 4,
        reply_bytes_per_identity_max: 10,
        reply_bytes_max: 15,
        waiters_max: 2,
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
    for (number, bytes) in [(1, 10), (2, 6)] {
        let id = id(1, 1);
        assert_eq!(table.begin(now, identity(number), id, 7), Begun::Run);
        assert_eq!(
            table.finish(now, &id.key(identity(number)), &reply(bytes)),
            [7]
        );
    }
    assert_eq!(table.reply_bytes(), 10);
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

#[test]
fn calls_beyond_those_of_all_are_refused() {
    let now = Instant::now();
    let mut table = table(now);
    table.open(now, identity(2), INCARNATION).expect("room");
    for number in [1, 2] {
        for sequence in 1..=2 {
            let begun = table.begin(now, identity(number), id(sequence, 1), 7);
            assert_eq!(begun, Begun::Run);
        }
    }
    let begun = table.begin(now, identity(2), id(3, 1), 7);
    assert_eq!(
        refused(begun),
        (Code::ResourceExhausted, Execution::NotStarted)
    );
}

#[test]
fn nothing_younger_than_what_is_kept_is_forgotten_even_when_all_is_full() {
    let opened = Instant::now();
    let mut table = table(opened);
    table.open(opened, identity(1), [6; 16]).expect("room");
    let nearly = opened + ONCE_KEPT - Duration::from_nanos(1);
    assert_eq!(table.expire(nearly), 0);
    assert!(table.open(nearly, identity(1), [7; 16]).is_err());
    table
        .open(opened + ONCE_KEPT, identity(1), [7; 16])
        .expect("the others are forgotten");
    assert_eq!(table.incarnation_count(), 1);
    table.audit().expect("sound");
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
