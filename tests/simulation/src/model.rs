//! One key as a sequential object: what each operation may answer in each state.

use crate::history::{Action, Expected, Response, Value};

/// How revisions go on after a key was absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revisions {
    /// Every change is one above the former, through deletion too.
    Consecutive,
    /// A key that was absent may have been forgotten, and then continues anywhere
    /// above. It never repeats a revision and never falls.
    MayJump,
}

/// The state of a key, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// The value, if there is one.
    pub value: Option<Value>,
    /// The revision of the last change.
    pub revision: u64,
    /// Whether the revision is exactly that; otherwise that or any above.
    pub exact: bool,
}

impl State {
    /// A key that was never written.
    #[must_use]
    pub fn initial(revisions: Revisions) -> Self {
        Self {
            value: None,
            revision: 0,
            exact: revisions == Revisions::Consecutive,
        }
    }

    /// The state after `action`, if it may answer `response` here; with no response,
    /// the state after it took effect, if it can.
    ///
    /// There is never more than one: what is not known of a revision is kept as a
    /// lower bound.
    #[must_use]
    pub fn after(
        self,
        action: Action,
        response: Option<Response>,
        revisions: Revisions,
    ) -> Option<Self> {
        match action {
            Action::Get(_) => match response {
                None => Some(self),
                Some(Response::Got { value, revision }) => {
                    (value == self.value).then_some(())?;
                    self.seen_at(revision)
                }
                Some(_) => None,
            },
            Action::Put(value) => self.written(Some(value), response, revisions),
            Action::Delete if self.value.is_none() => {
                matches!(response, None | Some(Response::NothingToDelete)).then_some(self)
            }
            Action::Delete => self.written(None, response, revisions),
            Action::CompareAndSet(expected, value) => {
                self.compared(expected, value, response, revisions)
            }
        }
    }

    fn compared(
        self,
        expected: Expected,
        value: Value,
        response: Option<Response>,
        revisions: Revisions,
    ) -> Option<Self> {
        if let Some(Response::Conflict { revision }) = response {
            let holds = match expected {
                Expected::Absent => self.value.is_none(),
                Expected::Revision(expected) => revision == expected,
                Expected::Value(expected) => self.value == Some(expected),
            };
            return if holds { None } else { self.seen_at(revision) };
        }
        let before = match expected {
            Expected::Absent => self.value.is_none().then_some(self),
            Expected::Revision(expected) => self.seen_at(expected),
            Expected::Value(expected) => (self.value == Some(expected)).then_some(self),
        };
        match (before, response) {
            (Some(before), _) => before.written(Some(value), response, revisions),
            // Without an answer it may have found that it does not apply.
            (None, None) => Some(self),
            (None, Some(_)) => None,
        }
    }

    /// The state, now that somebody saw it at `revision`.
    fn seen_at(self, revision: u64) -> Option<Self> {
        if self.value.is_none() {
            return (revision == 0).then_some(self);
        }
        let fits = if self.exact {
            revision == self.revision
        } else {
            revision >= self.revision
        };
        (fits && revision > 0).then_some(Self {
            revision,
            exact: true,
            ..self
        })
    }

    fn written(
        self,
        value: Option<Value>,
        response: Option<Response>,
        revisions: Revisions,
    ) -> Option<Self> {
        // What stands here may have been forgotten only while it was absent.
        let may_jump = !self.exact || (self.value.is_none() && revisions == Revisions::MayJump);
        let least = self.revision + 1;
        let told = match (response, value) {
            (None, _) => None,
            (Some(Response::Written { revision }), Some(_))
            | (Some(Response::Deleted { revision }), None) => Some(revision),
            (Some(_), _) => return None,
        };
        match told {
            Some(revision) if revision == least || (may_jump && revision > least) => Some(Self {
                value,
                revision,
                exact: true,
            }),
            Some(_) => None,
            None => Some(Self {
                value,
                revision: least,
                exact: !may_jump,
            }),
        }
    }
}
