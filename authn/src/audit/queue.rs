//! Events on their way to the disk.
//!
//! Whatever has to be audited takes a [`Place`] before it begins, and is refused when
//! there is none: so nothing is done, and no answer is lost, for want of room later.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use sealmoot_crypto::digest::MacKey;
use tokio::sync::{mpsc, oneshot};

use super::event::{Event, Subject};

/// Most events that wait to be written, those that may still come included.
pub const QUEUED_MAX: usize = 16 * 1024;

/// An event was not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditRefused {
    /// Too many wait; later there may be room.
    #[error("the audit log does not keep up")]
    Busy,
    /// There is no room on the disk; once there is, it goes on.
    #[error("the audit log has no room on the disk")]
    NoRoom,
    /// Its disk failed; nothing more is recorded until the node starts again.
    #[error("the audit log cannot be written")]
    Failed,
}

/// An event, and who waits for it to be durable.
#[derive(Debug)]
pub struct Submission {
    /// The event.
    pub event: Event,
    /// Whom to tell.
    pub waiting: Option<oneshot::Sender<Result<(), AuditRefused>>>,
}

/// The writer's end of the queue; when it goes away, everything is refused.
pub type Submissions = mpsc::Receiver<Submission>;

/// Takes events. Clones share the queue.
#[derive(Clone)]
pub struct Auditor {
    submissions: mpsc::Sender<Submission>,
    names: Arc<MacKey>,
}

/// Room for one event.
pub struct Place(mpsc::OwnedPermit<Submission>);

/// A queue of [`QUEUED_MAX`] events. Names of unknown users are hashed under `names`.
#[must_use]
pub fn queue(names: MacKey) -> (Auditor, Submissions) {
    let (submissions, receiver) = mpsc::channel(QUEUED_MAX);
    let auditor = Auditor {
        submissions,
        names: Arc::new(names),
    };
    (auditor, receiver)
}

impl Auditor {
    /// Takes a place for an event to come.
    ///
    /// # Errors
    /// [`AuditRefused`]; then what was to be audited must not be done.
    pub fn place(&self) -> Result<Place, AuditRefused> {
        match self.submissions.clone().try_reserve_owned() {
            Ok(permit) => Ok(Place(permit)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(AuditRefused::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(AuditRefused::Failed),
        }
    }

    /// Records an event and waits until it is durable.
    ///
    /// # Errors
    /// [`AuditRefused`].
    pub async fn record(&self, event: Event) -> Result<(), AuditRefused> {
        self.place()?.record(event).await
    }

    /// Records an event that nobody waits for.
    ///
    /// # Errors
    /// [`AuditRefused`], when it was not taken.
    pub fn note(&self, event: Event) -> Result<(), AuditRefused> {
        self.place()?.note(event);
        Ok(())
    }

    /// The subject for a name that no user has.
    #[must_use]
    pub fn unknown_name(&self, name: &[u8]) -> Subject {
        Subject::unknown(&self.names, name)
    }
}

impl Place {
    /// Records an event and waits until it is durable.
    ///
    /// # Errors
    /// [`AuditRefused`].
    pub async fn record(self, event: Event) -> Result<(), AuditRefused> {
        self.submit(event).durable().await
    }

    /// Hands an event over, to wait for later.
    #[must_use]
    pub fn submit(self, event: Event) -> Submitted {
        let (sender, outcome) = oneshot::channel();
        let submissions = self.0.send(Submission {
            event,
            waiting: Some(sender),
        });
        Submitted {
            outcome,
            submissions,
        }
    }

    /// Records an event that nobody waits for.
    pub fn note(self, event: Event) {
        self.0.send(Submission {
            event,
            waiting: None,
        });
    }
}

/// An event that was handed over.
pub struct Submitted {
    outcome: oneshot::Receiver<Result<(), AuditRefused>>,
    submissions: mpsc::Sender<Submission>,
}

impl Submitted {
    /// Waits until the event is durable.
    ///
    /// # Errors
    /// [`AuditRefused`].
    pub async fn durable(self) -> Result<(), AuditRefused> {
        let Self {
            mut outcome,
            submissions,
        } = self;
        // A writer that is gone answers nobody, and what was sent to it stays where it
        // is for as long as anybody holds the queue.
        let mut gone = pin!(submissions.closed());
        poll_fn(|context| {
            if let Poll::Ready(outcome) = Pin::new(&mut outcome).poll(context) {
                return Poll::Ready(outcome.unwrap_or(Err(AuditRefused::Failed)));
            }
            match gone.as_mut().poll(context) {
                Poll::Ready(()) => {
                    Poll::Ready(outcome.try_recv().unwrap_or(Err(AuditRefused::Failed)))
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::{What, Who};
    use super::*;
    use sealmoot_crypto::secret::SecretArray;

    fn event() -> Event {
        Event::done(1, What::NodeStarted, Who::Node, Subject::Nothing)
    }

    #[tokio::test]
    async fn an_event_is_recorded_when_the_writer_says_so() {
        let (auditor, mut submissions) =
            queue(MacKey::from_secret(&SecretArray::from_bytes([1; 32])));
        let recorded = tokio::spawn({
            let auditor = auditor.clone();
            async move { auditor.record(event()).await }
        });
        let submission = submissions.recv().await.expect("one");
        assert_eq!(submission.event, event());
        let waiting = submission.waiting.expect("somebody waits");
        waiting
            .send(Err(AuditRefused::NoRoom))
            .expect("still there");
        assert_eq!(recorded.await.expect("no panic"), Err(AuditRefused::NoRoom));
        auditor.note(event()).expect("room");
        assert!(submissions.recv().await.expect("one").waiting.is_none());
    }

    #[tokio::test]
    async fn without_a_place_nothing_is_begun() {
        let (auditor, submissions) = queue(MacKey::from_secret(&SecretArray::from_bytes([1; 32])));
        let places: Vec<Place> = (0..QUEUED_MAX)
            .map(|_| auditor.place().expect("room"))
            .collect();
        assert!(matches!(auditor.place(), Err(AuditRefused::Busy)));
        drop(places);
        let place = auditor.place().expect("room again");
        drop(submissions);
        assert!(matches!(auditor.place(), Err(AuditRefused::Failed)));
        assert_eq!(place.record(event()).await, Err(AuditRefused::Failed));
        assert_eq!(auditor.record(event()).await, Err(AuditRefused::Failed));
    }
}
