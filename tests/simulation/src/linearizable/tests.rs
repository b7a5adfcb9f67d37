//! Histories by hand, one fault each.

use super::*;

/// A history in the making: each call names the client, and answers come apart from
/// invocations where they overlap.
#[derive(Default)]
struct Script(History);

impl Script {
    fn begin(&mut self, client: u32, action: Action) -> usize {
        self.0.invoke(client, 0, action)
    }

    fn end(&mut self, number: usize, response: Response) {
        self.0.respond(number, response);
    }

    fn done(&mut self, client: u32, action: Action, response: Response) {
        let number = self.begin(client, action);
        self.end(number, response);
    }

    fn put(&mut self, value: u64, revision: u64) {
        self.done(1, put(value), written(revision));
    }

    fn get(&mut self, value: u64, revision: u64) {
        self.done(2, GET, got(value, revision));
    }

    fn is_linearizable(&self) -> bool {
        check(&self.0, Revisions::Consecutive).is_ok()
    }

    fn is_linearizable_with_forgetting(&self) -> bool {
        check(&self.0, Revisions::MayJump).is_ok()
    }
}

const GET: Action = Action::Get(ReadLevel::Linearizable);
const ABSENT: Response = Response::Got {
    value: None,
    revision: 0,
};

fn put(value: u64) -> Action {
    Action::Put(Value(value))
}

fn cas(expected: Expected, value: u64) -> Action {
    Action::CompareAndSet(expected, Value(value))
}

fn written(revision: u64) -> Response {
    Response::Written { revision }
}

fn got(value: u64, revision: u64) -> Response {
    Response::Got {
        value: Some(Value(value)),
        revision,
    }
}

#[test]
fn one_after_the_other_is_linearizable() {
    let mut script = Script::default();
    script.done(1, GET, ABSENT);
    script.put(1, 1);
    script.get(1, 1);
    script.done(1, cas(Expected::Revision(1), 2), written(2));
    script.done(
        2,
        cas(Expected::Absent, 3),
        Response::Conflict { revision: 2 },
    );
    script.done(1, Action::Delete, Response::Deleted { revision: 3 });
    script.done(1, Action::Delete, Response::NothingToDelete);
    script.done(2, GET, ABSENT);
    script.done(1, cas(Expected::Absent, 4), written(4));
    assert!(script.is_linearizable());
}

#[test]
fn overlapping_operations_may_stand_in_either_order() {
    for revision in [1, 2] {
        let mut script = Script::default();
        let first = script.begin(1, put(1));
        let second = script.begin(2, put(2));
        let read = script.begin(3, GET);
        script.end(first, written(revision));
        script.end(second, written(3 - revision));
        script.end(read, got(1, revision));
        assert!(script.is_linearizable());
    }
}

#[test]
fn an_unknown_write_may_appear_late_or_never() {
    for appears in [false, true] {
        let mut script = Script::default();
        script.begin(1, put(1));
        script.done(2, GET, ABSENT);
        script.done(2, put(2), written(1));
        if appears {
            script.get(1, 2);
        } else {
            script.get(2, 1);
        }
        assert!(script.is_linearizable());
    }
}

#[test]
fn a_lost_update_is_refused() {
    let mut script = Script::default();
    script.put(1, 1);
    script.put(2, 2);
    script.get(1, 1);
    assert!(!script.is_linearizable());
}

#[test]
fn two_writes_that_made_the_same_revision_are_refused() {
    let mut script = Script::default();
    let first = script.begin(1, put(1));
    let second = script.begin(2, put(2));
    script.end(first, written(1));
    script.end(second, written(1));
    assert!(!script.is_linearizable());
    assert!(!script.is_linearizable_with_forgetting());
}

#[test]
fn a_stale_read_is_refused() {
    let mut script = Script::default();
    script.put(1, 1);
    script.done(2, GET, ABSENT);
    assert!(!script.is_linearizable());
}

#[test]
fn two_reads_that_step_back_in_time_are_refused() {
    let mut script = Script::default();
    script.put(1, 1);
    let pending = script.begin(1, put(2));
    script.get(2, 2);
    script.get(1, 1);
    script.end(pending, written(2));
    assert!(!script.is_linearizable());
}

#[test]
fn a_retry_that_acted_twice_is_refused() {
    let mut script = Script::default();
    script.put(1, 1);
    let retried = script.begin(1, put(2));
    script.get(2, 2);
    script.done(3, put(3), written(3));
    script.get(2, 4);
    script.end(retried, written(2));
    assert!(!script.is_linearizable());
}

#[test]
fn an_unknown_write_that_appears_twice_is_refused() {
    let mut script = Script::default();
    script.begin(1, put(1));
    script.get(1, 1);
    script.done(3, put(2), written(2));
    script.get(1, 3);
    assert!(!script.is_linearizable());
}

