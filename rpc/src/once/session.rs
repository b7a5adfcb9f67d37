//! The client's side of at-most-once calls to one server.
//!
//! The phases are types that consume each other, so that an open cannot be sent
//! twice: [`Unopened`], [`Opening`], [`Session`]. An open that is not answered is
//! not repeated; the client takes another incarnation.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Incarnation, OnceId};
use crate::limits::{ONCE_ENTRIES_MAX, ONCE_HORIZON};
use crate::status::{Execution, Status};

/// An incarnation that no server has heard of.
#[derive(Debug)]
pub struct Unopened {
    incarnation: Incarnation,
    horizon: Duration,
}

/// An incarnation whose open is under way.
#[derive(Debug)]
pub struct Opening {
    incarnation: Incarnation,
    horizon: Duration,
    sent: Instant,
}

/// An incarnation that the server knows, or knew.
#[derive(Debug)]
pub struct Session {
    incarnation: Incarnation,
    horizon: Duration,
    /// The server used it then, or later.
    heard: Instant,
    sequence_next: u64,
    unsettled: BTreeSet<u64>,
    is_lost: bool,
}

/// Why no further call may begin in an incarnation: open another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionOver {
    /// The server has said that it does not know it.
    #[error("the server does not know the incarnation")]
    Lost,
    /// So long unheard of that the server might forget it before the last
    /// attempt.
    #[error("the incarnation was not used for too long")]
    Stale,
    /// So many calls are not settled that the server would refuse another.
    #[error("too many calls of the incarnation are not settled")]
    Full,
}

impl Unopened {
    /// `incarnation` is fresh from the system's random source: whoever guesses
    /// it gains nothing, but two that are equal could be mistaken.
    pub fn new(incarnation: Incarnation) -> Self {
        Self::with_horizon(incarnation, ONCE_HORIZON)
    }

    pub(crate) fn with_horizon(incarnation: Incarnation, horizon: Duration) -> Self {
        Self {
            incarnation,
            horizon,
        }
    }

    /// What to send, once.
    pub fn send(self, now: Instant) -> (OnceId, Opening) {
        let opening = Opening {
            incarnation: self.incarnation,
            horizon: self.horizon,
            sent: now,
        };
        (OnceId::open(self.incarnation), opening)
    }
}

impl Opening {
    /// The incarnation that is being opened.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Takes the server's answer.
    ///
    /// # Errors
    ///
    /// The failure of the open. Its incarnation is gone, even when nothing tells
    /// whether the server has it: a second open could revive it after the server
    /// has forgotten it.
    pub fn answered<T>(self, outcome: Result<T, Status>) -> Result<Session, Status> {
        outcome.map(|_| Session {
            incarnation: self.incarnation,
            horizon: self.horizon,
            heard: self.sent,
            sequence_next: 1,
            unsettled: BTreeSet::new(),
            is_lost: false,
        })
    }
}

impl Session {
    /// Begins a call: its sequence, to be settled when the caller has its answer
    /// or has given up.
    ///
    /// # Errors
    ///
    /// Why another incarnation is needed.
    pub fn begin(&mut self, now: Instant) -> Result<u64, SessionOver> {
        if let Some(over) = self.over(now) {
            return Err(over);
        }
        let sequence = self.sequence_next;
        self.sequence_next += 1;
        self.unsettled.insert(sequence);
        Ok(sequence)
    }

    /// Why no further call may begin, if none may.
    pub fn over(&self, now: Instant) -> Option<SessionOver> {
        // The server counts from the floor's entry, settled ones above included.
        let window = self.sequence_next - self.floor();
        if self.is_lost {
            Some(SessionOver::Lost)
        } else if now.saturating_duration_since(self.heard) >= self.horizon {
            Some(SessionOver::Stale)
        } else if window >= ONCE_ENTRIES_MAX as u64 {
            Some(SessionOver::Full)
        } else {
            None
        }
    }

    /// What an attempt of a call carries.
    pub fn id(&self, sequence: u64) -> OnceId {
        OnceId {
            incarnation: self.incarnation,
            sequence,
            floor: self.floor().min(sequence),
        }
    }

    /// An attempt that was sent then has ended with a reply, or as
    /// [`Execution::Executed`]. Nothing less shows that the server has used the
    /// incarnation since: a refusal may have come before it looked.
    pub fn heard(&mut self, sent: Instant) {
        self.heard = self.heard.max(sent);
    }

    /// The server does not know the incarnation.
    pub fn lost(&mut self) {
        self.is_lost = true;
    }

