//! What is demanded of reads at the levels `quorum` and `one`, which are not
//! linearizable: that some operation wrote what they return, one that had begun and
//! has not certainly failed; and at `quorum`, that nothing acknowledged before is
//! missed.

use crate::history::{Action, History, Operation, Outcome, ReadLevel, Response, Value};
use crate::model::Revisions;

/// Judges the weaker reads of a history.
///
/// # Errors
/// What is wrong, for people.
pub fn check(history: &History, revisions: Revisions) -> Result<(), String> {
    for read in history.operations() {
        let (Action::Get(level), Outcome::Ok(Response::Got { value, revision }, returned)) =
            (read.action, read.outcome)
        else {
            continue;
        };
        if level == ReadLevel::Linearizable {
            continue;
        }
        if let Some(value) = value
            && !was_written(history, read.key, value, returned)
        {
            return Err(format!("nobody wrote what this returned: {read}"));
        }
        // The revision of an absent key is not told.
        if level == ReadLevel::Quorum
            && value.is_some()
            && acknowledged_before(history, read) > revision
        {
            return Err(format!("an acknowledged write was missed: {read}"));
        }
        let only_ever_written = revisions == Revisions::Consecutive
            && level == ReadLevel::Quorum
            && value.is_none()
            && acknowledged_before(history, read) > 0
            && !was_deleted(history, read.key, returned);
        if only_ever_written {
            return Err(format!("an acknowledged write was missed: {read}"));
        }
    }
    Ok(())
}

fn was_written(history: &History, key: usize, value: Value, before: u64) -> bool {
    history.operations().iter().any(|operation| {
        operation.key == key
            && operation.invoked < before
            && operation.outcome != Outcome::Failed
            && matches!(
                operation.action,
                Action::Put(written) | Action::CompareAndSet(_, written) if written == value
            )
    })
}

fn was_deleted(history: &History, key: usize, before: u64) -> bool {
    history.operations().iter().any(|operation| {
        operation.key == key
            && operation.invoked < before
            && operation.outcome != Outcome::Failed
            && operation.action == Action::Delete
    })
}

/// The highest revision that was told to somebody before the read began.
fn acknowledged_before(history: &History, read: &Operation) -> u64 {
    let earlier = history
        .operations()
        .iter()
        .filter(|operation| operation.key == read.key);
    earlier
        .filter_map(|operation| match operation.outcome {
            Outcome::Ok(Response::Written { revision } | Response::Deleted { revision }, at)
                if at < read.invoked =>
            {
                Some(revision)
            }
            _ => None,
        })
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(history: &mut History, level: ReadLevel, value: Option<u64>, revision: u64) {
        let number = history.invoke(9, 0, Action::Get(level));
        let value = value.map(Value);
        history.respond(number, Response::Got { value, revision });
    }

    fn written() -> History {
        let mut history = History::default();
        for (value, revision) in [(1, 1), (2, 2)] {
            let number = history.invoke(1, 0, Action::Put(Value(value)));
            history.respond(number, Response::Written { revision });
        }
        history
    }

    fn allows(history: &History) -> bool {
        check(history, Revisions::Consecutive).is_ok()
    }

    #[test]
    fn what_nobody_wrote_is_refused_at_every_level() {
        for level in [ReadLevel::Quorum, ReadLevel::One] {
            let mut history = written();
            read(&mut history, level, Some(3), 3);
            assert!(!allows(&history));
        }
    }

    #[test]
    fn an_old_value_is_refused_at_quorum_and_allowed_at_one() {
        let mut history = written();
        read(&mut history, ReadLevel::One, Some(1), 1);
        read(&mut history, ReadLevel::One, None, 0);
        read(&mut history, ReadLevel::Quorum, Some(2), 2);
        assert!(allows(&history));
        for (value, revision) in [(Some(1), 1), (None, 0)] {
            let mut history = history.clone();
            read(&mut history, ReadLevel::Quorum, value, revision);
            assert!(!allows(&history), "{value:?}");
        }
    }

    #[test]
    fn a_write_that_failed_and_one_of_the_future_are_refused() {
        let mut history = written();
        let failed = history.invoke(1, 0, Action::Put(Value(3)));
        history.fail(failed);
        read(&mut history, ReadLevel::One, Some(3), 3);
        assert!(!allows(&history));
        let mut history = written();
        read(&mut history, ReadLevel::One, Some(4), 3);
        history.invoke(1, 0, Action::Put(Value(4)));
        assert!(!allows(&history));
    }

    #[test]
    fn a_write_under_way_may_be_seen() {
        let mut history = written();
        history.invoke(1, 0, Action::Put(Value(3)));
        read(&mut history, ReadLevel::Quorum, Some(3), 3);
        read(&mut history, ReadLevel::Quorum, Some(2), 2);
        assert!(allows(&history));
    }
}