#[test]
fn a_write_that_failed_and_appears_is_refused() {
    let mut script = Script::default();
    let failed = script.begin(1, put(1));
    script.0.fail(failed);
    script.get(1, 1);
    assert!(!script.is_linearizable());
}

#[test]
fn a_write_seen_before_it_began_is_refused() {
    let mut script = Script::default();
    script.get(1, 1);
    script.put(1, 1);
    assert!(!script.is_linearizable());
}

#[test]
fn a_value_that_nobody_wrote_is_refused() {
    let mut script = Script::default();
    script.put(1, 1);
    script.get(7, 1);
    assert!(!script.is_linearizable());
}

#[test]
fn a_cas_on_absence_that_succeeds_on_a_value_is_refused() {
    let mut script = Script::default();
    script.put(1, 1);
    script.done(2, cas(Expected::Absent, 2), written(2));
    assert!(!script.is_linearizable());
}

#[test]
fn a_cas_that_fails_although_its_condition_holds_is_refused() {
    for (expected, found) in [
        (Expected::Revision(1), 1),
        (Expected::Value(Value(1)), 1),
        (Expected::Absent, 0),
    ] {
        let mut script = Script::default();
        if expected != Expected::Absent {
            script.put(1, 1);
        }
        let conflict = Response::Conflict { revision: found };
        script.done(2, cas(expected, 2), conflict);
        assert!(!script.is_linearizable(), "{expected:?}");
    }
}

#[test]
fn two_cas_of_one_revision_that_both_succeed_are_refused() {
    let mut script = Script::default();
    script.put(1, 1);
    let first = script.begin(2, cas(Expected::Revision(1), 2));
    let second = script.begin(3, cas(Expected::Revision(1), 3));
    script.end(first, written(2));
    script.end(second, written(3));
    assert!(!script.is_linearizable());
}

#[test]
fn a_deletion_of_nothing_beside_a_value_is_refused() {
    let mut script = Script::default();
    script.put(1, 1);
    script.done(2, Action::Delete, Response::NothingToDelete);
    assert!(!script.is_linearizable());
}

#[test]
fn a_revision_that_nothing_accounts_for_is_refused() {
    let mut script = Script::default();
    script.put(1, 1);
    script.put(2, 3);
    assert!(!script.is_linearizable());
    assert!(!script.is_linearizable_with_forgetting());
}

#[test]
fn a_forgotten_key_goes_on_above_and_never_below() {
    for (revision, allowed) in [(3, true), (9, true), (2, false), (1, false)] {
        let mut script = Script::default();
        script.put(1, 1);
        script.done(1, Action::Delete, Response::Deleted { revision: 2 });
        script.put(2, revision);
        assert_eq!(script.is_linearizable_with_forgetting(), allowed);
        assert_eq!(script.is_linearizable(), revision == 3);
    }
}

#[test]
fn what_an_unknown_write_made_of_a_forgotten_key_is_seen_once() {
    let mut script = Script::default();
    script.begin(1, put(1));
    script.get(1, 7);
    script.done(2, put(2), written(8));
    assert!(script.is_linearizable_with_forgetting());
    script.get(1, 7);
    assert!(!script.is_linearizable_with_forgetting());
}

#[test]
fn weaker_reads_are_not_judged_here() {
    let mut script = Script::default();
    script.put(1, 1);
    script.done(2, Action::Get(ReadLevel::One), ABSENT);
    assert!(script.is_linearizable());
}

#[test]
fn keys_are_judged_apart() {
    let mut history = History::default();
    for key in 0..2 {
        let write = history.invoke(1, key, put(1));
        history.respond(write, written(1));
    }
    assert!(check(&history, Revisions::Consecutive).is_ok());
    let read = history.invoke(2, 1, GET);
    history.respond(read, ABSENT);
    let refused = check(&history, Revisions::Consecutive).expect_err("stale");
    assert_eq!(refused.key, 1);
}

#[test]
fn an_explanation_leaves_out_what_does_not_matter() {
    let mut script = Script::default();
    for value in 1..30 {
        script.put(value, value);
        script.get(value, value);
    }
    script.get(3, 3);
    script.put(30, 30);
    let refused = check(&script.0, Revisions::Consecutive).expect_err("stale");
    let answered = refused
        .operations
        .iter()
        .filter(|operation| operation.outcome != Outcome::Unknown);
    assert!(answered.count() <= 4, "{refused}");
}

#[test]
fn many_unknown_writes_do_not_stall_the_search() {
    let mut script = Script::default();
    for value in 100..160 {
        script.begin(1, put(value));
    }
    for value in 1..60 {
        script.put(value, value + value / 20);
        script.get(value, value + value / 20);
    }
    assert!(script.is_linearizable());
    script.get(1, 1);
    assert!(!script.is_linearizable());
}