    /// No further attempt of this call will be sent.
    pub fn settle(&mut self, sequence: u64) {
        self.unsettled.remove(&sequence);
    }

    /// The lowest sequence that is not settled.
    pub fn floor(&self) -> u64 {
        self.unsettled
            .first()
            .copied()
            .unwrap_or(self.sequence_next)
    }

    /// Whether no call waits for its end.
    pub fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// The incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }
}

/// What is known of a call after several attempts: the most that any of them
/// did. A refusal says nothing of the attempts before it.
pub fn combined(previous: impl IntoIterator<Item = Execution>, this: Execution) -> Execution {
    previous.into_iter().fold(this, |most, execution| {
        if rank(execution) > rank(most) {
            execution
        } else {
            most
        }
    })
}

fn rank(execution: Execution) -> u8 {
    match execution {
        Execution::NotSent => 0,
        Execution::NotStarted => 1,
        Execution::MaybeExecuted => 2,
        Execution::Executed => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Code;

    fn session(now: Instant) -> Session {
        let (id, opening) = Unopened::new([7; 16]).send(now);
        assert_eq!((id.sequence, id.floor), (0, 0));
        opening.answered(Ok(())).expect("answered")
    }

    #[test]
    fn an_open_that_failed_leaves_no_session() {
        let (_, opening) = Unopened::new([7; 16]).send(Instant::now());
        let lost = Status::new(Code::Unavailable, Execution::MaybeExecuted, "lost");
        assert_eq!(opening.answered::<()>(Err(lost.clone())).err(), Some(lost));
    }

    #[test]
    fn the_floor_is_the_lowest_unsettled_sequence() {
        let now = Instant::now();
        let mut session = session(now);
        assert_eq!(session.floor(), 1);
        for expected in 1..=3 {
            assert_eq!(session.begin(now), Ok(expected));
        }
        session.settle(2);
        assert_eq!(session.id(3).floor, 1);
        session.settle(1);
        assert_eq!(session.id(3).floor, 3);
        session.settle(3);
        assert_eq!(session.floor(), 4);
        assert!(session.is_settled());
    }

    #[test]
    fn an_attempt_never_carries_a_floor_above_itself() {
        let now = Instant::now();
        let mut session = session(now);
        assert_eq!(session.begin(now), Ok(1));
        session.settle(1);
        assert_eq!(session.id(1).floor, 1);
    }

    #[test]
    fn settling_twice_or_what_never_began_moves_no_floor() {
        let now = Instant::now();
        let mut session = session(now);
        assert_eq!(session.begin(now), Ok(1));
        session.settle(9);
        assert_eq!(session.floor(), 1);
        session.settle(1);
        session.settle(1);
        assert_eq!(session.floor(), 2);
    }

    #[test]
    fn a_lost_incarnation_begins_no_call() {
        let now = Instant::now();
        let mut session = session(now);
        session.lost();
        assert_eq!(session.begin(now), Err(SessionOver::Lost));
    }

    #[test]
    fn an_incarnation_not_heard_of_for_the_horizon_begins_no_call() {
        let opened = Instant::now();
        let mut session = session(opened);
        let late = opened + ONCE_HORIZON;
        assert_eq!(session.begin(late), Err(SessionOver::Stale));
        session.heard(opened + Duration::from_secs(1));
        assert_eq!(session.begin(late), Ok(1));
        session.heard(opened);
        assert_eq!(session.begin(late), Ok(2), "an older answer took life away");
    }

    #[test]
    fn an_incarnation_with_too_much_above_its_floor_begins_no_call() {
        let now = Instant::now();
        let mut session = session(now);
        for _ in 0..ONCE_ENTRIES_MAX {
            session.begin(now).expect("not full");
        }
        session.settle(2);
        assert_eq!(session.begin(now), Err(SessionOver::Full));
        session.settle(1);
        assert!(session.begin(now).is_ok());
    }

    #[test]
    fn a_refusal_takes_back_nothing_of_the_attempts_before() {
        use Execution::{Executed, MaybeExecuted, NotSent, NotStarted};
        assert_eq!(combined([], NotSent), NotSent);
        assert_eq!(combined([NotSent], NotStarted), NotStarted);
        assert_eq!(combined([NotStarted], NotSent), NotStarted);
        assert_eq!(combined([MaybeExecuted], NotStarted), MaybeExecuted);
        assert_eq!(combined([MaybeExecuted, NotSent], NotSent), MaybeExecuted);
        assert_eq!(combined([MaybeExecuted], Executed), Executed);
        assert_eq!(combined([Executed], MaybeExecuted), Executed);
    }
}
